//! GPUs in MIG mode: how each can be cut, as its driver says, and which files lead to a part.
//!
//! A program needs the GPU's own files and those of two capabilities, one for each half of an instance. The kernel lists
//! them by number; the files under `/dev/nvidia-caps` are made by a helper of the driver that need not have run, so what
//! is missing is made here, as that helper would.

use super::nvidia;
use pond_core::model::{Device, ShareMode, Traits};
use pond_core::partition::{Flaw, Layout, Part, Profile};
use pond_core::units::{Bytes, Thousandths};
use pond_nvidia_mig as driver;
use pond_nvidia_mig::MigError;
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// Why a device in MIG mode is not offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// The driver does not say.
    #[error(transparent)]
    Driver(#[from] MigError),
    /// It says that there is nothing.
    #[error("its driver knows nothing that it can be cut into")]
    Empty,
    /// What it says cannot be.
    #[error("its driver's table {0}")]
    Flaw(#[from] Flaw),
}

/// A device in MIG mode as it is offered: by parts, or, where the driver's table cannot be had or believed, not at all.
pub(super) fn in_parts(device: Device) -> Device {
    match table(&device.uuid, device.memory) {
        Ok(layout) => {
            let traits = Traits { layout: Some(Arc::new(layout)), ..device.traits };
            Device { modes: vec![ShareMode::Space], traits, ..device }
        }
        Err(_shown_by_the_doctor) => Device { modes: Vec::new(), ..device },
    }
}

/// What a device in MIG mode can be cut into.
///
/// # Errors
/// Why nobody can know.
pub(super) fn table(uuid: &str, memory: Bytes) -> Result<Layout, TableError> {
    believed(layout(&nvidia::instances()?.profiles(uuid)?), memory)
}

fn believed(whole: Layout, memory: Bytes) -> Result<Layout, TableError> {
    let layout = offered(&whole, &[]);
    if layout.profiles.is_empty() {
        return Err(TableError::Empty);
    }
    layout.check(memory)?;
    Ok(layout)
}

/// The driver's table in the core's words. Compute is in parts of the largest profile: what nobody can have is no capacity.
pub(crate) fn layout(profiles: &[driver::Profile]) -> Layout {
    let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let largest = profiles.iter().map(|profile| profile.multiprocessors).max().unwrap_or(0).max(1);
    let end = |profile: &driver::Profile| profile.starts.last().map_or(0, |start| start + profile.size);
    let part = |profile: &driver::Profile| Profile {
        name: profile.name.clone(),
        size: small(profile.size),
        starts: profile.starts.iter().map(|start| small(*start)).collect(),
        memory: Bytes(profile.memory_mib * MIB),
        multiprocessors: profile.multiprocessors,
        compute: Thousandths(u64::from(profile.multiprocessors) * 1000 / u64::from(largest)),
        media: profile.name.contains("+me"),
    };
    let slices = profiles.iter().map(end).max().unwrap_or(0);
    Layout { slices: small(slices), profiles: profiles.iter().map(part).collect(), uniform: false }
}

/// What of a device can be given out while these parts, of its whole table, are somebody else's: the starts that are left, of some
/// profiles none, so that profiles have the same numbers whatever others do. Those of graphics never are.
pub(crate) fn offered(whole: &Layout, others: &[Part]) -> Layout {
    let taken = others.iter().fold(Default::default(), |taken, part| whole.with(taken, *part));
    let left = whole.numbered().map(|(at, profile)| {
        let free = |start: &&u8| whole.fits(taken, Part { profile: at, start: **start });
        Profile { starts: profile.starts.iter().filter(free).copied().collect(), ..profile.clone() }
    });
    let profiles = left.filter(|profile| !profile.name.contains("+gfx"));
    Layout { profiles: profiles.collect(), ..whole.clone() }
}

/// The files of an instance's two capabilities, made where they are missing. None where the kernel lists none, as drivers
/// without that list need none.
pub(crate) fn capability_files(
    proc: &Path,
    dev: &Path,
    minor: u32,
    instance: u32,
    compute: u32,
) -> Vec<String> {
    let listed = proc.join(format!("driver/nvidia/capabilities/gpu{minor}/mig/gi{instance}"));
    let folder = dev.join("nvidia-caps");
    let file = |access: &Path| {
        let text = fs::read_to_string(access).ok()?;
        let number = |word: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u32>().ok())
        };
        let minor = number("DeviceFileMinor")?;
        let path = folder.join(format!("nvidia-cap{minor}"));
        if !path.exists() {
            make(proc, &path, minor, number("DeviceFileMode").unwrap_or(0o444));
        }
        path.exists().then(|| path.display().to_string())
    };
    [listed.join("access"), listed.join(format!("ci{compute}/access"))]
        .iter()
        .filter_map(|path| file(path))
        .collect()
}

fn make(proc: &Path, path: &Path, minor: u32, mode: u32) {
    let devices = fs::read_to_string(proc.join("devices")).unwrap_or_default();
    let major = devices.lines().find_map(|line| line.trim().strip_suffix(" nvidia-caps")?.parse().ok());
    let (Some(major), Some(folder)) = (major, path.parent()) else { return };
    let number = rustix::fs::makedev(major, minor);
    crate::tolerate(fs::create_dir_all(folder));
    crate::tolerate(rustix::fs::mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(mode),
        number,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::partition::known;

    fn profile(
        name: &str,
        size: u32,
        starts: &[u32],
        memory_mib: u64,
        multiprocessors: u32,
    ) -> driver::Profile {
        let (name, starts, most) = (name.to_owned(), starts.to_vec(), 1);
        driver::Profile { id: 0, name, size, starts, memory_mib, multiprocessors, most }
    }

    #[test]
    fn a_drivers_table_is_the_one_that_simulations_have() {
        let seven = [0, 1, 2, 3, 4, 5, 6];
        let table = [
            profile("1g.10gb", 1, &seven, 9984, 16),
            profile("1g.10gb+me", 1, &seven, 9984, 16),
            profile("1g.20gb", 2, &[0, 2, 4, 6], 20_096, 26),
            profile("2g.20gb", 2, &[0, 2, 4], 20_096, 32),
            profile("3g.40gb", 4, &[0, 4], 40_448, 60),
            profile("4g.40gb", 4, &[0], 40_448, 64),
            profile("7g.80gb", 8, &[0], 81_152, 132),
        ];
        let memory = Bytes(81_559 * MIB);
        let layout = layout(&table);
        assert_eq!(Some(&layout), known::layout("NVIDIA H100 80GB HBM3", memory).as_ref());
        assert_eq!(believed(layout.clone(), memory).expect("believed"), layout);
        let less = Bytes(memory.0 / 2);
        assert!(matches!(believed(layout.clone(), less), Err(TableError::Flaw(Flaw::More))));
        assert!(matches!(believed(Layout::default(), memory), Err(TableError::Empty)));
        // Somebody has the upper half: neither it nor the whole is offered, and what is left is as it was.
        let half = Part { profile: layout.find("3g.40gb").expect("there"), start: 4 };
        let left = offered(&layout, &[half]);
        let starts: Vec<(&str, &[u8])> =
            left.profiles.iter().map(|profile| (profile.name.as_str(), profile.starts.as_slice())).collect();
        assert_eq!(
            starts,
            [
                ("1g.10gb", &[0, 1, 2, 3][..]),
                ("1g.10gb+me", &[0, 1, 2, 3]),
                ("1g.20gb", &[0, 2]),
                ("2g.20gb", &[0, 2]),
                ("3g.40gb", &[0]),
                ("4g.40gb", &[0]),
                ("7g.80gb", &[]),
            ]
        );
        assert!(left.numbers_as(&layout) && left.check(memory).is_ok());
        let drawing = [table[0].clone(), profile("1g.10gb+gfx", 1, &seven, 9984, 16)];
        assert_eq!(offered(&super::layout(&drawing), &[]).profiles.len(), 1);
    }

    #[test]
    fn capabilities_lead_to_files_which_are_made_where_they_are_missing() {
        let place = tempfile::tempdir().expect("a folder");
        let (proc, dev) = (place.path().join("proc"), place.path().join("dev"));
        let listed = proc.join("driver/nvidia/capabilities/gpu0/mig/gi3");
        fs::create_dir_all(listed.join("ci0")).expect("made");
        fs::create_dir_all(dev.join("nvidia-caps")).expect("made");
        let say = |minor| format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n");
        fs::write(listed.join("access"), say(30)).expect("written");
        fs::write(listed.join("ci0/access"), say(31)).expect("written");
        assert_eq!(capability_files(&proc, &dev, 1, 3, 0), Vec::<String>::new());
        fs::write(dev.join("nvidia-caps/nvidia-cap30"), "").expect("written");
        let names = |files: Vec<String>| -> Vec<String> {
            files
                .iter()
                .filter_map(|file| Some(Path::new(file).file_name()?.to_string_lossy().into_owned()))
                .collect()
        };
        // Without the kernel's number of the driver nothing can be made.
        assert_eq!(names(capability_files(&proc, &dev, 0, 3, 0)), ["nvidia-cap30"]);
        fs::write(proc.join("devices"), "Character devices:\n195 nvidia\n511 nvidia-caps\n")
            .expect("written");
        let files = capability_files(&proc, &dev, 0, 3, 0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: making a device file needs root");
            return;
        }
        assert_eq!(names(files), ["nvidia-cap30", "nvidia-cap31"]);
        let made = fs::metadata(dev.join("nvidia-caps/nvidia-cap31")).expect("made");
        let number = std::os::unix::fs::MetadataExt::rdev(&made);
        assert_eq!((rustix::fs::major(number), rustix::fs::minor(number)), (511, 31));
    }
}
