//! Order policies: who starts first, who is evicted for whom, and that it ends.

use super::*;
use crate::model::{QueueSpec, Shape, Speed};
use crate::plan::world::{Ask, gpus, shape};
use crate::plan::{PreemptCause, Verdict};
use crate::snapshot::{Backfill, OrderPolicy, QueueOrd, QueuePolicy};
use crate::units::Millis;
use std::sync::Arc;

const ROOT: QueueOrd = QueueOrd(0);

pub(super) fn by(order: OrderPolicy) -> Settings {
    Settings { order, calm: Millis::ZERO, ..Settings::default() }
}

/// Nodes of eight devices.
pub(super) fn nodes(count: usize, settings: Settings) -> Pool {
    let mut world = World::new();
    for _ in 0..count {
        world.node(64, 512, &vec![World::gpu("V100", 32); 8], &[]);
    }
    Pool::with(world, settings)
}

pub(super) fn on(devices: u32) -> Ask {
    let mut one: Shape = shape(1, 1);
    one.devices.push(gpus(devices));
    Ask::new(one).saves()
}

impl Pool {
    fn add(&mut self, ask: Ask) -> GangId {
        let at = self.at();
        self.world.submit(ROOT, ask, at)
    }

    /// Who runs, in the order of submission.
    fn running_of(&self, gangs: &[GangId]) -> Vec<bool> {
        gangs.iter().map(|id| self.runs(*id)).collect()
    }

    /// The order in which gangs start that fit one after the other, each ended as soon as it runs.
    fn starts(&mut self, gangs: &[GangId]) -> Vec<usize> {
        let mut order = Vec::new();
        while order.len() < gangs.len() {
            self.run();
            let at = gangs.iter().position(|id| self.runs(*id)).expect("somebody runs");
            order.push(at);
            self.world.end(gangs[at]);
        }
        order
    }
}

/// Four gangs that fill a node each, one after the other: (ranks of eight devices asked by `devices`, predicted seconds).
fn order_of(order: OrderPolicy, gangs: &[(u32, u64)]) -> Vec<usize> {
    let settings = Settings { backfill: Backfill::None, ..by(order) };
    let mut pool = nodes(1, settings);
    let first = pool.add(on(8).firm());
    pool.run();
    let gangs: Vec<GangId> =
        gangs.iter().map(|(devices, secs)| pool.add(on(*devices).predicted(*secs).firm())).collect();
    pool.run();
    pool.world.end(first);
    pool.starts(&gangs)
}

#[test]
fn each_policy_has_its_order() {
    // 5 × 400 s, 8 × 300 s, 6 × 10 s, 7 × 350 s: no two fit together.
    let gangs = [(5, 400), (8, 300), (6, 10), (7, 350)];
    assert_eq!(order_of(OrderPolicy::Fifo, &gangs), [0, 1, 2, 3]);
    assert_eq!(order_of(OrderPolicy::Sjf, &gangs), [2, 1, 3, 0]);
    assert_eq!(order_of(OrderPolicy::Srtf, &gangs), [2, 1, 3, 0]);
    assert_eq!(order_of(OrderPolicy::Qssf, &gangs), [2, 0, 1, 3]);
    assert_eq!(order_of(OrderPolicy::Srsf, &gangs), [2, 0, 1, 3]);
    assert_eq!(order_of(OrderPolicy::Smallest, &gangs), [0, 2, 3, 1]);
    assert_eq!(order_of(OrderPolicy::Las, &gangs), [0, 1, 2, 3]);
    assert_eq!(order_of(OrderPolicy::Tiresias, &gangs), [0, 1, 2, 3]);
}

#[test]
fn predictions_order_exactly() {
    let gangs = [(8, 100_003), (8, 100_002), (8, 100_001)];
    assert_eq!(order_of(OrderPolicy::Sjf, &gangs), [2, 1, 0]);
}

#[test]
fn priority_goes_before_any_rank() {
    let mut pool = nodes(1, by(OrderPolicy::Sjf));
    let short = pool.add(on(8).predicted(1));
    let urgent = pool.add(on(8).predicted(1000).priority(750));
    pool.run();
    assert_eq!(pool.running_of(&[short, urgent]), [false, true]);
}

/// A node whose eight devices have four left, a blocked gang of eight behind, then one of two and one of four.
fn behind(backfill: Backfill) -> (Pool, [GangId; 4], Plan) {
    let settings = Settings { backfill, ..by(OrderPolicy::Fifo) };
    let mut pool = nodes(1, settings);
    pool.add(on(4).limit(100).firm());
    let gangs = [
        pool.add(on(8).limit(100)),
        pool.add(on(8).limit(100)),
        pool.add(on(2).limit(150)),
        pool.add(on(2).limit(50)),
    ];
    let plan = pool.plan();
    pool.run();
    (pool, gangs, plan)
}

#[test]
fn backfill_decides_who_passes_a_blocked_gang() {
    let (pool, gangs, plan) = behind(Backfill::None);
    assert_eq!(pool.running_of(&gangs), [false; 4], "the line stands still");
    assert_eq!(reason(&plan, gangs[3]), Some(&HoldReason::NoRoom));
    assert_eq!(pool.why(gangs[3]).reason, Some(HoldReason::Reserved { gang: gangs[0], until: None }));
    for reserving in [Backfill::Easy, Backfill::Conservative] {
        let (pool, gangs, _) = behind(reserving);
        assert_eq!(pool.running_of(&gangs), [false, false, false, true], "{reserving:?}: who ends in time");
    }
    let (pool, gangs, _) = behind(Backfill::Greedy);
    assert_eq!(pool.running_of(&gangs), [false, false, true, true]);
}

#[test]
fn easy_keeps_a_place_for_the_first_alone() {
    for (backfill, passes) in [(Backfill::Easy, true), (Backfill::Conservative, false)] {
        let mut pool = nodes(2, Settings { backfill, ..by(OrderPolicy::Fifo) });
        pool.add(on(4).limit(100).firm());
        pool.add(on(5).limit(1000).firm());
        pool.run();
        let first = pool.add(on(8).limit(100));
        let second = pool.add(on(8).tasks(2, 2).limit(100));
        // It would outlast the second's start, not the first's, which is on the other node.
        let small = pool.add(on(3).limit(2000));
        pool.run();
        assert_eq!(pool.running_of(&[first, second, small]), [false, false, passes], "{backfill:?}");
    }
}

#[test]
fn a_gang_that_can_never_start_blocks_nobody() {
    let settings = Settings { backfill: Backfill::None, ..by(OrderPolicy::Fifo) };
    let mut pool = nodes(1, settings);
    let giant = pool.add(on(9));
    let small = pool.add(on(1));
    pool.run();
    assert!(pool.runs(small));
    let explained = pool.planner.explain(&pool.world.snapshot, giant, pool.at()).unwrap();
    assert_eq!(explained.verdict, Verdict::NeedsYou);
}

#[test]
fn a_new_gang_takes_the_place_of_one_that_has_had_much() {
    for order in [OrderPolicy::Las, OrderPolicy::Tiresias] {
        let mut pool = nodes(1, by(order));
        let old = pool.add(on(8));
        pool.run();
        pool.now += 3000 * SECOND;
        let new = pool.add(on(8));
        let plan = pool.plan();
        let Some(Decision::Preempt { cause, .. }) = plan.decisions.first() else { panic!("{plan:?}") };
        assert_eq!(*cause, PreemptCause::Order { beneficiary: new });
        pool.world.settle();
        pool.run();
        assert_eq!(pool.running_of(&[old, new]), [false, true], "{order:?}");
        let attained = pool.world.gang(old).unwrap().attained;
        assert_eq!(attained.service, 8 * 1000 * 3000 * SECOND);
        assert_eq!(attained.done, Millis::from_secs(3000));
    }
}

#[test]
fn the_planner_wakes_when_a_running_gang_rises_to_another_level() {
    let mut pool = nodes(1, by(OrderPolicy::Las));
    let running = pool.add(on(8));
    pool.run();
    let waiting = pool.add(on(8));
    let plan = pool.plan();
    assert!(evicted(&plan).is_empty());
    // Level 1 begins at four device-seconds: half a second of eight devices.
    assert_eq!(plan.again, Some(Timestamp(pool.now + 500)));
    pool.now += 499;
    assert!(evicted(&pool.plan()).is_empty());
    pool.now += 1;
    assert_eq!(evicted(&pool.plan()), [running]);
    pool.world.settle();
    pool.run();
    assert!(pool.runs(waiting));
}

#[test]
fn nobody_is_evicted_where_the_newcomer_would_not_fit_all_the_same() {
    let mut pool = nodes(2, by(OrderPolicy::Las));
    pool.add(on(8).firm());
    let old = pool.add(on(8));
    pool.run();
    pool.now += 3000 * SECOND;
    pool.add(on(8).tasks(2, 2));
    assert!(evicted(&pool.plan()).is_empty());
    assert!(pool.runs(old));
}

#[test]
fn levels_evict_inside_a_queue_and_across_queues_only_in_one_line() {
    for (queues, across) in [(QueuePolicy::FairShare, false), (QueuePolicy::OneLine, true)] {
        let mut pool = nodes(1, Settings { queues, ..by(OrderPolicy::Las) });
        let (a, b) = (pool.world.queue(QueueSpec::new("a")), pool.world.queue(QueueSpec::new("b")));
        let at = pool.at();
        let old = pool.world.submit(a, on(8), at);
        pool.run();
        pool.now += 3000 * SECOND;
        let at = pool.at();
        pool.world.submit(b, on(8), at);
        assert_eq!(evicted(&pool.plan()) == [old], across, "{queues:?}");
    }
}

#[test]
fn what_a_guarantee_covers_is_safe_from_the_levels_of_other_queues() {
    let mut pool = nodes(1, Settings { queues: QueuePolicy::OneLine, ..by(OrderPolicy::Las) });
    let mut safe = QueueSpec::new("safe");
    safe.guarantee.cpu = Some(8000);
    let (safe, other) = (pool.world.queue(safe), pool.world.queue(QueueSpec::new("other")));
    let at = pool.at();
    pool.world.submit(safe, on(8), at);
    pool.run();
    pool.now += 3000 * SECOND;
    let at = pool.at();
    pool.world.submit(other, on(8), at);
    assert!(evicted(&pool.plan()).is_empty());
}

/// Found by the property test of any small pool: the victim stood before the taker, got its place again, and so on for ever.
#[test]
fn in_one_line_a_place_goes_to_the_guarantee_it_was_taken_for() {
    for backfill in [Backfill::None, Backfill::Easy, Backfill::Conservative, Backfill::Greedy] {
        let settings = Settings { queues: QueuePolicy::OneLine, backfill, ..by(OrderPolicy::Fifo) };
        let mut pool = nodes(1, settings);
        let mut owner = QueueSpec::new("owner");
        owner.guarantee.cpu = Some(8000);
        let (guest, owner) = (pool.world.queue(QueueSpec::new("guest")), pool.world.queue(owner));
        let at = pool.at();
        let old = pool.world.submit(guest, on(8).priority(900), at);
        pool.run();
        pool.now += 3000 * SECOND;
        let at = pool.at();
        let new = pool.world.submit(owner, on(1), at);
        assert_eq!(evicted(&pool.plan()), [old], "{backfill:?}");
        pool.world.settle();
        pool.run();
        assert_eq!(pool.running_of(&[old, new]), [false, true], "{backfill:?}");
        pool.now += 3000 * SECOND;
        assert!(evicted(&pool.plan()).is_empty(), "{backfill:?}");
    }
}

#[test]
fn a_guarantee_holds_though_somebody_beyond_theirs_is_blocked_before() {
    use OrderPolicy::{Fifo, Qssf, Sjf, Smallest};
    for order in [Fifo, Smallest, Sjf, Qssf] {
        let settings = Settings { queues: QueuePolicy::OneLine, backfill: Backfill::None, ..by(order) };
        let mut pool = nodes(1, settings);
        let [owner, guest] = [("owner", 6000), ("guest", 2000)].map(|(name, cpu)| {
            let mut queue = QueueSpec::new(name);
            queue.guarantee.cpu = Some(cpu);
            pool.world.queue(queue)
        });
        let submit = |pool: &mut Pool, queue, seconds| {
            let at = pool.at();
            pool.world.submit(queue, on(1).predicted(seconds), at)
        };
        for _ in 0..9 {
            submit(&mut pool, guest, 10);
        }
        pool.run();
        pool.now += SECOND;
        let owners: Vec<GangId> = (0..7).map(|_| submit(&mut pool, owner, 100)).collect();
        assert_eq!(evicted(&pool.plan()).len(), 6, "{order:?}");
        pool.world.settle();
        pool.run();
        let running = pool.running_of(&owners);
        assert_eq!(running, [true, true, true, true, true, true, false], "{order:?}");
        assert!(evicted(&pool.plan()).is_empty(), "{order:?}");
    }
}

#[test]
fn the_planner_wakes_for_one_who_rises_from_far_below() {
    let mut pool = nodes(1, by(OrderPolicy::Las));
    let old = pool.add(on(8));
    pool.run();
    pool.now += 3000 * SECOND;
    let new = pool.add(on(8));
    pool.run();
    pool.world.settle();
    pool.run();
    assert_eq!(pool.running_of(&[old, new]), [false, true]);
    let began = pool.now;
    let back = (0..40).any(|_| {
        let plan = pool.plan();
        pool.now = plan.again.map_or(pool.now, |at| at.0);
        evicted(&plan) == [new]
    });
    assert!(back && pool.now > began + 3000 * SECOND);
}

#[test]
fn less_rest_goes_before_more_and_a_close_call_evicts_nobody() {
    let mut pool = nodes(1, by(OrderPolicy::Srsf));
    let long = pool.add(on(8).predicted(10_000));
    pool.run();
    pool.add(on(8).predicted(9_000));
    assert!(evicted(&pool.plan()).is_empty(), "the same level");
    let short = pool.add(on(8).predicted(100));
    assert_eq!(evicted(&pool.plan()), [long]);
    pool.world.settle();
    pool.run();
    assert!(pool.runs(short));
}

#[test]
fn what_was_saved_need_not_run_again() {
    let mut pool = nodes(1, by(OrderPolicy::Srtf));
    let long = pool.add(on(8).predicted(1000));
    pool.run();
    pool.now += 600 * SECOND;
    let short = pool.add(on(8).predicted(100));
    pool.run();
    assert_eq!(pool.running_of(&[long, short]), [false, true]);
    pool.pass(100);
    pool.run();
    let end = pool.world.placed(long).and_then(|placed| placed.expected_end);
    assert_eq!(end, Some(Timestamp(pool.now + 400 * SECOND)));
}

#[test]
fn who_stands_last_is_evicted_though_another_would_lose_less() {
    let mut pool = nodes(2, by(OrderPolicy::Las));
    let settled = pool.add(on(8));
    pool.run();
    pool.now += 3000 * SECOND;
    let recent = pool.add(on(8));
    pool.run();
    pool.now += 30 * SECOND;
    pool.add(on(8));
    assert_eq!(evicted(&pool.plan()), [settled], "not {recent}");
}

#[test]
fn who_was_held_up_longest_for_its_length_is_next_after_a_lease() {
    let mut pool = nodes(1, by(OrderPolicy::Themis));
    let long = pool.add(on(8).predicted(10_000));
    pool.run();
    pool.now += 10 * SECOND;
    let short = pool.add(on(8).predicted(100));
    let longer = pool.add(on(8).predicted(1000));
    pool.now += 300 * SECOND;
    // It waited three times its length by now; the one that runs has its lease until 1,200 s.
    let plan = pool.plan();
    assert!(evicted(&plan).is_empty());
    assert!(plan.again.is_some_and(|again| again.0 <= pool.now + 60 * SECOND), "the next round");
    pool.now += 890 * SECOND;
    let plan = pool.plan();
    assert_eq!(evicted(&plan), [long]);
    assert_eq!(reason(&plan, short), Some(&HoldReason::AwaitingEviction { victims: 1 }), "not {longer}");
}

fn measured(models: &[(&str, u64)], ranks: &[(u32, u64)]) -> Option<Arc<Speed>> {
    let models = models.iter().map(|(name, speed)| ((*name).to_owned(), *speed)).collect();
    Some(Arc::new(Speed { models, ranks: ranks.to_vec() }))
}

/// A node of old devices, then one of new ones.
fn two_sorts(order: OrderPolicy) -> Pool {
    let mut world = World::new();
    for model in ["Tesla K80", "Tesla V100"] {
        world.node(64, 512, &vec![World::gpu(model, 16); 8], &[]);
    }
    Pool::with(world, by(order))
}

impl Pool {
    fn node_of(&self, id: GangId) -> Option<u32> {
        self.world.placed(id).map(|placed| placed.tasks[0].node.0)
    }
}

#[test]
fn a_gang_starts_where_it_is_fastest_and_its_speed_counts() {
    let mut pool = two_sorts(OrderPolicy::Gavel);
    let ask = |secs| {
        let mut ask = on(8).predicted(secs);
        ask.row.speed = measured(&[("K80", 100), ("V100", 1000)], &[]);
        ask
    };
    let (first, second) = (pool.add(ask(1000)), pool.add(ask(1000)));
    pool.run();
    assert_eq!((pool.node_of(first), pool.node_of(second)), (Some(1), Some(0)));
    let end = |id| pool.world.placed(id).unwrap().expected_end.unwrap().0 - pool.now;
    assert_eq!((end(first), end(second)), (1000 * SECOND, 10_000 * SECOND));
}

#[test]
fn who_got_on_least_for_its_time_takes_its_turn() {
    let mut pool = nodes(1, by(OrderPolicy::Gavel));
    let first = pool.add(on(8));
    pool.run();
    let second = pool.add(on(8));
    pool.now += 1199 * SECOND;
    assert!(evicted(&pool.plan()).is_empty(), "the lease");
    pool.now += SECOND;
    assert_eq!(evicted(&pool.plan()), [first]);
    pool.world.settle();
    pool.run();
    assert!(pool.runs(second));
    // In turns, and both get on.
    for _ in 0..40 {
        pool.now += 300 * SECOND;
        pool.run();
    }
    let at = pool.at();
    let done = [first, second].map(|id| {
        let row = pool.world.gang(id).unwrap();
        row.attained.done.0 + pool.world.placed(id).map_or(0, |placed| placed.done(at).0)
    });
    assert!(done[0].abs_diff(done[1]) <= 2 * 1200 * SECOND, "{done:?}");
}

#[test]
fn who_cannot_save_keeps_its_place_where_gangs_take_turns() {
    let mut pool = nodes(1, by(OrderPolicy::Gavel));
    let mut ask = on(8);
    ask.row.saves = false;
    pool.add(ask);
    pool.run();
    pool.add(on(8));
    pool.now += 10_000 * SECOND;
    assert!(evicted(&pool.plan()).is_empty());
}

fn ranks_of(pool: &Pool, id: GangId) -> usize {
    pool.world.placed(id).map_or(0, |placed| placed.tasks.len())
}

#[test]
fn extra_ranks_go_where_they_speed_up_most() {
    let mut pool = nodes(1, by(OrderPolicy::Goodput));
    let ask = |ranks: &[(u32, u64)]| {
        let mut ask = on(1).tasks(1, 8);
        ask.row.speed = measured(&[], ranks);
        ask
    };
    let poor = pool.add(ask(&[(1, 1000), (8, 1100)]));
    let rich = pool.add(ask(&[(1, 1000), (8, 7000)]));
    let flat = pool.add(ask(&[(1, 1000)]));
    pool.run();
    assert_eq!([poor, rich, flat].map(|id| ranks_of(&pool, id)), [1, 6, 1]);
}

#[test]
fn without_a_profile_extra_ranks_are_shared_alike() {
    let mut pool = nodes(1, by(OrderPolicy::Fifo));
    let gangs = [pool.add(on(1).tasks(1, 8)), pool.add(on(1).tasks(2, 8))];
    pool.run();
    assert_eq!(gangs.map(|id| ranks_of(&pool, id)), [4, 4]);
}

#[test]
fn a_rank_moves_to_who_gains_more_and_never_back() {
    let settings = Settings { calm: Millis::from_secs(60), ..by(OrderPolicy::Goodput) };
    let mut pool = nodes(1, settings);
    let ask = |most, ranks: &[(u32, u64)]| {
        let mut ask = on(1).tasks(1, most);
        ask.row.speed = measured(&[], ranks);
        ask
    };
    let poor = pool.add(ask(7, &[(1, 1000), (8, 1300)]));
    let blocker = pool.add(on(1));
    pool.run();
    assert_eq!(ranks_of(&pool, poor), 7);
    pool.world.end(blocker);
    let rich = pool.add(ask(4, &[(1, 1000), (8, 8000)]));
    pool.run();
    assert_eq!([poor, rich].map(|id| ranks_of(&pool, id)), [7, 1], "calm");
    for _ in 0..10 {
        pool.now += 60 * SECOND;
        pool.run();
    }
    assert_eq!([poor, rich].map(|id| ranks_of(&pool, id)), [4, 4]);
}

#[test]
fn a_model_that_nobody_measured_is_as_fast_as_the_measured_one() {
    let mut pool = two_sorts(OrderPolicy::Fifo);
    let mut ask = on(8);
    ask.row.speed = measured(&[("K80", 500)], &[]);
    let id = pool.add(ask);
    pool.run();
    assert_eq!(pool.node_of(id), Some(1), "not on the slow one that is named");
}
