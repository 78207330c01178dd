//! The packing experiment on a small cluster of its own: what a policy is for, and that a seed fixes everything.

use flate2::read::GzDecoder;
use pond_sim::packing::{Cluster, Draws, Policy, Workload, cells, run};
use pond_sim::trace::fgd::published;
use pond_sim::trace::openb::{OpenbNode, OpenbPod, nodes, pods};
use proptest::prelude::*;
use std::fs::File;
use std::path::PathBuf;

fn cluster(count: usize, gpus: u32) -> Vec<OpenbNode> {
    let node = |at: usize| OpenbNode {
        name: format!("n{at}"),
        cpu_milli: 64_000,
        memory_mib: 262_144,
        gpus,
        model: "A".to_owned(),
    };
    (0..count).map(node).collect()
}

fn pod(at: usize, gpus: u32, gpu_milli: u32) -> OpenbPod {
    OpenbPod {
        name: format!("p{at:04}"),
        cpu_milli: 1000,
        memory_mib: 1024,
        gpus,
        gpu_milli,
        models: Vec::new(),
    }
}

#[test]
fn fgd_wastes_less_than_random_on_a_mix_of_parts_and_wholes() {
    let cluster = Cluster::new(&cluster(20, 8));
    let mix: Vec<OpenbPod> =
        (0..400).map(|at| if at % 2 == 0 { pod(at, 1, 400) } else { pod(at, 1, 1000) }).collect();
    let granted = |policy| {
        let runs = (0..5).map(|seed| run(&cluster, &Workload::new(&cluster, &mix, 130, seed), policy));
        runs.map(|outcome| outcome.granted_at(130)).sum::<f64>() / 5.0
    };
    let (fgd, random) = (granted(Policy::Fgd), granted(Policy::Random));
    assert!(fgd > random, "FGD {fgd} %, Random {random} %");
}

/// Needs the public traces; says so where they are absent. The whole table: `cargo run --release --example packing`.
#[test]
fn the_published_means_come_out_when_the_published_orders_go_in() {
    let folder = std::env::var_os("POND_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    let Ok(summary) = File::open(folder.join("expected/fgd_published_summary.csv")) else {
        eprintln!("skipped: no traces in {}; set POND_TRACES to their folder", folder.display());
        return;
    };
    let gz = |name: &str| GzDecoder::new(File::open(folder.join("openb").join(name)).unwrap());
    let nodes = nodes(gz("openb_node_list_gpu_node.csv.gz")).rows;
    let workload = "openb_pod_list_cpu050";
    let pods = pods(gz(&format!("{workload}.csv.gz"))).rows;
    let mut rows = published(summary).rows;
    // One policy: the others would take a minute without optimisation.
    rows.retain(|row| row.policy == Policy::GpuPacking.name());
    let cells = cells(workload, &nodes, &pods, &rows, &Draws::Published);
    assert_eq!(cells.len(), 5);
    for cell in cells {
        assert!(cell.difference().abs() < 0.01, "{cell:?}");
    }
}

#[test]
fn pods_without_gpus_end_a_workload() {
    let cluster = Cluster::new(&cluster(1, 4));
    let outcome = run(&cluster, &Workload::new(&cluster, &[pod(0, 0, 0)], 130, 1), Policy::Fgd);
    assert_eq!(outcome.curve, [(0, 0)]);
}

#[test]
fn readers_tell_bad_shares_and_missing_columns() {
    let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,1,1,1001\nb,1,1,1,500\nc,1,1\n";
    let reading = pods(text.as_bytes());
    assert_eq!(reading.rows.len(), 1);
    let told: Vec<String> = reading.bad.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: column `gpu_milli` holds `1001`, which is not a share from 0 to 1000 thousandths",
            "line 4: the row has no column `num_gpu`"
        ]
    );
    assert_eq!(nodes("sn,cpu_milli,memory_mib,gpu,model\nx,1,1,0,\n".as_bytes()).rows[0].gpus, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_there_is_and_the_same_twice(
        shapes in prop::collection::vec((0u32..=2, prop::sample::select(vec![100u32, 250, 500, 1000])), 1..60),
        count in 1usize..6,
        seed: u64,
        at in 0usize..6,
    ) {
        let cluster = Cluster::new(&cluster(count, 4));
        let mix: Vec<OpenbPod> = shapes
            .iter()
            .enumerate()
            .map(|(at, &(gpus, milli))| pod(at, gpus, match gpus { 0 => 0, 1 => milli, _ => 1000 }))
            .collect();
        let workload = Workload::new(&cluster, &mix, 130, seed);
        let policy = Policy::PUBLISHED[at];
        let outcome = run(&cluster, &workload, policy);
        prop_assert_eq!(&outcome, &run(&cluster, &workload, policy));
        for &(asked, granted) in &outcome.curve {
            prop_assert!(granted <= asked.min(cluster.capacity_milli()));
        }
    }
}
