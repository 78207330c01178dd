//! Measured speeds on a trace: of device models, of numbers of tasks, of neighbours. All files are shipped samples.

use pond_core::snapshot::{Backfill, OrderPolicy, QueuePolicy};
use pond_core::units::Millis;
use pond_sim::outcome::Outcome;
use pond_sim::simulator::{Control, SimSettings, simulate};
use pond_sim::trace::profiles::{Assign, Pair};
use pond_sim::trace::{Content, Jobs, Machine, open};
use pond_sim::workload::{Cluster, Profile};
use std::path::PathBuf;

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/traces").join(name)
}

fn jobs() -> Jobs {
    open(&sample("gpu.csv"), None).expect("a sample").into_jobs().expect("jobs")
}

fn speeds(name: &str) -> (Vec<Profile>, Vec<Pair>) {
    match open(&sample(name), None).expect("a sample").content {
        Content::Speeds { profiles, pairs } => (profiles, pairs),
        other => panic!("{name} holds {other:?}"),
    }
}

/// So many nodes of eight devices of each model.
fn cluster(of_each: usize, models: &[&str]) -> Cluster {
    let machine = |model: &str| Machine {
        name: "n".to_owned(),
        cpu_milli: 1_000_000,
        memory: 1 << 40,
        gpus: 8,
        gpu: (model.to_owned(), 16 << 30),
        partition: String::new(),
    };
    let nodes = (0..of_each * models.len()).map(|at| machine(models[at % models.len()]).node(at));
    Cluster { nodes: nodes.collect(), queues: Vec::new() }
}

fn run(cluster: &Cluster, jobs: &Jobs, order: OrderPolicy) -> Outcome {
    let mut settings = SimSettings::default();
    let plan = &mut settings.engine.plan;
    (plan.order, plan.queues, plan.backfill) = (order, QueuePolicy::OneLine, Backfill::Greedy);
    let outcome =
        simulate(cluster, &jobs.workload, &settings, &mut |_| Control::Go).expect("a sound workload");
    assert_eq!((outcome.counts.violations, outcome.counts.doubled), (0, 0));
    outcome
}

/// All jobs together, in milliseconds: with a place, and at full speed alone.
fn held_and_needed(outcome: &Outcome) -> (u64, u64) {
    outcome.jobs.iter().fold((0, 0), |(held, needed), job| (held + job.held.0, needed + job.duration.0))
}

#[test]
fn a_job_takes_as_much_longer_as_its_device_is_slower() {
    let mut jobs = jobs();
    let (profiles, _) = speeds("speeds.json");
    Assign::default().to(&mut jobs.workload, &profiles, &[]);
    let outcome = run(&cluster(40, &["Tesla K80"]), &jobs, OrderPolicy::Fifo);
    for (row, job) in outcome.jobs.iter().zip(&jobs.workload.jobs) {
        let profile = &jobs.workload.profiles[job.profile.unwrap() as usize];
        let speed = profile.speed.models["k80"];
        assert_eq!(row.held, Millis((job.duration.0 * 1000).div_ceil(speed)), "{} at {speed}", profile.name);
    }
    let mixed = run(&cluster(240, &["Tesla K80", "Tesla V100-SXM2"]), &jobs, OrderPolicy::Fifo);
    let (held, needed) = held_and_needed(&mixed);
    assert_eq!(held, needed, "where there is room everybody is on the faster model");
}

#[test]
fn two_on_a_device_slow_each_other_down_as_was_measured() {
    let mut jobs = jobs();
    let (_, pairs) = speeds("pairs.csv");
    jobs.workload.jobs.retain(|job| jobs.workload.shapes[job.shape as usize][0].devices[0].count == 1);
    let alone = run(&cluster(1, &["V100"]), &jobs, OrderPolicy::Fifo);
    Assign { share: 2, ..Assign::default() }.to(&mut jobs.workload, &[], &pairs);
    let shared = run(&cluster(1, &["V100"]), &jobs, OrderPolicy::Fifo);
    let ((held, needed), (held_alone, _)) = (held_and_needed(&shared), held_and_needed(&alone));
    assert_eq!(held_alone, needed);
    // The worst pair runs at 0.516 of the speed alone.
    assert!(held > needed * 11 / 10 && held < needed * 2, "{held} for {needed}");
    let wait = |outcome: &Outcome| {
        outcome.jobs.iter().filter_map(|job| job.queued()).map(|span| span.0).sum::<u64>()
    };
    assert!(wait(&shared) < wait(&alone), "twice the places");
}

#[test]
fn elastic_jobs_use_what_is_idle() {
    let mut jobs = jobs();
    let (profiles, _) = speeds("speeds.json");
    let rigid = run(&cluster(120, &["V100"]), &jobs, OrderPolicy::Goodput);
    Assign { grow: 4, ..Assign::default() }.to(&mut jobs.workload, &profiles, &[]);
    let elastic = run(&cluster(120, &["V100"]), &jobs, OrderPolicy::Goodput);
    let ((held, needed), (held_rigid, _)) = (held_and_needed(&elastic), held_and_needed(&rigid));
    assert_eq!(held_rigid, needed);
    assert!(held < needed * 3 / 4, "{held} for {needed}");
}
