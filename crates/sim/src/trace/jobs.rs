//! From rows of any trace to a workload and the machines it ran on.

use super::{BadRow, LeftOut};
use crate::workload::{Cluster, Ending, SimJob, Workload};
use pond_core::engine::{MAX_BYTES, MAX_CPU, MAX_DEVICES, MAX_RANKS};
use pond_core::ids::NodeName;
use pond_core::model::{
    Class, Device, DeviceKind, DeviceRequest, GangSize, NodeSpec, QueueSpec, Resources, Shape, ShareMode,
    Traits,
};
use pond_core::partition::known;
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most machines that are made up, or that a header or a table may speak of.
pub(super) const MOST_NODES: u32 = 1_000_000;

/// A hundred years, in milliseconds.
const CENTURY_MS: u64 = 36_525 * 86_400_000;

/// Whether the engine takes a node, or a task, of such amounts.
pub(super) fn possible(cpu_milli: u64, memory: u64, devices: u64) -> Result<(), LeftOut> {
    let fits = cpu_milli <= MAX_CPU && memory <= MAX_BYTES && devices <= u64::from(MAX_DEVICES);
    if fits { Ok(()) } else { Err(LeftOut::TooLarge) }
}

/// Jobs of a trace, ready to be simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// What was submitted, when, by whom, and how long it ran.
    pub workload: Workload,
    /// The machines, where the trace tells of them; otherwise the smallest that could have run it.
    pub cluster: Cluster,
    /// When each job really started, by its id, where the trace tells: what a replay is compared with.
    pub starts: BTreeMap<u64, Timestamp>,
    /// The workload's time zero in milliseconds since 1970, in the trace's local time; `None` when no calendar is known.
    pub zero_ms: Option<i64>,
    /// Rows that were read and are no job, with their lines.
    pub left_out: Vec<BadRow>,
    /// What was changed or assumed on the way, and how often.
    pub notes: BTreeMap<Note, u64>,
}

/// Something that a reader changed or assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Note {
    /// The job ran longer than its limit; the limit became its run time.
    #[error("jobs ran longer than their limit, which was raised to their run time")]
    LimitRaised,
    /// The trace gives no limit for a job.
    #[error("jobs have no limit")]
    NoLimit,
    /// The submission is not known and taken to be the start.
    #[error("jobs have no time of submission; their start was taken")]
    SubmitIsStart,
    /// The job was requeued or retried; its last attempt, or the sum of all, was taken.
    #[error("jobs had several attempts, taken together")]
    Attempts,
    /// The job waits for one that is not in the workload.
    #[error("jobs wait for a job that is not here; that was dropped")]
    LostDependency,
    /// Tasks of several shapes became one gang of the largest.
    #[error("jobs had tasks of different shapes; all got the largest")]
    MixedTasks,
    /// A task asked for more than any machine of the trace has and was cut to it.
    #[error("tasks asked for more CPU or memory than any machine has and were cut to it")]
    CutToMachine,
    /// The end is that of the trace: the run time is a lower bound.
    #[error("jobs were cut at the longest run time that the trace keeps")]
    Clamped,
    /// An elastic job's size is the one it was given at first.
    #[error("elastic jobs were given the size they had at first")]
    Elastic,
    /// A state that is not known.
    #[error("jobs ended in a state that is not known; they were taken to be completed")]
    UnknownState,
    /// The trace tells nothing of its machines.
    #[error("machines were made up: the trace tells of none")]
    MadeUpMachines,
}

/// One job on its way into a workload; times in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub line: u64,
    pub id: u64,
    pub user: &'a str,
    pub queue: &'a str,
    pub submit_ms: i64,
    pub start_ms: Option<i64>,
    pub duration_ms: u64,
    pub limit_ms: Option<u64>,
    pub ending: Ending,
    pub tasks: u32,
    pub shapes: Vec<Shape>,
    pub after: Option<(u64, u64)>,
}

/// Where a workload's time begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    /// At midnight of the first submission's day, local time.
    Midnight,
    /// Where the trace counts from, or at its first submission if that is earlier; that moment of the calendar, if known.
    Counted(Option<i64>),
}

/// Puts jobs together.
pub(super) struct Builder<'a> {
    jobs: Jobs,
    ids: BTreeSet<u64>,
    names: BTreeSet<&'a str>,
    submits: Vec<i64>,
    starts: Vec<Option<i64>>,
}

impl<'a> Builder<'a> {
    pub fn new(name: &str) -> Self {
        Self {
            jobs: Jobs { workload: Workload::new(name), ..Jobs::default() },
            ids: BTreeSet::new(),
            names: BTreeSet::new(),
            submits: Vec::new(),
            starts: Vec::new(),
        }
    }

    pub fn leave_out(&mut self, line: u64, why: LeftOut) {
        self.jobs.left_out.push(BadRow { line, reason: why.into() });
    }

    /// Whether a job of this name is the first; another is left out.
    pub fn is_first(&mut self, line: u64, name: &'a str) -> bool {
        let first = self.names.insert(name);
        if !first {
            self.leave_out(line, LeftOut::Double);
        }
        first
    }

    pub fn note(&mut self, note: Note) {
        *self.jobs.notes.entry(note).or_default() += 1;
    }

    /// Takes a job in, or leaves it out and says why; whether it was taken.
    pub fn add(&mut self, draft: Draft) -> bool {
        match self.judge(&draft) {
            Some(why) => {
                self.leave_out(draft.line, why);
                false
            }
            None => {
                self.take(draft);
                true
            }
        }
    }

    /// Changes the job that was taken last.
    pub fn last(&mut self, change: impl FnOnce(&mut Workload, &mut SimJob)) {
        if let Some(mut job) = self.jobs.workload.jobs.pop() {
            change(&mut self.jobs.workload, &mut job);
            self.jobs.workload.jobs.push(job);
        }
    }

    fn judge(&mut self, draft: &Draft) -> Option<LeftOut> {
        if draft.tasks == 0 || draft.shapes.is_empty() {
            return Some(LeftOut::NoSize);
        }
        if draft.tasks > MAX_RANKS {
            return Some(LeftOut::TooLarge);
        }
        for shape in &draft.shapes {
            let devices = shape.devices.iter().map(|asked| u64::from(asked.count)).sum();
            for amounts in [shape.request, shape.burst] {
                if let Err(why) = possible(amounts.cpu.0, amounts.memory.0.max(amounts.disk.0), devices) {
                    return Some(why);
                }
            }
        }
        if draft.duration_ms > CENTURY_MS {
            return Some(LeftOut::TooLong);
        }
        if draft.start_ms.is_some_and(|start| start < draft.submit_ms) {
            return Some(LeftOut::Backwards);
        }
        (!self.ids.insert(draft.id)).then_some(LeftOut::Double)
    }

    fn take(&mut self, draft: Draft) {
        let limit = match draft.limit_ms.filter(|&limit| limit > 0) {
            Some(limit) if limit < draft.duration_ms => {
                self.note(Note::LimitRaised);
                Some(Millis(draft.duration_ms))
            }
            limit => limit.map(Millis),
        };
        let workload = &mut self.jobs.workload;
        let job = SimJob {
            id: draft.id,
            submit: Timestamp(0),
            user: workload.user(if draft.user.is_empty() { "unknown" } else { draft.user }),
            queue: workload.queue(&queue_path(draft.queue)),
            class: Class::Standard,
            priority: 500,
            size: GangSize { min: draft.tasks, max: draft.tasks },
            shape: workload.shape(draft.shapes),
            duration: Millis(draft.duration_ms),
            limit,
            predicted: None,
            ending: draft.ending,
            after: draft.after.map(|(id, think_ms)| (id, Millis(think_ms))),
            profile: None,
        };
        workload.jobs.push(job);
        self.submits.push(draft.submit_ms);
        self.starts.push(draft.start_ms);
    }

    /// The smallest pool that could have run all jobs when they ran: for each device model as many equal machines as
    /// the most that was in use at once asks for. A job whose start is not known counts from its submission.
    pub fn smallest(&mut self, queues: Vec<QueueSpec>) -> Cluster {
        self.note(Note::MadeUpMachines);
        let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
        let workload = &self.jobs.workload;
        for ((job, submit), start) in workload.jobs.iter().zip(&self.submits).zip(&self.starts) {
            let Some(shape) = workload.shapes.get(job.shape as usize).and_then(|all| all.first()) else {
                continue;
            };
            let device = shape.devices.first();
            let group =
                groups.entry(device.and_then(|asked| asked.model.as_deref()).unwrap_or("")).or_default();
            let whole = device.map_or(0, |asked| u64::from(asked.count));
            let part = device.map_or(0, |asked| u64::from(asked.count) * asked.compute.0);
            let each = [shape.request.cpu.0, shape.request.memory.0, whole * 1000];
            let held = [shape.request.cpu.0, shape.request.memory.0, part];
            let begin = start.unwrap_or(*submit);
            let end = begin.saturating_add_unsigned(job.duration.0);
            group.holds(each, held.map(|amount| i128::from(amount) * i128::from(job.size.min)), begin, end);
            group.widest = group.widest.max(job.size.min);
        }
        let mut nodes = Vec::new();
        for (model, group) in groups {
            group.nodes(model, &mut nodes);
        }
        Cluster { nodes, queues }
    }

    /// The workload, in the order of submission.
    pub fn finish(self, zero: Zero, cluster: Cluster) -> Jobs {
        let Self { mut jobs, ids, submits, starts, .. } = self;
        let first = submits.iter().copied().min().unwrap_or(0);
        let (start, calendar) = match zero {
            Zero::Midnight => {
                let midnight = first.div_euclid(86_400_000) * 86_400_000;
                (midnight, Some(midnight))
            }
            Zero::Counted(calendar) => {
                let start = first.min(0);
                (start, calendar.map(|zero| zero.saturating_add(start)))
            }
        };
        let since = |at: i64| Timestamp(u64::try_from(at.saturating_sub(start)).unwrap_or(0));
        for ((job, submit), began) in jobs.workload.jobs.iter_mut().zip(submits).zip(starts) {
            job.submit = since(submit);
            if let Some(began) = began {
                jobs.starts.insert(job.id, since(began));
            }
            if job.after.is_some_and(|(id, _)| id == job.id || !ids.contains(&id)) {
                job.after = None;
                *jobs.notes.entry(Note::LostDependency).or_default() += 1;
            }
        }
        jobs.workload.sort();
        jobs.zero_ms = calendar;
        jobs.cluster = cluster;
        jobs
    }
}

/// Jobs that ask for one model, to find the machines they need: CPU in thousandths, memory in bytes, devices in thousandths.
#[derive(Default)]
struct Group {
    most_each: [u64; 3],
    changes: Vec<(i64, [i128; 3])>,
    widest: u32,
}

impl Group {
    fn holds(&mut self, each: [u64; 3], held: [i128; 3], begin: i64, end: i64) {
        for (most, amount) in self.most_each.iter_mut().zip(each) {
            *most = amount.max(*most);
        }
        self.changes.push((begin, held));
        self.changes.push((end, held.map(|amount| -amount)));
    }

    fn nodes(mut self, model: &str, nodes: &mut Vec<NodeSpec>) {
        // What ends at a moment is free for what begins then.
        self.changes.sort_unstable();
        let (mut now, mut peak) = ([0_i128; 3], [0_i128; 3]);
        for (_, change) in &self.changes {
            for at in 0..3 {
                now[at] += change[at];
                peak[at] = peak[at].max(now[at]);
            }
        }
        // Usual machines: eight devices at most, so that smaller jobs share one.
        let gpus = self.most_each[2].div_ceil(1000).max(if peak[2] > 8000 { 8 } else { 0 });
        let scale = gpus.max(1) / self.most_each[2].div_ceil(1000).max(1);
        let each = [
            self.most_each[0].max(1000).saturating_mul(scale).min(MAX_CPU),
            self.most_each[1].max(1 << 30).saturating_mul(scale).min(MAX_BYTES),
            gpus * 1000,
        ];
        let needed = (0..3)
            .filter(|&at| each[at] > 0)
            .map(|at| u64::try_from(peak[at]).unwrap_or(0).div_ceil(each[at]));
        let count = needed
            .max()
            .unwrap_or(1)
            .max(u64::from(self.widest).div_ceil(scale.max(1)))
            .clamp(1, u64::from(MOST_NODES / 5));
        let machine = Machine {
            name: "n".to_owned(),
            cpu_milli: each[0],
            memory: each[1],
            gpus: u32::try_from(gpus).unwrap_or(0),
            gpu: (
                if model.is_empty() { "GPU" } else { model }.to_owned(),
                super::openb::device_memory(model),
            ),
            partition: String::new(),
        };
        for _ in 0..count {
            nodes.push(machine.node(nodes.len()));
        }
    }
}

impl Jobs {
    /// The jobs submitted in `from_ms..to_ms` (milliseconds since 1970, the trace's local time), counted from `from_ms`.
    ///
    /// `None` when the trace has no calendar. A dependency on a job outside is dropped.
    #[must_use]
    pub fn between(&self, from_ms: i64, to_ms: i64) -> Option<Self> {
        let zero = self.zero_ms?;
        let place = |at: i64| Timestamp(u64::try_from(at.saturating_sub(zero)).unwrap_or(0));
        let (from, to) = (place(from_ms), place(to_ms));
        let mut part = self.clone();
        part.zero_ms = Some(from_ms.max(zero));
        part.workload.jobs.retain(|job| (from..to).contains(&job.submit));
        let kept: BTreeSet<u64> = part.workload.jobs.iter().map(|job| job.id).collect();
        part.starts.retain(|id, _| kept.contains(id));
        for at in part.starts.values_mut() {
            *at = Timestamp(at.since(from).0);
        }
        for job in &mut part.workload.jobs {
            job.submit = Timestamp(job.submit.since(from).0);
            job.after = job.after.filter(|(id, _)| kept.contains(id));
        }
        Some(part)
    }
}

/// A queue's path made of what a trace calls it: other characters than the engine takes become `_`.
pub(super) fn queue_path(name: &str) -> String {
    let part = |part: &str| -> String {
        part.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
    };
    let path: Vec<String> = name.split('/').filter(|text| !text.trim().is_empty()).map(part).collect();
    let mut path = path.join("/");
    path.truncate(512);
    if path.is_empty() { "default".to_owned() } else { path }
}

/// So many machines of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name, followed by a number.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Devices.
    pub gpus: u32,
    /// Their model, memory in bytes.
    pub gpu: (String, u64),
    /// The part of the cluster: label `partition`; empty for none.
    pub partition: String,
}

impl Machine {
    /// The machine under a name of its own.
    #[must_use]
    pub fn named(&self, name: &str) -> NodeSpec {
        NodeSpec { name: NodeName::from(name), ..self.node(0) }
    }

    /// The machine with this number.
    #[must_use]
    pub fn node(&self, number: usize) -> NodeSpec {
        let layout = known::layout(&self.gpu.0, Bytes(self.gpu.1)).map(Arc::new);
        let mut modes = vec![ShareMode::Exclusive, ShareMode::Time];
        modes.extend(layout.as_ref().map(|_| ShareMode::Space));
        let device = |at: u32| Device {
            uuid: format!("{}{number}-{at}", self.name),
            kind: DeviceKind::Gpu,
            model: self.gpu.0.clone(),
            memory: Bytes(self.gpu.1),
            modes: modes.clone(),
            numa: None,
            files: Vec::new(),
            traits: Traits { layout: layout.clone(), ..Traits::default() },
        };
        let partition =
            (!self.partition.is_empty()).then(|| ("partition".to_owned(), self.partition.clone()));
        NodeSpec {
            name: NodeName::from(format!("{}{number}", self.name)),
            capacity: amounts(self.cpu_milli, self.memory),
            devices: (0..self.gpus).map(device).collect(),
            labels: partition.into_iter().collect(),
        }
    }
}

/// CPU in thousandths, memory in bytes, no disk.
pub(super) const fn amounts(cpu_milli: u64, memory: u64) -> Resources {
    Resources { cpu: MilliCpu(cpu_milli), memory: Bytes(memory), disk: Bytes::ZERO }
}

/// What one task asks: amounts, and whole GPUs or one part of one, of a model or any.
pub(super) fn shape(cpu_milli: u64, memory: u64, gpus: u32, gpu_milli: u64, model: Option<&str>) -> Shape {
    let mut shape = Shape::new(amounts(cpu_milli, memory));
    if gpus > 0 && gpu_milli > 0 {
        let whole = gpu_milli >= Thousandths::WHOLE.0;
        shape.devices.push(DeviceRequest {
            kind: DeviceKind::Gpu,
            model: model.map(str::to_owned),
            count: gpus,
            device_memory: Bytes::ZERO,
            mode: if whole { ShareMode::Exclusive } else { ShareMode::Time },
            compute: Thousandths(gpu_milli.min(Thousandths::WHOLE.0)),
            memory: Bytes::ZERO,
            slack: pond_core::model::Slack::default(),
            profile: None,
        });
    }
    shape
}

/// How `total` units are split into equal tasks of at most `most` units: (tasks, units of each), as few tasks as possible.
pub(super) fn split_evenly(total: u32, most: u32) -> (u32, u32) {
    let most = most.max(1);
    let fewest = total.div_ceil(most).max(1);
    // Beyond the largest gang the number does not matter: the job is refused.
    let largest = total.clamp(1, MAX_RANKS);
    let tasks = (fewest..=largest).find(|tasks| total.is_multiple_of(*tasks)).unwrap_or(total.max(1));
    (tasks, total / tasks)
}

/// A queue with what it is guaranteed of devices, in thousandths.
pub(super) fn guaranteed(path: &str, devices_milli: u64) -> QueueSpec {
    let mut queue = QueueSpec::new(&queue_path(path));
    queue.guarantee.devices.insert(DeviceKind::Gpu, devices_milli);
    queue
}
