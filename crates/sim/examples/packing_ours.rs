//! Our packing policy beside FGD: `cargo run --release -p pond-sim --example packing_ours -- TRACES [FIRST [SEEDS]]`.

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
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(Path::new(&folder).join("openb").join(name))?))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
    let mut out = std::io::stdout().lock();
    for workload in WORKLOADS {
        let pods = openb::pods(gz(&format!("openb_pod_list_{workload}.csv.gz"))?).rows;
        let row = contest(&nodes, &pods, &Draws::Ours(first..first + seeds));
        let (fgd, gaps) = (row.fgd, row.gaps);
        writeln!(
            out,
            "{workload:12} FGD {:.2} ±{:.2}  ours {:.2} ±{:.2} ({:+.2})",
            fgd.mean,
            fgd.deviation,
            gaps.mean,
            gaps.deviation,
            gaps.mean - fgd.mean
        )?;
    }
    Ok(())
}
