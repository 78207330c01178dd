//! The planner's nodes and scores without its queues: a place is found, taken, given back.
//!
//! For experiments on placement alone. What finds a place here is what finds one in a plan, so that a figure of
//! such an experiment is one of the planner; for plans themselves there is [`Planner`](super::Planner).

use super::problem::pool::{Pool, Seat, Want};
use super::problem::shape::compile;
use crate::mix::Mix;
use crate::model::Shape;
use crate::snapshot::{NodeOrd, NodeRow, Settings};
use crate::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes, and what is expected to come.
#[derive(Clone, Debug)]
pub struct Places {
    pool: Pool,
    mix: Mix<Shape>,
    wants: BTreeMap<Shape, WantOrd>,
}

/// A shape that [`Places`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantOrd(u32);

/// A place that was found for one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    want: WantOrd,
    seat: Seat,
}

impl Place {
    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeOrd {
        NodeOrd(u32::try_from(self.seat.node).unwrap_or(u32::MAX))
    }

    /// Its devices, in the order of the shape's requests.
    pub fn devices(&self) -> impl Iterator<Item = u32> + '_ {
        self.seat.picked.iter().map(|(_, grant, _)| grant.device)
    }
}

impl Places {
    /// These nodes, with what is free on them; `settings` say the policy and its seed. All labels of the nodes can be asked for.
    #[must_use]
    pub fn new(nodes: &[NodeRow], settings: &Settings) -> Self {
        let keys: BTreeSet<String> = nodes.iter().flat_map(|node| node.labels.keys().cloned()).collect();
        let mut pool = Pool::new(nodes, keys, settings);
        let mix = Mix::default();
        pool.expect(&mix);
        Self { pool, mix, wants: BTreeMap::new() }
    }

    /// The shape's ordinal, given one if it is new.
    pub fn know(&mut self, shape: &Shape) -> WantOrd {
        if let Some(known) = self.wants.get(shape) {
            return *known;
        }
        let variant = self.pool.add_variant(compile(shape, &self.pool.models), false);
        let want = WantOrd(u32::try_from(variant).unwrap_or(u32::MAX));
        self.wants.insert(shape.clone(), want);
        want
    }

    /// Learns that so many tasks of the shape came, wherever they will be.
    pub fn arrive(&mut self, shape: &Shape, count: u32) {
        if self.mix.arrive(shape, count) {
            self.pool.expect(&self.mix);
        }
    }

    /// The best place for one task that is on none of these nodes; it is not taken yet.
    pub fn find(&mut self, want: WantOrd, avoid: &[NodeOrd]) -> Option<Place> {
        let wanted = Want::one(want.0 as usize, Timestamp::NEVER, avoid);
        self.pool.find(&wanted, None, &mut None).map(|seat| Place { want, seat })
    }

    /// Takes a place that is free.
    pub fn take(&mut self, place: &Place) {
        self.shift(place, 1);
    }

    /// Gives a place back that was taken.
    pub fn give_back(&mut self, place: &Place) {
        self.shift(place, -1);
    }

    fn shift(&mut self, place: &Place, sign: i64) {
        let amounts = self.pool.amounts(place.want.0 as usize);
        let grants = place.seat.picked.iter().map(|(_, grant, mode)| (*grant, *mode));
        self.pool.shift(place.seat.node, amounts, false, grants, sign);
        self.pool.settle();
    }
}
