//! `pond run`.

use super::Ctx;
use crate::args::RunArgs;
use crate::error::{CliError, Done};

/// `pond run`.
///
/// # Errors
/// Not built in yet.
pub fn run(_ctx: &Ctx, _args: &RunArgs) -> Done {
    Err(CliError::usage("not built in yet"))
}
