//! The engine: the state of the pool, moved only by events and plans, told in effects and changes.
//!
//! It is a function of its inputs: the same events and plans at the same moments give the same state,
//! effects and bytes, on a machine, on Kubernetes and in the simulator. The state diagram of a gang is
//! in [`job`](Job); that of a node in [`node`](Node). Cost per event depends on what the event is about
//! (a gang's ranks, a node's tasks), never on how many others run or wait.
//!
//! What is absent: placement choices (they are in [`crate::plan`]), clocks, chance, names of machines
//! in hot paths.

mod admit;
mod again;
mod archive;
mod blame;
mod budget;
mod change;
mod check;
mod command;
mod commit;
mod health;
mod history;
mod image;
mod inventory;
mod job;
mod lifecycle;
mod manner;
mod node;
mod progress;
mod refusal;
mod report;
mod resize;
mod room;
mod rows;
mod sample;
mod settings;
#[cfg(test)]
mod tests;
mod timers;

pub use admit::{MAX_BYTES, MAX_CPU, MAX_DEVICES, MAX_RANKS};
pub use blame::Blamed;
pub use change::{Change, Committed, Counters, Outcome, Reply, Stale, StaleReason, What};
pub use check::check_snapshot;
pub use health::{Condition, Health};
pub use image::EngineImage;
pub use job::{
    Attempt, End, Ending, Gang, Job, Limits, Live, Past, Phase, RankEnd, State, Task, TaskState, Then,
};
pub use node::Node;
pub use refusal::Refusal;
pub use rows::{Counted, GangRows};
pub use sample::Samples;
pub use settings::Settings;

use crate::by_job::ByJob;
use crate::event::{Actor, Event};
use crate::ids::{GangId, JobId, NodeName, QueuePath, UserName};
use crate::meter::Meter;
use crate::plan::Plan;
use crate::plan::named::Choice;
use crate::snapshot::{self, NodeOrd, QueueOrd, Snapshot};
use crate::substrate::{Entry, Record};
use crate::units::Timestamp;
use archive::Archive;
use change::Out;
use history::{History, Pool};
use rows::Rows;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use timers::{Timer, Timers};

/// The state of the pool.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    now: Timestamp,
    /// Since when no longer time than a lost node's passed without an event: before, nobody was looking.
    awake_since: Timestamp,
    next_job: u64,
    jobs: ByJob<Box<Job>>,
    /// Jobs that wait for the end of the key.
    dependents: BTreeMap<JobId, BTreeSet<JobId>>,
    archive: Archive,
    nodes: Vec<Node>,
    rows: Rows,
    history: History,
    /// What there is in all; `None` until a share of it is asked for.
    pool: Option<Pool>,
    timers: Timers,
    meter: Meter,
    counters: Counters,
    /// `spare` gangs that have not ended: samples call for a plan only while there are some.
    spare_gangs: u64,
    wants_plan: bool,
    plan_again: Timestamp,
    /// How the pool is planned while nobody chose otherwise.
    configured: snapshot::Settings,
    /// What an administrator chose; [`Settings::plan`] follows it.
    choice: Option<Choice>,
    /// The changes of an event that was told, for the memory of the next: empty.
    used: Vec<Change>,
}

/// Changes of one event whose memory is kept at most.
const MOST_USED: usize = 64;

impl Engine {
    /// An empty pool with the queues root and `default`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let configured = settings.plan.to_owned();
        let mut engine = Self {
            settings,
            now: Timestamp(0),
            awake_since: Timestamp(0),
            next_job: 1,
            jobs: ByJob::default(),
            dependents: BTreeMap::new(),
            archive: Archive::default(),
            nodes: Vec::new(),
            rows: Rows::new(),
            history: History::default(),
            pool: None,
            timers: Timers::default(),
            meter: Meter::default(),
            counters: Counters::default(),
            spare_gangs: 0,
            wants_plan: true,
            plan_again: Timestamp::NEVER,
            configured,
            choice: None,
            used: Vec::new(),
        };
        let root = engine.rows.add_queue(crate::model::QueueSpec::new(""), None);
        engine.rows.add_queue(crate::model::QueueSpec::new("default"), Some(root));
        engine.history.fit(2);
        engine.meter.ledger_mut().turn(engine.settings.ledger);
        engine
    }

    /// Takes in an event.
    ///
    /// # Errors
    /// A request that cannot be: nothing of it was done. Reports are never refused, but for a node that cannot be.
    pub fn handle(&mut self, now: Timestamp, actor: &Actor, event: Event) -> Result<Outcome, Refusal> {
        self.pass_time(now);
        let mut out = Out { changes: std::mem::take(&mut self.used), ..Out::default() };
        if let Actor::Node(name) = actor {
            self.hear(name, &mut out);
        }
        let reply = match event {
            Event::Request(request) => self.request(actor, request, &mut out),
            Event::Report(report) => self.report(actor, report, &mut out).map(|()| Reply::Done),
            Event::Tick => {
                self.fire_timers(&mut out);
                Ok(Reply::Done)
            }
            Event::Archived(job) => self.archived(job, &mut out).map(|()| Reply::Done),
            Event::Booked(seq) => {
                self.meter.ledger_mut().kept(seq);
                Ok(Reply::Done)
            }
        };
        match reply {
            Ok(reply) => Ok(Outcome { effects: out.effects, reply, changes: out.changes }),
            Err(refusal) => {
                self.counters.refused = self.counters.refused.saturating_add(1);
                Err(refusal)
            }
        }
    }

    /// Takes back what was told of an event, for its memory.
    pub fn reuse(&mut self, mut outcome: Outcome) {
        if outcome.changes.capacity() <= MOST_USED {
            outcome.changes.clear();
            self.used = outcome.changes;
        }
    }

    /// Carries out a plan, as far as it still holds.
    #[must_use]
    pub fn commit(&mut self, now: Timestamp, plan: &Plan) -> Committed {
        self.pass_time(now);
        self.carry_out(plan)
    }

    /// Takes in a line of history again; its effects were carried out when it was new.
    pub fn replay(&mut self, record: &Record) {
        match &record.entry {
            Entry::Event(event) => drop(self.handle(record.at, &record.actor, event.to_owned())),
            Entry::Plan(plan) => drop(self.commit(record.at, plan)),
        }
    }

    /// The planner's view.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.rows.snapshot
    }

    /// Whether something changed that a plan could answer.
    #[must_use]
    pub const fn wants_plan(&self) -> bool {
        self.wants_plan
    }

    /// When a [`Event::Tick`] is due though nothing happens.
    #[must_use]
    pub fn next_timer(&self) -> Timestamp {
        self.timers.next().min(self.plan_again).min(self.meter.ledger().end())
    }

    /// The latest moment it was told.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// How it keeps time and patience.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the pool decides, when an administrator chose; else as it was started.
    #[must_use]
    pub const fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }

    /// A job that was not archived.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job).map(|job| &**job)
    }

    /// Every job that was not archived, oldest first.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values().map(|job| &**job)
    }

    /// A gang of a job that was not archived.
    #[must_use]
    pub fn gang(&self, gang: GangId) -> Option<&Gang> {
        self.jobs.get(&gang.job)?.gang(gang.index)
    }

    /// Nodes in the order of their rows in the snapshot.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of the node at this ordinal.
    #[must_use]
    pub fn node_name(&self, ord: NodeOrd) -> &NodeName {
        &self.rows.snapshot.node(ord).name
    }

    /// What everything cost.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Messages that were ignored.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether a queue is there.
    #[must_use]
    pub fn has_queue(&self, path: &QueuePath) -> bool {
        self.rows.queue_ord(path).is_some()
    }

    /// Time never goes back; histories are brought up once a second.
    fn pass_time(&mut self, now: Timestamp) {
        if now > self.now {
            self.note_use();
        }
        if now.since(self.now) > self.settings.lost_after {
            self.awake_since = now;
        }
        self.now = self.now.max(now);
        self.meter.keep_books(self.now);
        if self.history.is_due(self.now) {
            self.history.advance(self.now, self.settings.plan.half_life);
            for at in 0..self.rows.snapshot.queues.len() {
                let history = self.history.value(at);
                self.rows.snapshot.queues[at].history = history;
            }
        }
    }

    /// Tells the histories of queues whose use has changed at this moment, once it is over: what it was in between lasted for no time.
    fn note_use(&mut self) {
        let mut queues = std::mem::take(&mut self.rows.used_otherwise);
        queues.sort_unstable();
        queues.dedup();
        self.history.note(&queues, &self.rows.snapshot, &mut self.pool, self.now);
        queues.clear();
        self.rows.used_otherwise = queues;
    }

    /// The histories with what has changed at this moment so far.
    fn history_now(&self) -> History {
        let mut history = self.history.to_owned();
        let mut pool = self.pool.to_owned();
        history.note(&self.rows.used_otherwise, &self.rows.snapshot, &mut pool, self.now);
        history
    }

    /// What there is in the pool has changed: every share is another one.
    fn note_pool(&mut self) {
        self.pool = None;
        self.rows.used_otherwise.extend((0_u32..).map(QueueOrd).take(self.rows.snapshot.queues.len()));
    }

    fn fire_timers(&mut self, out: &mut Out) {
        if self.plan_again <= self.now {
            self.plan_again = Timestamp::NEVER;
            self.wants_plan = true;
        }
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Lease(node) => self.lease_ran_out(node, out),
                Timer::Backoff(gang) => self.backoff_over(gang, out),
                Timer::Start(gang) => self.start_ran_out(gang, out),
                Timer::Limit(gang) => self.time_is_up(gang, out),
                Timer::Enforce(gang) => self.enforce_stop(gang, out),
                Timer::Idle(gang) => self.idle_for_long(gang, out),
                Timer::Verdict(gang) => self.conclude(gang, out),
                Timer::Budgets => self.look_at_budgets(out),
            }
        }
    }

    fn note(&self, out: &mut Out, what: What, reason: impl Into<Cow<'static, str>>) {
        out.changes.push(Change { at: self.now, what, reason: reason.into() });
    }

    fn user_of(actor: &Actor) -> Option<UserName> {
        match actor {
            Actor::User { name, .. } => Some(name.to_owned()),
            _ => None,
        }
    }

    fn gang_mut(&mut self, gang: GangId) -> Option<&mut Gang> {
        self.jobs.get_mut(&gang.job)?.gang_mut(gang.index)
    }
}
