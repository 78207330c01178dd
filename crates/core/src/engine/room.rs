//! Whether a placement still fits: sums per node and device of a whole gang against what is left now.

use super::Engine;
use super::change::StaleReason;
use crate::event::DeviceGrant;
use crate::model::{Class, DeviceRequest, Resources, Shape, ShareMode};
use crate::partition::Occupied;
use crate::plan::{Dimension, Placement, model_matches};
use crate::queue::{Amounts, RUNNING, device_grant, device_share, dimension};
use crate::snapshot::{DeviceRow, NodeOrd, NodeState, QueueOrd};
use crate::units::{Bytes, MilliCpu, Thousandths, scaled};
use std::collections::BTreeMap;

use super::job::HeldDevice;

/// A gang's tasks with their nodes found and their devices understood.
pub(super) type Seats = Vec<(NodeOrd, Vec<HeldDevice>)>;

/// A device that one of the tasks gets.
struct Granted {
    at: (NodeOrd, u32),
    mode: ShareMode,
    compute: Thousandths,
    memory: Bytes,
}

/// Checks that tasks of this shape can stand where the plan puts them.
pub(super) fn seats(
    engine: &Engine,
    shape: &Shape,
    class: Class,
    queue: QueueOrd,
    tasks: &[Placement],
    new_gang: bool,
) -> Result<Seats, StaleReason> {
    let alone = tasks.len() == 1;
    let devices = if alone { 0 } else { tasks.iter().map(|task| task.devices.len()).sum() };
    let mut granted: Vec<Granted> = Vec::with_capacity(devices);
    let mut parts: BTreeMap<(NodeOrd, u32), Occupied> = BTreeMap::new();
    let mut seats: Seats = Vec::with_capacity(tasks.len());
    let mut total = Amounts::of(shape.request.times(tasks.len() as u64));
    total.0[RUNNING] = u64::from(new_gang);
    for task in tasks {
        let ord = engine.rows.node_ord(&task.node).ok_or(StaleReason::Node)?;
        let row = engine.rows.snapshot.node(ord);
        let wrong_label = shape.labels.iter().any(|(key, value)| row.labels.get(key) != Some(value));
        if row.state != NodeState::Ready || wrong_label {
            return Err(StaleReason::Node);
        }
        let held = match_devices(shape, &row.devices, &task.devices).ok_or(StaleReason::Device)?;
        for (grant, held) in task.devices.iter().zip(&held) {
            total.add_device(held.kind, held.share);
            let (compute, memory) = (grant.compute, grant.memory);
            let here = Granted { at: (ord, grant.device), mode: held.mode, compute, memory };
            if alone {
                // No device comes twice in a task.
                device_has_room(engine, &[here])?;
            } else {
                granted.push(here);
            }
            if let Some(part) = grant.part {
                let device = &row.devices[grant.device as usize];
                let layout = device.spec.traits.layout.as_deref().ok_or(StaleReason::Device)?;
                let taken = parts.entry((ord, grant.device)).or_insert(device.parts);
                if !layout.fits(*taken, part) {
                    return Err(StaleReason::Device);
                }
                *taken = layout.with(*taken, part);
            }
        }
        seats.push((ord, held));
    }
    if let [(node, _)] = &seats[..] {
        has_room(engine, *node, shape.request, class)?;
    } else {
        let mut nodes: Vec<NodeOrd> = seats.iter().map(|(node, _)| *node).collect();
        nodes.sort_unstable();
        for own in nodes.chunk_by(|one, next| one == next) {
            has_room(engine, own[0], shape.request.times(own.len() as u64), class)?;
        }
    }
    granted.sort_unstable_by_key(|grant| grant.at);
    for own in granted.chunk_by(|one, next| one.at == next.at) {
        device_has_room(engine, own)?;
    }
    match over_limit(engine, queue, &total) {
        Some(_) => Err(StaleReason::QueueLimit),
        None => Ok(seats),
    }
}

/// Whether one device can be granted so often.
fn device_has_room(engine: &Engine, grants: &[Granted]) -> Result<(), StaleReason> {
    let ((ord, device), mode) = (grants[0].at, grants[0].mode);
    let row = &engine.rows.snapshot.node(ord).devices[device as usize];
    let alike = grants.iter().all(|grant| grant.mode == mode);
    let alone = grants.len() == 1 || mode != ShareMode::Exclusive;
    let compute = grants.iter().fold(Thousandths::ZERO, |sum, grant| sum.plus(grant.compute));
    let memory = grants.iter().fold(Bytes::ZERO, |sum, grant| sum.plus(grant.memory));
    let fits = compute <= row.free_compute && memory <= row.free_memory;
    if alike && alone && fits { Ok(()) } else { Err(StaleReason::Device) }
}

fn has_room(engine: &Engine, ord: NodeOrd, need: Resources, class: Class) -> Result<(), StaleReason> {
    let row = engine.rows.snapshot.node(ord);
    let mut free = row.capacity.minus(row.granted);
    if class == Class::Spare {
        let margin = MilliCpu(scaled(row.capacity.cpu.0, engine.settings.plan.lend_margin, 1000));
        free.cpu = row.capacity.cpu.minus(row.busy_p95).minus(row.spare_cpu).minus(margin);
    }
    if need.fits(&free) { Ok(()) } else { Err(StaleReason::Room) }
}

/// The first queue on the way to the root that this would bring over its limit: which, in what, left, asked.
pub(super) fn over_limit(
    engine: &Engine,
    queue: QueueOrd,
    more: &Amounts,
) -> Option<(QueueOrd, Dimension, u64, u64)> {
    let mut at = Some(queue);
    while let Some(ord) = at {
        let row = engine.rows.snapshot.queue(ord);
        let used = Amounts::of_usage(&row.used);
        let limit = Amounts::of_limits(&row.spec.limit, u64::MAX);
        for (index, ((used, more), limit)) in used.0.iter().zip(more.0).zip(limit.0).enumerate() {
            if more > 0 && used.saturating_add(more) > limit {
                return Some((ord, dimension(index), limit.saturating_sub(*used), more));
            }
        }
        at = row.parent;
    }
    None
}

fn answers(request: &DeviceRequest, row: &DeviceRow, grant: &DeviceGrant) -> bool {
    let spec = &row.spec;
    let model = model_matches(request.model.as_deref(), &spec.model);
    let shared_alike = row.mode.is_none_or(|mode| mode == request.mode && mode != ShareMode::Exclusive);
    spec.kind == request.kind
        && model
        && spec.memory >= request.device_memory
        && spec.modes.contains(&request.mode)
        && shared_alike
        && row.healthy
        && (grant.compute, grant.memory) == device_grant(request, spec)
        && right_part(request, row, grant)
}

/// Whether a grant of a partition, and no other, names a part of the profile that was asked for.
fn right_part(request: &DeviceRequest, row: &DeviceRow, grant: &DeviceGrant) -> bool {
    let Some(part) = grant.part else { return request.mode != ShareMode::Space };
    let Some(layout) = row.spec.traits.layout.as_deref().filter(|_| request.mode == ShareMode::Space) else {
        return false;
    };
    layout.profile_of(part).is_some() && layout.answer(request) == Some(part.profile)
}

/// What a grant of a device with this much memory counts as.
pub(super) fn held_of(
    request: &DeviceRequest,
    compute: Thousandths,
    memory: Bytes,
    device_memory: Bytes,
) -> HeldDevice {
    HeldDevice {
        mode: request.mode,
        kind: request.kind,
        share: device_share(compute, memory, device_memory),
        slack: request.slack,
    }
}

/// Finds for each grant the request it answers; `None` unless they are exactly what the shape asks for.
///
/// Grants come in the order of the requests, `count` of each, as the planner writes them; each on a device of its own.
fn match_devices(shape: &Shape, rows: &[DeviceRow], grants: &[DeviceGrant]) -> Option<Vec<HeldDevice>> {
    let mut held = Vec::with_capacity(grants.len());
    let wanted = shape.devices.iter().flat_map(|request| (0..request.count).map(move |_| request));
    let ascending = grants.is_sorted_by(|one, next| one.device < next.device);
    let mut left = grants.iter().enumerate();
    for request in wanted {
        let (at, grant) = left.next()?;
        let row = rows.get(grant.device as usize)?;
        let again = !ascending && grants[..at].iter().any(|other| other.device == grant.device);
        if again || !answers(request, row, grant) {
            return None;
        }
        held.push(held_of(request, grant.compute, grant.memory, row.spec.memory));
    }
    left.next().is_none().then_some(held)
}
