//! From the work on a plan to its decisions: names for ordinals, a reason for everybody who waits.

use super::problem::pending::Place;
use super::problem::pool::Seat;
use super::solve::{Fate, Solver};
use super::{Decision, Funnel, HoldReason, Placement};
use crate::ids::GangId;
use crate::queue::dimension;
use crate::snapshot::{GangOrd, GangPhase, Held, NodeOrd};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The reason of a gang that is not offered.
pub(super) fn held_reason(held: &Held) -> HoldReason {
    match held {
        Held::Paused => HoldReason::Paused,
        Held::Dependency(jobs) => HoldReason::Dependency(jobs.clone()),
        Held::ArrayLimit(limit) => HoldReason::ArrayLimit(*limit),
        Held::Backoff(until) => HoldReason::Backoff(*until),
    }
}

/// Funnels made so far in a plan: by variant and tasks needed.
struct Funnels {
    made: BTreeMap<(usize, u32), Arc<Funnel>>,
    changed: Vec<usize>,
}

impl Solver<'_> {
    /// All decisions: changes to running gangs first, then starts, then reasons.
    pub fn decisions(&mut self) -> Vec<Decision> {
        let waiting: usize = self.problem.pending.buckets.iter().map(|bucket| bucket.gangs.len()).sum();
        let mut decisions = std::mem::take(&mut self.changes);
        decisions.reserve(waiting + self.problem.held.len());
        for started in &self.started {
            let Some(gang) = self.id(started.gang) else { continue };
            let tasks = self.placements(&started.seats, 0);
            let alternative = u32::try_from(started.alternative).unwrap_or(u32::MAX);
            decisions.push(Decision::Place { gang, alternative, tasks });
        }
        self.hold_pending(&mut decisions);
        for gang in &self.problem.held {
            if let Some(row) = self.snapshot.gang(*gang)
                && let GangPhase::Held(held) = &row.phase
            {
                decisions.push(Decision::Hold { gang: row.id, reason: held_reason(held) });
            }
        }
        decisions
    }

    /// Seats as placements, ranks from `first`.
    pub fn placements(&self, seats: &[Seat], first: u32) -> Vec<Placement> {
        let placement = |(rank, seat): (u32, &Seat)| Placement {
            rank,
            node: self.snapshot.node(NodeOrd(u32::try_from(seat.node).unwrap_or(u32::MAX))).name.clone(),
            devices: seat.picked.iter().map(|(_, grant, _)| *grant).collect(),
        };
        (first..).zip(seats).map(placement).collect()
    }

    fn hold_pending(&mut self, decisions: &mut Vec<Decision>) {
        let mut funnels = Funnels { made: BTreeMap::new(), changed: self.problem.pool.changed() };
        for bucket in 0..self.runs.len() {
            let (next, fate) = (self.runs[bucket].next, self.runs[bucket].fate.take());
            let needed = self.problem.pending.buckets[bucket].key.size.min;
            let common = fate.map(|fate| self.reason(&fate, needed, &mut funnels));
            let gangs = &self.problem.pending.buckets[bucket].gangs;
            let special = !self.fates.is_empty() || !self.dealt.is_empty();
            let waits = |(at, place): (usize, &Place)| {
                let own = special && self.fates.contains_key(&place.gang);
                let started = special && !own && self.dealt.contains(&place.gang);
                (own || at >= next && !started).then_some((place.gang, place.id))
            };
            let all: Vec<(GangOrd, GangId)> = gangs.iter().enumerate().filter_map(waits).collect();
            for (ord, gang) in all {
                let own = self.fates.get(&ord).cloned().map(|fate| self.reason(&fate, needed, &mut funnels));
                if let Some(reason) = own.or_else(|| common.clone()) {
                    decisions.push(Decision::Hold { gang, reason });
                }
            }
        }
    }

    /// Why a pending gang waits; `None` when it starts.
    pub fn reason_of(&mut self, gang: GangOrd) -> Option<HoldReason> {
        let bucket = self.problem.bucket(gang)?;
        if self.started.iter().any(|started| started.gang == gang) {
            return None;
        }
        let fate = self.fates.get(&gang).or(self.runs[bucket].fate.as_ref()).cloned()?;
        let needed = self.problem.pending.buckets[bucket].key.size.min;
        let mut funnels = Funnels { made: BTreeMap::new(), changed: self.problem.pool.changed() };
        Some(self.reason(&fate, needed, &mut funnels))
    }

    fn reason(&mut self, fate: &Fate, needed: u32, funnels: &mut Funnels) -> HoldReason {
        let mut funnel = |variant: usize| {
            let pool = &mut self.problem.pool;
            let changed = &funnels.changed;
            let made = funnels.made.entry((variant, needed));
            Arc::clone(made.or_insert_with(|| Arc::new(pool.funnel(variant, needed, changed))))
        };
        match fate {
            Fate::Kept(kept) => HoldReason::Reserved { gang: kept.gang, until: kept.until },
            Fate::Room(variant) => HoldReason::NoRoom(funnel(*variant)),
            Fate::Infeasible(variant) => HoldReason::Infeasible(funnel(*variant)),
            Fate::Evicting(victims) => HoldReason::AwaitingEviction { victims: *victims },
            Fate::Limit(hit) => {
                let queue = self.snapshot.queues[hit.queue].spec.path.clone();
                let (dimension, limit, asked) = (dimension(hit.at), hit.limit, hit.asked);
                if hit.never() {
                    HoldReason::OverQueueLimit { queue, dimension, limit, asked }
                } else {
                    HoldReason::QueueLimit { queue, dimension, used: hit.used, limit, asked }
                }
            }
        }
    }
}
