//! Time for the drive loop: the machine's clock, but never running backwards.
//!
//! When the machine's clock steps back the pool goes on counting with the monotonic clock from where it was,
//! so timers stay due and leases expire, and joins the machine's clock again once that has caught up.

use pond_core::units::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A step back smaller than this is jitter and not worth a line in the event log, in milliseconds.
const NOTABLE_STEP_MS: u64 = 1000;

/// A clock that never runs backwards.
#[derive(Debug)]
pub struct Clock {
    last: Timestamp,
    read_at: Instant,
    /// How far ahead of the machine's clock we were at the last reading.
    ahead: u64,
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time, never earlier than any before.
    pub now: Timestamp,
    /// By how much the machine's clock has stepped back since the last reading, when by a notable amount.
    pub stepped_back_ms: Option<u64>,
}

impl Clock {
    /// A clock that gives nothing before `floor`: the last moment in the journal.
    #[must_use]
    pub fn after(floor: Timestamp) -> Self {
        Self { last: floor, read_at: Instant::now(), ahead: 0 }
    }

    /// Reads it.
    pub fn read(&mut self) -> Reading {
        let instant = Instant::now();
        let passed = instant.saturating_duration_since(self.read_at);
        self.read_at = instant;
        self.step(wall_ms(), u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    fn step(&mut self, wall: u64, passed: u64) -> Reading {
        let now = self.last.0.saturating_add(passed).max(wall);
        let ahead = now - wall;
        let stepped = ahead.saturating_sub(self.ahead);
        self.last = Timestamp(now);
        self.ahead = ahead;
        Reading { now: self.last, stepped_back_ms: (stepped >= NOTABLE_STEP_MS).then_some(stepped) }
    }

    /// The last reading.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }
}

/// The machine's clock in milliseconds since the Unix epoch.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's clock in microseconds since 1970.
#[must_use]
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_step_back_is_told_once_and_time_goes_on() {
        let mut clock = Clock::after(Timestamp(100_000));
        clock.step(100_000, 0);
        let reading = clock.step(40_000, 5);
        assert_eq!(reading, Reading { now: Timestamp(100_005), stepped_back_ms: Some(60_005) });
        assert_eq!(clock.step(41_000, 1000), Reading { now: Timestamp(101_005), stepped_back_ms: None });
        assert_eq!(clock.step(200_000, 1000).now, Timestamp(200_000));
        assert_eq!(clock.step(150_000, 10).stepped_back_ms, Some(50_010));
    }

    proptest! {
        #[test]
        fn never_backwards(steps: Vec<(u32, u16)>) {
            let mut clock = Clock::after(Timestamp::default());
            let mut before = Timestamp::default();
            for (wall, passed) in steps {
                let now = clock.step(u64::from(wall), u64::from(passed)).now;
                prop_assert!(now >= before.after(pond_core::units::Millis(u64::from(passed))));
                before = now;
            }
        }
    }
}
