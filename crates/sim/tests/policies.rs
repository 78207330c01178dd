//! Every policy, by its name, on a shipped sample whose jobs have speeds and may grow: all jobs end, no plan is unsound, and the same seed
//! gives the same bytes.

use pond_core::plan::named::{ALL, by_name};
use pond_core::units::Millis;
use pond_sim::experiment::{Foresight, foresee};
use pond_sim::outcome::Fate;
use pond_sim::simulator::{Breakdown, Checkpointing, Control, Lifetime, SimSettings, Startup, simulate};
use pond_sim::trace::profiles::Assign;
use pond_sim::trace::{Content, Machine, open};
use pond_sim::workload::{Cluster, Workload};
use std::path::PathBuf;

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/traces").join(name)
}

/// Two days of the sample, on two kinds of device.
fn scene() -> (Cluster, Workload) {
    let mut workload =
        open(&sample("gpu.jsonl"), None).expect("a sample").into_jobs().expect("jobs").workload;
    workload.jobs.truncate(120);
    let Content::Speeds { profiles, pairs } = open(&sample("speeds.json"), None).expect("a sample").content
    else {
        panic!("speeds");
    };
    Assign { grow: 2, share: 2, seed: 1 }.to(&mut workload, &profiles, &pairs);
    foresee(&mut workload, Foresight::Oracle);
    let machine = |model: &str| Machine {
        name: "n".to_owned(),
        cpu_milli: 96_000,
        memory: 1 << 40,
        gpus: 8,
        gpu: (model.to_owned(), 16 << 30),
        partition: String::new(),
    };
    let nodes = (0..24).map(|at| machine(["Tesla P100", "Tesla V100-SXM2"][at % 2]).node(at)).collect();
    (Cluster { nodes, queues: Vec::new() }, workload)
}

/// Everything that can be made harder is.
fn hard() -> SimSettings {
    let day = |days: u64| Lifetime { scale: Millis(days * 86_400_000), shape: 1000 };
    let mut settings = SimSettings {
        seed: 7,
        checkpointing: Checkpointing::Every { every: Millis(600_000), cost: Millis(10_000) },
        startup: Startup { median: Millis(20_000), spread: 500 },
        resize_pause: Millis(30_000),
        run_time_noise: 100,
        ..SimSettings::default()
    };
    settings.faults.nodes = Some(Breakdown { between: day(30), repair: day(1) });
    settings.faults.devices = Some(Breakdown { between: day(60), repair: day(1) });
    settings
}

#[test]
fn every_policy_brings_every_job_to_its_end_through_faults() {
    let (cluster, workload) = scene();
    for named in ALL {
        let mut settings = hard();
        named.apply(&mut settings.engine.plan);
        let run =
            || simulate(&cluster, &workload, &settings, &mut |_| Control::Go).expect("a sound workload");
        let outcome = run();
        assert_eq!((outcome.counts.violations, outcome.counts.doubled), (0, 0), "{}", named.name);
        assert!(outcome.counts.faults > 0, "{}", named.name);
        let open: Vec<u64> =
            outcome.jobs.iter().filter(|job| job.fate == Fate::Unfinished).map(|job| job.id).collect();
        assert!(open.is_empty(), "{}: {open:?}", named.name);
        if matches!(named.name, "gavel" | "goodput" | "las") {
            assert_eq!(run(), outcome, "{}", named.name);
        }
    }
}

#[test]
fn who_may_pass_goes_with_any_order() {
    let (cluster, workload) = scene();
    for text in ["sjf+easy", "las+conservative", "goodput+greedy", "fair+none"] {
        let mut settings = SimSettings::default();
        by_name(text).expect("a policy").apply(&mut settings.engine.plan);
        let outcome =
            simulate(&cluster, &workload, &settings, &mut |_| Control::Go).expect("a sound workload");
        assert_eq!(outcome.counts.violations, 0, "{text}");
    }
}
