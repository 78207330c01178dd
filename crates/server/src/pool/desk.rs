//! What the drive loop meets on this side of its three seams: messages in, history kept, everybody told.
//!
//! [`Desk`] is all of it; [`Inlet`], [`History`] and [`Teller`] are its three faces for `pond_core::drive`, which calls
//! one at a time on one thread.

use super::earlier::Earlier;
use super::forecast::Forecasts;
use super::inbox::{Answer, Ask, Change, Condition, Conditions, Look, Message, Sight, read_only};
use super::ledger::Ledger;
use super::outcomes::Keeper;
use super::tally::Tallies;
use super::trail::Trails;
use super::{telling, view};
use crate::access::Access;
use crate::api::types::{EventView, JobDetail, Problem};
use crate::auth::TokenHash;
use crate::auth::people::{People, PeopleChange};
use crate::clock::{self, Clock};
use crate::notify::Notices;
use crate::secrets::Secrets;
use crate::spans::{self, Span, Traces};
use crate::store::{ArchivedJob, KeyUse, StoreError, Write};
use axum::http::StatusCode;
use pond_core::check::Violation;
use pond_core::drive::{Journal, JournalError, Observer};
use pond_core::engine::{Committed, Engine, EngineImage, Outcome, Refusal, Reply, State, What};
use pond_core::event::{Actor, Effect, Event, Report, Request, TaskSample};
use pond_core::ids::{GangId, JobId, NodeName, TaskId};
use pond_core::money::Period;
use pond_core::plan::Planner;
use pond_core::substrate::{Entry, Record, Substrate};
use pond_core::units::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot::Sender;

/// Messages taken in one turn.
const BATCH: usize = 1024;
/// The longest wait for a message: the machine's clock may be set forward.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The drive thread's belongings beside engine and planner.
pub struct Desk {
    /// Database and event log.
    pub ledger: Ledger,
    /// Time.
    pub clock: Clock,
    /// Messages.
    pub inbox: Receiver<Message>,
    /// Where effects go.
    pub access: Arc<dyn Access>,
    /// Whether the journal can be written.
    pub condition: Arc<Condition>,
    /// Counts.
    pub tallies: Arc<Tallies>,
    /// Users, roles and tokens, changed once they are durable.
    pub people: People,
    /// Subscriptions and how the pool tells, changed once they are durable.
    pub notices: Notices,
    /// Secrets, changed once they are durable.
    pub secrets: Secrets,
    /// Finished jobs that are kept in memory; older ones go to the archive.
    pub keep_finished: usize,
    /// Finished jobs in memory, oldest first.
    pub finished: VecDeque<(JobId, Timestamp)>,
    /// Events that wait for the next turn: kept while the journal could not be written.
    pub held: Vec<(Actor, Event)>,
    /// What passes through in one turn.
    pub turn: Turn,
    /// The machine that reports come from.
    pub node: Option<NodeName>,
    /// The traces of jobs.
    pub traces: Traces,
    /// The last samples, by node.
    pub samples: BTreeMap<NodeName, BTreeMap<TaskId, TaskSample>>,
    /// Samples over time.
    pub trails: Trails,
    /// Predicted starts, and how they came out.
    pub forecasts: Forecasts,
    /// How long jobs ran.
    pub earlier: Earlier,
    /// How predictions came out, as it is written.
    pub outcomes: Keeper,
}

/// What passes through the desk in one turn.
#[derive(Default)]
pub struct Turn {
    events: Vec<(Actor, Event)>,
    asks: Vec<Ask>,
    again: Vec<Ask>,
    looks: Vec<Look>,
    waiting: BTreeMap<u64, Sender<Result<Answer, Problem>>>,
    extra: Vec<Write>,
    retired: Vec<JobDetail>,
    periods: Vec<Period>,
    plan: Option<Span>,
    /// The end was asked for; whether tasks stay.
    pub stop: Option<bool>,
    /// The line of history that the engine works on.
    pub in_flight: Option<u64>,
    /// Why the journal could not be written.
    pub failure: Option<StoreError>,
}

impl Desk {
    /// Waits for messages until `until` and sorts what came.
    fn gather(&mut self, until: Timestamp) {
        let first = match self.inbox.try_recv() {
            Ok(message) => Some(message),
            Err(_)
                if !self.held.is_empty()
                    || !self.turn.again.is_empty()
                    || !self.turn.retired.is_empty()
                    || !self.turn.periods.is_empty() =>
            {
                None
            }
            Err(_) => {
                self.flush();
                let wait = Duration::from_millis(until.since(self.clock.last()).0).min(LONGEST_WAIT);
                match self.inbox.recv_timeout(wait) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    // Every handle is gone, so nobody can ask for the end any more.
                    Err(RecvTimeoutError::Disconnected) => Some(Message::Stop(true)),
                }
            }
        };
        let Some(first) = first else { return };
        self.sort(first);
        for _ in 1..BATCH {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.sort(message);
        }
    }

    /// The event log's lines need not wait for the next event. A failure shows at the next line of history.
    fn flush(&mut self) {
        self.ledger.commit(&[], Vec::new()).unwrap_or_default();
    }

    fn sort(&mut self, message: Message) {
        match message {
            Message::Report(mut report) => {
                if let Report::Sampled { node, tasks, .. } = &report {
                    self.trails.read(clock::wall_ms(), tasks);
                    let tasks = tasks.iter().map(|sample| (sample.task, sample.clone())).collect();
                    self.samples.insert(node.clone(), tasks);
                }
                let actor = self.reporter(&report);
                self.traces.report(&mut report, &actor);
                self.turn.events.push((actor, Event::Report(report)));
            }
            Message::Ask(ask) => self.turn.asks.push(*ask),
            Message::Look(look) => self.turn.looks.push(look),
            Message::Change(change) => self.change(*change),
            Message::Note(line) => {
                self.ledger.tell(EventView { at_ms: self.clock.last().0, ..*line }, 0);
            }
            Message::Stop(keep) => {
                self.turn.stop = Some(keep);
                self.condition.set(Conditions::Stopping, String::new());
                // What runs goes back to its place in line the way it does when a machine fails: one path.
                if let Some(node) = self.node.clone().filter(|_| !keep) {
                    self.turn.events.push((Actor::Pool, Event::Report(Report::NodeLost(node))));
                }
            }
        }
    }

    /// Who tells a report: the node it names, or the one machine whose tasks these are.
    fn reporter(&mut self, report: &Report) -> Actor {
        match report {
            Report::NodeUp(spec) => self.node = Some(spec.name.clone()),
            Report::Lease(node)
            | Report::Inventory { node, .. }
            | Report::Sampled { node, .. }
            | Report::DeviceSign { node, .. }
            | Report::DeviceHealth { node, .. } => self.node = Some(node.clone()),
            Report::NodeLost(_) => return Actor::Pool,
            _ => {}
        }
        self.node.clone().map_or(Actor::Pool, Actor::Node)
    }

    /// People and secrets: durable first, then current.
    fn change(&mut self, change: Change) {
        let now = self.clock.last();
        if let Err(why) = self.ledger.commit(&[], vec![change.write.clone()]) {
            let refusal = if why.is_passing() { read_only(&why.to_string()) } else { why.into() };
            return answer(change.reply, Err(refusal));
        }
        match change.write {
            Write::People(change) => self.people.apply(&change),
            Write::Notify(change) => self.notices.apply(&change),
            Write::Secret { name, sealed, .. } => self.secrets.put(&name, sealed),
            Write::RemoveSecret(name) => self.secrets.remove(&name),
            Write::Forget { job, state } => {
                self.trails.forget(JobId(job));
                self.tallies.unarchive(&state);
            }
            _ => {}
        }
        if let Some((kind, text)) = change.line {
            self.ledger.tell(telling::line(now, &change.actor, kind, text), 0);
        }
        answer(change.reply, Ok(()));
    }

    /// The events of this turn, in order, with their answers kept by the number that each will have.
    fn events(&mut self, now: Timestamp) -> Vec<(Actor, Event)> {
        let mut events = std::mem::take(&mut self.held);
        events.append(&mut self.turn.events);
        for detail in std::mem::take(&mut self.turn.retired) {
            events.push((Actor::Pool, Event::Archived(JobId(detail.summary.id))));
            self.turn.extra.push(Write::Archive(Box::new(ArchivedJob { detail })));
        }
        let periods = std::mem::take(&mut self.turn.periods);
        if let Some(last) = periods.last() {
            events.push((Actor::Pool, Event::Booked(last.seq)));
            self.turn.extra.extend(periods.into_iter().map(|period| Write::Period(Box::new(period))));
        }
        let mut asks = std::mem::take(&mut self.turn.again);
        if !asks.is_empty() {
            // What their keys became is still on its way into the database.
            self.flush();
        }
        asks.append(&mut self.turn.asks);
        let mut keys: Vec<String> = Vec::new();
        for ask in asks {
            let record = self.ledger.last_record() + 1 + events.len() as u64;
            if let Some(mut ask) = self.fresh(ask, &mut keys, record, now) {
                self.earlier.complete(&mut ask.request);
                self.turn.waiting.insert(record, ask.reply);
                events.push((ask.actor, Event::Request(ask.request)));
            }
        }
        events
    }

    /// Answers a submission whose key was used and lets all others through. A second use in one turn waits for the next.
    fn fresh(&mut self, ask: Ask, keys: &mut Vec<String>, record: u64, now: Timestamp) -> Option<Ask> {
        let Some((key, hash)) = ask.key.clone() else { return Some(ask) };
        if keys.contains(&key) {
            self.turn.again.push(ask);
            return None;
        }
        match self.ledger.key(&key) {
            Ok(None) => {}
            Ok(Some(used)) => {
                answer(ask.reply, key_answer(&used, &hash));
                return None;
            }
            Err(why) => {
                answer(ask.reply, Err(why.into()));
                return None;
            }
        }
        keys.push(key.clone());
        self.turn.extra.push(Write::Key { key, hash, record, at: now });
        Some(ask)
    }

    fn sight<'a>(&'a self, engine: &'a Engine, planner: &'a Planner, now: Timestamp) -> Sight<'a> {
        let Self { samples, trails, forecasts, earlier, .. } = self;
        Sight { engine, planner, samples, trails, forecasts, earlier, now }
    }

    /// Lets those look who wanted to.
    fn look(&mut self, engine: &Engine, planner: &Planner, now: Timestamp) {
        let looks = std::mem::take(&mut self.turn.looks);
        let sight = self.sight(engine, planner, now);
        for look in looks {
            if catch_unwind(AssertUnwindSafe(|| look(&sight))).is_err() {
                self.tallies.panics.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Finished jobs beyond those that are kept in memory go to the archive with the next turn.
    fn retire(&mut self, engine: &Engine, planner: &Planner, now: Timestamp) {
        while self.finished.len() > self.keep_finished && self.turn.retired.len() < BATCH {
            let Some((id, at)) = self.finished.pop_front() else { break };
            // One that was removed is gone; one that was retried may have finished again, or will.
            let Some(job) = engine.job(id).filter(|job| job.finished == Some(at)) else { continue };
            let sight = self.sight(engine, planner, now);
            let detail = view::job::detail(&sight, job, crate::api::usage::of_job(&sight, job));
            self.turn.retired.push(detail);
        }
    }

    /// Closed periods of the ledger go into the database with the next turn.
    fn book(&mut self, engine: &Engine, now: Timestamp) {
        self.turn.periods = engine.meter().ledger().closed().to_vec();
        for violation in self.turn.periods.iter().flat_map(Period::check) {
            self.tallies.violations.fetch_add(1, Ordering::Relaxed);
            let text = format!("the ledger broke the rule {}: {}", violation.rule, violation.detail);
            self.ledger.tell(telling::line(now, &Actor::Pool, "ledger.violation", text), 0);
        }
    }

    fn tell_changes(&mut self, actor: &Actor, changes: &[pond_core::engine::Change], record: u64) {
        for change in changes {
            if let What::Job { job, over: Some(true) } = change.what {
                self.finished.push_back((job, change.at));
            }
            self.ledger.tell(telling::change(actor, change), record);
            self.traces.changed(change);
            match &change.what {
                What::Gang { gang, to, .. } => self.compare(*gang, *to, change.at),
                What::Queue { queue, present: false } => {
                    let gone = PeopleChange::QueueGone(queue.to_string());
                    self.people.apply(&gone);
                    self.ledger.add(Write::People(gone));
                }
                _ => {}
            }
        }
    }

    /// Forecasts of starts follow what becomes of each gang.
    fn compare(&mut self, gang: GangId, to: State, at: Timestamp) {
        match to {
            State::Pending => self.forecasts.waits(gang),
            State::Starting => {
                if let Some(error) = self.forecasts.starts(gang, at) {
                    self.ledger.tell(telling::forecast_met(at, gang, error), 0);
                }
            }
            _ => self.forecasts.ends(gang),
        }
        if to == State::Succeeded {
            self.earlier.ended(gang);
        }
    }

    /// Foretells the start of a gang that began to wait, now and then.
    fn foretell(&mut self, engine: &Engine, planner: &Planner, now: Timestamp) {
        if let Some((gang, start)) = self.forecasts.make(engine, planner, now) {
            self.ledger.tell(telling::forecast_made(now, gang, start), 0);
        }
    }

    /// Nothing of these lines was kept: substrates' words wait, people are refused.
    fn hold(&mut self, records: &[Record], why: StoreError) {
        for record in records {
            if let Some(reply) = self.turn.waiting.remove(&record.seq) {
                answer(reply, Err(read_only(&why.to_string())));
                continue;
            }
            match &record.entry {
                Entry::Event(Event::Archived(job)) => self.unretire(*job),
                Entry::Event(event) if worth_holding(event, &self.held) => {
                    self.held.push((record.actor.clone(), event.clone()));
                }
                _ => {}
            }
        }
        self.turn.failure = Some(why);
    }

    fn unretire(&mut self, job: JobId) {
        for write in &self.turn.extra {
            if let Write::Archive(archived) = write
                && archived.detail.summary.id == job.0
                && let Some(at) = archived.detail.summary.ended_ms
            {
                self.finished.push_front((job, Timestamp(at)));
            }
        }
    }

    /// One round while the journal cannot be written: looks are served, people refused, substrates heard.
    /// Gives whether it can be written again.
    pub fn wait_for_room(&mut self, engine: &Engine, planner: &Planner, patience: Duration) -> bool {
        let until = self.clock.read().now;
        let deadline = std::time::Instant::now() + patience;
        while let Some(left) = deadline.checked_duration_since(std::time::Instant::now())
            && let Ok(message) = self.inbox.recv_timeout(left)
        {
            self.sort(message);
            self.look(engine, planner, until);
            let why = self.condition.message();
            for ask in
                std::mem::take(&mut self.turn.asks).into_iter().chain(std::mem::take(&mut self.turn.again))
            {
                answer(ask.reply, Err(read_only(&why)));
            }
            for (actor, event) in std::mem::take(&mut self.turn.events) {
                if worth_holding(&event, &self.held) {
                    self.held.push((actor, event));
                }
            }
            if self.turn.stop.is_some() {
                return false;
            }
        }
        self.ledger.commit(&[], Vec::new()).is_ok()
    }

    /// Says from now on whether the journal can be written, and leaves a line about it.
    pub fn set_writable(&mut self, why_not: Option<&StoreError>) {
        let now = self.clock.last();
        let (condition, kind, text) = match why_not {
            Some(why) => (Conditions::ReadOnly, "pool.read_only", format!("nothing new is taken in: {why}")),
            None => (Conditions::Ok, "pool.writable", "the journal can be written again".to_owned()),
        };
        self.condition.set(condition, why_not.map(ToString::to_string).unwrap_or_default());
        self.ledger.tell(telling::line(now, &Actor::Pool, kind, text), 0);
    }
}

/// The desk, shared between its three faces.
pub type Shared = Rc<RefCell<Desk>>;

/// Where events come from and effects go to.
pub struct Inlet(pub Shared);

impl Substrate for Inlet {
    fn poll(&mut self, until: Timestamp, events: &mut Vec<(Actor, Event)>) -> Option<Timestamp> {
        let mut desk = self.0.borrow_mut();
        if desk.turn.stop.is_some() {
            return None;
        }
        desk.gather(until);
        desk.tallies.turns.fetch_add(1, Ordering::Relaxed);
        let reading = desk.clock.read();
        if let Some(by) = reading.stepped_back_ms {
            let text = format!("the machine's clock went back by {by} ms; the pool's time goes on");
            desk.ledger.tell(telling::line(reading.now, &Actor::Pool, "clock.stepped_back", text), 0);
        }
        events.extend(desk.events(reading.now));
        Some(reading.now)
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        self.0.borrow().access.apply(effects);
    }
}

/// Where history is kept.
pub struct History(pub Shared);

impl Journal for History {
    fn last(&self) -> u64 {
        self.0.borrow().ledger.last_record()
    }

    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut desk = self.0.borrow_mut();
        let mut span = spans::begin("commit");
        span.note("pond.records", records.len() as i64);
        let extra = desk.turn.extra.clone();
        let result = desk.ledger.commit(records, extra);
        match result {
            Ok(()) => {
                for write in std::mem::take(&mut desk.turn.extra) {
                    if let Write::Archive(job) = write {
                        desk.tallies.archive(job.detail.summary.state.as_str());
                    }
                }
                desk.turn.in_flight = records.first().map(|record| record.seq);
                Ok(())
            }
            Err(why) => {
                let source = why.to_string().into();
                desk.hold(records, why);
                desk.turn.extra.clear();
                Err(JournalError { operation: "append to", source })
            }
        }
    }

    fn wants_image(&self) -> bool {
        self.0.borrow().ledger.wants_image()
    }

    fn keep_image(&mut self, _seq: u64, image: EngineImage) -> Result<(), JournalError> {
        let failed = |source| JournalError { operation: "compact", source };
        let body = serde_json::to_vec(&image).map_err(|why| failed(why.into()))?;
        let mut desk = self.0.borrow_mut();
        let now = desk.clock.last();
        let result = desk.ledger.image(now, body);
        result.map_err(|why| {
            let source = why.to_string().into();
            desk.turn.failure = Some(why);
            failed(source)
        })
    }
}

/// Who tells everybody.
pub struct Teller(pub Shared);

impl Observer for Teller {
    fn handled(&mut self, record: &Record, result: &Result<Outcome, Refusal>) {
        let mut desk = self.0.borrow_mut();
        desk.turn.in_flight = Some(record.seq + 1);
        let request = match &record.entry {
            Entry::Event(Event::Request(request)) => Some(request),
            _ => None,
        };
        if let Ok(outcome) = result {
            if let Some(line) =
                request.and_then(|request| telling::request(record.at, &record.actor, request))
            {
                desk.ledger.tell(line, record.seq);
            }
            desk.tell_changes(&record.actor, &outcome.changes, record.seq);
        }
        if matches!(request, Some(Request::Submit(_))) {
            let job = match result {
                Ok(Outcome { reply: Reply::Submitted(job), .. }) => Some(job.0),
                _ => None,
            };
            desk.ledger.add(Write::KeyJob { record: record.seq, job });
        }
        if let Some(reply) = desk.turn.waiting.remove(&record.seq) {
            answer(reply, Answer::of(result));
        }
    }

    fn planning(&mut self) {
        let mut desk = self.0.borrow_mut();
        desk.traces.planning();
        desk.turn.plan = Some(spans::begin("plan"));
    }

    fn planned(&mut self, record: Option<&Record>, committed: &Committed, violations: &[Violation]) {
        let mut desk = self.0.borrow_mut();
        if let Some(mut span) = desk.turn.plan.take() {
            span.note("pond.changes", committed.changes.len() as i64);
        }
        desk.turn.in_flight = None;
        desk.tallies.plans.fetch_add(1, Ordering::Relaxed);
        desk.tallies.violations.fetch_add(violations.len() as u64, Ordering::Relaxed);
        let now = desk.clock.last();
        for violation in violations {
            let text = format!("a plan broke the rule {}: {}", violation.rule, violation.detail);
            desk.ledger.tell(telling::line(now, &Actor::Pool, "plan.violation", text), 0);
        }
        let seq = record.map_or(0, |record| record.seq);
        desk.tell_changes(&Actor::Pool, &committed.changes, seq);
        desk.traces.planned();
    }

    fn settled(&mut self, engine: &Engine, planner: &Planner, now: Timestamp) {
        let mut desk = self.0.borrow_mut();
        desk.turn.in_flight = None;
        desk.earlier.learn(engine);
        desk.traces.send(engine);
        desk.look(engine, planner, now);
        desk.foretell(engine, planner, now);
        desk.retire(engine, planner, now);
        desk.book(engine, now);
        desk.keep_figures(false);
        if let Some((kind, text)) = desk.condition.turned() {
            desk.ledger.tell(telling::line(now, &Actor::Pool, kind, text), 0);
        }
    }
}

/// Samples and steps of a start are out of date by the time the journal can be written; one sign of life is enough.
fn worth_holding(event: &Event, held: &[(Actor, Event)]) -> bool {
    match event {
        // Of the ledger the engine says again what is not kept.
        Event::Tick | Event::Booked(_) | Event::Report(Report::Sampled { .. } | Report::Progress { .. }) => {
            false
        }
        Event::Report(Report::Lease(_)) => !held.iter().any(|(_, other)| other == event),
        _ => true,
    }
}

fn key_answer(used: &KeyUse, hash: &TokenHash) -> Result<Answer, Problem> {
    match used.hash == *hash {
        true => Ok(Answer::Job { job: JobId(used.job), repeated: true }),
        false => Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency_key_reused",
            "this idempotency key came with another request before",
        )
        .with_next("use a new key for a new request")),
    }
}

/// Answers; a client that has gone away does not want it.
fn answer<T>(reply: Sender<T>, answer: T) {
    reply.send(answer).map_err(drop).unwrap_or_default();
}
