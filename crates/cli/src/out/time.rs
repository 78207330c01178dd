//! Moments and spans for people. The API speaks milliseconds since the epoch.

use crate::error::CliError;
use pond_core::units::{Millis, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// This moment in milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago a moment was: `3m04s`.
#[must_use]
pub fn ago(at_ms: u64) -> String {
    Millis(now_ms().saturating_sub(at_ms)).to_string()
}

/// The span between two moments; up to now when there is no end.
#[must_use]
pub fn span_between(from_ms: Option<u64>, to_ms: Option<u64>) -> Option<String> {
    from_ms.map(|from| Millis(to_ms.unwrap_or_else(now_ms).saturating_sub(from)).to_string())
}

/// A moment as `2026-11-24T08:00:00.123Z`.
#[must_use]
pub fn moment(at_ms: u64) -> String {
    let of_day = at_ms % 86_400_000;
    let (year, month, day) = pond_core::money::date(Timestamp(at_ms));
    let (secs, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

/// Reads a span back from now (`10m`) or a moment in UTC (`2026-11-24`, `2026-11-24T08:00:00Z`, or with an offset), as milliseconds
/// since the epoch.
///
/// # Errors
/// Neither of the two.
pub fn parse_when(text: &str) -> Result<u64, CliError> {
    if let Ok(span) = text.parse::<Millis>() {
        return Ok(now_ms().saturating_sub(span.0));
    }
    pond_core::money::moment(text).map(|at| at.0).ok_or_else(|| CliError::Usage {
        what: format!("`{text}` is neither a span of time nor a moment"),
        next: Some("write 10m, 2h, 2026-11-24 or 2026-11-24T08:00:00Z".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip() {
        for text in ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2026-11-24T03:33:04.120Z"] {
            assert_eq!(moment(parse_when(text).unwrap()), text);
        }
        assert!(parse_when("yesterday").is_err());
        assert!(parse_when("2026-13-01").is_err());
    }
}
