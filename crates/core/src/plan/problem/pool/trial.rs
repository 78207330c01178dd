//! What is tried is written down and undone, newest first.

use super::{Pool, Seat, Want};
use crate::event::DeviceGrant;
use crate::model::ShareMode;
use crate::plan::problem::claims::Claim;
use crate::plan::problem::room::{DeviceFree, Free};
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub(super) enum Undo {
    Node { node: u32, free: Free },
    Device { at: u32, free: DeviceFree },
    Claims(Box<(usize, Vec<Claim>)>),
}

impl Pool {
    /// Where a trial starts, for [`Self::forget_trial`].
    pub const fn trial(&self) -> u64 {
        self.grown.end()
    }

    /// Drops what grew since a trial began, for those who did not take part: all that grew has shrunk again.
    pub fn forget_trial(&mut self, since: u64, variants: &[usize]) {
        for node in self.grown.take_back(since).unwrap_or_default() {
            for variant in variants {
                self.read(*variant, node as usize);
            }
            self.grown_at[node as usize] = 0;
        }
        for variant in variants {
            self.variants[*variant].seen = self.variants[*variant].seen.min(since);
        }
    }

    /// Seats a task found by [`Self::find`].
    pub fn seat(&mut self, want: &Want<'_>, seat: &Seat) {
        let variant = &self.variants[want.variant];
        let (cpu, memory, disk, spare) =
            (variant.shape.cpu, variant.shape.memory, variant.shape.disk, variant.spare);
        self.shift(
            seat.node,
            [cpu, memory, disk],
            spare,
            seat.picked.iter().map(|(_, grant, mode)| (*grant, *mode)),
            1,
        );
        if self.claims.any(seat.node) {
            self.log.push(Undo::Claims(Box::new((seat.node, self.claims.of(seat.node).to_vec()))));
            let range = self.device_start[seat.node] as usize..self.device_start[seat.node + 1] as usize;
            self.claims.charge(
                seat.node,
                |claim| claim.start < want.end,
                [cpu, memory, disk],
                spare,
                &seat.picked,
                &self.facts[range],
            );
        }
    }

    /// Takes (`sign` 1) or gives back (-1) what a task holds. `amounts` are CPU, memory, disk.
    pub fn shift(
        &mut self,
        node: usize,
        amounts: [i64; 3],
        spare: bool,
        grants: impl Iterator<Item = (DeviceGrant, ShareMode)>,
        sign: i64,
    ) {
        let id = u32::try_from(node).unwrap_or(u32::MAX);
        self.note_move(node);
        self.log.push(Undo::Node { node: id, free: self.free[node] });
        self.free[node].shift(amounts[0], amounts[1], amounts[2], spare, sign);
        let start = self.device_start[node];
        for (grant, mode) in grants {
            let at = start + grant.device;
            if at >= self.device_start[node + 1] {
                continue;
            }
            self.log.push(Undo::Device { at, free: self.devices[at as usize] });
            self.devices[at as usize].shift(&self.facts[at as usize], &grant, mode, sign);
        }
        self.rescore(node);
        if sign < 0 {
            self.grow(node);
        }
    }

    /// Makes what was done since the last reset the state that a reset goes back to. There must be no reservations.
    pub fn settle(&mut self) {
        self.log.clear();
    }

    /// The plan changed what a node has, or will have.
    pub fn note_move(&mut self, node: usize) {
        self.moved.push(u32::try_from(node).unwrap_or(u32::MAX));
        self.is_moved.set(node);
    }

    /// Where the log stands, for [`Self::undo`].
    pub const fn mark(&self) -> usize {
        self.log.len()
    }

    /// Undoes everything since the mark.
    pub fn undo(&mut self, mark: usize) {
        // Devices first of each task, then its node: rescored once per node entry, whose devices are then restored.
        while self.log.len() > mark {
            match self.log.pop() {
                Some(Undo::Node { node, free }) => {
                    self.free[node as usize] = free;
                    self.note_move(node as usize);
                    self.rescore(node as usize);
                    self.grow(node as usize);
                }
                Some(Undo::Device { at, free }) => self.devices[at as usize] = free,
                Some(Undo::Claims(old)) => self.claims.restore(old.0, old.1),
                None => {}
            }
        }
    }

    /// Undoes everything and forgets all reservations.
    pub fn reset(&mut self) {
        self.unread_from = self.grown.end();
        let mut nodes = std::mem::take(&mut self.undone);
        while let Some(entry) = self.log.pop() {
            match entry {
                Undo::Node { node, free } => {
                    self.free[node as usize] = free;
                    nodes.push(node);
                }
                Undo::Device { at, free } => self.devices[at as usize] = free,
                Undo::Claims(_) => {}
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes.drain(..) {
            self.rescore(node as usize);
            self.grow(node as usize);
        }
        self.undone = nodes;
        self.claims.wipe();
        self.is_moved.wipe();
        self.moved.clear();
    }

    /// Nodes changed since the last reset.
    pub fn changed(&self) -> Vec<usize> {
        let nodes = self.log.iter().filter_map(|entry| match entry {
            Undo::Node { node, .. } => Some(*node as usize),
            _ => None,
        });
        nodes.collect::<BTreeSet<usize>>().into_iter().collect()
    }
}
