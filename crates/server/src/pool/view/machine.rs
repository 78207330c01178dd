//! Nodes, devices, queues, and the pool as a whole.

use super::job::state;
use super::{amounts, word, words};
use crate::api::types::{
    Amounts, DeviceView, FreeSize, Health, HolderView, NodeView, QueueAmounts, QueueBody, QueueView, State,
    StatusView, UnwellView,
};
use crate::pool::inbox::{Condition, Conditions, Sight};
use pond_core::engine::{self, Engine};
use pond_core::ids::QueuePath;
use pond_core::model::{DeviceKind, HostAccess, Link, QueueLimits, QueueSpec, Resources, Shape, ShareMode};
use pond_core::snapshot::{
    DeviceRow, GangPhase, NodeOrd, NodeRow, NodeState, QueueOrd, QueueRow, Snapshot, Usage,
};
use std::collections::BTreeMap;

/// Devices that are named to somebody who waits for one.
const UNWELL: usize = 8;

/// Every node.
#[must_use]
pub fn nodes(sight: &Sight<'_>) -> Vec<NodeView> {
    let rows = sight.engine.snapshot().nodes.iter().enumerate();
    rows.map(|(place, row)| node(sight, place, row)).collect()
}

/// One node by name.
#[must_use]
pub fn node_named(sight: &Sight<'_>, name: &str) -> Option<NodeView> {
    let mut rows = sight.engine.snapshot().nodes.iter().enumerate();
    rows.find(|(_, row)| row.name.as_str() == name).map(|(place, row)| node(sight, place, row))
}

fn node(sight: &Sight<'_>, place: usize, row: &NodeRow) -> NodeView {
    let snapshot = sight.engine.snapshot();
    let gangs = row.gangs.iter().filter_map(|&ord| snapshot.gang(ord)).map(|gang| gang.id.to_string());
    NodeView {
        name: row.name.to_string(),
        state: node_state(row.state).to_owned(),
        capacity: amounts(row.capacity),
        granted: amounts(row.granted),
        spare_cpu_milli: row.spare_cpu.0,
        busy_cpu_milli: row.busy_p95.0,
        devices: devices_of(sight, place, row),
        labels: row.labels.clone(),
        gangs: gangs.collect(),
    }
}

/// A node's state in one word.
#[must_use]
pub const fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Draining => "draining",
        NodeState::Suspect => "suspect",
        NodeState::Lost => "lost",
    }
}

/// Every device.
#[must_use]
pub fn devices(sight: &Sight<'_>) -> Vec<DeviceView> {
    let rows = sight.engine.snapshot().nodes.iter().enumerate();
    rows.flat_map(|(place, row)| devices_of(sight, place, row)).collect()
}

fn devices_of(sight: &Sight<'_>, place: usize, node: &NodeRow) -> Vec<DeviceView> {
    let rows = node.devices.iter().zip(0_u32..);
    rows.map(|(row, ordinal)| device(sight, place, node, row, ordinal)).collect()
}

fn device(sight: &Sight<'_>, place: usize, node: &NodeRow, row: &DeviceRow, ordinal: u32) -> DeviceView {
    let snapshot = sight.engine.snapshot();
    let mut holders = Vec::new();
    for gang in node.gangs.iter().filter_map(|&ord| snapshot.gang(ord)) {
        let GangPhase::Placed(placed) = &gang.phase else { continue };
        let here = placed.tasks.iter().filter(|task| task.node == NodeOrd(u32::try_from(place).unwrap_or(0)));
        for (task, grant) in here.flat_map(|task| task.devices.iter().map(move |grant| (task, grant))) {
            if grant.device == ordinal {
                holders.push(HolderView {
                    task: gang.id.task(task.rank).to_string(),
                    user: gang.user.to_string(),
                    class: super::job::class(gang.class),
                    compute_thousandths: grant.compute.0,
                    memory_bytes: grant.memory.0,
                    partition: super::partition(&row.spec, grant),
                });
            }
        }
    }
    let known = sight.engine.nodes().get(place);
    let wear = known.and_then(|node| node.wear.get(&ordinal));
    DeviceView {
        node: node.name.to_string(),
        device: ordinal,
        uuid: row.spec.uuid.clone(),
        kind: word(&row.spec.kind),
        model: row.spec.model.clone(),
        healthy: row.healthy,
        health: health_of(sight, place, row, ordinal),
        because: because(sight, place, ordinal),
        since_ms: since(sight, place, ordinal),
        corrected_errors: wear.and_then(|wear| wear.corrected),
        remapped_rows: wear.and_then(|wear| wear.remapped),
        remap_pending: wear.is_some_and(|wear| wear.pending),
        modes: row.spec.modes.iter().map(word).collect(),
        memory_bytes: row.spec.memory.0,
        free_memory_bytes: row.free_memory.0,
        free_compute_thousandths: row.free_compute.0,
        shared_as: row.mode.as_ref().map(word),
        numa: row.spec.numa,
        links: links(node, row, ordinal as usize),
        free: free(row),
        holders,
    }
}

/// How a device is joined to each of its node's.
fn links(node: &NodeRow, row: &DeviceRow, at: usize) -> Vec<String> {
    if node.devices.iter().all(|row| row.spec.traits.links.is_empty()) {
        return Vec::new();
    }
    let word = |(other, to): (&DeviceRow, usize)| match to == at {
        true => "X".to_owned(),
        false => Link::between((&row.spec.traits.links, at), (&other.spec.traits.links, to)).to_string(),
    };
    node.devices.iter().zip(0..).map(word).collect()
}

/// How a device is, in a word.
fn health_of(sight: &Sight<'_>, place: usize, row: &DeviceRow, ordinal: u32) -> String {
    let known = sight.engine.nodes().get(place).and_then(|node| node.health.get(&ordinal));
    match known.map(|health| health.condition) {
        Some(condition) if row.healthy == (condition == engine::Condition::Healthy) => word(&condition),
        _ if row.healthy => "healthy".to_owned(),
        _ => "sick".to_owned(),
    }
}

/// What was told of a device that is not healthy.
fn because(sight: &Sight<'_>, place: usize, ordinal: u32) -> Option<String> {
    let health = sight.engine.nodes().get(place)?.health.get(&ordinal)?;
    Some(health.because.clone()).filter(|because| !because.is_empty())
}

/// When a device stopped being healthy.
fn since(sight: &Sight<'_>, place: usize, ordinal: u32) -> Option<u64> {
    sight.engine.nodes().get(place)?.health.get(&ordinal)?.since.map(|at| at.0)
}

/// Devices of the sorts that shapes ask for which are not granted for how they are.
#[must_use]
pub fn unwell(sight: &Sight<'_>, shapes: &[Shape]) -> Vec<UnwellView> {
    let asked = |row: &DeviceRow| {
        shapes.iter().flat_map(|shape| &shape.devices).any(|request| request.kind == row.spec.kind)
    };
    let nodes = sight.engine.snapshot().nodes.iter().enumerate();
    let rows = nodes.flat_map(|(place, node)| {
        node.devices.iter().zip(0..).map(move |(row, ordinal)| (place, node, row, ordinal))
    });
    let unwell = rows.filter(|(_, _, row, _)| !row.healthy && asked(row)).take(UNWELL);
    let view = |(place, node, row, device): (usize, &NodeRow, &DeviceRow, u32)| UnwellView {
        node: node.name.to_string(),
        device,
        health: health_of(sight, place, row, device),
        because: because(sight, place, device),
        since_ms: since(sight, place, device),
    };
    unwell.map(view).collect()
}

/// What a device can give now, a piece a way: all of it while nobody is on it, else what is left in the way it is shared.
fn free(row: &DeviceRow) -> Vec<FreeSize> {
    let modes = row.spec.modes.iter().filter(|mode| match row.mode {
        None => true,
        Some(shared) => shared == **mode && shared != ShareMode::Exclusive,
    });
    let left = row.healthy && (row.free_compute.0 > 0 || row.free_memory.0 > 0);
    let sizes = |mode: &ShareMode| match mode {
        ShareMode::Space => partitions(row),
        _ => vec![FreeSize {
            mode: word(mode),
            compute_thousandths: row.free_compute.0,
            memory_bytes: row.free_memory.0,
            profile: None,
            count: 1,
        }],
    };
    modes.filter(|_| left).flat_map(sizes).collect()
}

/// Partitions that have a place on a device, each for itself, in the order of its layout.
fn partitions(row: &DeviceRow) -> Vec<FreeSize> {
    let Some(layout) = row.spec.traits.layout.as_deref() else { return Vec::new() };
    let size = |(at, profile): (u8, &pond_core::partition::Profile)| FreeSize {
        mode: word(&ShareMode::Space),
        compute_thousandths: profile.compute.0,
        memory_bytes: profile.memory.0,
        profile: Some(profile.name.clone()),
        count: layout.copies(row.parts, at),
    };
    layout.numbered().map(size).filter(|size| size.count > 0).collect()
}

/// Every queue, parents before their children. What waits counts for its queue and all above, as what is used does.
#[must_use]
pub fn queues(sight: &Sight<'_>) -> Vec<QueueView> {
    let snapshot = sight.engine.snapshot();
    let mut waiting: BTreeMap<(QueueOrd, bool), u64> = BTreeMap::new();
    for row in snapshot.gangs.iter().flatten().filter(|row| !matches!(row.phase, GangPhase::Placed(_))) {
        let gang = sight.engine.gang(row.id);
        let never = gang.is_some_and(|gang| state(gang) == State::Infeasible);
        *waiting.entry((row.queue, never)).or_default() += 1;
    }
    let mut sums: BTreeMap<(QueueOrd, bool), u64> = BTreeMap::new();
    for ((own, never), count) in waiting {
        let above = std::iter::successors(Some(own), |at| snapshot.queue(*at).parent);
        for at in above {
            *sums.entry((at, never)).or_default() += count;
        }
    }
    let count = |place, never| sums.get(&(QueueOrd(place), never)).copied().unwrap_or(0);
    let rows = snapshot.queues.iter().zip(0_u32..);
    let view = |(row, place)| queue(snapshot, row, count(place, false), count(place, true));
    rows.map(view).collect()
}

/// The queue of a path, without counting who waits in it.
#[must_use]
pub fn queue_named(engine: &Engine, path: &str) -> Option<QueueView> {
    let snapshot = engine.snapshot();
    let row = snapshot.queues.iter().find(|row| row.spec.path.as_str() == path)?;
    Some(queue(snapshot, row, 0, 0))
}

/// What of the machine itself jobs of a queue may be given: its own setting, or that of the nearest queue above with one.
/// None when there is no such queue.
#[must_use]
pub fn host_access(engine: &Engine, path: &QueuePath) -> Option<HostAccess> {
    let snapshot = engine.snapshot();
    snapshot.queues.iter().find(|row| row.spec.path == *path).map(|row| open_to(snapshot, row))
}

fn open_to(snapshot: &Snapshot, row: &QueueRow) -> HostAccess {
    let mut upwards = std::iter::successors(Some(row), |row| row.parent.map(|above| snapshot.queue(above)));
    upwards.find_map(|row| row.spec.host.clone()).unwrap_or_default()
}

/// What is set of a queue, as the API says it.
#[must_use]
pub fn queue_spec_view(spec: &QueueSpec) -> QueueBody {
    QueueBody {
        guarantee: limits(&spec.guarantee),
        weight: spec.weight,
        limit: limits(&spec.limit),
        borrow: spec.borrow,
        oversubscribe: spec.oversubscribe,
        host: spec.host.clone().map(Into::into),
    }
}

fn queue(snapshot: &Snapshot, row: &QueueRow, waiting: u64, infeasible: u64) -> QueueView {
    QueueView {
        path: row.spec.path.to_string(),
        settings: queue_spec_view(&row.spec),
        host: open_to(snapshot, row).into(),
        used: used(&row.used),
        waiting,
        infeasible,
        history: row.history,
    }
}

fn limits(limits: &QueueLimits) -> QueueAmounts {
    QueueAmounts {
        cpu_milli: limits.cpu,
        memory_bytes: limits.memory,
        disk_bytes: limits.disk,
        device_thousandths: limits.devices.iter().map(|(kind, &amount)| (word(kind), amount)).collect(),
        running: limits.running,
    }
}

fn used(usage: &Usage) -> QueueAmounts {
    QueueAmounts {
        cpu_milli: Some(usage.resources.cpu.0),
        memory_bytes: Some(usage.resources.memory.0),
        disk_bytes: Some(usage.resources.disk.0),
        device_thousandths: usage.devices.iter().map(|(kind, &amount)| (word(kind), amount)).collect(),
        running: Some(usage.running),
    }
}

/// A queue as the engine takes it. The name of a device kind that nobody knows comes back as the error.
///
/// # Errors
/// The unknown kind.
pub fn queue_spec(path: &str, body: &QueueBody) -> Result<QueueSpec, String> {
    Ok(QueueSpec {
        path: QueuePath::from(path),
        guarantee: queue_limits(&body.guarantee)?,
        weight: body.weight,
        limit: queue_limits(&body.limit)?,
        borrow: body.borrow,
        oversubscribe: body.oversubscribe,
        host: body.host.clone().map(Into::into),
    })
}

/// The kind of device with this name.
#[must_use]
pub fn kind_named(name: &str) -> Option<DeviceKind> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn queue_limits(amounts: &QueueAmounts) -> Result<QueueLimits, String> {
    let mut devices = BTreeMap::new();
    for (kind, &amount) in &amounts.device_thousandths {
        devices.insert(kind_named(kind).ok_or_else(|| kind.clone())?, amount);
    }
    Ok(QueueLimits {
        cpu: amounts.cpu_milli,
        memory: amounts.memory_bytes,
        disk: amounts.disk_bytes,
        devices,
        running: amounts.running,
    })
}

/// Whether the pool works.
#[must_use]
pub fn health(sight: &Sight<'_>, condition: &Condition) -> Health {
    let nodes = &sight.engine.snapshot().nodes;
    let (status, message) = match condition.get() {
        Conditions::Ok => ("ok", None),
        Conditions::ReadOnly => ("read_only", Some(condition.message())),
        Conditions::Stopping => ("stopping", None),
    };
    Health {
        status: status.to_owned(),
        message,
        nodes_ready: nodes.iter().filter(|row| row.state == NodeState::Ready).count() as u64,
        nodes: nodes.len() as u64,
    }
}

/// The pool in one object. `over`: jobs that have ended, by state.
#[must_use]
pub fn status(sight: &Sight<'_>, condition: &Condition, over: BTreeMap<String, u64>) -> StatusView {
    let snapshot = sight.engine.snapshot();
    let mut view = StatusView {
        health: health(sight, condition),
        elements: BTreeMap::new(),
        waiting: BTreeMap::new(),
        over,
        capacity: Amounts::default(),
        granted: Amounts::default(),
        down: Amounts::default(),
        busy_cpu_milli: 0,
        burst_cpu_milli: 0,
        used_memory_bytes: sight.samples.values().flatten().map(|(_, sample)| sample.memory.0).sum(),
        devices: 0,
        devices_granted_thousandths: 0,
    };
    let mut sums = [Resources::ZERO; 3];
    for row in &snapshot.nodes {
        sums[0] = sums[0].plus(row.capacity);
        sums[1] = sums[1].plus(row.granted);
        if matches!(row.state, NodeState::Suspect | NodeState::Lost) {
            sums[2] = sums[2].plus(row.capacity);
        }
        view.busy_cpu_milli += row.busy_p95.0;
        view.devices += row.devices.len() as u64;
        view.devices_granted_thousandths +=
            row.devices.iter().map(|device| 1000 - device.free_compute.0.min(1000)).sum::<u64>();
    }
    (view.capacity, view.granted, view.down) = (amounts(sums[0]), amounts(sums[1]), amounts(sums[2]));
    for job in sight.engine.jobs() {
        match job.finished {
            None => {
                view.burst_cpu_milli += super::job::burst_now(job).0;
                for (gang, state) in job.gangs.iter().map(|gang| (gang, state(gang))) {
                    if state.is_over() {
                        continue;
                    }
                    *view.elements.entry(state.as_str().to_owned()).or_default() += 1;
                    if let Some(word) = words::waiting(gang) {
                        *view.waiting.entry(word).or_default() += 1;
                    }
                }
            }
            Some(_) => {
                *view.over.entry(super::job::job_state(job).as_str().to_owned()).or_default() += 1;
            }
        }
    }
    view
}
