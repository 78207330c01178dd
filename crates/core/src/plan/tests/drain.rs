//! Order policies in a closed loop: random work arrives, runs, is evicted and comes back, until all of it is done.

use super::orders::{by, nodes, on};
use super::*;
use crate::plan::PreemptCause;
use crate::snapshot::{OrderPolicy, QueueOrd};
use crate::testkit::Chance;
use crate::units::Millis;
use std::collections::BTreeMap;

const PREEMPTIVE: [OrderPolicy; 6] = [
    OrderPolicy::Tiresias,
    OrderPolicy::Las,
    OrderPolicy::Srsf,
    OrderPolicy::Srtf,
    OrderPolicy::Themis,
    OrderPolicy::Gavel,
];

/// A gang to come: at which second, devices a rank, ranks, seconds it runs, what is predicted, whether it saves.
#[derive(Clone, Copy, Debug)]
struct Work {
    at: u64,
    devices: u32,
    ranks: u32,
    secs: u64,
    predicted: Option<u64>,
    saves: bool,
}

fn random_work(seed: u64, count: u64) -> Vec<Work> {
    let mut chance = Chance::new(seed);
    let mut at = 1000;
    let work = (0..count).map(|_| {
        at += chance.below(200);
        let octave = 1 + chance.below(13);
        let secs = 1 + chance.below(1 << octave);
        let (devices, ranks) = [(1, 1), (2, 1), (4, 1), (8, 1), (8, 2)][chance.below(5) as usize];
        let saves = chance.percent(80);
        Work { at, devices, ranks, secs, predicted: Some(secs), saves }
    });
    work.collect()
}

/// What came of it.
#[derive(Debug, Default)]
struct Drained {
    finished: usize,
    evictions: u64,
    by_gang: BTreeMap<GangId, u64>,
    /// Completion time, summed, in seconds.
    completion: u64,
}

/// Plays the work to its end, victims leaving at once; every plan is checked by [`Pool::plan`].
fn drain(mut pool: Pool, work: &[Work]) -> Drained {
    let mut left = work.iter().copied().peekable();
    let mut truth: BTreeMap<GangId, (u64, u64)> = BTreeMap::new();
    let mut drained = Drained::default();
    // Ends: or fails, which is what is tried here.
    for _ in 0..100 * work.len() {
        while let Some(new) = left.next_if(|work| work.at * SECOND <= pool.now) {
            let mut ask = on(new.devices).tasks(new.ranks, new.ranks);
            (ask.row.saves, ask.row.predicted) = (new.saves, new.predicted.map(Millis::from_secs));
            let at = pool.at();
            truth.insert(pool.world.submit(QueueOrd(0), ask, at), (new.at * SECOND, new.secs * SECOND));
        }
        for (gang, arrived) in over(&pool, &truth) {
            pool.world.end(gang);
            truth.remove(&gang);
            drained.finished += 1;
            drained.completion += (pool.now - arrived) / SECOND;
        }
        let again = plan_to_rest(&mut pool, &mut drained);
        let ends = truth.keys().filter_map(|gang| end_of(&pool, &truth, *gang));
        let next = ends.chain(left.peek().map(|work| work.at * SECOND)).chain(again).min();
        let Some(next) = next else { return drained };
        pool.now = next.max(pool.now + 1);
    }
    panic!("{} of {} are done, after {} evictions", drained.finished, work.len(), drained.evictions);
}

fn end_of(pool: &Pool, truth: &BTreeMap<GangId, (u64, u64)>, gang: GangId) -> Option<u64> {
    let placed = pool.world.placed(gang)?;
    let done = pool.world.gang(gang)?.attained.done.0;
    Some(placed.saved.0 + truth.get(&gang)?.1 - done)
}

fn over(pool: &Pool, truth: &BTreeMap<GangId, (u64, u64)>) -> Vec<(GangId, u64)> {
    let over =
        truth.iter().filter(|(gang, _)| end_of(pool, truth, **gang).is_some_and(|end| end <= pool.now));
    over.map(|(gang, (arrived, _))| (*gang, *arrived)).collect()
}

/// Plans until nothing changes; when the last plan wants to be made again.
fn plan_to_rest(pool: &mut Pool, drained: &mut Drained) -> Option<u64> {
    for _ in 0..50 {
        let plan = pool.plan();
        for decision in &plan.decisions {
            if let Decision::Preempt { gang, cause: PreemptCause::Order { .. }, .. } = decision {
                drained.evictions += 1;
                *drained.by_gang.entry(*gang).or_default() += 1;
            }
        }
        if acts(&plan) == 0 {
            return plan.again.map(|again| again.0);
        }
        pool.world.settle();
    }
    panic!("no rest at {}", pool.now);
}

#[test]
fn every_policy_drains_random_work() {
    use OrderPolicy::{Fifo, Goodput, Qssf, Sjf, Smallest};
    for order in [Fifo, Sjf, Qssf, Smallest, Goodput].into_iter().chain(PREEMPTIVE) {
        for seed in 1..=2 {
            let work = random_work(seed, 50);
            let drained = drain(nodes(3, by(order)), &work);
            assert_eq!(drained.finished, work.len(), "{order:?}, seed {seed}");
            assert_eq!(drained.evictions > 0, PREEMPTIVE.contains(&order), "{order:?}, seed {seed}");
        }
    }
}

#[test]
fn evictions_are_bounded_by_gangs_times_levels() {
    // The longest gang attains 16 × 8,192 device-seconds, below 4^9; Tiresias has two levels.
    for (order, levels) in [(OrderPolicy::Las, 9), (OrderPolicy::Srsf, 9), (OrderPolicy::Tiresias, 2)] {
        for seed in 1..=2 {
            let work = random_work(seed, 60);
            let drained = drain(nodes(2, by(order)), &work);
            assert!(drained.evictions <= levels * 60, "{order:?}, seed {seed}: {drained:?}");
            let most = drained.by_gang.values().max().copied().unwrap_or(0);
            assert!(most <= 4 * levels, "{order:?}, seed {seed}: one gang was evicted {most} times");
        }
    }
}

#[test]
fn remaining_service_does_not_livelock_when_all_predictions_are_alike() {
    for (seed, saves) in [(1, true), (2, false)] {
        let mut work = random_work(seed, 60);
        work.iter_mut().for_each(|work| (work.predicted, work.saves) = (Some(600), saves));
        let drained = drain(nodes(2, by(OrderPolicy::Srsf)), &work);
        assert_eq!(drained.finished, work.len());
        assert!(drained.evictions <= 9 * 60, "seed {seed}: {drained:?}");
    }
}

#[test]
fn knowing_run_times_or_learning_them_by_level_beats_the_line() {
    let mean = |order| {
        let drained: Vec<u64> =
            (1..=2).map(|seed| drain(nodes(2, by(order)), &random_work(seed, 60)).completion).collect();
        drained.iter().sum::<u64>() / (2 * 60)
    };
    let fifo = mean(OrderPolicy::Fifo);
    for order in [OrderPolicy::Sjf, OrderPolicy::Srtf, OrderPolicy::Srsf, OrderPolicy::Las] {
        assert!(mean(order) < fifo, "{order:?}: {} s, in line {fifo} s", mean(order));
    }
}
