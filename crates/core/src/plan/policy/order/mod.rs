//! Order policies, one a file: which gang is tried next.
//!
//! All of them try classes one after the other and, inside a queue, higher priority first, then place in line.

mod fair_share;
mod fifo;

use crate::ids::GangId;
use crate::queue::Tree;
use crate::snapshot::OrderPolicy;
use crate::units::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The head of a bucket, ordered as in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Higher first.
    pub priority: Reverse<u16>,
    /// Earlier first.
    pub queued: Timestamp,
    /// Smaller first.
    pub gang: GangId,
    /// The bucket.
    pub bucket: usize,
}

/// The heads of all live buckets of one class.
#[derive(Debug)]
pub struct Line {
    policy: OrderPolicy,
    /// Per queue, its own buckets.
    heads: Vec<BinaryHeap<Reverse<Head>>>,
    /// Per queue, live buckets in it and below.
    live: Vec<u32>,
}

impl Line {
    /// An empty line for this many queues.
    pub fn new(policy: OrderPolicy, queues: usize) -> Self {
        Self { policy, heads: vec![BinaryHeap::new(); queues], live: vec![0; queues] }
    }

    /// Puts a bucket in.
    pub fn push(&mut self, tree: &Tree, queue: usize, head: Head) {
        let own = if self.policy == OrderPolicy::Fifo { 0 } else { queue };
        self.heads[own].push(Reverse(head));
        for at in tree.path(own) {
            self.live[at] += 1;
        }
    }

    /// Takes the bucket whose head is next out.
    pub fn pop(&mut self, tree: &Tree) -> Option<Head> {
        let queue = match self.policy {
            OrderPolicy::FairShare => fair_share::next(tree, &self.live, |at| !self.heads[at].is_empty()),
            OrderPolicy::Fifo => fifo::next(&self.live),
        }?;
        let Reverse(head) = self.heads[queue].pop()?;
        for at in tree.path(queue) {
            self.live[at] -= 1;
        }
        Some(head)
    }
}
