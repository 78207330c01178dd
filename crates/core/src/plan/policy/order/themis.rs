//! Themis (Mahajan et al., "Themis: Fair and Efficient GPU Cluster Scheduling", NSDI'20): finish-time fairness, preemptive.
//!
//! `ρ = (waited + ran + rest) / predicted`: how many times longer a gang takes, from submission to its end, than it would with a
//! place of its own from the start. The largest ρ goes first; `level` falls by one each time ρ doubles. A running gang keeps its
//! place for [`Ranking::lease`] (theirs: 20 minutes), and while it runs its ρ stays, so nobody is evicted for one that was treated
//! as badly. ρ is taken at the start of each [`Ranking::round`].
//!
//! Ours differs: they compare with a share of 1/N of the cluster and divide it among an app's trials by auction; here a gang is
//! rigid and alone, and N, the same for all, is left out. Without their filter of the worst-off, who is next is the worst-off.
//!
//! No livelock: ρ never falls, and of two gangs the one that evicts has twice the ρ of the other; each exchange takes a
//! doubling of ρ, that is of the time since submission.
//!
//! Where not to use it: for the mean completion time; and without predictions, where all that is left of it is waiting.

use super::{Facts, Rank, Standing};
use crate::snapshot::Ranking;

/// The level of a gang that was not held up at all.
const TOP: u32 = 63;

/// How long it takes alone, and from its submission to its end, in milliseconds.
fn times(facts: &Facts) -> (u64, u64) {
    let alone = facts.predicted.0.max(1);
    (alone, facts.now.since(facts.queued).plus(facts.rest()).0.max(alone))
}

/// Who was held up longest, for its length, first.
pub fn rank(facts: &Facts) -> Rank {
    let (alone, takes) = times(facts);
    let millionths = u128::from(takes) * 1_000_000 / u128::from(alone);
    let key = u64::MAX - u64::try_from(millionths).unwrap_or(u64::MAX);
    Rank { level: TOP - (takes / alone).ilog2(), key }
}

/// Until the next round.
pub fn standing(facts: &Facts, ranking: &Ranking) -> Standing {
    Standing { bound: rank(facts).level, until: super::round_end(facts, ranking) }
}
