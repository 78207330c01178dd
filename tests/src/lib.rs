//! End-to-end scenarios: the real `pond`, in a pool and a home of its own, driven as a user drives it.
//!
//! [`Pool`] is such a place. [`transcript`] runs the commands that a page shows and compares what they
//! print, so pages of `tests/scenarios/` and of `docs/` are tests alike. What cannot run here says so
//! through [`skip`], and `cargo xtask test` repeats it at its end.

#![expect(clippy::expect_used, clippy::panic, reason = "a harness: a step that fails is the test's failure")]
#![expect(clippy::print_stdout, reason = "what is skipped is said where the test runs")]

pub mod api;
pub mod browser;
pub mod pool;
pub mod python;
pub mod transcript;

pub use api::{Answer, Api};
pub use pool::{Pool, wait_until};

use std::io::Write;

/// Says that something stays untested, and why.
pub fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    let Some(path) = std::env::var_os("POND_SKIPPED_FILE") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.expect("the list of skipped tests can be written");
    writeln!(file, "{test}: {why}").expect("the list of skipped tests can be written");
}

/// Whether this process is root, as containers with limits need.
#[must_use]
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
