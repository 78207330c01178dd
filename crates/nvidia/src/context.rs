//! The start of the driver, contexts, and what devices say of their size.

use crate::abi::{Code, Handle, NO_DEVICE, SUCCESS};
use crate::array::ARRAYS;
use crate::link::{call, hooks};
use crate::measure;
use crate::memory::MEMORY;
use crate::share::{self, here, of_device, reserved};
use crate::table::{Table, lock};
use std::sync::Mutex;

/// By handle.
static CONTEXTS: Table = Table::new();
/// One at a time: a primary context is made by its first user.
static PRIMARY: Mutex<()> = Mutex::new(());

/// What a context is taken to need on the device, bytes a multiprocessor. The driver does not say; published figures
/// for devices of 40 to 132 multiprocessors lie between 3 and 4 MiB.
const OVERHEAD: u64 = 4 << 20;

fn overhead(device: i32) -> u64 {
    /// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`
    const PROCESSORS: i32 = 16;
    let mut count = 0;
    // SAFETY: the type is the headers'.
    let done =
        unsafe { call!(cuDeviceGetAttribute: fn(*mut i32, i32, i32), &raw mut count, PROCESSORS, device) };
    if done == SUCCESS { OVERHEAD * u64::from(count.max(0).cast_unsigned()) } else { 0 }
}

fn create(device: i32, make: impl FnOnce() -> Code, out: *mut Handle) -> Code {
    let share = of_device(device);
    // SAFETY: the driver wrote it.
    reserved(share, overhead(device), make, |held| CONTEXTS.keep_apart(unsafe { *out } as u64, held))
}

/// A context has ended, and all that was made in it.
fn end(context: u64) {
    MEMORY.end(context);
    ARRAYS.end(context);
    drop(CONTEXTS.take(context));
}

fn is_active(device: i32) -> bool {
    let (mut flags, mut active) = (0, 0);
    // SAFETY: the type is the headers'.
    let done = unsafe {
        call!(cuDevicePrimaryCtxGetState: fn(i32, *mut u32, *mut i32), device, &raw mut flags, &raw mut active)
    };
    done == SUCCESS && active != 0
}

/// The primary context of a device by its number, while it lives.
static OF_DEVICE: Mutex<[u64; 64]> = Mutex::new([0; 64]);

fn retain(device: i32, real: impl FnOnce() -> Code, out: *mut Handle) -> Code {
    let _turn = lock(&PRIMARY);
    let code = if is_active(device) { real() } else { create(device, real, out) };
    if code == SUCCESS
        && let Some(place) = lock(&OF_DEVICE).get_mut(device as usize)
    {
        // SAFETY: the driver wrote it.
        *place = unsafe { *out } as u64;
    }
    code
}

fn release(device: i32, real: impl FnOnce() -> Code) -> Code {
    let _turn = lock(&PRIMARY);
    let context = lock(&OF_DEVICE).get(device as usize).copied().unwrap_or(0);
    measure::forget(context);
    let code = real();
    if code == SUCCESS && context != 0 && !is_active(device) {
        end(context);
    }
    code
}

fn clamp<Size: Copy + Into<u64> + TryFrom<u64>>(code: Code, free: *mut Size, total: *mut Size) -> Code {
    let Some(share) = here().filter(|_| code == SUCCESS && !free.is_null() && !total.is_null()) else {
        return code;
    };
    // SAFETY: the driver wrote them.
    let (said_free, said_total) = unsafe { ((*free).into(), (*total).into()) };
    let (seen_free, seen_total) = share.seen(said_free, said_total);
    // SAFETY: the client's places; smaller than what was there.
    unsafe {
        free.write(Size::try_from(seen_free).unwrap_or(*free));
        total.write(Size::try_from(seen_total).unwrap_or(*total));
    }
    code
}

fn clamp_total<Size: Copy + Into<u64> + TryFrom<u64>>(code: Code, device: i32, total: *mut Size) -> Code {
    let Some(share) = of_device(device).filter(|_| code == SUCCESS && !total.is_null()) else { return code };
    // SAFETY: the driver wrote it; smaller than what was there.
    unsafe {
        let (_, seen) = share.seen(0, (*total).into());
        total.write(Size::try_from(seen).unwrap_or(*total));
    }
    code
}

hooks! {
    [cuInit] |real| (flags: u32) {
        let code = real();
        if code == SUCCESS && !share::adopt() { NO_DEVICE } else { code }
    }
    [cuCtxCreate, cuCtxCreate_v2] |real| (out: *mut Handle, flags: u32, device: i32) { create(device, real, out) }
    [cuCtxCreate_v3] |real| (out: *mut Handle, affinity: Handle, count: i32, flags: u32, device: i32) {
        create(device, real, out)
    }
    [cuCtxCreate_v4] |real| (out: *mut Handle, how: Handle, flags: u32, device: i32) { create(device, real, out) }
    [cuCtxDestroy, cuCtxDestroy_v2] |real| (context: Handle) {
        measure::forget(context as u64);
        let code = real();
        if code == SUCCESS {
            end(context as u64);
        }
        code
    }
    [cuDevicePrimaryCtxRetain] |real| (out: *mut Handle, device: i32) { retain(device, real, out) }
    [cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxReset,
        cuDevicePrimaryCtxReset_v2] |real| (device: i32) { release(device, real) }
    [cuMemGetInfo_v2] |real| (free: *mut u64, total: *mut u64) { clamp(real(), free, total) }
    [cuMemGetInfo] |real| (free: *mut u32, total: *mut u32) { clamp(real(), free, total) }
    [cuDeviceTotalMem_v2] |real| (total: *mut u64, device: i32) { clamp_total(real(), device, total) }
    [cuDeviceTotalMem] |real| (total: *mut u32, device: i32) { clamp_total(real(), device, total) }
}
