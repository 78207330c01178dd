//! Moments and spans as traces write them. No time zones: a local time stays local, an offset is taken as written.

const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01 of a date of the Gregorian calendar; `None` when there is no such date (years 1 to 9999).
#[must_use]
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=9999).contains(&year) || !(1..=longest).contains(&day) {
        return None;
    }
    // Years that begin in March end with the leap day; 306 days lie between March 1st and the year's end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    Some(before + (month * 306 + 5) / 10 + day - 1 - 719_468)
}

/// The date of a moment in milliseconds since 1970: year, month, day.
#[must_use]
pub fn date(at_ms: i64) -> (i64, i64, i64) {
    let shifted = at_ms.div_euclid(DAY_MS) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The hour of the week of a moment in milliseconds since 1970, 0 to 167, from Monday 00:00.
#[must_use]
pub fn hour_of_week(at_ms: i64) -> usize {
    // 1970-01-01 was a Thursday, 72 hours into its week.
    usize::try_from((at_ms.div_euclid(3_600_000) + 72).rem_euclid(168)).unwrap_or(0)
}

/// Words that stand for no moment.
#[must_use]
pub fn is_unknown(text: &str) -> bool {
    ["", "unknown", "none", "null", "nan", "na", "n/a", "-", "nat"]
        .iter()
        .any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// A decimal number in thousandths, rounded to the nearest, half away from zero.
#[must_use]
pub fn read_thousandths(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some((mantissa, exponent)) = text.split_once(['e', 'E']) {
        let value: f64 = format!("{mantissa}e{exponent}").parse().ok()?;
        let milli = (value * 1000.0).round();
        // Above 2^53 a float no longer counts one by one.
        let whole = (milli.abs() <= 9.0e15).then_some(milli as i64)?;
        return Some(if negative { -whole } else { whole });
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let place = |at: usize| fraction.as_bytes().get(at).map_or(0, |digit| i64::from(digit - b'0'));
    let milli = place(0) * 100 + place(1) * 10 + place(2) + i64::from(place(3) >= 5);
    let value = whole.checked_mul(1000)?.checked_add(milli)?;
    Some(if negative { -value } else { value })
}

/// A moment in milliseconds since 1970: `2020-04-01 00:02:31`, `2020-04-01T00:02:31.25`, with `Z`, an offset or the
/// name of a zone behind it, `2020/4/1 0:02`, a date alone, or seconds, milliseconds or microseconds since 1970.
///
/// An offset (`+08:00`) moves the moment to UTC; the name of a zone (`PDT`) is passed over: the time stays local.
/// `4/1/2020` is refused: whether it is in April or in January cannot be told.
#[must_use]
pub fn read_moment(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return read_count(text);
    }
    let (date, clock) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let mut parts = date.split(['-', '/']);
    let mut part = || parts.next().and_then(|part| read_digits(part, 4));
    let (year, month, day) = (part()?, part()?, part()?);
    if parts.next().is_some() || year < 1000 {
        return None;
    }
    let start = days(year, month, day)? * DAY_MS;
    if clock.is_empty() { Some(start) } else { Some(start + read_clock(clock)?) }
}

/// Since 1970 in the unit that gives a date between 1973 and 5138.
fn read_count(text: &str) -> Option<i64> {
    let whole = text.split('.').next().unwrap_or_default();
    match whole.len() {
        9..=11 => read_thousandths(text),
        12..=14 => whole.parse().ok(),
        15..=17 => whole.parse::<i64>().ok().map(|micros| micros / 1000),
        _ => None,
    }
}

fn read_digits(text: &str, most: usize) -> Option<i64> {
    let good = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

/// `00:02`, `00:02:31.5`, with `Z`, `+08:00`, `-0500` or `PDT` behind it; in milliseconds, to UTC where an offset is given.
fn read_clock(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(text.len());
    let (clock, zone) = (&text[..end], text[end..].trim());
    let mut parts = clock.split(':');
    let hours = read_digits(parts.next()?, 2)?;
    let minutes = read_digits(parts.next()?, 2)?;
    let seconds = match parts.next() {
        Some(text) if text.split('.').next().is_some_and(|whole| whole.len() <= 2) => read_thousandths(text)?,
        Some(_) => return None,
        None => 0,
    };
    // 60 seconds: a leap second.
    if parts.next().is_some() || hours > 24 || minutes > 59 || !(0..61_000).contains(&seconds) {
        return None;
    }
    Some((hours * 60 + minutes) * 60_000 + seconds - read_zone(zone)?)
}

fn read_zone(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_alphabetic()) && text.len() <= 5 {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|&c| c != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (read_digits(&digits, 2)?, 0),
        4 => (read_digits(digits.get(..2)?, 2)?, read_digits(digits.get(2..)?, 2)?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// A span as Slurm writes it, in milliseconds: `[days-]hours:minutes:seconds`, `minutes:seconds[.fraction]`, `days-hours`.
#[must_use]
pub fn read_span(text: &str) -> Option<u64> {
    let text = text.trim();
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(read_digits(days, 6)?), clock),
        None => (None, text),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let whole = |text: &str| read_digits(text, 9);
    let millis = match (parts.as_slice(), days) {
        ([hours, minutes, seconds], _) => {
            (whole(hours)? * 3_600_000 + whole(minutes)? * 60_000).checked_add(read_thousandths(seconds)?)?
        }
        ([hours, minutes], Some(_)) => whole(hours)? * 3_600_000 + whole(minutes)? * 60_000,
        ([hours], Some(_)) => whole(hours)? * 3_600_000,
        ([minutes, seconds], None) => (whole(minutes)? * 60_000).checked_add(read_thousandths(seconds)?)?,
        _ => return None,
    };
    u64::try_from(millis.checked_add(days.unwrap_or(0) * DAY_MS)?).ok()
}

/// A moment in milliseconds since 1970 as `2020-04-01 00:02:31`.
#[must_use]
pub fn show(at_ms: i64) -> String {
    let (year, month, day) = date(at_ms);
    let seconds = at_ms.rem_euclid(DAY_MS) / 1000;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        let first = days(1600, 1, 1).unwrap();
        for day in first..days(2400, 1, 1).unwrap() {
            let (year, month, of_month) = date(day * DAY_MS);
            assert_eq!(days(year, month, of_month), Some(day));
        }
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!((days(2021, 2, 29), days(2020, 2, 29)), (None, Some(18_321)));
    }

    #[test]
    fn moments_in_several_forms() {
        let at = 1_585_699_351_000;
        for text in [
            "2020-04-01 00:02:31",
            "2020-04-01T00:02:31Z",
            "2020-04-01 00:02:31.0000",
            "2020/4/1 0:02:31",
            "2020-04-01T08:02:31+08:00",
            "2020-03-31T19:02:31-0500",
            "2020-04-01 00:02:31 PDT",
            "1585699351",
            "1585699351.0",
            "1585699351000",
            "1585699351000000",
        ] {
            assert_eq!(read_moment(text), Some(at), "{text}");
        }
        assert_eq!(read_moment("2020-04-01"), Some(at - 151_000));
        assert_eq!(show(at), "2020-04-01 00:02:31");
        assert_eq!(hour_of_week(at), 48, "a Wednesday");
        for text in
            ["4/1/2020", "2020-13-01", "2020-02-30 00:00:00", "soon", "2020-04-01 25:00", "12", "2020-04-01x"]
        {
            assert_eq!(read_moment(text), None, "{text}");
        }
    }

    #[test]
    fn spans_of_slurm() {
        let known = [
            ("1-02:03:04", 93_784_000),
            ("00:00:07", 7000),
            ("02:03.500", 123_500),
            ("1-12", 129_600_000),
            ("36:00:00", 129_600_000),
        ];
        for (text, millis) in known {
            assert_eq!(read_span(text), Some(millis), "{text}");
        }
        assert!(
            ["", "UNLIMITED", "5", "a:b:c", "1:2:3:4", "-1:00"].iter().all(|text| read_span(text).is_none())
        );
    }
}
