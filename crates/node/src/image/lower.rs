//! The layers below, seen as overlayfs will show them: whiteouts hide, opaque folders cut off.

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// Symbolic links followed before a path counts as a loop; the kernel's own bound.
pub(super) const MAX_LINKS: u32 = 40;

/// One part of a path: neither empty nor `.`, without a slash.
pub(super) type Part = Vec<u8>;
/// A path inside an image, from its root.
pub(super) type Path = Vec<Part>;

/// Which marks overlayfs reads: those of the machine's root user, or of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    Trusted,
    User,
}

impl Marks {
    pub(super) const fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Unpacked layers, the topmost first.
pub(super) struct Lowers {
    layers: Vec<OwnedFd>,
    marks: Marks,
}

/// A path that was found, and in which layer.
pub(super) struct Hit {
    layer: usize,
    pub stat: Stat,
}

impl Lowers {
    /// Opens layer folders, topmost first.
    pub(super) fn open<'a>(
        folders: impl IntoIterator<Item = &'a std::path::Path>,
        marks: Marks,
    ) -> Result<Self, io::Error> {
        let layers = folders.into_iter().map(open_root).collect::<Result<_, _>>()?;
        Ok(Self { layers, marks })
    }

    /// What is at a path whose parents hold no symbolic link. `Ok(None)`: nothing.
    pub(super) fn lookup(&self, path: &[Part]) -> Result<Option<Hit>, Errno> {
        for (layer, root) in self.layers.iter().enumerate() {
            match self.lookup_in(root, path)? {
                Seen::At(stat) => return Ok(Some(Hit { layer, stat })),
                Seen::Hidden => return Ok(None),
                Seen::Nothing => {}
            }
        }
        Ok(None)
    }

    /// Proof of termination: one pass over the components.
    fn lookup_in(&self, root: &OwnedFd, path: &[Part]) -> Result<Seen, Errno> {
        let mut folder = None::<OwnedFd>;
        let mut cut_off = false;
        for (at, part) in path.iter().enumerate() {
            let here = folder.as_ref().unwrap_or(root);
            let missing = if cut_off { Seen::Hidden } else { Seen::Nothing };
            let stat = match fs::statat(here, part.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => return Ok(missing),
                Err(why) => return Err(why),
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if is_whiteout(&stat) {
                return Ok(Seen::Hidden);
            }
            if at + 1 == path.len() {
                return Ok(Seen::At(stat));
            }
            if kind != FileType::Directory {
                return Ok(Seen::Hidden);
            }
            let next = open_folder(here, part)?;
            cut_off |= is_opaque(&next, self.marks);
            folder = Some(next);
        }
        Ok(Seen::Nothing)
    }

    /// Opens a regular file that [`Self::lookup`] found.
    pub(super) fn open_file(&self, hit: &Hit, path: &[Part]) -> Result<File, Errno> {
        let joined = path.join(&b'/');
        let file = fs::openat2(
            &self.layers[hit.layer],
            joined,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        Ok(file.into())
    }

    /// The target of a symbolic link that [`Self::lookup`] found.
    pub(super) fn read_link(&self, hit: &Hit, path: &[Part]) -> Result<Vec<u8>, Errno> {
        let link = fs::openat2(
            &self.layers[hit.layer],
            path.join(&b'/'),
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::BENEATH,
        )?;
        Ok(fs::readlinkat(&link, "", Vec::new())?.into_bytes())
    }

    /// A whole small file, following symbolic links inside the image. `None`: not there, not a file, or longer than `limit` bytes.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Errno> {
        let mut queue: VecDeque<Part> = parts(path.as_bytes()).collect();
        let mut done: Path = Vec::new();
        let mut links = 0;
        while let Some(part) = queue.pop_front() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            let Some(hit) = self.lookup(&done)? else { return Ok(None) };
            match FileType::from_raw_mode(hit.stat.st_mode) {
                FileType::Symlink if links < MAX_LINKS => {
                    links += 1;
                    let target = self.read_link(&hit, &done)?;
                    done.pop();
                    if target.starts_with(b"/") {
                        done.clear();
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        queue.push_front(part);
                    }
                }
                FileType::Directory => {}
                FileType::RegularFile if queue.is_empty() => {
                    let mut bytes = Vec::new();
                    let read = self.open_file(&hit, &done)?.take(limit + 1).read_to_end(&mut bytes);
                    return Ok(read.is_ok_and(|length| length as u64 <= limit).then_some(bytes));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

enum Seen {
    At(Stat),
    Hidden,
    Nothing,
}

/// The parts of a path that mean something: neither empty nor `.`.
pub(super) fn parts(path: &[u8]) -> impl Iterator<Item = Part> + '_ {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

pub(super) fn open_root(folder: &std::path::Path) -> Result<OwnedFd, io::Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(fs::open(folder, flags, Mode::empty())?)
}

/// Opens a folder by a single name, never through a symbolic link.
pub(super) fn open_folder(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Removes a folder and what is in it, never through a symbolic link. A path has at most 2048 parts, and so has the recursion.
pub(super) fn remove_tree(parent: &OwnedFd, name: &[u8], depth: u32) -> Result<(), Errno> {
    if depth > 2048 {
        return Err(Errno::LOOP);
    }
    let folder = open_folder(parent, name)?;
    for item in fs::Dir::read_from(&folder)? {
        let item = item?;
        let inner = item.file_name().to_bytes();
        if matches!(inner, b"." | b"..") {
            continue;
        }
        let stat = fs::statat(&folder, inner, AtFlags::SYMLINK_NOFOLLOW)?;
        if is_folder(&stat) {
            remove_tree(&folder, inner, depth + 1)?;
        } else {
            fs::unlinkat(&folder, inner, AtFlags::empty())?;
        }
    }
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Overlayfs' sign that a name is gone: a character device 0/0.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn is_opaque(folder: impl AsFd, marks: Marks) -> bool {
    let mut value = [0_u8; 4];
    matches!(fs::fgetxattr(folder, marks.opaque(), &mut value[..]), Ok(1)) && value[0] == b'y'
}
