//! A library that stands before NVIDIA's: `libcuda.so.1` and `libnvidia-ml.so.1` in one file, which keeps a task's
//! shares of its GPUs.
//!
//! In a task with a share it is mounted over both libraries, so whatever is started inside finds it, and finds
//! nothing else. It has an entry for every name that the drivers' headers have ([`names`]); most jump to the real
//! function, those that allocate, launch or tell sizes lead through here. Pointers that
//! `cuGetProcAddress` gives out are exchanged in the same way ([`find`]).
//!
//! ```text
//!   /run/pond-share/nvidia/            or the folder that the library is opened from
//!     driver/libcuda.so.1              the real libraries
//!     driver/libnvidia-ml.so.1
//!     0.terms  0.ledger ...            one share a device (see pond-share); the device is the first 8 bytes of its UUID
//! ```
//! A device that can be seen and has no share, or a share that cannot be joined, and CUDA does not start: a task
//! never runs unlimited.
//!
//! It is cooperative: who opens the driver by another path goes past it.
//!
//! The entries are written in the machine language of x86-64; for other machines this crate is empty.

#![cfg(target_arch = "x86_64")]
#![expect(non_snake_case, reason = "the names are NVIDIA's")]

mod abi;
mod array;
mod context;
mod find;
mod graph;
mod launch;
mod link;
mod measure;
mod memory;
mod names;
mod nvml;
mod pool;
mod share;
mod table;
mod virtual_memory;
