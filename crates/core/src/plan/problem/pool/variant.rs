//! For each variant the nodes it may fit on, and why not on the others: kept, and brought up to date with nodes that grew.

use super::Pool;
use crate::plan::problem::bits::Bits;
use crate::plan::problem::profile::{Match, matches};
use crate::plan::problem::rating::Ratings;
use crate::plan::problem::room::can_pick;
use crate::plan::problem::shape::Compiled;

/// Code of a node that a variant never fits on.
const NEVER: u8 = 255;

/// A shape, for `spare` gangs or for others.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The shape.
    pub shape: Compiled,
    /// Lives on lent CPU.
    pub spare: bool,
    /// How it goes with each profile.
    pub(super) matches: Vec<Match>,
    /// Nodes it may fit on: a superset of those it does.
    pub(super) fit: Bits,
    /// Why not, per node.
    pub(super) code: Vec<u8>,
    /// Nodes per code, those it never fits on left out.
    pub(super) counts: [u32; 5],
    /// How much of the log of grown nodes it has seen.
    pub(super) seen: u64,
    /// What nodes cost for it, under policies that rate.
    pub(in crate::plan::problem) ratings: Ratings,
}

impl Variant {
    /// Writes down why it does not fit on a node, or that it may.
    pub(super) fn note(&mut self, node: usize, code: u8) {
        let old = std::mem::replace(&mut self.code[node], code);
        if let Some(count) = self.counts.get_mut(old as usize) {
            *count -= 1;
        }
        if let Some(count) = self.counts.get_mut(code as usize) {
            *count += 1;
        }
        self.fit.put(node, code == 0);
    }
}

impl Pool {
    pub(super) fn grow(&mut self, node: usize) {
        if self.grown_at[node] > self.unread_from {
            return;
        }
        self.grown.push(node, self.len());
        self.grown_at[node] = self.grown.end();
    }

    /// Adds a variant; its number.
    pub fn add_variant(&mut self, shape: Compiled, spare: bool) -> usize {
        let matches = self.profiles.iter().map(|profile| matches(profile, &shape, spare)).collect();
        let variant = Variant {
            shape,
            spare,
            matches,
            fit: Bits::new(self.len()),
            code: vec![NEVER; self.len()],
            counts: [0; 5],
            seen: 0,
            ratings: Ratings::default(),
        };
        self.variants.push(variant);
        let at = self.variants.len() - 1;
        self.read_all(at);
        at
    }

    fn read_all(&mut self, variant: usize) {
        for node in 0..self.len() {
            self.read(variant, node);
        }
        self.variants[variant].seen = self.grown.end();
    }

    pub(super) fn read(&mut self, variant: usize, node: usize) {
        let code = self.code(variant, node);
        self.variants[variant].note(node, code);
    }

    /// Why the variant does not fit on the node now; 0 when it does.
    fn code(&self, number: usize, node: usize) -> u8 {
        let variant = &self.variants[number];
        if variant.matches[self.profile[node] as usize].fails.is_some() {
            return NEVER;
        }
        let (free, shape) = (&self.free[node], &variant.shape);
        let cpu = if variant.spare { free.lend } else { free.cpu };
        if shape.cpu > cpu {
            1
        } else if shape.memory > free.memory {
            2
        } else if shape.disk > free.disk {
            3
        } else if shape.slots.is_empty() {
            0
        } else if shape.compute > self.devices_free[node] {
            4
        } else if let Some(able) = self.able(number, node) {
            u8::from((able.count_ones() as usize) < shape.slots.len()) * 4
        } else {
            let range = self.device_range(node);
            u8::from(!can_pick(&self.devices[range.clone()], &self.facts[range], &shape.slots)) * 4
        }
    }

    /// Brings a variant's set up to date with nodes that grew.
    pub fn sync(&mut self, variant: usize) {
        let seen = self.variants[variant].seen;
        let end = self.grown.end();
        self.unread_from = u64::MAX;
        if self.grown.since(seen).is_none_or(|new| new.len() > self.len()) {
            return self.read_all(variant);
        }
        for at in seen..end {
            self.read(variant, self.grown.at(at));
        }
        self.variants[variant].seen = end;
    }

    /// Whether the variant has a node that it may fit on, as of the last [`Self::sync`].
    pub fn may_fit(&self, variant: usize) -> bool {
        !self.variants[variant].fit.is_empty()
    }

    /// Whether an open node's kind goes with the variant at all.
    pub fn suits(&self, variant: usize, node: usize) -> bool {
        self.variants[variant].matches[self.profile[node] as usize].fails.is_none()
    }

    /// Whether the variant fits on the node now; written down when not.
    pub(in crate::plan::problem) fn fits_now(&mut self, variant: usize, node: usize) -> bool {
        let code = self.code(variant, node);
        if code != 0 {
            self.variants[variant].note(node, code);
        }
        code == 0
    }

    /// The first node from `from` on that the variant may fit on.
    pub(in crate::plan::problem) fn next_fit(
        &self,
        variant: usize,
        domain: Option<usize>,
        from: usize,
    ) -> Option<usize> {
        let fit = &self.variants[variant].fit;
        fit.common_from(domain.map_or(fit, |domain| &self.domains[domain]), None, from)
    }
}
