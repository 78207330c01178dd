//! What a change of a queue would do: the real engine and planner on a copy, once with the change and once without.
//!
//! What differs between the two first plans is what the change does. What follows later (an evicted job's place taken by the
//! one that it was evicted for) is not played on.

use super::inbox::Sight;
use super::view::machine::{self, queue_spec_view};
use super::view::words;
use crate::api::types::{Affected, Effected, QueueAmounts, QueueTrial};
use crate::auth::rights::{Place, Principal, Right};
use pond_core::engine::{Engine, Refusal};
use pond_core::event::{Actor, Event, Request};
use pond_core::ids::GangId;
use pond_core::model::QueueSpec;
use pond_core::plan::{Decision, HoldReason, Planner, PreemptCause};
use std::collections::BTreeMap;

/// Entries shown; more are counted.
const SHOWN: usize = 200;

/// Sets a queue on a copy of the pool and compares the plans.
///
/// # Errors
/// The engine's refusal.
pub fn queue(
    sight: &Sight<'_>,
    who: &Principal,
    actor: &Actor,
    spec: QueueSpec,
) -> Result<QueueTrial, Refusal> {
    let path = spec.path.clone();
    let find = |engine: &Engine| machine::queue_named(engine, path.as_str());
    let now = sight.now;
    let plan = |engine: &Engine| {
        let plan = Planner::new(engine.settings().plan.clone()).plan(engine.snapshot(), now);
        plan.decisions.iter().filter_map(told).collect::<BTreeMap<(GangId, Effected), String>>()
    };
    let before = find(sight.engine);
    let without = plan(sight.engine);
    let mut changed = sight.engine.clone();
    let settings = queue_spec_view(&spec);
    drop(changed.handle(now, actor, Event::Request(Request::SetQueue(Box::new(spec))))?);
    let with = plan(&changed);
    let mut affected: Vec<Affected> = Vec::new();
    for ((gang, what), reason) in with.iter().filter(|(key, _)| !without.contains_key(key)) {
        affected.push(entry(sight, who, *gang, *what, reason.clone()));
    }
    for ((gang, what), _) in without.iter().filter(|(key, _)| !with.contains_key(key)) {
        let undone = match what {
            Effected::Starts | Effected::Grows | Effected::Thaws => Effected::HeldBack,
            _ => continue,
        };
        // What it waits for instead is among the entries already.
        affected.retain(|other| other.element != gang.to_string());
        let reason = with.get(&(*gang, Effected::Waits)).or_else(|| with.get(&(*gang, Effected::Never)));
        affected.push(entry(sight, who, *gang, undone, reason.cloned().unwrap_or_default()));
    }
    affected.sort_by(|a, b| (a.what, a.job, &a.element).cmp(&(b.what, b.job, &b.element)));
    let more = affected.len().saturating_sub(SHOWN) as u64;
    affected.truncate(SHOWN);
    let holds = find(&changed).map(|view| view.used).unwrap_or_default();
    let over = over(&holds, &settings.limit);
    Ok(QueueTrial {
        path: path.to_string(),
        before: before.map(|view| view.settings),
        after: settings,
        over,
        affected,
        more,
    })
}

/// What a decision does to a gang, and why.
fn told(decision: &Decision) -> Option<((GangId, Effected), String)> {
    Some(match decision {
        Decision::Place { gang, .. } => ((*gang, Effected::Starts), String::new()),
        Decision::Grow { gang, .. } => ((*gang, Effected::Grows), String::new()),
        Decision::Shrink { gang, beneficiary, .. } => {
            let whom = beneficiary.map(|gang| format!("{gang} needs the place")).unwrap_or_default();
            ((*gang, Effected::Shrinks), whom)
        }
        Decision::Preempt { gang, cause, .. } => ((*gang, Effected::Evicted), cause_of(cause)),
        Decision::Freeze { gang, .. } => ((*gang, Effected::Freezes), "its CPU is wanted back".to_owned()),
        Decision::Thaw { gang, .. } => ((*gang, Effected::Thaws), String::new()),
        Decision::Limit { .. } => return None,
        Decision::Hold { gang, reason } => {
            let what = match reason {
                HoldReason::Infeasible(_) | HoldReason::OverQueueLimit { .. } => Effected::Never,
                _ => Effected::Waits,
            };
            ((*gang, what), words::hold(reason))
        }
    })
}

fn cause_of(cause: &PreemptCause) -> String {
    match cause {
        PreemptCause::Priority { beneficiary } => format!("{beneficiary} goes before it"),
        PreemptCause::Order { beneficiary } => format!("{beneficiary} is so far before it in the same line"),
        PreemptCause::Reclaim { beneficiary } => {
            format!("its queue gives back what {beneficiary} is guaranteed")
        }
        PreemptCause::CpuWanted { node } => format!("its CPU on {node} is wanted back"),
    }
}

/// A gang as the caller may know it.
fn entry(sight: &Sight<'_>, who: &Principal, gang: GangId, what: Effected, reason: String) -> Affected {
    let job = sight.engine.job(gang.job);
    let seen = job.filter(|job| who.may(Right::See, Place::Queue(job.spec.queue.as_str())));
    Affected {
        what,
        job: gang.job.0,
        element: gang.to_string(),
        name: seen.map(|job| job.spec.name.clone()),
        user: seen.map(|job| job.spec.user.to_string()),
        queue: seen.map(|job| job.spec.queue.to_string()),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
    }
}

/// In what a queue would hold more than its limit. What runs stays; nothing more of it starts.
fn over(used: &QueueAmounts, limit: &QueueAmounts) -> Vec<String> {
    let past =
        |used: Option<u64>, limit: Option<u64>| used.zip(limit).is_some_and(|(used, limit)| used > limit);
    let mut over = Vec::new();
    for (name, used, limit) in [
        ("cpu", used.cpu_milli, limit.cpu_milli),
        ("memory", used.memory_bytes, limit.memory_bytes),
        ("disk", used.disk_bytes, limit.disk_bytes),
        ("running", used.running, limit.running),
    ] {
        over.extend(past(used, limit).then(|| name.to_owned()));
    }
    for (kind, &limit) in &limit.device_thousandths {
        over.extend(past(used.device_thousandths.get(kind).copied(), Some(limit)).then(|| kind.clone()));
    }
    over
}
