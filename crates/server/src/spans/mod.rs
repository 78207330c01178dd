//! Spans: what a request, a commit, a plan and a launch took, for those who collect traces.
//!
//! Built with the feature `otel` and started with an address in `OTEL_EXPORTER_OTLP_ENDPOINT`, spans go there by OTLP over HTTP.
//! Otherwise nothing here does anything. Nobody waits for a collector: spans are sent by a thread of their own, and lost when it
//! does not answer.

#[cfg(feature = "otel")]
mod sent;
#[cfg(not(feature = "otel"))]
mod unsent;

use pond_core::engine::State;
use pond_core::ids::GangId;
use pond_core::units::Timestamp;
use std::collections::BTreeMap;

#[cfg(feature = "otel")]
pub use sent::{Sending, Span, begin, past, request};
#[cfg(not(feature = "otel"))]
pub use unsent::{Sending, Span, begin, past, request};

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// They were not built in.
    #[error(
        "{0} is set, and this pond cannot send spans; build it with `--features otel`, or unset the variable"
    )]
    NotBuilt(&'static str),
    /// The exporter cannot be made.
    #[cfg(feature = "otel")]
    #[error("spans cannot be sent: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Gangs on their way to run: a span each, from the moment when it has its place until all of its ranks run.
#[derive(Debug, Default)]
pub struct Launches(BTreeMap<GangId, Timestamp>);

impl Launches {
    /// A gang is in another state.
    pub fn changed(&mut self, gang: GangId, to: State, at: Timestamp) {
        let since = self.0.remove(&gang);
        match (to, since) {
            (State::Starting, _) => _ = self.0.insert(gang, at),
            (State::Running, Some(since)) => past("launch", since.0, at.0, &gang),
            _ => {}
        }
    }
}

/// Variables of the OpenTelemetry specification that name a collector.
const ADDRESSES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The variable that names a collector, if one does.
fn named() -> Option<&'static str> {
    ADDRESSES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
