//! Our own form of a trace: JSON lines that lose nothing of a workload, for jobs that a pool has finished and for
//! made-up ones. `{"head":…}` first, then `{"node":…}`, `{"queue":…}` and `{"job":…}` in any order.

use super::jobs::{Builder, Draft, Zero, possible};
use super::lines::read_lines;
use super::{BadRowReason, Jobs, LeftOut, Reading, not_json};
use crate::workload::{Cluster, Ending, Profile, SimJob, Workload};
use pond_core::ids::NodeName;
use pond_core::model::{
    Class, DeviceKind, DeviceRequest, GangSize, NodeSpec, QueueSpec, Resources, Shape, ShareMode,
};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// What the file is.
    Head(Head),
    /// A machine.
    Node(NodeSpec),
    /// A queue; parents before children.
    Queue(QueueSpec),
    /// A job that has ended.
    Job(Box<Row>),
}

/// What the file is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Head {
    /// For people.
    pub name: String,
    /// The moment from which times count, in milliseconds since 1970; absent: none in the calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_ms: Option<i64>,
}

/// A finished job. Times in milliseconds from the head's zero; what is absent has the value named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Row {
    /// Unique in the file.
    pub id: u64,
    /// Submission.
    pub submit_ms: i64,
    /// First start, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<i64>,
    /// Time it ran; all attempts together. Absent: it never ran, or had not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Who.
    pub user: String,
    /// Where; absent: `default`.
    #[serde(skip_serializing_if = "is_default_queue")]
    pub queue: String,
    /// Promise; absent: `standard`.
    #[serde(skip_serializing_if = "is_standard")]
    pub class: Class,
    /// 0..=1000; absent: 500.
    #[serde(skip_serializing_if = "is_normal")]
    pub priority: u16,
    /// Tasks that start together; absent: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub tasks: u32,
    /// The most tasks of an elastic job; absent: as many as `tasks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u32>,
    /// What each task asked for, in order of preference.
    pub shapes: Vec<Ask>,
    /// Time limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// What was predicted before it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_ms: Option<u64>,
    /// How it ended; absent: completed.
    #[serde(skip_serializing_if = "is_completed")]
    pub ending: Ending,
    /// The job that had to end before it was submitted, and the milliseconds between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<(u64, u64)>,
    /// How its speed depends on its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            id: 0,
            submit_ms: 0,
            start_ms: None,
            duration_ms: None,
            user: String::new(),
            queue: "default".to_owned(),
            class: Class::Standard,
            priority: 500,
            tasks: 1,
            max_tasks: None,
            shapes: Vec::new(),
            limit_ms: None,
            predicted_ms: None,
            ending: Ending::Completed,
            after: None,
            profile: None,
        }
    }
}

/// What one task asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// CPU in thousandths of a core.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_milli: u64,
    /// Memory in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// Disk in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub disk: u64,
    /// The most it may use; absent: the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Resources>,
    /// Devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<AskDevice>,
    /// Labels that its node must carry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Devices of one kind for one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskDevice {
    /// Absent: `gpu`.
    #[serde(skip_serializing_if = "is_gpu")]
    pub kind: DeviceKind,
    /// How many; absent: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u32,
    /// Absent: any model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Absent: `exclusive`.
    #[serde(skip_serializing_if = "is_exclusive")]
    pub mode: ShareMode,
    /// Thousandths of each; absent: 1000.
    #[serde(skip_serializing_if = "is_whole")]
    pub compute_milli: u64,
    /// Share of the memory of each, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// The least memory of each in all, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub device_memory: u64,
    /// Of a partition: the profile by name; absent: by size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl Default for AskDevice {
    fn default() -> Self {
        Self {
            kind: DeviceKind::Gpu,
            count: 1,
            model: None,
            mode: ShareMode::Exclusive,
            compute_milli: Thousandths::WHOLE.0,
            memory: 0,
            device_memory: 0,
            profile: None,
        }
    }
}

const fn is_zero(amount: &u64) -> bool {
    *amount == 0
}
const fn is_one(count: &u32) -> bool {
    *count == 1
}
const fn is_whole(share: &u64) -> bool {
    *share == Thousandths::WHOLE.0
}
const fn is_normal(priority: &u16) -> bool {
    *priority == 500
}
fn is_standard(class: &Class) -> bool {
    *class == Class::Standard
}
fn is_gpu(kind: &DeviceKind) -> bool {
    *kind == DeviceKind::Gpu
}
fn is_exclusive(mode: &ShareMode) -> bool {
    *mode == ShareMode::Exclusive
}
fn is_completed(ending: &Ending) -> bool {
    *ending == Ending::Completed
}
fn is_default_queue(queue: &String) -> bool {
    queue == "default"
}

impl From<&Shape> for Ask {
    fn from(shape: &Shape) -> Self {
        let device = |asked: &DeviceRequest| AskDevice {
            kind: asked.kind,
            count: asked.count,
            model: asked.model.clone(),
            mode: asked.mode,
            compute_milli: asked.compute.0,
            memory: asked.memory.0,
            device_memory: asked.device_memory.0,
            profile: asked.profile.clone(),
        };
        Self {
            cpu_milli: shape.request.cpu.0,
            memory: shape.request.memory.0,
            disk: shape.request.disk.0,
            burst: (shape.burst != shape.request).then_some(shape.burst),
            devices: shape.devices.iter().map(device).collect(),
            labels: shape.labels.clone(),
        }
    }
}

impl From<&Ask> for Shape {
    fn from(ask: &Ask) -> Self {
        let request =
            Resources { cpu: MilliCpu(ask.cpu_milli), memory: Bytes(ask.memory), disk: Bytes(ask.disk) };
        let device = |asked: &AskDevice| DeviceRequest {
            kind: asked.kind,
            model: asked.model.clone(),
            count: asked.count,
            device_memory: Bytes(asked.device_memory),
            mode: asked.mode,
            compute: Thousandths(asked.compute_milli),
            memory: Bytes(asked.memory),
            slack: pond_core::model::Slack::default(),
            profile: asked.profile.clone(),
        };
        Self {
            request,
            burst: ask.burst.unwrap_or(request),
            devices: ask.devices.iter().map(device).collect(),
            labels: ask.labels.clone(),
        }
    }
}

/// Reads a file of lines.
pub fn read(input: impl Read) -> Reading<Line> {
    read_lines(input, |_line, text| Some(read_line(text)))
}

fn read_line(text: &str) -> Result<Line, BadRowReason> {
    serde_json::from_str(text).map_err(|why| not_json(&why))
}

/// The workload of rows, wherever they come from; `zero_ms` as [`Head::zero_ms`].
#[must_use]
pub fn jobs(name: &str, rows: &[(u64, &Row)], zero_ms: Option<i64>, cluster: Cluster) -> Jobs {
    let mut loader = Loader::new(name);
    (loader.head.zero_ms, loader.cluster) = (zero_ms, cluster);
    for &(line, row) in rows {
        loader.take_row(line, row);
    }
    loader.finish()
}

/// The workload and the machines of a file that was read.
#[must_use]
pub fn jobs_of(name: &str, reading: &Reading<Line>) -> Jobs {
    let mut loader = Loader::new(name);
    for (line, &number) in reading.rows.iter().zip(&reading.lines) {
        loader.take(number, line);
    }
    loader.finish()
}

/// As [`jobs_of`] of what [`read`] gives, without keeping a line longer than it takes to read it.
pub fn load(name: &str, input: impl Read) -> (Reading<()>, Jobs) {
    let mut loader = Loader::new(name);
    let reading =
        read_lines(input, |number, text| Some(read_line(text).map(|line| loader.take(number, &line))));
    (reading, loader.finish())
}

/// A workload on its way in.
struct Loader {
    builder: Builder<'static>,
    head: Head,
    cluster: Cluster,
    names: BTreeSet<NodeName>,
}

impl Loader {
    fn new(name: &str) -> Self {
        Self {
            builder: Builder::new(name),
            head: Head { name: name.to_owned(), zero_ms: None },
            cluster: Cluster::default(),
            names: BTreeSet::new(),
        }
    }

    fn take(&mut self, number: u64, line: &Line) {
        match line {
            Line::Head(found) => found.clone_into(&mut self.head),
            Line::Node(node) => match possible_node(node) {
                Err(why) => self.builder.leave_out(number, why),
                Ok(()) if !self.names.insert(node.name.clone()) => {
                    self.builder.leave_out(number, LeftOut::Double);
                }
                Ok(()) => self.cluster.nodes.push(node.clone()),
            },
            Line::Queue(queue) => self.cluster.queues.push(queue.clone()),
            Line::Job(row) => self.take_row(number, row),
        }
    }

    fn take_row(&mut self, line: u64, row: &Row) {
        let Some(duration_ms) = row.duration_ms else {
            let why = if row.start_ms.is_some() { LeftOut::NotEnded } else { LeftOut::NeverRan };
            return self.builder.leave_out(line, why);
        };
        if row.profile.as_ref().is_some_and(|profile| !profile.speed.is_sound()) {
            return self.builder.leave_out(line, LeftOut::Unsound);
        }
        let taken = self.builder.add(Draft {
            line,
            id: row.id,
            user: &row.user,
            queue: &row.queue,
            submit_ms: row.submit_ms,
            start_ms: row.start_ms,
            duration_ms,
            limit_ms: row.limit_ms,
            ending: row.ending,
            tasks: row.tasks,
            shapes: row.shapes.iter().map(Shape::from).collect(),
            after: row.after,
        });
        if taken {
            self.builder.last(|workload, job| {
                job.class = row.class;
                job.priority = row.priority.min(1000);
                job.size.max = row.max_tasks.unwrap_or(row.tasks).max(row.tasks);
                job.predicted = row.predicted_ms.map(Millis);
                job.profile = row.profile.clone().map(|profile| workload.profile(profile));
            });
        }
    }

    fn finish(self) -> Jobs {
        let Self { mut builder, head, cluster, .. } = self;
        let cluster = if cluster.nodes.is_empty() { builder.smallest(cluster.queues) } else { cluster };
        let mut jobs = builder.finish(Zero::Counted(head.zero_ms), cluster);
        jobs.workload.name = head.name;
        jobs
    }
}

fn possible_node(node: &NodeSpec) -> Result<(), LeftOut> {
    let Resources { cpu, memory, disk } = node.capacity;
    let largest = node.devices.iter().map(|device| device.memory.0).max().unwrap_or(0);
    possible(cpu.0, memory.0.max(disk.0).max(largest), node.devices.len() as u64)
}

/// A job of a workload as a row.
#[must_use]
pub fn row(workload: &Workload, job: &SimJob, start: Option<Timestamp>) -> Row {
    let signed = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
    let GangSize { min, max } = job.size;
    Row {
        id: job.id,
        submit_ms: signed(job.submit),
        start_ms: start.map(signed),
        duration_ms: Some(job.duration.0),
        user: workload.users.get(job.user as usize).map(|user| user.to_string()).unwrap_or_default(),
        queue: workload.queues.get(job.queue as usize).map(|queue| queue.to_string()).unwrap_or_default(),
        class: job.class,
        priority: job.priority,
        tasks: min,
        max_tasks: (max != min).then_some(max),
        shapes: workload.shapes.get(job.shape as usize).into_iter().flatten().map(Ask::from).collect(),
        limit_ms: job.limit.map(|limit| limit.0),
        predicted_ms: job.predicted.map(|predicted| predicted.0),
        ending: job.ending,
        after: job.after.map(|(id, think)| (id, think.0)),
        profile: job.profile.and_then(|at| workload.profiles.get(at as usize)).cloned(),
    }
}

/// Writes jobs so that [`read`] and [`jobs_of`] give the same again.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(jobs: &Jobs, mut out: impl Write) -> io::Result<()> {
    let mut line = |line: &Line| -> io::Result<()> {
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")
    };
    line(&Line::Head(Head { name: jobs.workload.name.clone(), zero_ms: jobs.zero_ms }))?;
    for node in &jobs.cluster.nodes {
        line(&Line::Node(node.clone()))?;
    }
    for queue in &jobs.cluster.queues {
        line(&Line::Queue(queue.clone()))?;
    }
    for job in &jobs.workload.jobs {
        line(&Line::Job(Box::new(row(&jobs.workload, job, jobs.starts.get(&job.id).copied()))))?;
    }
    Ok(())
}
