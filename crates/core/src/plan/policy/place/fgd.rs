//! Fragmentation gradient descent (Weng et al., ATC 2023): the steepest descent of what the expected tasks could not use.
//!
//! 100 · sigmoid((F before − F after) / 1000), rounded down, theirs and ours, by a table of where the steps are.
//! Theirs is given the mix of the whole workload; ours what came so far ([`Mix`](crate::mix::Mix)). Where not to use it: with nothing expected yet
//! every place is alike.

use super::{Cost, Expected, Room, Task, least};

/// Steps of the score.
const STEPS: i64 = 100;

/// Minus the score.
pub fn cost(room: &Room<'_>, task: &Task<'_>, expected: &Expected) -> Cost {
    let before = expected.fragment(room.free.cpu, room.devices, room.facts);
    least(room, task, |at| {
        let after =
            expected.fragment(room.free.cpu - task.shape.cpu, &room.after(task.shape, at), room.facts);
        -step(expected.descent(before, after, 1))
    })
}

/// ⌊100 · sigmoid(descent)⌋, the descent in devices, given in millionths: step `s` begins at ln(s / (100 − s)).
fn step(descent: i64) -> i64 {
    let begin = |step: i64| ((step as f64 / (STEPS - step) as f64).ln() * 1e6).round() as i64;
    let (mut low, mut high) = (0, STEPS - 1);
    while low < high {
        let middle = (low + high + 1) / 2;
        if begin(middle) <= descent { low = middle } else { high = middle - 1 }
    }
    low
}
