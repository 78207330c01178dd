//! Bucketed least attained service, preemptive: who has had little so far goes before who has had much. Asks for no prediction.
//!
//! `level = ⌊log_base(attained)⌋`, attained in device-seconds ([`Attained::service`](crate::snapshot::Attained)); place in line inside a
//! level. After the multi-level feedback queues of operating systems, and Tiresias (Gu et al., NSDI'19), which has two
//! queues where this has one for each power of [`Ranking::base`] (4). Who runs is evicted only for a lower level, so inside
//! a level it stays; and only when the newcomer is really placed by it.
//!
//! No livelock: at level 0 nobody is evicted. A gang waits at level `l` again only when it was evicted there, by a start at a
//! lower level; so starts at each level are bounded by those below times the gangs that fit into one place.
//!
//! Where not to use it: where the large gangs are the long ones and evictions are dear.

use super::{Facts, Rank, Standing, floor, level};
use crate::snapshot::Ranking;
use crate::units::Millis;

/// Less attained first.
pub fn rank(facts: &Facts, ranking: &Ranking) -> Rank {
    Rank { level: level(facts.service, ranking.base), key: 0 }
}

/// Until what it has attained reaches the next level.
pub fn standing(facts: &Facts, rate: u64, ranking: &Ranking) -> Standing {
    let bound = rank(facts, ranking).level;
    let next = floor(bound.saturating_add(1), ranking.base);
    match next
        .saturating_sub(facts.service)
        .checked_add(rate.saturating_sub(1))
        .and_then(|left| left.checked_div(rate))
    {
        Some(span) if next != u64::MAX => Standing { bound, until: facts.now.after(Millis(span)) },
        _ => Standing::for_ever(bound),
    }
}
