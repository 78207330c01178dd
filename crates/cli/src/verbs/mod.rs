//! The verbs, one or a few of a kind in a file. Each takes its flags and gives back an exit code.

pub mod act;
pub mod apply;
pub mod copy;
pub mod events;
pub mod files;
pub mod forward;
pub mod house;
pub mod list;
pub mod logs;
pub mod machine;
pub mod money;
pub mod notify;
pub mod people;
pub mod queue;
pub mod run;
pub mod sched;
pub mod secret;
pub mod session;
pub mod status;
pub mod top;
pub mod usage;
pub mod wait;
pub mod why;

use crate::args::Globals;
use crate::client::Client;
use crate::error::CliError;
use crate::out::Out;

/// What every verb works with.
#[derive(Debug)]
pub struct Ctx {
    /// Flags of every verb.
    pub globals: Globals,
    /// Where answers go.
    pub out: Out,
}

impl Ctx {
    /// The pool.
    ///
    /// # Errors
    /// No pool is known.
    pub fn client(&self) -> Result<Client, CliError> {
        Client::find(&self.globals)
    }
}
