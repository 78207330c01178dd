//! Settings outside their ranges are refused: with some a simulation would never end, with others it would silently be another one.

use pond_core::units::Millis;
use pond_sim::simulator::{
    Breakdown, Checkpointing, Control, Lifetime, Maintenance, Messages, Sampling, SimError, SimSettings,
    simulate,
};
use pond_sim::workload::{Cluster, Workload};

type Change = fn(&mut SimSettings);

#[test]
fn what_would_never_end_or_mean_something_else_is_refused() {
    let wrong: [(Change, &str); 15] = [
        (
            |to| to.engine.plan.ranking.round = Millis(0),
            "`engine.plan.ranking.round` is 0ms, and must be 1s or more",
        ),
        (
            |to| to.engine.plan.ranking.round = Millis(999),
            "`engine.plan.ranking.round` is 999ms, and must be 1s or more",
        ),
        (|to| to.engine.plan.ranking.base = 1, "`engine.plan.ranking.base` is 1, and must be from 2 to 1024"),
        (
            |to| to.engine.plan.ranking.base = 1025,
            "`engine.plan.ranking.base` is 1025, and must be from 2 to 1024",
        ),
        (|to| to.engine.plan.ranking.gap = 0, "`engine.plan.ranking.gap` is 0, and must be 1 or more"),
        (|to| to.restart.factor = 1_000_001, "`restart.factor` is 1000001, and must be from 0 to 1000000"),
        (|to| to.run_time_noise = 3001, "`run_time_noise` is 3001, and must be from 0 to 3000"),
        (|to| to.startup.spread = 3001, "`startup.spread` is 3001, and must be from 0 to 3000"),
        (
            |to| to.samples = Some(Sampling { every: Millis(0), noise: 0 }),
            "`samples.every` is 0ms, and must be 1s or more",
        ),
        (
            |to| to.samples = Some(Sampling { every: Millis(1000), noise: 3001 }),
            "`samples.noise` is 3001, and must be from 0 to 3000",
        ),
        (
            |to| to.checkpointing = Checkpointing::Every { every: Millis(0), cost: Millis(1) },
            "`checkpointing.every.every` is 0ms, and must be 1ms or more",
        ),
        (
            |to| {
                let span = |ms| Lifetime { scale: Millis(ms), shape: 1000 };
                to.faults.nodes = Some(Breakdown { between: span(999), repair: span(1) });
            },
            "`faults.nodes` is 999ms, and must be 1s or more",
        ),
        (
            |to| to.faults.maintenance = Some(Maintenance { every: Millis(0), lasts: Millis(0) }),
            "`faults.maintenance.every` is 0ms, and must be 1s or more",
        ),
        (
            |to| to.faults.messages = Messages { dropped: 1001, ..Messages::default() },
            "`faults.messages.dropped` is 1001, and must be from 0 to 1000",
        ),
        (
            |to| to.faults.messages = Messages { late: 1001, ..Messages::default() },
            "`faults.messages.late` is 1001, and must be from 0 to 1000",
        ),
    ];
    let (cluster, workload) = (Cluster::default(), Workload::new("none"));
    assert_eq!(SimSettings::default().in_range(), Ok(()));
    for (change, told) in wrong {
        let mut settings = SimSettings::default();
        change(&mut settings);
        let why = simulate(&cluster, &workload, &settings, &mut |_| Control::Go).unwrap_err();
        assert!(matches!(why, SimError::Setting(_)), "{why}");
        assert_eq!(why.to_string(), told);
    }
}
