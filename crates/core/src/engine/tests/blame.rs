//! Whose failure it is when a task ends and its device is told to be beyond work, in either order.

use crate::engine::{End, Settings, State};
use crate::event::{Actor, Event, Exit, Report, Sign};
use crate::ids::NodeName;
use crate::model::{NodeSpec, RetryOn};
use crate::plan::world::{World, gpus};
use crate::testkit::{JobPlan, Pool, cpus, gang, one, secs};
use crate::units::Millis;

const FELL: &str = "XID 79: it fell off the bus";

fn pool() -> Pool {
    Pool::with(Settings { device_verdict: secs(5), ..Settings::default() }, 1)
}

fn with_gpus(count: usize) -> NodeSpec {
    let mut node = cpus(8);
    node.devices.extend((0..count).map(|_| World::gpu("A100", 40)));
    node.devices.iter_mut().for_each(|device| device.traits.tells = true);
    node
}

fn on_gpus(mut plan: JobPlan, count: u32) -> JobPlan {
    plan.spec.shapes[0].devices.push(gpus(count));
    plan
}

/// One that ends with code 3 after this time, and well when it is tried again.
fn fails_after(span: Millis) -> JobPlan {
    on_gpus(one().runs(span).exits(&[Exit::Code(3), Exit::Code(0)]), 1)
}

fn told(pool: Pool, node: &str, device: u32, sign: Sign) -> Pool {
    let report = Report::DeviceSign { node: node.into(), device, sign, message: FELL.to_owned() };
    pool.world(|world| world.request(Actor::Node(NodeName::from(node)), Event::Report(report)))
}

/// Tried again on the pool's account, and everybody is told why.
fn was_blamed_on_a_device(pool: &Pool, name: &str) {
    let gang = pool.gang(name);
    assert_eq!((gang.attempt, gang.failures, gang.faults), (2, 0, 1), "{}", pool.transcript());
    let words = format!("back in the queue, with its place in line: device 0 of n1 failed: {FELL}");
    assert!(pool.transcript().contains(&words), "{}", pool.transcript());
    let blamed = gang.last.as_ref().and_then(|last| last.device.as_ref()).expect("the attempt says so");
    assert_eq!((blamed.at.node.as_str(), blamed.at.device, blamed.pool_pays), ("n1", 0, true));
    assert_eq!(blamed.message, format!("device 0 of n1 failed: {FELL}"));
}

#[test]
fn a_failure_after_the_word_of_a_lost_device_is_the_devices() {
    let pool = pool().node("n1", with_gpus(1)).node("n2", with_gpus(1));
    let pool = pool.job("a", fails_after(secs(30))).run(secs(20));
    assert_eq!(pool.nodes_of("a"), ["n1"]);
    let pool = told(pool, "n1", 0, Sign::Fatal).run(secs(5));
    assert_eq!(pool.state("a"), State::Running, "what goes on is left alone");
    let pool = pool.run(Millis(6500));
    was_blamed_on_a_device(&pool, "a");
    assert_eq!((pool.state("a"), pool.nodes_of("a")), (State::Running, vec!["n2"]));
}

#[test]
fn a_failure_before_the_word_of_a_lost_device_is_the_devices_too() {
    let pool = pool().node("n1", with_gpus(1)).job("a", fails_after(secs(30))).run(secs(32));
    let pool = pool.job("next", on_gpus(one(), 1)).run(secs(1));
    let states = (pool.state("a"), pool.state("next"));
    assert_eq!(states, (State::Stopping, State::Pending), "nobody else is put on the device meanwhile");
    let pool = told(pool, "n1", 0, Sign::Fatal).run(secs(3));
    assert_eq!(pool.gang("a").outcome(), None);
    let pool = pool.node("n2", with_gpus(1)).run(secs(1));
    was_blamed_on_a_device(&pool, "a");
    assert_eq!(pool.nodes_of("a"), ["n2"], "its place in line is kept");
}

#[test]
fn without_such_a_word_a_failure_is_the_jobs_own() {
    let at = |pool: &Pool| match pool.gang("a").last.as_ref() {
        Some(last) if pool.gang("a").outcome().is_some() => last.ended.0,
        _ => panic!("{}", pool.transcript()),
    };
    let failed = End::Failed { rank: 0, exit: Exit::Code(3) };
    let new = || pool().node("n1", with_gpus(2));
    let quiet = new().job("a", fails_after(secs(30))).run(secs(40));
    assert_eq!((quiet.end("a"), at(&quiet)), (Some(&failed), 35_000));
    let short = new().job("a", fails_after(secs(1))).run(secs(40));
    assert_eq!((short.end("a"), at(&short)), (Some(&failed), 2000), "no longer than it ran");
    let late = told(new().job("a", fails_after(secs(30))).run(secs(36)), "n1", 0, Sign::Fatal).run(secs(9));
    assert_eq!((late.end("a"), at(&late)), (Some(&failed), 35_000));
    let hot = new().job("a", fails_after(secs(30))).run(secs(9));
    let hot = told(told(hot, "n1", 0, Sign::Trouble), "n1", 0, Sign::Trouble).run(secs(40));
    assert_eq!((hot.end("a"), at(&hot)), (Some(&failed), 35_000), "trouble ends no program");
    let other = told(new().job("a", fails_after(secs(30))).run(secs(9)), "n1", 1, Sign::Fatal).run(secs(40));
    assert_eq!((other.end("a"), at(&other)), (Some(&failed), 35_000), "it was not on that one");
    let mut long = new().job("a", fails_after(secs(2000))).run(secs(9));
    long = told(long, "n1", 0, Sign::Fatal).run(secs(2020));
    assert_eq!((long.end("a"), at(&long)), (Some(&failed), 2_005_000), "too long ago");
    let mut silent = with_gpus(2);
    silent.devices.iter_mut().for_each(|device| device.traits.tells = false);
    let silent = pool().node("n1", silent).job("a", fails_after(secs(30))).run(secs(40));
    assert_eq!((silent.end("a"), at(&silent)), (Some(&failed), 30_000), "nothing could tell of its device");
    let cpu = new().job("a", one().runs(secs(30)).exits(&[Exit::Code(3)])).run(secs(40));
    assert_eq!((cpu.end("a"), at(&cpu)), (Some(&failed), 30_000), "it has no device");
}

#[test]
fn a_program_that_its_device_ended_failed_on_the_pools_account() {
    let new = || pool().node("n1", with_gpus(2)).node("n2", with_gpus(1));
    let words =
        format!("back in the queue, with its place in line: device 0 of n1 ended the program on it: {FELL}");
    let is_blamed = |pool: &Pool| {
        let gang = pool.gang("a");
        assert_eq!((gang.attempt, gang.failures, gang.faults), (2, 0, 1), "{}", pool.transcript());
        assert!(pool.transcript().contains(&words), "{}", pool.transcript());
        assert!(pool.transcript().contains("it is suspected"), "{}", pool.transcript());
        assert!(!pool.transcript().contains("sick"), "one that goes on is not sick: {}", pool.transcript());
    };
    // Told before the end and after it, by no more than a verdict waits.
    let before = new().job("a", fails_after(secs(30))).run(secs(26));
    is_blamed(&told(before, "n1", 0, Sign::Contained).run(secs(8)));
    let after = new().job("a", fails_after(secs(30))).run(secs(34));
    is_blamed(&told(after, "n1", 0, Sign::Contained).run(secs(1)));
    let kept = new().job("a", fails_after(secs(30))).run(secs(28));
    let mut kept = told(kept, "n1", 0, Sign::Contained);
    for _ in 0..3 {
        kept = told(kept, "n1", 0, Sign::Well);
    }
    is_blamed(&kept.run(Millis(1)).crash().run(secs(8)));
    // Longer before it, on another device, or before it had this one.
    let failed = End::Failed { rank: 0, exit: Exit::Code(3) };
    let early = new().job("a", fails_after(secs(30))).run(secs(24));
    assert_eq!(told(early, "n1", 0, Sign::Contained).run(secs(20)).end("a"), Some(&failed));
    let other = new().job("a", fails_after(secs(30))).run(secs(28));
    assert_eq!(told(other, "n1", 1, Sign::Contained).run(secs(20)).end("a"), Some(&failed));
    let mut next = told(pool().node("n1", with_gpus(1)), "n1", 0, Sign::Contained);
    for _ in 0..3 {
        next = told(next, "n1", 0, Sign::Well);
    }
    let next = next.run(secs(1)).job("a", fails_after(secs(3))).run(secs(20));
    assert_eq!(next.end("a"), Some(&failed), "{}", next.transcript());
}

#[test]
fn whichever_rank_notices_first_the_device_is_to_blame() {
    let pool = pool().node("n1", with_gpus(1)).node("n2", with_gpus(1));
    let mut pool = pool.job("a", on_gpus(gang(2), 1)).run(secs(10));
    let rank = pool.nodes_of("a").iter().position(|node| *node == "n2").expect("on both");
    let task = pool.id("a").gang(0).task(u32::try_from(rank).unwrap());
    let exit = Report::Exited { task, generation: pool.gang("a").generation, exit: Exit::Code(1) };
    pool.world.request(Actor::Node("n2".into()), Event::Report(exit));
    let pool = told(pool.run(secs(2)), "n1", 0, Sign::Fatal).node("n3", with_gpus(1)).run(secs(3));
    was_blamed_on_a_device(&pool, "a");
    assert_eq!(pool.state("a"), State::Running, "{}", pool.transcript());
}

#[test]
fn who_does_not_want_to_be_tried_again_is_told_of_the_device() {
    let lost = |retry: &[RetryOn], max: u32| {
        let pool = pool().node("n1", with_gpus(1)).node("n2", with_gpus(1));
        let pool = pool.job("a", fails_after(secs(30)).retry(retry, max)).run(secs(20));
        told(pool, "n1", 0, Sign::Fatal).run(secs(30))
    };
    let pool = lost(&[RetryOn::Preempted], 0);
    let Some(End::DeviceFailed { rank: 0, exit: Exit::Code(3), message }) = pool.end("a") else {
        panic!("{:?}", pool.end("a"))
    };
    assert_eq!(message, &format!("device 0 of n1 failed: {FELL}"));
    assert_eq!(pool.end("a").map(End::exit_code), Some(3));
    let pool = lost(&[RetryOn::Failed], 1);
    let gang = pool.gang("a");
    assert_eq!((gang.attempt, gang.failures, gang.faults), (2, 1, 0), "a failure is all that it asked for");
    let blamed = gang.last.as_ref().and_then(|last| last.device.as_ref());
    assert_eq!(blamed.map(|blamed| blamed.pool_pays), Some(false), "its own account");
}

#[test]
fn a_person_need_not_wait_for_the_verdict() {
    let pool = pool().node("n1", with_gpus(1)).job("a", fails_after(secs(30))).run(secs(31));
    assert_eq!(pool.state("a"), State::Stopping);
    let pool = pool.stop("a", false).run(Millis(1));
    assert_eq!(pool.state("a"), State::Stopped);
}

#[test]
fn a_restart_in_the_middle_changes_no_verdict() {
    let failed = |seconds: u64| {
        let pool = pool().node("n1", with_gpus(1)).node("n2", with_gpus(1)).image_every(3);
        let pool = pool.job("a", fails_after(secs(30))).run(secs(31)).crash();
        let bytes = |engine: &crate::engine::Engine| serde_json::to_string(&engine.save()).unwrap();
        assert_eq!(bytes(&pool.rebuilt()), bytes(&pool.engine));
        pool.run(secs(seconds))
    };
    let pool = told(failed(2), "n1", 0, Sign::Fatal).run(Millis(1)).crash().run(secs(2));
    was_blamed_on_a_device(&pool, "a");
    assert_eq!(pool.nodes_of("a"), ["n2"]);
    let own = failed(5);
    assert_eq!(own.end("a"), Some(&End::Failed { rank: 0, exit: Exit::Code(3) }));
}
