//! Goodput, for pools of elastic gangs: after Pollux (Qiao et al., OSDI'21) and Sia (Jayaram Subramanya et al., SOSP'23). Starts
//! are not preemptive; ranks move.
//!
//! Both maximise a sum over jobs of a function of their speedup (Pollux the power mean of exponent −1, Sia of −½), by a genetic
//! search and by an integer program, once a round of 60 s. Ours climbs: it maximises the sum of the logarithms of speeds (the
//! exponent 0), one rank at a time, by marginal gain per device, and every gang's first start is worth more than anybody's
//! extra rank. So the fewest devices start first, and [`elastic`](crate::plan::elastic) hands out what is left, takes it back, and
//! moves ranks from who loses least to who gains most.
//!
//! `key = devices` of the smallest start. Speeds come from [`Speed`](crate::model::Speed); theirs also model how batch size changes
//! statistical efficiency, which must be in the measured speeds here.
//!
//! Where not to use it: with rigid gangs, where it is smallest first.

use super::{Facts, Rank};

/// Fewer devices first.
pub const fn rank(facts: &Facts) -> Rank {
    Rank { level: 0, key: facts.asked }
}
