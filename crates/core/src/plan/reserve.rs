//! Reservations: a blocked gang gets the earliest moment and the nodes at which it will fit, and nobody may delay it.
//!
//! Conservative backfill (Mu'alem and Feitelson, IEEE TPDS 2001) for the first
//! [`Settings::reservations`](crate::snapshot::Settings::reservations) blocked gangs: releases are added in the
//! order of their expected ends until the gang fits, with everything reserved before taken out until it ends again.
//!
//! Where ends are unknown the order is "oldest first" after all known ones, and the gang must have waited for
//! [`Settings::patience`](crate::snapshot::Settings::patience). No starvation: let `d` be the number of running gangs in
//! that order up to the one whose end lets it fit. Gangs that start later stand behind all of them, and nobody
//! that outlasts the start may use what is reserved, so `d` never grows, and shrinks with each end. Gangs that end within an
//! eighth of the patience may still start there: they delay it by no more than that, since from the last
//! unknown end on all ends are known and within it.

use super::problem::claims::Claim;
use super::problem::pending::Key;
use super::problem::pool::KeptFor;
use super::problem::profile::copies;
use super::problem::room::{NodeFree, Picked, pick_devices};
use super::problem::shape::signed;
use super::solve::Solver;
use crate::ids::GangId;
use crate::model::{Class, ShareMode};
use crate::snapshot::{GangOrd, GangPhase};
use crate::units::{Millis, Timestamp};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Ends looked at for one reservation; later ones count as unknown.
const MOST_ENDS: usize = 20_000;
/// Part of the patience for which short gangs may still use drained nodes.
const SHORT: u64 = 8;

/// What is kept for somebody on a node, to be taken out of later reservations.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    amounts: [i64; 3],
    picked: Picked,
}

/// Somebody who will leave.
#[derive(Clone, Copy, Debug)]
enum Leaver {
    Running(GangOrd),
    Started(usize),
    Promised(usize),
}

/// Nodes as they will be.
struct Sweep {
    variant: usize,
    need: u32,
    total: u32,
    states: BTreeMap<usize, (NodeFree, u32)>,
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
            let mut sweep = self.begin_sweep(variant, need);
            if let Some(start) = self.sweep(&mut sweep, gang) {
                self.keep(sweep, id, start, key.span);
                self.starts.insert(gang, start);
                return;
            }
        }
    }

    /// When a gang of that variant would fit, without keeping the place.
    pub fn sweep_only(&mut self, variant: usize, need: u32, gang: GangOrd) -> Option<Timestamp> {
        let mut sweep = self.begin_sweep(variant, need);
        self.sweep(&mut sweep, gang)
    }

    fn begin_sweep(&mut self, variant: usize, need: u32) -> Sweep {
        let mut sweep = Sweep { variant, need, total: 0, states: BTreeMap::new() };
        for node in self.problem.pool.candidates(variant) {
            self.change(&mut sweep, node, |_| {});
            if sweep.total >= need {
                break;
            }
        }
        sweep
    }

    /// Changes the future state of a node and counts again.
    fn change(&self, sweep: &mut Sweep, node: usize, change: impl FnOnce(&mut NodeFree)) {
        let pool = &self.problem.pool;
        let (state, count) = sweep.states.entry(node).or_insert_with(|| {
            let mut state = pool.state(node);
            for promise in self.promises.get(&node).into_iter().flatten() {
                state.take(promise.amounts, false, &promise.picked, pool.facts(node));
            }
            (state, 0)
        });
        change(state);
        sweep.total -= *count;
        *count = copies(state, pool.facts(node), &pool.variants[sweep.variant].shape, false, sweep.need);
        sweep.total = sweep.total.saturating_add(*count);
    }

    /// Lets everybody leave in order until the gang fits; the start, [`Timestamp::NEVER`] when nobody knows it.
    fn sweep(&mut self, sweep: &mut Sweep, gang: GangOrd) -> Option<Timestamp> {
        if sweep.total >= sweep.need {
            return Some(self.now);
        }
        // Nearly sorted since the last time: the sort is stable and finds runs.
        self.new_ends.sort();
        let late = self.late_leavers();
        for (end, leaver) in self.known_leavers(late) {
            self.leave(sweep, leaver);
            if sweep.total >= sweep.need {
                return Some(end);
            }
        }
        let queued = self.snapshot.gang(gang).map_or(self.now, |row| row.queued);
        // Nobody can start for its patience running out: there is no need to plan again just then.
        if self.now < queued.after(self.settings.patience) {
            return None;
        }
        for leaver in self.unknown_leavers() {
            self.leave(sweep, leaver);
            if sweep.total >= sweep.need {
                return Some(Timestamp::NEVER);
            }
        }
        None
    }

    /// Those who are overdue, and reserved gangs when they end again. Who is overdue is given a quarter of its age, at least a second.
    fn late_leavers(&self) -> Vec<(Timestamp, Leaver)> {
        let mut late: Vec<(Timestamp, Leaver)> = Vec::new();
        for (_, gang) in self.problem.running.ends.range(..=(self.now, GangOrd(u32::MAX))) {
            let age = self.since(*gang).map_or(Millis::ZERO, |since| self.now.since(since));
            late.push((self.now.after(Millis((age.0 / 4).max(1000))), Leaver::Running(*gang)));
        }
        late.extend(self.promised.iter().enumerate().map(|(at, (end, _))| (*end, Leaver::Promised(at))));
        late.sort_by_key(|(end, _)| *end);
        late
    }

    /// Those with a known end, soonest first.
    fn known_leavers(
        &self,
        late: Vec<(Timestamp, Leaver)>,
    ) -> impl Iterator<Item = (Timestamp, Leaver)> + '_ {
        let after = (Bound::Excluded((self.now, GangOrd(u32::MAX))), Bound::Unbounded);
        let running =
            self.problem.running.ends.range(after).map(|(end, gang)| (*end, Leaver::Running(*gang)));
        let new = self.new_ends.iter().take_while(|(end, _)| *end != Timestamp::NEVER);
        let new = new.map(|(end, at)| (*end, Leaver::Started(*at)));
        merge(merge(running, new), late.into_iter()).take(MOST_ENDS)
    }

    fn unknown_leavers(&self) -> Vec<Leaver> {
        let old = self.problem.running.open.iter().map(|(_, gang)| Leaver::Running(*gang));
        let new = self.new_ends.iter().filter(|(end, _)| *end == Timestamp::NEVER);
        old.chain(new.map(|(_, at)| Leaver::Started(*at))).collect()
    }

    fn since(&self, gang: GangOrd) -> Option<Timestamp> {
        match &self.snapshot.gang(gang)?.phase {
            GangPhase::Placed(placed) if !placed.stopping => Some(placed.since),
            _ => None,
        }
    }

    fn leave(&self, sweep: &mut Sweep, leaver: Leaver) {
        match leaver {
            Leaver::Started(at) => {
                let started = &self.started[at];
                let (variant, wanted) = (&self.problem.pool.variants[started.variant], sweep.variant);
                let amounts = [variant.shape.cpu, variant.shape.memory, variant.shape.disk];
                for seat in started.seats.iter().filter(|seat| self.problem.pool.suits(wanted, seat.node)) {
                    let grants = seat.picked.iter().map(|(_, grant, _)| *grant);
                    self.change(sweep, seat.node, |state| {
                        state.give(amounts, variant.spare, grants, self.problem.pool.facts(seat.node));
                    });
                }
            }
            Leaver::Promised(at) => {
                for (node, promise) in &self.promised[at].1 {
                    if self.problem.pool.suits(sweep.variant, *node) {
                        let grants = promise.picked.iter().map(|(_, grant, _)| *grant);
                        self.change(sweep, *node, |state| {
                            state.give(promise.amounts, false, grants, self.problem.pool.facts(*node));
                        });
                    }
                }
            }
            Leaver::Running(gang) => {
                let Some(row) = self.snapshot.gang(gang) else { return };
                let GangPhase::Placed(placed) = &row.phase else { return };
                for task in &placed.tasks {
                    let node = task.node.0 as usize;
                    if self.problem.pool.suits(sweep.variant, node) {
                        let request = task.request;
                        let amounts =
                            [signed(request.cpu.0), signed(request.memory.0), signed(request.disk.0)];
                        let grants = task.devices.iter().copied();
                        self.change(sweep, node, |state| {
                            state.give(
                                amounts,
                                row.class == Class::Spare,
                                grants,
                                self.problem.pool.facts(node),
                            );
                        });
                    }
                }
            }
        }
    }

    /// Writes the reservation down, on the nodes that take most tasks first.
    fn keep(&mut self, sweep: Sweep, gang: GangId, start: Timestamp, span: Option<Millis>) {
        let known = start != Timestamp::NEVER;
        let kept = KeptFor { gang, until: known.then_some(start) };
        let start = if known { start } else { self.now.after(Millis(self.settings.patience.0 / SHORT)) };
        let mut nodes: Vec<(usize, NodeFree, u32)> = sweep
            .states
            .into_iter()
            .filter(|(_, (_, count))| *count > 0)
            .map(|(node, (state, count))| (node, state, count))
            .collect();
        nodes.sort_by_key(|(node, _, count)| (std::cmp::Reverse(*count), *node));
        let shape = self.problem.pool.variants[sweep.variant].shape.clone();
        let amounts = [shape.cpu, shape.memory, shape.disk];
        let mut need = sweep.need;
        let mut seats = Vec::new();
        for (node, mut left, count) in nodes {
            let facts = self.problem.pool.facts(node).to_vec();
            for _ in 0..count.min(need) {
                let Some(picked) = pick_devices(&left.devices, &facts, &shape.slots) else { break };
                left.take(amounts, false, &picked, &facts);
                // Whatever was reserved here before leaves less as well.
                self.problem.pool.claims.charge(node, Timestamp::NEVER, amounts, false, &picked, &facts);
                let promise = Promise { amounts, picked };
                self.promises.entry(node).or_default().push(promise.clone());
                seats.push((node, promise));
                need -= 1;
            }
            self.problem.pool.claims.add(node, Claim { kept, start, left });
            if need == 0 {
                break;
            }
        }
        if let (true, Some(span)) = (known, span) {
            self.promised.push((start.after(span), seats));
        }
    }
}

/// Two sorted sequences as one; the first goes before the second on ties.
fn merge<A, B>(a: A, b: B) -> impl Iterator<Item = (Timestamp, Leaver)>
where
    A: Iterator<Item = (Timestamp, Leaver)>,
    B: Iterator<Item = (Timestamp, Leaver)>,
{
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some((x, _)), Some((y, _))) if y < x => b.next(),
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
