//! What is expected to come: what came, the recent more than the old, in whole numbers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Weight of one that comes now.
const ONE: u64 = 1 << 20;
/// Arrivals after which all weights decay, and the mix is read anew.
const BATCH: u64 = 512;
/// A batch ago counts this many 65,536ths of now: 2^(−1/8), a half-life of eight batches, 4,096 arrivals.
const DECAY: u64 = 60_097;

/// Weights of kinds by what arrived, and the reading of them that policies use.
///
/// A reading is taken at the first arrival, at the second, fourth and so on up to the 512th, then at every 512th:
/// what policies keep per reading (scores of nodes) stays good in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix<K: Ord> {
    weights: BTreeMap<K, u64>,
    arrived: u64,
    next: u64,
    reading: Vec<(K, u64)>,
    version: u64,
}

impl<K: Ord> Default for Mix<K> {
    fn default() -> Self {
        Self { weights: BTreeMap::new(), arrived: 0, next: 1, reading: Vec::new(), version: 0 }
    }
}

impl<K: Ord + Clone> Mix<K> {
    /// Counts one arrival; whether a new reading was taken.
    pub fn arrive(&mut self, kind: K) -> bool {
        let weight = self.weights.entry(kind).or_default();
        *weight = weight.saturating_add(ONE);
        self.arrived = self.arrived.saturating_add(1);
        if self.arrived < self.next {
            return false;
        }
        if self.arrived < BATCH {
            self.next = self.arrived.saturating_mul(2);
        } else {
            self.next = self.arrived.saturating_add(BATCH);
            // No weight passes ONE · BATCH / (1 − DECAY / 2^16), which is below 2^34.
            self.weights.retain(|_, weight| {
                *weight = (*weight * DECAY) >> 16;
                *weight > 0
            });
        }
        self.reading = self.weights.iter().map(|(kind, weight)| (kind.clone(), *weight)).collect();
        self.version = self.version.saturating_add(1);
        true
    }

    /// The last reading: kinds ascending, with positive weights in an arbitrary unit; empty before the first arrival.
    #[must_use]
    pub fn reading(&self) -> &[(K, u64)] {
        &self.reading
    }

    /// Counts readings; two equal numbers of one mix are one reading.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_counts_more_and_the_old_is_forgotten() {
        let mut mix = Mix::default();
        for kind in ["old", "new"] {
            for _ in 0..4096 {
                mix.arrive(kind);
            }
        }
        let weights: BTreeMap<&str, u64> = mix.reading().iter().copied().collect();
        let ratio = weights["new"] * 100 / weights["old"];
        assert!((190..=210).contains(&ratio), "a half-life apart: {ratio} %");
        for _ in 0..400_000 {
            mix.arrive("new");
        }
        assert_eq!(mix.reading().len(), 1);
    }

    #[test]
    fn readings_are_taken_often_at_first() {
        let mut mix = Mix::default();
        let taken: Vec<u32> = (1..=2000).filter(|_| mix.arrive(())).collect();
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536]);
        assert_eq!(mix.version(), 12);
    }
}
