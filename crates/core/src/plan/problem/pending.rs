//! Pending gangs in buckets: those of one shape, size, queue, class, priority and duration are planned once.

use crate::ids::GangId;
use crate::model::{Class, GangSize, Speed};
use crate::plan::HoldReason;
use crate::plan::policy::order::{Head, Rank};
use crate::queue::Amounts;
use crate::snapshot::{GangOrd, GangRow, NodeOrd};
use crate::units::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
    /// How long it runs at most; `None` when nobody knows or it does not matter.
    pub span: Option<Millis>,
    /// Nodes to keep away from when there is a choice.
    pub avoid: Vec<NodeOrd>,
    /// How its speed depends on its place.
    pub speed: Option<Arc<Speed>>,
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
    /// Variants of its demand, by alternative.
    pub variants: Vec<usize>,
    line: usize,
    head: Option<Head>,
}

/// First gangs of the buckets of one class and line, in their order.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// Of all buckets.
    pub all: BTreeSet<Head>,
    /// By variant; buckets with alternatives stand in several.
    pub by_variant: BTreeMap<usize, BTreeSet<Head>>,
}

/// Buckets that wait with one variant.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// Buckets by their fewest tasks.
    sizes: BTreeMap<u32, usize>,
    /// Buckets by their span, the longest when nobody knows.
    spans: BTreeMap<Millis, usize>,
}

impl Users {
    fn count(&mut self, key: &Key, add: bool) {
        tally(&mut self.sizes, key.size.min, add);
        tally(&mut self.spans, key.span.unwrap_or(Millis::MAX), add);
    }

    /// The fewest tasks that any of them asks for, and the shortest span.
    pub fn least(&self) -> (u32, Option<Millis>) {
        let size = self.sizes.keys().next().copied().unwrap_or(1);
        (size, self.spans.keys().next().copied().filter(|span| *span != Millis::MAX))
    }
}

fn tally<K: Ord + Copy>(counts: &mut BTreeMap<K, usize>, key: K, add: bool) {
    let count = counts.entry(key).or_default();
    *count = if add { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        counts.remove(&key);
    }
}

/// All pending gangs.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// By number; empty ones wait for reuse.
    pub buckets: Vec<Bucket>,
    /// Gangs for whom another reason was last given than for their bucket, or none yet.
    pub apart: BTreeMap<GangOrd, Option<HoldReason>>,
    /// Whoever waits, by class and line; none of them is empty.
    pub lines: BTreeMap<(Class, usize), Heads>,
    /// Lines of each class.
    waiting: [usize; 3],
    /// Limits of queues as the last reasons were given: which, used, limit.
    pub limits: Vec<(usize, Amounts, Amounts)>,
    /// [`super::pool::Pool::reshaped`] then.
    pub reshaped: u64,
    /// Buckets whose reason must be found anew.
    pub unsettled: BTreeSet<usize>,
    /// Those who wait with each variant.
    pub users: BTreeMap<usize, Users>,
    /// Whether it matters how long a gang runs: where no place is kept for anybody it does not, and gangs that differ in that
    /// alone share a bucket.
    spans: bool,
    numbers: BTreeMap<Key, usize>,
    unused: Vec<usize>,
    spare: Spare,
}

/// Emptied collections, for their memory: where nobody has to wait, each gang opens and closes a line of its own.
#[derive(Clone, Debug, Default)]
struct Spare {
    users: Vec<Users>,
    heads: Vec<Heads>,
    sets: Vec<BTreeSet<Head>>,
}

/// No more of each are kept.
const MOST_SPARE: usize = 16;

fn keep<T>(spare: &mut Vec<T>, emptied: T) {
    if spare.len() < MOST_SPARE {
        spare.push(emptied);
    }
}

fn reuse<T: Default>(spare: &mut Vec<T>) -> T {
    spare.pop().unwrap_or_default()
}

/// How long a gang runs at most when it starts now, or is predicted to; `None` when nobody knows.
pub fn span(row: &GangRow) -> Option<Millis> {
    let predicted = row.predicted.map(|all| all.minus(row.attained.done));
    [row.time_limit, predicted].into_iter().flatten().min()
}

impl Pending {
    /// Nobody; `spans`: whether it matters how long gangs run.
    pub fn new(spans: bool) -> Self {
        Self { spans, ..Self::default() }
    }

    /// The bucket key of a row.
    fn key(&self, row: &GangRow) -> Key {
        Key {
            class: row.class,
            queue: row.queue.0 as usize,
            priority: row.priority,
            demand: row.demand.0 as usize,
            size: row.size,
            span: if self.spans { span(row) } else { None },
            avoid: row.avoid.clone(),
            speed: row.speed.clone(),
        }
    }

    /// Puts a gang in; the number of its bucket. `variants` are those of its demand, `line` is that of its queue.
    pub fn add(&mut self, row: &GangRow, place: Place, variants: &[usize], line: usize) -> usize {
        let key = self.key(row);
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => self.open(key, variants, line),
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
        self.find_head(number);
        number
    }

    fn open(&mut self, key: Key, variants: &[usize], line: usize) -> usize {
        let Self { users, spare, .. } = self;
        for variant in variants {
            users.entry(*variant).or_insert_with(|| reuse(&mut spare.users)).count(&key, true);
        }
        let number = self.unused.pop().unwrap_or(self.buckets.len());
        self.numbers.insert(key.clone(), number);
        if let Some(bucket) = self.buckets.get_mut(number) {
            bucket.key = key;
            bucket.told = None;
            bucket.variants.clear();
            bucket.variants.extend_from_slice(variants);
            bucket.line = line;
        } else {
            let (gangs, variants) = (VecDeque::new(), variants.to_vec());
            self.buckets.push(Bucket { key, gangs, told: None, variants, line, head: None });
        }
        self.unsettled.insert(number);
        number
    }

    /// Whether anybody of the class waits.
    pub fn waits(&self, class: Class) -> bool {
        self.waiting[class as usize] > 0
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
        let over = bucket.gangs.is_empty();
        if over {
            bucket.gangs.shrink_to(MOST_SPARE);
        }
        self.find_head(number);
        if over {
            let bucket = &self.buckets[number];
            self.numbers.remove(&bucket.key);
            for variant in &bucket.variants {
                if let Some(users) = self.users.get_mut(variant) {
                    users.count(&bucket.key, false);
                    if users.sizes.is_empty()
                        && let Some(emptied) = self.users.remove(variant)
                    {
                        keep(&mut self.spare.users, emptied);
                    }
                }
            }
            self.unsettled.remove(&number);
            self.unused.push(number);
        }
    }

    /// Brings the lines up to who is first in a bucket.
    fn find_head(&mut self, number: usize) {
        let bucket = &mut self.buckets[number];
        let head = bucket.gangs.front().map(|place| Head::of(place, bucket.key.priority, number));
        let before = std::mem::replace(&mut bucket.head, head);
        if before == head {
            return;
        }
        let at = (bucket.key.class, bucket.line);
        let lines = self.lines.len();
        let Self { lines: open, spare, .. } = self;
        let heads = open.entry(at).or_insert_with(|| reuse(&mut spare.heads));
        if let Some(before) = &before {
            heads.all.remove(before);
        }
        heads.all.extend(head);
        for variant in &bucket.variants {
            let own = heads.by_variant.entry(*variant).or_insert_with(|| reuse(&mut spare.sets));
            if let Some(before) = &before {
                own.remove(before);
            }
            own.extend(head);
            if own.is_empty()
                && let Some(emptied) = heads.by_variant.remove(variant)
            {
                keep(&mut spare.sets, emptied);
            }
        }
        if heads.all.is_empty()
            && let Some(emptied) = self.lines.remove(&at)
        {
            keep(&mut self.spare.heads, emptied);
        }
        let of_class = &mut self.waiting[at.0 as usize];
        *of_class = *of_class + self.lines.len() - lines;
    }
}
