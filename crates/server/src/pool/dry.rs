//! What would happen to a job: the real engine and planner, on a copy.

use super::inbox::Sight;
use super::view::{grant, job::explanation_view, job::tell_asked, job::tell_money};
use crate::api::types::{EstimateView, PlacementView, Preview};
use pond_core::engine::{Engine, Refusal, Reply};
use pond_core::event::{Actor, Event, Request};
use pond_core::model::{Class, DeviceRequest, JobSpec, Resources, Shape, ShareMode};
use pond_core::money::Resource;
use pond_core::plan::{Decision, Placement, Planner};
use pond_core::queue::device_share;
use pond_core::snapshot::DeviceRow;
use std::sync::Arc;

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
        preview.why = explained.map(|mut explanation| {
            tell_money(sight, &mut explanation);
            let mut view = explanation_view(&explanation);
            tell_asked(&mut view, &spec.shapes, spec.size.min);
            view
        });
    }
    preview.price = estimate(&engine, &spec, placed);
    Ok(preview)
}

/// What it would cost where it would be placed; where it would wait, with as many tasks as it needs, on devices of the model that
/// it names. The most is what it may use by its time limit, at the prices of the time from now on.
fn estimate(engine: &Engine, spec: &JobSpec, placed: (u32, &[Placement])) -> Option<EstimateView> {
    let (sheet, now) = (engine.meter().ledger().sheet(), engine.now());
    if sheet.prices().iter().all(|price| price.to.is_some_and(|to| to <= now)) {
        return None;
    }
    let (alternative, tasks) = placed;
    let shape = spec.shapes.get(usize::try_from(alternative).ok()?)?;
    let count = if tasks.is_empty() { u64::from(spec.size.min) } else { tasks.len() as u64 };
    let devices = if tasks.is_empty() { asked(shape, count) } else { granted(engine, tasks) };
    let elements = spec.indices.len().max(1) as u64;
    let sum = |amounts: &[(Resource, u64)], class, span| -> u64 {
        let costs =
            amounts.iter().map(|(resource, amount)| sheet.over(resource, *amount, class, (now, span)));
        costs.fold(0, u64::saturating_add)
    };
    let base = [of(shape.request, count), devices.clone()].concat();
    // As many ranks as it may have, on devices like those of the first ones.
    let ranks = u64::from(spec.size.max).max(count);
    let all_devices =
        devices.iter().map(|(of, part)| (of.clone(), part.saturating_mul(ranks) / count.max(1)));
    let (most, beyond) = most(shape, spec.class, ranks, all_devices.collect());
    let about = |span| sum(&base, spec.class, span).saturating_mul(elements);
    let all = |span| {
        let both = sum(&most, spec.class, span).saturating_add(sum(&beyond, Class::Spare, span));
        both.saturating_mul(elements)
    };
    Some(EstimateView {
        hour_micros: base.iter().fold(0, |hour: u64, (resource, amount)| {
            hour.saturating_add(sheet.an_hour(resource, *amount, spec.class, now))
        }),
        most_micros: spec.time_limit.map(all),
        about_micros: spec.predicted.map(about),
        currency: sheet.currency().to_owned(),
        budget: None,
    })
}

/// Amounts of resources, in the meter's units.
type Amounts = Vec<(Resource, u64)>;

/// CPU, memory and disk of so many tasks.
fn of(one: Resources, count: u64) -> Amounts {
    let parts = [(Resource::Cpu, one.cpu.0), (Resource::Memory, one.memory.0), (Resource::Disk, one.disk.0)];
    parts.map(|(resource, amount)| (resource, amount.saturating_mul(count))).to_vec()
}

/// The most that is charged at the price of its class, and beyond that at the price of `spare`: what it is granted (or may use, in
/// the classes that pay for that), and what it may use beyond. `devices`: what it has of them.
fn most(shape: &Shape, class: Class, count: u64, devices: Amounts) -> (Amounts, Amounts) {
    let (request, burst) = (shape.request, shape.burst);
    let larger = Resources {
        cpu: request.cpu.max(burst.cpu),
        memory: request.memory.max(burst.memory),
        disk: request.disk.max(burst.disk),
    };
    let slack: Amounts = shape
        .devices
        .iter()
        .filter_map(|ask| Some((ask, ask.slack.compute?.0.saturating_sub(ask.compute.0))))
        .map(|(ask, more)| (device(ask), more.saturating_mul(ask.count.into()).saturating_mul(count)))
        .collect();
    match class {
        Class::Standard => {
            let cpu = larger.cpu.0.saturating_sub(request.cpu.0).saturating_mul(count);
            let beyond = [vec![(Resource::Cpu, cpu)], slack].concat();
            ([of(request, count), devices].concat(), beyond)
        }
        Class::Critical | Class::Spare => ([of(larger, count), devices, slack].concat(), Vec::new()),
    }
}

/// The resource that an ask for devices is charged as, where it names the model or none.
fn device(ask: &DeviceRequest) -> Resource {
    Resource::Device { kind: ask.kind, model: ask.model.clone().unwrap_or_default() }
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
        (device(ask), one.saturating_mul(ask.count.into()).saturating_mul(tasks))
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
