//! Reservations on nodes: what will be left at the moment a blocked gang is expected to start, once it has started.
//!
//! A task that is still there at that moment must fit into what is left, on the same devices; one that ends before may use anything.

use super::bits::Bits;
use super::pool::KeptFor;
use super::room::{DeviceFacts, DeviceFree, NodeFree, Picked};
use crate::model::ShareMode;
use crate::units::Timestamp;
use std::collections::BTreeMap;

/// A reservation on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// For whom.
    pub kept: KeptFor,
    /// A task that ends later than this must fit into what is left.
    pub start: Timestamp,
    /// What is left then.
    pub left: NodeFree,
}

/// All reservations.
#[derive(Clone, Debug)]
pub struct Claims {
    nodes: Bits,
    by_node: BTreeMap<usize, Vec<Claim>>,
}

/// What is free in both states.
pub fn meet(mut a: NodeFree, b: &NodeFree) -> NodeFree {
    a.free.cpu = a.free.cpu.min(b.free.cpu);
    a.free.memory = a.free.memory.min(b.free.memory);
    a.free.disk = a.free.disk.min(b.free.disk);
    for (mine, theirs) in a.devices.iter_mut().zip(&b.devices) {
        let mode = match (mine.mode, theirs.mode) {
            (None, mode) | (mode, None) => mode,
            (Some(x), Some(y)) if x == y => Some(x),
            _ => {
                let mode = Some(ShareMode::Exclusive);
                *mine = DeviceFree { compute: -1, memory: -1, mode, parts: mine.parts };
                continue;
            }
        };
        *mine = DeviceFree {
            compute: mine.compute.min(theirs.compute),
            memory: mine.memory.min(theirs.memory),
            mode,
            parts: mine.parts.or(theirs.parts),
        };
    }
    a
}

impl Claims {
    /// None, on this many nodes.
    pub fn new(nodes: usize) -> Self {
        Self { nodes: Bits::new(nodes), by_node: BTreeMap::new() }
    }

    /// Whether the node has one.
    pub fn any(&self, node: usize) -> bool {
        self.nodes.has(node)
    }

    /// Those of a node.
    pub fn of(&self, node: usize) -> &[Claim] {
        self.by_node.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Puts back what [`Self::of`] gave before.
    pub fn restore(&mut self, node: usize, claims: Vec<Claim>) {
        self.by_node.insert(node, claims);
    }

    /// Forgets all.
    pub fn wipe(&mut self) {
        self.nodes.wipe();
        self.by_node.clear();
    }

    /// Adds one.
    pub fn add(&mut self, node: usize, claim: Claim) {
        self.nodes.set(node);
        self.by_node.entry(node).or_default().push(claim);
    }

    /// Whose reservation a task ending then would meet first.
    pub fn first(&self, node: usize, end: Timestamp) -> Option<KeptFor> {
        self.of(node).iter().find(|claim| claim.start < end).map(|claim| claim.kept)
    }

    /// What a task ending then may use; `None` when no reservation concerns it.
    pub fn meet(&self, node: usize, end: Timestamp, now: impl FnOnce() -> NodeFree) -> Option<NodeFree> {
        let mut concerned = self.of(node).iter().filter(|claim| claim.start < end).peekable();
        concerned.peek()?;
        let mut state = now();
        for claim in concerned {
            state = meet(state, &claim.left);
        }
        Some(state)
    }

    /// Takes a task out of what the reservations leave that it concerns.
    pub fn charge(
        &mut self,
        node: usize,
        concerned: impl Fn(&Claim) -> bool,
        amounts: [i64; 3],
        spare: bool,
        picked: &Picked,
        facts: &[DeviceFacts],
    ) {
        for claim in self.by_node.entry(node).or_default().iter_mut().filter(|claim| concerned(claim)) {
            claim.left.take(amounts, spare, picked, facts);
        }
    }
}
