//! What really happened, as an outcome, so that simulated runs can be shown beside it.

use crate::outcome::{Areas, Counts, Fate, JobOutcome, Level, Outcome, Point};
use crate::trace::Jobs;
use crate::workload::SimJob;
use pond_core::units::{Millis, Timestamp};

/// Points of the series.
const POINTS: u64 = 1000;

/// The outcome that a trace itself tells of: jobs started when it says and ran as long as it says. Jobs whose start it
/// does not tell are unfinished. `None` when it tells of no start at all.
///
/// A job of several attempts has the start that the trace gives; nothing is known of evictions, lost work and fragments.
#[must_use]
pub fn as_it_was(jobs: &Jobs) -> Option<Outcome> {
    let workload = &jobs.workload;
    if jobs.starts.is_empty() {
        return None;
    }
    let row = |job: &SimJob| {
        let cpu = workload.shapes.get(job.shape as usize).and_then(|all| all.first());
        let start = jobs.starts.get(&job.id).copied();
        JobOutcome {
            id: job.id,
            user: job.user,
            queue: job.queue,
            tasks: job.size.min,
            devices_milli: workload.devices_milli(job),
            cpu_milli: cpu.map_or(0, |shape| shape.request.cpu.0).saturating_mul(u64::from(job.size.min)),
            submit: job.submit,
            start,
            end: start.map(|start| start.after(job.duration)),
            held: if start.is_some() { job.duration } else { Millis::ZERO },
            lost: Millis::ZERO,
            duration: job.duration,
            preemptions: 0,
            migrations: 0,
            faults: 0,
            fate: if start.is_some() { Fate::Ended(job.ending) } else { Fate::Unfinished },
        }
    };
    let rows: Vec<JobOutcome> = workload.jobs.iter().map(row).collect();
    Some(Outcome {
        name: "as it was".to_owned(),
        seed: 0,
        users: workload.users.iter().map(ToString::to_string).collect(),
        queues: workload.queues.iter().map(ToString::to_string).collect(),
        nodes: jobs.cluster.nodes.iter().map(|node| node.name.to_string()).collect(),
        series: series(jobs, &rows),
        areas: areas(jobs, &rows),
        jobs: rows,
        stays: Vec::new(),
        counts: Counts::default(),
    })
}

/// One change of the pool: what is added to what waits and to what runs.
#[derive(Clone, Copy)]
struct Change {
    at: Timestamp,
    pending: i64,
    running: i64,
    devices: i64,
    cpu: i64,
}

/// What the pool has, nothing granted.
fn idle(jobs: &Jobs) -> Level {
    Level {
        devices: jobs.cluster.nodes.iter().map(|node| node.devices.len() as u64 * 1000).sum(),
        cpu: jobs.cluster.nodes.iter().map(|node| node.capacity.cpu.0).sum(),
        ..Level::default()
    }
}

/// From the first submission of a job that ran to the last end of one.
fn areas(jobs: &Jobs, rows: &[JobOutcome]) -> Option<Areas> {
    let ran = || rows.iter().filter_map(|row| Some((row, row.start?, row.end?)));
    let first = ran().map(|(row, ..)| row.submit).min()?;
    let last = ran().map(|(.., end)| end).max()?;
    let last_submit = rows.iter().map(|row| row.submit).max()?;
    let mut areas = Areas::default();
    areas.add(idle(jobs), (first, last), last_submit);
    for (row, start, end) in ran() {
        let granted = Level { granted: row.devices_milli, granted_cpu: row.cpu_milli, ..Level::default() };
        areas.add(granted, (start, end), last_submit);
    }
    Some(areas)
}

fn series(jobs: &Jobs, rows: &[JobOutcome]) -> Vec<Point> {
    let mut changes = Vec::new();
    for row in rows {
        let (Some(start), Some(end)) = (row.start, row.end) else { continue };
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let (devices, cpu) = (signed(row.devices_milli), signed(row.cpu_milli));
        changes.push(Change { at: row.submit, pending: 1, running: 0, devices, cpu });
        changes.push(Change { at: start, pending: -1, running: 1, devices, cpu });
        changes.push(Change { at: end, pending: 0, running: -1, devices, cpu });
    }
    changes.sort_by_key(|change| change.at);
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return Vec::new() };
    let Level { devices: devices_milli, cpu: cpu_milli, .. } = idle(jobs);
    let step = (last.at.since(first.at).0 / POINTS).max(1);
    let count = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let (mut points, mut at) = (Vec::new(), first.at);
    let (mut pending, mut running, mut waits, mut granted, mut cpu) = (0, 0, 0, 0, 0);
    let mut next = changes.iter().peekable();
    loop {
        while let Some(change) = next.next_if(|change| change.at <= at) {
            pending += change.pending;
            running += change.running;
            waits += change.pending * change.devices;
            granted += change.running * change.devices;
            cpu += change.running * change.cpu;
        }
        points.push(Point {
            at,
            pending: count(pending),
            pending_devices_milli: count(waits),
            running: count(running),
            devices_milli,
            granted_devices_milli: count(granted),
            fragmented_devices_milli: 0,
            cpu_milli,
            granted_cpu_milli: count(cpu),
        });
        if next.peek().is_none() {
            return points;
        }
        at = at.after(Millis(step));
    }
}
