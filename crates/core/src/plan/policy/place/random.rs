//! Random: any node that fits, by a hash of the seed, the node and what it has free, so that the same state gives the same node.
//!
//! Where not to use it: anywhere but as a floor for comparisons.

use super::{Cost, Room};

/// A number from all that is known of the node: SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014) over each part.
pub fn cost(seed: u64, node: usize, room: &Room<'_>) -> Cost {
    let parts = [node as u64, room.free.cpu as u64, room.free.memory as u64, room.idle() as u64];
    let hash = parts.into_iter().fold(seed, |hash, part| {
        let mut z = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    Cost::from((hash >> 1) as i64)
}
