//! What nodes have left, and what a pod asks of them.

use crate::trace::openb::{OpenbNode, OpenbPod};
use std::collections::BTreeMap;

/// Thousandths of a whole GPU.
pub const WHOLE: u32 = 1000;

/// Which models a pod accepts: bit n stands for model n of the cluster.
pub type ModelSet = u64;

/// What one pod asks. Pods that ask the same are one demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Thousandths of each.
    pub gpu_milli: u32,
    /// Models it accepts.
    pub models: ModelSet,
}

impl Demand {
    /// Whether it asks for a part of one GPU.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.gpus == 1 && self.gpu_milli < WHOLE
    }
    /// Thousandths of a GPU, all together.
    #[must_use]
    pub const fn total_milli(&self) -> u64 {
        self.gpus as u64 * self.gpu_milli as u64
    }
}

/// What one node has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Thousandths left on each GPU.
    pub gpus: Vec<u32>,
    /// Its model, as a set of one.
    pub model: ModelSet,
    /// Pods here by the GPUs they asked for; 0 stands for a part of one.
    pub residents: BTreeMap<u32, u32>,
}

impl Node {
    /// Thousandths left on all its GPUs.
    #[must_use]
    pub fn idle_milli(&self) -> u64 {
        self.gpus.iter().map(|&left| u64::from(left)).sum()
    }

    /// GPUs nobody uses.
    #[must_use]
    pub fn free_gpus(&self) -> usize {
        self.gpus.iter().filter(|&&left| left == WHOLE).count()
    }

    /// Whether the demand's CPU and GPUs fit, its models aside and memory aside.
    #[must_use]
    pub fn has_room(&self, demand: &Demand) -> bool {
        let able = || self.gpus.iter().filter(|&&left| left >= demand.gpu_milli).count();
        self.cpu_milli >= demand.cpu_milli && (demand.gpus == 0 || able() >= demand.gpus as usize)
    }

    /// Whether every hard constraint holds.
    #[must_use]
    pub fn fits(&self, demand: &Demand) -> bool {
        self.memory_mib >= demand.memory_mib
            && (demand.gpus == 0 || self.model & demand.models != 0)
            && self.has_room(demand)
    }

    /// The shared GPU with the least left that suffices, lowest first.
    #[must_use]
    pub fn tightest(&self, demand: &Demand) -> Option<usize> {
        let able = self.gpus.iter().enumerate().filter(|&(_, &left)| left >= demand.gpu_milli);
        able.min_by_key(|&(gpu, &left)| (left, gpu)).map(|(gpu, _)| gpu)
    }

    /// Takes the demand: a shared one on GPU `at`, whole ones on the first free GPUs.
    pub fn take(&mut self, demand: &Demand, at: Option<usize>) {
        self.cpu_milli -= demand.cpu_milli;
        self.memory_mib -= demand.memory_mib;
        if demand.gpus == 0 {
            return;
        }
        *self.residents.entry(if demand.is_shared() { 0 } else { demand.gpus }).or_default() += 1;
        match at {
            Some(gpu) if demand.is_shared() => self.gpus[gpu] -= demand.gpu_milli,
            _ => {
                let able = self.gpus.iter_mut().filter(|left| **left >= demand.gpu_milli);
                able.take(demand.gpus as usize).for_each(|left| *left -= demand.gpu_milli);
            }
        }
    }
}

/// All nodes, and the names of their models.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The nodes, in the order given.
    pub nodes: Vec<Node>,
    models: BTreeMap<String, ModelSet>,
}

impl Cluster {
    /// The empty cluster. At most 63 models are told apart; more are accepted by pods that accept any.
    #[must_use]
    pub fn new(nodes: &[OpenbNode]) -> Self {
        let mut models = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.gpus > 0) {
            let next =
                1_u64.checked_shl(u32::try_from(models.len()).unwrap_or(63).min(63)).unwrap_or_default();
            models.entry(node.model.clone()).or_insert(next);
        }
        let nodes = nodes.iter().map(|node| Node {
            cpu_milli: node.cpu_milli,
            memory_mib: node.memory_mib,
            gpus: vec![WHOLE; node.gpus as usize],
            model: models.get(&node.model).copied().unwrap_or_default(),
            residents: BTreeMap::new(),
        });
        Self { nodes: nodes.collect(), models }
    }

    /// Thousandths of all GPUs.
    #[must_use]
    pub fn capacity_milli(&self) -> u64 {
        self.nodes.iter().map(|node| node.gpus.len() as u64 * u64::from(WHOLE)).sum()
    }

    /// What a pod asks of this cluster.
    #[must_use]
    pub fn demand(&self, pod: &OpenbPod) -> Demand {
        let known = pod.models.iter().filter_map(|model| self.models.get(model));
        Demand {
            cpu_milli: pod.cpu_milli,
            memory_mib: pod.memory_mib,
            gpus: pod.gpus,
            gpu_milli: pod.gpu_milli,
            models: if pod.models.is_empty() { ModelSet::MAX } else { known.fold(0, |set, bit| set | bit) },
        }
    }
}
