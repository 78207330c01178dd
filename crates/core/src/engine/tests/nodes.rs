//! Nodes that fall silent, die, come back; servers that die and come back.

use crate::engine::{Condition, End, State};
use crate::event::{Actor, Effect, Event, Exit, Found, Report, Request, Sign, Target};
use crate::ids::{Generation, NodeName};
use crate::model::RetryOn;
use crate::snapshot::NodeState;
use crate::testkit::{Pool, cpus, gang, one, secs};

#[test]
fn a_dead_node_is_suspect_then_lost_and_its_gang_runs_elsewhere() {
    let pool = Pool::new()
        .node("n1", cpus(2))
        .node("n2", cpus(2))
        .node("n3", cpus(2))
        .job("a", gang(2).cpu(2))
        .run(secs(20));
    let dead = pool.nodes_of("a")[1].to_owned();
    let queued = pool.gang("a").queued;
    let pool = pool.world(|world| world.kill_machine(&dead)).run(secs(16));
    assert_eq!(pool.node_state(&dead), Some(NodeState::Suspect));
    assert_eq!(pool.state("a"), State::Running, "a suspect keeps its tasks");
    let pool = pool.run(secs(40));
    assert_eq!(pool.node_state(&dead), Some(NodeState::Lost));
    assert_eq!(pool.state("a"), State::Running);
    assert!(!pool.nodes_of("a").contains(&dead.as_str()));
    let gang = pool.gang("a");
    assert_eq!((gang.attempt, gang.generation, gang.failures), (2, Generation(2), 0));
    assert_eq!(gang.queued, queued, "its place in line is kept");
}

#[test]
fn a_node_that_was_cut_off_is_fenced_when_it_returns() {
    let pool = Pool::new()
        .node("n1", cpus(1))
        .job("a", one())
        .run(secs(10))
        .world(|world| world.cut_off("n1"))
        .node("n2", cpus(1))
        .run(secs(60));
    assert_eq!(pool.nodes_of("a"), ["n2"]);
    let pool = pool.world(|world| world.bring_back("n1")).run(secs(1));
    let running: Vec<_> =
        pool.world.running().map(|(node, _, generation)| (node.as_str(), generation)).collect();
    assert_eq!(running, [("n2", Generation(2))]);
    assert!(pool.engine.counters().fenced >= 1);
    assert_eq!(pool.node_state("n1"), Some(NodeState::Ready));
}

#[test]
fn a_job_that_does_not_want_to_be_retried_ends_with_its_node() {
    let pool = Pool::new()
        .node("n1", cpus(1))
        .job("a", one().retry(&[RetryOn::Failed], 3))
        .run(secs(5))
        .world(|world| world.kill_machine("n1"))
        .run(secs(60));
    assert_eq!(pool.end("a"), Some(&End::NodeLost));
}

#[test]
fn a_drained_node_keeps_its_tasks_and_takes_no_more() {
    let drain = |on| Request::Drain { node: NodeName::from("n1"), on };
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("a", one().runs(secs(20)))
        .run(secs(5))
        .request(drain(true))
        .job("b", one())
        .run(secs(30));
    assert_eq!((pool.state("a"), pool.state("b")), (State::Succeeded, State::Pending));
    assert_eq!(pool.request(drain(false)).run(secs(1)).state("b"), State::Running);
}

#[test]
fn labels_of_an_administrator_survive_the_nodes_own() {
    let mut plan = one();
    plan.spec.shapes[0].labels.insert("disk".to_owned(), "fast".to_owned());
    let pool = Pool::new().node("n1", cpus(1)).job("a", plan).run(secs(5));
    assert_eq!(pool.state("a"), State::Pending);
    let labels = [("disk".to_owned(), "fast".to_owned())].into();
    let pool = pool.request(Request::Label { node: NodeName::from("n1"), labels }).run(secs(5));
    assert_eq!(pool.state("a"), State::Running);
    let pool = pool.world(|world| world.bring_back("n1")).run(secs(5));
    assert_eq!(pool.engine.snapshot().nodes[0].labels["disk"], "fast");
}

#[test]
fn messages_of_an_older_generation_are_counted_and_ignored() {
    let mut pool = Pool::new()
        .node("n1", cpus(1))
        .job("a", one().runs(secs(5)).exits(&[Exit::Code(1), Exit::Code(0)]).retry(&[RetryOn::Failed], 1))
        .run(secs(7));
    assert_eq!(pool.gang("a").generation, Generation(2));
    let task = pool.id("a").gang(0).task(0);
    let old = Report::Exited { task, generation: Generation(1), exit: Exit::Signal(9) };
    pool.world.request(crate::event::Actor::Node("n1".into()), Event::Report(old));
    let before = pool.engine.counters().old_generation;
    let pool = pool.run(secs(1));
    assert_eq!(pool.state("a"), State::Running);
    assert_eq!(pool.engine.counters().old_generation, before + 1);
}

#[test]
fn a_report_from_the_wrong_node_is_ignored() {
    let mut pool = Pool::new().node("n1", cpus(1)).node("n2", cpus(1)).job("a", one()).run(secs(1));
    let task = pool.id("a").gang(0).task(0);
    let other = if pool.nodes_of("a") == ["n1"] { "n2" } else { "n1" };
    let exit = Report::Exited { task, generation: Generation(1), exit: Exit::Code(0) };
    pool.world.request(crate::event::Actor::Node(other.into()), Event::Report(exit));
    let pool = pool.run(secs(1));
    assert_eq!(pool.state("a"), State::Running);
    assert_eq!(pool.engine.counters().wrong_node, 1);
}

#[test]
fn after_a_crash_running_tasks_are_adopted() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("long", one().runs(secs(100)))
        .job("short", one().runs(secs(10)))
        .run(secs(8))
        .crash()
        .run(secs(1));
    assert_eq!((pool.state("long"), pool.state("short")), (State::Running, State::Running));
    let pool = pool.run(secs(100));
    assert_eq!((pool.state("long"), pool.gang("long").attempt), (State::Succeeded, 1));
    assert!(pool.world.starts.values().all(|starts| *starts == 1));
}

#[test]
fn inventory_says_again_what_was_lost_on_the_way() {
    let mut pool = Pool::new().node("n1", cpus(4)).job("a", one().starts_in(secs(1000))).run(secs(1));
    let inventory = Report::Inventory { node: "n1".into(), tasks: Vec::new() };
    let now = pool.engine.now();
    let outcome = pool.engine.handle(now, &Actor::Pool, Event::Report(inventory)).unwrap();
    let [Effect::Start(launch)] = &outcome.effects[..] else { panic!("{:?}", outcome.effects) };
    assert_eq!((launch.allocation.generation, launch.attempt), (Generation(1), 1));
}

#[test]
fn a_start_on_its_way_that_is_not_wanted_any_more_is_over_when_its_node_says_so() {
    let mut pool = Pool::new().node("n1", cpus(4)).job("a", one().starts_in(secs(1000))).run(secs(1));
    let (now, target) = (pool.engine.now(), Target::job(pool.id("a")));
    let stop = Event::Request(Request::Stop { target, now: false });
    let first = pool.engine.handle(now, &Actor::Pool, stop).unwrap().effects;
    let inventory = Event::Report(Report::Inventory { node: "n1".into(), tasks: Vec::new() });
    let second = pool.engine.handle(now, &Actor::Pool, inventory).unwrap().effects;
    assert!(matches!(first[..], [Effect::Stop { .. }]), "{first:?}");
    assert_eq!(second, first, "asked again; what is not listed may still be on its way");
    assert!(pool.gang("a").live().is_some());
    let (task, generation) = (pool.id("a").gang(0).task(0), Generation(1));
    let exited = Event::Report(Report::Exited { task, generation, exit: Exit::Signal(15) });
    pool.engine.handle(now, &Actor::Node("n1".into()), exited).unwrap();
    assert_eq!(pool.state("a"), State::Stopped);
}

#[test]
fn inventory_ends_what_is_gone_and_fences_what_nobody_knows() {
    let mut pool = Pool::new().node("n1", cpus(4)).job("a", one()).run(secs(1));
    let stranger = crate::ids::JobId(77).gang(0).task(0);
    let started = pool.engine.now();
    let tasks = vec![(stranger, Generation(3), Found::Running { started })];
    let inventory = Report::Inventory { node: "n1".into(), tasks };
    let outcome = pool.engine.handle(started, &Actor::Pool, Event::Report(inventory)).unwrap();
    let fence = Effect::Fence { task: stranger, generation: Generation(3), node: "n1".into() };
    assert_eq!(outcome.effects, [fence]);
    assert_eq!(pool.state("a"), State::Held, "lost, and to be tried again after a while");
    assert_eq!(pool.gang("a").faults, 1);
}

#[test]
fn a_pool_that_slept_loses_nobody() {
    let mut pool = Pool::new().node("n1", cpus(1)).job("a", one()).run(secs(1));
    // The clock jumps by an hour with no message in between.
    let later = pool.engine.now().after(secs(3600));
    pool.engine.handle(later, &Actor::Pool, Event::Tick).unwrap();
    assert_eq!(pool.node_state("n1"), Some(NodeState::Suspect));
    let lease = Event::Report(Report::Lease("n1".into()));
    pool.engine.handle(later, &Actor::Node("n1".into()), lease).unwrap();
    assert_eq!(pool.node_state("n1"), Some(NodeState::Ready));
    assert_eq!(pool.state("a"), State::Running);
}

#[test]
fn a_stop_that_nobody_confirms_is_repeated_without_grace() {
    let mut pool = Pool::new().node("n1", cpus(1)).job("a", one().grace(secs(10))).run(secs(1));
    let now = pool.engine.now();
    let target = Target::job(pool.id("a"));
    let stop = Event::Request(Request::Stop { target, now: false });
    let pool_actor = crate::event::Actor::Pool;
    let first = pool.engine.handle(now, &pool_actor, stop).unwrap().effects;
    assert!(matches!(first[..], [Effect::Stop { grace, .. }] if grace == secs(10)));
    let mut later = now;
    let mut again = Vec::new();
    for _ in 0..60 {
        later = later.after(secs(1));
        let lease = Event::Report(Report::Lease("n1".into()));
        pool.engine.handle(later, &pool_actor, lease).unwrap();
        again.extend(pool.engine.handle(later, &pool_actor, Event::Tick).unwrap().effects);
    }
    assert_eq!(again.len(), 2, "after 20 s, then ever more rarely");
    assert!(again.iter().all(|effect| matches!(effect, Effect::Stop { grace, .. } if grace.is_zero())));
}

#[test]
fn a_sick_device_is_not_granted_until_it_has_proved_that_it_is_well() {
    let mut node = cpus(8);
    node.devices.push(crate::plan::world::World::gpu("A100", 40));
    let mut plan = one();
    plan.spec.shapes[0].devices.push(crate::plan::world::gpus(1));
    let sign = |pool: Pool, sign: Sign| {
        let report =
            Report::DeviceSign { node: NodeName::from("n1"), device: 0, sign, message: "a probe".to_owned() };
        let actor = Actor::Node(NodeName::from("n1"));
        pool.world(|world| world.request(actor, Event::Report(report))).run(secs(1))
    };
    let condition = |pool: &Pool| pool.engine.nodes()[0].health[&0].condition;
    let pool = Pool::new().node("n1", node).job("first", plan.to_owned().runs(secs(30))).run(secs(1));
    let pool = sign(sign(pool, Sign::Trouble), Sign::Trouble).job("next", plan.runs(secs(5))).run(secs(1));
    assert_eq!(condition(&pool), Condition::Draining);
    assert_eq!(
        (pool.state("first"), pool.state("next")),
        (State::Running, State::Pending),
        "who has it stays"
    );
    let pool = pool.run(secs(60));
    assert_eq!((pool.state("first"), pool.state("next")), (State::Succeeded, State::Pending));
    let pool = sign(pool, Sign::Well);
    assert_eq!(condition(&pool), Condition::Back);
    let pool = sign(sign(pool, Sign::Well), Sign::Well);
    assert_eq!(pool.state("next"), State::Pending);
    let pool = sign(pool, Sign::Well);
    assert_eq!((condition(&pool), pool.state("next")), (Condition::Healthy, State::Running));
}
