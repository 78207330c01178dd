//! A container's `/dev`: the few files that every task has, and those of the devices that were granted.
//!
//! Root makes them. In a user namespace nobody may, so there they are the machine's own, mounted one by one.

use super::root::{Result, Step, mount_tmpfs};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};
use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Device files every task has: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// A device file of the machine that was granted, with its numbers.
struct Granted {
    path: PathBuf,
    device: u64,
    kind: FileType,
}

/// What is known of the machine's device files before their paths go out of sight.
pub(super) struct Found {
    granted: Vec<Granted>,
    /// The files themselves, where none can be made.
    taken: Option<Vec<(PathBuf, OwnedFd)>>,
}

/// Looks for the granted `files`; `user_namespace`: takes them, and those that every task has.
///
/// # Errors
/// One is not there.
pub(super) fn find(files: &[String], user_namespace: bool) -> Result<Found> {
    let look = |file: &String| {
        let path = PathBuf::from(file);
        let meta = fs::metadata(&path).step("find the device", &path)?;
        Ok(Granted { device: meta.rdev(), kind: FileType::from_raw_mode(meta.mode()), path })
    };
    let granted: Vec<Granted> = files.iter().map(look).collect::<Result<_>>()?;
    let all = DEVICES.iter().map(|(name, ..)| Path::new("/dev").join(name));
    let all = all.chain(granted.iter().map(|device| device.path.clone()));
    let take = |path: PathBuf| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, &path, flags).step("open the device", &path)?;
        Ok((path, tree))
    };
    let taken = if user_namespace { Some(all.map(take).collect::<Result<_>>()?) } else { None };
    Ok(Found { granted, taken })
}

/// Mounts `/dev` with `/dev/shm` of `shm` bytes.
///
/// # Errors
/// The first step that failed.
pub(super) fn mount(shm: u64, found: &Found) -> Result<()> {
    let dev = Path::new("/dev");
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount(c"tmpfs", dev, c"tmpfs", flags, c"mode=755,size=64k,nr_inodes=512")
        .step("mount", dev)?;
    let old = rustix::process::umask(Mode::empty());
    match &found.taken {
        Some(taken) => put_files(taken)?,
        None => make_files(dev, &found.granted)?,
    }
    rustix::process::umask(old);
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, dev.join(link)).step("make", dev.join(link))?;
    }
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(dir)).step("make", dev.join(dir))?;
    }
    let none = MountFlags::NOSUID | MountFlags::NOEXEC;
    // The group of terminals is nobody's in a user namespace.
    let options: &CStr = match found.taken {
        Some(_) => c"newinstance,ptmxmode=0666,mode=0620",
        None => c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    };
    rustix::mount::mount(c"devpts", c"/dev/pts", c"devpts", none, options).step("mount", "/dev/pts")?;
    let safe = none | MountFlags::NODEV;
    rustix::mount::mount(c"mqueue", c"/dev/mqueue", c"mqueue", safe, None).step("mount", "/dev/mqueue")?;
    mount_tmpfs(&dev.join("shm"), &format!("mode=1777,size={shm}"))
}

fn make_files(dev: &Path, granted: &[Granted]) -> Result<()> {
    let all = Mode::from_raw_mode(0o666);
    for (name, major, minor) in DEVICES {
        let path = dev.join(name);
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, all, number).step("make", &path)?;
    }
    for device in granted {
        // Those that every container has may be granted too.
        let is_it = |known: fs::Metadata| {
            FileType::from_raw_mode(known.mode()) == device.kind && known.rdev() == device.device
        };
        if fs::symlink_metadata(&device.path).is_ok_and(is_it) {
            continue;
        }
        make_parent(&device.path)?;
        rustix::fs::mknodat(CWD, &device.path, device.kind, all, device.device).step("make", &device.path)?;
    }
    Ok(())
}

fn put_files(taken: &[(PathBuf, OwnedFd)]) -> Result<()> {
    for (path, tree) in taken {
        if path.exists() {
            continue;
        }
        make_parent(path)?;
        File::create(path).step("make", path)?;
        rustix::mount::move_mount(tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .step("mount at", path)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), |dir| fs::create_dir_all(dir).step("make", dir))
}
