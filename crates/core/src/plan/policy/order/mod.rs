//! Order policies, one a file: which gang is tried next, and who goes before whom so far that it may take its place.
//!
//! Classes come one after the other. The [`QueuePolicy`] chooses the queue; inside it higher priority goes first, then the
//! policy's [`Rank`], then place in line. A rank is a function of [`Facts`] of one gang. Under most policies it stays while a gang
//! waits, and is computed once, when its row is read; under those that look at the clock, anew each round.

pub mod fair_share;
mod fifo;
mod gavel;
mod goodput;
mod las;
mod qssf;
mod sjf;
mod smallest;
mod srsf;
mod srtf;
mod themis;
mod tiresias;

use crate::ids::GangId;
use crate::model::speed::FULL;
use crate::model::{Shape, ShareMode, Speed};
use crate::plan::problem::pending::Place;
use crate::queue::Tree;
use crate::snapshot::{GangPhase, GangRow, OrderPolicy, QueuePolicy, Ranking, Settings};
use crate::units::{Millis, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One device for one second, in the unit of service: thousandths of a device × milliseconds.
const DEVICE_SECOND: u64 = 1_000_000;

/// What a policy says of a gang. Smaller goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// What evictions look at, under a policy that preempts.
    pub level: u32,
    /// The order inside a level.
    pub key: u64,
}

/// What a policy may know of a gang.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its place in line.
    pub queued: Timestamp,
    /// Its prediction, else its time limit, else [`Ranking::unpredicted`].
    pub predicted: Millis,
    /// Thousandths of devices that its smallest start asks for, of cores when it asks for no device.
    pub asked: u64,
    /// What it has held so far: thousandths of a device × milliseconds.
    pub service: u64,
    /// What it did, as far as its work is not lost: milliseconds at full speed.
    pub done: Millis,
    /// Its speed, in thousandths, on the mean of the device models that were measured.
    pub mean_speed: u64,
    /// The moment of which this is said.
    pub now: Timestamp,
}

impl Facts {
    /// Of a row; `rate` is what a placed gang holds, in the unit of `asked`.
    pub fn of(row: &GangRow, asked: u64, rate: u64, now: Timestamp, ranking: &Ranking) -> Self {
        let mut facts = Self {
            queued: row.queued,
            predicted: row.predicted.or(row.time_limit).unwrap_or(ranking.unpredicted),
            asked,
            service: row.attained.service,
            done: row.attained.done,
            mean_speed: row.speed.as_deref().map_or(FULL, Speed::mean),
            now,
        };
        if let GangPhase::Placed(placed) = &row.phase {
            let held = now.since(placed.metered).0.saturating_mul(rate);
            facts.service = facts.service.saturating_add(held);
            facts.done = facts.done.plus(placed.done(now));
        }
        facts
    }

    /// How long it still has to run.
    const fn rest(&self) -> Millis {
        self.predicted.minus(self.done)
    }
}

/// What the smallest start of a gang asks for, in thousandths of devices; of cores when it asks for no device.
pub fn asked(shape: &Shape, ranks: u32) -> u64 {
    let devices = shape.devices.iter().map(|request| {
        let share = if request.mode == ShareMode::Exclusive { 1000 } else { request.compute.0.max(1) };
        share.saturating_mul(u64::from(request.count))
    });
    let one = match devices.sum() {
        0 => shape.request.cpu.0,
        devices => devices,
    };
    one.saturating_mul(u64::from(ranks))
}

/// `⌊log_base(service)⌋` of device-seconds; 0 below one.
fn level(service: u64, base: u64) -> u32 {
    (service / DEVICE_SECOND).checked_ilog(base.clamp(2, 1024)).unwrap_or(0)
}

/// The least service of a level.
fn floor(level: u32, base: u64) -> u64 {
    if level == 0 { 0 } else { base.clamp(2, 1024).saturating_pow(level).saturating_mul(DEVICE_SECOND) }
}

/// The level of a running gang as its index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its level, or more.
    pub bound: u32,
    /// When that changes if it goes on running.
    pub until: Timestamp,
}

impl Standing {
    const fn for_ever(bound: u32) -> Self {
        Self { bound, until: Timestamp::NEVER }
    }
}

/// The end of the round in which the facts were taken.
fn round_end(facts: &Facts, ranking: &Ranking) -> Timestamp {
    facts.now.after(ranking.round.max(Millis(1)))
}

/// The order policy with its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Ranker {
    policy: OrderPolicy,
    /// Its parameters.
    pub ranking: Ranking,
    /// All queues are one line.
    pub one_line: bool,
}

impl Ranker {
    /// As set.
    pub fn new(settings: &Settings) -> Self {
        let one_line = settings.queues == QueuePolicy::OneLine;
        Self { policy: settings.order, ranking: settings.ranking, one_line }
    }

    /// The half-life of what counts into the shares of queues; `None` where nobody compares them.
    pub fn shares(&self, settings: &Settings) -> Option<Millis> {
        (!self.one_line).then_some(settings.half_life)
    }

    /// Where a gang stands.
    pub fn rank(&self, facts: &Facts) -> Rank {
        match self.policy {
            OrderPolicy::Fifo => fifo::rank(),
            OrderPolicy::Sjf => sjf::rank(facts),
            OrderPolicy::Srtf => srtf::rank(facts),
            OrderPolicy::Qssf => qssf::rank(facts),
            OrderPolicy::Smallest => smallest::rank(facts),
            OrderPolicy::Tiresias => tiresias::rank(facts, &self.ranking),
            OrderPolicy::Las => las::rank(facts, &self.ranking),
            OrderPolicy::Srsf => srsf::rank(facts, &self.ranking),
            OrderPolicy::Themis => themis::rank(facts),
            OrderPolicy::Gavel => gavel::rank(facts),
            OrderPolicy::Goodput => goodput::rank(facts),
        }
    }

    /// Where a running gang stands, and until when.
    pub fn standing(&self, facts: &Facts, rate: u64) -> Standing {
        match self.policy {
            OrderPolicy::Srtf => srtf::standing(facts, &self.ranking),
            OrderPolicy::Tiresias => tiresias::standing(facts, rate, &self.ranking),
            OrderPolicy::Las => las::standing(facts, rate, &self.ranking),
            OrderPolicy::Srsf => srsf::standing(facts, &self.ranking),
            OrderPolicy::Themis => themis::standing(facts, &self.ranking),
            OrderPolicy::Gavel => gavel::standing(facts, &self.ranking),
            _ => Standing::for_ever(0),
        }
    }

    /// Whether a gang may be evicted for one of a lower level.
    pub const fn preempts(&self) -> bool {
        use OrderPolicy::{Gavel, Las, Srsf, Srtf, Themis, Tiresias};
        matches!(self.policy, Srtf | Tiresias | Las | Srsf | Themis | Gavel)
    }

    /// Whether a running gang's level rises as time goes by, so that it may be evicted later though not now.
    pub const fn rises(&self) -> bool {
        matches!(self.policy, OrderPolicy::Tiresias | OrderPolicy::Las)
    }

    /// Whether the rank of a gang changes while it waits.
    const fn looks_at_the_clock(&self) -> bool {
        matches!(self.policy, OrderPolicy::Themis | OrderPolicy::Gavel)
    }

    /// When the round began; the very beginning where there are no rounds.
    pub fn round_of(&self, now: Timestamp) -> Timestamp {
        if !self.looks_at_the_clock() {
            return Timestamp(0);
        }
        Timestamp(now.0 - now.0 % self.ranking.round.0.max(1))
    }

    /// The moment of which facts are taken.
    pub fn seen_at(&self, now: Timestamp) -> Timestamp {
        if self.looks_at_the_clock() { self.round_of(now) } else { now }
    }

    /// When the next round begins.
    pub fn next_round(&self, now: Timestamp) -> Timestamp {
        if !self.looks_at_the_clock() {
            return Timestamp::NEVER;
        }
        self.round_of(now).after(Millis(self.ranking.round.0.max(1)))
    }

    /// Whether a gang is safe from its order: taking turns, one that cannot save would never get to its end.
    pub fn is_safe(&self, row: &GangRow) -> bool {
        self.policy == OrderPolicy::Gavel && !row.saves
    }

    /// How long a gang keeps its place whatever its level.
    pub const fn lease(&self) -> Millis {
        match self.policy {
            OrderPolicy::Themis | OrderPolicy::Gavel => self.ranking.lease,
            _ => Millis::ZERO,
        }
    }

    /// The lowest level that a gang of this level may evict.
    pub fn evicts_from(&self, level: u32) -> u32 {
        level.saturating_add(self.ranking.gap.max(1))
    }

    /// The line of a queue: gangs of one line may evict each other by level.
    pub const fn line(&self, queue: usize) -> usize {
        if self.one_line { 0 } else { queue }
    }
}

/// The head of a bucket, ordered as in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Higher first.
    pub priority: Reverse<u16>,
    /// Smaller first.
    pub rank: Rank,
    /// Earlier first.
    pub queued: Timestamp,
    /// Smaller first.
    pub gang: GangId,
    /// The bucket.
    pub bucket: usize,
}

impl Head {
    /// Of a bucket with this priority.
    pub const fn of(place: &Place, priority: u16, bucket: usize) -> Self {
        let Place { rank, queued, id, .. } = *place;
        Self { priority: Reverse(priority), rank, queued, gang: id, bucket }
    }
}

/// The heads of all live buckets of one class.
#[derive(Debug)]
pub struct Line {
    one: bool,
    /// Per queue, its own buckets.
    heads: Vec<BinaryHeap<Reverse<Head>>>,
    /// Per queue, live buckets in it and below.
    live: Vec<u32>,
}

impl Line {
    /// An empty line for this many queues.
    pub fn new(policy: QueuePolicy, queues: usize) -> Self {
        let one = policy == QueuePolicy::OneLine;
        Self { one, heads: vec![BinaryHeap::new(); queues], live: vec![0; queues] }
    }

    /// Puts a bucket in.
    pub fn push(&mut self, tree: &Tree, queue: usize, head: Head) {
        let own = if self.one { 0 } else { queue };
        self.heads[own].push(Reverse(head));
        for at in tree.path(own) {
            self.live[at] += 1;
        }
    }

    /// Takes the bucket whose head is next out.
    pub fn pop(&mut self, tree: &Tree) -> Option<Head> {
        let queue =
            if self.one { 0 } else { fair_share::next(tree, &self.live, |at| !self.heads[at].is_empty())? };
        let Reverse(head) = self.heads.get_mut(queue)?.pop()?;
        for at in tree.path(queue) {
            self.live[at] -= 1;
        }
        Some(head)
    }
}
