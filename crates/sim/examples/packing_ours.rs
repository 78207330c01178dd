//! Our packing policy beside FGD: `cargo run --release -p pond-sim --example packing_ours -- TRACES [FIRST [SEEDS [WORKLOAD]]]`.

use flate2::read::GzDecoder;
use pond_sim::packing::{Draws, contest};
use pond_sim::trace::openb;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const WORKLOADS: [&str; 8] =
    ["cpu050", "default", "gpushare100", "gpushare40", "gpuspec10", "gpuspec33", "multigpu20", "multigpu50"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of the traces")?;
    let first: u64 = args.next().map_or(Ok(0), |text| text.parse())?;
    let seeds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let only = args.next();
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(Path::new(&folder).join("openb").join(name))?))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
    let mut out = std::io::stdout().lock();
    for workload in WORKLOADS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name)) {
        let pods = openb::pods(gz(&format!("openb_pod_list_{workload}.csv.gz"))?).rows;
        let row = contest(&nodes, &pods, &Draws::Ours(first..first + seeds));
        let moves = row.moves;
        writeln!(
            out,
            "{workload:12} FGD {:.2} ±{:.2}  ours {:.2} ±{:.2} ({:+.2})  moving {:.2} ±{:.2} ({:+.2}): {} moved for {}, {:.2} % of what was granted",
            row.fgd.mean,
            row.fgd.deviation,
            row.gaps.mean,
            row.gaps.deviation,
            row.gaps.mean - row.fgd.mean,
            row.moving.mean,
            row.moving.deviation,
            row.moving.mean - row.fgd.mean,
            moves.pods,
            moves.made_room_for,
            row.moved_percent()
        )?;
    }
    Ok(())
}
