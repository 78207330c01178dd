//! The packing experiment on a small cluster of its own: what a policy is for, and that a seed fixes everything.

use pond_sim::packing::{Cluster, Policy, Workload, run};
use pond_sim::trace::openb::{OpenbNode, OpenbPod, nodes, pods};
use proptest::prelude::*;

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
        let runs =
            (0..5).map(|seed| run(cluster.clone(), &Workload::new(&cluster, &mix, 130, seed), policy, seed));
        runs.map(|outcome| outcome.granted_at(130)).sum::<f64>() / 5.0
    };
    let (fgd, random) = (granted(Policy::Fgd), granted(Policy::Random));
    assert!(fgd > random, "FGD {fgd} %, Random {random} %");
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

#[test]
fn pods_without_a_gpu_alone_come_once_each() {
    let cluster = Cluster::new(&cluster(1, 4));
    let pods: Vec<OpenbPod> = (0..3).map(|at| pod(at, 0, 0)).collect();
    let outcome = run(cluster.clone(), &Workload::new(&cluster, &pods, 130, 1), Policy::Fgd, 1);
    assert_eq!(outcome.curve, [(0, 0), (0, 0), (0, 0)]);
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
        let policy = Policy::ALL[at];
        let outcome = run(cluster.clone(), &workload, policy, seed);
        prop_assert_eq!(&outcome, &run(cluster.clone(), &workload, policy, seed));
        for &(asked, granted) in &outcome.curve {
            prop_assert!(granted <= asked.min(cluster.capacity_milli()));
        }
    }
}
