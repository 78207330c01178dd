//! What containers stand on: a mount namespace of the pool's own, and in it, in memory, the layer that brings the
//! pool's mount points and hides what no task may see.
//!
//! ```text
//! <state>/ground/          memory, seen in that namespace only
//!     layer/               over the machine's root or the image, below the task's own layer
//!     l0, l1, ...          links to the image's layers, the topmost first: short names for one mount's options
//!     layer%home/          the same for another filesystem of the machine, when something in it is hidden
//!     root/                where a container's root is mounted, in the container's own copy of the namespace
//! ```
//! Making the layer takes some three hundred system calls, so all tasks on one kind of root share one. It is made
//! again when what it was made from has changed: a new home folder, another owner, a folder in which something is
//! to be hidden. Nothing of it is on the machine: it goes with the last process or descriptor that holds it.

use crate::launcher::spec::OUT;
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Most kinds of roots whose ground is kept; a kind that comes back is made again.
const KINDS: usize = 64;
/// Where home folders are, beside root's own.
const HOMES: &str = "/home";
/// Where the machine's own keys are.
const KEYS: &str = "/etc/ssh";
/// Files that each task has of its own, in its memory at [`OWN`]; the layer links to them from `/etc`.
pub(crate) const OWN_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
/// Where [`OWN_FILES`] are.
pub(crate) const OWN: &str = "/run/pond";

/// Where the ground is, in its namespace.
#[must_use]
pub(crate) fn place(state: &Path) -> PathBuf {
    state.join("ground")
}

/// The layer over a filesystem of the machine, `/` for the root; it is there when something in it is hidden.
#[must_use]
pub(crate) fn layer_over(ground: &Path, target: &Path) -> PathBuf {
    let mut name = OsString::from("layer");
    name.push(escaped(target));
    ground.join(name)
}

/// A short name of the read-only folder with this number, relative to the ground.
#[must_use]
pub(crate) fn lower_name(number: usize) -> PathBuf {
    PathBuf::from(format!("l{number}"))
}

/// A name for what belongs to a filesystem of the machine: nothing for the root, else its path with `%` for `/`, and `=25`, `=3d`
/// for what stands for something itself.
#[must_use]
pub(crate) fn escaped(target: &Path) -> OsString {
    let mut name = Vec::new();
    for byte in target.as_os_str().as_bytes().iter().filter(|_| target != Path::new("/")) {
        match byte {
            b'/' => name.push(b'%'),
            b'%' => name.extend(b"=25"),
            b'=' => name.extend(b"=3d"),
            _ => name.push(*byte),
        }
    }
    OsString::from_vec(name)
}

/// The grounds of one pool.
#[derive(Debug)]
pub(crate) struct Grounds {
    state: PathBuf,
    made: Mutex<BTreeMap<Vec<PathBuf>, Arc<Ground>>>,
}

/// One ground, for all roots of one kind.
#[derive(Debug)]
pub(crate) struct Ground {
    namespace: OwnedFd,
    facts: Facts,
}

impl Ground {
    /// The mount namespace.
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

impl Grounds {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self { state, made: Mutex::default() }
    }

    /// The ground for roots of these read-only folders; none: the machine's own root.
    ///
    /// # Errors
    /// This process may not make mounts.
    pub(crate) fn of(&self, lowers: &[PathBuf]) -> io::Result<Arc<Ground>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(lowers).filter(|ground| ground.facts.hold()) {
            return Ok(Arc::clone(known));
        }
        if made.len() >= KINDS {
            made.pop_first();
        }
        let facts = if lowers.is_empty() { Facts::now(&self.state) } else { Facts::default() };
        let place = place(&self.state);
        fs::create_dir_all(&place)?;
        let namespace = in_new_namespace(|| lay(&place, lowers, &facts.hidden))?;
        let ground = Arc::new(Ground { namespace, facts });
        made.insert(lowers.to_vec(), Arc::clone(&ground));
        Ok(ground)
    }
}

/// Runs `work` in a mount namespace into which later mounts of the machine come, and none out of it; returns it.
fn in_new_namespace(work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<OwnedFd> {
    with_own_mounts(MountPropagationFlags::DOWNSTREAM, || {
        work()?;
        Ok(fs::File::open("/proc/thread-self/ns/mnt")?.into())
    })
}

/// Runs `work` on a thread with mounts of its own, which end with it.
pub(crate) fn in_mount_namespace<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    with_own_mounts(MountPropagationFlags::PRIVATE, work)
}

/// On a thread of its own; `propagation` says which mounts of the machine come along later.
fn with_own_mounts<T: Send>(
    propagation: MountPropagationFlags,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".to_owned()).spawn_scoped(scope, || {
            #[expect(deprecated, reason = "unsound only with FILES, which is not among these flags")]
            rustix::thread::unshare(UnshareFlags::NEWNS)?;
            rustix::mount::mount_change("/", propagation | MountPropagationFlags::REC)?;
            work()
        })?;
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

/// What a ground for the machine's own root was made from.
#[derive(Debug, Default)]
struct Facts {
    hidden: Vec<PathBuf>,
    /// When the folders whose entries `hidden` depends on were changed last.
    lists: Vec<(PathBuf, Option<SystemTime>)>,
    /// Every folder above something hidden, as the layer repeats it.
    dirs: Vec<(PathBuf, Option<Traits>)>,
}

/// Device, owner, group and mode of a folder.
type Traits = (u64, u32, u32, u32);

fn traits(dir: &Path) -> Option<Traits> {
    let meta = fs::symlink_metadata(dir).ok()?;
    Some((meta.dev(), meta.uid(), meta.gid(), meta.mode()))
}

fn changed(dir: &Path) -> Option<SystemTime> {
    fs::metadata(dir).and_then(|meta| meta.modified()).ok()
}

impl Facts {
    fn now(state: &Path) -> Self {
        let lists = [HOMES, KEYS].map(PathBuf::from).map(|dir| (changed(&dir), dir));
        let hidden = hidden(state, &[]);
        let mut dirs: Vec<PathBuf> =
            hidden.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_path_buf).collect();
        dirs.sort();
        dirs.dedup();
        Self {
            hidden,
            lists: lists.into_iter().map(|(changed, dir)| (dir, changed)).collect(),
            dirs: dirs
                .into_iter()
                .map(|dir| (traits(&dir), dir))
                .map(|(traits, dir)| (dir, traits))
                .collect(),
        }
    }

    fn hold(&self) -> bool {
        self.lists.iter().all(|(dir, before)| changed(dir) == *before)
            && self.dirs.iter().all(|(dir, before)| traits(dir) == *before)
    }
}

/// Lays the ground at `place` for a root of these read-only folders, none for the machine's own. The mount belongs
/// to the caller's mount namespace.
///
/// # Errors
/// The first step that failed.
fn lay(place: &Path, lowers: &[PathBuf], hidden: &[PathBuf]) -> io::Result<()> {
    mount_memory(place, "mode=755,size=16m")?;
    fs::create_dir(place.join("root"))?;
    let host = [PathBuf::from("/")];
    let below = if lowers.is_empty() { &host } else { lowers };
    let layer = layer_over(place, Path::new("/"));
    fs::create_dir(&layer)?;
    like(below.first().map_or(Path::new("/"), PathBuf::as_path), &layer)?;
    for (number, lower) in lowers.iter().enumerate() {
        symlink(lower, place.join(lower_name(number)))?;
    }
    for dir in ["proc", "sys", "dev", "run"] {
        place_over(&layer, below, dir)?;
    }
    mirror(&layer, below, Path::new(OUT))?;
    if let Some(etc) = mirror(&layer, below, Path::new("etc"))? {
        for name in OWN_FILES {
            symlink(Path::new(OWN).join(name), etc.join(name))?;
        }
    }
    for path in hidden {
        white_out(&layer, Path::new("/"), path)?;
    }
    for mount in if hidden.is_empty() { Vec::new() } else { submounts() } {
        let inside: Vec<&PathBuf> = hidden.iter().filter(|path| path.starts_with(&mount.target)).collect();
        if inside.is_empty() || !mount.is_dir {
            continue;
        }
        let layer = layer_over(place, &mount.target);
        fs::create_dir(&layer)?;
        like(&mount.target, &layer)?;
        for path in inside {
            white_out(&layer, &mount.target, path)?;
        }
    }
    Ok(())
}

/// Lays the ground for one process that looks at an ended task's files, in its own mount namespace.
///
/// # Errors
/// The first step that failed.
pub(crate) fn lay_here(state: &Path, lowers: &[PathBuf]) -> io::Result<()> {
    let hidden = if lowers.is_empty() { hidden(state, &[]) } else { Vec::new() };
    fs::create_dir_all(place(state))?;
    lay(&place(state), lowers, &hidden)
}

/// Mounts memory at `target`.
///
/// # Errors
/// Not permitted, or an option the kernel does not know.
pub(crate) fn mount_memory(target: &Path, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let text = CString::new(options).map_err(io::Error::other)?;
    Ok(rustix::mount::mount(c"tmpfs", target, c"tmpfs", flags, text.as_c_str())?)
}

/// Hides `path` in the layer `at` over the filesystem at `of`: a character device 0:0 is overlay's sign for "deleted".
pub(crate) fn white_out(at: &Path, of: &Path, path: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let Ok(below) = dir.strip_prefix(of) else { return Ok(()) };
    if !dir.is_dir() {
        return Ok(());
    }
    let Some(dir) = mirror(at, &[of.to_path_buf()], below)? else { return Ok(()) };
    match rustix::fs::mknodat(CWD, dir.join(name), FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => Ok(()),
        // Hidden twice, and nothing but that.
        Err(rustix::io::Errno::EXIST)
            if fs::symlink_metadata(dir.join(name))
                .is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives `copy` the owner and mode of `model`.
///
/// # Errors
/// One of them is not there.
pub(crate) fn like(model: &Path, copy: &Path) -> io::Result<()> {
    let meta = fs::metadata(model)?;
    hand_over(copy, (meta.uid(), meta.gid()))?;
    fs::set_permissions(copy, meta.permissions())
}

/// Gives a file or link to these ids. In a user namespace it stays whose it is when they are nobody's there.
///
/// # Errors
/// It is not there, or may not be given away.
pub(crate) fn hand_over(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    match std::os::unix::fs::lchown(path, Some(uid), Some(gid)) {
        Err(why) if why.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Makes the folder `name` in the layer `at`. Where a root has a link or a file of that name, it is out of sight:
/// something of the pool's own is mounted there.
fn place_over(at: &Path, below: &[PathBuf], name: &str) -> io::Result<()> {
    let own = at.join(name);
    fs::create_dir(&own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
    let model = below.iter().map(|root| root.join(name)).find(|path| path.symlink_metadata().is_ok());
    match model {
        Some(model) if model.symlink_metadata()?.is_dir() => like(&model, &own),
        _ => Ok(()),
    }
}

/// Makes `dir` and its parents inside the layer `at`, each with the owner and mode it has in `below`.
/// A parent that is a symlink in `below` ends the walk with `None`: a layer cannot follow it.
pub(crate) fn mirror(at: &Path, below: &[PathBuf], dir: &Path) -> io::Result<Option<PathBuf>> {
    let whole = at.join(dir.strip_prefix("/").unwrap_or(dir));
    if whole.is_dir() {
        return Ok(Some(whole));
    }
    let mut path = at.to_path_buf();
    let mut walked = PathBuf::new();
    for part in dir.components().filter(|part| matches!(part, Component::Normal(_))) {
        walked.push(part);
        path.push(part);
        let model = below.iter().map(|root| root.join(&walked)).find(|path| path.symlink_metadata().is_ok());
        if let Some(model) = &model
            && !model.symlink_metadata()?.is_dir()
        {
            return Ok(None);
        }
        if !path.exists() {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            if let Some(model) = &model {
                like(model, &path)?;
            }
        }
    }
    Ok(Some(path))
}

/// Credentials of the machine, its logs, and what other runtimes keep.
const FIXED: &[&str] = &[
    "/boot",
    "/etc/crypttab",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/wireguard",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/pond",
    "/var/lib/private",
    "/var/log",
    "/var/spool/cron",
];
/// The same of its users.
const IN_HOMES: &[&str] = &[
    ".aws",
    ".azure",
    ".bash_history",
    ".cache/huggingface/token",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/gcloud",
    ".config/gh",
    ".config/rclone",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/state/pond",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".python_history",
    ".ssh",
    ".vault-token",
];

/// Paths of the machine no task on the host's root may see: credentials, the pool's own state, what other
/// runtimes keep. A name that does not exist is hidden all the same when its folder does.
///
/// `homes`: those of who runs the pool, wherever they are. What a name leads to by links is hidden with it, and so is the same folder where
/// its filesystem is mounted a second time.
pub(crate) fn hidden(state: &Path, homes: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = FIXED.iter().map(PathBuf::from).collect();
    let keys = fs::read_dir(KEYS).into_iter().flatten().flatten();
    paths.extend(keys.map(|entry| entry.path()).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("ssh_host_"))
    }));
    let own: Vec<PathBuf> = homes.iter().filter_map(|home| fs::canonicalize(home).ok()).collect();
    let others = fs::read_dir(HOMES).into_iter().flatten().flatten().map(|entry| entry.path());
    for home in others.chain([PathBuf::from("/root")]).chain(own.clone()) {
        let names = IN_HOMES.iter().map(|name| home.join(name));
        // Never the home itself, or what it is in; of others nothing outside of their homes, for whom would they hide it from?
        let may = |led: &PathBuf| {
            if own.contains(&home) { !home.starts_with(led) } else { led.starts_with(&home) && *led != home }
        };
        paths.extend(names.clone().filter_map(|name| fs::canonicalize(name).ok()).filter(may));
        paths.extend(names);
    }
    paths.extend(fs::canonicalize(state));
    let elsewhere = Mounted::all();
    let again: Vec<PathBuf> = paths.iter().flat_map(|path| Mounted::again(&elsewhere, path)).collect();
    paths.extend(again);
    paths.sort();
    paths.dedup();
    // A path below a hidden one is hidden with it.
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}

/// A mount of this mount namespace, and what of its filesystem is there.
pub(crate) struct Mounted {
    /// Major and minor number of the filesystem.
    device: String,
    root: PathBuf,
    pub(crate) target: PathBuf,
    /// What sort of filesystem it is.
    pub(crate) kind: String,
}

impl Mounted {
    /// All of them, those that were mounted first at the head.
    pub(crate) fn all() -> Vec<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let read = |line: &str| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut parts = mount.split(' ').skip(2);
            Some(Self {
                device: parts.next()?.to_owned(),
                root: unescape(parts.next()?),
                target: unescape(parts.next()?),
                kind: filesystem.split(' ').next()?.to_owned(),
            })
        };
        table.lines().filter_map(read).collect()
    }

    /// Where else what is at this path is to be found.
    pub(crate) fn again(all: &[Self], path: &Path) -> Vec<PathBuf> {
        let over = all.iter().rev().filter(|mount| path.starts_with(&mount.target));
        let Some(own) = over.max_by_key(|mount| mount.target.as_os_str().len()) else { return Vec::new() };
        let Ok(below) = path.strip_prefix(&own.target) else { return Vec::new() };
        let inside = own.root.join(below);
        let others = all.iter().filter(|mount| mount.device == own.device);
        let places = others.filter_map(|mount| {
            let below = inside.strip_prefix(&mount.root).ok()?;
            // With nothing below it would end in a slash.
            Some(if below.as_os_str().is_empty() { mount.target.clone() } else { mount.target.join(below) })
        });
        places.filter(|place| place != path).collect()
    }
}

/// A filesystem of the machine below `/`.
pub(crate) struct Submount {
    pub(crate) target: PathBuf,
    pub(crate) is_dir: bool,
}

/// Kinds that a container has of its own, or that are no place for files.
pub(crate) const OWN_KINDS: &[&str] = &[
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "tmpfs",
    "ramfs",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "fusectl",
    "pstore",
    "bpf",
    "autofs",
    "binfmt_misc",
    "hugetlbfs",
    "rpc_pipefs",
    "nsfs",
    "efivarfs",
    "overlay",
];

/// Undoes `\040` and the like in the mount table.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let code = rest.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                out.push(byte);
                bytes = &rest[3..];
            }
            None => {
                out.push(first);
                bytes = rest;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// The filesystems of this mount namespace that a container on the machine's root sees too, parents first.
pub(crate) fn submounts() -> Vec<Submount> {
    let special = ["/proc", "/sys", "/dev", "/run", "/"].map(Path::new);
    let mut found: Vec<Submount> = Vec::new();
    for Mounted { target, kind, .. } in Mounted::all() {
        let below = |dir: &Path| target.starts_with(dir) && (dir != Path::new("/") || target == dir);
        let skip = OWN_KINDS.contains(&kind.as_str())
            || special.iter().any(|dir| below(dir))
            || found.iter().any(|known| known.target == target);
        if !skip && let Ok(meta) = fs::symlink_metadata(&target) {
            found.push(Submount { is_dir: meta.is_dir(), target });
        }
    }
    found.sort_by(|a, b| a.target.cmp(&b.target));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(device: &str, root: &str, target: &str) -> Mounted {
        Mounted {
            device: device.to_owned(),
            root: root.into(),
            target: target.into(),
            kind: "ext4".to_owned(),
        }
    }

    #[test]
    fn a_filesystem_that_is_mounted_twice_shows_a_folder_twice() {
        let all = [
            mounted("8:1", "/", "/"),
            mounted("8:2", "/", "/home"),
            mounted("8:2", "/", "/srv/again"),
            mounted("8:2", "/u", "/mnt/u"),
            mounted("8:2", "/other", "/mnt/other"),
            mounted("8:3", "/", "/home/u/disk"),
        ];
        let again = |path: &str| Mounted::again(&all, Path::new(path));
        assert_eq!(again("/home/u/st"), ["/srv/again/u/st", "/mnt/u/st"].map(PathBuf::from));
        assert_eq!(again("/mnt/u/st"), ["/home/u/st", "/srv/again/u/st"].map(PathBuf::from));
        assert_eq!(again("/home/u"), ["/srv/again/u", "/mnt/u"].map(PathBuf::from));
        assert!(again("/etc/shadow").is_empty() && again("/home/u/disk/x").is_empty());
    }

    #[test]
    fn no_two_paths_have_a_name_in_common() {
        let paths = ["/a/b", "/a%b", "/a=25b", "/a=3db", "/a=b", "/a%/b", "/a/%b", "/a%%b", "/a//=25b"];
        let names: std::collections::BTreeSet<OsString> =
            paths.iter().map(|path| escaped(Path::new(path))).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
        assert_eq!((escaped(Path::new("/")), escaped(Path::new("/home/u"))), ("".into(), "%home%u".into()));
    }
}
