//! `pond usage`: who used how much, and that it all adds up.

use super::Ctx;
use crate::args::{UsageArgs, UsageBy};
use crate::error::{CliError, Done};
use crate::out::{Cell, Column, Style, Table, moment};
use crate::watch::watched;
use pond_server::api::types::{NodeUsage, UsageQuery, UsageReport};

/// `pond usage`.
///
/// # Errors
/// No pool, or it refuses.
pub fn usage(ctx: &Ctx, args: UsageArgs) -> Done {
    let client = ctx.client()?;
    let (by, title) = match args.by {
        UsageBy::Queue => ("queue", "QUEUE"),
        UsageBy::User => ("user", "USER"),
        UsageBy::Job => ("job", "JOB"),
    };
    let query = UsageQuery { by: Some(by.to_owned()) };
    watched(&ctx.out, args.watch, || {
        let report: UsageReport = client.get("/usage", &query)?;
        if ctx.out.format.is_data() { ctx.out.value(&report) } else { print(ctx, title, &report) }
    })
}

/// `1.234` hours out of thousandths times milliseconds.
fn hours(milli_ms: u64) -> String {
    let thousandths_of_hours = milli_ms / 3_600_000;
    format!("{}.{:03}", thousandths_of_hours / 1000, thousandths_of_hours % 1000)
}

fn print(ctx: &Ctx, title: &'static str, report: &UsageReport) -> Result<(), CliError> {
    ctx.out.line(&ctx.out.paint(Style::Dim, &format!("up to {}", moment(report.at_ms))))?;
    let mut table = Table::new(vec![
        Column::left(title),
        Column::right("CPU-H GRANTED"),
        Column::right("USED"),
        Column::right("WASTE"),
        Column::right("BURST"),
        Column::right("MEMORY GIB-H"),
        Column::right("DEVICE-H"),
    ]);
    for row in &report.rows {
        let mib_hours = row.granted_memory_mib_s.saturating_mul(1000) / 3600 / 1024;
        table.row(vec![
            (&row.key).into(),
            hours(row.granted_cpu_milli_ms).into(),
            hours(row.used_cpu_milli_ms).into(),
            hours(row.granted_cpu_milli_ms.saturating_sub(row.used_cpu_milli_ms)).into(),
            hours(row.burst_cpu_milli_ms).into(),
            format!("{}.{:03}", mib_hours / 1000, mib_hours % 1000).into(),
            hours(row.granted_device_thousandths_ms).into(),
        ]);
    }
    ctx.out.table(&table)?;
    ctx.out.line("")?;
    ctx.out.table(&nodes(&report.nodes))
}

/// The identity `capacity = granted + idle + planned + down` of each node, in core-hours.
fn nodes(nodes: &[NodeUsage]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NODE"),
        Column::right("CPU-H CAPACITY"),
        Column::right("= GRANTED"),
        Column::right("+ IDLE"),
        Column::right("+ PLANNED"),
        Column::right("+ DOWN"),
        Column::left("BALANCE"),
    ]);
    for node in nodes {
        let sum = [node.granted, node.idle, node.planned, node.down]
            .iter()
            .try_fold(0_u64, |sum, &it| sum.checked_add(it));
        let exact = sum == Some(node.capacity);
        let balance = if exact { (Style::Green, "exact") } else { (Style::Red, "DOES NOT ADD UP") };
        table.row(vec![
            (&node.node).into(),
            hours(node.capacity).into(),
            hours(node.granted).into(),
            hours(node.idle).into(),
            hours(node.planned).into(),
            hours(node.down).into(),
            Cell::styled(balance.0, balance.1),
        ]);
    }
    table
}
