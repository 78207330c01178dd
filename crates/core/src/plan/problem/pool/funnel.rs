//! Where a variant's nodes are lost: how many at each constraint, now and in an empty pool.

use super::Pool;
use crate::model::ShareMode;
use crate::plan::problem::profile::{Match, Standing};
use crate::plan::problem::room::DeviceFacts;
use crate::plan::{Constraint, Dimension, Funnel};
use std::collections::BTreeMap;

/// Why a variant does not fit on a node now; 0 when it may.
const FULL: [Dimension; 3] = [Dimension::Cpu, Dimension::Memory, Dimension::Disk];

impl Pool {
    /// Tasks that empty nodes would take, closed nodes included when `closed`; at most `cap`.
    pub fn capacity(&self, variant: usize, closed: bool, cap: u32) -> u32 {
        self.sum(variant, closed, cap, |matching| matching.copies)
    }

    /// Tasks that empty nodes would take if all of their devices were well, closed nodes included; at most `cap`.
    pub fn capacity_if_well(&self, variant: usize, cap: u32) -> u32 {
        self.sum(variant, true, cap, |matching| matching.well)
    }

    fn sum(&self, variant: usize, closed: bool, cap: u32, of: impl Fn(&Match) -> u32) -> u32 {
        let matches = self.variants[variant].matches.iter().zip(&self.profiles).zip(&self.profile_sizes);
        let there = matches.filter(|((_, profile), _)| closed || profile.state == Standing::Ready);
        let copies = there.map(|((matching, _), nodes)| u64::from(of(matching)) * u64::from(*nodes));
        copies.fold(0_u64, u64::saturating_add).min(u64::from(cap)) as u32
    }

    /// Devices that would do for the variant and are not granted for how they are: node and ordinal, in their order.
    pub fn unwell(&self, variant: usize) -> Vec<(usize, u32)> {
        let shape = &self.variants[variant].shape;
        let mut found = Vec::new();
        for node in 0..self.len() {
            let profile = self.profile[node] as usize;
            if self.profiles[profile].state == Standing::Lost
                || self.variants[variant].matches[profile].well == 0
            {
                continue;
            }
            let would_do = |facts: &DeviceFacts| {
                !facts.healthy
                    && shape.slots.iter().any(|slot| facts.right_model(slot) && facts.divides(slot))
            };
            let unwell = self.facts(node).iter().zip(0_u32..).filter(|(facts, _)| would_do(facts));
            found.extend(unwell.map(|(_, at)| (node, at)));
        }
        found
    }

    /// Where the variant's nodes are lost, and how many tasks would fit now (at most `needed`).
    pub fn funnel(&mut self, variant: usize, needed: u32, changed: &[usize]) -> Funnel {
        self.sync(variant);
        for node in changed {
            self.read(variant, *node);
        }
        let mut placeable = 0_u32;
        let mut from = 0;
        while placeable < needed {
            let fit = &self.variants[variant].fit;
            let Some(node) = fit.common_from(fit, None, from) else { break };
            placeable += self.copies(variant, node, needed - placeable);
            from = node + 1;
        }
        let mut removed = self.removed(variant);
        let v = &self.variants[variant];
        for (code, dimension) in FULL.iter().enumerate() {
            removed.insert((6, Constraint::TooFull(*dimension)), v.counts[code + 1]);
        }
        if let Some(slot) = v.shape.slots.first() {
            let full = match slot.mode {
                ShareMode::Space => Constraint::NoPlace(slot.kind, slot.wanted.clone()),
                _ => Constraint::TooFull(Dimension::Device(slot.kind)),
            };
            removed.insert((7, full), v.counts[4]);
        }
        self.to_funnel(removed, placeable.min(needed), needed)
    }

    /// The same of a pool in which nothing runs.
    pub fn empty_funnel(&self, variant: usize, needed: u32) -> Funnel {
        self.to_funnel(self.removed(variant), self.capacity(variant, true, needed), needed)
    }

    /// Nodes lost at constraints that do not depend on what runs.
    fn removed(&self, variant: usize) -> BTreeMap<(u8, Constraint), u32> {
        let matches = self.variants[variant].matches.iter().zip(&self.profile_sizes);
        let mut removed: BTreeMap<(u8, Constraint), u32> = BTreeMap::new();
        for (matching, count) in matches.filter(|(_, count)| **count > 0) {
            if let Some(constraint) = &matching.fails {
                *removed.entry((order(constraint), constraint.clone())).or_default() += count;
            }
        }
        removed
    }

    fn to_funnel(&self, removed: BTreeMap<(u8, Constraint), u32>, placeable: u32, needed: u32) -> Funnel {
        let lost = removed.into_iter().filter(|(_, count)| *count > 0);
        let removed = lost.map(|((_, constraint), count)| (constraint, count)).collect();
        Funnel { nodes: u32::try_from(self.len()).unwrap_or(u32::MAX), removed, placeable, needed }
    }
}

const fn order(constraint: &Constraint) -> u8 {
    match constraint {
        Constraint::NotReady => 0,
        Constraint::Label(_) => 1,
        Constraint::NoDevice(_) => 2,
        Constraint::NoShare(_) | Constraint::NotWhole(_) | Constraint::NoProfile(..) => 3,
        Constraint::TooFewDevices(_) | Constraint::SmallDevice(_) => 4,
        Constraint::TooSmall(_) => 5,
        Constraint::TooFull(_) | Constraint::NoPlace(..) => 6,
    }
}
