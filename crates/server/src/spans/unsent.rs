//! Built without the feature: nothing is measured.

use super::{Part, SpansError, named};
use axum::http::HeaderMap;

/// Would send spans.
#[derive(Debug)]
pub struct Sending;

impl Sending {
    /// Whether spans are wanted.
    ///
    /// # Errors
    /// They are, and cannot be sent.
    pub fn start() -> Result<Self, SpansError> {
        named().map_or(Ok(Self), |name| Err(SpansError::NotBuilt(name)))
    }

    /// Would send what is left.
    pub const fn end(self) {}
}

/// Something that takes time.
#[derive(Debug)]
pub struct Span;

impl Span {
    /// Says something about it.
    pub const fn note(&mut self, _key: &'static str, _value: i64) {}
}

/// Begins one that ends when it is dropped.
#[must_use]
pub const fn begin(_name: &'static str) -> Span {
    Span
}

/// Begins one for a request, below the span that its headers name.
#[must_use]
pub const fn request(_method: &str, _route: &str, _headers: &HeaderMap) -> Span {
    Span
}

/// The span that a request's headers name, in W3C's words.
#[must_use]
pub const fn above(_headers: &HeaderMap) -> Option<Box<str>> {
    None
}

/// Sends a span of a job.
pub fn part(_part: Part) {}
