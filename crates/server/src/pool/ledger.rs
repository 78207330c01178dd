//! The drive thread's side of the database: what is to be written is gathered here and committed in groups.
//!
//! Lines of the event log follow from the journal, so they need not be durable before the pool acts: they wait
//! for the next transaction, and a restart derives the missing ones anew.

use super::tally::Tallies;
use crate::api::types::EventView;
use crate::feed::Feed;
use crate::store::{KeyUse, Store, StoreError, Write};
use pond_core::substrate::Record;
use pond_core::units::Timestamp;
use std::sync::Arc;
use std::time::Instant;

/// Journal bytes after which an image of the engine is taken, at least.
const IMAGE_AFTER: u64 = 8 << 20;
/// And at least so many times the size of the last image, so that imaging stays a small part of the work.
const IMAGE_TIMES: u64 = 4;

/// Gathers and commits.
pub struct Ledger {
    store: Store,
    feed: Arc<Feed>,
    tallies: Arc<Tallies>,
    pending: Vec<Write>,
    last_record: u64,
    next_event: u64,
    /// Journal bytes since the last image, and that image's size.
    grown: u64,
    image: u64,
}

impl Ledger {
    /// A ledger that goes on after these numbers.
    #[must_use]
    pub fn new(
        store: Store,
        feed: Arc<Feed>,
        tallies: Arc<Tallies>,
        last_record: u64,
        last_event: u64,
    ) -> Self {
        Self {
            store,
            feed,
            tallies,
            pending: Vec::new(),
            last_record,
            next_event: last_event + 1,
            grown: 0,
            image: 0,
        }
    }

    /// The last line of history.
    #[must_use]
    pub const fn last_record(&self) -> u64 {
        self.last_record
    }

    /// Adds a line to the event log. It goes into the next transaction, and to those who follow at once.
    pub fn tell(&mut self, mut view: EventView, record: u64) {
        view.seq = self.next_event;
        self.next_event += 1;
        self.pending.push(Write::Event { view: view.clone(), record });
        self.feed.push(Arc::new(view));
    }

    /// Adds to the next transaction.
    pub fn add(&mut self, write: Write) {
        self.pending.push(write);
    }

    /// Commits lines of history, and whatever waits, in one transaction.
    ///
    /// # Errors
    /// When the database cannot be written: nothing of it was, and what waited goes on waiting.
    pub fn commit(&mut self, records: &[Record], extra: Vec<Write>) -> Result<(), StoreError> {
        let waiting = self.pending.len();
        self.pending.extend(extra);
        self.pending.extend(records.iter().cloned().map(Write::Record));
        let began = Instant::now();
        match self.store.commit(&self.pending) {
            Ok(bytes) => {
                if !self.pending.is_empty() {
                    self.tallies.journaled(began.elapsed(), records.len() as u64);
                }
                self.pending.clear();
                self.grown += bytes;
                self.last_record = records.last().map_or(self.last_record, |record| record.seq);
                Ok(())
            }
            Err(why) => {
                self.pending.truncate(waiting);
                Err(why)
            }
        }
    }

    /// Whether the journal has grown enough for an image of the engine.
    #[must_use]
    pub fn wants_image(&self) -> bool {
        self.grown > IMAGE_AFTER.max(self.image * IMAGE_TIMES)
    }

    /// Writes an image of the engine after its last line of history, and drops the journal up to there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn image(&mut self, at: Timestamp, body: Vec<u8>) -> Result<(), StoreError> {
        let size = body.len() as u64;
        let image = Write::Image { record: self.last_record(), at, body };
        self.commit(&[], vec![image])?;
        (self.grown, self.image) = (0, size);
        Ok(())
    }

    /// What an idempotency key stands for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key(&self, key: &str) -> Result<Option<KeyUse>, StoreError> {
        self.store.key(key)
    }
}
