//! Shares of devices: made when a task starts, kept by the library inside it, read and divided while it runs.
//!
//! A share stands in `share/` of the task's folder and is mounted into its container beside the library that keeps
//! it (see pond-shims): by mounts and not by variables, so that whatever is started inside finds it. A grant of
//! a whole device makes nothing and mounts nothing.

use super::Inner;
use crate::folder::Folder;
use crate::image::Rootfs;
use crate::probe::opencl;
use crate::tolerate;
use pond_core::event::{DeviceGrant, Launch};
use pond_core::model::{Device, Isolation, ShareMode, Volume};
use pond_core::units::Thousandths;
use pond_share::divide::{Claim, rates};
use pond_share::{Owner, OwnerError, Terms, Use, now_ns};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a container finds its shares and the library.
const INSIDE: &str = "/run/pond-share";
/// Where loaders look for drivers.
const VENDORS: &str = "/etc/OpenCL/vendors";
/// A share that has not asked for its device for so long wants nothing of it now, ns.
const LATELY_NS: u64 = 500_000_000;

/// One share of a running task.
#[derive(Debug)]
pub(crate) struct Share {
    /// Ordinal of the device.
    device: u32,
    /// What it was promised of the device's time; zero: what others leave.
    promised: Thousandths,
    owner: Owner,
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
    #[error("{LIBRARY} is not beside the program any more", LIBRARY = opencl::LIBRARY)]
    NoLibrary,
    /// A file of the share.
    #[error("cannot write the share: {0}")]
    File(#[from] io::Error),
    /// The share itself.
    #[error(transparent)]
    Share(#[from] OwnerError),
}

fn folder_of(folder: &Folder) -> PathBuf {
    folder.0.join("share")
}

fn path_of(folder: &Folder, number: usize) -> PathBuf {
    folder_of(folder).join(number.to_string())
}

/// Whether a grant is less than the device.
fn is_part(grant: &DeviceGrant, device: &Device) -> bool {
    device.modes.contains(&ShareMode::Time)
        && (grant.compute < Thousandths::WHOLE || grant.memory < device.memory)
}

impl Inner {
    /// The parts of devices that a task is granted: ordinal in the allocation, grant, number in the words of a share.
    fn parts(&self, launch: &Launch) -> Vec<(DeviceGrant, u64)> {
        let part = |grant: &DeviceGrant| {
            let device = self.node.devices.get(grant.device as usize)?;
            is_part(grant, device).then_some((*grant, opencl::number(device)?))
        };
        launch.allocation.devices.iter().filter_map(part).collect()
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
        let parts = self.parts(launch);
        if parts.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        if launch.run.isolation == Isolation::Process {
            return Err(ShareError::Process);
        }
        let library = opencl::companion(opencl::LIBRARY).ok_or(ShareError::NoLibrary)?;
        let place = folder_of(folder);
        tolerate(fs::remove_dir_all(&place));
        fs::create_dir(&place)?;
        fs::create_dir(place.join("vendors"))?;
        fs::write(place.join("vendors/pond.icd"), format!("{INSIDE}/{}\n", opencl::LIBRARY))?;
        copy_drivers(&rootfs.lowers, &place.join("drivers"))?;
        // A place for the library to be mounted on.
        fs::write(place.join(opencl::LIBRARY), "")?;
        let mut volumes = vec![
            mount(&place, INSIDE.to_owned(), true),
            mount(&library, format!("{INSIDE}/{}", opencl::LIBRARY), true),
            mount(&place.join("vendors"), VENDORS.to_owned(), true),
        ];
        let mut shares = Vec::new();
        for (number, (grant, device)) in parts.into_iter().enumerate() {
            let path = path_of(folder, number);
            let terms = Terms { device, memory: grant.memory.0, thousandths: grant.compute.0.max(1) };
            let owner = Owner::create(&path, &terms)?;
            volumes.push(mount(&path.with_extension("ledger"), format!("{INSIDE}/{number}.ledger"), false));
            shares.push(Share { device: grant.device, promised: grant.compute, owner });
        }
        fs::write(
            place.join("promised.json"),
            serde_json::to_vec(&promises(&shares)).map_err(io::Error::other)?,
        )?;
        Ok((shares, volumes))
    }

    /// Divides the time of each device between the shares on it that want some.
    pub(super) fn divide_devices(&self) {
        let state = self.state();
        let now = now_ns();
        let mut devices: BTreeMap<u32, Vec<(&Share, Claim)>> = BTreeMap::new();
        for share in state.live.values().flat_map(|live| &live.shares) {
            let wanted = share.usage().is_some_and(|used| now.saturating_sub(used.wanted_ns) < LATELY_NS);
            let promised = share.promised.0;
            // Who was promised a part has that part, no more; who was promised none has what is left.
            let limit = if promised == 0 { Thousandths::WHOLE.0 } else { promised };
            let claim = Claim { request: promised, limit, weight: 1, wants: wanted };
            devices.entry(share.device).or_default().push((share, claim));
        }
        for shares in devices.values() {
            let claims: Vec<Claim> = shares.iter().map(|(_, claim)| *claim).collect();
            for ((share, _), rate) in shares.iter().zip(rates(&claims)) {
                share.owner.set_rate(rate);
            }
        }
    }
}

impl Share {
    /// What the task's processes say they did; `None` when the ledger cannot be read.
    pub(super) fn usage(&self) -> Option<Use> {
        self.owner.usage().ok()
    }
}

/// Ordinal and promise of each, for an agent that takes the task up.
fn promises(shares: &[Share]) -> Vec<(u32, u64)> {
    shares.iter().map(|share| (share.device, share.promised.0)).collect()
}

/// The shares of a task that an earlier agent started: they go on as they are.
pub(super) fn take_up(folder: &Folder) -> Vec<Share> {
    let text = fs::read(folder_of(folder).join("promised.json")).unwrap_or_default();
    let promises: Vec<(u32, u64)> = serde_json::from_slice(&text).unwrap_or_default();
    let share = |(number, (device, promised)): (usize, (u32, u64))| {
        let owner = Owner::open(&path_of(folder, number)).ok()?;
        Some(Share { device, promised: Thousandths(promised), owner })
    };
    promises.into_iter().enumerate().filter_map(share).collect()
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
