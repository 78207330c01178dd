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
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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

struct Walk<'a> {
    mounts: &'a [(PathBuf, String)],
    hidden: &'a [PathBuf],
    pieces: Vec<Piece>,
}

impl Walk<'_> {
    fn walk(&mut self, dir: &Path) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut entries: Vec<_> = entries.map(|entry| (entry.path(), entry.file_type())).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, kind) in entries {
            let Ok(kind) = kind else { continue };
            if self.hidden.contains(&path) {
                continue;
            }
            let own = dir == Path::new("/etc") && ground::OWN_FILES.iter().any(|name| path.ends_with(name));
            if own {
                self.pieces.push(Piece::Own(path));
            } else if kind.is_symlink() {
                self.pieces.push(Piece::Link(path));
            } else if kind.is_file() {
                self.pieces.push(Piece::File(path));
            } else if kind.is_dir() {
                self.folder(path);
            }
        }
    }

    fn folder(&mut self, path: PathBuf) {
        let bare = BARE.iter().any(|dir| path == Path::new(dir));
        // As over a root that is one overlay: what is no place for files is an empty folder.
        let kind = self.mounts.iter().find(|(target, _)| *target == path).map(|(_, kind)| kind.as_str());
        let no_place = kind
            .is_some_and(|kind| kind != "tmpfs" && kind != "overlay" && ground::OWN_KINDS.contains(&kind));
        if bare || no_place {
            self.pieces.push(Piece::Made(path));
        } else if rustix::fs::access(&path, Access::READ_OK | Access::EXEC_OK).is_err() {
            self.pieces.push(Piece::Closed(path));
        } else if self.mounts.iter().any(|(target, _)| *target != path && target.starts_with(&path)) {
            self.pieces.push(Piece::Made(path.clone()));
            self.walk(&path);
        } else {
            self.pieces.push(Piece::Whole(path));
        }
    }
}

/// Folders that the task must be able to write to, or to make something in, as far as the machine lets its user.
fn wanted(spec: &LaunchSpec, container: &Container) -> Vec<PathBuf> {
    let home = spec.env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    let targets = container.volumes.iter().chain(&container.own).map(|volume| Path::new(&volume.target));
    let above = targets.filter_map(Path::parent).map(Path::to_owned);
    let fixed = OPEN.iter().chain(&[OUT, spec.workdir.as_str()]).map(PathBuf::from).collect::<Vec<_>>();
    home.into_iter().chain(above).chain(fixed).filter(|path| path.is_absolute()).collect()
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
    let state = root::own_folder(folder)?;
    let place = ground::place(folder.state());
    // The pool's own folder may hold a mount of its own: it is hidden.
    let mounts: Vec<_> =
        ground::mounts().into_iter().filter(|(target, _)| !target.starts_with(&state)).collect();
    let hidden = ground::hidden(folder.state());
    let mut walk = Walk { mounts: &mounts, hidden: &hidden, pieces: Vec::new() };
    walk.walk(Path::new("/"));
    let pieces = walk.pieces;
    let wanted = wanted(spec, container);
    fs::create_dir_all(&place).step("make", &place)?;
    root::mount_tmpfs(&place, "mode=755,size=16m")?;
    let (frame, root) = (writable.join("frame"), place.join("root"));
    for dir in [&frame, &root] {
        fs::create_dir_all(dir).step("make", dir)?;
    }
    fs::set_permissions(&frame, fs::Permissions::from_mode(0o755)).step("open", &frame)?;
    rustix::mount::mount_bind(&frame, &root).step("mount at", &root)?;
    let mut skipped: Vec<&Path> = Vec::new();
    for piece in &pieces {
        let path = piece.path();
        if skipped.iter().any(|above| path.starts_with(above)) {
            continue;
        }
        if !put(
            piece,
            &root,
            &Under { place: &place, writable, state: &state, hidden: &hidden, wanted: &wanted },
        )? {
            skipped.push(path);
        }
    }
    Ok(root)
}

/// What pieces are put together from.
struct Under<'a> {
    place: &'a Path,
    writable: &'a Path,
    state: &'a Path,
    hidden: &'a [PathBuf],
    wanted: &'a [PathBuf],
}

/// Puts a piece in; false when the task has something else of that name.
fn put(piece: &Piece, root: &Path, under: &Under<'_>) -> Result<bool> {
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
        Piece::Made(_) if there.is_none() => {
            let mode = fs::metadata(path).map_or(0o755, |meta| meta.permissions().mode() & 0o7777);
            // Whoever owns it, it is the task's here.
            fs::set_permissions(&inside, fs::Permissions::from_mode(mode | 0o700)).step("open", &inside)?;
        }
        Piece::Closed(_) if there.is_none() => {
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o700)).step("open", &inside)?;
        }
        Piece::Made(_) | Piece::Closed(_) => {}
        Piece::Whole(_) => whole(path, &inside, under)?,
        Piece::File(_) => {
            if there.is_none() {
                File::create(&inside).step("make", &inside)?;
            }
            root::put(&root::take(path, under.state)?, &inside, true)?;
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

fn whole(path: &Path, inside: &Path, under: &Under<'_>) -> Result<()> {
    let over = over(path, under).step("lay the ground over", path)?;
    let lowers: Vec<PathBuf> = over.into_iter().chain([path.to_owned()]).collect();
    let layer = under.writable.join(ground::escaped(path));
    if root::mount_overlay(&lowers, path, &layer, inside, true).is_err() {
        // Filesystems that cannot be a lower layer: as they are, read-only.
        root::put(&root::take(path, under.state)?, inside, true)?;
    }
    Ok(())
}

/// The ground's layer over a folder; none when nothing in it is hidden, of the pool's own, or made the user's.
fn over(path: &Path, under: &Under<'_>) -> std::io::Result<Option<PathBuf>> {
    let hidden: Vec<&PathBuf> = under.hidden.iter().filter(|hidden| hidden.starts_with(path)).collect();
    let wanted: Vec<&PathBuf> = under.wanted.iter().filter(|wanted| wanted.starts_with(path)).collect();
    let etc = path == Path::new("/etc");
    if hidden.is_empty() && wanted.is_empty() && !etc {
        return Ok(None);
    }
    let layer = ground::layer_over(under.place, path);
    fs::create_dir(&layer)?;
    ground::like(path, &layer)?;
    for dir in wanted {
        tolerate(ground::mirror(&layer, &[path.to_owned()], dir.strip_prefix(path).unwrap_or(dir))?);
    }
    for hidden in hidden {
        ground::white_out(&layer, path, hidden)?;
    }
    if etc {
        for name in ground::OWN_FILES {
            symlink(Path::new(ground::OWN).join(name), layer.join(name))?;
        }
    }
    Ok(Some(layer))
}
