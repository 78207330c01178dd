//! Placement policies, one a file. A policy turns the free state of a node into a score; the node with the
//! lowest score that passes every hard constraint is taken, ties to the lower ordinal.

mod pack;
mod spread;
pub mod worth;

use crate::plan::problem::room::Free;
use crate::snapshot::PlacementPolicy;

/// What a policy sees of a node.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Free now.
    pub free: &'a Free,
    /// Free when empty.
    pub empty: &'a Free,
    /// Thousandths of healthy devices free now.
    pub devices: i64,
    /// Thousandths of healthy devices when empty.
    pub devices_empty: i64,
}

/// Scores end here; the upper six bits are the level in the node index.
pub const SCORES: u32 = 1 << 16;
/// Bit that keeps nodes with free devices behind those without, for tasks that need none.
const DEVICES_FREE: u32 = SCORES / 2;

/// `part` of `whole`, in 0..=`steps`.
fn fraction(part: i64, whole: i64, steps: u32) -> u32 {
    if whole <= 0 || part <= 0 {
        return 0;
    }
    let scaled = i128::from(part) * i128::from(steps) / i128::from(whole);
    u32::try_from(scaled).unwrap_or(steps).min(steps)
}

impl View<'_> {
    /// Free part of CPU and memory, mean of the two, in 0..=`steps`.
    fn host(&self, steps: u32) -> u32 {
        let cpu = fraction(self.free.cpu, self.empty.cpu, steps);
        let memory = fraction(self.free.memory, self.empty.memory, steps);
        (cpu + memory) / 2
    }
}

/// The score of a node under a policy: lower is taken first; below [`SCORES`].
pub fn score(policy: PlacementPolicy, view: &View<'_>) -> u32 {
    match policy {
        PlacementPolicy::Pack => pack::score(view),
        PlacementPolicy::Spread => spread::score(view),
    }
}
