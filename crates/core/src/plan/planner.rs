//! The planner: one plan a tick.

use super::problem::room::{DeviceFacts, DeviceFree, Free, pick_devices};
use super::problem::shape::{Compiled, Models, compile};
use super::{Decision, Explanation, Funnel, HoldReason, Placement, Plan};
use crate::ids::GangId;
use crate::model::Class;
use crate::snapshot::{GangPhase, GangRow, Held, NodeState, Settings, Snapshot};
use crate::units::Timestamp;
use std::sync::Arc;

/// Makes plans.
#[derive(Clone, Debug)]
pub struct Planner {
    settings: Settings,
}

struct Node {
    free: Free,
    devices: Vec<DeviceFree>,
    facts: Vec<DeviceFacts>,
}

impl Planner {
    /// A planner with these settings.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// What to do now.
    #[must_use]
    pub fn plan(&mut self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        let mut models = Models::default();
        let mut nodes: Vec<Node> =
            snapshot.nodes.iter().map(|row| node(row, &mut models, self.settings.lend_margin)).collect();
        let mut rows: Vec<&GangRow> = snapshot.gangs.iter().flatten().collect();
        rows.sort_by_key(|row| (std::cmp::Reverse((row.class, row.priority)), row.queued, row.id));
        let mut decisions = Vec::new();
        for row in rows {
            match &row.phase {
                GangPhase::Placed(_) => {}
                GangPhase::Held(held) => {
                    decisions.push(Decision::Hold { gang: row.id, reason: held_reason(held) })
                }
                GangPhase::Pending => decisions.push(place(snapshot, &mut nodes, &models, row)),
            }
        }
        Plan { epoch: snapshot.epoch, at: now, decisions, again: None }
    }

    /// Why a gang is where it is.
    #[must_use]
    pub const fn explain(&self, _snapshot: &Snapshot, _gang: GangId, _now: Timestamp) -> Option<Explanation> {
        None
    }
}

fn node(row: &crate::snapshot::NodeRow, models: &mut Models, margin: u64) -> Node {
    let ready = row.state == NodeState::Ready;
    let facts = row.devices.iter().map(|device| {
        let mut facts =
            DeviceFacts::new(device, models.intern(device.spec.kind, &device.spec.model, device.spec.memory));
        facts.healthy &= ready;
        facts
    });
    let devices = row.devices.iter().map(|device| DeviceFree {
        compute: super::problem::shape::signed(device.free_compute.0),
        memory: super::problem::shape::signed(device.free_memory.0),
        mode: device.mode,
    });
    Node { free: Free::of(row, margin), devices: devices.collect(), facts: facts.collect() }
}

fn held_reason(held: &Held) -> HoldReason {
    match held {
        Held::Paused => HoldReason::Paused,
        Held::Dependency(jobs) => HoldReason::Dependency(jobs.clone()),
        Held::ArrayLimit(limit) => HoldReason::ArrayLimit(*limit),
        Held::Backoff(until) => HoldReason::Backoff(*until),
    }
}

fn place(snapshot: &Snapshot, nodes: &mut [Node], models: &Models, row: &GangRow) -> Decision {
    for (alternative, shape) in (0_u32..).zip(snapshot.demand(row.demand)) {
        let compiled = compile(shape, models);
        let mut tasks: Vec<(usize, super::problem::room::Picked)> = Vec::new();
        for (at, node) in nodes.iter_mut().enumerate() {
            let labels = &snapshot.nodes[at].labels;
            let right = shape.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
            while right && tasks.len() < row.size.max as usize {
                let Some(picked) = try_task(node, &compiled, row.class == Class::Spare) else {
                    break;
                };
                tasks.push((at, picked));
            }
        }
        if tasks.len() >= row.size.min as usize {
            let tasks = (0_u32..).zip(tasks).map(|(rank, (at, picked))| Placement {
                rank,
                node: snapshot.nodes[at].name.clone(),
                devices: picked.into_iter().map(|(_, grant, _)| grant).collect(),
            });
            return Decision::Place { gang: row.id, alternative, tasks: tasks.collect() };
        }
        for (at, picked) in tasks {
            shift(&mut nodes[at], &compiled, &picked, row.class == Class::Spare, -1);
        }
    }
    let funnel = Funnel {
        nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        needed: row.size.min,
        ..Funnel::default()
    };
    Decision::Hold { gang: row.id, reason: HoldReason::NoRoom(Arc::new(funnel)) }
}

fn try_task(node: &mut Node, shape: &Compiled, spare: bool) -> Option<super::problem::room::Picked> {
    if !node.free.takes(shape, spare) {
        return None;
    }
    let picked = pick_devices(&node.devices, &node.facts, &shape.slots)?;
    shift(node, shape, &picked, spare, 1);
    Some(picked)
}

fn shift(node: &mut Node, shape: &Compiled, picked: &super::problem::room::Picked, spare: bool, sign: i64) {
    node.free.shift(shape.cpu, shape.memory, shape.disk, spare, sign);
    for (_, grant, mode) in picked {
        let at = grant.device as usize;
        node.devices[at].shift(&node.facts[at], grant, *mode, sign);
    }
}
