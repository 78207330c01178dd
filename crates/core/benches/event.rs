//! What one event costs: engine, plan, check and commit, event after event, each a turn of its own.
//!
//! `cargo bench -p pond-core --features testkit --bench event -- [running gangs]...` fills a pool until so many gangs run
//! (default 1,000, 10,000, 100,000; 1,000,000 takes 3 GB) and 100,000 wait, then lets one gang end and one be submitted at
//! a time through [`pond_core::drive`], and prints CPU time an event. Half of them are ends, half submissions.
#![expect(clippy::print_stdout, reason = "figures for people")]

use pond_core::check::Violation;
use pond_core::drive::{Journal, JournalError, Observer, drive};
use pond_core::engine::{Committed, Engine, Outcome, Refusal, Settings, What};
use pond_core::event::{Actor, Effect, Event, Exit, Report, Request};
use pond_core::ids::{JobId, NodeName, QueuePath};
use pond_core::model::{GangSize, JobSpec, NodeSpec, QueueSpec, Resources, RunSpec, Shape};
use pond_core::plan::Planner;
use pond_core::plan::world::{World, gpus, host};
use pond_core::substrate::{Record, Substrate};
use pond_core::testkit::Chance;
use pond_core::units::{Millis, Timestamp};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const WAITING: usize = 100_000;
const MOST_EVENTS: u64 = 20_000;
const MOST_TIME: Duration = Duration::from_secs(10);
const QUEUES: u64 = 4;

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// 100 shapes on four queues, most with a time limit, one job in fifty a gang of four.
fn job(chance: &mut Chance) -> JobSpec {
    let kind = chance.below(100);
    let mut shape = Shape::new(host(1 + kind % 16, 1 + kind / 4));
    if kind.is_multiple_of(5) {
        shape.devices.push(gpus(1 + (kind / 5 % 4) as u32));
    }
    let mut spec = JobSpec::new("bench", shape, RunSpec::argv(&["true"]));
    spec.queue = QueuePath::from(format!("q{}", chance.below(QUEUES)));
    if chance.below(50) == 0 {
        spec.size = GangSize { min: 4, max: 4 };
    }
    if chance.below(10) > 0 {
        spec.time_limit = Some(Millis::from_secs(600 + 600 * chance.below(24)));
    }
    spec
}

fn machine(at: u64) -> NodeSpec {
    let gpu = World::gpu("NVIDIA H100 80GB HBM3", 80);
    let (cores, gib, devices) =
        if at.is_multiple_of(4) { (96, 1024, vec![gpu; 8]) } else { (64, 256, Vec::new()) };
    let capacity = Resources { disk: pond_core::units::Bytes(1 << 40), ..host(cores, gib) };
    NodeSpec {
        name: NodeName::from(format!("n{at}")),
        capacity,
        devices,
        labels: std::collections::BTreeMap::new(),
    }
}

type Finished = Rc<RefCell<Vec<JobId>>>;

/// Machines that start at once and end after a while; after the filling, one event a turn.
struct Machines {
    now: Timestamp,
    line: BinaryHeap<Reverse<(Timestamp, u64)>>,
    due: Vec<Option<Event>>,
    first: Vec<Event>,
    chance: Chance,
    finished: Finished,
    events: u64,
    left: u64,
    until: Duration,
}

impl Machines {
    fn later(&mut self, wait: u64, event: Event) {
        self.line.push(Reverse((self.now.after(Millis(wait)), self.due.len() as u64)));
        self.due.push(Some(event));
    }
}

impl Substrate for Machines {
    fn poll(&mut self, until: Timestamp, events: &mut Vec<(Actor, Event)>) -> Option<Timestamp> {
        let over: Vec<JobId> = self.finished.take();
        let archived = over.into_iter().map(|job| (Actor::Pool, Event::Archived(job)));
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            events.extend(first.into_iter().map(|event| (Actor::Pool, event)));
            return Some(self.now);
        }
        if self.left == 0 || (self.left.is_multiple_of(16) && cpu() > self.until) {
            return None;
        }
        let at = self.line.peek().map_or(Timestamp::NEVER, |Reverse((at, _))| *at);
        if until < at {
            self.now = self.now.max(until);
            events.extend(archived);
            return Some(self.now);
        }
        let Reverse((at, seq)) = self.line.pop()?;
        self.now = self.now.max(at);
        let event = self.due[seq as usize].take()?;
        if matches!(event, Event::Report(Report::Exited { .. })) {
            let submit = Event::Request(Request::Submit(Arc::new(job(&mut self.chance))));
            self.later(1, submit);
        }
        (self.events, self.left) = (self.events + 1, self.left - 1);
        events.extend(archived.chain([(Actor::Pool, event)]));
        Some(self.now)
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start(launch) => {
                    let (task, generation) = (launch.allocation.task, launch.allocation.generation);
                    let started = Report::Started {
                        task,
                        generation,
                        address: None,
                        ports: Vec::new(),
                        steps: Vec::new(),
                    };
                    self.first.push(Event::Report(started));
                    let runs = 10_000 + self.chance.below(7_200_000);
                    self.later(runs, Event::Report(Report::Exited { task, generation, exit: Exit::Code(0) }));
                }
                Effect::Stop { task, generation, .. } => {
                    self.later(1, Event::Report(Report::Exited { task, generation, exit: Exit::Signal(15) }));
                }
                _ => {}
            }
        }
    }
}

/// Keeps nothing: what a journal costs is measured elsewhere.
struct Nowhere(u64);

impl Journal for Nowhere {
    fn last(&self) -> u64 {
        self.0
    }
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.0 += records.len() as u64;
        Ok(())
    }
}

struct Watch {
    finished: Finished,
    plans: u64,
    decisions: u64,
    broken: usize,
}

impl Observer for Watch {
    fn handled(&mut self, _record: &Record, result: &Result<Outcome, Refusal>) {
        let changes = result.as_ref().map(|outcome| outcome.changes.as_slice()).unwrap_or_default();
        for change in changes {
            if let What::Job { job, over: Some(true) } = change.what {
                self.finished.borrow_mut().push(job);
            }
        }
    }
    fn planned(&mut self, record: Option<&Record>, _committed: &Committed, violations: &[Violation]) {
        self.plans += 1;
        self.broken += violations.len();
        if let Some(Record { entry: pond_core::substrate::Entry::Plan(plan), .. }) = record {
            self.decisions += plan.decisions.len() as u64;
        }
    }
    fn settled(&mut self, _engine: &Engine, _planner: &Planner, _now: Timestamp) {}
}

fn run(gangs: u64) {
    let settings = Settings { lease: Millis::ZERO, ..Settings::default() };
    let (mut engine, mut planner) = (Engine::new(settings.clone()), Planner::new(settings.plan));
    let finished = Finished::default();
    let mut watch = Watch { finished: Rc::clone(&finished), plans: 0, decisions: 0, broken: 0 };
    let mut journal = Nowhere(0);
    let mut chance = Chance::new(7);
    let queues =
        (0..QUEUES).map(|at| Event::Request(Request::SetQueue(Box::new(QueueSpec::new(&format!("q{at}"))))));
    let nodes = (0..gangs / 8).map(|at| Event::Report(Report::NodeUp(machine(at))));
    let mut first: Vec<Event> = queues.chain(nodes).collect();
    for _ in 0..gangs as usize + WAITING {
        first.push(Event::Request(Request::Submit(Arc::new(job(&mut chance)))));
    }
    let mut machines = Machines {
        now: Timestamp(1000),
        line: BinaryHeap::new(),
        due: Vec::new(),
        first,
        chance,
        finished,
        events: 0,
        left: 200,
        until: Duration::MAX,
    };
    let before = cpu();
    let mut go = |machines: &mut Machines, watch: &mut Watch| {
        drive(&mut engine, &mut planner, machines, &mut journal, watch).expect("nothing is kept");
        let rows = engine.snapshot().gangs.iter().flatten();
        let placed =
            rows.filter(|row| matches!(row.phase, pond_core::snapshot::GangPhase::Placed(_))).count();
        (placed, engine.jobs().count())
    };
    let (running, jobs) = go(&mut machines, &mut watch);
    let filled = cpu() - before;
    (machines.events, machines.left, machines.until) = (0, MOST_EVENTS, cpu() + MOST_TIME);
    (watch.plans, watch.decisions) = (0, 0);
    let before = cpu();
    go(&mut machines, &mut watch);
    let used = cpu() - before;
    println!(
        "{running} gangs run, {} wait: {:.1} µs of CPU an event ({} events, {} plans, {:.1} decisions a plan, {} broken); filled in {filled:.1?}; peak {} MB",
        jobs - running,
        used.as_secs_f64() * 1e6 / machines.events.max(1) as f64,
        machines.events,
        watch.plans,
        watch.decisions as f64 / watch.plans.max(1) as f64,
        watch.broken,
        peak_mb(),
    );
}

fn main() {
    let asked: Vec<u64> =
        std::env::args().filter_map(|text| text.replace(['_', ','], "").parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000] } else { asked };
    sizes.into_iter().for_each(run);
}
