//! What is expected to come, ready for comparing: the usual shapes with weights, and what gaps are worth then.

use super::worth::GapWorth;
use crate::model::Shape;
use crate::plan::problem::room::{DeviceFacts, DeviceFree};
use crate::plan::problem::shape::{Models, Slot, compile};
use std::collections::BTreeMap;

/// A usual shape: CPU, one of its devices, how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Usual {
    cpu: i64,
    slot: Option<Slot>,
    count: usize,
    weight: i64,
}

/// What the policies know of what will come.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    usual: Vec<Usual>,
    /// The weights together.
    total: i64,
    gaps: GapWorth,
}

impl Expected {
    /// From a reading of the mix.
    ///
    /// Memory and disk aside, the most frequent shapes until 95 % are covered (Weng et al., ATC 2023). A shape with
    /// several sorts of devices counts with its pickiest.
    pub fn of(reading: &[(Shape, u64)], models: &Models) -> Self {
        let mut shares: BTreeMap<u32, u64> = BTreeMap::new();
        let mut counts: BTreeMap<_, (u64, Usual)> = BTreeMap::new();
        for (shape, weight) in reading {
            let compiled = compile(shape, models);
            let (slot, count) = (compiled.slots.first().cloned(), compiled.slots.len());
            let compute = slot.as_ref().map_or(0, |slot| slot.compute);
            let key = slot.as_ref().map(|slot| (slot.mode, slot.models.clone()));
            if let Some(share) = slot.as_ref().filter(|slot| count == 1 && slot.compute < 1000) {
                *shares.entry(u32::try_from(share.compute).unwrap_or(0)).or_default() += weight;
            }
            let usual = Usual { cpu: compiled.cpu, slot, count, weight: 0 };
            counts.entry((usual.cpu, compute, count, key)).or_insert((0, usual)).0 += weight;
        }
        let total: u64 = counts.values().map(|(weight, _)| weight).sum();
        let mut ranked: Vec<(u64, Usual)> = counts.into_values().rev().collect();
        // Stable: of equally frequent ones the largest come first.
        ranked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let mut covered = 0;
        ranked.retain(|(weight, _)| {
            let wanted = covered * 20 < total * 19;
            covered += if wanted { *weight } else { 0 };
            wanted
        });
        // Below 2^41 by the mix's own bound, so that sums over a node stay below 2^63.
        for (weight, usual) in &mut ranked {
            usual.weight = i64::try_from(*weight).unwrap_or(i64::MAX);
        }
        let shares: Vec<(u32, u64)> = shares.into_iter().collect();
        let usual = ranked.into_iter().map(|(_, usual)| usual).collect();
        Self { usual, total: i64::try_from(covered).unwrap_or(i64::MAX), gaps: GapWorth::of(&shares) }
    }

    /// Thousandths of devices on a node that an expected task, drawn by weight, could not use, times all weight.
    ///
    /// All that is idle for a shape that does not fit or asks for no device; otherwise what is idle on devices
    /// that do not take one of it.
    pub fn fragment(&self, cpu: i64, devices: &[DeviceFree], facts: &[DeviceFacts]) -> i64 {
        let idle_of =
            |free: &DeviceFree, facts: &DeviceFacts| if facts.healthy { free.compute.max(0) } else { 0 };
        let idle: i64 = devices.iter().zip(facts).map(|(free, facts)| idle_of(free, facts)).sum();
        if idle == 0 {
            return 0;
        }
        let unusable = |usual: &Usual| {
            let Some(slot) = usual.slot.as_ref().filter(|_| usual.cpu <= cpu) else { return idle };
            let (mut able, mut lost) = (0, 0);
            for (free, facts) in devices.iter().zip(facts) {
                if free.takes(facts, slot) { able += 1 } else { lost += idle_of(free, facts) }
            }
            if able < usual.count { idle } else { lost }
        };
        self.usual.iter().map(|usual| usual.weight * unusable(usual)).sum()
    }

    /// Steps of so many millionths of a device by which a fragment became less, rounded down.
    pub fn descent(&self, before: i64, after: i64, step: i64) -> i64 {
        let steps =
            (i128::from(before - after) * 1000).div_euclid(i128::from(step) * i128::from(self.total.max(1)));
        i64::try_from(steps).unwrap_or(0)
    }

    /// What a gap loses in worth by a share, in thousandths of a device.
    pub fn loss(&self, gap: i64, share: i64) -> i64 {
        let clamp = |amount: i64| u32::try_from(amount.clamp(0, 1000)).unwrap_or(0);
        i64::from(self.gaps.loss(clamp(gap), clamp(share)))
    }
}
