//! How devices are, by NVML: heat, errors of memory, events.

use crate::device::{DEVICES, Device};
use crate::nvml::{INVALID_ARGUMENT, device};
use crate::world::{Done, api, put};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const NOT_SUPPORTED: i32 = 3;
const TIMEOUT: i32 = 10;
/// `nvmlEventTypeDoubleBitEccError`, `nvmlEventTypeXidCriticalError`.
const EVENTS: u64 = 2 | 8;
const XID: u64 = 8;
/// `nvmlTemperatureThresholds_t`: shutdown, slowdown.
const THRESHOLDS: [u32; 2] = [95, 90];

/// `nvmlEventData_t`.
#[repr(C)]
pub struct Data {
    device: usize,
    kind: u64,
    data: u64,
    instances: [u32; 2],
}

/// Devices of a set, and how many XIDs of each were given out.
type Set = BTreeMap<usize, u64>;

static SETS: Mutex<(usize, BTreeMap<usize, Set>)> = Mutex::new((0, BTreeMap::new()));

fn sets() -> MutexGuard<'static, (usize, BTreeMap<usize, Set>)> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn xids(device: &Device) -> (u64, u64) {
    let count = device.xid[1].load(Acquire);
    (device.xid[0].load(Acquire), count)
}

/// The words of a device, lost or not: an event may come of one that is gone.
fn words(handle: usize) -> Option<&'static Device> {
    crate::nvml::machine().ok()?.get().devices.get(handle.checked_sub(1)?)
}

/// The next event of a set, if there is one.
fn next(set: usize) -> Result<Option<Data>, i32> {
    let mut sets = sets();
    let set = sets.1.get_mut(&set).ok_or(INVALID_ARGUMENT)?;
    for (handle, told) in set.iter_mut() {
        let Some((xid, count)) = words(*handle).map(xids) else { continue };
        if count > *told {
            *told += 1;
            return Ok(Some(Data { device: *handle, kind: XID, data: xid, instances: [u32::MAX; 2] }));
        }
    }
    Ok(None)
}

fn wait(set: usize, out: *mut Data, patience: u32) -> Done {
    let until = Instant::now() + Duration::from_millis(patience.into());
    loop {
        if let Some(data) = next(set)? {
            // SAFETY: the client's place.
            return unsafe { put(out, data) };
        }
        if Instant::now() >= until {
            return Err(TIMEOUT);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

api! {
    [nvmlDeviceGetTemperature](handle: usize, sensor: u32, out: *mut u32) {
        let heat = device(handle)?.heat.load(Acquire) as u32;
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        put(out, if heat == 0 { 40 } else { heat })
    }
    [nvmlDeviceGetTemperatureThreshold](handle: usize, which: u32, out: *mut u32) {
        device(handle)?;
        put(out, *THRESHOLDS.get(which as usize).ok_or(NOT_SUPPORTED)?)
    }
    [nvmlDeviceGetTotalEccErrors](handle: usize, kind: u32, _counter: u32, out: *mut u64) {
        let device = device(handle)?;
        put(out, if kind == 1 { &device.uncorrected } else { &device.corrected }.load(Acquire))
    }
    [nvmlDeviceGetRemappedRows](
        handle: usize, corrected: *mut u32, uncorrected: *mut u32, pending: *mut u32, failed: *mut u32
    ) {
        let device = device(handle)?;
        // As NVIDIA's header says: not while it is in MIG mode.
        if handle > DEVICES || crate::mig::is_cut(crate::nvml::machine()?.get(), handle - 1) {
            return Err(NOT_SUPPORTED);
        }
        for (out, word) in [corrected, uncorrected, pending, failed].into_iter().zip(&device.rows) {
            put(out, word.load(Acquire) as u32)?;
        }
        Ok(())
    }
    [nvmlDeviceGetCurrentClocksThrottleReasons, nvmlDeviceGetCurrentClocksEventReasons](
        handle: usize, out: *mut u64
    ) { put(out, device(handle)?.slowed.load(Acquire)) }
    [nvmlDeviceGetRetiredPagesPendingStatus](handle: usize, out: *mut u32) {
        put(out, device(handle)?.retiring.load(Acquire) as u32)
    }
    [nvmlDeviceGetSupportedEventTypes](handle: usize, out: *mut u64) {
        device(handle)?;
        put(out, EVENTS)
    }
    [nvmlEventSetCreate](out: *mut usize) {
        let mut sets = sets();
        sets.0 += 1;
        let set = sets.0;
        sets.1.insert(set, Set::new());
        put(out, set)
    }
    [nvmlDeviceRegisterEvents](handle: usize, types: u64, set: usize) {
        let told = xids(device(handle)?).1;
        if types & !EVENTS != 0 {
            return Err(NOT_SUPPORTED);
        }
        sets().1.get_mut(&set).ok_or(INVALID_ARGUMENT)?.insert(handle, told);
        Ok(())
    }
    [nvmlEventSetWait_v2, nvmlEventSetWait](set: usize, out: *mut Data, patience: u32) { wait(set, out, patience) }
    [nvmlEventSetFree](set: usize) { sets().1.remove(&set).map(|_| ()).ok_or(INVALID_ARGUMENT) }
}
