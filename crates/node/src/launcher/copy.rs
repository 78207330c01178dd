//! Files out of and into a task, as a tar stream.
//!
//! The process first makes the task's root its own, of a running task by entering its mount namespace, of an
//! ended one by mounting the kept layer again, and drops its privileges. After that no path, link or archive
//! can lead it anywhere else.

use super::enter::{open_task, read_spec};
use super::{layer, privileges, root, sys, user};
use crate::copied::{self, Ground};
use crate::folder::Folder;
use crate::tolerate;
use rustix::thread::ThreadNameSpaceType;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use tar::EntryType;

/// What went wrong with the files themselves, and the exit code that says so.
const KINDS: [(ErrorKind, u8); 3] =
    [(ErrorKind::NotFound, 3), (ErrorKind::PermissionDenied, 4), (ErrorKind::InvalidInput, 5)];

/// What a copying process that ended with this code met.
pub(crate) fn kind(code: Option<i32>) -> ErrorKind {
    let known = KINDS.iter().find(|(_, own)| code == Some(i32::from(*own)));
    known.map_or(ErrorKind::Other, |(kind, _)| *kind)
}

/// Writes what is at `path` inside to standard output.
pub(crate) fn out(folder: &Folder, path: &str) -> ExitCode {
    inside(folder, path, archive)
}

/// Unpacks standard input into the folder `path` inside; `onto`: as `path`, unless that is a folder.
pub(crate) fn into(folder: &Folder, path: &str, onto: bool) -> ExitCode {
    inside(folder, path, |at| unpack(at, onto))
}

fn inside(folder: &Folder, path: &str, copy: impl FnOnce(&Path) -> io::Result<()>) -> ExitCode {
    let (why, code) = match enter(folder) {
        Ok(workdir) => match copy(&workdir.join(path)) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(why) => {
                let code = KINDS.iter().find(|(kind, _)| *kind == why.kind()).map(|(_, code)| *code);
                (why, code.map_or(ExitCode::FAILURE, ExitCode::from))
            }
        },
        Err(why) => (why, ExitCode::FAILURE),
    };
    tolerate(writeln!(io::stderr(), "{path}: {why}"));
    code
}

/// Makes the task's root this process's own; returns the working folder, for paths that are not absolute.
fn enter(folder: &Folder) -> io::Result<PathBuf> {
    let spec = read_spec(folder)?;
    let workdir = PathBuf::from(&spec.workdir);
    let Some(container) = &spec.container else { return Ok(workdir) };
    match open_task(folder) {
        Ok(task) => {
            let mut spaces = ThreadNameSpaceType::MOUNT;
            spaces.set(ThreadNameSpaceType::USER, container.user_namespace);
            sys::setns(task.as_fd(), spaces.bits())?;
        }
        Err(ended) => {
            if !(folder.layer().exists() || folder.layer_image().exists()) {
                return Err(ended);
            }
            if container.user_namespace {
                user::enter()?;
            }
            root::isolate(None).map_err(io::Error::other)?;
            if !container.user_namespace {
                crate::ground::lay_here(folder.state(), &container.lowers)?;
            }
            // One at a time: two overlays must not share a writable layer. Held until this process ends.
            let lock = File::open(folder.launch())?;
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            std::mem::forget(lock);
            let writable = layer::open(folder, None)?;
            let root = root::mount_all(folder, &spec, container, &writable).map_err(io::Error::other)?;
            root::pivot(&root).map_err(io::Error::other)?;
        }
    }
    privileges::drop_all()?;
    if let Some((uid, gid)) = spec.user {
        privileges::become_user(uid, gid, &spec.groups)?;
    }
    Ok(workdir)
}

fn archive(path: &Path) -> io::Result<()> {
    let led = match fs::canonicalize(path) {
        // A link that leads nowhere is a thing of its own.
        Err(why) if why.kind() == io::ErrorKind::NotFound && path.is_symlink() => path.to_owned(),
        led => led?,
    };
    let name = path.file_name().or_else(|| led.file_name());
    let name = name.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let kind = led.symlink_metadata()?.file_type();
    if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "neither a file nor a folder"));
    }
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut tar = tar::Builder::new(out);
    let added = copied::pack(&mut tar, &led, &name)
        .and_then(|left_out| left_out.iter().try_for_each(|path| copied::tell_left_out(&mut tar, path)));
    if let Err(why) = added {
        // Dropping it would write the archive's end, and a part would pass for the whole.
        std::mem::forget(tar);
        return Err(why);
    }
    tar.into_inner()?.flush()
}

/// Files, folders and links alone, and none that leads out of the folder: the first that does ends it, with what came before in place.
fn unpack(path: &Path, onto: bool) -> io::Result<()> {
    let (folder, rename) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if onto && !path.is_dir() => (folder, Some(Path::new(name))),
        _ => (path, None),
    };
    if folder.exists() && !folder.is_dir() {
        return Err(io::Error::other("it is a file, not a folder"));
    }
    fs::create_dir_all(folder)?;
    let mut tar = tar::Archive::new(io::stdin().lock());
    tar.set_preserve_permissions(true);
    tar.set_overwrite(true);
    let mut ground = None;
    let mut folders = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        check(&entry)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let ground = match &ground {
            Some(ground) => ground,
            None => ground.insert(Ground::of(&entry, folder, rename)?),
        };
        if kind.is_dir() {
            folders.push(entry);
        } else {
            land(&mut entry, ground)?;
        }
    }
    // Last, since one that may not be written to would take no files; those inside before those around them.
    folders.sort_by(|a, b| b.path_bytes().cmp(&a.path_bytes()));
    let Some(ground) = ground else { return Ok(()) };
    for mut folder in folders {
        land(&mut folder, &ground)?;
    }
    Ok(())
}

fn land(entry: &mut tar::Entry<'_, impl Read>, ground: &Ground) -> io::Result<()> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
    match ground.land(entry) {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::Error::other(format!("`{name}` in the archive would land elsewhere"))),
        Err(why) => Err(io::Error::new(why.kind(), format!("`{name}` in the archive: {why}"))),
    }
}

fn check(entry: &tar::Entry<'_, impl Read>) -> io::Result<()> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let refuse = |why: &str| {
        let text = format!("`{}` in the archive {why}", name.escape_debug());
        Err(io::Error::new(ErrorKind::InvalidInput, text))
    };
    let leaves =
        |path: &Path| path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
        EntryType::Directory | EntryType::Symlink | EntryType::XGlobalHeader => {}
        EntryType::Link => match entry.link_name()? {
            Some(to) if !leaves(&to) => {}
            _ => return refuse("is a hard link to something outside of it"),
        },
        _ => {
            return refuse(
                "is a device, a pipe or of a kind that is not known; only files, folders and links are copied",
            );
        }
    }
    if leaves(&entry.path()?) {
        refuse("leads out of the folder it is copied to; names are relative, without `..`")
    } else {
        Ok(())
    }
}
