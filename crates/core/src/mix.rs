//! What is expected to come: what came, the recent more than the old, in whole numbers.

use serde::{Deserialize, Serialize};

/// Weight of one that comes now.
const ONE: u64 = 1 << 20;
/// Arrivals after which all weights decay, and the mix is read anew.
const BATCH: u64 = 512;
/// A batch ago counts this many 65,536ths of now: 2^(−1/8), a half-life of eight batches, 4,096 arrivals.
const DECAY: u64 = 60_097;
/// Kinds with less weight are forgotten: one that came once, seven half-lives ago.
const FORGOTTEN: u64 = ONE >> 7;

/// Weights of kinds by what arrived, and the reading of them that policies use.
///
/// A reading is taken at the first arrival, at the second, fourth and so on up to the 512th, then at every 512th:
/// what policies keep per reading (scores of nodes) stays good in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix<K> {
    /// By kind, ascending.
    weights: Vec<(K, u64)>,
    arrived: u64,
    next: u64,
    reading: Vec<(K, u64)>,
    version: u64,
}

impl<K> Default for Mix<K> {
    fn default() -> Self {
        Self { weights: Vec::new(), arrived: 0, next: 1, reading: Vec::new(), version: 0 }
    }
}

impl<K: Ord + Clone> Mix<K> {
    /// Counts so many arrivals of a kind, at most a batch of them; whether a new reading was taken.
    pub fn arrive(&mut self, kind: &K, count: u32) -> bool {
        let count = u64::from(count).min(BATCH);
        match self.weights.binary_search_by(|(known, _)| known.cmp(kind)) {
            Ok(at) => self.weights[at].1 += ONE * count,
            Err(at) => self.weights.insert(at, (kind.clone(), ONE * count)),
        }
        self.arrived = self.arrived.saturating_add(count);
        if self.arrived < self.next {
            return false;
        }
        if self.arrived < BATCH {
            self.next = self.arrived.saturating_mul(2);
        } else {
            self.next = self.arrived.saturating_add(BATCH);
            // At most two batches come between decays, so all weights together stay below 2 · ONE · BATCH / (1 − DECAY / 2^16), 2^35.
            self.weights.retain_mut(|(_, weight)| {
                *weight = (*weight * DECAY) >> 16;
                *weight > FORGOTTEN
            });
        }
        self.reading.clone_from(&self.weights);
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
    use std::collections::BTreeMap;

    #[test]
    fn the_recent_counts_more_and_the_old_is_forgotten() {
        let mut mix = Mix::default();
        for kind in ["old", "new"] {
            for _ in 0..4096 {
                mix.arrive(&kind, 1);
            }
        }
        let weights: BTreeMap<&str, u64> = mix.reading().iter().copied().collect();
        let ratio = weights["new"] * 100 / weights["old"];
        assert!((190..=210).contains(&ratio), "a half-life apart: {ratio} %");
        for _ in 0..400_000 {
            mix.arrive(&"new", 1);
        }
        assert_eq!(mix.reading().len(), 1);
    }

    #[test]
    fn readings_are_taken_often_at_first() {
        let mut mix = Mix::default();
        let taken: Vec<u32> = (1..=2000).filter(|_| mix.arrive(&(), 1)).collect();
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536]);
        assert_eq!(mix.version(), 12);
    }
}
