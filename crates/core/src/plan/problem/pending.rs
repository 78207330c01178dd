//! Pending gangs in buckets: those of one shape, size, queue, class, priority and duration are planned once.

use crate::ids::GangId;
use crate::model::{Class, GangSize};
use crate::plan::HoldReason;
use crate::plan::policy::order::Rank;
use crate::snapshot::{GangOrd, GangRow, NodeOrd};
use crate::units::{Millis, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// What the gangs of a bucket have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Promise.
    pub class: Class,
    /// Queue by ordinal.
    pub queue: usize,
    /// 0..=1000.
    pub priority: u16,
    /// Demand by ordinal.
    pub demand: usize,
    /// Tasks.
    pub size: GangSize,
    /// How long it runs at most; `None` when nobody knows.
    pub span: Option<Millis>,
    /// Nodes to keep away from when there is a choice.
    pub avoid: Vec<NodeOrd>,
}

/// A gang's place in its bucket, as in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What the order policy says of it.
    pub rank: Rank,
    /// Earlier first.
    pub queued: Timestamp,
    /// Smaller first.
    pub id: GangId,
    /// Where its row is.
    pub gang: GangOrd,
}

/// Gangs that are alike.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// In what.
    pub key: Key,
    /// First in line first.
    pub gangs: VecDeque<Place>,
    /// The reason that was last given for those who wait here, but for those [`Pending::apart`].
    pub told: Option<HoldReason>,
}

/// All pending gangs.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// By number; empty ones wait for reuse.
    pub buckets: Vec<Bucket>,
    /// Gangs for whom another reason was last given than for their bucket, or none yet.
    pub apart: BTreeMap<GangOrd, Option<HoldReason>>,
    numbers: BTreeMap<Key, usize>,
    unused: Vec<usize>,
}

/// Predictions differ for every gang; rounded up to eight steps an octave they share buckets.
fn rounded_up(span: Millis) -> Millis {
    let step = (span.0.max(1).ilog2().saturating_sub(3)).min(60);
    Millis(span.0.checked_next_multiple_of(1 << step).unwrap_or(u64::MAX))
}

/// How long a gang runs at most when it starts now, or is predicted to; `None` when nobody knows.
pub fn span(row: &GangRow) -> Option<Millis> {
    let predicted = row.predicted.map(|all| rounded_up(all.minus(row.attained.done)));
    [row.time_limit, predicted].into_iter().flatten().min()
}

impl Pending {
    /// The bucket key of a row.
    pub fn key(row: &GangRow) -> Key {
        Key {
            class: row.class,
            queue: row.queue.0 as usize,
            priority: row.priority,
            demand: row.demand.0 as usize,
            size: row.size,
            span: span(row),
            avoid: row.avoid.clone(),
        }
    }

    /// Puts a gang in; the number of its bucket.
    pub fn add(&mut self, row: &GangRow, place: Place) -> usize {
        let key = Self::key(row);
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let bucket = Bucket { key: key.clone(), gangs: VecDeque::new(), told: None };
                let number = match self.unused.pop() {
                    Some(number) => {
                        self.buckets[number] = bucket;
                        number
                    }
                    None => {
                        self.buckets.push(bucket);
                        self.buckets.len() - 1
                    }
                };
                self.numbers.insert(key, number);
                number
            }
        };
        self.apart.insert(place.gang, None);
        let gangs = &mut self.buckets[number].gangs;
        match gangs.back() {
            Some(last) if *last > place => {
                let at = gangs.partition_point(|other| *other < place);
                gangs.insert(at, place);
            }
            _ => gangs.push_back(place),
        }
        number
    }

    /// Every gang.
    pub fn all(&self) -> impl Iterator<Item = GangOrd> + '_ {
        self.buckets.iter().flat_map(|bucket| &bucket.gangs).map(|place| place.gang)
    }

    /// Takes a gang out.
    pub fn remove(&mut self, number: usize, place: &Place) {
        self.apart.remove(&place.gang);
        let bucket = &mut self.buckets[number];
        if let Ok(at) = bucket.gangs.binary_search(place) {
            bucket.gangs.remove(at);
        }
        if bucket.gangs.is_empty() {
            self.numbers.remove(&bucket.key);
            self.unused.push(number);
        }
    }
}
