//! One run: pods in a random order, one pass, nothing leaves.

use super::cluster::{Cluster, Demand, Node};
use super::fragment::TypicalPods;
use super::policy::Policy;
use crate::random::Random;
use crate::trace::openb::OpenbPod;

/// The pods of one run, in the order in which they come.
#[derive(Clone, Debug)]
pub struct Workload {
    arrivals: Vec<u32>,
    demands: Vec<Demand>,
    typical: TypicalPods,
}

impl Workload {
    /// Pods sorted by name and shuffled by `seed`; then pods drawn with replacement until the next one would
    /// bring what is asked for past `percent` of the cluster's GPUs.
    #[must_use]
    pub fn new(cluster: &Cluster, pods: &[OpenbPod], percent: u64, seed: u64) -> Self {
        let mut pods: Vec<&OpenbPod> = pods.iter().collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let asked: Vec<Demand> = pods.iter().map(|pod| cluster.demand(pod)).collect();
        let mut demands = asked.clone();
        demands.sort_unstable();
        demands.dedup();
        let ordinal =
            |demand: &Demand| u32::try_from(demands.binary_search(demand).unwrap_or_default()).unwrap_or(0);
        let mut arrivals: Vec<u32> = asked.iter().map(ordinal).collect();
        Random::new(seed, "order").shuffle(&mut arrivals);
        let mut more = Random::new(seed, "more");
        let wanted = cluster.capacity_milli() * percent / 100;
        let mut total: u64 = asked.iter().map(Demand::total_milli).sum();
        // Pods that ask for no GPU alone would never get there.
        while asked.iter().any(|demand| demand.total_milli() > 0) {
            let demand = &asked[more.below(asked.len())];
            total += demand.total_milli();
            if total > wanted {
                break;
            }
            arrivals.push(ordinal(demand));
        }
        Self { arrivals, typical: TypicalPods::of(&asked), demands }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Thousandths of GPUs asked for and granted after each pod.
    pub curve: Vec<(u64, u64)>,
    /// Thousandths of GPUs there are.
    pub capacity_milli: u64,
}

impl Outcome {
    /// Percent of the GPUs granted when `percent` of them had been asked for.
    #[must_use]
    pub fn granted_at(&self, percent: u64) -> f64 {
        let asked = self.capacity_milli * percent / 100;
        let until = self.curve.partition_point(|&(sum, _)| sum <= asked);
        let granted = until.checked_sub(1).map_or(0, |last| self.curve[last].1);
        granted as f64 * 100.0 / self.capacity_milli.max(1) as f64
    }
}

/// A node's score for a demand; kept until the node changes.
#[derive(Clone, Copy)]
enum Kept {
    Unknown,
    Unfit,
    Fit { score: i64, gpu: Option<usize> },
}

/// Runs a workload under a policy, nodes in an order drawn once from the seed. Same seed, same outcome.
///
/// The order matters: equally good nodes are filled one after the other. Drawing anew at each pod instead
/// spreads pods that ask for no GPU over all nodes and costs FGD 5 points of 95.
///
/// A placement changes one node, so all other scores stay: a pod costs a scan over kept numbers and the scores
/// of the nodes that changed since its demand came by last.
#[must_use]
pub fn run(mut cluster: Cluster, workload: &Workload, policy: Policy, seed: u64) -> Outcome {
    Random::new(seed, "nodes").shuffle(&mut cluster.nodes);
    let mut ties = Random::new(seed, "ties");
    let mut kept = vec![vec![Kept::Unknown; cluster.nodes.len()]; workload.demands.len()];
    let mut outcome = Outcome { curve: Vec::new(), capacity_milli: cluster.capacity_milli() };
    let (mut asked, mut granted) = (0, 0);
    for &ordinal in &workload.arrivals {
        let demand = &workload.demands[ordinal as usize];
        asked += demand.total_milli();
        let scores = &mut kept[ordinal as usize];
        for (node, score) in cluster.nodes.iter().zip(scores.iter_mut()) {
            if matches!(score, Kept::Unknown) {
                *score = graded(node, demand, policy, &workload.typical);
            }
        }
        if let Some((at, gpu)) = best(scores, policy, &mut ties) {
            let node = &mut cluster.nodes[at];
            let gpu = if policy == Policy::Random { any_gpu(node, demand, &mut ties) } else { gpu };
            node.take(demand, gpu);
            granted += demand.total_milli();
            kept.iter_mut().for_each(|scores| scores[at] = Kept::Unknown);
        }
        outcome.curve.push((asked, granted));
    }
    outcome
}

fn graded(node: &Node, demand: &Demand, policy: Policy, typical: &TypicalPods) -> Kept {
    if !node.fits(demand) {
        return Kept::Unfit;
    }
    let (score, gpu) = policy.score(node, demand, typical);
    Kept::Fit { score, gpu }
}

/// The best node. Among equally good ones the first in the drawn order of nodes, but any under `Random`.
fn best(scores: &[Kept], policy: Policy, ties: &mut Random) -> Option<(usize, Option<usize>)> {
    let (mut top, mut alike, mut chosen) = (i64::MIN, 0, None);
    for (at, kept) in scores.iter().enumerate() {
        let Kept::Fit { score, gpu } = *kept else { continue };
        alike = if score > top { 1 } else { alike + 1 };
        let mut drawn = || policy == Policy::Random && ties.below(alike) == 0;
        if score > top || score == top && drawn() {
            chosen = Some((at, gpu));
        }
        top = top.max(score);
    }
    chosen
}

fn any_gpu(node: &Node, demand: &Demand, ties: &mut Random) -> Option<usize> {
    let able = || node.gpus.iter().enumerate().filter(|&(_, &left)| left >= demand.gpu_milli);
    able().nth(ties.below(able().count())).map(|(gpu, _)| gpu)
}
