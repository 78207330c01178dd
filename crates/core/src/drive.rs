//! The loop that joins engine, planner and substrate: the same on a machine, on Kubernetes and in the simulator.
//!
//! ```text
//! poll ─▶ journal ─▶ handle ─▶ (plan ─▶ check ─▶ journal ─▶ commit) ─▶ apply ─▶ observe ─▶ poll
//! ```
//! Whatever acts is durable before it acts. After a crash: the last image, then every record after it, then the
//! substrate tells what it has ([`crate::event::Report::Inventory`]) and the engine says again what was lost on the way.

use crate::check::{Violation, check_plan};
use crate::engine::{Committed, Engine, EngineImage, Outcome, Refusal};
use crate::event::{Actor, Effect, Event};
use crate::plan::{Plan, Planner};
use crate::substrate::{Entry, Record, Substrate};
use crate::units::Timestamp;
use std::error::Error;

/// Where history is kept.
// seam: a database in real life, memory in the simulator
pub trait Journal {
    /// The number of the last record kept; 0 when there is none.
    fn last(&self) -> u64;

    /// Makes these records durable, in this order, before it returns.
    ///
    /// # Errors
    /// When that is not possible; the loop ends, nothing of them acts.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// Whether history is long enough to be replaced by an image.
    fn wants_image(&self) -> bool {
        false
    }

    /// Keeps the state after record `seq` in place of the history up to there.
    ///
    /// # Errors
    /// When that is not possible; the loop ends, history is as it was.
    fn keep_image(&mut self, _seq: u64, _image: EngineImage) -> Result<(), JournalError> {
        Ok(())
    }
}

/// History cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the journal; free space or repair the disk, then start again")]
pub struct JournalError {
    /// What was tried: "append to", "compact".
    pub operation: &'static str,
    /// Why not.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Who is told what happened, and may look at everything between two turns.
// seam: the server's event log and views in real life, measurements in the simulator
pub trait Observer {
    /// An event was taken in, or refused.
    fn handled(&mut self, record: &Record, result: &Result<Outcome, Refusal>);

    /// A plan is about to be made.
    fn planning(&mut self) {}

    /// A plan was carried out, as far as it held; `record` is `None` when it changed nothing worth keeping.
    fn planned(&mut self, record: Option<&Record>, committed: &Committed, violations: &[Violation]);

    /// A turn of the loop is over: effects are on their way, the state is consistent.
    fn settled(&mut self, engine: &Engine, planner: &Planner, now: Timestamp);
}

/// Runs the pool until the substrate ends it.
///
/// # Errors
/// When history cannot be kept any more. Nothing acted that is not in it.
pub fn drive(
    engine: &mut Engine,
    planner: &mut Planner,
    substrate: &mut impl Substrate,
    journal: &mut impl Journal,
    observer: &mut impl Observer,
) -> Result<(), JournalError> {
    // Both are empty between turns.
    let (mut events, mut records) = (Vec::new(), Vec::new());
    loop {
        let until = if engine.wants_plan() { engine.now() } else { engine.next_timer() };
        let Some(now) = substrate.poll(until, &mut events) else { return Ok(()) };
        if engine.next_timer() <= now {
            // After what nodes had to say: a message on its way renews a lease.
            events.push((Actor::Pool, Event::Tick));
        }
        let first = journal.last() + 1;
        records.extend((first..).zip(events.drain(..)).map(|(seq, (actor, event))| Record {
            seq,
            at: now,
            actor,
            entry: Entry::Event(event),
        }));
        let (effects, kept) = turn(engine, planner, now, &mut records, journal, observer);
        if !effects.is_empty() {
            substrate.apply(effects);
        }
        kept?;
        observer.settled(engine, planner, now);
        if journal.wants_image() {
            journal.keep_image(journal.last(), engine.save())?;
        }
    }
}

/// One turn: records of events in, a plan if there is reason for one, effects out.
///
/// What the events called for is durable and must be done also when the plan after them cannot be kept.
fn turn(
    engine: &mut Engine,
    planner: &mut Planner,
    now: Timestamp,
    records: &mut Vec<Record>,
    journal: &mut impl Journal,
    observer: &mut impl Observer,
) -> (Vec<Effect>, Result<(), JournalError>) {
    let mut effects = Vec::new();
    if !records.is_empty()
        && let Err(why) = journal.append(records)
    {
        return (effects, Err(why));
    }
    for record in records.drain(..) {
        let Entry::Event(event) = &record.entry else { continue };
        let mut result = engine.handle(now, &record.actor, event.to_owned());
        if let Ok(outcome) = &mut result {
            effects.append(&mut outcome.effects);
        }
        observer.handled(&record, &result);
        result.into_iter().for_each(|outcome| engine.reuse(outcome));
    }
    if !engine.wants_plan() {
        return (effects, Ok(()));
    }
    match plan(engine, planner, now, journal, observer) {
        Ok(more) if effects.is_empty() => (more, Ok(())),
        Ok(mut more) => {
            effects.append(&mut more);
            (effects, Ok(()))
        }
        Err(why) => (effects, Err(why)),
    }
}

/// Plans, leaves out what breaks a rule or changes nothing, keeps the rest, carries it out.
fn plan(
    engine: &mut Engine,
    planner: &mut Planner,
    now: Timestamp,
    journal: &mut impl Journal,
    observer: &mut impl Observer,
) -> Result<Vec<Effect>, JournalError> {
    observer.planning();
    planner.follow(&engine.settings().plan);
    let mut plan = planner.plan(engine.snapshot(), now);
    let violations = sift(engine, &mut plan);
    engine.thin(&mut plan);
    if plan.decisions.is_empty() {
        let committed = engine.commit(now, &plan);
        observer.planned(None, &committed, &violations);
        return Ok(committed.effects);
    }
    let record = Record { seq: journal.last() + 1, at: now, actor: Actor::Pool, entry: Entry::Plan(plan) };
    journal.append(std::slice::from_ref(&record))?;
    let Entry::Plan(plan) = &record.entry else { return Ok(Vec::new()) };
    let mut committed = engine.commit(now, plan);
    let effects = std::mem::take(&mut committed.effects);
    observer.planned(Some(&record), &committed, &violations);
    Ok(effects)
}

/// Checks a plan; of one that breaks a rule, only reasons for waiting are kept.
///
/// Rules speak of the plan as a whole, so no single decision of a broken plan can be trusted.
fn sift(engine: &Engine, plan: &mut Plan) -> Vec<Violation> {
    let violations = check_plan(engine.snapshot(), plan);
    if !violations.is_empty() {
        plan.decisions.retain(|decision| matches!(decision, crate::plan::Decision::Hold { .. }));
    }
    violations
}
