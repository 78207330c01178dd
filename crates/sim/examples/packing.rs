//! Ours against the published means, for all policies and workloads: `cargo run --release -p pond-sim --example packing -- TRACES [SEEDS]`.
//!
//! Without SEEDS pods and nodes are taken in the published order (their ten seeds), with it in orders of ours.

use flate2::read::GzDecoder;
use pond_sim::packing::{Cell, Draws, FRACTIONS, cells};
use pond_sim::trace::{fgd, openb};
use std::fs::File;
use std::io::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of the traces")?;
    let draws = args.next().map_or(Ok(Draws::Published), |text| text.parse().map(|n| Draws::Ours(0..n)))?;
    let folder = Path::new(&folder);
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(folder.join("openb").join(name))?))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
    let published = fgd::published(File::open(folder.join("expected/fgd_published_summary.csv"))?).rows;
    let mut workloads: Vec<&String> = published.iter().map(|row| &row.workload).collect();
    workloads.dedup();
    let mut out = std::io::stdout().lock();
    let mut all: Vec<Cell> = Vec::new();
    for workload in workloads {
        let pods = openb::pods(gz(&format!("{workload}.csv.gz"))?).rows;
        let cells = cells(workload, &nodes, &pods, &published, &draws);
        for row in cells.chunks(FRACTIONS.len()) {
            write!(out, "{workload:27} {:16}", row[0].policy.name())?;
            for cell in row {
                write!(
                    out,
                    "  {:6.2} ±{:.2} ({:+.2})",
                    cell.ours.mean,
                    cell.ours.deviation,
                    cell.difference()
                )?;
            }
            writeln!(out)?;
        }
        all.extend(cells);
    }
    let worst = all.iter().map(|cell| cell.difference().abs()).fold(0.0, f64::max);
    let within = all.iter().filter(|cell| cell.passes()).count();
    writeln!(out, "{within} of {} cells within 0.3 points, largest difference {worst:.2}", all.len())?;
    Ok(())
}
