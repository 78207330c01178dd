//! The server of a pool: journal, the drive thread, HTTP API, metrics, status page, tokens and secrets.

pub mod api;
