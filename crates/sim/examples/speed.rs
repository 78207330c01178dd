//! How fast the simulator is, in CPU time of this process, one thread:
//!
//! ```text
//! cargo run --release -p pond-sim --example speed -- venus [nodes] [order] [backfill] [from] [to]
//! cargo run --release -p pond-sim --example speed -- month [jobs] [nodes]
//! cargo run --release -p pond-sim --example speed -- curve [running]
//! cargo run --release -p pond-sim --example speed -- openb [policy]
//! ```
//! *venus*: the Venus trace (real data, not part of the project: `POND_TRACES` names its folder), order and backfill as in
//! the planner's settings, jobs submitted in these days since 2020-04-01. *month*: a synthetic month with queues,
//! guarantees, gangs, classes, preemption and backfill. *curve*: what one event costs while so many jobs run.
//! *openb*: one run of the packing experiment on the openb trace (real data as well): FGD by the experiment's own rules, or
//! through the planner under the placement policy that is named.

#![expect(clippy::print_stdout, reason = "figures for people")]

use flate2::read::GzDecoder;
use pond_core::model::{
    Class, DeviceKind, DeviceRequest, GangSize, QueueLimits, QueueSpec, Resources, Shape, ShareMode,
};
use pond_core::snapshot::{Backfill, OrderPolicy, PlacementPolicy, QueuePolicy};
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use pond_sim::experiment::{Foresight, foresee};
use pond_sim::outcome::{Fate, Outcome};
use pond_sim::packing;
use pond_sim::random::Random;
use pond_sim::simulator::{Control, SimSettings, simulate};
use pond_sim::trace::helios::{self, Pooling};
use pond_sim::trace::{Machine, openb};
use pond_sim::workload::{Cluster, Ending, SimJob, Workload};
use std::path::PathBuf;

mod planned;

const DAY: u64 = 86_400_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize, default: &'static str| words.get(at).map_or(default, String::as_str);
    let number = |at: usize, default: &'static str| word(at, default).parse::<u64>().expect("a whole number");
    match word(0, "venus") {
        "venus" => {
            venus(number(1, "84"), word(2, "fifo"), word(3, "none"), (number(4, "0"), number(5, "999")))
        }
        "month" => month(number(1, "1000000"), number(2, "10000")),
        "curve" => match words.get(1) {
            Some(_) => curve(number(1, "1000")),
            None => [1000, 10_000, 100_000, 1_000_000].into_iter().for_each(curve),
        },
        "openb" => openb(words.get(1).map(String::as_str)),
        other => eprintln!("no run is called `{other}`; see the head of this file"),
    }
}

/// User CPU time of this process in seconds, and the most memory it had resident, in MB.
fn cost() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11)?.parse::<f64>().ok());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    // Linux counts CPU time for programs in hundredths of a second, whatever the kernel's own tick is.
    (ticks.unwrap_or(0.0) / 100.0, peak.unwrap_or(0.0) / 1000.0)
}

fn setting<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).expect("as in the planner's settings")
}

fn run(cluster: &Cluster, workload: &Workload, settings: &SimSettings) -> Outcome {
    let (before, _) = cost();
    let mut next = 0;
    let outcome = simulate(cluster, workload, settings, &mut |progress| {
        if progress.jobs_done >= next {
            eprintln!("{} jobs, {:.2} s of CPU", progress.jobs_done, cost().0 - before);
            next += workload.jobs.len() as u64 / 10;
        }
        Control::Go
    });
    let outcome = outcome.expect("the workload is sound");
    let (after, peak) = cost();
    let spent = after - before;
    let ended = outcome.jobs.iter().filter(|job| matches!(job.fate, Fate::Ended(_))).count();
    let jct: u64 = outcome.jobs.iter().filter_map(|job| job.jct()).map(|span| span.0).sum();
    println!(
        "{} nodes, {} jobs: {spent:.2} s of CPU, {:.0} jobs/s, {:.1} µs/event, {peak:.0} MB; {ended} ended, mean JCT {:.2} s",
        cluster.nodes.len(),
        outcome.jobs.len(),
        outcome.jobs.len() as f64 / spent,
        spent * 1e6 / outcome.counts.events as f64,
        jct as f64 / 1000.0 / outcome.jobs.len() as f64
    );
    println!("{:?}, outcome {:016x}", outcome.counts, digest(&outcome));
    outcome
}

/// FNV-1a over the whole outcome as JSON: two builds that decide alike print the same.
fn digest(outcome: &Outcome) -> u64 {
    struct Fnv(u64);
    impl std::io::Write for Fnv {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = bytes
                .iter()
                .fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    serde_json::to_writer(&mut fnv, outcome).expect("an outcome can be written");
    fnv.0
}

/// Nodes of eight GPUs and 64 cores.
fn nodes(count: u64) -> Cluster {
    let machine = Machine {
        name: "n".to_owned(),
        cpu_milli: 64_000,
        memory: 512 << 30,
        gpus: 8,
        gpu: ("V100".to_owned(), 32 << 30),
        partition: String::new(),
    };
    Cluster { nodes: (0..).take(count as usize).map(|at| machine.node(at)).collect(), queues: Vec::new() }
}

fn gpus(count: u32) -> Shape {
    let request =
        Resources { cpu: MilliCpu(u64::from(count) * 4000), memory: Bytes(1 << 30), disk: Bytes::ZERO };
    let mut shape = Shape::new(request);
    shape.devices = vec![DeviceRequest {
        kind: DeviceKind::Gpu,
        model: None,
        count,
        device_memory: Bytes::ZERO,
        mode: ShareMode::Exclusive,
        compute: Thousandths::WHOLE,
        memory: Bytes::ZERO,
        slack: pond_core::model::Slack::default(),
        profile: None,
    }];
    shape
}

fn job(workload: &mut Workload, submit: u64, duration: u64, tasks: u32, gpus_each: u32) -> SimJob {
    SimJob {
        id: workload.jobs.len() as u64 + 1,
        submit: Timestamp(submit),
        user: workload.user("anybody"),
        queue: workload.queue("default"),
        class: Class::Standard,
        priority: 500,
        size: GangSize { min: tasks, max: tasks },
        shape: workload.shape(vec![gpus(gpus_each)]),
        duration: Millis(duration),
        limit: None,
        predicted: None,
        ending: Ending::Completed,
        after: None,
        profile: None,
    }
}

/// The folder of the real traces, where it has this file.
fn traces(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("POND_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    if !folder.join(file).exists() {
        eprintln!("skipped: no traces in {}; set POND_TRACES to their folder", folder.display());
        return None;
    }
    Some(folder)
}

/// Pods of the default workload until 130 % of the GPUs are asked for, in the order of seed 1; reading the trace is not counted.
fn openb(placement: Option<&str>) {
    let Some(folder) = traces("openb/openb_pod_list_default.csv.gz") else { return };
    let gz = |name: &str| {
        GzDecoder::new(std::fs::File::open(folder.join("openb").join(name)).expect("the trace is whole"))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")).rows;
    let cluster = packing::Cluster::new(&nodes);
    let pods = openb::pods(gz("openb_pod_list_default.csv.gz")).rows;
    let workload = packing::Workload::new(&cluster, &pods, 130, 1);
    let (before, _) = cost();
    let outcome = match placement {
        None => packing::run(&cluster, &workload, packing::Policy::Fgd),
        Some(name) => planned::run_planned(&cluster, &workload, setting::<PlacementPolicy>(name)),
    };
    let (after, peak) = cost();
    println!(
        "openb, {} pods on {} nodes, {}: {:.2} s of CPU, {peak:.0} MB; {:.2} % granted",
        outcome.curve.len(),
        nodes.len(),
        placement.unwrap_or("the experiment's FGD"),
        after - before,
        outcome.granted_at(130)
    );
}

fn venus(nodes: u64, order: &str, backfill: &str, days: (u64, u64)) {
    const FILE: &str = "helios/venus_jobs_apr_aug.csv.gz";
    let Some(folder) = traces(FILE) else { return };
    let file = std::fs::File::open(folder.join(FILE)).expect("the trace is whole");
    let reading = helios::jobs_of(GzDecoder::new(file));
    let nodes = u32::try_from(nodes).expect("a number of nodes");
    let mut jobs = helios::jobs("venus", &reading, &[], nodes, Pooling::Pooled);
    if days != (0, 999) {
        let day = |count: u64| 1_585_699_200_000 + (count * DAY) as i64;
        jobs = jobs.between(day(days.0), day(days.1)).expect("the trace has a calendar");
    }
    let mut workload = jobs.workload;
    foresee(&mut workload, Foresight::Oracle);
    let mut settings = SimSettings::default();
    settings.engine.plan.order = setting::<OrderPolicy>(order);
    settings.engine.plan.backfill = setting::<Backfill>(backfill);
    settings.engine.plan.queues = QueuePolicy::OneLine;
    settings.engine.plan.calm = Millis::ZERO;
    println!("venus, {order}, backfill {backfill}");
    run(&jobs.cluster, &workload, &settings);
}

/// Twenty queues with a guarantee each, four hundred users, gangs up to 128 GPUs, three classes, limits of one to three
/// times the run time; nine tenths of the GPUs asked for, more by day than by night.
fn month(count: u64, node_count: u64) {
    let mut cluster = nodes(node_count);
    let mut workload = Workload::new("month");
    let mut chance = Random::new(1, "month");
    for queue in 0..20_u64 {
        let mut spec = QueueSpec::new(&format!("team{queue}"));
        let guarantee = [(DeviceKind::Gpu, node_count * 8 * 1000 / 25)];
        spec.guarantee = QueueLimits { devices: guarantee.into(), ..QueueLimits::default() };
        cluster.queues.push(spec);
    }
    let mix: [(u64, u32, u32); 8] =
        [(700, 1, 1), (100, 1, 2), (80, 1, 4), (80, 1, 8), (20, 2, 8), (10, 4, 8), (8, 8, 8), (2, 16, 8)];
    let mean_gpus: f64 =
        mix.iter().map(|(part, tasks, gpus)| f64::from(tasks * gpus) * *part as f64 / 1000.0).sum();
    let gpu_ms = node_count as f64 * 8.0 * 30.0 * DAY as f64 * 0.9;
    let mean_ms = gpu_ms / count as f64 / mean_gpus;
    // Log-normal with spread 1.6, cut at four days.
    let median_ms = mean_ms / (1.6_f64 * 1.6 / 2.0).exp();
    for _ in 0..count {
        let mut draw = chance.below(1000) as u64;
        let (_, tasks, gpus) = *mix
            .iter()
            .find(|(part, ..)| {
                let here = draw < *part;
                draw = draw.saturating_sub(*part);
                here
            })
            .unwrap_or(&mix[0]);
        let at = loop {
            let at = chance.unit() * 30.0;
            // Twice as many by day as by night.
            if chance.unit() < 0.75 + 0.25 * (at * std::f64::consts::TAU).sin() {
                break at;
            }
        };
        let duration = (median_ms * (1.6 * chance.normal()).exp()).clamp(1000.0, 4.0 * DAY as f64);
        let mut job = job(&mut workload, (at * DAY as f64) as u64, duration as u64, tasks, gpus);
        let user = chance.below(400);
        job.user = workload.user(&format!("user{user}"));
        job.queue = workload.queue(&format!("team{}", user % 20));
        job.class = match chance.below(100) {
            0..3 => Class::Critical,
            3..10 => Class::Spare,
            _ => Class::Standard,
        };
        job.limit = Some(Millis((duration * (1.0 + 2.0 * chance.unit())) as u64 + 60_000));
        workload.jobs.push(job);
    }
    workload.sort();
    println!("month, mean run {:.1} h, {mean_gpus:.2} GPUs a job", mean_ms / 3_600_000.0);
    run(&cluster, &workload, &SimSettings::default());
}

/// So many long jobs run; beside them 20,000 short ones come and go, whose events are counted alone.
fn curve(running: u64) {
    const SHORT: u64 = 20_000;
    let cluster = nodes(running.div_ceil(8) + 16);
    let mut workload = Workload::new("curve");
    // A thousand in a second.
    for at in 0..running {
        let job = job(&mut workload, at / 1000 * 1000, 1000 * DAY, 1, 1);
        workload.jobs.push(job);
    }
    let begin = running.next_multiple_of(1000) + 10_000;
    let mut chance = Random::new(1, "curve");
    for at in 0..SHORT {
        let duration = 60_000 + chance.below(60_000) as u64;
        let job = job(&mut workload, begin + at * 1000, duration, 1, 1);
        workload.jobs.push(job);
    }
    workload.sort();
    let horizon = Some(Timestamp(begin + SHORT * 1000 + 300_000));
    let settings = SimSettings { horizon, points: 0, ..SimSettings::default() };
    let (mut from, mut to) = (None, None);
    let outcome = simulate(&cluster, &workload, &settings, &mut |progress| {
        let here = (progress.events, cost().0);
        if progress.now.0 >= begin && from.is_none() {
            from = Some(here);
        }
        // The whole state is checked when all is over: that is no event's cost.
        to = Some(here);
        Control::Go
    });
    let outcome = outcome.expect("the workload is sound");
    let ((first, cpu), (last, now)) = from.zip(to).expect("it came that far");
    let (events, peak) = (last - first, cost().1);
    assert_eq!(outcome.counts.violations, 0);
    println!(
        "{running} run: {:.2} µs/event over {events} events; {cpu:.1} s to start them, {peak:.0} MB",
        (now - cpu) * 1e6 / events as f64
    );
}
