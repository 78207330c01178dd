//! Moments and spans for people. The API speaks milliseconds since the epoch.

use crate::error::CliError;
use pond_core::units::Millis;
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
    let (days, of_day) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (secs, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

/// Day number since 1970-01-01 to year, month, day (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
}

/// Year, month and day to the day number since 1970-01-01.
const fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    (era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy).saturating_sub(719_468)
}

/// Reads a span back from now (`10m`) or a moment in UTC (`2026-11-24`, `2026-11-24T08:00:00Z`), as milliseconds
/// since the epoch.
///
/// # Errors
/// Neither of the two.
pub fn parse_when(text: &str) -> Result<u64, CliError> {
    if let Ok(span) = text.parse::<Millis>() {
        return Ok(now_ms().saturating_sub(span.0));
    }
    parse_moment(text).ok_or_else(|| CliError::Usage {
        what: format!("`{text}` is neither a span of time nor a moment"),
        next: Some("write 10m, 2h, 2026-11-24 or 2026-11-24T08:00:00Z".to_owned()),
    })
}

fn parse_moment(text: &str) -> Option<u64> {
    let (date, time) = text.trim_end_matches('Z').split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, sep: char| -> Option<Vec<u64>> {
        text.split(sep).map(|part| part.parse().ok()).collect()
    };
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let plausible = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    plausible.then(|| (days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip() {
        for text in ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2026-11-24T03:33:04.120Z"] {
            assert_eq!(moment(parse_moment(text).unwrap()), text);
        }
        assert_eq!(parse_moment("2026-11-24"), Some(1_795_478_400_000));
        assert!(parse_when("yesterday").is_err());
        assert!(parse_when("2026-13-01").is_err());
    }
}
