//! The packing experiment through the pool's own planner: `cargo run --release -p pond-sim --example packing_planner -- TRACES POLICY [FIRST [SEEDS [WORKLOAD]]]`.
//!
//! POLICY is a placement policy of the settings (`fgd`, `gaps`, `pack`, ...). Each pod is submitted, a plan is made and
//! carried out, and a pod that has no place then is withdrawn.

use flate2::read::GzDecoder;
use pond_core::model::QueueSpec;
use pond_core::plan::Planner;
use pond_core::plan::world::{Ask, World};
use pond_core::snapshot::{Backfill, NodeRow, PlacementPolicy, QueueOrd, Settings};
use pond_core::units::Timestamp;
use pond_sim::packing::{Cluster, Figure, Translated, Workload};
use pond_sim::trace::openb;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const WORKLOADS: [&str; 8] =
    ["cpu050", "default", "gpushare100", "gpushare40", "gpuspec10", "gpuspec33", "multigpu20", "multigpu50"];

/// An empty pool of these nodes, and its queue.
fn pool(nodes: Vec<NodeRow>) -> (World, QueueOrd) {
    let mut world = World::new();
    let queue = world.queue(QueueSpec::new("all"));
    for row in nodes {
        let ord = world.node(1, 1, &[], &[]);
        world.edit_node(ord, |node| *node = row);
    }
    (world, queue)
}

fn granted(cluster: &Cluster, workload: &Workload, settings: &Settings) -> f64 {
    let Translated { nodes, shapes } = Translated::of(cluster, workload);
    let (mut world, queue) = pool(nodes);
    let mut planner = Planner::new(settings.clone());
    let mut granted = 0;
    for (second, demand) in (1..).zip(workload.asked()) {
        let now = Timestamp(second * 1000);
        let gang = world.submit(queue, Ask::new(shapes[demand].clone()), now);
        let plan = planner.plan(&world.snapshot, now);
        world.apply(&plan, now);
        if world.placed(gang).is_some() {
            granted += demand.total_milli();
        } else {
            world.withdraw(gang);
        }
    }
    granted as f64 * 100.0 / cluster.capacity_milli() as f64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of the traces")?;
    let policy = args.next().ok_or("name a placement policy")?;
    let placement: PlacementPolicy = serde_json::from_value(serde_json::Value::String(policy.clone()))?;
    let first: u64 = args.next().map_or(Ok(0), |text| text.parse())?;
    let seeds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let only = args.next();
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(Path::new(&folder).join("openb").join(name))?))
    };
    let cluster = Cluster::new(&openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows);
    let mut out = std::io::stdout().lock();
    for workload in WORKLOADS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name)) {
        let pods = openb::pods(gz(&format!("openb_pod_list_{workload}.csv.gz"))?).rows;
        let run = |seed| {
            // Nobody waits in this experiment, so nothing has to be kept for anybody.
            let settings = Settings {
                placement,
                placement_seed: seed,
                backfill: Backfill::Greedy,
                reservations: 0,
                lend_margin: 0,
                ..Settings::default()
            };
            granted(&cluster, &Workload::new(&cluster, &pods, 130, seed), &settings)
        };
        let figure = Figure::of(&(first..first + seeds).map(run).collect::<Vec<_>>());
        writeln!(out, "{workload:12} {policy:12} {:.2} ±{:.2}", figure.mean, figure.deviation)?;
    }
    Ok(())
}
