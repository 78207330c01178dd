//! Ours beside FGD where neither was tried before: `cargo run --release -p pond-sim --example packing_unseen -- TRACES [SEEDS]`.
//!
//! Mixes of made-up shapes in a random order; mixes that give way to one another halfway; the trace's pods in
//! the order of their names; half of the trace's nodes. FGD is told the whole workload beforehand, ours nothing. The mixes are drawn
//! from seeds 1 to 10 of their own, none was left out.

use flate2::read::GzDecoder;
use pond_sim::packing::{Draws, contest};
use pond_sim::random::Random;
use pond_sim::trace::openb::{self, OpenbNode, OpenbPod};
use std::fs::File;
use std::io::Write;
use std::path::Path;

const MIXES: u64 = 10;

/// Six to sixteen shapes: most a share of one GPU, some whole ones, some none; each as often as chance will have it.
fn mix(seed: u64) -> Vec<(OpenbPod, u64)> {
    let mut chance = Random::new(seed, "mix");
    let count = 6 + chance.below(11);
    let shape = |chance: &mut Random| {
        let (gpus, gpu_milli) = match chance.below(10) {
            0 | 1 => (0, 0),
            2 | 3 => (1, 1000),
            4 => (1 << (1 + chance.below(3)), 1000),
            _ => (1, 50 + 10 * chance.below(91)),
        };
        let cpu = 1 + chance.below(if gpus > 1 { 48 } else { 16 });
        OpenbPod {
            name: String::new(),
            cpu_milli: cpu as u64 * 1000,
            memory_mib: cpu as u64 * 2048,
            gpus,
            gpu_milli: u32::try_from(gpu_milli).unwrap_or(1000),
            models: Vec::new(),
        }
    };
    // At least one shape asks for a GPU, so that the GPUs can be asked for more than once.
    let certain = OpenbPod { gpus: 1, gpu_milli: 1000, ..shape(&mut chance) };
    let others = (1..count).map(|_| shape(&mut chance)).collect::<Vec<_>>();
    std::iter::once(certain).chain(others).map(|pod| (pod, 1 + chance.below(20) as u64)).collect()
}

/// Pods drawn from a mix until they ask for so many thousandths of GPUs, named from `first` on.
fn drawn(mix: &[(OpenbPod, u64)], first: usize, milli: u64, seed: u64) -> Vec<OpenbPod> {
    let mut chance = Random::new(seed, "pods");
    let shapes: Vec<&OpenbPod> =
        mix.iter().flat_map(|(pod, weight)| (0..*weight).map(move |_| pod)).collect();
    let (mut asked, mut pods) = (0, Vec::new());
    while asked < milli {
        let shape = shapes[chance.below(shapes.len())];
        asked += u64::from(shape.gpus) * u64::from(shape.gpu_milli);
        pods.push(OpenbPod { name: format!("p{:06}", first + pods.len()), ..shape.clone() });
    }
    pods
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of the traces")?;
    let seeds: u64 = args.next().map_or(Ok(3), |text| text.parse())?;
    let gz = |name: &str| -> std::io::Result<_> {
        Ok(GzDecoder::new(File::open(Path::new(&folder).join("openb").join(name))?))
    };
    let nodes = openb::nodes(gz("openb_node_list_gpu_node.csv.gz")?).rows;
    let pods = openb::pods(gz("openb_pod_list_default.csv.gz")?).rows;
    let half: Vec<OpenbNode> = nodes.iter().step_by(2).cloned().collect();
    let mut out = std::io::stdout().lock();
    let mut row = |what: &str, nodes: &[OpenbNode], pods: &[OpenbPod], draws: Draws| {
        let row = contest(nodes, pods, &draws);
        let (fgd, ours, moving) = (row.fgd, row.gaps, row.moving);
        writeln!(
            out,
            "{what:22} FGD {:.2} ±{:.2}  ours {:.2} ±{:.2} ({:+.2})  moving {:.2} ({:+.2})",
            fgd.mean,
            fgd.deviation,
            ours.mean,
            ours.deviation,
            ours.mean - fgd.mean,
            moving.mean,
            moving.mean - fgd.mean
        )
    };
    row("default, by name", &nodes, &pods, Draws::InOrder(0..seeds))?;
    row("default, half the nodes", &half, &pods, Draws::Ours(0..seeds))?;
    let enough = nodes.iter().map(|node| u64::from(node.gpus) * 1300).sum();
    for seed in 1..=MIXES {
        let pods = drawn(&mix(seed), 0, enough, seed);
        row(&format!("mix {seed}"), &nodes, &pods, Draws::Ours(0..seeds))?;
        let mut turning = drawn(&mix(seed), 0, enough / 2, seed);
        turning.extend(drawn(&mix(seed + MIXES), turning.len(), enough / 2, seed));
        row(&format!("mix {seed}, then {}", seed + MIXES), &nodes, &turning, Draws::InOrder(0..seeds))?;
    }
    Ok(())
}
