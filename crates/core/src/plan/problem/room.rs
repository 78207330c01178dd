//! What is free on the nodes: signed amounts in arenas, a fit test, and an undo log for trial placements.
//!
//! Amounts are signed because reservations and releases are added to one state in any order; a
//! negative part means "promised more than is there now" and fits nothing.

use super::bits::word_ones;
use super::close::{closest, is_joined};
use super::shape::{Compiled, Slot, signed};
use crate::event::DeviceGrant;
use crate::model::{Link, ShareMode};
use crate::partition::{Occupied, Reach};
use crate::snapshot::{NodeRow, NodeState};
use crate::units::{Bytes, Thousandths, scaled};
use std::sync::Arc;

/// Free amounts of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Free {
    /// CPU not granted, in thousandths of a core.
    pub cpu: i64,
    /// Memory not granted.
    pub memory: i64,
    /// Disk not granted.
    pub disk: i64,
    /// CPU that may be lent to `spare` tasks.
    pub lend: i64,
}

/// Free part of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFree {
    /// Thousandths of compute.
    pub compute: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// How its tasks share it; `None` when it has none.
    pub mode: Option<ShareMode>,
    /// Parts of its hardware that are taken.
    pub parts: Occupied,
}

/// What does not change of a device while a plan is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceFacts {
    /// Interned model.
    pub model: u32,
    /// Whole memory.
    pub memory: i64,
    /// Whether it may be granted at all.
    pub healthy: bool,
    /// Ways of dividing it.
    pub modes: [bool; 4],
    /// NUMA node, or the largest number.
    pub numa: u32,
    /// How it can be cut.
    pub reach: Option<Arc<Reach>>,
    /// How it is joined to each device before it on its node; empty: not known.
    pub links: Arc<[Link]>,
}

const fn mode_at(mode: ShareMode) -> usize {
    match mode {
        ShareMode::Exclusive => 0,
        ShareMode::Space => 1,
        ShareMode::Time => 2,
        ShareMode::Advisory => 3,
    }
}

impl DeviceFacts {
    /// From a row of the snapshot.
    pub fn new(row: &crate::snapshot::DeviceRow, model: u32, reach: Option<&Arc<Reach>>) -> Self {
        let mut modes = [false; 4];
        for mode in &row.spec.modes {
            modes[mode_at(*mode)] = true;
        }
        Self {
            model,
            memory: signed(row.spec.memory.0),
            healthy: row.healthy,
            modes,
            numa: row.spec.numa.unwrap_or(u32::MAX),
            reach: reach.cloned(),
            links: Arc::clone(&row.spec.traits.links),
        }
    }

    /// Whether the device could ever please the slot, healthy or not.
    pub fn right_model(&self, slot: &Slot) -> bool {
        slot.models.get(self.model as usize).copied().unwrap_or(false)
    }

    /// Whether it may be divided that way.
    pub fn divides(&self, slot: &Slot) -> bool {
        self.modes[mode_at(slot.mode)]
    }

    /// Whether it is given out in parts of its hardware.
    pub fn is_cut(&self) -> bool {
        self.modes[mode_at(ShareMode::Space)]
    }

    /// How it is cut for a slot that asks for a partition, and the profile that answers.
    pub fn cut(&self, slot: &Slot) -> Option<(&Reach, u8)> {
        let answer = slot.profiles.get(self.model as usize).copied().flatten()?;
        self.reach.as_deref().map(|reach| (reach, answer))
    }

    /// Whether an empty device pleases the slot.
    pub fn pleases(&self, slot: &Slot) -> bool {
        self.healthy
            && self.right_model(slot)
            && self.divides(slot)
            && (slot.mode != ShareMode::Space || self.cut(slot).is_some())
            && slot.memory <= self.memory
            && slot.compute <= 1000
    }

    /// What the slot gets of this device, not of a partition: as in [`device_grant`](crate::queue::device_grant).
    fn memory_for(&self, slot: &Slot) -> i64 {
        match slot.mode {
            ShareMode::Exclusive => self.memory,
            _ if slot.memory > 0 => slot.memory,
            _ => i64::try_from(i128::from(self.memory) * i128::from(slot.compute) / 1000).unwrap_or(i64::MAX),
        }
    }
}

impl DeviceFree {
    /// A device with nothing to give.
    const NOTHING: Self =
        Self { compute: -1, memory: -1, mode: Some(ShareMode::Exclusive), parts: Occupied::NOTHING };

    /// A device nobody uses.
    pub const fn whole(facts: &DeviceFacts) -> Self {
        Self { compute: 1000, memory: facts.memory, mode: None, parts: Occupied::NOTHING }
    }

    /// Whether nobody uses any of it.
    pub const fn is_whole(&self, facts: &DeviceFacts) -> bool {
        self.compute == 1000 && self.memory == facts.memory && self.mode.is_none()
    }

    /// Whether the slot fits what is free.
    pub fn takes(&self, facts: &DeviceFacts, slot: &Slot) -> bool {
        facts.pleases(slot)
            && match slot.mode {
                ShareMode::Exclusive => self.is_whole(facts),
                ShareMode::Space => {
                    let has_place =
                        |(reach, profile): (&Reach, u8)| reach.layout().has_place(self.parts, profile);
                    self.mode.is_none_or(|mode| mode == ShareMode::Space)
                        && facts.cut(slot).is_some_and(has_place)
                }
                mode => {
                    (self.mode.is_none() || self.mode == Some(mode))
                        && slot.compute <= self.compute
                        && facts.memory_for(slot) <= self.memory
                }
            }
    }

    /// Takes or gives back (`sign` 1 or -1) a grant.
    pub fn shift(&mut self, facts: &DeviceFacts, grant: &DeviceGrant, mode: ShareMode, sign: i64) {
        self.compute -= sign * signed(grant.compute.0);
        self.memory -= sign * signed(grant.memory.0);
        if let (Some(part), Some(reach)) = (grant.part, &facts.reach) {
            let layout = reach.layout();
            self.parts =
                if sign > 0 { layout.with(self.parts, part) } else { layout.without(self.parts, part) };
        }
        match sign {
            1 => self.mode = self.mode.or(Some(mode)),
            _ if self.compute == 1000 && self.memory == facts.memory => self.mode = None,
            _ => {}
        }
    }
}

/// The free state of one node, borrowed or copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFree {
    /// CPU, memory, disk.
    pub free: Free,
    /// Devices by ordinal.
    pub devices: Vec<DeviceFree>,
}

impl NodeFree {
    /// Takes a task out.
    pub fn take(&mut self, amounts: [i64; 3], spare: bool, picked: &Picked, facts: &[DeviceFacts]) {
        self.free.shift(amounts[0], amounts[1], amounts[2], spare, 1);
        for (_, grant, mode) in picked {
            let at = grant.device as usize;
            self.devices[at].shift(&facts[at], grant, *mode, 1);
        }
    }
}

/// Whether all slots are those of one request.
pub fn alike(slots: &[Slot]) -> bool {
    slots.iter().all(|slot| slot.request == slots[0].request)
}

/// Whether [`pick_devices`] would find a choice; quicker when all slots are alike.
pub fn can_pick(free: &[DeviceFree], facts: &[DeviceFacts], slots: &[Slot]) -> bool {
    let Some(first) = slots.first() else { return true };
    if alike(slots) {
        return free.iter().zip(facts).filter(|(free, facts)| free.takes(facts, first)).count()
            >= slots.len();
    }
    slots.len() <= free.len() && matched(free, facts, slots, None).is_some()
}

/// Devices picked for one task, in the order of the shape's slots.
pub type Picked = Vec<(u32, DeviceGrant, ShareMode)>;

/// What is wished of a choice of devices beside that it fits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// A device that is preferred to all others: the only one of the task, or of a node that does not say how its devices are joined.
    pub first: Option<u32>,
    /// Devices of the node that the gang has already.
    pub mates: &'a [u32],
    /// So many tasks of the gang that come after this one will find room on the node too; 0 where they ask for parts of devices,
    /// since they may have theirs on the same.
    pub coming: u32,
}

impl Wish<'_> {
    /// Whether the nearest devices are looked for.
    pub fn looks_near(&self, facts: &[DeviceFacts]) -> bool {
        self.first.is_none() && is_joined(facts)
    }
}

/// Picks a device for each slot, each on a different device, or `None`.
///
/// The ones [nearest](super::close) to each other where the node says how they are joined. Else greedy in order of
/// preference with augmenting paths (Kuhn): finds a choice whenever one exists.
/// Preference: the device with least free compute, then memory; then the NUMA node of the device
/// chosen before; then the ordinal.
pub fn pick_devices(free: &[DeviceFree], facts: &[DeviceFacts], slots: &[Slot]) -> Option<Picked> {
    pick_devices_for(free, facts, slots, &Wish::default())
}

/// The same, with more that is wished.
pub fn pick_devices_for(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    wish: &Wish<'_>,
) -> Option<Picked> {
    if slots.is_empty() {
        return Some(Vec::new());
    }
    if slots.len() > free.len() {
        return None;
    }
    if wish.looks_near(facts)
        && let Some(devices) = pick_near(free, facts, slots, wish)
    {
        return Some(granted(free, facts, slots, devices.into_iter().zip(0..)));
    }
    let first = wish.first.map(|device| device as usize);
    if alike(slots) { pick_alike(free, facts, slots, first) } else { matched(free, facts, slots, first) }
}

/// A choice wherever there is one, however the devices are joined.
fn matched(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    first: Option<usize>,
) -> Option<Picked> {
    let mut holder: Vec<Option<usize>> = vec![None; free.len()];
    let mut numa = None;
    for at in 0..slots.len() {
        let mut order: Vec<usize> =
            (0..free.len()).filter(|d| free[*d].takes(&facts[*d], &slots[at])).collect();
        order.sort_by_key(|d| {
            let near = numa == Some(facts[*d].numa);
            (holder[*d].is_some(), first != Some(*d), free[*d].compute, free[*d].memory, !near, *d)
        });
        let mut seen = vec![false; free.len()];
        if !augment(at, &order, &mut holder, &mut seen, free, facts, slots) {
            return None;
        }
        numa = holder.iter().position(|slot| *slot == Some(at)).map(|d| facts[d].numa);
    }
    let held = holder.into_iter().enumerate().filter_map(|(d, slot)| Some((d, slot?)));
    Some(granted(free, facts, slots, held))
}

/// The nearest devices. Who has others of the gang behind it takes its own from what is nearest for them all.
fn pick_near(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    wish: &Wish<'_>,
) -> Option<Vec<usize>> {
    if wish.coming > 0 && alike(slots) {
        let all = vec![slots[0].clone(); slots.len() * (wish.coming as usize + 1)];
        if let Some((_, devices)) = closest(free, facts, &all, wish.mates) {
            let mut left = free.to_vec();
            let others = left.iter_mut().enumerate().filter(|(d, _)| !devices.contains(d));
            others.for_each(|(_, free)| *free = DeviceFree::NOTHING);
            return closest(&left, facts, slots, wish.mates).map(|(_, devices)| devices);
        }
    }
    closest(free, facts, slots, wish.mates).map(|(_, devices)| devices)
}

/// What slots get of the devices that are theirs.
fn granted(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    held: impl Iterator<Item = (usize, usize)>,
) -> Picked {
    let pick = |(d, at): (usize, usize)| {
        let (device, slot) = (u32::try_from(d).unwrap_or(u32::MAX), &slots[at]);
        (slot.request, grant(device, &free[d], &facts[d], slot), slot.mode)
    };
    let mut picked: Picked = held.map(pick).collect();
    picked.sort_by_key(|(request, grant, _)| (*request, grant.device));
    picked
}

/// What a slot is granted of a device that takes it. A partition stands where it is least in others' way.
pub fn grant(device: u32, free: &DeviceFree, facts: &DeviceFacts, slot: &Slot) -> DeviceGrant {
    if slot.mode == ShareMode::Space {
        let part = facts
            .cut(slot)
            .and_then(|(reach, profile)| reach.layout().grant(device, reach.place(free.parts, profile)?));
        return part.unwrap_or(DeviceGrant {
            device,
            compute: Thousandths::ZERO,
            memory: Bytes::ZERO,
            part: None,
        });
    }
    let memory = Bytes(facts.memory_for(slot).unsigned_abs());
    DeviceGrant { device, compute: Thousandths(slot.compute.unsigned_abs()), memory, part: None }
}

/// What [`pick_devices`] picks when any device that pleases one slot pleases all: nobody is in another's way.
fn pick_alike(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    first: Option<usize>,
) -> Option<Picked> {
    let slot = slots.first()?;
    let mut able: Vec<usize> = (0..free.len()).filter(|d| free[*d].takes(&facts[*d], slot)).collect();
    let mut picked: Picked = Vec::with_capacity(slots.len());
    let mut numa = None;
    for _ in slots {
        let place =
            |d: usize| (first != Some(d), free[d].compute, free[d].memory, numa != Some(facts[d].numa), d);
        let best = (0..able.len()).min_by_key(|at| place(able[*at]))?;
        let d = able.swap_remove(best);
        numa = Some(facts[d].numa);
        let device = u32::try_from(d).unwrap_or(u32::MAX);
        picked.push((slot.request, grant(device, &free[d], &facts[d], slot), slot.mode));
    }
    picked.sort_by_key(|(_, grant, _)| grant.device);
    Some(picked)
}

/// What [`pick_devices`] picks of devices that are whole and will do, a bit for each, when slots are alike.
pub fn pick_whole(
    mut able: u64,
    facts: &[DeviceFacts],
    slots: &[Slot],
    first: Option<u32>,
) -> Option<Picked> {
    let to_spare = (able.count_ones() as usize).checked_sub(slots.len())?;
    let mut picked: Picked = Vec::with_capacity(slots.len());
    let mut numa = None;
    for slot in slots {
        let place = |d: &u32| {
            let facts = &facts[*d as usize];
            (first != Some(*d), facts.memory, numa != Some(facts.numa), *d)
        };
        // Where all are taken it does not matter which comes first.
        let device = if to_spare == 0 { able.trailing_zeros() } else { word_ones(able).min_by_key(place)? };
        able &= !(1 << device);
        let facts = &facts[device as usize];
        numa = Some(facts.numa);
        picked.push((slot.request, grant(device, &DeviceFree::whole(facts), facts, slot), slot.mode));
    }
    picked.sort_unstable_by_key(|(_, grant, _)| grant.device);
    Some(picked)
}

fn augment(
    at: usize,
    order: &[usize],
    holder: &mut [Option<usize>],
    seen: &mut [bool],
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
) -> bool {
    for &d in order {
        if std::mem::replace(&mut seen[d], true) {
            continue;
        }
        let moved = match holder[d] {
            None => true,
            Some(other) => {
                let rest: Vec<usize> = (0..free.len())
                    .filter(|e| !seen[*e] && free[*e].takes(&facts[*e], &slots[other]))
                    .collect();
                augment(other, &rest, holder, seen, free, facts, slots)
            }
        };
        if moved {
            holder[d] = Some(at);
            return true;
        }
    }
    false
}

impl Free {
    /// Whether the task's CPU, memory and disk fit; `spare` tasks live on lent CPU.
    pub const fn takes(&self, shape: &Compiled, spare: bool) -> bool {
        let cpu = if spare { self.lend } else { self.cpu };
        shape.cpu <= cpu && shape.memory <= self.memory && shape.disk <= self.disk
    }

    /// Takes (`sign` 1) or gives back (-1) a task.
    ///
    /// CPU of `standard` and `critical` tasks also leaves what may be lent: a task without samples counts with its whole grant.
    pub const fn shift(&mut self, cpu: i64, memory: i64, disk: i64, spare: bool, sign: i64) {
        if !spare {
            self.cpu -= sign * cpu;
        }
        self.lend -= sign * cpu;
        self.memory -= sign * memory;
        self.disk -= sign * disk;
    }

    /// What a node has free now that has this much when empty; nothing unless it takes tasks.
    pub fn of(row: &NodeRow, empty: &Self) -> Self {
        if row.state != NodeState::Ready {
            return Self::default();
        }
        Self {
            cpu: empty.cpu - signed(row.granted.cpu.0),
            memory: empty.memory - signed(row.granted.memory.0),
            disk: empty.disk - signed(row.granted.disk.0),
            lend: empty.lend - signed(row.busy_p95.0.max(row.busy_now.0)) - signed(row.spare_cpu.0),
        }
    }

    /// What a node has free when nothing runs.
    pub fn empty(row: &NodeRow, lend_margin: u64) -> Self {
        let cpu = row.capacity.cpu.0;
        let margin = scaled(cpu, lend_margin, 1000);
        Self {
            cpu: signed(cpu),
            memory: signed(row.capacity.memory.0),
            disk: signed(row.capacity.disk.0),
            lend: signed(cpu) - signed(margin),
        }
    }
}
