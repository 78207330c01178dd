//! Gates 1, 2, 4 and 5 on the real traces: a line of JSON for each row, for `cargo xtask gates sim` to print.
//!
//! `cargo run --release -p pond-sim --example gates -- TRACES [quick] [GATE...]`

use flate2::read::GzDecoder;
use pond_core::units::Millis;
use pond_sim::experiment::CONTESTANTS;
use pond_sim::gates::{Pool, Row, equality, packing, packing_contest, planner, same_bytes};
use pond_sim::outcome::Outcome;
use pond_sim::packing::{Draws, cells, contest};
use pond_sim::report::{Page, Run, Summary};
use pond_sim::simulator::{Breakdown, Lifetime, SimSettings};
use pond_sim::trace::helios::{self, Pooling};
use pond_sim::trace::{Options, fgd, open_with, openb, swf};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// 2020-08-01 and 2020-09-01, 00:00, in milliseconds since 1970.
const AUGUST_MS: (i64, i64) = (1_596_240_000_000, 1_598_918_400_000);

type Rows = Result<Vec<Row>, Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("name the folder of the traces")?);
    let words: Vec<String> = words.collect();
    let quick = words.iter().any(|word| word == "quick");
    let wanted: Vec<u8> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let is_wanted = |gate: u8| wanted.is_empty() || wanted.contains(&gate);
    let mut parts: Vec<Box<dyn Fn() -> Rows + Sync>> = Vec::new();
    let folder = &folder;
    if is_wanted(1) {
        parts.push(Box::new(|| {
            let expected = File::open(folder.join("expected/venus_2vc_per_job.csv.gz"))?;
            let trace = File::open(folder.join("helios/venus_2vc_sept.csv"))?;
            Ok(equality(trace, GzDecoder::new(expected))?)
        }));
    }
    if is_wanted(2) {
        parts.extend(packing_parts(folder, quick)?);
    }
    if is_wanted(4) {
        parts.extend(planner_parts(folder, quick)?);
    }
    if is_wanted(5) {
        parts.push(Box::new(move || twice(folder)));
    }
    print(&parts)
}

/// Runs the parts, one a core, and prints the rows of each as soon as it is over.
fn print(parts: &[Box<dyn Fn() -> Rows + Sync + '_>]) -> Result<(), Box<dyn Error>> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let said = part().and_then(|rows| rows.iter().try_for_each(say));
                    if let (Err(why), Ok(mut failed)) = (said, failed.lock()) {
                        failed.get_or_insert(why.to_string());
                    }
                }
            });
        }
    });
    match failed.into_inner()? {
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}

fn say(row: &Row) -> Result<(), Box<dyn Error + Send + Sync>> {
    let line = serde_json::json!({
        "gate": row.gate,
        "what": row.what,
        "ours": row.ours,
        "reference": row.reference,
        "bound": row.bound,
        "pass": row.pass,
    });
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

type Part<'a> = Box<dyn Fn() -> Rows + Sync + 'a>;

/// The published table of packing, a part for each workload; quick: the first workload alone.
fn packing_parts(folder: &Path, quick: bool) -> Result<Vec<Part<'_>>, Box<dyn Error>> {
    let published = fgd::published(File::open(folder.join("expected/fgd_published_summary.csv"))?).rows;
    let mut workloads: Vec<String> = published.iter().map(|row| row.workload.clone()).collect();
    workloads.dedup();
    workloads.truncate(if quick { 1 } else { usize::MAX });
    let part = |workload: String| -> Part<'_> {
        let published = published.clone();
        Box::new(move || {
            let gz = |name: &str| File::open(folder.join("openb").join(name)).map(GzDecoder::new);
            let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
            let pods = openb::pods(gz(&format!("{workload}.csv.gz"))?).rows;
            let mut rows = packing(&cells(&workload, &nodes, &pods, &published, &Draws::Published));
            rows.extend(packing_contest(&workload, &contest(&nodes, &pods, &Draws::Published)));
            Ok(rows)
        })
    };
    Ok(workloads.into_iter().map(part).collect())
}

/// Venus on a pool of so many nodes, all of it or August alone.
fn venus(folder: &Path, nodes: u32, august: bool) -> Result<Pool, Box<dyn Error + Send + Sync>> {
    let file = File::open(folder.join("helios/venus_jobs_apr_aug.csv.gz"))?;
    let reading = helios::jobs_of(GzDecoder::new(file));
    let mut jobs = helios::jobs("venus", &reading, &[], nodes, Pooling::Pooled);
    if august {
        jobs = jobs.between(AUGUST_MS.0, AUGUST_MS.1).ok_or("the trace has dates")?;
    }
    Ok(Pool {
        name: format!("Venus {} on {nodes} nodes", if august { "August" } else { "April to August" }),
        cluster: helios::cluster(&[], nodes, Pooling::Pooled),
        workload: jobs.workload,
        known: if august && nodes == 84 { vec![("bucketed LAS", 9_110_000, 20)] } else { Vec::new() },
    })
}

fn log(folder: &Path, name: &str, file: &str) -> Result<Pool, Box<dyn Error + Send + Sync>> {
    let options = Options { layout: swf::Layout::Flat, ..Options::default() };
    let loaded = open_with(&folder.join("swf").join(file), None, &options)?;
    let jobs = loaded.into_jobs().ok_or("a log of jobs")?;
    Ok(Pool { name: name.to_owned(), cluster: jobs.cluster, workload: jobs.workload, known: Vec::new() })
}

/// The planner on all pools, a part for each policy on each; quick: August on 84 nodes alone.
fn planner_parts(folder: &Path, quick: bool) -> Result<Vec<Part<'_>>, Box<dyn Error>> {
    let mut pools = vec![venus(folder, 84, true).map_err(|why| why.to_string())?];
    if !quick {
        for nodes in [112, 96, 84] {
            pools.push(venus(folder, nodes, false).map_err(|why| why.to_string())?);
        }
        let mut logs: Vec<String> = std::fs::read_dir(folder.join("swf"))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        logs.sort();
        for name in ["KTH", "SDSC-BLUE", "HPC2N"] {
            let file = logs.iter().find(|file| file.to_uppercase().starts_with(name));
            let file = file.ok_or_else(|| format!("no log of {name}"))?;
            pools.push(log(folder, name, file).map_err(|why| why.to_string())?);
        }
    }
    let mut parts: Vec<Part<'_>> = Vec::new();
    for pool in pools {
        let pool = std::sync::Arc::new(pool);
        for contestant in CONTESTANTS {
            let pool = pool.clone();
            parts.push(Box::new(move || Ok(planner(&pool, &[contestant])?)));
        }
    }
    Ok(parts)
}

/// August on 84 nodes with failing nodes and devices, twice each: outcomes and pages.
fn twice(folder: &Path) -> Rows {
    let mut pool = venus(folder, 84, true)?;
    pool.workload.jobs.truncate(4000);
    "Venus August, 4,000 jobs, failing nodes".clone_into(&mut pool.name);
    let mut settings = SimSettings { seed: 7, stays: true, ..SimSettings::default() };
    let days = |count: u64| Lifetime { scale: Millis(count * 86_400_000), shape: 1000 };
    let repair = Lifetime { scale: Millis(4 * 3_600_000), shape: 1000 };
    settings.faults.nodes = Some(Breakdown { between: days(30), repair });
    settings.faults.devices = Some(Breakdown { between: days(90), repair });
    let names = ["FIFO", "GPU x time, oracle", "bucketed LAS"];
    let chosen: Vec<_> =
        CONTESTANTS.into_iter().filter(|contestant| names.contains(&contestant.name)).collect();
    Ok(same_bytes(&pool, &chosen, &settings, bytes)?)
}

fn bytes(outcome: &Outcome) -> Vec<u8> {
    let summary = Summary::of(outcome);
    let run = Run { label: "run", outcome, summary: &summary };
    let page = Page { title: "twice", about: "", runs: &[run], comparisons: &[] };
    let mut bytes = serde_json::to_vec(outcome).unwrap_or_default();
    bytes.extend(page.html().as_bytes());
    bytes
}
