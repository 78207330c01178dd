//! Fragmentation gradient descent (Weng et al., ATC 2023): 100 · sigmoid((F before − F after) / 1000), rounded down.
//!
//! For a part of a GPU each GPU that suffices is tried and the first best one taken.

use super::{Demand, MAX_SCORE, Node, TypicalPods};

pub(super) fn score(node: &Node, demand: &Demand, typical: &TypicalPods) -> (i64, Option<usize>) {
    let before = typical.fragment(node);
    let graded = |at: Option<usize>| {
        let mut after = node.clone();
        after.take(demand, at);
        let descent = (before - typical.fragment(&after)) / 1000.0;
        (MAX_SCORE as f64 / (1.0 + (-descent).exp())) as i64
    };
    if !demand.is_shared() {
        return (graded(None), None);
    }
    let mut best: Option<(i64, usize)> = None;
    for (gpu, &left) in node.gpus.iter().enumerate().filter(|&(_, &left)| left >= demand.gpu_milli) {
        // GPUs with the same amount left are alike: only the first can be the first best.
        if node.gpus[..gpu].contains(&left) {
            continue;
        }
        let score = graded(Some(gpu));
        if best.is_none_or(|(top, _)| score > top) {
            best = Some((score, gpu));
        }
    }
    best.map_or((0, None), |(score, gpu)| (score, Some(gpu)))
}
