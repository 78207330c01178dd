//! The process that stands by one task from its start to its end, and outlives the server.
//!
//! A fork of the pool's [spawner], which is the `pond` binary executed again with a hidden first argument. It has
//! one thread, because a process with threads cannot clone itself into namespaces safely. It belongs to a session
//! of its own and to nobody's terminal; the server may die and come back while it works.

pub mod control;
pub(crate) mod copy;
mod dev;
pub(crate) mod enter;
pub(crate) mod family;
mod init;
mod keeper;
pub(crate) mod layer;
mod pieces;
mod privileges;
mod root;
pub mod slurm;
pub(crate) mod spawner;
pub mod spec;
pub mod sys;
pub(crate) mod user;

pub(crate) use init::script_dir;

use crate::folder::Folder;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// The first argument that makes the `pond` binary a launcher.
pub const ARG: &str = "__launch";

/// What makes this program a launcher.
#[must_use]
pub fn own() -> Vec<OsString> {
    vec!["/proc/self/exe".into(), ARG.into()]
}

/// Runs as a launcher, or as what becomes one; `args` are those after [`ARG`]. The caller has done nothing else yet: no threads.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    // What the pool was started with is no business of its tasks.
    sys::close_inherited();
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    match words.as_slice() {
        ["spawn", _state] => spawner::run(),
        ["as-root", words @ ..] => user::again(words),
        ["try-user", room] => user::try_in(&PathBuf::from(room)),
        ["enter", folder] => enter::run(&Folder(PathBuf::from(folder))),
        ["copy-out", folder, path] => copy::out(&Folder(PathBuf::from(folder)), path),
        ["copy-in", folder, path] => copy::into(&Folder(PathBuf::from(folder)), path, false),
        ["copy-onto", folder, path] => copy::into(&Folder(PathBuf::from(folder)), path, true),
        _ => ExitCode::from(64),
    }
}
