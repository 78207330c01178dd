//! Gate 1: equal to the published Helios/Lucid simulator, job by job. Needs the real traces, which are not part of
//! the project: `POND_TRACES` names their folder, `../shared/traces` beside the repository is tried otherwise.

use flate2::read::GzDecoder;
use pond_sim::gates::equality;
use std::fs::File;

mod real;
use real::traces;

#[test]
fn every_job_of_two_virtual_clusters_is_equal_under_four_policies() {
    let Some(folder) = traces() else { return };
    let file = |name: &str| File::open(folder.join(name)).expect("the traces are whole");
    let expected = GzDecoder::new(file("expected/venus_2vc_per_job.csv.gz"));
    let rows = equality(file("helios/venus_2vc_sept.csv"), expected).expect("the traces are whole");
    assert!(rows.iter().all(|row| row.pass == Some(true)), "{rows:#?}");
    let equal: usize = rows.iter().map(|row| row.ours.parse::<usize>().expect("a count")).sum();
    assert_eq!((rows.len(), equal), (8, 7468));
}
