//! What would happen to a job: the real engine and planner, on a copy.

use super::inbox::Sight;
use super::view::{grant, job::explanation_view};
use crate::api::types::{PlacementView, Preview};
use pond_core::engine::{Refusal, Reply};
use pond_core::event::{Actor, Event, Request};
use pond_core::model::JobSpec;
use pond_core::plan::{Decision, Placement, Planner};

/// Submits the job to a copy of the pool and plans once.
///
/// # Errors
/// The engine's refusal.
pub fn run(sight: &Sight<'_>, actor: &Actor, spec: JobSpec) -> Result<Preview, Refusal> {
    let mut engine = sight.engine.clone();
    let mut planner = Planner::new(engine.settings().plan.clone());
    let written = serde_json::to_value(&spec).unwrap_or_default();
    let index = spec.indices.first().copied().unwrap_or(0);
    let request = Event::Request(Request::Submit(std::sync::Arc::new(spec)));
    let Reply::Submitted(job) = engine.handle(sight.now, actor, request)?.reply else {
        return Err(Refusal::UnknownJob(pond_core::ids::JobId(0)));
    };
    let gang = job.gang(index);
    let plan = planner.plan(engine.snapshot(), sight.now);
    let mut preview =
        Preview { spec: written, placement: Vec::new(), evicts: Vec::new(), why: None, warnings: Vec::new() };
    for decision in &plan.decisions {
        match decision {
            Decision::Place { gang: placed, tasks, .. } if *placed == gang => {
                preview.placement = tasks.iter().map(placement).collect();
            }
            Decision::Preempt { gang: victim, .. } => preview.evicts.push(victim.to_string()),
            _ => {}
        }
    }
    if preview.placement.is_empty() {
        let explained = planner.explain(engine.snapshot(), gang, sight.now);
        preview.why = explained.map(|explanation| explanation_view(&explanation));
    }
    Ok(preview)
}

fn placement(placement: &Placement) -> PlacementView {
    PlacementView {
        rank: placement.rank,
        node: placement.node.to_string(),
        devices: placement.devices.iter().map(grant).collect(),
    }
}
