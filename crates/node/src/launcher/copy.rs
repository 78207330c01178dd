//! Files out of and into a task, as a tar stream.
//!
//! The process first makes the task's root its own, of a running task by entering its mount namespace, of an
//! ended one by mounting the kept layer again, and drops its privileges. After that no path, link or archive
//! can lead it anywhere else.

use super::enter::{open_task, read_spec};
use super::{layer, privileges, root, sys};
use crate::folder::Folder;
use crate::tolerate;
use rustix::thread::ThreadNameSpaceType;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes what is at `path` inside to standard output.
pub(crate) fn out(folder: &Folder, path: &str) -> ExitCode {
    tell(path, enter(folder).and_then(|workdir| archive(&workdir.join(path))))
}

/// Unpacks standard input into the folder `path` inside.
pub(crate) fn into(folder: &Folder, path: &str) -> ExitCode {
    tell(path, enter(folder).and_then(|workdir| unpack(&workdir.join(path))))
}

fn tell(path: &str, outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tolerate(writeln!(io::stderr(), "{path}: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes the task's root this process's own; returns the working folder, for paths that are not absolute.
fn enter(folder: &Folder) -> io::Result<PathBuf> {
    let spec = read_spec(folder)?;
    let workdir = PathBuf::from(&spec.workdir);
    let Some(container) = &spec.container else { return Ok(workdir) };
    match open_task(folder) {
        Ok(task) => sys::setns(task.as_fd(), ThreadNameSpaceType::MOUNT.bits())?,
        Err(ended) => {
            if !(folder.layer().exists() || folder.layer_image().exists()) {
                return Err(ended);
            }
            root::isolate(None).map_err(io::Error::other)?;
            crate::ground::lay_here(folder.state(), &container.lowers)?;
            // One at a time: two overlays must not share a writable layer. Held until this process ends.
            let lock = File::open(folder.launch())?;
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            std::mem::forget(lock);
            let writable = layer::open(folder, None)?;
            let root = root::mount_layers(folder, container, &writable).map_err(io::Error::other)?;
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
    let path = fs::canonicalize(path)?;
    let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut tar = tar::Builder::new(out);
    tar.follow_symlinks(false);
    let added = if path.is_dir() {
        tar.append_dir_all(&name, &path)
    } else if path.is_file() {
        tar.append_path_with_name(&path, &name)
    } else {
        Err(io::Error::other("neither a file nor a folder"))
    };
    if let Err(why) = added {
        // Dropping it would write the archive's end, and a part would pass for the whole.
        std::mem::forget(tar);
        return Err(why);
    }
    tar.into_inner()?.flush()
}

fn unpack(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mut tar = tar::Archive::new(io::stdin().lock());
    tar.set_preserve_permissions(true);
    tar.set_overwrite(true);
    tar.unpack(path)
}
