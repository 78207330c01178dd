//! Any small cluster, any workload, any faults: no plan breaks a rule, no task is lost or doubled, the meter balances.
//!
//! `POND_GATE_CASES=1000 cargo test --release -p pond-sim --test any_pool` is the long form; 64 cases otherwise.

use pond_core::ids::NodeName;
use pond_core::model::{
    Class, Device, DeviceKind, DeviceRequest, GangSize, NodeSpec, QueueLimits, QueueSpec, Resources, Shape,
    ShareMode, Speed,
};
use pond_core::snapshot::{Backfill, OrderPolicy, QueuePolicy};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use pond_sim::outcome::{Fate, Outcome};
use pond_sim::simulator::{
    Breakdown, Checkpointing, Control, Lifetime, Maintenance, Messages, Sampling, SimSettings, Startup,
    simulate,
};
use pond_sim::workload::{Cluster, Ending, Profile, SimJob, Workload};
use proptest::prelude::*;
use std::collections::BTreeMap;

const HORIZON: Timestamp = Timestamp(10 * 86_400_000);

fn cases() -> u32 {
    std::env::var("POND_GATE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

fn node() -> impl Strategy<Value = (u64, u32)> {
    (1_u64..8, 0_u32..4)
}

/// Machines with so many cores and GPUs.
fn machines(sizes: &[(u64, u32)]) -> Vec<NodeSpec> {
    let device = |node: usize, at: u32| Device {
        uuid: format!("{node}-{at}"),
        kind: DeviceKind::Gpu,
        model: if node.is_multiple_of(2) { "A100" } else { "V100" }.to_owned(),
        memory: Bytes(32_000_000_000),
        modes: vec![ShareMode::Exclusive, ShareMode::Time],
        numa: None,
        files: Vec::new(),
        traits: pond_core::model::Traits::default(),
    };
    let spec = |(at, (cores, gpus)): (usize, &(u64, u32))| NodeSpec {
        name: NodeName::from(format!("n{at}")),
        capacity: Resources { cpu: MilliCpu(cores * 1000), memory: Bytes(1 << 40), disk: Bytes::ZERO },
        devices: (0..*gpus).map(|gpu| device(at, gpu)).collect(),
        labels: BTreeMap::new(),
    };
    sizes.iter().enumerate().map(spec).collect()
}

fn cluster() -> impl Strategy<Value = Cluster> {
    (prop::collection::vec(node(), 1..5), prop::option::of((1_u64..8000, 1_u64..4))).prop_map(
        |(nodes, limits)| {
            let queues = limits.map(|(guarantee, running)| {
                let mut queue = QueueSpec::new("q0");
                queue.guarantee = QueueLimits { cpu: Some(guarantee), ..QueueLimits::default() };
                queue.limit = QueueLimits { running: Some(running), ..QueueLimits::default() };
                queue
            });
            Cluster { nodes: machines(&nodes), queues: queues.into_iter().collect() }
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    (0_u64..5, 0_u32..3, prop::sample::select(vec![250_u64, 500, 1000]))
        .prop_map(|(cores, gpus, compute)| shaped(cores, gpus, compute))
}

/// So many cores and GPUs, of each so many thousandths.
fn shaped(cores: u64, gpus: u32, compute: u64) -> Shape {
    let mut shape = Shape::new(Resources { cpu: MilliCpu(cores * 1000), ..Resources::ZERO });
    if gpus > 0 {
        shape.devices.push(DeviceRequest {
            kind: DeviceKind::Gpu,
            model: None,
            count: gpus,
            device_memory: Bytes::ZERO,
            mode: if compute == 1000 { ShareMode::Exclusive } else { ShareMode::Time },
            compute: Thousandths(compute),
            memory: Bytes::ZERO,
            slack: pond_core::model::Slack::default(),
            profile: None,
        });
    }
    shape
}

/// Everything of a job but its number and its names.
type Draft = ((u64, u64, Shape, Class), (u32, u32, u16, u8), (Option<u64>, Option<u64>, Option<u64>));

fn draft() -> impl Strategy<Value = Draft> {
    let class = prop::sample::select(vec![Class::Standard, Class::Standard, Class::Spare, Class::Critical]);
    (
        (0_u64..1_200_000, 0_u64..600_000, shape(), class),
        (1_u32..4, 0_u32..3, 0_u16..1000, any::<u8>()),
        (
            prop::option::weighted(0.2, 1_u64..400_000),
            prop::option::weighted(0.5, 0_u64..600_000),
            prop::option::weighted(0.2, 0_u64..60_000),
        ),
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    prop::collection::vec(draft(), 1..25).prop_map(|drafts| {
        let mut workload = Workload::new("any");
        for (at, draft) in (0_u64..).zip(drafts) {
            let ((submit, duration, shape, class), (min, more, priority, bits), (limit, predicted, think)) =
                draft;
            let profile = workload.profile(Profile {
                name: format!("p{}", bits % 2),
                speed: Speed {
                    models: BTreeMap::from([("V100".to_owned(), 700)]),
                    ranks: vec![(1, 1000), (2, 1800), (6, 4000)],
                },
                device_busy: u64::from(bits) * 4,
                device_memory: 0,
                cpu_busy: Some(u64::from(bits) * 4),
            });
            let job = SimJob {
                id: at,
                submit: Timestamp(submit),
                user: workload.user(&format!("u{}", bits % 3)),
                queue: workload.queue(&format!("q{}", bits % 4)),
                class,
                priority,
                size: GangSize { min, max: min + more },
                shape: workload.shape(vec![shape]),
                duration: Millis(duration),
                limit: limit.map(Millis),
                predicted: predicted.map(Millis),
                ending: [Ending::Completed, Ending::Completed, Ending::Failed, Ending::Cancelled]
                    [usize::from(bits / 64)],
                after: think.filter(|_| at > 0).map(|think| (at - 1, Millis(think))),
                profile: (bits % 5 != 0).then_some(profile),
            };
            workload.jobs.push(job);
        }
        workload.sort();
        workload
    })
}

fn breakdown(minutes: (u64, u64)) -> Breakdown {
    let lifetime = |minutes: u64, shape| Lifetime { scale: Millis(minutes * 60_000), shape };
    Breakdown { between: lifetime(minutes.0, 800), repair: lifetime(minutes.1, 1000) }
}

fn settings() -> impl Strategy<Value = SimSettings> {
    let orders = vec![
        OrderPolicy::Fifo,
        OrderPolicy::Sjf,
        OrderPolicy::Srtf,
        OrderPolicy::Qssf,
        OrderPolicy::Smallest,
        OrderPolicy::Tiresias,
        OrderPolicy::Las,
        OrderPolicy::Srsf,
    ];
    let backfills = vec![Backfill::None, Backfill::Easy, Backfill::Conservative, Backfill::Greedy];
    let saves = vec![
        Checkpointing::None,
        Checkpointing::Instant,
        Checkpointing::Every { every: Millis(60_000), cost: Millis(1500) },
        Checkpointing::OnSignal { takes: Millis(3000) },
    ];
    let breaks = || prop::option::weighted(0.4, (30_u64..300, 1_u64..20));
    (
        (any::<u64>(), prop::sample::select(orders), prop::sample::select(backfills), any::<bool>()),
        (prop::sample::select(saves), 0_u64..3000, 0_u64..2000, any::<bool>(), 0_u64..3),
        (
            breaks(),
            breaks(),
            any::<bool>(),
            prop::option::weighted(0.3, (0_u64..100, 0_u64..100, 0_u64..200)),
        ),
    )
        .prop_map(|((seed, order, backfill, one_line), run, (nodes, devices, maintenance, messages))| {
            let (checkpointing, startup, stops_in, samples, noise) = run;
            let mut settings =
                SimSettings { seed, checkpointing, horizon: Some(HORIZON), ..SimSettings::default() };
            settings.engine.plan.order = order;
            settings.engine.plan.backfill = backfill;
            if one_line {
                settings.engine.plan.queues = QueuePolicy::OneLine;
            }
            settings.startup = Startup { median: Millis(startup), spread: noise * 300 };
            settings.stops_in = Millis(stops_in);
            settings.resize_pause = Millis(stops_in);
            settings.run_time_noise = noise * 100;
            settings.samples = samples.then_some(Sampling { every: Millis(2000), noise: noise * 200 });
            settings.stays = true;
            settings.points = 50;
            settings.faults.nodes = nodes.map(breakdown);
            settings.faults.devices = devices.map(breakdown);
            // The longest job that saves nothing fits between two drains; one that saves gets on between closer ones.
            let every = if checkpointing == Checkpointing::None { 2_000_000 } else { 400_000 };
            settings.faults.maintenance =
                maintenance.then_some(Maintenance { every: Millis(every), lasts: Millis(200_000) });
            if let Some((dropped, doubled, late)) = messages {
                settings.faults.messages = Messages { dropped, doubled, late };
                settings.engine.lease = Millis(15_000);
            }
            settings
        })
}

/// What must hold of every outcome.
fn sound(workload: &Workload, settings: &SimSettings, outcome: &Outcome) -> Result<(), TestCaseError> {
    prop_assert_eq!(outcome.counts.violations, 0, "{:?}", outcome.counts);
    prop_assert_eq!(outcome.counts.doubled, 0, "{:?}", outcome.counts);
    prop_assert_eq!(outcome.jobs.len(), workload.jobs.len());
    let faults = &settings.faults;
    let calm = faults.nodes.is_none() && faults.devices.is_none() && !faults.messages.any();
    for (row, job) in outcome.jobs.iter().zip(&workload.jobs) {
        prop_assert_eq!(row.id, job.id);
        prop_assert_ne!(row.fate, Fate::Unfinished, "job {} is lost: {:?}", job.id, row);
        prop_assert_eq!(row.fate == Fate::Infeasible, row.start.is_none(), "{:?}", row);
        prop_assert!(!calm || row.fate != Fate::GivenUp && row.faults == 0, "{:?}", row);
        prop_assert!(row.start.is_none_or(|start| start >= row.submit), "{:?}", row);
        prop_assert!(row.end >= row.start, "{:?}", row);
        if let Fate::Ended(ending) = row.fate {
            prop_assert_eq!(ending, job.ending, "{:?}", row);
        }
        let rigid = job.size.min == job.size.max && settings.run_time_noise == 0;
        if matches!(row.fate, Fate::Ended(_)) && rigid {
            prop_assert!(row.held >= job.duration, "it did not do all its work: {:?}", row);
        }
        prop_assert!(row.lost <= row.held, "{:?}", row);
    }
    let point = |sum: u64, point: &pond_sim::outcome::Point| {
        sum + u64::from(point.granted_cpu_milli > 0 && point.running == 0)
    };
    prop_assert_eq!(outcome.series.iter().fold(0, point), 0, "granted to nobody");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_pool_is_sound(cluster in cluster(), workload in workload(), settings in settings()) {
        let outcome = simulate(&cluster, &workload, &settings, &mut |_| Control::Go).expect("a sound workload");
        sound(&workload, &settings, &outcome)?;
    }
}

/// A gang is evicted while one of its ranks, whose stop is late, still starts; its node lists what runs.
#[test]
fn a_rank_that_still_starts_is_not_taken_for_ended() {
    let cluster = Cluster { nodes: machines(&[(2, 1), (4, 1), (1, 0), (3, 1)]), queues: Vec::new() };
    let mut workload = Workload::new("late stop");
    let jobs =
        [(36_624, Class::Spare, 3, shaped(0, 1, 500)), (37_732, Class::Standard, 1, shaped(4, 1, 1000))];
    for (id, (submit, class, tasks, shape)) in (0..).zip(jobs) {
        let job = SimJob {
            id,
            submit: Timestamp(submit),
            user: workload.user("u0"),
            queue: workload.queue("q0"),
            class,
            priority: 0,
            size: GangSize { min: tasks, max: tasks },
            shape: workload.shape(vec![shape]),
            duration: Millis::ZERO,
            limit: None,
            predicted: None,
            ending: Ending::Completed,
            after: None,
            profile: None,
        };
        workload.jobs.push(job);
    }
    let mut settings =
        SimSettings { checkpointing: Checkpointing::None, horizon: Some(HORIZON), ..SimSettings::default() };
    settings.seed = 0;
    settings.engine.lease = Millis(15_000);
    settings.engine.plan.backfill = Backfill::None;
    settings.startup = Startup { median: Millis(2377), spread: 0 };
    settings.stops_in = Millis(576);
    settings.stays = true;
    settings.faults.messages = Messages { dropped: 0, doubled: 0, late: 29 };
    let outcome = simulate(&cluster, &workload, &settings, &mut |_| Control::Go).expect("a sound workload");
    assert_eq!(outcome.counts.preemptions, 1, "{:?}", outcome.counts);
    sound(&workload, &settings, &outcome).expect("sound");
}
