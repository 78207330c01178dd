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
    /// A fraction of the device's time and memory.
    Time,
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
