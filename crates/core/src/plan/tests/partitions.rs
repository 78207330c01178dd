//! Partitions of devices: found wherever one has a place, never over another, explained where there is none.

use super::*;
use crate::model::{DeviceRequest, ShareMode};
use crate::partition::{Layout, Occupied, Part, tests as exhaustive};
use crate::plan::world::{Ask, gpu_part, gpus, shape};
use crate::plan::{Constraint, Verdict};
use crate::snapshot::QueueOrd;
use crate::units::{Bytes, Thousandths};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ROOT: QueueOrd = QueueOrd(0);

fn asks(device: DeviceRequest) -> Ask {
    let mut shape = shape(1, 1);
    shape.devices.push(device);
    Ask::new(shape)
}

fn pool_of(model: &str, gib: u64, devices: usize) -> (Pool, Arc<Layout>) {
    let mut world = World::new();
    let gpu = World::gpu(model, gib);
    let layout = gpu.traits.layout.clone().unwrap();
    world.node(64, 256, &vec![gpu; devices], &[]);
    (Pool::new(world), layout)
}

fn part_of(pool: &Pool, id: GangId) -> Option<(u32, Part)> {
    let grant = pool.world.placed(id)?.tasks[0].devices[0];
    grant.part.map(|part| (grant.device, part))
}

/// Gate 3, the planner: printed by `cargo xtask gates devices`. A node in each state there is, a gang for each of them.
#[test]
fn the_planner_places_a_partition_wherever_one_has_a_place() {
    for (model, gib) in exhaustive::MODELS {
        let gpu = World::gpu(model, gib);
        let layout = gpu.traits.layout.clone().unwrap();
        let mut states = BTreeMap::new();
        for parts in exhaustive::configurations(&layout) {
            let occupied = parts.iter().fold(Occupied::NOTHING, |all, part| layout.with(all, *part));
            states.entry(occupied).or_insert(parts);
        }
        let mut empty = World::new();
        for (at, parts) in states.values().enumerate() {
            let node = empty.node(64, 64, std::slice::from_ref(&gpu), &[("state", &at.to_string())]);
            empty.edit_node(node, |row| {
                for part in parts {
                    row.devices[0].shift(&layout.grant(0, *part).unwrap(), ShareMode::Space, true);
                }
            });
        }
        for (profile, of) in layout.numbered() {
            let mut world = empty.clone();
            let submit = |at: usize| {
                let mut ask = asks(gpu_part(&of.name));
                ask.shapes[0].labels.insert("state".to_owned(), at.to_string());
                world.submit(ROOT, ask, Timestamp(0))
            };
            let gangs: Vec<GangId> = (0..states.len()).map(submit).collect();
            let plan = Planner::new(Settings::default()).plan(&world.snapshot, Timestamp(1));
            assert_eq!(check_plan(&world.snapshot, &plan), Vec::new());
            let placed: BTreeSet<GangId> = plan.decisions.iter().filter_map(placed).collect();
            for (gang, (occupied, parts)) in gangs.iter().zip(&states) {
                let has_place = layout.has_place(*occupied, profile);
                assert_eq!(placed.contains(gang), has_place, "{model} {parts:?} {}", of.name);
            }
        }
        let plans = states.len() * layout.profiles.len();
        eprintln!("  pass  {model}: the planner in {} states, {plans} placements: the same", states.len());
    }
}

fn placed(decision: &Decision) -> Option<GangId> {
    if let Decision::Place { gang, .. } = decision { Some(*gang) } else { None }
}

#[test]
fn partitions_share_a_device_and_whole_jobs_take_another() {
    let (mut pool, layout) = pool_of("NVIDIA A100-SXM4-40GB", 40, 2);
    let half = pool.submit(ROOT, asks(gpu_part("3g.20gb")));
    pool.run();
    let whole = pool.submit(ROOT, asks(gpus(1)));
    let rest: Vec<GangId> = (0..3).map(|_| pool.submit(ROOT, asks(gpu_part("1g.5gb")))).collect();
    let by_time = pool.submit(ROOT, asks(crate::plan::world::gpu_share(100, 4)));
    pool.run();
    let (first, _) = part_of(&pool, half).unwrap();
    assert!(pool.runs(whole) && rest.iter().all(|id| part_of(&pool, *id).is_some_and(|at| at.0 == first)));
    assert!(!pool.runs(by_time), "neither device may be shared by time now");
    let other = pool.submit(ROOT, asks(gpu_part("3g.20gb")));
    pool.plan();
    assert!(!pool.runs(other) && layout.slices == 8, "three single slices and a half leave none");
    pool.world.end(whole);
    pool.run();
    assert!(pool.runs(by_time) != pool.runs(other), "whoever is first decides how the device is divided");
}

#[test]
fn the_modes_of_a_device_change_only_while_it_is_empty() {
    let (mut pool, _) = pool_of("AMD Instinct MI300X", 192, 1);
    let eighths: Vec<GangId> = (0..2).map(|_| pool.submit(ROOT, asks(gpu_part("cpx")))).collect();
    pool.run();
    let half = pool.submit(ROOT, asks(gpu_part("dpx")));
    let other_memory = pool.submit(ROOT, asks(gpu_part("cpx-nps4")));
    let third = pool.submit(ROOT, asks(gpu_part("cpx")));
    pool.run();
    assert!(pool.runs(third) && !pool.runs(half) && !pool.runs(other_memory));
    pool.world.end(eighths[0]);
    pool.world.end(eighths[1]);
    pool.run();
    assert!(!pool.runs(half), "one is still there");
    pool.world.end(third);
    pool.run();
    assert!(pool.runs(half) && !pool.runs(other_memory));
}

#[test]
fn who_waits_is_told_which_partition_is_missing_where() {
    let (mut pool, _) = pool_of("NVIDIA A100-SXM4-40GB", 40, 1);
    pool.submit(ROOT, asks(gpu_part("4g.20gb")).limit(60));
    pool.submit(ROOT, asks(gpu_part("1g.5gb")).limit(60));
    pool.run();
    let half = pool.submit(ROOT, asks(gpu_part("3g.20gb")));
    let unknown = pool.submit(ROOT, asks(gpu_part("3g.40gb")));
    let large = pool.submit(
        ROOT,
        asks(DeviceRequest {
            compute: Thousandths(0),
            memory: Bytes(60_000_000_000),
            profile: None,
            ..gpu_part("")
        }),
    );
    pool.plan();
    let why = pool.why(half);
    let full = Constraint::NoPlace(crate::model::DeviceKind::Gpu, "3g.20gb".to_owned());
    assert_eq!(why.funnel.removed, [(full, 1)]);
    assert_eq!(
        why.sentence,
        "It asks for 1 core, 1GB of memory, a 3g.20gb of 1 GPU, and there is no room for it now: the one node has no \
         place for a 3g.20gb on its GPUs beside what is used (device 0 of n0 has room for 1 1g.10gb or 2 \
         1g.5gb); it should start in 1m00s."
    );
    let why = pool.why(unknown);
    assert_eq!(why.verdict, Verdict::NeedsYou);
    assert!(why.sentence.contains("no GPU that can be cut into a 3g.40gb"), "{}", why.sentence);
    let why = pool.why(large);
    assert!(why.sentence.contains("no GPU that can be cut into a partition with 60GB"), "{}", why.sentence);
}

#[test]
fn a_reservation_keeps_the_slices_it_needs() {
    let (mut pool, _) = pool_of("NVIDIA A100-SXM4-40GB", 40, 1);
    pool.submit(ROOT, asks(gpu_part("3g.20gb")).limit(100));
    pool.run();
    let whole = pool.submit(ROOT, asks(gpu_part("7g.40gb")));
    let short = pool.submit(ROOT, asks(gpu_part("1g.5gb")).limit(50));
    let long = pool.submit(ROOT, asks(gpu_part("1g.5gb")).limit(500));
    pool.run();
    assert!(pool.runs(short) && !pool.runs(long), "only who is gone by then may stand in the way");
    pool.pass(100);
    pool.run();
    assert!(pool.runs(whole) && !pool.runs(long));
}

#[test]
fn a_plan_with_partitions_that_cannot_be_is_found_out() {
    use crate::check::rule;
    let (mut pool, layout) = pool_of("NVIDIA A100-SXM4-40GB", 40, 1);
    let one = pool.submit(ROOT, asks(gpu_part("3g.20gb")));
    pool.submit(ROOT, asks(gpu_part("2g.10gb")));
    let plan = pool.planner.plan(&pool.world.snapshot, pool.at());
    let broken = |change: &dyn Fn(&mut crate::event::DeviceGrant)| -> Vec<&'static str> {
        let mut plan = plan.clone();
        for decision in &mut plan.decisions {
            if let Decision::Place { gang, tasks, .. } = decision
                && *gang == one
            {
                let task = &mut Arc::make_mut(tasks)[0];
                change(&mut Arc::make_mut(&mut task.devices)[0]);
            }
        }
        check_plan(&pool.world.snapshot, &plan).into_iter().map(|violation| violation.rule).collect()
    };
    let at = |name: &str, start| Some(Part { profile: layout.find(name).unwrap(), start });
    assert!(broken(&|_| {}).is_empty());
    assert_eq!(broken(&|grant| grant.part = None), [rule::PARTITIONS]);
    assert_eq!(broken(&|grant| grant.part = at("3g.20gb", 2)), [rule::PARTITIONS], "no start of its");
    assert_eq!(broken(&|grant| grant.part = at("4g.20gb", 0)), [rule::PARTITIONS], "not what was asked for");
    let taken = plan.decisions.iter().find_map(|decision| match decision {
        Decision::Place { gang, tasks, .. } if *gang != one => tasks[0].devices[0].part,
        _ => None,
    });
    let start = if taken.unwrap().start < 4 { 0 } else { 4 };
    assert_eq!(broken(&|grant| grant.part = at("3g.20gb", start)), [rule::PARTITIONS], "over another");
    assert!(broken(&|grant| grant.compute = Thousandths(1)).contains(&rule::DEVICES));
}
