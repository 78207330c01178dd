//! A gang under the fewest switches, racks and zones.
//!
//! The closest domain that holds the whole gang, of equally close ones the tightest, so that large ones stay whole. When none
//! does, domain after domain, the roomiest first, so that the gang is cut into the fewest parts. Which of the smallest sets
//! of domains is best is bin covering, which is NP-hard; roomiest first is its usual greedy. Inside a node that does
//! not say how its devices are joined the same holds for those of one task: the NUMA node that has enough of them with the fewest to
//! spare.

use super::pool::{KeptFor, Pool, Seat, Want};
use crate::snapshot::PlacementPolicy;
use std::collections::BTreeMap;

impl Pool {
    /// Seats `count` tasks, all or none, under as few switches as can be.
    pub fn seat_together(
        &mut self,
        want: &Want<'_>,
        count: u32,
        kept: &mut Option<KeptFor>,
    ) -> Option<Vec<Seat>> {
        let mut start = 0;
        for end in self.tiers {
            let mut holding: Vec<(u32, usize)> =
                (start..end).map(|domain| (self.room_in(want.variant, domain), domain)).collect();
            holding.retain(|(copies, _)| *copies >= count);
            holding.sort_unstable();
            for (_, domain) in holding {
                if let Some(seats) = self.seat_all(want, Some(domain), count, kept) {
                    return Some(seats);
                }
            }
            start = end;
        }
        if !self.has_copies(want.variant, None, count) {
            return None;
        }
        self.seat_apart(want, count, kept)
    }

    /// Over several of the closest domains, the roomiest first, then wherever there is room.
    fn seat_apart(&mut self, want: &Want<'_>, count: u32, kept: &mut Option<KeptFor>) -> Option<Vec<Seat>> {
        let closest = self.tiers.into_iter().find(|end| *end > 0).unwrap_or(0);
        let mut order: Vec<(u32, usize)> =
            (0..closest).map(|domain| (self.room_in(want.variant, domain), domain)).collect();
        order.sort_unstable_by_key(|(copies, domain)| (std::cmp::Reverse(*copies), *domain));
        let within = order.into_iter().map(|(_, domain)| Some(domain)).chain(std::iter::once(None));
        let (mark, trial) = (self.mark(), self.trial());
        let mut seats = Vec::with_capacity(count as usize);
        for domain in within {
            while seats.len() < count as usize {
                let coming = count - 1 - u32::try_from(seats.len()).unwrap_or(count);
                let want = Want { mates: &seats, coming, ..*want };
                let Some(seat) = self.find(&want, domain, kept) else { break };
                self.seat(&want, &seat);
                seats.push(seat);
            }
        }
        if seats.len() < count as usize {
            self.undo(mark);
            self.forget_trial(trial, &[want.variant]);
            return None;
        }
        Some(seats)
    }

    /// The first device of the NUMA node that holds all devices of the task with the fewest to spare. The
    /// devices picked after it come from the same NUMA node.
    pub(super) fn close_device(&self, variant: usize, node: usize) -> Option<u32> {
        let slots = &self.variants[variant].shape.slots;
        if self.policy != PlacementPolicy::Topology || slots.len() < 2 {
            return None;
        }
        let room = self.room(node);
        let mut near: BTreeMap<u32, (usize, u32)> = BTreeMap::new();
        for ((device, free), facts) in (0..).zip(room.devices).zip(room.facts) {
            if slots.iter().all(|slot| free.takes(facts, slot)) {
                near.entry(facts.numa).or_insert((0, device)).0 += 1;
            }
        }
        near.into_values().filter(|(able, _)| *able >= slots.len()).min().map(|(_, device)| device)
    }

    /// Tasks of the variant that fit in a domain, reservations left aside.
    fn room_in(&mut self, variant: usize, domain: usize) -> u32 {
        self.sync(variant);
        let (mut copies, mut from) = (0_u32, 0);
        while let Some(node) = self.next_fit(variant, Some(domain), from) {
            copies = copies.saturating_add(self.copies(variant, node, u32::MAX - copies));
            from = node + 1;
        }
        copies
    }
}
