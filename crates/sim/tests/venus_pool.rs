//! The real planner on two virtual clusters of Venus, whose fates under the published simulator are known: what the rules
//! have in common must come out alike. Needs the real traces.

use flate2::read::GzDecoder;
use pond_core::units::Timestamp;
use pond_sim::experiment::{CONTESTANTS, Contestant};
use pond_sim::outcome::Outcome;
use pond_sim::simulator::SimSettings;
use pond_sim::trace::helios::{self, Pooling};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

mod real;
use real::traces;

fn contestant(name: &str) -> Contestant {
    CONTESTANTS.into_iter().find(|one| one.name == name).expect("a baseline")
}

/// One virtual cluster alone, under the real planner.
///
/// Jobs get their place in `order` as their id: which of two that are submitted in one second comes first is told by the
/// published rows alone.
fn pool(folder: &Path, vc: &str, nodes: u32, contestant: Contestant, order: &[Row]) -> Outcome {
    let file = File::open(folder.join("helios/venus_2vc_sept.csv")).expect("the trace is whole");
    let reading = helios::jobs_of(file);
    let mut jobs = helios::jobs(vc, &reading, &[], nodes, Pooling::Pooled);
    let workload = &mut jobs.workload;
    let queues = workload.queues.clone();
    workload.jobs.retain(|job| queues[job.queue as usize].as_str() == vc);
    let rank: BTreeMap<u64, u64> = (0..).zip(order).map(|(at, row)| (row.0, at)).collect();
    for job in &mut workload.jobs {
        job.id = rank[&job.id];
    }
    workload.sort();
    jobs.cluster = helios::cluster(&[], nodes, Pooling::Pooled);
    let outcome =
        contestant.run(&jobs.cluster, &jobs.workload, &SimSettings::default()).expect("a sound workload");
    assert_eq!((outcome.counts.violations, outcome.counts.doubled), (0, 0), "{:?}", outcome.counts);
    assert_eq!(outcome.nodes.len(), nodes as usize);
    outcome
}

/// Seconds from the expected files' epoch, 2020-04-01 00:02:31, to the window's start, 2020-09-01 00:00:00.
const SEPTEMBER_S: u64 = 153 * 86_400 - 151;

/// A job, its start and its end in seconds from the window's start.
type Row = (u64, u64, u64);

/// What became of the jobs under the published simulator.
fn published(folder: &Path, vc: &str, policy: &str) -> Vec<Row> {
    let file =
        File::open(folder.join("expected/venus_2vc_per_job.csv.gz")).expect("the expected file is whole");
    let mut rows = Vec::new();
    for record in csv::Reader::from_reader(GzDecoder::new(file)).records() {
        let record = record.expect("the expected file is whole");
        let seconds =
            |at: usize| record[at].parse::<f64>().expect("the expected file is whole") as u64 - SEPTEMBER_S;
        if &record[0] == vc && &record[1] == policy {
            rows.push((record[2].parse().expect("the expected file is whole"), seconds(6), seconds(7)));
        }
    }
    rows
}

/// First come, first served and shortest first without backfill leave no room for taste: every job starts and ends in
/// the second it does under the published rules, though those look at the queue once a second and the pool at once.
#[test]
fn every_job_is_as_published_where_the_rules_are_the_same() {
    let Some(folder) = traces() else { return };
    for (vc, nodes, name, policy) in [
        ("vcvGl", 20, "FIFO", "fifo"),
        ("vcvGl", 20, "SJF, oracle", "sjf"),
        ("vcvlY", 2, "FIFO", "fifo"),
        ("vcvlY", 2, "SJF, oracle", "sjf"),
    ] {
        let theirs = published(&folder, vc, policy);
        let outcome = pool(&folder, vc, nodes, contestant(name), &theirs);
        assert_eq!(outcome.jobs.len(), theirs.len());
        for job in &outcome.jobs {
            let secs = |at: Option<Timestamp>| at.map_or(0, |at| at.0 / 1000);
            let (_, start, end) = theirs[job.id as usize];
            assert_eq!((secs(job.start), secs(job.end)), (start, end), "{vc} {name}: {job:?}");
        }
    }
}
