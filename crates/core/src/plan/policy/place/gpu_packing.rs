//! GPU packing (Weng et al., "MLaaS in the Wild", NSDI 2022): shared devices first, then free devices of used nodes, idle
//! nodes last.
//!
//! Where not to use it: it does not look at CPU, so it may strand devices on nodes whose CPU is gone.

use super::{Cost, Room, Task};

/// More than the number of devices or their thousandths on a node.
const BAND: i64 = 1 << 32;

/// Band, then inside it: what is free on the device, whole devices broken, whole devices there.
pub fn cost(room: &Room<'_>, task: &Task<'_>) -> Cost {
    let Some(slot) = task.shape.slots.first() else { return Cost::default() };
    let whole = room.devices.iter().filter(|free| free.mode.is_none()).count() as i64;
    if whole == room.devices.len() as i64 {
        return Cost::from(2 * BAND + whole);
    }
    let mut able: Vec<i64> = room.able(slot).map(|(_, free)| free.compute).collect();
    able.sort_unstable();
    able.truncate(task.shape.slots.len());
    let broken = able.iter().filter(|free| **free == 1000).count() as i64;
    if broken > 0 {
        return Cost::from(BAND + broken);
    }
    // In hundredths of a device and tenths of that, as theirs.
    Cost::from(able.iter().sum::<i64>() / 100)
}
