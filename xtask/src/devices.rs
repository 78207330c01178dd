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
    shell::output(root, "cargo", &["build", "--quiet", "--package", "pond", "--package", "pond-shims"])?;
    let trainings = (
        "two trainings in a pool at 30 % and 70 %, resized to 60 % and 40 %: within 2 points".to_owned(),
        tests("pond-e2e", "shares", &["--ignored", "--nocapture", "shares_of_two_trainings"]),
    );
    for (what, mut command) in rows.into_iter().chain([trainings]) {
        let done = command.current_dir(root).output();
        let done = done.map_err(|source| Error::Program { program: "cargo test".to_owned(), source })?;
        println!("  {}  {what}", if done.status.success() { "pass" } else { "FAIL" });
        let said = String::from_utf8_lossy(&done.stdout);
        said.lines()
            .filter(|line| line.starts_with("two trainings"))
            .for_each(|line| println!("        {line}"));
        failed += u32::from(!done.status.success());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let mut measured = Command::new(target.join("release/examples/gates"));
    measured.args(quick.then_some("--quick"));
    let status =
        measured.status().map_err(|source| Error::Program { program: "gates".to_owned(), source })?;
    failed += u32::from(!status.success());
    failed += nvidia(root, quick)?;
    failed += partitions(root)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rows of devices that are cut by their hardware: how many fail.
fn partitions(root: &Path) -> Result<u32, Error> {
    println!(
        "\nGate 3: every configuration that a device can be cut into; tables of the makers, no device was used"
    );
    let names = ["partition::tests", "plan::tests::partitions"];
    let mut command = Command::new("cargo");
    command.args(["test", "--package", "pond-core", "--lib", "--"]).args(names).arg("--nocapture");
    let done = command.current_dir(root).output();
    let done = done.map_err(|source| Error::Program { program: "cargo test".to_owned(), source })?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    said.lines().filter(|line| line.starts_with("  pass")).for_each(|line| println!("{line}"));
    if !done.status.success() {
        println!("  FAIL  partitions: `cargo test -p pond-core --lib partition` says which");
    }
    Ok(u32::from(!done.status.success()))
}

/// The rows of NVIDIA's GPUs, all on a modelled driver: how many fail.
fn nvidia(root: &Path, quick: bool) -> Result<u32, Error> {
    println!("\nGate 2: shares of an NVIDIA GPU, before a modelled driver; no GPU was used");
    let rows: [(&str, &[&str], &[&str]); 3] = [
        ("what clients of four kinds may allocate, launch and see", &["cuda"], &[]),
        ("names: headers, runtimes of two versions, both stream flavours", &["cuda"], &["names::"]),
        ("", &["cuda", "--release"], &["gates::", "--ignored", "--nocapture", "--test-threads=1"]),
    ];
    let mut failed = 0;
    for (what, test, arguments) in rows {
        let mut command = Command::new("cargo");
        command.args(["test", "--package", "pond-nvidia", "--test"]).args(test).arg("--").args(arguments);
        if quick {
            command.env("POND_GATES_QUICK", "1");
        }
        let skipped = std::env::temp_dir().join(format!("xtask-skipped-{}", std::process::id()));
        let done = command.current_dir(root).env("POND_SKIPPED_FILE", &skipped).output();
        let done = done.map_err(|source| Error::Program { program: "cargo test".to_owned(), source })?;
        if what.is_empty() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            said.lines()
                .filter(|line| line.starts_with("  pass") || line.starts_with("  FAIL"))
                .for_each(|line| println!("{line}"));
        } else {
            println!("  {}  {what}", if done.status.success() { "pass" } else { "FAIL" });
        }
        let left_out = std::fs::read_to_string(&skipped).unwrap_or_default();
        _ = std::fs::remove_file(&skipped);
        let mut left_out: Vec<&str> = left_out.lines().collect();
        left_out.dedup();
        left_out.iter().for_each(|line| println!("        without: {line}"));
        failed += u32::from(!done.status.success());
    }
    Ok(failed)
}
