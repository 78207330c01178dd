//! Fragmentation against the typical pods of a workload (ATC 2023, section 3).

use super::cluster::{Demand, ModelSet, Node};
use std::collections::BTreeMap;

/// The most frequent shapes of a workload, with weights that sum to 1.
#[derive(Clone, Debug)]
pub struct TypicalPods {
    shapes: Vec<(Demand, f64)>,
}

impl TypicalPods {
    /// Part of the pods that the typical ones cover: theirs and ours 0.95.
    pub const COVERAGE: f64 = 0.95;

    /// From pods, the names of the models they accept, and how much each counts.
    ///
    /// Counts (cpu, thousandths, GPUs, names of models), memory aside, most frequent first and of equally frequent
    /// ones the largest first, until 95 % are covered.
    #[must_use]
    pub fn of<'a>(pods: impl Iterator<Item = (Demand, &'a [String], u64)>) -> Self {
        let mut counts: BTreeMap<(u64, u32, u32, &[String], ModelSet), u64> = BTreeMap::new();
        for (pod, names, weight) in pods {
            let shape = (pod.cpu_milli, pod.gpu_milli, pod.gpus, names, pod.models);
            *counts.entry(shape).or_default() += weight;
        }
        let wanted = counts.values().sum::<u64>() as f64 * Self::COVERAGE;
        let mut ranked: Vec<_> = counts.into_iter().collect();
        ranked.sort_by_key(|&(shape, count)| std::cmp::Reverse((count, shape)));
        let (mut covered, mut shapes) = (0, Vec::new());
        for ((cpu_milli, gpu_milli, gpus, _, models), count) in ranked {
            if covered as f64 >= wanted {
                break;
            }
            covered += count;
            shapes.push((Demand { cpu_milli, memory_mib: 0, gpus, gpu_milli, models }, count as f64));
        }
        for (_, weight) in &mut shapes {
            *weight /= covered.max(1) as f64;
        }
        Self { shapes }
    }

    /// Thousandths of a GPU on this node that a typical pod, drawn by weight, could not use.
    ///
    /// F(n) = Σ p_m · F_n(m): all that is idle when m does not fit, accepts another model or asks for no GPU;
    /// otherwise what is idle on GPUs that have less than m asks of one.
    #[must_use]
    pub fn fragment(&self, node: &Node) -> f64 {
        let idle = node.idle_milli();
        let part = |demand: &Demand| {
            if demand.gpus == 0 || node.model & demand.models == 0 || !node.has_room(demand) {
                return idle;
            }
            node.gpus.iter().filter(|&&left| left < demand.gpu_milli).map(|&left| u64::from(left)).sum()
        };
        self.shapes.iter().map(|(demand, weight)| part(demand) as f64 * weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(gpus: u32, gpu_milli: u32) -> Demand {
        Demand { cpu_milli: 1000, memory_mib: 0, gpus, gpu_milli, models: ModelSet::MAX }
    }

    #[test]
    fn a_half_used_gpu_is_a_fragment_for_whole_gpu_pods_only() {
        let node = Node {
            cpu_milli: 8000,
            memory_mib: 0,
            gpus: vec![1000, 500],
            model: 1,
            residents: BTreeMap::new(),
        };
        let fragment = |gpus, gpu_milli| {
            let pods: [(Demand, &[String], u64); 1] = [(demand(gpus, gpu_milli), &[], 1)];
            TypicalPods::of(pods.into_iter()).fragment(&node).to_bits()
        };
        assert_eq!(fragment(1, 1000), 500.0_f64.to_bits());
        assert_eq!(fragment(1, 500), 0.0_f64.to_bits());
        assert_eq!(fragment(2, 1000), 1500.0_f64.to_bits());
        assert_eq!(fragment(0, 0), 1500.0_f64.to_bits());
    }
}
