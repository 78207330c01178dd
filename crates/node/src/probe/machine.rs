//! What this machine offers to the pool.

use super::devices;
use pond_core::ids::NodeName;
use pond_core::model::{NodeSpec, Resources};
use pond_core::units::{Bytes, MilliCpu};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How much of a machine the pool gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// CPU kept back for the machine itself. Default: none.
    pub reserved_cpu: MilliCpu,
    /// Memory kept back for the machine itself. Default: a twentieth, between 256 MB and 4 GB.
    pub reserved_memory: Option<Bytes>,
    /// Disk given out, which may be more than is free: layers take only what is written. Default: nine tenths of
    /// what is free on the disk of the state folder.
    pub disk: Option<Bytes>,
}

impl Offer {
    fn of(self, all: Resources) -> Resources {
        const LEAST: u64 = 256_000_000;
        const MOST: u64 = 4_000_000_000;
        let memory = self.reserved_memory.unwrap_or(Bytes((all.memory.0 / 20).clamp(LEAST, MOST)));
        let reserved = Resources { cpu: self.reserved_cpu, memory, disk: Bytes(all.disk.0 / 10) };
        let left = all.minus(reserved);
        Resources { disk: self.disk.unwrap_or(left.disk), ..left }
    }
}

/// What is asked about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineConfig {
    /// Its name in the pool.
    pub name: NodeName,
    /// Where writable layers will lie; their disk is what is given out.
    pub state_dir: PathBuf,
    /// How much of what it has is given out.
    pub offer: Offer,
    /// Labels on top of those found, and over them.
    pub labels: BTreeMap<String, String>,
}

impl MachineConfig {
    /// A machine with nothing said about it but name and folder.
    #[must_use]
    pub fn new(name: &str, state_dir: &Path) -> Self {
        Self {
            name: NodeName::from(name),
            state_dir: state_dir.to_owned(),
            offer: Offer::default(),
            labels: BTreeMap::new(),
        }
    }
}

/// Describes this machine: what it has, after what it keeps for itself.
#[must_use]
pub fn node(config: &MachineConfig) -> NodeSpec {
    let all = everything(&config.state_dir);
    let mut labels = found_labels();
    labels.extend(config.labels.clone());
    let mut devices = devices::devices();
    devices.extend(super::opencl::devices(&devices));
    NodeSpec { name: config.name.clone(), capacity: config.offer.of(all), devices, labels }
}

/// CPUs this process may use (affinity and CPU quota taken into account), memory (a limit of its own control
/// group taken into account), and what is free on the disk of the folder.
fn everything(state_dir: &Path) -> Resources {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let memory = meminfo("MemTotal").min(own_memory_limit());
    let mut folder = state_dir;
    // the folder may not have been made yet
    while !folder.exists() {
        folder = folder.parent().unwrap_or_else(|| Path::new("/"));
    }
    let disk = rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    Resources { cpu: MilliCpu(cpus * 1000), memory: Bytes(memory), disk: Bytes(disk) }
}

fn meminfo(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// The memory limit of the control groups this process runs in, as in a container; none is the largest number.
fn own_memory_limit() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        let path = fields.next()?.trim_start_matches('/');
        let (root, file) = if controllers.is_empty() {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        // Each group above limits as well: in a container the process may sit in a leaf of its own.
        let limits = Path::new(path).ancestors().filter_map(|group| {
            fs::read_to_string(root.join(group).join(file)).ok()?.trim().parse::<u64>().ok()
        });
        limits.min()
    };
    groups.lines().filter_map(limit).min().unwrap_or(u64::MAX)
}

fn found_labels() -> BTreeMap<String, String> {
    let system = rustix::system::uname();
    let mut labels = BTreeMap::from([
        ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
        ("kernel".to_owned(), system.release().to_string_lossy().into_owned()),
        ("numa".to_owned(), numa_nodes().to_string()),
    ]);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    if let Some((_, model)) = model {
        labels.insert("cpu".to_owned(), model.trim().to_owned());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|text| text.trim_matches('"').to_owned())
    };
    if let (Some(id), version) = (value("ID"), value("VERSION_ID")) {
        labels.insert("os".to_owned(), version.map_or(id.clone(), |version| format!("{id}-{version}")));
    }
    labels
}

/// Memory nodes of the machine; one where the kernel does not say.
fn numa_nodes() -> usize {
    let entries = fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten();
    let is_node = |name: &str| name.strip_prefix("node").is_some_and(|number| number.parse::<u32>().is_ok());
    entries.filter(|entry| is_node(&entry.file_name().to_string_lossy())).count().max(1)
}
