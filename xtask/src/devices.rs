//! `cargo xtask gates devices`: shares of devices, measured on what this machine has.
//!
//! Rows come from the programs that measure them; here they are built, run in order, and counted.

use crate::error::Error;
use crate::shell;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Prints the table; fails when a row does.
///
/// # Errors
/// Something cannot be built or started.
pub fn command(root: &Path, quick: bool) -> Result<ExitCode, Error> {
    shell::output(
        root,
        "cargo",
        &["build", "--release", "--quiet", "--package", "pond-shims", "--example", "gates"],
    )?;
    println!("\nGate 1: shares of an OpenCL device");
    let rounds = if quick { "60" } else { "1000" };
    let mut failed = 0;
    let tests = |package: &str, test: &str, names: &[&str]| {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--quiet", "--package", package, "--test", test, "--"])
            .args(names)
            .env("POND_STORM_ROUNDS", rounds);
        command
    };
    let rows = [
        (
            format!("over-commit and leaks in {rounds} rounds of SIGKILL among 6 processes: 0"),
            tests("pond-share", "storm", &["killed_at_any_moment"]),
        ),
        (
            "too small a share: a clean out-of-memory error, in each client".to_owned(),
            tests("pond-shims", "opencl", &["memory_ends", "every_way", "six_racing"]),
        ),
        (
            "losses of a training in tinygrad, with and without: the same bits".to_owned(),
            tests("pond-shims", "opencl", &["training_gives"]),
        ),
    ];
    for (what, mut command) in rows {
        let done = command.current_dir(root).output();
        let done = done.map_err(|source| Error::Program { program: "cargo test".to_owned(), source })?;
        println!("  {}  {what}", if done.status.success() { "pass" } else { "FAIL" });
        failed += u32::from(!done.status.success());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let mut measured = Command::new(target.join("release/examples/gates"));
    measured.args(quick.then_some("--quick"));
    let status =
        measured.status().map_err(|source| Error::Program { program: "gates".to_owned(), source })?;
    failed += u32::from(!status.success());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
