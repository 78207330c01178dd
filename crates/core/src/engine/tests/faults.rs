//! Fault schedules: messages lost, late, doubled; machines dying and returning; the server dying at any moment.

use crate::engine::{End, State};
use crate::event::Exit;
use crate::model::{Class, RetryOn};
use crate::testkit::{Chance, Faults, JobPlan, Pool, cpus, gang, one, secs};
use crate::units::Millis;
use proptest::prelude::*;

/// Jobs of all sorts that end by themselves, and how.
fn jobs() -> Vec<(String, JobPlan, End)> {
    let twice = [Exit::Code(7), Exit::Code(0)];
    let failed = End::Failed { rank: 0, exit: Exit::Code(3) };
    let plans = [
        (one().runs(secs(20)), End::Succeeded),
        (gang(3).runs(secs(15)), End::Succeeded),
        (one().runs(secs(4)).exits(&[Exit::Code(3)]).array(3, Some(2)), failed),
        (one().runs(secs(6)).starts_in(secs(3)).array(6, Some(2)), End::Succeeded),
        (
            gang(2).runs(secs(5)).exits(&twice).retry(&[RetryOn::Exit(7), RetryOn::NodeFailure], 20),
            End::Succeeded,
        ),
        (one().class(Class::Spare).runs(secs(10)).uses(300).array(2, None), End::Succeeded),
        (one().stubborn().limit(secs(8)).grace(secs(2)), End::TimedOut),
        (one().runs(secs(3)).after(1, true), End::Succeeded),
    ];
    (0..).zip(plans).map(|(at, (plan, end)): (u32, _)| (format!("j{at}"), plan, end)).collect()
}

fn pool(seed: u64) -> Pool {
    let settings = crate::engine::Settings { lease: secs(8), lost_after: secs(8), ..Default::default() };
    let pool = Pool::with(settings, seed).node("n0", cpus(4)).node("n1", cpus(4)).node("n2", cpus(4));
    jobs().into_iter().fold(pool, |pool, (name, plan, _)| pool.job(&name, plan))
}

fn all_ended_as_they_should(pool: &Pool) {
    for (name, _, end) in jobs() {
        for gang in &pool.find(&name).gangs {
            let got = gang.outcome();
            let alike = match (&end, got) {
                (End::Failed { exit, .. }, Some(End::Failed { exit: real, .. })) => exit == real,
                (end, got) => Some(end) == got,
            };
            assert!(alike, "{}: {got:?}, not {end:?}\n{}", gang.id, pool.transcript());
        }
    }
}

fn nothing_ran_twice(pool: &Pool) {
    let twice = pool.world.starts.iter().find(|(_, starts)| **starts > 1);
    assert_eq!(twice, None, "{}", pool.transcript());
}

/// Messages get lost, doubled, late; machines die, are cut off, return; the server crashes. Then all is well again.
fn storm(seed: u64) {
    let mut chance = Chance::new(seed);
    let faults = Faults { dropped: chance.below(25), doubled: chance.below(30), late: chance.below(40) };
    let mut pool = pool(seed).image_every(1 + chance.below(60)).faults(faults);
    for _ in 0..12 {
        pool = pool.run(Millis(chance.below(6000)));
        let name = format!("n{}", chance.below(3));
        pool = match chance.below(6) {
            0 => pool.world(|world| world.kill_machine(&name)),
            1 => pool.world(|world| world.cut_off(&name)),
            2 | 3 => pool.world(|world| world.bring_back(&name)),
            _ => pool.crash(),
        };
    }
    let pool = pool.faults(Faults::default()).world(|world| {
        for name in ["n0", "n1", "n2"] {
            world.bring_back(name);
        }
    });
    let pool = pool.run(secs(600));
    all_ended_as_they_should(&pool);
    nothing_ran_twice(&pool);
    assert_eq!(pool.world.running().count(), 0, "nothing is left behind\n{}", pool.transcript());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_task_is_lost_or_doubled_in_a_storm(seed: u64) {
        storm(seed);
    }

    /// Image, replay and inventory bring back the same pool: every job ends as if nothing had happened.
    #[test]
    fn a_crash_at_any_moment_changes_no_outcome(at in 0_u64..60_000, again in 0_u64..20_000, every in 1_u64..80) {
        let calm = pool(1).run(secs(120));
        let pool = pool(1).image_every(every).run(Millis(at)).crash().run(Millis(again)).crash().run(secs(120));
        all_ended_as_they_should(&pool);
        nothing_ran_twice(&pool);
        let ends = |pool: &Pool| -> Vec<(State, u32)> {
            let gangs = pool.engine.jobs().flat_map(|job| &job.gangs);
            gangs.map(|gang| (gang.state(), gang.failures)).collect()
        };
        prop_assert_eq!(ends(&calm), ends(&pool));
    }

    /// What the journal holds makes the engine that is there, byte for byte.
    #[test]
    fn the_journal_is_the_engine(seed: u64, at in 0_u64..60_000, every in 1_u64..200) {
        let faults = Faults { dropped: 5, doubled: 10, late: 20 };
        let pool = pool(seed).image_every(every).faults(faults).run(Millis(at));
        let bytes = |engine: &crate::engine::Engine| serde_json::to_string(&engine.save()).unwrap();
        prop_assert_eq!(bytes(&pool.rebuilt()), bytes(&pool.engine));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let faults = Faults { dropped: 10, doubled: 10, late: 30 };
        let pool = pool(42).faults(faults).run(secs(60));
        (pool.transcript(), serde_json::to_string(&pool.journal.records).unwrap())
    };
    assert_eq!(run(), run());
}
