//! From the work on a plan to its decisions: names for ordinals, and a reason for everybody whose reason is another than before.
//!
//! The reason that was given last is kept: for a bucket as a whole, and for gangs [apart](super::problem::pending::Pending::apart)
//! from it. So a plan costs what changed, and a plan of a pool in which nothing happened is empty.

use super::problem::pending::Key;
use super::problem::pool::Seat;
use super::solve::{Fate, Solver};
use super::{Decision, DeviceAt, Funnel, HoldReason, Placement};
use crate::model::Class;
use crate::queue::{Hit, dimension};
use crate::snapshot::{GangOrd, Held, NodeOrd};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Devices that are named in one reason.
const UNWELL: usize = 8;

/// The reason of a gang that is not offered.
pub(super) fn held_reason(held: &Held) -> HoldReason {
    match held {
        Held::Paused => HoldReason::Paused,
        Held::Dependency(jobs) => HoldReason::Dependency(jobs.clone()),
        Held::ArrayLimit(limit) => HoldReason::ArrayLimit(*limit),
        Held::Backoff(until) => HoldReason::Backoff(*until),
        Held::Budget(spent) => HoldReason::Budget(spent.clone()),
    }
}

/// Funnels of the empty pool made so far in a plan: by variant and tasks needed.
type Funnels = BTreeMap<(usize, u32), Arc<Funnel>>;

impl Solver<'_> {
    /// All decisions: changes to running gangs first, then starts, then reasons.
    pub fn decisions(&mut self) -> Vec<Decision> {
        let mut decisions = std::mem::take(&mut self.changes);
        for started in &self.started {
            let Some(gang) = self.id(started.gang) else { continue };
            let tasks = self.placements(&started.seats, 0);
            let alternative = u32::try_from(started.alternative).unwrap_or(u32::MAX);
            decisions.push(Decision::Place { gang, alternative, tasks });
        }
        let mut funnels = Funnels::new();
        self.hold_buckets(&mut decisions, &mut funnels);
        self.hold_single(&mut decisions, &mut funnels);
        decisions
    }

    /// Seats as placements, ranks from `first`.
    pub fn placements(&self, seats: &[Seat], first: u32) -> Arc<[Placement]> {
        let placement = |(rank, seat): (u32, &Seat)| Placement {
            rank,
            node: self.snapshot.node(NodeOrd(u32::try_from(seat.node).unwrap_or(u32::MAX))).name.clone(),
            devices: seat.picked.iter().map(|(_, grant, _)| *grant).collect(),
        };
        (first..).zip(seats).map(placement).collect()
    }

    /// New reasons of whole buckets.
    fn hold_buckets(&mut self, decisions: &mut Vec<Decision>, funnels: &mut Funnels) {
        self.unsettle();
        for bucket in self.problem.pending.unsettled.iter().copied().collect::<Vec<usize>>() {
            let next = self.runs.get(bucket).map_or(0, |run| run.next);
            if next == self.problem.pending.buckets[bucket].gangs.len() {
                continue;
            }
            let fate = self.waiting_fate(bucket);
            let needed = self.problem.pending.buckets[bucket].key.size.min;
            let reason = self.reason(&fate, needed, funnels);
            let pending = &mut self.problem.pending;
            pending.unsettled.remove(&bucket);
            let row = &mut pending.buckets[bucket];
            if row.told.as_ref() == Some(&reason) {
                continue;
            }
            let before = row.told.replace(reason.clone());
            for (at, place) in row.gangs.iter().enumerate() {
                let single = self.fates.contains_key(&place.gang) || self.dealt.contains(&place.gang);
                if at < next || single {
                    pending.apart.entry(place.gang).or_insert_with(|| before.clone());
                } else if pending.apart.remove(&place.gang) != Some(Some(reason.clone())) {
                    decisions.push(Decision::Hold { gang: place.id, reason: reason.clone() });
                }
            }
        }
    }

    /// Marks buckets whose reason may be another: all when nodes are others than they were, those under a limit that is used
    /// otherwise than at the last plan.
    fn unsettle(&mut self) {
        let limits = self.tree.limited();
        let pending = &mut self.problem.pending;
        let live = pending.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.gangs.is_empty());
        if pending.reshaped != self.problem.pool.reshaped || pending.limits.len() != limits.len() {
            pending.unsettled.extend(live.map(|(at, _)| at));
        } else if pending.limits != limits {
            let moved: Vec<usize> = pending
                .limits
                .iter()
                .zip(&limits)
                .filter(|(old, new)| old != new)
                .map(|(_, new)| new.0)
                .collect();
            let under = |queue: usize| moved.iter().any(|above| self.tree.is_under(queue, *above));
            let below: Vec<bool> = (0..self.snapshot.queues.len()).map(under).collect();
            pending.unsettled.extend(live.filter(|(_, bucket)| below[bucket.key.queue]).map(|(at, _)| at));
        }
        (pending.reshaped, pending.limits) = (self.problem.pool.reshaped, limits);
    }

    /// What is in the way of those of a bucket who wait, as things stand at the end of the plan.
    pub fn waiting_fate(&mut self, bucket: usize) -> Fate {
        let Key { class, queue, demand, size, .. } = self.problem.pending.buckets[bucket].key;
        let mut nearest: Option<Fate> = None;
        for alternative in 0..self.problem.alternatives(demand) {
            let variant = self.problem.variant(demand, alternative, class == Class::Spare);
            let hit = self.tree.hit(queue, &self.asked(variant, size.min, 1));
            let fate = self.fate_without_seats(variant, size.min, hit);
            if nearest.as_ref().is_none_or(|nearest| fate.distance() < nearest.distance()) {
                nearest = Some(fate);
            }
        }
        nearest.unwrap_or(Fate::Infeasible(0))
    }

    /// Why a gang that has no seats now has none.
    pub fn fate_without_seats(&self, variant: usize, needed: u32, hit: Option<Hit>) -> Fate {
        let pool = &self.problem.pool;
        if pool.capacity(variant, true, needed) >= needed {
            return hit.map_or(Fate::Room(variant), Fate::Limit);
        }
        if pool.capacity_if_well(variant, needed) < needed {
            return Fate::Infeasible(variant);
        }
        hit.filter(Hit::never).map_or(Fate::Unwell(variant), Fate::Limit)
    }

    /// New reasons of gangs that are told something else than their bucket, or nothing yet.
    fn hold_single(&mut self, decisions: &mut Vec<Decision>, funnels: &mut Funnels) {
        let evicting = |gang: &GangOrd, fates: &BTreeMap<GangOrd, Fate>| match fates.get(gang) {
            Some(Fate::Evicting(victims)) => Some(Fate::Evicting(*victims)),
            _ => None,
        };
        let mut gangs: Vec<GangOrd> = self.problem.pending.apart.keys().copied().collect();
        gangs.extend(self.fates.keys().filter(|gang| evicting(gang, &self.fates).is_some()));
        if gangs.is_empty() {
            return;
        }
        gangs.sort_unstable();
        gangs.dedup();
        // Gone from here when it starts; and if it does not, what it was told is still true.
        let mut started: Vec<GangOrd> = self.started.iter().map(|started| started.gang).collect();
        started.sort_unstable();
        for gang in gangs {
            if started.binary_search(&gang).is_ok() {
                continue;
            }
            let Some((bucket, place)) = self.problem.bucket(gang).zip(self.problem.place(gang)) else {
                continue;
            };
            let row = &self.problem.pending.buckets[bucket];
            let (told, needed) = (row.told.clone(), row.key.size.min);
            let own = evicting(&gang, &self.fates).map(|fate| self.reason(&fate, needed, funnels));
            let Some(reason) = own.or_else(|| told.clone()) else { continue };
            let apart = &mut self.problem.pending.apart;
            if apart.get(&gang).unwrap_or(&told).as_ref() != Some(&reason) {
                decisions.push(Decision::Hold { gang: place.id, reason: reason.clone() });
            }
            if told.as_ref() == Some(&reason) {
                apart.remove(&gang);
            } else {
                apart.insert(gang, Some(reason));
            }
        }
    }

    /// What is in the way of a pending gang; `None` when it starts.
    pub fn fate_of(&self, gang: GangOrd) -> Option<&Fate> {
        let bucket = self.problem.bucket(gang)?;
        if self.started.iter().any(|started| started.gang == gang) {
            return None;
        }
        self.fates.get(&gang).or(self.runs.get(bucket)?.fate.as_ref())
    }

    /// Why a pending gang waits, with the numbers of this moment; `None` when it starts.
    pub fn reason_of(&mut self, gang: GangOrd) -> Option<HoldReason> {
        let fate = self.fate_of(gang)?.clone();
        if let Fate::Kept(kept) = fate {
            return Some(HoldReason::Reserved { gang: kept.gang, until: kept.until });
        }
        let needed = self.problem.pending.buckets[self.problem.bucket(gang)?].key.size.min;
        Some(self.reason(&fate, needed, &mut Funnels::new()))
    }

    fn reason(&self, fate: &Fate, needed: u32, funnels: &mut Funnels) -> HoldReason {
        match fate {
            Fate::Kept(_) | Fate::Room(_) => HoldReason::NoRoom,
            Fate::Infeasible(variant) => {
                let made = funnels.entry((*variant, needed));
                let funnel =
                    made.or_insert_with(|| Arc::new(self.problem.pool.empty_funnel(*variant, needed)));
                HoldReason::Infeasible(Arc::clone(funnel))
            }
            Fate::Unwell(variant) => {
                let all = self.problem.pool.unwell(*variant);
                let name = |(node, device): &(usize, u32)| DeviceAt {
                    node: self.snapshot.nodes[*node].name.clone(),
                    device: *device,
                };
                let more = u32::try_from(all.len().saturating_sub(UNWELL)).unwrap_or(u32::MAX);
                HoldReason::Unwell { devices: all.iter().take(UNWELL).map(name).collect(), more }
            }
            Fate::Evicting(victims) => HoldReason::AwaitingEviction { victims: *victims },
            Fate::Limit(hit) => {
                let queue = self.snapshot.queues[hit.queue].spec.path.clone();
                let (dimension, limit, asked) = (dimension(hit.at), hit.limit, hit.asked);
                if hit.never() {
                    HoldReason::OverQueueLimit { queue, dimension, limit, asked }
                } else {
                    HoldReason::QueueLimit { queue, dimension, limit, asked }
                }
            }
        }
    }
}
