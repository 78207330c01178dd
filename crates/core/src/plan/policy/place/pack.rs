//! Pack: fill the fullest node first, so that whole nodes stay free for large tasks.
//!
//! Best fit by the left-over fraction (Panigrahy et al., "Heuristics for Vector Bin Packing", 2011, their
//! norm-based greedy with equal weights): for nodes with free devices by free device thousandths first,
//! then by CPU and memory. Where not to use it: when tasks on one node disturb each other, or a node's loss must cost few tasks.

use super::{DEVICES_FREE, View, fraction};

/// Lower for fuller nodes.
pub fn score(view: &View<'_>) -> u32 {
    if view.devices <= 0 {
        return view.host(DEVICES_FREE - 1);
    }
    DEVICES_FREE + fraction(view.devices, view.devices_empty, 31) * 1024 + view.host(1023)
}
