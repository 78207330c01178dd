//! Where the real traces are, which are no part of the project.

use std::path::PathBuf;

/// The folder that `POND_TRACES` names, or `../shared/traces` beside the repository; `None`, with a notice, without it.
pub fn traces() -> Option<PathBuf> {
    let folder = std::env::var_os("POND_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    if folder.join("expected").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no traces in {}; set POND_TRACES to their folder", folder.display());
    None
}
