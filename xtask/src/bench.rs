//! `cargo xtask bench`: figures of the whole binary, from a release build.

use crate::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds `pond` and the measuring programs in release and runs the others on the first.
///
/// # Errors
/// When cargo cannot be started.
pub fn command(root: &Path) -> Result<ExitCode, Error> {
    let steps: [&[&str]; 3] = [
        &["build", "--release", "--locked", "--package", "pond"],
        &["run", "--release", "--locked", "--package", "pond-e2e", "--bin", "pond-bench"],
        &["run", "--release", "--locked", "--package", "pond-e2e", "--bin", "pond-load"],
    ];
    for step in steps {
        let program = format!("cargo {}", step.join(" "));
        let status = Command::new("cargo").args(step).current_dir(root).status();
        if !status.map_err(|source| Error::Program { program, source })?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
