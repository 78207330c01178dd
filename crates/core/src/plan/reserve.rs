//! Reservations: a blocked gang gets the earliest moment and the nodes at which it will fit, and nobody may delay it.
//!
//! Conservative backfill (Mu'alem and Feitelson, IEEE TPDS 2001) for the first
//! [`Settings::reservations`](crate::snapshot::Settings::reservations) blocked gangs: the earliest moment at which the tasks that nodes
//! then take add up to the gang, with everything reserved before taken out from its start to its end: a gap before it is used
//! ([`outlook`](super::outlook)). Nodes stand in the order of the moment at which they take their first task
//! ([`forecast`](super::problem::forecast)), so a reservation looks at the nodes it gets and at those that the plan itself changed.
//!
//! Where ends are unknown the order is "oldest first" after all known ones, and the gang must have waited for
//! [`Settings::patience`](crate::snapshot::Settings::patience). No starvation: let `d` be the number of running gangs in
//! that order up to the one whose end lets it fit. Gangs that start later stand behind all of them, and nobody
//! that outlasts the start may use what is reserved, so `d` never grows, and shrinks with each end. Gangs that end within an
//! eighth of the patience may still start there: they delay it by no more than that, since from the last
//! unknown end on all ends are known and within it.

use super::outlook::{Outlook, Promise, SOON, Stay};
use super::problem::claims::Claim;
use super::problem::forecast::{Leaver, When, first_fit, steps};
use super::problem::pending::Key;
use super::problem::pool::KeptFor;
use super::problem::room::{NodeFree, pick_devices};
use super::solve::Solver;
use crate::ids::GangId;
use crate::model::{Class, ShareMode};
use crate::snapshot::GangOrd;
use crate::units::{Millis, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Part of the patience for which short gangs may still use drained nodes.
const SHORT: u64 = 8;
/// A moment, and nodes with the tasks they take then, each with the moment from which it takes so many.
struct Spot {
    when: When,
    nodes: Vec<(usize, (u32, When))>,
}

/// A moment, a node and how many tasks it takes from then on, soonest first.
type Steps = BinaryHeap<Reverse<(When, usize, u32)>>;

impl Solver<'_> {
    /// Whether a blocked gang is one of those for whom a place is kept. The place itself is found when somebody might take it:
    /// until then it changes nothing.
    pub fn reserve(&mut self, gang: GangOrd, key: &Key) -> bool {
        if self.reserved >= self.settings.most_reservations() || key.class == Class::Spare {
            return false;
        }
        let need = key.size.min;
        let may = (0..self.problem.alternatives(key.demand)).any(|alternative| {
            let variant = self.problem.variant(key.demand, alternative, false);
            self.tree.hit(key.queue, &self.asked(variant, need, 1)).is_none()
                && self.problem.pool.capacity(variant, false, need) >= need
        });
        if may {
            self.reserved += 1;
            self.owed.push((gang, key.clone()));
            if self.is_explaining() {
                self.pay();
            }
        }
        may
    }

    /// Finds the places that are to be kept, before somebody else is tried.
    pub fn pay(&mut self) {
        for (gang, key) in std::mem::take(&mut self.owed) {
            if let Some(id) = self.id(gang) {
                self.keep_place(gang, id, &key);
            }
        }
    }

    fn keep_place(&mut self, gang: GangOrd, id: GangId, key: &Key) {
        for alternative in 0..self.problem.alternatives(key.demand) {
            let variant = self.problem.variant(key.demand, alternative, false);
            let need = key.size.min;
            if self.tree.hit(key.queue, &self.asked(variant, need, 1)).is_some()
                || self.problem.pool.capacity(variant, false, need) < need
            {
                continue;
            }
            if let Some(spot) = self.find_spot(variant, need, key.span)
                && let Some(start) = self.start_at(spot.when, gang)
            {
                self.keep(variant, need, spot, (id, start, key.span));
                self.starts.insert(gang, start);
                return;
            }
        }
    }

    /// When a gang of that variant would fit, without keeping the place.
    pub fn sweep_only(
        &mut self,
        variant: usize,
        need: u32,
        span: Option<Millis>,
        gang: GangOrd,
    ) -> Option<Timestamp> {
        let spot = self.find_spot(variant, need, span)?;
        self.start_at(spot.when, gang)
    }

    /// The start of a gang that fits then; [`Timestamp::NEVER`] when nobody knows it, `None` when it is not to be waited for yet.
    fn start_at(&self, when: When, gang: GangOrd) -> Option<Timestamp> {
        match when {
            When::Now => Some(self.now),
            When::Soon => Some(self.now.after(SOON)),
            When::At(end) => Some(end),
            When::Unknown(_) => {
                let queued = self.snapshot.gang(gang).map_or(self.now, |row| row.queued);
                // Nobody can start for its patience running out: there is no need to plan again just then.
                (self.now >= queued.after(self.settings.patience)).then_some(Timestamp::NEVER)
            }
            When::Never => None,
        }
    }

    /// The earliest moment from which so many tasks fit for the whole span.
    ///
    /// Ends: each turn of the loop takes a node, or one of the finitely many steps of one.
    fn find_spot(&mut self, variant: usize, need: u32, span: Option<Millis>) -> Option<Spot> {
        self.problem.foresee(self.snapshot, variant);
        self.draw_lines();
        self.look_aside(variant);
        let stay = Stay { now: self.now, span };
        let is_moved = &self.problem.pool.is_moved;
        let kept = self.problem.forecasts.order(variant).filter(|(_, node)| !is_moved.has(*node));
        let moved = self.asides.get(&variant)?.order.iter().copied();
        let mut firsts = merge(kept, moved).peekable();
        if need == 1 {
            return self.first_of(firsts, variant, stay);
        }
        let (mut more, mut fewer) = (Steps::new(), Steps::new());
        let mut counts: BTreeMap<usize, (u32, When)> = BTreeMap::new();
        let mut total = 0_u32;
        let mut change = |node, count, since| {
            let (before, _) = counts.insert(node, (count, since)).unwrap_or((0, since));
            total = total.saturating_sub(before).saturating_add(count);
            total
        };
        let mut enough: Option<When> = None;
        // Tasks that nodes take at the last moment so far.
        let mut last = (When::Now, 0_u32);
        loop {
            let step = more.peek().map(|step| (step.0.0, step.0.1));
            let is_step = step.is_some_and(|step| firsts.peek().is_none_or(|first| step < *first));
            // Whoever takes tasks at the same moment is to be chosen from, too, until those are enough by themselves.
            let next = if is_step { step } else { firsts.peek().copied() };
            let is_over = |when: &When| next.is_none_or(|(at, _)| at > *when) || last.1 >= need;
            if let Some(when) = enough.filter(is_over) {
                return Some(Spot { when, nodes: counts.into_iter().collect() });
            }
            let (when, node, count, since) = if is_step {
                let (when, node, count) = more.pop()?.0;
                (when, node, count, when)
            } else {
                let (when, node) = firsts.next()?;
                let (mut count, mut since) = (0, when);
                let mut last = 0;
                for (at, now) in self.steps_of(variant, node, stay, need) {
                    match at <= when {
                        true => (count, since) = (now, at),
                        false if now < last => fewer.push(Reverse((at, node, now))),
                        false => more.push(Reverse((at, node, now))),
                    }
                    last = now;
                }
                (when, node, count, since)
            };
            // Where there is less by then, there is before somebody has more.
            while fewer.peek().is_some_and(|step| step.0.0 <= when) {
                let (at, node, count) = fewer.pop()?.0;
                change(node, count, at);
            }
            let before = if since == last.0 { last.1 } else { 0 };
            if since >= last.0 {
                last = (since, before.saturating_add(count));
            }
            if change(node, count, since) >= need {
                enough = Some(when);
            }
        }
    }

    /// Where a single task fits first, of nodes in the order of the moment before which it does not.
    fn first_of(
        &self,
        firsts: impl Iterator<Item = (When, usize)>,
        variant: usize,
        stay: Stay,
    ) -> Option<Spot> {
        let mut best: Option<(When, usize)> = None;
        for (least, node) in firsts {
            if best.is_some_and(|best| best < (least, node)) {
                break;
            }
            let kept = self.lines.get(&node);
            let when = kept.map_or(least, |line| line.first_stay(&self.problem.pool, variant, stay));
            best = best.into_iter().chain((when != When::Never).then_some((when, node))).min();
        }
        best.map(|(when, node)| Spot { when, nodes: vec![(node, (1, when))] })
    }

    /// Looks again at nodes that the plan changed since the last time.
    fn look_aside(&mut self, variant: usize) {
        let mut aside = self.asides.remove(&variant).unwrap_or_default();
        let pool = &self.problem.pool;
        let again: BTreeSet<u32> = pool.moved[aside.read..].iter().copied().collect();
        aside.read = pool.moved.len();
        for node in again.into_iter().map(|node| node as usize).filter(|node| pool.suits(variant, *node)) {
            let first = self.lines.get(&node).map(|line| line.first(pool, variant));
            aside.set(
                node,
                first.unwrap_or_else(|| {
                    let Outlook { state, leavers, .. } = self.outlook(node);
                    first_fit(pool, variant, state, node, &leavers)
                }),
            );
        }
        self.asides.insert(variant, aside);
    }

    /// Looks again at nodes with promises that the plan changed since the last time.
    fn draw_lines(&mut self) {
        let moved = &self.problem.pool.moved;
        let again: BTreeSet<usize> = moved[self.drawn..].iter().map(|node| *node as usize).collect();
        self.drawn = moved.len();
        for node in again.into_iter().filter(|node| self.promises.contains_key(node)) {
            let line = self.outlook(node).line();
            self.lines.insert(node, line);
        }
    }

    fn steps_of(&self, variant: usize, node: usize, stay: Stay, cap: u32) -> Vec<(When, u32)> {
        let pool = &self.problem.pool;
        if let Some(line) = self.lines.get(&node) {
            return line.steps(pool, variant, stay, cap);
        }
        let Outlook { state, leavers, .. } = self.outlook(node);
        steps(pool, variant, state, node, &leavers, cap)
    }

    /// A node as it will be with what the plan starts and keeps there.
    fn outlook(&self, node: usize) -> Outlook<'_> {
        let pool = &self.problem.pool;
        let (state, running) = (pool.state(node), self.problem.leavers(self.snapshot, node));
        let starting = self.placed_on.get(&node).map_or(&[][..], Vec::as_slice);
        let promises = self.promises.get(&node).map_or(&[][..], Vec::as_slice);
        if !pool.is_moved.has(node) || starting.is_empty() {
            return Outlook { pool, node, state, leavers: running, promises };
        }
        let mut leavers = running.to_vec();
        for (at, seat) in starting {
            let started = &self.started[*at];
            let (shape, spare) =
                (&pool.variants[started.variant].shape, pool.variants[started.variant].spare);
            let when =
                if started.end == Timestamp::NEVER { When::Unknown(self.now) } else { When::At(started.end) };
            let grants = started.seats[*seat].picked.iter().map(|(_, grant, _)| *grant).collect();
            leavers.push(Leaver { when, amounts: [shape.cpu, shape.memory, shape.disk], spare, grants });
        }
        leavers.sort_by_key(|leaver| leaver.when);
        Outlook { pool, node, state, leavers: leavers.into(), promises }
    }

    /// Writes the reservation down, on the nodes that take most tasks first, and of those on the ones that are the last to do so: whoever
    /// may be ahead of it has the others from now on.
    fn keep(
        &mut self,
        variant: usize,
        mut need: u32,
        spot: Spot,
        (gang, start, span): (GangId, Timestamp, Option<Millis>),
    ) {
        let known = start != Timestamp::NEVER;
        let kept = KeptFor { gang, until: known.then_some(start) };
        let Spot { when, mut nodes } = spot;
        let stay = Stay { now: self.now, span };
        let (from, until) = if known { (when, stay.end(when)) } else { (When::Now, When::Never) };
        let start = if known { start } else { self.now.after(Millis(self.settings.patience.0 / SHORT)) };
        nodes.sort_by_key(|(node, (count, since))| (Reverse(*count), Reverse(*since), *node));
        let shape = self.problem.pool.variants[variant].shape.clone();
        let amounts = [shape.cpu, shape.memory, shape.disk];
        for (node, (count, _)) in nodes.into_iter().filter(|(_, (count, _))| *count > 0) {
            let (mut left, mut through) = self.outlook(node).line().between(when, stay);
            let facts = self.problem.pool.facts(node).to_vec();
            for _ in 0..count.min(need) {
                let Some(picked) = pick_devices(&through.devices, &facts, &shape.slots) else { break };
                left.take(amounts, false, &picked, &facts);
                through.take(amounts, false, &picked, &facts);
                // Whatever is reserved here for a moment between leaves less as well.
                let between = |claim: &Claim| {
                    let start = When::At(claim.start);
                    claim.kept.until.is_none() || (from <= start && start < until)
                };
                self.problem.pool.claims.charge(node, between, amounts, false, &picked, &facts);
                self.promises.entry(node).or_default().push(Promise { amounts, picked, from, until });
                need -= 1;
            }
            self.problem.pool.claims.add(node, Claim { kept, start, left });
            self.problem.pool.note_move(node);
            if need == 0 {
                break;
            }
        }
    }
}

/// Two sorted sequences as one.
fn merge(
    a: impl Iterator<Item = (When, usize)>,
    b: impl Iterator<Item = (When, usize)>,
) -> impl Iterator<Item = (When, usize)> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if y < x => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}

impl NodeFree {
    /// Gives back what a task holds.
    pub(super) fn give(
        &mut self,
        amounts: [i64; 3],
        spare: bool,
        grants: impl Iterator<Item = crate::event::DeviceGrant>,
        facts: &[super::problem::room::DeviceFacts],
    ) {
        self.free.shift(amounts[0], amounts[1], amounts[2], spare, -1);
        for grant in grants {
            let at = grant.device as usize;
            if let Some(device) = self.devices.get_mut(at) {
                device.shift(&facts[at], &grant, ShareMode::Exclusive, -1);
            }
        }
    }
}
