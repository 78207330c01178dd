//! GPU packing (Weng et al., "MLaaS in the Wild", NSDI 2022): shared GPUs first, then free GPUs of used nodes, idle
//! nodes last.

use super::super::cluster::WHOLE;
use super::{Demand, MAX_SCORE, Node};

pub(super) fn score(node: &Node, demand: &Demand) -> i64 {
    if demand.gpus == 0 {
        return 0;
    }
    let free = i64::try_from(node.free_gpus()).unwrap_or(i64::MAX);
    if node.free_gpus() == node.gpus.len() {
        return (MAX_SCORE / 3 - free).max(free);
    }
    let mut able: Vec<u32> = node.gpus.iter().copied().filter(|&left| left >= demand.gpu_milli).collect();
    able.sort_unstable();
    able.truncate(demand.gpus as usize);
    let broken = able.iter().filter(|&&left| left == WHOLE).count();
    if broken > 0 {
        return (MAX_SCORE / 2 - i64::try_from(broken).unwrap_or(i64::MAX)).max(MAX_SCORE / 3);
    }
    let left: i64 = able.iter().map(|&left| i64::from(left) * 100 / i64::from(WHOLE)).sum();
    (MAX_SCORE - left / 10).max(MAX_SCORE / 2)
}
