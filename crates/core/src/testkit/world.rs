//! Machines that exist in memory only, on a clock that jumps: a [`Substrate`] with scripts and faults.
//!
//! Tasks do what the [`Script`] of their job's name says. Messages may be late, doubled, dropped or out of
//! order by seed ([`Faults`]); with faults on, each node tells its whole inventory every few seconds, as an
//! agent does that has lost its connection.

use super::chance::Chance;
use crate::event::{Actor, DeviceUse, Effect, Event, Exit, Found, Launch, Report, TaskSample};
use crate::ids::{Generation, JobId, NodeName, TaskId};
use crate::model::{NodeSpec, ShareMode};
use crate::substrate::Substrate;
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use std::collections::BTreeMap;

/// What the tasks of a job do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// From the start effect until it runs.
    pub starts_in: Millis,
    /// How long it runs; [`Millis::MAX`]: until it is stopped.
    pub runs: Millis,
    /// How each attempt ends, the last for all that follow.
    pub exits: Vec<Exit>,
    /// It cannot be started: the message, and whether the node is to blame.
    pub start_fails: Option<(String, bool)>,
    /// It ignores the first signal and ends by the kill.
    pub stubborn: bool,
    /// CPU it uses while it runs.
    pub cpu: MilliCpu,
    /// Time and memory it uses of each share of a device that is measured.
    pub device: (Thousandths, Bytes),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            starts_in: Millis(0),
            runs: Millis::MAX,
            exits: vec![Exit::Code(0)],
            start_fails: None,
            stubborn: false,
            cpu: MilliCpu::ZERO,
            device: (Thousandths::ZERO, Bytes::ZERO),
        }
    }
}

/// How unreliable the way between pool and machines is, in percent of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Reports that never arrive.
    pub dropped: u64,
    /// Reports that arrive twice.
    pub doubled: u64,
    /// Reports that arrive up to two seconds late, and so out of order.
    pub late: u64,
}

impl Faults {
    const fn any(self) -> bool {
        self.dropped + self.doubled + self.late > 0
    }
}

#[derive(Clone, Debug)]
struct Machine {
    spec: NodeSpec,
    /// Its processes live.
    powered: bool,
    /// Its messages get through, both ways.
    reachable: bool,
    tasks: BTreeMap<TaskId, Process>,
    /// The last generation started or fenced, per task: nothing up to it is started any more.
    closed: BTreeMap<TaskId, Generation>,
}

#[derive(Clone, Debug)]
struct Process {
    generation: Generation,
    name: String,
    attempt: u32,
    started: Option<Timestamp>,
    ended: Option<(Timestamp, Exit)>,
    frozen: bool,
    left: Millis,
    resumed: Timestamp,
    cpu_us: u64,
    /// Ordinals of its shares.
    shares: Vec<u32>,
    device_us: u64,
    sampled: Timestamp,
}

#[derive(Clone, Debug)]
enum Happening {
    Tell(Actor, Box<Event>),
    Runs(NodeName, TaskId, Generation),
    Ends(NodeName, TaskId, Generation, Exit),
    Heartbeat(NodeName),
    Inventory(NodeName),
    Sample(NodeName),
    Act(Box<Effect>),
}

/// The machines, their tasks and the clock.
#[derive(Clone, Debug)]
pub struct World {
    now: Timestamp,
    horizon: Timestamp,
    seq: u64,
    line: BTreeMap<(Timestamp, u64), Happening>,
    machines: BTreeMap<NodeName, Machine>,
    scripts: BTreeMap<String, Script>,
    chance: Chance,
    faults: Faults,
    heartbeat: Millis,
    /// Processes really started, by task and generation.
    pub starts: BTreeMap<(TaskId, Generation), u32>,
    /// Jobs whose files were deleted.
    pub purged: Vec<JobId>,
}

impl World {
    /// No machines; faults by this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Timestamp(0),
            horizon: Timestamp(0),
            seq: 0,
            line: BTreeMap::new(),
            machines: BTreeMap::new(),
            scripts: BTreeMap::new(),
            chance: Chance::new(seed),
            faults: Faults::default(),
            heartbeat: Millis(5000),
            starts: BTreeMap::new(),
            purged: Vec::new(),
        }
    }

    /// The clock.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The loop ends when the clock would pass this moment.
    pub fn set_horizon(&mut self, at: Timestamp) {
        self.horizon = at.max(self.now);
    }

    /// How unreliable messages are from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        let begin = faults.any() && !self.faults.any();
        self.faults = faults;
        if begin {
            let names: Vec<NodeName> =
                self.machines.values().map(|machine| named(&machine.spec.name)).collect();
            for name in names {
                self.later(Millis(3000), Happening::Inventory(name));
            }
        }
    }

    /// What tasks of jobs with this name do.
    pub fn script(&mut self, name: &str, script: Script) {
        self.scripts.insert(name.to_owned(), script);
    }

    /// A machine is switched on and joins.
    pub fn join(&mut self, spec: NodeSpec) {
        let name = named(&spec.name);
        let tell = Event::Report(Report::NodeUp(spec.to_owned()));
        let machine =
            Machine { spec, powered: true, reachable: true, tasks: BTreeMap::new(), closed: BTreeMap::new() };
        self.machines.insert(named(&name), machine);
        self.tell_surely(Actor::Node(named(&name)), tell);
        self.later(self.heartbeat, Happening::Heartbeat(named(&name)));
        self.later(Millis(1000), Happening::Sample(named(&name)));
        if self.faults.any() {
            self.later(Millis(3000), Happening::Inventory(name));
        }
    }

    /// Somebody asks for something.
    pub fn request(&mut self, actor: Actor, event: Event) {
        self.tell_surely(actor, event);
    }

    /// A machine dies with everything on it; its disk still knows what had been started.
    pub fn kill_machine(&mut self, name: &str) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&NodeName::from(name)) else { return };
        machine.powered = false;
        machine.reachable = false;
        let closed = &mut machine.closed;
        machine.tasks.retain(|task, process| {
            if process.started.is_none() {
                closed.remove(task);
            }
            process.ended.get_or_insert((now, Exit::Lost));
            process.started.is_some()
        });
    }

    /// A machine keeps running, and nobody can reach it.
    pub fn cut_off(&mut self, name: &str) {
        if let Some(machine) = self.machines.get_mut(&NodeName::from(name)) {
            machine.reachable = false;
        }
    }

    /// A machine that died or was cut off is back, and says what it has.
    pub fn bring_back(&mut self, name: &str) {
        let name = NodeName::from(name);
        let Some(machine) = self.machines.get_mut(&name) else { return };
        machine.powered = true;
        machine.reachable = true;
        let up = Event::Report(Report::NodeUp(machine.spec.to_owned()));
        self.tell_surely(Actor::Node(named(&name)), up);
        self.tell_inventory(&name);
    }

    /// Every machine says what it is and has, as after a restart of the server. Messages under way are lost.
    pub fn reconnect(&mut self) {
        self.line.retain(|_, what| !matches!(what, Happening::Tell(Actor::Node(_), _) | Happening::Act(_)));
        let reachable = self.machines.values().filter(|machine| machine.reachable);
        let specs: Vec<NodeSpec> = reachable.map(|machine| machine.spec.to_owned()).collect();
        for spec in specs {
            let name = named(&spec.name);
            self.tell_surely(Actor::Node(named(&name)), Event::Report(Report::NodeUp(spec)));
            self.tell_inventory(&name);
        }
    }

    /// Processes that run now, on machines that can be reached.
    pub fn running(&self) -> impl Iterator<Item = (&NodeName, TaskId, Generation)> {
        let machines = self.machines.iter().filter(|(_, machine)| machine.reachable);
        machines.flat_map(|(name, machine)| {
            let alive = machine.tasks.iter().filter(|(_, process)| process.ended.is_none());
            alive.map(move |(task, process)| (name, *task, process.generation))
        })
    }

    fn later(&mut self, wait: Millis, what: Happening) {
        self.seq += 1;
        self.line.insert((self.now.after(wait), self.seq), what);
    }

    fn tell_surely(&mut self, actor: Actor, event: Event) {
        self.later(Millis::ZERO, Happening::Tell(actor, Box::new(event)));
    }

    /// A report on its way, with whatever befalls it there.
    fn tell(&mut self, node: &NodeName, report: Report) {
        if !self.machines.get(node).is_some_and(|machine| machine.reachable) {
            return;
        }
        let faults = self.faults;
        if self.chance.percent(faults.dropped) {
            return;
        }
        let copies = if self.chance.percent(faults.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let wait = if self.chance.percent(faults.late) { self.chance.below(2000) } else { 0 };
            let tell = Happening::Tell(Actor::Node(named(node)), Box::new(Event::Report(report.to_owned())));
            self.later(Millis(wait), tell);
        }
    }

    fn tell_inventory(&mut self, name: &NodeName) {
        let Some(machine) = self.machines.get(name) else { return };
        let tasks = machine.tasks.iter().filter_map(|(task, process)| {
            let started = process.started?;
            let found = match process.ended {
                Some((ended, exit)) => Found::Ended { started, ended, exit },
                None => Found::Running { started },
            };
            Some((*task, process.generation, found))
        });
        let report = Report::Inventory { node: named(name), tasks: tasks.collect() };
        self.tell_surely(Actor::Node(named(name)), Event::Report(report));
    }

    fn start(&mut self, launch: &Launch) {
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        let script = self.scripts.get(&launch.name).map(Script::to_owned).unwrap_or_default();
        let Some(machine) = self.machines.get_mut(&launch.allocation.node) else { return };
        let closed = machine.closed.entry(task).or_default();
        if generation <= *closed {
            return;
        }
        *closed = generation;
        let name = named(&launch.allocation.node);
        if let Some((message, node_fault)) = script.start_fails {
            self.tell(&name, Report::StartFailed { task, generation, message, node_fault });
            return;
        }
        let allocation = &launch.allocation;
        let shares = allocation.devices.iter().zip(&allocation.shares);
        let shares = shares.filter(|(_, terms)| terms.mode == ShareMode::Time).map(|(grant, _)| grant.device);
        let shares =
            shares.filter(|at| machine.spec.devices.get(*at as usize).is_some_and(|it| it.traits.measured));
        let process = Process {
            generation,
            name: launch.name.to_owned(),
            attempt: launch.attempt,
            started: None,
            ended: None,
            frozen: false,
            left: script.runs,
            resumed: self.now,
            cpu_us: 0,
            shares: shares.collect(),
            device_us: 0,
            sampled: self.now,
        };
        machine.tasks.insert(task, process);
        self.later(script.starts_in, Happening::Runs(name, task, generation));
    }

    fn process(&mut self, node: &NodeName, task: TaskId, generation: Generation) -> Option<&mut Process> {
        let machine = self.machines.get_mut(node).filter(|machine| machine.powered)?;
        let process = machine.tasks.get_mut(&task)?;
        (process.generation == generation && process.ended.is_none()).then_some(process)
    }

    fn runs(&mut self, node: &NodeName, task: TaskId, generation: Generation) {
        let now = self.now;
        let Some(process) = self.process(node, task, generation) else { return };
        if process.started.is_some() {
            return;
        }
        process.started = Some(now);
        process.resumed = now;
        process.sampled = now;
        let (left, exit) = (process.left, self.exit_of(node, task));
        *self.starts.entry((task, generation)).or_default() += 1;
        self.tell(
            node,
            Report::Started { task, generation, address: None, ports: Vec::new(), steps: Vec::new() },
        );
        if left != Millis::MAX {
            self.later(left, Happening::Ends(named(node), task, generation, exit));
        }
    }

    fn exit_of(&self, node: &NodeName, task: TaskId) -> Exit {
        let process = self.machines.get(node).and_then(|machine| machine.tasks.get(&task));
        let script = process.and_then(|process| Some((process, self.scripts.get(&process.name)?)));
        let Some((process, script)) = script else { return Exit::Code(0) };
        let at = process.attempt.saturating_sub(1) as usize;
        script.exits.get(at).or(script.exits.last()).copied().unwrap_or(Exit::Code(0))
    }

    fn ends(&mut self, node: &NodeName, task: TaskId, generation: Generation, exit: Exit) {
        let now = self.now;
        let Some(process) = self.process(node, task, generation) else { return };
        let by_itself = process.left != Millis::MAX && now.since(process.resumed) >= process.left;
        let killed = matches!(exit, Exit::Signal(_));
        // A freeze on the way has moved its end.
        if !killed && (process.frozen || !by_itself) {
            return;
        }
        process.ended = Some((now, exit));
        process.started.get_or_insert(now);
        self.tell(node, Report::Exited { task, generation, exit });
    }

    /// What a node answers that has no such process: how it ended, or that it never starts.
    fn stop_absent(&mut self, node: &NodeName, task: TaskId, generation: Generation) {
        let Some(machine) = self.machines.get_mut(node) else { return };
        let process = machine.tasks.get(&task).filter(|process| process.generation == generation);
        let exit = process.and_then(|process| process.ended).map_or(Exit::Signal(15), |(_, exit)| exit);
        let closed = machine.closed.entry(task).or_default();
        *closed = (*closed).max(generation);
        self.tell(node, Report::Exited { task, generation, exit });
    }

    fn freeze(&mut self, node: &NodeName, task: TaskId, generation: Generation, frozen: bool) {
        let now = self.now;
        let Some(process) = self.process(node, task, generation) else { return };
        if process.frozen == frozen {
            return;
        }
        process.frozen = frozen;
        if frozen {
            let ran = now.since(process.resumed);
            process.left = if process.left == Millis::MAX { Millis::MAX } else { process.left.minus(ran) };
        } else {
            process.resumed = now;
        }
        let (left, exit) = (process.left, self.exit_of(node, task));
        if !frozen && left != Millis::MAX {
            self.later(left, Happening::Ends(named(node), task, generation, exit));
        }
        self.tell(node, Report::Frozen { task, generation, frozen, refused: None });
    }

    fn act(&mut self, effect: &Effect) {
        match effect {
            Effect::Start(launch) if self.is_reachable(&launch.allocation.node) => self.start(launch),
            Effect::Stop { task, generation, grace, node, .. } if self.is_reachable(node) => {
                let Some(process) = self.process(node, *task, *generation) else {
                    return self.stop_absent(node, *task, *generation);
                };
                let name = process.name.to_owned();
                let stubborn = self.scripts.get(&name).is_some_and(|script| script.stubborn);
                let (wait, signal) = match (grace.is_zero(), stubborn) {
                    (true, _) => (Millis::ZERO, 9),
                    (false, true) => (*grace, 9),
                    (false, false) => (Millis(1).min(*grace), 15),
                };
                let ends = Happening::Ends(named(node), *task, *generation, Exit::Signal(signal));
                self.later(wait, ends);
            }
            Effect::Freeze { task, generation, frozen, node } if self.is_reachable(node) => {
                self.freeze(node, *task, *generation, *frozen);
            }
            Effect::Resize { task, generation, node, .. } if self.is_reachable(node) => {
                self.tell(node, Report::Resized { task: *task, generation: *generation, refused: None });
            }
            Effect::Fence { task, generation, node } if self.is_reachable(node) => {
                let Some(machine) = self.machines.get_mut(node) else { return };
                let closed = machine.closed.entry(*task).or_default();
                *closed = (*closed).max(*generation);
                machine.tasks.retain(|known, process| known != task || process.generation > *generation);
            }
            Effect::Purge(job) => self.purged.push(*job),
            _ => {}
        }
    }

    fn is_reachable(&self, node: &NodeName) -> bool {
        self.machines.get(node).is_some_and(|machine| machine.reachable)
    }

    fn sample(&mut self, name: &NodeName) {
        let now = self.now;
        let scripts = &self.scripts;
        let Some(machine) = self.machines.get_mut(name).filter(|machine| machine.reachable) else { return };
        let mut tasks = Vec::new();
        for (task, process) in &mut machine.tasks {
            if process.started.is_none() || process.ended.is_some() {
                continue;
            }
            let script = scripts.get(&process.name);
            let rate = script.map_or(0, |script| script.cpu.0);
            let (time, memory) = script.map_or_else(Default::default, |script| script.device);
            let span = now.since(std::mem::replace(&mut process.sampled, now)).0;
            process.cpu_us += if process.frozen { 0 } else { rate * span };
            process.device_us += if process.frozen { 0 } else { time.0 * span };
            let busy_us = process.device_us;
            let used = |device: &u32| DeviceUse { device: *device, busy_us, memory, ..DeviceUse::default() };
            tasks.push(TaskSample {
                task: *task,
                generation: process.generation,
                cpu_us: process.cpu_us,
                throttled_us: 0,
                memory: Bytes(1_000_000),
                disk: Bytes(1000),
                io: Bytes::ZERO,
                pids: 1,
                devices: process.shares.iter().map(used).collect(),
            });
        }
        if !tasks.is_empty() {
            let report =
                Report::Sampled { node: named(name), node_cpu_us: 0, node_memory: Bytes::ZERO, tasks };
            self.tell(name, report);
        }
    }

    fn happen(&mut self, what: Happening, told: &mut Vec<(Actor, Event)>) {
        match what {
            Happening::Tell(actor, event) => told.push((actor, *event)),
            Happening::Runs(node, task, generation) => self.runs(&node, task, generation),
            Happening::Ends(node, task, generation, exit) => self.ends(&node, task, generation, exit),
            Happening::Act(effect) => self.act(&effect),
            Happening::Heartbeat(node) => {
                self.tell(&node, Report::Lease(named(&node)));
                self.later(self.heartbeat, Happening::Heartbeat(node));
            }
            Happening::Sample(node) => {
                self.sample(&node);
                self.later(Millis(1000), Happening::Sample(node));
            }
            Happening::Inventory(node) => {
                if self.is_reachable(&node) {
                    self.tell_inventory(&node);
                }
                if self.faults.any() {
                    self.later(Millis(3000), Happening::Inventory(node));
                }
            }
        }
    }
}

fn named(name: &NodeName) -> NodeName {
    NodeName::from(name.as_str())
}

impl Substrate for World {
    fn poll(&mut self, until: Timestamp, told: &mut Vec<(Actor, Event)>) -> Option<Timestamp> {
        loop {
            let next = self.line.first_key_value().map_or(Timestamp::NEVER, |((at, _), _)| *at);
            if !told.is_empty() && next > self.now {
                return Some(self.now);
            }
            let reach = next.min(until.max(self.now));
            if reach > self.horizon {
                self.now = self.horizon;
                return None;
            }
            self.now = self.now.max(reach);
            if next > reach {
                return Some(self.now);
            }
            if let Some((_, what)) = self.line.pop_first() {
                self.happen(what, told);
            }
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let late = self.chance.percent(self.faults.late);
            let wait = if late { self.chance.below(1000) } else { 0 };
            self.later(Millis(wait), Happening::Act(Box::new(effect)));
        }
    }
}
