//! Tiresias' discretised two-dimensional least attained service (Gu et al., "Tiresias: A GPU Cluster Manager for
//! Distributed Deep Learning", NSDI'19), preemptive. Asks for no prediction.
//!
//! Two queues, split where devices × time attained reaches [`Ranking::tiresias_threshold`] (18,000 device-seconds, as in their
//! simulator's defaults and in Helios'); place in line inside each. Ours has no promotion after starvation (their `PROMOTEKNOB`), reacts
//! to the moment at which a gang crosses instead of a round every minute, and evicts only when the newcomer is placed.
//!
//! Where not to use it: where run times span many orders of magnitude; [`super::las`] has a level for each.

use super::{Facts, Rank, Standing};
use crate::snapshot::Ranking;
use crate::units::Millis;

const fn threshold(ranking: &Ranking) -> u64 {
    ranking.tiresias_threshold.saturating_mul(super::DEVICE_SECOND)
}

/// The first queue, or the second.
pub fn rank(facts: &Facts, ranking: &Ranking) -> Rank {
    Rank { level: u32::from(facts.service >= threshold(ranking)), key: 0 }
}

/// Until it crosses.
pub fn standing(facts: &Facts, rate: u64, ranking: &Ranking) -> Standing {
    let left = threshold(ranking).saturating_sub(facts.service);
    match left.checked_add(rate.saturating_sub(1)).and_then(|left| left.checked_div(rate)) {
        Some(span) if left > 0 => Standing { bound: 0, until: facts.now.after(Millis(span)) },
        _ => Standing::for_ever(rank(facts, ranking).level),
    }
}
