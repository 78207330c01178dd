//! Arrays and mipmaps: the driver lays them out as it likes, so a bound of their size is reserved.

use crate::abi::{Code, Deep, Flat, Handle};
use crate::link::hooks;
use crate::share::{here, reserved};
use crate::table::Table;

/// By handle.
pub static ARRAYS: Table = Table::new();

/// Sparse, or memory comes later: then as physical memory, which is counted there.
const LATER: u32 = 0x40 | 0x80;

/// Bytes of one channel; of a format not known here the largest there is.
const fn channel_bytes(format: i32) -> u64 {
    match format {
        // CU_AD_FORMAT_UNSIGNED_INT8 and SIGNED_INT8
        0x01 | 0x08 => 1,
        // ..._INT16 and HALF
        0x02 | 0x09 | 0x10 => 2,
        _ => 4,
    }
}

fn bytes(sides: [u64; 3], format: i32, channels: u32, flags: u32) -> u64 {
    if flags & LATER != 0 {
        return 0;
    }
    let each = channel_bytes(format) * u64::from(channels.max(1));
    // Layers and the sides of a cube are its depth.
    sides.iter().fold(each, |product, side| product.saturating_mul((*side).max(1)))
}

fn make(size: u64, make: impl FnOnce() -> Code, out: *mut Handle) -> Code {
    // SAFETY: the driver wrote it.
    reserved(here(), size, make, |held| ARRAYS.keep(unsafe { *out } as u64, held))
}

fn flat<Side: Copy + Into<u64>>(how: *const Flat<Side>) -> u64 {
    // SAFETY: null or valid, as the client promises.
    let Some(how) = (unsafe { how.as_ref() }) else { return 0 };
    bytes([how.width.into(), how.height.into(), 0], how.format, how.channels, 0)
}

fn deep<Side: Copy + Into<u64>>(how: *const Deep<Side>) -> u64 {
    // SAFETY: null or valid, as the client promises.
    let Some(how) = (unsafe { how.as_ref() }) else { return 0 };
    bytes([how.width.into(), how.height.into(), how.depth.into()], how.format, how.channels, how.flags)
}

/// Of all levels: a level has an eighth to a half of the one before it.
fn levels(how: *const Deep<u64>, count: u32) -> u64 {
    if count > 1 { deep(how).saturating_mul(2) } else { deep(how) }
}

hooks! {
    [cuArrayCreate_v2] |real| (out: *mut Handle, how: *const Flat<u64>) { make(flat(how), real, out) }
    [cuArray3DCreate_v2] |real| (out: *mut Handle, how: *const Deep<u64>) { make(deep(how), real, out) }
    [cuArrayCreate] |real| (out: *mut Handle, how: *const Flat<u32>) { make(flat(how), real, out) }
    [cuArray3DCreate] |real| (out: *mut Handle, how: *const Deep<u32>) { make(deep(how), real, out) }
    [cuMipmappedArrayCreate] |real| (out: *mut Handle, how: *const Deep<u64>, count: u32) {
        make(levels(how, count), real, out)
    }
    [cuArrayDestroy, cuMipmappedArrayDestroy] |real| (array: Handle) { ARRAYS.destroy(array as u64, real) }
}
