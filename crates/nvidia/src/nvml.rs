//! NVML: memory is the share's, and processes are the task's.

use crate::abi::{
    Code, Handle, NVML_NOT_SUPPORTED, NVML_TOO_SMALL, NvmlMemory, NvmlMemory2, NvmlProcess, NvmlProcess1,
    SUCCESS,
};
use crate::link::{call, hooks};
use crate::share::{Share, by_number};
use std::ffi::{CStr, c_char};

/// The share of a device by NVML's handle.
fn share(device: Handle) -> Option<&'static Share> {
    let mut text = [0_u8; 96];
    // SAFETY: the type is the headers', and there is so much room.
    let done = unsafe {
        call!(nvmlDeviceGetUUID: fn(Handle, *mut c_char, u32), device, text.as_mut_ptr().cast(), text.len() as u32)
    };
    let uuid = CStr::from_bytes_until_nul(&text).ok().filter(|_| done == SUCCESS)?.to_str().ok()?;
    by_number(number(uuid)?)
}

/// The first 8 bytes of `GPU-xxxxxxxx-xxxx-xxxx-...`.
fn number(uuid: &str) -> Option<u64> {
    let digits: String =
        uuid.strip_prefix("GPU-")?.chars().filter(|letter| *letter != '-').take(16).collect();
    u64::from_str_radix(&digits, 16).ok()
}

/// The task's processes on a device, into a list of `Entry`.
fn list<Entry>(
    code: impl FnOnce() -> Code,
    device: Handle,
    count: *mut u32,
    out: *mut Entry,
    entry: impl Fn(u32, u64) -> Entry,
) -> Code {
    let Some(share) = share(device).filter(|_| !count.is_null()) else { return code() };
    let all = share.member.processes();
    // SAFETY: the client's places, with as much room as it says.
    unsafe {
        let room = if out.is_null() { 0 } else { *count as usize };
        count.write(all.len() as u32);
        if room < all.len() {
            return NVML_TOO_SMALL;
        }
        for (at, (pid, used)) in all.into_iter().enumerate() {
            out.add(at).write(entry(pid, used));
        }
    }
    SUCCESS
}

/// No instances of MIG.
const WHOLE: [u32; 2] = [u32::MAX; 2];

const fn older(pid: u32, used: u64) -> NvmlProcess1 {
    NvmlProcess1 { pid, used }
}

const fn newer(pid: u32, used: u64) -> NvmlProcess {
    NvmlProcess { pid, used, instances: WHOLE }
}

/// A list of other processes than those of compute: a task has none.
fn none(code: impl FnOnce() -> Code, device: Handle, count: *mut u32) -> Code {
    if share(device).is_none() || count.is_null() {
        return code();
    }
    // SAFETY: the client's place.
    unsafe { count.write(0) };
    SUCCESS
}

hooks! {
    [nvmlDeviceGetMemoryInfo] |real| (device: Handle, out: *mut NvmlMemory) {
        let code = real();
        // SAFETY: the client's place, which NVML has filled.
        if code == SUCCESS && let (Some(share), Some(memory)) = (share(device), unsafe { out.as_mut() }) {
            let (free, total) = share.seen(memory.free, memory.total);
            *memory = NvmlMemory { total, free, used: total - free };
        }
        code
    }
    [nvmlDeviceGetMemoryInfo_v2] |real| (device: Handle, out: *mut NvmlMemory2) {
        let code = real();
        // SAFETY: the client's place, which NVML has filled.
        if code == SUCCESS && let (Some(share), Some(memory)) = (share(device), unsafe { out.as_mut() }) {
            let (free, total) = share.seen(memory.free, memory.total);
            *memory = NvmlMemory2 { version: memory.version, total, reserved: 0, free, used: total - free };
        }
        code
    }
    [nvmlDeviceGetComputeRunningProcesses] |real| (device: Handle, count: *mut u32, out: *mut NvmlProcess1) {
        list(real, device, count, out, older)
    }
    [nvmlDeviceGetComputeRunningProcesses_v2, nvmlDeviceGetComputeRunningProcesses_v3] |real| (
        device: Handle, count: *mut u32, out: *mut NvmlProcess
    ) { list(real, device, count, out, newer) }
    [nvmlDeviceGetGraphicsRunningProcesses, nvmlDeviceGetGraphicsRunningProcesses_v2,
        nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlDeviceGetMPSComputeRunningProcesses,
        nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlDeviceGetMPSComputeRunningProcesses_v3] |real| (
        device: Handle, count: *mut u32, out: Handle
    ) { none(real, device, count) }
    [nvmlDeviceGetRunningProcessDetailList] |real| (device: Handle, out: Handle) {
        if share(device).is_some() { NVML_NOT_SUPPORTED } else { real() }
    }
}
