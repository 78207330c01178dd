//! The trace of each job: one span from its submission to its end, and below it what it waited for, how it came to run, each run and
//! each end.
//!
//! ```text
//! job ──┬── waiting ── placement ── launch ─┬─ run ─┬─ end ── waiting ...
//!       │                                   │       └── frozen
//!       │                    image, mounts, network, devices, start (by the node's clock)
//! ```
//! Numbers of traces and spans follow from the pool's name and the job's id, so a server that is started again goes on with the same
//! trace. A span is sent when it is over; where it began is known from the engine's changes, after a start from its state.

use super::{Note, Part, Trace, part};
use crate::auth::hash_bytes;
use crate::clock::wall_us;
use crate::pool::view::words;
use pond_core::engine::{Attempt, Change, Engine, Gang, Job, Live, State, What};
use pond_core::event::{Actor, Exit, Report, Step};
use pond_core::ids::{GangId, Generation, TaskId};
use pond_core::units::Timestamp;
use std::collections::BTreeMap;

/// Jobs on their way; without a name of the pool nothing is kept.
#[derive(Debug, Default)]
pub struct Traces {
    pool: Option<String>,
    gangs: BTreeMap<GangId, Moments>,
    notes: Vec<Noted>,
    /// When the plan that is carried out was begun.
    planning_us: Option<u64>,
}

/// What happened since the last turn.
#[derive(Debug)]
enum Noted {
    /// A change, and when the plan that made it was begun and done.
    Change(Change, Option<(u64, u64)>),
    Steps {
        task: TaskId,
        generation: Generation,
        node: String,
        steps: Vec<Step>,
    },
}

/// Where a gang stands, since when.
#[derive(Clone, Copy, Debug)]
struct Moments {
    /// It waits, or is paused, or has waited until it got its place.
    waiting: Timestamp,
    /// The generation that it got its place with.
    generation: Generation,
    placed: Option<Timestamp>,
    started: Option<Timestamp>,
    frozen: Option<Timestamp>,
    ending: Option<Timestamp>,
}

impl Moments {
    const fn waiting(since: Timestamp) -> Self {
        Self {
            waiting: since,
            generation: Generation(0),
            placed: None,
            started: None,
            frozen: None,
            ending: None,
        }
    }

    fn of(gang: &Gang, submitted: Timestamp) -> Self {
        let since = gang.last.as_ref().map_or(submitted, |last| last.ended);
        let mut moments = Self::waiting(since);
        if let Some(live) = gang.live() {
            moments.generation =
                live.tasks.iter().map(|task| task.generation).min().unwrap_or(gang.generation);
            moments.placed = Some(live.placed);
            moments.started = live.started;
            moments.frozen = live.frozen;
            moments.ending = live.ending.as_ref().map(|ending| ending.since);
        }
        moments
    }
}

impl Traces {
    /// Goes on with the traces of jobs that are there; without a name of the pool with none.
    #[must_use]
    pub fn recall(pool: Option<String>, engine: &Engine) -> Self {
        let mut gangs = BTreeMap::new();
        if pool.is_some() {
            for job in engine.jobs() {
                // One that never had a place waits since its submission.
                let begun = job.gangs.iter().filter(|gang| gang.attempt > 0 && gang.outcome().is_none());
                gangs.extend(begun.map(|gang| (gang.id, Moments::of(gang, job.submitted))));
            }
        }
        Self { pool, gangs, ..Self::default() }
    }

    /// Takes out of a report what is not history: how long each step of a start took.
    pub fn report(&mut self, report: &mut Report, actor: &Actor) {
        let Report::Started { task, generation, steps, .. } = report else { return };
        let steps = std::mem::take(steps);
        if let Actor::Node(node) = actor
            && self.pool.is_some()
            && !steps.is_empty()
        {
            let (task, generation, node) = (*task, *generation, node.to_string());
            self.notes.push(Noted::Steps { task, generation, node, steps });
        }
    }

    /// A plan is about to be made.
    pub fn planning(&mut self) {
        self.planning_us = self.pool.is_some().then(wall_us);
    }

    /// Something changed.
    pub fn changed(&mut self, change: &Change) {
        if self.pool.is_some()
            && matches!(change.what, What::Gang { .. } | What::Job { over: Some(true), .. })
        {
            let plan = self.planning_us.map(|from_us| (from_us, wall_us()));
            self.notes.push(Noted::Change(change.clone(), plan));
        }
    }

    /// The changes of a plan have all been told.
    pub const fn planned(&mut self) {
        self.planning_us = None;
    }

    /// Sends what is over.
    pub fn send(&mut self, engine: &Engine) {
        let Some(pool) = &self.pool else { return };
        for noted in std::mem::take(&mut self.notes) {
            let id = match &noted {
                Noted::Change(Change { what: What::Job { job, .. }, .. }, _) => *job,
                Noted::Change(Change { what: What::Gang { gang, .. }, .. }, _) => gang.job,
                Noted::Steps { task, .. } => task.gang.job,
                Noted::Change(..) => continue,
            };
            // One that was removed already had its end told before.
            let Some(job) = engine.job(id) else { continue };
            let sheet = Sheet::new(pool, job, engine);
            match noted {
                Noted::Steps { task, generation, node, steps } => {
                    if let Some(moments) = self.gangs.get(&task.gang) {
                        sheet.steps(moments, task, generation, &node, &steps);
                    }
                }
                Noted::Change(
                    Change { what: What::Gang { gang, from, to, attempt, generation, .. }, at, .. },
                    plan,
                ) => {
                    let moments = self.gangs.entry(gang).or_insert(Moments::waiting(job.submitted));
                    let seen = Seen { gang, from, to, attempt, generation, at };
                    sheet.changed(moments, &seen, plan);
                    if to.is_over() {
                        self.gangs.remove(&gang);
                    }
                }
                Noted::Change(Change { at, .. }, _) => sheet.job(at),
            }
        }
    }
}

/// A gang went from one state to another.
struct Seen {
    gang: GangId,
    from: State,
    to: State,
    attempt: u32,
    generation: Generation,
    at: Timestamp,
}

/// A stretch of time.
type Stretch = (Timestamp, Timestamp);

const fn waits(state: State) -> bool {
    matches!(state, State::Held | State::Pending | State::Paused)
}

/// What the spans of one job have in common.
struct Sheet<'a> {
    trace: Trace,
    pool: &'a str,
    job: &'a Job,
    engine: &'a Engine,
}

impl<'a> Sheet<'a> {
    fn new(pool: &'a str, job: &'a Job, engine: &'a Engine) -> Self {
        let hash = hash_bytes(format!("{pool} {}", job.id).as_bytes());
        let (id, _) = hash.split_first_chunk().map_or(([0; 16], &hash[..]), |(id, rest)| (*id, rest));
        let mut sheet = Self {
            trace: Trace { id: u128::from_be_bytes(id), above: job.spec.traceparent.clone(), root: 0 },
            pool,
            job,
            engine,
        };
        sheet.trace.root = sheet.number("job");
        sheet
    }

    /// The number of a span of this job.
    fn number(&self, name: &str) -> u64 {
        let hash = hash_bytes(format!("{} {} {name}", self.pool, self.job.id).as_bytes());
        hash.first_chunk().map_or(1, |id| u64::from_be_bytes(*id))
    }

    /// All of it, now that it is over.
    fn job(&self, at: Timestamp) {
        let spec = &self.job.spec;
        let failed = self.job.gangs.iter().filter_map(Gang::outcome).find(|outcome| !outcome.is_success());
        part(Part {
            trace: self.trace.clone(),
            id: self.trace.root,
            above: None,
            name: "job",
            from_us: us(self.job.submitted),
            to_us: us(at),
            notes: vec![
                ("pond.job", Note::Word(self.job.id.to_string())),
                ("pond.job.name", Note::Word(spec.name.clone())),
                ("user.name", Note::Word(spec.user.to_string())),
                ("pond.queue", Note::Word(spec.queue.to_string())),
                ("pond.class", Note::Word(words::kind(&spec.class))),
                ("pond.elements", Note::Number(i64::from(spec.indices.len() as u32))),
                ("process.exit.code", Note::Number(self.job.exit_code().unwrap_or_default().into())),
            ],
            error: failed.map(words::kind),
        });
    }

    fn changed(&self, moments: &mut Moments, seen: &Seen, plan: Option<(u64, u64)>) {
        let Seen { from, to, at, .. } = *seen;
        match (waits(from), waits(to)) {
            _ if from == to => {}
            (true, true) if from == State::Paused || to == State::Paused => {
                self.waited(seen, moments.waiting);
                moments.waiting = at;
            }
            (true, true) => {}
            (true, false) => {
                self.waited(seen, moments.waiting);
                if to.is_over() {
                    self.end(seen, (at, at));
                } else {
                    *moments = Moments { placed: Some(at), generation: seen.generation, ..*moments };
                    self.placed(seen, plan);
                }
            }
            _ if from.is_over() => *moments = Moments::waiting(at),
            (false, true) => {
                self.over(seen, moments);
                *moments = Moments::waiting(at);
            }
            (false, false) if to.is_over() => self.over(seen, moments),
            (false, false) => self.moved(seen, moments),
        }
    }

    /// A gang with a place is in another state, and keeps it.
    fn moved(&self, seen: &Seen, moments: &mut Moments) {
        let at = seen.at;
        if let Some(since) = moments.frozen.take() {
            self.part("frozen", seen, (since, at), Some("run"), Vec::new(), None);
        }
        match seen.to {
            State::Running if moments.started.is_none() => {
                moments.started = Some(at);
                self.launched(seen, (moments.placed.unwrap_or(at), at), None);
            }
            State::Frozen => moments.frozen = Some(at),
            State::Stopping => moments.ending = Some(at),
            _ => {}
        }
    }

    /// An attempt is over, and its place free again.
    fn over(&self, seen: &Seen, moments: &mut Moments) {
        let ended = moments.ending.unwrap_or(seen.at);
        if let Some(since) = moments.frozen.take() {
            self.part("frozen", seen, (since, ended), Some("run"), Vec::new(), None);
        }
        match moments.started {
            None => {
                let placed = moments.placed.unwrap_or(ended);
                self.launched(seen, (placed, ended), Some("not started".to_owned()));
            }
            Some(started) => {
                let last = self.last(seen);
                let exit = last.and_then(|last| last.ranks.iter().find(|rank| rank.exit != Exit::Code(0)));
                let code = match exit.map_or(Exit::Code(0), |rank| rank.exit) {
                    Exit::Code(code) => Some(("process.exit.code", Note::Number(code.into()))),
                    Exit::Signal(signal) => Some(("pond.signal", Note::Number(signal.into()))),
                    _ => None,
                };
                let mut notes = vec![("pond.nodes", Note::Words(self.nodes(seen)))];
                notes.extend(code);
                let error = exit.map(|rank| words::exit(rank.exit));
                self.part("run", seen, (started, ended), None, notes, error);
            }
        }
        self.end(seen, (ended, seen.at));
    }

    fn end(&self, seen: &Seen, stretch: Stretch) {
        let outcome = self.job.gang(seen.gang.index).and_then(Gang::outcome);
        let (then, error) = match outcome.filter(|_| seen.to.is_over()) {
            None => ("again".to_owned(), None),
            Some(outcome) => (words::kind(outcome), (!outcome.is_success()).then(|| words::kind(outcome))),
        };
        self.part("end", seen, stretch, None, vec![("pond.outcome", Note::Word(then))], error);
    }

    fn waited(&self, seen: &Seen, since: Timestamp) {
        let name = if seen.from == State::Paused { "paused" } else { "waiting" };
        let past = self
            .job
            .gang(seen.gang.index)
            .and_then(|gang| gang.past.iter().rev().find(|past| past.at == seen.at)?.waited.as_ref());
        let reason = past.map(|reason| ("pond.waiting.reason", Note::Word(words::kind(reason))));
        self.part(name, seen, (since, seen.at), None, reason.into_iter().collect(), None);
    }

    /// The plan that gave a gang its place, by the server's clock.
    fn placed(&self, seen: &Seen, plan: Option<(u64, u64)>) {
        let Some((from_us, to_us)) = plan else { return };
        let gang = self.job.gang(seen.gang.index);
        let alternative = gang.and_then(Gang::live).map_or(0, |live| live.alternative);
        let notes = vec![
            ("pond.nodes", Note::Words(self.nodes(seen))),
            ("pond.alternative", Note::Number(alternative.into())),
        ];
        self.stretch("placement", seen, (from_us, to_us), None, notes, None);
    }

    fn launched(&self, seen: &Seen, stretch: Stretch, error: Option<String>) {
        let notes = vec![("pond.nodes", Note::Words(self.nodes(seen)))];
        self.part("launch", seen, stretch, None, notes, error);
    }

    /// What a rank's start was made of; of one that an elastic gang got later it is below the run.
    fn steps(&self, moments: &Moments, task: TaskId, generation: Generation, node: &str, steps: &[Step]) {
        let Some(gang) = self.job.gang(task.gang.index) else { return };
        if moments.placed.is_none() || generation < moments.generation {
            return;
        }
        let above = if moments.started.is_some() { "run" } else { "launch" };
        for step in steps {
            let name = step.kind.name();
            part(Part {
                trace: self.trace.clone(),
                id: self.number(&format!("{name} {task} {}", generation.0)),
                above: Some(self.of_attempt(above, task.gang, gang.attempt)),
                name,
                from_us: step.from_us,
                to_us: step.to_us.max(step.from_us),
                notes: vec![
                    ("pond.task", Note::Word(task.to_string())),
                    ("host.name", Note::Word(node.to_owned())),
                ],
                error: None,
            });
        }
    }

    /// The attempt that has just ended.
    fn last(&self, seen: &Seen) -> Option<&'a Attempt> {
        self.job.gang(seen.gang.index)?.last.as_ref().filter(|last| last.attempt == seen.attempt)
    }

    /// Where a gang is, or was in the attempt that has ended.
    fn nodes(&self, seen: &Seen) -> Vec<String> {
        let live = self.job.gang(seen.gang.index).and_then(Gang::live);
        let mut nodes: Vec<_> = match (self.last(seen), live) {
            (Some(last), _) => last.ranks.iter().map(|rank| rank.node).collect(),
            (None, Some(Live { tasks, .. })) => tasks.iter().map(|task| task.node).collect(),
            (None, None) => Vec::new(),
        };
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().map(|node| self.engine.snapshot().node(node).name.to_string()).collect()
    }

    /// The number of a span that an attempt has one of.
    fn of_attempt(&self, name: &str, gang: GangId, attempt: u32) -> u64 {
        self.number(&format!("{name} {gang} {attempt}"))
    }

    fn part(
        &self,
        name: &'static str,
        seen: &Seen,
        (from, to): Stretch,
        above: Option<&str>,
        notes: Vec<(&'static str, Note)>,
        error: Option<String>,
    ) {
        self.stretch(name, seen, (us(from), us(to)), above, notes, error);
    }

    fn stretch(
        &self,
        name: &'static str,
        seen: &Seen,
        (from_us, to_us): (u64, u64),
        above: Option<&str>,
        mut notes: Vec<(&'static str, Note)>,
        error: Option<String>,
    ) {
        notes.push(("pond.gang", Note::Word(seen.gang.to_string())));
        let id = match name {
            // Of an attempt there is one; of these there may be more.
            "waiting" | "paused" | "frozen" | "end" => {
                self.number(&format!("{name} {} {from_us}", seen.gang))
            }
            _ => {
                notes.push(("pond.attempt", Note::Number(seen.attempt.into())));
                self.of_attempt(name, seen.gang, seen.attempt)
            }
        };
        let above = above.map_or(self.trace.root, |above| self.of_attempt(above, seen.gang, seen.attempt));
        let to_us = to_us.max(from_us);
        part(Part { trace: self.trace.clone(), id, above: Some(above), name, from_us, to_us, notes, error });
    }
}

const fn us(at: Timestamp) -> u64 {
    at.0.saturating_mul(1000)
}
