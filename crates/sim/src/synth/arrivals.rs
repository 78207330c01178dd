//! When sessions start: an inhomogeneous Poisson process, hour by hour, in whole numbers.

use super::model::Arrivals;
use super::quantiles::{RANKS, chance, rank};
use crate::random::Random;

const HOUR_MS: u64 = 3_600_000;

/// An exponential variate of mean 1 in units of 2^-32, by comparisons of uniforms alone (von Neumann, "Various techniques
/// used in connection with random digits", 1951): the same on every machine, no logarithm.
fn exponential(random: &mut Random) -> u64 {
    let mut whole = 0_u64;
    loop {
        let first = rank(random);
        let mut last = first;
        let mut run = 1_u32;
        loop {
            let next = rank(random);
            if next > last {
                break;
            }
            last = next;
            run += 1;
        }
        if run % 2 == 1 {
            return whole.saturating_mul(RANKS).saturating_add(first);
        }
        whole += 1;
    }
}

/// Moments at which sessions start, ascending without end.
pub(super) struct Starts<'a> {
    model: &'a Arrivals,
    random: Random,
    levels: Random,
    /// What the rates are multiplied with, in millionths.
    load: u64,
    /// The hour now, from the workload's zero.
    hour: u64,
    /// The hour of the week at the workload's zero.
    offset: u64,
    level_rank: u64,
    /// Where in the hour, and the rate: sessions in the hour in units of 2^-32.
    at_ms: u64,
    rate: u64,
}

impl<'a> Starts<'a> {
    pub fn new(model: &'a Arrivals, load: u64, offset: u64, seed: u64) -> Self {
        let mut levels = Random::new(seed, "levels");
        let level_rank = rank(&mut levels);
        let mut starts = Self {
            model,
            random: Random::new(seed, "starts"),
            levels,
            load,
            hour: 0,
            offset,
            level_rank,
            at_ms: 0,
            rate: 0,
        };
        starts.enter();
        starts
    }

    fn enter(&mut self) {
        let of_week = usize::try_from((self.offset + self.hour) % 168).unwrap_or(0);
        let usual = self.model.per_hour.get(of_week).copied().unwrap_or(0);
        let level = if self.model.level.is_empty() { 1000 } else { self.model.level.at(self.level_rank) };
        // Millionths of an hour's sessions × thousandths × millionths.
        let wide = u128::from(usual) * u128::from(level) * u128::from(self.load) * u128::from(RANKS);
        self.rate = u64::try_from(wide / 1_000_000_000_000_000).unwrap_or(u64::MAX);
    }

    fn next_hour(&mut self) {
        self.hour += 1;
        self.at_ms = 0;
        if !chance(&mut self.levels, self.model.same_level) {
            self.level_rank = rank(&mut self.levels);
        }
        self.enter();
    }

    /// The next start before `end_ms`.
    pub fn next(&mut self, end_ms: u64) -> Option<u64> {
        let mut left = exponential(&mut self.random);
        loop {
            let start = self.hour * HOUR_MS;
            if start >= end_ms {
                return None;
            }
            let rest_ms = HOUR_MS - self.at_ms;
            let rest = u128::from(self.rate) * u128::from(rest_ms) / u128::from(HOUR_MS);
            if self.rate > 0 && u128::from(left) < rest {
                let step = u128::from(left) * u128::from(HOUR_MS) / u128::from(self.rate);
                self.at_ms += u64::try_from(step).unwrap_or(rest_ms);
                let at = start + self.at_ms;
                return (at < end_ms).then_some(at);
            }
            left -= u64::try_from(rest).unwrap_or(left).min(left);
            self.next_hour();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_has_mean_and_median_of_one_and_ln_two() {
        let mut random = Random::new(3, "exponential");
        let mut sample: Vec<f64> =
            (0..40_000).map(|_| exponential(&mut random) as f64 / RANKS as f64).collect();
        sample.sort_by(f64::total_cmp);
        let mean = sample.iter().sum::<f64>() / sample.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((sample[20_000] - std::f64::consts::LN_2).abs() < 0.02, "{}", sample[20_000]);
    }
}
