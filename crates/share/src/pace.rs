//! The share of a device's time: tokens in nanoseconds of measured device time.
//!
//! Time is allowed at the share's rate: `allowed(t) = base + (t − since) · rate`. What was spent is one word. A
//! launch may begin while `spent ≤ allowed`; it is charged what its kernel took before, and the difference when it
//! has been measured. So a share may run ahead by one launch and pays for it by waiting longer.
//!
//! What is not used is kept for [`BURST_NS`] only, so that a program that was idle does not run alone afterwards.
//! Waiting is for time to pass, never for another process, so it ends whatever others do. A change of the rate moves
//! `base` and `since`: debts are device time, hence a share that is raised also waits less for what it owes.

use crate::word::Word;

/// Device time that may be saved up, ns. A process on a busy machine is woken late, and what it could not use
/// meanwhile is not lost up to here: at a quarter of a device, for lateness of 200 ms. It can add half a point to a
/// share measured over ten seconds.
pub const BURST_NS: u64 = 50_000_000;

/// A whole device.
pub const WHOLE: u64 = 1000;

/// At which rate device time is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of the device's time; at most [`WHOLE`]. Zero allows nothing.
    pub thousandths: u64,
    /// Since when, on the clock of [`now_ns`](crate::now_ns).
    pub since_ns: u64,
    /// What had been allowed until then, ns of device time.
    pub base_ns: u64,
}

impl Rate {
    /// What has been allowed until `now_ns`, ns of device time.
    #[must_use]
    pub fn allowed(&self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.since_ns);
        let rate = self.thousandths.min(WHOLE);
        self.base_ns.saturating_add(passed / WHOLE * rate + passed % WHOLE * rate / WHOLE)
    }

    /// The same at another rate from `now_ns` on.
    #[must_use]
    pub fn changed(&self, thousandths: u64, now_ns: u64) -> Self {
        Self { thousandths: thousandths.min(WHOLE), since_ns: now_ns, base_ns: self.allowed(now_ns) }
    }
}

/// What was spent.
#[derive(Debug)]
pub struct Purse<'a, W> {
    /// Charged and forfeited device time, ns.
    pub spent: &'a W,
}

impl<W: Word> Purse<'_, W> {
    /// Charges `cost_ns` and returns, or says how long to wait before trying again, ns.
    ///
    /// # Errors
    /// More was spent than is allowed by now; `u64::MAX` when the rate is zero.
    pub fn admit(&self, rate: &Rate, now_ns: u64, cost_ns: u64) -> Result<(), u64> {
        let allowed = rate.allowed(now_ns);
        loop {
            let spent = self.spent.load();
            let from = spent.max(allowed.saturating_sub(BURST_NS));
            if from > allowed || rate.thousandths == 0 {
                let wait = (from - allowed).saturating_mul(WHOLE).checked_div(rate.thousandths.min(WHOLE));
                return Err(wait.unwrap_or(u64::MAX));
            }
            if self.spent.replace(spent, from.saturating_add(cost_ns)) {
                return Ok(());
            }
        }
    }

    /// Puts what was measured in place of what was charged.
    pub fn settle(&self, charged_ns: u64, measured_ns: u64) {
        self.spent.add(measured_ns.wrapping_sub(charged_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Runs kernels of `cost` for `span` ns by this clock alone and returns the time used.
    fn run(rate: &Rate, spent: &AtomicU64, mut now: u64, span: u64, cost: u64) -> u64 {
        let purse = Purse { spent };
        let (end, mut used) = (now + span, 0);
        while now < end {
            match purse.admit(rate, now, 0) {
                Ok(()) => {
                    now += cost;
                    used += cost;
                    purse.settle(0, cost);
                }
                Err(wait) => now += wait.max(1),
            }
        }
        used
    }

    #[test]
    fn a_busy_share_gets_its_rate_whatever_its_kernels_take() {
        for thousandths in [10, 100, 250, 300, 500, 700, 900] {
            for cost in [3_000, 1_000_000, 90_000_000] {
                let rate = Rate { thousandths, since_ns: 5, base_ns: 0 };
                let used = run(&rate, &AtomicU64::new(0), 5, 10_000_000_000, cost);
                let ideal = 10_000_000 * thousandths;
                assert!(used.abs_diff(ideal) <= cost + BURST_NS, "{thousandths} {cost}: {used}");
            }
        }
    }

    #[test]
    fn idling_saves_up_no_more_than_the_burst() {
        let rate = Rate { thousandths: 500, since_ns: 0, base_ns: 0 };
        let used = run(&rate, &AtomicU64::new(0), 3_600_000_000_000, 100_000_000, 1_000_000);
        assert!(used <= 50_000_000 + BURST_NS + 1_000_000, "{used}");
    }

    #[test]
    fn a_raised_share_pays_its_debt_at_the_new_rate() {
        let spent = AtomicU64::new(0);
        let purse = Purse { spent: &spent };
        let slow = Rate { thousandths: 10, since_ns: 0, base_ns: 0 };
        purse.admit(&slow, 0, 100_000_000).expect("the first");
        assert_eq!(purse.admit(&slow, 0, 0), Err(10_000_000_000));
        assert_eq!(purse.admit(&slow.changed(1000, 0), 0, 0), Err(100_000_000));
        let stopped = slow.changed(0, 0);
        assert_eq!(purse.admit(&stopped, 1 << 50, 0), Err(u64::MAX));
    }

    #[test]
    fn the_allowance_never_overflows_nor_falls() {
        let rate = Rate { thousandths: 5000, since_ns: 0, base_ns: u64::MAX - 5 };
        assert_eq!(rate.allowed(u64::MAX), u64::MAX);
        let rate = Rate { thousandths: 333, since_ns: 1_000_000, base_ns: 7 };
        assert_eq!(rate.allowed(0), 7);
        assert_eq!(rate.changed(999, 2_001_000).allowed(2_001_000), rate.allowed(2_001_000));
    }
}
