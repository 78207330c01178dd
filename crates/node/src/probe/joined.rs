//! How the devices of this machine are joined: NVIDIA's driver says it of its GPUs, the kernel of AMD's, and its tree of buses of all
//! that hang on one.

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
    let fabric = xgmi_links(SYS.as_ref());
    let link = |one: usize, other: usize| {
        let gpus = cards.get(&devices[one].uuid).zip(cards.get(&devices[other].uuid));
        let of_driver = gpus.and_then(|(one, other)| one.link(other));
        let by_fabric = || {
            let (one, other) = (places[one].to_owned()?, places[other].to_owned()?);
            fabric.get(&if one < other { (one, other) } else { (other, one) }).copied()
        };
        let on_bus = || bus_link(SYS.as_ref(), places[one].as_deref()?, places[other].as_deref()?);
        let numa = || devices[one].numa.zip(devices[other].numa);
        let by_numa = || numa().map(|(a, b)| if a == b { Link::NUMA } else { Link::SYSTEM });
        of_driver.or_else(by_fabric).or_else(on_bus).or_else(by_numa).unwrap_or(Link::UNKNOWN)
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

/// `CRAT_IOLINK_TYPE_XGMI` of the kernel, and what it counts for one hop in `weight`; what its driver does not know is 0.
const XGMI: u64 = 11;
const XGMI_HOP: u64 = 15;

/// Pairs of AMD's GPUs that XGMI joins, by their addresses, the lower first, in the kernel's tree below a sysfs folder.
///
/// The nodes of the compute driver are processors and GPUs, of a GPU that is in parts each part; a link is written down at either end.
#[must_use]
pub fn xgmi_links(sys: &Path) -> BTreeMap<(String, String), Link> {
    let nodes = sys.join("class/kfd/kfd/topology/nodes");
    let numbers: Vec<String> = names(&nodes);
    let place = |node: &String| {
        let facts = properties(&nodes.join(node).join("properties"));
        let fact = |name: &str| facts.get(name).copied().unwrap_or(0);
        let (domain, at) = (fact("domain"), fact("location_id"));
        // A processor has no SIMD units, and no place on the bus.
        let address = format!("{domain:04x}:{:02x}:{:02x}.{}", at >> 8 & 0xff, at >> 3 & 0x1f, at & 7);
        Some((node.parse().ok()?, (fact("simd_count") > 0).then_some(address)?))
    };
    let places: BTreeMap<u64, String> = numbers.iter().filter_map(place).collect();
    let mut found: BTreeMap<(String, String), Link> = BTreeMap::new();
    for node in &numbers {
        let links = nodes.join(node).join("io_links");
        for link in names(&links) {
            let facts = properties(&links.join(link).join("properties"));
            let end = |name: &str| facts.get(name).and_then(|node| places.get(node));
            let (Some(one), Some(other)) = (end("node_from"), end("node_to")) else { continue };
            if facts.get("type") != Some(&XGMI) || one == other {
                continue;
            }
            let weight = facts.get("weight").copied().unwrap_or(0);
            let hops = u8::try_from(weight.div_ceil(XGMI_HOP)).unwrap_or(u8::MAX);
            let pair = if one < other { (one, other) } else { (other, one) };
            let link = Link::xgmi(hops.max(1));
            let known = found.entry((pair.0.to_owned(), pair.1.to_owned())).or_insert(link);
            *known = link.min(*known);
        }
    }
    found
}

/// What is in a folder, in order; nothing where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Lines of a name and a number.
fn properties(file: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let fact = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(fact).collect()
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
