//! What substrates tell. A message of an older generation is counted and ignored.

use super::change::{Handled, Out, What};
use super::job::{End, Gang, Live, Task, TaskState, Then};
use super::rows::Counted;
use super::{Engine, Timer};
use crate::event::{Actor, Effect, Exit, PastShare, Report, TaskSample};
use crate::ids::{Generation, NodeName, TaskId};
use crate::model::Class;
use crate::units::MilliCpu;

/// The part of its CPU and of its shares of devices, in percent, under which an environment counts as idle.
const IDLE_PERCENT: u64 = 5;
/// What an environment without guaranteed CPU, or time of a device, may use and still count as idle.
const IDLE_FLOOR: MilliCpu = MilliCpu(50);

/// Where the last time a task was met that had not started, or not ended: each that starts or ends asks for all others, and
/// looking for them from the first on again would take time in proportion to the square of their number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    start: usize,
    end: usize,
}

/// It says nothing that the tasks do not.
impl PartialEq for Asked {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Asked {}

/// Whether all tasks are so. The first that is not is looked for where the last one was met, and only when none is behind it from
/// the first on.
fn all(tasks: &[Task], met: &mut usize, so: fn(&Task) -> bool) -> bool {
    let not = |task: &Task| !so(task);
    let behind = tasks.get(*met..).and_then(|rest| rest.iter().position(not)).map(|steps| *met + steps);
    let found = behind.or_else(|| tasks.iter().position(not));
    *met = found.unwrap_or(0);
    found.is_none()
}

impl Live {
    /// Whether every rank runs or has run.
    pub(super) fn all_run(&mut self) -> bool {
        all(&self.tasks, &mut self.asked.start, Task::is_running)
    }

    /// Whether every rank has ended.
    pub(super) fn all_ended(&mut self) -> bool {
        all(&self.tasks, &mut self.asked.end, Task::has_ended)
    }

    /// Where a rank stands among its tasks, which ascend.
    fn place(&self, rank: u32) -> Option<usize> {
        // Without ranks that are gone each stands at its number.
        let guess = rank as usize;
        if self.tasks.get(guess).is_some_and(|task| task.rank == rank) {
            return Some(guess);
        }
        self.tasks.binary_search_by_key(&rank, |task| task.rank).ok()
    }

    /// The task of a rank.
    pub(super) fn rank(&self, rank: u32) -> Option<&Task> {
        self.place(rank).map(|at| &self.tasks[at])
    }

    pub(super) fn rank_mut(&mut self, rank: u32) -> Option<&mut Task> {
        self.place(rank).map(|at| &mut self.tasks[at])
    }
}

impl Engine {
    pub(super) fn report(&mut self, actor: &Actor, report: Report, out: &mut Out) -> Handled<()> {
        match report {
            Report::NodeUp(spec) => return self.node_up(spec, out),
            Report::Lease(node) => match self.rows.node_ord(&node) {
                Some(ord) => self.heard(ord, out),
                None => self.counters.unknown_node = self.counters.unknown_node.saturating_add(1),
            },
            Report::NodeLost(node) => match self.rows.node_ord(&node) {
                Some(ord) => self.lose_node(ord, "is gone", out),
                None => self.counters.unknown_node = self.counters.unknown_node.saturating_add(1),
            },
            Report::Inventory { node, tasks } => self.inventory(&node, &tasks, out),
            Report::Started { task, generation, address, ports, .. } => {
                if self.is_current(actor, task, generation) {
                    self.started(task, address, ports, out);
                }
            }
            Report::StartFailed { task, generation, message, node_fault } => {
                if self.is_current(actor, task, generation) {
                    self.start_failed(task, message, node_fault, out);
                }
            }
            Report::Progress { task, generation, message } => {
                if self.is_current(actor, task, generation) {
                    self.progress(task, message, out);
                }
            }
            Report::Exited { task, generation, exit } => {
                if self.is_current(actor, task, generation) {
                    self.exited(task, exit, out);
                }
            }
            // What the engine asked for is what it believes until it is told otherwise; `Inventory` finds what differs.
            Report::Frozen { task, generation, frozen, refused } => {
                if let (true, true, Some(why)) = (self.is_current(actor, task, generation), frozen, refused) {
                    self.runs_on(task, &why, out);
                }
            }
            Report::Resized { task, generation, refused } => {
                if self.is_current(actor, task, generation) {
                    self.was_resized(task, refused, out);
                }
            }
            Report::Sampled { node, tasks, .. } => self.sampled(&node, &tasks),
            Report::PastShare { task, generation, device, message, act } => {
                if self.is_current(actor, task, generation) {
                    self.past_share(task, device, message, act, out);
                }
            }
            Report::DeviceSign { node, device, sign, message } => {
                self.device_sign(node, device, sign, &message, out);
            }
            Report::DeviceWear { node, device, wear } => self.device_wear(node, device, wear, out),
            Report::DeviceHealth { node, device, healthy, message } => {
                self.device_health(node, device, healthy, &message, out);
            }
        }
        Ok(())
    }

    /// The task under this id while it has a place.
    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        let live = self.gang(id.gang)?.live()?;
        live.rank(id.rank)
    }

    pub(super) fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let live = self.gang_mut(id.gang)?.live_mut()?;
        live.rank_mut(id.rank)
    }

    /// Whether a message is about a task's present life and comes from where it is. Counts it otherwise.
    fn is_current(&mut self, actor: &Actor, id: TaskId, generation: Generation) -> bool {
        let current = self.task(id).filter(|task| task.generation == generation);
        let Some(node) = current.map(|task| task.node) else {
            self.counters.old_generation = self.counters.old_generation.saturating_add(1);
            return false;
        };
        let right = match actor {
            Actor::Node(name) => name == self.node_name(node),
            Actor::Pool | Actor::User { .. } => true,
        };
        if !right {
            self.counters.wrong_node = self.counters.wrong_node.saturating_add(1);
        }
        right
    }

    pub(super) fn started(
        &mut self,
        id: TaskId,
        address: Option<String>,
        ports: Vec<(u16, u16)>,
        out: &mut Out,
    ) {
        let now = self.now;
        let Some(task) = self.task_mut(id) else { return };
        if task.state != TaskState::Starting {
            self.counters.repeated = self.counters.repeated.saturating_add(1);
            return;
        }
        task.state = TaskState::Running;
        task.started = Some(now);
        task.address = address;
        task.ports = ports;
        task.message = None;
        task.samples = super::Samples::starting(now);
        task.device_samples.clear();
        let (generation, ord) = (task.generation, task.node);
        let node = self.node_name(ord).to_owned();
        self.meter.run(now, id);
        let Some(live) = self.gang_mut(id.gang).and_then(Gang::live_mut) else { return };
        let frozen = live.is_frozen();
        let all = live.started.is_none() && live.ending.is_none() && live.all_run();
        if frozen && live.ending.is_none() {
            let node = node.to_owned();
            out.effects.push(Effect::Freeze { task: id, generation, frozen, node });
        }
        let what = What::Task { task: id, generation, node, exit: None };
        self.note(out, what, "runs");
        if all {
            self.all_run(id.gang, now, out);
        }
    }

    fn start_failed(&mut self, id: TaskId, message: String, node_fault: bool, out: &mut Out) {
        let Some(task) = self.task_mut(id) else { return };
        if task.state != TaskState::Starting {
            self.counters.repeated = self.counters.repeated.saturating_add(1);
            return;
        }
        // It never ran; what is told of it afterwards is that it left nothing.
        task.state = TaskState::Ended(Exit::Lost);
        self.recount_task(id);
        let leaves = self.leaves(id);
        if leaves {
            self.rank_ended(id.gang, id.rank, Exit::Lost, out);
        } else {
            self.end_gang(id.gang, Then::StartFailed { rank: id.rank, message, node_fault }, out);
            self.conclude(id.gang, out);
        }
    }

    /// Whether a rank is being taken from its gang.
    fn leaves(&self, id: TaskId) -> bool {
        let live = self.gang(id.gang).and_then(Gang::live);
        live.and_then(|live| live.shrinking).is_some_and(|shrinking| id.rank >= shrinking.to)
    }

    fn progress(&mut self, id: TaskId, message: String, out: &mut Out) {
        let Some(task) = self.task_mut(id) else { return };
        let generation = task.generation;
        let ord = task.node;
        task.message = Some(message.to_owned());
        let node = self.node_name(ord).to_owned();
        self.note(out, What::Task { task: id, generation, node, exit: None }, message);
    }

    pub(super) fn exited(&mut self, id: TaskId, exit: Exit, out: &mut Out) {
        let now = self.now;
        let Some(task) = self.task_mut(id) else { return };
        match task.state {
            TaskState::Ended(_) => {
                self.counters.repeated = self.counters.repeated.saturating_add(1);
                return;
            }
            // Its `Started` was overtaken or lost: it ran, however shortly.
            TaskState::Starting if exit != Exit::Lost => {
                task.started = Some(now);
                self.meter.run(now, id);
            }
            TaskState::Starting | TaskState::Running => {}
        }
        self.rank_ended(id.gang, id.rank, exit, out);
    }

    /// A task went past its share: told, and ended where the node says so.
    fn past_share(
        &mut self,
        id: TaskId,
        device: u32,
        message: String,
        act: Option<PastShare>,
        out: &mut Out,
    ) {
        let Some(task) = self.task(id).filter(|task| task.has_device(device) && !task.has_ended()) else {
            return;
        };
        let node = NodeName::from(self.node_name(task.node).as_str());
        self.note(out, What::Share { task: id, node, device, act }, message.to_owned());
        if act == Some(PastShare::End) {
            self.end_gang(id.gang, Then::Finish(End::PastShare { rank: id.rank, message }), out);
        }
    }

    fn sampled(&mut self, node: &NodeName, samples: &[TaskSample]) {
        if self.rows.node_ord(node).is_none() {
            self.counters.unknown_node = self.counters.unknown_node.saturating_add(1);
            return;
        }
        let from = Actor::Node(node.to_owned());
        for sample in samples {
            if self.is_current(&from, sample.task, sample.generation) {
                self.sample(sample);
            }
        }
    }

    fn sample(&mut self, sample: &TaskSample) {
        let now = self.now;
        let id = sample.task;
        let Some(job) = self.jobs.get_mut(&id.gang.job) else { return };
        let class = job.spec.class;
        let idle = job.spec.idle;
        let Some(gang) = job.gang_mut(id.gang.index) else { return };
        let Some(rows) = gang.rows else { return };
        let Some(live) = gang.live_mut() else { return };
        let frozen = live.is_frozen();
        let Some(at) = live.tasks.iter().position(|task| task.rank == id.rank) else { return };
        let task = &mut live.tasks[at];
        if task.state != TaskState::Running {
            return;
        }
        let p95 = task.samples.p95();
        let used = task.samples.read(now, sample.cpu_us);
        let started = task.started.unwrap_or(now);
        let mut devices = Vec::with_capacity(sample.devices.len());
        for used in &sample.devices {
            if !task.has_device(used.device) {
                continue;
            }
            let most = task.most_of(used.device);
            let samples = task.device_samples.entry(used.device);
            let samples = samples.or_insert_with(|| super::Samples::starting(started));
            let busy_us = match most {
                Some(most) => samples.read_within(now, used.busy_us, most),
                None => samples.read(now, used.busy_us),
            };
            devices.push((used.device, busy_us, used.memory));
        }
        self.meter.sample(now, id, used, sample.memory, sample.disk);
        self.meter.sample_devices(now, id, &devices);
        let task = &mut live.tasks[at];
        let counted = Counted::of(task, class, frozen);
        let moved = self.rows.recount(task.node, task.counted, counted);
        task.counted = counted;
        let new_p95 = task.samples.p95();
        let busy = task.samples.latest().unwrap_or_default() >= busy_from(task.limits.request.cpu)
            || task.devices.iter().any(|grant| {
                let used = task.device_samples.get(&grant.device).and_then(super::Samples::latest);
                used.unwrap_or_default() >= busy_from(MilliCpu(grant.compute.0))
            });
        if class == Class::Spare && new_p95 != p95 {
            self.rows.set_busy(rows.gang, id.rank, new_p95.unwrap_or(task.limits.request.cpu));
        }
        if moved || class == Class::Spare {
            // Only lending depends on samples.
            self.wants_plan |= self.spare_gangs > 0;
        }
        if let (Some(idle), true) = (idle, live.started.is_some() && live.ending.is_none()) {
            if busy {
                live.idle_since = None;
                self.timers.cancel(Timer::Idle(id.gang));
            } else if live.idle_since.is_none() && live.tasks.iter().all(|task| task.sessions == 0) {
                live.idle_since = Some(now);
                self.timers.set(Timer::Idle(id.gang), now.after(idle.after));
            }
        }
    }
}

fn busy_from(request: MilliCpu) -> MilliCpu {
    MilliCpu(request.0.saturating_mul(IDLE_PERCENT) / 100).max(IDLE_FLOOR)
}
