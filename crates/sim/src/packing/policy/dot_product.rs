//! Dot product (Grandl et al., "Multi-Resource Packing for Cluster Schedulers", SIGCOMM 2014).
//!
//! 100 · (1 − ½ (cpu·cpu' + gpu·gpu')), what is left times what is asked for, each divided by the largest node's, all
//! GPUs of a node as one amount: the *smaller* product wins, as in the published comparison.

use super::{Demand, MAX_CPU_MILLI, MAX_GPU_MILLI, MAX_SCORE, Node};

pub(super) fn score(node: &Node, demand: &Demand) -> (i64, Option<usize>) {
    let cpu = part(node.cpu_milli, MAX_CPU_MILLI) * part(demand.cpu_milli, MAX_CPU_MILLI);
    let asked = part(demand.total_milli(), MAX_GPU_MILLI);
    let graded =
        |left: u64| ((1.0 - 0.5 * (cpu + part(left, MAX_GPU_MILLI) * asked)) * MAX_SCORE as f64) as i64;
    (graded(node.idle_milli()), node.tightest(demand))
}

fn part(amount: u64, largest: u64) -> f64 {
    amount as f64 / largest as f64
}
