//! GPU clustering (Xiao et al., "Gandiva", OSDI 2018): tasks that hold devices alike, together.
//!
//! Four bands: only the same kind here; the same among others; an idle node; only others. Inside a band fuller is
//! better. Theirs tells sizes apart by the number of devices, ours shares from whole devices only: that is
//! what a device shows. Where not to use it: with many shapes, which it scatters over nodes of their own.

use super::{Cost, Room, Task};
use crate::model::ShareMode;

/// More than a node's thousandths of devices can be.
const BAND: i64 = 1 << 32;

/// Band, then idle thousandths.
pub fn cost(room: &Room<'_>, task: &Task<'_>) -> Cost {
    let Some(slot) = task.shape.slots.first() else { return Cost::default() };
    let whole = |mode: ShareMode| mode == ShareMode::Exclusive;
    let modes = || room.devices.iter().filter_map(|free| free.mode);
    let same = modes().any(|mode| whole(mode) == whole(slot.mode));
    let others = modes().any(|mode| whole(mode) != whole(slot.mode));
    let band = match (same, others) {
        (true, false) => 0,
        (true, true) => 1,
        (false, false) => 2,
        (false, true) => 3,
    };
    Cost::from(band * BAND + room.idle())
}
