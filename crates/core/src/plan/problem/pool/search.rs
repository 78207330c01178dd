//! The search for a place: the best node for a task, its devices, and places for a whole gang.

use super::Pool;
use crate::ids::GangId;
use crate::model::ShareMode;
use crate::plan::policy::place::rates;
use crate::plan::problem::bits::word_ones;
use crate::plan::problem::close::is_joined;
use crate::plan::problem::profile::{copies, copies_beside_devices};
use crate::plan::problem::room::{NodeFree, Picked, Wish, can_pick, pick_devices_for, pick_whole};
use crate::snapshot::NodeOrd;
use crate::units::Timestamp;

/// Nodes of the first fitting level that are compared by exact score.
const COMPARED: u32 = 8;

/// What a search wants.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Which variant.
    pub variant: usize,
    /// When the task would end; [`Timestamp::NEVER`] when nobody knows.
    pub end: Timestamp,
    /// Nodes to leave out.
    pub avoid: &'a [NodeOrd],
    /// Places that the gang has already.
    pub mates: &'a [Seat],
    /// Tasks of the gang that need a place after this one.
    pub coming: u32,
}

impl<'a> Want<'a> {
    /// One task, as if it were alone.
    pub const fn one(variant: usize, end: Timestamp, avoid: &'a [NodeOrd]) -> Self {
        Self { variant, end, avoid, mates: &[], coming: 0 }
    }
}

/// For whom a place that was free is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFor {
    /// The gang.
    pub gang: GangId,
    /// Its expected start, when known.
    pub until: Option<Timestamp>,
}

/// A task on a node, as far as room goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub node: usize,
    /// Its devices, in the order of the requests.
    pub picked: Picked,
}

impl Pool {
    /// Tasks of the variant that fit on the node, at most `cap`, reservations left aside.
    pub fn copies(&self, variant: usize, node: usize, cap: u32) -> u32 {
        let v = &self.variants[variant];
        if let Some(able) = self.able(variant, node) {
            let devices = able.count_ones() / v.shape.slots.len() as u32;
            return copies_beside_devices(&self.free[node], &v.shape, v.spare, cap).min(devices);
        }
        let devices = &self.devices[self.device_range(node)];
        copies((&self.free[node], devices), self.facts(node), &v.shape, v.spare, cap)
    }

    /// The best node for one task, and its devices. Says for whom a free place was kept when that is why there is none.
    pub fn find(
        &mut self,
        want: &Want<'_>,
        domain: Option<usize>,
        kept: &mut Option<KeptFor>,
    ) -> Option<Seat> {
        self.sync(want.variant);
        if self.variants[want.variant].fit.is_empty() {
            return None;
        }
        if rates(self.policy) {
            return self.find_rated(want, domain, kept);
        }
        for level in word_ones(self.levels_used) {
            let level = level as usize;
            let (mut from, mut compared) = (0, 0);
            let mut best: Option<(u32, usize)> = None;
            while let Some(node) = self.levels[level].common_from(
                &self.variants[want.variant].fit,
                domain.map(|domain| &self.domains[domain]),
                from,
            ) {
                from = node + 1;
                if !self.would_take(want, node, kept) {
                    continue;
                }
                let candidate = (self.score[node], node);
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
                compared += 1;
                if compared == COMPARED {
                    break;
                }
            }
            if let Some((_, node)) = best {
                return self.pick_well(want, node, None).map(|picked| Seat { node, picked });
            }
        }
        None
    }

    pub(in crate::plan::problem) fn would_take(
        &mut self,
        want: &Want<'_>,
        node: usize,
        kept: &mut Option<KeptFor>,
    ) -> bool {
        if !self.fits_now(want.variant, node) {
            return false;
        }
        if want.avoid.iter().any(|avoided| avoided.0 as usize == node) {
            return false;
        }
        if self.claims.any(node) && self.pick(want, node, &Wish::default()).is_none() {
            *kept = kept.or_else(|| self.claims.first(node, want.end));
            return false;
        }
        true
    }

    /// Devices for one task on this node, close to each other and to those of its gang. A policy's own `choice` is
    /// its first, and where it is the only one, the one.
    pub(in crate::plan::problem) fn pick_well(
        &self,
        want: &Want<'_>,
        node: usize,
        choice: Option<u32>,
    ) -> Option<Picked> {
        let slots = &self.variants[want.variant].shape.slots;
        let alone = slots.len() == 1;
        if alone && choice.is_some() || !is_joined(self.facts(node)) {
            let first = choice.or_else(|| self.close_device(want.variant, node));
            return self.pick(want, node, &Wish { first, ..Wish::default() });
        }
        let here = want.mates.iter().filter(|seat| seat.node == node).flat_map(|seat| &seat.picked);
        let mates: Vec<u32> = here.map(|(_, grant, _)| grant.device).collect();
        let coming = if want.coming == 0 || slots.iter().any(|slot| slot.mode != ShareMode::Exclusive) {
            0
        } else {
            self.copies(want.variant, node, want.coming.saturating_add(1)).saturating_sub(1)
        };
        self.pick(want, node, &Wish { first: None, mates: &mates, coming })
    }

    /// Devices for one task on this node such that no reservation is delayed.
    pub(in crate::plan::problem) fn pick(
        &self,
        want: &Want<'_>,
        node: usize,
        wish: &Wish<'_>,
    ) -> Option<Picked> {
        let variant = &self.variants[want.variant];
        let facts = self.facts(node);
        let leaves_room = |left: &NodeFree| {
            left.free.takes(&variant.shape, variant.spare)
                && can_pick(&left.devices, facts, &variant.shape.slots)
        };
        // Quicker than what is free in all states at once, and as sure in saying no.
        if self.claims.of(node).iter().any(|claim| claim.start < want.end && !leaves_room(&claim.left)) {
            return None;
        }
        let met =
            if self.claims.any(node) { self.claims.meet(node, want.end, || self.state(node)) } else { None };
        match met {
            None => {
                let range = self.device_range(node);
                let slots = &variant.shape.slots;
                if let Some(able) = self.able(want.variant, node).filter(|_| !wish.looks_near(facts)) {
                    return pick_whole(able, facts, slots, wish.first);
                }
                pick_devices_for(&self.devices[range.clone()], &self.facts[range], slots, wish)
            }
            Some(state) => {
                let takes = state.free.takes(&variant.shape, variant.spare);
                let slots = &variant.shape.slots;
                takes.then(|| pick_devices_for(&state.devices, self.facts(node), slots, wish)).flatten()
            }
        }
    }

    /// Whether that many tasks fit, reservations left aside.
    pub fn has_copies(&mut self, variant: usize, domain: Option<usize>, count: u32) -> bool {
        self.sync(variant);
        let (mut left, mut from) = (count, 0);
        loop {
            let fit = &self.variants[variant].fit;
            let within = domain.map_or(fit, |domain| &self.domains[domain]);
            let Some(node) = fit.common_from(within, None, from) else { return false };
            from = node + 1;
            let copies = self.copies(variant, node, left);
            if copies == 0 {
                self.read(variant, node);
            }
            left -= copies;
            if left == 0 {
                return true;
            }
        }
    }

    /// Seats `count` tasks, all or none.
    pub fn seat_all(
        &mut self,
        want: &Want<'_>,
        domain: Option<usize>,
        count: u32,
        kept: &mut Option<KeptFor>,
    ) -> Option<Vec<Seat>> {
        let (mark, trial) = (self.mark(), self.trial());
        let mut seats = Vec::with_capacity(count as usize);
        while seats.len() < count as usize {
            let coming = count - 1 - u32::try_from(seats.len()).unwrap_or(count);
            let Some(seat) = self.find(&Want { mates: &seats, coming, ..*want }, domain, kept) else {
                self.undo(mark);
                self.forget_trial(trial, &[want.variant]);
                return None;
            };
            self.seat(want, &seat);
            seats.push(seat);
        }
        Some(seats)
    }
}
