//! What can go wrong in a chore.

use std::path::PathBuf;

/// A chore that could not be done; findings and failing tests are not errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// `read`, `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program could not be started or read.
    #[error("cannot run `{program}`: {source}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program that has to succeed did not.
    #[error("`{program}` failed with {status}: {stderr}")]
    Failed {
        /// Which.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A Rust file does not parse.
    #[error("{}:{line}: does not parse: {source}", path.display())]
    Rust {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why.
        source: syn::Error,
    },
    /// `cargo metadata` is not as expected.
    #[error("cannot read the output of `{program}`: {source}")]
    Json {
        /// Which.
        program: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A line of the ratchet file is not `name = number`.
    #[error("xtask/ratchets.toml:{line}: expected `name = number`, found `{text}`")]
    Ratchet {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
}
