//! The queue tree while one plan is made: use, limits, guarantees, and the order of siblings.
//!
//! Dominant resource fairness (Ghodsi et al., NSDI'11): a queue's share is its largest used part of any
//! resource, divided by its weight; the sibling with the smallest share is next. Applied level by level from the
//! root (the hierarchical form of Bhattacharya et al., SoCC'13, without their rescaling of blocked children, so a group
//! whose children need complementary resources counts with its sum). Ours differs in two constants: the share is
//! the present one plus the decayed mean of the past ([`Settings::half_life`](crate::snapshot::Settings::half_life)),
//! and a queue below its guarantee goes before all that are not.

use super::amounts::{Amounts, DIMS, RUNNING};
use crate::snapshot::QueueRow;
use crate::units::{Millis, scaled};

/// A whole, in the unit of shares: one billionth.
const WHOLE: u64 = 1_000_000_000;
/// Says nothing about this dimension.
const UNSAID: u64 = u64::MAX;

/// A limit in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which queue.
    pub queue: usize,
    /// Which dimension.
    pub at: usize,
    /// Used now.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// Asked for.
    pub asked: u64,
}

impl Hit {
    /// Whether even an empty queue would refuse it.
    #[must_use]
    pub const fn never(&self) -> bool {
        self.asked > self.limit
    }
}

/// One queue.
#[derive(Clone, Debug)]
struct Queue {
    parent: Option<usize>,
    used: Amounts,
    /// No longer counted as used, and not free either.
    leaving: Amounts,
    limit: Amounts,
    guarantee: Amounts,
    guaranteed: bool,
    weight: u64,
    past: u64,
    key: (u8, u64),
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    queues: Vec<Queue>,
    /// Children of each queue, ascending.
    pub children: Vec<Vec<usize>>,
    /// What `inverse` is made from.
    total: Amounts,
    /// `WHOLE << 64` over the pool's total, per dimension.
    inverse: [u128; DIMS],
    /// Somebody asks for [`Self::key`].
    keyed: bool,
}

/// Mean share of the past in billionths: history is millionths × seconds, and a constant share `s` held for ever
/// has the history `s × half_life / ln 2`.
fn past(history: u64, half_life: Millis) -> u64 {
    const LN_2_MILLIONTHS: u64 = 693_147;
    scaled(scaled(history, LN_2_MILLIONTHS, 1000), 1000, half_life.0).min(WHOLE)
}

impl Queue {
    fn new(row: &QueueRow, half_life: Option<Millis>) -> Self {
        let guarantee = Amounts::of_limits(&row.spec.guarantee, UNSAID);
        let mut limit = Amounts::of_limits(&row.spec.limit, UNSAID);
        if !row.spec.borrow {
            for (limit, guarantee) in limit.0.iter_mut().zip(guarantee.0) {
                *limit = (*limit).min(guarantee);
            }
        }
        Self {
            parent: row.parent.map(|parent| parent.0 as usize),
            used: Amounts::of_usage(&row.used),
            leaving: Amounts::ZERO,
            limit,
            guaranteed: guarantee.0[..RUNNING].iter().any(|part| *part != UNSAID),
            guarantee,
            weight: u64::from(row.spec.weight.max(1)),
            past: half_life.map_or(0, |half_life| past(row.history, half_life)),
            key: (1, 0),
        }
    }
}

impl Tree {
    /// From the snapshot's rows and the pool's total. The half-life is that of the history that counts into shares;
    /// `None`: nobody asks for [`Self::key`].
    #[must_use]
    pub fn new(rows: &[QueueRow], total: &Amounts, half_life: Option<Millis>) -> Self {
        let mut tree = Self::default();
        tree.renew(rows, total, half_life);
        tree
    }

    /// As [`Self::new`], in the place of what was there: a tree for each plan, and nothing to allocate.
    pub fn renew(&mut self, rows: &[QueueRow], total: &Amounts, half_life: Option<Millis>) {
        self.children.iter_mut().for_each(Vec::clear);
        self.children.resize_with(rows.len(), Vec::new);
        self.queues.clear();
        for (at, row) in rows.iter().enumerate() {
            if let Some(parent) = row.parent {
                self.children[parent.0 as usize].push(at);
            }
            self.queues.push(Queue::new(row, half_life));
        }
        if self.total != *total {
            self.total = *total;
            self.inverse =
                total.0.map(|whole| (u128::from(WHOLE) << 64).checked_div(u128::from(whole)).unwrap_or(0));
        }
        self.keyed = half_life.is_some();
        for at in 0..self.queues.len() {
            self.rekey(at);
        }
    }

    fn part(&self, used: u64, at: usize) -> u64 {
        u64::try_from(self.inverse[at].saturating_mul(u128::from(used)) >> 64).unwrap_or(u64::MAX)
    }

    /// The largest part of any resource of the pool that the amounts are, in billionths, and its dimension.
    #[must_use]
    pub fn dominant(&self, amounts: &Amounts) -> (u64, usize) {
        let parts = (0..RUNNING).map(|at| (self.part(amounts.0[at], at), at));
        parts.fold((0, 0), |best, part| if part.0 > best.0 { part } else { best })
    }

    /// Recomputes the place of a queue among its siblings: smaller goes first.
    fn rekey(&mut self, at: usize) {
        if !self.keyed {
            return;
        }
        let queue = &self.queues[at];
        let (share, dimension) = self.dominant(&queue.used);
        let below = queue.guaranteed && (share == 0 || queue.guarantee.0[dimension] != UNSAID);
        let filled = (0..RUNNING).filter(|d| queue.guarantee.0[*d] != UNSAID).map(|d| {
            let (used, whole) = (queue.used.0[d], queue.guarantee.0[d]);
            if whole == 0 { 0 } else { scaled(used, WHOLE, whole) }
        });
        let filled = filled.max().unwrap_or(WHOLE);
        let weighted = share.saturating_add(queue.past).saturating_mul(100) / queue.weight;
        self.queues[at].key = if below && filled < WHOLE { (0, filled) } else { (1, weighted) };
    }

    /// Where the queue stands among its siblings: the smallest goes first. All alike in a tree without a half-life.
    #[must_use]
    pub fn key(&self, queue: usize) -> (u8, u64) {
        self.queues[queue].key
    }

    /// The queue and all above it.
    pub fn path(&self, queue: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(queue), |at| self.queues[*at].parent)
    }

    /// Whether a queue is `above` or the same.
    #[must_use]
    pub fn is_under(&self, queue: usize, above: usize) -> bool {
        self.path(queue).any(|at| at == above)
    }

    /// The first limit in the way of using that much more; limits that could never be met first.
    #[must_use]
    pub fn hit(&self, queue: usize, asked: &Amounts) -> Option<Hit> {
        let mut first = None;
        for at in self.path(queue) {
            let Queue { used, leaving, limit, .. } = &self.queues[at];
            for d in 0..DIMS {
                let used = used.0[d].saturating_add(leaving.0[d]);
                let hit = Hit { queue: at, at: d, used, limit: limit.0[d], asked: asked.0[d] };
                if hit.asked > 0 && hit.used.saturating_add(hit.asked) > hit.limit {
                    if hit.never() {
                        return Some(hit);
                    }
                    first = first.or(Some(hit));
                }
            }
        }
        first
    }

    /// Queues with a limit: which, what they use with what is leaving, and the limit.
    #[must_use]
    pub fn limited(&self) -> Vec<(usize, Amounts, Amounts)> {
        let limited = |queue: &Queue| queue.limit.0.iter().any(|part| *part != UNSAID);
        let all = self.queues.iter().enumerate().filter(|(_, queue)| limited(queue));
        all.map(|(at, queue)| (at, queue.used.plus(&queue.leaving), queue.limit)).collect()
    }

    /// Counts amounts as used, by the queue and all above.
    pub fn charge(&mut self, queue: usize, amounts: &Amounts) {
        self.change(queue, |used| used.plus(amounts));
    }

    /// Counts amounts as no longer used.
    pub fn refund(&mut self, queue: usize, amounts: &Amounts) {
        self.change(queue, |used| used.minus(amounts));
    }

    /// Counts amounts as on their way out: limits still see them, shares and guarantees no longer.
    pub fn leave(&mut self, queue: usize, amounts: &Amounts) {
        self.refund(queue, amounts);
        self.change_leaving(queue, |leaving| leaving.plus(amounts));
    }

    /// Undoes [`Self::leave`].
    pub fn stay(&mut self, queue: usize, amounts: &Amounts) {
        self.charge(queue, amounts);
        self.change_leaving(queue, |leaving| leaving.minus(amounts));
    }

    fn change_leaving(&mut self, queue: usize, change: impl Fn(&Amounts) -> Amounts) {
        let mut next = Some(queue);
        while let Some(at) = next {
            self.queues[at].leaving = change(&self.queues[at].leaving);
            next = self.queues[at].parent;
        }
    }

    fn change(&mut self, queue: usize, change: impl Fn(&Amounts) -> Amounts) {
        let mut next = Some(queue);
        while let Some(at) = next {
            self.queues[at].used = change(&self.queues[at].used);
            self.rekey(at);
            next = self.queues[at].parent;
        }
    }

    /// Whether the queue's use, with that much more, is still within a guarantee that speaks of what is asked.
    fn within(&self, queue: usize, asked: &Amounts) -> bool {
        let Queue { used, guarantee, .. } = &self.queues[queue];
        let said: Vec<usize> =
            (0..RUNNING).filter(|d| guarantee.0[*d] != UNSAID && asked.0[*d] > 0).collect();
        !said.is_empty() && said.iter().all(|d| used.0[*d].saturating_add(asked.0[*d]) <= guarantee.0[*d])
    }

    /// Whether a gang of `victim` may be evicted so that one of `queue` gets what is guaranteed.
    ///
    /// At the level where the two paths part, the taker's side stays within its guarantee with what it asks, and on the
    /// victim's side every queue from there down is over its own in something the victim uses.
    ///
    /// No ping-pong: right after, the victim's side has used' + victim = used > guarantee in a dimension the victim
    /// uses, so it may not reclaim; and the taker's side is within its guarantee, so nobody may reclaim from it.
    /// Either changes only when other gangs end or start.
    #[must_use]
    pub fn reclaims(&self, queue: usize, asked: &Amounts, victim_queue: usize, victim: &Amounts) -> bool {
        let Some(top) = self.path(queue).take_while(|at| !self.is_under(victim_queue, *at)).last() else {
            return false;
        };
        if !self.within(top, asked) {
            return false;
        }
        self.path(victim_queue).take_while(|at| !self.is_under(queue, *at)).all(|at| !self.covers(at, victim))
    }

    /// Whether a guarantee speaks of something the gang uses and the queue is within it in all of that.
    fn covers(&self, queue: usize, gang: &Amounts) -> bool {
        let Queue { used, guarantee, .. } = &self.queues[queue];
        let said: Vec<usize> = (0..RUNNING).filter(|d| guarantee.0[*d] != UNSAID && gang.0[*d] > 0).collect();
        !said.is_empty() && said.iter().all(|d| used.0[*d] <= guarantee.0[*d])
    }

    /// Whether any queue has a guarantee.
    #[must_use]
    pub fn has_guarantees(&self) -> bool {
        self.queues.iter().any(|queue| queue.guaranteed)
    }

    /// Whether the queue or one above has a guarantee.
    #[must_use]
    pub fn any_guarantee(&self, queue: usize) -> bool {
        self.path(queue).any(|at| self.queues[at].guaranteed)
    }

    /// Whether a gang asking that could reclaim from anybody.
    #[must_use]
    pub fn may_reclaim(&self, queue: usize, asked: &Amounts) -> bool {
        self.path(queue).any(|at| self.queues[at].guaranteed && self.within(at, asked))
    }
}
