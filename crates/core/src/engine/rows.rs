//! The writing side of the snapshot: rows kept in step with the engine's state, by differences.
//!
//! Everything here is a function of the engine's state: [`super::check_snapshot`] computes it from scratch and compares.

use super::job::{Live, Task, TaskState};
use crate::ids::{NodeName, QueuePath};
use crate::model::speed::FULL;
use crate::model::{Class, QueueSpec, Shape};
use crate::plan::PreemptCause;
use crate::snapshot::{
    DemandOrd, GangOrd, GangPhase, GangRow, NodeOrd, NodeRow, Placed, PlacedGang, QueueOrd, QueueRow,
    Snapshot, Touched, Usage,
};
use crate::units::MilliCpu;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a gang that has not ended stands in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangRows {
    /// Its row.
    pub gang: GangOrd,
    /// Its demand.
    pub demand: DemandOrd,
    /// Its queue.
    pub queue: QueueOrd,
}

/// What a node's row counts of one task beside its grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// In [`NodeRow::spare_cpu`].
    pub spare_cpu: MilliCpu,
    /// In [`NodeRow::busy_p95`].
    pub busy_p95: MilliCpu,
    /// In [`NodeRow::busy_now`].
    pub busy_now: MilliCpu,
}

impl Counted {
    /// What a task must be counted as.
    pub fn of(task: &Task, class: Class, frozen: bool) -> Self {
        let idle = frozen || matches!(task.state, TaskState::Ended(_));
        match (class, idle) {
            (_, true) => Self::default(),
            (Class::Spare, false) => Self { spare_cpu: task.limits.request.cpu, ..Self::default() },
            (_, false) => Self {
                spare_cpu: MilliCpu::ZERO,
                busy_p95: task.samples.p95().unwrap_or(task.limits.request.cpu),
                busy_now: task.samples.latest().unwrap_or(task.limits.request.cpu),
            },
        }
    }
}

/// The snapshot with what is needed to keep it.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// What the planner sees.
    pub snapshot: Snapshot,
    free_gangs: BTreeSet<u32>,
    demands: BTreeMap<Vec<Shape>, DemandOrd>,
    /// How many gangs ask for each demand.
    demand_gangs: Vec<u32>,
    free_demands: BTreeSet<u32>,
    queues: BTreeMap<QueuePath, QueueOrd>,
    marked_nodes: Vec<u64>,
    marked_gangs: Vec<u64>,
    round: u64,
    /// Queues whose use changed since this was last taken.
    pub used_otherwise: Vec<QueueOrd>,
}

fn index(ord: u32) -> usize {
    ord as usize
}

fn ordinal(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Rows {
    /// No nodes, no gangs; the touched list says that everything changed.
    pub fn new() -> Self {
        let touched = Touched { all: true, ..Touched::default() };
        Self { snapshot: Snapshot { touched, ..Snapshot::default() }, round: 1, ..Self::default() }
    }

    /// Where a node stands.
    pub fn node_ord(&self, name: &NodeName) -> Option<NodeOrd> {
        self.snapshot.node_ord(name)
    }

    /// Where a queue stands.
    pub fn queue_ord(&self, path: &QueuePath) -> Option<QueueOrd> {
        self.queues.get(path).copied()
    }

    /// A node's row, to be changed.
    pub fn node_mut(&mut self, ord: NodeOrd) -> &mut NodeRow {
        self.snapshot.touched.reshaped.insert(ord);
        self.room_mut(ord)
    }

    /// A node's row, of which nothing is to be changed but who is there and what is free.
    fn room_mut(&mut self, ord: NodeOrd) -> &mut NodeRow {
        self.touch_node(ord);
        &mut self.snapshot.nodes[index(ord.0)]
    }

    /// A queue's row, to be changed.
    pub fn queue_mut(&mut self, ord: QueueOrd) -> &mut QueueRow {
        self.snapshot.epoch = self.snapshot.epoch.saturating_add(1);
        &mut self.snapshot.queues[index(ord.0)]
    }

    /// Adds a node behind all others.
    pub fn add_node(&mut self, row: NodeRow) -> NodeOrd {
        let ord = NodeOrd(ordinal(self.snapshot.nodes.len()));
        self.snapshot.node_ords.insert(row.name.to_owned(), ord);
        self.snapshot.nodes.push(row);
        self.touch_node(ord);
        ord
    }

    /// Adds a queue behind all others; the one above it must be there.
    pub fn add_queue(&mut self, spec: QueueSpec, parent: Option<QueueOrd>) -> QueueOrd {
        let ord = QueueOrd(ordinal(self.snapshot.queues.len()));
        self.queues.insert(spec.path.to_owned(), ord);
        self.snapshot.queues.push(QueueRow { spec, parent, used: Usage::default(), history: 0 });
        self.touch_all();
        ord
    }

    /// Removes a queue that nothing refers to; those behind it move up by one.
    pub fn remove_queue(&mut self, ord: QueueOrd) {
        self.snapshot.queues.remove(index(ord.0));
        for row in &mut self.snapshot.queues {
            row.parent = row.parent.map(|parent| moved_up(parent, ord));
        }
        for row in self.snapshot.gangs.iter_mut().flatten() {
            row.queue = moved_up(row.queue, ord);
        }
        self.queues.retain(|_, other| *other != ord);
        for other in self.queues.values_mut() {
            *other = moved_up(*other, ord);
        }
        self.touch_all();
    }

    /// Puts a gang's row in and tells where it stands. The lowest free place is taken.
    pub fn add_gang(&mut self, row: GangRow) -> GangOrd {
        let ord = match self.free_gangs.pop_first() {
            Some(free) => GangOrd(free),
            None => {
                self.snapshot.gangs.push(None);
                GangOrd(ordinal(self.snapshot.gangs.len() - 1))
            }
        };
        self.snapshot.gang_ords.insert(row.id, ord);
        self.snapshot.gangs[index(ord.0)] = Some(row);
        self.touch_gang(ord);
        ord
    }

    /// Puts a gang's row back to where it stood when it was saved.
    pub fn put_gang(&mut self, ord: GangOrd, row: GangRow) {
        while self.snapshot.gangs.len() <= index(ord.0) {
            self.free_gangs.insert(ordinal(self.snapshot.gangs.len()));
            self.snapshot.gangs.push(None);
        }
        self.free_gangs.remove(&ord.0);
        self.snapshot.gang_ords.insert(row.id, ord);
        self.snapshot.gangs[index(ord.0)] = Some(row);
    }

    /// Takes a gang's row out.
    pub fn drop_gang(&mut self, ord: GangOrd) {
        if let Some(row) = self.snapshot.gangs[index(ord.0)].take() {
            self.snapshot.gang_ords.remove(&row.id);
        }
        self.free_gangs.insert(ord.0);
        self.touch_gang(ord);
    }

    /// Changes a gang's row.
    pub fn gang_mut(&mut self, ord: GangOrd) -> Option<&mut GangRow> {
        self.touch_gang(ord);
        self.snapshot.gangs.get_mut(index(ord.0)).and_then(Option::as_mut)
    }

    /// Takes the ranks out of a gang's row that is about to be written anew.
    pub fn take_ranks(&mut self, ord: GangOrd) -> Vec<Placed> {
        match self.snapshot.gangs.get_mut(index(ord.0)) {
            Some(Some(GangRow { phase: GangPhase::Placed(placed), .. })) => std::mem::take(&mut placed.tasks),
            _ => Vec::new(),
        }
    }

    /// The ordinal of these alternatives, counted once more.
    pub fn intern(&mut self, shapes: Cow<'_, [Shape]>) -> DemandOrd {
        if let Some(known) = self.demands.get(&*shapes) {
            self.demand_gangs[index(known.0)] += 1;
            return *known;
        }
        let ord = match self.free_demands.pop_first() {
            Some(free) => DemandOrd(free),
            None => {
                self.snapshot.demands.push(Vec::new());
                DemandOrd(ordinal(self.snapshot.demands.len() - 1))
            }
        };
        self.fill_demand(ord, shapes.into_owned());
        self.snapshot.touched.demands.push(ord);
        ord
    }

    /// Puts alternatives back to where they stood when they were saved, counted once more.
    pub fn put_demand(&mut self, ord: DemandOrd, shapes: Vec<Shape>) {
        if let Some(known) = self.demands.get(&shapes) {
            self.demand_gangs[index(known.0)] += 1;
            return;
        }
        while self.snapshot.demands.len() <= index(ord.0) {
            self.free_demands.insert(ordinal(self.snapshot.demands.len()));
            self.snapshot.demands.push(Vec::new());
        }
        self.free_demands.remove(&ord.0);
        self.fill_demand(ord, shapes);
    }

    /// One gang asks for it.
    fn fill_demand(&mut self, ord: DemandOrd, shapes: Vec<Shape>) {
        self.snapshot.demands[index(ord.0)] = shapes.to_vec();
        self.demand_gangs.resize(self.snapshot.demands.len(), 0);
        self.demand_gangs[index(ord.0)] = 1;
        self.demands.insert(shapes, ord);
    }

    /// Counts one gang less on these alternatives.
    pub fn release(&mut self, ord: DemandOrd) {
        let Some(gangs) = self.demand_gangs.get_mut(index(ord.0)).filter(|gangs| **gangs > 0) else { return };
        *gangs -= 1;
        if *gangs == 0 {
            let shapes = std::mem::take(&mut self.snapshot.demands[index(ord.0)]);
            self.demands.remove(&shapes);
            self.free_demands.insert(ord.0);
        }
    }

    /// Takes (`true`) or gives back the place of one task on its node and in its queues.
    pub fn account(&mut self, task: &Task, class: Class, queue: QueueOrd, take: bool) {
        let row = self.room_mut(task.node);
        let mut granted = task.limits.request;
        if class == Class::Spare {
            granted.cpu = MilliCpu::ZERO;
        }
        row.granted = if take { row.granted.plus(granted) } else { row.granted.minus(granted) };
        for (grant, held) in task.devices.iter().zip(&task.held) {
            if let Some(device) = row.devices.get_mut(index(grant.device)) {
                device.shift(grant, held.mode, take);
            }
        }
        let mut at = Some(queue);
        while let Some(ord) = at {
            self.used_otherwise.push(ord);
            let row = self.queue_mut(ord);
            let resources = row.used.resources;
            row.used.resources =
                if take { resources.plus(task.limits.request) } else { resources.minus(task.limits.request) };
            for alike in task.held.chunk_by(|one, next| one.kind == next.kind) {
                let (kind, shares) = (alike[0].kind, alike.iter().map(|held| held.share));
                let share = shares.fold(0, u64::saturating_add);
                let used = row.used.devices.entry(kind).or_default();
                *used = if take { used.saturating_add(share) } else { used.saturating_sub(share) };
                if *used == 0 {
                    row.used.devices.remove(&kind);
                }
            }
            at = row.parent;
        }
    }

    /// Counts a gang in (`true`) or out of those that hold an allocation.
    pub fn count_running(&mut self, queue: QueueOrd, take: bool) {
        let mut at = Some(queue);
        while let Some(ord) = at {
            let row = self.queue_mut(ord);
            row.used.running =
                if take { row.used.running.saturating_add(1) } else { row.used.running.saturating_sub(1) };
            at = row.parent;
        }
    }

    /// Replaces what a node's row counts of one task. Tells whether that changed anything.
    pub fn recount(&mut self, node: NodeOrd, before: Counted, now: Counted) -> bool {
        if before == now {
            return false;
        }
        let row = self.room_mut(node);
        row.spare_cpu = row.spare_cpu.minus(before.spare_cpu).plus(now.spare_cpu);
        row.busy_p95 = row.busy_p95.minus(before.busy_p95).plus(now.busy_p95);
        row.busy_now = row.busy_now.minus(before.busy_now).plus(now.busy_now);
        true
    }

    /// Notes that a gang has, or no longer has, a task on a node.
    pub fn seat(&mut self, node: NodeOrd, gang: GangOrd, seated: bool) {
        let gangs = &mut self.room_mut(node).gangs;
        match (gangs.binary_search(&gang), seated) {
            (Err(at), true) => gangs.insert(at, gang),
            (Ok(at), false) => {
                gangs.remove(at);
            }
            _ => {}
        }
    }

    /// Sets what a `spare` task used lately.
    pub fn set_busy(&mut self, gang: GangOrd, rank: u32, busy: MilliCpu) {
        let Some(GangPhase::Placed(placed)) = self.gang_mut(gang).map(|row| &mut row.phase) else { return };
        if let Some(task) = placed.tasks.iter_mut().find(|task| task.rank == rank) {
            task.busy_p95 = busy;
        }
    }

    /// Marks a node's row as changed.
    pub fn touch_node(&mut self, ord: NodeOrd) {
        self.snapshot.epoch = self.snapshot.epoch.saturating_add(1);
        if mark(&mut self.marked_nodes, ord.0, self.round) {
            self.snapshot.touched.nodes.push(ord);
        }
    }

    /// Marks a gang's row as changed.
    pub fn touch_gang(&mut self, ord: GangOrd) {
        self.snapshot.epoch = self.snapshot.epoch.saturating_add(1);
        if mark(&mut self.marked_gangs, ord.0, self.round) {
            self.snapshot.touched.gangs.push(ord);
        }
    }

    /// Marks everything as changed.
    pub fn touch_all(&mut self) {
        self.snapshot.epoch = self.snapshot.epoch.saturating_add(1);
        self.snapshot.touched.all = true;
    }

    /// Empties the touched list: a planner has seen everything up to this epoch.
    pub fn clear_touched(&mut self) {
        let touched = &mut self.snapshot.touched;
        touched.since = self.snapshot.epoch;
        touched.all = false;
        touched.nodes.clear();
        touched.reshaped.clear();
        touched.gangs.clear();
        touched.demands.clear();
        self.round += 1;
    }
}

fn mark(marks: &mut Vec<u64>, ord: u32, round: u64) -> bool {
    let at = index(ord);
    if marks.len() <= at {
        marks.resize(at + 1, 0);
    }
    std::mem::replace(&mut marks[at], round) != round
}

/// Where a queue stands after the one at `gone` was removed.
pub fn moved_up(ord: QueueOrd, gone: QueueOrd) -> QueueOrd {
    if ord > gone { QueueOrd(ord.0 - 1) } else { ord }
}

/// The planner's view of a gang that has a place, but for its speed and its expected end. `tasks` is what it was before:
/// written over, for its memory.
pub fn placed_row(
    live: &Live,
    generation: crate::ids::Generation,
    class: Class,
    mut tasks: Vec<Placed>,
) -> PlacedGang {
    let busy = |task: &Task| match class {
        Class::Spare => task.samples.p95().unwrap_or(task.limits.request.cpu),
        Class::Standard | Class::Critical => MilliCpu::ZERO,
    };
    tasks.clear();
    tasks.reserve_exact(live.tasks.len());
    tasks.extend(live.tasks.iter().map(|task| Placed {
        rank: task.rank,
        node: task.node,
        request: task.limits.request,
        devices: Arc::clone(&task.devices),
        busy_p95: busy(task),
        cpu_limit: task.cpu_limit,
    }));
    let evicted_for = live.ending.as_ref().and_then(|ending| match &ending.then {
        super::job::Then::Evicted(
            PreemptCause::Priority { beneficiary }
            | PreemptCause::Order { beneficiary }
            | PreemptCause::Reclaim { beneficiary },
        ) => Some(*beneficiary),
        _ => None,
    });
    PlacedGang {
        generation,
        alternative: live.alternative,
        since: live.placed,
        saved: live.started.unwrap_or(live.placed),
        metered: live.metered.unwrap_or(live.placed),
        worked: live.worked,
        speed: FULL,
        expected_end: None,
        tasks,
        frozen: live.frozen,
        paused: live.paused,
        stopping: live.ending.is_some(),
        evicted_for,
        shrinking: live.shrinking,
    }
}
