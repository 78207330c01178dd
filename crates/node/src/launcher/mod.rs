//! The process that stands by one task from its start to its end.

use std::ffi::OsString;
use std::process::ExitCode;

/// The first argument that makes the `pond` binary a launcher.
pub const ARG: &str = "__launch";

/// Runs as a launcher; `args` are those after [`ARG`]. The caller has done nothing else yet: no threads.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    ExitCode::from(u8::try_from(args.len().min(1)).unwrap_or(1))
}
