//! Quasi-shortest service first (Hu et al., "Characterization and Prediction of Deep Learning Workloads in Large-Scale GPU
//! Datacenters", SC'21): the least predicted device time first. Not preemptive.
//!
//! `key = predicted × devices`, in thousandths of a device × milliseconds. Their predictor is a mean of a user's history and a
//! gradient-boosted tree; ours is whatever filled `predicted`.
//!
//! Where not to use it: as [`super::sjf`]; and where gangs of many devices must not stand behind all small ones.

use super::{Facts, Rank};

/// Less device time first.
pub const fn rank(facts: &Facts) -> Rank {
    Rank { level: 0, key: facts.predicted.0.saturating_mul(facts.asked) }
}
