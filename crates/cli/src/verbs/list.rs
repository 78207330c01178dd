//! `pond ps`: jobs in a list.

use super::Ctx;
use super::queue::must_be_there;
use crate::args::PsArgs;
use crate::client::Client;
use crate::error::{CliError, Done};
use crate::out::{Cell, Column, Style, Table, ago, span_between, state_style};
use crate::watch::watched;
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use pond_server::api::types::{Class, Counts, DeviceAsk, JobPage, JobQuery, JobSummary};

/// `pond ps`.
///
/// # Errors
/// No pool, or it refuses.
pub fn ps(ctx: &Ctx, args: &PsArgs) -> Done {
    let client = ctx.client()?;
    let state = match (&args.state, args.all) {
        (Some(state), _) => state.clone(),
        (None, true) => "all".to_owned(),
        (None, false) => "active".to_owned(),
    };
    let query = JobQuery {
        state: Some(state),
        queue: args.project.clone(),
        user: args.user.clone(),
        ..JobQuery::default()
    };
    watched(&ctx.out, args.watch, || {
        let (jobs, is_all) = newest(&client, &query, args.limit)?;
        if jobs.is_empty() {
            must_be_there(&client, query.queue.as_ref())?;
        }
        if args.quiet {
            return jobs.iter().try_for_each(|job| ctx.out.line(&job.id.to_string()));
        }
        if ctx.out.format.is_data() {
            return ctx.out.value(&jobs);
        }
        if jobs.is_empty() {
            let hint = if args.all {
                "no jobs yet; run one: pond run -- echo hello"
            } else {
                "nothing runs or waits (`pond ps -a` shows the past)"
            };
            ctx.out.note(hint);
        }
        ctx.out.table(&table(&jobs))?;
        if !is_all {
            ctx.out.note(&format!("these are the newest {}; -n shows more", jobs.len()));
        }
        Ok(())
    })
}

/// The newest jobs that fit, at most `limit`.
///
/// # Errors
/// The pool refuses.
pub fn jobs(client: &Client, query: &JobQuery, limit: u32) -> Result<Vec<JobSummary>, CliError> {
    newest(client, query, limit).map(|(jobs, _)| jobs)
}

/// The same, page by page, and whether these are all.
fn newest(client: &Client, query: &JobQuery, limit: u32) -> Result<(Vec<JobSummary>, bool), CliError> {
    let mut jobs: Vec<JobSummary> = Vec::new();
    let mut after = None;
    loop {
        let left = limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
        if left == 0 {
            return Ok((jobs, false));
        }
        let page: JobPage =
            client.get("/jobs", &JobQuery { limit: Some(left.min(1000)), after, ..query.clone() })?;
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            return Ok((jobs, true));
        }
    }
}

fn table(jobs: &[JobSummary]) -> Table {
    let mut table = Table::new(vec![
        Column::right("ID"),
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("QUEUE"),
        Column::left("USER"),
        Column::left("CLASS").wide(),
        Column::right("PRIO").wide(),
        Column::left("SIZE"),
        Column::right("CPU"),
        Column::right("MEMORY"),
        Column::left("DEVICES"),
        Column::right("AGE"),
        Column::right("RAN"),
        Column::right("EXIT").wide(),
        Column::left("NODES").wide(),
        Column::left("REASON"),
    ]);
    for job in jobs {
        table.row(vec![
            job.id.into(),
            (&job.name).into(),
            Cell::styled(state_style(job.state), &state_text(job)),
            (&job.queue).into(),
            (&job.user).into(),
            class_text(job.class).into(),
            job.priority.into(),
            size_text(job).into(),
            MilliCpu(job.request.cpu_milli).to_string().into(),
            Bytes(job.request.memory_bytes).to_string().into(),
            devices_text(&job.devices).into(),
            ago(job.submitted_ms).into(),
            span_between(job.started_ms, job.ended_ms).into(),
            job.exit_code.map(|code| code.to_string()).into(),
            (!job.nodes.is_empty()).then(|| job.nodes.join(",")).into(),
            Cell::styled(Style::Plain, job.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// The state; of an array with the number of elements in it.
#[must_use]
pub fn state_text(job: &JobSummary) -> String {
    let state = job.state.as_str();
    if job.elements.total <= 1 {
        return match job.exit_code {
            Some(code) if code != 0 => format!("{state} ({code})"),
            _ => state.to_owned(),
        };
    }
    let here = job.elements.by_state.get(state).copied().unwrap_or_default();
    format!("{state} {here}/{}", job.elements.total)
}

/// Elements by state: `3 running, 7 waiting`.
#[must_use]
pub fn counts_text(counts: &Counts) -> String {
    let parts: Vec<String> =
        counts.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
    parts.join(", ")
}

/// The class in a word.
#[must_use]
pub const fn class_text(class: Class) -> &'static str {
    match class {
        Class::Spare => "spare",
        Class::Standard => "standard",
        Class::Critical => "critical",
    }
}

fn size_text(job: &JobSummary) -> String {
    let gang = match (job.size_min, job.size_max) {
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min}..{max}"),
    };
    if job.elements.total > 1 { format!("{}x{gang}", job.elements.total) } else { gang }
}

/// Devices as people write them: `H100:8`, `gpu:1x0.5`, `gpu:1g.10gb`; `-` for none.
#[must_use]
pub fn devices_text(devices: &[DeviceAsk]) -> String {
    if devices.is_empty() {
        return "-".to_owned();
    }
    let one = |ask: &DeviceAsk| {
        let model = ask.model.as_deref().unwrap_or(&ask.kind);
        if let Some(profile) = &ask.profile {
            let count = if ask.count == 1 { String::new() } else { format!(":{}", ask.count) };
            return format!("{model}:{profile}{count}");
        }
        match (ask.compute_thousandths, ask.memory_bytes) {
            (1000, 0) => format!("{model}:{}", ask.count),
            (0, memory) => format!("{model}:{}x{}", ask.count, Bytes(memory)),
            (compute, 0) => format!("{model}:{}x{}", ask.count, Thousandths(compute)),
            (compute, memory) => format!("{model}:{}x{}/{}", ask.count, Thousandths(compute), Bytes(memory)),
        }
    };
    devices.iter().map(one).collect::<Vec<_>>().join(" ")
}
