//! Changing what a job has while it runs: amounts of CPU, memory and disk, and the terms of its shares of devices.
//!
//! A request is checked whole for every rank it touches, then granted at once: the rows and the meter follow
//! before the node has done it. A node that cannot says so, and that rank goes back to what it had.

use super::admit::{check_limits, check_shape};
use super::change::{Handled, Out};
use super::job::{Gang, HeldDevice, Limits, State, Task};
use super::refusal::Refusal;
use super::room::{held_of, over_limit};
use super::{Engine, GangRows};
use crate::event::{DeviceGrant, Effect, Target};
use crate::ids::{GangId, TaskId};
use crate::model::{DeviceChange, DeviceRequest, JobSpec, Resources, Shape};
use crate::plan::Dimension;
use crate::queue::{Amounts, device_grant};
use crate::snapshot::{NodeOrd, QueueOrd};
use crate::units::{Bytes, Thousandths};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a rank has: amounts, devices, and what those count as.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub limits: Limits,
    pub devices: Vec<(DeviceGrant, HeldDevice)>,
}

impl Grant {
    fn of(task: &Task) -> Self {
        Self {
            limits: task.limits,
            devices: task.devices.iter().copied().zip(task.held.iter().copied()).collect(),
        }
    }
}

/// What running ranks would get beyond what they have.
#[derive(Default)]
struct Growth {
    nodes: BTreeMap<NodeOrd, Resources>,
    devices: BTreeMap<(NodeOrd, u32), (Thousandths, Bytes)>,
    total: Amounts,
}

/// A resize of a gang that has a place, from when its nodes are told until they have answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resizing {
    /// What replaced the amounts and terms of its job before.
    before: Option<(Option<Limits>, Vec<DeviceChange>)>,
    /// Why a node did not do the last one.
    pub refused: Option<String>,
}

impl Resizing {
    /// Whether a node has not answered yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.before.is_some()
    }
}

impl Gang {
    /// What each of its tasks needs: the job's shapes, with the amounts and terms of a resize.
    #[must_use]
    pub fn shapes<'a>(&self, spec: &'a JobSpec) -> Cow<'a, [Shape]> {
        if self.resized.is_none() && self.resized_devices.is_empty() {
            return Cow::Borrowed(&spec.shapes);
        }
        Self::shapes_as(spec, self.resized, &self.resized_devices).into()
    }

    pub(super) fn shapes_as(spec: &JobSpec, limits: Option<Limits>, changes: &[DeviceChange]) -> Vec<Shape> {
        let mut shapes = spec.shapes.to_vec();
        for shape in &mut shapes {
            if let Some(limits) = limits {
                shape.request = limits.request;
                shape.burst = limits.burst;
            }
            for request in &mut shape.devices {
                changes.iter().for_each(|change| request.change(change));
            }
        }
        shapes
    }
}

impl Engine {
    /// Changes what waiting and running gangs have; all of them, or none.
    pub(super) fn resize(
        &mut self,
        target: Target,
        limits: Limits,
        changes: &[DeviceChange],
        out: &mut Out,
    ) -> Handled<()> {
        check_limits(&limits.request, &limits.burst)?;
        let gangs = self.targeted_alive(target)?;
        if gangs.iter().any(|id| self.state(*id) == Some(State::Stopping)) {
            return Err(Refusal::Stopping(target.job));
        }
        let mut growth = Growth::default();
        let mut plans = Vec::new();
        for id in gangs {
            let wish = self.wish(id, limits, changes)?;
            let ranks = self.regrant(id, &wish.shapes, &mut growth);
            plans.push((id, wish, ranks));
        }
        self.room_to_grow(target, &growth)?;
        for (id, wish, ranks) in plans {
            self.resize_gang(id, wish, ranks, out);
        }
        Ok(())
    }

    /// What a gang would ask for.
    fn wish(&self, id: GangId, limits: Limits, changes: &[DeviceChange]) -> Handled<Wish> {
        let unknown = || Refusal::UnknownJob(id.job);
        let job = self.jobs.get(&id.job).ok_or_else(unknown)?;
        let gang = job.gang(id.index).ok_or_else(unknown)?;
        let mut all = gang.resized_devices.to_vec();
        for change in changes {
            match all.iter_mut().find(|known| known.kind == change.kind) {
                Some(known) => *known = known.then(change),
                None => all.push(*change),
            }
        }
        let shapes = Gang::shapes_as(&job.spec, Some(limits), &all);
        for change in changes {
            let flexible = |request: &DeviceRequest| request.kind == change.kind && request.is_flexible();
            if !shapes.iter().any(|shape| shape.devices.iter().any(flexible)) {
                return Err(Refusal::NoShare { job: id.job, kind: change.kind });
            }
        }
        shapes.iter().try_for_each(check_shape)?;
        self.check_memory(&shapes, &job.spec.queue)?;
        Ok(Wish { limits: Some(limits), changes: all, shapes })
    }

    /// What each running rank of a gang would have, and what that is beyond what it has.
    fn regrant(&self, id: GangId, shapes: &[Shape], growth: &mut Growth) -> Vec<(u32, Grant)> {
        let Some(live) = self.gang(id).and_then(Gang::live) else { return Vec::new() };
        let Some(shape) = shapes.get(live.alternative as usize) else { return Vec::new() };
        let limits = Limits { request: shape.request, burst: shape.burst };
        let mut ranks = Vec::new();
        for task in live.tasks.iter().filter(|task| !task.has_ended()) {
            let more = limits.request.minus(task.limits.request);
            let sum = growth.nodes.entry(task.node).or_default();
            *sum = sum.plus(more);
            growth.total = growth.total.plus(&Amounts::of(more));
            let mut grant = Grant { limits, ..Grant::of(task) };
            let rows = &self.rows.snapshot.node(task.node).devices;
            let asked = shape.devices.iter().flat_map(|asked| (0..asked.count).map(move |_| asked));
            for ((old, held), asked) in grant.devices.iter_mut().zip(asked) {
                let Some(row) = rows.get(old.device as usize).filter(|_| asked.is_flexible()) else {
                    continue;
                };
                let (compute, memory) = device_grant(asked, &row.spec);
                let new = held_of(asked, compute, memory, row.spec.memory);
                let sum = growth.devices.entry((task.node, old.device)).or_default();
                *sum = (sum.0.plus(compute.minus(old.compute)), sum.1.plus(memory.minus(old.memory)));
                growth.total.add_device(new.kind, new.share.saturating_sub(held.share));
                *old = DeviceGrant { compute, memory, ..*old };
                *held = new;
            }
            ranks.push((task.rank, grant));
        }
        ranks
    }

    /// Whether every node, device and queue has room for it.
    fn room_to_grow(&self, target: Target, growth: &Growth) -> Handled<()> {
        for (ord, more) in &growth.nodes {
            let row = self.rows.snapshot.node(*ord);
            let free = row.capacity.minus(row.granted);
            let parts = [
                (Dimension::Cpu, free.cpu.0, more.cpu.0),
                (Dimension::Memory, free.memory.0, more.memory.0),
                (Dimension::Disk, free.disk.0, more.disk.0),
            ];
            if let Some((dimension, free, asked)) = parts.into_iter().find(|(_, free, asked)| asked > free) {
                return Err(Refusal::NoRoom { what: format!("node {}", row.name), dimension, free, asked });
            }
        }
        for ((ord, device), (compute, memory)) in &growth.devices {
            let node = self.rows.snapshot.node(*ord);
            let Some(row) = node.devices.get(*device as usize) else { continue };
            let what = || format!("device {device} of node {}", node.name);
            if *compute > row.free_compute {
                let (free, asked) = (row.free_compute.0, compute.0);
                let dimension = Dimension::Device(row.spec.kind);
                return Err(Refusal::NoRoom { what: what(), dimension, free, asked });
            }
            if *memory > row.free_memory {
                let (free, asked) = (row.free_memory.0, memory.0);
                return Err(Refusal::NoRoom { what: what(), dimension: Dimension::Memory, free, asked });
            }
        }
        let gangs = self.jobs.get(&target.job).into_iter().flat_map(|job| &job.gangs);
        let queue = gangs.filter_map(|gang| gang.rows).map(|rows| rows.queue).next();
        match queue.and_then(|queue: QueueOrd| over_limit(self, queue, &growth.total)) {
            Some((ord, dimension, free, asked)) => {
                let path = &self.rows.snapshot.queue(ord).spec.path;
                Err(Refusal::NoRoom { what: format!("queue `{path}`"), dimension, free, asked })
            }
            None => Ok(()),
        }
    }

    fn resize_gang(&mut self, id: GangId, wish: Wish, ranks: Vec<(u32, Grant)>, out: &mut Out) {
        let Some(gang) = self.gang_mut(id) else { return };
        let before = (gang.resized, std::mem::take(&mut gang.resized_devices));
        if let (false, Some(live)) = (ranks.is_empty(), gang.live_mut()) {
            live.resizing.before.get_or_insert(before);
            live.resizing.refused = None;
        }
        let state = gang.state();
        self.wants(id, wish);
        for (rank, grant) in ranks {
            let Some(task) = self.task(id.task(rank)) else { continue };
            let before = Grant::of(task);
            self.regrant_task(id, rank, grant);
            let Some(task) = self.task_mut(id.task(rank)) else { continue };
            if task.limits_before.is_none() {
                task.limits_before = Some(before.limits);
                task.devices_before = before.devices;
            }
            self.tell_resize(id.task(rank), out);
        }
        self.sync_row(id);
        self.wants_plan = true;
        self.note_gang(id, state, "resized", out);
    }

    /// What the gang asks for from now on, in this attempt and the next.
    fn wants(&mut self, id: GangId, wish: Wish) {
        let Some(gang) = self.gang_mut(id) else { return };
        gang.resized = wish.limits;
        gang.resized_devices = wish.changes;
        let Some(rows) = gang.rows else { return };
        let demand = self.rows.intern(wish.shapes.into());
        self.rows.release(rows.demand);
        if let Some(row) = self.rows.gang_mut(rows.gang) {
            row.demand = demand;
        }
        if let Some(gang) = self.gang_mut(id) {
            gang.rows = Some(GangRows { demand, ..rows });
        }
    }

    /// Tells a task's node what the task has now. A squeezed one keeps its smaller CPU limit.
    pub(super) fn tell_resize(&self, id: TaskId, out: &mut Out) {
        let Some(task) = self.task(id) else { return };
        let Limits { mut request, mut burst } = task.limits;
        request.cpu = request.cpu.min(task.cpu_limit);
        burst.cpu = task.cpu_limit;
        out.effects.push(Effect::Resize {
            task: id,
            generation: task.generation,
            request,
            burst,
            devices: task.devices.to_vec(),
            shares: task.held.iter().map(HeldDevice::terms).collect(),
            node: self.node_name(task.node).to_owned(),
        });
    }

    /// Replaces what a task has, in rows and meter.
    fn regrant_task(&mut self, id: GangId, rank: u32, grant: Grant) {
        self.bank(id);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        let Some(gang) = job.gang_mut(id.index) else { return };
        let Some(rows) = gang.rows else { return };
        let Some(live) = gang.live_mut() else { return };
        let Some(task) = live.rank_mut(rank) else { return };
        self.rows.account(task, class, rows.queue, false);
        let Limits { request, burst } = grant.limits;
        let squeezed = task.squeezed_to();
        task.limits = grant.limits;
        task.cpu_limit = squeezed.map_or(burst.cpu, |limit| limit.min(burst.cpu));
        let (devices, held): (Vec<DeviceGrant>, Vec<HeldDevice>) = grant.devices.into_iter().unzip();
        (task.devices, task.held) = (devices.into(), held);
        self.rows.account(task, class, rows.queue, true);
        self.meter.resize(self.now, id.task(rank), request, &task.devices);
        self.recount_task(id.task(rank));
    }

    /// A resize took effect, or the old amounts and terms stay.
    pub(super) fn was_resized(&mut self, id: TaskId, refused: Option<String>, out: &mut Out) {
        let Some(task) = self.task_mut(id) else { return };
        let Some(limits) = task.limits_before.take() else { return };
        let devices = std::mem::take(&mut task.devices_before);
        let Some(live) = self.gang_mut(id.gang).and_then(Gang::live_mut) else { return };
        let Some(why) = refused else {
            if live.tasks.iter().all(|task| task.limits_before.is_none()) {
                live.resizing.before = None;
            }
            return;
        };
        let before = live.resizing.before.take();
        live.resizing.refused = Some(why.clone());
        self.regrant_task(id.gang, id.rank, Grant { limits, devices });
        // The next attempt is not to fail by what this one could not have.
        if let (Some((limits, changes)), Some(job)) = (before, self.jobs.get(&id.gang.job)) {
            let shapes = Gang::shapes_as(&job.spec, limits, &changes);
            self.wants(id.gang, Wish { limits, changes, shapes });
        }
        let Some(gang) = self.gang_mut(id.gang) else { return };
        let state: State = gang.state();
        self.sync_row(id.gang);
        self.wants_plan = true;
        self.note_gang(id.gang, state, format!("rank {} keeps its old limits: {why}", id.rank), out);
    }
}

/// What a gang asks for from now on.
struct Wish {
    limits: Option<Limits>,
    changes: Vec<DeviceChange>,
    shapes: Vec<Shape>,
}
