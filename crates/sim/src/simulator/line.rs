//! What is to happen, by moment: a heap. Equal moments come in the order in which they were put in.

use super::world::Happening;
use pond_core::units::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    seq: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// Happenings to come.
#[derive(Debug, Default)]
pub(super) struct Line {
    heap: BinaryHeap<Reverse<Entry>>,
    seq: u64,
}

impl Line {
    /// Puts something in; never when its moment is [`Timestamp::NEVER`].
    pub fn push(&mut self, at: Timestamp, what: Happening) {
        if at != Timestamp::NEVER {
            self.seq += 1;
            self.heap.push(Reverse(Entry { at, seq: self.seq, what }));
        }
    }

    /// When the next is due.
    pub fn next(&self) -> Timestamp {
        self.heap.peek().map_or(Timestamp::NEVER, |Reverse(entry)| entry.at)
    }

    /// Takes the next.
    pub fn pop(&mut self) -> Option<Happening> {
        self.heap.pop().map(|Reverse(entry)| entry.what)
    }
}
