//! The published policies in their published arithmetic, one a file. Each scores a node that passed every hard constraint;
//! higher is better.
//!
//! Apart from the planner's policies of the same names, and only here, because the published figures hang on what a
//! pool has no use for: FGD is told the whole workload beforehand, GpuClustering tells residents apart by how many
//! GPUs they hold, scores are floating-point numbers rounded down. Where both can be told the same they decide the same:
//! `tests/packing.rs` compares them pod by pod.

mod best_fit;
mod dot_product;
mod fgd;
mod gpu_clustering;
mod gpu_packing;

use super::cluster::{Demand, Node};
use super::fragment::TypicalPods;

/// A policy of the published comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Any node that fits, any GPU of it that suffices.
    Random,
    /// Alignment of demand and what is left (Grandl et al., SIGCOMM 2014), smaller first.
    DotProduct,
    /// Nodes that have pods of the same number of GPUs (Xiao et al., OSDI 2018).
    GpuClustering,
    /// Shared GPUs, then free GPUs of used nodes, then idle nodes (Weng et al., NSDI 2022).
    GpuPacking,
    /// The least left over, CPU and GPU alike.
    BestFit,
    /// The steepest descent of fragmentation (Weng et al., ATC 2023).
    Fgd,
}

impl Policy {
    /// The published policies, in the order of their table.
    pub const PUBLISHED: [Self; 6] =
        [Self::Random, Self::DotProduct, Self::GpuClustering, Self::GpuPacking, Self::BestFit, Self::Fgd];

    /// Its name, as in the published table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "01-Random",
            Self::DotProduct => "02-DotProd",
            Self::GpuClustering => "03-GpuClustering",
            Self::GpuPacking => "04-GpuPacking",
            Self::BestFit => "05-BestFit",
            Self::Fgd => "06-FGD",
        }
    }

    /// Score of a node that fits, and the GPU for a shared demand where the policy has a view on it.
    pub(super) fn score(self, node: &Node, demand: &Demand, typical: &TypicalPods) -> (i64, Option<usize>) {
        match self {
            Self::Random => (0, None),
            Self::DotProduct => dot_product::score(node, demand),
            Self::GpuClustering => (gpu_clustering::score(node, demand), node.tightest(demand)),
            Self::GpuPacking => (gpu_packing::score(node, demand), node.tightest(demand)),
            Self::BestFit => (best_fit::score(node, demand), node.tightest(demand)),
            Self::Fgd => fgd::score(node, demand, typical),
        }
    }
}

/// The largest score of a node.
const MAX_SCORE: i64 = 100;
/// CPU of the largest node of the trace, in thousandths of a core.
const MAX_CPU_MILLI: u64 = 128_000;
/// GPUs of the largest node of the trace, in thousandths.
const MAX_GPU_MILLI: u64 = 8000;

/// The best score of all GPUs that a share could go to, and the first GPU that has it. For whole GPUs there is no choice.
fn best_gpu(node: &Node, demand: &Demand, graded: impl Fn(Option<usize>) -> i64) -> (i64, Option<usize>) {
    if !demand.is_shared() {
        return (graded(None), None);
    }
    let mut best: Option<(i64, usize)> = None;
    for (gpu, left) in node.gpus.iter().enumerate().filter(|&(_, &left)| left >= demand.gpu_milli) {
        // GPUs with the same amount left are alike: only the first can be the first best.
        if node.gpus[..gpu].contains(left) {
            continue;
        }
        let score = graded(Some(gpu));
        if best.is_none_or(|(top, _)| score > top) {
            best = Some((score, gpu));
        }
    }
    best.map_or((0, None), |(score, gpu)| (score, Some(gpu)))
}
