//! Looks again and again how the devices of this machine are, and tells. What follows, the engine decides.

use super::Inner;
use crate::probe::signs::signs;
use pond_core::event::{Report, Sign};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many looks after the last trouble follow each other ten times as quickly.
const QUICK: u32 = 100;

/// The thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    let every = Duration::from_millis(inner.config.health_every.0);
    let (mut due, mut quick) = (Instant::now(), 0_u32);
    while !inner.closing() {
        if inner.partitions.had_trouble() {
            (quick, due) = (QUICK, due.min(Instant::now() + every / 10));
        }
        if Instant::now() < due {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        quick = quick.saturating_sub(1);
        for (device, sign, message) in signs(&inner.node.devices, &inner.listed) {
            if sign != Sign::Well {
                quick = QUICK;
            }
            let node = inner.config.node.clone();
            inner.report(Report::DeviceSign { node, device, sign, message });
        }
        for device in inner.partitions.signs() {
            let (node, message) = (inner.config.node.clone(), String::new());
            inner.report(Report::DeviceSign { node, device, sign: Sign::Well, message });
        }
        due = Instant::now() + if quick > 0 { every / 10 } else { every };
    }
}
