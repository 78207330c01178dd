//! How the devices of this machine are joined: NVIDIA's driver says it of its GPUs, the kernel's tree of buses of all that hang on one.

use super::devices::{SYS, pci_address};
use super::listed::Listed;
use super::nvidia::management;
use nvml_wrapper::enum_wrappers::device::{P2pCapabilitiesIndex, P2pStatus, TopologyLevel};
use nvml_wrapper::{Device as Gpu, Nvml};
use pond_core::model::{Device, Link};
use std::collections::BTreeMap;
use std::path::Path;

/// More links of NVLink than a GPU has; asked for one that is not, the driver refuses.
const MOST_LINKS: u32 = 64;

/// Writes down how each device is joined to those before it; nothing where nothing is known of any two.
pub fn join(devices: &mut [Device], listed: &[Listed]) {
    if devices.len() < 2 {
        return;
    }
    let nvml = devices.iter().any(|device| device.uuid.starts_with("GPU-")).then(management);
    let cards = nvml.as_ref().and_then(|nvml| nvml.as_ref().ok()).map(cards).unwrap_or_default();
    let places: Vec<Option<String>> = devices.iter().map(|device| address(device, &cards, listed)).collect();
    let link = |one: usize, other: usize| {
        let gpus = cards.get(&devices[one].uuid).zip(cards.get(&devices[other].uuid));
        let of_driver = gpus.and_then(|(one, other)| one.link(other));
        let on_bus = || bus_link(SYS.as_ref(), places[one].as_deref()?, places[other].as_deref()?);
        let numa = || devices[one].numa.zip(devices[other].numa);
        let by_numa = || numa().map(|(a, b)| if a == b { Link::NUMA } else { Link::SYSTEM });
        of_driver.or_else(on_bus).or_else(by_numa).unwrap_or(Link::UNKNOWN)
    };
    let links: Vec<Vec<Link>> =
        (0..devices.len()).map(|at| (0..at).map(|before| link(before, at)).collect()).collect();
    if links.iter().flatten().all(|link| *link == Link::UNKNOWN) {
        return;
    }
    for (device, links) in devices.iter_mut().zip(links) {
        device.traits.links = links.into();
    }
}

/// Where a device is on the PCI bus.
fn address(device: &Device, cards: &BTreeMap<String, Card<'_>>, listed: &[Listed]) -> Option<String> {
    let card = cards.get(&device.uuid).map(|card| card.address.clone());
    let said = || listed.iter().find(|listed| listed.device.uuid == device.uuid)?.pci.clone();
    card.or_else(said).or_else(|| is_address(&device.uuid).then(|| device.uuid.clone()))
}

/// Whether it is like `0000:17:00.0`.
pub(super) fn is_address(text: &str) -> bool {
    let is_right = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b':',
        10 => byte == b'.',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 12 && text.bytes().enumerate().all(is_right)
}

/// One of NVIDIA's GPUs, with what its driver says of its links.
struct Card<'nvml> {
    gpu: Gpu<'nvml>,
    address: String,
    /// Active links of NVLink by what is at their other end: another GPU, a switch.
    lanes: BTreeMap<String, u8>,
}

/// By UUID.
fn cards(nvml: &Nvml) -> BTreeMap<String, Card<'_>> {
    let read = |index| {
        let gpu = nvml.device_by_index(index).ok()?;
        let address = pci_address(&gpu.pci_info().ok()?.bus_id);
        let mut lanes: BTreeMap<String, u8> = BTreeMap::new();
        for number in 0..MOST_LINKS {
            let link = gpu.link_wrapper_for(number);
            match link.is_active() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => break,
            }
            if let Ok(end) = link.remote_pci_info() {
                *lanes.entry(pci_address(&end.bus_id)).or_default() += 1;
            }
        }
        Some((gpu.uuid().ok()?, Card { gpu, address, lanes }))
    };
    (0..nvml.device_count().unwrap_or(0)).filter_map(read).collect()
}

impl Card<'_> {
    /// What the driver says of the way to another of its GPUs.
    ///
    /// That they reach each other by NVLink is its own word: links that are up say nothing while the fabric behind them is
    /// down. Links to each other are counted where there are some, else those to switches.
    fn link(&self, other: &Self) -> Option<Link> {
        let status = self.gpu.p2p_status(&other.gpu, P2pCapabilitiesIndex::NvLink);
        if status.is_ok_and(|status| status == P2pStatus::Ok) {
            let direct = self.lanes.get(&other.address).copied();
            let lanes = direct.unwrap_or_else(|| self.lanes_in_all().min(other.lanes_in_all()));
            return Some(Link::nvlink(lanes.max(1)));
        }
        Some(match self.gpu.nvml().topology_common_ancestor(&self.gpu, &other.gpu).ok()? {
            TopologyLevel::Internal | TopologyLevel::Single => Link::SWITCH,
            TopologyLevel::Multiple => Link::SWITCHES,
            TopologyLevel::HostBridge => Link::BRIDGE,
            TopologyLevel::Node => Link::NUMA,
            TopologyLevel::System => Link::SYSTEM,
        })
    }

    fn lanes_in_all(&self) -> u8 {
        self.lanes.values().fold(0, |sum, lanes| sum.saturating_add(*lanes))
    }
}

/// The way between two devices by their addresses, in the kernel's tree below a sysfs folder; `None` where one is not in it.
#[must_use]
pub fn bus_link(sys: &Path, one: &str, other: &str) -> Option<Link> {
    let folder = |address: &str| sys.join("bus/pci/devices").join(address);
    // `.../pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:00.0`: a root complex, bridges, the device.
    let path = |address: &str| -> Option<Vec<String>> {
        let full = folder(address).canonicalize().ok()?;
        let parts = full.iter().map(|part| part.to_string_lossy().into_owned());
        let parts: Vec<String> = parts.skip_while(|part| !part.starts_with("pci")).collect();
        (parts.len() > 1).then_some(parts)
    };
    let (a, b) = (path(one)?, path(other)?);
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    Some(match common {
        0 => {
            let numa = |address: &str| std::fs::read_to_string(folder(address).join("numa_node")).ok();
            let known = numa(one).filter(|node| !node.starts_with('-'));
            if known.is_some() && known == numa(other) { Link::NUMA } else { Link::SYSTEM }
        }
        1 => Link::BRIDGE,
        // Between the last bridge in common and a device are the ports of the switch it is on, and of others.
        _ if a.len().max(b.len()) - common <= 2 => Link::SWITCH,
        _ => Link::SWITCHES,
    })
}
