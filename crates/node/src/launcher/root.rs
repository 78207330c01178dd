//! A container's root: built by the container's first process in its own mount namespace.
//!
//! Overlay layers, the topmost first: the task's writable layer; the one of the pool's [ground] with what it puts
//! in (mount points) and hides (whiteouts); the image, or the machine's own root.
//! Other filesystems of the machine (`/home`, ...) get an overlay of their own at their place.
//! What is hidden and why: `docs/decisions/0040-host-root.md`.

use super::dev;
use super::layer;
use super::pieces;
use super::spec::{Container, LaunchSpec, OUT};
use super::sys;
use crate::bounds::Bounds;
use crate::cgroup::{Group, View};
use crate::folder::Folder;
use crate::ground;
use crate::tolerate;
use pond_core::model::Volume;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Which step of building the root failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path}: {source}", path = path.display())]
pub struct RootError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
    /// Whether the job asked for something that is not there.
    pub job_fault: bool,
}

pub(super) type Result<T> = std::result::Result<T, RootError>;

/// Adds the step to an error.
// seam: methods on `Result`, which is not ours to give methods to
pub(super) trait Step<T> {
    fn step(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T>;
    fn job_step(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Step<T> for std::result::Result<T, E> {
    fn step(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|why| RootError { step, path: path.into(), source: why.into(), job_fault: false })
    }
    fn job_step(self, step: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|why| RootError { step, path: path.into(), source: why.into(), job_fault: true })
    }
}

/// An overlay of `lowers`, the topmost first, at `target`; its root looks like `top` from outside.
pub(super) fn mount_overlay(
    lowers: &[PathBuf],
    top: &Path,
    writable: &Path,
    target: &Path,
    userxattr: bool,
) -> Result<()> {
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    fs::create_dir_all(&work).step("make", &work)?;
    if !upper.exists() {
        fs::create_dir(&upper).step("make", &upper)?;
        ground::like(top, &upper).step("set the owner of", &upper)?;
    }
    let mut options = layer::options(lowers, &upper, &work);
    // Without `volatile` every unmount waits for the disk's journal: tens of milliseconds a task. A layer
    // outlives its task only for `cp` and for a paused environment; see docs/decisions/0041-volatile-layers.md.
    options.push_str(",volatile");
    forget_volatile(&work);
    if userxattr {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).map_err(io::Error::other).step("mount", target)?;
    rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::NODEV, options.as_c_str())
        .step("mount the overlay at", target)
}

/// Takes away the sign that the layer was mounted before without syncing, which forbids to mount it again.
fn forget_volatile(work: &Path) {
    tolerate(fs::remove_dir_all(work.join("work/incompat")));
}

pub(super) fn mount_tmpfs(target: &Path, options: &str) -> Result<()> {
    ground::mount_memory(target, options).step("mount memory at", target)
}

/// A volume or file of the machine, taken before its paths go out of sight.
pub(super) struct Taken {
    tree: OwnedFd,
    is_dir: bool,
    /// Its path on the machine, without links.
    place: PathBuf,
    /// Where in it the pool's own folder is, which no task sees: the pool's token lies there.
    own: Vec<PathBuf>,
}

/// Takes hold of what a path leads to, and says where that is, without links, and what kind. What is held is what is asked
/// about: a link that is changed meanwhile changes neither.
fn hold(source: &Path) -> Result<(OwnedFd, PathBuf, FileType)> {
    let held =
        rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).job_step("find", source)?;
    let place = fs::read_link(by_number(&held)).step("find", source)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&held).step("find", source)?.st_mode);
    Ok((held, place, kind))
}

fn by_number(held: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

/// `states`: the places of the pool's own folder, without links.
pub(super) fn take(source: &Path, states: &[PathBuf]) -> Result<Taken> {
    let (held, place, kind) = hold(source)?;
    let is_dir = kind.is_dir();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&held, c"", flags).job_step("open", source)?;
    let own = states.iter().filter(|_| is_dir).filter_map(|state| state.strip_prefix(&place).ok());
    let own = own.map(Path::to_owned).collect();
    Ok(Taken { tree, is_dir, place, own })
}

/// The places of the pool's own folder, without links.
pub(super) fn own_folders(folder: &Folder) -> Result<Vec<PathBuf>> {
    Ok(Bounds::new(folder.state(), None).step("find", folder.state())?.states)
}

/// What the task may be given of the machine.
fn bounds(folder: &Folder, spec: &LaunchSpec) -> Result<Bounds> {
    Bounds::new(folder.state(), spec.within.as_deref()).step("find", folder.state())
}

/// What is told of a source that cannot be held.
fn unseen(bounds: &Bounds) -> impl FnOnce(RootError) -> RootError {
    |why| RootError { source: bounds.unseen(why.source), ..why }
}

fn admit(bounds: &Bounds, source: &Path, place: &Path, write: bool) -> Result<()> {
    bounds.admit(place, write).map_err(io::Error::other).job_step("give the task", source)
}

/// What a job names.
fn take_for_job(source: &Path, write: bool, bounds: &Bounds) -> Result<Taken> {
    let taken = take(source, &bounds.states).map_err(unseen(bounds))?;
    admit(bounds, source, &taken.place, write)?;
    Ok(taken)
}

/// Opens the file that a job names as its standard input. A container gets it through a mount of its own that is read-only:
/// what is open for reading can be opened anew for writing by its number, and its mode and owner be changed.
///
/// # Errors
/// It is not there, no file, or nothing that the job may be given.
pub fn open_input(folder: &Folder, spec: &LaunchSpec, source: &Path) -> Result<File> {
    let bounds = bounds(folder, spec)?;
    let (held, place, kind) = hold(source).map_err(unseen(&bounds))?;
    admit(&bounds, source, &place, false)?;
    if !kind.is_file() {
        let why = io::Error::other("it is no regular file");
        return Err(why).job_step("read as standard input", source);
    }
    if spec.container.is_none() {
        return File::open(by_number(&held)).job_step("read as standard input", source);
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let alone = rustix::mount::open_tree(&held, c"", flags).step("open", source)?;
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::mount_setattr(alone.as_fd(), attributes).step("limit", source)?;
    File::open(by_number(&alone)).job_step("read as standard input", source)
}

/// Mounts nothing at all over a folder, found without following links.
fn cover(dir: &Path, own: &Path) -> Result<()> {
    let place = dir.join(own);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let hide = || -> io::Result<()> {
        let dir = rustix::fs::open(dir, flags, Mode::empty())?;
        let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let own = rustix::fs::openat2(&dir, own, flags, Mode::empty(), strict)?;
        let memory = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(memory.as_fd(), c"mode", c"0")?;
        rustix::mount::fsconfig_set_string(memory.as_fd(), c"size", c"4k")?;
        rustix::mount::fsconfig_create(memory.as_fd())?;
        let limits = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let nothing = rustix::mount::fsmount(memory.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, limits)?;
        let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(&nothing, c"", &own, c"", both)?)
    };
    hide().step("hide the pool's own folder at", place)
}

/// Mounts what was taken at `target`, which is made when missing. The container's root is `/` by now, so no
/// link in `target` leads out of it.
pub(super) fn put(taken: &Taken, target: &Path, read_only: bool) -> Result<()> {
    if taken.is_dir {
        fs::create_dir_all(target).job_step("make", target)?;
    } else if !target.exists() {
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).job_step("make", dir)?;
        }
        File::create(target).job_step("make", target)?;
    }
    let attributes = libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    sys::mount_setattr(taken.tree.as_fd(), attributes).step("limit", target)?;
    rustix::mount::move_mount(&taken.tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("mount at", target)?;
    taken.own.iter().try_for_each(|own| cover(target, own))
}

/// Mounts a container's root without what belongs to a running task alone, and returns where. Used again to look at an ended
/// task's files. In a user namespace it lays its ground itself; elsewhere that lies in this mount namespace.
///
/// # Errors
/// The first step that failed.
pub fn mount_all(
    folder: &Folder,
    spec: &LaunchSpec,
    container: &Container,
    writable: &Path,
) -> Result<PathBuf> {
    if !container.user_namespace {
        return mount_layers(folder, container, writable);
    }
    if container.lowers.is_empty() {
        return pieces::mount(folder, spec, container, writable);
    }
    ground::lay_here(folder.state(), &container.lowers).step("lay the ground in", folder.state())?;
    mount_layers(folder, container, writable)
}

/// Mounts the overlays of root and submounts over the ground that lies in this mount namespace, and returns where.
///
/// # Errors
/// The first step that failed.
fn mount_layers(folder: &Folder, container: &Container, writable: &Path) -> Result<PathBuf> {
    let ground = ground::place(folder.state());
    let states = own_folders(folder)?;
    let root = ground.join("root");
    let over = ground::layer_over(&ground, Path::new("/"));
    if let Some(bottom) = container.lowers.last() {
        // By their short names: the options of a mount fit into 4,096 bytes, and images have more than 100 layers.
        rustix::process::chdir(&ground).step("enter", &ground)?;
        let short = (0..container.lowers.len()).map(ground::lower_name);
        let lowers: Vec<PathBuf> = [over].into_iter().chain(short).collect();
        mount_overlay(&lowers, bottom, writable, &root, container.userxattr)?;
        return Ok(root);
    }
    mount_overlay(&[over, PathBuf::from("/")], Path::new("/"), writable, &root, container.userxattr)?;
    for mount in ground::submounts() {
        let inside = root.join(mount.target.strip_prefix("/").unwrap_or(&mount.target));
        if inside.symlink_metadata().is_err() {
            // Hidden, or below something that is.
            continue;
        }
        let layer = layer_at(writable, &mount.target);
        let over = Some(ground::layer_over(&ground, &mount.target)).filter(|layer| layer.exists());
        let lowers: Vec<PathBuf> = over.into_iter().chain([mount.target.clone()]).collect();
        if !(mount.is_dir && mount_overlay(&lowers, &mount.target, &layer, &inside, false).is_ok()) {
            // Filesystems that cannot be a lower layer, and single files: as they are, read-only.
            put(&take(&mount.target, &states)?, &inside, true)?;
        }
    }
    Ok(root)
}

/// The layer of one of the machine's filesystems, also of a task that is kept since `%` and `=` stood for themselves in its name.
fn layer_at(writable: &Path, target: &Path) -> PathBuf {
    let before = writable.join(target.to_string_lossy().replace('/', "%"));
    let now = writable.join(ground::escaped(target));
    if before.is_dir() && !now.is_dir() { before } else { now }
}

/// Makes `root` the root of this mount namespace and lets go of the machine's.
///
/// # Errors
/// The first step that failed.
pub fn pivot(root: &Path) -> Result<()> {
    rustix::process::chdir(root).step("enter", root)?;
    rustix::process::pivot_root(c".", c".").step("pivot to", root)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).step("let go of", "/")?;
    rustix::process::chdir(c"/").step("enter", "/")
}

/// Makes a mount namespace of this process's own, cut off from the machine's: a copy of the one behind `ground`, or
/// of the one it is in.
///
/// # Errors
/// Not permitted.
pub fn isolate(ground: Option<BorrowedFd<'_>>) -> Result<()> {
    let place = || PathBuf::from("/");
    if let Some(ground) = ground {
        sys::setns(ground, libc::CLONE_NEWNS as u32).step("enter the ground of", place())?;
    }
    sys::unshare(libc::CLONE_NEWNS).step("copy the mounts of", place())?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", private).step("isolate", place())
}

/// Files of `/proc` that tell about the machine, or change it.
const PROC_HIDDEN: [&str; 7] =
    ["acpi", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list"];
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Before the machine's own is out of sight: in a user namespace the kernel asks for one that nothing covers.
fn mount_proc(root: &Path) -> Result<()> {
    let proc = root.join("proc");
    rustix::mount::mount(c"proc", &proc, c"proc", SAFE, None).step("mount", &proc)
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// With the container's own `/dev`: what its root does to a file that covers another is done to nothing of the machine's.
fn cover_proc() -> Result<()> {
    for name in PROC_READ_ONLY {
        let path = Path::new("/proc").join(name);
        if path.symlink_metadata().is_ok() {
            rustix::mount::mount_bind(&path, &path).step("protect", &path)?;
            let flags = SAFE | MountFlags::BIND | MountFlags::RDONLY;
            rustix::mount::mount_remount(&path, flags, c"").step("protect", &path)?;
        }
    }
    for name in PROC_HIDDEN {
        let path = Path::new("/proc").join(name);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => mount_tmpfs(&path, "mode=0,size=4k,ro")?,
            Ok(_) => rustix::mount::mount_bind(c"/dev/null", &path).step("hide", &path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// `taken`: the machine's own, where no other can be mounted.
fn mount_sys(taken: Option<&Taken>) -> Result<()> {
    match taken {
        Some(taken) => put(taken, Path::new("/sys"), true)?,
        None => rustix::mount::mount(c"sysfs", c"/sys", c"sysfs", SAFE | MountFlags::RDONLY, None)
            .step("mount", "/sys")?,
    }
    if Path::new("/sys/firmware").is_dir() {
        mount_tmpfs(Path::new("/sys/firmware"), "mode=0,size=4k,ro")?;
    }
    Ok(())
}

/// Where programs look for their control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// Takes what the task may see of its own groups, read-only, before their paths go out of sight. Nothing on a kernel
/// too old to hand a mount on so.
fn take_groups(group: &Group) -> Result<Vec<(View, OwnedFd)>> {
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let take = |view: View| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, &view.dir, flags)?;
        sys::mount_setattr(tree.as_fd(), attributes)?;
        Ok((view, tree))
    };
    match group.views().into_iter().map(take).collect::<io::Result<_>>() {
        Err(why) if why.raw_os_error() == Some(libc::ENOSYS) => Ok(Vec::new()),
        taken => taken.step("show its control groups at", GROUPS),
    }
}

fn mount_groups(taken: &[(View, OwnedFd)]) -> Result<()> {
    let dir = Path::new(GROUPS);
    if taken.is_empty() || !dir.is_dir() {
        return Ok(());
    }
    let alone = taken.iter().any(|(view, _)| view.name.is_empty());
    if !alone {
        mount_tmpfs(dir, "mode=755,size=64k,nr_inodes=64")?;
    }
    for (view, tree) in taken {
        let at = dir.join(&view.name);
        if !alone {
            fs::create_dir(&at).step("make", &at)?;
            for link in &view.links {
                symlink(&view.name, dir.join(link)).step("make", dir.join(link))?;
            }
        }
        rustix::mount::move_mount(tree, c"", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .step("mount at", &at)?;
    }
    if !alone {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        rustix::mount::mount_remount(dir, flags | MountFlags::BIND, c"").step("protect", dir)?;
    }
    Ok(())
}

/// Builds the whole root and enters it; on return `/` is the container's. Returns the opened writable layer,
/// through which its use is measured.
///
/// # Errors
/// The first step that failed.
pub fn build(
    folder: &Folder,
    spec: &LaunchSpec,
    container: &Container,
    ground: Option<BorrowedFd<'_>>,
) -> Result<File> {
    isolate(ground)?;
    let resolver = fs::read("/etc/resolv.conf").unwrap_or_default();
    let devices = dev::find(&container.devices, container.user_namespace)?;
    let writable = layer::open(folder, container.disk_template.as_deref())
        .step("open the writable layer", folder.layer())?;
    let measured = File::open(&writable).step("open", &writable)?;
    let bounds = bounds(folder, spec)?;
    let of_job = |source: &String, write| take_for_job(Path::new(source), write, &bounds);
    let volumes = container.volumes.iter().map(|volume| of_job(&volume.source, !volume.read_only));
    let of_pool = container.own.iter().map(|volume| take(Path::new(&volume.source), &bounds.states));
    let volumes: Vec<Taken> = volumes.chain(of_pool).collect::<Result<_>>()?;
    let files: Vec<Taken> = spec.files.iter().map(|file| of_job(file, false)).collect::<Result<_>>()?;
    let groups = take_groups(&spec.pool.group(&spec.group))?;
    // Whose network it is may mount it, and this one is the machine's.
    let sys = container.user_namespace.then(|| take(Path::new("/sys"), &bounds.states)).transpose()?;
    let root = mount_all(folder, spec, container, &writable)?;
    mount_proc(&root)?;
    pivot(&root)?;
    dev::mount(container.shm, &devices)?;
    cover_proc()?;
    mount_sys(sys.as_ref())?;
    mount_groups(&groups)?;
    mount_tmpfs(Path::new("/run"), "mode=755,size=10%")?;
    own_files(container, &resolver).step("write", ground::OWN)?;
    // What the launcher itself writes is written while nothing of the machine is in sight that a job has chosen.
    super::init::write_scripts(folder, spec).step("write the scripts to", "/run/pond")?;
    fs::create_dir_all(OUT).job_step("make", OUT)?;
    if let Some((uid, gid)) = spec.user {
        std::os::unix::fs::chown(OUT, Some(uid), Some(gid)).job_step("hand over", OUT)?;
    }
    for (volume, taken) in container.volumes.iter().chain(&container.own).zip(&volumes) {
        // A file that is a link is what it leads to, inside this root: all its names are mounted over.
        let target = Path::new(&volume.target);
        put(taken, &target.canonicalize().unwrap_or_else(|_| target.to_owned()), volume.read_only)?;
    }
    rustix::system::sethostname(container.hostname.as_bytes()).step("name", "the container")?;
    if bounds.is_bound() && !files.is_empty() {
        outside_volumes(Path::new(&spec.workdir), container)?;
    }
    copy_files(spec, &files)?;
    Ok(measured)
}

/// Copies are made by root, so those of a bound job go to the task's own layer only.
fn outside_volumes(workdir: &Path, container: &Container) -> Result<()> {
    // What is not there yet is made in the nearest folder that is.
    let place = workdir.ancestors().find_map(|dir| dir.canonicalize().ok()).unwrap_or_default();
    let of = |volume: &Volume| Path::new(&volume.target).canonicalize().unwrap_or_default();
    if container.volumes.iter().any(|volume| place.starts_with(of(volume))) {
        let why = io::Error::other("it is in a volume; copy to another working folder, or let the job copy");
        return Err(why).job_step("copy files to", workdir);
    }
    Ok(())
}

fn own_files(container: &Container, resolver: &[u8]) -> io::Result<()> {
    let dir = Path::new(ground::OWN);
    fs::create_dir(dir)?;
    let name = format!("{}\n", container.hostname);
    let contents = [container.hosts.as_bytes(), name.as_bytes(), resolver];
    ground::OWN_FILES.iter().zip(contents).try_for_each(|(name, text)| fs::write(dir.join(name), text))
}

/// Where a file of the machine goes: the contents of a folder named with a trailing `/` or `/.`, or of the
/// working folder itself, go into the working folder; anything else keeps its name there.
fn destination(file: &str, workdir: &Path) -> PathBuf {
    let path = Path::new(file);
    let contents = file.ends_with('/') || file.ends_with("/.") || path == workdir;
    match path.file_name().filter(|_| !contents) {
        Some(name) => workdir.join(name),
        None => workdir.to_path_buf(),
    }
}

fn copy_files(spec: &LaunchSpec, taken: &[Taken]) -> Result<()> {
    let workdir = Path::new(&spec.workdir);
    fs::create_dir_all(workdir).job_step("make the working folder", workdir)?;
    let from = Path::new("/run/pond-files");
    for (file, tree) in spec.files.iter().zip(taken) {
        let source = from.join("source");
        fs::create_dir_all(from).step("make", from)?;
        put(tree, &source, true)?;
        let target = destination(file, workdir);
        copy_tree(&source, &target, spec.user).job_step("copy to", &target)?;
        rustix::mount::unmount(&source, UnmountFlags::DETACH).step("let go of", &source)?;
        fs::remove_dir_all(from).step("remove", from)?;
    }
    Ok(())
}

/// Copies a tree, links as links, special files left out.
fn copy_tree(source: &Path, target: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let meta = source.symlink_metadata()?;
    if meta.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            copy_tree(&entry.path(), &target.join(entry.file_name()), owner)?;
        }
    } else if meta.is_symlink() {
        tolerate(fs::remove_file(target));
        symlink(fs::read_link(source)?, target)?;
    } else if meta.is_file() {
        tolerate(fs::remove_file(target));
        fs::copy(source, target)?;
    } else {
        return Ok(());
    }
    let (uid, gid) = owner.unwrap_or((meta.uid(), meta.gid()));
    ground::hand_over(target, (uid, gid))
}
