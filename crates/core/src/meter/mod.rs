//! The meter: where every unit of every machine went, and who pays for it. Exact, in integers.
//!
//! Two identities balance at every moment, per node and per device, in each dimension:
//!
//! ```text
//! capacity = granted + idle + planned + down        (unit × milliseconds)
//! granted  = used_within + waste                    used = used_within + burst
//! ```
//!
//! *planned*: set aside for a task that does not run yet (starting, pulling). *down*: of a node that takes no
//! tasks, or a sick device. *waste*: granted and not used, or not yet known to be. [`Meter::check`] is the
//! named invariant; node totals and task totals are summed along different paths, so that it can fail.
//!
//! CPU use is read from counters: microseconds of CPU time are thousandths of a core × milliseconds, exactly.
//! Memory and disk count as used what the last sample saw. A device counts as used while its task runs:
//! samples do not carry device time yet.
//!
//! A node that shrank below what it had granted counts as large as its grants until they end.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp
)]

mod bill;
mod gauge;
#[cfg(test)]
mod tests;

pub(crate) use bill::pairs;
pub use bill::{Amount, Bill, Owner};
pub use gauge::{Gauge, Totals};

use crate::check::Violation;
use crate::event::DeviceGrant;
use crate::ids::{JobId, QueuePath, TaskId, UserName};
use crate::model::{Class, Device, DeviceKind, Resources};
use crate::queue::device_share;
use crate::snapshot::NodeOrd;
use crate::units::{Bytes, Timestamp};
use bill::Bills;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// CPU, memory and disk of a node; then compute and memory per device.
const RESOURCES: usize = 3;
const CPU: usize = 0;
const MEMORY: usize = 1;
const DISK: usize = 2;

/// What the meter keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    nodes: Vec<NodeMeter>,
    #[serde(with = "pairs")]
    tasks: BTreeMap<TaskId, Box<TaskMeter>>,
    bills: Bills,
}

/// Gauges of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NodeMeter {
    gauges: [Gauge; RESOURCES],
    /// Compute in thousandths, then memory in bytes, per device.
    devices: Vec<[Gauge; 2]>,
    kinds: Vec<(DeviceKind, Bytes)>,
}

impl NodeMeter {
    /// What a grant is billed as.
    fn share_of(&self, grant: &DeviceGrant) -> Option<(DeviceKind, u64)> {
        let (kind, memory) = *self.kinds.get(usize::try_from(grant.device).ok()?)?;
        Some((kind, device_share(grant.compute, grant.memory, memory)))
    }

    fn gauge(&mut self, line: &Line) -> Option<&mut Gauge> {
        match line.device {
            None => self.gauges.get_mut(line.dimension),
            Some(at) => self.devices.get_mut(usize::try_from(at).ok()?)?.get_mut(line.dimension),
        }
    }
}

/// One dimension of one task's grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    dimension: usize,
    device: Option<u32>,
    /// Granted, in units.
    granted: u64,
    /// Used now, in units; not for CPU, which is counted.
    using: u64,
    /// Granted and not yet told apart (CPU since the last sample), in unit × milliseconds.
    unsplit: u128,
}

/// What the meter knows of a task that has a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TaskMeter {
    job: JobId,
    class: Class,
    node: NodeOrd,
    lines: Vec<Line>,
    /// Devices by kind in thousandths, for the bill: max(compute, part of the memory).
    shares: Vec<(DeviceKind, u64)>,
    running: bool,
    frozen: bool,
    paused: bool,
    settled: Timestamp,
    /// Billed in this attempt: credited when the work is lost by the pool's doing.
    attempt: Bill,
}

/// Who a task belongs to and what it was granted where.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// Which task.
    pub task: TaskId,
    /// Its promise.
    pub class: Class,
    /// The queue that is charged.
    pub queue: &'a QueuePath,
    /// Who submitted it.
    pub user: &'a UserName,
    /// Where.
    pub node: NodeOrd,
    /// CPU, memory, disk.
    pub request: Resources,
    /// Devices.
    pub devices: &'a [DeviceGrant],
}

impl Meter {
    /// A node is there, with this capacity from now on.
    pub(crate) fn set_node(
        &mut self,
        now: Timestamp,
        node: NodeOrd,
        capacity: Resources,
        devices: &[Device],
    ) {
        let at = usize::try_from(node.0).unwrap_or(usize::MAX);
        while self.nodes.len() <= at {
            self.nodes.push(NodeMeter::default());
        }
        let Some(meter) = self.nodes.get_mut(at) else { return };
        let amounts = [capacity.cpu.0, capacity.memory.0, capacity.disk.0];
        for (gauge, amount) in meter.gauges.iter_mut().zip(amounts) {
            gauge.set_capacity(now, amount);
        }
        while meter.devices.len() < devices.len() {
            meter.devices.push([Gauge::default(), Gauge::default()]);
        }
        for (at, gauges) in meter.devices.iter_mut().enumerate() {
            let memory = devices.get(at).map_or(0, |device| device.memory.0);
            let compute = if devices.get(at).is_some() { 1000 } else { 0 };
            gauges[0].set_capacity(now, compute);
            gauges[1].set_capacity(now, memory);
        }
        meter.kinds = devices.iter().map(|device| (device.kind, device.memory)).collect();
    }

    /// The node takes tasks from now on, or does not. Sick devices stay down.
    pub(crate) fn set_up(
        &mut self,
        now: Timestamp,
        node: NodeOrd,
        up: bool,
        healthy: impl Fn(usize) -> bool,
    ) {
        let Some(meter) = self.node_mut(node) else { return };
        for gauge in &mut meter.gauges {
            gauge.set_up(now, up);
        }
        for (at, gauges) in meter.devices.iter_mut().enumerate() {
            for gauge in gauges {
                gauge.set_up(now, up && healthy(at));
            }
        }
    }

    /// A place is set aside for a task that does not run yet.
    pub(crate) fn hold(&mut self, now: Timestamp, hold: &Hold<'_>) {
        self.bills.open(hold.task.gang.job, hold.class, hold.queue, hold.user);
        let cpu = if hold.class == Class::Spare { 0 } else { hold.request.cpu.0 };
        let line = |dimension, granted| Line { dimension, granted, ..Line::default() };
        let mut lines =
            vec![line(CPU, cpu), line(MEMORY, hold.request.memory.0), line(DISK, hold.request.disk.0)];
        let Some(meter) = self.node_mut(hold.node) else { return };
        let mut shares = Vec::new();
        for grant in hold.devices {
            let Some(share) = meter.share_of(grant) else { continue };
            lines.push(Line { device: Some(grant.device), ..line(0, grant.compute.0) });
            lines.push(Line { device: Some(grant.device), ..line(1, grant.memory.0) });
            shares.push(share);
        }
        for line in &lines {
            if let Some(gauge) = meter.gauge(line) {
                gauge.plan(now, line.granted, true);
            }
        }
        let task = TaskMeter {
            job: hold.task.gang.job,
            class: hold.class,
            node: hold.node,
            lines,
            shares,
            running: false,
            frozen: false,
            paused: false,
            settled: now,
            attempt: Bill::default(),
        };
        self.tasks.insert(hold.task, Box::new(task));
    }

    /// A task runs.
    pub(crate) fn run(&mut self, now: Timestamp, task: TaskId) {
        self.change(now, task, |task, meter| {
            if task.running {
                return;
            }
            task.running = true;
            for line in &mut task.lines {
                if let Some(gauge) = meter.gauge(line) {
                    gauge.plan(now, line.granted, false);
                    gauge.grant(now, line.granted, true);
                }
            }
            task.use_devices();
        });
    }

    /// A task is frozen or thawed; by a user (`paused`), by the pool, or both.
    pub(crate) fn freeze(&mut self, now: Timestamp, task: TaskId, paused: bool, frozen: bool) {
        self.change(now, task, |task, _| {
            task.paused = paused;
            task.frozen = frozen;
            task.use_devices();
        });
    }

    /// A task's grant changes, on the devices that it has.
    pub(crate) fn resize(
        &mut self,
        now: Timestamp,
        task: TaskId,
        request: Resources,
        devices: &[DeviceGrant],
    ) {
        self.change(now, task, |task, meter| {
            let cpu = if task.class == Class::Spare { 0 } else { request.cpu.0 };
            let resources = [cpu, request.memory.0, request.disk.0].into_iter();
            let amounts = resources.chain(devices.iter().flat_map(|grant| [grant.compute.0, grant.memory.0]));
            let kinds = devices.iter().filter_map(|grant| meter.share_of(grant));
            task.shares = kinds.collect();
            for (line, amount) in task.lines.iter_mut().zip(amounts) {
                if let Some(gauge) = meter.gauge(line) {
                    if task.running {
                        gauge.grant(now, line.granted, false);
                        gauge.grant(now, amount, true);
                    } else {
                        gauge.plan(now, line.granted, false);
                        gauge.plan(now, amount, true);
                    }
                }
                line.granted = amount;
            }
            task.use_devices();
        });
    }

    /// A sample: CPU time since the sample before in microseconds, memory and disk now.
    pub(crate) fn sample(&mut self, now: Timestamp, task: TaskId, cpu_us: u64, memory: Bytes, disk: Bytes) {
        let mut billed = Bill::default();
        self.change(now, task, |task, meter| {
            task.split_cpu(meter, u128::from(cpu_us), &mut billed);
            for (line, using) in task.lines.iter_mut().zip([0, memory.0, disk.0]) {
                line.using = using;
            }
        });
        self.charge(task, &billed);
    }

    /// A task's place is free again. `lost`: its work is lost by the pool's doing.
    pub(crate) fn free(&mut self, now: Timestamp, id: TaskId, lost: bool) {
        self.change(now, id, |task, meter| {
            task.split_cpu(meter, 0, &mut Bill::default());
            for line in &task.lines {
                if let Some(gauge) = meter.gauge(line) {
                    if task.running {
                        gauge.grant(now, line.granted, false);
                    } else {
                        gauge.plan(now, line.granted, false);
                    }
                }
            }
        });
        if let Some(task) = self.tasks.remove(&id).filter(|_| lost) {
            self.bills.credit(task.job, &task.attempt);
        }
    }

    /// Forgets the bill of a job; its queue's and user's keep it.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.bills.forget(job);
    }

    fn node_mut(&mut self, node: NodeOrd) -> Option<&mut NodeMeter> {
        self.nodes.get_mut(usize::try_from(node.0).ok()?)
    }

    /// Brings a task up to now, bills what that adds, then changes it.
    fn change(&mut self, now: Timestamp, id: TaskId, change: impl FnOnce(&mut TaskMeter, &mut NodeMeter)) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Ok(at) = usize::try_from(task.node.0) else { return };
        let Some(meter) = self.nodes.get_mut(at) else { return };
        let mut billed = Bill::default();
        task.settle(now, meter, &mut billed);
        change(task, meter);
        if !billed.is_nothing() {
            self.charge(id, &billed);
        }
    }

    fn charge(&mut self, id: TaskId, billed: &Bill) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.attempt.add(billed);
            self.bills.charge(task.job, billed);
        }
    }

    /// What a job used and pays; nothing when it never ran or was archived.
    #[must_use]
    pub fn of_job(&self, job: JobId) -> Option<&Bill> {
        self.bills.of_job(job)
    }

    /// Of that, what is given back because the pool lost the work.
    #[must_use]
    pub fn credit_of(&self, job: JobId) -> Option<&Bill> {
        self.bills.credit_of(job)
    }

    /// What each user used and pays in each queue, since the pool began.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        self.bills.owners()
    }

    /// CPU, memory and disk of a node up to this moment.
    #[must_use]
    pub fn of_node(&self, now: Timestamp, node: NodeOrd) -> Option<[Totals; RESOURCES]> {
        let meter = self.nodes.get(usize::try_from(node.0).ok()?)?;
        Some(meter.gauges.each_ref().map(|gauge| gauge.totals(now)))
    }

    /// Compute and memory of each device of a node up to this moment.
    #[must_use]
    pub fn of_devices(&self, now: Timestamp, node: NodeOrd) -> Vec<[Totals; 2]> {
        let meter = usize::try_from(node.0).ok().and_then(|at| self.nodes.get(at));
        let devices = meter.into_iter().flat_map(|meter| &meter.devices);
        devices.map(|gauges| gauges.each_ref().map(|gauge| gauge.totals(now))).collect()
    }

    /// Whether the identities hold at this moment, everywhere.
    #[must_use]
    pub fn check(&self, now: Timestamp) -> Vec<Violation> {
        let mut found = Vec::new();
        for (at, meter) in self.nodes.iter().enumerate() {
            let devices = meter.devices.iter().flatten();
            for (line, gauge) in meter.gauges.iter().chain(devices).enumerate() {
                gauge.check(now, &format!("node {at}, line {line}"), &mut found);
            }
        }
        self.check_open(now, &mut found);
        found
    }

    /// Node totals of what tasks have open, against the tasks themselves.
    fn check_open(&self, now: Timestamp, found: &mut Vec<Violation>) {
        let mut open: BTreeMap<(NodeOrd, Option<u32>, usize), u128> = BTreeMap::new();
        for task in self.tasks.values().filter(|task| task.running) {
            let span = u128::from(now.since(task.settled).0);
            for line in &task.lines {
                let here = span.saturating_mul(u128::from(line.granted)).saturating_add(line.unsplit);
                let sum = open.entry((task.node, line.device, line.dimension)).or_default();
                *sum = sum.saturating_add(here);
            }
        }
        for (at, meter) in self.nodes.iter().enumerate() {
            let node = NodeOrd(u32::try_from(at).unwrap_or(u32::MAX));
            let resources = meter.gauges.iter().enumerate().map(|(line, gauge)| ((node, None, line), gauge));
            let devices = meter.devices.iter().zip(0_u32..).flat_map(|(gauges, device)| {
                gauges.iter().enumerate().map(move |(line, gauge)| ((node, Some(device), line), gauge))
            });
            for (key, gauge) in resources.chain(devices) {
                let tasks = open.get(&key).copied().unwrap_or(0);
                let held = gauge.totals(now).open;
                if tasks != held {
                    let detail = format!("{key:?}: tasks have {tasks} open, the node {held}");
                    found.push(Violation { rule: "meter_open", detail });
                }
            }
        }
    }
}

impl TaskMeter {
    const fn is_still(&self) -> bool {
        self.frozen || self.paused
    }

    fn use_devices(&mut self) {
        let still = self.is_still() || !self.running;
        for line in self.lines.iter_mut().filter(|line| line.device.is_some()) {
            line.using = if still { 0 } else { line.granted };
        }
    }

    /// Splits what was granted since the last time into used and waste; CPU waits for its sample.
    fn settle(&mut self, now: Timestamp, meter: &mut NodeMeter, billed: &mut Bill) {
        let span = now.since(self.settled);
        let from = std::mem::replace(&mut self.settled, now);
        if !self.running {
            return;
        }
        for line in &mut self.lines {
            let granted = gauge::over(span, line.granted);
            let Some(gauge) = meter.gauge(line) else { continue };
            gauge.close(from, now, line.granted);
            if line.device.is_none() && line.dimension == CPU {
                line.unsplit = line.unsplit.saturating_add(granted);
                gauge.unsplit(granted, true);
                bill::granted_cpu(billed, self.class, self.paused, granted);
                continue;
            }
            let used = gauge::over(span, line.using);
            let within = used.min(granted);
            let burst = used.saturating_sub(within);
            gauge.split(within, granted.saturating_sub(within), burst);
            if line.device.is_none() {
                let split = bill::Split { granted, used, burst };
                bill::measured(billed, self.class, self.paused, line.dimension == MEMORY, split);
            }
        }
        for (kind, share) in &self.shares {
            let amount = gauge::over(span, *share);
            bill::device(billed, self.class, self.paused, *kind, amount);
        }
    }

    /// Tells the CPU granted since the last sample apart into used and waste.
    fn split_cpu(&mut self, meter: &mut NodeMeter, used: u128, billed: &mut Bill) {
        let Some(line) = self.lines.first_mut() else { return };
        let granted = std::mem::take(&mut line.unsplit);
        let Some(gauge) = meter.gauge(line) else { return };
        let within = used.min(granted);
        let burst = used.saturating_sub(within);
        gauge.unsplit(granted, false);
        gauge.split(within, granted.saturating_sub(within), burst);
        bill::burst_cpu(billed, self.class, burst);
    }
}
