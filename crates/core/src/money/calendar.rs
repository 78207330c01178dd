//! Days, weeks and months in UTC.

use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// Over what span a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first of the month.
    Month,
    /// From the beginning of the pool.
    Total,
}

impl Span {
    /// Every span, the shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Total];

    /// When the span in which a moment lies begins.
    #[must_use]
    pub const fn start(self, at: Timestamp) -> Timestamp {
        let day = at.0 / DAY_MS;
        let first = match self {
            Self::Day => day,
            // 1970-01-01 was a Thursday.
            Self::Week => day.saturating_sub(day.wrapping_add(3) % 7),
            Self::Month => day.saturating_sub(day_of_month(day)),
            Self::Total => 0,
        };
        Timestamp(first.saturating_mul(DAY_MS))
    }

    /// When it ends: the first moment of the next one; [`Timestamp::NEVER`] for [`Self::Total`].
    #[must_use]
    pub const fn end(self, at: Timestamp) -> Timestamp {
        let length = match self {
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            // No month is shorter than 28 days or longer than 31: 31 days after the first is early in the next.
            Self::Month => {
                return Self::Month.start(Timestamp(Self::Month.start(at).0.saturating_add(31 * DAY_MS)));
            }
            Self::Total => return Timestamp::NEVER,
        };
        let start = self.start(at).0;
        // The week of the first of January 1970 began before there was time.
        let first = matches!(self, Self::Week) && start == 0;
        Timestamp(if first { 4 * DAY_MS } else { start.saturating_add(length) })
    }
}

/// Year, month (from 1) and day of the month (from 1) in UTC.
#[must_use]
pub const fn date(at: Timestamp) -> (u64, u64, u64) {
    let day = at.0 / DAY_MS;
    let shifted = day.wrapping_add(719_468);
    let (year, of_year) = year_of_era(shifted % 146_097);
    let month = of_year.wrapping_mul(5).wrapping_add(2) / 153;
    // January and February are the last months of the year before.
    let (month, late) = if month < 10 { (month.wrapping_add(3), 0) } else { (month.wrapping_sub(9), 1) };
    let year = (shifted / 146_097).wrapping_mul(400).wrapping_add(year).wrapping_add(late);
    (year, month, day_of_month(day).wrapping_add(1))
}

/// A moment: `2026-11-24`, `2026-11-24 08:00`, `2026-11-24T08:00:00.123Z` in UTC, `2026-11-24T09:00+01:00` elsewhere, from 1970 to
/// 9999; `None`: it is something else, or there is no such day.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let (day, time) = text.trim_end_matches('Z').split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let Some(place) = time.find(['+', '-']) else { return in_utc(day, time) };
    let (time, offset) = time.split_at(place);
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let digits = |part: &str, most: u64| {
        let number: Option<u64> =
            part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
        number.filter(|number| part.len() == 2 && *number <= most)
    };
    let minutes = digits(hours, 23)?.saturating_mul(60).saturating_add(digits(minutes, 59)?);
    let (local, away) = (in_utc(day, time)?, minutes.saturating_mul(60_000));
    if offset.starts_with('+') { local.0.checked_sub(away) } else { local.0.checked_add(away) }.map(Timestamp)
}

fn in_utc(day: &str, time: &str) -> Option<Timestamp> {
    let numbers =
        |text: &str, sep: char| text.split(sep).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let [year, month, of_month] = numbers(day, '-')?[..] else { return None };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    if !(1970..10_000).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let start = day_number(year, month, of_month).saturating_mul(DAY_MS);
    let seconds = hour.saturating_mul(3600).saturating_add(minute.saturating_mul(60)).saturating_add(second);
    let at = start.saturating_add(seconds.saturating_mul(1000)).saturating_add(ms);
    // What is no day of the calendar, as 30 February, comes out as another.
    (date(Timestamp(at)) == (year, month, of_month)).then_some(Timestamp(at))
}

/// Days from 1970-01-01 to a day (Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
const fn day_number(year: u64, month: u64, of_month: u64) -> u64 {
    let (year, month) =
        if month > 2 { (year, month.wrapping_sub(3)) } else { (year.wrapping_sub(1), month.wrapping_add(9)) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = month.wrapping_mul(153).wrapping_add(2) / 5;
    let days = of_era.wrapping_mul(365).wrapping_add(of_era / 4).wrapping_sub(of_era / 100);
    let days = era.wrapping_mul(146_097).wrapping_add(days).wrapping_add(of_year).wrapping_add(of_month);
    days.saturating_sub(719_469)
}

/// Days since the first of the month, of a day counted from 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year; 400 of them have 146,097 days. (Howard
/// Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.)
const fn day_of_month(day: u64) -> u64 {
    let (_, of_year) = year_of_era(day.wrapping_add(719_468) % 146_097);
    let month = of_year.wrapping_mul(5).wrapping_add(2) / 153;
    of_year.wrapping_sub(month.wrapping_mul(153).wrapping_add(2) / 5)
}

/// Year of 400 and day of that year, both counted from March.
const fn year_of_era(of_era: u64) -> (u64, u64) {
    let leap =
        of_era.wrapping_sub(of_era / 1460).wrapping_add(of_era / 36_524).wrapping_sub(of_era / 146_096);
    let year = leap / 365;
    (year, of_era.wrapping_sub(year.wrapping_mul(365).wrapping_add(year / 4).wrapping_sub(year / 100)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn months_begin_on_their_first() {
        // date -u -d ... +%s
        let month = |at: u64| Span::Month.start(Timestamp(at * 1000)).0 / 1000;
        assert_eq!(month(1_764_158_463), 1_761_955_200, "2025-11-26 is in the month of 2025-11-01");
        assert_eq!(month(1_709_251_199), 1_706_745_600, "2024-02-29 23:59:59 is in February");
        assert_eq!(month(1_709_251_200), 1_709_251_200, "2024-03-01 begins one");
        assert_eq!(month(951_782_400), 949_363_200, "2000-02-29");
        assert_eq!(Span::Month.end(Timestamp(1_706_745_600_000)).0, 1_709_251_200_000);
        assert_eq!(Span::Month.end(Timestamp(0)).0, 31 * 24 * HOUR);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |at: u64| date(Timestamp(at * 1000));
        assert_eq!(of(0), (1970, 1, 1));
        assert_eq!(of(951_782_400), (2000, 2, 29));
        assert_eq!(of(1_709_251_199), (2024, 2, 29));
        assert_eq!(of(1_764_158_463), (2025, 11, 26));
        assert_eq!(of(1_767_225_599), (2025, 12, 31));
        assert_eq!(of(1_767_225_600), (2026, 1, 1));
    }

    #[test]
    fn every_day_of_four_centuries_is_read_back() {
        for day in 0..160_000_u64 {
            let (year, month, of_month) = date(Timestamp(day * DAY_MS));
            let text = format!("{year}-{month:02}-{of_month:02}T08:30");
            assert_eq!(moment(&text), Some(Timestamp(day * DAY_MS + 30_600_000)), "{text}");
        }
        assert_eq!(moment("2026-11-24T03:33:04.120Z"), Some(Timestamp(1_795_491_184_120)));
        assert_eq!(moment("2026-11-24"), Some(Timestamp(1_795_478_400_000)));
        assert_eq!(moment("2026-11-24T05:03:04.120+01:30"), Some(Timestamp(1_795_491_184_120)));
        assert_eq!(moment("2026-11-23T19:00-05:00"), Some(Timestamp(1_795_478_400_000)));
        for wrong in [
            "2026-11-24T08:00+1",
            "2026-11-24T08:00+25:00",
            "2026-11-24T08:00+01:60",
            "2026-11-24T08:00+-1:00",
        ] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
        let none =
            ["", "tomorrow", "2026-02-30", "2026-13-01", "2026-00-10", "2026-11-00", "2026-11", "1969-12-31"];
        for wrong in none.into_iter().chain([
            "2026-11-24T24:00",
            "2026-11-24T08",
            "2026-11-24T08:00:60",
            "20000-01-01",
        ]) {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-11-23 is a Monday.
        let monday = Timestamp(1_795_392_000_000);
        assert_eq!(Span::Week.start(monday), monday);
        assert_eq!(Span::Week.start(Timestamp(monday.0 - 1)).0, monday.0 - 7 * 24 * HOUR);
        assert_eq!(Span::Week.end(monday).0, monday.0 + 7 * 24 * HOUR);
        assert_eq!(Span::Week.end(Timestamp(0)).0, 4 * 24 * HOUR, "1970-01-05 was a Monday");
    }

    #[test]
    fn spans_are_without_gap() {
        for span in [Span::Day, Span::Week, Span::Month] {
            let mut at = Timestamp(0);
            for _ in 0..3000 {
                let next = span.end(at);
                assert!(next > at);
                assert_eq!(span.start(next), next, "{span:?}");
                assert_eq!(span.start(Timestamp(next.0 - 1)), at, "{span:?}");
                at = next;
            }
        }
    }
}
