//! Our own: lose no gap for which something is expected, then fragment least, then fill in order.
//!
//! First what the share's device loses in worth ([`GapWorth`](super::worth::GapWorth)), in twentieths of a device; 0 for whole devices and tasks
//! without. Then the descent of fragmentation (Weng et al., ATC 2023), in tenths of a device, rounded down. Both
//! are against the mix that came so far ([`Mix`](crate::mix::Mix)). The coarse steps matter: what is nearly as good is
//! alike, and of those the first in line is filled, so that the others stay whole. `docs/packing.md` has the figures.
//!
//! Where not to use it: where nobody shares devices and CPU is plenty, Pack does as well for less.

use super::{Cost, Expected, Room, Task, least};

/// Thousandths of a device that one step of lost worth stands for.
const LOSS_STEP: i64 = 50;
/// Millionths of a device that one step of descent stands for.
const DESCENT_STEP: i64 = 100_000;
/// More than there can be steps of descent.
const DESCENTS: i64 = 1 << 32;

/// Steps of loss, then steps of descent.
pub fn cost(room: &Room<'_>, task: &Task<'_>, expected: &Expected) -> Cost {
    let before = expected.fragment(room.free.cpu, room.devices, room.facts);
    least(room, task, |at| {
        let loss = match (task.share(), at) {
            (Some(slot), Some(device)) => expected.loss(room.devices[device as usize].compute, slot.compute),
            _ => 0,
        };
        let after =
            expected.fragment(room.free.cpu - task.shape.cpu, &room.after(task.shape, at), room.facts);
        let descent = expected.descent(before, after, DESCENT_STEP);
        DESCENTS * ((loss + LOSS_STEP / 2) / LOSS_STEP) - descent
    })
}
