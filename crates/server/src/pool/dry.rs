//! What would happen to a job: the real engine and planner, on a copy.

use super::inbox::Sight;
use super::view::{grant, job::explanation_view, job::tell_asked};
use crate::api::types::{EstimateView, PlacementView, Preview};
use pond_core::engine::{Engine, Refusal, Reply};
use pond_core::event::{Actor, Event, Request};
use pond_core::model::{DeviceRequest, JobSpec, Shape, ShareMode};
use pond_core::money::Resource;
use pond_core::plan::{Decision, Placement, Planner};
use pond_core::queue::device_share;
use pond_core::snapshot::DeviceRow;
use std::sync::Arc;

const HOUR_MS: u128 = 3_600_000;

/// Submits the job to a copy of the pool and plans once.
///
/// # Errors
/// The engine's refusal.
pub fn run(sight: &Sight<'_>, actor: &Actor, mut spec: JobSpec) -> Result<Preview, Refusal> {
    let told = sight.earlier.of(&spec).filter(|_| spec.predicted.is_none());
    spec.predicted = spec.predicted.or(told.map(|told| told.predicted));
    let mut engine = sight.engine.clone();
    let mut planner = Planner::new(engine.settings().plan.clone());
    let written = serde_json::to_value(&spec).unwrap_or_default();
    let index = spec.indices.first().copied().unwrap_or(0);
    let spec = Arc::new(spec);
    let request = Event::Request(Request::Submit(spec.clone()));
    let Reply::Submitted(job) = engine.handle(sight.now, actor, request)?.reply else {
        return Err(Refusal::UnknownJob(pond_core::ids::JobId(0)));
    };
    let gang = job.gang(index);
    let plan = planner.plan(engine.snapshot(), sight.now);
    let mut preview = Preview {
        spec: written,
        placement: Vec::new(),
        evicts: Vec::new(),
        why: None,
        runs: told.map(|told| told.runs),
        price: None,
        warnings: Vec::new(),
    };
    let mut placed = (0, &[][..]);
    for decision in &plan.decisions {
        match decision {
            Decision::Place { gang: here, alternative, tasks } if *here == gang => {
                placed = (*alternative, tasks);
                preview.placement = tasks.iter().map(placement).collect();
            }
            Decision::Preempt { gang: victim, .. } => preview.evicts.push(victim.to_string()),
            _ => {}
        }
    }
    if preview.placement.is_empty() {
        let explained = planner.explain(engine.snapshot(), gang, sight.now);
        preview.why = explained.map(|explanation| {
            let mut view = explanation_view(&explanation);
            tell_asked(&mut view, &spec);
            view
        });
    }
    preview.price = estimate(&engine, &spec, placed);
    Ok(preview)
}

/// What it would cost where it would be placed; where it would wait, with as many tasks as it needs, on devices of the model that
/// it names.
fn estimate(engine: &Engine, spec: &JobSpec, placed: (u32, &[Placement])) -> Option<EstimateView> {
    let sheet = engine.meter().ledger().sheet();
    if sheet.prices().iter().all(|price| !price.holds(engine.now())) {
        return None;
    }
    let (alternative, tasks) = placed;
    let shape = spec.shapes.get(usize::try_from(alternative).ok()?)?;
    let price = |resource: &Resource, amount| sheet.an_hour(resource, amount, spec.class, engine.now());
    let request = shape.request;
    let task = price(&Resource::Cpu, request.cpu.0)
        .saturating_add(price(&Resource::Memory, request.memory.0))
        .saturating_add(price(&Resource::Disk, request.disk.0));
    let count = if tasks.is_empty() { u64::from(spec.size.min) } else { tasks.len() as u64 };
    let devices = if tasks.is_empty() { asked(shape, count) } else { granted(engine, tasks) };
    let devices = devices.iter().map(|(resource, thousandths)| price(resource, *thousandths));
    let hour = devices.fold(task.saturating_mul(count), u64::saturating_add);
    let elements = spec.indices.len().max(1) as u128;
    let lasting = |limit: u64| {
        let micros = u128::from(hour).saturating_mul(elements).saturating_mul(limit.into()) / HOUR_MS;
        u64::try_from(micros).unwrap_or(u64::MAX)
    };
    Some(EstimateView {
        hour_micros: hour,
        most_micros: spec.time_limit.map(|limit| lasting(limit.0)),
        about_micros: spec.predicted.map(|predicted| lasting(predicted.0)),
        currency: sheet.currency().to_owned(),
        budget: None,
    })
}

/// Devices as they would be granted, each with its part in thousandths.
fn granted(engine: &Engine, tasks: &[Placement]) -> Vec<(Resource, u64)> {
    let nodes = &engine.snapshot().nodes;
    let row = |task: &Placement, device: u32| -> Option<&DeviceRow> {
        nodes.iter().find(|node| node.name == task.node)?.devices.get(usize::try_from(device).ok()?)
    };
    let each = tasks.iter().flat_map(|task| task.devices.iter().map(move |grant| (task, grant)));
    let part = |(task, grant): (&Placement, &pond_core::event::DeviceGrant)| {
        let spec = &row(task, grant.device)?.spec;
        let resource = Resource::Device { kind: spec.kind, model: spec.model.to_string() };
        Some((resource, device_share(grant.compute, grant.memory, spec.memory)))
    };
    each.filter_map(part).collect()
}

/// Devices as they are asked for, each sort with the parts of all tasks together.
fn asked(shape: &Shape, tasks: u64) -> Vec<(Resource, u64)> {
    let part = |ask: &DeviceRequest| {
        let one = if ask.mode == ShareMode::Exclusive { 1000 } else { ask.compute.0 };
        let model = ask.model.clone().unwrap_or_default();
        let resource = Resource::Device { kind: ask.kind, model };
        (resource, one.saturating_mul(ask.count.into()).saturating_mul(tasks))
    };
    shape.devices.iter().map(part).collect()
}

fn placement(placement: &Placement) -> PlacementView {
    PlacementView {
        rank: placement.rank,
        node: placement.node.to_string(),
        devices: placement.devices.iter().map(grant).collect(),
    }
}
