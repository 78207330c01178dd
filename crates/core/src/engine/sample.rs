//! Recent use of one task: a window of samples of its CPU, or of its time on a device, and their 95th percentile.

use crate::units::{MilliCpu, Millis, Thousandths, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How far back samples are kept.
pub const WINDOW: Millis = Millis(60_000);
/// How many are kept at most.
pub const MOST: usize = 60;

/// The samples of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    ring: VecDeque<(Timestamp, MilliCpu)>,
    /// When the counter was read last, and what it said in microseconds of CPU time.
    counter: Option<(Timestamp, u64)>,
    p95: Option<MilliCpu>,
    /// Of a share that has no more than a part: what was read beyond that part, and is told with the readings to come.
    #[serde(default)]
    ahead_us: u64,
}

impl Samples {
    /// Starts counting at zero, at the task's start.
    #[must_use]
    pub const fn starting(at: Timestamp) -> Self {
        Self { ring: VecDeque::new(), counter: Some((at, 0)), p95: None, ahead_us: 0 }
    }

    /// Takes in a reading of the counter. Returns the CPU time since the reading before, in microseconds.
    ///
    /// A counter that fell is taken as a new beginning. A second reading at one moment counts, but tells no rate: a
    /// task's last reading may come with its first.
    pub fn read(&mut self, at: Timestamp, cpu_us: u64) -> u64 {
        let Some((before, counted)) = self.counter else {
            self.counter = Some((at, cpu_us));
            return 0;
        };
        let used = cpu_us.saturating_sub(counted);
        let span = at.since(before).0;
        if span == 0 && cpu_us >= counted {
            self.counter = Some((at, cpu_us));
            return used;
        }
        self.counter = Some((at, cpu_us));
        // Microseconds per millisecond are thousandths of a core.
        let rate = MilliCpu(used / span.max(1));
        self.ring.push_back((at, rate));
        while self.ring.len() > MOST || self.ring.front().is_some_and(|(old, _)| at.since(*old) > WINDOW) {
            self.ring.pop_front();
        }
        self.p95 = self.percentile(95);
        used
    }

    /// As [`read`](Self::read), of a share that gets so much of its device's time and no more. Its launches are measured when they end
    /// and may run ahead, so one reading may say more than the part, and the next ones say less.
    pub fn read_within(&mut self, at: Timestamp, busy_us: u64, most: Thousandths) -> u64 {
        let since = self.counter.map_or(at, |(before, _)| before);
        let used = self.read(at, busy_us).saturating_add(self.ahead_us);
        // Thousandths of a millisecond are microseconds.
        let told = used.min(at.since(since).0.saturating_mul(most.0));
        self.ahead_us = used.saturating_sub(told);
        told
    }

    /// The 95th percentile (nearest rank) of the window; `None` without samples.
    #[must_use]
    pub const fn p95(&self) -> Option<MilliCpu> {
        self.p95
    }

    /// The last sample.
    #[must_use]
    pub fn latest(&self) -> Option<MilliCpu> {
        self.ring.back().map(|(_, rate)| *rate)
    }

    /// The mean of the window; `None` without samples.
    #[must_use]
    pub fn mean(&self) -> Option<MilliCpu> {
        let sum: u64 = self.ring.iter().fold(0, |sum, (_, rate)| sum.saturating_add(rate.0));
        sum.checked_div(self.ring.len() as u64).map(MilliCpu)
    }

    fn percentile(&self, percent: usize) -> Option<MilliCpu> {
        let mut rates: Vec<MilliCpu> = self.ring.iter().map(|(_, rate)| *rate).collect();
        let rank = (rates.len() * percent).div_ceil(100).checked_sub(1)?;
        let (_, at, _) = rates.select_nth_unstable(rank);
        Some(*at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_share_ran_ahead_is_told_later_and_never_more_than_its_part() {
        let mut samples = Samples::starting(Timestamp(0));
        // By the second: 400 of 300 thousandths, then 200, then a driver's nonsense, then nothing.
        let readings = [400_000, 600_000, 90_000_000, 90_000_000];
        let told: Vec<u64> = (1_u64..)
            .zip(readings)
            .map(|(second, us)| samples.read_within(Timestamp(second * 1000), us, Thousandths(300)))
            .collect();
        assert_eq!(told, [300_000; 4]);
        let mut idle = Samples::starting(Timestamp(0));
        assert_eq!(idle.read_within(Timestamp(1000), 100_000, Thousandths(300)), 100_000);
        assert_eq!(
            idle.read_within(Timestamp(2000), 500_000, Thousandths(300)),
            300_000,
            "idling saves up nothing"
        );
        assert_eq!(idle.read_within(Timestamp(3000), 500_000, Thousandths(300)), 100_000);
    }

    #[test]
    fn rate_and_percentile_of_a_steady_and_a_bursty_task() {
        let mut samples = Samples::starting(Timestamp(0));
        assert_eq!(samples.p95(), None);
        for second in 1..=20_u64 {
            let burst = if second == 7 { 2_000_000 } else { 500_000 };
            let total = samples.counter.unwrap().1 + burst;
            assert_eq!(samples.read(Timestamp(second * 1000), total), burst);
        }
        assert_eq!(samples.latest(), Some(MilliCpu(500)));
        assert_eq!(samples.p95(), Some(MilliCpu(500)), "one burst in twenty is above the 95th percentile");
    }

    #[test]
    fn all_that_was_used_at_one_moment_counts_and_tells_no_rate() {
        let mut samples = Samples::starting(Timestamp(5));
        assert_eq!(samples.read(Timestamp(5), 700), 700);
        assert_eq!(samples.read(Timestamp(5), 900), 200);
        assert_eq!(samples.latest(), None);
        assert_eq!(samples.read(Timestamp(6), 1900), 1000);
        assert_eq!(samples.latest(), Some(MilliCpu(1000)));
    }

    #[test]
    fn old_samples_leave_and_a_fallen_counter_is_a_new_beginning() {
        let mut samples = Samples::starting(Timestamp(0));
        samples.read(Timestamp(1000), 4_000_000);
        assert_eq!(samples.p95(), Some(MilliCpu(4000)));
        samples.read(Timestamp(70_000), 4_000_000);
        assert_eq!(samples.p95(), Some(MilliCpu(0)));
        assert_eq!(samples.read(Timestamp(71_000), 10), 0);
        assert_eq!(samples.read(Timestamp(72_000), 1_000_010), 1_000_000);
    }
}
