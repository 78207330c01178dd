//! `cargo xtask test`: fetches what tests need, runs them all, and looks for what they left behind.

mod leftovers;
pub mod packages;
mod tally;

use crate::error::Error;
use crate::shell;
use leftovers::Inventory;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tally::Tally;

/// How long something on its way out may take before it counts as left behind.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where property tests read the root of their chance.
const SEED: &str = "PROPTEST_RNG_SEED";

/// Runs everything.
///
/// # Errors
/// When a program it needs cannot be started.
pub fn command(root: &Path, filter: Option<&str>) -> Result<ExitCode, Error> {
    let started = Instant::now();
    packages::provide();
    packages::provide_pythons(root);
    let before = Inventory::take();
    let skipped = std::env::temp_dir().join(format!("xtask-skipped-{}", std::process::id()));
    // The same inputs every time, so that a change is judged by what it changed; other seeds look for more.
    let seed = std::env::var(SEED).unwrap_or_else(|_| "1".to_owned());
    println!("property tests: {SEED}={seed}");
    let mut tally = Tally::default();
    for mut step in steps(filter) {
        step.current_dir(root).env("POND_SKIPPED_FILE", &skipped).env(SEED, &seed);
        tally.run(&mut step)?;
    }
    let untested = std::fs::read_to_string(&skipped).unwrap_or_default();
    _ = std::fs::remove_file(&skipped);
    let left = leftovers::wait_until_gone(&before, PATIENCE);
    println!();
    for line in untested.lines() {
        println!("skipped: {line}");
    }
    println!("left behind: {}", if left.is_empty() { "nothing" } else { "" });
    for line in &left {
        println!("  {line}");
    }
    tally.failed += u64::from(!left.is_empty());
    println!("{}", tally.closing_line(started.elapsed()));
    Ok(if tally.failed == 0 && tally.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The commands, in order. End-to-end tests run the `pond` that stands in the target folder, so it is built first.
fn steps(filter: Option<&str>) -> Vec<Command> {
    let cargo = |words: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(words);
        command
    };
    let mut build = cargo(&["build", "--locked"]);
    for package in ["pond", "pond-shims", "pond-nvidia", "pond-nvidia-model"] {
        build.args(["--package", package]);
    }
    let mut steps = vec![build];
    if shell::has("cargo-nextest") {
        steps.push(cargo(&[
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--no-tests=warn",
        ]));
        steps.push(cargo(&["test", "--locked", "--workspace", "--no-fail-fast", "--doc"]));
    } else {
        steps.push(cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]));
    }
    steps.iter_mut().skip(1).for_each(|step| _ = step.args(filter));
    steps
}

/// Prints what stands on this machine now of the kinds that a pool makes.
pub fn list_leftovers() -> ExitCode {
    for line in Inventory::take().lines() {
        println!("{line}");
    }
    ExitCode::SUCCESS
}
