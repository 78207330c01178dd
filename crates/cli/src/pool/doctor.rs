//! `pond doctor`: what this machine can do. Needs no server.

use crate::error::{Done, codes};
use crate::verbs::Ctx;

/// `pond doctor`.
///
/// # Errors
/// Nobody reads.
pub fn doctor(ctx: &Ctx) -> Done {
    ctx.out.note("not built in yet");
    Ok(codes::FAILED)
}
