//! Smallest first: the fewest devices first, place in line among equals. Not preemptive, asks for no prediction.
//!
//! `key = devices` of the smallest start of the gang, in thousandths. A baseline: device count alone carries much of what
//! [`super::qssf`] gains where run time and size go together.
//!
//! Where not to use it: where large gangs matter; they wait for a gap in the stream of small ones.

use super::{Facts, Rank};

/// Fewer devices first.
pub const fn rank(facts: &Facts) -> Rank {
    Rank { level: 0, key: facts.asked }
}
