//! Shortest remaining service first with guards, preemptive: the least predicted rest × devices first.
//!
//! `level = ⌊log_base(rest × devices)⌋` in device-seconds, `key = rest × devices`. The heuristic is that of Tiresias' SRSF (Gu et
//! al., NSDI'19), there without levels. Ours has three guards, since without them predictions that are alike make gangs take
//! turns for ever: geometric levels ([`Ranking::base`], 4); a gap ([`Ranking::gap`], 1); and an eviction only when the newcomer
//! is really placed by it.
//!
//! No livelock: while a gang waits its level stays, while it runs its level only falls, and an eviction with loss brings it
//! back to no more than where it began. So whoever was evicted for a gang never stands before that gang again.
//!
//! Where not to use it: without predictions, and where gangs do not save their work.

use super::{Facts, Rank, Standing, level};
use crate::snapshot::Ranking;
use crate::units::Millis;

/// Less rest first.
pub fn rank(facts: &Facts, ranking: &Ranking) -> Rank {
    let key = facts.rest().0.saturating_mul(facts.asked);
    Rank { level: level(key, ranking.base), key }
}

/// Until the rest falls into the level below.
pub fn standing(facts: &Facts, ranking: &Ranking) -> Standing {
    let Rank { level, key } = rank(facts, ranking);
    let floor = super::floor(level, ranking.base);
    if level == 0 || facts.asked == 0 {
        return Standing::for_ever(level);
    }
    // At the floor itself the level is still this one.
    let span = key.saturating_sub(floor) / facts.asked + 1;
    Standing { bound: level, until: facts.now.after(Millis(span)) }
}
