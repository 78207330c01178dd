//! One plan: the line is served gang by gang, each is placed whole or left waiting with a reason.
//!
//! ```text
//! lend ─▶ promised places ─▶ critical ─▶ standard ─▶ spare ─▶ extra ranks ─▶ reasons ─▶ undo
//!         (victims on their     └ per gang: seat · else evict · else reserve · else wait
//!          way out)
//! ```
//! Everything is tried on the problem's own state, which is put back at the end: the plan is only a value.

use super::outlook::{Line, Promise};
use super::policy::order::Head;
use super::problem::forecast::Aside;
use super::problem::pending::{Key, Users};
use super::problem::pool::{KeptFor, Seat, Want};
use super::problem::{Problem, Scratch};

use super::runs::{Run, Runs};
use super::turns::{Memory, Turns};
use super::{Decision, Plan, WhatIf};
use crate::ids::GangId;
use crate::model::{Class, ShareMode};
use crate::queue::{Amounts, Hit, RUNNING, Tree, device_share};
use crate::snapshot::{Backfill, GangOrd, PlacementPolicy, Settings, Snapshot};
use crate::units::{Bytes, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Why a gang stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Free places are kept for somebody else.
    Kept(KeptFor),
    /// Too full now, in this variant.
    Room(usize),
    /// A limit.
    Limit(Hit),
    /// Too small even when empty, and large enough if all devices were well.
    Unwell(usize),
    /// Too small even when empty.
    Infeasible(usize),
    /// Others are on their way out.
    Evicting(u32),
}

impl Fate {
    /// What is told of several alternatives: the one closest to a start.
    pub const fn distance(&self) -> u8 {
        match self {
            Self::Evicting(_) => 0,
            Self::Kept(_) => 1,
            Self::Room(_) => 2,
            Self::Unwell(_) => 3,
            Self::Limit(hit) if !hit.never() => 4,
            Self::Limit(_) => 5,
            Self::Infeasible(_) => 6,
        }
    }
}

/// A gang that starts with this plan.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub gang: GangOrd,
    pub bucket: usize,
    pub alternative: usize,
    pub variant: usize,
    pub seats: Vec<Seat>,
    pub end: Timestamp,
}

/// Seats for a whole gang.
pub(super) struct Fit {
    pub alternative: usize,
    pub variant: usize,
    pub seats: Vec<Seat>,
}

/// The work on one plan.
pub(super) struct Solver<'a> {
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
    pub now: Timestamp,
    pub problem: &'a mut Problem,
    pub tree: Tree,
    pub runs: Runs,
    /// Variants that somebody waits with and that have a node left, and maybe some that have none any more.
    pub fitting: Vec<usize>,
    /// For the turns of the next class.
    memory: Memory,
    /// Tasks and ends, by variant, for which there was no room.
    pub failed: BTreeMap<usize, Vec<(u32, Timestamp)>>,
    /// Somebody starts who may have more ranks.
    grows: bool,
    /// Blocked gangs whose place is still to be found and kept.
    pub owed: Vec<(GangOrd, Key)>,
    /// Gangs whose reason is not that of their bucket.
    pub fates: BTreeMap<GangOrd, Fate>,
    pub started: Vec<Started>,
    /// Decisions about gangs that have a place, and which gangs.
    pub changes: Vec<Decision>,
    pub decided: BTreeSet<GangOrd>,
    pub again: Timestamp,
    pub reserved: u32,
    /// Victims looked at so far.
    pub looked_at: u64,
    /// Gangs that were dealt with before their turn.
    pub dealt: BTreeSet<GangOrd>,
    /// Who is on the way out, from which rank on.
    pub future: Vec<(GangOrd, u32)>,
    /// Gangs for whom enough others are on their way out.
    pub no_more: BTreeSet<GangOrd>,
    /// Expected starts of gangs with a reservation; [`Timestamp::NEVER`] when unknown.
    pub starts: BTreeMap<GangOrd, Timestamp>,
    /// What is reserved on each node.
    pub promises: BTreeMap<usize, Vec<Promise>>,
    /// What will be free on the nodes where something is reserved.
    pub lines: BTreeMap<usize, Line>,
    /// How much of what the plan changed is in them.
    pub drawn: usize,
    /// What starts on each node, where reservations ask: places in `started` and in the seats there.
    pub placed_on: BTreeMap<usize, Vec<(usize, usize)>>,
    /// Nodes that the plan changed, as variants with a reservation see them.
    pub asides: BTreeMap<usize, Aside>,
    /// Who is being explained.
    pub focus: Option<Focus>,
    /// Where the line stands still: behind the first blocked gang, when nobody may pass it.
    pub stop: Option<(Reverse<Class>, Head)>,
    /// The lowest level of a gang that is blocked and for which nobody is on the way out.
    lowest_blocked: Option<u32>,
}

/// A gang that is being explained.
pub(super) struct Focus {
    gang: GangOrd,
    asked: bool,
    /// It may start as it is, sooner or later.
    pub possible: bool,
    /// What would help.
    pub what_ifs: Vec<WhatIf>,
}

impl Focus {
    /// On this gang.
    pub const fn new(gang: GangOrd) -> Self {
        Self { gang, asked: false, possible: false, what_ifs: Vec::new() }
    }
}

/// Makes the plan.
pub(super) fn solve(problem: &mut Problem, snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Plan {
    if problem.is_idle() {
        return Plan { epoch: snapshot.epoch, at: now, decisions: Vec::new(), again: None };
    }
    let mut solver = Solver::new(problem, snapshot, settings, now);
    solver.serve_all();
    solver.wait_for_levels();
    solver.extras();
    let decisions = solver.decisions();
    let again = (solver.again != Timestamp::NEVER).then_some(solver.again);
    let Solver { problem, tree, mut runs, mut fitting, memory, .. } = solver;
    problem.reset();
    runs.clear();
    fitting.clear();
    problem.scratch = Scratch { tree, runs, fitting, turns: memory };
    Plan { epoch: snapshot.epoch, at: now, decisions, again }
}

/// Makes the plan with a turn for everybody, whether it can change anything or not: what [`solve`] leaves out is tested by this.
#[cfg(test)]
pub(super) fn solve_in_full(
    problem: &mut Problem,
    snapshot: &Snapshot,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Decision> {
    let mut solver = Solver::new(problem, snapshot, settings, now);
    solver.focus = Some(Focus::new(GangOrd(u32::MAX)));
    solver.serve_all();
    solver.extras();
    solver.decisions()
}

impl<'a> Solver<'a> {
    /// Nothing done yet.
    pub fn new(
        problem: &'a mut Problem,
        snapshot: &'a Snapshot,
        settings: &'a Settings,
        now: Timestamp,
    ) -> Self {
        let Scratch { mut tree, runs, fitting, turns } = std::mem::take(&mut problem.scratch);
        tree.renew(&snapshot.queues, &problem.total, problem.ranker.shares(settings));
        Self {
            snapshot,
            settings,
            now,
            problem,
            tree,
            runs,
            fitting,
            memory: turns,
            failed: BTreeMap::new(),
            owed: Vec::new(),
            grows: false,
            fates: BTreeMap::new(),
            started: Vec::new(),
            changes: Vec::new(),
            decided: BTreeSet::new(),
            again: Timestamp::NEVER,
            reserved: 0,
            looked_at: 0,
            dealt: BTreeSet::new(),
            future: Vec::new(),
            no_more: BTreeSet::new(),
            starts: BTreeMap::new(),
            promises: BTreeMap::new(),
            lines: BTreeMap::new(),
            drawn: 0,
            placed_on: BTreeMap::new(),
            asides: BTreeMap::new(),
            focus: None,
            stop: None,
            lowest_blocked: None,
        }
    }

    /// Everything but extra ranks.
    pub fn serve_all(&mut self) {
        self.lend();
        self.read_future();
        self.settle();
        for variant in self.problem.pending.users.keys() {
            self.problem.pool.sync(*variant);
            if self.problem.pool.may_fit(*variant) {
                self.fitting.push(*variant);
            }
        }
        for class in [Class::Critical, Class::Standard, Class::Spare] {
            self.serve(class);
        }
    }
}

impl Solver<'_> {
    /// The first gang of a bucket that was not dealt with.
    pub fn head(&self, bucket: usize) -> Option<Head> {
        let next = self.runs.get(bucket).map_or(0, |run| run.next);
        let bucket_row = &self.problem.pending.buckets[bucket];
        let place = bucket_row.gangs.iter().skip(next).find(|place| !self.is_dealt(place.gang))?;
        Some(Head::of(place, bucket_row.key.priority, bucket))
    }

    fn is_dealt(&self, gang: GangOrd) -> bool {
        (!self.dealt.is_empty() && self.dealt.contains(&gang))
            || (!self.fates.is_empty() && self.fates.contains_key(&gang))
    }

    /// How far a bucket has come.
    pub fn run(&mut self, bucket: usize) -> &mut Run {
        self.runs.entry(bucket)
    }

    /// Whether the rest of a bucket waits.
    pub fn is_over(&self, bucket: usize) -> bool {
        self.runs.get(bucket).is_some_and(|run| run.fate.is_some())
    }

    /// Whether one gang is to be explained, so that everybody has a turn.
    pub const fn is_explaining(&self) -> bool {
        self.focus.is_some()
    }

    /// Serves everybody of one class.
    ///
    /// Ends: each turn deals with one gang, or with the whole rest of a bucket.
    fn serve(&mut self, class: Class) {
        if !self.problem.pending.waits(class) {
            return;
        }
        self.serve_guaranteed(class);
        let memory = std::mem::take(&mut self.memory);
        let mut turns = Turns::new(self, class, memory);
        let one_line = self.problem.ranker.one_line;
        while self.may_anybody_start() || turns.evicts() || self.is_explaining() || self.may_grow(class) {
            let Some(line) = turns.line(&self.tree, one_line) else { break };
            let Some(head) = self.next_head(&mut turns, line) else {
                turns.close(&self.tree, line);
                continue;
            };
            if self.stop.is_some_and(|stop| stop < (Reverse(class), head)) && !self.is_explaining() {
                turns.close(&self.tree, line);
                continue;
            }
            if self.turn(&head, turns.may_evict(line, &head))
                && let Some(next) = self.head(head.bucket)
            {
                turns.push(line, next);
            }
        }
        self.memory = turns.leave();
    }

    /// Whether somebody starts who may have extra ranks, and reservations are left to give that those must heed.
    const fn may_grow(&self, class: Class) -> bool {
        self.grows && self.owes(class)
    }

    /// Whether blocked gangs of the class still get reservations.
    pub const fn owes(&self, class: Class) -> bool {
        !matches!(class, Class::Spare) && self.reserved < self.settings.most_reservations()
    }

    /// Whether some shape that somebody waits with has a node left.
    fn may_anybody_start(&mut self) -> bool {
        while self.fitting.last().is_some_and(|variant| self.is_closed(*variant)) {
            self.fitting.pop();
        }
        !self.fitting.is_empty()
    }

    /// Deals with the gang at the head of a bucket; whether the next of the bucket is worth a turn.
    fn turn(&mut self, head: &Head, may_evict: bool) -> bool {
        let key = self.problem.pending.buckets[head.bucket].key.clone();
        if let Some((_, first)) = self.stop.filter(|stop| *stop < (Reverse(key.class), *head)) {
            let kept = KeptFor { gang: first.gang, until: None };
            self.run(head.bucket).fate = Some(Fate::Kept(kept));
            return false;
        }
        let gang = self.come_to(head);
        if self.is_explaining() || may_evict || self.may_start(head.bucket) {
            self.pay();
            return self.serve_head(gang, head, &key);
        }
        let fate = self.waiting_fate(head.bucket);
        if matches!(fate, Fate::Room(_)) {
            self.stop_behind(head.bucket, gang);
            if self.reserve(gang, &key) {
                self.fates.insert(gang, fate);
                return true;
            }
        }
        self.run(head.bucket).fate = Some(fate);
        false
    }

    /// Brings a bucket to its head: gangs between were dealt with one by one.
    pub fn come_to(&mut self, head: &Head) -> GangOrd {
        let gangs = &self.problem.pending.buckets[head.bucket].gangs;
        let run = self.runs.entry(head.bucket);
        while gangs[run.next].id != head.gang {
            run.next += 1;
        }
        gangs[run.next].gang
    }

    /// Deals with the gang at the head of a bucket; whether the next of the bucket is worth trying.
    fn serve_head(&mut self, gang: GangOrd, head: &Head, key: &Key) -> bool {
        match self.attempt(head.bucket, key) {
            Ok(fit) => {
                self.run(head.bucket).next += 1;
                self.start(gang, head.bucket, key, fit);
                true
            }
            Err(fate) => {
                let blocked = matches!(fate, Fate::Room(_) | Fate::Kept(_));
                if blocked {
                    self.stop_behind(head.bucket, gang);
                }
                // Before a place is kept for it, which would be in its own way.
                self.look(head.bucket, key, &fate, |focus| focus == gang);
                let goes_on = blocked && self.make_room(gang, head, key, &fate);
                if !goes_on {
                    let bucket = head.bucket;
                    let given_up =
                        self.focus.as_ref().and_then(|focus| self.problem.bucket(focus.gang)) == Some(bucket);
                    self.look(bucket, key, &fate, |_| given_up);
                }
                if !goes_on {
                    self.run(head.bucket).fate = Some(fate);
                }
                goes_on
            }
        }
    }

    /// Remembers that so many tasks for so long have no room.
    fn note_failure(&mut self, variant: usize, count: u32, end: Timestamp) {
        let known = self.failed.entry(variant).or_default();
        if !known.iter().any(|(least, soonest)| *least <= count && *soonest <= end) {
            known.push((count, end));
        }
        if self.is_closed(variant) {
            return;
        }
        // Where the one with the best prospects has no room, nobody of the variant needs to be tried.
        let least = self.problem.pending.users.get(&variant).map(Users::least);
        let Some((1, span)) = least else { return };
        let end = span.map_or(Timestamp::NEVER, |span| self.now.after(span));
        let want = Want::one(variant, end, &[]);
        if self.problem.pool.find(&want, None, &mut None).is_none() {
            self.failed.insert(variant, vec![(1, end)]);
        }
    }

    /// Lets nobody pass a blocked gang, if that is how the line goes.
    pub fn stop_behind(&mut self, bucket: usize, gang: GangOrd) {
        let key = &self.problem.pending.buckets[bucket].key;
        if self.settings.backfill == Backfill::None
            && let Some(place) = self.problem.place(gang)
        {
            let here = (Reverse(key.class), Head::of(&place, key.priority, bucket));
            self.stop = Some(self.stop.map_or(here, |stop| stop.min(here)));
        }
    }

    /// Evicts others for a blocked gang, or keeps a place for it.
    fn make_room(&mut self, gang: GangOrd, head: &Head, key: &Key, fate: &Fate) -> bool {
        if let Some(victims) = self.evict(gang, head.bucket, key, head.rank.level) {
            let fate = if victims == 0 { fate.clone() } else { Fate::Evicting(victims) };
            self.fates.insert(gang, fate);
            return true;
        }
        if key.class != Class::Spare {
            let level = head.rank.level;
            self.lowest_blocked = Some(self.lowest_blocked.map_or(level, |lowest| lowest.min(level)));
        }
        if self.reserve(gang, key) {
            self.fates.insert(gang, fate.clone());
            return true;
        }
        false
    }

    /// Asks what would help the gang in focus, once.
    fn look(&mut self, bucket: usize, key: &Key, fate: &Fate, concerned: impl Fn(GangOrd) -> bool) {
        let Some(gang) =
            self.focus.as_ref().filter(|focus| !focus.asked && concerned(focus.gang)).map(|focus| focus.gang)
        else {
            return;
        };
        let possible = !matches!(fate, Fate::Infeasible(_) | Fate::Limit(_));
        let what_ifs = self.what_ifs(gang, bucket, key, fate);
        self.focus = Some(Focus { gang, asked: true, possible, what_ifs });
    }

    /// Forgets which domains are too full for a bucket.
    pub fn forget_domains(&mut self, bucket: usize) {
        self.run(bucket).forget_domains();
    }

    /// When a gang that starts now ends.
    pub fn end(&self, key: &Key) -> Timestamp {
        key.span.map_or(Timestamp::NEVER, |span| self.now.after(span))
    }

    /// What tasks of a variant count for, with the dearest devices that would do.
    pub fn asked(&self, variant: usize, tasks: u32, gangs: u64) -> Amounts {
        let mut asked = self.problem.pool.variants[variant].shape.amounts.times(u64::from(tasks));
        asked.0[RUNNING] = gangs;
        asked
    }

    /// What seats count for, with the devices picked.
    pub fn taken(&self, variant: usize, seats: &[Seat], gangs: u64) -> Amounts {
        let shape = &self.problem.pool.variants[variant].shape;
        let count = seats.len() as u64;
        if shape.slots.iter().all(|slot| slot.mode == ShareMode::Exclusive) {
            let mut amounts = shape.amounts.times(count);
            amounts.0[RUNNING] = gangs;
            return amounts;
        }
        let mut amounts =
            Amounts([shape.amounts.0[0], shape.amounts.0[1], shape.amounts.0[2], 0, 0, 0, 0, 0]).times(count);
        for seat in seats {
            let facts = self.problem.pool.facts(seat.node);
            for (request, grant, _) in &seat.picked {
                let kind = shape.slots.iter().find(|slot| slot.request == *request).map(|slot| slot.kind);
                let whole = Bytes(facts[grant.device as usize].memory.unsigned_abs());
                if let Some(kind) = kind {
                    amounts.add_device(kind, device_share(grant.compute, grant.memory, whole));
                }
            }
        }
        amounts.0[RUNNING] = gangs;
        amounts
    }

    /// Seats for a gang of the bucket in the first alternative that has them, on the device model that is fastest for it, or why not.
    pub fn attempt(&mut self, bucket: usize, key: &Key) -> Result<Fit, Fate> {
        let spare = key.class == Class::Spare;
        let mut nearest: Option<Fate> = None;
        for alternative in 0..self.problem.alternatives(key.demand) {
            for (_, variant) in
                self.problem.variants_by_speed(key.speed.as_deref(), key.demand, alternative, spare)
            {
                if let Ok(seats) = self.attempt_variant(bucket, key, variant) {
                    return Ok(Fit { alternative, variant, seats });
                }
                self.forget_domains(bucket);
            }
            let variant = self.problem.variant(key.demand, alternative, spare);
            let fate = match self.attempt_variant(bucket, key, variant) {
                Ok(seats) => return Ok(Fit { alternative, variant, seats }),
                Err(fate) => fate,
            };
            if nearest.as_ref().is_none_or(|nearest| fate.distance() < nearest.distance()) {
                nearest = Some(fate);
            }
        }
        // A demand without alternatives does not exist; it would be as infeasible as one that nobody has.
        Err(nearest.unwrap_or(Fate::Infeasible(0)))
    }

    fn attempt_variant(&mut self, bucket: usize, key: &Key, variant: usize) -> Result<Vec<Seat>, Fate> {
        let needed = key.size.min;
        let hit = self.tree.hit(key.queue, &self.asked(variant, needed, 1));
        if hit.is_none() {
            let mut kept = None;
            let end = self.end(key);
            for avoid in [&key.avoid[..], &[]] {
                let want = Want::one(variant, end, avoid);
                if let Some(seats) = self.seat_gang(bucket, &want, needed, &mut kept) {
                    return Ok(seats);
                }
                if avoid.is_empty() {
                    break;
                }
                self.run(bucket).dead.clear();
            }
            self.note_failure(variant, needed, end);
            if let Some(kept) = kept {
                return Err(Fate::Kept(kept));
            }
        }
        Err(self.fate_without_seats(variant, needed, hit))
    }

    /// Seats `count` tasks, all or none, as close together as there is room.
    pub fn seat_gang(
        &mut self,
        bucket: usize,
        want: &Want<'_>,
        count: u32,
        kept: &mut Option<KeptFor>,
    ) -> Option<Vec<Seat>> {
        let pool = &mut self.problem.pool;
        if count == 1 {
            let seat = pool.find(want, None, kept)?;
            pool.seat(want, &seat);
            return Some(vec![seat]);
        }
        if self.settings.placement == PlacementPolicy::Topology {
            return pool.seat_together(want, count, kept);
        }
        let dead = &mut self.runs.entry(bucket).dead;
        dead.resize(pool.domains.len(), false);
        for (domain, dead) in dead.iter_mut().enumerate() {
            if *dead {
                continue;
            }
            if pool.has_copies(want.variant, Some(domain), count)
                && let Some(seats) = pool.seat_all(want, Some(domain), count, kept)
            {
                return Some(seats);
            }
            *dead = true;
        }
        if !pool.has_copies(want.variant, None, count) {
            return None;
        }
        pool.seat_all(want, None, count, kept)
    }

    /// Records that a gang starts.
    pub fn start(&mut self, gang: GangOrd, bucket: usize, key: &Key, fit: Fit) {
        let taken = self.taken(fit.variant, &fit.seats, 1);
        self.tree.charge(key.queue, &taken);
        let end = self.end(key);
        self.grows |= key.size.max > key.size.min;
        let Fit { alternative, variant, seats } = fit;
        if self.settings.most_reservations() > 0 {
            for (at, seat) in seats.iter().enumerate() {
                self.placed_on.entry(seat.node).or_default().push((self.started.len(), at));
            }
        }
        self.started.push(Started { gang, bucket, alternative, variant, seats, end });
    }

    /// Has a plan made when a running gang's level rises, or one that waits falls, while somebody waits.
    fn wait_for_levels(&mut self) {
        if self.lowest_blocked.is_some() {
            self.again = self.again.min(self.problem.ranker.next_round(self.now));
        }
        if self.problem.ranker.rises() && self.lowest_blocked.is_some() {
            // Also of those far below: each rise is seen by a plan, or the next ones are not foreseen.
            self.again = self.again.min(self.problem.running.next_change());
        }
    }

    /// The id of a gang.
    pub fn id(&self, gang: GangOrd) -> Option<GangId> {
        self.snapshot.gang(gang).map(|row| row.id)
    }
}
