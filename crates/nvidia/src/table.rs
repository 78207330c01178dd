//! What the driver made and what it holds of a share, by handle or address.

use crate::share::{Held, context};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One kind of thing.
#[derive(Debug)]
pub struct Table(Mutex<BTreeMap<u64, Entry>>);

/// What one holds, and the context it ends with.
#[derive(Debug)]
pub struct Entry {
    held: Held,
    context: u64,
}

/// A lock that nobody who panicked can close for others.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Keeps what was made in the current context.
    pub fn keep(&self, key: u64, held: Held) {
        self.put(key, Entry { held, context: context() });
    }

    /// Keeps what ends with no context.
    pub fn keep_apart(&self, key: u64, held: Held) {
        self.put(key, Entry { held, context: 0 });
    }

    /// Keeps it.
    pub fn put(&self, key: u64, entry: Entry) {
        lock(&self.0).insert(key, entry);
    }

    /// Takes it out, before the driver destroys it: as soon as it has, another thread may be given the same address.
    pub fn take(&self, key: u64) -> Option<Entry> {
        lock(&self.0).remove(&key)
    }

    /// Gives back all of a context that ended.
    pub fn end(&self, context: u64) {
        lock(&self.0).retain(|_, entry| entry.context != context);
    }

    /// What is held on a share, bytes.
    pub fn bytes(&self, share: &'static crate::share::Share) -> u64 {
        let all = lock(&self.0);
        all.values()
            .filter(|entry| std::ptr::eq(entry.held.share, share))
            .map(|entry| entry.held.bytes())
            .sum()
    }

    /// Lets the driver destroy a thing, and gives back what it held if that worked.
    pub fn destroy(&self, key: u64, destroy: impl FnOnce() -> i32) -> i32 {
        let entry = self.take(key);
        let code = destroy();
        if let Some(entry) = entry.filter(|_| code != crate::abi::SUCCESS) {
            self.put(key, entry);
        }
        code
    }
}

impl Entry {
    /// Of which share.
    pub const fn share(&self) -> &'static crate::share::Share {
        self.held.share
    }

    /// What it holds.
    pub fn into_held(self) -> Held {
        self.held
    }
}
