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
//! CPU use is read from counters: microseconds of CPU time are thousandths of a core × milliseconds, exactly. So is
//! the time of a device where a share of it is measured. Memory and disk count as used what the last sample saw.
//! A device whose use nobody measures counts as used while its task runs.
//!
//! A node that shrank below what it had granted counts as large as its grants until they end.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp
)]

mod bill;
mod books;
mod gauge;
mod kinds;
#[cfg(test)]
mod tests;

pub(crate) use bill::pairs;
pub use bill::{Amount, Bill, Owner};
pub use gauge::{Gauge, Totals};
pub use kinds::Kinds;

use crate::check::Violation;
use crate::event::DeviceGrant;
use crate::ids::{JobId, QueuePath, TaskId, UserName};
use crate::model::{Class, Device, DeviceKind, Resources};
use crate::money::{Ledger, Standing};
use crate::queue::device_share;
use crate::snapshot::NodeOrd;
use crate::units::{Bytes, Thousandths, Timestamp};
use bill::Bills;
use books::Page;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// CPU, memory and disk of a node.
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
    /// Prices, budgets and what is charged.
    #[serde(default)]
    ledger: Ledger,
    /// Tasks that have not said how much CPU they used of the ledger's period before.
    #[serde(default)]
    carrying: u64,
}

/// Gauges of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NodeMeter {
    gauges: [Gauge; RESOURCES],
    devices: Vec<DeviceMeter>,
    kinds: Vec<(DeviceKind, Bytes)>,
    /// Places of the devices' models in the ledger's list.
    #[serde(default)]
    models: Vec<u32>,
    /// Sums at the beginning of the ledger's period, of the gauges and of each device's compute.
    #[serde(default)]
    marks: Vec<Totals>,
}

impl NodeMeter {
    fn memory_of(&self, device: u32) -> Bytes {
        let at = usize::try_from(device).unwrap_or(usize::MAX);
        self.kinds.get(at).map_or(Bytes::ZERO, |(_, memory)| *memory)
    }

    /// What a grant is billed as.
    fn share_of(&self, grant: &DeviceGrant) -> Option<(DeviceKind, u64)> {
        let (kind, memory) = *self.kinds.get(usize::try_from(grant.device).ok()?)?;
        Some((kind, device_share(grant.compute, grant.memory, memory)))
    }

    /// The place of its model in the ledger's list.
    fn model_of(&self, grant: &DeviceGrant) -> Option<u32> {
        self.models.get(usize::try_from(grant.device).ok()?).copied()
    }

    fn gauge(&mut self, line: &Line) -> Option<&mut Gauge> {
        let Some(at) = line.device else { return self.gauges.get_mut(line.at()) };
        let DeviceMeter(compute, memory) = self.devices.get_mut(usize::try_from(at).ok()?)?;
        if line.at() == 0 { Some(compute) } else { memory.as_mut() }
    }

    /// Each gauge that a line stands for, with what is granted and used there.
    fn each(&mut self, line: &Line, mut f: impl FnMut(&mut Gauge, u64, u64)) {
        if let Some(gauge) = self.gauge(line) {
            f(gauge, line.granted, line.using);
        }
        if line.memory == 0 {
            return;
        }
        let device = line.device.and_then(|at| self.devices.get_mut(usize::try_from(at).ok()?));
        if let Some(memory) = device.and_then(|device| device.1.as_mut()) {
            f(memory, line.memory, if line.using == 0 { 0 } else { line.memory });
        }
    }

    /// Whether a grant is a whole device, so that one line stands for its compute and its memory.
    fn is_whole(&self, grant: &DeviceGrant) -> bool {
        grant.compute == Thousandths::WHOLE && grant.memory == self.memory_of(grant.device)
    }

    /// From now on the device's memory is counted by itself.
    fn part(&mut self, device: u32) {
        let memory = self.memory_of(device);
        let at = usize::try_from(device).unwrap_or(usize::MAX);
        if let Some(meter) = self.devices.get_mut(at) {
            meter.part(memory);
        }
    }
}

/// Compute in thousandths and memory in bytes of one device. Until something else than the whole device is granted, its
/// memory goes where its compute goes, in proportion, and has no gauge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeviceMeter(Gauge, Option<Gauge>);

impl DeviceMeter {
    fn part(&mut self, memory: Bytes) {
        let Self(compute, own) = self;
        own.get_or_insert_with(|| compute.scaled(memory.0));
    }

    /// Both gauges, the device's memory being so large.
    fn both(&self, memory: Bytes) -> [Cow<'_, Gauge>; 2] {
        let own = self.1.as_ref();
        [Cow::Borrowed(&self.0), own.map_or_else(|| Cow::Owned(self.0.scaled(memory.0)), Cow::Borrowed)]
    }

    fn each(&self) -> impl Iterator<Item = &Gauge> {
        std::iter::once(&self.0).chain(self.1.as_ref())
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Gauge> {
        std::iter::once(&mut self.0).chain(self.1.as_mut())
    }
}

/// One dimension of one task's grant, or a whole device. A task with eight devices has eleven: 64 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    dimension: u8,
    device: Option<u32>,
    /// Granted, in units.
    granted: u64,
    /// Used now, in units; not for CPU, which is counted.
    using: u64,
    /// Granted and not yet told apart (CPU since the last sample), in unit × milliseconds.
    unsplit: u128,
    /// Of a device: samples tell its use.
    #[serde(default)]
    measured: bool,
    /// Of the compute of a whole device: its memory, which the line stands for as well, in bytes.
    #[serde(default)]
    memory: u64,
}

impl Line {
    /// Its place among the gauges of its node or device.
    fn at(&self) -> usize {
        usize::from(self.dimension)
    }

    /// Whether its use is read from a counter, and known only with the next sample.
    fn is_counted(&self) -> bool {
        match self.device {
            None => self.at() == CPU,
            Some(_) => self.measured && self.dimension == 0,
        }
    }
}

/// A measured share since its last sample, for its bill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    device: u32,
    /// Memory of the whole device.
    whole: Bytes,
    /// What it counts for × time, in thousandths × milliseconds.
    granted: u128,
    /// Memory in use × time, in thousandths of the device × milliseconds.
    held: u128,
    /// Of what was granted, what the ledger has in its present period and does not know yet whether it was used.
    #[serde(default)]
    untold: u128,
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
    /// The measured ones of them, by their place among all.
    #[serde(default)]
    open: BTreeMap<usize, Open>,
    running: bool,
    frozen: bool,
    paused: bool,
    settled: Timestamp,
    /// Billed in this attempt: credited when the work is lost by the pool's doing.
    attempt: Bill,
    /// Places of the devices' models in the ledger's list, in the order of `shares`.
    #[serde(default)]
    models: Vec<u32>,
    /// What the ledger says of the CPU that was not told apart yet.
    #[serde(default)]
    told: books::Told,
    /// What this attempt cost by the ledger's prices, by resource.
    #[serde(default)]
    cost: BTreeMap<u32, u128>,
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
            meter.devices.push(DeviceMeter::default());
        }
        for (at, device) in meter.devices.iter_mut().enumerate() {
            let memory = devices.get(at).map_or(Bytes::ZERO, |device| device.memory);
            if let Some((_, before)) = meter.kinds.get(at).filter(|(_, before)| *before != memory) {
                device.part(*before);
            }
            let DeviceMeter(compute, own) = device;
            compute.set_capacity(now, if at < devices.len() { 1000 } else { 0 });
            if let Some(own) = own {
                own.set_capacity(now, memory.0);
            }
        }
        meter.kinds = devices.iter().map(|device| (device.kind, device.memory)).collect();
        meter.models.clear();
        if self.ledger.is_on() {
            let place = |device: &Device| self.ledger.place(device.kind, &device.model);
            let models = devices.iter().map(place).collect();
            self.nodes[at].models = models;
        }
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
        for (at, device) in meter.devices.iter_mut().enumerate() {
            for gauge in device.each_mut() {
                gauge.set_up(now, up && healthy(at));
            }
        }
    }

    /// A place is set aside for a task that does not run yet.
    ///
    /// `measured`: of which device, by its place among them, samples tell the use.
    pub(crate) fn hold(
        &mut self,
        now: Timestamp,
        hold: &Hold<'_>,
        measured: impl Fn(usize, &DeviceGrant) -> bool,
    ) {
        self.bills.open(hold.task.gang.job, hold.class, hold.queue, hold.user);
        let cpu = if hold.class == Class::Spare { 0 } else { hold.request.cpu.0 };
        let line = |dimension: u8, granted| Line { dimension, granted, ..Line::default() };
        let devices = hold.devices.len();
        let mut lines = Vec::with_capacity(devices.saturating_add(RESOURCES));
        lines.extend([line(0, cpu), line(1, hold.request.memory.0), line(2, hold.request.disk.0)]);
        let Some(meter) = self.node_mut(hold.node) else { return };
        let (mut shares, mut models) =
            (Vec::with_capacity(devices), Vec::with_capacity(meter.models.len().min(devices)));
        let mut open = BTreeMap::new();
        for (at, grant) in hold.devices.iter().enumerate() {
            let measured = measured(at, grant);
            let Some(share) = meter.share_of(grant) else { continue };
            let line = |dimension: u8, granted| Line {
                device: Some(grant.device),
                measured,
                ..line(dimension, granted)
            };
            if !measured && meter.is_whole(grant) {
                lines.push(Line { memory: grant.memory.0, ..line(0, grant.compute.0) });
            } else {
                meter.part(grant.device);
                lines.push(line(0, grant.compute.0));
                lines.push(line(1, grant.memory.0));
            }
            if measured {
                let whole = meter.memory_of(grant.device);
                open.insert(shares.len(), Open { device: grant.device, whole, ..Open::default() });
            }
            shares.push(share);
            models.extend(meter.model_of(grant));
        }
        for line in &lines {
            meter.each(line, |gauge, granted, _| gauge.plan(now, granted, true));
        }
        let task = TaskMeter {
            job: hold.task.gang.job,
            class: hold.class,
            node: hold.node,
            lines,
            shares,
            open,
            running: false,
            frozen: false,
            paused: false,
            settled: now,
            attempt: Bill::default(),
            models,
            told: books::Told::default(),
            cost: BTreeMap::new(),
        };
        self.tasks.insert(hold.task, Box::new(task));
    }

    /// A task runs.
    pub(crate) fn run(&mut self, now: Timestamp, task: TaskId) {
        self.change(now, task, |task, meter, _| {
            if task.running {
                return;
            }
            task.running = true;
            task.told.since = now;
            for line in &task.lines {
                meter.each(line, |gauge, granted, _| {
                    gauge.plan(now, granted, false);
                    gauge.grant(now, granted, true);
                });
            }
            task.use_devices();
        });
    }

    /// A task is frozen or thawed; by a user (`paused`), by the pool, or both.
    pub(crate) fn freeze(&mut self, now: Timestamp, task: TaskId, paused: bool, frozen: bool) {
        self.change(now, task, |task, _, _| {
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
        self.change(now, task, |task, meter, _| {
            task.part_devices(meter);
            let cpu = if task.class == Class::Spare { 0 } else { request.cpu.0 };
            let resources = [cpu, request.memory.0, request.disk.0].into_iter();
            let amounts = resources.chain(devices.iter().flat_map(|grant| [grant.compute.0, grant.memory.0]));
            let kinds = devices.iter().filter_map(|grant| meter.share_of(grant));
            task.shares = kinds.collect();
            task.models = devices.iter().filter_map(|grant| meter.model_of(grant)).collect();
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
        self.change(now, task, |task, meter, page| {
            task.split_cpu(meter, u128::from(cpu_us), page);
            for (line, using) in task.lines.iter_mut().zip([0, memory.0, disk.0]) {
                line.using = using;
            }
        });
        self.close_when_told();
    }

    /// A sample of measured shares: ordinal, time used since the sample before in microseconds, memory now.
    pub(crate) fn sample_devices(&mut self, now: Timestamp, task: TaskId, used: &[(u32, u64, Bytes)]) {
        self.change(now, task, |task, meter, page| {
            for (device, busy_us, memory) in used {
                task.split_device(meter, *device, Some(u128::from(*busy_us)), page);
                let lines =
                    task.lines.iter_mut().filter(|line| line.device == Some(*device) && line.measured);
                for line in lines.filter(|line| !line.is_counted()) {
                    line.using = memory.0;
                }
            }
        });
    }

    /// A task's place is free again. `lost`: its work is lost by the pool's doing.
    pub(crate) fn free(&mut self, now: Timestamp, id: TaskId, lost: bool) {
        self.change(now, id, |task, meter, page| {
            task.split_cpu(meter, 0, page);
            let measured: Vec<u32> = task.open.values().map(|open| open.device).collect();
            for device in measured {
                task.split_device(meter, device, None, page);
            }
            let running = task.running;
            for line in &task.lines {
                meter.each(line, |gauge, granted, _| {
                    if running {
                        gauge.grant(now, granted, false);
                    } else {
                        gauge.plan(now, granted, false);
                    }
                });
            }
        });
        if let Some(task) = self.tasks.remove(&id).filter(|_| lost) {
            self.bills.credit(task.job, &task.attempt, &task.cost);
        }
        self.close_when_told();
    }

    /// Forgets the bill of a job; its queue's and user's keep it.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.bills.forget(job);
    }

    fn node_mut(&mut self, node: NodeOrd) -> Option<&mut NodeMeter> {
        self.nodes.get_mut(usize::try_from(node.0).ok()?)
    }

    /// Brings a task up to now, changes it, and bills what both add.
    fn change(
        &mut self,
        now: Timestamp,
        id: TaskId,
        change: impl FnOnce(&mut TaskMeter, &mut NodeMeter, &mut Page),
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Ok(at) = usize::try_from(task.node.0) else { return };
        let Some(meter) = self.nodes.get_mut(at) else { return };
        let mut page = Page::new(self.ledger.is_on());
        task.settle(now, meter, &mut page);
        change(task, meter, &mut page);
        if page.told {
            self.carrying = self.carrying.saturating_sub(1);
        }
        if !page.billed.is_nothing() {
            task.attempt.add(&page.billed);
            self.bills.charge(task.job, &page.billed);
        }
        if !page.books.is_empty() {
            self.bills.book(&self.ledger, task.job, &mut page.books, &mut task.cost);
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

    /// What a job has cost up to the last event about it; nothing when it never ran or was archived.
    #[must_use]
    pub fn cost_of(&self, job: JobId) -> Option<Standing> {
        self.bills.standing(&self.ledger, job)
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
        let devices = meter.into_iter().flat_map(|meter| {
            meter.devices.iter().zip(0..).map(|(device, at)| device.both(meter.memory_of(at)))
        });
        devices.map(|gauges| gauges.map(|gauge| gauge.totals(now))).collect()
    }

    /// Whether the identities hold at this moment, everywhere.
    #[must_use]
    pub fn check(&self, now: Timestamp) -> Vec<Violation> {
        let mut found = Vec::new();
        for (at, meter) in self.nodes.iter().enumerate() {
            let devices = meter.devices.iter().flat_map(DeviceMeter::each);
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
                let beside = span.saturating_mul(u128::from(line.memory));
                for (at, here) in [(line.at(), here), (1, beside)] {
                    let sum = open.entry((task.node, line.device, at)).or_default();
                    *sum = sum.saturating_add(here);
                }
            }
        }
        for (at, meter) in self.nodes.iter().enumerate() {
            let node = NodeOrd(u32::try_from(at).unwrap_or(u32::MAX));
            let resources = meter.gauges.iter().enumerate().map(|(line, gauge)| ((node, None, line), gauge));
            let devices = meter.devices.iter().zip(0_u32..).flat_map(|(meter, device)| {
                meter.each().enumerate().map(move |(line, gauge)| ((node, Some(device), line), gauge))
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
        for line in self.lines.iter_mut().filter(|line| line.device.is_some() && !line.measured) {
            line.using = if still { 0 } else { line.granted };
        }
    }

    /// Lines of whole devices become a line for their compute and one for their memory.
    fn part_devices(&mut self, meter: &mut NodeMeter) {
        for at in (0..self.lines.len()).rev() {
            let Some(line) = self.lines.get_mut(at).filter(|line| line.memory > 0) else { continue };
            let granted = std::mem::take(&mut line.memory);
            let using = if line.using == 0 { 0 } else { granted };
            let memory = Line { dimension: 1, device: line.device, granted, using, ..Line::default() };
            if let Some(device) = line.device {
                meter.part(device);
            }
            self.lines.insert(at.saturating_add(1), memory);
        }
    }

    /// Splits what was granted since the last time into used and waste; CPU waits for its sample.
    fn settle(&mut self, now: Timestamp, meter: &mut NodeMeter, page: &mut Page) {
        let span = now.since(self.settled);
        let from = std::mem::replace(&mut self.settled, now);
        if !self.running {
            return;
        }
        for line in &mut self.lines {
            if line.is_counted() {
                let granted = gauge::over(span, line.granted);
                line.unsplit = line.unsplit.saturating_add(granted);
                if let Some(gauge) = meter.gauge(line) {
                    gauge.close(from, now, line.granted);
                    gauge.unsplit(granted, true);
                }
                if line.device.is_none() {
                    bill::granted_cpu(&mut page.billed, self.class, self.paused, granted);
                    page.granted_cpu(self.class, self.paused, granted);
                }
                continue;
            }
            meter.each(line, |gauge, granted, using| {
                gauge.close(from, now, granted);
                let (granted, used) = (gauge::over(span, granted), gauge::over(span, using));
                let within = used.min(granted);
                gauge.split(within, granted.wrapping_sub(within), used.wrapping_sub(within));
            });
            if line.device.is_none() {
                let (granted, used) = (gauge::over(span, line.granted), gauge::over(span, line.using));
                let split = bill::Split { granted, used, burst: used.saturating_sub(granted) };
                bill::measured(&mut page.billed, self.class, self.paused, line.at() == MEMORY, split);
                page.measured(self.class, self.paused, line.at(), split);
            }
        }
        let still = self.is_still();
        for (at, (kind, share)) in self.shares.iter().enumerate() {
            let granted = gauge::over(span, *share);
            let split = bill::Split { granted, used: if still { 0 } else { granted }, burst: 0 };
            let open = self.open.get_mut(&at);
            let Some(open) = open else {
                if let Some(place) = self.models.get(at) {
                    page.device(self.class, self.paused, *place, split);
                }
                bill::device(&mut page.billed, self.class, self.paused, *kind, split);
                continue;
            };
            bill::granted_device(&mut page.billed, self.class, self.paused, *kind, granted);
            if let Some(place) = self.models.get(at) {
                let booked = page.granted_device(self.class, self.paused, *place, granted);
                open.untold = open.untold.saturating_add(booked);
            }
            let memory =
                self.lines.iter().find(|line| line.device == Some(open.device) && line.dimension == 1);
            let using = memory.map_or(Bytes::ZERO, |line| Bytes(line.using));
            let part = device_share(Thousandths::ZERO, using, open.whole);
            open.granted = open.granted.saturating_add(granted);
            open.held = open.held.saturating_add(gauge::over(span, part));
        }
    }

    /// Tells the time of a measured share granted since its last sample apart, and bills what was used: the larger of
    /// its time and its memory, where they are more than was granted, or all of it for `spare`. What nobody has told
    /// (`None`) counts as not used, and is not billed.
    fn split_device(&mut self, meter: &mut NodeMeter, device: u32, told: Option<u128>, page: &mut Page) {
        let (used, told) = (told.unwrap_or(0), told.is_some());
        for (at, open) in self.open.iter_mut().filter(|(_, open)| open.device == device) {
            let granted = std::mem::take(&mut open.granted);
            let most = used.max(std::mem::take(&mut open.held));
            let untold = std::mem::take(&mut open.untold);
            let Some((kind, _)) = self.shares.get(*at) else { continue };
            let place = self.models.get(*at).copied();
            if let Some(place) = place {
                // Of a span that the end of a period cuts, the use is divided by what was granted on either side.
                let here = most.saturating_mul(untold).checked_div(granted).unwrap_or(0);
                page.told_device(place, untold, here);
            }
            if told {
                let beyond = bill::used_device(&mut page.billed, self.class, *kind, granted, most);
                if let Some(place) = place {
                    page.used_device(self.class, place, beyond, most.saturating_sub(granted));
                }
            }
        }
        for line in self.lines.iter_mut().filter(|line| line.device == Some(device) && line.is_counted()) {
            let granted = std::mem::take(&mut line.unsplit);
            let Some(gauge) = meter.gauge(line) else { continue };
            let within = used.min(granted);
            gauge.unsplit(granted, false);
            gauge.split(within, granted.saturating_sub(within), used.saturating_sub(within));
        }
    }

    /// The ledger's period ends: what is not known yet of its measured shares counts as used.
    fn count_devices(&mut self, page: &mut Page) {
        for (at, open) in &mut self.open {
            let untold = std::mem::take(&mut open.untold);
            if let Some(place) = self.models.get(*at) {
                page.told_device(*place, untold, untold);
            }
        }
    }

    /// Tells the CPU granted since the last sample apart into used and waste.
    fn split_cpu(&mut self, meter: &mut NodeMeter, used: u128, page: &mut Page) {
        let told =
            std::mem::replace(&mut self.told, books::Told { since: self.settled, ..books::Told::default() });
        page.told = told.until.is_some();
        let Some(line) = self.lines.first_mut() else { return };
        let granted = std::mem::take(&mut line.unsplit);
        let Some(gauge) = meter.gauge(line) else { return };
        gauge.unsplit(granted, false);
        for part in told.parts(self.settled, used, granted) {
            let within = part.used.min(part.granted);
            let burst = part.used.saturating_sub(within);
            let waste = part.granted.saturating_sub(within);
            gauge.split(within, waste, burst);
            bill::burst_cpu(&mut page.billed, self.class, burst);
            page.split_cpu(self.class, part.late, [within, waste, burst]);
        }
    }
}
