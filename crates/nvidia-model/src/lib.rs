//! NVIDIA's driver libraries without a GPU, for tests: `libcuda.so.1` and `libnvidia-ml.so.1` in one file.
//!
//! Its devices stand in a file that all processes map ([`device`]): how much memory is taken and by whom, and until
//! when the device is busy. Memory is counted exactly; what is held by a process that died comes back. Time is the
//! machine's clock, but kernels burn none of it: a kernel is an interval on the device's queue, so a busy device costs no
//! CPU. A kernel named `spin_250us` takes 250 µs of the whole device, `spin_250us_33` a third of it as long.
//!
//! Without a file named by `POND_NVIDIA_MODEL` a process has one device of its own. Faults are words of the file:
//! refused allocations, an error that sticks, a device that is slow, hot, lost, errors of memory, XIDs (`vitals`).
//!
//! Devices are joined as words of the file say: over PCIe, by NVLink to each other or to a switch (`joins`).
//!
//! A device may be an A100 or an H100 that can be cut (`mig`); CUDA sees what `CUDA_VISIBLE_DEVICES` names.
//!
//! It does what clients in the tests ask for, and says `NOT_SUPPORTED` to the rest. It has no private export
//! tables, hence NVIDIA's runtime library finds all its names here and then ends.

mod api;
pub mod device;
mod events;
mod graph;
mod joins;
mod memory;
mod mig;
mod nvml;
mod pool;
mod profiles;
mod rest;
mod visible;
mod vitals;

pub use mig::{become_model, instances, reset};
mod world;

/// `CUresult`, `nvmlReturn_t`.
pub type Code = i32;
