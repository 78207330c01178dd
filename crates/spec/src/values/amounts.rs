//! Amounts and ranges of them: a bare number is what must be there, `a..b` is guaranteed..most.

use super::{ValueError, text_value};
use crate::limits;
use pond_core::units::{Bytes, MilliCpu, Millis, Thousandths};
use std::fmt;
use std::str::FromStr;

/// Cores of one task: `4`, `0.5`, `500m`, `4..16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Guaranteed.
    pub min: MilliCpu,
    /// The most, when others leave it unused.
    pub max: MilliCpu,
}

/// Memory of one task: `32GB`, `512MiB`, `8GB..32GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// Guaranteed.
    pub min: Bytes,
    /// The most, when others leave it unused.
    pub max: Bytes,
}

/// A size on disk or in `/dev/shm`: `200GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSize(pub Bytes);

/// A span of time: `90s`, `1h30m`, `2d`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Millis);

/// Tasks that start together: `4`, or `2..4` when elastic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCount {
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// A part of a device: `30%`, `0.3`, `30%..60%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Guaranteed.
    pub min: Thousandths,
    /// The most, when others leave it unused.
    pub max: Thousandths,
}

/// A speed against another, in thousandths: `0.5` is half as fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(pub u64);

text_value!(Cores, "a number of cores, or guaranteed..most", ["number", "string"], [4, 0.5, "4..16"]);
text_value!(MemorySize, "a size in bytes, or guaranteed..most", ["integer", "string"], ["32GB", "8GB..32GB"]);
text_value!(DiskSize, "a size in bytes", ["integer", "string"], ["200GB", "512MiB"]);
text_value!(Span, "a span of time", ["number", "string"], ["24h", "1h30m", "90s"]);
text_value!(NodeCount, "a number of nodes, or fewest..most", ["integer", "string"], [4, "2..4"]);
text_value!(Factor, "a factor of speed", ["number", "string"], [1, 0.5, 3.4]);
text_value!(Share, "a part of a device, or guaranteed..most", ["number", "string"], ["30%", 0.3, "30%..60%"]);

fn range<T: FromStr + PartialOrd + Copy>(text: &str, example: &'static str) -> Result<(T, T), ValueError>
where
    ValueError: From<T::Err>,
{
    let Some((low, high)) = text.split_once("..") else {
        let only = text.parse()?;
        return Ok((only, only));
    };
    let (low, high): (T, T) = (low.parse()?, high.parse()?);
    if high < low {
        return Err(ValueError::Backwards { text: text.to_owned(), example });
    }
    Ok((low, high))
}

fn bounded(
    what: &'static str,
    low: u64,
    high: u64,
    most: u64,
    text: &str,
    most_text: &str,
) -> Result<(), ValueError> {
    if low == 0 {
        return Err(ValueError::Zero { what });
    }
    if high > most {
        return Err(ValueError::TooLarge {
            what,
            text: crate::read::short(text),
            most: most_text.to_owned(),
        });
    }
    Ok(())
}

impl FromStr for Cores {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (min, max) = range::<MilliCpu>(text, "4..16")?;
        bounded("CPU", min.0, max.0, limits::CPU_MILLI, text, "100000 cores")?;
        Ok(Self { min, max })
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.min.fmt(f)?;
        if self.max == self.min { Ok(()) } else { write!(f, "..{}", self.max) }
    }
}

impl FromStr for MemorySize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (min, max) = range::<Bytes>(text, "8GB..32GB")?;
        bounded("memory", min.0, max.0, limits::MEMORY, text, "1PB")?;
        Ok(Self { min, max })
    }
}

impl MemorySize {
    /// The most, where it is more than what is guaranteed.
    #[must_use]
    pub fn most(&self) -> Option<Bytes> {
        (self.max > self.min).then_some(self.max)
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact_size(self.min))?;
        if self.max == self.min { Ok(()) } else { write!(f, "..{}", exact_size(self.max)) }
    }
}

impl FromStr for DiskSize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let size: Bytes = text.parse()?;
        bounded("the size", size.0, size.0, limits::DISK, text, "100PB")?;
        Ok(Self(size))
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact_size(self.0))
    }
}

impl FromStr for Span {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let span: Millis = text.parse()?;
        if span.0 > limits::SPAN_MS {
            return Err(ValueError::TooLarge {
                what: "a time",
                text: crate::read::short(text),
                most: "10 years".to_owned(),
            });
        }
        Ok(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl FromStr for NodeCount {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a number of nodes", "4, or 2..4 when fewer will do");
        let number = |part: &str| part.trim().parse::<u32>().map_err(|_why| wrong());
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (number(min)?, number(max)?),
            None => (number(text)?, number(text)?),
        };
        if max < min {
            return Err(ValueError::Backwards { text: text.to_owned(), example: "2..4" });
        }
        bounded("nodes", min.into(), max.into(), limits::NODES.into(), text, "10000")?;
        Ok(Self { min, max })
    }
}

impl fmt::Display for NodeCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { self.min.fmt(f) } else { write!(f, "{}..{}", self.min, self.max) }
    }
}

impl FromStr for Share {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a part of a device", "30%, 0.3 or 30%..60%");
        let part = |text: &str| {
            // MilliCpu reads decimals into thousandths; percent are hundredths.
            let share = match text.trim().strip_suffix('%') {
                Some(percent) => percent.parse::<MilliCpu>().map_err(|_why| wrong())?.0 / 100,
                None => text.parse::<MilliCpu>().map_err(|_why| wrong())?.0,
            };
            let sound = share > 0 && share <= Thousandths::WHOLE.0 && !text.ends_with('m');
            if sound { Ok(Thousandths(share)) } else { Err(wrong()) }
        };
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (part(min)?, part(max)?),
            None => (part(text)?, part(text)?),
        };
        if max < min {
            return Err(ValueError::Backwards { text: text.to_owned(), example: "30%..60%" });
        }
        Ok(Self { min, max })
    }
}

impl FromStr for Factor {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a factor of speed", "1, 0.5 or 3.4");
        // MilliCpu reads decimals into thousandths, and knows `m`.
        let factor = text.parse::<MilliCpu>().map_err(|_why| wrong())?.0;
        if text.ends_with('m') {
            return Err(wrong());
        }
        bounded("the factor", factor, factor, limits::SPEED, text, "1000")?;
        Ok(Self(factor))
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return whole.fmt(f);
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

impl Share {
    /// The most, where it is more than what is guaranteed.
    #[must_use]
    pub fn most(&self) -> Option<Thousandths> {
        (self.max > self.min).then_some(self.max)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.min.fmt(f)?;
        self.most().map_or(Ok(()), |most| write!(f, "..{most}"))
    }
}

/// A size in the largest unit that divides it, so that nothing is lost.
pub(crate) fn exact_size(size: Bytes) -> String {
    const UNITS: [(u64, &str); 8] = [
        (1_000_000_000_000, "TB"),
        (1 << 40, "TiB"),
        (1_000_000_000, "GB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1000, "KB"),
        (1 << 10, "KiB"),
    ];
    let fits = UNITS.iter().find(|(unit, _)| size.0 >= *unit && size.0.is_multiple_of(*unit));
    fits.map_or_else(|| size.0.to_string(), |(unit, name)| format!("{}{name}", size.0 / unit))
}
