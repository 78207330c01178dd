//! Shortest job first: by the predicted run, whatever the number of devices. Not preemptive.
//!
//! `key = predicted`, in milliseconds. Optimal for the mean wait on one server when predictions are right (Smith, 1956); on a
//! pool it ignores that a long gang on one device may block less than a short one on a hundred: see [`super::qssf`].
//!
//! Where not to use it: without predictions (time limits stand in for them, and users round those up), or where long work
//! may not starve under an endless stream of short work.

use super::{Facts, Rank};

/// Shorter first.
pub const fn rank(facts: &Facts) -> Rank {
    Rank { level: 0, key: facts.predicted.0 }
}
