//! NVML over the same devices: names, memory, processes. Handles of MIG's instances are [`mig`](crate::mig)'s.

use crate::device::{Device, Mapped};
use crate::mig;
use crate::world::{Done, api, put};
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Acquire;

const NOT_STARTED: i32 = 1;
pub const INVALID_ARGUMENT: i32 = 2;
pub const NOT_FOUND: i32 = 6;
pub const TOO_SMALL: i32 = 7;
pub const LOST: i32 = 15;

static MACHINE: OnceLock<Option<Mapped>> = OnceLock::new();

/// `nvmlMemory_t`.
#[repr(C)]
pub struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub struct Memory2 {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// `nvmlProcessInfo_t`.
#[repr(C)]
pub struct Process {
    pid: u32,
    used: u64,
    instances: [u32; 2],
}

/// `nvmlPciInfo_t`.
#[repr(C)]
pub struct Pci {
    legacy: [u8; 16],
    domain: u32,
    bus: u32,
    device: u32,
    product: u32,
    subsystem: u32,
    bus_id: [u8; 32],
}

fn begin() -> Done {
    MACHINE.get_or_init(|| Mapped::open().ok()).map(|_| ()).ok_or(9)
}

pub fn machine() -> Result<Mapped, i32> {
    MACHINE.get().copied().flatten().ok_or(NOT_STARTED)
}

/// Handles are numbers from 1, of instances above all those.
pub fn device(handle: usize) -> Result<&'static Device, i32> {
    let machine = machine()?.get();
    if handle > crate::device::DEVICES {
        return mig::device(handle);
    }
    let known = (1..=machine.count.load(Acquire) as usize).contains(&handle);
    let device = machine.devices.get(handle.wrapping_sub(1)).filter(|_| known).ok_or(INVALID_ARGUMENT)?;
    if device.lost.load(Acquire) == 0 { Ok(device) } else { Err(LOST) }
}

fn uuid(handle: usize) -> Result<String, i32> {
    device(handle)?;
    mig::uuid(handle).unwrap_or_else(|| Ok(uuid_text("GPU", crate::api::uuid(handle - 1))))
}

/// `GPU-xxxxxxxx-xxxx-...`, `MIG-...`.
pub fn uuid_text(kind: &str, bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub fn text(out: *mut c_char, room: u32, text: &str) -> Done {
    if room as usize <= text.len() {
        return Err(TOO_SMALL);
    }
    // SAFETY: the client's room, long enough.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast(), text.len());
        out.add(text.len()).write(0);
    }
    Ok(())
}

/// Where on the bus the device with this handle is.
pub fn pci(handle: usize) -> Pci {
    let (mut legacy, mut bus_id, bus) = ([0; 16], [0; 32], 0x10 + handle as u32 - 1);
    let text = format!("00000000:{bus:02X}:00.0");
    bus_id[..text.len()].copy_from_slice(text.as_bytes());
    legacy[..12].copy_from_slice(&bus_id[4..16]);
    Pci { legacy, domain: 0, bus, device: 0, product: 0x2330_10de, subsystem: 0, bus_id }
}

fn processes(handle: usize, count: *mut u32, out: *mut Process) -> Done {
    let all: Vec<(u64, u64)> =
        device(handle)?.processes().into_iter().filter(|(_, used)| *used > 0).collect();
    // SAFETY: the client's places, with as much room as it says.
    unsafe {
        let room = *count as usize;
        *count = all.len() as u32;
        if room < all.len() {
            return Err(TOO_SMALL);
        }
        for (at, (pid, used)) in all.into_iter().enumerate() {
            out.add(at).write(Process { pid: pid as u32, used, instances: [u32::MAX; 2] });
        }
    }
    Ok(())
}

api! {
    [nvmlInit_v2, nvmlInit]() { begin() }
    [nvmlInitWithFlags](_flags: u32) { begin() }
    [nvmlShutdown]() { Ok(()) }
    [nvmlDeviceGetCount_v2, nvmlDeviceGetCount](out: *mut u32) { put(out, machine()?.count.load(Acquire) as u32) }
    [nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetHandleByIndex](index: u32, out: *mut usize) {
        device(index as usize + 1)?;
        put(out, index as usize + 1)
    }
    [nvmlDeviceGetHandleByUUID](wanted: *const c_char, out: *mut usize) {
        let wanted = CStr::from_ptr(wanted).to_string_lossy();
        let count = machine()?.count.load(Acquire) as usize;
        let mut all = (1..=count).flat_map(|handle| std::iter::once(handle).chain(mig::handles(handle - 1)));
        put(out, all.find(|handle| uuid(*handle).is_ok_and(|uuid| uuid == wanted)).ok_or(NOT_FOUND)?)
    }
    [nvmlDeviceGetIndex](handle: usize, out: *mut u32) { put(out, mig::index(handle, device(handle)?)?) }
    [nvmlDeviceGetMinorNumber](handle: usize, out: *mut u32) { put(out, mig::index(handle, device(handle)?)?) }
    [nvmlDeviceGetUUID](handle: usize, out: *mut c_char, room: u32) { text(out, room, &uuid(handle)?) }
    [nvmlDeviceGetName](handle: usize, out: *mut c_char, room: u32) {
        device(handle)?;
        text(out, room, &mig::name(machine()?.get(), handle))
    }
    [nvmlSystemGetDriverVersion](out: *mut c_char, room: u32) { text(out, room, "615.71") }
    [nvmlSystemGetCudaDriverVersion_v2, nvmlSystemGetCudaDriverVersion](out: *mut i32) { put(out, 13_050) }
    [nvmlDeviceGetPciInfo_v3, nvmlDeviceGetPciInfo_v2](handle: usize, out: *mut Pci) {
        device(handle)?;
        put(out, pci(mig::number(handle) + 1))
    }
    [nvmlDeviceGetMemoryInfo](handle: usize, out: *mut Memory) {
        let device = device(handle)?;
        device.processes();
        let (total, used) = (device.memory.load(Acquire), device.used.load(Acquire));
        put(out, Memory { total, free: total - used, used })
    }
    [nvmlDeviceGetMemoryInfo_v2](handle: usize, out: *mut Memory2) {
        let device = device(handle)?;
        device.processes();
        let (total, used) = (device.memory.load(Acquire), device.used.load(Acquire));
        put(out, Memory2 { version: (*out).version, total, reserved: 0, free: total - used, used })
    }
    [nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetComputeRunningProcesses_v2](
        handle: usize, count: *mut u32, out: *mut Process
    ) { processes(handle, count, out) }
}
