//! Extra ranks: what nobody who waits could use goes to elastic gangs, a rank at a time to who gains most by it.
//!
//! Gangs start with their minimum, so that one gang's extra ranks never keep another from starting; ranks above
//! the minimum are given back as soon as somebody needs them ([`Solver::evict`]), from who loses least.
//!
//! A gain is the part by which a rank raises a gang's speed, per device: one step up the sum of the logarithms of all speeds
//! (proportional fairness; the papers are at [`goodput`](super::policy::order)). Without a [`Speed`] profile speed is in proportion to
//! ranks, and the gain of the next of `n` is `1/n`: the smallest gang is next. Under [`OrderPolicy::Goodput`] ranks also move
//! between gangs that run: to one that gains more than twice what the other loses, once in a calm period.
//!
//! No flutter: ranks are taken only for a gang that is blocked, and given only while no gang of the same or a higher
//! class is, so that with nothing else happening there is never a growth after a shrinking. A rank that moved does not move
//! back: that would have to gain twice what was lost, and it was less than half.

use super::Decision;
use super::policy::order::asked;
use super::problem::pending::Key;
use super::problem::pool::{Seat, Want};
use super::solve::{Fate, Fit, Solver};
use crate::event::DeviceGrant;
use crate::ids::GangId;
use crate::model::{Class, ShareMode, Speed};
use crate::snapshot::{GangOrd, OrderPolicy};
use crate::units::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Elastic gangs asked to give ranks back for one gang.
const MOST_ELASTIC: usize = 64;
/// A rank moves to a gang that gains so many times what the other loses.
const WORTH: u64 = 2;

/// Who grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Started(usize),
    Running(GangOrd),
}

struct Grower {
    class: Class,
    order: (Reverse<u16>, Timestamp, GangId),
    who: Who,
    worth: Worth,
    ranks: u32,
    most: u32,
    queue: usize,
    variant: usize,
    end: Timestamp,
    seats: Vec<Seat>,
    /// Places that it has already, as far as devices go; `None`: not looked up yet.
    mates: Option<Vec<Seat>>,
}

/// What ranks are worth to a gang.
#[derive(Clone, Debug)]
struct Worth {
    speed: Option<Arc<Speed>>,
    /// What a rank costs: thousandths of devices, or of cores.
    cost: u64,
}

impl Worth {
    /// The part by which one more than `ranks` raises the speed, per device, in billionths.
    fn gain(&self, ranks: u32) -> u64 {
        let with =
            |ranks: u32| self.speed.as_ref().map_or(u64::from(ranks) * 1000, |speed| speed.with(ranks));
        let (before, after) = (with(ranks), with(ranks.saturating_add(1)));
        let part = u128::from(after.saturating_sub(before)) * 1_000_000_000_000 / u128::from(before.max(1));
        u64::try_from(part / u128::from(self.cost.max(1))).unwrap_or(u64::MAX)
    }

    /// The part by which one less than `ranks` lowers it.
    fn loss(&self, ranks: u32) -> u64 {
        self.gain(ranks.saturating_sub(1))
    }
}

/// An elastic gang that may give ranks.
struct Lender {
    gang: GangOrd,
    class: Class,
    worth: Worth,
    have: u32,
    left: u32,
    least: u32,
}

impl Lender {
    /// Who gives the next rank: of the lowest class who loses least.
    fn price(&self) -> (Class, u64, GangOrd) {
        (self.class, self.worth.loss(self.left), self.gang)
    }
}

impl Solver<'_> {
    /// Hands out extra ranks.
    pub fn extras(&mut self) {
        let mut growers = self.growers();
        if growers.is_empty() {
            return;
        }
        self.pay();
        let blocked = self.blocked();
        growers.retain(|grower| blocked.is_none_or(|class| class < grower.class));
        if growers.is_empty() {
            return;
        }
        self.pay();
        let place = |at: usize, grower: &Grower| {
            let gain = grower.worth.gain(grower.ranks);
            (gain > 0).then_some((Reverse(grower.class), Reverse(gain), grower.order, at))
        };
        let mut line: BTreeSet<_> =
            growers.iter().enumerate().filter_map(|(at, grower)| place(at, grower)).collect();
        let mut without_room = Vec::new();
        // Ends: each turn a gang gets a rank, of finitely many, or drops out.
        while let Some((_, _, _, at)) = line.pop_first() {
            let grower = &mut growers[at];
            match self.grow(grower) {
                Some(true) => line.extend(place(at, grower)),
                Some(false) => without_room.push(at),
                None => {}
            }
        }
        if self.settings.order == OrderPolicy::Goodput {
            self.exchange(&growers, &without_room);
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
                    class: row.class,
                    order: (Reverse(row.priority), row.queued, row.id),
                    who: Who::Started(at),
                    worth: self.worth(started.gang, started.alternative),
                    ranks: key.size.min,
                    most: key.size.max,
                    queue: key.queue,
                    variant: started.variant,
                    end: started.end,
                    seats: Vec::new(),
                    mates: None,
                });
            }
        }
        let elastic = self.problem.running.elastic.iter().copied();
        let running: Vec<GangOrd> = elastic.filter(|gang| !self.decided.contains(gang)).collect();
        for gang in running {
            let Some((row, placed)) = self.placed(gang) else { continue };
            let ranks = u32::try_from(placed.tasks.len()).unwrap_or(u32::MAX);
            let busy = placed.stopping || placed.shrinking.is_some() || placed.frozen.is_some();
            if busy || ranks >= row.size.max {
                continue;
            }
            let alternative = placed.alternative as usize;
            growers.push(Grower {
                class: row.class,
                order: (Reverse(row.priority), row.queued, row.id),
                who: Who::Running(gang),
                worth: self.worth(gang, alternative),
                ranks,
                most: row.size.max,
                queue: row.queue.0 as usize,
                end: placed.expected_end.unwrap_or(Timestamp::NEVER),
                variant: self.variant_of(gang, alternative),
                seats: Vec::new(),
                mates: None,
            });
        }
        growers
    }

    /// The variant of more ranks of a running gang: on devices as fast for it as those it has, as the slowest counts for all.
    fn variant_of(&mut self, gang: GangOrd, alternative: usize) -> usize {
        let snapshot = self.snapshot;
        let Some(row) = snapshot.gang(gang) else { return 0 };
        let (demand, spare) = (row.demand.0 as usize, row.class == Class::Spare);
        if let (Some(speed), Some((_, placed))) = (&row.speed, self.placed(gang)) {
            let devices = placed.tasks.iter().flat_map(|task| {
                let devices = &snapshot.node(task.node).devices;
                task.devices.iter().filter_map(|grant| devices.get(grant.device as usize))
            });
            if let Some(slowest) = devices.map(|device| speed.on(&device.spec.model)).min() {
                let by_speed =
                    self.problem.variants_by_speed(row.speed.as_deref(), demand, alternative, spare);
                if let Some((_, variant)) = by_speed.iter().rev().find(|(speed, _)| *speed >= slowest) {
                    return *variant;
                }
            }
        }
        self.problem.variant(demand, alternative, spare)
    }

    fn worth(&self, gang: GangOrd, alternative: usize) -> Worth {
        let Some(row) = self.snapshot.gang(gang) else { return Worth { speed: None, cost: 1 } };
        let cost = self.snapshot.demand(row.demand).get(alternative).map_or(1, |shape| asked(shape, 1));
        Worth { speed: row.speed.clone(), cost }
    }

    /// Gives one rank: whether there was room; `None` when it may have no more.
    fn grow(&mut self, grower: &mut Grower) -> Option<bool> {
        let asked = self.asked(grower.variant, 1, 0);
        if grower.ranks >= grower.most || self.tree.hit(grower.queue, &asked).is_some() {
            return None;
        }
        self.problem.pool.sync(grower.variant);
        if !self.problem.pool.may_fit(grower.variant) {
            return Some(false);
        }
        let mates = grower.mates.get_or_insert_with(|| self.mates(grower.who, grower.variant));
        let want = Want { mates, ..Want::one(grower.variant, grower.end, &[]) };
        let Some(seat) = self.problem.pool.find(&want, None, &mut None) else { return Some(false) };
        self.problem.pool.seat(&want, &seat);
        let taken = self.taken(grower.variant, std::slice::from_ref(&seat), 0);
        self.tree.charge(grower.queue, &taken);
        if !seat.picked.is_empty() {
            mates.push(seat.to_owned());
        }
        grower.seats.push(seat);
        grower.ranks += 1;
        Some(true)
    }

    /// Where the ranks of a gang have devices already, which those of its next rank are to be near to.
    fn mates(&self, who: Who, variant: usize) -> Vec<Seat> {
        if self.problem.pool.variants[variant].shape.slots.is_empty() {
            return Vec::new();
        }
        match who {
            Who::Started(at) => self.started[at].seats.to_vec(),
            Who::Running(gang) => {
                let tasks = self.placed(gang).into_iter().flat_map(|(_, placed)| &placed.tasks);
                let picked = |grant: &DeviceGrant| (0, *grant, ShareMode::Exclusive);
                tasks
                    .map(|task| Seat {
                        node: task.node.0 as usize,
                        picked: task.devices.iter().map(picked).collect(),
                    })
                    .collect()
            }
        }
    }

    fn grow_running(&mut self, gang: GangOrd, seats: &[Seat]) {
        let Some((row, placed)) = self.placed(gang) else { return };
        let first = placed.tasks.iter().map(|task| task.rank + 1).max().unwrap_or(0);
        let tasks = self.placements(seats, first);
        let decision = Decision::Grow { gang: row.id, generation: placed.generation, tasks };
        self.changes.push(decision);
        self.decided.insert(gang);
    }

    /// Has gangs that lose little give a rank each to gangs that gain much and found no room; it is theirs when it is free.
    fn exchange(&mut self, growers: &[Grower], without_room: &[usize]) {
        for grower in without_room.iter().map(|at| &growers[*at]) {
            let Who::Running(taker) = grower.who else { continue };
            if !grower.seats.is_empty() || self.awaits_rank(grower.order.2) {
                continue;
            }
            let gain = grower.worth.gain(grower.ranks);
            let mut lenders = self.lenders(grower.class);
            lenders.retain(|lender| {
                let grows = growers.iter().any(|g| g.who == Who::Running(lender.gang) && !g.seats.is_empty());
                lender.gang != taker && !grows && gain / WORTH > lender.worth.loss(lender.left)
            });
            lenders.sort_by_key(Lender::price);
            for lender in lenders {
                let calm = self.changed(taker).max(self.changed(lender.gang)).after(self.settings.calm);
                if calm > self.now {
                    self.again = self.again.min(calm);
                    continue;
                }
                if self.hand_over(grower, lender) {
                    break;
                }
            }
        }
    }

    /// Whether a rank is on its way to the gang.
    fn awaits_rank(&self, id: GangId) -> bool {
        self.problem.running.leaving.iter().any(|gang| {
            let shrinking = self.placed(*gang).and_then(|(_, placed)| placed.shrinking);
            shrinking.is_some_and(|shrinking| shrinking.beneficiary == Some(id))
        })
    }

    /// When the ranks of a running gang changed last.
    fn changed(&self, gang: GangOrd) -> Timestamp {
        self.placed(gang).map_or(Timestamp::NEVER, |(_, placed)| placed.metered)
    }

    /// Takes the highest rank of a gang, if the other's next rank fits then.
    fn hand_over(&mut self, to: &Grower, mut from: Lender) -> bool {
        let mark = self.problem.pool.mark();
        let rank = from.left - 1;
        self.move_tasks(from.gang, |task| task.rank == rank, -1);
        let mates = self.mates(to.who, to.variant);
        let want = Want { mates: &mates, ..Want::one(to.variant, to.end, &[]) };
        let Some(seat) = self.problem.pool.find(&want, None, &mut None) else {
            self.problem.pool.undo(mark);
            return false;
        };
        self.problem.pool.seat(&want, &seat);
        from.left = rank;
        self.shrink_running(to.order.2, &from);
        true
    }

    /// Takes ranks above their minimum from elastic gangs, the fewest that will do.
    pub fn shrink_others(&mut self, id: GangId, bucket: usize, key: &Key, variant: usize) -> Option<u32> {
        let mut lenders = self.lenders(key.class);
        if lenders.is_empty() {
            return None;
        }
        let mark = self.problem.pool.mark();
        let need = key.size.min;
        let mut enough = false;
        // Ends: each turn takes a rank, of finitely many.
        while !enough {
            let able = lenders.iter_mut().filter(|lender| lender.left > lender.least);
            let Some(lender) = able.min_by_key(|lender| lender.price()) else { break };
            lender.left -= 1;
            let (gang, rank) = (lender.gang, lender.left);
            self.move_tasks(gang, |task| task.rank == rank, -1);
            enough = self.problem.pool.has_copies(variant, None, need);
        }
        if enough {
            self.return_ranks(variant, need, &mut lenders);
            let want = Want::one(variant, self.end(key), &[]);
            self.forget_domains(bucket);
            if let Some(seats) = self.seat_gang(bucket, &want, need, &mut None) {
                self.charge_fit(key, &Fit { alternative: 0, variant, seats });
                let given = lenders.iter().filter(|lender| lender.left < lender.have);
                return Some(given.map(|lender| self.shrink_running(id, lender)).sum());
            }
        }
        self.problem.pool.undo(mark);
        None
    }

    /// Elastic gangs that may give ranks back to one of this class.
    fn lenders(&self, class: Class) -> Vec<Lender> {
        let mut lenders = Vec::new();
        for gang in self.problem.running.elastic.iter().filter(|gang| !self.decided.contains(gang)) {
            let Some((row, placed)) = self.placed(*gang) else { continue };
            let ranks = u32::try_from(placed.tasks.len()).unwrap_or(u32::MAX);
            let free =
                row.preemptible && row.class <= class && !placed.stopping && placed.shrinking.is_none();
            if free && placed.frozen.is_none() && ranks > row.size.min {
                lenders.push(Lender {
                    gang: *gang,
                    class: row.class,
                    worth: self.worth(*gang, placed.alternative as usize),
                    have: ranks,
                    left: ranks,
                    least: row.size.min,
                });
            }
        }
        lenders.sort_by_key(|lender| (Reverse(lender.have - lender.least), lender.gang));
        lenders.truncate(MOST_ELASTIC);
        lenders
    }

    /// Lets ranks stay that turn out not to be needed.
    fn return_ranks(&mut self, variant: usize, need: u32, lenders: &mut [Lender]) {
        for lender in lenders {
            while lender.left < lender.have {
                let rank = lender.left;
                self.move_tasks(lender.gang, |task| task.rank == rank, 1);
                if !self.problem.pool.has_copies(variant, None, need) {
                    self.move_tasks(lender.gang, |task| task.rank == rank, -1);
                    break;
                }
                lender.left += 1;
            }
        }
    }

    /// Writes down that a gang gives ranks; how many gangs do: one, or none that is not there.
    fn shrink_running(&mut self, beneficiary: GangId, lender: &Lender) -> u32 {
        let Some((row, placed)) = self.placed(lender.gang) else { return 0 };
        self.changes.push(Decision::Shrink {
            gang: row.id,
            generation: placed.generation,
            to: lender.left,
            beneficiary: Some(beneficiary),
        });
        self.decided.insert(lender.gang);
        self.future.push((lender.gang, lender.left));
        1
    }
}
