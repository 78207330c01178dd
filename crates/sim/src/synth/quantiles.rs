//! A distribution as its quantiles: denser in the upper tail, straight between them, all in whole numbers.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Where the quantiles stand, in ten-thousandths: every 2 % up to 98 %, then ever closer.
const PLACES: [u32; 58] = [
    0, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000, 2200, 2400, 2600, 2800, 3000, 3200, 3400,
    3600, 3800, 4000, 4200, 4400, 4600, 4800, 5000, 5200, 5400, 5600, 5800, 6000, 6200, 6400, 6600, 6800,
    7000, 7200, 7400, 7600, 7800, 8000, 8200, 8400, 8600, 8800, 9000, 9200, 9400, 9600, 9800, 9850, 9900,
    9930, 9960, 9980, 9990, 9995, 10_000,
];

/// One past the largest rank.
pub(super) const RANKS: u64 = 1 << 32;

/// Quantiles of a sample, ascending, one for each of the fixed places; or, of a small sample, all values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(Vec<u64>);

impl Quantiles {
    /// Of a sample in any order.
    #[must_use]
    pub fn of(mut sample: Vec<u64>) -> Self {
        sample.sort_unstable();
        if sample.len() <= 1 {
            return Self(sample);
        }
        let last = sample.len() as u64 - 1;
        let at = |place: u32| {
            let place = (u64::from(place) * last + 5000) / 10_000;
            usize::try_from(place).ok().and_then(|at| sample.get(at)).copied().unwrap_or(0)
        };
        Self(PLACES.into_iter().map(at).collect())
    }

    /// The value at a rank of 0 to 2^32 - 1; 0 of an empty sample.
    #[must_use]
    pub fn at(&self, rank: u64) -> u64 {
        if self.0.len() != PLACES.len() {
            // As a file may have it: evenly spaced.
            let at = u128::from(rank) * self.0.len() as u128 / u128::from(RANKS);
            return usize::try_from(at).ok().and_then(|at| self.0.get(at)).copied().unwrap_or(0);
        }
        let scaled = rank.min(RANKS - 1) * 10_000;
        let next =
            PLACES.partition_point(|&place| u64::from(place) * RANKS <= scaled).clamp(1, PLACES.len() - 1);
        let (low, high) = (u64::from(PLACES[next - 1]) * RANKS, u64::from(PLACES[next]) * RANKS);
        let (from, to) = (self.0[next - 1], self.0[next]);
        let part = u128::from(scaled - low) * u128::from(to.saturating_sub(from)) / u128::from(high - low);
        from.saturating_add(u64::try_from(part).unwrap_or(0))
    }

    /// A value of this distribution.
    pub fn draw(&self, random: &mut Random) -> u64 {
        self.at(rank(random))
    }

    /// The mean of what is drawn, in thousandths.
    #[must_use]
    pub fn mean_milli(&self) -> u64 {
        if self.0.len() != PLACES.len() {
            let sum: u128 = self.0.iter().map(|&value| u128::from(value)).sum();
            return u64::try_from(sum * 1000 / (self.0.len() as u128).max(1)).unwrap_or(u64::MAX);
        }
        let segment = |at: usize| {
            let width = u128::from(PLACES[at + 1] - PLACES[at]);
            (u128::from(self.0[at]) + u128::from(self.0[at + 1])) * width
        };
        // Half the sum of both ends, times a width in ten-thousandths, in thousandths.
        let sum: u128 = (0..PLACES.len() - 1).map(segment).sum();
        u64::try_from(sum / 20).unwrap_or(u64::MAX)
    }

    /// The same form with another mean.
    #[must_use]
    pub(super) fn scaled_to_mean(&self, mean: u64) -> Self {
        let now = u128::from(self.mean_milli()).max(1);
        let scale = |&value: &u64| {
            u64::try_from(u128::from(value) * u128::from(mean) * 1000 / now).unwrap_or(u64::MAX)
        };
        Self(self.0.iter().map(scale).collect())
    }

    /// Whether it is of no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A rank, all as likely.
pub(super) fn rank(random: &mut Random) -> u64 {
    random.bits() >> 32
}

/// Whether something of this probability, in millionths, comes about.
pub(super) fn chance(random: &mut Random, millionths: u32) -> bool {
    random.below(1_000_000) < millionths as usize
}

/// Weights to draw from.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights(Vec<u64>);

impl Weights {
    pub fn of(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut sum = 0_u64;
        Self(
            weights
                .into_iter()
                .map(|weight| {
                    sum = sum.saturating_add(weight);
                    sum
                })
                .collect(),
        )
    }

    /// A place, as often as its weight says; 0 without weights.
    pub fn draw(&self, random: &mut Random) -> usize {
        let total = self.0.last().copied().unwrap_or(0);
        let wide = u128::from(random.bits()) * u128::from(total);
        let at = u64::try_from(wide >> 64).unwrap_or(0);
        self.0.partition_point(|&sum| sum <= at).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_sample_come_back() {
        let sample: Vec<u64> = (0..10_001).map(|at| at * at).collect();
        let quantiles = Quantiles::of(sample);
        for (rank, value) in [(0, 0), (RANKS / 2, 5000 * 5000), (RANKS - 1, 10_000 * 10_000)] {
            let found = quantiles.at(rank);
            assert!(found.abs_diff(value) <= value / 1000 + 1, "{rank}: {found}");
        }
        assert_eq!(Quantiles::of(vec![7]).at(RANKS - 1), 7);
        assert_eq!(Quantiles::default().at(5), 0);
        let mut last = 0;
        for rank in (0..RANKS).step_by(1 << 20) {
            let value = quantiles.at(rank);
            assert!(value >= last);
            last = value;
        }
    }

    #[test]
    fn weights_are_drawn_as_often_as_they_say() {
        let weights = Weights::of([1, 0, 3]);
        let mut random = Random::new(1, "weights");
        let mut seen = [0_u32; 3];
        for _ in 0..4000 {
            seen[weights.draw(&mut random)] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((900..1100).contains(&seen[0]), "{seen:?}");
    }
}
