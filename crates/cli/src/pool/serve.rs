//! `pond up` in the foreground: opens the agent, starts the server, and waits to be told to stop.

use crate::args::UpArgs;
use crate::error::{CliError, Done};
use crate::verbs::Ctx;

pub(super) fn serve(_ctx: &Ctx, _args: &UpArgs) -> Done {
    Err(CliError::Pool { what: "the server is not built in yet".to_owned(), next: None })
}
