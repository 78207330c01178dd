//! Our means against the published ones, for all policies and workloads: `cargo run --release -p pond-sim --example packing -- TRACES [SEEDS]`.

use flate2::read::GzDecoder;
use pond_sim::packing::{Cluster, Policy, Workload, run};
use pond_sim::trace::openb;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const AT: [u64; 5] = [95, 100, 110, 120, 130];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of the traces")?;
    let seeds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let folder = Path::new(&folder);
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(folder.join("openb").join(name))?))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
    let published = published(&folder.join("expected/fgd_published_summary.csv"))?;
    let mut out = std::io::stdout().lock();
    let mut worst = 0.0_f64;
    let mut workloads: Vec<&String> = published.keys().map(|(workload, _)| workload).collect();
    workloads.dedup();
    for workload in workloads {
        let pods = openb::pods(gz(&format!("{workload}.csv.gz"))?);
        for policy in Policy::ALL {
            let cluster = Cluster::new(&nodes);
            let mut means = [0.0; AT.len()];
            for seed in 0..seeds {
                let outcome =
                    run(cluster.clone(), &Workload::new(&cluster, &pods.rows, 130, seed), policy, seed);
                for (mean, at) in means.iter_mut().zip(AT) {
                    *mean += outcome.granted_at(at) / seeds as f64;
                }
            }
            let theirs = &published[&(workload.clone(), policy.published_name().to_owned())];
            write!(out, "{workload:28} {:16}", policy.published_name())?;
            for (mean, theirs) in means.iter().zip(theirs) {
                worst = worst.max((mean - theirs).abs());
                write!(out, "  {mean:6.2} ({:+.2})", mean - theirs)?;
            }
            writeln!(out)?;
        }
    }
    writeln!(out, "largest difference {worst:.2} points")?;
    Ok(())
}

type Published = BTreeMap<(String, String), Vec<f64>>;

fn published(path: &Path) -> Result<Published, Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let header = reader.headers()?.clone();
    let columns: Vec<usize> = AT
        .iter()
        .filter_map(|at| header.iter().position(|name| name == format!("alloc@{at}_mean")))
        .collect();
    let mut rows = Published::new();
    for record in reader.records() {
        let record = record?;
        let means = columns.iter().map(|&at| record[at].parse()).collect::<Result<Vec<f64>, _>>()?;
        rows.insert((record[0].to_owned(), record[1].to_owned()), means);
    }
    Ok(rows)
}
