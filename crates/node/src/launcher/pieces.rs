//! The machine's own root in a user namespace, put together of its folders.
//!
//! ```text
//! <layer>/frame    /         the task's own: names of what is mounted, links, and what the task writes there
//! overlays         /etc /usr /home ...   each over the machine's folder, with its own upper layer <layer>/%usr, ...
//! ```
//! The kernel takes no folder for an overlay there that has another filesystem below it, since who took that away would see
//! what it covers. A folder with one is made anew, and what is in it put in one by one.
//!
//! Between an attempt and the next, or a look at the files of one that has ended, a filesystem may have been mounted below a folder, or taken
//! away. What was made anew stays so; what had a layer of its own and is made anew now has its pieces over that layer.
//!
//! What is not the pool's user's is nobody's inside, and a layer cannot take it in: nobody can be given a file. So the folders on
//! the way to where the task works are in the ground's layer too, as the user's own.

use super::root::{self, Result, Step};
use super::spec::{Container, LaunchSpec, OUT};
use crate::folder::{Folder, is_folder};
use crate::ground::{self, Mounted};
use crate::tolerate;
use rustix::fs::Access;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, FileType};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
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
    /// What the task made in a folder that had a layer of its own then.
    Kept(PathBuf),
}

impl Piece {
    fn path(&self) -> &Path {
        match self {
            Self::Made(path)
            | Self::Closed(path)
            | Self::Whole(path)
            | Self::File(path)
            | Self::Link(path)
            | Self::Own(path)
            | Self::Kept(path) => path,
        }
    }
}

/// Folders of a root in which every container has something of its own.
const BARE: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];
/// Folders that everybody may write to, below others that are root's.
const OPEN: [&str; 1] = ["/var/tmp"];

/// What a root is put together from.
struct Parts {
    /// The places of the pool's own folder, without links.
    states: Vec<PathBuf>,
    /// Where the ground is.
    place: PathBuf,
    /// The task's layer.
    writable: PathBuf,
    mounts: Vec<Mounted>,
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
        for (name, kind) in self.earlier(dir) {
            let path = dir.join(name);
            let both = kind.is_dir() && fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
            // A character device there says that it is removed.
            if !both && !kind.is_char_device() && !self.hidden.contains(&path) {
                pieces.push(Piece::Kept(path));
            }
        }
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
                let known = self.mounts.iter().map(|mount| &mount.target).chain(&self.wanted);
                let below = known.filter_map(|path| path.strip_prefix(dir).ok()?.components().next());
                below.map(|first| dir.join(first)).collect()
            }
        };
        let earlier = self.earlier(dir);
        let is_gone = |path: &Path| {
            let found = earlier.iter().find(|(name, _)| path.file_name() == Some(name.as_os_str()));
            found.is_some_and(|(_, kind)| !kind.is_dir() || !path.is_dir())
        };
        names.retain(|path| !self.hidden.contains(path) && !is_gone(path));
        names
    }

    /// Where a folder, or one above it, had a layer of its own before: what the task has there of this one.
    fn layer_of(&self, dir: &Path) -> Option<PathBuf> {
        let of = |above: &Path| self.writable.join(ground::escaped(above)).join("upper");
        let layers = dir.ancestors().filter(|above| above.parent().is_some() && self.is_made(above));
        let (above, upper) = layers.map(|above| (above, of(above))).find(|(_, upper)| is_folder(upper))?;
        let place = upper.join(dir.strip_prefix(above).ok()?);
        // No link of the task's is followed on the way.
        let plain = place.ancestors().take_while(|part| *part != upper).all(is_folder);
        plain.then_some(place)
    }

    /// What is in [`Self::layer_of`] a folder that is made anew.
    fn earlier(&self, dir: &Path) -> Vec<(OsString, FileType)> {
        let entries = self.layer_of(dir).and_then(|layer| fs::read_dir(layer).ok());
        let entries = entries.into_iter().flatten().flatten();
        entries.filter_map(|entry| Some((entry.file_name(), entry.file_type().ok()?))).collect()
    }

    /// Whether a folder is made anew: it is above a mount, or was when the task's own folder for it was made.
    fn is_made(&self, path: &Path) -> bool {
        let own = self.writable.join("frame").join(path.strip_prefix("/").unwrap_or(path));
        let was = || is_folder(&own) && fs::read_dir(&own).is_ok_and(|mut own| own.next().is_some());
        self.is_above_mount(path) || was()
    }

    /// Whether another filesystem is mounted somewhere below.
    fn is_above_mount(&self, path: &Path) -> bool {
        self.mounts.iter().any(|Mounted { target, .. }| target != path && target.starts_with(path))
    }

    fn folder(&self, path: PathBuf, pieces: &mut Vec<Piece>) {
        let bare = BARE.iter().any(|dir| path == Path::new(dir));
        // What was mounted there last is what is seen.
        let kind =
            self.mounts.iter().rev().find(|mount| mount.target == path).map(|mount| mount.kind.as_str());
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
        } else if self.is_made(&path) {
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
            if skipped.iter().any(|above| path.starts_with(above)) {
                continue;
            }
            let inside = place_of(path, root);
            let was_there = inside.symlink_metadata().is_ok();
            match self.put(piece, root) {
                Ok(true) => {}
                Ok(false) => skipped.push(path),
                // Somebody removed it since it was listed, so it is not there inside either.
                Err(_) if is_gone(piece) => {
                    if !was_there {
                        tolerate(fs::remove_file(&inside));
                        tolerate(fs::remove_dir(&inside));
                    }
                    skipped.push(path);
                }
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Puts a piece in; false when the task has something else of that name.
    fn put(&self, piece: &Piece, root: &Path) -> Result<bool> {
        let path = piece.path();
        let inside = place_of(path, root);
        let there = fs::symlink_metadata(&inside).ok();
        if matches!(piece, Piece::Kept(_)) {
            return self.keep(path, &inside, there.as_ref());
        }
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
            Piece::Made(_) | Piece::Closed(_) | Piece::Kept(_) => {}
            Piece::Whole(_) => self.whole(path, &inside, root)?,
            Piece::File(_) => {
                if there.is_none() {
                    File::create(&inside).step("make", &inside)?;
                }
                root::put(&root::take(path, &self.states)?, &inside, true)?;
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

    /// What the task made before is where it made it.
    fn keep(&self, path: &Path, inside: &Path, there: Option<&fs::Metadata>) -> Result<bool> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let Some(kept) = self.layer_of(dir).map(|layer| layer.join(name)) else { return Ok(false) };
        let meta = fs::symlink_metadata(&kept).step("find", &kept)?;
        if meta.is_symlink() {
            let to = fs::read_link(&kept).step("read", &kept)?;
            return there.map_or_else(|| symlink(to, inside).step("make", inside), |_| Ok(())).map(|()| true);
        }
        if there.is_some_and(|there| there.is_dir() != meta.is_dir() || there.is_symlink()) {
            return Ok(false);
        }
        match (there, meta.is_dir()) {
            (Some(_), _) => {}
            (None, true) => fs::create_dir(inside).step("make", inside)?,
            (None, false) => drop(File::create(inside).step("make", inside)?),
        }
        rustix::mount::mount_bind(&kept, inside).step("mount at", inside)?;
        Ok(true)
    }

    fn whole(&self, path: &Path, inside: &Path, root: &Path) -> Result<()> {
        let over = self.over(path).step("lay the ground over", path)?;
        let lowers: Vec<PathBuf> =
            over.into_iter().chain(self.layer_of(path)).chain([path.to_owned()]).collect();
        let layer = self.writable.join(ground::escaped(path));
        if root::mount_overlay(&lowers, path, &layer, inside, true).is_ok() {
            return Ok(());
        }
        // Filesystems that cannot be a lower layer: as they are, read-only, but for what is hidden in them.
        if !self.hidden.iter().any(|hidden| hidden.starts_with(path)) {
            return root::put(&root::take(path, &self.states)?, inside, true);
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

/// Where what is at `path` on the machine is in the root.
fn place_of(path: &Path, root: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether something of the machine's is not there any more.
fn is_gone(piece: &Piece) -> bool {
    let of_machine = matches!(piece, Piece::File(_) | Piece::Whole(_) | Piece::Link(_));
    let looked = piece.path().symlink_metadata();
    of_machine && looked.is_err_and(|why| why.kind() == std::io::ErrorKind::NotFound)
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
    let hidden = ground::hidden(folder.state(), &container.homes);
    let parts = Parts {
        states: root::own_folders(folder)?,
        place: ground::place(folder.state()),
        writable: writable.to_owned(),
        mounts: Mounted::all(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by a page that ran while other tests made and removed files in `/tmp`.
    #[test]
    fn what_was_removed_since_it_was_listed_is_left_out() {
        let dir = std::env::temp_dir().join(format!("pond-pieces-{}", std::process::id()));
        let (root, machine) = (dir.join("root"), dir.join("machine"));
        for dir in [&root, &machine] {
            fs::create_dir_all(dir).unwrap();
        }
        let parts = Parts {
            states: Vec::new(),
            place: dir.join("place"),
            writable: dir.join("layer"),
            mounts: Vec::new(),
            hidden: Vec::new(),
            wanted: Vec::new(),
        };
        fs::create_dir_all(root.join(machine.strip_prefix("/").unwrap())).unwrap();
        symlink("there", machine.join("link")).unwrap();
        let at = |name: &str| machine.join(name);
        let pieces = [
            Piece::File(at("file")),
            Piece::Whole(at("folder")),
            Piece::Link(at("gone")),
            Piece::Link(at("link")),
        ];
        parts.put_all(&pieces, &root).unwrap();
        let inside = root.join(machine.strip_prefix("/").unwrap());
        let left: Vec<_> = fs::read_dir(&inside).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["link"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
