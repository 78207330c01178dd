//! Running other programs, and finding the repository.

use crate::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository: the folder above this crate, as it was built.
///
/// # Errors
/// When the folder is gone.
pub fn root() -> Result<PathBuf, Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    here.canonicalize().map_err(|source| Error::File { doing: "read", path: here, source })
}

/// What a program prints, which has to succeed.
///
/// # Errors
/// When it cannot be started or fails.
pub fn output(directory: &Path, program: &str, arguments: &[&str]) -> Result<String, Error> {
    let shown = format!("{program} {}", arguments.join(" "));
    let done = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .map_err(|source| Error::Program { program: shown.clone(), source })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::Failed { program: shown, status: done.status, stderr })
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

/// Whether a program is on the path.
#[must_use]
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| folder.join(program).is_file())
}
