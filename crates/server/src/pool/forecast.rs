//! How well predicted starts hold: what was foretold when a gang began to wait, against when it got its place.
//!
//! A sample, so that foretelling costs little: at most one gang a second, none in a pool where an explanation is dear. Every forecast
//! and its outcome are lines of the event log too.

use super::outcomes::Outcomes;
use crate::api::types::ForecastView;
use pond_core::engine::{Engine, Phase};
use pond_core::ids::GangId;
use pond_core::plan::Planner;
use pond_core::units::{Millis, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// The shortest time between two forecasts.
const PACE: Millis = Millis(1000);
/// Gangs in a pool beyond which none is made: an explanation plans the line ahead anew.
const MOST_GANGS: usize = 5000;
/// Gangs that wait for a forecast, and gangs that have one, at most.
const KEPT: usize = 512;
/// Outcomes needed before a band is told.
const ENOUGH: usize = 10;

/// Forecasts that are open, and how the last ones came out.
#[derive(Debug, Default)]
pub struct Forecasts {
    fresh: VecDeque<GangId>,
    open: BTreeMap<GangId, Timestamp>,
    /// By how much each came later than foretold, in milliseconds, oldest first.
    errors: VecDeque<i64>,
    made: u64,
    last: Timestamp,
}

impl Forecasts {
    /// A gang begins to wait for a place.
    pub fn waits(&mut self, gang: GangId) {
        if self.fresh.len() == KEPT {
            self.fresh.pop_front();
        }
        self.fresh.push_back(gang);
    }

    /// A gang got its place. Gives by how much later than foretold that is, when it was foretold.
    pub fn starts(&mut self, gang: GangId, at: Timestamp) -> Option<i64> {
        let foretold = self.open.remove(&gang)?;
        let error = i64::try_from(at.0).unwrap_or(i64::MAX).saturating_sub_unsigned(foretold.0);
        if self.errors.len() == KEPT {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
        Some(error)
    }

    /// A gang is over, or held: nothing is to be compared.
    pub fn ends(&mut self, gang: GangId) {
        self.open.remove(&gang);
    }

    /// Makes the next forecast, when one is due and a start can be foretold.
    pub fn make(
        &mut self,
        engine: &Engine,
        planner: &Planner,
        now: Timestamp,
    ) -> Option<(GangId, Timestamp)> {
        if self.fresh.is_empty() || now.since(self.last) < PACE {
            return None;
        }
        if engine.snapshot().gangs.len() > MOST_GANGS {
            self.fresh.clear();
            return None;
        }
        self.last = now;
        let waits =
            |gang: &GangId| engine.gang(*gang).is_some_and(|gang| matches!(gang.phase, Phase::Pending));
        let gang = std::iter::from_fn(|| self.fresh.pop_front()).find(waits)?;
        let start = planner.explain(engine.snapshot(), gang, now)?.predicted_start?;
        if start <= now || self.open.len() == KEPT {
            return None;
        }
        self.open.insert(gang, start);
        self.made += 1;
        Some((gang, start))
    }

    /// What came out before this server started.
    pub fn recall(&mut self, outcomes: &Outcomes) {
        self.made = outcomes.made;
        self.errors.clone_from(&outcomes.starts);
        self.errors.truncate(KEPT);
    }

    /// What came out up to now.
    pub fn tell(&self, outcomes: &mut Outcomes) {
        outcomes.made = self.made;
        outcomes.starts.clone_from(&self.errors);
    }

    /// The errors between which eight of ten forecasts came out, earliest and latest; `None` while too few did.
    #[must_use]
    pub fn band(&self) -> Option<(i64, i64)> {
        let sorted = self.sorted(|error| error);
        (sorted.len() >= ENOUGH).then(|| (rank(&sorted, 10), rank(&sorted, 90)))
    }

    /// How they came out.
    #[must_use]
    pub fn view(&self) -> ForecastView {
        let band = self.band();
        let sizes = self.sorted(|error| error.saturating_abs());
        ForecastView {
            made: self.made,
            open: self.open.len() as u64,
            compared: self.errors.len() as u64,
            median_error_ms: (!sizes.is_empty()).then(|| rank(&sizes, 50).unsigned_abs()),
            earliest_ms: band.map(|band| band.0),
            latest_ms: band.map(|band| band.1),
        }
    }

    fn sorted(&self, of: impl Fn(i64) -> i64) -> Vec<i64> {
        let mut sorted: Vec<i64> = self.errors.iter().map(|&error| of(error)).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// The percentile by nearest rank of a sorted list that is not empty.
fn rank(sorted: &[i64], percent: usize) -> i64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::ids::JobId;

    #[test]
    fn the_band_is_of_eight_in_ten_and_needs_enough_of_them() {
        let mut forecasts = Forecasts::default();
        for (job, error) in (0..10_u64).zip([-50_000, 1, 2, 3, 4, 5, 6, 7, 8_000, 90_000_i64]) {
            assert_eq!(forecasts.band(), None);
            let gang = JobId(job).gang(0);
            forecasts.open.insert(gang, Timestamp(1_000_000));
            let at = Timestamp(1_000_000_u64.saturating_add_signed(error));
            assert_eq!(forecasts.starts(gang, at), Some(error));
            assert_eq!(forecasts.starts(gang, at), None, "an outcome counts once");
        }
        assert_eq!(forecasts.band(), Some((-50_000, 8_000)));
        let view = forecasts.view();
        assert_eq!((view.compared, view.median_error_ms), (10, Some(5)));
    }
}
