//! Integers as people read them. Halves round up; nothing depends on the machine's floats.

/// `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds as whole seconds: `9,110`; below ten seconds with one decimal: `4.5`.
#[must_use]
pub fn seconds(ms: u64) -> String {
    if ms < 9_950 && ms != 0 { decimals(ms.saturating_add(50) / 100, 1) } else { grouped(rounded(ms, 1000)) }
}

/// Milliseconds in the largest unit that leaves a number of at least 1: `45 s`, `2.5 h`, `3.1 d`.
#[must_use]
pub fn span(ms: u64) -> String {
    let (unit, name) = match ms {
        0..60_000 => (1000, "s"),
        60_000..3_600_000 => (60_000, "min"),
        3_600_000..86_400_000 => (3_600_000, "h"),
        _ => (86_400_000, "d"),
    };
    let tenths = rounded(ms.saturating_mul(10), unit);
    let short = decimals(tenths, 1);
    let short =
        if tenths >= 1000 { grouped(rounded(tenths, 10)) } else { short.trim_end_matches(".0").to_owned() };
    format!("{short} {name}")
}

/// Milliseconds times thousandths of devices as device-hours with one decimal: `1,234.5`.
#[must_use]
pub fn hours(device_ms_milli: u128) -> String {
    let tenths = device_ms_milli.saturating_add(180_000_000) / 360_000_000;
    decimals(u64::try_from(tenths).unwrap_or(u64::MAX), 1)
}

/// Thousandths with two decimals: `12.35`; from a thousand on without: `1,234`.
#[must_use]
pub fn thousandths(milli: u64) -> String {
    if milli >= 1_000_000 { grouped(rounded(milli, 1000)) } else { decimals(rounded(milli, 10), 2) }
}

/// Parts per million as percent with one decimal: `97.5`.
#[must_use]
pub fn percent(ppm: u64) -> String {
    decimals(rounded(ppm, 1000), 1)
}

/// Parts per million as a number with three decimals: `0.975`.
#[must_use]
pub fn ratio(ppm: u64) -> String {
    decimals(rounded(ppm, 1000), 3)
}

const fn rounded(number: u64, by: u64) -> u64 {
    number.saturating_add(by / 2) / by
}

/// `number` with its last `places` digits behind a point.
fn decimals(number: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    format!("{}.{:0width$}", grouped(number / unit), number % unit, width = places as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped));
        assert_eq!(
            ["0", "0.1", "4.5", "9.9", "10", "9,110"],
            [0, 50, 4_449 + 1, 9_949, 9_950, 9_110_499].map(seconds)
        );
        assert_eq!(["1.00", "12.35", "999.99", "1,000"], [1000, 12_345, 999_994, 1_000_000].map(thousandths));
        assert_eq!((percent(975_499), ratio(975_500)), ("97.5".to_owned(), "0.976".to_owned()));
        assert_eq!(
            ["0 s", "1.5 s", "59 s", "2.5 min", "10 h", "1.5 d", "150 d"],
            [0, 1_500, 59_000, 150_000, 36_000_000, 129_600_000, 12_960_000_000].map(span)
        );
        // Two devices for half an hour.
        assert_eq!(hours(2_000 * 1_800_000), "1.0");
    }
}
