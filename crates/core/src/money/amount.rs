//! Amounts as people write them: decimal numbers of the currency.

use super::MICROS;

/// Micro-units as a decimal number: at least two decimals, and as many as it has: `12.50`, `-0.000001`.
#[must_use]
pub fn decimal(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (size, one) = (micros.unsigned_abs(), u128::from(MICROS));
    let (whole, rest) = (size.checked_div(one).unwrap_or(0), size.checked_rem(one).unwrap_or(0));
    let rest = format!("{rest:06}");
    let short = rest.trim_end_matches('0');
    format!("{sign}{whole}.{short:0<2}")
}

/// How many digits an amount has behind its point: from 2 to 6.
#[must_use]
pub fn places(micros: i128) -> usize {
    decimal(micros).rsplit_once('.').map_or(2, |(_, part)| part.len())
}

/// The same with so many digits behind the point, at least those that it has.
#[must_use]
pub fn decimal_to(micros: i128, least: usize) -> String {
    let mut text = decimal(micros);
    let short = least.saturating_sub(places(micros));
    text.extend(std::iter::repeat_n('0', short));
    text
}

/// Micro-units of digits with up to six more behind a point; `None`: it is something else, or too much.
#[must_use]
pub fn micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(MICROS)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_to_the_last_micro_unit() {
        let all = [
            (0, "0.00"),
            (2_500_000, "2.50"),
            (12_345_678, "12.345678"),
            (1, "0.000001"),
            (2_100_000, "2.10"),
        ];
        for (amount, text) in all {
            assert_eq!((decimal(amount.into()).as_str(), micros(text)), (text, Some(amount)));
        }
        assert_eq!(
            (decimal(-1).as_str(), micros("7"), micros("7.5")),
            ("-0.000001", Some(7_000_000), Some(7_500_000))
        );
        for wrong in
            ["", ".5", "-1", "1.0000001", "1,5", "99999999999999999999", "99999999999999", "1e3", " 1"]
        {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
