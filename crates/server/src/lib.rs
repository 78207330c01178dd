//! The server of a pool: journal, the drive thread, HTTP API, metrics, status page, tokens and secrets.

pub mod api;
pub mod auth;
pub mod clock;
pub mod secrets;
pub mod state;
pub mod store;
#[cfg(test)]
mod testing;
