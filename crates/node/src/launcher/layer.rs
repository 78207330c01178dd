//! The writable layer of a container: a plain folder, or a filesystem of limited size in a sparse file.
//!
//! Where the state folder's own filesystem cannot hold the upper layer of an overlay (it is an overlay itself, as in a
//! container of one's own without a volume), plain folders are in memory, `<state>/layers/`, for as long as the pool is up.

use super::sys;
use crate::folder::{Folder, is_folder, remove_tree};
use crate::ground;
use crate::tolerate;
use rustix::fs::SeekFrom;
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Copies a sparse file without its holes; shares blocks where the filesystem can.
///
/// # Errors
/// The disk is full.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (File::open(from)?, File::create_new(to)?);
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut at = 0;
    let mut buffer = vec![0_u8; 256 << 10];
    while let Ok(start) = rustix::fs::seek(&source, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
        at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let got = source.read_at(&mut buffer[..want], at)?;
            target.write_all_at(&buffer[..got], at)?;
            at += got as u64;
        }
    }
    Ok(())
}

/// Makes an empty filesystem of `bytes` in a sparse file, for [`copy_sparse`] to copy.
///
/// # Errors
/// `mkfs.ext4` is missing or failed.
pub fn make_template(path: &Path, bytes: u64) -> io::Result<()> {
    // Two tasks of the same size may be the first at the same moment: each makes a file of its own, one stays.
    static MADE: AtomicU64 = AtomicU64::new(0);
    let temp =
        path.with_extension(format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
    File::create(&temp)?.set_len(bytes)?;
    let made = std::process::Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-i", "16384"])
        .args(["-O", "^has_journal,^resize_inode,^huge_file,sparse_super2"])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg(&temp)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()?;
    if !made.status.success() {
        tolerate(fs::remove_file(&temp));
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
    }
    fs::rename(temp, path)
}

/// Mounts an image through a loop device that frees itself with the last mount.
///
/// # Errors
/// No loop device, or not a filesystem.
pub fn mount_image(image: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(!read_only).open(image)?;
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let mut tries = 0;
    let (device, path) = loop {
        let path = PathBuf::from(format!("/dev/loop{}", sys::loop_free(&control)?));
        let device = OpenOptions::new().read(true).write(!read_only).open(&path)?;
        match sys::loop_configure(&device, &file) {
            Ok(()) => break (device, path),
            // Another task was quicker.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < 1000 => tries += 1,
            Err(error) => return Err(error),
        }
    };
    let flags = MountFlags::NOATIME | MountFlags::NODEV;
    let flags = if read_only { flags | MountFlags::RDONLY } else { flags };
    rustix::mount::mount(&path, target, c"ext4", flags, c"nobarrier,errors=continue")?;
    drop(device);
    Ok(())
}

/// Makes the layer of a task, or takes the one that is there, and returns its folder; mounts belong to the
/// caller's mount namespace.
///
/// # Errors
/// The disk is full, or no loop device is to be had.
pub fn open(folder: &Folder, template: Option<&Path>) -> io::Result<PathBuf> {
    let dir = folder.layer();
    let image = folder.layer_image();
    let memory = in_memory(folder.state());
    if template.is_none() && !image.exists() && is_mounted(&memory) && dir.symlink_metadata().is_err() {
        let place = memory.join(folder.layer_name());
        fs::create_dir_all(&place)?;
        std::os::unix::fs::symlink(place, &dir)?;
    }
    match fs::create_dir(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(template) = template.filter(|_| !image.exists()) {
        copy_sparse(template, &image)?;
    }
    if image.exists() {
        mount_image(&image, &dir, false)?;
    }
    Ok(place(folder))
}

/// The folder that the layer of a task is in.
#[must_use]
pub fn place(folder: &Folder) -> PathBuf {
    fs::read_link(folder.layer()).unwrap_or_else(|_not_elsewhere| folder.layer())
}

/// Room under which a layer of `size` bytes is full: a write takes whole pieces of the page cache of up to 2 MiB, and
/// the piece that does not fit is left out whole. Measured: 1.3 MiB stayed of 20 MiB, 1.9 of 1 GiB.
#[must_use]
pub fn leftover(size: u64) -> u64 {
    (2 << 20).min(size / 8)
}

/// Leaves the layers of an ended task in a user namespace so that their owner can remove them, and without those that nothing was
/// written to. `image`: there is one, else one for each folder of the machine. Nothing while somebody looks at them.
///
/// What the task wrote is gone through by nobody: a link in it leads anywhere.
pub fn tidy(folder: &Folder, image: bool) {
    let Ok(lock) = File::open(folder.launch()) else { return };
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let place = place(folder);
    if image {
        return open_work(&place);
    }
    for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
        let ours = entry.file_name().as_bytes().starts_with(b"%") && is_folder(&entry.path());
        let (part, upper) = (entry.path(), entry.path().join("upper"));
        let empty =
            || is_folder(&upper) && fs::read_dir(&upper).is_ok_and(|mut upper| upper.next().is_none());
        match ours.then(empty) {
            Some(true) => tolerate(remove_tree(&part)),
            Some(false) => open_work(&part),
            None => {}
        }
    }
}

/// An overlay leaves its work folder, which the task never saw, closed to everybody.
fn open_work(layer: &Path) {
    let work = layer.join("work");
    if is_folder(&work) && is_folder(&work.join("work")) {
        tolerate(remove_tree(&work.join("work")));
    }
}

/// Where layers are that the state folder cannot hold.
fn in_memory(state: &Path) -> PathBuf {
    state.join("layers")
}

fn is_mounted(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    dir.parent().is_some_and(|above| device(dir).is_some_and(|own| device(above) != Some(own)))
}

/// Mounts memory for layers when the state folder cannot hold them. Without the right to mount there are no containers.
pub fn take_memory_if_needed(state: &Path) {
    let memory = in_memory(state);
    if !is_mounted(&memory)
        && !is_known_to_hold_layers(state)
        && !holds_layers(state)
        && fs::create_dir_all(&memory).is_ok()
    {
        tolerate(ground::mount_memory(&memory, "mode=700"));
    }
}

/// Ends what [`take_memory_if_needed`] began, once no layer is in it or with all that are.
pub fn let_go_of_memory(state: &Path, with_layers: bool) {
    let memory = in_memory(state);
    let is_empty = || fs::read_dir(&memory).is_ok_and(|mut layers| layers.next().is_none());
    if is_mounted(&memory) && (with_layers || is_empty()) {
        tolerate(rustix::mount::unmount(&memory, UnmountFlags::DETACH));
    }
    tolerate(fs::remove_dir(&memory));
}

/// ext4, XFS, Btrfs, memory: what needs no trial.
fn is_known_to_hold_layers(dir: &Path) -> bool {
    let kind = rustix::fs::statfs(dir).map_or(0, |stat| stat.f_type);
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994].contains(&kind)
}

fn holds_layers(state: &Path) -> bool {
    let room = state.join(format!("layers-trial-{}", std::process::id()));
    let tried = fs::create_dir(&room).and_then(|()| try_overlay(&room, false));
    tolerate(fs::remove_dir_all(&room));
    // Who may not mount gains nothing by memory.
    !matches!(tried, Err(why) if why.kind() != io::ErrorKind::PermissionDenied)
}

/// The options of an overlay mount, its read-only folders the topmost first.
#[must_use]
pub fn options(lowers: &[PathBuf], upper: &Path, work: &Path) -> String {
    let escaped =
        |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,");
    let lower: Vec<String> = lowers.iter().map(|path| escaped(path)).collect();
    format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), escaped(upper), escaped(work))
}

/// Mounts, in a mount namespace of its own, an overlay whose upper layer is in this empty folder, or in memory over it; writes and
/// hides a file.
///
/// # Errors
/// The filesystem cannot hold upper layers (`EINVAL` and others), or this process may not mount (`EPERM`).
pub fn try_overlay(room: &Path, memory: bool) -> io::Result<()> {
    ground::in_mount_namespace(|| {
        if memory {
            ground::mount_memory(room, "mode=700,size=1m")?;
        }
        overlay_in(room, false)
    })
}

/// The same in the mount namespace of this process; `userxattr`: in a user namespace.
pub(super) fn overlay_in(room: &Path, userxattr: bool) -> io::Result<()> {
    for folder in ["lower", "upper", "work", "merged"] {
        fs::create_dir(room.join(folder))?;
    }
    fs::write(room.join("lower/hidden"), "")?;
    let mut options = options(&[room.join("lower")], &room.join("upper"), &room.join("work"));
    if userxattr {
        options.push_str(",userxattr");
    }
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    let merged = room.join("merged");
    rustix::mount::mount("overlay", &merged, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    let tried = fs::write(merged.join("new"), "text").and_then(|()| fs::remove_file(merged.join("hidden")));
    rustix::mount::unmount(&merged, UnmountFlags::DETACH)?;
    tried?;
    let hidden = fs::symlink_metadata(room.join("upper/hidden"))?;
    if hidden.file_type().is_char_device() {
        Ok(())
    } else {
        Err(io::Error::other("a removed lower file left no whiteout"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_made_by_many_at_once_is_whole() {
        let dir = std::env::temp_dir().join(format!("layer-template-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        let path = dir.join("ext4");
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| make_template(&path, 64 << 20))).collect();
            for maker in makers {
                maker.join().expect("no panic").expect("mkfs.ext4");
            }
        });
        let check =
            std::process::Command::new("/usr/sbin/e2fsck").arg("-fn").arg(&path).output().expect("e2fsck");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        assert_eq!(fs::read_dir(&dir).expect("the folder").count(), 1, "nothing but the template stays");
        fs::remove_dir_all(&dir).expect("the folder");
    }
}
