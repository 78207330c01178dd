//! Whose turn it is: the heads of buckets in the order of their line, those left out at whom a look would change nothing.
//!
//! A bucket that fits nowhere, for whom nobody can be evicted and who gets no reservation only costs its turn. So the line is walked
//! in full while reservations are left to give, and after that only over buckets whose shape has a node that may take it;
//! and not at all when no shape has one. Leaving somebody out who would not have started moves nobody else: it charges no
//! queue and takes no room.

use super::policy::order::{Head, fair_share};
use super::problem::pending::Heads;
use super::solve::Solver;
use crate::model::Class;
use crate::queue::Tree;
use crate::snapshot::Backfill;
use crate::units::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;

/// One line of one class.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Who stands up to here had a turn.
    cursor: Option<Head>,
    /// Buckets that had a turn and whose next gang wants one.
    again: BinaryHeap<Reverse<Head>>,
    /// The next that may start of each variant, once the others are left out.
    starters: Option<BinaryHeap<Reverse<(Head, usize)>>>,
    /// Higher priorities may evict somebody, so all of them have a turn.
    evicts_above: Option<Bound<u16>>,
}

/// The lines of one class.
#[derive(Debug)]
pub(super) struct Turns {
    class: Class,
    /// Lines that are not over, ascending.
    lanes: Vec<(usize, Lane)>,
    /// Per queue, lines that are not over in it and below.
    live: Vec<u32>,
    /// Lines in which somebody may evict.
    evicting: usize,
}

/// What the turns of one class leave to those of the next. Nothing is read from it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    lanes: Vec<(usize, Lane)>,
    live: Vec<u32>,
}

fn after(cursor: Option<Head>) -> (Bound<Head>, Bound<Head>) {
    (cursor.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Lane {
    /// Whether somebody there may evict.
    fn evicts(&self, head: &Head) -> bool {
        match self.evicts_above {
            Some(Bound::Excluded(priority)) => head.priority.0 > priority,
            Some(_) => true,
            None => false,
        }
    }
}

impl Turns {
    /// Nobody had a turn.
    pub fn new(solver: &Solver<'_>, class: Class, memory: Memory) -> Self {
        let lines = solver.problem.pending.lines.range((class, 0)..=(class, usize::MAX));
        let Memory { lanes, mut live } = memory;
        live.resize(solver.snapshot.queues.len(), 0);
        let mut turns = Self { class, lanes, live, evicting: 0 };
        for ((_, line), heads) in lines {
            let evicts_above = solver.evicts_above(class, *line, heads);
            turns.evicting += usize::from(evicts_above.is_some());
            turns.lanes.push((*line, Lane { evicts_above, ..Lane::default() }));
            for at in solver.tree.path(*line) {
                turns.live[at] += 1;
            }
        }
        turns
    }

    /// They are over.
    pub fn leave(mut self) -> Memory {
        self.lanes.clear();
        self.live.clear();
        Memory { lanes: self.lanes, live: self.live }
    }

    /// Where a line stands that is not over.
    fn place(&self, line: usize) -> Option<usize> {
        self.lanes.binary_search_by_key(&line, |(line, _)| *line).ok()
    }

    /// The line to be served next.
    pub fn line(&self, tree: &Tree, one_line: bool) -> Option<usize> {
        if one_line {
            return self.place(0).is_some().then_some(0);
        }
        fair_share::next(tree, &self.live, |at| self.place(at).is_some())
    }

    /// Nobody of this line has a turn any more.
    pub fn close(&mut self, tree: &Tree, line: usize) {
        if let Some(place) = self.place(line) {
            let (_, lane) = self.lanes.remove(place);
            self.evicting -= usize::from(lane.evicts_above.is_some());
            for at in tree.path(line) {
                self.live[at] -= 1;
            }
        }
    }

    /// Whether somebody may evict.
    pub const fn evicts(&self) -> bool {
        self.evicting > 0
    }

    /// Whether who has this turn may evict.
    pub fn may_evict(&self, line: usize, head: &Head) -> bool {
        self.place(line).is_some_and(|place| self.lanes[place].1.evicts(head))
    }

    /// The next gang of a bucket wants a turn.
    pub fn push(&mut self, line: usize, head: Head) {
        if let Some(place) = self.place(line) {
            self.lanes[place].1.again.push(Reverse(head));
        }
    }
}

impl Solver<'_> {
    /// Who of the line has the next turn.
    ///
    /// Ends: each turn of the loop takes an entry, or moves on in the line.
    pub(super) fn next_head(&self, turns: &mut Turns, line: usize) -> Option<Head> {
        let (class, pending) = (turns.class, &self.problem.pending);
        let heads = pending.lines.get(&(class, line))?;
        let place = turns.place(line)?;
        let lane = &mut turns.lanes[place].1;
        loop {
            let again = lane.again.peek().map(|head| head.0);
            let walked = heads.all.range(after(lane.cursor)).next().copied();
            let next = [again, walked].into_iter().flatten().min();
            let evicts = next.is_some_and(|head| lane.evicts(&head));
            if !evicts && lane.evicts_above.take().is_some() {
                turns.evicting -= 1;
            }
            let walk = evicts || self.walks(class);
            let head = if walk {
                let head = next?;
                if again == Some(head) { lane.again.pop().map_or(head, |head| head.0) } else { head }
            } else {
                self.next_starter(lane, heads)?
            };
            if walk && again != Some(head) {
                lane.cursor = Some(head);
            }
            if self.is_over(head.bucket) {
                continue;
            }
            match self.head(head.bucket) {
                Some(now) if now == head => return Some(head),
                // Its first was dealt with before its turn, or it comes by another alternative for a second time.
                Some(now) if now > head && walk => lane.again.push(Reverse(now)),
                Some(now) if now > head && !lane.again.iter().any(|other| other.0 == now) => {
                    lane.again.push(Reverse(now));
                }
                _ => {}
            }
        }
    }

    /// Whether everybody of the class has a turn.
    fn walks(&self, class: Class) -> bool {
        self.is_explaining() || self.owes(class) || self.settings.backfill == Backfill::None
    }

    fn next_starter(&self, lane: &mut Lane, heads: &Heads) -> Option<Head> {
        let of = |variant: usize, cursor: Option<Head>| {
            let own = heads.by_variant.get(&variant)?;
            own.range(after(cursor)).find(|head| self.may_start_as(head.bucket, variant)).copied()
        };
        let cursor = lane.cursor;
        let starters = lane.starters.get_or_insert_with(|| {
            let open = self.fitting.iter().filter(|variant| !self.is_closed(**variant));
            let firsts = open.filter_map(|at| of(*at, cursor).map(|head| Reverse((head, *at))));
            firsts.collect()
        });
        loop {
            let again = lane.again.peek().map(|head| head.0);
            let first = starters.peek().map(|entry| entry.0);
            match (again, first) {
                (Some(again), first) if first.is_none_or(|(head, _)| again < head) => {
                    lane.again.pop();
                    if self.may_start(again.bucket) {
                        return Some(again);
                    }
                }
                (_, Some((head, variant))) => {
                    starters.pop();
                    if !self.is_closed(variant)
                        && let Some(next) = of(variant, Some(head))
                    {
                        starters.push(Reverse((next, variant)));
                    }
                    if self.may_start_as(head.bucket, variant) {
                        return Some(head);
                    }
                }
                _ => return None,
            }
        }
    }

    /// Whether a bucket's shape has a node that may take it.
    pub(super) fn may_start(&self, bucket: usize) -> bool {
        self.problem.pending.buckets[bucket].variants.iter().any(|at| self.may_start_as(bucket, *at))
    }

    /// The same of one alternative. More tasks than failed, for as long or longer, fail too: tasks a node takes for a given
    /// time do not depend on those on other nodes, and while a class is served room only gets less.
    fn may_start_as(&self, bucket: usize, variant: usize) -> bool {
        let key = &self.problem.pending.buckets[bucket].key;
        let failed = self.failed.get(&variant).map_or(&[][..], Vec::as_slice);
        self.problem.pool.may_fit(variant)
            && !failed.iter().any(|(count, end)| *count <= key.size.min && *end <= self.end(key))
    }

    /// Whether nobody who waits with the variant has room.
    pub(super) fn is_closed(&self, variant: usize) -> bool {
        let Some(users) = self.problem.pending.users.get(&variant) else { return true };
        let (size, span) = users.least();
        let end = span.map_or(Timestamp::NEVER, |span| self.now.after(span));
        let failed = self.failed.get(&variant).map_or(&[][..], Vec::as_slice);
        !self.problem.pool.may_fit(variant)
            || failed.iter().any(|(count, until)| *count <= size && *until <= end)
    }

    /// From which priority on somebody of the line may evict: cheap, and wrong only in saying yes.
    fn evicts_above(&self, class: Class, line: usize, heads: &Heads) -> Option<Bound<u16>> {
        if class == Class::Spare {
            return None;
        }
        if self.tree.has_guarantees() || !self.problem.running.elastic.is_empty() || self.is_explaining() {
            return Some(Bound::Unbounded);
        }
        let least = self.problem.running.least_evictable(class, line, self.problem.ranker.preempts())?;
        let first = heads.all.first()?;
        match least {
            Bound::Excluded(priority) if first.priority.0 <= priority => None,
            least => Some(least),
        }
    }
}
