//! Dot product (Grandl et al., "Multi-Resource Packing for Cluster Schedulers", SIGCOMM 2014).
//!
//! ½ (cpu · cpu' + devices · devices'), what is left times what is asked for, each as a part of the largest node's, in
//! hundredths rounded up: the *smaller* product first, as in the comparison of Weng et al. (ATC 2023).
//! Where not to use it: a task that asks for little gives every node the same number.

use super::{Cost, Room, Task};

const STEPS: f64 = 100.0;

/// Hundredths of alignment.
pub fn cost(room: &Room<'_>, task: &Task<'_>) -> Cost {
    let part = |amount: i64, largest: i64| amount.max(0) as f64 / largest.max(1) as f64;
    let largest = task.largest;
    let cpu = part(room.free.cpu, largest.cpu) * part(task.shape.cpu, largest.cpu);
    let devices = part(room.idle(), largest.devices) * part(task.devices(), largest.devices);
    Cost::from((0.5 * (cpu + devices) * STEPS).ceil() as i64)
}
