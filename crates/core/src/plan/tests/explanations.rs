//! What users are told: verdict, numbers, place in line, predicted start, what would help.

use super::*;
use crate::ids::JobId;
use crate::model::{Class, Device, DeviceKind, QueueSpec, ShareMode};
use crate::plan::world::{Ask, gpus, shape};
use crate::plan::{Constraint, Explanation, Verdict};
use crate::snapshot::{GangPhase, Held, NodeOrd, NodeState, QueueOrd};

const ROOT: QueueOrd = QueueOrd(0);

/// A node of 8 cores, and a queue that may have 2 of them.
fn node_with_a_limited_queue() -> (Pool, QueueOrd) {
    let mut world = World::new();
    world.node(8, 32, &[], &[]);
    let mut spec = QueueSpec::new("q");
    spec.limit.cpu = Some(2000);
    let queue = world.queue(spec);
    (Pool::new(world), queue)
}

fn node(cores: u64, gib: u64) -> Pool {
    let mut world = World::new();
    world.node(cores, gib, &[], &[]);
    Pool::new(world)
}

impl Pool {
    pub(super) fn why(&self, id: GangId) -> Explanation {
        self.planner.explain(&self.world.snapshot, id, self.at()).unwrap()
    }
    fn ask(&mut self, ask: Ask) -> GangId {
        let at = self.at();
        self.world.submit(ROOT, ask, at)
    }
    fn changes(&self, id: GangId) -> Vec<(String, bool)> {
        let why = self.why(id).what_ifs.into_iter();
        why.map(|what_if| (what_if.change, what_if.start == Some(self.at()))).collect()
    }
}

#[test]
fn a_running_gang_says_where() {
    let mut pool = node(4, 8);
    let id = pool.ask(Ask::new(shape(1, 1)));
    pool.run();
    pool.now += 5 * SECOND;
    let why = pool.why(id);
    assert_eq!((why.verdict, why.position, why.reason), (Verdict::Placed, 0, None));
    assert_eq!(why.sentence, "It has had its place on n0 for 5s.");
    assert!(pool.planner.explain(&pool.world.snapshot, crate::ids::JobId(99).gang(0), pool.at()).is_none());
}

#[test]
fn the_line_is_simulated_to_predict_starts() {
    let mut pool = node(8, 32);
    pool.ask(Ask::new(shape(8, 1)).limit(100));
    pool.run();
    let second = pool.ask(Ask::new(shape(8, 1)).limit(50));
    let third = pool.ask(Ask::new(shape(8, 1)).limit(50));
    pool.plan();
    pool.now += 10 * SECOND;
    let why = pool.why(second);
    assert_eq!((why.verdict, why.position, &why.ahead[..]), (Verdict::Waiting, 1, &[][..]));
    assert_eq!(why.predicted_start, Some(Timestamp(1100 * SECOND)));
    let why = pool.why(third);
    assert_eq!((why.position, &why.ahead[..]), (2, &[second][..]));
    assert_eq!(why.predicted_start, Some(Timestamp(1150 * SECOND)));
    assert!(
        why.sentence.contains("there is no room for it now") && why.sentence.contains("2m20s"),
        "{}",
        why.sentence
    );
}

#[test]
fn infeasible_needs_you_and_says_what_would_do() {
    let mut pool = node(8, 32);
    let id = pool.ask(Ask::new(shape(4, 40)));
    pool.plan();
    let why = pool.why(id);
    assert_eq!(why.verdict, Verdict::NeedsYou);
    assert_eq!(pool.changes(id)[0], ("with memory 34.3GB instead of 42.9GB".to_owned(), true));
    assert!(why.sentence.contains("too small in memory even when empty"), "{}", why.sentence);
    assert!(
        why.sentence.contains("ask for at most 34.3GB of memory, the most a node has"),
        "{}",
        why.sentence
    );
}

#[test]
fn who_can_never_start_has_no_place_in_line_and_stands_before_nobody() {
    let (mut pool, queue) = node_with_a_limited_queue();
    pool.ask(Ask::new(shape(8, 1)).limit(100));
    pool.run();
    let giant = pool.ask(Ask::new(shape(9, 1)));
    let over = pool.world.submit(queue, Ask::new(shape(4, 1)), pool.at());
    let first = pool.ask(Ask::new(shape(8, 1)));
    let second = pool.ask(Ask::new(shape(8, 1)));
    pool.plan();
    for never in [giant, over] {
        let why = pool.why(never);
        assert_eq!((why.position, &why.ahead[..]), (0, &[][..]));
    }
    assert_eq!((pool.why(first).position, &pool.why(first).ahead[..]), (1, &[][..]));
    assert_eq!((pool.why(second).position, &pool.why(second).ahead[..]), (2, &[first][..]));
}

#[test]
fn a_gang_that_is_too_wide_is_told_how_wide_it_may_be() {
    let mut pool = node(8, 32);
    let holder = pool.ask(Ask::new(shape(7, 1)).limit(100));
    pool.run();
    assert!(pool.runs(holder));
    let wide = pool.ask(Ask::new(shape(2, 1)).tasks(6, 6));
    let labelled = {
        let mut shape = shape(2, 1);
        shape.labels.insert("zone".to_owned(), "b".to_owned());
        pool.ask(Ask::new(shape))
    };
    pool.plan();
    let why = pool.why(wide);
    assert_eq!(why.verdict, Verdict::NeedsYou);
    assert!(
        why.sentence.ends_with(
            "even when nothing else runs 4 of 6 tasks fit; ask for at most 4 tasks, for less CPU each, or add a node."
        ),
        "{}",
        why.sentence
    );
    assert_eq!(
        (why.funnel.removed.len(), why.funnel.placeable),
        (0, 0),
        "what runs is not what is in its way"
    );
    let changes: Vec<String> = pool.changes(wide).into_iter().map(|(change, _)| change).collect();
    assert!(changes.contains(&"with 4 tasks instead of 6".to_owned()), "{changes:?}");
    let why = pool.why(labelled);
    assert!(!why.sentence.contains("ask for less"), "{}", why.sentence);
    assert!(why.sentence.contains("without the label zone=b"), "{}", why.sentence);
}

#[test]
fn a_gang_of_which_some_fit_is_told_what_there_is_too_little_of() {
    let mut pool = node(8, 32);
    let holder = pool.ask(Ask::new(shape(2, 20)).limit(100));
    pool.run();
    assert!(pool.runs(holder));
    let memory = pool.ask(Ask::new(shape(1, 8)).tasks(3, 3));
    let both = pool.ask(Ask::new(shape(4, 8)).tasks(2, 2));
    pool.plan();
    let told = |id| pool.why(id).sentence.to_owned();
    let (memory, both) = (told(memory), told(both));
    assert!(
        memory
            .contains("1 of 3 tasks fit now: the one node has too little memory for all of them; it should"),
        "{memory}"
    );
    assert!(both.contains("the one node has too little CPU and memory for all of them"), "{both}");
}

#[test]
fn what_could_never_start_is_not_shown_as_waiting_for_something_else() {
    let mut pool = node(8, 32);
    let [huge, fits] = [40, 30].map(|memory| pool.ask(Ask::new(shape(1, memory))));
    for id in [huge, fits] {
        pool.world.edit(id, |row| row.phase = GangPhase::Held(Held::Dependency(vec![JobId(7)])));
    }
    assert_eq!((pool.why(huge).verdict, pool.why(fits).verdict), (Verdict::NeedsYou, Verdict::Waiting));
    assert!(matches!(pool.why(huge).reason, Some(HoldReason::Infeasible(_))));
    assert!(matches!(pool.why(fits).reason, Some(HoldReason::Dependency(_))));
    pool.world.edit(huge, |row| row.phase = GangPhase::Held(Held::Paused));
    assert_eq!(pool.why(huge).reason, Some(HoldReason::Paused), "it is resumed first");
}

#[test]
fn who_is_paused_in_place_is_told_to_resume() {
    let mut pool = node(8, 32);
    let id = pool.ask(Ask::new(shape(1, 1)));
    pool.run();
    pool.world.edit(id, |row| {
        if let GangPhase::Placed(placed) = &mut row.phase {
            placed.paused = true;
        }
    });
    let why = pool.why(id);
    assert_eq!(why.verdict, Verdict::NeedsYou);
    assert_eq!(why.sentence, "It is paused, and frozen on n0; resume it to let it go on.");
}

#[test]
fn a_share_with_more_memory_than_a_device_has_says_so() {
    let mut world = World::new();
    let device = Device { modes: vec![ShareMode::Exclusive, ShareMode::Time], ..World::gpu("A10", 24) };
    world.node(8, 32, &[device], &[]);
    let mut pool = Pool::new(world);
    for (compute, asks) in [(0, "32.2GB of 1 GPU"), (300, "0.3 and 32.2GB of 1 GPU")] {
        let mut shape = shape(1, 1);
        shape.devices.push(crate::plan::world::gpu_share(compute, 30));
        let id = pool.ask(Ask::new(shape));
        pool.plan();
        let why = pool.why(id);
        assert_eq!(why.funnel.removed, [(Constraint::SmallDevice(DeviceKind::Gpu), 1)]);
        assert_eq!(
            why.sentence,
            format!(
                "It asks for 1 core, 1GB of memory, {asks}, which this pool can never give: the one node has no GPU with so much \
                 memory; ask for at most 25.7GB of memory, the most that GPUs here have, or add a larger one."
            )
        );
    }
}

#[test]
fn what_many_tasks_take_of_the_disk_is_said() {
    let mut pool = node(8, 32);
    let mut each = shape(1, 1);
    each.request.disk = crate::units::Bytes(4_000_000_000);
    let id = pool.ask(Ask::new(each).tasks(3, 3));
    pool.plan();
    let why = pool.why(id);
    assert!(why.sentence.contains("3 × (1 core, 1GB of memory, 4GB of disk)"), "{}", why.sentence);
}

#[test]
fn labels_devices_nodes_and_classes_are_tried() {
    let mut world = World::new();
    world.node(8, 32, &[World::gpu("L4", 24)], &[]);
    let mut pool = Pool::new(world);
    let holder = {
        let mut shape = shape(1, 1);
        shape.devices.push(crate::plan::world::gpu_share(500, 4));
        pool.ask(Ask::new(shape))
    };
    pool.run();
    assert!(pool.runs(holder));
    let mut whole = shape(1, 1);
    whole.devices.push(gpus(1));
    let whole = pool.ask(Ask::new(whole));
    let wide = pool.ask(Ask::new(shape(4, 1)).tasks(2, 2));
    let mut labelled = shape(1, 1);
    labelled.labels.insert("zone".to_owned(), "b".to_owned());
    let labelled = pool.ask(Ask::new(labelled));
    pool.plan();
    assert!(pool.changes(whole).contains(&("with half a device instead of a whole one".to_owned(), true)));
    assert!(pool.changes(wide).contains(&("with 1 task instead of 2".to_owned(), true)));
    assert!(pool.changes(labelled).contains(&("without the label zone=b".to_owned(), true)));
}

#[test]
fn a_spare_start_is_offered_when_cpu_is_granted_but_idle() {
    let mut pool = node(8, 32);
    let owner = pool.ask(Ask::new(shape(8, 1)).firm());
    pool.run();
    assert!(pool.runs(owner));
    let idle = crate::units::MilliCpu(100);
    pool.world.edit_node(NodeOrd(0), |row| (row.busy_p95, row.busy_now) = (idle, idle));
    let id = pool.ask(Ask::new(shape(2, 1)));
    pool.plan();
    assert!(pool.changes(id).contains(&("as class spare".to_owned(), true)));
}

#[test]
fn a_time_limit_is_offered_when_a_place_is_kept_for_another() {
    let mut pool = node(8, 32);
    pool.ask(Ask::new(shape(6, 1)).limit(100));
    pool.run();
    pool.ask(Ask::new(shape(8, 1)).limit(100));
    let long = pool.ask(Ask::new(shape(2, 1)));
    pool.plan();
    assert_eq!(pool.changes(long)[0], ("with a time limit of 1m40s".to_owned(), true));
}

#[test]
fn drained_nodes_and_quotas_need_the_administrator() {
    let (mut pool, queue) = node_with_a_limited_queue();
    let over = pool.world.submit(queue, Ask::new(shape(4, 1)), pool.at());
    pool.plan();
    let why = pool.why(over);
    assert_eq!(why.verdict, Verdict::NeedsAdmin);
    assert_eq!(
        why.sentence,
        "It asks for 4 cores and the limit of queue q is 2 cores; ask for less, or have the limit raised."
    );
    pool.world.edit_node(NodeOrd(0), |row| row.state = NodeState::Draining);
    let drained = pool.ask(Ask::new(shape(4, 1)).class(Class::Critical));
    pool.plan();
    assert_eq!(pool.why(drained).verdict, Verdict::NeedsAdmin);
}

#[test]
fn who_waits_for_sick_devices_is_told_which_and_may_still_start() {
    let mut world = World::new();
    world.node(8, 32, &[World::gpu("A100", 40), World::gpu("A100", 40)], &[]);
    world.node(8, 32, &[World::gpu("V100", 16)], &[]);
    let mut pool = Pool::new(world);
    let sick = |pool: &mut Pool, node: u32, device: usize, healthy: bool| {
        pool.world.edit_node(NodeOrd(node), |row| row.devices[device].healthy = healthy);
    };
    sick(&mut pool, 0, 1, false);
    sick(&mut pool, 1, 0, false);
    let mut two = shape(1, 1);
    two.devices.push(gpus(2));
    let both = pool.ask(Ask::new(two.clone()));
    let mut of_a_model = shape(1, 1);
    of_a_model.devices.push(crate::model::DeviceRequest { model: Some("V100".to_owned()), ..gpus(1) });
    let one = pool.ask(Ask::new(of_a_model));
    let mut three = shape(1, 1);
    three.devices.push(gpus(3));
    let never = pool.ask(Ask::new(three));
    pool.run();
    let words = |pool: &Pool, id: GangId| pool.world.reasons.get(&id).map(|reason| format!("{reason:?}"));
    let named = |node: &str, device: u32| crate::plan::DeviceAt { node: node.into(), device };
    for (id, devices) in [(both, vec![named("n0", 1)]), (one, vec![named("n1", 0)])] {
        let reason = HoldReason::Unwell { devices, more: 0 };
        assert_eq!(pool.world.reasons.get(&id), Some(&reason), "{:?}", words(&pool, id));
        let why = pool.why(id);
        assert_eq!((why.verdict, why.reason.as_ref()), (Verdict::Waiting, Some(&reason)));
    }
    let sentence = pool.why(both).sentence;
    assert!(sentence.contains("once devices that are not well work again: device 1 of n0;"), "{sentence}");
    assert_eq!(pool.why(never).verdict, Verdict::NeedsYou, "no device that comes back is enough for three");
    // The list is that of now, a closed node's devices count, and they start when the devices are back.
    sick(&mut pool, 0, 0, false);
    pool.run();
    let all = HoldReason::Unwell { devices: vec![named("n0", 0), named("n0", 1)], more: 0 };
    assert_eq!(pool.world.reasons.get(&both), Some(&all));
    sick(&mut pool, 0, 0, true);
    sick(&mut pool, 0, 1, true);
    pool.run();
    assert!(pool.runs(both) && !pool.runs(one));
}

#[test]
fn what_a_limit_never_allows_is_said_before_what_is_sick() {
    let mut world = World::new();
    let node = world.node(8, 32, &[World::gpu("A100", 40)], &[]);
    let mut spec = QueueSpec::new("q");
    spec.limit.cpu = Some(2000);
    let queue = world.queue(spec);
    world.edit_node(node, |row| row.devices[0].healthy = false);
    let mut pool = Pool::new(world);
    let mut large = shape(4, 1);
    large.devices.push(gpus(1));
    let over = pool.world.submit(queue, Ask::new(large), pool.at());
    pool.plan();
    assert_eq!(pool.why(over).verdict, Verdict::NeedsAdmin);
}
