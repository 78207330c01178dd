//! Who lives on lent CPU, by node, and the nodes to be looked at again.
//!
//! What lending decides on a node depends on that node's row and on the `spare` gangs there. So a node at which nothing was decided is left
//! alone until its row is another, or somebody there came, left, froze or thawed.

use crate::snapshot::{GangOrd, PlacedGang};
use std::collections::{BTreeMap, BTreeSet};

/// `spare` gangs that have a place and are not stopping.
#[derive(Clone, Debug, Default)]
pub struct Lodgers {
    /// Nodes of each gang, ascending.
    nodes: BTreeMap<GangOrd, Vec<usize>>,
    /// Gangs on each node, ascending; no entry is empty.
    gangs: BTreeMap<usize, BTreeSet<GangOrd>>,
    due: BTreeSet<usize>,
}

impl Lodgers {
    /// Puts a gang in.
    pub fn add(&mut self, gang: GangOrd, placed: &PlacedGang) {
        let mut nodes: Vec<usize> = placed.tasks.iter().map(|task| task.node.0 as usize).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for node in &nodes {
            self.gangs.entry(*node).or_default().insert(gang);
            self.due.insert(*node);
        }
        self.nodes.insert(gang, nodes);
    }

    /// Takes a gang out, if it is in.
    pub fn remove(&mut self, gang: GangOrd) {
        for node in self.nodes.remove(&gang).unwrap_or_default() {
            let Some(gangs) = self.gangs.get_mut(&node) else { continue };
            gangs.remove(&gang);
            if gangs.is_empty() {
                self.gangs.remove(&node);
                self.due.remove(&node);
            } else {
                self.due.insert(node);
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node is to be looked at again, if somebody lives there.
    pub fn touch(&mut self, node: usize) {
        if self.gangs.contains_key(&node) {
            self.due.insert(node);
        }
    }

    /// The nodes to be looked at; from here on none are.
    pub fn take_due(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.due)
    }

    /// Gangs on a node, ascending.
    pub fn on(&self, node: usize) -> impl Iterator<Item = GangOrd> + '_ {
        self.gangs.get(&node).into_iter().flatten().copied()
    }

    /// Nodes of a gang, ascending.
    pub fn nodes(&self, gang: GangOrd) -> &[usize] {
        self.nodes.get(&gang).map_or(&[], Vec::as_slice)
    }
}
