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
        Column::right("CPU-H"),
        Column::right("BURST"),
        Column::right("CREDIT"),
        Column::right("MEMORY GIB-H"),
        Column::right("DISK GIB-H"),
        Column::right("DEVICE-H"),
        Column::right("DEVICE BURST"),
    ]);
    for row in &report.rows {
        let gib_hours = |mib_s: u64| {
            let thousandths = mib_s.saturating_mul(1000) / 3600 / 1024;
            format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
        };
        table.row(vec![
            (&row.key).into(),
            hours(row.granted_cpu_milli_ms).into(),
            hours(row.burst_cpu_milli_ms).into(),
            hours(row.credited_cpu_milli_ms).into(),
            gib_hours(row.granted_memory_mib_s + row.burst_memory_mib_s).into(),
            gib_hours(row.granted_disk_mib_s + row.burst_disk_mib_s).into(),
            hours(row.granted_device_thousandths_ms).into(),
            hours(row.burst_device_thousandths_ms).into(),
        ]);
    }
    ctx.out.table(&table)?;
    ctx.out.line("")?;
    ctx.out.table(&nodes("CPU-H CAPACITY", &report.nodes))?;
    if report.devices.is_empty() {
        return Ok(());
    }
    ctx.out.line("")?;
    ctx.out.table(&nodes("DEVICE-H CAPACITY", &report.devices))
}

/// The identities of each node in core-hours, or of each device in device-hours: `capacity = granted + idle + planned + down` and
/// `granted = used_within + waste`.
fn nodes(capacity: &'static str, nodes: &[NodeUsage]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NODE"),
        Column::right(capacity),
        Column::right("= GRANTED"),
        Column::right("+ IDLE"),
        Column::right("+ PLANNED"),
        Column::right("+ DOWN"),
        Column::right("GRANTED = USED"),
        Column::right("+ WASTE"),
        Column::right("BURST"),
        Column::left("BALANCE"),
    ]);
    for node in nodes {
        let sum = |parts: &[u64]| parts.iter().try_fold(0_u64, |sum, &part| sum.checked_add(part));
        let exact = sum(&[node.granted, node.idle, node.planned, node.down]) == Some(node.capacity)
            && sum(&[node.used_within, node.waste]) == Some(node.granted);
        let balance = if exact { (Style::Green, "exact") } else { (Style::Red, "DOES NOT ADD UP") };
        table.row(vec![
            node.device.map_or_else(|| node.node.clone(), |device| format!("{} {device}", node.node)).into(),
            hours(node.capacity).into(),
            hours(node.granted).into(),
            hours(node.idle).into(),
            hours(node.planned).into(),
            hours(node.down).into(),
            hours(node.used_within).into(),
            hours(node.waste).into(),
            hours(node.burst).into(),
            Cell::styled(balance.0, balance.1),
        ]);
    }
    table
}
