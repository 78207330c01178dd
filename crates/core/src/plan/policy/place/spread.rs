//! Spread: fill the emptiest node first, so that tasks disturb each other least and a lost node costs least.
//!
//! Worst fit, the mirror image of pack. Where not to use it: when large tasks wait for whole nodes.

use super::{DEVICES_FREE, View, fraction};

/// Lower for emptier nodes.
pub fn score(view: &View<'_>) -> u32 {
    if view.devices <= 0 {
        return DEVICES_FREE - 1 - view.host(DEVICES_FREE - 1);
    }
    DEVICES_FREE + (31 - fraction(view.devices, view.devices_empty, 31)) * 1024 + (1023 - view.host(1023))
}
