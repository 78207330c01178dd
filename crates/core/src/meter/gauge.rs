//! One dimension of one node or device, integrated over time.

use crate::check::Violation;
use crate::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// Rates now and sums up to `since`, in unit × milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauge {
    since: Timestamp,
    /// As the node described it.
    size: u64,
    granted: u64,
    planned: u64,
    up: bool,
    sum: Sums,
    /// Σ granted × settled_at over running tasks: `granted × now − anchors` is what tasks have open.
    anchors: u128,
    unsplit: u128,
    within: u128,
    waste: u128,
    burst: u128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    capacity: u128,
    granted: u128,
    idle: u128,
    planned: u128,
    down: u128,
}

/// What a gauge counts now, in units.
struct Rates {
    capacity: u64,
    granted: u64,
    planned: u64,
    free: u64,
    up: bool,
}

impl Sums {
    /// Rates have 64 bits, and so has the time from 0 to now: their products have room in 128 for ever.
    fn go_on(&mut self, span: Millis, rates: &Rates) {
        let add = |sum: &mut u128, rate: u64| {
            // Of granted, planned and free, most gauges have one at a time.
            if rate > 0 {
                *sum = sum.wrapping_add(over(span, rate));
            }
        };
        add(&mut self.capacity, rates.capacity);
        add(&mut self.granted, rates.granted);
        add(&mut self.planned, rates.planned);
        add(if rates.up { &mut self.idle } else { &mut self.down }, rates.free);
    }
}

/// Sums up to a moment, in unit × milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All there was.
    pub capacity: u128,
    /// Granted to tasks that ran.
    pub granted: u128,
    /// Free, and could have been granted.
    pub idle: u128,
    /// Set aside for tasks that did not run yet.
    pub planned: u128,
    /// Free, and could not have been granted.
    pub down: u128,
    /// Of `granted`, known to have been used.
    pub used_within: u128,
    /// Of `granted`, not used, or not yet known to have been (`open`).
    pub waste: u128,
    /// Used beyond what was granted.
    pub burst: u128,
    /// Of `waste`, what a later sample may still show to have been used.
    pub open: u128,
}

impl Totals {
    /// All that was used.
    #[must_use]
    pub const fn used(&self) -> u128 {
        self.used_within.saturating_add(self.burst)
    }
}

/// An amount over a span. Two numbers of 64 bits: the product always has room in 128.
pub(super) fn over(span: Millis, amount: u64) -> u128 {
    u128::from(span.0).wrapping_mul(u128::from(amount))
}

impl Gauge {
    fn advance(&mut self, now: Timestamp) {
        if now <= self.since {
            return;
        }
        let (span, rates) = (now.since(self.since), self.rates());
        self.sum.go_on(span, &rates);
        self.since = now;
    }

    fn sums(&self, now: Timestamp) -> Sums {
        let mut sums = self.sum;
        sums.go_on(now.since(self.since), &self.rates());
        sums
    }

    fn rates(&self) -> Rates {
        let (granted, planned) = (self.granted, self.planned);
        let held = granted.saturating_add(planned);
        let capacity = self.size.max(held);
        Rates { capacity, granted, planned, free: capacity.saturating_sub(held), up: self.up }
    }

    pub(super) fn set_capacity(&mut self, now: Timestamp, size: u64) {
        self.advance(now);
        self.size = size;
    }

    pub(super) fn set_up(&mut self, now: Timestamp, up: bool) {
        self.advance(now);
        self.up = up;
    }

    pub(super) fn plan(&mut self, now: Timestamp, amount: u64, add: bool) {
        self.advance(now);
        self.planned =
            if add { self.planned.saturating_add(amount) } else { self.planned.saturating_sub(amount) };
    }

    /// A task settled at `now` begins or ends to run here.
    pub(super) fn grant(&mut self, now: Timestamp, amount: u64, add: bool) {
        self.advance(now);
        let anchor = over(Millis(now.0), amount);
        if add {
            self.granted = self.granted.saturating_add(amount);
            self.anchors = self.anchors.wrapping_add(anchor);
        } else {
            self.granted = self.granted.saturating_sub(amount);
            self.anchors = self.anchors.wrapping_sub(anchor);
        }
    }

    /// A task that was settled at `from` is settled at `now`.
    pub(super) fn close(&mut self, from: Timestamp, now: Timestamp, amount: u64) {
        self.anchors = self.anchors.wrapping_add(over(now.since(from), amount));
    }

    pub(super) const fn unsplit(&mut self, amount: u128, add: bool) {
        self.unsplit =
            if add { self.unsplit.wrapping_add(amount) } else { self.unsplit.wrapping_sub(amount) };
    }

    pub(super) const fn split(&mut self, within: u128, waste: u128, burst: u128) {
        self.within = self.within.wrapping_add(within);
        self.waste = self.waste.wrapping_add(waste);
        self.burst = self.burst.wrapping_add(burst);
    }

    /// A gauge that went as this one did with `whole` units for each 1000, of which there were whole thousands only.
    pub(super) fn scaled(&self, whole: u64) -> Self {
        let rate = |amount: u64| (amount / 1000).wrapping_mul(whole);
        let sum = |amount: u128| (amount / 1000).wrapping_mul(u128::from(whole));
        Self {
            since: self.since,
            size: rate(self.size),
            granted: rate(self.granted),
            planned: rate(self.planned),
            up: self.up,
            sum: Sums {
                capacity: sum(self.sum.capacity),
                granted: sum(self.sum.granted),
                idle: sum(self.sum.idle),
                planned: sum(self.sum.planned),
                down: sum(self.sum.down),
            },
            anchors: sum(self.anchors),
            unsplit: sum(self.unsplit),
            within: sum(self.within),
            waste: sum(self.waste),
            burst: sum(self.burst),
        }
    }

    /// Sums up to this moment.
    #[must_use]
    pub fn totals(&self, now: Timestamp) -> Totals {
        let sums = self.sums(now);
        let reached = u128::from(now.max(self.since).0);
        let live = u128::from(self.granted).saturating_mul(reached).saturating_sub(self.anchors);
        let open = live.saturating_add(self.unsplit);
        Totals {
            capacity: sums.capacity,
            granted: sums.granted,
            idle: sums.idle,
            planned: sums.planned,
            down: sums.down,
            used_within: self.within,
            waste: self.waste.wrapping_add(open),
            burst: self.burst,
            open,
        }
    }

    pub(super) fn check(&self, now: Timestamp, place: &str, found: &mut Vec<Violation>) {
        let totals = self.totals(now);
        let parts = totals.granted.saturating_add(totals.idle);
        let parts = parts.saturating_add(totals.planned).saturating_add(totals.down);
        if totals.capacity != parts {
            let detail = format!(
                "{place}: capacity {} is not granted + idle + planned + down {parts}",
                totals.capacity
            );
            found.push(Violation { rule: "meter_capacity", detail });
        }
        let split = totals.used_within.saturating_add(totals.waste);
        if totals.granted != split {
            let detail = format!("{place}: granted {} is not used within + waste {split}", totals.granted);
            found.push(Violation { rule: "meter_granted", detail });
        }
        if totals.open > totals.granted {
            let detail = format!("{place}: {} open of {} granted", totals.open, totals.granted);
            found.push(Violation { rule: "meter_open", detail });
        }
    }
}
