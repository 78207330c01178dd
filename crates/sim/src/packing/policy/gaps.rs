//! Our own: lose no gap for which something is expected, then fragment least, then fill in order.
//!
//! First what the share's GPU loses in worth ([`GapWorth`](pond_core::plan::GapWorth)), in twentieths of a GPU; 0 for whole GPUs and pods
//! without. Then the descent of fragmentation (Weng et al., ATC 2023), in tenths of a GPU, rounded down. Both
//! are against the mix that came so far, with a half-life of 4,096 pods ([`Mix`](pond_core::mix::Mix)); nothing is known at first. The coarse steps
//! matter: what is nearly as good is alike, and of those the first in line is filled, so that the others stay whole.
//!
//! Where not to use it: where a place must be found by one number per node; it depends on the pod.

use super::{Demand, Expected, Node};

/// Thousandths of a GPU that one step of lost worth stands for.
const LOSS_STEP: u32 = 50;
/// Thousandths of a GPU that one step of descent stands for.
const DESCENT_STEP: f64 = 100.0;
/// More than there can be steps of descent.
const DESCENTS: i64 = 1000;

pub(super) fn score(node: &Node, demand: &Demand, expected: &Expected) -> (i64, Option<usize>) {
    let before = expected.typical.fragment(node);
    super::best_gpu(node, demand, |at| {
        let gap = at.map(|gpu| node.gpus[gpu]).filter(|_| demand.is_shared());
        let loss = gap.map_or(0, |gap| expected.gaps.loss(gap, demand.gpu_milli));
        let mut after = node.clone();
        after.take(demand, at);
        let descent = ((before - expected.typical.fragment(&after)) / DESCENT_STEP).floor() as i64;
        descent - DESCENTS * i64::from((loss + LOSS_STEP / 2) / LOSS_STEP)
    })
}
