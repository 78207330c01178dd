//! Shares of devices: made when a task starts, kept by the library inside it, read and divided while it runs.
//!
//! A share stands in `share/` of the task's folder and is mounted into its container beside the library that keeps
//! it (pond-shims for OpenCL, pond-nvidia for NVIDIA's GPUs): by mounts and not by variables, so that whatever is
//! started inside finds it. A grant of a whole device makes nothing and mounts nothing.

use super::Inner;
use super::held::Real;
use super::past::Way;
use crate::folder::Folder;
use crate::image::Rootfs;
use crate::probe::{nvidia, opencl};
use crate::tolerate;
use pond_core::event::{DeviceGrant, DeviceUse, Launch, PastShare};
use pond_core::ids::{Generation, TaskId};
use pond_core::model::{Device, Isolation, ShareMode, ShareTerms, Slack, Volume};
use pond_core::units::{Bytes, Thousandths};
use pond_share::divide::{Claim, rates};
use pond_share::{Owner, OwnerError, Terms, Use, now_ns};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where a container finds its shares and the library.
const INSIDE: &str = "/run/pond-share";
/// Where loaders look for drivers.
const VENDORS: &str = "/etc/OpenCL/vendors";
/// A share that has not asked for its device for so long wants nothing of it now, ns.
const LATELY_NS: u64 = 500_000_000;

/// One share of a running task.
#[derive(Debug)]
pub(crate) struct Share {
    promise: Promise,
    owner: Owner,
    /// Whether its task goes past it.
    pub(super) past: Past,
    /// What the driver says that its task holds, where it does.
    pub(super) real: Option<Real>,
}

/// What was seen of a task that may go past its share.
#[derive(Debug)]
pub(super) struct Past {
    pub way: Option<Way>,
    pub since: Instant,
    /// It lasted, and was told.
    pub told: bool,
    /// Launches at the last look.
    pub launches: u64,
}

impl Default for Past {
    fn default() -> Self {
        Self { way: None, since: Instant::now(), told: false, launches: 0 }
    }
}

/// What a task was granted of a device, and what beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Promise {
    grant: DeviceGrant,
    slack: Slack,
    #[serde(default)]
    keeper: Keeper,
}

impl Promise {
    /// Bytes that may be reserved.
    fn memory(&self) -> u64 {
        self.slack.memory.map_or(self.grant.memory, |most| most.max(self.grant.memory)).0
    }

    /// How its device's time is divided: who is promised none has what others leave.
    fn claim(&self, wants: bool) -> Claim {
        let request = self.grant.compute.0;
        let own = if request == 0 { Thousandths::WHOLE.0 } else { request };
        let limit = self.slack.compute.map_or(own, |most| most.0.max(request));
        Claim { request, limit, weight: u64::from(self.slack.weight), wants }
    }
}

/// Why a task with a share is not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShareError {
    /// Nothing can be mounted for a plain process.
    #[error(
        "a share of a device is kept in containers only; leave `isolation: process` out, or ask for the whole device"
    )]
    Process,
    /// The library is gone since the devices were looked for.
    #[error("{0} is not beside the program any more")]
    NoLibrary(&'static str),
    /// So is the driver.
    #[error("NVIDIA's driver is not where it was any more")]
    NoDriver,
    /// A file of the share.
    #[error("cannot write the share: {0}")]
    File(#[from] io::Error),
    /// The share itself.
    #[error(transparent)]
    Share(#[from] OwnerError),
}

/// What keeps a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Keeper {
    #[default]
    OpenCl,
    Nvidia,
}

impl Keeper {
    /// Where its shares stand below [`INSIDE`] and in the task's folder.
    const fn below(self) -> &'static str {
        match self {
            Self::OpenCl => "",
            Self::Nvidia => "nvidia",
        }
    }

    const fn library(self) -> &'static str {
        match self {
            Self::OpenCl => opencl::LIBRARY,
            Self::Nvidia => nvidia::LIBRARY,
        }
    }

    /// Puts its library before the driver of a task with this root.
    fn stand_before(
        self,
        place: &Path,
        lowers: &[PathBuf],
        volumes: &mut Vec<Volume>,
    ) -> Result<(), ShareError> {
        let library = opencl::companion(self.library()).ok_or(ShareError::NoLibrary(self.library()))?;
        match self {
            Self::OpenCl => Ok(before_opencl(place, &library, lowers, volumes)?),
            Self::Nvidia => before_nvidia(place, &library, lowers, volumes),
        }
    }

    /// The keeper of shares of a device, and its number in that keeper's words.
    fn of(device: &Device) -> Option<(Self, u64)> {
        let opencl = opencl::number(device).map(|number| (Self::OpenCl, number));
        opencl.or_else(|| nvidia::number(device).map(|number| (Self::Nvidia, number)))
    }
}

fn folder_of(folder: &Folder) -> PathBuf {
    folder.0.join("share")
}

/// Where shares stand in the folder of shares: those of a keeper are counted from 0.
fn places_of(promises: &[Promise]) -> Vec<PathBuf> {
    let place = |(at, promise): (usize, &Promise)| {
        let before = promises[..at].iter().filter(|other| other.keeper == promise.keeper).count();
        Path::new(promise.keeper.below()).join(before.to_string())
    };
    promises.iter().enumerate().map(place).collect()
}

impl Inner {
    /// The parts of devices that a task is granted, with the device's number in the words of a share.
    fn parts(&self, launch: &Launch) -> Vec<(Promise, u64)> {
        let part = |(grant, terms): (&DeviceGrant, &ShareTerms)| {
            let device = self.node.devices.get(grant.device as usize)?;
            let (keeper, number) = Keeper::of(device).filter(|_| terms.mode == ShareMode::Time)?;
            Some((Promise { grant: *grant, slack: terms.slack, keeper }, number))
        };
        let allocation = &launch.allocation;
        allocation.devices.iter().zip(&allocation.shares).filter_map(part).collect()
    }

    /// Makes the shares of a task that starts, and says what is mounted for them.
    ///
    /// # Errors
    /// It cannot be kept; then the task must not start.
    pub(super) fn make_shares(
        &self,
        launch: &Launch,
        folder: &Folder,
        rootfs: &Rootfs,
    ) -> Result<(Vec<Share>, Vec<Volume>), ShareError> {
        let (promises, numbers): (Vec<Promise>, Vec<u64>) = self.parts(launch).into_iter().unzip();
        if promises.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        if launch.run.isolation == Isolation::Process {
            return Err(ShareError::Process);
        }
        let place = folder_of(folder);
        tolerate(fs::remove_dir_all(&place));
        fs::create_dir(&place)?;
        let mut volumes = vec![mount(&place, INSIDE.to_owned(), true)];
        for keeper in [Keeper::OpenCl, Keeper::Nvidia] {
            if promises.iter().any(|promise| promise.keeper == keeper) {
                keeper.stand_before(&place, &rootfs.lowers, &mut volumes)?;
            }
        }
        let mut shares = Vec::new();
        for ((promise, device), below) in promises.iter().zip(numbers).zip(places_of(&promises)) {
            let path = place.join(&below);
            let thousandths = promise.grant.compute.0.max(1);
            let terms = Terms { device, memory: promise.memory(), thousandths };
            let owner = Owner::create(&path, &terms)?;
            let ledger = format!("{INSIDE}/{}.ledger", below.display());
            volumes.push(mount(&path.with_extension("ledger"), ledger, false));
            shares.push(Share { promise: *promise, owner, past: Past::default(), real: None });
        }
        write_promises(folder, &shares)?;
        Ok((shares, volumes))
    }

    /// Gives the shares of a running task these terms, at once.
    ///
    /// # Errors
    /// They could not be written down for an agent that takes the task up; then the old ones stay.
    pub(super) fn change_shares(
        &self,
        (task, generation): (TaskId, Generation),
        devices: &[DeviceGrant],
        terms: &[ShareTerms],
    ) -> Result<(), ShareError> {
        let mut state = self.state();
        let Some(live) = state.live.get_mut(&(task, generation)) else { return Ok(()) };
        let before: Vec<Promise> = live.shares.iter().map(|share| share.promise).collect();
        for share in &mut live.shares {
            let new = devices.iter().zip(terms).find(|(grant, _)| grant.device == share.promise.grant.device);
            if let Some((grant, terms)) = new {
                share.promise = Promise { grant: *grant, slack: terms.slack, ..share.promise };
            }
        }
        if live.shares.iter().map(|share| share.promise).eq(before.iter().copied()) {
            return Ok(());
        }
        if let Err(why) = write_promises(&live.folder, &live.shares) {
            for (share, old) in live.shares.iter_mut().zip(before) {
                share.promise = old;
            }
            return Err(why.into());
        }
        for share in &live.shares {
            share.owner.set_memory(share.promise.memory());
        }
        drop(state);
        self.divide_devices();
        Ok(())
    }

    /// Divides the time of each device between the shares on it that want some.
    pub(super) fn divide_devices(&self) {
        let state = self.state();
        let now = now_ns();
        let mut devices: BTreeMap<u32, Vec<(&Share, Claim)>> = BTreeMap::new();
        for share in state.live.values().flat_map(|live| &live.shares) {
            let wants = share.usage().is_some_and(|used| now.saturating_sub(used.wanted_ns) < LATELY_NS);
            let mut claim = share.promise.claim(wants);
            if share.past.told && self.config.past_share == PastShare::Throttle {
                claim = Claim { request: 0, limit: 1, ..claim };
            }
            devices.entry(share.promise.grant.device).or_default().push((share, claim));
        }
        for shares in devices.values() {
            let claims: Vec<Claim> = shares.iter().map(|(_, claim)| *claim).collect();
            for ((share, _), rate) in shares.iter().zip(rates(&claims)) {
                share.owner.set_rate(rate);
            }
        }
    }
}

/// Puts the library before OpenCL's drivers: it is the one that loaders are told of.
fn before_opencl(
    place: &Path,
    library: &Path,
    lowers: &[PathBuf],
    volumes: &mut Vec<Volume>,
) -> io::Result<()> {
    let vendors = place.join("vendors");
    fs::create_dir(&vendors)?;
    fs::write(vendors.join("pond.icd"), format!("{INSIDE}/{}\n", opencl::LIBRARY))?;
    copy_drivers(lowers, &place.join("drivers"))?;
    // A place for the library to be mounted on.
    fs::write(place.join(opencl::LIBRARY), "")?;
    volumes.push(mount(library, format!("{INSIDE}/{}", opencl::LIBRARY), true));
    volumes.push(mount(&vendors, VENDORS.to_owned(), true));
    Ok(())
}

/// Puts the library before NVIDIA's: over each of them that the task's root has, and the machine's own behind it.
fn before_nvidia(
    place: &Path,
    library: &Path,
    lowers: &[PathBuf],
    volumes: &mut Vec<Volume>,
) -> Result<(), ShareError> {
    let below = Keeper::Nvidia.below();
    let behind = place.join(below).join("driver");
    fs::create_dir_all(&behind)?;
    for (name, real) in nvidia::BEHIND.iter().zip(nvidia::driver().ok_or(ShareError::NoDriver)?) {
        fs::write(behind.join(name), "")?;
        volumes.push(mount(&real, format!("{INSIDE}/{below}/driver/{name}"), true));
    }
    volumes.extend(nvidia::places(lowers).into_iter().map(|target| mount(library, target, true)));
    let vendors = place.join("vendors");
    if !vendors.exists() {
        // The same card through OpenCL would go past the share.
        fs::create_dir(&vendors)?;
        volumes.push(mount(&vendors, VENDORS.to_owned(), true));
    }
    Ok(())
}

impl Share {
    /// Ordinal of its device.
    pub(super) const fn device(&self) -> u32 {
        self.promise.grant.device
    }

    /// Whether its device is a GPU of NVIDIA's, by NVIDIA's own driver.
    pub(super) fn is_nvidia(&self) -> bool {
        self.promise.keeper == Keeper::Nvidia
    }

    /// Thousandths of the device's time that were promised; of a share without, the largest part.
    pub(super) fn promised(&self) -> u64 {
        match self.promise.grant.compute {
            Thousandths::ZERO => Thousandths::WHOLE.0,
            part => part.0,
        }
    }

    /// Bytes it may hold.
    pub(super) fn memory(&self) -> u64 {
        self.promise.memory()
    }

    /// What has been allowed since its start, ns of device time.
    pub(super) fn allowed_ns(&self) -> u64 {
        self.owner.allowed_ns()
    }

    /// A sample of it; `None` when the ledger cannot be read.
    pub(super) fn sample(&self) -> Option<DeviceUse> {
        let used = self.usage()?;
        Some(DeviceUse {
            device: self.promise.grant.device,
            busy_us: used.busy_ns / 1000,
            throttled_us: used.throttled_ns / 1000,
            launches: used.launches,
            refused: used.refused,
            memory: Bytes(used.memory),
            real_memory: Real::fresh(self.real).map(|real| Bytes(real.bytes)),
            allowed: Thousandths(self.owner.terms().thousandths),
        })
    }

    /// What the task's processes say they did; `None` when the ledger cannot be read.
    pub(super) fn usage(&self) -> Option<Use> {
        self.owner.usage().ok()
    }
}

/// Writes down what is promised, for an agent that takes the task up.
fn write_promises(folder: &Folder, shares: &[Share]) -> io::Result<()> {
    let promises: Vec<Promise> = shares.iter().map(|share| share.promise).collect();
    let text = serde_json::to_vec(&promises).map_err(io::Error::other)?;
    crate::folder::write_whole(&folder_of(folder).join("promised.json"), &text)
}

/// What was promised to a task; of one that an earlier build started, ordinals and time alone.
fn read_promises(folder: &Folder) -> Vec<(Promise, bool)> {
    let text = fs::read(folder_of(folder).join("promised.json")).unwrap_or_default();
    if let Ok(promises) = serde_json::from_slice::<Vec<Promise>>(&text) {
        return promises.into_iter().map(|promise| (promise, true)).collect();
    }
    let old: Vec<(u32, u64)> = serde_json::from_slice(&text).unwrap_or_default();
    let promise = |(device, compute)| {
        let grant = DeviceGrant { device, compute: Thousandths(compute), memory: Bytes::ZERO, part: None };
        (Promise { grant, slack: Slack::default(), keeper: Keeper::OpenCl }, false)
    };
    old.into_iter().map(promise).collect()
}

/// The shares of a task that an earlier agent started: they go on as they are.
pub(super) fn take_up(folder: &Folder) -> Vec<Share> {
    let (promises, whole): (Vec<Promise>, Vec<bool>) = read_promises(folder).into_iter().unzip();
    let share = |((mut promise, whole), below): ((Promise, bool), PathBuf)| {
        let owner = Owner::open(&folder_of(folder).join(below)).ok()?;
        if !whole {
            promise.grant.memory = Bytes(owner.terms().memory);
        }
        Some(Share { promise, owner, past: Past::default(), real: None })
    };
    let places = places_of(&promises);
    promises.into_iter().zip(whole).zip(places).filter_map(share).collect()
}

/// File names of the drivers that stand behind the library.
pub(super) fn drivers(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder_of(folder).join("drivers")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let path = text.lines().next()?.trim();
        Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned())
    };
    entries.filter_map(name).collect()
}

fn mount(source: &Path, target: String, read_only: bool) -> Volume {
    Volume { source: source.to_string_lossy().into_owned(), target, read_only }
}

/// The drivers as the root that the task will have names them: those of the image's layers, the topmost first, or of
/// the machine.
fn copy_drivers(lowers: &[PathBuf], to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    let machine = [PathBuf::from("/")];
    let layers = if lowers.is_empty() { &machine } else { lowers };
    for layer in layers {
        let entries = fs::read_dir(layer.join(VENDORS.trim_start_matches('/')));
        for entry in entries.into_iter().flatten().flatten() {
            let copy = to.join(entry.file_name());
            if !copy.exists() && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::copy(entry.path(), copy)?;
            }
        }
    }
    Ok(())
}
