//! What was decided about a gang before, and who went first although they came later.

use super::{job, words};
use crate::api::types::{Class, PassedView, PastView};
use crate::pool::inbox::Sight;
use pond_core::engine::{Gang, Job, Past, Phase};
use pond_core::plan::{Decision, Placement, PreemptCause};
use pond_core::snapshot::QueuePolicy;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Gangs that went first and are named.
const NAMED: usize = 5;

/// The decisions that were carried out, oldest first.
#[must_use]
pub fn decided(sight: &Sight<'_>, gang: &Gang) -> Vec<PastView> {
    gang.past.iter().map(|past| view(sight, past)).collect()
}

fn view(sight: &Sight<'_>, past: &Past) -> PastView {
    let (what, mut text) = match &past.decision {
        Decision::Place { tasks, .. } => {
            let policy = super::word(&sight.engine.settings().plan.placement);
            (
                "place",
                format!("placed on {}, by the policy `{policy}` among the nodes it fitted", nodes(tasks)),
            )
        }
        Decision::Grow { tasks, .. } => ("grow", format!("grew onto {}", nodes(tasks))),
        Decision::Shrink { to, beneficiary: Some(other), .. } => {
            ("shrink", format!("shrunk to {to} ranks for {other}"))
        }
        Decision::Shrink { to, .. } => ("shrink", format!("shrunk to {to} ranks")),
        Decision::Preempt { cause, .. } => ("preempt", evicted(cause)),
        Decision::Freeze { .. } => ("freeze", "frozen: the owner of the CPU it ran on needed it".to_owned()),
        Decision::Thaw { .. } => ("thaw", "went on: its CPU was free again".to_owned()),
        Decision::Limit { cpu, .. } => ("limit", format!("may use {cpu} cores of what others leave")),
        Decision::Hold { reason, .. } => ("hold", words::hold(reason)),
    };
    if let Some(reason) = &past.waited {
        text = format!("{text}; until then: {}", words::hold(reason));
    }
    PastView { at_ms: past.at.0, what: what.to_owned(), text }
}

fn nodes(tasks: &[Placement]) -> String {
    let nodes: BTreeSet<&str> = tasks.iter().map(|task| task.node.as_str()).collect();
    nodes.into_iter().collect::<Vec<_>>().join(", ")
}

fn evicted(cause: &PreemptCause) -> String {
    match cause {
        PreemptCause::Priority { beneficiary } => {
            format!("evicted for {beneficiary}, which is of a higher class or priority")
        }
        PreemptCause::Order { beneficiary } => {
            format!("evicted for {beneficiary}, which the order policy puts far before it")
        }
        PreemptCause::Reclaim { beneficiary } => {
            format!("evicted for {beneficiary}: its queue takes back what it is guaranteed and had lent")
        }
        PreemptCause::CpuWanted { node } => {
            format!("evicted from {node}: the owner of the CPU it ran on needed it")
        }
    }
}

/// Gangs that came later and have a place now, while this one waits; the last to start first.
#[must_use]
pub fn passed_by(sight: &Sight<'_>, job: &Job, gang: &Gang) -> Vec<PassedView> {
    if !matches!(gang.phase, Phase::Pending) {
        return Vec::new();
    }
    let later = |other: &&Gang| other.queued > gang.queued;
    let mut found: Vec<(Reverse<u64>, String, &Job)> = Vec::new();
    for other in sight.engine.jobs().filter(|other| other.finished.is_none()) {
        for rival in other.gangs.iter().filter(later) {
            if let Some(live) = rival.live().filter(|live| live.placed > gang.queued) {
                found.push((Reverse(live.placed.0), rival.id.to_string(), other));
            }
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let fair = sight.engine.settings().plan.queues == QueuePolicy::FairShare;
    let view = |(at, gang, other): (Reverse<u64>, String, &Job)| {
        let because = because(job, other, fair);
        PassedView { gang, at_ms: at.0, because }
    };
    found.into_iter().take(NAMED).map(view).collect()
}

/// Why the planner tried another first, or could place it when this one could not be placed.
fn because(job: &Job, other: &Job, fair: bool) -> String {
    let (own, theirs) = (job::class(job.spec.class), job::class(other.spec.class));
    if theirs == Class::Spare && own != Class::Spare {
        return "it is spare, and runs on what others do not use".to_owned();
    }
    if theirs > own {
        return "it is of a higher class".to_owned();
    }
    if fair && other.spec.queue != job.spec.queue {
        return format!("queue {} had less than its fair share", other.spec.queue);
    }
    if other.spec.priority > job.spec.priority {
        return format!("it has the higher priority ({} over {})", other.spec.priority, job.spec.priority);
    }
    "there was room for it and not for this one (backfill)".to_owned()
}
