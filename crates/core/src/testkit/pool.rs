//! A whole pool in memory that a test describes in a screen and then looks at.

use super::world::{Faults, Script, World};
use crate::check::Violation;
use crate::drive::{Journal, JournalError, Observer, drive};
use crate::engine::{
    Change, Committed, End, Engine, EngineImage, Gang, Job, Outcome, Refusal, Reply, Settings, Stale, State,
    What, check_snapshot,
};
use crate::event::{Actor, Event, Request, Target};
use crate::ids::{GangId, JobId, NodeName, QueuePath, UserName};
use crate::model::{
    Checkpoint, Class, Dependency, GangSize, IdleAction, IdlePolicy, JobKind, JobSpec, NodeSpec, QueueSpec,
    Resources, Retry, RetryOn, RunSpec, Shape,
};
use crate::plan::{Decision, Planner};
use crate::snapshot::NodeState;
use crate::substrate::{Entry, Record};
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// A span of so many seconds.
#[must_use]
pub const fn secs(secs: u64) -> Millis {
    Millis::from_secs(secs)
}

/// A machine with so many cores, and 4 GB of memory and 100 GB of disk for each.
#[must_use]
pub fn cpus(cores: u64) -> NodeSpec {
    NodeSpec {
        name: NodeName::from(""),
        capacity: Resources {
            cpu: MilliCpu(cores * 1000),
            memory: Bytes(cores * 4_000_000_000),
            disk: Bytes(cores * 100_000_000_000),
        },
        devices: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// A job in the making: what it asks for and what its tasks will do.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// What is submitted; the name is set then.
    pub spec: JobSpec,
    /// What its tasks do.
    pub script: Script,
}

/// A job of so many tasks that start together, one core each, running until stopped.
#[must_use]
pub fn gang(tasks: u32) -> JobPlan {
    let shape = Shape::new(Resources { cpu: MilliCpu(1000), memory: Bytes(1_000_000), disk: Bytes::ZERO });
    let mut spec = JobSpec::new("", shape, RunSpec::argv(&["true"]));
    spec.size = GangSize { min: tasks, max: tasks };
    JobPlan { spec, script: Script::default() }
}

/// A job of one task with one core, running until stopped.
#[must_use]
pub fn one() -> JobPlan {
    gang(1)
}

impl JobPlan {
    /// Cores per task.
    #[must_use]
    pub fn cpu(mut self, cores: u64) -> Self {
        for shape in &mut self.spec.shapes {
            shape.request.cpu = MilliCpu(cores * 1000);
            shape.burst.cpu = shape.burst.cpu.max(shape.request.cpu);
        }
        self
    }
    /// Elastic: up to so many tasks.
    #[must_use]
    pub const fn up_to(mut self, tasks: u32) -> Self {
        self.spec.size.max = tasks;
        self
    }
    /// Its tasks end by themselves after this.
    #[must_use]
    pub const fn runs(mut self, span: Millis) -> Self {
        self.script.runs = span;
        self
    }
    /// How its attempts end.
    #[must_use]
    pub fn exits(mut self, exits: &[crate::event::Exit]) -> Self {
        self.script.exits = exits.to_vec();
        self
    }
    /// Its tasks need this long to start.
    #[must_use]
    pub const fn starts_in(mut self, span: Millis) -> Self {
        self.script.starts_in = span;
        self
    }
    /// Its tasks use so much CPU, in thousandths of a core.
    #[must_use]
    pub const fn uses(mut self, milli_cpu: u64) -> Self {
        self.script.cpu = MilliCpu(milli_cpu);
        self
    }
    /// Its tasks use so much of each measured share of a device: time, and memory.
    #[must_use]
    pub const fn uses_device(mut self, time: u64, memory: u64) -> Self {
        self.script.device = (Thousandths(time), Bytes(memory));
        self
    }
    /// Its tasks ignore the first signal.
    #[must_use]
    pub const fn stubborn(mut self) -> Self {
        self.script.stubborn = true;
        self
    }
    /// Its tasks cannot be started.
    #[must_use]
    pub fn start_fails(mut self, node_fault: bool) -> Self {
        self.script.start_fails = Some(("no such image".to_owned(), node_fault));
        self
    }
    /// Its class.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.spec.class = class;
        self
    }
    /// Its priority.
    #[must_use]
    pub const fn priority(mut self, priority: u16) -> Self {
        self.spec.priority = priority;
        self
    }
    /// Its queue.
    #[must_use]
    pub fn queue(mut self, path: &str) -> Self {
        self.spec.queue = QueuePath::from(path);
        self
    }
    /// An array of so many elements, of which `parallel` may run at once.
    #[must_use]
    pub fn array(mut self, elements: u32, parallel: Option<u32>) -> Self {
        self.spec.indices = (0..elements).collect();
        self.spec.parallel = parallel;
        self
    }
    /// It waits until it is resumed.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.spec.held = true;
        self
    }
    /// Attempts after the first, on these.
    #[must_use]
    pub fn retry(mut self, on: &[RetryOn], max: u32) -> Self {
        self.spec.retry = Retry { on: on.to_vec(), max, backoff: Millis(1000) };
        self
    }
    /// It runs for this long at most.
    #[must_use]
    pub const fn limit(mut self, span: Millis) -> Self {
        self.spec.time_limit = Some(span);
        self
    }
    /// Time between signal and kill.
    #[must_use]
    pub const fn grace(mut self, span: Millis) -> Self {
        self.spec.grace = span;
        self
    }
    /// It saves its work on this signal, within this time.
    #[must_use]
    pub fn saves(mut self, signal: i32, grace: Millis) -> Self {
        self.spec.checkpoint = Some(Checkpoint { dir: None, signal, grace });
        self
    }
    /// An environment that gives its place back when nobody uses it.
    #[must_use]
    pub const fn idle(mut self, after: Millis, action: IdleAction) -> Self {
        self.spec.kind = JobKind::Env;
        self.spec.idle = Some(IdlePolicy { after, action });
        self
    }
    /// It waits for the end, or the success, of another.
    #[must_use]
    pub fn after(mut self, job: u64, success: bool) -> Self {
        self.spec.after.push(Dependency { job: JobId(job), success });
        self
    }
}

/// History in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Records since the image.
    pub records: Vec<Record>,
    /// The state before them.
    pub image: Option<(u64, EngineImage)>,
    last: u64,
    every: Option<u64>,
}

impl Journal for Memory {
    fn last(&self) -> u64 {
        self.last
    }
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.records.extend_from_slice(records);
        self.last = records.last().map_or(self.last, |record| record.seq);
        Ok(())
    }
    fn wants_image(&self) -> bool {
        self.every.is_some_and(|every| self.records.len() as u64 >= every)
    }
    fn keep_image(&mut self, seq: u64, image: EngineImage) -> Result<(), JournalError> {
        self.image = Some((seq, image));
        self.records.clear();
        Ok(())
    }
}

/// What was seen while the pool ran.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Everything that changed.
    pub changes: Vec<Change>,
    /// Refused requests.
    pub refused: Vec<Refusal>,
    /// Jobs taken in, in order.
    pub submitted: Vec<JobId>,
    /// Decisions carried out or found stale.
    pub decisions: Vec<(Timestamp, Decision)>,
    /// Decisions overtaken by events; between a plan and its commit there are none.
    pub stale: Vec<Stale>,
    /// Invariants that did not hold.
    pub broken: Vec<Violation>,
    /// Turns of the loop.
    pub turns: u64,
}

impl Observer for Seen {
    fn handled(&mut self, _record: &Record, result: &Result<Outcome, Refusal>) {
        match result {
            Ok(outcome) => {
                if let Reply::Submitted(job) = outcome.reply {
                    self.submitted.push(job);
                }
                self.changes.extend_from_slice(&outcome.changes);
            }
            Err(refusal) => self.refused.push(refusal.to_owned()),
        }
    }

    fn planned(&mut self, record: Option<&Record>, committed: &Committed, violations: &[Violation]) {
        self.broken.extend_from_slice(violations);
        self.stale.extend_from_slice(&committed.stale);
        self.changes.extend_from_slice(&committed.changes);
        let Some(Record { at, entry: Entry::Plan(plan), .. }) = record else { return };
        self.decisions.extend(plan.decisions.iter().map(|decision| (*at, decision.to_owned())));
    }

    fn settled(&mut self, engine: &Engine, _planner: &Planner, now: Timestamp) {
        self.turns += 1;
        self.broken.extend(check_snapshot(engine));
        self.broken.extend(engine.meter().check(now));
        self.broken.extend(unanswered(engine));
    }
}

/// Gangs that wait though no plan is due and nobody knows why.
fn unanswered(engine: &Engine) -> Vec<Violation> {
    let gangs = engine.jobs().flat_map(|job| &job.gangs).filter(|_| !engine.wants_plan());
    let silent = gangs.filter(|gang| gang.state() == State::Pending && gang.hold.is_none());
    let violation =
        |gang: &Gang| Violation { rule: "answered", detail: format!("{} waits without a reason", gang.id) };
    silent.map(violation).collect()
}

/// A pool in memory: engine, planner, machines, history.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The engine.
    pub engine: Engine,
    /// The machines.
    pub world: World,
    /// History.
    pub journal: Memory,
    /// What was seen.
    pub seen: Seen,
    /// What plans for it.
    pub planner: Planner,
    settings: Settings,
    names: BTreeMap<String, JobId>,
    next: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// An empty pool with settings at their defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Settings::default(), 1)
    }

    /// An empty pool with these settings and this seed of its faults.
    #[must_use]
    pub fn with(settings: Settings, seed: u64) -> Self {
        Self {
            engine: Engine::new(settings.to_owned()),
            world: World::new(seed),
            journal: Memory::default(),
            seen: Seen::default(),
            planner: Planner::new(settings.plan.to_owned()),
            settings,
            names: BTreeMap::new(),
            next: 1,
        }
    }

    /// Adds a machine.
    #[must_use]
    pub fn node(mut self, name: &str, mut spec: NodeSpec) -> Self {
        spec.name = NodeName::from(name);
        self.world.join(spec);
        self
    }

    /// Adds or changes a queue.
    #[must_use]
    pub fn queue(self, spec: QueueSpec) -> Self {
        self.request(Request::SetQueue(Box::new(spec)))
    }

    /// Submits a job now. Its id is the number of jobs submitted so far, refused ones left out.
    #[must_use]
    pub fn job(mut self, name: &str, plan: JobPlan) -> Self {
        let mut spec = plan.spec;
        spec.name = name.to_owned();
        self.world.script(name, plan.script);
        self.names.insert(name.to_owned(), JobId(self.next));
        self.next += 1;
        self.request(Request::Submit(Arc::new(spec)))
    }

    /// Asks for something now, as the user `ann`.
    #[must_use]
    pub fn request(mut self, request: Request) -> Self {
        let actor = Actor::User { name: UserName::from("ann"), from: "local".to_owned() };
        self.world.request(actor, Event::Request(request));
        self
    }

    /// Stops a job, or all at once.
    #[must_use]
    pub fn stop(self, name: &str, now: bool) -> Self {
        let target = Target::job(self.id(name));
        self.request(Request::Stop { target, now })
    }

    /// Makes messages unreliable from now on.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.world.set_faults(faults);
        self
    }

    /// Does something to the machines.
    #[must_use]
    pub fn world(mut self, act: impl FnOnce(&mut World)) -> Self {
        act(&mut self.world);
        self
    }

    /// Keeps an image in place of every so many records.
    #[must_use]
    pub const fn image_every(mut self, records: u64) -> Self {
        self.journal.every = Some(records);
        self
    }

    /// Lets so much time pass.
    ///
    /// # Panics
    /// When an invariant does not hold: a fault of engine or planner.
    #[must_use]
    pub fn run(mut self, span: Millis) -> Self {
        self.world.set_horizon(self.world.now().after(span));
        let result =
            drive(&mut self.engine, &mut self.planner, &mut self.world, &mut self.journal, &mut self.seen);
        assert!(result.is_ok(), "memory does not fail: {result:?}");
        let first = self.seen.broken.first();
        assert!(first.is_none(), "{first:#?}\n{}", self.transcript());
        assert!(self.seen.stale.is_empty(), "{:#?}\n{}", self.seen.stale, self.transcript());
        self
    }

    /// The server dies and comes back: image, history, then what the machines say. Nothing else is left of it.
    #[must_use]
    pub fn crash(mut self) -> Self {
        self.engine = self.rebuilt();
        self.planner = Planner::new(self.settings.plan.to_owned());
        self.world.reconnect();
        self
    }

    /// The engine made anew from what the journal holds.
    #[must_use]
    pub fn rebuilt(&self) -> Engine {
        let mut engine = match &self.journal.image {
            Some((_, image)) => Engine::restore(image.to_owned(), self.settings.to_owned()),
            None => Engine::new(self.settings.to_owned()),
        };
        for record in &self.journal.records {
            engine.replay(record);
        }
        engine
    }

    /// The id of the job submitted under this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn id(&self, name: &str) -> JobId {
        self.names[name]
    }

    /// The job submitted under this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn find(&self, name: &str) -> &Job {
        let job = self.engine.job(self.id(name));
        assert!(job.is_some(), "no job {name}; refused: {:?}", self.seen.refused);
        job.unwrap_or_else(|| unreachable!())
    }

    /// The first gang of the job with this name.
    #[must_use]
    pub fn gang(&self, name: &str) -> &Gang {
        &self.find(name).gangs[0]
    }

    /// The state of the first gang of the job with this name.
    #[must_use]
    pub fn state(&self, name: &str) -> State {
        self.gang(name).state()
    }

    /// States of all gangs of the job with this name.
    #[must_use]
    pub fn states(&self, name: &str) -> Vec<State> {
        self.find(name).gangs.iter().map(Gang::state).collect()
    }

    /// How the first gang of the job with this name ended.
    #[must_use]
    pub fn end(&self, name: &str) -> Option<&End> {
        self.gang(name).outcome()
    }

    /// The nodes of the first gang of the job with this name, by rank.
    #[must_use]
    pub fn nodes_of(&self, name: &str) -> Vec<&str> {
        let tasks = self.gang(name).live().into_iter().flat_map(|live| &live.tasks);
        tasks.map(|task| self.engine.node_name(task.node).as_str()).collect()
    }

    /// The state of a node.
    #[must_use]
    pub fn node_state(&self, name: &str) -> Option<NodeState> {
        self.engine.snapshot().nodes.iter().find(|row| row.name.as_str() == name).map(|row| row.state)
    }

    /// What happened to gangs and nodes, a line each.
    #[must_use]
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for change in &self.seen.changes {
            let line = match &change.what {
                What::Gang { gang, from, to, attempt, .. } => {
                    format!("{} {from:?} -> {to:?} (attempt {attempt})", self.label(*gang))
                }
                What::Node { node, to, .. } => format!("node {node} {to:?}"),
                What::Device { node, device, healthy } => {
                    format!("device {node}/{device} healthy: {healthy}")
                }
                What::Job { .. }
                | What::Task { .. }
                | What::Share { .. }
                | What::Queue { .. }
                | What::Idle { .. }
                | What::Budget { .. }
                | What::OutOfBudget { .. } => continue,
            };
            let (whole, part) = (change.at.0 / 1000, change.at.0 % 1000);
            if writeln!(text, "{whole:>5}.{part:03} {line}: {}", change.reason).is_err() {
                break;
            }
        }
        text
    }

    fn label(&self, gang: GangId) -> String {
        let name = self.names.iter().find(|(_, job)| **job == gang.job).map_or("?", |(name, _)| name);
        if gang.index == 0 { name.to_owned() } else { format!("{name}[{}]", gang.index) }
    }
}
