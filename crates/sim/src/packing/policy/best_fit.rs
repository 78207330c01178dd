//! Best fit: 100 · (1 − ½ (cpu left over / largest) − ½ (GPU left over / largest)), rounded down.
//!
//! Where not to use it: it counts idle thousandths without asking whether anybody can use them.

use super::{Demand, MAX_CPU_MILLI, MAX_GPU_MILLI, MAX_SCORE, Node};

pub(super) fn score(node: &Node, demand: &Demand) -> i64 {
    let cpu = node.cpu_milli.saturating_sub(demand.cpu_milli) as f64 / MAX_CPU_MILLI as f64;
    let gpu = node.idle_milli().saturating_sub(demand.total_milli()) as f64 / MAX_GPU_MILLI as f64;
    ((1.0 - 0.5 * cpu - 0.5 * gpu) * MAX_SCORE as f64) as i64
}
