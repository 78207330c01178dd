//! Named invariants of plans: what must hold of every plan, whoever made it. Tests ask for none broken, production counts them.
//!
//! Independent of the planner: it reads the snapshot and the plan, and shares with it only how a device share is counted.

use crate::event::DeviceGrant;
use crate::ids::{GangId, Generation};
use crate::model::{Class, DeviceRequest, Resources, ShareMode};
use crate::partition::Occupied;
use crate::plan::{Decision, Placement, Plan, PreemptCause, model_matches};
use crate::queue::{Amounts, DIMS, RUNNING, device_grant, dimension};
use crate::snapshot::{
    DeviceRow, GangPhase, GangRow, NodeOrd, NodeRow, NodeState, PlacedGang, QueueOrd, Snapshot,
};
use crate::units::{Bytes, MilliCpu};
use std::collections::BTreeMap;

/// The names of the rules.
pub mod rule {
    /// The plan was made from this snapshot.
    pub const EPOCH: &str = "epoch";
    /// Every decision is about a gang that is there, in the phase that the decision is for.
    pub const PHASE: &str = "phase";
    /// At most one decision a gang, but for limits.
    pub const UNIQUE: &str = "unique";
    /// Every gang that waits and changed since the plan before has a decision.
    pub const ANSWERED: &str = "answered";
    /// Decisions about a placed gang name its present generation.
    pub const GENERATION: &str = "generation";
    /// A gang starts with ranks 0, 1, ... between its minimum and its maximum; growth and shrinking keep both.
    pub const WHOLE: &str = "whole";
    /// Tasks go to nodes that are there and take tasks.
    pub const OPEN: &str = "open";
    /// The alternative exists and its labels hold.
    pub const CONSTRAINT: &str = "constraint";
    /// The devices are as asked for, healthy, each on another, divided in one way only.
    pub const DEVICES: &str = "devices";
    /// No node is given out beyond what it has.
    pub const NODE_ROOM: &str = "node room";
    /// Partitions are of a profile that answers and begin where one may; none stands over another; on a device that can only
    /// be cut in one way at a time, all are of one profile.
    pub const PARTITIONS: &str = "partitions";
    /// No device is given out beyond what it has.
    pub const DEVICE_ROOM: &str = "device room";
    /// No queue passes a limit.
    pub const QUEUE_LIMIT: &str = "queue limit";
    /// Who is evicted may be, and by nobody but who asks for it.
    pub const EVICTION: &str = "eviction";
    /// Only `spare` gangs are frozen, thawed or squeezed.
    pub const LENDING: &str = "lending";
}

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the rule: one of [`rule`] for plans.
    pub rule: &'static str,
    /// What breaks it, for people.
    pub detail: String,
}

/// What the plan takes from a node.
#[derive(Default)]
struct Taken {
    cpu: u64,
    lent: u64,
    memory: u64,
    disk: u64,
    /// Ordinal, how it is divided, compute, memory.
    devices: Vec<(u32, ShareMode, u64, u64)>,
    parts: Vec<(u32, Occupied)>,
}

impl Taken {
    fn add(&mut self, class: Class, request: &Resources) {
        match class {
            Class::Spare => self.lent += request.cpu.0,
            _ => self.cpu += request.cpu.0,
        }
        self.memory += request.memory.0;
        self.disk += request.disk.0;
    }

    /// Takes a task's devices; the rules that they break, and how.
    fn devices(
        &mut self,
        node: &NodeRow,
        requests: &[DeviceRequest],
        grants: &[DeviceGrant],
        amounts: &mut Amounts,
    ) -> Vec<(&'static str, String)> {
        self.devices.reserve(grants.len());
        let slots = requests.iter().flat_map(|request| std::iter::repeat_n(request, request.count as usize));
        // As the planner names them; so none comes twice, and only what other tasks took is looked through.
        let ascending = grants.is_sorted_by(|one, next| one.device < next.device);
        let again = |at: usize| grants[..at].iter().any(|grant| grant.device == grants[at].device);
        let mut fine = slots.clone().count() == grants.len() && (ascending || !(0..grants.len()).any(again));
        let others = self.devices.len();
        let mut wrong = Vec::new();
        for (request, grant) in slots.zip(grants) {
            let Some(device) = node.devices.get(grant.device as usize) else {
                fine = false;
                continue;
            };
            fine &= pleases(request, device, grant);
            amounts.add_grant(request.kind, grant, device.spec.memory);
            let known = if ascending { others } else { self.devices.len() };
            let known = self.devices[..known].iter().position(|(device, ..)| *device == grant.device);
            let at = known.unwrap_or_else(|| {
                self.devices.push((grant.device, request.mode, 0, 0));
                self.devices.len() - 1
            });
            let (_, divided, compute, memory) = &mut self.devices[at];
            fine &= *divided == request.mode && device.mode.is_none_or(|mode| mode == request.mode);
            *compute += grant.compute.0;
            *memory += grant.memory.0;
            let mut known = self.parts.iter_mut().find(|(device, _)| *device == grant.device);
            let parts = known.as_ref().map_or(device.parts, |(_, parts)| *parts);
            match (stands(request, device, parts, grant), &mut known) {
                (Ok(then), Some(known)) => known.1 = then,
                (Ok(then), None) if grant.part.is_some() => self.parts.push((grant.device, then)),
                (Ok(_), None) => {}
                (Err(what), _) => {
                    wrong.push((rule::PARTITIONS, format!("{what} on device {}", grant.device)))
                }
            }
        }
        if !fine {
            wrong.push((rule::DEVICES, "wrong devices".to_owned()));
        }
        wrong
    }
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    taken: BTreeMap<NodeOrd, Taken>,
    /// What the plan adds to each queue.
    queues: Vec<(QueueOrd, Amounts)>,
    found: Vec<Violation>,
}

/// Checks a plan against the snapshot it was made from; empty when it is sound.
///
/// Costs the size of the plan and of what was touched, with logarithms.
#[must_use]
pub fn check_plan(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut check = Check { snapshot, taken: BTreeMap::new(), queues: Vec::new(), found: Vec::new() };
    if plan.epoch != snapshot.epoch {
        check.report(
            rule::EPOCH,
            None,
            format!("made from {}, checked against {}", plan.epoch, snapshot.epoch),
        );
    }
    let mut by_gang: Vec<(GangId, &Decision)> =
        plan.decisions.iter().map(|decision| (gang_of(decision), decision)).collect();
    by_gang.sort_by_key(|(gang, _)| *gang);
    check.answers(&by_gang);
    for (gang, decision) in &by_gang {
        match snapshot.gang_ord(*gang).and_then(|ord| snapshot.gang(ord)) {
            Some(row) => check.decision(row, decision),
            None => check.report(rule::PHASE, Some(*gang), "there is no such gang".to_owned()),
        }
    }
    check.totals();
    check.found
}

const fn gang_of(decision: &Decision) -> GangId {
    match decision {
        Decision::Place { gang, .. }
        | Decision::Grow { gang, .. }
        | Decision::Shrink { gang, .. }
        | Decision::Preempt { gang, .. }
        | Decision::Freeze { gang, .. }
        | Decision::Thaw { gang, .. }
        | Decision::Hold { gang, .. } => *gang,
        Decision::Limit { task, .. } => task.gang,
    }
}

impl<'a> Check<'a> {
    fn report(&mut self, rule: &'static str, gang: Option<GangId>, detail: String) {
        let detail = gang.map_or_else(|| detail.clone(), |gang| format!("{gang}: {detail}"));
        self.found.push(Violation { rule, detail });
    }

    /// Says which gangs are missing an answer or have two.
    fn answers(&mut self, by_gang: &[(GangId, &Decision)]) {
        let counts = |decision: &Decision| !matches!(decision, Decision::Limit { .. });
        for own in by_gang.chunk_by(|one, next| one.0 == next.0) {
            let count = own.iter().filter(|(_, decision)| counts(decision)).count();
            if count > 1 {
                self.report(rule::UNIQUE, Some(own[0].0), format!("{count} decisions"));
            }
        }
        let snapshot = self.snapshot;
        let touched = snapshot.touched.gangs.iter().filter_map(|ord| snapshot.gang(*ord));
        let all = if snapshot.touched.all { &snapshot.gangs[..] } else { &[] };
        for row in touched.chain(all.iter().flatten()).filter(|row| row.phase == GangPhase::Pending) {
            if by_gang.binary_search_by_key(&row.id, |(gang, _)| *gang).is_err() {
                self.report(rule::ANSWERED, Some(row.id), "it waits and nothing was decided".to_owned());
            }
        }
    }

    fn decision(&mut self, row: &'a GangRow, decision: &Decision) {
        let id = row.id;
        match (decision, &row.phase) {
            (Decision::Hold { .. }, GangPhase::Pending | GangPhase::Held(_)) => {}
            (Decision::Place { alternative, tasks, .. }, GangPhase::Pending) => {
                let ranks = tasks.len();
                if ranks < row.size.min as usize || ranks > row.size.max as usize {
                    self.report(
                        rule::WHOLE,
                        Some(id),
                        format!("{ranks} ranks, not {}..{}", row.size.min, row.size.max),
                    );
                }
                self.tasks(row, *alternative, tasks, 0, 1);
            }
            (Decision::Grow { generation, tasks, .. }, GangPhase::Placed(placed)) => {
                self.generation(row, placed, *generation);
                let first = placed.tasks.iter().map(|task| task.rank + 1).max().unwrap_or(0);
                if placed.tasks.len() + tasks.len() > row.size.max as usize {
                    self.report(rule::WHOLE, Some(id), format!("grows beyond {}", row.size.max));
                }
                self.tasks(row, placed.alternative, tasks, first, 0);
            }
            (Decision::Shrink { generation, to, .. }, GangPhase::Placed(placed)) => {
                self.generation(row, placed, *generation);
                if *to < row.size.min || *to as usize >= placed.tasks.len() {
                    self.report(
                        rule::WHOLE,
                        Some(id),
                        format!("shrinks from {} to {to}", placed.tasks.len()),
                    );
                }
            }
            (Decision::Preempt { generation, cause, .. }, GangPhase::Placed(placed)) => {
                self.generation(row, placed, *generation);
                self.eviction(row, placed, cause);
            }
            (
                Decision::Freeze { generation, .. } | Decision::Limit { generation, .. },
                GangPhase::Placed(placed),
            ) => {
                self.generation(row, placed, *generation);
                self.lending(row, placed.frozen.is_none());
            }
            (Decision::Thaw { generation, .. }, GangPhase::Placed(placed)) => {
                self.generation(row, placed, *generation);
                self.lending(row, placed.frozen.is_some());
            }
            _ => self.report(rule::PHASE, Some(id), "the decision does not go with its phase".to_owned()),
        }
    }

    fn generation(&mut self, row: &GangRow, placed: &PlacedGang, seen: Generation) {
        if placed.generation != seen {
            self.report(
                rule::GENERATION,
                Some(row.id),
                format!("{seen}, but it is at {}", placed.generation),
            );
        }
    }

    fn lending(&mut self, row: &GangRow, right: bool) {
        if row.class != Class::Spare || !right {
            self.report(rule::LENDING, Some(row.id), "not a spare gang in the right state".to_owned());
        }
    }

    fn eviction(&mut self, row: &GangRow, placed: &PlacedGang, cause: &PreemptCause) {
        let lawful = match cause {
            PreemptCause::CpuWanted { .. } => row.class == Class::Spare && placed.frozen.is_some(),
            PreemptCause::Priority { beneficiary }
            | PreemptCause::Order { beneficiary }
            | PreemptCause::Reclaim { beneficiary } => *beneficiary != row.id,
        };
        if !row.preemptible || row.class == Class::Critical || placed.stopping || !lawful {
            self.report(rule::EVICTION, Some(row.id), format!("may not be evicted: {cause:?}"));
        }
    }

    fn tasks(&mut self, row: &'a GangRow, alternative: u32, tasks: &[Placement], first: u32, gangs: u64) {
        let Some(shape) = self.snapshot.demand(row.demand).get(alternative as usize) else {
            return self.report(
                rule::CONSTRAINT,
                Some(row.id),
                format!("there is no alternative {alternative}"),
            );
        };
        let mut amounts = Amounts::ZERO;
        for (rank, task) in (first..).zip(tasks) {
            if task.rank != rank {
                self.report(rule::WHOLE, Some(row.id), format!("rank {} where {rank} belongs", task.rank));
            }
            let Some(node) = self.snapshot.node_ord(&task.node) else {
                self.report(rule::OPEN, Some(row.id), format!("there is no node {}", task.node));
                continue;
            };
            let node_row = self.snapshot.node(node);
            if node_row.state != NodeState::Ready {
                self.report(rule::OPEN, Some(row.id), format!("{} takes no tasks", task.node));
            }
            if let Some((key, value)) =
                shape.labels.iter().find(|(key, value)| node_row.labels.get(*key) != Some(value))
            {
                self.report(rule::CONSTRAINT, Some(row.id), format!("{} is not {key}={value}", task.node));
            }
            amounts = amounts.plus(&Amounts::of(shape.request));
            let taken = self.taken.entry(node).or_default();
            taken.add(row.class, &shape.request);
            let wrong = taken.devices(node_row, &shape.devices, &task.devices, &mut amounts);
            self.found.extend(wrong.into_iter().map(|(rule, detail)| Violation {
                rule,
                detail: format!("{}: {detail} of {}", row.id, node_row.name),
            }));
        }
        amounts.0[RUNNING] = gangs;
        let mut next = Some(row.queue);
        while let Some(at) = next {
            match self.queues.binary_search_by_key(&at, |(queue, _)| *queue) {
                Ok(known) => self.queues[known].1 = self.queues[known].1.plus(&amounts),
                Err(new) => self.queues.insert(new, (at, amounts)),
            }
            next = self.snapshot.queue(at).parent;
        }
    }

    fn totals(&mut self) {
        let mut found = Vec::new();
        for (node, taken) in &self.taken {
            node_totals(self.snapshot.node(*node), taken, &mut found);
        }
        for (queue, asked) in &self.queues {
            let row = self.snapshot.queue(*queue);
            let used = Amounts::of_usage(&row.used).plus(asked);
            let limit = Amounts::of_limits(&row.spec.limit, u64::MAX);
            for at in (0..DIMS).filter(|at| asked.0[*at] > 0 && used.0[*at] > limit.0[*at]) {
                let detail =
                    format!("{} uses {} of {} {:?}", row.spec.path, used.0[at], limit.0[at], dimension(at));
                found.push(Violation { rule: rule::QUEUE_LIMIT, detail });
            }
        }
        self.found.extend(found);
    }
}

fn pleases(request: &DeviceRequest, device: &DeviceRow, grant: &DeviceGrant) -> bool {
    let spec = &device.spec;
    let share = (grant.compute, grant.memory) == device_grant(request, spec);
    device.healthy
        && share
        && spec.kind == request.kind
        && spec.memory >= request.device_memory
        && spec.modes.contains(&request.mode)
        && model_matches(request.model.as_deref(), &spec.model)
}

/// What stands on a device once a grant does, or what is wrong with that.
fn stands(
    request: &DeviceRequest,
    device: &DeviceRow,
    taken: Occupied,
    grant: &DeviceGrant,
) -> Result<Occupied, &'static str> {
    let part = match (grant.part, request.mode) {
        (Some(part), ShareMode::Space) => part,
        (None, ShareMode::Space) => return Err("a partition without a place"),
        (Some(_), _) => return Err("a partition that nobody asked for"),
        (None, _) => return Ok(taken),
    };
    let Some(layout) = &device.spec.traits.layout else { return Err("a partition of what cannot be cut") };
    if layout.profile_of(part).is_none() || layout.answer(request) != Some(part.profile) {
        return Err("a partition of the wrong profile or place");
    }
    if !layout.fits(taken, part) {
        return Err("a partition over another, or beside one of another mode");
    }
    Ok(layout.with(taken, part))
}

fn node_totals(row: &NodeRow, taken: &Taken, found: &mut Vec<Violation>) {
    let free = row.capacity.minus(row.granted);
    let lendable = row.capacity.cpu.minus(row.busy_p95).minus(row.spare_cpu);
    let parts = [
        (MilliCpu(taken.cpu) > free.cpu, "CPU"),
        (MilliCpu(taken.lent) > lendable, "lent CPU"),
        (Bytes(taken.memory) > free.memory, "memory"),
        (Bytes(taken.disk) > free.disk, "disk"),
    ];
    for (_, what) in parts.iter().filter(|(over, _)| *over) {
        found
            .push(Violation { rule: rule::NODE_ROOM, detail: format!("{} has too little {what}", row.name) });
    }
    for (device, _, compute, memory) in &taken.devices {
        let Some(device_row) = row.devices.get(*device as usize) else { continue };
        if *compute > device_row.free_compute.0 || *memory > device_row.free_memory.0 {
            let detail = format!("device {device} of {} is given out twice", row.name);
            found.push(Violation { rule: rule::DEVICE_ROOM, detail });
        }
    }
}
