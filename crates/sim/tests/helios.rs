//! Gate: equal to the published Helios/Lucid simulator, job by job. Needs the real traces, which are not part of
//! the project: `POND_TRACES` names their folder, `../shared/traces` beside the repository is tried otherwise.

use flate2::read::GzDecoder;
use pond_sim::conformance::{Outcome, Policy, run};
use pond_sim::trace::{TraceJob, helios};
use std::collections::BTreeMap;
use std::fs::File;

mod real;
use real::traces;

/// Seconds from the trace's epoch, 2020-04-01 00:02:31, to 2020-09-01 00:00:00.
const SEPTEMBER_S: i64 = 153 * 86_400 - 151;

type Expected = BTreeMap<(String, String), Vec<Outcome>>;

fn expected(folder: &std::path::Path) -> Expected {
    let file =
        File::open(folder.join("expected/venus_2vc_per_job.csv.gz")).expect("the expected file is whole");
    let mut rows = Expected::new();
    for record in csv::Reader::from_reader(GzDecoder::new(file)).records() {
        let record = record.expect("the expected file is whole");
        let seconds = |at: usize| record[at].parse::<f64>().expect("the expected file is whole") as i64;
        rows.entry((record[0].to_owned(), record[1].to_owned())).or_default().push(Outcome {
            id: record[2].parse().expect("the expected file is whole"),
            start_s: seconds(6),
            end_s: seconds(7),
            queue_s: seconds(8),
            preemptions: record[9].parse().expect("the expected file is whole"),
        });
    }
    rows
}

#[test]
fn every_job_of_two_virtual_clusters_is_equal_under_four_policies() {
    let Some(folder) = traces() else { return };
    let reading =
        helios::windowed(File::open(folder.join("helios/venus_2vc_sept.csv")).unwrap(), SEPTEMBER_S);
    assert_eq!((reading.rows.len(), reading.bad.len()), (1867, 0));
    let expected = expected(&folder);
    let mut equal = 0;
    for (vc, nodes) in [("vcvGl", 20), ("vcvlY", 2)] {
        let mut jobs: Vec<TraceJob> =
            reading.rows.iter().filter(|job| job.partition == vc).cloned().collect();
        let policies = [
            ("fifo", Policy::Fifo),
            ("sjf", Policy::Sjf),
            ("srtf", Policy::Srtf),
            ("tiresias", Policy::Tiresias),
        ];
        for (name, policy) in policies {
            let mut theirs = expected[&(vc.to_owned(), name.to_owned())].clone();
            // Which of two jobs submitted in one second comes first is told by the published rows alone.
            let rank: BTreeMap<u64, usize> =
                theirs.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
            jobs.sort_by_key(|job| rank[&job.id]);
            let mut ours = run(nodes, &jobs, policy).unwrap();
            ours.sort_by_key(|job| job.id);
            theirs.sort_by_key(|job| job.id);
            let differing = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
            assert_eq!(differing, None, "{vc} {name}");
            assert_eq!(ours.len(), theirs.len());
            equal += ours.len();
        }
    }
    assert_eq!(equal, 7468);
}
