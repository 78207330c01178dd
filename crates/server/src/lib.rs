//! The server of a pool: journal, the drive thread, HTTP API, metrics, web page, tokens and secrets.
//!
//! A caller opens a state folder ([`open`]), opens a substrate, and starts ([`Opened::start`]):
//! ```no_run
//! # fn substrate(_: &std::path::Path, _: std::sync::mpsc::Sender<pond_core::event::Report>) -> std::sync::Arc<dyn pond_server::Access> { unreachable!() }
//! # fn main() -> Result<(), pond_server::ServerError> {
//! let opened = pond_server::open(pond_server::Config::new("/var/lib/pond".as_ref()))?;
//! let (sender, reports) = std::sync::mpsc::channel();
//! let access = substrate(opened.state_dir(), sender);
//! let server = opened.start(access, reports)?;
//! eprintln!("serving {}", server.url());
//! server.wait()
//! # }
//! ```

mod access;
pub mod api;
mod auth;
mod clock;
mod feed;
mod http;
mod logs;
mod money;
mod notify;
mod pool;
mod room;
mod secrets;
mod server;
mod spans;
mod state;
mod store;
#[cfg(test)]
mod testing;
mod web;

pub use access::{Access, ExecRequest};
pub use auth::oidc::{GroupRole, Provider, ProviderError};
pub use notify::NotifyPace;
pub use pool::inbox::Handle;
pub use server::{Config, Opened, Resolver, Server, ServerError, TlsFiles, open};
