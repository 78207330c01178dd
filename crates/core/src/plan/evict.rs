//! Eviction: a place for a gang that may not wait, at the price of the fewest whole gangs, of those that stand last, and of the least lost work.
//!
//! Who may evict whom is said in [`super::rights`].

use super::problem::bits::Bits;
use super::problem::pending::{Key, Place};
use super::problem::pool::{Pool, Want};
use super::problem::profile::copies;
use super::problem::shape::signed;
use super::rights::{Price, Right, Taker, Victim};
use super::solve::{Fate, Fit, Solver};
use super::{Decision, PreemptCause};
use crate::ids::GangId;
use crate::model::{Class, ShareMode};
use crate::queue::Amounts;
use crate::snapshot::{Backfill, GangOrd, GangPhase, GangRow, NodeOrd, Placed, PlacedGang};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Running gangs looked at in one plan.
const MOST_LOOKS: u64 = 20_000;
/// Nodes with a workable choice of victims that are compared, at least; four for each task of the gang.
const MOST_NODES: usize = 64;
/// Nodes looked at for one gang.
const MOST_NODES_SEEN: usize = 1024;
/// Decisions about running gangs in one plan beyond which nobody else is evicted.
const MOST_CHANGES: usize = 256;

/// A gang that others are leaving for, in the order of the line.
type Waiting = (Reverse<(Class, u16)>, Place, Vec<GangOrd>);

/// What a gang that looks for victims has found out so far.
struct Known {
    /// Who else stands low enough, where that alone decides: most gangs need no closer look.
    lower: Option<Bits>,
    /// Who could go, of those it has looked at.
    victims: BTreeMap<GangOrd, Option<Victim>>,
}

/// One choice of victims on a node: how many, at what price, where, who.
type Choice = (usize, Price, usize, Vec<GangOrd>);

impl Solver<'_> {
    /// Gives gangs the places that others are leaving for them, or keeps those until they are free.
    pub fn settle(&mut self) {
        let mut victims: BTreeMap<GangId, Vec<GangOrd>> = BTreeMap::new();
        for gang in &self.problem.running.leaving {
            let Some((_, placed)) = self.placed(*gang) else { continue };
            let by_shrink = placed.shrinking.and_then(|shrinking| shrinking.beneficiary);
            if let Some(beneficiary) = placed.evicted_for.or(by_shrink) {
                victims.entry(beneficiary).or_default().push(*gang);
            }
        }
        let mut waiting: Vec<Waiting> = Vec::new();
        for (id, victims) in victims {
            let Some(gang) = self.snapshot.gang_ord(id) else { continue };
            if let Some(place) = self.problem.place(gang)
                && let Some(row) = self.snapshot.gang(gang)
            {
                waiting.push((Reverse((row.class, row.priority)), place, victims));
            }
        }
        waiting.sort();
        for (_, place, victims) in waiting {
            self.settle_one(place.gang, &victims);
        }
    }

    fn settle_one(&mut self, gang: GangOrd, victims: &[GangOrd]) {
        let Some(bucket) = self.problem.bucket(gang) else { return };
        let key = self.problem.pending.buckets[bucket].key.clone();
        if let Ok(fit) = self.attempt(bucket, &key) {
            self.start(gang, bucket, &key, fit);
            self.dealt.insert(gang);
            return;
        }
        let before = self.tree.clone();
        let mut gone: Vec<(usize, Amounts)> = Vec::new();
        for victim in victims {
            if let Some((row, placed)) = self.placed(*victim)
                && placed.stopping
            {
                gone.push((row.queue.0 as usize, self.problem.amounts(*victim)));
            }
        }
        gone.iter().for_each(|(queue, amounts)| self.tree.refund(*queue, amounts));
        self.enter_future();
        if let Ok(fit) = self.attempt(bucket, &key) {
            self.charge_fit(&key, &fit);
            // Limits count them until they are gone.
            for (queue, amounts) in &gone {
                self.tree.charge(*queue, amounts);
                self.tree.leave(*queue, amounts);
            }
            self.fates.insert(gang, Fate::Evicting(u32::try_from(victims.len()).unwrap_or(u32::MAX)));
            self.dealt.insert(gang);
            self.stop_behind(bucket, gang);
        } else {
            self.tree = before;
            // Who is on the way out for it is enough: nobody else has to go.
            self.no_more.insert(gang);
        }
        self.leave_future();
        self.run(bucket).forget_domains();
    }

    /// Where all queues are one line: serves those who ask for no more than their queue is guaranteed before all others.
    /// Whoever was evicted for one of them may stand before it in the line, and would take the place again; and where nobody may pass
    /// a blocked gang, one that is blocked beyond its queue's guarantee would keep them from what is theirs.
    pub fn serve_guaranteed(&mut self, class: Class) {
        if !self.problem.ranker.one_line || !self.tree.has_guarantees() {
            return;
        }
        let Some(line) = self.problem.pending.lines.get(&(class, 0)) else { return };
        let queue_of = |bucket: usize| self.problem.pending.buckets[bucket].key.queue;
        let heads = line.all.iter().filter(|head| self.tree.any_guarantee(queue_of(head.bucket)));
        let buckets: Vec<usize> = heads.map(|head| head.bucket).collect();
        for bucket in buckets {
            while self.serve_one_guaranteed(bucket) {}
        }
    }

    /// Ends: each time one gang less of the bucket waits, or is not dealt with.
    fn serve_one_guaranteed(&mut self, bucket: usize) -> bool {
        let Some(head) = self.head(bucket) else { return false };
        let key = self.problem.pending.buckets[bucket].key.clone();
        let variant = self.problem.variant(key.demand, 0, false);
        let asked = self.asked(variant, key.size.min, 1);
        let stopped = self.stop.is_some_and(|stop| stop < (Reverse(key.class), head));
        // Elsewhere it has its turn in the line, whoever is blocked before it.
        let evicts = self.settings.backfill == Backfill::None;
        if stopped || !self.tree.may_reclaim(key.queue, &asked) || !(evicts || self.may_start(bucket)) {
            return false;
        }
        self.pay();
        let gang = self.come_to(&head);
        match self.attempt(bucket, &key) {
            Ok(fit) => {
                self.run(bucket).next += 1;
                self.start(gang, bucket, &key, fit);
                true
            }
            Err(fate) if evicts && matches!(fate, Fate::Room(_) | Fate::Kept(_)) => {
                let victims = self.evict(gang, bucket, &key, head.rank.level);
                if let Some(victims) = victims {
                    self.fates.insert(gang, if victims == 0 { fate } else { Fate::Evicting(victims) });
                }
                victims.is_some()
            }
            Err(_) => false,
        }
    }

    /// Everybody who is on the way out.
    pub fn read_future(&mut self) {
        let leaving: Vec<GangOrd> = self.problem.running.leaving.iter().copied().collect();
        for gang in leaving {
            if let Some((_, placed)) = self.placed(gang) {
                let from = if placed.stopping {
                    0
                } else {
                    placed.shrinking.map_or(u32::MAX, |shrinking| shrinking.to)
                };
                self.future.push((gang, from));
            }
        }
    }

    /// Looks at the pool as it will be when all who are on the way out are gone.
    fn enter_future(&mut self) {
        self.move_future(-1);
    }

    /// Looks at the pool as it is.
    fn leave_future(&mut self) {
        self.move_future(1);
    }

    fn move_future(&mut self, sign: i64) {
        let future = std::mem::take(&mut self.future);
        self.looked_at += future.len() as u64;
        for (gang, from) in &future {
            self.move_tasks(*gang, |task| task.rank >= *from, sign);
        }
        self.future = future;
    }

    /// Gives back (-1) or takes again (1) what some tasks of a running gang hold.
    pub fn move_tasks(&mut self, gang: GangOrd, which: impl Fn(&Placed) -> bool, sign: i64) {
        let snapshot = self.snapshot;
        let Some(row) = snapshot.gang(gang) else { return };
        let GangPhase::Placed(placed) = &row.phase else { return };
        for task in placed.tasks.iter().filter(|task| which(task)) {
            let request = task.request;
            let cpu = if placed.frozen.is_some() { 0 } else { signed(request.cpu.0) };
            let amounts = [cpu, signed(request.memory.0), signed(request.disk.0)];
            let devices = &snapshot.node(task.node).devices;
            let grants = task.devices.iter().filter_map(|grant| {
                let mode = devices.get(grant.device as usize)?.mode.unwrap_or(ShareMode::Exclusive);
                Some((*grant, mode))
            });
            self.problem.pool.shift(task.node.0 as usize, amounts, row.class == Class::Spare, grants, sign);
        }
    }

    /// A running gang's row and place.
    pub fn placed(&self, gang: GangOrd) -> Option<(&GangRow, &PlacedGang)> {
        let row = self.snapshot.gang(gang)?;
        match &row.phase {
            GangPhase::Placed(placed) => Some((row, placed)),
            _ => None,
        }
    }

    /// Makes room for a blocked gang; how many others must go. None, and a place all the same, when enough are leaving as it is.
    pub fn evict(&mut self, gang: GangOrd, bucket: usize, key: &Key, level: u32) -> Option<u32> {
        if key.class == Class::Spare || self.run(bucket).no_victims || self.no_more.contains(&gang) {
            return None;
        }
        if self.looked_at > MOST_LOOKS || self.changes.len() > MOST_CHANGES {
            self.again = self.again.min(self.now.after(crate::units::Millis(1000)));
            return None;
        }
        let id = self.id(gang)?;
        for alternative in 0..self.problem.alternatives(key.demand) {
            let variant = self.problem.variant(key.demand, alternative, false);
            let need = key.size.min;
            let asked = self.asked(variant, need, 1);
            if self.tree.hit(key.queue, &asked).is_some()
                || self.problem.pool.capacity(variant, false, need) < need
            {
                continue;
            }
            let shrinks = !self.problem.running.elastic.is_empty();
            let taker = Taker { id, key, level, asked };
            let evicts = self.any_victims(&taker);
            if !shrinks && !evicts {
                continue;
            }
            let trial = self.problem.pool.trial();
            self.enter_future();
            self.run(bucket).forget_domains();
            let mut count = self.seat_in_future(bucket, key, variant);
            if count.is_none() && shrinks {
                count = self.shrink_others(id, bucket, key, variant);
            }
            if count.is_none() && evicts {
                count = self.evict_others(bucket, &taker, variant);
            }
            self.leave_future();
            self.problem.pool.forget_trial(trial, &[variant]);
            self.run(bucket).forget_domains();
            if count.is_some() {
                return count;
            }
        }
        self.run(bucket).no_victims = true;
        None
    }

    fn seat_in_future(&mut self, bucket: usize, key: &Key, variant: usize) -> Option<u32> {
        if self.future.is_empty() {
            return None;
        }
        let want = Want::one(variant, self.end(key), &[]);
        let seats = self.seat_gang(bucket, &want, key.size.min, &mut None)?;
        self.charge_fit(key, &Fit { alternative: 0, variant, seats });
        Some(0)
    }

    fn evict_others(&mut self, bucket: usize, taker: &Taker<'_>, variant: usize) -> Option<u32> {
        let key = taker.key;
        let (mark, before) = (self.problem.pool.mark(), self.tree.clone());
        let mut known = Known { lower: self.lower(taker), victims: BTreeMap::new() };
        let mut chosen: Vec<Victim> = Vec::new();
        let (need, mut enough) = (key.size.min, false);
        let mut choices = self.choices(taker, variant, &mut known);
        // Ends: each turn takes at least one victim more, or a choice away.
        while !enough {
            let Some(choice) = choices.pop_first() else { break };
            let (_, _, node, _) = choice;
            let gone: BTreeSet<GangOrd> = chosen.iter().map(|victim| victim.gang).collect();
            let Some(fresh) = self.choice(taker, variant, node, &gone, &mut known) else { continue };
            if fresh > choice {
                choices.insert(fresh);
                continue;
            }
            if self.take_victims(&fresh.3, taker, &known, &mut chosen) {
                let gone = chosen.iter().map(|v| v.gang).collect();
                choices.extend(self.choice(taker, variant, node, &gone, &mut known));
            }
            enough = self.problem.pool.has_copies(variant, None, need);
        }
        if enough {
            self.spare_some(variant, need, &mut chosen);
            let want = Want::one(variant, self.end(key), &[]);
            self.run(bucket).forget_domains();
            if let Some(seats) = self.seat_gang(bucket, &want, need, &mut None) {
                self.go(taker.id, key, Fit { alternative: 0, variant, seats }, &chosen);
                return u32::try_from(chosen.len()).ok();
            }
        }
        self.problem.pool.undo(mark);
        self.tree = before;
        None
    }

    /// Workable choices on the emptiest nodes that the variant suits.
    fn choices(&mut self, taker: &Taker<'_>, variant: usize, known: &mut Known) -> BTreeSet<Choice> {
        let most = MOST_NODES.max(4 * taker.key.size.min as usize);
        let mut choices = BTreeSet::new();
        let nodes: Vec<usize> = self
            .problem
            .pool
            .by_score()
            .filter(|node| self.problem.pool.suits(variant, *node))
            .take(MOST_NODES_SEEN.max(most))
            .collect();
        for node in nodes {
            if choices.len() >= most || self.looked_at > MOST_LOOKS {
                break;
            }
            choices.extend(self.choice(taker, variant, node, &BTreeSet::new(), known));
        }
        choices
    }

    /// The fewest victims on a node, and of those the cheapest, with which one more task fits there.
    fn choice(
        &mut self,
        taker: &Taker<'_>,
        variant: usize,
        node: usize,
        gone: &BTreeSet<GangOrd>,
        known: &mut Known,
    ) -> Option<Choice> {
        let snapshot = self.snapshot;
        let row = snapshot.node(NodeOrd(u32::try_from(node).unwrap_or(u32::MAX)));
        let mut here: Vec<(Price, GangOrd)> = Vec::new();
        for gang in row.gangs.iter().filter(|gang| !gone.contains(gang)) {
            self.looked_at += 1;
            if known.lower.as_ref().is_some_and(|lower| !lower.has(gang.0 as usize)) {
                debug_assert!(self.cause(taker, *gang).is_none(), "who stands no lower may not go");
                continue;
            }
            let victim = known.victims.entry(*gang).or_insert_with(|| self.cause(taker, *gang));
            here.extend(victim.as_ref().map(|victim| (victim.price, *gang)));
        }
        here.sort_unstable();
        let base = self.problem.pool.copies(variant, node, u32::MAX);
        let picked = self.fewest(variant, node, base, &here)?;
        let prices = here.iter().filter(|(_, gang)| picked.contains(gang)).map(|(price, _)| *price);
        let price = prices.reduce(Price::and)?;
        Some((picked.len(), price, node, picked))
    }

    fn fits_without(&mut self, variant: usize, node: usize, base: u32, gone: &[GangOrd]) -> bool {
        let mut state = self.problem.pool.state(node);
        for gang in gone {
            let Some((row, placed)) = self.placed(*gang) else { continue };
            for task in placed.tasks.iter().filter(|task| task.node.0 as usize == node) {
                let amounts =
                    [signed(task.request.cpu.0), signed(task.request.memory.0), signed(task.request.disk.0)];
                let grants = task.devices.iter().copied();
                state.give(amounts, row.class == Class::Spare, grants, self.problem.pool.facts(node));
            }
        }
        let pool: &Pool = &self.problem.pool;
        let (facts, shape) = (pool.facts(node), &pool.variants[variant].shape);
        copies((&state.free, &state.devices), facts, shape, false, base.saturating_add(1)) > base
    }

    /// One victim if one is enough, else two, else as many as it takes: the largest of the cheap ones, then without those not needed.
    fn fewest(
        &mut self,
        variant: usize,
        node: usize,
        base: u32,
        here: &[(Price, GangOrd)],
    ) -> Option<Vec<GangOrd>> {
        let gangs: Vec<GangOrd> = here.iter().map(|(_, gang)| *gang).collect();
        if gangs.is_empty() || !self.fits_without(variant, node, base, &gangs) {
            return None;
        }
        for gang in &gangs {
            if self.fits_without(variant, node, base, &[*gang]) {
                return Some(vec![*gang]);
            }
        }
        let mut best: Option<(Price, Vec<GangOrd>)> = None;
        for (at, (price, gang)) in here.iter().enumerate().take(32) {
            for (other_price, other) in here.iter().take(at) {
                let sum = price.and(*other_price);
                if best.as_ref().is_none_or(|(least, _)| sum < *least)
                    && self.fits_without(variant, node, base, &[*other, *gang])
                {
                    best = Some((sum, vec![*other, *gang]));
                }
            }
        }
        if let Some((_, pair)) = best {
            return Some(pair);
        }
        let mut all = gangs;
        let mut at = all.len();
        // Drop the dearest that is not needed, one after the other.
        while at > 0 {
            at -= 1;
            let gang = all.remove(at);
            if !self.fits_without(variant, node, base, &all) {
                all.insert(at, gang);
            }
        }
        Some(all)
    }

    /// Lets victims go, unless that would take back more than is guaranteed.
    fn take_victims(
        &mut self,
        gangs: &[GangOrd],
        taker: &Taker<'_>,
        known: &Known,
        chosen: &mut Vec<Victim>,
    ) -> bool {
        let before = self.tree.clone();
        let mut new = Vec::new();
        for gang in gangs {
            let Some(Some(victim)) = known.victims.get(gang) else { continue };
            let Taker { key, asked, .. } = taker;
            if victim.right == Right::Reclaim
                && !self.tree.reclaims(key.queue, asked, victim.queue, &victim.amounts)
            {
                self.tree = before;
                return false;
            }
            self.tree.leave(victim.queue, &victim.amounts);
            new.push(victim.clone());
        }
        for victim in &new {
            self.move_tasks(victim.gang, |_| true, -1);
        }
        chosen.extend(new);
        true
    }

    /// Lets victims stay that turn out not to be needed, the dearest first.
    fn spare_some(&mut self, variant: usize, need: u32, chosen: &mut Vec<Victim>) {
        if chosen.len() < 2 {
            return;
        }
        chosen.sort_by_key(|victim| (Reverse(victim.price), victim.gang));
        let mut at = 0;
        while at < chosen.len() {
            let gang = chosen[at].gang;
            self.move_tasks(gang, |_| true, 1);
            if self.problem.pool.has_copies(variant, None, need) {
                let victim = chosen.remove(at);
                self.tree.stay(victim.queue, &victim.amounts);
            } else {
                self.move_tasks(gang, |_| true, -1);
                at += 1;
            }
        }
    }

    /// Writes evictions down and keeps the place for whom they are.
    fn go(&mut self, beneficiary: GangId, key: &Key, fit: Fit, chosen: &[Victim]) {
        self.charge_fit(key, &fit);
        for victim in chosen {
            self.future.push((victim.gang, 0));
            self.decided.insert(victim.gang);
            let Some((row, placed)) = self.placed(victim.gang) else { continue };
            let cause = match victim.right {
                Right::Reclaim => PreemptCause::Reclaim { beneficiary },
                Right::Priority => PreemptCause::Priority { beneficiary },
                Right::Order => PreemptCause::Order { beneficiary },
            };
            let decision = Decision::Preempt { gang: row.id, generation: placed.generation, cause };
            self.changes.push(decision);
        }
    }

    pub fn charge_fit(&mut self, key: &Key, fit: &Fit) {
        let taken = self.taken(fit.variant, &fit.seats, 1);
        self.tree.charge(key.queue, &taken);
    }
}
