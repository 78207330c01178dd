//! Decayed history of use per queue: what fair share remembers of the past, in integers.
//!
//! `h(t) = Σ share(s) · 2^-((t-s)/half_life) ds`, share in millionths of the pool, time in seconds.
//! Every queue is advanced at the same moments, so all carry the same factor and the same rounding;
//! between two such moments use is only summed, so a change of use costs one addition.

use crate::model::DeviceKind;
use crate::snapshot::{QueueOrd, Snapshot, Usage};
use crate::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often all queues are advanced.
pub const QUANTUM: Millis = Millis(1000);

/// What one queue's history needs beside its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueHistory {
    /// The decayed sum, in millionths × milliseconds.
    value: u64,
    /// Its dominant share now, in millionths.
    share: u64,
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
        let part = |amount: u64, whole: u128| {
            u64::try_from(u128::from(amount).saturating_mul(1_000_000) / whole.max(1)).unwrap_or(u64::MAX)
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

    /// Brings every queue to this moment: decays what was, adds what was used since.
    ///
    /// Use since the last advance is taken at the shares of that moment, so the error is at most one quantum.
    pub fn advance(&mut self, now: Timestamp, half_life: Millis) {
        let span = now.since(self.advanced);
        let factor = decay(span, half_life);
        for queue in &mut self.queues {
            let kept =
                u64::try_from((u128::from(queue.value) * u128::from(factor)) >> 32).unwrap_or(u64::MAX);
            // A share held over a long span decays while it adds up; half of the span's decay is the trapezoid of it.
            let mean = (u64::from(u32::MAX) + 1).saturating_add(factor) / 2;
            let added = u128::from(queue.share).saturating_mul(u128::from(span.0.min(half_life.0.max(1))));
            let added = u64::try_from(added.saturating_mul(u128::from(mean)) >> 32).unwrap_or(u64::MAX);
            queue.value = kept.saturating_add(added);
        }
        self.advanced = now;
    }

    /// Takes over each queue's present share.
    pub fn look(&mut self, snapshot: &Snapshot, pool: &Pool) {
        for (queue, row) in self.queues.iter_mut().zip(&snapshot.queues) {
            queue.share = pool.dominant_share(&row.used);
        }
    }

    /// A queue's history in millionths × seconds.
    pub fn value(&self, ord: usize) -> u64 {
        self.queues.get(ord).map_or(0, |queue| queue.value / 1000)
    }
}

/// `2^-(span/half_life)` in 1/2^32.
pub fn decay(span: Millis, half_life: Millis) -> u64 {
    let half = half_life.0.max(1);
    let whole = span.0 / half;
    if whole >= 64 {
        return 0;
    }
    // The fraction of a half-life in 1/2^16, then one factor 2^-(1/2^i) per bit.
    let fraction = u64::try_from(u128::from(span.0 % half) * 65_536 / u128::from(half)).unwrap_or(0);
    let mut factor = 1_u64 << 32;
    let mut root = 1_u64 << 31;
    for bit in (0..16).rev() {
        root = (root << 32).isqrt();
        if fraction >> bit & 1 == 1 {
            factor = u64::try_from((u128::from(factor) * u128::from(root)) >> 32).unwrap_or(factor);
        }
    }
    factor >> whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_life_halves_and_parts_multiply() {
        let half = Millis(1_000_000);
        assert_eq!(decay(Millis(0), half), 1 << 32);
        assert_eq!(decay(half, half), 1 << 31);
        assert_eq!(decay(Millis(3_000_000), half), 1 << 29);
        let quarter = decay(Millis(500_000), half);
        let squared = (u128::from(quarter) * u128::from(quarter)) >> 32;
        assert!(squared.abs_diff(1 << 31) < 16, "{squared}");
    }
}
