//! How fast the simulator is, in CPU time of this process, one thread:
//!
//! `cargo run --release -p pond-sim --example speed -- venus [nodes] [order] [backfill]` the Venus trace (real data, not
//! part of the project: `POND_TRACES` names its folder); order and backfill as in the planner's settings.

#![expect(clippy::print_stdout, reason = "figures for people")]

use flate2::read::GzDecoder;
use pond_core::ids::NodeName;
use pond_core::model::{
    Class, Device, DeviceKind, DeviceRequest, GangSize, NodeSpec, Resources, Shape, ShareMode,
};
use pond_core::snapshot::{Backfill, OrderPolicy, QueuePolicy};
use pond_core::units::{Bytes, Millis, Thousandths, Timestamp};
use pond_sim::outcome::{Fate, Outcome};
use pond_sim::simulator::{Control, SimSettings, simulate};
use pond_sim::trace::{TraceJob, helios};
use pond_sim::workload::{Cluster, Ending, SimJob, Workload};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize, default: &'static str| words.get(at).map_or(default, String::as_str);
    match word(0, "venus") {
        "venus" => venus(word(1, "84"), word(2, "fifo"), word(3, "none")),
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
    println!("{:?}", outcome.counts);
    outcome
}

/// A machine with so many GPUs and with CPU and memory that are never short.
fn gpu_node(name: String, gpus: u32) -> NodeSpec {
    let device = |at| Device {
        uuid: format!("{name}-{at}"),
        kind: DeviceKind::Gpu,
        model: "V100".to_owned(),
        memory: Bytes(32_000_000_000),
        modes: vec![ShareMode::Exclusive],
        numa: None,
        files: Vec::new(),
    };
    NodeSpec {
        devices: (0..gpus).map(device).collect(),
        name: NodeName(name),
        capacity: Resources::ZERO,
        labels: BTreeMap::new(),
    }
}

fn gpus(count: u32) -> Shape {
    let mut shape = Shape::new(Resources::ZERO);
    shape.devices = vec![DeviceRequest {
        kind: DeviceKind::Gpu,
        model: None,
        count,
        device_memory: Bytes::ZERO,
        mode: ShareMode::Exclusive,
        compute: Thousandths::WHOLE,
        memory: Bytes::ZERO,
    }];
    shape
}

/// Jobs of more than 8 GPUs as gangs of tasks of 8.
fn workload(jobs: &[TraceJob]) -> Workload {
    let mut workload = Workload::new("venus");
    let first = jobs.iter().map(|job| job.submit_s).min().unwrap_or(0);
    for job in jobs.iter().filter(|job| job.gpus > 0) {
        let tasks = job.gpus.div_ceil(8);
        let shape = workload.shape(vec![gpus(job.gpus.div_ceil(tasks))]);
        let duration = Millis::from_secs(job.duration_s);
        let sim = SimJob {
            id: job.id,
            submit: Timestamp((job.submit_s - first).unsigned_abs() * 1000),
            user: workload.user("anybody"),
            queue: workload.queue("default"),
            class: Class::Standard,
            priority: 500,
            size: GangSize { min: tasks, max: tasks },
            shape,
            duration,
            limit: None,
            predicted: Some(duration),
            ending: Ending::Completed,
            after: None,
            profile: None,
        };
        workload.jobs.push(sim);
    }
    workload.sort();
    workload
}

fn venus(nodes: &str, order: &str, backfill: &str) {
    let folder = std::env::var_os("POND_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    let Ok(file) = std::fs::File::open(folder.join("helios/venus_jobs_apr_aug.csv.gz")) else {
        eprintln!("skipped: no traces in {}; set POND_TRACES to their folder", folder.display());
        return;
    };
    let reading = helios::relative(GzDecoder::new(file));
    let nodes: u32 = nodes.parse().expect("a number of nodes");
    let cluster = Cluster {
        nodes: (0..nodes).map(|at| gpu_node(format!("n{at:03}"), 8)).collect(),
        queues: Vec::new(),
    };
    let mut settings = SimSettings::default();
    settings.engine.plan.order = setting::<OrderPolicy>(order);
    settings.engine.plan.backfill = setting::<Backfill>(backfill);
    settings.engine.plan.queues = QueuePolicy::OneLine;
    settings.engine.plan.calm = Millis::ZERO;
    println!("venus, {order}, backfill {backfill}");
    run(&cluster, &workload(&reading.rows), &settings);
}
