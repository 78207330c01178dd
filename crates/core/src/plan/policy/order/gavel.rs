//! Gavel's heterogeneity-aware max-min fairness (Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep
//! Learning Workloads", OSDI'20), preemptive: whoever has got on least for its time in the pool, measured in its own speed, is next.
//!
//! `r = done / (elapsed × mean)`: work done over what it would have done in the time since its submission with equal time on each
//! model of its [`Speed`](crate::model::Speed) profile; their "normalised effective throughput". `level` rises by one with each
//! doubling of r from a thousandth on. A running gang keeps its place for [`Ranking::lease`] (theirs: rounds of six minutes), and
//! everybody is looked at at the start of each [`Ranking::round`]. Where it has a choice a gang starts on the
//! model that is fastest for it ([`Solver::attempt`](crate::plan::solve::Solver::attempt)).
//!
//! Gangs take turns, so one that does not save its work is not evicted.
//!
//! Ours has no linear program: they compute the best matrix of time fractions, gang by model, and follow it with such
//! priorities; we follow the priorities alone. So a gang takes the fastest model that is free, also where another would
//! gain more from it.
//!
//! Where not to use it: on one sort of device (then it is least attained service per time, with a round's delay), and
//! without profiles.

use super::{Facts, Rank, Standing};
use crate::snapshot::Ranking;

/// Who got on least first.
pub fn rank(facts: &Facts) -> Rank {
    let elapsed = u128::from(facts.now.since(facts.queued).0.max(1));
    let ideal = elapsed * u128::from(facts.mean_speed.max(1));
    let millionths = u128::from(facts.done.0) * 1000 * 1_000_000 / ideal;
    let key = u64::try_from(millionths).unwrap_or(u64::MAX);
    Rank { level: (key / 1000).checked_ilog2().map_or(0, |level| level + 1), key }
}

/// Until the next round.
pub fn standing(facts: &Facts, ranking: &Ranking) -> Standing {
    Standing { bound: rank(facts).level, until: super::round_end(facts, ranking) }
}
