//! How fast a job runs on other devices and with more ranks, as far as somebody measured it.

use crate::units::{Millis, scaled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Full speed, in thousandths: that of a job's smallest start on the device it was measured on.
pub const FULL: u64 = 1000;

/// A job's speed as a function of its place. All factors in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Speed {
    /// On each device model against the one it was measured on: 500 is half as fast. Names are matched as in a request for
    /// devices, as whole words; a model that no name matches: 1000. Each 0..=1,000,000.
    pub models: BTreeMap<String, u64>,
    /// With so many ranks against one, ascending by count: `(1, 1000), (2, 1900), (4, 3400)`. By straight line between two
    /// entries, constant outside. Empty: in proportion. Each 0..=1,000,000,000.
    pub ranks: Vec<(u32, u64)>,
}

impl Speed {
    /// On this device model, in thousandths.
    #[must_use]
    pub fn on(&self, model: &str) -> u64 {
        let mut named = self.models.iter();
        let found = named.find(|(name, _)| crate::plan::model_matches(Some(name.as_str()), model));
        found.map_or(FULL, |(_, speed)| *speed)
    }

    /// With so many ranks against one, in thousandths.
    #[must_use]
    pub fn with(&self, ranks: u32) -> u64 {
        let above = self.ranks.partition_point(|(count, _)| *count < ranks);
        match (above.checked_sub(1).and_then(|at| self.ranks.get(at)), self.ranks.get(above)) {
            (None, None) => u64::from(ranks).saturating_mul(FULL),
            (None, Some((_, speed))) | (Some((_, speed)), None) => *speed,
            (Some((low, from)), Some((high, to))) => {
                let (part, whole) = (u64::from(ranks - low), u64::from(high - low).max(1));
                if to >= from { from + (to - from) * part / whole } else { from - (from - to) * part / whole }
            }
        }
    }

    /// With so many ranks against its smallest start, in thousandths.
    #[must_use]
    pub fn grown(&self, least: u32, ranks: u32) -> u64 {
        if ranks == least { FULL } else { self.with(ranks).saturating_mul(FULL) / self.with(least).max(1) }
    }

    /// On the mean of the models that were measured, in thousandths; full speed when there are none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        let sum: u64 = self.models.values().fold(0, |sum, speed| sum.saturating_add(*speed));
        sum.checked_div(self.models.len() as u64).unwrap_or(FULL).max(1)
    }

    /// Of a gang with so many ranks on devices of these models, in thousandths of full speed, at least 1: the slowest device counts.
    #[must_use]
    pub fn of<'a>(
        profile: Option<&Self>,
        least: u32,
        ranks: u32,
        models: impl Iterator<Item = &'a str>,
    ) -> u64 {
        let Some(profile) = profile else { return Self::default().grown(least, ranks).max(1) };
        let slowest = models.map(|model| profile.on(model)).min().unwrap_or(FULL);
        (profile.grown(least, ranks).saturating_mul(slowest) / FULL).max(1)
    }

    /// Whether every factor is within its range and the counts of ranks ascend.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let models = self.models.values().all(|speed| *speed <= 1_000_000);
        let ranks = self.ranks.iter().all(|(_, speed)| *speed <= 1_000_000_000);
        models && ranks && self.ranks.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }
}

/// How long work takes that takes `work` at full speed.
#[must_use]
pub fn takes(work: Millis, speed: u64) -> Millis {
    Millis(scaled(work.0, FULL, speed))
}

/// Work that is done in `span`.
#[must_use]
pub fn done_in(span: Millis, speed: u64) -> Millis {
    Millis(scaled(span.0, speed, FULL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_follows_models_by_word_and_ranks_by_line() {
        let speed = Speed {
            models: BTreeMap::from([("V100".to_owned(), 1000), ("K80".to_owned(), 130)]),
            ranks: vec![(1, 1000), (2, 1900), (4, 3400)],
        };
        assert_eq!(
            (speed.on("Tesla V100-SXM2-16GB"), speed.on("Tesla K80"), speed.on("A100")),
            (1000, 130, 1000)
        );
        assert_eq!([1, 2, 3, 4, 9].map(|ranks| speed.with(ranks)), [1000, 1900, 2650, 3400, 3400]);
        assert_eq!((speed.grown(2, 2), speed.grown(2, 4)), (1000, 1789));
        assert_eq!(Speed::default().with(7), 7000);
        assert!(speed.is_sound());
        let falls = Speed { ranks: vec![(1, 1000), (3, 900)], ..Speed::default() };
        assert!(falls.is_sound() && falls.with(2) == 950);
        assert!(!Speed { ranks: vec![(2, 1000), (1, 900)], ..Speed::default() }.is_sound());
        assert_eq!((takes(Millis(100), 500), done_in(Millis(200), 500)), (Millis(200), Millis(100)));
    }
}
