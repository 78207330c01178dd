//! Named invariants of plans: what must hold of every plan, whoever made it.

use crate::plan::Plan;
use crate::snapshot::Snapshot;

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the rule.
    pub rule: &'static str,
    /// What breaks it, for people.
    pub detail: String,
}

/// Checks a plan against the snapshot it was made from; empty when it is sound.
#[must_use]
pub fn check_plan(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    if plan.epoch != snapshot.epoch {
        let detail = format!("made from epoch {}, checked against {}", plan.epoch, snapshot.epoch);
        found.push(Violation { rule: "epoch", detail });
    }
    found
}
