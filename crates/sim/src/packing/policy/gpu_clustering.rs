//! GPU clustering (Xiao et al., "Gandiva", OSDI 2018): pods of one size together.
//!
//! Four bands of 25: only the same size here; the same among others; an idle node; only others. Inside a band
//! fuller is better.

use super::{Demand, MAX_GPU_MILLI, MAX_SCORE, Node};

pub(super) fn score(node: &Node, demand: &Demand) -> i64 {
    if demand.gpus == 0 {
        return 0;
    }
    let size = if demand.is_shared() { 0 } else { demand.gpus };
    let band = match (node.residents.contains_key(&size), node.residents.len()) {
        (true, 1) => 3,
        (true, _) => 2,
        (false, 0) => 1,
        (false, _) => 0,
    };
    let granted = i64::try_from(MAX_GPU_MILLI.saturating_sub(node.idle_milli())).unwrap_or_default();
    let largest = i64::try_from(MAX_GPU_MILLI).unwrap_or(i64::MAX);
    MAX_SCORE / 4 * granted / largest + MAX_SCORE * band / 4
}
