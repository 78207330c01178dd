//! Reservations: a blocked gang gets the earliest moment and the nodes at which it will fit, and nobody may delay it.
//!
//! Conservative backfill (Mu'alem and Feitelson, IEEE TPDS 2001) for the first
//! [`Settings::reservations`](crate::snapshot::Settings::reservations) blocked gangs: the earliest moment at which the tasks that nodes
//! then take add up to the gang, with everything reserved before taken out until it ends again. Nodes stand in the order
//! of the moment at which they take their first task ([`forecast`](super::problem::forecast)), so a reservation looks at the nodes it gets and
//! at those that the plan itself changed.
//!
//! Where ends are unknown the order is "oldest first" after all known ones, and the gang must have waited for
//! [`Settings::patience`](crate::snapshot::Settings::patience). No starvation: let `d` be the number of running gangs in
//! that order up to the one whose end lets it fit. Gangs that start later stand behind all of them, and nobody
//! that outlasts the start may use what is reserved, so `d` never grows, and shrinks with each end. Gangs that end within an
//! eighth of the patience may still start there: they delay it by no more than that, since from the last
//! unknown end on all ends are known and within it.

use super::problem::claims::Claim;
use super::problem::forecast::{Leaver, When, first_fit, state_at, steps};
use super::problem::pending::Key;
use super::problem::pool::KeptFor;
use super::problem::room::{NodeFree, Picked, pick_devices};
use super::solve::Solver;
use crate::ids::GangId;
use crate::model::{Class, ShareMode};
use crate::snapshot::GangOrd;
use crate::units::{Millis, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// Part of the patience for which short gangs may still use drained nodes.
const SHORT: u64 = 8;
/// Who is stopping is taken to be gone after this.
const SOON: Millis = Millis(1000);

/// What is kept for somebody on a node, to be taken out of later reservations.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    amounts: [i64; 3],
    picked: Picked,
    /// When it is free again.
    until: When,
}

/// A moment, and nodes with the tasks they take then.
struct Spot {
    when: When,
    nodes: Vec<(usize, u32)>,
}

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
            if let Some(spot) = self.find_spot(variant, need)
                && let Some(start) = self.start_at(spot.when, gang)
            {
                self.keep(variant, need, spot, (id, start, key.span));
                self.starts.insert(gang, start);
                return;
            }
        }
    }

    /// When a gang of that variant would fit, without keeping the place.
    pub fn sweep_only(&mut self, variant: usize, need: u32, gang: GangOrd) -> Option<Timestamp> {
        let spot = self.find_spot(variant, need)?;
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

    /// The earliest moment at which so many tasks fit.
    ///
    /// Ends: each turn of the loop takes a node, or one of the finitely many steps of one.
    fn find_spot(&mut self, variant: usize, need: u32) -> Option<Spot> {
        self.problem.foresee(self.snapshot, variant);
        self.look_aside(variant);
        let is_moved = &self.problem.pool.is_moved;
        let kept = self.problem.forecasts.order(variant).filter(|(_, node)| !is_moved.has(*node));
        let moved = self.asides.get(&variant)?.order.iter().copied();
        let mut firsts = merge(kept, moved).peekable();
        if need == 1 {
            return firsts.next().map(|(when, node)| Spot { when, nodes: vec![(node, 1)] });
        }
        let mut later: BinaryHeap<Reverse<(When, usize, u32)>> = BinaryHeap::new();
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        let mut total = 0_u32;
        loop {
            let step = later.peek().map(|step| (step.0.0, step.0.1));
            let is_step = step.is_some_and(|step| firsts.peek().is_none_or(|first| step < *first));
            let (when, node, count) = if is_step {
                later.pop()?.0
            } else {
                let (when, node) = firsts.next()?;
                let steps = self.steps_of(variant, node, need);
                let count =
                    steps.iter().take_while(|(at, _)| *at <= when).last().map_or(0, |(_, count)| *count);
                later.extend(
                    steps.into_iter().filter(|(at, _)| *at > when).map(|(at, n)| Reverse((at, node, n))),
                );
                (when, node, count)
            };
            let before = counts.insert(node, count).unwrap_or(0);
            total = total.saturating_add(count.saturating_sub(before));
            if total >= need {
                return Some(Spot { when, nodes: counts.into_iter().collect() });
            }
        }
    }

    /// Looks again at nodes that the plan changed since the last time.
    fn look_aside(&mut self, variant: usize) {
        let mut aside = self.asides.remove(&variant).unwrap_or_default();
        let pool = &self.problem.pool;
        let again: BTreeSet<u32> = pool.moved[aside.read..].iter().copied().collect();
        aside.read = pool.moved.len();
        for node in again.into_iter().map(|node| node as usize).filter(|node| pool.suits(variant, *node)) {
            let (state, leavers) = self.future_of(node);
            aside.set(node, first_fit(pool, variant, state, node, &leavers));
        }
        self.asides.insert(variant, aside);
    }

    /// What is free on a node, what is reserved taken out, and who will leave it.
    fn future_of(&self, node: usize) -> (NodeFree, Arc<[Leaver]>) {
        let pool = &self.problem.pool;
        let mut state = pool.state(node);
        let running = self.problem.leavers(self.snapshot, node);
        if !pool.is_moved.has(node) {
            return (state, running);
        }
        let mut leavers = running.to_vec();
        for promise in self.promises.get(&node).into_iter().flatten() {
            state.take(promise.amounts, false, &promise.picked, pool.facts(node));
            let grants = promise.picked.iter().map(|(_, grant, _)| *grant).collect();
            leavers.push(Leaver { when: promise.until, amounts: promise.amounts, spare: false, grants });
        }
        for (at, seat) in self.placed_on.get(&node).into_iter().flatten() {
            let started = &self.started[*at];
            let (shape, spare) =
                (&pool.variants[started.variant].shape, pool.variants[started.variant].spare);
            let when =
                if started.end == Timestamp::NEVER { When::Unknown(self.now) } else { When::At(started.end) };
            let grants = started.seats[*seat].picked.iter().map(|(_, grant, _)| *grant).collect();
            leavers.push(Leaver { when, amounts: [shape.cpu, shape.memory, shape.disk], spare, grants });
        }
        leavers.sort_by_key(|leaver| leaver.when);
        (state, leavers.into())
    }

    fn steps_of(&self, variant: usize, node: usize, need: u32) -> Vec<(When, u32)> {
        let (state, leavers) = self.future_of(node);
        steps(&self.problem.pool, variant, state, node, &leavers, need)
    }

    /// Writes the reservation down, on the nodes that take most tasks first.
    fn keep(
        &mut self,
        variant: usize,
        mut need: u32,
        spot: Spot,
        (gang, start, span): (GangId, Timestamp, Option<Millis>),
    ) {
        let known = start != Timestamp::NEVER;
        let kept = KeptFor { gang, until: known.then_some(start) };
        let until = match span {
            Some(span) if known => When::At(start.after(span)),
            _ => When::Never,
        };
        let start = if known { start } else { self.now.after(Millis(self.settings.patience.0 / SHORT)) };
        let Spot { when, mut nodes } = spot;
        nodes.sort_by_key(|(node, count)| (Reverse(*count), *node));
        let shape = self.problem.pool.variants[variant].shape.clone();
        let amounts = [shape.cpu, shape.memory, shape.disk];
        for (node, count) in nodes.into_iter().filter(|(_, count)| *count > 0) {
            let (state, leavers) = self.future_of(node);
            let mut left = state_at(&self.problem.pool, state, node, &leavers, when);
            let facts = self.problem.pool.facts(node).to_vec();
            for _ in 0..count.min(need) {
                let Some(picked) = pick_devices(&left.devices, &facts, &shape.slots) else { break };
                left.take(amounts, false, &picked, &facts);
                // Whatever was reserved here before leaves less as well.
                self.problem.pool.claims.charge(node, Timestamp::NEVER, amounts, false, &picked, &facts);
                self.promises.entry(node).or_default().push(Promise { amounts, picked, until });
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
