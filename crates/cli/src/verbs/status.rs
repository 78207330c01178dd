//! `pond status`: the pool in a few lines, or one job in full.

use super::Ctx;
use super::list::{class_text, counts_text, devices_text};
use crate::args::StatusArgs;
use crate::client::Client;
use crate::error::{CliError, Done};
use crate::out::{Cell, Column, Style, Table, ago, clean, moment, span_between, state_style};
use crate::refs::{Careful, find};
use crate::verbs::money::money;
use crate::watch::watched;
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths};
use pond_server::api::types::{Amounts, GangView, JobDetail, StatusView, TaskView};
use std::collections::BTreeMap;

/// `pond status`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn status(ctx: &Ctx, args: &StatusArgs) -> Done {
    let client = ctx.client()?;
    let job = args.job.as_deref().map(|text| find(&client, text, Careful::No)).transpose()?;
    watched(&ctx.out, args.watch, || match job {
        None => pool(ctx, &client),
        Some(job) => {
            let detail: JobDetail = client.get(&job.path(""), &())?;
            if ctx.out.format.is_data() { ctx.out.value(&detail) } else { one(ctx, &detail) }
        }
    })
}

fn pool(ctx: &Ctx, client: &Client) -> Result<(), CliError> {
    let view: StatusView = client.get("/status", &())?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&view);
    }
    let out = &ctx.out;
    let style = if view.health.status == "ok" { Style::Green } else { Style::Red };
    field(ctx, "pool", &format!("{}  {}", out.paint(style, &clean(&view.health.status)), client.base()))?;
    if let Some(message) = &view.health.message {
        field(ctx, "", &clean(message))?;
    }
    field(ctx, "nodes", &format!("{} ready of {}", view.health.nodes_ready, view.health.nodes))?;
    field(ctx, "jobs", &states(&view.elements, "nothing runs or waits"))?;
    field(ctx, "over", &states(&view.over, "none"))?;
    let cpu = |milli: u64| MilliCpu(milli).to_string();
    let down = if view.down == Amounts::default() {
        String::new()
    } else {
        format!(", {} on nodes that are down", cpu(view.down.cpu_milli))
    };
    let beyond = match view.burst_cpu_milli {
        0 => String::new(),
        burst => format!(", {} beyond grants and by spare", cpu(burst)),
    };
    field(
        ctx,
        "cpu",
        &format!(
            "{} of {} cores granted, {} really used{beyond}{down}",
            cpu(view.granted.cpu_milli),
            cpu(view.capacity.cpu_milli),
            cpu(view.busy_cpu_milli)
        ),
    )?;
    let of = |part: u64, whole: u64| format!("{} of {} granted", Bytes(part), Bytes(whole));
    field(ctx, "memory", &of(view.granted.memory_bytes, view.capacity.memory_bytes))?;
    field(ctx, "disk", &of(view.granted.disk_bytes, view.capacity.disk_bytes))?;
    if view.devices > 0 {
        let granted = MilliCpu(view.devices_granted_thousandths);
        field(ctx, "devices", &format!("{granted} of {} granted", view.devices))?;
    }
    Ok(())
}

fn states(counts: &BTreeMap<String, u64>, none: &str) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_state, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if parts.is_empty() { none.to_owned() } else { parts.join(", ") }
}

fn field(ctx: &Ctx, name: &str, value: &str) -> Result<(), CliError> {
    ctx.out.line(&format!("{}{value}", ctx.out.paint(Style::Dim, &format!("{name:<10}"))))
}

fn one(ctx: &Ctx, detail: &JobDetail) -> Result<(), CliError> {
    let job = &detail.summary;
    let out = &ctx.out;
    out.line(&format!(
        "{}  {}",
        out.paint(Style::Bold, &format!("{} {}", job.id, clean(&job.name))),
        out.paint(state_style(job.state), job.state.as_str())
    ))?;
    if let Some(reason) = &job.reason {
        field(ctx, "reason", &clean(reason))?;
    }
    field(ctx, "queue", &clean(&format!("{} · {} · {}", job.queue, job.user, class_text(job.class))))?;
    let asks = format!("{} · {}", amounts(&job.request), devices_text(&job.devices));
    let count =
        if job.size_min == 1 { "1 task with".to_owned() } else { format!("{} tasks, each", job.size_min) };
    field(ctx, "asks", &format!("{count} {}", clean(asks.trim_end_matches(" · -"))))?;
    if job.elements.total > 1 {
        field(ctx, "array", &format!("{} elements: {}", job.elements.total, counts_text(&job.elements)))?;
    }
    field(ctx, "submitted", &format!("{} ({} ago)", moment(job.submitted_ms), ago(job.submitted_ms)))?;
    if let Some(started) = job.started_ms {
        let ran = span_between(Some(started), job.ended_ms).unwrap_or_default();
        field(ctx, "started", &format!("{}, ran {ran}", moment(started)))?;
    }
    if let Some(ended) = job.ended_ms {
        let code = job.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        field(ctx, "ended", &format!("{}{code}", moment(ended)))?;
    }
    if let Some(usage) = &detail.usage {
        let [charged, burst, devices, more] = [
            usage.granted_cpu_milli_ms,
            usage.burst_cpu_milli_ms,
            usage.granted_device_thousandths_ms,
            usage.burst_device_thousandths_ms,
        ]
        .map(|thousandths_ms| MilliCpu(thousandths_ms / 1000));
        let devices = match devices.0.max(more.0) {
            0 => String::new(),
            _ => format!("; {devices} device-seconds, and {more} of burst"),
        };
        field(ctx, "charged", &format!("{charged} core-seconds, and {burst} of burst{devices}"))?;
    }
    if let Some(cost) = &detail.cost {
        let back = match cost.credit_micros {
            0 => String::new(),
            credit => format!(", of which {} was given back", money(credit)),
        };
        field(ctx, "cost", &format!("{} {}{back}", money(cost.charge_micros), clean(&cost.currency)))?;
    }
    if detail.gangs.iter().any(|gang| !gang.tasks.is_empty()) {
        out.line("")?;
        out.table(&tasks(&detail.gangs))?;
    }
    let mut devices = detail.gangs.iter().flat_map(|gang| &gang.tasks).flat_map(|task| &task.devices);
    if devices.any(|device| device.use_now.is_some()) {
        out.line("")?;
        out.table(&shares(&detail.gangs))?;
    }
    Ok(())
}

/// CPU, memory and disk in words.
#[must_use]
pub fn amounts(amounts: &Amounts) -> String {
    format!(
        "{} CPU, {}, disk {}",
        MilliCpu(amounts.cpu_milli),
        Bytes(amounts.memory_bytes),
        Bytes(amounts.disk_bytes)
    )
}

fn tasks(gangs: &[GangView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("TASK"),
        Column::left("STATE"),
        Column::right("TRY"),
        Column::left("NODE"),
        Column::left("ADDRESS"),
        Column::right("CPU"),
        Column::right("MEMORY"),
        Column::right("PIDS").wide(),
        Column::right("DISK").wide(),
        Column::right("RAN"),
        Column::left("PORTS"),
        Column::left("HOW"),
    ]);
    for gang in gangs {
        for task in &gang.tasks {
            let used = task.use_now.unwrap_or_default();
            let shown = task.use_now.is_some();
            let ports: Vec<String> = task
                .ports
                .iter()
                .map(|port| format!("127.0.0.1:{}->{}", port.host, port.container))
                .collect();
            table.row(vec![
                (&task.id).into(),
                Cell::styled(state_style(task.state), task.state.as_str()),
                gang.attempt.into(),
                (&task.node).into(),
                task.address.as_ref().into(),
                shown
                    .then(|| format!("{}/{}", MilliCpu(used.cpu_milli), MilliCpu(task.request.cpu_milli)))
                    .into(),
                shown
                    .then(|| format!("{}/{}", Bytes(used.memory_bytes), Bytes(task.burst.memory_bytes)))
                    .into(),
                shown.then_some(used.pids).into(),
                shown.then(|| Bytes(used.disk_bytes).to_string()).into(),
                span_between(task.started_ms, task.ended_ms).into(),
                (!ports.is_empty()).then(|| ports.join(" ")).into(),
                how(task).into(),
            ]);
        }
    }
    table
}

/// What tasks do with their shares of devices, where that is measured.
fn shares(gangs: &[GangView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("TASK"),
        Column::right("DEVICE"),
        Column::right("TIME"),
        Column::right("DEVICE MEMORY"),
        Column::right("BUSY"),
        Column::right("HELD BACK"),
        Column::right("REFUSED"),
    ]);
    for task in gangs.iter().flat_map(|gang| &gang.tasks) {
        for (device, used) in
            task.devices.iter().filter_map(|device| device.use_now.map(|used| (device, used)))
        {
            let [got, may] = [used.delivered_thousandths, used.allowed_thousandths].map(Thousandths);
            table.row(vec![
                (&task.id).into(),
                device.device.into(),
                format!("{got}/{may}").into(),
                format!("{}/{}", Bytes(used.memory_bytes), Bytes(device.memory_bytes)).into(),
                Millis(used.busy_ms).to_string().into(),
                Millis(used.throttled_ms).to_string().into(),
                used.refused.into(),
            ]);
        }
    }
    table
}

fn how(task: &TaskView) -> String {
    match (&task.exit, &task.progress) {
        (Some(exit), _) if exit.kind == "code" => format!("exit code {}", exit.code),
        (Some(exit), _) => format!("{} ({})", exit.kind.replace('_', " "), exit.code),
        (None, Some(progress)) => progress.clone(),
        (None, None) => {
            let limit = task.squeezed_cpu_milli.map(MilliCpu);
            limit.map_or_else(String::new, |limit| format!("squeezed to {limit} CPU"))
        }
    }
}
