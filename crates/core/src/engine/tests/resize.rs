//! Shares of devices that change while they are used.

use crate::engine::{Refusal, State};
use crate::event::{Actor, Event, Report, Request, Target};
use crate::ids::NodeName;
use crate::model::{DeviceChange, DeviceKind, DeviceRequest, QueueSpec, Resources, ShareMode, Slack, Traits};
use crate::snapshot::NodeOrd;
use crate::testkit::{JobPlan, Pool, cpus, gang, one, secs};
use crate::units::{Bytes, MilliCpu, Thousandths};

const GB: u64 = 1_000_000_000;

fn share(thousandths: u64, memory: u64) -> JobPlan {
    let mut plan = one();
    plan.spec.shapes[0].devices.push(DeviceRequest {
        kind: DeviceKind::OpenCl,
        model: None,
        count: 1,
        device_memory: Bytes::ZERO,
        mode: ShareMode::Time,
        compute: Thousandths(thousandths),
        memory: Bytes(memory),
        slack: Slack::default(),
        profile: None,
    });
    plan
}

fn pool() -> Pool {
    pool_of(vec![ShareMode::Exclusive, ShareMode::Time])
}

fn pool_of(modes: Vec<ShareMode>) -> Pool {
    let mut node = cpus(8);
    node.devices.push(crate::model::Device {
        uuid: "opencl:0".to_owned(),
        kind: DeviceKind::OpenCl,
        model: "pocl".to_owned(),
        memory: Bytes(10 * GB),
        modes,
        numa: None,
        files: Vec::new(),
        traits: Traits { measured: true, ..Traits::default() },
    });
    Pool::new().node("n1", node)
}

/// A request that leaves amounts as they are and changes the share.
fn resize(pool: &Pool, name: &str, compute: Option<u64>, memory: Option<u64>) -> Request {
    let job = pool.find(name);
    let shape = &job.gangs[0].shapes(&job.spec)[0];
    let change = DeviceChange {
        kind: DeviceKind::OpenCl,
        compute: compute.map(Thousandths),
        memory: memory.map(Bytes),
        slack: Slack::default(),
    };
    Request::Resize {
        target: Target::job(job.id),
        request: shape.request,
        burst: shape.burst,
        devices: vec![change],
    }
}

fn granted(pool: &Pool, name: &str) -> (u64, u64) {
    let grant = pool.gang(name).live().unwrap().tasks[0].devices[0];
    (grant.compute.0, grant.memory.0)
}

#[test]
fn a_share_grows_into_what_is_free_and_no_further() {
    let pool = pool().job("a", share(300, 0)).job("b", share(300, 0)).run(secs(1));
    assert_eq!(granted(&pool, "a"), (300, 3 * GB));
    let to = resize(&pool, "a", Some(700), None);
    let pool = pool.request(to).run(secs(1));
    assert_eq!(granted(&pool, "a"), (700, 7 * GB), "memory in proportion stays in proportion");
    let row = &pool.engine.snapshot().nodes[0].devices[0];
    assert_eq!((row.free_compute, row.free_memory), (Thousandths(0), Bytes(0)));
    let used = pool.engine.snapshot().queues[0].used.devices[&DeviceKind::OpenCl];
    assert_eq!(used, 1000);
    let to = resize(&pool, "b", Some(301), None);
    let pool = pool.request(to).run(secs(1));
    assert!(matches!(pool.seen.refused[..], [Refusal::NoRoom { free: 0, asked: 1, .. }]));
    let to = resize(&pool, "a", Some(100), Some(GB));
    let pool = pool.request(to).run(secs(1));
    assert_eq!(granted(&pool, "a"), (100, GB));
    let to = resize(&pool, "b", Some(900), None);
    let pool = pool.request(to).run(secs(1));
    assert_eq!(granted(&pool, "b"), (900, 9 * GB));
}

#[test]
fn the_meter_follows_a_share_from_the_moment_it_changes() {
    let pool = pool().job("a", share(300, 0).runs(secs(100))).run(secs(10));
    let to = resize(&pool, "a", Some(600), Some(8 * GB));
    let pool = pool.request(to).run(secs(500));
    let bill = pool.engine.meter().of_job(pool.id("a")).unwrap();
    // Ten seconds of 300, then ninety of max(600, 800).
    assert_eq!(bill.devices[&DeviceKind::OpenCl].base, (10 * 300 + 90 * 800) * 1000);
    let [compute, memory] = pool.engine.meter().of_devices(pool.engine.now(), NodeOrd(0))[0];
    assert_eq!(compute.granted, (10 * 300 + 90 * 600) * 1000);
    assert_eq!(memory.granted, u128::from(GB) * (10 * 3 + 90 * 8) * 1000);
}

#[test]
fn a_share_pays_for_what_others_leave_and_not_for_running_ahead_of_its_part() {
    let bill = |slack: Option<u64>| {
        let mut plan = share(300, 0).runs(secs(100)).uses_device(400, 0);
        plan.spec.shapes[0].devices[0].slack.compute = slack.map(Thousandths);
        let pool = pool().job("a", plan).run(secs(500));
        let bill = pool.engine.meter().of_job(pool.id("a")).unwrap().devices[&DeviceKind::OpenCl];
        (bill.base, bill.spare)
    };
    // 400 are told of a part of 300: for ever from where others leave them, once and again where nobody can have more.
    assert_eq!(bill(None), (100 * 300 * 1000, 0));
    let (base, spare) = bill(Some(600));
    assert!(base == 100 * 300 * 1000 && spare > 0, "{base} {spare}");
}

#[test]
fn a_node_that_cannot_keep_the_new_share_gives_the_old_one_back() {
    let pool = pool().job("a", share(300, 2 * GB)).run(secs(1));
    let to = resize(&pool, "a", Some(800), None);
    let task = pool.id("a").gang(0).task(0);
    let generation = pool.gang("a").generation;
    let refused = Some("the ledger is gone".to_owned());
    let pool = pool.request(to).world(|world| {
        let report = Event::Report(Report::Resized { task, generation, refused });
        world.request(Actor::Node(NodeName::from("n1")), report);
    });
    let pool = pool.run(secs(1));
    assert_eq!(granted(&pool, "a"), (300, 2 * GB));
    assert_eq!(pool.engine.snapshot().nodes[0].devices[0].free_compute, Thousandths(700));
}

#[test]
fn what_a_node_refused_is_not_asked_for_again() {
    let amounts = |memory| Resources { cpu: MilliCpu(1000), memory: Bytes(memory), disk: Bytes::ZERO };
    let mut plan = gang(2).runs(secs(5));
    plan.spec.shapes[0].request = amounts(GB);
    plan.spec.shapes[0].burst = amounts(GB);
    let pool = Pool::new().node("n1", cpus(4)).job("a", plan).run(secs(1));
    let resize = |pool: Pool, memory| {
        let (request, target) = (amounts(memory), Target::job(pool.id("a")));
        pool.request(Request::Resize { target, request, burst: request, devices: Vec::new() })
    };
    let asked = |pool: &Pool| pool.gang("a").shapes(&pool.find("a").spec)[0].request.memory;
    // One that is done, and after it one that a rank cannot do: what was done before stays.
    let pool = resize(pool, 2 * GB).run(secs(1));
    assert!(!pool.gang("a").live().unwrap().resizing.is_open());
    let (task, generation) = (pool.id("a").gang(0).task(1), pool.gang("a").generation);
    let pool = resize(pool, GB / 1000).world(|world| {
        let refused = Some("more is in use".to_owned());
        let report = Event::Report(Report::Resized { task, generation, refused });
        world.request(Actor::Node(NodeName::from("n1")), report);
    });
    let pool = pool.run(secs(1));
    assert_eq!(asked(&pool), Bytes(2 * GB));
    let live = pool.gang("a").live().unwrap();
    assert_eq!((live.resizing.is_open(), live.resizing.refused.as_deref()), (false, Some("more is in use")));
    assert_eq!(live.tasks[1].limits.request.memory, Bytes(2 * GB));
    let pool = pool.run(secs(6));
    let retry = Request::Retry(Target::job(pool.id("a")));
    let pool = pool.request(retry).run(secs(1));
    assert_eq!(pool.gang("a").live().unwrap().tasks[0].limits.request.memory, Bytes(2 * GB));
    // Who asks again is not answered with the refusal of before.
    let pool = resize(pool, 3 * GB).run(secs(1));
    assert_eq!(pool.gang("a").live().unwrap().resizing.refused, None);
}

#[test]
fn whole_devices_and_what_is_not_there_cannot_be_resized() {
    let mut limited = QueueSpec::new("few");
    limited.limit.devices.insert(DeviceKind::OpenCl, 400);
    let mut whole = share(1000, 0);
    whole.spec.shapes[0].devices[0].mode = ShareMode::Exclusive;
    let pool = pool().queue(limited).job("plain", one()).job("few", share(300, GB).queue("few")).run(secs(1));
    let pool = pool.job("whole", whole).run(secs(1));
    let requests = [
        resize(&pool, "plain", Some(500), None),
        resize(&pool, "whole", Some(500), None),
        resize(&pool, "few", Some(500), None),
        resize(&pool, "few", Some(1001), None),
    ];
    let pool = requests.into_iter().fold(pool, Pool::request).run(secs(1));
    assert!(matches!(
        &pool.seen.refused[..],
        [
            Refusal::NoShare { .. },
            Refusal::NoShare { .. },
            Refusal::NoRoom { free: 100, asked: 200, .. },
            Refusal::BadJob { .. }
        ]
    ));
    assert_eq!(granted(&pool, "few"), (300, GB));
}

/// As `advisory: true` asks: a kept share, or else one that nobody keeps.
fn advisory(mut plan: JobPlan) -> JobPlan {
    let mut loose = plan.spec.shapes[0].to_owned();
    loose.devices[0].mode = ShareMode::Advisory;
    plan.spec.shapes.push(loose);
    plan
}

#[test]
fn a_share_that_nobody_keeps_is_for_those_who_say_so() {
    let pool = pool_of(vec![ShareMode::Exclusive, ShareMode::Advisory])
        .job("strict", share(300, 0))
        .job("loose", advisory(share(300, 0)))
        .job("other", advisory(share(700, 0)))
        .run(secs(1));
    assert_eq!((pool.state("strict"), pool.state("loose")), (State::Pending, State::Running));
    let modes = |name: &str| -> Vec<ShareMode> {
        pool.gang(name).live().unwrap().tasks[0].terms().map(|(_, terms)| terms.mode).collect()
    };
    assert_eq!((modes("loose"), modes("other")), (vec![ShareMode::Advisory], vec![ShareMode::Advisory]));
    let id = pool.id("strict").gang(0);
    let why = pool.planner.explain(pool.engine.snapshot(), id, pool.engine.now()).unwrap();
    assert!(
        why.sentence.contains("no OpenCL device of which a share can be kept that way"),
        "{}",
        why.sentence
    );
    assert!(why.sentence.contains("write `advisory: true`"), "{}", why.sentence);
    // Where shares are kept, who would do with less has a kept one.
    let pool = self::pool().job("loose", advisory(share(300, 0))).run(secs(1));
    assert_eq!(pool.gang("loose").live().unwrap().alternative, 0);
}

#[test]
fn a_waiting_share_is_told_what_is_free_where() {
    let pool = pool().job("a", share(600, 2 * GB)).job("b", share(500, 2 * GB)).run(secs(1));
    let id = pool.id("b").gang(0);
    let why = pool.planner.explain(pool.engine.snapshot(), id, pool.engine.now()).unwrap();
    let free = "(device 0 of n1 has 0.4 of its time and 8GB of its memory free)";
    assert!(why.sentence.contains(free), "{}", why.sentence);
}
