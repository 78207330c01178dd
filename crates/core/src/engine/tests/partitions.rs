//! Partitions as the engine keeps them: where they stand, what they cost, over restarts and new descriptions.

use crate::engine::State;
use crate::event::{Actor, Event, Report};
use crate::ids::NodeName;
use crate::model::{Device, DeviceKind, DeviceRequest, NodeSpec, ShareMode, Traits};
use crate::partition::{Occupied, known};
use crate::plan::world::gpu_part;
use crate::snapshot::NodeOrd;
use crate::testkit::{JobPlan, Pool, cpus, one, secs};
use crate::units::Bytes;
use std::sync::Arc;

const MEMORY: Bytes = Bytes(40 << 30);

fn machine() -> NodeSpec {
    let mut node = cpus(8);
    node.devices.push(Device {
        uuid: "gpu-0".to_owned(),
        kind: DeviceKind::Gpu,
        model: "NVIDIA A100-SXM4-40GB".to_owned(),
        memory: MEMORY,
        modes: vec![ShareMode::Space],
        numa: None,
        files: Vec::new(),
        traits: Traits { layout: known::layout("A100", MEMORY).map(Arc::new), ..Traits::default() },
    });
    node
}

fn part(profile: &str) -> JobPlan {
    let mut plan = one();
    plan.spec.shapes[0].devices.push(gpu_part(profile));
    plan
}

fn stands(pool: &Pool) -> Occupied {
    pool.engine.snapshot().nodes[0].devices[0].parts
}

#[test]
fn parts_are_taken_kept_over_a_crash_and_given_back() {
    let pool = Pool::new().node("n1", machine());
    let pool = pool.job("a", part("3g.20gb").runs(secs(50))).job("b", part("2g.10gb").runs(secs(100)));
    let pool = pool.job("c", part("4g.20gb").runs(secs(10))).run(secs(5));
    let both = stands(&pool);
    assert!((0..8).filter(|slice| both.has_slice(*slice)).count() == 6, "{both:?}");
    assert_eq!(pool.rebuilt().snapshot().nodes[0].devices, pool.engine.snapshot().nodes[0].devices);
    let pool = pool.crash().run(secs(5));
    assert_eq!(stands(&pool), both);
    let pool = pool.run(secs(60));
    assert_eq!(pool.find("a").exit_code(), Some(0));
    let pool = pool.run(secs(100));
    assert_eq!(pool.find("c").exit_code(), Some(0), "it waited for the slices it needs");
    let row = &pool.engine.snapshot().nodes[0].devices[0];
    assert!(row.is_whole() && row.parts.is_nothing() && row.mode.is_none());
}

#[test]
fn a_partition_is_billed_by_the_larger_of_memory_and_compute() {
    let pool = Pool::new().node("n1", machine());
    let pool = pool.job("single", part("1g.5gb").runs(secs(10)));
    let pool = pool.job("double", part("1g.10gb").runs(secs(10))).run(secs(20));
    let bill = |name: &str| pool.engine.meter().of_job(pool.id(name)).unwrap().devices[&DeviceKind::Gpu].base;
    // 14 of 98 multiprocessors, and 9,856 of 40,960 MiB, rounded up.
    assert_eq!((bill("single"), bill("double")), (142 * 10_000, 241 * 10_000));
    let [compute, memory] = pool.engine.meter().of_devices(pool.engine.now(), NodeOrd(0))[0];
    assert_eq!(compute.granted, 2 * 142 * 10_000);
    assert_eq!(memory.granted, u128::from((4864_u64 + 9856) << 20) * 10_000);
}

#[test]
fn another_layout_waits_until_the_old_parts_are_gone() {
    let pool = Pool::new().node("n1", machine()).job("a", part("3g.20gb").runs(secs(50))).run(secs(5));
    let before = stands(&pool);
    let mut spec = machine();
    spec.name = NodeName::from("n1");
    let mut layout = known::layout("A100", MEMORY).unwrap();
    layout.profiles.remove(0);
    spec.devices[0].traits.layout = Some(Arc::new(layout.clone()));
    let pool = pool.world(|world| {
        let actor = crate::event::Actor::Node(NodeName::from("n1"));
        world.request(actor, crate::event::Event::Report(crate::event::Report::NodeUp(spec)));
    });
    let pool = pool.job("b", part("1g.10gb").runs(secs(5))).run(secs(10));
    assert_eq!(stands(&pool), before, "nothing more is put on it");
    let pool = pool.run(secs(100));
    assert_eq!(pool.find("b").exit_code(), Some(0));
    assert_eq!(pool.engine.snapshot().nodes[0].devices[0].spec.traits.layout.as_deref(), Some(&layout));
}

#[test]
fn a_profile_that_is_asked_for_by_nobody_who_divides_is_refused() {
    let mut plan = one();
    plan.spec.shapes[0].devices.push(DeviceRequest { profile: None, ..gpu_part("") });
    let pool = Pool::new().node("n1", machine()).job("a", plan).run(secs(1));
    assert_eq!(pool.seen.refused.len(), 1, "a share of nothing");
}

#[test]
fn a_place_that_others_took_is_free_again_when_who_was_granted_it_has_gone() {
    let taken = |starts: &[u8]| {
        let mut node = machine();
        let mut layout = known::layout("A100", MEMORY).unwrap();
        for profile in &mut layout.profiles {
            profile.starts.retain(|start| starts.contains(start));
        }
        node.devices[0].traits.layout = Some(Arc::new(layout));
        node
    };
    let describe = |pool: Pool, spec: NodeSpec| {
        let report = Report::NodeUp(NodeSpec { name: NodeName::from("n1"), ..spec });
        pool.world(|world| world.request(Actor::Node("n1".into()), Event::Report(report)))
    };
    let pool = Pool::new().node("n1", machine()).job("a", part("3g.20gb").runs(secs(20))).run(secs(5));
    let held = stands(&pool);
    assert!(!held.is_nothing());
    // Somebody else has every place now: it keeps what it has, also when all is read again, and gives it back whole.
    let pool = describe(pool, taken(&[])).job("b", part("3g.20gb")).run(secs(5));
    assert_eq!((stands(&pool), pool.state("a"), pool.state("b")), (held, State::Running, State::Pending));
    assert_eq!(pool.rebuilt().snapshot().nodes[0].devices, pool.engine.snapshot().nodes[0].devices);
    let pool = pool.run(secs(15));
    assert_eq!((pool.find("a").exit_code(), stands(&pool).is_nothing()), (Some(0), true));
    let pool = describe(pool, machine()).run(secs(2));
    assert_eq!(pool.state("b"), State::Running);
}
