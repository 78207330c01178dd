//! CSV: one file of figures, one of jobs, one of the pool over time. Columns are named with their units.

use super::summary::{Summary, finished, slowdown_milli};
use crate::outcome::{Fate, Outcome, Point};
use crate::workload::Ending;
use pond_core::units::{Millis, Timestamp};

/// Rows as CSV (RFC 4180, with `\n`). Writing into memory cannot fail.
fn sheet<const N: usize>(head: [&str; N], mut rows: impl Iterator<Item = [String; N]>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(head).and_then(|()| rows.try_for_each(|row| writer.write_record(row)));
    debug_assert!(written.is_ok(), "memory takes what it is given");
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// One row a run and size class; the class `all` has the figures of the whole run.
#[must_use]
pub fn summaries_csv(summaries: &[Summary]) -> String {
    let head = [
        "run",
        "seed",
        "size",
        "jobs_done",
        "jct_mean_ms",
        "jct_p50_ms",
        "jct_p99_ms",
        "jct_p999_ms",
        "queue_mean_ms",
        "queue_p50_ms",
        "queue_p99_ms",
        "queue_p999_ms",
        "slowdown_mean_milli",
        "slowdown_p99_milli",
        "jobs",
        "unfinished",
        "infeasible",
        "given_up",
        "preemptions",
        "migrations",
        "faults",
        "lost_device_s",
        "allocation_ppm",
        "fragmentation_ppm",
        "makespan_ms",
        "jain_ppm",
    ];
    let rows = summaries.iter().flat_map(|run| {
        let sizes = run.by_size.iter().map(|(size, figures)| (Some(size), figures));
        std::iter::once((None, &run.all)).chain(sizes).map(move |(size, figures)| {
            let whole = |number: u64| if size.is_none() { number.to_string() } else { String::new() };
            [
                run.name.clone(),
                run.seed.to_string(),
                size.map_or("all", |size| size.key()).to_owned(),
                figures.jct_ms.count.to_string(),
                figures.jct_ms.mean.to_string(),
                figures.jct_ms.p50.to_string(),
                figures.jct_ms.p99.to_string(),
                figures.jct_ms.p999.to_string(),
                figures.queue_ms.mean.to_string(),
                figures.queue_ms.p50.to_string(),
                figures.queue_ms.p99.to_string(),
                figures.queue_ms.p999.to_string(),
                figures.slowdown_milli.mean.to_string(),
                figures.slowdown_milli.p99.to_string(),
                whole(run.jobs),
                whole(run.unfinished),
                whole(run.infeasible),
                whole(run.given_up),
                whole(run.preemptions),
                whole(run.migrations),
                whole(run.faults),
                whole(run.lost_device_s),
                whole(run.allocation_ppm),
                whole(run.fragmentation_ppm),
                whole(run.makespan_ms),
                whole(run.jain_ppm),
            ]
        })
    });
    sheet(head, rows)
}

/// One row a job, in the order of submission. Times in milliseconds from the workload's epoch; empty: not known.
#[must_use]
pub fn jobs_csv(outcome: &Outcome) -> String {
    let head = [
        "id",
        "user",
        "queue",
        "tasks",
        "devices_milli",
        "cpu_milli",
        "submit_ms",
        "start_ms",
        "end_ms",
        "duration_ms",
        "held_ms",
        "lost_ms",
        "queue_ms",
        "slowdown_milli",
        "preemptions",
        "migrations",
        "faults",
        "fate",
    ];
    let name = |list: &[String], place: u32| list.get(place as usize).cloned().unwrap_or_default();
    let moment = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.0.to_string());
    let rows = outcome.jobs.iter().map(|job| {
        let queued = finished(job).map(|jct: Millis| jct.minus(job.held).0.to_string());
        [
            job.id.to_string(),
            name(&outcome.users, job.user),
            name(&outcome.queues, job.queue),
            job.tasks.to_string(),
            job.devices_milli.to_string(),
            job.cpu_milli.to_string(),
            job.submit.0.to_string(),
            moment(job.start),
            moment(job.end),
            job.duration.0.to_string(),
            job.held.0.to_string(),
            job.lost.0.to_string(),
            queued.unwrap_or_default(),
            slowdown_milli(job).map_or_else(String::new, |slowdown| slowdown.to_string()),
            job.preemptions.to_string(),
            job.migrations.to_string(),
            job.faults.to_string(),
            fate(job.fate).to_owned(),
        ]
    });
    sheet(head, rows)
}

/// The pool over time: one row a point.
#[must_use]
pub fn series_csv(outcome: &Outcome) -> String {
    let head = [
        "at_ms",
        "pending",
        "pending_devices_milli",
        "running",
        "devices_milli",
        "granted_devices_milli",
        "fragmented_devices_milli",
        "cpu_milli",
        "granted_cpu_milli",
    ];
    let row = |point: &Point| {
        [
            point.at.0,
            point.pending,
            point.pending_devices_milli,
            point.running,
            point.devices_milli,
            point.granted_devices_milli,
            point.fragmented_devices_milli,
            point.cpu_milli,
            point.granted_cpu_milli,
        ]
        .map(|number| number.to_string())
    };
    sheet(head, outcome.series.iter().map(row))
}

const fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Ended(Ending::Completed) => "completed",
        Fate::Ended(Ending::Failed) => "failed",
        Fate::Ended(Ending::Cancelled) => "cancelled",
        Fate::TimedOut => "timed_out",
        Fate::GivenUp => "given_up",
        Fate::Infeasible => "infeasible",
        Fate::Unfinished => "unfinished",
    }
}
