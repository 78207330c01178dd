//! Lists the OpenCL devices of this machine, one a line: `address<TAB>bytes of memory<TAB>type<TAB>name`.
//!
//! A program of its own, for a driver may hang or crash, and the node must not. The folder of `.icd` files is
//! its argument; `/etc/OpenCL/vendors` by default. Addresses are those of a share: platform << 32 | ordinal.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use pond_opencl::abi::{DEVICE_MEMORY, DEVICE_NAME, DEVICE_TYPE};
use pond_opencl::driver::{Driver, Table};
use std::path::PathBuf;

fn main() {
    let folder =
        std::env::args_os().nth(1).map_or_else(|| PathBuf::from("/etc/OpenCL/vendors"), PathBuf::from);
    let platforms = Driver::open_all(&folder).iter().flat_map(Driver::platforms).collect::<Vec<_>>();
    for (number, platform) in platforms.into_iter().enumerate() {
        // SAFETY: a platform of a driver, just listed; nobody has changed its table.
        let table = unsafe { Table::read(platform) };
        // SAFETY: the platform is the table's.
        let devices = unsafe { table.all_devices(platform) };
        for (ordinal, device) in devices.into_iter().enumerate() {
            // SAFETY: a device of this table, and a size of 8 bytes.
            let (memory, name) =
                unsafe { (table.device_word(device, DEVICE_MEMORY), table.device_text(device, DEVICE_NAME)) };
            // SAFETY: as above; a type is 8 bytes.
            let kind = unsafe { table.device_word(device, DEVICE_TYPE) }.unwrap_or_default();
            let kind = match kind {
                kind if kind & 2 != 0 => "cpu",
                kind if kind & 4 != 0 => "gpu",
                kind if kind & 8 != 0 => "accelerator",
                _ => "other",
            };
            println!("{}\t{}\t{kind}\t{name}", (number as u64) << 32 | ordinal as u64, memory.unwrap_or(0));
        }
    }
}
