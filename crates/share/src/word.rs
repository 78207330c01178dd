//! One 64-bit word that several processes change: the seam between the algorithms and the memory they run on.

use std::sync::atomic::{AtomicU64, Ordering};

/// A word of shared memory.
// seam: the second implementation is the model checker's word in tests/interleavings.rs, which can kill its user
pub trait Word {
    /// Reads it, and sees all that was written before the value it sees.
    fn load(&self) -> u64;
    /// Writes it.
    fn store(&self, value: u64);
    /// Writes `new` when it still is `old`; says whether it did.
    fn replace(&self, old: u64, new: u64) -> bool;
    /// Adds, wrapping.
    fn add(&self, amount: u64);
}

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        Self::load(self, Ordering::Acquire)
    }
    fn store(&self, value: u64) {
        Self::store(self, value, Ordering::Release);
    }
    fn replace(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
    fn add(&self, amount: u64) {
        _ = self.fetch_add(amount, Ordering::AcqRel);
    }
}
