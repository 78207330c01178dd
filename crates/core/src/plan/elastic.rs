//! Extra ranks: what nobody who waits could use goes to elastic gangs, one rank each in turn, in the order of the line.
//!
//! Gangs start with their minimum, so that one gang's extra ranks never keep another from starting; ranks above
//! the minimum are given back as soon as somebody needs them ([`Solver::evict`]).
//!
//! No flutter: ranks are taken only for a gang that is blocked, and given only while no gang of the same or a higher
//! class is, so that with nothing else happening there is never a growth after a shrinking.

use super::Decision;
use super::problem::pool::{Seat, Want};
use super::solve::{Fate, Solver};
use crate::ids::GangId;
use crate::model::Class;
use crate::snapshot::GangOrd;
use crate::units::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Who grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Started(usize),
    Running(GangOrd),
}

struct Grower {
    order: (Reverse<(Class, u16)>, Timestamp, GangId),
    who: Who,
    queue: usize,
    variant: usize,
    end: Timestamp,
    left: u32,
    seats: Vec<Seat>,
}

impl Solver<'_> {
    /// Hands out extra ranks.
    pub fn extras(&mut self) {
        let mut growers = self.growers();
        if growers.is_empty() {
            return;
        }
        let blocked = self.blocked();
        growers.retain(|grower| blocked.is_none_or(|class| class < grower.order.0.0.0));
        growers.sort_by_key(|grower| grower.order);
        let mut active: Vec<usize> = (0..growers.len()).collect();
        // Ends: each turn every active gang gets a rank, of finitely many, or drops out.
        while !active.is_empty() {
            active.retain(|at| self.grow(&mut growers[*at]));
        }
        for grower in growers.into_iter().filter(|grower| !grower.seats.is_empty()) {
            match grower.who {
                Who::Started(at) => self.started[at].seats.extend(grower.seats),
                Who::Running(gang) => self.grow_running(gang, &grower.seats),
            }
        }
    }

    /// The highest class of which a gang is blocked that may take ranks back.
    fn blocked(&mut self) -> Option<Class> {
        let started: BTreeSet<GangOrd> = self.started.iter().map(|started| started.gang).collect();
        [Class::Critical, Class::Standard].into_iter().find(|class| {
            (0..self.problem.pending.buckets.len()).any(|bucket| {
                let row = &self.problem.pending.buckets[bucket];
                row.key.class == *class
                    && row.gangs.iter().any(|place| !started.contains(&place.gang))
                    && matches!(self.waiting_fate(bucket), Fate::Room(_))
            })
        })
    }

    fn growers(&mut self) -> Vec<Grower> {
        let mut growers = Vec::new();
        for at in 0..self.started.len() {
            let started = &self.started[at];
            let key = &self.problem.pending.buckets[started.bucket].key;
            if key.size.max > key.size.min
                && let Some(row) = self.snapshot.gang(started.gang)
            {
                growers.push(Grower {
                    order: (Reverse((row.class, row.priority)), row.queued, row.id),
                    who: Who::Started(at),
                    queue: key.queue,
                    variant: started.variant,
                    end: started.end,
                    left: key.size.max - key.size.min,
                    seats: Vec::new(),
                });
            }
        }
        let running: Vec<GangOrd> = self.problem.running.elastic.iter().copied().collect();
        for gang in running.into_iter().filter(|gang| !self.decided.contains(gang)) {
            let Some((row, placed)) = self.placed(gang) else { continue };
            let ranks = u32::try_from(placed.tasks.len()).unwrap_or(u32::MAX);
            if placed.stopping
                || placed.shrinking.is_some()
                || placed.frozen.is_some()
                || ranks >= row.size.max
            {
                continue;
            }
            let order = (Reverse((row.class, row.priority)), row.queued, row.id);
            let (queue, end, left) = (row.queue.0 as usize, placed.expected_end, row.size.max - ranks);
            let (demand, alternative, spare) =
                (row.demand.0 as usize, placed.alternative as usize, row.class == Class::Spare);
            let variant = self.problem.variant(demand, alternative, spare);
            let end = end.unwrap_or(Timestamp::NEVER);
            growers.push(Grower {
                order,
                who: Who::Running(gang),
                queue,
                variant,
                end,
                left,
                seats: Vec::new(),
            });
        }
        growers
    }

    /// Gives one rank; whether there may be another.
    fn grow(&mut self, grower: &mut Grower) -> bool {
        let asked = self.asked(grower.variant, 1, 0);
        if grower.left == 0 || self.tree.hit(grower.queue, &asked).is_some() {
            return false;
        }
        let want = Want { variant: grower.variant, end: grower.end, avoid: &[] };
        let Some(seat) = self.problem.pool.find(&want, None, &mut None) else { return false };
        self.problem.pool.seat(&want, &seat);
        let taken = self.taken(grower.variant, std::slice::from_ref(&seat), 0);
        self.tree.charge(grower.queue, &taken);
        grower.seats.push(seat);
        grower.left -= 1;
        true
    }

    fn grow_running(&mut self, gang: GangOrd, seats: &[Seat]) {
        let Some((row, placed)) = self.placed(gang) else { return };
        let first = placed.tasks.iter().map(|task| task.rank + 1).max().unwrap_or(0);
        let tasks = self.placements(seats, first);
        let decision = Decision::Grow { gang: row.id, generation: placed.generation, tasks };
        self.changes.push(decision);
        self.decided.insert(gang);
    }
}
