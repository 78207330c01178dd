//! Machines and jobs on a clock that jumps: the [`Substrate`] under the engine.

use super::desk::Desk;
use super::faults::Wear;
use super::feasible::EmptyPool;
use super::line::Line;
use super::run::Run;
use super::scene::Scene;
use super::{Control, Progress};
use crate::experiment::Predictor;
use crate::outcome::Fate;
use pond_core::event::{Actor, Effect, Event, Exit, Report, Request, Target};
use pond_core::ids::{Generation, JobId};
use pond_core::substrate::Substrate;
use pond_core::units::{Millis, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Polls between two words of progress.
const TELL_EVERY: u32 = 256;

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum Happening {
    Submit(u32),
    Runs { job: u32, rank: u32, generation: Generation },
    Ends { job: u32, version: u32 },
    Dies { job: u32, rank: u32, generation: Generation, signal: i32 },
    Tell(Box<(Actor, Event)>),
    Act(Box<Effect>),
    NodeFails(u32),
    NodeMissed(u32, u32),
    NodeReturns(u32),
    DeviceFails(u32, u32),
    DeviceReturns(u32, u32),
    Drain(u32),
    Undrain(u32),
    Heartbeat(u32),
    Inventory(u32),
    Sample(u32),
    Measure,
}

/// One machine.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// It died so many times.
    pub deaths: u32,
    /// It is dead now.
    pub dead: bool,
    /// Ranks that live here, or lived and were not yet forgotten.
    pub tasks: BTreeSet<(u32, u32)>,
    /// Who shares a device by parts of it.
    pub sharers: BTreeMap<u32, Vec<u32>>,
}

/// Machines, jobs and the clock.
pub(super) struct World<'a> {
    pub scene: &'a Scene<'a>,
    pub desk: &'a RefCell<Desk>,
    pub now: Timestamp,
    pub line: Line,
    pub machines: Vec<Machine>,
    pub runs: Vec<Option<Box<Run>>>,
    pub wear: Wear,
    /// Told at the next poll.
    pub outbox: Vec<(Actor, Event)>,
    pub doubled: u64,
    pub fault_count: u64,
    /// Place of the next job that waits for its moment alone.
    next_job: usize,
    /// Jobs that are submitted after the end of another.
    followers: BTreeMap<u64, Vec<u32>>,
    /// Finished jobs that the engine may forget.
    archived: Vec<JobId>,
    left: u64,
    polls: u32,
    cancelled: bool,
    /// The moment of the next point.
    measure: Timestamp,
    empty: Option<EmptyPool>,
    predictor: &'a mut dyn Predictor,
    progress: &'a mut dyn FnMut(Progress) -> Control,
}

impl<'a> World<'a> {
    pub fn new(
        scene: &'a Scene<'a>,
        desk: &'a RefCell<Desk>,
        predictor: &'a mut dyn Predictor,
        progress: &'a mut dyn FnMut(Progress) -> Control,
    ) -> Self {
        let jobs = &scene.workload.jobs;
        let mut followers: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (at, job) in (0_u32..).zip(jobs) {
            if let Some((other, _)) = job.after {
                followers.entry(other).or_default().push(at);
            }
        }
        let mut world = Self {
            scene,
            desk,
            now: Timestamp(0),
            line: Line::default(),
            machines: scene.cluster.nodes.iter().map(|_| Machine::default()).collect(),
            runs: jobs.iter().map(|_| None).collect(),
            wear: Wear::new(scene),
            outbox: Vec::new(),
            doubled: 0,
            fault_count: 0,
            next_job: 0,
            followers,
            archived: Vec::new(),
            left: jobs.len() as u64,
            polls: 0,
            cancelled: false,
            measure: Timestamp::NEVER,
            empty: None,
            predictor,
            progress,
        };
        world.open();
        world
    }

    /// Whether the caller wanted no more.
    pub const fn was_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Machines join, queues are made, everything that happens by itself begins.
    fn open(&mut self) {
        let scene = self.scene;
        for spec in super::feasible::queues(scene) {
            self.outbox.push((Actor::Pool, Event::Request(Request::SetQueue(Box::new(spec)))));
        }
        for node in 0..scene.cluster.nodes.len() {
            self.node_up(u32::try_from(node).unwrap_or(u32::MAX));
        }
        self.begin_faults();
    }

    pub fn actor(&self, node: u32) -> Actor {
        Actor::Node(self.scene.cluster.nodes[node as usize].name.clone())
    }

    /// A report on its way, with whatever befalls it there.
    pub fn tell(&mut self, node: u32, report: Report) {
        let told = (self.actor(node), Event::Report(report));
        let mut waits = self.wear.fate_of_report();
        let (first, second) = (waits.next(), waits.next());
        if let (Some(wait), true) = (first, second.is_some()) {
            self.deliver(wait, told.clone());
        }
        if let Some(wait) = second.or(first) {
            self.deliver(wait, told);
        }
    }

    fn deliver(&mut self, wait: Millis, told: (Actor, Event)) {
        if wait.is_zero() {
            self.outbox.push(told);
        } else {
            self.line.push(self.now.after(wait), Happening::Tell(Box::new(told)));
        }
    }

    /// When the next job comes by its own clock.
    fn next_submission(&self) -> Timestamp {
        self.scene.workload.jobs.get(self.next_job).map_or(Timestamp::NEVER, |job| job.submit)
    }

    fn submit_due(&mut self) {
        while let Some(job) = self.scene.workload.jobs.get(self.next_job).filter(|job| job.submit <= self.now)
        {
            let at = u32::try_from(self.next_job).unwrap_or(u32::MAX);
            self.next_job += 1;
            if job.after.is_none() {
                self.submit(at);
            }
        }
    }

    fn submit(&mut self, at: u32) {
        let job = self.scene.job(at);
        let predicted = self.predictor.predict(job);
        let spec = self.scene.spec(job, predicted);
        let user = Actor::User { name: spec.user.clone(), from: String::new() };
        {
            let mut desk = self.desk.borrow_mut();
            desk.submitted.push_back(at);
            desk.rows[at as usize].submit = self.now;
        }
        self.outbox.push((user, Event::Request(Request::Submit(spec))));
    }

    /// Takes in what the recorder saw: jobs that are over, jobs that perhaps never fit.
    fn read_desk(&mut self) {
        let (mut over, doubtful) = {
            let mut desk = self.desk.borrow_mut();
            if self.measure != desk.measure {
                self.measure = desk.measure;
                self.line.push(desk.measure, Happening::Measure);
            }
            if desk.over.is_empty() && desk.doubtful.is_empty() {
                return;
            }
            (std::mem::take(&mut desk.over), std::mem::take(&mut desk.doubtful))
        };
        for (at, id) in over.drain(..) {
            self.predictor.over(self.scene.job(at), &self.desk.borrow().rows[at as usize]);
            self.left = self.left.saturating_sub(1);
            self.clear_attempt(at);
            self.runs[at as usize] = None;
            self.archived.extend(id);
            for follower in self.followers.remove(&self.scene.job(at).id).unwrap_or_default() {
                let think = self.scene.job(follower).after.map_or(Millis::ZERO, |(_, think)| think);
                self.line.push(self.now.after(think), Happening::Submit(follower));
            }
        }
        // For its memory.
        self.desk.borrow_mut().over = over;
        for (at, id) in doubtful {
            let scene = self.scene;
            let empty = self.empty.get_or_insert_with(|| EmptyPool::new(scene));
            if !empty.fits(scene, scene.job(at)) {
                self.desk.borrow_mut().rows[at as usize].fate = Fate::Infeasible;
                let stop = Request::Stop { target: Target::job(id), now: true };
                self.outbox.push((Actor::Pool, Event::Request(stop)));
            }
        }
    }

    /// Says how far it is; whether to go on.
    fn goes_on(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.polls = self.polls.wrapping_add(1);
        if !self.polls.is_multiple_of(TELL_EVERY) {
            return true;
        }
        let (events, stalled) = {
            let desk = self.desk.borrow();
            let idle = desk.placed == 0 && self.next_submission() == Timestamp::NEVER;
            (desk.events, idle && self.now.since(desk.moved) > self.scene.settings.stall)
        };
        let done = self.scene.workload.jobs.len() as u64 - self.left;
        let word = Progress { events, now: self.now, jobs_done: done, jobs_left: self.left };
        self.cancelled = (self.progress)(word) == Control::Stop;
        !self.cancelled && !stalled
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Submit(job) => self.submit(job),
            Happening::Runs { job, rank, generation } => self.runs_now(job, rank, generation),
            Happening::Ends { job, version } => self.work_done(job, version),
            Happening::Dies { job, rank, generation, signal } => {
                if self.lives(job, rank, generation) {
                    self.exit(job, rank, Exit::Signal(signal));
                }
            }
            Happening::Tell(told) => self.outbox.push(*told),
            Happening::Act(effect) => self.act(*effect),
            Happening::Measure => {}
            fault => self.wear_out(fault),
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start(launch) => self.start(*launch),
            Effect::Stop { task, generation, grace, node, .. } => {
                if let Some(node) = self.scene.node(&node) {
                    self.stop(task, generation, grace, node);
                }
            }
            Effect::Freeze { task, generation, frozen, .. } => self.freeze(task, generation, frozen),
            Effect::Resize { task, generation, node, .. } => {
                if let Some(node) = self.scene.node(&node).filter(|node| !self.machines[*node as usize].dead)
                {
                    self.tell(node, Report::Resized { task, generation, refused: None });
                }
            }
            Effect::Fence { task, generation, node } => {
                if let Some(node) = self.scene.node(&node) {
                    self.fence(task, generation, node);
                }
            }
            Effect::Signal { .. } | Effect::Purge(_) => {}
        }
    }
}

impl Substrate for World<'_> {
    fn poll(&mut self, until: Timestamp, events: &mut Vec<(Actor, Event)>) -> Option<Timestamp> {
        self.read_desk();
        if !self.goes_on() {
            return None;
        }
        let horizon = self.scene.settings.horizon.unwrap_or(Timestamp::NEVER);
        let until = until.max(self.now);
        loop {
            let next = self.line.next().min(self.next_submission());
            let reach = if self.outbox.is_empty() { next.min(until) } else { self.now };
            if reach > horizon || reach == Timestamp::NEVER {
                return None;
            }
            self.now = self.now.max(reach);
            if next > self.now {
                break;
            }
            if self.next_submission() <= self.now {
                self.submit_due();
            } else if let Some(what) = self.line.pop() {
                let measures = matches!(what, Happening::Measure);
                self.happen(what);
                if measures {
                    // The state before anything else of this moment.
                    break;
                }
            }
        }
        events.append(&mut self.outbox);
        events.extend(self.archived.drain(..).map(|id| (Actor::Pool, Event::Archived(id))));
        Some(self.now)
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let wait = self.wear.delay_of_effect();
            if wait.is_zero() {
                self.act(effect);
            } else {
                self.line.push(self.now.after(wait), Happening::Act(Box::new(effect)));
            }
        }
    }
}
