//! Amounts of CPU, memory and disk, and what one task asks of a machine and its devices.

use crate::model::DeviceKind;
use crate::units::{Bytes, MilliCpu, Thousandths};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// CPU, memory and disk of one task or one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// CPU time per second.
    pub cpu: MilliCpu,
    /// Memory, page cache of the task included.
    pub memory: Bytes,
    /// The writable layer.
    pub disk: Bytes,
}

impl Resources {
    /// Nothing of anything.
    pub const ZERO: Self = Self { cpu: MilliCpu::ZERO, memory: Bytes::ZERO, disk: Bytes::ZERO };

    /// Sum, part by part.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.plus(other.cpu),
            memory: self.memory.plus(other.memory),
            disk: self.disk.plus(other.disk),
        }
    }
    /// Difference, part by part, floored at zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.minus(other.cpu),
            memory: self.memory.minus(other.memory),
            disk: self.disk.minus(other.disk),
        }
    }
    /// Product with a count, part by part.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self { cpu: self.cpu.times(count), memory: self.memory.times(count), disk: self.disk.times(count) }
    }
    /// Whether every part fits into `room`.
    #[must_use]
    pub fn fits(&self, room: &Self) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory && self.disk <= room.disk
    }
}

/// How a device is divided between tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareMode {
    /// One task has the whole device.
    #[default]
    Exclusive,
    /// A hardware partition.
    Space,
    /// A fraction of the device's time and memory, kept by the node.
    Time,
    /// Such a fraction on a device where nobody keeps anybody to it: counted and billed, not enforced. Never beside
    /// shares that are kept.
    Advisory,
}

/// What a share may have of a device beyond what it is guaranteed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slack {
    /// The most of the device's time, when others leave it unused; at least the guaranteed part. Absent: no more than
    /// guaranteed; all that is left for a share that is guaranteed none.
    pub compute: Option<Thousandths>,
    /// The most memory, at least the guaranteed part. Absent: no more than guaranteed.
    pub memory: Option<Bytes>,
    /// Its part of the time that others leave, against the weights of theirs. 0 counts as 1.
    pub weight: u32,
}

/// On what terms a task has a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareTerms {
    /// How the device is divided.
    pub mode: ShareMode,
    /// What it may have beyond what was granted.
    pub slack: Slack,
}

/// New terms of the shares that a job has of one kind of device. What is absent stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceChange {
    /// Of which kind.
    pub kind: DeviceKind,
    /// Guaranteed time. Memory that was in proportion to it stays in proportion.
    pub compute: Option<Thousandths>,
    /// Guaranteed memory.
    pub memory: Option<Bytes>,
    /// The most of either, and the weight.
    pub slack: Slack,
}

impl DeviceChange {
    /// This change, then a later one of the same kind.
    #[must_use]
    pub fn then(self, later: &Self) -> Self {
        Self {
            kind: self.kind,
            compute: later.compute.or(self.compute),
            memory: later.memory.or(self.memory),
            slack: self.slack.then(&later.slack),
        }
    }
}

impl Slack {
    fn then(self, later: &Self) -> Self {
        Self {
            compute: later.compute.or(self.compute),
            memory: later.memory.or(self.memory),
            weight: if later.weight == 0 { self.weight } else { later.weight },
        }
    }
}

/// Some devices of one kind for one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// GPU, FPGA, ...
    pub kind: DeviceKind,
    /// The model by name (`H100`), any when absent. Compared without regard to case, as a word of the device's model name.
    pub model: Option<String>,
    /// How many devices, at least 1; each on a different physical device.
    pub count: u32,
    /// The device must have at least this much memory in all. Zero asks for nothing.
    pub device_memory: Bytes,
    /// How the device may be divided.
    pub mode: ShareMode,
    /// The share of compute on each device; [`Thousandths::WHOLE`] when exclusive.
    pub compute: Thousandths,
    /// The share of memory on each device; zero when exclusive (all of it).
    pub memory: Bytes,
    /// What it may have of each device beyond that.
    #[serde(default)]
    pub slack: Slack,
    /// Of a partition: the profile by its maker's name (`3g.40gb`), without regard to case; absent: the smallest that has
    /// the compute and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl DeviceRequest {
    /// Whether these are shares whose terms can change while they are used.
    #[must_use]
    pub const fn is_flexible(&self) -> bool {
        matches!(self.mode, ShareMode::Time | ShareMode::Advisory)
    }

    /// Takes over a change of its kind. An upper end that is not said anew moves up with the lower one.
    pub fn change(&mut self, change: &DeviceChange) {
        if self.kind != change.kind || !self.is_flexible() {
            return;
        }
        self.compute = change.compute.unwrap_or(self.compute);
        self.memory = change.memory.unwrap_or(self.memory);
        self.slack = self.slack.then(&change.slack);
        self.slack.compute = self.slack.compute.map(|most| most.max(self.compute));
        self.slack.memory = self.slack.memory.map(|most| most.max(self.memory));
    }
}

/// What one task needs: one of the alternatives of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Guaranteed.
    pub request: Resources,
    /// The most the task may use when others leave it unused; each part at least that of `request`.
    pub burst: Resources,
    /// Devices, in the order they were asked for.
    pub devices: Vec<DeviceRequest>,
    /// Labels that the node must carry with exactly these values.
    pub labels: BTreeMap<String, String>,
}

impl Shape {
    /// A shape of CPU and memory only, without burst.
    #[must_use]
    pub fn new(request: Resources) -> Self {
        Self { request, burst: request, devices: Vec::new(), labels: BTreeMap::new() }
    }
}
