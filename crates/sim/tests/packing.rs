//! The packing experiment on a small cluster of its own: what a policy is for, and that a seed fixes everything.

use flate2::read::GzDecoder;
use pond_core::plan::Places;
use pond_core::snapshot::{PlacementPolicy, Settings};
use pond_sim::packing::{Cluster, Draws, Policy, Translated, Workload, cells, run, run_ours};
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

/// As many pods as the mix reads at once, so that FGD can be told all of them beforehand.
fn mixed_pods() -> Vec<OpenbPod> {
    let shapes = [(0, 0), (1, 470), (1, 1000), (1, 320), (2, 1000), (1, 650), (1, 810), (4, 1000)];
    let cpu = [1000, 6000, 11_000, 2000, 16_000];
    (0..256)
        .map(|at| {
            let (gpus, milli) = shapes[at * at % 11 % shapes.len()];
            OpenbPod { cpu_milli: cpu[at % cpu.len()], ..pod(at, gpus, milli) }
        })
        .collect()
}

#[test]
fn the_planner_decides_as_the_published_arithmetic_pod_by_pod() {
    let mut nodes = cluster(60, 8);
    nodes.iter_mut().enumerate().for_each(|(at, node)| node.gpus = [8, 2, 4][at % 3]);
    // The published arithmetic divides by the largest node of its trace.
    nodes[0].cpu_milli = 128_000;
    let (cluster, pods) = (Cluster::new(&nodes), mixed_pods());
    let both = [
        (Policy::BestFit, PlacementPolicy::BestFit),
        (Policy::DotProduct, PlacementPolicy::DotProduct),
        (Policy::GpuPacking, PlacementPolicy::GpuPacking),
        (Policy::Fgd, PlacementPolicy::Fgd),
    ];
    for ((policy, placement), seed) in both.into_iter().flat_map(|pair| (0..4).map(move |seed| (pair, seed)))
    {
        let workload = Workload::new(&cluster, &pods, 130, seed);
        let published = run(&cluster, &workload, policy);
        let Translated { nodes, shapes } = Translated::of(&cluster, &workload);
        let mut places = Places::new(&nodes, &Settings { placement, ..Settings::default() });
        for pod in &pods {
            places.arrive(&shapes[&cluster.demand(pod)], 1);
        }
        for (at, (demand, published)) in workload.asked().zip(&published.places).enumerate() {
            let want = places.know(&shapes[demand]);
            let found = places.find(want, &[]);
            let place = found.as_ref().map(|place| (place.node().0, place.devices().min()));
            assert_eq!(place, *published, "{policy:?}, seed {seed}, pod {at}: {demand:?}");
            found.iter().for_each(|place| places.take(place));
        }
    }
}

#[test]
fn one_move_makes_room_and_is_counted() {
    // 300 and 400 spread over two GPUs leave no place for 700 until one of them moves beside the other.
    let cluster = Cluster::new(&cluster(2, 1));
    let pods = [pod(0, 1, 600), pod(1, 1, 300), pod(2, 1, 700), pod(3, 1, 400)];
    let most = (0..40).map(|seed| {
        let workload = Workload::new(&cluster, &pods, 130, seed);
        let granted = |most| run_ours(&cluster, &workload, PlacementPolicy::Spread, most);
        let ((staying, none), (moving, moves)) = (granted(0), granted(1));
        assert_eq!((none.pods, none.milli), (0, 0));
        assert!(moving.granted_at(130) >= staying.granted_at(130));
        assert!(moves.made_room_for <= moves.pods);
        assert!(moves.pods == 0 || moving.granted_at(130) > staying.granted_at(130));
        moves.pods
    });
    assert!(most.max() > Some(0), "spread leaves holes that one move closes");
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
