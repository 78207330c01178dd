//! `cargo xtask otel`: lints and tests what is built with the feature `otel` alone.

use crate::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds `pond` with the feature in a folder of its own, so that the everyday build stays as it is, and sends spans to a collector.
///
/// # Errors
/// When cargo cannot be started.
pub fn command(root: &Path) -> Result<ExitCode, Error> {
    let steps: [&[&str]; 3] = [
        &["clippy", "--locked", "--package", "pond-server", "--features", "otel", "--", "-D", "warnings"],
        &["build", "--locked", "--package", "pond", "--package", "pond-node", "--features", "pond/otel"],
        &["test", "--locked", "--package", "pond-e2e", "--test", "otel"],
    ];
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    for step in steps {
        let program = format!("cargo {}", step.join(" "));
        let mut command = Command::new("cargo");
        command.args(step).current_dir(root);
        command.env("CARGO_TARGET_DIR", target.join("otel")).env("POND_HAS_OTEL", "1");
        let status = command.status().map_err(|source| Error::Program { program, source })?;
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
