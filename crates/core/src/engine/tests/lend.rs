//! Eviction, elastic gangs and lent CPU: what a plan does to gangs that run.

use crate::engine::{Engine, Settings, StaleReason, State, Then};
use crate::event::{Actor, Effect, Event, Report, Request};
use crate::ids::{GangId, Generation, JobId};
use crate::model::{Class, RetryOn};
use crate::plan::{Decision, Placement, Plan, PreemptCause};
use crate::testkit::{JobPlan, Pool, cpus, gang, one, secs};
use crate::units::{MilliCpu, Millis, Timestamp};

fn carry(engine: &mut Engine, decision: Decision) -> Result<Vec<Effect>, StaleReason> {
    let plan =
        Plan { epoch: engine.snapshot().epoch, at: engine.now(), decisions: vec![decision], again: None };
    let committed = engine.commit(engine.now(), &plan);
    committed.stale.first().map_or(Ok(committed.effects), |stale| Err(stale.why))
}

/// An engine with one machine of eight cores and this job placed and running on it.
fn running(plan: JobPlan, ranks: u32) -> (Engine, GangId) {
    let mut engine = Engine::new(Settings::default());
    let mut node = cpus(8);
    node.name = "n1".into();
    let mut spec = plan.spec;
    spec.name = "a".to_owned();
    let now = Timestamp(1000);
    let events =
        [Event::Report(Report::NodeUp(node)), Event::Request(Request::Submit(std::sync::Arc::new(spec)))];
    for event in events {
        engine.handle(now, &Actor::Pool, event).unwrap();
    }
    let gang = JobId(1).gang(0);
    let place = Decision::Place { gang, alternative: 0, tasks: (0..ranks).map(placement).collect() };
    assert_eq!(carry(&mut engine, place).unwrap().len(), ranks as usize);
    starts(&mut engine, gang, 0..ranks, Generation(1));
    (engine, gang)
}

fn placement(rank: u32) -> Placement {
    Placement { rank, node: "n1".into(), devices: [].into() }
}

fn starts(engine: &mut Engine, gang: GangId, ranks: std::ops::Range<u32>, generation: Generation) {
    for rank in ranks {
        let task = gang.task(rank);
        let started =
            Report::Started { task, generation, address: None, ports: Vec::new(), steps: Vec::new() };
        engine.handle(engine.now(), &Actor::Pool, Event::Report(started)).unwrap();
    }
}

fn exits(engine: &mut Engine, gang: GangId, rank: u32, generation: Generation) {
    let exit = crate::event::Exit::Signal(15);
    let report = Report::Exited { task: gang.task(rank), generation, exit };
    engine.handle(engine.now(), &Actor::Pool, Event::Report(report)).unwrap();
}

fn state(engine: &Engine, gang: GangId) -> State {
    engine.gang(gang).unwrap().state()
}

#[test]
fn an_evicted_gang_saves_its_work_and_keeps_its_place_in_line() {
    let (mut engine, gang) = running(one().saves(10, secs(120)), 1);
    let other = JobId(9).gang(0);
    let cause = PreemptCause::Priority { beneficiary: other };
    let preempt = Decision::Preempt { gang, generation: Generation(1), cause };
    let effects = carry(&mut engine, preempt).unwrap();
    assert!(matches!(effects[..], [Effect::Stop { signal: 10, grace, .. }] if grace == secs(120)));
    let row = engine.snapshot().gangs[0].as_ref().unwrap();
    let crate::snapshot::GangPhase::Placed(placed) = &row.phase else { panic!("{row:?}") };
    assert!(placed.stopping && placed.evicted_for == Some(other));
    let queued = engine.gang(gang).unwrap().queued;
    exits(&mut engine, gang, 0, Generation(1));
    let evicted = engine.gang(gang).unwrap();
    assert_eq!((evicted.state(), evicted.queued, evicted.evictions), (State::Pending, queued, 1));
    assert_eq!((evicted.failures, evicted.faults), (0, 0), "eviction spends no budget");
    assert!(matches!(evicted.past.back().unwrap().decision, Decision::Preempt { .. }), "why it was evicted");
}

#[test]
fn what_is_protected_is_not_evicted() {
    let reclaim = PreemptCause::Reclaim { beneficiary: JobId(9).gang(0) };
    let (mut engine, gang) = running(one().class(Class::Critical), 1);
    let preempt = |cause| Decision::Preempt { gang, generation: Generation(1), cause };
    assert_eq!(carry(&mut engine, preempt(reclaim.to_owned())), Err(StaleReason::Protected));
    let mut plan = one();
    plan.spec.preemptible = false;
    let (mut engine, _) = running(plan, 1);
    assert_eq!(carry(&mut engine, preempt(reclaim)), Err(StaleReason::Protected));
    let lent = PreemptCause::CpuWanted { node: "n1".into() };
    assert_eq!(carry(&mut engine, preempt(lent)), Err(StaleReason::Protected), "its CPU was not lent");
    let freeze = Decision::Freeze { gang, generation: Generation(1) };
    assert_eq!(carry(&mut engine, freeze), Err(StaleReason::Protected));
}

#[test]
fn decisions_overtaken_by_events_come_back_stale() {
    let (mut engine, gang) = running(gang(2).retry(&[RetryOn::Preempted], 0), 2);
    let preempt = |generation| Decision::Preempt {
        gang,
        generation,
        cause: PreemptCause::Priority { beneficiary: JobId(9).gang(0) },
    };
    assert_eq!(carry(&mut engine, preempt(Generation(7))), Err(StaleReason::Generation));
    let place = Decision::Place { gang, alternative: 0, tasks: (0..2).map(placement).collect() };
    assert_eq!(carry(&mut engine, place), Err(StaleReason::Phase));
    exits(&mut engine, gang, 0, Generation(1));
    assert_eq!(state(&engine, gang), State::Stopping);
    assert_eq!(carry(&mut engine, preempt(Generation(1))), Err(StaleReason::Phase));
    exits(&mut engine, gang, 1, Generation(1));
    assert_eq!(carry(&mut engine, preempt(Generation(1))), Err(StaleReason::Phase));
    assert_eq!(engine.counters().stale, 4);
}

#[test]
fn an_elastic_gang_shrinks_and_grows_under_a_new_generation() {
    let (mut engine, gang) = running(gang(1).up_to(4), 3);
    let shrink = Decision::Shrink { gang, generation: Generation(1), to: 1, beneficiary: None };
    let effects = carry(&mut engine, shrink).unwrap();
    assert_eq!(effects.len(), 2);
    exits(&mut engine, gang, 2, Generation(1));
    assert_eq!(engine.snapshot().nodes[0].granted.cpu, MilliCpu(3000), "until all that leave have left");
    exits(&mut engine, gang, 1, Generation(1));
    assert_eq!(engine.snapshot().nodes[0].granted.cpu, MilliCpu(1000));
    assert_eq!(state(&engine, gang), State::Running);
    let tasks = (1..3).map(placement).collect();
    let effects = carry(&mut engine, Decision::Grow { gang, generation: Generation(1), tasks }).unwrap();
    let generations: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Start(launch) => Some((launch.allocation.task.rank, launch.allocation.generation)),
            _ => None,
        })
        .collect();
    assert_eq!(generations, [(1, Generation(2)), (2, Generation(2))]);
    exits(&mut engine, gang, 1, Generation(1));
    assert_eq!(engine.counters().old_generation, 1, "the rank that left is not the rank that came");
    assert_eq!(state(&engine, gang), State::Running);
}

#[test]
fn lent_cpu_is_squeezed_frozen_and_taken_back() {
    let (mut engine, gang) = running(one().cpu(2).class(Class::Spare), 1);
    let row = |engine: &Engine| {
        let row = &engine.snapshot().nodes[0];
        (row.granted.cpu, row.spare_cpu)
    };
    assert_eq!(row(&engine), (MilliCpu::ZERO, MilliCpu(2000)));
    let task = gang.task(0);
    let limit = Decision::Limit { task, generation: Generation(1), cpu: MilliCpu(500) };
    let effects = carry(&mut engine, limit).unwrap();
    assert!(matches!(&effects[..], [Effect::Resize { burst, .. }] if burst.cpu == MilliCpu(500)));
    let squeezed = |engine: &Engine| engine.gang(gang).unwrap().live().unwrap().tasks[0].squeezed_to();
    assert_eq!(squeezed(&engine), Some(MilliCpu(500)));
    let effects = carry(&mut engine, Decision::Freeze { gang, generation: Generation(1) }).unwrap();
    assert!(matches!(effects[..], [Effect::Freeze { frozen: true, .. }]));
    assert_eq!((row(&engine).1, state(&engine, gang)), (MilliCpu::ZERO, State::Frozen));
    let effects = carry(&mut engine, Decision::Thaw { gang, generation: Generation(1) }).unwrap();
    assert!(matches!(effects[..], [Effect::Freeze { frozen: false, .. }]));
    let cause = PreemptCause::CpuWanted { node: "n1".into() };
    let effects = carry(&mut engine, Decision::Preempt { gang, generation: Generation(1), cause }).unwrap();
    assert!(matches!(effects[..], [Effect::Stop { grace: Millis(300), .. }]), "within a second: {effects:?}");
    let then = &engine.gang(gang).unwrap().live().unwrap().ending.as_ref().unwrap().then;
    assert!(matches!(then, Then::Evicted(PreemptCause::CpuWanted { .. })));
}

#[test]
fn spare_runs_on_what_the_owner_leaves_unused_and_goes_when_the_owner_works() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("owner", one().cpu(4).class(Class::Critical).uses(500))
        .run(secs(5))
        .job("guest", one().cpu(3).class(Class::Spare).uses(3000))
        .run(secs(5));
    assert_eq!(pool.state("guest"), State::Running, "3.5 cores are granted and not used");
    assert_eq!(pool.engine.snapshot().nodes[0].busy_p95, MilliCpu(500));
    let pool = pool.world(|world| {
        let script = crate::testkit::Script { cpu: MilliCpu(4000), ..Default::default() };
        world.script("owner", script);
    });
    let pool = pool.run(secs(4));
    assert_ne!(pool.state("guest"), State::Running, "{}", pool.transcript());
    assert_eq!(pool.state("owner"), State::Running);
}

#[test]
fn a_more_important_job_takes_the_place_and_the_other_comes_back() {
    let pool = Pool::new()
        .node("n1", cpus(4))
        .job("low", gang(2).cpu(2).runs(secs(600)))
        .run(secs(200))
        .job("high", one().cpu(4).class(Class::Critical).runs(secs(60)))
        .run(secs(5));
    assert_eq!((pool.state("high"), pool.state("low")), (State::Running, State::Pending));
    let pool = pool.run(secs(100));
    assert_eq!((pool.state("high"), pool.state("low")), (State::Succeeded, State::Running));
}
