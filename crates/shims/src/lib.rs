//! An OpenCL driver that stands before the machine's drivers and keeps a task's shares of their devices.
//!
//! An OpenCL loader reads `/etc/OpenCL/vendors` and opens the libraries named there. In a task with a share the only
//! one named is this library, put there by a mount: no variable is needed, so ssh sessions, cleared environments and
//! child programs find it too. It opens the real drivers, and in the table of functions that each driver hands
//! to the loader it replaces those that allocate, launch or tell sizes.
//!
//! What it needs stands beside it, wherever it is:
//! ```text
//!   libpond_opencl.so
//!   drivers/*.icd          the real drivers, as they stood in /etc/OpenCL/vendors
//!   0.terms  0.ledger ...  one share a device (see pond-share); the device is platform << 32 | ordinal, counted
//!                          over the drivers in the order of their file names
//! ```
//! Devices without a share are not shown. A share that cannot be joined shows no device at all: the task fails where it
//! looks for a device and never runs unlimited.
//!
//! It is cooperative: it counts what goes through the loader. A program that opens the driver's library by itself goes
//! past it.

pub mod abi;
pub mod driver;
mod info;
mod launch;
mod memory;
pub mod names;
mod state;

use abi::{Int, PLATFORM_NOT_FOUND, Platform, SUCCESS, Uint, text};
use std::ffi::{c_char, c_void};

/// The loader's first call: which platforms there are.
///
/// # Safety
/// As OpenCL says: `platforms` has room for `room` handles or is null, `count` is valid or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clIcdGetPlatformIDsKHR(
    room: Uint,
    platforms: *mut Platform,
    count: *mut Uint,
) -> Int {
    let all = state::get().platforms();
    if all.is_empty() {
        return PLATFORM_NOT_FOUND;
    }
    // SAFETY: the caller's promise.
    unsafe { abi::hand_out(all, room, platforms, count) };
    SUCCESS
}

/// The loader's way to functions that are not in the table.
///
/// # Safety
/// `name` is a C string or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { text(name) }) else { return std::ptr::null_mut() };
    if name == "clIcdGetPlatformIDsKHR" {
        return clIcdGetPlatformIDsKHR as *mut c_void;
    }
    let real = |name: &str| state::get().drivers().iter().find_map(|driver| driver.extension(name));
    info::extension(name, real)
}
