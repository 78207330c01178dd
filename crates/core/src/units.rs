//! Amounts with units: every quantity the pool counts is an integer behind a type.
//!
//! Addition and subtraction saturate explicitly or are checked; nothing here can wrap or panic.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `amount · by / whole`, rounded down; the largest number when it is larger than that. A whole of zero counts as one.
///
/// Most products have room in 64 bits, where a division takes a tenth of the time that it takes in 128.
#[must_use]
pub fn scaled(amount: u64, by: u64, whole: u64) -> u64 {
    let whole = whole.max(1);
    match amount.checked_mul(by) {
        Some(product) => product / whole,
        None => {
            let product = u128::from(amount) * u128::from(by);
            u64::try_from(product / u128::from(whole)).unwrap_or(u64::MAX)
        }
    }
}

/// The same, rounded up.
#[must_use]
pub fn scaled_up(amount: u64, by: u64, whole: u64) -> u64 {
    let whole = whole.max(1);
    match amount.checked_mul(by) {
        Some(product) => product.div_ceil(whole),
        None => {
            let product = u128::from(amount) * u128::from(by);
            u64::try_from(product.div_ceil(u128::from(whole))).unwrap_or(u64::MAX)
        }
    }
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The amount zero.
            pub const ZERO: Self = Self(0);
            /// The largest amount; stands for "no limit".
            pub const MAX: Self = Self(u64::MAX);

            /// Sum, capped at [`Self::MAX`].
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
            /// Difference, floored at zero.
            #[must_use]
            pub const fn minus(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
            /// Difference, or `None` when `other` is larger.
            #[must_use]
            pub const fn checked_minus(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(left) => Some(Self(left)),
                    None => None,
                }
            }
            /// Product with a count, capped at [`Self::MAX`].
            #[must_use]
            pub const fn times(self, count: u64) -> Self {
                Self(self.0.saturating_mul(count))
            }
            /// Whether the amount is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}

amount!(
    /// CPU in thousandths of a core: 1000 is one core.
    MilliCpu
);
amount!(
    /// Memory or disk in bytes.
    Bytes
);
amount!(
    /// A span of time in milliseconds.
    Millis
);
amount!(
    /// A share of one device's compute in thousandths: 1000 is the whole device.
    Thousandths
);

impl Thousandths {
    /// The whole device.
    pub const WHOLE: Self = Self(1000);
}

impl Millis {
    /// Whole seconds as milliseconds, capped.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }
}

/// A moment: milliseconds since the Unix epoch (real life) or since the start of a run (simulator).
///
/// The drive loop feeds non-decreasing values, whatever the machine's clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The far end of time; stands for "no deadline".
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment shifted later by `span`, capped at [`Self::NEVER`].
    #[must_use]
    pub const fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
    /// The span from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => {
                let digits = format!("{rest:03}");
                write!(f, "{}.{}", self.0 / 1000, digits.trim_end_matches('0'))
            }
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
        for (size, unit) in UNITS {
            if self.0 >= size {
                let whole = self.0 / size;
                let tenth = (self.0 % size) / (size / 10);
                return match tenth {
                    0 => write!(f, "{whole}{unit}"),
                    _ => write!(f, "{whole}.{tenth}{unit}"),
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0 / 1000;
        match (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60) {
            (0, 0, 0, 0) => write!(f, "{}ms", self.0),
            (0, 0, 0, s) => write!(f, "{s}s"),
            (0, 0, m, s) => write!(f, "{m}m{s:02}s"),
            (0, h, m, _) => write!(f, "{h}h{m:02}m"),
            (d, h, _, _) => write!(f, "{d}d{h:02}h"),
        }
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MilliCpu(self.0).fmt(f)
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Does not begin with a decimal number with at most three decimals that count.
    #[error("`{text}` is not {amount}; write for example {example}")]
    NotANumber {
        /// What was read.
        text: String,
        /// What was being read: "a size", "a duration", ...
        amount: &'static str,
        /// How to write one.
        example: &'static str,
    },
    /// A unit that this amount does not have.
    #[error("`{unit}` is not a unit of {amount}; use one of {known}")]
    UnknownUnit {
        /// The unit that was read.
        unit: String,
        /// What was being read: "a size", "a duration", ...
        amount: &'static str,
        /// The units there are.
        known: &'static str,
    },
    /// Larger than 2^64-1 in the base unit.
    #[error("`{text}` is larger than any machine has")]
    TooLarge {
        /// What was read.
        text: String,
    },
}

/// What an amount is called, and how it is written.
type Kind = (&'static str, &'static str);

const CPU: Kind = ("a number of cores", "4, 0.5 or 500m");
const SIZE: Kind = ("a size", "512MB, 1.5TB or 8GiB");
const DURATION: Kind = ("a duration", "90s, 1h30m or 2d");

fn not_a_number(text: &str, (amount, example): Kind) -> AmountError {
    AmountError::NotANumber { text: text.to_owned(), amount, example }
}

/// Splits `1.5GB` into the value in thousandths (1500) and the unit (`GB`).
fn split(text: &str, kind: Kind) -> Result<(u128, &str), AmountError> {
    let not_a_number = || not_a_number(text, kind);
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(not_a_number());
    }
    if whole.len() > 20 || fraction.len() > 20 {
        return Err(AmountError::TooLarge { text: text.to_owned() });
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 3 {
        return Err(not_a_number());
    }
    let digits = |text: &str| -> Result<u128, AmountError> {
        if text.is_empty() { Ok(0) } else { text.parse().map_err(|_why| not_a_number()) }
    };
    let mut thousandths = digits(fraction)?;
    for _ in fraction.len()..3 {
        thousandths *= 10;
    }
    Ok((digits(whole)? * 1000 + thousandths, unit.trim()))
}

fn in_units(text: &str, thousandths: u128, unit: u64) -> Result<u64, AmountError> {
    let too_large = |_why| AmountError::TooLarge { text: text.to_owned() };
    u64::try_from(thousandths * u128::from(unit) / 1000).map_err(too_large)
}

impl std::str::FromStr for MilliCpu {
    type Err = AmountError;
    /// Reads cores (`4`, `0.5`) or thousandths of a core (`500m`).
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (value, unit) = split(text, CPU)?;
        match unit {
            "" => Ok(Self(in_units(text, value, 1000)?)),
            "m" => Ok(Self(in_units(text, value, 1)?)),
            other => Err(AmountError::UnknownUnit {
                unit: other.to_owned(),
                amount: "CPU",
                known: "nothing (cores) or m (thousandths)",
            }),
        }
    }
}

impl std::str::FromStr for Bytes {
    type Err = AmountError;
    /// Reads bytes with a unit: `512MB`, `1.5TB` (powers of 1000), `512MiB` or `512Mi` (powers of 1024).
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (value, unit) = split(text, SIZE)?;
        let size = match unit {
            "" | "B" => 1,
            "KB" | "kB" | "K" | "k" => 1000,
            "MB" | "M" => 1000_u64.pow(2),
            "GB" | "G" => 1000_u64.pow(3),
            "TB" | "T" => 1000_u64.pow(4),
            "PB" | "P" => 1000_u64.pow(5),
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "TiB" | "Ti" => 1 << 40,
            "PiB" | "Pi" => 1 << 50,
            other => {
                return Err(AmountError::UnknownUnit {
                    unit: other.to_owned(),
                    amount: "size",
                    known: "B KB MB GB TB PB KiB MiB GiB TiB PiB",
                });
            }
        };
        Ok(Self(in_units(text, value, size)?))
    }
}

impl std::str::FromStr for Millis {
    type Err = AmountError;
    /// Reads one or more parts with a unit, largest first by habit: `90s`, `1h30m`, `2d`, `250ms`. A bare number is seconds.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let mut rest = text.trim();
        let mut total = 0_u64;
        if !rest.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Err(not_a_number(text, DURATION));
        }
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let unit_len = rest[number..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - number);
            let (part, tail) = rest.split_at(number + unit_len);
            let (value, unit) = split(part, DURATION)?;
            let size = match unit {
                "ms" => 1,
                "" | "s" => 1000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                other => {
                    return Err(AmountError::UnknownUnit {
                        unit: other.to_owned(),
                        amount: "a duration",
                        known: "ms s m h d w",
                    });
                }
            };
            total = total
                .checked_add(in_units(text, value, size)?)
                .ok_or_else(|| AmountError::TooLarge { text: text.to_owned() })?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        assert_eq!("32GB".parse(), Ok(Bytes(32_000_000_000)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes(3 << 29)));
        assert_eq!(Bytes(1_500_000).to_string(), "1.5MB");
        assert!("12XB".parse::<Bytes>().unwrap_err().to_string().contains("GiB"));
        assert!(matches!("99999999PB".parse::<Bytes>(), Err(AmountError::TooLarge { .. })));
    }

    #[test]
    fn cpus_read_and_print() {
        assert_eq!("0.5".parse(), Ok(MilliCpu(500)));
        assert_eq!("250m".parse(), Ok(MilliCpu(250)));
        assert_eq!(MilliCpu(1250).to_string(), "1.25");
        assert!("1.2345".parse::<MilliCpu>().is_err());
        assert!("-1".parse::<MilliCpu>().is_err());
    }

    #[test]
    fn durations_read_and_print() {
        assert_eq!("1h30m".parse(), Ok(Millis(5_400_000)));
        assert_eq!("250ms".parse(), Ok(Millis(250)));
        assert_eq!("90".parse(), Ok(Millis(90_000)));
        assert_eq!(Millis(5_400_000).to_string(), "1h30m");
        assert!("".parse::<Millis>().is_err());
        assert!("5y".parse::<Millis>().is_err());
    }
}
