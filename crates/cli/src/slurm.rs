//! Slurm's commands.

use crate::error::{CliError, Done};
use crate::verbs::Ctx;

/// Which one we were called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// Submit a script.
    Sbatch,
}

impl Shim {
    /// By the program's name.
    #[must_use]
    pub fn named(_name: &str) -> Option<Self> {
        None
    }
}

/// Runs it.
///
/// # Errors
/// Not built in yet.
pub fn run(_ctx: &Ctx, _shim: Shim, _args: &[String]) -> Done {
    Err(CliError::usage("not built in yet"))
}
