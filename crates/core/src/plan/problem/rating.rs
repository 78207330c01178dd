//! Scores that depend on the task: per variant, what each node would cost and the device to take, kept until the node changes.
//!
//! A placement changes one node, so a search costs a scan over kept numbers and the scores of the nodes that
//! changed since this variant looked last. A new reading of the expected mix voids all.

use super::pool::{KeptFor, Pool, Seat, Want};
use crate::mix::Mix;
use crate::model::Shape;
use crate::plan::policy::place::{Cost, Expected, Task, rate, rates};
use crate::snapshot::PlacementPolicy;

/// What is kept of one node for one variant.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// The pool's clock when it was computed; 0: never.
    at: u64,
    cost: Cost,
}

/// What is kept for one variant.
#[derive(Clone, Debug, Default)]
pub struct Ratings {
    nodes: Vec<Kept>,
}

impl Pool {
    /// Reads what ratings depend on beside node and task: the expected mix and the largest node. Ratings are void when it changed.
    pub fn expect(&mut self, mix: &Mix<Shape>) {
        if !rates(self.policy) {
            return;
        }
        let looks = matches!(self.policy, PlacementPolicy::Fgd | PlacementPolicy::Gaps);
        let (largest, version) = (self.find_largest(), looks.then(|| mix.version()));
        if self.largest == largest && self.mix == version {
            return;
        }
        if self.mix != version {
            self.expected = Expected::of(mix.reading(), &self.models);
        }
        (self.largest, self.mix) = (largest, version);
        for variant in &mut self.variants {
            variant.ratings = Ratings::default();
        }
    }

    /// The best node by [`rate`], and its devices: as [`Self::find`], which calls this.
    pub(super) fn find_rated(
        &mut self,
        want: &Want<'_>,
        domain: Option<usize>,
        kept: &mut Option<KeptFor>,
    ) -> Option<Seat> {
        let mut best: Option<(i64, usize)> = None;
        let mut from = 0;
        while let Some(node) = self.next_fit(want.variant, domain, from) {
            from = node + 1;
            let Some(cost) = self.cost(want.variant, node) else { continue };
            if best.is_none_or(|(least, _)| cost.amount < least) && self.would_take(want, node, kept) {
                best = Some((cost.amount, node));
            }
        }
        let (_, node) = best?;
        let device = self.variants[want.variant].ratings.nodes[node].cost.device;
        self.pick_well(want, node, device).map(|picked| Seat { node, picked })
    }

    /// What the node would cost; `None` when the variant does not fit there.
    fn cost(&mut self, variant: usize, node: usize) -> Option<Cost> {
        let nodes = self.len();
        self.variants[variant].ratings.nodes.resize(nodes, Kept::default());
        let kept = self.variants[variant].ratings.nodes[node];
        if kept.at == self.changed_at(node) {
            return Some(kept.cost);
        }
        if !self.fits_now(variant, node) {
            return None;
        }
        let task = Task { shape: &self.variants[variant].shape, largest: self.largest };
        let cost = rate(self.policy, self.seed, node, &self.room(node), &task, &self.expected);
        self.variants[variant].ratings.nodes[node] = Kept { at: self.changed_at(node), cost };
        Some(cost)
    }
}
