//! A command beside a running task: in its namespaces, control groups and limits.

use crate::folder::Folder;
use std::process::ExitCode;

/// Runs one session; standard input is the client's socket.
pub(crate) fn run(folder: &Folder) -> ExitCode {
    let _unused = folder;
    ExitCode::from(70)
}
