//! Best fit: the least left over, CPU and devices alike, each as a part of the largest node's (Panigrahy et al., 2011).
//!
//! ½ (cpu left over / largest) + ½ (devices left over / largest), in hundredths rounded up: theirs and ours.
//! Where not to use it: it counts idle thousandths without asking whether anybody can use them.

use super::{Cost, Room, Task};

const STEPS: i64 = 100;

/// Hundredths left over.
pub fn cost(room: &Room<'_>, task: &Task<'_>) -> Cost {
    let cpu = (room.free.cpu - task.shape.cpu).max(0);
    let devices = (room.idle() - task.devices()).max(0);
    let (most_cpu, most_devices) = (task.largest.cpu.max(1), task.largest.devices.max(1));
    let left = i128::from(cpu) * i128::from(most_devices) + i128::from(devices) * i128::from(most_cpu);
    let whole = 2 * i128::from(most_cpu) * i128::from(most_devices);
    let steps = (left * i128::from(STEPS) + whole - 1) / whole;
    Cost::from(i64::try_from(steps).unwrap_or(STEPS))
}
