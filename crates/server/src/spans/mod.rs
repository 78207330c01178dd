//! Spans: what a request, a commit and a plan took, and the life of each job, for those who collect traces.
//!
//! Built with the feature `otel` and started with an address in `OTEL_EXPORTER_OTLP_ENDPOINT`, spans go there by OTLP over HTTP.
//! Otherwise nothing here does anything. Nobody waits for a collector: spans are sent by a thread of their own, and lost when it
//! does not answer.

mod jobs;
#[cfg(feature = "otel")]
mod sent;
#[cfg(not(feature = "otel"))]
mod unsent;

#[cfg(feature = "otel")]
pub use sent::{Sending, Span, above, begin, part, request};
#[cfg(not(feature = "otel"))]
pub use unsent::{Sending, Span, above, begin, part, request};

pub use jobs::Traces;

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

/// The trace that a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its number, unless it is that of the span above.
    pub id: u128,
    /// The span of its submitter that it is below, in W3C's words.
    pub above: Option<Box<str>>,
    /// The number of its own first span.
    pub root: u64,
}

/// What a span says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A number.
    Number(i64),
    /// A word.
    Word(String),
    /// Several.
    Words(Vec<String>),
}

/// A span of a job that is over.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "read where spans are sent"))]
pub struct Part {
    /// Which trace it is of.
    pub trace: Trace,
    /// Its number.
    pub id: u64,
    /// The number of the span above it; `None`: it is the first.
    pub above: Option<u64>,
    /// What it is.
    pub name: &'static str,
    /// When it began, in microseconds since 1970.
    pub from_us: u64,
    /// When it ended.
    pub to_us: u64,
    /// What it says.
    pub notes: Vec<(&'static str, Note)>,
    /// What went wrong, in a word.
    pub error: Option<String>,
}

/// Variables of the OpenTelemetry specification that name a collector.
const ADDRESSES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Whether spans are sent: of others nothing is kept.
#[must_use]
pub fn on() -> bool {
    cfg!(feature = "otel") && named().is_some()
}

/// The variable that names a collector, if one does.
fn named() -> Option<&'static str> {
    ADDRESSES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
