//! The packing experiment through the pool's own planner: `cargo run --release -p pond-sim --example packing_planner -- TRACES POLICY [FIRST [SEEDS [WORKLOAD]]]`.
//!
//! POLICY is a placement policy of the settings (`fgd`, `gaps`, `pack`, ...).

use flate2::read::GzDecoder;
use pond_core::snapshot::PlacementPolicy;
use pond_sim::packing::{Cluster, Figure, Workload};
use pond_sim::trace::openb;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const WORKLOADS: [&str; 8] =
    ["cpu050", "default", "gpushare100", "gpushare40", "gpuspec10", "gpuspec33", "multigpu20", "multigpu50"];

mod planned;

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
            planned::run_planned(&cluster, &Workload::new(&cluster, &pods, 130, seed), placement)
                .granted_at(130)
        };
        let figure = Figure::of(&(first..first + seeds).map(run).collect::<Vec<_>>());
        writeln!(out, "{workload:12} {policy:12} {:.2} ±{:.2}", figure.mean, figure.deviation)?;
    }
    Ok(())
}
