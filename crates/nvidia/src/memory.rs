//! Plain memory: reserved before the driver gives it, given back when the driver has it again.

use crate::abi::{Code, Handle, Ptr};
use crate::link::hooks;
use crate::pool;
use crate::share::{here, reserved};
use crate::table::Table;

/// By address.
pub static MEMORY: Table = Table::new();

fn allocate(bytes: u64, make: impl FnOnce() -> Code, at: impl FnOnce() -> Ptr) -> Code {
    reserved(here(), bytes, make, |held| MEMORY.keep(at(), held))
}

/// Frees by address, whatever allocated it.
fn free(at: Ptr, free: impl FnOnce() -> Code) -> Code {
    if pool::owns(at) { pool::free(at, free) } else { MEMORY.destroy(at, free) }
}

/// Bytes of rows, each as long as the driver makes it at most.
fn rows(width: u64, height: u64) -> u64 {
    /// No device wants rows to start at multiples of more.
    const ROW: u64 = 512;
    width.checked_next_multiple_of(ROW).map_or(u64::MAX, |row| row.saturating_mul(height))
}

hooks! {
    [cuMemAlloc_v2] |real| (out: *mut Ptr, bytes: usize) {
        // SAFETY: the driver wrote it.
        allocate(bytes as u64, real, || unsafe { *out })
    }
    [cuMemAllocManaged] |real| (out: *mut Ptr, bytes: usize, flags: u32) {
        // SAFETY: the driver wrote it.
        allocate(bytes as u64, real, || unsafe { *out })
    }
    [cuMemAllocPitch_v2] |real| (out: *mut Ptr, pitch: *mut usize, width: usize, height: usize, each: u32) {
        // SAFETY: the driver wrote it.
        allocate(rows(width as u64, height as u64), real, || unsafe { *out })
    }
    [cuMemAlloc] |real| (out: *mut u32, bytes: u32) {
        // SAFETY: the driver wrote it.
        allocate(u64::from(bytes), real, || u64::from(unsafe { *out }))
    }
    [cuMemAllocPitch] |real| (out: *mut u32, pitch: *mut u32, width: u32, height: u32, each: u32) {
        // SAFETY: the driver wrote it.
        allocate(rows(u64::from(width), u64::from(height)), real, || u64::from(unsafe { *out }))
    }
    [cuMemFree_v2] |real| (at: Ptr) { free(at, real) }
    [cuMemFree] |real| (at: u32) { free(u64::from(at), real) }
    [cuMemFreeAsync, cuMemFreeAsync_ptsz] |real| (at: Ptr, stream: Handle) { free(at, real) }
}
