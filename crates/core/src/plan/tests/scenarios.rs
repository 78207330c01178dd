//! Scenarios: a small pool, a few gangs, what must come out.

use super::*;
use crate::model::{Class, QueueLimits, QueueSpec};
use crate::plan::world::{Ask, gpu_share, gpus, host, shape};
use crate::plan::{Constraint, Dimension, PreemptCause};
use crate::snapshot::{Backfill, GangPhase, Held, NodeOrd, NodeState, QueueOrd};
use crate::units::{MilliCpu, Millis};

const ROOT: QueueOrd = QueueOrd(0);

fn one_node(cores: u64, gib: u64) -> Pool {
    let mut world = World::new();
    world.node(cores, gib, &[], &[]);
    Pool::new(world)
}

impl Pool {
    pub(super) fn submit(&mut self, queue: QueueOrd, ask: Ask) -> GangId {
        let at = self.at();
        self.world.submit(queue, ask, at)
    }
}

fn guaranteed(path: &str, cores: u64) -> QueueSpec {
    let mut spec = QueueSpec::new(path);
    spec.guarantee.cpu = Some(cores * 1000);
    spec
}

#[test]
fn places_what_fits_and_says_why_the_rest_waits() {
    let mut pool = one_node(4, 16);
    let first = pool.submit(ROOT, Ask::new(shape(3, 4)));
    let second = pool.submit(ROOT, Ask::new(shape(2, 4)));
    let giant = pool.submit(ROOT, Ask::new(shape(8, 4)));
    let plan = pool.plan();
    assert!(pool.runs(first));
    assert_eq!(reason(&plan, second), Some(&HoldReason::NoRoom));
    let funnel = pool.why(second).funnel;
    assert_eq!((funnel.nodes, &funnel.removed[..]), (1, &[(Constraint::TooFull(Dimension::Cpu), 1)][..]));
    let Some(HoldReason::Infeasible(funnel)) = reason(&plan, giant) else { panic!("{plan:?}") };
    assert_eq!(funnel.removed, [(Constraint::TooSmall(Dimension::Cpu), 1)]);
}

#[test]
fn held_gangs_are_answered_and_not_placed() {
    let mut pool = one_node(4, 16);
    let id = pool.submit(ROOT, Ask::new(shape(1, 1)));
    pool.world.edit(id, |row| row.phase = GangPhase::Held(Held::Paused));
    assert_eq!(pool.plan().decisions, [], "the engine knows why it holds a gang back");
    assert_eq!(pool.why(id).reason, Some(HoldReason::Paused));
    assert!(!pool.runs(id));
}

/// Found by a random story: extra ranks were given before the place was found.
#[test]
fn extra_ranks_leave_alone_what_is_kept_for_a_blocked_gang() {
    let mut pool = one_node(4, 16);
    let busy = pool.submit(ROOT, Ask::new(shape(2, 1)).limit(10));
    pool.run();
    let elastic = pool.submit(ROOT, Ask::new(shape(1, 1)).tasks(1, 4).class(Class::Critical));
    let blocked = pool.submit(ROOT, Ask::new(shape(3, 1)).limit(100));
    pool.run();
    assert_eq!(pool.world.placed(elastic).map(|placed| placed.tasks.len()), Some(1));
    pool.pass(10);
    pool.run();
    assert!(!pool.runs(busy) && pool.runs(blocked));
}

#[test]
fn a_gang_starts_whole_or_not_at_all_and_grows_with_what_is_left() {
    let mut pool = one_node(4, 16);
    let blocked = pool.submit(ROOT, Ask::new(shape(2, 1)).tasks(3, 3));
    let elastic = pool.submit(ROOT, Ask::new(shape(1, 1)).tasks(2, 6));
    let plan = pool.plan();
    assert!(matches!(reason(&plan, blocked), Some(HoldReason::Infeasible(_))));
    assert_eq!(pool.world.placed(elastic).map(|placed| placed.tasks.len()), Some(4));
}

#[test]
fn extra_ranks_are_given_back_to_who_needs_them() {
    let mut pool = one_node(8, 16);
    let elastic = pool.submit(ROOT, Ask::new(shape(1, 1)).tasks(2, 8));
    pool.run();
    let new = pool.submit(ROOT, Ask::new(shape(3, 1)));
    let plan = pool.plan();
    assert_eq!(reason(&plan, new), Some(&HoldReason::AwaitingEviction { victims: 1 }));
    assert_eq!(acts(&pool.plan()), 0, "nothing more is taken while ranks are leaving");
    pool.world.settle();
    pool.run();
    assert!(pool.runs(new));
    assert_eq!(pool.world.placed(elastic).map(|placed| placed.tasks.len()), Some(5));
}

#[test]
fn alternatives_are_tried_in_order() {
    let mut world = World::new();
    world.node(8, 32, &[World::gpu("NVIDIA A100-SXM4-80GB", 80)], &[]);
    let mut pool = Pool::new(world);
    let (mut h100, mut any) = (shape(1, 1), shape(1, 1));
    h100.devices.push(gpus(1));
    h100.devices[0].model = Some("H100".to_owned());
    any.devices.push(gpus(1));
    let mut ask = Ask::new(h100);
    ask.shapes.push(any);
    let id = pool.submit(ROOT, ask);
    pool.plan();
    assert_eq!(pool.world.placed(id).map(|placed| placed.alternative), Some(1));
}

#[test]
fn labels_and_closed_nodes_are_respected() {
    let mut world = World::new();
    let closed = world.node(8, 8, &[], &[("disk", "ssd")]);
    world.node(8, 8, &[], &[]);
    let mut pool = Pool::new(world);
    pool.world.edit_node(closed, |row| row.state = NodeState::Draining);
    let mut ssd = shape(1, 1);
    ssd.labels.insert("disk".to_owned(), "ssd".to_owned());
    let id = pool.submit(ROOT, Ask::new(ssd));
    assert_eq!(reason(&pool.plan(), id), Some(&HoldReason::NoRoom));
    let funnel = pool.why(id).funnel;
    assert_eq!(funnel.removed, [(Constraint::NotReady, 1), (Constraint::Label("disk=ssd".to_owned()), 1)]);
    pool.world.edit_node(closed, |row| row.state = NodeState::Ready);
    pool.run();
    assert!(pool.runs(id));
}

#[test]
fn device_shares_pack_and_never_mix_modes() {
    let mut world = World::new();
    world.node(32, 64, &[World::gpu("L4", 24), World::gpu("L4", 24)], &[]);
    let mut pool = Pool::new(world);
    let with = |device| {
        let mut shape = shape(1, 1);
        shape.devices.push(device);
        Ask::new(shape)
    };
    let quarters: Vec<GangId> = (0..4).map(|_| pool.submit(ROOT, with(gpu_share(250, 6)))).collect();
    let whole = pool.submit(ROOT, with(gpus(1)));
    let fifth = pool.submit(ROOT, with(gpu_share(250, 6)));
    pool.run();
    let device = |id| pool.world.placed(id).map(|placed| placed.tasks[0].devices[0].device);
    assert!(quarters.iter().all(|id| device(*id) == device(quarters[0])), "four quarters are one device");
    assert!(pool.runs(whole) && device(whole) != device(quarters[0]));
    assert!(!pool.runs(fifth));
    pool.world.edit(fifth, |row| row.phase = GangPhase::Held(Held::Paused));
    let halves = pool.submit(ROOT, with(gpu_share(250, 0)));
    pool.world.end(whole);
    pool.run();
    let grant = pool.world.placed(halves).map(|placed| placed.tasks[0].devices[0].memory);
    assert_eq!(
        grant,
        Some(crate::units::Bytes(6 << 30)),
        "a quarter of the compute brings a quarter of the memory"
    );
    let too_small = pool.submit(ROOT, {
        let mut ask = with(gpus(1));
        ask.shapes[0].devices[0].device_memory = crate::units::Bytes(80 << 30);
        ask
    });
    assert!(matches!(reason(&pool.plan(), too_small), Some(HoldReason::Infeasible(_))));
}

#[test]
fn a_gang_stays_under_one_switch_when_it_fits_there() {
    let mut world = World::new();
    for node in 0..6 {
        let switch = ["x", "y"][node % 2];
        world.node(4, 8, &[], &[("zone", "a"), ("rack", "r"), ("switch", switch)]);
    }
    let mut pool = Pool::new(world);
    pool.submit(ROOT, Ask::new(shape(4, 1)));
    let gang = pool.submit(ROOT, Ask::new(shape(4, 1)).tasks(3, 3));
    pool.run();
    let nodes: Vec<u32> =
        pool.world.placed(gang).map(|placed| placed.tasks.iter().map(|task| task.node.0).collect()).unwrap();
    assert!(nodes.iter().all(|node| node % 2 == nodes[0] % 2), "{nodes:?}");
}

#[test]
fn pack_fills_one_node_spread_takes_another() {
    use crate::snapshot::PlacementPolicy;
    for (placement, nodes) in [(PlacementPolicy::Pack, 1), (PlacementPolicy::Spread, 4)] {
        let mut world = World::new();
        for _ in 0..4 {
            world.node(8, 8, &[], &[]);
        }
        let ids: Vec<GangId> =
            (0..4).map(|_| world.submit(ROOT, Ask::new(shape(1, 1)), Timestamp(0))).collect();
        let plan =
            Planner::new(Settings { placement, ..Settings::default() }).plan(&world.snapshot, Timestamp(1));
        world.apply(&plan, Timestamp(1));
        let used: std::collections::BTreeSet<NodeOrd> =
            ids.iter().filter_map(|id| world.placed(*id)).map(|placed| placed.tasks[0].node).collect();
        assert_eq!(used.len(), nodes, "{placement:?}");
    }
}

#[test]
fn limits_hold_and_say_which() {
    let mut world = World::new();
    world.node(16, 16, &[], &[]);
    let mut spec = QueueSpec::new("q");
    spec.limit = QueueLimits { cpu: Some(3000), running: Some(2), ..QueueLimits::default() };
    let queue = world.queue(spec);
    let mut pool = Pool::new(world);
    let ids: Vec<GangId> =
        [2, 1, 1, 4].iter().map(|cores| pool.submit(queue, Ask::new(shape(*cores, 1)))).collect();
    let plan = pool.plan();
    assert!(pool.runs(ids[0]) && pool.runs(ids[1]));
    assert!(
        matches!(reason(&plan, ids[2]), Some(HoldReason::QueueLimit { limit: 3000, asked: 1000, .. })),
        "{plan:?}"
    );
    let sentence = pool.why(ids[2]).sentence;
    assert!(sentence.starts_with("Queue q uses 3 cores of its limit of 3 cores"), "{sentence}");
    assert!(matches!(
        reason(&plan, ids[3]),
        Some(HoldReason::OverQueueLimit { limit: 3000, asked: 4000, .. })
    ));
}

#[test]
fn two_queues_share_by_weight() {
    let mut world = World::new();
    world.node(30, 300, &[], &[]);
    let mut heavy = QueueSpec::new("heavy");
    heavy.weight = 200;
    let queues = [world.queue(heavy), world.queue(QueueSpec::new("light"))];
    let mut pool = Pool::new(world);
    for queue in queues {
        for _ in 0..30 {
            pool.submit(queue, Ask::new(shape(1, 1)));
        }
    }
    pool.run();
    let used = |queue: QueueOrd| pool.world.snapshot.queue(queue).used.running;
    assert_eq!((used(queues[0]), used(queues[1])), (20, 10));
}

#[test]
fn critical_evicts_the_fewest_gangs_with_the_least_lost_work() {
    let mut world = World::new();
    for _ in 0..3 {
        world.node(8, 32, &[], &[]);
    }
    let mut pool = Pool::new(world);
    let pair: Vec<GangId> = (0..2).map(|_| pool.submit(ROOT, Ask::new(shape(4, 1)))).collect();
    let old = pool.submit(ROOT, Ask::new(shape(8, 1)));
    pool.run();
    pool.now += 100 * SECOND;
    let young = pool.submit(ROOT, Ask::new(shape(8, 1)));
    pool.run();
    assert!(pair.iter().chain([&old, &young]).all(|id| pool.runs(*id)));
    pool.now += 100 * SECOND;
    let critical = pool.submit(ROOT, Ask::new(shape(8, 1)).class(Class::Critical));
    let plan = pool.plan();
    assert_eq!(evicted(&plan), [young]);
    assert_eq!(reason(&plan, critical), Some(&HoldReason::AwaitingEviction { victims: 1 }));
    assert_eq!(acts(&pool.plan()), 0, "one eviction is enough");
    pool.world.settle();
    pool.run();
    assert!(pool.runs(critical) && !pool.runs(young));
}

#[test]
fn evicts_nobody_when_that_would_not_help() {
    let mut pool = one_node(8, 32);
    let firm = pool.submit(ROOT, Ask::new(shape(4, 1)).firm());
    let soft = pool.submit(ROOT, Ask::new(shape(4, 1)));
    pool.run();
    let critical = pool.submit(ROOT, Ask::new(shape(8, 1)).class(Class::Critical));
    let plan = pool.plan();
    assert_eq!(evicted(&plan), []);
    assert!(pool.runs(firm) && pool.runs(soft) && !pool.runs(critical));
}

#[test]
fn minimum_run_time_and_calm_protect_and_wake_the_planner() {
    let mut pool = one_node(4, 8);
    let mut ask = Ask::new(shape(4, 1));
    ask.row.min_runtime = Millis(60 * SECOND);
    let victim = pool.submit(ROOT, ask);
    pool.run();
    let critical = pool.submit(ROOT, Ask::new(shape(4, 1)).class(Class::Critical).limit(5));
    let plan = pool.plan();
    assert_eq!((evicted(&plan), plan.again), (vec![], Some(Timestamp(pool.now + 60 * SECOND))));
    pool.now += 60 * SECOND;
    assert_eq!(evicted(&pool.plan()), [victim]);
    pool.world.settle();
    pool.run();
    assert!(pool.runs(critical));
    pool.pass(5);
    pool.run();
    assert!(pool.runs(victim), "its turn again");
    pool.now += 61 * SECOND;
    pool.submit(ROOT, Ask::new(shape(4, 1)).class(Class::Critical).limit(5));
    assert_eq!(evicted(&pool.plan()), [], "still calm");
    pool.now += 120 * SECOND;
    assert_eq!(evicted(&pool.plan()), [victim]);
}

#[test]
fn priority_evicts_inside_a_queue_only() {
    let mut world = World::new();
    world.node(4, 8, &[], &[]);
    let queues = [world.queue(QueueSpec::new("a")), world.queue(QueueSpec::new("b"))];
    let mut pool = Pool::new(world);
    let low = pool.submit(queues[0], Ask::new(shape(4, 1)).priority(250));
    pool.run();
    pool.submit(queues[1], Ask::new(shape(4, 1)).priority(1000));
    assert_eq!(evicted(&pool.plan()), []);
    pool.submit(queues[0], Ask::new(shape(4, 1)).priority(750));
    assert_eq!(evicted(&pool.plan()), [low]);
}

#[test]
fn a_guarantee_is_given_back_and_no_more() {
    let mut world = World::new();
    world.node(8, 32, &[], &[]);
    let owner = world.queue(guaranteed("owner", 4));
    let guest = world.queue(QueueSpec::new("guest"));
    let mut pool = Pool::new(world);
    for _ in 0..8 {
        pool.submit(guest, Ask::new(shape(1, 1)));
    }
    pool.run();
    for _ in 0..6 {
        pool.submit(owner, Ask::new(shape(1, 1)));
    }
    let plan = pool.plan();
    assert_eq!(evicted(&plan).len(), 4, "{plan:#?}");
    let reclaim = |decision: &Decision| {
        matches!(decision, Decision::Preempt { cause: PreemptCause::Reclaim { .. }, .. })
    };
    assert_eq!(plan.decisions.iter().filter(|decision| reclaim(decision)).count(), 4);
    pool.world.settle();
    pool.run();
    let used = |queue: QueueOrd| pool.world.snapshot.queue(queue).used.running;
    assert_eq!((used(owner), used(guest)), (4, 4));
}

#[test]
fn short_gangs_fill_the_gap_and_long_ones_do_not_delay_a_reservation() {
    let mut pool = one_node(8, 32);
    let running = pool.submit(ROOT, Ask::new(shape(6, 1)).limit(100));
    pool.run();
    pool.now += SECOND;
    let large = pool.submit(ROOT, Ask::new(shape(8, 1)).limit(100));
    let long = pool.submit(ROOT, Ask::new(shape(2, 1)).limit(200));
    let short = pool.submit(ROOT, Ask::new(shape(2, 1)).limit(50));
    let until = Some(Timestamp(1100 * SECOND));
    assert_eq!(pool.why(long).reason, Some(HoldReason::Reserved { gang: large, until }));
    let plan = pool.plan();
    assert!(pool.runs(short));
    assert_eq!(reason(&plan, long), Some(&HoldReason::NoRoom));
    pool.pass(99);
    pool.run();
    assert!(pool.runs(large) && !pool.runs(running));
}

#[test]
fn a_place_is_kept_on_the_nodes_that_are_free_last() {
    for backfill in [Backfill::Easy, Backfill::Conservative] {
        let mut world = World::new();
        for _ in 0..5 {
            world.node(1, 4, &[], &[]);
        }
        let mut pool = Pool::with(world, Settings { backfill, ..Settings::default() });
        let tasks = |pool: &mut Pool, tasks, seconds| {
            pool.submit(ROOT, Ask::new(shape(1, 1)).tasks(tasks, tasks).limit(seconds))
        };
        tasks(&mut pool, 1, 100);
        tasks(&mut pool, 2, 10);
        pool.run();
        // Two nodes are free now, and when the gang of two ends four are: one may be used beyond that.
        let wide = tasks(&mut pool, 3, 20);
        let (one, two) = (tasks(&mut pool, 1, 50), tasks(&mut pool, 1, 50));
        pool.run();
        assert_eq!([one, two].map(|gang| pool.runs(gang)), [true, false], "{backfill:?}");
        pool.pass(10);
        pool.run();
        assert!(pool.runs(wide), "{backfill:?}");
    }
}

/// A gap before a place that is kept is kept for who fits into it, device by device, and for nobody else.
#[test]
fn a_place_is_kept_in_a_gap_before_another() {
    let mut world = World::new();
    world.node(32, 64, &vec![World::gpu("L4", 24); 4], &[]);
    let mut pool = Pool::new(world);
    let gang = |pool: &mut Pool, count: u32, seconds: u64| {
        let mut shape = shape(1, 1);
        shape.devices.push(gpus(count));
        pool.submit(ROOT, Ask::new(shape).limit(seconds))
    };
    let began = pool.now;
    gang(&mut pool, 2, 10);
    let last = gang(&mut pool, 2, 30);
    pool.run();
    let wide = gang(&mut pool, 4, 100);
    let fits = gang(&mut pool, 2, 15);
    let too_long = gang(&mut pool, 2, 25);
    let too_late = gang(&mut pool, 2, 15);
    let starts = [wide, fits, too_long, too_late].map(|gang| {
        let start = pool.why(gang).predicted_start.expect("it will start");
        (start.0 - began) / SECOND
    });
    assert_eq!(starts, [30, 10, 130, 130]);
    pool.run();
    pool.pass(10);
    pool.run();
    assert!(pool.runs(fits) && !pool.runs(too_long) && !pool.runs(too_late));
    pool.pass(15);
    pool.run();
    assert!(!pool.runs(too_late) && pool.runs(last));
    pool.pass(5);
    pool.run();
    assert!(pool.runs(wide));
}

#[test]
fn unknown_ends_do_not_starve_a_large_gang() {
    let mut pool = one_node(8, 32);
    let mut running: Vec<GangId> = (0..8).map(|_| pool.submit(ROOT, Ask::new(shape(1, 1)))).collect();
    pool.run();
    let large = pool.submit(ROOT, Ask::new(shape(8, 1)));
    // Every 20 seconds the oldest ends and a new one without a known end comes.
    for _ in 0..40 {
        pool.now += 20 * SECOND;
        running.push(pool.submit(ROOT, Ask::new(shape(1, 1))));
        let first = running.iter().position(|id| pool.runs(*id));
        if let Some(first) = first {
            let id = running.remove(first);
            pool.world.end(id);
        }
        pool.run();
        if pool.runs(large) {
            return;
        }
    }
    panic!("the large gang starves");
}

#[test]
fn spare_is_squeezed_then_frozen_then_evicted_and_thawed() {
    let mut pool = one_node(10, 64);
    let owner = pool.submit(ROOT, Ask::new(shape(8, 1)));
    pool.run();
    let node = NodeOrd(0);
    pool.world.edit_node(node, |row| (row.busy_p95, row.busy_now) = (MilliCpu(1000), MilliCpu(1000)));
    let spare = pool.submit(ROOT, Ask::new(shape(6, 1)).class(Class::Spare));
    pool.run();
    assert!(pool.runs(owner) && pool.runs(spare));
    pool.world.edit_node(node, |row| row.busy_now = MilliCpu(6000));
    let plan = pool.plan();
    assert!(matches!(plan.decisions[..], [Decision::Limit { cpu: MilliCpu(3500), .. }]), "{plan:?}");
    assert_eq!(acts(&pool.plan()), 0);
    pool.world.edit_node(node, |row| row.busy_now = MilliCpu(9900));
    let plan = pool.plan();
    assert!(matches!(plan.decisions[..], [Decision::Freeze { .. }]), "{plan:?}");
    assert_eq!(plan.again, Some(Timestamp(pool.now + 500)));
    assert_eq!(acts(&pool.plan()), 0);
    pool.world.edit_node(node, |row| row.busy_now = MilliCpu(1000));
    let plan = pool.plan();
    assert!(matches!(plan.decisions[..], [Decision::Thaw { .. }]), "{plan:?}");
    let plan = pool.plan();
    assert!(matches!(plan.decisions[..], [Decision::Limit { cpu: MilliCpu(6000), .. }]), "{plan:?}");
    pool.world.edit_node(node, |row| row.busy_now = MilliCpu(9900));
    pool.plan();
    pool.now += 500;
    assert_eq!(evicted(&pool.plan()), [spare]);
    pool.world.settle();
    pool.run();
    assert!(!pool.runs(spare), "not placed again while the owner is busy");
}

#[test]
fn nodes_a_gang_failed_on_are_avoided_while_there_is_a_choice() {
    let mut world = World::new();
    world.node(4, 8, &[], &[]);
    world.node(4, 8, &[], &[]);
    let mut pool = Pool::new(world);
    for taken in [NodeOrd(1), NodeOrd(0)] {
        let mut ask = Ask::new(shape(4, 1));
        ask.row.avoid = vec![NodeOrd(0)];
        let id = pool.submit(ROOT, ask);
        pool.run();
        assert_eq!(pool.world.placed(id).map(|placed| placed.tasks[0].node), Some(taken));
    }
}

#[test]
fn past_use_counts() {
    let mut world = World::new();
    world.node(1, 8, &[], &[]);
    let queues = [world.queue(QueueSpec::new("a")), world.queue(QueueSpec::new("b"))];
    world.snapshot.queues[1].history = 1_000_000 * 3600;
    let mut pool = Pool::new(world);
    let first = pool.submit(queues[0], Ask::new(shape(1, 1)));
    let second = pool.submit(queues[1], Ask::new(shape(1, 1)));
    pool.run();
    assert!(!pool.runs(first) && pool.runs(second));
    assert_eq!(host(1, 1).cpu, MilliCpu(1000));
}

#[test]
fn a_plan_says_what_changed_and_not_who_still_waits() {
    let mut pool = one_node(8, 64);
    let first = pool.submit(ROOT, Ask::new(shape(4, 1)).priority(900));
    for at in 0..300 {
        let ask =
            Ask::new(shape(1 + at % 5, 1 + at % 7)).priority(if at.is_multiple_of(9) { 700 } else { 500 });
        pool.submit(ROOT, if at.is_multiple_of(11) { ask.tasks(3, 3) } else { ask.limit(100 + at % 13) });
    }
    pool.run();
    assert_eq!(pool.plan().decisions, [], "nothing happened");
    let new = pool.submit(ROOT, Ask::new(shape(3, 1)).limit(70));
    let plan = pool.plan();
    assert_eq!(plan.decisions, [Decision::Hold { gang: new, reason: HoldReason::NoRoom }]);
    pool.now += SECOND;
    assert!(pool.runs(first));
    pool.world.end(first);
    let plan = pool.plan();
    assert!(acts(&plan) > 0, "somebody takes the place");
    assert_eq!(plan.decisions.len(), acts(&plan), "and of {} others nothing is said", pool.world.pending());
}

#[test]
fn extra_ranks_leave_what_is_reserved() {
    let mut pool = one_node(8, 64);
    pool.submit(ROOT, Ask::new(shape(4, 1)).limit(100).firm());
    pool.run();
    let elastic = pool.submit(ROOT, Ask::new(shape(1, 1)).tasks(1, 4).class(Class::Critical));
    pool.submit(ROOT, Ask::new(shape(7, 1)).limit(100));
    pool.run();
    assert_eq!(pool.world.placed(elastic).map(|placed| placed.tasks.len()), Some(1));
}
