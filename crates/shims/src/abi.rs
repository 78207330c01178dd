//! The parts of OpenCL's C interface that are used here: types, constants, and how handles are read.

use std::ffi::{CStr, c_char, c_void};

/// `cl_int`.
pub type Int = i32;
/// `cl_uint`, `cl_bool`.
pub type Uint = u32;
/// `cl_ulong`, `cl_bitfield`.
pub type Ulong = u64;
/// Any handle: a pointer to an object of the driver whose first word is the driver's table.
pub type Handle = *mut c_void;
/// `cl_platform_id`.
pub type Platform = Handle;

/// `CL_SUCCESS`.
pub const SUCCESS: Int = 0;
/// `CL_DEVICE_NOT_FOUND`.
pub const DEVICE_NOT_FOUND: Int = -1;
/// `CL_MEM_OBJECT_ALLOCATION_FAILURE`: out of the device's memory.
pub const OUT_OF_MEMORY: Int = -4;
/// `CL_OUT_OF_HOST_MEMORY`.
pub const OUT_OF_HOST_MEMORY: Int = -6;
/// `CL_INVALID_VALUE`.
pub const INVALID_VALUE: Int = -30;
/// `CL_INVALID_PLATFORM`.
pub const INVALID_PLATFORM: Int = -32;
/// `CL_PLATFORM_NOT_FOUND_KHR`.
pub const PLATFORM_NOT_FOUND: Int = -1001;

/// `CL_DEVICE_TYPE_ALL`.
pub const ALL_DEVICES: Ulong = 0xFFFF_FFFF;
/// `CL_PLATFORM_VERSION`.
pub const PLATFORM_VERSION: Uint = 0x0901;
/// `CL_DEVICE_MAX_MEM_ALLOC_SIZE`.
pub const MAX_ALLOCATION: Uint = 0x1010;
/// `CL_DEVICE_GLOBAL_MEM_SIZE`.
pub const DEVICE_MEMORY: Uint = 0x101F;
/// `CL_DEVICE_TYPE`: bits; 2 a CPU, 4 a GPU, 8 an accelerator.
pub const DEVICE_TYPE: Uint = 0x1000;
/// `CL_DEVICE_NAME`.
pub const DEVICE_NAME: Uint = 0x102B;
/// `CL_DEVICE_PARENT_DEVICE`.
pub const PARENT_DEVICE: Uint = 0x1042;
/// `CL_DEVICE_GLOBAL_FREE_MEMORY_AMD`: KiB.
pub const FREE_MEMORY_AMD: Uint = 0x4039;
/// `CL_CONTEXT_DEVICES`.
pub const CONTEXT_DEVICES: Uint = 0x1081;
/// `CL_CONTEXT_PLATFORM`.
pub const CONTEXT_PLATFORM: isize = 0x1084;
/// `CL_QUEUE_DEVICE`.
pub const QUEUE_DEVICE: Uint = 0x1091;
/// `CL_QUEUE_PROPERTIES`.
pub const QUEUE_PROPERTIES: Ulong = 0x1093;
/// `CL_QUEUE_PROFILING_ENABLE`.
pub const PROFILING: Ulong = 1 << 1;
/// `CL_QUEUE_ON_DEVICE`.
pub const ON_DEVICE: Ulong = 1 << 2;
/// `CL_EVENT_COMMAND_EXECUTION_STATUS`: how far a command has come; 0 or less: ended.
pub const COME_TO: Uint = 0x11D3;
/// `CL_PROFILING_COMMAND_START`.
pub const STARTED: Uint = 0x1282;
/// `CL_PROFILING_COMMAND_END`.
pub const ENDED: Uint = 0x1283;

/// `cl_image_format`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ImageFormat {
    /// Which channels.
    pub order: Uint,
    /// Of which type.
    pub kind: Uint,
}

/// `cl_image_desc`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ImageDesc {
    /// Buffer, 1D, 2D, 3D, array.
    pub kind: Uint,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub depth: usize,
    /// Images.
    pub array: usize,
    /// Bytes.
    pub row_pitch: usize,
    /// Bytes.
    pub slice_pitch: usize,
    /// Levels.
    pub mip_levels: Uint,
    /// Samples.
    pub samples: Uint,
    /// The buffer or image that it is a view of.
    pub view_of: Handle,
}

/// Hands out a list as OpenCL's functions do: as many as there is room for, and how many there are.
///
/// # Safety
/// `out` has room for `room` handles or is null; `count` is valid or null.
pub unsafe fn hand_out(all: &[Handle], room: Uint, out: *mut Handle, count: *mut Uint) {
    if !out.is_null() {
        for (at, handle) in all.iter().take(room as usize).enumerate() {
            // SAFETY: `at < room`.
            unsafe { out.add(at).write(*handle) };
        }
    }
    if !count.is_null() {
        // SAFETY: valid, as the caller promises.
        unsafe { count.write(Uint::try_from(all.len()).unwrap_or(Uint::MAX)) };
    }
}

/// A C string that is UTF-8.
///
/// # Safety
/// It is one, or null, and lives as long as the result.
#[must_use]
pub unsafe fn text<'a>(string: *const c_char) -> Option<&'a str> {
    if string.is_null() {
        return None;
    }
    // SAFETY: not null, and a C string by the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_str().ok()
}
