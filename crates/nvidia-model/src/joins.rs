//! How devices are joined, by NVML: the way over PCIe, links of NVLink to each other and to a switch.

use crate::device::{DEVICES, Device, Machine};
use crate::nvml::{INVALID_ARGUMENT, Pci, device, machine, pci};
use crate::world::{Done, api, put};
use std::sync::atomic::Ordering::Acquire;

/// `NVML_TOPOLOGY_SYSTEM`.
const SYSTEM: u32 = 50;
/// `nvmlGpuP2PCapsIndex_t`: NVLink.
const NVLINK: u32 = 2;
/// Those from here on are none.
const NO_CAPABILITY: u32 = 5;
/// `nvmlGpuP2PStatus_t`.
const NOT_SUPPORTED: u32 = 5;
/// Links that a device may have.
const LINKS: usize = 36;
/// `nvmlIntNvLinkDeviceType_t`.
const SWITCH: u32 = 2;
/// Where the switch is on the bus: behind all devices.
const SWITCH_BUS: usize = 0x40;

/// What is at the other end of a link.
#[derive(Clone, Copy)]
enum End {
    Gpu(usize),
    Switch,
}

/// Two whole devices of the machine, by handle.
fn two(one: usize, other: usize) -> Result<(&'static Machine, usize, usize), i32> {
    for handle in [one, other] {
        whole(handle)?;
    }
    if one == other {
        return Err(INVALID_ARGUMENT);
    }
    Ok((machine()?.get(), one.min(other) - 1, one.max(other) - 1))
}

fn whole(handle: usize) -> Result<&'static Device, i32> {
    if handle > DEVICES { Err(INVALID_ARGUMENT) } else { device(handle) }
}

/// What is at the end of each link of a device.
fn ends(handle: usize) -> Result<Vec<End>, i32> {
    whole(handle)?;
    let (machine, at) = (machine()?.get(), handle - 1);
    let lanes = |other: usize| machine.joins[at.min(other)][at.max(other)].lanes.load(Acquire) as usize;
    let direct = (0..DEVICES).filter(|other| *other != at);
    let mut ends: Vec<End> =
        direct.flat_map(|other| std::iter::repeat_n(End::Gpu(other), lanes(other))).collect();
    ends.extend(std::iter::repeat_n(End::Switch, machine.to_switch[at].load(Acquire) as usize));
    Ok(ends)
}

/// One link: what it leads to, when it is up.
fn end(handle: usize, link: u32) -> Result<Option<End>, i32> {
    let ends = ends(handle)?;
    if link as usize >= LINKS { Err(INVALID_ARGUMENT) } else { Ok(ends.get(link as usize).copied()) }
}

fn remote(handle: usize, link: u32, out: *mut Pci) -> Done {
    let bus = match end(handle, link)?.ok_or(INVALID_ARGUMENT)? {
        End::Gpu(other) => other + 1,
        End::Switch => SWITCH_BUS,
    };
    // SAFETY: the client's place.
    unsafe { put(out, pci(bus)) }
}

/// Whether two devices reach each other by NVLink: by links of their own, or both by the switch, when its fabric is up.
fn by_nvlink(machine: &Machine, one: usize, other: usize) -> bool {
    let to_switch = |at: usize| machine.to_switch[at].load(Acquire) > 0;
    let fabric = to_switch(one) && to_switch(other) && machine.fabric_down.load(Acquire) == 0;
    machine.joins[one][other].lanes.load(Acquire) > 0 || fabric
}

api! {
    [nvmlDeviceGetTopologyCommonAncestor](one: usize, other: usize, out: *mut u32) {
        let (machine, one, other) = two(one, other)?;
        let way = machine.joins[one][other].way.load(Acquire) as u32;
        put(out, if way == 0 { SYSTEM } else { way })
    }
    [nvmlDeviceGetP2PStatus](one: usize, other: usize, capability: u32, out: *mut u32) {
        let (machine, one, other) = two(one, other)?;
        let able = match capability {
            NVLINK => by_nvlink(machine, one, other),
            NO_CAPABILITY.. => return Err(INVALID_ARGUMENT),
            _ => true,
        };
        put(out, if able { 0 } else { NOT_SUPPORTED })
    }
    [nvmlDeviceGetNvLinkState](handle: usize, link: u32, out: *mut u32) {
        put(out, u32::from(end(handle, link)?.is_some()))
    }
    [nvmlDeviceGetNvLinkRemotePciInfo_v2, nvmlDeviceGetNvLinkRemotePciInfo](handle: usize, link: u32, out: *mut Pci) {
        remote(handle, link, out)
    }
    [nvmlDeviceGetNvLinkRemoteDeviceType](handle: usize, link: u32, out: *mut u32) {
        put(out, match end(handle, link)?.ok_or(INVALID_ARGUMENT)? {
            End::Gpu(_) => 0,
            End::Switch => SWITCH,
        })
    }
}
