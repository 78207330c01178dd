//! When a node will first take one task of a variant: what a reservation looks for, kept from plan to plan.
//!
//! A node's free room only grows as those leave who are on it, so the moment is that of one of their ends, and depends on that node
//! alone. Each variant that had a reservation keeps all nodes in the order of that moment; a node is looked at again when
//! somebody came to it or left it, or is expected to end otherwise. What a plan itself changes is seen aside, in [`Aside`].

use super::log::Log;
use super::pool::Pool;
use super::profile::copies;
use super::room::NodeFree;
use super::shape::signed;
use super::{Problem, Seen};
use crate::event::Grants;
use crate::model::Class;
use crate::snapshot::{GangOrd, GangPhase, NodeOrd, Snapshot};
use crate::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nodes kept over all variants, beyond which those that were not asked for lately are forgotten: 64 variants of 10,000 nodes.
const MOST_KEPT: usize = 640_000;

/// When somebody leaves, in the order in which places become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// It is so.
    Now,
    /// Nobody knows exactly, but at any moment: it is stopping.
    Soon,
    /// Then.
    At(Timestamp),
    /// Nobody knows; who has run longest is taken to end first, after all that are known. Since then.
    Unknown(Timestamp),
    /// Not by anybody's end.
    Never,
}

/// Somebody who will leave a node, with all it holds there.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// When.
    pub when: When,
    /// CPU, memory, disk.
    pub amounts: [i64; 3],
    /// Lives on lent CPU.
    pub spare: bool,
    /// Devices.
    pub grants: Grants,
}

/// One variant's nodes.
#[derive(Clone, Debug)]
struct Forecast {
    first: Vec<When>,
    order: BTreeSet<(When, usize)>,
    /// How much of the log of changes it has read; `None`: it has read no node yet.
    seen: Option<u64>,
    asked: u64,
}

/// All variants that had a reservation lately. A copy is empty: it is for somebody who asks other things.
#[derive(Debug, Default)]
pub struct Forecasts {
    by_variant: BTreeMap<usize, Forecast>,
    /// Nodes on which somebody came, left or ends otherwise.
    changed: Log,
    asked: u64,
    leavers: BTreeMap<usize, Arc<[Leaver]>>,
    /// Nodes that were read while a plan had changed them: to be read again when it is over.
    in_doubt: BTreeSet<usize>,
}

impl Clone for Forecasts {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What a plan changed so far, as one variant sees it.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// How much of what the plan changed has been read.
    pub read: usize,
    first: BTreeMap<usize, When>,
    /// The changed nodes in order.
    pub order: BTreeSet<(When, usize)>,
}

impl Aside {
    /// Puts a node where it belongs now.
    pub fn set(&mut self, node: usize, when: When) {
        if let Some(before) = self.first.insert(node, when) {
            self.order.remove(&(before, node));
        }
        if when != When::Never {
            self.order.insert((when, node));
        }
    }
}

impl Forecasts {
    /// Somebody came to the node or left it, or ends otherwise.
    pub fn touch(&mut self, node: usize, nodes: usize) {
        if self.by_variant.is_empty() {
            return;
        }
        self.leavers.remove(&node);
        self.changed.push(node, nodes);
    }

    /// The nodes of a variant in the order of the moment at which they take one task; brought up by [`Problem::foresee`].
    pub fn order(&self, variant: usize) -> impl Iterator<Item = (When, usize)> + '_ {
        self.by_variant.get(&variant).into_iter().flat_map(|forecast| forecast.order.iter().copied())
    }

    /// Variants, changes and leavers that are kept.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.by_variant.len() + self.changed.len() + self.leavers.len()
    }

    fn forget_some(&mut self, nodes: usize) {
        while self.by_variant.len() > (MOST_KEPT / nodes.max(1)).max(16) {
            let oldest = self.by_variant.iter().min_by_key(|(at, forecast)| (forecast.asked, **at));
            let Some(oldest) = oldest.map(|(at, _)| *at) else { return };
            self.by_variant.remove(&oldest);
        }
    }
}

impl Problem {
    /// Brings a variant's nodes up to date.
    pub fn foresee(&mut self, snapshot: &Snapshot, variant: usize) {
        let mut forecasts = std::mem::take(&mut self.forecasts);
        forecasts.asked += 1;
        let mut leavers = std::mem::take(&mut forecasts.leavers);
        let end = forecasts.changed.end();
        let nodes = self.pool.len();
        let forecast = forecasts.by_variant.entry(variant).or_insert_with(|| Forecast {
            first: vec![When::Never; nodes],
            order: BTreeSet::new(),
            seen: None,
            asked: 0,
        });
        let mut again: Vec<usize> = match forecast.seen.and_then(|seen| forecasts.changed.since(seen)) {
            Some(changed) => changed.iter().map(|node| *node as usize).collect(),
            None => (0..nodes).collect(),
        };
        again.sort_unstable();
        again.dedup();
        for node in again {
            if self.pool.is_moved.has(node) {
                forecasts.in_doubt.insert(node);
            }
            let when = if self.pool.suits(variant, node) {
                let leavers = leavers.entry(node).or_insert_with(|| self.read_leavers(snapshot, node).into());
                first_fit(&self.pool, variant, self.pool.state(node), node, leavers)
            } else {
                When::Never
            };
            let before = std::mem::replace(&mut forecast.first[node], when);
            if before != when {
                forecast.order.remove(&(before, node));
                if when != When::Never {
                    forecast.order.insert((when, node));
                }
            }
        }
        (forecast.seen, forecast.asked) = (Some(end), forecasts.asked);
        forecasts.forget_some(nodes);
        forecasts.leavers = leavers;
        self.forecasts = forecasts;
    }

    /// Undoes what a plan changed.
    pub fn reset(&mut self) {
        self.pool.reset();
        for node in std::mem::take(&mut self.forecasts.in_doubt) {
            self.forecasts.touch(node, self.pool.len());
        }
    }

    /// When a running gang leaves.
    pub fn end_of(&self, gang: GangOrd) -> When {
        match self.seen.get(gang.0 as usize) {
            Some(Seen::Running(entry, _)) => entry.leaves(),
            _ => When::Never,
        }
    }

    /// Those on a node, soonest first.
    pub fn leavers(&self, snapshot: &Snapshot, node: usize) -> Arc<[Leaver]> {
        let known = self.forecasts.leavers.get(&node).map(Arc::clone);
        known.unwrap_or_else(|| self.read_leavers(snapshot, node).into())
    }

    fn read_leavers(&self, snapshot: &Snapshot, node: usize) -> Vec<Leaver> {
        let node = NodeOrd(u32::try_from(node).unwrap_or(u32::MAX));
        let mut leavers = Vec::new();
        for gang in &snapshot.node(node).gangs {
            let Some(row) = snapshot.gang(*gang) else { continue };
            let GangPhase::Placed(placed) = &row.phase else { continue };
            let (when, spare) = (self.end_of(*gang), row.class == Class::Spare);
            for task in placed.tasks.iter().filter(|task| task.node == node) {
                let request = task.request;
                let amounts = [signed(request.cpu.0), signed(request.memory.0), signed(request.disk.0)];
                leavers.push(Leaver { when, amounts, spare, grants: task.devices.clone() });
            }
        }
        leavers.sort_by_key(|leaver| leaver.when);
        leavers
    }
}

/// Gives back what somebody holds who leaves.
pub fn give(pool: &Pool, state: &mut NodeFree, node: usize, leaver: &Leaver) {
    state.give(leaver.amounts, leaver.spare, leaver.grants.iter().copied(), pool.facts(node));
}

/// When one task fits; `leavers` are in order.
pub fn first_fit(pool: &Pool, variant: usize, mut state: NodeFree, node: usize, leavers: &[Leaver]) -> When {
    if pool.fits(variant, node, &state) {
        return When::Now;
    }
    let shape = &pool.variants[variant].shape;
    for leaver in leavers.iter().take_while(|leaver| leaver.when != When::Never) {
        if shape.slots.is_empty() {
            // Who holds which device is nothing to it.
            state.free.shift(leaver.amounts[0], leaver.amounts[1], leaver.amounts[2], leaver.spare, -1);
        } else {
            give(pool, &mut state, node, leaver);
        }
        if pool.fits(variant, node, &state) {
            return leaver.when;
        }
    }
    When::Never
}

/// Each moment at which more tasks fit than before, and how many, at most `cap`.
pub fn steps(
    pool: &Pool,
    variant: usize,
    mut state: NodeFree,
    node: usize,
    leavers: &[Leaver],
    cap: u32,
) -> Vec<(When, u32)> {
    let shape = &pool.variants[variant].shape;
    let count = |state: &NodeFree| copies((&state.free, &state.devices), pool.facts(node), shape, false, cap);
    let mut steps = vec![(When::Now, count(&state))];
    for leaver in leavers.iter().take_while(|leaver| leaver.when != When::Never) {
        give(pool, &mut state, node, leaver);
        let now = count(&state);
        if steps.last().is_none_or(|(_, before)| *before < now) {
            steps.push((leaver.when, now));
        }
    }
    steps.retain(|(_, count)| *count > 0);
    steps
}
