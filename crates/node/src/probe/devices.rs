//! Accelerators: what hangs on the PCI bus, and what NVIDIA's library says of its own.

use super::{mig, nvidia};
use nvml_wrapper::Nvml;
use pond_core::model::{Device, DeviceKind, ShareMode};
use pond_core::units::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where the kernel shows devices.
pub(super) const SYS: &str = "/sys";
/// Where their files are.
pub(super) const DEV: &str = "/dev";
/// PCI vendor numbers.
pub(super) const NVIDIA: u16 = 0x10de;
const AMD: u16 = 0x1002;
const INTEL: u16 = 0x8086;
const XILINX: u16 = 0x10ee;
const ALTERA: u16 = 0x1172;

/// An accelerator on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// PCI address: `0000:17:00.0`.
    pub address: String,
    /// PCI vendor number.
    pub vendor: u16,
    /// What it is, as far as the bus tells.
    pub device: Device,
}

/// Accelerators of this machine, in the order of their PCI addresses. NVIDIA's are described by its library when
/// that is there; a device without a driver is listed without modes, so that it is shown and never granted.
#[must_use]
pub fn devices() -> Vec<Device> {
    let mut nvidia = nvml_devices();
    let mut all: Vec<Device> = scan_pci(SYS.as_ref(), DEV.as_ref())
        .into_iter()
        .map(|found| nvidia.remove(&found.address).unwrap_or(found.device))
        .collect();
    // cards the library knows and the bus scan does not, as under some hypervisors
    all.extend(nvidia.into_values());
    all
}

/// Accelerators under a sysfs and a device folder, in the order of their addresses.
#[must_use]
pub fn scan_pci(sys: &Path, dev: &Path) -> Vec<Found> {
    let Ok(entries) = fs::read_dir(sys.join("bus/pci/devices")) else { return Vec::new() };
    let mut found: Vec<Found> = entries.flatten().filter_map(|entry| look(&entry.path(), dev)).collect();
    found.sort_by(|a, b| a.address.cmp(&b.address));
    found
}

fn look(folder: &Path, dev: &Path) -> Option<Found> {
    let class = hexadecimal(&folder.join("class"))?;
    let vendor = u16::try_from(hexadecimal(&folder.join("vendor"))?).ok()?;
    let product = u16::try_from(hexadecimal(&folder.join("device"))?).ok()?;
    let kind = kind_of(class >> 8, vendor)?;
    let address = folder.file_name()?.to_string_lossy().into_owned();
    let files = files_of(folder, dev, vendor);
    let modes = if files.is_empty() { Vec::new() } else { whole() };
    let numa = read(&folder.join("numa_node")).and_then(|text| text.parse::<i64>().ok());
    let memory = read(&folder.join("mem_info_vram_total")).and_then(|text| text.parse().ok());
    let device = Device {
        uuid: address.clone(),
        kind,
        model: model(vendor, product),
        memory: Bytes(memory.unwrap_or(0)),
        modes,
        numa: numa.and_then(|node| u32::try_from(node).ok()),
        files,
        traits: pond_core::model::Traits::default(),
    };
    Some(Found { address, vendor, device })
}

/// Granted whole; a share of it would be a promise that nobody keeps.
fn whole() -> Vec<ShareMode> {
    vec![ShareMode::Exclusive, ShareMode::Advisory]
}

/// Display controllers of the makers of accelerators, and processing accelerators of anybody. Display adapters of
/// servers' management chips and of virtual machines are none.
fn kind_of(class: u64, vendor: u16) -> Option<DeviceKind> {
    match (class, vendor) {
        (0x0300 | 0x0302 | 0x0380, NVIDIA | AMD | INTEL) => Some(DeviceKind::Gpu),
        (0x1200, NVIDIA | AMD) => Some(DeviceKind::Gpu),
        (0x1200, XILINX | ALTERA) => Some(DeviceKind::Fpga),
        (0x1200, _) => Some(DeviceKind::Npu),
        _ => None,
    }
}

/// Device files that the driver made. NVIDIA's are numbered by its library, see [`nvml_devices`].
fn files_of(folder: &Path, dev: &Path, vendor: u16) -> Vec<String> {
    let mut files = Vec::new();
    for (class, place) in [("drm", "dri"), ("accel", "accel")] {
        let Ok(entries) = fs::read_dir(folder.join(class)) else { continue };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let wanted = |name: &&String| name.starts_with("renderD") || name.starts_with("accel");
        files.extend(names.iter().filter(wanted).map(|name| dev.join(place).join(name)));
    }
    if vendor == AMD && !files.is_empty() {
        files.push(dev.join("kfd"));
    }
    files.into_iter().filter(|file| file.exists()).map(|file| file.display().to_string()).collect()
}

fn model(vendor: u16, product: u16) -> String {
    if let Some(known) = pci_ids::Device::from_vid_pid(vendor, product) {
        return format!("{} {}", short(known.vendor().name()), known.name());
    }
    let maker = pci_ids::Vendors::iter().find(|known| known.id() == vendor);
    match maker {
        Some(maker) => format!("{} {product:04x}", short(maker.name())),
        None => format!("{vendor:04x}:{product:04x}"),
    }
}

/// Makers' names without their legal form.
fn short(name: &str) -> &str {
    let name = name.split(" [").next().unwrap_or(name);
    [" Corporation", ", Inc.", ", Inc", " Inc.", " Co., Ltd.", " Ltd."]
        .iter()
        .find_map(|tail| name.strip_suffix(tail))
        .unwrap_or(name)
}

/// By PCI address. Empty without the library: its absence is found in well under a millisecond.
fn nvml_devices() -> BTreeMap<String, Device> {
    let Ok(nvml) = nvidia::management() else { return BTreeMap::new() };
    let count = nvml.device_count().unwrap_or(0);
    let read = |index| -> Result<(String, Device), nvml_wrapper::error::NvmlError> {
        let card = nvml.device_by_index(index)?;
        let address = pci_address(&card.pci_info()?.bus_id);
        let number = card.minor_number()?;
        let numa = read(&Path::new(SYS).join("bus/pci/devices").join(&address).join("numa_node"));
        let files =
            [format!("{DEV}/nvidia{number}"), format!("{DEV}/nvidiactl"), format!("{DEV}/nvidia-uvm")];
        let device = Device {
            uuid: card.uuid()?,
            kind: DeviceKind::Gpu,
            model: card.name()?,
            memory: Bytes(card.memory_info()?.total),
            modes: if nvidia::can_share() { vec![ShareMode::Exclusive, ShareMode::Time] } else { whole() },
            numa: numa.and_then(|text| text.parse().ok()),
            files: files.into_iter().filter(|file| Path::new(file).exists()).collect(),
            traits: pond_core::model::Traits { tells: true, ..Default::default() },
        };
        let device = if is_cut(&card) { mig::in_parts(device) } else { device };
        Ok((address, device))
    };
    // a card that does not answer is sick: the bus scan still shows it, without modes
    (0..count).filter_map(|index| read(index).ok()).collect()
}

/// UUID and memory of the cards in MIG mode.
pub(super) fn in_mig_mode(nvml: &Nvml) -> Vec<(String, Bytes)> {
    let cards = (0..nvml.device_count().unwrap_or(0)).filter_map(|index| nvml.device_by_index(index).ok());
    let named =
        |card: nvml_wrapper::Device<'_>| Some((card.uuid().ok()?, Bytes(card.memory_info().ok()?.total)));
    cards.filter(is_cut).filter_map(named).collect()
}

/// A card in MIG mode is given out in parts of its hardware and in no other way: no program sees it whole.
fn is_cut(card: &nvml_wrapper::Device<'_>) -> bool {
    const ON: u32 = 1;
    card.mig_mode().is_ok_and(|mode| mode.current == ON)
}

/// The library writes eight digits of domain where sysfs has four, and capitals.
pub(super) fn pci_address(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    match text.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[4..])
        }
        _ => text,
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn hexadecimal(path: &Path) -> Option<u64> {
    u64::from_str_radix(read(path)?.trim_start_matches("0x"), 16).ok()
}
