//! What things cost, by hand; the identities are checked after every turn of every other test.

use crate::engine::State;
use crate::event::{Request, Target};
use crate::model::{Class, DeviceKind, NodeSpec};
use crate::plan::world::{World, gpu_share, gpus};
use crate::snapshot::NodeOrd;
use crate::testkit::{JobPlan, Pool, cpus, one, secs};
use crate::units::{Bytes, Thousandths};

/// One core for one second.
const CORE_SECOND: u128 = 1000 * 1000;

fn run(plan: JobPlan) -> Pool {
    Pool::new().node("n1", cpus(4)).job("a", plan).run(secs(1000))
}

fn cpu_of(pool: &Pool, name: &str) -> (u128, u128) {
    let bill = pool.engine.meter().of_job(pool.id(name)).unwrap();
    (bill.cpu.base, bill.cpu.spare)
}

#[test]
fn each_class_pays_for_what_it_was_promised() {
    let idle = |class| one().cpu(2).class(class).uses(500).runs(secs(10));
    assert_eq!(cpu_of(&run(idle(Class::Standard)), "a"), (20 * CORE_SECOND, 0), "what was granted");
    assert_eq!(cpu_of(&run(idle(Class::Critical)), "a"), (20 * CORE_SECOND, 0), "what was granted");
    // Ten seconds, of which the last falls after the last sample.
    let (base, spare) = cpu_of(&run(idle(Class::Spare)), "a");
    assert_eq!((base, spare), (0, 9 * CORE_SECOND / 2), "what was used");
    let busy = |class| one().cpu(2).class(class).uses(3000).runs(secs(10));
    assert_eq!(cpu_of(&run(busy(Class::Standard)), "a"), (20 * CORE_SECOND, 9 * CORE_SECOND));
    assert_eq!(cpu_of(&run(busy(Class::Critical)), "a"), (29 * CORE_SECOND, 0), "the larger of the two");
}

#[test]
fn starting_waiting_and_paused_cost_nothing() {
    let pool = Pool::new()
        .node("n1", cpus(1))
        .job("a", one().starts_in(secs(30)).runs(secs(10)))
        .job("b", one().runs(secs(10)))
        .run(secs(35));
    let target = Target::job(pool.id("a"));
    let pool = pool.request(Request::Pause { target, release: false }).run(secs(500));
    assert_eq!(cpu_of(&pool, "a").0, 5 * CORE_SECOND);
    assert!(pool.engine.meter().of_job(pool.id("b")).is_none(), "it waited");
    let [cpu, ..] = pool.engine.meter().of_node(pool.engine.now(), NodeOrd(0)).unwrap();
    assert_eq!(cpu.planned, 30 * CORE_SECOND);
}

#[test]
fn every_unit_of_a_node_is_somewhere() {
    let pool = Pool::new().node("n1", cpus(4)).job("a", one().cpu(2).uses(500).runs(secs(10))).run(secs(20));
    let now = pool.engine.now();
    let [cpu, memory, _] = pool.engine.meter().of_node(now, NodeOrd(0)).unwrap();
    assert_eq!((cpu.capacity, cpu.granted, cpu.idle), (80 * CORE_SECOND, 20 * CORE_SECOND, 60 * CORE_SECOND));
    assert_eq!(cpu.used_within, 9 * CORE_SECOND / 2);
    assert_eq!(cpu.waste, 20 * CORE_SECOND - 9 * CORE_SECOND / 2);
    assert_eq!(memory.capacity, memory.granted + memory.idle);
    let pool = pool.world(|world| world.kill_machine("n1")).run(secs(100));
    let [cpu, ..] = pool.engine.meter().of_node(pool.world.now(), NodeOrd(0)).unwrap();
    assert_eq!(cpu.idle + cpu.down, (60 + 400) * CORE_SECOND);
    assert!(cpu.down > 300 * CORE_SECOND, "from when it fell silent");
}

#[test]
fn work_lost_with_a_node_is_a_credit() {
    let pool = Pool::new()
        .node("n1", cpus(1))
        .job("a", one().runs(secs(1000)))
        .run(secs(100))
        .world(|world| world.kill_machine("n1"))
        .run(secs(100));
    assert_eq!(pool.state("a"), State::Pending);
    let bill = pool.engine.meter().of_job(pool.id("a")).unwrap();
    assert!(bill.cpu.base >= 100 * CORE_SECOND);
    assert_eq!(Some(bill), pool.engine.meter().credit_of(pool.id("a")));
    let owner = &pool.engine.meter().owners()[0];
    assert_eq!((owner.user.as_str(), owner.queue.as_str()), ("local", "default"));
    assert_eq!(owner.charged, owner.credited);
}

/// One device that is shared by time, and a job with so many thousandths of its time and bytes of its 40 GB.
fn device(measured: bool, thousandths: u64, bytes: u64) -> (NodeSpec, JobPlan) {
    let mut node = cpus(8);
    node.devices.push(crate::model::Device {
        uuid: "gpu-0".to_owned(),
        kind: DeviceKind::Gpu,
        model: "NVIDIA A100".to_owned(),
        memory: Bytes(40_000_000_000),
        modes: vec![crate::model::ShareMode::Time],
        numa: None,
        files: Vec::new(),
        traits: crate::model::Traits { measured, ..Default::default() },
    });
    let mut plan = one().runs(secs(10));
    plan.spec.shapes[0].devices.push(crate::model::DeviceRequest {
        kind: DeviceKind::Gpu,
        model: None,
        count: 1,
        device_memory: Bytes::ZERO,
        mode: crate::model::ShareMode::Time,
        compute: Thousandths(thousandths),
        memory: Bytes(bytes),
        slack: crate::model::Slack::default(),
        profile: None,
    });
    (node, plan)
}

#[test]
fn four_quarters_are_one_device() {
    let (node, plan) = device(false, 250, 10_000_000_000);
    let plan = plan.array(4, None);
    let pool = Pool::new().node("n1", node).job("a", plan).run(secs(20));
    assert_eq!(pool.find("a").exit_code(), Some(0));
    let bill = pool.engine.meter().of_job(pool.id("a")).unwrap();
    assert_eq!(bill.devices[&DeviceKind::Gpu].base, 10 * CORE_SECOND);
    let [compute, memory] = pool.engine.meter().of_devices(pool.engine.now(), NodeOrd(0))[0];
    assert_eq!((compute.granted, compute.idle), (10 * CORE_SECOND, 10 * CORE_SECOND));
    assert_eq!(memory.granted, memory.idle);
}

#[test]
fn a_measured_share_is_split_into_used_and_waste() {
    let (node, plan) = device(true, 250, 10_000_000_000);
    let pool = Pool::new().node("n1", node).job("a", plan.uses_device(100, 4_000_000_000)).run(secs(20));
    let [compute, memory] = pool.engine.meter().of_devices(pool.engine.now(), NodeOrd(0))[0];
    // The last of ten seconds falls after the last sample; memory is known from the first one on.
    assert_eq!((compute.granted, compute.used_within), (10 * 250_000, 9 * 100_000));
    assert_eq!(compute.waste, 10 * 250_000 - 9 * 100_000);
    assert_eq!(memory.used_within, 9 * 4_000_000_000_000);
    assert_eq!(pool.engine.meter().check(pool.engine.now()), []);
}

#[test]
fn the_ledger_tells_what_was_not_used_of_a_measured_share() {
    let (node, plan) = device(true, 250, 10_000_000_000);
    let plan = plan.runs(secs(5400)).uses_device(100, 2_000_000_000);
    let keeping = crate::engine::Settings { ledger: true, ..Default::default() };
    let pool = Pool::with(keeping, 7).node("n1", node).job("a", plan).run(secs(5500));
    let meter = pool.engine.meter();
    let mut periods = meter.ledger().closed().to_vec();
    periods.extend(meter.open_periods(pool.world.now()));
    let is_device =
        |entry: &&crate::money::Entry| matches!(entry.resource, crate::money::Resource::Device { .. });
    let lines = periods.iter().flat_map(|period| period.entries.iter().filter(is_device));
    let lines: Vec<_> =
        lines.map(|line| (line.sums.granted, line.sums.used_within, line.sums.waste)).collect();
    // The last second of the first hour is told after it, and counts as used; of the last of all only its memory is known.
    let (grant, used, held) = (250_000, 100_000, 50_000);
    let first = (3600 * grant, 3599 * used + grant, 3599 * (grant - used));
    let second = (1800 * grant, 1799 * used + held, 1799 * (grant - used) + grant - held);
    assert_eq!(lines, [first, second]);
    assert_eq!(periods.iter().flat_map(crate::money::Period::check).collect::<Vec<_>>(), []);
}

#[test]
fn shares_pay_for_the_larger_of_time_and_memory() {
    let pays = |class: Class, time: u64, memory: u64| {
        let (node, plan) = device(true, 250, 10_000_000_000);
        let mut plan = plan.class(class).uses_device(time, memory * 1_000_000_000);
        plan.spec.shapes[0].devices[0].slack.compute = Some(Thousandths::WHOLE);
        let pool = Pool::new().node("n1", node).job("a", plan).run(secs(20));
        let bill = pool.engine.meter().of_job(pool.id("a")).unwrap().devices[&DeviceKind::Gpu];
        (bill.base, bill.spare)
    };
    let second = 1_000_000;
    assert_eq!(pays(Class::Standard, 100, 4), (10 * second / 4, 0), "what was granted");
    // Two gigabytes of memory are a twentieth; time that others left is beyond the grant.
    assert_eq!(pays(Class::Standard, 650, 2), (10 * second / 4, 9 * second * 4 / 10));
    assert_eq!(pays(Class::Critical, 650, 2), (10 * second / 4 + 9 * second * 4 / 10, 0));
    assert_eq!(pays(Class::Spare, 100, 2), (0, 9 * second / 10), "what was used: time is more");
    assert_eq!(
        pays(Class::Spare, 100, 8),
        (0, second / 10 + 8 * second * 2 / 10),
        "memory is more, once it is known"
    );
}

#[test]
fn memory_goes_with_whole_devices_until_a_part_is_granted() {
    const GB: u64 = 1 << 30;
    let mut node = cpus(4);
    node.devices.push(World::gpu("A100", 40));
    let with = |request| {
        let mut plan = one().runs(secs(10));
        plan.spec.shapes[0].devices.push(request);
        plan
    };
    let memory_of = |pool: &Pool| {
        let [_, memory] = pool.engine.meter().of_devices(pool.engine.now(), NodeOrd(0))[0];
        assert_eq!(memory.capacity, u128::from(40 * GB) * u128::from(pool.engine.now().0));
        (memory.granted, memory.used_within, memory.waste, memory.burst)
    };
    let bytes = |gib_s: u64| u128::from(gib_s * GB) * 1000;
    let pool = Pool::new().node("n1", node).job("whole", with(gpus(1))).run(secs(20));
    assert_eq!(memory_of(&pool), (bytes(400), bytes(400), 0, 0));
    let pool = pool.job("part", with(gpu_share(500, 10))).run(secs(20));
    assert_eq!(memory_of(&pool), (bytes(500), bytes(500), 0, 0));
    let pool = pool.job("whole again", with(gpus(1))).run(secs(4));
    let target = Target::job(pool.id("whole again"));
    let pool = pool.request(Request::Pause { target, release: false }).run(secs(20));
    let (granted, within, waste, _) = memory_of(&pool);
    assert_eq!(
        (granted, within),
        (bytes(500 + 24 * 40), bytes(500 + 4 * 40)),
        "paused, it holds and does not use"
    );
    assert_eq!(waste, bytes(20 * 40));
}
