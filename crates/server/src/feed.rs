//! The live end of the event log: the last entries in memory, and a wake-up for those who follow.

use crate::api::types::{EventQuery, EventView};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Entries kept in memory.
const KEPT: usize = 4096;

/// The last entries of the event log.
#[derive(Debug)]
pub struct Feed {
    last: watch::Sender<u64>,
    ring: Mutex<VecDeque<Arc<EventView>>>,
}

impl Feed {
    /// An empty one; entries up to `last` are only in the database.
    #[must_use]
    pub fn after(last: u64) -> Self {
        Self { last: watch::Sender::new(last), ring: Mutex::new(VecDeque::new()) }
    }

    /// Adds an entry; its `seq` must be larger than any before.
    pub fn push(&self, view: Arc<EventView>) {
        let seq = view.seq;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(view);
        drop(ring);
        self.last.send_replace(seq);
    }

    /// Tells of every new entry.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The number of the last entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Entries after `since`; `None` when some of them are only in the database.
    #[must_use]
    pub fn since(&self, since: u64) -> Option<Vec<Arc<EventView>>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        match ring.front() {
            Some(first) if first.seq <= since + 1 => {
                let skip = ring.partition_point(|view| view.seq <= since);
                Some(ring.iter().skip(skip).cloned().collect())
            }
            Some(_) => None,
            None => (since >= self.last()).then(Vec::new),
        }
    }

    /// Entries in memory, oldest first.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<EventView>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Whether an entry is what a query asks for, but for its number.
#[must_use]
pub fn matches(query: &EventQuery, view: &EventView) -> bool {
    query.job.is_none_or(|job| view.job == Some(job))
        && query.actor.as_ref().is_none_or(|actor| view.actor == *actor)
        && query.kind.as_ref().is_none_or(|kind| view.kind.starts_with(kind.as_str()))
        && query.from.as_ref().is_none_or(|from| view.from.as_ref() == Some(from))
        && (query.audit != Some(true) || view.from.is_some())
        && query.after_ms.is_none_or(|after| view.at_ms >= after)
        && query.before_ms.is_none_or(|before| view.at_ms < before)
}

/// Whether an entry belongs on a page of a query.
#[must_use]
pub fn is_on_page(query: &EventQuery, view: &EventView) -> bool {
    view.seq > query.since.unwrap_or(0)
        && query.until.is_none_or(|until| view.seq < until)
        && matches(query, view)
}
