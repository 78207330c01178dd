//! Fragmentation gradient descent (Weng et al., ATC 2023): 100 · sigmoid((F before − F after) / 1000), rounded down.
//!
//! For a part of a GPU each GPU that suffices is tried and the first best one taken.

use super::{Demand, MAX_SCORE, Node, TypicalPods};

pub(super) fn score(node: &Node, demand: &Demand, typical: &TypicalPods) -> (i64, Option<usize>) {
    let before = typical.fragment(node);
    super::best_gpu(node, demand, |at| {
        let mut after = node.clone();
        after.take(demand, at);
        let descent = (before - typical.fragment(&after)) / 1000.0;
        (MAX_SCORE as f64 / (1.0 + (-descent).exp())) as i64
    })
}
