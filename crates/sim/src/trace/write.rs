//! Writers: workloads as files that other tools read, and that the readers here read back ([`super::history::write`]
//! for the form that loses nothing).

use super::{Jobs, time};
use crate::workload::{Ending, SimJob};
use pond_core::units::Timestamp;
use std::io::{self, Write};

/// Writes a log in the Standard Workload Format.
///
/// A processor is a core; for jobs with devices it is a device, and the header says so. Kept are submission, wait,
/// run time, processors, limit, memory, status, user, queue and dependency; numbers stand for names of users. Lost are
/// shapes, classes, priorities, profiles and elastic sizes. Times are seconds with up to three decimals.
///
/// # Errors
/// When `out` cannot be written.
pub fn swf(jobs: &Jobs, mut out: impl Write) -> io::Result<()> {
    let (workload, cluster) = (&jobs.workload, &jobs.cluster);
    let devices = workload.jobs.iter().any(|job| workload.devices_milli(job) > 0);
    let processors: u64 = cluster
        .nodes
        .iter()
        .map(|node| if devices { node.devices.len() as u64 } else { node.capacity.cpu.0 / 1000 })
        .sum();
    writeln!(out, "; Version: 2.2\n; Computer: {}", workload.name.replace('\n', " "))?;
    writeln!(out, "; MaxJobs: {0}\n; MaxRecords: {0}", workload.jobs.len())?;
    if let Some(zero) = jobs.zero_ms {
        writeln!(out, "; UnixStartTime: {}\n; TimeZone: 0", zero.div_euclid(1000))?;
    }
    writeln!(out, "; MaxNodes: {}\n; MaxProcs: {processors}", cluster.nodes.len())?;
    if devices {
        writeln!(out, "; Note: a processor is a GPU")?;
    }
    for (number, queue) in workload.queues.iter().enumerate() {
        writeln!(out, "; Queue: {number} {queue}")?;
    }
    for job in &workload.jobs {
        write_swf_job(jobs, job, devices, &mut out)?;
    }
    Ok(())
}

fn write_swf_job(jobs: &Jobs, job: &SimJob, devices: bool, out: &mut impl Write) -> io::Result<()> {
    let shape = jobs.workload.shapes.get(job.shape as usize).and_then(|all| all.first());
    let cores = shape.map_or(0, |shape| shape.request.cpu.0.div_ceil(1000)).max(1);
    let each = if devices {
        jobs.workload.devices_milli(job).div_ceil(1000)
    } else {
        cores * u64::from(job.size.min)
    };
    let memory = shape.map_or(0, |shape| shape.request.memory.0 / 1024 / cores);
    let wait =
        jobs.starts.get(&job.id).map_or_else(|| "-1".to_owned(), |start| seconds(start.since(job.submit).0));
    let status = match job.ending {
        Ending::Completed => 1,
        Ending::Failed => 0,
        Ending::Cancelled => 5,
    };
    let known = |amount: u64| if amount > 0 { amount.to_string() } else { "-1".to_owned() };
    let (after, think) = job
        .after
        .map_or(("-1".to_owned(), "-1".to_owned()), |(id, think)| (id.to_string(), seconds(think.0)));
    let limit = job.limit.map_or_else(|| "-1".to_owned(), |limit| seconds(limit.0));
    writeln!(
        out,
        "{} {} {wait} {} {each} -1 -1 {each} {limit} {} {status} {} -1 -1 {} -1 {after} {think}",
        job.id,
        seconds(job.submit.0),
        seconds(job.duration.0),
        known(memory),
        job.user,
        job.queue,
    )
}

/// Milliseconds as seconds, with as many decimals as they need.
fn seconds(millis: u64) -> String {
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        rest => format!("{}.{}", millis / 1000, format!("{rest:03}").trim_end_matches('0')),
    }
}

/// The moment of the calendar, from 1970 where the trace has none; whole seconds.
fn date(jobs: &Jobs, at: Timestamp) -> String {
    let at = i64::try_from(at.0).unwrap_or(i64::MAX);
    time::show(jobs.zero_ms.unwrap_or(0).saturating_add(at))
}

/// Writes `cluster_log.csv` of the Helios traces: whole seconds, no limits, dependencies or shapes beyond GPUs and CPUs.
///
/// # Errors
/// When `out` cannot be written.
pub fn helios(jobs: &Jobs, mut out: impl Write) -> io::Result<()> {
    writeln!(
        out,
        "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue"
    )?;
    for job in &jobs.workload.jobs {
        let row = Row::of(jobs, job);
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{}",
            job.id,
            row.user,
            row.queue,
            row.gpus,
            row.cpus,
            job.size.min,
            row.state,
            date(jobs, job.submit),
            date(jobs, row.start),
            date(jobs, row.start.after(job.duration)),
            job.duration.0 / 1000,
            row.start.since(job.submit).0 / 1000,
        )?;
    }
    Ok(())
}

/// Writes what `sacct --parsable2` prints: whole seconds, a line a job, no steps.
///
/// # Errors
/// When `out` cannot be written.
pub fn sacct(jobs: &Jobs, mut out: impl Write) -> io::Result<()> {
    writeln!(
        out,
        "JobID|User|Account|Partition|Submit|Start|End|Elapsed|Timelimit|State|NNodes|NCPUS|AllocTRES"
    )?;
    for job in &jobs.workload.jobs {
        let row = Row::of(jobs, job);
        let moment = |at| date(jobs, at).replace(' ', "T");
        let gpus = if row.gpus > 0 { format!(",gres/gpu={}", row.gpus) } else { String::new() };
        let state = if row.state == "CANCELLED" { "CANCELLED by 1000" } else { row.state };
        writeln!(
            out,
            "{}|{}|{}|{}|{}|{}|{}|{}|{}|{state}|{}|{}|billing={},cpu={}{gpus},mem={}M,node={}",
            job.id,
            row.user,
            row.queue,
            row.queue,
            moment(job.submit),
            moment(row.start),
            moment(row.start.after(job.duration)),
            span(job.duration.0),
            job.limit.map_or_else(|| "UNLIMITED".to_owned(), |limit| span(limit.0)),
            job.size.min,
            row.cpus,
            row.cpus,
            row.cpus,
            row.memory >> 20,
            job.size.min,
        )?;
    }
    Ok(())
}

/// `[days-]hours:minutes:seconds`.
fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => clock,
        days => format!("{days}-{clock}"),
    }
}

/// A job with its names and sums.
struct Row<'a> {
    user: &'a str,
    queue: &'a str,
    gpus: u64,
    cpus: u64,
    memory: u64,
    state: &'static str,
    start: Timestamp,
}

impl<'a> Row<'a> {
    fn of(jobs: &'a Jobs, job: &SimJob) -> Self {
        let workload = &jobs.workload;
        let request =
            workload.shapes.get(job.shape as usize).and_then(|all| all.first()).map(|shape| shape.request);
        let all = |amount: u64| amount.saturating_mul(u64::from(job.size.min));
        Self {
            user: workload.users.get(job.user as usize).map_or("", |user| user.as_str()),
            queue: workload.queues.get(job.queue as usize).map_or("", |queue| queue.as_str()),
            gpus: workload.devices_milli(job).div_ceil(1000),
            cpus: request.map_or(1, |request| all(request.cpu.0).div_ceil(1000)),
            memory: request.map_or(0, |request| all(request.memory.0)),
            state: match job.ending {
                Ending::Completed => "COMPLETED",
                Ending::Failed => "FAILED",
                Ending::Cancelled => "CANCELLED",
            },
            start: jobs.starts.get(&job.id).copied().unwrap_or(job.submit),
        }
    }
}

/// The same jobs with users, queues, shapes and profiles numbered in the order in which jobs name them, as readers number
/// them: two workloads that hold the same jobs are then equal.
#[must_use]
pub fn in_order(jobs: &Jobs) -> Jobs {
    let mut ordered = jobs.clone();
    let old = &jobs.workload;
    let mut new = crate::workload::Workload::new(&old.name);
    for job in &old.jobs {
        let name = |names: Option<&str>| names.unwrap_or_default().to_owned();
        let mut job = *job;
        job.user = new.user(&name(old.users.get(job.user as usize).map(|user| user.as_str())));
        job.queue = new.queue(&name(old.queues.get(job.queue as usize).map(|queue| queue.as_str())));
        job.shape = new.shape(old.shapes.get(job.shape as usize).cloned().unwrap_or_default());
        let profile = job.profile.and_then(|at| old.profiles.get(at as usize)).cloned();
        job.profile = profile.map(|profile| new.profile(profile));
        new.jobs.push(job);
    }
    ordered.workload = new;
    ordered
}
