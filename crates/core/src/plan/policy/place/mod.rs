//! Placement policies, one a file. A policy turns what a node has free into a number; the node with the
//! lowest one that passes every hard constraint is taken, ties to the lower ordinal.
//!
//! There are two sorts. *Pack* and *Spread* look at the node alone: a [`score`], by which nodes stand in an index.
//! The others look at the task as well, some at what is expected to come: a [`rate`], kept per shape
//! and node, that also says which device to take. *Topology* packs, and chooses domains for gangs.

mod best_fit;
mod dot_product;
mod expected;
mod fgd;
mod gaps;
mod gpu_clustering;
mod gpu_packing;
mod pack;
mod random;
mod spread;
mod worth;

pub use expected::Expected;

use crate::plan::problem::room::{DeviceFacts, DeviceFree, Free, grant};
use crate::plan::problem::shape::{Compiled, Slot};
use crate::snapshot::PlacementPolicy;

/// What a policy sees of a node.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Free now.
    pub free: &'a Free,
    /// Free when empty.
    pub empty: &'a Free,
    /// Thousandths of healthy devices free now.
    pub devices: i64,
    /// Thousandths of healthy devices when empty.
    pub devices_empty: i64,
}

/// Scores end here; the upper six bits are the level in the node index.
pub const SCORES: u32 = 1 << 16;
/// Bit that keeps nodes with free devices behind those without, for tasks that need none.
const DEVICES_FREE: u32 = SCORES / 2;

/// `part` of `whole`, in 0..=`steps`.
fn fraction(part: i64, whole: i64, steps: u32) -> u32 {
    if whole <= 0 || part <= 0 {
        return 0;
    }
    let scaled = i128::from(part) * i128::from(steps) / i128::from(whole);
    u32::try_from(scaled).unwrap_or(steps).min(steps)
}

impl View<'_> {
    /// Free part of CPU and memory, mean of the two, in 0..=`steps`.
    fn host(&self, steps: u32) -> u32 {
        let cpu = fraction(self.free.cpu, self.empty.cpu, steps);
        let memory = fraction(self.free.memory, self.empty.memory, steps);
        (cpu + memory) / 2
    }
}

/// The score of a node under a policy: lower is taken first; below [`SCORES`].
pub fn score(policy: PlacementPolicy, view: &View<'_>) -> u32 {
    match policy {
        PlacementPolicy::Spread => spread::score(view),
        _ => pack::score(view),
    }
}

/// Whether a policy rates nodes for a task, and is not content with a [`score`].
pub const fn rates(policy: PlacementPolicy) -> bool {
    !matches!(policy, PlacementPolicy::Pack | PlacementPolicy::Spread | PlacementPolicy::Topology)
}

/// What is free on a node, its devices one by one.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// CPU, memory, disk.
    pub free: Free,
    /// Devices by ordinal.
    pub devices: &'a [DeviceFree],
    /// The unchanging side of them.
    pub facts: &'a [DeviceFacts],
}

/// The largest node, by which amounts are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// CPU in thousandths of a core.
    pub cpu: i64,
    /// Thousandths of devices, all together.
    pub devices: i64,
}

/// The task that wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// What it asks for.
    pub shape: &'a Compiled,
    /// The pool's largest node.
    pub largest: Largest,
}

/// What a place costs: lower is taken first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In the policy's own unit.
    pub amount: i64,
    /// The device to take, where the policy cares.
    pub device: Option<u32>,
}

impl From<i64> for Cost {
    fn from(amount: i64) -> Self {
        Self { amount, device: None }
    }
}

impl Room<'_> {
    /// Thousandths free on all healthy devices.
    fn idle(&self) -> i64 {
        self.devices
            .iter()
            .zip(self.facts)
            .filter(|(_, facts)| facts.healthy)
            .map(|(free, _)| free.compute.max(0))
            .sum()
    }

    /// Devices that take the slot, by ordinal.
    fn able<'a>(&'a self, slot: &'a Slot) -> impl Iterator<Item = (u32, &'a DeviceFree)> {
        let takes = |((_, free), facts): &((u32, &DeviceFree), &DeviceFacts)| free.takes(facts, slot);
        (0_u32..).zip(self.devices).zip(self.facts).filter(takes).map(|(device, _)| device)
    }

    /// What would be left of each device: a share goes to `at`, whole ones to the first that are able.
    fn after(&self, shape: &Compiled, at: Option<u32>) -> Vec<DeviceFree> {
        let mut devices = self.devices.to_vec();
        let Some(slot) = shape.slots.first() else { return devices };
        let chosen: Vec<u32> = match at {
            Some(device) => vec![device],
            None => self.able(slot).map(|(device, _)| device).take(shape.slots.len()).collect(),
        };
        for device in chosen {
            let facts = &self.facts[device as usize];
            let free = &mut devices[device as usize];
            let grant = grant(device, free, facts, slot);
            free.shift(facts, &grant, slot.mode, 1);
        }
        devices
    }
}

impl Task<'_> {
    /// Thousandths of devices it asks for.
    fn devices(&self) -> i64 {
        self.shape.slots.iter().map(|slot| slot.compute).sum()
    }

    /// Whether it asks for a part of one device and nothing else of any.
    fn share(&self) -> Option<&Slot> {
        self.shape.slots.first().filter(|slot| self.shape.slots.len() == 1 && slot.compute < 1000)
    }
}

/// The least cost over the devices a share could go to, and the first device that has it. For others there is no choice.
fn least(room: &Room<'_>, task: &Task<'_>, cost: impl Fn(Option<u32>) -> i64) -> Cost {
    let Some(slot) = task.share() else { return cost(None).into() };
    let mut tried: Vec<(i64, i64, u32)> = Vec::new();
    let mut best: Option<Cost> = None;
    for (device, free) in room.able(slot) {
        let alike = (free.compute, free.memory, room.facts[device as usize].model);
        if tried.contains(&alike) {
            continue;
        }
        tried.push(alike);
        let amount = cost(Some(device));
        if best.is_none_or(|best| amount < best.amount) {
            best = Some(Cost { amount, device: Some(device) });
        }
    }
    best.unwrap_or_default()
}

/// What a task costs on a node that it fits on, under a policy that [`rates`].
pub fn rate(
    policy: PlacementPolicy,
    seed: u64,
    node: usize,
    room: &Room<'_>,
    task: &Task<'_>,
    expected: &Expected,
) -> Cost {
    match policy {
        PlacementPolicy::Random => random::cost(seed, node, room),
        PlacementPolicy::BestFit => best_fit::cost(room, task),
        PlacementPolicy::DotProduct => dot_product::cost(room, task),
        PlacementPolicy::GpuClustering => gpu_clustering::cost(room, task),
        PlacementPolicy::GpuPacking => gpu_packing::cost(room, task),
        PlacementPolicy::Fgd => fgd::cost(room, task, expected),
        PlacementPolicy::Gaps => gaps::cost(room, task, expected),
        PlacementPolicy::Pack | PlacementPolicy::Spread | PlacementPolicy::Topology => Cost::default(),
    }
}
