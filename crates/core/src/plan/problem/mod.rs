//! The problem the planner solves: the snapshot in dense numbers, kept up to date from what the engine touched.

pub mod bits;
pub mod claims;
pub mod close;
pub mod forecast;
pub mod lodgers;
pub mod log;
pub mod pending;
pub mod pool;
pub mod profile;
pub mod rating;
pub mod room;
pub mod running;
pub mod shape;
pub mod together;

use super::HoldReason;
use super::policy::order::{Facts, Ranker, asked};
use crate::model::{Class, Shape, Speed};
use crate::plan::runs::Runs;
use crate::plan::turns::Memory;
use crate::queue::{Amounts, RUNNING, Tree};
use crate::snapshot::{
    GangOrd, GangPhase, GangRow, NodeOrd, NodeRow, NodeState, PlacedGang, Settings, Snapshot,
};
use crate::units::Timestamp;
use forecast::Forecasts;
use pending::{Pending, Place};
use pool::Pool;
use running::{Entry, Running};
use shape::compile;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Variants that nobody waits with, and profiles that no node is of, that may pile up before everything is built anew.
const MOST_STALE: usize = 1000;

/// Where a gang was put.
#[derive(Clone, Debug)]
enum Seen {
    Nowhere,
    Pending(usize, Place),
    Running(Entry, Box<Amounts>),
}

/// The numbers of a demand's variants: per alternative, for others and for `spare`.
type Variants = Vec<[Option<usize>; 2]>;

/// What a plan works with and the next can use again. Nothing is read from it.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The tree of queues.
    pub tree: Tree,
    /// How far buckets have come: empty.
    pub runs: Runs,
    /// Of [`Solver::fitting`](crate::plan::solve::Solver): empty.
    pub fitting: Vec<usize>,
    /// Of a class's turns: empty.
    pub turns: Memory,
}

/// The problem.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Nodes.
    pub pool: Pool,
    /// Gangs that want a place.
    pub pending: Pending,
    /// Gangs that have one.
    pub running: Running,
    /// When nodes will have room.
    pub forecasts: Forecasts,
    /// What all nodes that are not lost have.
    pub total: Amounts,
    /// The order policy.
    pub ranker: Ranker,
    /// For the next plan.
    pub scratch: Scratch,
    now: Timestamp,
    seen: Vec<Seen>,
    demands: Vec<(Vec<Shape>, Variants)>,
    /// Variants by what they stand for: a demand that comes back finds its own.
    shapes: BTreeMap<(Shape, bool), usize>,
    /// The same on some device models only.
    by_speed: BTreeMap<(Shape, bool, Vec<bool>), usize>,
    places: Vec<[Option<String>; 3]>,
    parts: Vec<Amounts>,
    label_keys: BTreeSet<String>,
    epoch: u64,
    /// Nodes that an update goes over, for the memory of the next: empty.
    to_read: Vec<NodeOrd>,
}

fn part(row: &NodeRow) -> Amounts {
    if row.state == NodeState::Lost {
        return Amounts::ZERO;
    }
    let mut part = Amounts::of(row.capacity);
    for device in row.devices.iter().filter(|device| device.healthy) {
        part.add_device(device.spec.kind, 1000);
    }
    part
}

/// Labels that say where a node is.
const PLACE: [&str; 3] = ["zone", "rack", "switch"];

fn place(row: &NodeRow) -> [Option<String>; 3] {
    PLACE.map(|key| row.labels.get(key).cloned())
}

/// Whether a node is where it was.
fn is_at(row: &NodeRow, place: &[Option<String>; 3]) -> bool {
    PLACE.iter().zip(place).all(|(key, value)| row.labels.get(*key) == value.as_ref())
}

/// What a placed gang counts for.
fn amounts_of(snapshot: &Snapshot, placed: &PlacedGang) -> Amounts {
    let mut amounts = Amounts::ZERO;
    for task in &placed.tasks {
        amounts = amounts.plus(&Amounts::of(task.request));
        let devices = &snapshot.node(task.node).devices;
        for grant in task.devices.iter() {
            if let Some(device) = devices.get(grant.device as usize) {
                amounts.add_grant(device.spec.kind, grant, device.spec.memory);
            }
        }
    }
    amounts.0[RUNNING] = 1;
    amounts
}

impl Problem {
    /// Reads everything.
    pub fn new(snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Self {
        let shapes = snapshot.demands.iter().flatten();
        let label_keys: BTreeSet<String> = shapes.flat_map(|shape| shape.labels.keys().cloned()).collect();
        let parts: Vec<Amounts> = snapshot.nodes.iter().map(part).collect();
        let mut problem = Self {
            pool: Pool::new(&snapshot.nodes, label_keys.clone(), settings),
            pending: Pending::new(settings.most_reservations() > 0),
            running: Running::default(),
            forecasts: Forecasts::default(),
            total: parts.iter().fold(Amounts::ZERO, |sum, part| sum.plus(part)),
            ranker: Ranker::new(settings),
            scratch: Scratch::default(),
            now,
            seen: Vec::with_capacity(snapshot.gangs.len()),
            demands: Vec::new(),
            shapes: BTreeMap::new(),
            by_speed: BTreeMap::new(),
            places: snapshot.nodes.iter().map(place).collect(),
            parts,
            label_keys,
            epoch: snapshot.epoch,
            to_read: Vec::new(),
        };
        for gang in 0..snapshot.gangs.len() {
            problem.read_gang(snapshot, GangOrd(u32::try_from(gang).unwrap_or(u32::MAX)));
        }
        problem.pool.expect(&snapshot.mix);
        problem
    }

    /// How much of everything that could pile up is kept.
    #[cfg(test)]
    pub fn kept(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("variants", self.pool.variants.len()),
            ("profiles", self.pool.profiles()),
            ("log of grown nodes", self.pool.grown()),
            ("buckets", self.pending.buckets.len()),
            ("reasons apart", self.pending.apart.len()),
            ("users of variants", self.pending.users.len()),
            ("levels that change", self.running.levels()),
            ("forecasts", self.forecasts.kept()),
            ("rows seen", self.seen.len()),
            ("demands", self.demands.len()),
            ("shapes", self.shapes.len()),
        ]
    }

    /// Whether it holds this very snapshot.
    pub const fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.epoch == snapshot.epoch && !snapshot.touched.all
    }

    /// Whether there is nothing to decide: nobody waits, nobody may have other ranks, and nobody lives on lent CPU.
    pub fn is_idle(&self) -> bool {
        self.pending.lines.is_empty() && self.running.elastic.is_empty() && self.running.lodgers.is_empty()
    }

    /// Reads what was touched; everything when that is not enough.
    pub fn update(&mut self, snapshot: &Snapshot, settings: &Settings, now: Timestamp) {
        let before = std::mem::replace(&mut self.now, now);
        if snapshot.touched.all || self.epoch < snapshot.touched.since || !self.try_update(snapshot) {
            *self = Self::new(snapshot, settings, now);
        }
        self.pool.expect(&snapshot.mix);
        self.epoch = snapshot.epoch;
        self.read_due(snapshot, before);
    }

    /// Moves on to a moment at which nothing else is another.
    pub fn pass_time(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let before = std::mem::replace(&mut self.now, now);
        self.read_due(snapshot, before);
    }

    /// Reads the gangs again whose rank or expected end is another by now.
    fn read_due(&mut self, snapshot: &Snapshot, before: Timestamp) {
        for gang in self.running.due(self.now) {
            self.read_gang(snapshot, gang);
        }
        if self.ranker.round_of(self.now) != self.ranker.round_of(before) {
            for gang in self.pending.all().collect::<Vec<GangOrd>>() {
                let told = self.told(gang);
                self.read_gang(snapshot, gang);
                self.keep_told(gang, told);
            }
        }
    }

    /// The reason that was last given for a waiting gang.
    fn told(&self, gang: GangOrd) -> Option<HoldReason> {
        let of_all = || self.pending.buckets[self.bucket(gang)?].told.clone();
        self.pending.apart.get(&gang).cloned().unwrap_or_else(of_all)
    }

    /// Reading a gang again takes nothing back that was said of it.
    fn keep_told(&mut self, gang: GangOrd, told: Option<HoldReason>) {
        let Some(bucket) = self.bucket(gang) else { return };
        if self.pending.buckets[bucket].told == told {
            self.pending.apart.remove(&gang);
        } else {
            self.pending.apart.insert(gang, told);
        }
    }

    fn try_update(&mut self, snapshot: &Snapshot) -> bool {
        if snapshot.nodes.len() != self.pool.len()
            || self.pool.variants.len() > 2 * self.pending.users.len() + MOST_STALE
            || self.pool.profiles() > self.pool.len() + MOST_STALE
        {
            return false;
        }
        let mut nodes = std::mem::take(&mut self.to_read);
        nodes.extend(&snapshot.touched.nodes);
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes.drain(..) {
            let (at, row) = (node.0 as usize, snapshot.node(node));
            if !snapshot.touched.reshaped.contains(&node) {
                self.pool.load_free(at, row);
            } else if !self.read_node(at, row) {
                return false;
            }
            self.forecasts.touch(at, self.pool.len());
            self.running.lodgers.touch(at);
        }
        self.to_read = nodes;
        // A demand that was given to others has no gang of before any more when they are read.
        for gang in &snapshot.touched.gangs {
            self.forget_gang(*gang);
        }
        for gang in &snapshot.touched.gangs {
            if !self.read_gang(snapshot, *gang) {
                return false;
            }
        }
        true
    }

    /// Reads a node that may be another than it was; whether its row could be read into what is there.
    fn read_node(&mut self, at: usize, row: &NodeRow) -> bool {
        if !self.pool.same_devices(at, row) || !is_at(row, &self.places[at]) {
            return false;
        }
        let part = part(row);
        self.total = self.total.minus(&self.parts[at]).plus(&part);
        self.parts[at] = part;
        self.pool.load(at, row);
        true
    }

    fn forget_gang(&mut self, ord: GangOrd) {
        let at = ord.0 as usize;
        if at >= self.seen.len() {
            self.seen.resize(at + 1, Seen::Nowhere);
        }
        match std::mem::replace(&mut self.seen[at], Seen::Nowhere) {
            Seen::Nowhere => {}
            Seen::Pending(bucket, place) => self.pending.remove(bucket, &place),
            Seen::Running(entry, _) => self.running.remove(&entry, ord),
        }
    }

    /// Whether the gang's row could be read into what is there.
    fn read_gang(&mut self, snapshot: &Snapshot, ord: GangOrd) -> bool {
        self.forget_gang(ord);
        let at = ord.0 as usize;
        let Some(row) = snapshot.gang(ord) else { return true };
        let known = self.read_demand(snapshot, row.demand.0 as usize);
        self.seen[at] = match &row.phase {
            // The engine knows why.
            GangPhase::Held(_) => Seen::Nowhere,
            GangPhase::Pending => {
                let rank = self.ranker.rank(&self.facts(snapshot, row, 0));
                let place = Place { rank, queued: row.queued, id: row.id, gang: ord };
                let variants = self.variants_of(row.demand.0 as usize, row.class == Class::Spare);
                let line = self.ranker.line(row.queue.0 as usize);
                Seen::Pending(self.pending.add(row, place, &variants, line), place)
            }
            GangPhase::Placed(placed) => {
                for task in &placed.tasks {
                    self.forecasts.touch(task.node.0 as usize, self.pool.len());
                }
                let amounts = amounts_of(snapshot, placed);
                let rate = amounts.rate();
                let standing = self.ranker.standing(&self.facts(snapshot, row, rate), rate);
                let line = self.ranker.line(row.queue.0 as usize);
                let entry = self.running.add(row, placed, ord, line, standing, self.now);
                Seen::Running(entry, Box::new(amounts))
            }
        };
        known
    }

    /// What the order policy may know of a gang; `rate` is what it holds, 0 while it waits.
    fn facts(&self, snapshot: &Snapshot, row: &GangRow, rate: u64) -> Facts {
        let asked = snapshot.demand(row.demand).first().map_or(0, |shape| asked(shape, row.size.min));
        Facts::of(row, asked, rate, self.ranker.seen_at(self.now), &self.ranker.ranking)
    }

    /// The level of a running gang under the order policy, now.
    pub fn level(&self, snapshot: &Snapshot, gang: GangOrd) -> u32 {
        let Some(row) = snapshot.gang(gang) else { return 0 };
        self.ranker.rank(&self.facts(snapshot, row, self.amounts(gang).rate())).level
    }

    /// Whether the demand asks for no label that the pool does not know yet.
    fn read_demand(&mut self, snapshot: &Snapshot, demand: usize) -> bool {
        if demand >= self.demands.len() {
            self.demands.resize(demand + 1, (Vec::new(), Vec::new()));
        }
        let (shapes, variants) = &mut self.demands[demand];
        let new = &snapshot.demands[demand];
        if shapes == new {
            return true;
        }
        *variants = vec![[None; 2]; new.len()];
        shapes.clone_from(new);
        new.iter().flat_map(|shape| shape.labels.keys()).all(|key| self.label_keys.contains(key))
    }

    /// What a running gang counts for.
    pub fn amounts(&self, gang: GangOrd) -> Amounts {
        match self.seen.get(gang.0 as usize) {
            Some(Seen::Running(_, amounts)) => **amounts,
            _ => Amounts::ZERO,
        }
    }

    /// The bucket of a pending gang.
    pub fn bucket(&self, gang: GangOrd) -> Option<usize> {
        match self.seen.get(gang.0 as usize) {
            Some(Seen::Pending(bucket, _)) => Some(*bucket),
            _ => None,
        }
    }

    /// The place in line of a pending gang.
    pub fn place(&self, gang: GangOrd) -> Option<Place> {
        match self.seen.get(gang.0 as usize) {
            Some(Seen::Pending(_, place)) => Some(*place),
            _ => None,
        }
    }

    /// How many alternatives a demand has.
    pub fn alternatives(&self, demand: usize) -> usize {
        self.demands[demand].1.len()
    }

    /// The variants of an alternative on device models that are alike for the gang, the fastest first; none when all are.
    pub fn variants_by_speed(
        &mut self,
        speed: Option<&Speed>,
        demand: usize,
        alternative: usize,
        spare: bool,
    ) -> Vec<(u64, usize)> {
        let Some(speed) = speed.filter(|speed| !speed.models.is_empty()) else { return Vec::new() };
        let on: Vec<u64> = self.pool.models.names().map(|model| speed.on(model)).collect();
        let shape = &self.demands[demand].0[alternative];
        let compiled = compile(shape, &self.pool.models);
        let Some(slot) = compiled.slots.first() else { return Vec::new() };
        let right = on.iter().zip(&slot.models).filter(|(_, right)| **right);
        let speeds: BTreeSet<Reverse<u64>> = right.map(|(speed, _)| Reverse(*speed)).collect();
        if speeds.len() < 2 {
            return Vec::new();
        }
        let mut variants = Vec::with_capacity(speeds.len());
        for Reverse(speed) in speeds {
            let alike: Vec<bool> = on.iter().map(|other| *other == speed).collect();
            let mut compiled = compiled.clone();
            for slot in &mut compiled.slots {
                slot.models.iter_mut().zip(&alike).for_each(|(right, alike)| *right &= *alike);
            }
            let known = self.by_speed.entry((shape.clone(), spare, alike));
            variants.push((speed, *known.or_insert_with(|| self.pool.add_variant(compiled, spare))));
        }
        variants
    }

    fn variants_of(&mut self, demand: usize, spare: bool) -> Vec<usize> {
        (0..self.alternatives(demand)).map(|alternative| self.variant(demand, alternative, spare)).collect()
    }

    /// The number of a variant, made when it is first asked for.
    pub fn variant(&mut self, demand: usize, alternative: usize, spare: bool) -> usize {
        let (shapes, variants) = &mut self.demands[demand];
        let slot = &mut variants[alternative][usize::from(spare)];
        if let Some(variant) = *slot {
            return variant;
        }
        let pool = &mut self.pool;
        let known = self.shapes.entry((shapes[alternative].clone(), spare));
        let variant = *known.or_insert_with_key(|(shape, spare)| {
            let compiled = compile(shape, &pool.models);
            pool.add_variant(compiled, *spare)
        });
        *slot = Some(variant);
        variant
    }
}
