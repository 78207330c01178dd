//! What a policy knows of the pods to come.

use super::cluster::Demand;
use super::fragment::TypicalPods;
use super::policy::Policy;
use pond_core::mix::Mix;
use pond_core::plan::GapWorth;

/// What is expected to come, and what gaps are worth then.
pub(super) struct Expected {
    /// The usual shapes.
    pub(super) typical: TypicalPods,
    /// What gaps on GPUs are worth.
    pub(super) gaps: GapWorth,
    learned: Option<Mix<Demand>>,
}

impl Expected {
    /// Before the first pod. Published policies are given the typical pods of the whole workload; ours nothing.
    pub(super) fn at_first(policy: Policy, given: &TypicalPods) -> Self {
        if policy == Policy::Gaps {
            let nothing = TypicalPods::of(std::iter::empty());
            return Self { typical: nothing, gaps: GapWorth::default(), learned: Some(Mix::default()) };
        }
        Self { typical: given.clone(), gaps: GapWorth::default(), learned: None }
    }

    /// Learns from a pod that came, whether or not it will find a place; true when scores have changed.
    pub(super) fn arrive(&mut self, demand: &Demand) -> bool {
        let Some(mix) = &mut self.learned else { return false };
        if !mix.arrive(*demand) {
            return false;
        }
        self.typical =
            TypicalPods::of(mix.reading().iter().map(|(demand, weight)| (*demand, &[][..], *weight)));
        let shared = mix.reading().iter().filter(|(demand, _)| demand.is_shared());
        self.gaps =
            GapWorth::of(&shared.map(|(demand, weight)| (demand.gpu_milli, *weight)).collect::<Vec<_>>());
        true
    }
}
