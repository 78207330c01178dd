//! One layer's tar stream onto disk, in the form overlayfs reads.
//!
//! Nothing outside the given folder can be touched, whatever the stream says: every name is opened with
//! `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)` relative to the folder. Symbolic links among the parents
//! of an entry are resolved here, by name, inside the image, over the layers below; the kernel then only sees
//! paths without links, and refuses what should slip through.
//!
//! A layer stands alone on disk, though its tar stream may lean on the layers below: parents without an entry
//! of their own, parents that are links below, hard links to files below. What leans is copied and
//! [`Unpacked::leans`] says so; such a layer is kept for this stack of layers only.

use super::error::UnpackError;
use super::lower::{
    Hit, Lowers, MAX_LINKS, Marks, Part, Path, is_folder, is_whiteout, open_folder, parts, remove_tree,
};
use super::tarball::{Entry, Kind, Tarball};
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What one layer may unpack to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub bytes: u64,
    pub entries: u64,
}

/// What a layer became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub entries: u64,
    pub bytes: u64,
    /// Device files of the stream, which are not made: devices come from grants.
    pub devices_left_out: u64,
    /// Whether it fits only over the layers it was unpacked over.
    pub leans: bool,
}

/// How to unpack.
pub(super) struct Unpacker<'a> {
    pub lowers: &'a Lowers,
    pub limits: Limits,
    pub marks: Marks,
    /// Whether owners can be set (root), or everything belongs to this process.
    pub owners: bool,
    pub cancelled: &'a AtomicBool,
}

/// Owner, mode and time of a folder, put on at the end: its children change them.
struct FolderMeta {
    mode: u32,
    mtime_s: i64,
}

/// A parent as an entry names it, the path that means without links, and the open folder.
type Parent = (Path, Path, OwnedFd);

struct Tree<'a> {
    how: &'a Unpacker<'a>,
    root: OwnedFd,
    /// The parent opened last: entries of one folder follow each other.
    last_parent: Option<Parent>,
    folders: BTreeMap<Path, FolderMeta>,
    /// Folders of this layer under which nothing of the layers below shows.
    opaque: BTreeSet<Path>,
    result: Unpacked,
}

/// A place to put something: the open parent, its path without links, the name in it.
struct Place {
    folder: OwnedFd,
    path: Path,
    name: Part,
}

impl Place {
    fn full(&self) -> Path {
        let mut full = self.path.clone();
        full.push(self.name.clone());
        full
    }
}

impl Unpacker<'_> {
    /// Unpacks a tar stream into `root`, an empty folder that nobody else uses.
    ///
    /// # Errors
    /// The stream is hostile, broken or too large, or the disk fails. What was unpacked so far stays in `root`.
    pub(super) fn unpack(&self, stream: impl Read, root: OwnedFd) -> Result<Unpacked, UnpackError> {
        let mut tarball = Tarball::new(stream);
        let mut tree = Tree {
            how: self,
            root,
            last_parent: None,
            folders: BTreeMap::new(),
            opaque: BTreeSet::new(),
            result: Unpacked::default(),
        };
        while let Some(entry) = tarball.next()? {
            self.admit(&entry, &mut tree.result)?;
            tree.place(&entry, &mut tarball)?;
        }
        tree.finish()?;
        drain(tarball.into_inner(), self.limits.bytes)?;
        Ok(tree.result)
    }

    fn admit(&self, entry: &Entry, so_far: &mut Unpacked) -> Result<(), UnpackError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(UnpackError::Cancelled);
        }
        so_far.entries += 1;
        if so_far.entries > self.limits.entries {
            return Err(UnpackError::TooLarge { limit: self.limits.entries, what: "entries" });
        }
        so_far.bytes = so_far.bytes.saturating_add(entry.size);
        if so_far.bytes > self.limits.bytes {
            return Err(UnpackError::TooLarge { limit: self.limits.bytes, what: "bytes" });
        }
        Ok(())
    }
}

/// Reads what follows the end mark, so that digests cover the whole; bounded as the rest.
fn drain(mut stream: impl Read, limit: u64) -> Result<(), UnpackError> {
    let copied = io::copy(&mut (&mut stream).take(limit), &mut io::sink()).map_err(|source| {
        UnpackError::Io { action: "read", path: "the end of the layer".to_owned(), source }
    })?;
    if copied >= limit && limit > 0 {
        return Err(UnpackError::TooLarge { limit, what: "bytes after its end mark" });
    }
    Ok(())
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}

/// The parts of an entry's path; refuses those that climb or that no file system takes.
fn entry_path(path: &[u8]) -> Result<Path, UnpackError> {
    let bad = |why| UnpackError::BadPath { path: shown(path), why };
    if path.len() > 4096 {
        return Err(bad("longer than 4096 bytes"));
    }
    if path.contains(&0) {
        return Err(bad("it holds a zero byte"));
    }
    let parts: Path = parts(path).collect();
    if parts.iter().any(|part| part == b"..") {
        return Err(UnpackError::Escapes { path: shown(path) });
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err(bad("a part is longer than 255 bytes"));
    }
    Ok(parts)
}

impl Tree<'_> {
    fn place(&mut self, entry: &Entry, body: &mut impl Read) -> Result<(), UnpackError> {
        let mut path = entry_path(&entry.path)?;
        let Some(name) = path.pop() else {
            if entry.kind == Kind::Folder {
                self.own_at(&entry.path, None, entry)?;
                self.remember(Vec::new(), entry);
            }
            return Ok(());
        };
        if matches!(entry.kind, Kind::Other) {
            return Ok(());
        }
        if entry.kind == Kind::Device {
            self.result.devices_left_out += 1;
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(entry, &path, hidden);
        }
        let place = self.parent(&entry.path, &path, name)?;
        match entry.kind {
            Kind::Folder => self.folder(&place, entry),
            Kind::File => self.file(&place, entry, body),
            Kind::HardLink => self.hard_link(&place, entry),
            Kind::Symlink | Kind::Fifo => self.special(&place, entry),
            Kind::Device | Kind::Other => Ok(()),
        }
    }

    // ---- entries ----

    fn folder(&mut self, place: &Place, entry: &Entry) -> Result<(), UnpackError> {
        let io = |why| io_error("make folder", &entry.path, why);
        let present = self.present(place).map_err(io)?;
        if !present.is_some_and(|stat| is_folder(&stat)) {
            let hides = present.is_some_and(|stat| is_whiteout(&stat));
            self.clear(place, present.as_ref()).map_err(io)?;
            fs::mkdirat(&place.folder, place.name.as_slice(), Mode::from_raw_mode(0o755)).map_err(io)?;
            if hides {
                self.make_opaque(place, &entry.path)?;
            }
        }
        self.own_at(&entry.path, Some(place), entry)?;
        self.remember(place.full(), entry);
        if !entry.xattrs.is_empty() {
            let folder = open_folder(&place.folder, &place.name).map_err(io)?;
            self.set_xattrs(&folder, entry)?;
        }
        Ok(())
    }

    fn file(&mut self, place: &Place, entry: &Entry, body: &mut impl Read) -> Result<(), UnpackError> {
        let io = |why| io_error("create", &entry.path, why);
        let present = self.present(place).map_err(io)?;
        self.clear(place, present.as_ref()).map_err(io)?;
        let mut file = self.create(place).map_err(io)?;
        self.copy(body, &mut file, entry)?;
        self.set_meta(&file, entry)
    }

    fn create(&self, place: &Place) -> Result<File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(fs::openat(&place.folder, place.name.as_slice(), flags, mode)?.into())
    }

    fn copy(&self, from: &mut impl Read, to: &mut File, entry: &Entry) -> Result<(), UnpackError> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            if self.how.cancelled.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled);
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(io_error("read", &entry.path, why)),
            };
            to.write_all(&buffer[..read]).map_err(|why| io_error("write", &entry.path, why))?;
        }
    }

    fn special(&mut self, place: &Place, entry: &Entry) -> Result<(), UnpackError> {
        let io = |why| io_error("create", &entry.path, why);
        let present = self.present(place).map_err(io)?;
        self.clear(place, present.as_ref()).map_err(io)?;
        let name = place.name.as_slice();
        if entry.kind == Kind::Symlink {
            fs::symlinkat(entry.link.as_slice(), &place.folder, name).map_err(io)?;
        } else {
            fs::mknodat(&place.folder, name, FileType::Fifo, Mode::from_raw_mode(entry.mode), 0)
                .map_err(io)?;
        }
        self.own_at(&entry.path, Some(place), entry)?;
        if entry.kind == Kind::Fifo {
            fs::chmodat(&place.folder, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(io)?;
        }
        fs::utimensat(&place.folder, name, &times(entry.mtime_s), AtFlags::SYMLINK_NOFOLLOW).map_err(io)
    }

    fn hard_link(&mut self, place: &Place, entry: &Entry) -> Result<(), UnpackError> {
        let io = |why| io_error("link", &entry.path, why);
        let no_target = || UnpackError::NoLinkTarget { path: shown(&entry.path), target: shown(&entry.link) };
        let mut path = entry_path(&entry.link)?;
        let name = path.pop().ok_or_else(no_target)?;
        let target = self.parent(&entry.path, &path, name)?;
        if target.full() == place.full() {
            return Ok(());
        }
        match self.present(&target).map_err(io)? {
            Some(stat) if is_folder(&stat) || is_whiteout(&stat) => Err(no_target()),
            Some(_) => {
                let present = self.present(place).map_err(io)?;
                self.clear(place, present.as_ref()).map_err(io)?;
                let (from, to) = (target.name.as_slice(), place.name.as_slice());
                fs::linkat(&target.folder, from, &place.folder, to, AtFlags::empty()).map_err(io)
            }
            None => {
                let full = target.full();
                let hit = self.below(&full).map_err(io)?.ok_or_else(no_target)?;
                if FileType::from_raw_mode(hit.stat.st_mode) != FileType::RegularFile {
                    return Err(no_target());
                }
                self.copy_up(place, entry, &hit, &full)
            }
        }
    }

    /// A hard link to a file of a layer below becomes a copy: overlayfs would break the link as well.
    fn copy_up(&mut self, place: &Place, entry: &Entry, hit: &Hit, from: &[Part]) -> Result<(), UnpackError> {
        let io = |why| io_error("copy", &entry.path, why);
        self.result.leans = true;
        let size = u64::try_from(hit.stat.st_size).unwrap_or(0);
        let copied = Entry {
            kind: Kind::File,
            size,
            mode: hit.stat.st_mode & 0o7777,
            uid: u64::from(hit.stat.st_uid),
            gid: u64::from(hit.stat.st_gid),
            mtime_s: hit.stat.st_mtime,
            ..entry.clone()
        };
        self.how.admit(&copied, &mut self.result)?;
        let mut source = self.how.lowers.open_file(hit, from).map_err(io)?;
        self.file(place, &copied, &mut source)
    }

    fn whiteout(&mut self, entry: &Entry, path: &[Part], hidden: &[u8]) -> Result<(), UnpackError> {
        let io = |why| io_error("hide", &entry.path, why);
        if hidden == b".wh..opq" {
            let place = self.parent(&entry.path, path, b".".to_vec())?;
            return self.make_opaque_at(place.path, &entry.path);
        }
        if hidden.starts_with(b".wh.") {
            return Ok(()); // bookkeeping of aufs
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Escapes { path: shown(&entry.path) });
        }
        let place = self.parent(&entry.path, path, hidden.to_vec())?;
        match self.present(&place).map_err(io)? {
            // a whiteout speaks of the layers below; what this layer brings itself stays
            Some(stat) if is_folder(&stat) => self.make_opaque(&place, &entry.path),
            Some(_) => Ok(()),
            None => {
                fs::mknodat(&place.folder, place.name.as_slice(), FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(io)
            }
        }
    }

    fn make_opaque(&mut self, place: &Place, shown_path: &[u8]) -> Result<(), UnpackError> {
        self.make_opaque_at(place.full(), shown_path)
    }

    fn make_opaque_at(&mut self, path: Path, shown_path: &[u8]) -> Result<(), UnpackError> {
        let io = |why| io_error("mark as opaque", shown_path, why);
        let folder = self.open_readable(&path).map_err(io)?;
        fs::fsetxattr(&folder, self.how.marks.opaque(), b"y", XattrFlags::empty()).map_err(io)?;
        self.opaque.insert(path);
        Ok(())
    }

    // ---- finding the parent ----

    /// Opens the parent of an entry, made where it is missing; symbolic links are followed inside the image.
    fn parent(&mut self, entry: &[u8], path: &[Part], name: Part) -> Result<Place, UnpackError> {
        let io = |why| io_error("open the folder of", entry, why);
        if let Some((asked, resolved, folder)) = &self.last_parent
            && asked == path
        {
            let folder = folder.try_clone().map_err(|why| io_error("open the folder of", entry, why))?;
            return Ok(Place { folder, path: resolved.clone(), name });
        }
        let (resolved, folder) = match self.open(path) {
            Ok(folder) => (path.to_vec(), folder),
            Err(Errno::NOSYS) => return Err(UnpackError::OldKernel),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                let resolved = self.resolve(entry, path)?;
                let folder = self.open(&resolved).map_err(io)?;
                (resolved, folder)
            }
            Err(why) => return Err(io(why)),
        };
        let kept = folder.try_clone().map_err(|why| io_error("open the folder of", entry, why))?;
        self.last_parent = Some((path.to_vec(), resolved.clone(), kept));
        Ok(Place { folder, path: resolved, name })
    }

    fn open(&self, path: &[Part]) -> Result<OwnedFd, Errno> {
        self.open_with(path, OFlags::PATH)
    }

    fn open_readable(&self, path: &[Part]) -> Result<OwnedFd, Errno> {
        self.open_with(path, OFlags::RDONLY)
    }

    fn open_with(&self, path: &[Part], access: OFlags) -> Result<OwnedFd, Errno> {
        let joined = if path.is_empty() { b".".to_vec() } else { path.join(&b'/') };
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        fs::openat2(&self.root, joined, flags, Mode::empty(), inside)
    }

    /// The path without links that `path` means in this image; its folders are made in this layer.
    ///
    /// Terminates: each round takes one part off the queue, and parts are added by at most [`MAX_LINKS`] links.
    fn resolve(&mut self, entry: &[u8], path: &[Part]) -> Result<Path, UnpackError> {
        let io = |why| io_error("open the folder of", entry, why);
        let not_a_folder = || UnpackError::NotAFolder { path: shown(entry) };
        let mut queue: VecDeque<Part> = path.iter().cloned().collect();
        let mut done: Path = Vec::new();
        let mut links = 0;
        while let Some(part) = queue.pop_front() {
            if part == b".." {
                done.pop();
                continue;
            }
            let folder = self.open(&done).map_err(io)?;
            let place = Place { folder, path: done.clone(), name: part };
            let target = match self.step(&place).map_err(io)? {
                Step::Folder => {
                    done.push(place.name);
                    continue;
                }
                Step::Link(target) if links < MAX_LINKS => target,
                Step::Link(_) | Step::Other => return Err(not_a_folder()),
            };
            links += 1;
            if target.starts_with(b"/") {
                done.clear();
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                queue.push_front(part);
            }
        }
        Ok(done)
    }

    fn step(&mut self, place: &Place) -> Result<Step, Errno> {
        if let Some(stat) = self.present(place)? {
            return match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Ok(Step::Folder),
                FileType::Symlink => {
                    let target = fs::readlinkat(&place.folder, place.name.as_slice(), Vec::new())?;
                    Ok(Step::Link(target.into_bytes()))
                }
                _ if is_whiteout(&stat) => {
                    self.clear(place, Some(&stat))?;
                    self.opaque.insert(place.full());
                    self.make_parent(place, None)?;
                    let folder = open_folder(&place.folder, &place.name)?;
                    fs::fsetxattr(&folder, self.how.marks.opaque(), b"y", XattrFlags::empty())?;
                    Ok(Step::Folder)
                }
                _ => Ok(Step::Other),
            };
        }
        self.result.leans = true;
        let full = place.full();
        let Some(hit) = self.below(&full)? else {
            self.make_parent(place, None)?;
            return Ok(Step::Folder);
        };
        match FileType::from_raw_mode(hit.stat.st_mode) {
            FileType::Directory => {
                self.make_parent(place, Some(&hit.stat))?;
                Ok(Step::Folder)
            }
            FileType::Symlink => Ok(Step::Link(self.how.lowers.read_link(&hit, &full)?)),
            _ => Ok(Step::Other),
        }
    }

    /// Makes a folder that has no entry of its own, like the one below when there is one.
    fn make_parent(&mut self, place: &Place, like: Option<&Stat>) -> Result<(), Errno> {
        let name = place.name.as_slice();
        fs::mkdirat(&place.folder, name, Mode::from_raw_mode(0o755))?;
        let mut mode = 0o755;
        if let Some(stat) = like {
            mode = stat.st_mode & 0o7777;
            if self.how.owners {
                let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                fs::chownat(&place.folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        let mtime_s = like.map_or(0, |stat| stat.st_mtime);
        self.folders.insert(place.full(), FolderMeta { mode, mtime_s });
        Ok(())
    }

    /// What the layers below show at a path.
    fn below(&self, path: &[Part]) -> Result<Option<Hit>, Errno> {
        let cut_off = (0..path.len()).any(|length| self.opaque.contains(&path[..length]));
        if cut_off { Ok(None) } else { self.how.lowers.lookup(path) }
    }

    fn present(&self, place: &Place) -> Result<Option<Stat>, Errno> {
        match fs::statat(&place.folder, place.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Makes room: a later entry replaces an earlier one.
    fn clear(&mut self, place: &Place, present: Option<&Stat>) -> Result<(), Errno> {
        match present {
            None => Ok(()),
            Some(stat) if is_folder(stat) => {
                self.last_parent = None;
                let full = place.full();
                self.folders.retain(|path, _| !path.starts_with(&full));
                self.opaque.retain(|path| !path.starts_with(&full));
                remove_tree(&place.folder, &place.name, 0)
            }
            Some(_) => fs::unlinkat(&place.folder, place.name.as_slice(), AtFlags::empty()),
        }
    }

    // ---- owners, modes, times ----

    fn owner(&self, entry: &Entry) -> Result<(Uid, Gid), UnpackError> {
        let narrow = |id: u64| match u32::try_from(id) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(UnpackError::BadOwner { path: shown(&entry.path), id }),
        };
        Ok((Uid::from_raw(narrow(entry.uid)?), Gid::from_raw(narrow(entry.gid)?)))
    }

    /// Sets the owner of a name, or of the root folder.
    fn own_at(&self, shown_path: &[u8], place: Option<&Place>, entry: &Entry) -> Result<(), UnpackError> {
        let (user, group) = self.owner(entry)?;
        if !self.how.owners {
            return Ok(());
        }
        match place {
            Some(place) => {
                let name = place.name.as_slice();
                fs::chownat(&place.folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            }
            None => fs::fchown(&self.root, Some(user), Some(group)),
        }
        .map_err(|why| io_error("set the owner of", shown_path, why))
    }

    fn set_meta(&self, file: &File, entry: &Entry) -> Result<(), UnpackError> {
        let io = |why| io_error("set owner and mode of", &entry.path, why);
        let (user, group) = self.owner(entry)?;
        if self.how.owners {
            fs::fchown(file, Some(user), Some(group)).map_err(io)?;
        }
        self.set_xattrs(file, entry)?;
        fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(io)?;
        fs::futimens(file, &times(entry.mtime_s)).map_err(io)
    }

    /// Keeps the attributes that belong to an image; those of overlayfs and of security modules do not.
    fn set_xattrs(&self, file: impl AsFd, entry: &Entry) -> Result<(), UnpackError> {
        for (name, value) in &entry.xattrs {
            let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
            let capability = name == b"security.capability" && self.how.owners;
            if name.contains(&0) || !(user || capability) {
                continue;
            }
            match fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {}
                Err(why) => return Err(io_error("set an attribute of", &entry.path, why)),
            }
        }
        Ok(())
    }

    fn remember(&mut self, path: Path, entry: &Entry) {
        self.folders.insert(path, FolderMeta { mode: entry.mode, mtime_s: entry.mtime_s });
    }

    /// Puts modes and times on folders, deepest first.
    fn finish(&mut self) -> Result<(), UnpackError> {
        for (path, meta) in std::mem::take(&mut self.folders).iter().rev() {
            let joined = path.join(&b'/');
            let io = |why| io_error("set mode and time of", &joined, why);
            let folder = self.open_readable(path).map_err(io)?;
            fs::futimens(&folder, &times(meta.mtime_s)).map_err(io)?;
            fs::fchmod(&folder, Mode::from_raw_mode(meta.mode)).map_err(io)?;
        }
        Ok(())
    }
}

enum Step {
    Folder,
    Link(Vec<u8>),
    Other,
}

fn times(mtime_s: i64) -> Timestamps {
    let at = Timespec { tv_sec: mtime_s, tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}

fn io_error<E: Into<io::Error>>(action: &'static str, path: &[u8], source: E) -> UnpackError {
    UnpackError::Io { action, path: shown(path), source: source.into() }
}
