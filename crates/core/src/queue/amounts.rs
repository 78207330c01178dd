//! Amounts of everything that queues count, as a vector.

use crate::event::DeviceGrant;
use crate::model::{Device, DeviceKind, DeviceRequest, QueueLimits, Resources, ShareMode};
use crate::plan::Dimension;
use crate::snapshot::Usage;
use crate::units::{Bytes, Thousandths, scaled, scaled_up};

/// Number of dimensions: CPU, memory, disk, four kinds of device, gangs.
pub const DIMS: usize = 8;
/// Where the number of gangs stands; it is limited and never shared fairly.
pub const RUNNING: usize = 7;

/// One amount per dimension, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts(pub [u64; DIMS]);

/// Where a kind of device stands.
#[must_use]
pub const fn device_at(kind: DeviceKind) -> usize {
    match kind {
        DeviceKind::Gpu => 3,
        DeviceKind::Fpga => 4,
        DeviceKind::Npu => 5,
        DeviceKind::OpenCl => 6,
    }
}

/// The dimension that stands at `at`.
#[must_use]
pub const fn dimension(at: usize) -> Dimension {
    match at {
        0 => Dimension::Cpu,
        1 => Dimension::Memory,
        2 => Dimension::Disk,
        3 => Dimension::Device(DeviceKind::Gpu),
        4 => Dimension::Device(DeviceKind::Fpga),
        5 => Dimension::Device(DeviceKind::Npu),
        6 => Dimension::Device(DeviceKind::OpenCl),
        _ => Dimension::Running,
    }
}

/// Thousandths of a device that a share counts for: the larger of its compute and its part of the memory, rounded up.
#[must_use]
pub fn device_share(compute: Thousandths, memory: Bytes, device_memory: Bytes) -> u64 {
    let part = match device_memory.0 {
        0 => 0,
        whole => scaled_up(memory.0, 1000, whole),
    };
    compute.0.max(part)
}

/// What a task that asks so is granted of one device; nothing where no part of its hardware answers.
///
/// Exclusive: all of it. A partition: what its profile has. A share of compute that says nothing about memory gets memory
/// in proportion, rounded down.
#[must_use]
pub fn device_grant(request: &DeviceRequest, device: &Device) -> (Thousandths, Bytes) {
    let device_memory = device.memory;
    match (request.mode, request.memory) {
        (ShareMode::Exclusive, _) => (Thousandths::WHOLE, device_memory),
        (ShareMode::Space, _) => {
            let answer = device.traits.layout.as_ref().and_then(|layout| {
                layout.answer(request).and_then(|at| layout.profiles.get(usize::from(at)))
            });
            answer.map_or((Thousandths::ZERO, Bytes::ZERO), |profile| (profile.compute, profile.memory))
        }
        (_, Bytes::ZERO) => {
            (request.compute, Bytes(scaled(device_memory.0, request.compute.0.min(1000), 1000)))
        }
        (_, memory) => (request.compute, memory),
    }
}

impl Amounts {
    /// Nothing.
    pub const ZERO: Self = Self([0; DIMS]);

    /// CPU, memory and disk.
    #[must_use]
    pub const fn of(resources: Resources) -> Self {
        Self([resources.cpu.0, resources.memory.0, resources.disk.0, 0, 0, 0, 0, 0])
    }

    /// What a queue uses.
    #[must_use]
    pub fn of_usage(usage: &Usage) -> Self {
        let mut all = Self::of(usage.resources);
        for (kind, amount) in &usage.devices {
            all.add_device(*kind, *amount);
        }
        all.0[RUNNING] = usage.running;
        all
    }

    /// Limits or guarantees; `absent` where nothing is said.
    #[must_use]
    pub fn of_limits(limits: &QueueLimits, absent: u64) -> Self {
        let mut all = Self([absent; DIMS]);
        all.0[0] = limits.cpu.unwrap_or(absent);
        all.0[1] = limits.memory.unwrap_or(absent);
        all.0[2] = limits.disk.unwrap_or(absent);
        for (kind, amount) in &limits.devices {
            all.0[device_at(*kind)] = *amount;
        }
        all.0[RUNNING] = limits.running.unwrap_or(absent);
        all
    }

    /// Adds thousandths of a device.
    pub const fn add_device(&mut self, kind: DeviceKind, thousandths: u64) {
        let at = device_at(kind);
        self.0[at] = self.0[at].saturating_add(thousandths);
    }

    /// Adds what was granted of one device.
    pub fn add_grant(&mut self, kind: DeviceKind, grant: &DeviceGrant, device_memory: Bytes) {
        self.add_device(kind, device_share(grant.compute, grant.memory, device_memory));
    }

    /// What holding them for a millisecond adds to [`Attained::service`](crate::snapshot::Attained): thousandths of devices,
    /// or of cores where there is no device.
    #[must_use]
    pub fn rate(&self) -> u64 {
        match self.0[3..RUNNING].iter().fold(0, |sum: u64, part| sum.saturating_add(*part)) {
            0 => self.0[0],
            devices => devices,
        }
    }

    /// Sum.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
        self
    }

    /// Difference, floored at zero.
    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_sub(theirs);
        }
        self
    }

    /// Product with a count.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        for mine in &mut self.0 {
            *mine = mine.saturating_mul(count);
        }
        self
    }
}
