//! What NVIDIA's driver says that the processes of tasks hold of their GPUs, asked once a second while somebody has a share of one.
//!
//! By a thread of its own: a driver may take its time over a device that is sick, and samples and shares do not wait for it.
//! A process is a task's by its control group, whatever it calls itself and however it came to the driver. The library is held
//! only while there are shares.

use super::Inner;
use crate::probe::nvidia;
use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// What was answered longer ago says nothing any more.
const STALE: Duration = Duration::from_secs(5);

/// What a task's processes hold of a device by the driver's own count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    pub bytes: u64,
    pub processes: u64,
    at: Instant,
}

impl Real {
    /// When it is not too old.
    pub(super) fn fresh(this: Option<Self>) -> Option<Self> {
        this.filter(|real| real.at.elapsed() < STALE)
    }
}

/// Bytes by process.
type Holders = BTreeMap<i32, u64>;

/// The thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    let mut driver: Option<Nvml> = None;
    let mut due = Instant::now();
    while !inner.closing() {
        std::thread::sleep(Duration::from_millis(100));
        if Instant::now() < due {
            continue;
        }
        due = Instant::now() + EVERY;
        let shared: BTreeMap<u32, &str> = {
            let state = inner.state();
            let all = state.live.values().flat_map(|live| &live.shares).filter(|share| share.is_nvidia());
            let named = |device: u32| Some((device, inner.node.devices.get(device as usize)?.uuid.as_str()));
            all.filter_map(|share| named(share.device())).collect()
        };
        if shared.is_empty() {
            driver = None;
            continue;
        }
        driver = driver.or_else(|| nvidia::management().ok());
        let Some(driver) = &driver else { continue };
        let asked = shared.into_iter().filter_map(|(device, uuid)| Some((device, holders(driver, uuid)?)));
        inner.note_holders(&asked.collect());
    }
}

/// Who holds what of a GPU; `None` when its driver does not say.
fn holders(driver: &Nvml, uuid: &str) -> Option<Holders> {
    let all = driver.device_by_uuid(uuid).ok()?.running_compute_processes().ok()?;
    let holder = |process: nvml_wrapper::struct_wrappers::device::ProcessInfo| {
        let bytes = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => bytes,
            UsedGpuMemory::Unavailable => return None,
        };
        Some((i32::try_from(process.pid).ok()?, bytes))
    };
    Some(all.into_iter().filter_map(holder).collect())
}

impl Inner {
    fn note_holders(&self, devices: &BTreeMap<u32, Holders>) {
        let mut state = self.state();
        for live in state.live.values_mut().filter(|live| live.shares.iter().any(|share| share.is_nvidia())) {
            let members = live.group.pids();
            for share in live.shares.iter_mut().filter(|share| share.is_nvidia()) {
                let Some(holders) = devices.get(&share.device()) else { continue };
                let held = members.iter().filter_map(|pid| holders.get(pid));
                let (bytes, processes) = held.fold((0, 0), |(sum, count), bytes| (sum + bytes, count + 1));
                share.real = Some(Real { bytes, processes, at: Instant::now() });
            }
        }
    }
}
