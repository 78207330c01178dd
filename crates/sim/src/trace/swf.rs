//! The Standard Workload Format of the Parallel Workloads Archive (Feitelson, Tsafrir, Krakov, "Experience with using
//! the Parallel Workloads Archive", JPDC 74(10), 2014): comments `; Name: value`, then 18 numbers a line, -1 for unknown.

use super::jobs::{Builder, Draft, MOST_NODES, Zero, shape, split_evenly};
use super::lines::read_lines;
use super::table::malformed;
use super::time::read_thousandths;
use super::{BadRowReason, Jobs, LeftOut, Machine, Note, Reading};
use crate::workload::{Cluster, Ending};
use std::collections::BTreeMap;
use std::io::Read;

/// Fields of a line.
const FIELDS: [&str; 18] = [
    "job number",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average CPU time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
];

/// One line; `None` where the log holds -1. Times in milliseconds from the log's start, memory in KiB a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwfJob {
    /// The log's own number.
    pub id: u64,
    /// Submission.
    pub submit_ms: i64,
    /// From submission to start.
    pub wait_ms: Option<u64>,
    /// From start to end.
    pub run_ms: Option<u64>,
    /// Processors it had.
    pub allocated: Option<u32>,
    /// Memory it used.
    pub used_kib: Option<u64>,
    /// Processors it asked for.
    pub requested: Option<u32>,
    /// Time it asked for.
    pub requested_ms: Option<u64>,
    /// Memory it asked for.
    pub requested_kib: Option<u64>,
    /// How it ended.
    pub status: Option<u32>,
    /// Who.
    pub user: Option<u32>,
    /// Whose.
    pub group: Option<u32>,
    /// Where it waited.
    pub queue: Option<u32>,
    /// Where it ran.
    pub partition: Option<u32>,
    /// The job that had to end before this one was submitted.
    pub after: Option<u64>,
    /// The time between the two.
    pub think_ms: Option<u64>,
}

/// What the comments at the head say, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `Computer`.
    pub computer: String,
    /// `MaxRecords`: lines of jobs that the file should have.
    pub records: Option<u64>,
    /// `MaxNodes`.
    pub nodes: Option<u32>,
    /// `MaxProcs`.
    pub processors: Option<u32>,
    /// `MaxMemory`, in KiB a node.
    pub memory_kib: Option<u64>,
    /// `UnixStartTime`, in seconds since 1970, UTC.
    pub start_s: Option<i64>,
    /// `TimeZone`, in seconds east of UTC.
    pub zone_s: i64,
    /// `Queue: number name`.
    pub queues: BTreeMap<u32, String>,
    /// `Partition: number name`.
    pub partitions: BTreeMap<u32, String>,
}

/// How the machine of a log is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// As the header says: `MaxProcs / MaxNodes` processors on each node, jobs as gangs of tasks.
    #[default]
    Nodes,
    /// One machine with all processors, each job one task: only the number of processors counts, as in most published
    /// simulations of these logs.
    Flat,
}

/// Reads a log.
pub fn read(input: impl Read) -> (Header, Reading<SwfJob>) {
    let mut header = Header::default();
    let reading = read_lines(input, |_line, text| {
        let text = text.trim();
        if let Some(comment) = text.strip_prefix([';', '#']) {
            read_comment(comment, &mut header);
            return None;
        }
        Some(read_job(text))
    });
    (header, reading)
}

fn read_comment(comment: &str, header: &mut Header) {
    let Some((name, value)) = comment.split_once(':') else { return };
    let value = value.trim();
    // `Note: ...` may follow the number: `MaxNodes: 144 (8-way)`.
    let number =
        || value.split_whitespace().next().and_then(|word| word.replace(',', "").parse::<i64>().ok());
    let count = || number().and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0);
    match name.trim().to_ascii_lowercase().as_str() {
        "computer" => value.clone_into(&mut header.computer),
        "maxrecords" => header.records = number().and_then(|value| u64::try_from(value).ok()),
        "maxnodes" => header.nodes = count(),
        "maxprocs" => header.processors = count(),
        "maxmemory" => header.memory_kib = number().and_then(|value| u64::try_from(value).ok()),
        "unixstarttime" => header.start_s = number(),
        "timezone" => header.zone_s = number().unwrap_or(0),
        "queue" => read_name(value, &mut header.queues),
        "partition" => read_name(value, &mut header.partitions),
        _ => {}
    }
}

fn read_name(value: &str, names: &mut BTreeMap<u32, String>) {
    let mut words = value.split_whitespace();
    if let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse), words.next()) {
        names.entry(number).or_insert_with(|| name.trim_matches(['[', ']']).to_owned());
    }
}

fn read_job(text: &str) -> Result<SwfJob, BadRowReason> {
    let mut fields = [-1000_i64; FIELDS.len()];
    let mut words = text.split_whitespace();
    for (at, name) in FIELDS.into_iter().enumerate() {
        // Everything behind the status may be missing in logs made by hand.
        let Some(word) = words.next() else {
            if at > 10 { break } else { return Err(BadRowReason::Missing(name)) }
        };
        fields[at] = read_thousandths(word).ok_or_else(|| malformed(name, word, "a number"))?;
    }
    let extra = words.count();
    if extra > 0 {
        return Err(BadRowReason::TooWide { found: FIELDS.len() + extra, named: FIELDS.len() });
    }
    let whole = |at: usize| u64::try_from(fields[at] / 1000).ok().filter(|_| fields[at] >= 0);
    let small = |at: usize| whole(at).and_then(|value| u32::try_from(value).ok());
    let time = |at: usize| u64::try_from(fields[at]).ok();
    let id = whole(0).ok_or_else(|| {
        malformed(FIELDS[0], text.split_whitespace().next().unwrap_or_default(), "a number of 0 or more")
    })?;
    Ok(SwfJob {
        id,
        submit_ms: fields[1],
        wait_ms: time(2),
        run_ms: time(3),
        allocated: small(4).filter(|&count| count > 0),
        used_kib: whole(6).filter(|&amount| amount > 0),
        requested: small(7).filter(|&count| count > 0),
        requested_ms: time(8).filter(|&span| span > 0),
        requested_kib: whole(9).filter(|&amount| amount > 0),
        status: small(10),
        user: small(11),
        group: small(12),
        queue: small(14),
        partition: small(15),
        after: whole(16).filter(|&id| id > 0),
        think_ms: time(17),
    })
}

/// The workload and the machine of a log.
///
/// A job has the processors it was allocated, or asked for where that is not known. Memory is what it asked for, on
/// nodes that hold it. Its limit is the time it asked for. Partial records (status 2, 3 and 4) are left out: the whole
/// job has a line of its own.
#[must_use]
pub fn jobs(name: &str, header: &Header, reading: &Reading<SwfJob>, layout: Layout) -> Jobs {
    let (nodes, per_node) = machine(header, || most_in_use(&reading.rows), layout);
    let memory = node_memory(header, reading, per_node);
    let mut builder = Builder::new(name);
    if header.nodes.or(header.processors).is_none() {
        builder.note(Note::MadeUpMachines);
    }
    for (job, &line) in reading.rows.iter().zip(&reading.lines) {
        let drafted = draft(job, line, per_node, memory);
        match drafted {
            Ok(mut draft) => {
                let (user, queue) = (user(job), queue(header, job));
                (draft.user, draft.queue) = (&user, &queue);
                if draft.limit_ms.is_none() {
                    builder.note(Note::NoLimit);
                }
                builder.add(draft);
            }
            Err(why) => builder.leave_out(line, why),
        }
    }
    let machine = Machine {
        name: "n".to_owned(),
        cpu_milli: u64::from(per_node) * 1000,
        memory,
        gpus: 0,
        gpu: (String::new(), 0),
        partition: String::new(),
    };
    let cluster = Cluster {
        nodes: (0..nodes as usize).map(|number| machine.node(number)).collect(),
        queues: Vec::new(),
    };
    let zero = header.start_s.map(|start| start.saturating_add(header.zone_s).saturating_mul(1000));
    builder.finish(Zero::Counted(zero), cluster)
}

const fn processors(job: &SwfJob) -> Option<u32> {
    match job.allocated {
        None => job.requested,
        some => some,
    }
}

/// The most processors of one node.
const MOST_CORES: u32 = 1_000_000;

/// The most processors that jobs had at once, as they ran; of one whose wait is not known, from its submission on.
fn most_in_use(rows: &[SwfJob]) -> u32 {
    let mut changes: Vec<(i64, i64)> = Vec::new();
    let mut widest = 1;
    for job in rows.iter().filter(|job| !matches!(job.status, Some(2..=4))) {
        let Some((count, run)) = processors(job).filter(|count| *count <= MOST_NODES).zip(job.run_ms) else {
            continue;
        };
        widest = widest.max(count);
        let start = job.submit_ms.saturating_add_unsigned(job.wait_ms.unwrap_or(0));
        changes.push((start, i64::from(count)));
        changes.push((start.saturating_add_unsigned(run), -i64::from(count)));
    }
    // What ends at a moment is free for what begins then.
    changes.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    u32::try_from(most).unwrap_or(u32::MAX).clamp(widest, MOST_NODES)
}

/// Nodes, and processors on each; a header that speaks of more than there is anywhere is not believed.
fn machine(header: &Header, most_in_use: impl Fn() -> u32, layout: Layout) -> (u32, u32) {
    let named = header.nodes.filter(|count| *count <= MOST_NODES);
    let processors = header.processors.or(named).unwrap_or_else(most_in_use);
    let nodes = match layout {
        Layout::Flat => 1,
        Layout::Nodes => named.unwrap_or(processors).min(processors).min(MOST_NODES),
    };
    (nodes, processors.div_ceil(nodes.max(1)).min(MOST_CORES))
}

/// Memory of a node in bytes: what the header says, or as much as the largest request; never what binds by itself.
fn node_memory(header: &Header, reading: &Reading<SwfJob>, per_node: u32) -> u64 {
    let largest = reading.rows.iter().filter_map(|job| job.requested_kib).max().unwrap_or(0);
    let enough = largest.saturating_mul(u64::from(per_node)).saturating_mul(1024).min(1 << 50);
    header.memory_kib.map_or(enough, |kib| kib.saturating_mul(1024)).clamp(1 << 30, 1 << 50)
}

fn draft(job: &SwfJob, line: u64, per_node: u32, memory: u64) -> Result<Draft<'static>, LeftOut> {
    let ending = match job.status {
        Some(2..=4) => return Err(LeftOut::Part),
        Some(0) => Ending::Failed,
        Some(5) => Ending::Cancelled,
        _ => Ending::Completed,
    };
    let run_ms = match (job.run_ms, ending) {
        (Some(0) | None, Ending::Cancelled) => return Err(LeftOut::NeverRan),
        (None, _) => return Err(LeftOut::NoTimes),
        (Some(run), _) => run,
    };
    let processors = processors(job).ok_or(LeftOut::NoSize)?;
    let (tasks, each) = split_evenly(processors, per_node);
    let asked = job.requested_kib.unwrap_or(0).saturating_mul(1024).saturating_mul(u64::from(each));
    let after = job.after.map(|id| (id, job.think_ms.unwrap_or(0)));
    Ok(Draft {
        line,
        id: job.id,
        user: "",
        queue: "",
        submit_ms: job.submit_ms,
        start_ms: job.wait_ms.and_then(|wait| job.submit_ms.checked_add_unsigned(wait)),
        duration_ms: run_ms,
        limit_ms: job.requested_ms,
        ending,
        tasks,
        shapes: vec![shape(u64::from(each) * 1000, asked.min(memory), 0, 0, None)],
        after,
    })
}

fn user(job: &SwfJob) -> String {
    job.user.map_or_else(String::new, |number| format!("u{number}"))
}

/// The name of its queue, or of its partition where the log has no queues.
fn queue(header: &Header, job: &SwfJob) -> String {
    let named = |names: &BTreeMap<u32, String>, number: u32, letter: char| {
        names.get(&number).map_or_else(|| format!("{letter}{number}"), String::to_owned)
    };
    match (job.queue, job.partition) {
        (Some(queue), _) => named(&header.queues, queue, 'q'),
        (None, Some(partition)) => named(&header.partitions, partition, 'p'),
        (None, None) => String::new(),
    }
}
