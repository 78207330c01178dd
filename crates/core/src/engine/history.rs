//! Decayed history of use per queue: what fair share remembers of the past, in integers.
//!
//! `h(t) = Σ share(s) · 2^-((t-s)/half_life) ds`, share in millionths of the pool, time in seconds.
//! Every queue is advanced at the same moments, so all carry the same factor and the same rounding; between two
//! such moments use is only summed, so a change of use costs one addition for each queue up to the root.

use crate::model::DeviceKind;
use crate::snapshot::{QueueOrd, Snapshot, Usage};
use crate::units::{Millis, Timestamp, scaled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often all queues are advanced.
pub const QUANTUM: Millis = Millis(1000);

/// What one queue's history needs beside its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueHistory {
    /// The decayed sum up to the last advance, in millionths × milliseconds.
    value: u64,
    /// Use since the last advance, up to `since`, in millionths × milliseconds.
    fresh: u64,
    since: Timestamp,
    /// Its dominant share from `since` on, in millionths.
    share: u64,
}

impl QueueHistory {
    fn accrue(&mut self, now: Timestamp) {
        let used = self.share.saturating_mul(now.since(self.since).0);
        self.fresh = self.fresh.saturating_add(used);
        self.since = self.since.max(now);
    }
}

/// Histories of all queues, by ordinal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    queues: Vec<QueueHistory>,
    advanced: Timestamp,
}

/// What there is of everything in the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    cpu: u128,
    memory: u128,
    disk: u128,
    devices: BTreeMap<DeviceKind, u128>,
}

impl Pool {
    /// All nodes that are not lost.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut pool = Self::default();
        for row in &snapshot.nodes {
            if row.state == crate::snapshot::NodeState::Lost {
                continue;
            }
            pool.cpu += u128::from(row.capacity.cpu.0);
            pool.memory += u128::from(row.capacity.memory.0);
            pool.disk += u128::from(row.capacity.disk.0);
            for device in &row.devices {
                *pool.devices.entry(device.spec.kind).or_default() += 1000;
            }
        }
        pool
    }

    /// The largest part that a queue uses of anything, in millionths of the pool.
    pub fn dominant_share(&self, used: &Usage) -> u64 {
        let part = |amount: u64, whole: u128| match u64::try_from(whole) {
            Ok(whole) => scaled(amount, 1_000_000, whole),
            Err(_) => u64::try_from(u128::from(amount) * 1_000_000 / whole).unwrap_or(u64::MAX),
        };
        let devices = used.devices.iter();
        let of_devices = devices.map(|(kind, n)| part(*n, self.devices.get(kind).copied().unwrap_or(0)));
        let resources = [
            part(used.resources.cpu.0, self.cpu),
            part(used.resources.memory.0, self.memory),
            part(used.resources.disk.0, self.disk),
        ];
        // A pool that shrank below what is used counts as used whole.
        of_devices.chain(resources).max().unwrap_or(0).min(1_000_000)
    }
}

impl History {
    /// Whether it is time to advance.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now.since(self.advanced) >= QUANTUM
    }

    /// Makes room for queues that are new.
    pub fn fit(&mut self, queues: usize) {
        self.queues.resize(queues, QueueHistory::default());
    }

    /// Forgets a queue; those behind it move up.
    pub fn remove(&mut self, ord: QueueOrd) {
        self.queues.remove(ord.0 as usize);
    }

    /// The use of these queues is from now on what their rows say. `pool` is what there is in all, counted if it is asked for.
    pub fn note(
        &mut self,
        queues: &[QueueOrd],
        snapshot: &Snapshot,
        pool: &mut Option<Pool>,
        now: Timestamp,
    ) {
        for ord in queues {
            let used = &snapshot.queue(*ord).used;
            // Nothing is no part of any pool: nodes that join an idle pool do not have all others counted again.
            let share = if used.is_nothing() {
                0
            } else {
                pool.get_or_insert_with(|| Pool::of(snapshot)).dominant_share(used)
            };
            self.set_share(*ord, now, share);
        }
    }

    /// The use of a queue is about to count as this share of the pool.
    fn set_share(&mut self, ord: QueueOrd, now: Timestamp, share: u64) {
        if let Some(queue) = self.queues.get_mut(ord.0 as usize) {
            queue.accrue(now);
            queue.share = share;
        }
    }

    /// Brings every queue to this moment: decays what was, adds what was used since.
    pub fn advance(&mut self, now: Timestamp, half_life: Millis) {
        let span = now.since(self.advanced);
        let factor = decay(span, half_life);
        let mean = mean_decay(factor, span, half_life);
        for queue in &mut self.queues {
            queue.accrue(now);
            queue.value = by(queue.value, factor).saturating_add(by(queue.fresh, mean));
            queue.fresh = 0;
        }
        self.advanced = now;
    }

    /// A queue's history in millionths × seconds.
    pub fn value(&self, ord: usize) -> u64 {
        self.queues.get(ord).map_or(0, |queue| queue.value / 1000)
    }
}

/// Factors are in 1/2^62, so that a second of a day's half-life is not rounded away.
const ONE: u32 = 62;

/// `2^-(1/2^i)` for i from 1.
const ROOTS: [u64; 32] = {
    let mut roots = [0; 32];
    let (mut at, mut root) = (0, 1_u128 << (ONE - 1));
    while at < roots.len() {
        root = (root << ONE).isqrt();
        roots[at] = root as u64;
        at += 1;
    }
    roots
};

/// The product with a factor of one at most.
fn by(amount: u64, factor: u64) -> u64 {
    u64::try_from((u128::from(amount) * u128::from(factor)) >> ONE).unwrap_or(u64::MAX)
}

/// `2^-(span/half_life)`.
fn decay(span: Millis, half_life: Millis) -> u64 {
    let half = half_life.0.max(1);
    let whole = span.0 / half;
    if whole >= 62 {
        return 0;
    }
    // The fraction of a half-life in 1/2^32, then one factor 2^-(1/2^i) per bit.
    let fraction = scaled(span.0 % half, 1 << 32, half);
    let mut factor = 1_u64 << ONE;
    for (bit, root) in (0..32).rev().zip(ROOTS) {
        if (fraction >> bit) & 1 == 1 {
            factor = by(factor, root);
        }
    }
    factor >> whole
}

/// What is left on average of use spread evenly over the span: `(1 - factor) · half_life / (ln 2 · span)`.
fn mean_decay(factor: u64, span: Millis, half_life: Millis) -> u64 {
    let lost = (1_u128 << ONE) - u128::from(factor);
    // 1 / ln 2 in 1/2^16.
    let over_ln2 = (lost * 94_548) >> 16;
    let mean = over_ln2.saturating_mul(u128::from(half_life.0)) / u128::from(span.0.max(1));
    u64::try_from(mean.min(1 << ONE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 1 << ONE;

    #[test]
    fn a_half_life_halves_and_steps_multiply() {
        let half = Millis(86_400_000);
        assert_eq!(decay(Millis(0), half), UNIT);
        assert_eq!(decay(half, half), UNIT / 2);
        assert_eq!(decay(half.times(3), half), UNIT / 8);
        let second = u128::from(decay(Millis(1000), half));
        let mut stepped = 1_u128 << ONE;
        for _ in 0..86_400 {
            stepped = (stepped * second) >> ONE;
        }
        let error = stepped.abs_diff(u128::from(UNIT / 2));
        assert!(error < u128::from(UNIT) / 100_000, "a day in seconds is a day at once: {error}");
    }

    #[test]
    fn use_over_a_long_silence_is_the_integral() {
        let half = Millis(1000);
        let mut history = History::default();
        history.fit(1);
        history.set_share(QueueOrd(0), Timestamp(0), 1_000_000);
        history.advance(Timestamp(1_000_000), half);
        // A share of one for ever is half_life / ln 2 = 1443 s at a half-life of 1000 s.
        assert!(history.value(0).abs_diff(1_442_695) < 100, "{}", history.value(0));
    }
}
