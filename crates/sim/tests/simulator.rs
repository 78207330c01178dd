//! The simulator on workloads of a screen: when things start and end, and what is lost on the way.

use pond_core::ids::{NodeName, QueuePath};
use pond_core::model::{
    Class, Device, DeviceKind, DeviceRequest, GangSize, NodeSpec, QueueLimits, QueueSpec, Resources, Shape,
    ShareMode, Speed,
};
use pond_core::partition::known;
use pond_core::snapshot::{OrderPolicy, QueuePolicy};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use pond_sim::outcome::{Fate, JobOutcome, Outcome};
use pond_sim::simulator::{
    Breakdown, Checkpointing, Control, Lifetime, SimError, SimSettings, Startup, simulate,
};
use pond_sim::workload::{Cluster, Ending, Profile, SimJob, Workload};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes with so many cores and GPUs each.
fn cluster(nodes: u32, cores: u64, gpus: u32) -> Cluster {
    let device = |node: u32, at: u32| Device {
        uuid: format!("{node}-{at}"),
        kind: DeviceKind::Gpu,
        model: if node == 0 { "A100" } else { "Tesla V100-SXM2" }.to_owned(),
        memory: Bytes(32_000_000_000),
        modes: vec![ShareMode::Exclusive, ShareMode::Time],
        numa: None,
        files: Vec::new(),
        traits: pond_core::model::Traits::default(),
    };
    let node = |at: u32| NodeSpec {
        name: NodeName::from(format!("n{at}")),
        capacity: Resources { cpu: MilliCpu(cores * 1000), memory: Bytes(1 << 40), disk: Bytes::ZERO },
        devices: (0..gpus).map(|device_at| device(at, device_at)).collect(),
        labels: BTreeMap::new(),
    };
    Cluster { nodes: (0..nodes).map(node).collect(), queues: Vec::new() }
}

fn cores(count: u64) -> Shape {
    Shape::new(Resources { cpu: MilliCpu(count * 1000), ..Resources::ZERO })
}

fn gpus(count: u32, compute: u64) -> Shape {
    let mut shape = Shape::new(Resources::ZERO);
    shape.devices.push(DeviceRequest {
        kind: DeviceKind::Gpu,
        model: None,
        count,
        device_memory: Bytes::ZERO,
        mode: if compute == 1000 { ShareMode::Exclusive } else { ShareMode::Time },
        compute: Thousandths(compute),
        memory: Bytes::ZERO,
        slack: pond_core::model::Slack::default(),
        profile: None,
    });
    shape
}

/// A job of one task, `submit` and `duration` in seconds; its id is its place, from 1.
fn add(workload: &mut Workload, submit: u64, duration: u64, shape: Shape) -> &mut SimJob {
    let job = SimJob {
        id: workload.jobs.len() as u64 + 1,
        submit: Timestamp(submit * 1000),
        user: workload.user("ada"),
        queue: workload.queue("default"),
        class: Class::Standard,
        priority: 500,
        size: GangSize::ONE,
        shape: workload.shape(vec![shape]),
        duration: Millis::from_secs(duration),
        limit: None,
        predicted: None,
        ending: Ending::Completed,
        after: None,
        profile: None,
    };
    workload.jobs.push(job);
    workload.jobs.last_mut().expect("just added")
}

fn run(cluster: &Cluster, workload: &Workload, settings: &SimSettings) -> Outcome {
    let outcome = simulate(cluster, workload, settings, &mut |_| Control::Go).expect("a sound workload");
    assert_eq!((outcome.counts.violations, outcome.counts.doubled), (0, 0), "{outcome:?}");
    outcome
}

/// Start and end in seconds.
fn times(job: &JobOutcome) -> (u64, u64) {
    let secs = |at: Option<Timestamp>| at.map_or(u64::MAX, |at| at.0 / 1000);
    (secs(job.start), secs(job.end))
}

/// Shortest predicted rest first, so that a short newcomer evicts.
fn preemptive() -> SimSettings {
    let mut settings = SimSettings::default();
    settings.engine.plan.order = OrderPolicy::Srtf;
    settings.engine.plan.queues = QueuePolicy::OneLine;
    settings.engine.plan.calm = Millis::ZERO;
    settings
}

/// A long job from 0 s, and a short one that takes its place at 30 s.
fn evicted() -> Workload {
    let mut workload = Workload::new("evicted");
    add(&mut workload, 0, 100, cores(4)).predicted = Some(Millis::from_secs(100));
    add(&mut workload, 30, 10, cores(4)).predicted = Some(Millis::from_secs(10));
    workload
}

#[test]
fn jobs_queue_run_and_end_as_their_trace_says() {
    let mut workload = Workload::new("fifo");
    add(&mut workload, 0, 100, cores(3));
    add(&mut workload, 10, 50, cores(2)).ending = Ending::Failed;
    add(&mut workload, 20, 5, cores(1)).ending = Ending::Cancelled;
    add(&mut workload, 30, 1000, cores(1)).limit = Some(Millis::from_secs(200));
    add(&mut workload, 40, 0, cores(1));
    let outcome = run(&cluster(1, 4, 0), &workload, &SimSettings::default());
    let fates: Vec<Fate> = outcome.jobs.iter().map(|job| job.fate).collect();
    assert_eq!(
        fates,
        [
            Fate::Ended(Ending::Completed),
            Fate::Ended(Ending::Failed),
            Fate::Ended(Ending::Cancelled),
            Fate::TimedOut,
            Fate::Ended(Ending::Completed)
        ]
    );
    let first: Vec<_> = outcome.jobs.iter().take(3).map(times).collect();
    assert_eq!(first, [(0, 100), (100, 150), (20, 25)]);
    assert_eq!(outcome.jobs[1].queued(), Some(Millis::from_secs(90)));
}

#[test]
fn what_never_fits_ends_and_holds_nobody_up() {
    let mut workload = Workload::new("infeasible");
    add(&mut workload, 0, 10, cores(5));
    add(&mut workload, 0, 10, cores(4));
    let tight = workload.queue("tight");
    add(&mut workload, 0, 10, cores(2)).queue = tight;
    let mut cluster = cluster(2, 4, 0);
    let mut queue = QueueSpec::new("tight");
    queue.limit = QueueLimits { cpu: Some(1000), ..QueueLimits::default() };
    cluster.queues.push(queue);
    let outcome = run(&cluster, &workload, &SimSettings::default());
    let fates: Vec<Fate> = outcome.jobs.iter().map(|job| job.fate).collect();
    assert_eq!(fates, [Fate::Infeasible, Fate::Ended(Ending::Completed), Fate::Infeasible]);
    assert_eq!(outcome.jobs[0].start, None);
}

#[test]
fn a_follower_comes_after_its_predecessor_and_a_pause() {
    let mut workload = Workload::new("after");
    add(&mut workload, 0, 100, cores(1));
    add(&mut workload, 5, 10, cores(1)).after = Some((1, Millis::from_secs(30)));
    let outcome = run(&cluster(1, 4, 0), &workload, &SimSettings::default());
    assert_eq!((outcome.jobs[1].submit, times(&outcome.jobs[1])), (Timestamp(130_000), (130, 140)));
}

#[test]
fn an_evicted_job_keeps_its_work_and_pays_for_the_restart() {
    let outcome = run(&cluster(1, 4, 0), &evicted(), &preemptive());
    // 30 s of work, 10 s of the other, 40 s of restart, the 70 s that are left.
    assert_eq!((times(&outcome.jobs[0]), times(&outcome.jobs[1])), ((0, 150), (30, 40)));
    assert_eq!((outcome.jobs[0].preemptions, outcome.jobs[0].lost), (1, Millis::from_secs(40)));
    assert_eq!(outcome.jobs[0].held, Millis::from_secs(140));
}

#[test]
fn without_checkpoints_work_begins_again() {
    let mut settings = preemptive();
    settings.checkpointing = Checkpointing::None;
    settings.restart.factor = 0;
    let outcome = run(&cluster(1, 4, 0), &evicted(), &settings);
    assert_eq!((times(&outcome.jobs[0]), outcome.jobs[0].lost), ((0, 140), Millis::from_secs(30)));
}

#[test]
fn checkpoints_save_what_was_before_them() {
    let mut settings = preemptive();
    settings.checkpointing =
        Checkpointing::Every { every: Millis::from_secs(20), cost: Millis::from_secs(1) };
    settings.restart.factor = 0;
    let outcome = run(&cluster(1, 4, 0), &evicted(), &settings);
    // At 30 s one checkpoint is written and 9 s after it are lost; 80 s are left, with 3 checkpoints on the way.
    assert_eq!((times(&outcome.jobs[0]), outcome.jobs[0].lost), ((0, 123), Millis::from_secs(13)));
}

#[test]
fn a_save_on_the_signal_takes_its_time() {
    let mut settings = preemptive();
    settings.checkpointing = Checkpointing::OnSignal { takes: Millis::from_secs(5) };
    settings.restart.factor = 0;
    let outcome = run(&cluster(1, 4, 0), &evicted(), &settings);
    assert_eq!((times(&outcome.jobs[1]), times(&outcome.jobs[0])), ((35, 45), (0, 115)));
}

#[test]
fn the_slowest_device_of_a_gang_sets_its_speed() {
    let mut workload = Workload::new("models");
    let speed = Speed { models: BTreeMap::from([("v100".to_owned(), 500)]), ..Speed::default() };
    let profile = workload.profile(Profile { name: "resnet".to_owned(), speed, ..Profile::default() });
    add(&mut workload, 0, 100, gpus(2, 1000)).profile = Some(profile);
    let both = add(&mut workload, 1000, 100, gpus(2, 1000));
    (both.profile, both.size) = (Some(profile), GangSize { min: 2, max: 2 });
    let outcome = run(&cluster(2, 1, 2), &workload, &SimSettings::default());
    assert_eq!((times(&outcome.jobs[0]), times(&outcome.jobs[1])), ((0, 100), (1000, 1200)));
}

#[test]
fn neighbours_on_a_device_slow_each_other_down_while_they_last() {
    let mut workload = Workload::new("neighbours");
    let profile =
        workload.profile(Profile { name: "bert".to_owned(), device_busy: 800, ..Profile::default() });
    add(&mut workload, 0, 100, gpus(1, 500)).profile = Some(profile);
    add(&mut workload, 50, 25, gpus(1, 500)).profile = Some(profile);
    let outcome = run(&cluster(1, 1, 1), &workload, &SimSettings::default());
    // Two that are busy for 0.8 each run at 0.625: the second needs 40 s, in which the first does 25 s of work.
    assert_eq!((times(&outcome.jobs[0]), times(&outcome.jobs[1])), ((0, 115), (50, 90)));
}

#[test]
fn an_elastic_job_is_faster_with_more_tasks() {
    let mut workload = Workload::new("elastic");
    let speed = Speed { ranks: vec![(1, 1000), (2, 2000), (4, 3000)], ..Speed::default() };
    let profile = workload.profile(Profile { name: "gpt".to_owned(), speed, ..Profile::default() });
    let job = add(&mut workload, 0, 300, cores(1));
    (job.profile, job.size) = (Some(profile), GangSize { min: 1, max: 4 });
    let outcome = run(&cluster(1, 4, 0), &workload, &SimSettings::default());
    assert_eq!(times(&outcome.jobs[0]).1, 100);
}

#[test]
fn a_change_of_size_is_paid_for_at_once_also_when_ranks_leave_slowly() {
    let mut workload = Workload::new("resize");
    let job = add(&mut workload, 0, 60, cores(1));
    job.size = GangSize { min: 1, max: 4 };
    add(&mut workload, 5, 100, cores(3)).class = Class::Critical;
    let settings = SimSettings {
        resize_pause: Millis::from_secs(20),
        stops_in: Millis::from_secs(10),
        ..SimSettings::default()
    };
    let outcome = run(&cluster(1, 4, 0), &workload, &settings);
    // Of 60 s, 20 s are done at 5 s; then it stands still until 25 s; one task needs 40 s for the rest.
    assert_eq!((times(&outcome.jobs[0]), times(&outcome.jobs[1])), ((0, 65), (15, 115)));
}

#[test]
fn slow_starts_delay_the_work() {
    let mut workload = Workload::new("startup");
    add(&mut workload, 0, 100, cores(1));
    let startup = Startup { median: Millis::from_secs(7), spread: 0 };
    let outcome = run(&cluster(1, 4, 0), &workload, &SimSettings { startup, ..SimSettings::default() });
    assert_eq!(times(&outcome.jobs[0]), (0, 107));
}

#[test]
fn jobs_outlive_their_machines() {
    let mut workload = Workload::new("faults");
    for at in 0..40 {
        add(&mut workload, at * 60, 3600, cores(1));
    }
    let mut settings = SimSettings { seed: 3, ..SimSettings::default() };
    settings.checkpointing = Checkpointing::Every { every: Millis::from_secs(600), cost: Millis::ZERO };
    let hours = |hours: u64| Lifetime { scale: Millis::from_secs(hours * 3600), shape: 1000 };
    settings.faults.nodes = Some(Breakdown { between: hours(4), repair: hours(1) });
    let outcome = run(&cluster(4, 4, 0), &workload, &settings);
    let hit: u32 = outcome.jobs.iter().map(|job| job.faults).sum();
    assert!(hit > 0 && outcome.counts.faults > 0, "{:?}", outcome.counts);
    for job in &outcome.jobs {
        assert_eq!(job.fate, Fate::Ended(Ending::Completed), "{job:?}");
        // What it held beyond its work was lost, or went by before the pool noticed.
        let unnoticed = Millis::from_secs(45 * u64::from(job.faults));
        assert!(job.held <= job.duration.plus(job.lost).plus(unnoticed), "{job:?}");
        assert!(job.held >= job.duration.plus(job.lost), "{job:?}");
    }
}

#[test]
fn the_series_and_the_stays_add_up_to_what_was_held() {
    let mut workload = Workload::new("series");
    for at in 0..50 {
        add(&mut workload, at * 7, 100 + at, gpus(1 + (at % 2) as u32, 1000));
    }
    let settings = SimSettings { stays: true, points: 100, ..SimSettings::default() };
    let outcome = run(&cluster(2, 1, 4), &workload, &settings);
    assert!((10..=100).contains(&outcome.series.len()), "{} points", outcome.series.len());
    let step = outcome.series[1].at.since(outcome.series[0].at);
    assert!(outcome.series.windows(2).all(|pair| pair[1].at.since(pair[0].at) == step));
    assert!(outcome.series.iter().any(|point| point.pending > 0 && point.granted_devices_milli == 8000));
    let held: u64 = outcome.jobs.iter().map(|job| job.held.0).sum();
    let stayed: u64 = outcome.stays.iter().map(|stay| stay.end.since(stay.start).0).sum();
    assert_eq!((outcome.stays.len(), stayed), (50, held));
    assert_eq!(outcome.stays[0].share_milli, 250);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let mut workload = Workload::new("bytes");
    for at in 0..60 {
        add(&mut workload, at * 11, 50 + at * 3, cores(1 + at % 3));
    }
    let mut settings = SimSettings { seed: 9, run_time_noise: 300, stays: true, ..SimSettings::default() };
    settings.startup = Startup { median: Millis(700), spread: 500 };
    let minutes = |minutes: u64| Lifetime { scale: Millis::from_secs(minutes * 60), shape: 700 };
    settings.faults.nodes = Some(Breakdown { between: minutes(30), repair: minutes(3) });
    let bytes = |settings: &SimSettings| {
        serde_json::to_vec(&run(&cluster(3, 4, 0), &workload, settings)).expect("plain data")
    };
    assert_eq!(bytes(&settings), bytes(&settings));
    settings.seed = 10;
    assert_ne!(bytes(&settings), bytes(&SimSettings { seed: 9, ..settings.clone() }));
}

#[test]
fn contradictions_are_told() {
    let settings = SimSettings::default();
    let told = |workload: &Workload, cluster: &Cluster| {
        simulate(cluster, workload, &settings, &mut |_| Control::Go).expect_err("a contradiction")
    };
    let one = cluster(1, 4, 0);
    let mut workload = Workload::new("wrong");
    add(&mut workload, 10, 1, cores(1));
    add(&mut workload, 0, 1, cores(1));
    assert_eq!(told(&workload, &one), SimError::Unsorted);
    workload.sort();
    workload.jobs[0].after = Some((77, Millis::ZERO));
    assert_eq!(told(&workload, &one), SimError::UnknownPredecessor { job: 2, other: 77 });
    workload.jobs[0].after = None;
    workload.jobs[0].shape = 9;
    assert_eq!(told(&workload, &one), SimError::Place(2));
    workload.jobs[0].shape = 0;
    let twice = Cluster { nodes: [one.nodes.clone(), one.nodes.clone()].concat(), queues: Vec::new() };
    assert_eq!(told(&workload, &twice), SimError::NodeTwice(NodeName::from("n0")));
    let bad = QueueSpec { path: QueuePath::from("a/b"), ..QueueSpec::new("x") };
    assert!(matches!(told(&workload, &Cluster { queues: vec![bad], ..one }), SimError::Refused(_)));
}

#[test]
fn the_caller_may_end_it() {
    let mut workload = Workload::new("cancelled");
    for at in 0..2000 {
        add(&mut workload, at, 1, cores(1));
    }
    let mut told = Vec::new();
    let result = simulate(&cluster(1, 4, 0), &workload, &SimSettings::default(), &mut |progress| {
        told.push(progress.jobs_done);
        if progress.jobs_done > 500 { Control::Stop } else { Control::Go }
    });
    assert!(matches!(result, Err(SimError::Cancelled(_))));
    assert!(told.is_sorted() && told.last().is_some_and(|done| (500..2000).contains(done)), "{told:?}");
}

/// GPUs that are cut by their hardware, jobs of all sizes: the simulator places parts, and the parts never overlap.
#[test]
fn partitions_run_and_free_their_slices() {
    let memory = Bytes(40 << 30);
    let mut cluster = cluster(1, 64, 1);
    let device = &mut cluster.nodes[0].devices[0];
    (device.model, device.memory) = ("NVIDIA A100-SXM4-40GB".to_owned(), memory);
    device.modes.push(ShareMode::Space);
    device.traits.layout = known::layout(&device.model, memory).map(Arc::new);
    let part = |profile: &str| {
        let mut shape = gpus(1, 0);
        (shape.devices[0].mode, shape.devices[0].profile) = (ShareMode::Space, Some(profile.to_owned()));
        shape
    };
    let mut workload = Workload::new("partitions");
    for (submit, profile) in [(0, "3g.20gb"), (0, "3g.20gb"), (1, "1g.5gb"), (2, "7g.40gb"), (3, "2g.10gb")] {
        add(&mut workload, submit, 100, part(profile)).limit = Some(Millis::from_secs(100));
    }
    let outcome = run(&cluster, &workload, &SimSettings::default());
    // Two halves fill the memory; the single slice waits for them, the whole device for the single slice; the last is gone by then.
    let starts: Vec<u64> = outcome.jobs.iter().map(|job| times(job).0).collect();
    assert_eq!(starts, [0, 0, 100, 200, 100]);
    assert!(outcome.jobs.iter().all(|job| job.fate == Fate::Ended(Ending::Completed)));
}
