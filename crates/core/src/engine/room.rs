//! Whether a placement still fits: sums per node and device of a whole gang against what is left now.

use super::Engine;
use super::change::StaleReason;
use crate::event::DeviceGrant;
use crate::model::{Class, DeviceRequest, Resources, Shape, ShareMode};
use crate::plan::{Dimension, Placement, model_matches};
use crate::queue::{Amounts, RUNNING, device_grant, device_share, dimension};
use crate::snapshot::{DeviceRow, NodeOrd, NodeState, QueueOrd};
use crate::units::{Bytes, MilliCpu, Thousandths};
use std::collections::BTreeMap;

use super::job::HeldDevice;

/// A gang's tasks with their nodes found and their devices understood.
pub(super) type Seats = Vec<(NodeOrd, Vec<HeldDevice>)>;

/// Checks that tasks of this shape can stand where the plan puts them.
pub(super) fn seats(
    engine: &Engine,
    shape: &Shape,
    class: Class,
    queue: QueueOrd,
    tasks: &[Placement],
    new_gang: bool,
) -> Result<Seats, StaleReason> {
    let mut needs: BTreeMap<NodeOrd, Resources> = BTreeMap::new();
    let mut granted: BTreeMap<(NodeOrd, u32), (Thousandths, Bytes, ShareMode)> = BTreeMap::new();
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
        let need = needs.entry(ord).or_default();
        *need = need.plus(shape.request);
        let held = match_devices(shape, &row.devices, &task.devices).ok_or(StaleReason::Device)?;
        for (grant, held) in task.devices.iter().zip(&held) {
            total.add_device(held.kind, held.share);
            let sum =
                granted.entry((ord, grant.device)).or_insert((Thousandths::ZERO, Bytes::ZERO, held.mode));
            if sum.2 != held.mode || held.mode == ShareMode::Exclusive && !sum.0.is_zero() {
                return Err(StaleReason::Device);
            }
            *sum = (sum.0.plus(grant.compute), sum.1.plus(grant.memory), held.mode);
        }
        seats.push((ord, held));
    }
    for (ord, need) in &needs {
        has_room(engine, *ord, *need, class)?;
    }
    for ((ord, device), (compute, memory, _)) in &granted {
        let row = &engine.rows.snapshot.node(*ord).devices[*device as usize];
        if *compute > row.free_compute || *memory > row.free_memory {
            return Err(StaleReason::Device);
        }
    }
    match over_limit(engine, queue, &total) {
        Some(_) => Err(StaleReason::QueueLimit),
        None => Ok(seats),
    }
}

fn has_room(engine: &Engine, ord: NodeOrd, need: Resources, class: Class) -> Result<(), StaleReason> {
    let row = engine.rows.snapshot.node(ord);
    let mut free = row.capacity.minus(row.granted);
    if class == Class::Spare {
        let margin = u128::from(row.capacity.cpu.0) * u128::from(engine.settings.plan.lend_margin) / 1000;
        let margin = MilliCpu(u64::try_from(margin).unwrap_or(u64::MAX));
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
        && (grant.compute, grant.memory) == device_grant(request, spec.memory)
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
    let mut left = grants.iter();
    for request in wanted {
        let grant = left.next()?;
        let row = rows.get(grant.device as usize)?;
        let again = grants.iter().filter(|other| other.device == grant.device).count() > 1;
        if again || !answers(request, row, grant) {
            return None;
        }
        held.push(held_of(request, grant.compute, grant.memory, row.spec.memory));
    }
    left.next().is_none().then_some(held)
}
