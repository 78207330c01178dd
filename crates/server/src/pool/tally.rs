//! Counts of the drive thread, read by `/metrics` and the status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of journal latency, in microseconds.
pub const BUCKETS_US: [u64; 8] = [100, 250, 500, 1_000, 2_500, 10_000, 100_000, 1_000_000];

/// Counts since the start; all only grow, but for `archived`.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Turns of the loop.
    pub turns: AtomicU64,
    /// Plans made.
    pub plans: AtomicU64,
    /// Rules that plans broke. Zero, or there is a bug.
    pub violations: AtomicU64,
    /// Lines written to the journal.
    pub records: AtomicU64,
    /// Transactions per bucket of latency; the last is for slower ones.
    pub journal: [AtomicU64; BUCKETS_US.len() + 1],
    /// Sum of latencies, in microseconds.
    pub journal_sum_us: AtomicU64,
    /// Requests in which the pool stumbled.
    pub panics: AtomicU64,
    archived: Mutex<BTreeMap<String, u64>>,
}

impl Tallies {
    /// Counts from zero, with the archive as it was found.
    #[must_use]
    pub fn new(archived: BTreeMap<String, u64>) -> Self {
        Self { archived: Mutex::new(archived), ..Self::default() }
    }

    /// One transaction of the journal took this long.
    pub fn journaled(&self, took: Duration, records: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|&bound| us <= bound).unwrap_or(BUCKETS_US.len());
        self.journal[bucket].fetch_add(1, Ordering::Relaxed);
        self.journal_sum_us.fetch_add(us, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// Jobs in the archive, by state.
    #[must_use]
    pub fn archived(&self) -> BTreeMap<String, u64> {
        self.archived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A job in this state came into the archive.
    pub fn archive(&self, state: &str) {
        let mut archived = self.archived.lock().unwrap_or_else(PoisonError::into_inner);
        *archived.entry(state.to_owned()).or_default() += 1;
    }

    /// A job in this state left the archive.
    pub fn unarchive(&self, state: &str) {
        let mut archived = self.archived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = archived.get_mut(state) {
            *count = count.saturating_sub(1);
        }
    }
}
