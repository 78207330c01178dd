//! Control groups: limits, freezing, killing and counters of one task, whatever version the machine has.
//!
//! A pool has one parent group of a unique name in every hierarchy it uses; each task has a child of it.
//! Limits go to the v1 controllers where those are mounted and to v2 otherwise; freezing, killing and
//! `cpu.stat` prefer v2 even beside v1 controllers (the hybrid layout). What works is found by doing it.
//! Without root the parent group is in one that was handed to the pool's user, if there is one: [`handed`].
//! Devices are a controller in v1 and a program of ours in v2.

mod devices;
mod handed;
mod leaf;
mod meters;
mod mounts;

pub use devices::DeviceGuard;
pub use handed::Without;
use meters::field;
pub use meters::{Meters, Reading};
use mounts::{mounted_v1, mounted_v2, mounts};

use crate::tolerate;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What can be limited or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// CPU quota and weight.
    Cpu,
    /// v1's counter of CPU time, where it is not beside the CPU controller.
    Cpuacct,
    /// Memory.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Access to device files.
    Devices,
    /// Block IO counters.
    Blkio,
    /// v1 freezer, used only where there is no v2.
    Freezer,
}

impl Controller {
    const ALL: [Self; 7] =
        [Self::Cpu, Self::Cpuacct, Self::Memory, Self::Pids, Self::Devices, Self::Blkio, Self::Freezer];

    const fn name_v1(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Devices => "devices",
            Self::Blkio => "blkio",
            Self::Freezer => "freezer",
        }
    }

    const fn name_v2(self) -> Option<&'static str> {
        match self {
            Self::Cpu => Some("cpu"),
            Self::Memory => Some("memory"),
            Self::Pids => Some("pids"),
            Self::Blkio => Some("io"),
            Self::Cpuacct | Self::Devices | Self::Freezer => None,
        }
    }
}

/// Which back end the probe chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Nothing usable: no limits.
    None,
    /// v1 controllers only.
    V1,
    /// v1 controllers, and v2 for freezing, killing and statistics.
    Hybrid,
    /// v2 only.
    V2,
}

/// The pool's parent groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Parent group per v1 controller.
    pub v1: Vec<(Controller, PathBuf)>,
    /// Parent group in the v2 hierarchy.
    pub v2: Option<PathBuf>,
    /// What v2 limits in child groups; devices are among it when a program for them was taken.
    pub v2_controllers: Vec<Controller>,
    /// A v1 group of CPUs and memory nodes that nobody is in: tasks only see it, see [`Group::views`].
    #[serde(default)]
    pub cpuset: Option<PathBuf>,
}

/// Limits of one task. Zero: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The most CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Guaranteed CPU in thousandths of a core: the weight against others.
    pub weight_milli: u64,
    /// Gets CPU only when nobody else wants it.
    pub idle: bool,
    /// Memory in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Device files that may be opened: `c 195:0 rw`. Ignored where devices are not controlled.
    pub devices: Vec<String>,
}

/// Which write to the control groups failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{value}` to {path}: {source}", path = path.display())]
pub struct CgroupError {
    /// The control file.
    pub path: PathBuf,
    /// What was to be written.
    pub value: String,
    /// Why not.
    pub source: io::Error,
}

/// Length of the scheduler's period for quotas, in microseconds.
const PERIOD_US: u64 = 100_000;

fn write(path: PathBuf, value: &str) -> Result<(), CgroupError> {
    let put = || OpenOptions::new().write(true).open(&path)?.write_all(value.as_bytes());
    put().map_err(|source| CgroupError { path: path.clone(), value: value.to_owned(), source })
}

/// Whether a pool of this user, who is not root, would have groups; nothing is done for it.
///
/// # Errors
/// Why not.
pub fn look_for_handed() -> Result<(), Without> {
    handed::look(mounted_v2(&mounts()).ok_or(Without::Version1)?)
}

/// A group with the CPUs and memory nodes of the one above it. Tasks do not join it: v1 takes a CPU that goes
/// offline out of every such group for good.
fn open_cpuset(root: &Path, name: &str) -> Option<PathBuf> {
    let dir = root.join(name);
    fs::create_dir_all(&dir).ok()?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        write(dir.join(file), &read_text(&root.join(file))).ok()?;
    }
    Some(dir)
}

impl Pool {
    /// Makes the pool's parent group `name` wherever that works, and says where it did.
    #[must_use]
    pub fn open(name: &str) -> Self {
        let mut pool = Self::default();
        let mounts = mounts();
        let base = mounted_v2(&mounts).and_then(|root| {
            let is_root = rustix::process::geteuid().is_root();
            if is_root { Some(root.to_path_buf()) } else { handed::take(root, name).ok() }
        });
        pool.v2 = base.map(|base| base.join(name)).filter(|dir| fs::create_dir_all(dir).is_ok());
        for controller in Controller::ALL {
            if controller == Controller::Freezer && pool.v2.is_some() {
                continue;
            }
            let mounted = mounted_v1(&mounts, controller.name_v1()).map(|root| root.join(name));
            let known = |dir: &PathBuf| pool.v1.iter().any(|(_, other)| other == dir);
            if controller == Controller::Cpuacct && mounted.as_ref().is_some_and(known) {
                continue;
            }
            if let Some(dir) = mounted.filter(|dir| fs::create_dir_all(dir).is_ok()) {
                pool.v1.push((controller, dir));
            }
        }
        let cpuset = mounted_v1(&mounts, "cpuset").filter(|_| !pool.v1.is_empty());
        pool.cpuset = cpuset.and_then(|root| open_cpuset(root, name));
        pool.enable_v2();
        tolerate(pool.weigh());
        pool
    }

    /// The pool weighs as much as one busy process on every core: with the weight of a single process, which is what a
    /// new group has, whatever else runs on the machine would take the CPU that tasks were granted.
    fn weigh(&self) -> Result<(), CgroupError> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        self.group("").set_weight(cores * 1000)
    }

    fn enable_v2(&mut self) {
        let Some(dir) = self.v2.clone() else { return };
        if let Some(parent) = dir.parent() {
            leaf::make_way(parent, Controller::ALL.into_iter().filter_map(Controller::name_v2));
        }
        for controller in Controller::ALL {
            let Some(name) = controller.name_v2() else { continue };
            let enable = |at: &Path| write(at.join("cgroup.subtree_control"), &format!("+{name}")).is_ok();
            if dir.parent().is_some_and(enable) && enable(&dir) {
                self.v2_controllers.push(controller);
            }
        }
        if !self.has(Controller::Devices) && devices::works_below(&dir) {
            self.v2_controllers.push(Controller::Devices);
        }
    }

    /// Which back end is in use.
    #[must_use]
    pub fn version(&self) -> Version {
        match (self.v1.is_empty(), self.v2.is_some()) {
            (true, false) => Version::None,
            (false, false) => Version::V1,
            (false, true) => Version::Hybrid,
            (true, true) => Version::V2,
        }
    }

    /// Whether this can be limited here.
    #[must_use]
    pub fn has(&self, controller: Controller) -> bool {
        self.v1.iter().any(|(known, _)| *known == controller) || self.v2_controllers.contains(&controller)
    }

    fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.v1.iter().map(|(_, dir)| dir).chain(self.v2.iter())
    }

    /// Whether this and the other have no parent group in common.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.dirs().all(|dir| other.dirs().all(|known| known != dir))
    }

    /// The group of this name, whether it exists or not.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        Group {
            v1: self.v1.iter().map(|(controller, dir)| (*controller, dir.join(name))).collect(),
            v2: self.v2.as_ref().map(|dir| dir.join(name)),
            v2_controllers: self.v2_controllers.clone(),
            cpuset: self.cpuset.clone(),
        }
    }

    /// Names of all child groups in any hierarchy, each once, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .dirs()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Removes the parent groups; those that still have children stay.
    pub fn remove(&self) {
        for dir in self.dirs().chain(&self.cpuset) {
            tolerate(fs::remove_dir(dir));
        }
        self.v2.as_deref().and_then(Path::parent).into_iter().for_each(leaf::bring_back);
    }
}

/// One folder of a task's groups as programs inside find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name below `/sys/fs/cgroup`; empty: it takes that place itself.
    pub name: String,
    /// Further names.
    pub links: Vec<String>,
    /// The folder.
    pub dir: PathBuf,
}

/// One task's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    v1: Vec<(Controller, PathBuf)>,
    v2: Option<PathBuf>,
    v2_controllers: Vec<Controller>,
    cpuset: Option<PathBuf>,
}

impl Group {
    /// What programs look at to learn their own limits, as it is laid out on this machine. With v1 these are the
    /// controllers that they read; where v2 is beside them, it has no limits to tell.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        const READ: [Controller; 4] =
            [Controller::Cpu, Controller::Cpuacct, Controller::Memory, Controller::Pids];
        if self.v1.is_empty() {
            let whole = |dir: &PathBuf| View { name: String::new(), links: Vec::new(), dir: dir.clone() };
            return self.v2.iter().map(whole).collect();
        }
        let read = self.v1.iter().filter(|(controller, _)| READ.contains(controller));
        // A task's group is two below its mount, that of the CPU set one.
        let places = read.map(|(_, dir)| (dir, 2)).chain(self.cpuset.iter().map(|dir| (dir, 1)));
        let mut views: Vec<View> = Vec::new();
        for (dir, depth) in places {
            let mount = dir.ancestors().nth(depth).and_then(Path::file_name).and_then(|name| name.to_str());
            let Some(name) = mount.filter(|name| views.iter().all(|view| view.name != **name)) else {
                continue;
            };
            let links = name.split(',').filter(|part| *part != name).map(str::to_owned).collect();
            views.push(View { name: name.to_owned(), links, dir: dir.clone() });
        }
        views
    }

    /// Whether it is in any hierarchy.
    #[must_use]
    pub const fn holds(&self) -> bool {
        !self.v1.is_empty() || self.v2.is_some()
    }

    fn v1_dir(&self, controller: Controller) -> Option<&PathBuf> {
        self.v1.iter().find(|(known, _)| *known == controller).map(|(_, dir)| dir)
    }

    fn v2_dir(&self, controller: Controller) -> Option<&PathBuf> {
        self.v2.as_ref().filter(|_| self.v2_controllers.contains(&controller))
    }

    /// Makes the group and sets its limits; those of devices in v2 come with [`Self::device_guard`].
    ///
    /// # Errors
    /// The first write that failed; nothing is undone.
    pub fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        for dir in self.v1.iter().map(|(_, dir)| dir).chain(self.v2.iter()) {
            match fs::create_dir(dir) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(CgroupError { path: dir.clone(), value: "mkdir".to_owned(), source });
                }
                _ => {}
            }
        }
        self.set(limits)?;
        self.set_devices(&limits.devices)
    }

    /// Changes CPU, memory and process limits; devices stay as they are.
    ///
    /// # Errors
    /// The first write that failed: v1 answers EBUSY when memory in use is above the new limit.
    pub fn set(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.set_memory(limits.memory)?;
        self.set_cpu(limits)?;
        let pids = if limits.pids == 0 { "max".to_owned() } else { limits.pids.to_string() };
        if let Some(dir) = self.v1_dir(Controller::Pids).or(self.v2_dir(Controller::Pids)) {
            write(dir.join("pids.max"), &pids)?;
        }
        Ok(())
    }

    fn set_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        if let Some(dir) = self.v1_dir(Controller::Memory) {
            let value = if bytes == 0 { "-1".to_owned() } else { bytes.to_string() };
            return write(dir.join("memory.limit_in_bytes"), &value);
        }
        let Some(dir) = self.v2_dir(Controller::Memory) else { return Ok(()) };
        let used: u64 = read_number(&dir.join("memory.current"));
        if bytes != 0 && used > bytes {
            // v2 would kill at once; v1 refuses. Refusing is the pool's contract on both.
            let source = io::Error::from_raw_os_error(libc::EBUSY);
            return Err(CgroupError { path: dir.join("memory.max"), value: bytes.to_string(), source });
        }
        write(dir.join("memory.max"), &if bytes == 0 { "max".to_owned() } else { bytes.to_string() })
    }

    fn set_cpu(&self, limits: &Limits) -> Result<(), CgroupError> {
        // A period of quota has at least 1 ms, the kernel's own minimum.
        let quota = (limits.cpu_milli * PERIOD_US / 1000).max(1000);
        let unlimited = limits.cpu_milli == 0;
        if let Some(dir) = self.v1_dir(Controller::Cpu) {
            let value = if unlimited { "-1".to_owned() } else { quota.to_string() };
            write(dir.join("cpu.cfs_quota_us"), &value)?;
        } else if let Some(dir) = self.v2_dir(Controller::Cpu) {
            let value = if unlimited { "max".to_owned() } else { quota.to_string() };
            write(dir.join("cpu.max"), &format!("{value} {PERIOD_US}"))?;
        }
        self.set_weight(if limits.idle { 0 } else { limits.weight_milli })?;
        if limits.idle {
            let cpu = self.v1_dir(Controller::Cpu).or(self.v2_dir(Controller::Cpu));
            tolerate(cpu.map(|dir| write(dir.join("cpu.idle"), "1")));
        }
        Ok(())
    }

    /// Thousandths of a core against others; 0 is as little as there is.
    fn set_weight(&self, milli: u64) -> Result<(), CgroupError> {
        if let Some(dir) = self.v1_dir(Controller::Cpu) {
            return write(dir.join("cpu.shares"), &(milli * 1024 / 1000).clamp(2, 262_144).to_string());
        }
        let Some(dir) = self.v2_dir(Controller::Cpu) else { return Ok(()) };
        write(dir.join("cpu.weight"), &(milli / 10).clamp(1, 10_000).to_string())
    }

    fn set_devices(&self, granted: &[String]) -> Result<(), CgroupError> {
        let Some(dir) = self.v1_dir(Controller::Devices) else { return Ok(()) };
        write(dir.join("devices.deny"), "a")?;
        for rule in devices::BASE.into_iter().chain(granted.iter().map(String::as_str)) {
            write(dir.join("devices.allow"), rule)?;
        }
        Ok(())
    }

    /// What keeps the group from other devices than these where v2 does it; v1 does it from [`Self::create`] on.
    ///
    /// # Errors
    /// A rule that is none, or the group is not there.
    pub fn device_guard(&self, granted: &[String]) -> io::Result<Option<DeviceGuard>> {
        self.v2_dir(Controller::Devices).map(|dir| DeviceGuard::new(dir, granted)).transpose()
    }

    /// The files through which a process with one thread joins the v1 groups by writing `0`.
    ///
    /// Writing to `tasks` about oneself takes no lock; writing somebody's id to `cgroup.procs` waits for a
    /// grace period of the whole machine.
    ///
    /// # Errors
    /// A group is not there.
    pub fn doors(&self) -> io::Result<Vec<File>> {
        self.v1.iter().map(|(_, dir)| OpenOptions::new().write(true).open(dir.join("tasks"))).collect()
    }

    /// The v2 group's folder, into which `clone3` puts a child directly.
    ///
    /// # Errors
    /// The group is not there.
    pub fn v2_door(&self) -> io::Result<Option<File>> {
        self.v2.as_ref().map(File::open).transpose()
    }

    /// Moves the calling process (one thread) into the group, v2 included.
    ///
    /// # Errors
    /// A group is not there or is being removed.
    pub fn join(&self) -> io::Result<()> {
        for mut door in self.doors()? {
            door.write_all(b"0")?;
        }
        match &self.v2 {
            Some(dir) => fs::write(dir.join("cgroup.procs"), "0"),
            None => Ok(()),
        }
    }

    /// Freezes or thaws; returns once it has taken effect, or after a second at most.
    ///
    /// # Errors
    /// There is no freezer, or the group is gone.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        if let Some(dir) = &self.v2 {
            write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            let wanted = format!("frozen {}", u8::from(frozen));
            wait_until(|| read_text(&dir.join("cgroup.events")).contains(&wanted));
            return Ok(());
        }
        let Some(dir) = self.v1_dir(Controller::Freezer) else {
            let source = io::Error::from(io::ErrorKind::Unsupported);
            return Err(CgroupError { path: PathBuf::from("cgroup.freeze"), value: "1".to_owned(), source });
        };
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        write(dir.join("freezer.state"), wanted)?;
        wait_until(|| read_text(&dir.join("freezer.state")).trim() == wanted);
        Ok(())
    }

    /// Kills everything in the group. Without v2, in rounds until nothing is left or a second has passed.
    pub fn kill(&self) {
        if let Some(dir) = &self.v2
            && write(dir.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        tolerate(self.freeze(false));
        wait_until(|| {
            let pids = self.pids();
            for pid in &pids {
                tolerate(crate::launcher::sys::kill(*pid, libc::SIGKILL));
            }
            pids.is_empty()
        });
    }

    /// The list of processes in the group, opened.
    #[must_use]
    pub fn members(&self) -> Option<File> {
        let dir = self.v2.as_ref().or(self.v1.first().map(|(_, dir)| dir))?;
        File::open(dir.join("cgroup.procs")).ok()
    }

    /// Processes in the group.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let mut text = String::new();
        tolerate(self.members().map(|mut file| io::Read::read_to_string(&mut file, &mut text)));
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Removes the group; waits up to a second for the last process to be gone. False when it is still there.
    #[must_use]
    pub fn remove(&self) -> bool {
        let mut all = true;
        for dir in self.v1.iter().map(|(_, dir)| dir).chain(self.v2.iter()) {
            all &= wait_until(|| match fs::remove_dir(dir) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            });
        }
        all
    }

    /// Processes killed for want of memory since the group was made.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = match (self.v1_dir(Controller::Memory), self.v2_dir(Controller::Memory)) {
            (Some(dir), _) => dir.join("memory.oom_control"),
            (None, Some(dir)) => dir.join("memory.events"),
            (None, None) => return 0,
        };
        field(&read_text(&file), "oom_kill")
    }

    /// What everything that ever was in the group has used: the counters that only grow. `None` without them.
    #[must_use]
    pub fn totals(&self) -> Option<Reading> {
        let growing = Meters { memory: None, memory_stat: None, pids: None, ..self.meters() };
        growing.read()
    }

    /// Opens the counters once, for sampling.
    #[must_use]
    pub fn meters(&self) -> Meters {
        let open = |dir: Option<&PathBuf>, name: &str| dir.and_then(|dir| File::open(dir.join(name)).ok());
        let v2 = |controller| self.v2_dir(controller);
        Meters {
            cpu: open(self.v2.as_ref(), "cpu.stat"),
            throttle: open(self.v1_dir(Controller::Cpu), "cpu.stat"),
            memory: open(self.v1_dir(Controller::Memory), "memory.usage_in_bytes")
                .or_else(|| open(v2(Controller::Memory), "memory.current")),
            memory_stat: open(self.v1_dir(Controller::Memory).or(v2(Controller::Memory)), "memory.stat"),
            pids: open(self.v1_dir(Controller::Pids).or(v2(Controller::Pids)), "pids.current"),
            io_v1: open(self.v1_dir(Controller::Blkio), "blkio.throttle.io_service_bytes"),
            io_v2: open(v2(Controller::Blkio), "io.stat"),
        }
    }
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn read_number(path: &Path) -> u64 {
    read_text(path).trim().parse().unwrap_or(0)
}

/// Asks until the answer is yes, for a second at most.
fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(1);
    let mut pause = Duration::from_micros(20);
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
