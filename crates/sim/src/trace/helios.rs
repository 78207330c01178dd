//! The Helios traces (Hu et al., "Characterization and Prediction of Deep Learning Workloads in Large-Scale
//! GPU Datacenters", SC 2021): the original `cluster_log.csv` and the two shapes it is passed around in.

use super::jobs::{Builder, Draft, MOST_NODES, Zero, guaranteed, shape, split_evenly};
use super::table::{Column, Row, Style, malformed, read};
use super::{BadRowReason, Jobs, LeftOut, Machine, Note, Reading, TraceJob, read_ending, time};
use crate::workload::{Cluster, Ending};
use std::io::Read;

/// What a log may call each of its columns.
pub(super) mod column {
    use super::Column;
    pub const ID: Column = &["job_id", "jobid", "id"];
    pub const USER: Column = &["user"];
    pub const PARTITION: Column = &["vc", "tenant", "partition"];
    pub const GPUS: Column = &["gpu_num", "num_chips", "gpus"];
    pub const CPUS: Column = &["cpu_num"];
    pub const NODES: Column = &["node_num", "num_nodes"];
    pub const STATE: Column = &["state", "final_status"];
    pub const SUBMIT: Column = &["submit_time"];
    pub const RELATIVE: Column = &["sub_rel"];
    pub const START: Column = &["start_time"];
    pub const END: Column = &["end_time"];
    pub const DURATION: Column = &["duration", "duration_s"];
    pub const LIMIT: Column = &["walltime_limit_s"];
    pub const CLAMPED: Column = &["clamped_48h"];
}

/// One job of a Helios log; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeliosJob {
    /// Slurm's number.
    pub id: u64,
    /// Who; empty where the shape has none.
    pub user: String,
    /// Virtual cluster; empty where the shape has none.
    pub partition: String,
    /// GPUs in all.
    pub gpus: u32,
    /// CPUs in all, where the shape tells.
    pub cpus: Option<u64>,
    /// Nodes, where the shape tells.
    pub nodes: Option<u32>,
    /// Submission: since 1970 in local time where the shape holds dates, otherwise since the window's start.
    pub submit_ms: i64,
    /// Whether `submit_ms` is of the calendar.
    pub dated: bool,
    /// Start, as `submit_ms`.
    pub start_ms: Option<i64>,
    /// Run time; `None` for a job that never ran.
    pub duration_ms: Option<u64>,
    /// Limit.
    pub limit_ms: Option<u64>,
    /// How it ended; `None` when it had not.
    pub ending: Option<Ending>,
    /// Its state is no word that is known; it is taken to be completed.
    pub strange: bool,
    /// Its run time was cut by whoever made the file.
    pub clamped: bool,
}

/// Columns `job_id, submit_time, sub_rel, gpu_num, duration_s, …`: submit times already relative to the trace's epoch.
///
/// Has neither partition nor user.
pub fn relative(input: impl Read) -> Reading<TraceJob> {
    read(input, Style::CSV, |row| {
        Ok(TraceJob {
            id: row.number(column::ID)?,
            partition: String::new(),
            user: String::new(),
            submit_s: row.signed(column::RELATIVE)?,
            duration_s: row.number(column::DURATION)?,
            gpus: row.small(column::GPUS)?,
        })
    })
}

/// Columns `job_id, user, tenant, …, submit_time, num_chips, …, duration_s, …`: submit times in microseconds from
/// the start of a window, which stands `window_start_s` after the trace's epoch.
pub fn windowed(input: impl Read, window_start_s: i64) -> Reading<TraceJob> {
    read(input, Style::CSV, |row| {
        Ok(TraceJob {
            id: row.number(column::ID)?,
            partition: row.text(column::PARTITION)?.to_owned(),
            user: row.text(column::USER)?.to_owned(),
            submit_s: window_start_s.saturating_add(row.signed(column::SUBMIT)?.div_euclid(1_000_000)),
            duration_s: row.whole_seconds(column::DURATION)?,
            gpus: row.small(column::GPUS)?,
        })
    })
}

/// Any of the shapes; the header decides. Needed: `job_id`, `submit_time`, `gpu_num` or `num_chips`, and `duration`
/// or both `start_time` and `end_time`.
pub fn jobs_of(input: impl Read) -> Reading<HeliosJob> {
    read(input, Style::CSV, read_job)
}

fn read_job(row: &Row) -> Result<HeliosJob, BadRowReason> {
    let (submit_ms, dated) = read_submit(row)?;
    let moment = |column| if dated && row.has(column) { row.moment(column) } else { Ok(None) };
    let (start_ms, end_ms) = (moment(column::START)?, moment(column::END)?);
    let told =
        match row.optional(column::DURATION).filter(|text| !time::is_unknown(text)) {
            Some(text) => Some(u64::try_from(row.millis(column::DURATION)?).map_err(|_negative| {
                malformed(column::DURATION[0], text, "a number of seconds of 0 or more")
            })?),
            None if row.has(column::DURATION) || (row.has(column::START) && row.has(column::END)) => None,
            None => return Err(BadRowReason::Missing(column::DURATION[0])),
        };
    let between = start_ms.zip(end_ms).map(|(start, end)| u64::try_from(end.saturating_sub(start)));
    let duration_ms = match (told, between) {
        (Some(told), _) => Some(told),
        (None, Some(Ok(span))) => Some(span),
        (None, Some(Err(_negative))) => return Err(LeftOut::Backwards.into()),
        (None, None) => None,
    };
    let count = |column| if row.optional(column).is_some() { row.small(column).map(Some) } else { Ok(None) };
    let (ending, strange) = row.optional(column::STATE).map_or((Some(Ending::default()), false), read_ending);
    let limit = row.optional(column::LIMIT).map(|_| row.millis(column::LIMIT)).transpose()?;
    Ok(HeliosJob {
        id: row.number(column::ID)?,
        user: row.optional(column::USER).unwrap_or_default().to_owned(),
        partition: row.optional(column::PARTITION).unwrap_or_default().to_owned(),
        gpus: row.small(column::GPUS)?,
        cpus: count(column::CPUS)?.map(u64::from),
        nodes: count(column::NODES)?.filter(|&nodes| nodes > 0),
        submit_ms,
        dated,
        start_ms,
        duration_ms,
        limit_ms: limit.and_then(|limit| u64::try_from(limit).ok()),
        ending,
        strange,
        clamped: row.optional(column::CLAMPED) == Some("1"),
    })
}

/// A date where the column holds one; a bare count is of microseconds from the window's start.
fn read_submit(row: &Row) -> Result<(i64, bool), BadRowReason> {
    let text = row.text(column::SUBMIT)?;
    if let Some(at) = time::read_moment(text) {
        // The windowed shape counts microseconds, ten digits and more, that are no moment since 1970.
        let window = row.has(&["num_chips"]) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !window {
            return Ok((at, true));
        }
    }
    let micros: i64 = text
        .parse()
        .map_err(|_why| malformed(column::SUBMIT[0], text, "a date and time, or microseconds"))?;
    Ok((micros.div_euclid(1000), false))
}

/// Virtual clusters and how many nodes each has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Nodes of eight GPUs.
    pub nodes: u32,
}

/// A table `vc, num` of nodes (the first column may have no name), or `cluster_gpu_number.csv`: one column a virtual
/// cluster, one row a day, in GPUs; of those the largest of all days counts, rounded up to whole nodes.
pub fn partitions(input: impl Read) -> Reading<Partition> {
    let per_day: &[&str] = &["date"];
    let mut most: Vec<Partition> = Vec::new();
    let mut reading = read(input, Style::CSV, |row| {
        if !row.has(per_day) {
            let name = row.first().to_owned();
            return Ok(Partition { name, nodes: few(row.small(&["num", "nodes"])?)? });
        }
        for (name, text) in row.named().filter(|(name, _)| *name != "date" && *name != "total") {
            let gpus: u32 = text.parse().map_err(|_why| malformed("GPUs", text, "a count"))?;
            let nodes = few(gpus.div_ceil(NODE_GPUS))?;
            match most.iter_mut().find(|known| known.name == name) {
                Some(known) => known.nodes = known.nodes.max(nodes),
                None => most.push(Partition { name: name.to_owned(), nodes }),
            }
        }
        Ok(Partition { name: String::new(), nodes: 0 })
    });
    if !most.is_empty() {
        reading.lines = vec![1; most.len()];
        reading.rows = most;
    }
    reading
}

/// No more nodes than a cluster has.
fn few(nodes: u32) -> Result<u32, LeftOut> {
    if nodes <= MOST_NODES { Ok(nodes) } else { Err(LeftOut::TooLarge) }
}

/// GPUs of a node: eight in all four clusters.
pub const NODE_GPUS: u32 = 8;
/// Cores of a node of Venus and of Earth (table 1 of the paper), the fewest of the four clusters.
const NODE_CPU_MILLI: u64 = 48_000;
/// Memory of a node of Venus.
const NODE_MEMORY: u64 = 376 << 30;

/// How the nodes of the virtual clusters may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// One pool; each virtual cluster is a queue that is guaranteed the devices of its nodes.
    #[default]
    Pooled,
    /// Each alone: its jobs run on its nodes and on no others (label `partition`), as in the real clusters.
    Apart,
}

/// The workload of a log, on the nodes of the virtual clusters.
///
/// Without `partitions` there are `nodes` nodes and at least as many as the widest job needs; without either, the smallest
/// pool that could have run it. A job of more than
/// eight GPUs is a gang of equal tasks, as few as fit on nodes; the log's own count of nodes is kept where it divides
/// the GPUs. Each task asks for the CPUs that the log tells, one core and 1 GiB a GPU where it does not.
#[must_use]
pub fn jobs(
    name: &str,
    reading: &Reading<HeliosJob>,
    partitions: &[Partition],
    nodes: u32,
    pooling: Pooling,
) -> Jobs {
    let mut builder = Builder::new(name);
    // Dates and counts have no common zero: what most rows have is the trace's.
    let dated = reading.rows.iter().filter(|job| job.dated).count() * 2 > reading.rows.len();
    let mut widest = 0;
    for (job, &line) in reading.rows.iter().zip(&reading.lines) {
        let (ending, duration_ms) = match life(job, dated) {
            Ok(life) => life,
            Err(why) => {
                builder.leave_out(line, why);
                continue;
            }
        };
        for note in [(job.clamped, Note::Clamped), (job.strange, Note::UnknownState)] {
            if note.0 {
                builder.note(note.1);
            }
        }
        let (tasks, gpus) = tasks_of(job);
        let cpu_milli = match job.cpus {
            Some(cpus) => (cpus * 1000).div_ceil(u64::from(tasks)),
            None => u64::from(gpus) * 1000,
        };
        if cpu_milli > NODE_CPU_MILLI {
            builder.note(Note::CutToMachine);
        }
        if gpus == 0 && cpu_milli == 0 {
            builder.leave_out(line, LeftOut::NoSize);
            continue;
        }
        let memory = u64::from(gpus.max(1)) << 30;
        let mut asked = shape(cpu_milli.min(NODE_CPU_MILLI), memory, gpus, 1000, None);
        if pooling == Pooling::Apart && !job.partition.is_empty() {
            asked.labels.insert("partition".to_owned(), job.partition.clone());
        }
        let taken = builder.add(Draft {
            line,
            id: job.id,
            user: &job.user,
            queue: &job.partition,
            submit_ms: job.submit_ms,
            start_ms: job.start_ms,
            duration_ms,
            limit_ms: job.limit_ms,
            ending,
            tasks,
            shapes: vec![asked],
            after: None,
        });
        if taken {
            widest = widest.max(u64::from(tasks) * u64::from(gpus));
        }
    }
    let cluster = if partitions.is_empty() && nodes == 0 {
        builder.smallest(Vec::new())
    } else {
        let least = u32::try_from(widest.div_ceil(u64::from(NODE_GPUS))).unwrap_or(1).max(1);
        cluster(partitions, nodes.max(least), pooling)
    };
    builder.finish(if dated { Zero::Midnight } else { Zero::Counted(None) }, cluster)
}

/// How it ended, and after how long.
fn life(job: &HeliosJob, dated: bool) -> Result<(Ending, u64), LeftOut> {
    let ending = job.ending.ok_or(LeftOut::NotEnded)?;
    let duration_ms = job.duration_ms.filter(|_| job.dated == dated).ok_or(LeftOut::NoTimes)?;
    if job.start_ms.is_none() && duration_ms == 0 && ending == Ending::Cancelled {
        return Err(LeftOut::NeverRan);
    }
    Ok((ending, duration_ms))
}

/// Tasks, and GPUs of each.
fn tasks_of(job: &HeliosJob) -> (u32, u32) {
    match job.nodes {
        Some(nodes) if job.gpus.is_multiple_of(nodes) && job.gpus / nodes <= NODE_GPUS => {
            (nodes, job.gpus / nodes)
        }
        _ => split_evenly(job.gpus, NODE_GPUS),
    }
}

/// The nodes of these virtual clusters; without any, `nodes` nodes in one pool.
#[must_use]
pub fn cluster(partitions: &[Partition], nodes: u32, pooling: Pooling) -> Cluster {
    let machine = |name: &str| Machine {
        name: "n".to_owned(),
        cpu_milli: NODE_CPU_MILLI,
        memory: NODE_MEMORY,
        gpus: NODE_GPUS,
        gpu: ("V100".to_owned(), 16 << 30),
        partition: name.to_owned(),
    };
    if partitions.is_empty() {
        let machine = machine("");
        return Cluster {
            nodes: (0..nodes as usize).map(|at| machine.node(at)).collect(),
            queues: Vec::new(),
        };
    }
    let mut cluster = Cluster::default();
    for partition in partitions.iter().filter(|partition| partition.nodes > 0) {
        let machine = machine(&partition.name);
        for _ in 0..partition.nodes {
            cluster.nodes.push(machine.node(cluster.nodes.len()));
        }
        if pooling == Pooling::Pooled {
            let devices = u64::from(partition.nodes) * u64::from(NODE_GPUS) * 1000;
            cluster.queues.push(guaranteed(&partition.name, devices));
        }
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_are_told_with_their_line() {
        let text = "# a comment\njob_id,submit_time,sub_rel,gpu_num,duration_s\n\
                    1,x,-5,8,100\n2,x,soon,8,100\n3,x,7,8\n4,x,9,1,30\n";
        let reading = relative(text.as_bytes());
        assert_eq!(
            reading.rows.iter().map(|job| (job.id, job.submit_s)).collect::<Vec<_>>(),
            [(1, -5), (4, 9)]
        );
        let told: Vec<String> = reading.bad.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 4: column `sub_rel` holds `soon`, which is not a whole number",
                "line 5: the row has no column `duration`"
            ]
        );
    }

    #[test]
    fn windowed_times_count_from_the_epoch() {
        let text = "job_id,user,tenant,class,submit_time,num_chips,duration_s\n\
                    7,u1,vcA,x,5835000000,128,24.0\n8,u1,vcA,x,1,1,2.5\n";
        let reading = windowed(text.as_bytes(), 1000);
        assert_eq!((reading.rows[0].submit_s, reading.rows[0].duration_s), (6835, 24));
        assert_eq!(reading.bad.len(), 1);
    }
}
