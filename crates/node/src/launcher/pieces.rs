//! The machine's own root in a user namespace, put together of its folders.
//!
//! ```text
//! <layer>/frame    /         the task's own: names of what is mounted, links, and what the task writes there
//! overlays         /etc /usr /home ...   each over the machine's folder, with its own upper layer <layer>/%usr, ...
//! ```
//! The kernel takes no folder for an overlay there that has another filesystem below it, since who took that away would see
//! what it covers. A folder with one is made anew, and what is in it put in one by one.
//!
//! What is not the pool's user's is nobody's inside, and a layer cannot take it in: nobody can be given a file. So the folders on
//! the way to where the task works are in the ground's layer too, as the user's own.

use super::root::{self, Result, Step};
use super::spec::{Container, LaunchSpec, OUT};
use crate::folder::Folder;
use crate::ground;
use crate::tolerate;
use rustix::fs::Access;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// One entry of the machine's root, or of a folder of it that is made anew.
enum Piece {
    /// A folder that is made, with the mode it has.
    Made(PathBuf),
    /// One that nobody may look into here: made, empty, the task's own.
    Closed(PathBuf),
    /// A folder that gets an overlay.
    Whole(PathBuf),
    File(PathBuf),
    Link(PathBuf),
    /// A file that each task has of its own.
    Own(PathBuf),
}

impl Piece {
    fn path(&self) -> &Path {
        match self {
            Self::Made(path)
            | Self::Closed(path)
            | Self::Whole(path)
            | Self::File(path)
            | Self::Link(path)
            | Self::Own(path) => path,
        }
    }
}

/// Folders of a root in which every container has something of its own.
const BARE: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];
/// Folders that everybody may write to, below others that are root's.
const OPEN: [&str; 1] = ["/var/tmp"];

/// What a root is put together from.
struct Parts {
    /// The pool's own folder, without links.
    state: PathBuf,
    /// Where the ground is.
    place: PathBuf,
    /// The task's layer.
    writable: PathBuf,
    mounts: Vec<(PathBuf, String)>,
    hidden: Vec<PathBuf>,
    wanted: Vec<PathBuf>,
}

/// A path without links as far as it is there, and what is to be made below that; none when that leads up again.
fn real(path: &Path) -> Option<PathBuf> {
    let (there, below) = path
        .ancestors()
        .find_map(|above| Some((fs::canonicalize(above).ok()?, path.strip_prefix(above).ok()?)))?;
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| there.join(below))
}

/// Folders that the task must be able to write to, or to make something in, as far as the machine lets its user: none of what is
/// hidden.
fn wanted(spec: &LaunchSpec, container: &Container, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let home = spec.env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    let targets = container.volumes.iter().chain(&container.own).map(|volume| Path::new(&volume.target));
    let above = targets.filter_map(Path::parent).map(Path::to_owned);
    let fixed = OPEN.iter().chain(&[OUT, spec.workdir.as_str()]).map(PathBuf::from).collect::<Vec<_>>();
    let all = home.into_iter().chain(above).chain(fixed).filter(|path| path.is_absolute());
    all.filter_map(|path| real(&path))
        .filter(|path| !hidden.iter().any(|hidden| path.starts_with(hidden)))
        .collect()
}

impl Parts {
    /// The entries of a folder that are pieces of the root.
    fn pieces(&self, dir: &Path, pieces: &mut Vec<Piece>) {
        for path in self.entries(dir, true) {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let kind = meta.file_type();
            let own = dir == Path::new("/etc") && ground::OWN_FILES.iter().any(|name| path.ends_with(name));
            if own {
                pieces.push(Piece::Own(path));
            } else if kind.is_symlink() {
                pieces.push(Piece::Link(path));
            } else if kind.is_file() {
                pieces.push(Piece::File(path));
            } else if kind.is_dir() {
                self.folder(path, pieces);
            }
        }
    }

    /// What is in a folder and not hidden. Of one that may be entered and not listed, or whose list (`all`) is nobody's business, the
    /// names that lead to mounts and to where the task works.
    fn entries(&self, dir: &Path, all: bool) -> BTreeSet<PathBuf> {
        let listed = fs::read_dir(dir).ok().filter(|_| all);
        let mut names: BTreeSet<PathBuf> = match listed {
            Some(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            None => {
                let known = self.mounts.iter().map(|(target, _)| target).chain(&self.wanted);
                let below = known.filter_map(|path| path.strip_prefix(dir).ok()?.components().next());
                below.map(|first| dir.join(first)).collect()
            }
        };
        names.retain(|path| !self.hidden.contains(path));
        names
    }

    /// Whether another filesystem is mounted somewhere below.
    fn is_above_mount(&self, path: &Path) -> bool {
        self.mounts.iter().any(|(target, _)| target != path && target.starts_with(path))
    }

    fn folder(&self, path: PathBuf, pieces: &mut Vec<Piece>) {
        let bare = BARE.iter().any(|dir| path == Path::new(dir));
        // What was mounted there last is what is seen.
        let kind =
            self.mounts.iter().rev().find(|(target, _)| *target == path).map(|(_, kind)| kind.as_str());
        let is_place =
            |kind: &str| ["tmpfs", "overlay"].contains(&kind) || !ground::OWN_KINDS.contains(&kind);
        if bare {
            pieces.push(Piece::Made(path));
        } else if !kind.is_none_or(is_place) {
            // As over a root that is one overlay: an empty folder, but for what is mounted below.
            let below = self.entries(&path, false);
            pieces.push(Piece::Made(path));
            for inside in below.into_iter().filter(|inside| inside.is_dir()) {
                self.folder(inside, pieces);
            }
        } else if rustix::fs::access(&path, Access::EXEC_OK).is_err() {
            pieces.push(Piece::Closed(path));
        } else if self.is_above_mount(&path) {
            pieces.push(Piece::Made(path.clone()));
            self.pieces(&path, pieces);
        } else {
            pieces.push(Piece::Whole(path));
        }
    }

    /// Puts pieces into the root, the outer ones first.
    fn put_all(&self, pieces: &[Piece], root: &Path) -> Result<()> {
        let mut skipped: Vec<&Path> = Vec::new();
        for piece in pieces {
            let path = piece.path();
            if !skipped.iter().any(|above| path.starts_with(above)) && !self.put(piece, root)? {
                skipped.push(path);
            }
        }
        Ok(())
    }

    /// Puts a piece in; false when the task has something else of that name.
    fn put(&self, piece: &Piece, root: &Path) -> Result<bool> {
        let path = piece.path();
        let inside = root.join(path.strip_prefix("/").unwrap_or(path));
        let there = fs::symlink_metadata(&inside).ok();
        let link = matches!(piece, Piece::Link(_) | Piece::Own(_));
        let folder = matches!(piece, Piece::Made(_) | Piece::Closed(_) | Piece::Whole(_));
        match &there {
            Some(_) if link => return Ok(false),
            Some(there) if folder != there.is_dir() || there.is_symlink() => return Ok(false),
            Some(_) => {}
            None if folder => fs::create_dir(&inside).step("make", &inside)?,
            None => {}
        }
        match piece {
            Piece::Made(_) if there.is_none() => self.make(path, &inside)?,
            Piece::Closed(_) if there.is_none() => {
                fs::set_permissions(&inside, fs::Permissions::from_mode(0o700)).step("open", &inside)?;
            }
            Piece::Made(_) | Piece::Closed(_) => {}
            Piece::Whole(_) => self.whole(path, &inside, root)?,
            Piece::File(_) => {
                if there.is_none() {
                    File::create(&inside).step("make", &inside)?;
                }
                root::put(&root::take(path, &self.state)?, &inside, true)?;
            }
            Piece::Link(_) => {
                let to = fs::read_link(path).step("read", path)?;
                symlink(to, &inside).step("make", &inside)?;
            }
            Piece::Own(_) => {
                let name = path.file_name().unwrap_or_default();
                symlink(Path::new(ground::OWN).join(name), &inside).step("make", &inside)?;
            }
        }
        Ok(true)
    }

    /// A folder of the task's own in place of the machine's, whoever owns that.
    fn make(&self, path: &Path, inside: &Path) -> Result<()> {
        let mode = fs::metadata(path).map_or(0o755, |meta| meta.permissions().mode() & 0o7777);
        fs::set_permissions(inside, fs::Permissions::from_mode(mode | 0o700)).step("open", inside)
    }

    fn whole(&self, path: &Path, inside: &Path, root: &Path) -> Result<()> {
        let over = self.over(path).step("lay the ground over", path)?;
        let lowers: Vec<PathBuf> = over.into_iter().chain([path.to_owned()]).collect();
        let layer = self.writable.join(ground::escaped(path));
        if root::mount_overlay(&lowers, path, &layer, inside, true).is_ok() {
            return Ok(());
        }
        // Filesystems that cannot be a lower layer: as they are, read-only, but for what is hidden in them.
        if !self.hidden.iter().any(|hidden| hidden.starts_with(path)) {
            return root::put(&root::take(path, &self.state)?, inside, true);
        }
        self.make(path, inside)?;
        let mut pieces = Vec::new();
        self.pieces(path, &mut pieces);
        self.put_all(&pieces, root)
    }

    /// The ground's layer over a folder; none when nothing in it is hidden, of the pool's own, or made the user's.
    fn over(&self, path: &Path) -> std::io::Result<Option<PathBuf>> {
        let hidden: Vec<&PathBuf> = self.hidden.iter().filter(|hidden| hidden.starts_with(path)).collect();
        let wanted: Vec<&PathBuf> = self.wanted.iter().filter(|wanted| wanted.starts_with(path)).collect();
        let etc = path == Path::new("/etc");
        if hidden.is_empty() && wanted.is_empty() && !etc {
            return Ok(None);
        }
        let layer = ground::layer_over(&self.place, path);
        fs::create_dir(&layer)?;
        ground::like(path, &layer)?;
        for hidden in hidden {
            ground::white_out(&layer, path, hidden)?;
        }
        if etc {
            for name in ground::OWN_FILES {
                symlink(Path::new(ground::OWN).join(name), layer.join(name))?;
            }
        }
        for dir in wanted {
            let below = dir.strip_prefix(path).unwrap_or(dir);
            // Where a file is in the way it is the task's start that says so.
            tolerate(ground::mirror(&layer, &[path.to_owned()], below));
        }
        Ok(Some(layer))
    }
}

/// Mounts the root over a ground that it lays in this mount namespace, and returns where.
///
/// # Errors
/// The first step that failed.
pub(super) fn mount(
    folder: &Folder,
    spec: &LaunchSpec,
    container: &Container,
    writable: &Path,
) -> Result<PathBuf> {
    let hidden = ground::hidden(folder.state(), container.home.as_deref());
    let parts = Parts {
        state: root::own_folder(folder)?,
        place: ground::place(folder.state()),
        writable: writable.to_owned(),
        mounts: ground::mounts(),
        wanted: wanted(spec, container, &hidden),
        hidden,
    };
    let mut pieces = Vec::new();
    parts.pieces(Path::new("/"), &mut pieces);
    fs::create_dir_all(&parts.place).step("make", &parts.place)?;
    root::mount_tmpfs(&parts.place, "mode=755,size=16m")?;
    let (frame, root) = (writable.join("frame"), parts.place.join("root"));
    for dir in [&frame, &root] {
        fs::create_dir_all(dir).step("make", dir)?;
    }
    fs::set_permissions(&frame, fs::Permissions::from_mode(0o755)).step("open", &frame)?;
    rustix::mount::mount_bind(&frame, &root).step("mount at", &root)?;
    parts.put_all(&pieces, &root)?;
    Ok(root)
}
