//! `pond lint`, `pond schema`, `pond import`.

use super::Ctx;
use crate::args::LintArgs;
use crate::error::{CliError, Done};

/// `pond lint`.
///
/// # Errors
/// Not built in yet.
pub fn lint(_ctx: &Ctx, _args: &LintArgs) -> Done {
    Err(CliError::usage("not built in yet"))
}

/// `pond schema`.
///
/// # Errors
/// Not built in yet.
pub fn schema(_ctx: &Ctx) -> Done {
    Err(CliError::usage("not built in yet"))
}

/// `pond import`.
///
/// # Errors
/// Not built in yet.
pub fn import(_ctx: &Ctx, _args: &LintArgs) -> Done {
    Err(CliError::usage("not built in yet"))
}
