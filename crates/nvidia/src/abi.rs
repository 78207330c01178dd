//! What NVIDIA's headers say about types, as far as it is used here.

use std::ffi::c_void;

/// `CUresult`, `nvmlReturn_t`.
pub type Code = i32;
/// Contexts, streams, functions, events, graphs, pools, arrays.
pub type Handle = *mut c_void;
/// `CUdeviceptr`.
pub type Ptr = u64;

pub const SUCCESS: Code = 0;
pub const OUT_OF_MEMORY: Code = 2;
pub const NO_DEVICE: Code = 100;
pub const NOT_FOUND: Code = 500;

pub const NVML_NOT_SUPPORTED: Code = 3;
pub const NVML_TOO_SMALL: Code = 7;
pub const NVML_NO_LIBRARY: Code = 12;

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Location {
    pub kind: i32,
    pub id: i32,
}

/// `CU_MEM_LOCATION_TYPE_DEVICE`, and a part of one.
pub const ON_DEVICE: [i32; 2] = [1, 6];

/// `CUmemAllocationProp`: its beginning.
#[repr(C)]
pub struct AllocationProperties {
    pub kind: i32,
    pub handles: i32,
    pub location: Location,
}

/// `CUmemPoolProps`: its beginning, which is the same.
pub type PoolProperties = AllocationProperties;

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
pub struct MemoryNode {
    pub pool: [u64; 11],
    pub access: *const c_void,
    pub count: usize,
    pub bytes: usize,
    pub at: Ptr,
}

/// `CUDA_ARRAY_DESCRIPTOR_v2`, `_v1` with 4-byte sides.
#[repr(C)]
pub struct Flat<Side> {
    pub width: Side,
    pub height: Side,
    pub format: i32,
    pub channels: u32,
}

/// `CUDA_ARRAY3D_DESCRIPTOR_v2`, `_v1` with 4-byte sides.
#[repr(C)]
pub struct Deep<Side> {
    pub width: Side,
    pub height: Side,
    pub depth: Side,
    pub format: i32,
    pub channels: u32,
    pub flags: u32,
}

/// `CUlaunchConfig`: its beginning.
#[repr(C)]
pub struct LaunchConfig {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub stream: Handle,
}

/// `CUDA_LAUNCH_PARAMS`: its beginning.
#[repr(C)]
pub struct LaunchParameters {
    pub function: Handle,
    pub grid: [u32; 3],
}

/// `nvmlMemory_t`.
#[repr(C)]
pub struct NvmlMemory {
    pub total: u64,
    pub free: u64,
    pub used: u64,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub struct NvmlMemory2 {
    pub version: u32,
    pub total: u64,
    pub reserved: u64,
    pub free: u64,
    pub used: u64,
}

/// `nvmlProcessInfo_v1_t`.
#[repr(C)]
pub struct NvmlProcess1 {
    pub pid: u32,
    pub used: u64,
}

/// `nvmlProcessInfo_v2_t`.
#[repr(C)]
pub struct NvmlProcess {
    pub pid: u32,
    pub used: u64,
    pub instances: [u32; 2],
}
