//! What a copy into or out of a task is made of, the same on both ends: which files go along, and where they land.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// Before the name of what was left out, in a comment of the archive.
const LEFT_OUT: &str = "left out: ";

/// Puts what is at `path` into the archive as `name`, with all below it; links as links. Returns what is neither a file, a
/// folder nor a link and was therefore left out.
///
/// # Errors
/// Something cannot be read.
pub fn pack(tar: &mut tar::Builder<impl Write>, path: &Path, name: &Path) -> io::Result<Vec<PathBuf>> {
    tar.follow_symlinks(false);
    let mut left_out = Vec::new();
    let mut ahead = vec![(path.to_owned(), name.to_owned())];
    while let Some((path, name)) = ahead.pop() {
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            // With a slash behind it, as other programs write it.
            tar.append_dir(name.join(""), &path)?;
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                ahead.push((entry.path(), name.join(entry.file_name())));
            }
        } else if kind.is_file() || kind.is_symlink() {
            tar.append_path_with_name(&path, &name)?;
        } else {
            left_out.push(path);
        }
    }
    left_out.sort();
    Ok(left_out)
}

/// Says in the archive what was left out, where other programs that read it look past it.
///
/// # Errors
/// It cannot be written.
pub fn tell_left_out(tar: &mut tar::Builder<impl Write>, path: &Path) -> io::Result<()> {
    let value = format!("{LEFT_OUT}{}", path.display());
    // A record begins with its own length, whose digits count too.
    let rest = format!(" comment={value}\n");
    let mut len = rest.len() + 1;
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    let record = format!("{len}{rest}");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    header.set_path("pax_global_header")?;
    header.set_size(record.len() as u64);
    header.set_cksum();
    tar.append(&header, record.as_bytes())
}

/// What [`tell_left_out`] says with this entry.
pub fn left_out(entry: &mut tar::Entry<'_, impl Read>) -> Option<String> {
    let records = entry.pax_extensions().ok()??;
    let comment = records.flatten().find(|record| record.key() == Ok("comment"))?;
    Some(comment.value().ok()?.strip_prefix(LEFT_OUT)?.to_owned())
}

/// Where an archive lands: below a folder, each under its own name or with the first part of it replaced.
#[derive(Debug)]
pub struct Ground {
    folder: PathBuf,
    rename: Option<PathBuf>,
}

impl Ground {
    /// For an archive that begins with `entry`. A link that has the name it gets is followed, as `cp` does; one that is itself
    /// copied replaces it.
    ///
    /// # Errors
    /// The link leads nowhere, or what is there is of another kind.
    pub fn of(entry: &tar::Entry<'_, impl Read>, folder: &Path, rename: Option<&Path>) -> io::Result<Self> {
        let own = entry.path()?;
        let mut parts = own.components().filter(|part| matches!(part, Component::Normal(_)));
        let (first, whole) = (parts.next(), parts.next().is_none());
        let mut ground = Self { folder: folder.to_owned(), rename: rename.map(Path::to_owned) };
        let Some(name) =
            rename.map(Path::to_owned).or_else(|| first.map(|part| PathBuf::from(part.as_os_str())))
        else {
            return Ok(ground);
        };
        let kind = entry.header().entry_type();
        let mut target = folder.join(name);
        if target.is_symlink() && !(whole && kind.is_symlink()) {
            target = target.canonicalize().map_err(|why| {
                io::Error::new(
                    why.kind(),
                    format!("{} is a link that leads nowhere: {why}", target.display()),
                )
            })?;
            if let (Some(folder), Some(name)) = (target.parent(), target.file_name()) {
                ground = Self { folder: folder.to_owned(), rename: Some(PathBuf::from(name)) };
            }
        }
        let folder_comes = kind.is_dir() || !whole;
        let wrong = match target.symlink_metadata() {
            Ok(there) if there.is_dir() && !folder_comes => "is a folder, which a file cannot replace",
            Ok(there) if !there.is_dir() && folder_comes => "is a file, which a folder cannot replace",
            _ => return Ok(ground),
        };
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} {wrong}", target.display())))
    }

    /// Unpacks an entry; false when it would land elsewhere.
    ///
    /// # Errors
    /// It cannot be written, with the cause.
    pub fn land(&self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
        let landed = match &self.rename {
            None => entry.unpack_in(&self.folder),
            Some(first) => self.place(entry, first),
        };
        landed.map_err(|why| {
            // The library's own message says where, its source what.
            let cause = why.get_ref().and_then(std::error::Error::source).map(|cause| format!(": {cause}"));
            io::Error::new(why.kind(), format!("{why}{}", cause.unwrap_or_default()))
        })
    }

    /// Under another name, as strictly as [`tar::Entry::unpack_in`] does under its own.
    fn place(&self, entry: &mut tar::Entry<'_, impl Read>, first: &Path) -> io::Result<bool> {
        // A hard link's target is a name inside the archive; under another name it would point elsewhere.
        if entry.header().entry_type().is_hard_link() {
            return Ok(false);
        }
        let top = self.folder.join(first);
        let own = entry.path()?;
        let below = own.components().filter(|part| matches!(part, Component::Normal(_))).skip(1);
        let target = below.fold(top.clone(), |path, part| path.join(part));
        if target != top {
            let parent = target.parent().unwrap_or(&top);
            if !stays(parent, &top)? {
                return Ok(false);
            }
            fs::create_dir_all(parent)?;
        }
        if target.is_symlink() {
            fs::remove_file(&target)?;
        }
        entry.unpack(&target).map(|_| true)
    }
}

/// Whether no link leads `path`, which is below `top` by its name, out of it. What is not there yet leads nowhere.
fn stays(path: &Path, top: &Path) -> io::Result<bool> {
    let Ok(meta) = top.symlink_metadata() else { return Ok(true) };
    if meta.is_symlink() {
        return Ok(false);
    }
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(top);
    Ok(there.canonicalize()?.starts_with(top.canonicalize()?))
}
