//! `pond apply` and `pond plan`.

use super::Ctx;
use crate::args::{ApplyArgs, FileArgs};
use crate::error::{CliError, Done};

/// `pond apply`.
///
/// # Errors
/// Not built in yet.
pub fn apply(_ctx: &Ctx, _args: &ApplyArgs) -> Done {
    Err(CliError::usage("not built in yet"))
}

/// `pond plan`.
///
/// # Errors
/// Not built in yet.
pub fn plan(_ctx: &Ctx, _args: &FileArgs) -> Done {
    Err(CliError::usage("not built in yet"))
}
