//! Who may evict whom.
//!
//! - `critical` gangs are never evicted; `spare` gangs never evict;
//! - `critical` evicts `standard` and `spare`, `standard` evicts `spare`, in any queue;
//! - inside one queue, a higher priority evicts a lower one of the same class;
//! - inside one line, under a policy that preempts, a level evicts those [`Ranking::gap`](crate::snapshot::Ranking::gap) and more
//!   above it, of the same class and priority. A line is a queue; where all queues are one line, gangs of queues with a
//!   guarantee are safe from other queues;
//! - a queue below its guarantee takes back from queues above theirs ([`Tree::reclaims`](crate::queue::Tree::reclaims)).
//!
//! No ping-pong: if A evicts B then B cannot evict A. Without reclaim each step goes down in (class, priority, −level), a
//! strict order; reclaim only works between different queues, and not back (proof there). A chain A > B > C > A
//! would need a reclaim in it, whose taker has a guarantee, so it is safe from other queues' levels, and is within its guarantee,
//! so it is safe from reclaim until other gangs move. Where all queues are one line, who is within a guarantee is
//! served first ([`Solver::serve_guaranteed`]), so the place goes to whom it was taken for. Levels change with time; why that ends is said at each policy that
//! preempts. And no gang is evicted twice within the calm period, nor before its `min_runtime`.

use super::problem::bits::Bits;
use super::problem::pending::Key;
use super::problem::running::Evictable;
use super::solve::Solver;
use crate::ids::GangId;
use crate::model::Class;
use crate::queue::Amounts;
use crate::snapshot::{GangOrd, GangRow, PlacedGang};
use crate::units::{Millis, Timestamp};
use std::cmp::Reverse;

/// A blocked gang that looks for victims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker<'a> {
    /// Which.
    pub id: GangId,
    /// What it asks for.
    pub key: &'a Key,
    /// Its level under the order policy.
    pub level: u32,
    /// What it would use.
    pub asked: Amounts,
}

/// By what right a gang is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Class or priority.
    Priority,
    /// The order policy.
    Order,
    /// A guarantee.
    Reclaim,
}

/// What an eviction costs; the cheapest goes. Who stands last under the order policy, then who loses the least work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price {
    /// The level, of an eviction by [`Right::Order`]; otherwise above all levels.
    pub level: Reverse<u32>,
    /// Work that would be lost: dominant share × milliseconds.
    pub lost: u64,
}

impl Price {
    /// Of both: as dear as the dearer.
    pub(super) fn and(self, other: Self) -> Self {
        Self { level: self.level.max(other.level), lost: self.lost.saturating_add(other.lost) }
    }
}

/// A gang that could go.
#[derive(Clone, Debug)]
pub(super) struct Victim {
    pub gang: GangOrd,
    pub price: Price,
    pub right: Right,
    pub amounts: Amounts,
    pub queue: usize,
}

impl Solver<'_> {
    /// Whether somebody runs whom the gang might evict: cheap, and wrong only in saying yes.
    pub(super) fn any_victims(&self, taker: &Taker<'_>) -> bool {
        let all = &self.problem.running.evictable;
        let key = taker.key;
        let line = self.problem.ranker.line(key.queue);
        let at = |class, line, priority, level| Evictable { class, line, priority, level, gang: GangOrd(0) };
        let (none, all_standard) = (at(Class::Standard, 0, 0, 0), at(Class::Critical, 0, 0, 0));
        if all.range(..none).next().is_some() || self.tree.may_reclaim(key.queue, &taker.asked) {
            return true;
        }
        if key.class == Class::Critical {
            return all.range(none..all_standard).next().is_some();
        }
        let lower = at(Class::Standard, line, 0, 0)..at(Class::Standard, line, key.priority, 0);
        let from = self.problem.ranker.evicts_from(taker.level);
        let behind =
            at(Class::Standard, line, key.priority, from)..at(Class::Standard, line, key.priority, u32::MAX);
        all.range(lower).next().is_some()
            || (self.problem.ranker.preempts() && all.range(behind).next().is_some())
    }

    /// Everybody whom the gang may evict by class or priority, and maybe more; `None` where it may have another right, or
    /// where that would be nearly all who run.
    pub(super) fn lower(&self, taker: &Taker<'_>) -> Option<Bits> {
        let (key, running) = (taker.key, &self.problem.running);
        if key.class == Class::Critical
            || self.problem.ranker.preempts()
            || self.tree.any_guarantee(key.queue)
        {
            return None;
        }
        let line = self.problem.ranker.line(key.queue);
        let at = |line, priority| Evictable { class: key.class, line, priority, level: 0, gang: GangOrd(0) };
        let below = running.evictable.range(..at(0, 0));
        let own = running.evictable.range(at(line, 0)..at(line, key.priority));
        let mut lower = Bits::new(self.snapshot.gangs.len());
        below.chain(own).for_each(|other| lower.set(other.gang.0 as usize));
        Some(lower)
    }

    /// Whether the gang may evict that one now, and by what right.
    pub(super) fn cause(&mut self, taker: &Taker<'_>, gang: GangOrd) -> Option<Victim> {
        let (row, placed) = self.placed(gang)?;
        if !row.preemptible || row.class == Class::Critical || placed.stopping || placed.shrinking.is_some() {
            return None;
        }
        if self.decided.contains(&gang) {
            return None;
        }
        let queue = row.queue.0 as usize;
        let right = self.right(taker, gang, row)?;
        let amounts = self.problem.amounts(gang);
        if right == Right::Reclaim && !self.tree.reclaims(taker.key.queue, &taker.asked, queue, &amounts) {
            return None;
        }
        let (saved, mut preemptible_at) = (placed.saved, protected_until(row, placed, self.settings.calm));
        if right == Right::Order {
            preemptible_at = preemptible_at.max(placed.since.after(self.problem.ranker.lease()));
        }
        if preemptible_at > self.now {
            self.again = self.again.min(preemptible_at);
            return None;
        }
        let (share, _) = self.tree.dominant(&amounts);
        let lost = self.now.since(saved).0.saturating_mul(share.max(1));
        let level = match right {
            Right::Order => self.problem.level(self.snapshot, gang),
            Right::Priority | Right::Reclaim => u32::MAX,
        };
        let price = Price { level: Reverse(level), lost };
        Some(Victim { gang, price, right, amounts, queue })
    }

    /// The first right that the gang may have; [`Right::Reclaim`] is still to be checked.
    fn right(&self, taker: &Taker<'_>, gang: GangOrd, row: &GangRow) -> Option<Right> {
        let (key, queue) = (taker.key, row.queue.0 as usize);
        if key.class > row.class
            || key.class == row.class && key.queue == queue && key.priority > row.priority
        {
            return Some(Right::Priority);
        }
        let ranker = &self.problem.ranker;
        let equal = key.class == row.class && key.priority == row.priority;
        let one_line = key.queue == queue || ranker.one_line && !self.tree.any_guarantee(queue);
        if ranker.preempts()
            && !ranker.is_safe(row)
            && equal
            && one_line
            && self.problem.level(self.snapshot, gang) >= ranker.evicts_from(taker.level)
        {
            return Some(Right::Order);
        }
        (key.class >= row.class && self.tree.any_guarantee(key.queue)).then_some(Right::Reclaim)
    }
}

/// Until when a running gang may not be evicted.
pub(crate) fn protected_until(row: &GangRow, placed: &PlacedGang, calm: Millis) -> Timestamp {
    let minimum = placed.since.after(row.min_runtime);
    row.last_evicted.map_or(minimum, |last| minimum.max(last.after(calm)))
}
