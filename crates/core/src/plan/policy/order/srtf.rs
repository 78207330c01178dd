//! Shortest remaining time first, preemptive: the textbook policy, here as a yardstick.
//!
//! `level = rest` in seconds, `key = rest` in milliseconds, `rest = predicted − done`, zero for who runs longer than
//! predicted. A waiting gang evicts any that has [`Ranking::gap`] seconds more left than it needs itself.
//!
//! Where not to use it: outside comparisons. Every eviction costs a save and a restart, and a second's difference is
//! enough for one; with a prediction that is the same for all, whoever has just started is evicted for
//! nobody's gain. [`super::srsf`] has guards.

use super::{Facts, Rank, Standing};
use crate::snapshot::Ranking;
use crate::units::Millis;

/// Less rest first.
pub fn rank(facts: &Facts) -> Rank {
    let rest = facts.rest();
    Rank { level: u32::try_from(rest.0.div_ceil(1000)).unwrap_or(u32::MAX), key: rest.0 }
}

/// The next power of two above the rest, until the rest falls to half of it: a bound that changes rarely.
pub fn standing(facts: &Facts, _ranking: &Ranking) -> Standing {
    let level = rank(facts).level;
    let bound = level.checked_next_power_of_two().unwrap_or(u32::MAX);
    let lower = if bound == u32::MAX { 1 << 31 } else { bound / 2 };
    if level == 0 {
        return Standing::for_ever(0);
    }
    let span = facts.rest().minus(Millis::from_secs(u64::from(lower)));
    Standing { bound, until: facts.now.after(span) }
}
