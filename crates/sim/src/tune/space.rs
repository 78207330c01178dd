//! Parameters that are searched: whole numbers in a range, or one of several words.

use pond_core::units::{AmountError, Millis};
use std::fmt;
use std::str::FromStr;

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A whole number.
    Number(u64),
    /// A span of time.
    Span(Millis),
    /// A word.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            // To be written back: to the millisecond, in the largest unit that has no remainder.
            Self::Span(Millis(span)) => {
                let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
                match units.iter().find(|(_, unit)| *span > 0 && span.is_multiple_of(*unit)) {
                    Some((name, unit)) => write!(f, "{}{name}", span / unit),
                    None => write!(f, "{span}ms"),
                }
            }
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// A parameter and what it may be: `plan.ranking.base=2..16:log`, `plan.calm=10s..10min`, `plan.order=las|tiresias`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    name: String,
    range: Range,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Range {
    /// `unit` of a span: of what its values are multiples, in milliseconds.
    Numbers {
        low: u64,
        high: u64,
        log: bool,
        unit: Option<u64>,
    },
    Words(Vec<String>),
}

/// Why a text is no parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No `=`, or nothing before or behind it.
    #[error("`{0}` is not a parameter; write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=WORD|WORD")]
    Form(String),
    /// An end of a range that is no whole number and no span.
    #[error("`{name}`: `{text}` is neither a whole number nor a span of time such as 10s or 5min")]
    NotANumber {
        /// The parameter.
        name: String,
        /// What was read.
        text: String,
        /// What the units said.
        #[source]
        why: Option<AmountError>,
    },
    /// The lower end is above the upper one.
    #[error("`{name}`: {low} is above {high}; write the lower end first")]
    Backwards {
        /// The parameter.
        name: String,
        /// Lower end.
        low: u64,
        /// Upper end.
        high: u64,
    },
    /// A logarithmic scale that begins at 0.
    #[error("`{0}`: a logarithmic range begins above 0")]
    LogOfZero(String),
    /// A scale that does not exist.
    #[error("`{name}`: `{scale}` is no scale; leave it out or write :log")]
    Scale {
        /// The parameter.
        name: String,
        /// What was read.
        scale: String,
    },
}

impl Param {
    /// The setting's name, as it was written.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its values are numbers.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(self.range, Range::Numbers { .. })
    }

    /// The value at so many parts of the way (`0..=1`) from the low end to the high end, rounded.
    #[must_use]
    pub fn value(&self, part: f64) -> Value {
        let part = part.clamp(0.0, 1.0);
        match &self.range {
            Range::Numbers { low, high, log, unit } => {
                let (from, to) = (*low as f64, *high as f64);
                let value = if *log { from * (to / from).powf(part) } else { from + (to - from) * part };
                let step = unit.unwrap_or(1);
                let value = ((value / step as f64).round() as u64).saturating_mul(step).clamp(*low, *high);
                if unit.is_some() { Value::Span(Millis(value)) } else { Value::Number(value) }
            }
            Range::Words(words) => {
                let place = (part * words.len() as f64) as usize;
                Value::Word(words[place.min(words.len() - 1)].clone())
            }
        }
    }

    /// So many values from end to end, no two alike; all words.
    #[must_use]
    pub fn steps(&self, steps: u32) -> Vec<Value> {
        match &self.range {
            Range::Words(words) => words.iter().cloned().map(Value::Word).collect(),
            Range::Numbers { .. } => {
                let last = steps.max(1) - 1;
                let part = |step: u32| f64::from(step) / f64::from(last.max(1));
                let mut values: Vec<Value> = (0..=last).map(|step| self.value(part(step))).collect();
                values.dedup();
                values
            }
        }
    }
}

impl FromStr for Param {
    type Err = ParamError;

    fn from_str(text: &str) -> Result<Self, ParamError> {
        let form = || ParamError::Form(text.to_owned());
        let (name, range) = text.split_once('=').ok_or_else(form)?;
        let (name, range) = (name.trim().to_owned(), range.trim());
        if name.is_empty() || range.is_empty() {
            return Err(form());
        }
        let Some((low, high)) = range.split_once("..") else {
            let words: Vec<String> = range.split('|').map(|word| word.trim().to_owned()).collect();
            let good = words.len() > 1 && words.iter().all(|word| !word.is_empty());
            return if good { Ok(Self { name, range: Range::Words(words) }) } else { Err(form()) };
        };
        let (high, scale) = high.split_once(':').unwrap_or((high, ""));
        let log = match scale.trim() {
            "" | "linear" => false,
            "log" => true,
            scale => return Err(ParamError::Scale { name, scale: scale.to_owned() }),
        };
        let ((low, is_span), (high, also)) = (number(&name, low)?, number(&name, high)?);
        let whole = [low, high].iter().all(|end| end.is_multiple_of(1000));
        let unit = (is_span || also).then_some(if whole { 1000 } else { 1 });
        if low > high {
            return Err(ParamError::Backwards { name, low, high });
        }
        if log && low == 0 {
            return Err(ParamError::LogOfZero(name));
        }
        Ok(Self { name, range: Range::Numbers { low, high, log, unit } })
    }
}

/// A whole number, or a span of time in milliseconds; and whether it is one.
fn number(name: &str, text: &str) -> Result<(u64, bool), ParamError> {
    let text = text.trim();
    let wrong = |why| ParamError::NotANumber { name: name.to_owned(), text: text.to_owned(), why };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(|number| (number, false)).map_err(|_why| wrong(None));
    }
    text.parse::<Millis>().map(|span| (span.0, true)).map_err(|why| wrong(Some(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_and_reach_both_ends() {
        let base: Param = "plan.ranking.base=2..32:log".parse().unwrap();
        assert_eq!(base.name(), "plan.ranking.base");
        assert_eq!([0.0, 0.5, 1.0].map(|part| base.value(part)), [2, 8, 32].map(Value::Number));
        let calm: Param = "calm = 10s..1min".parse().unwrap();
        assert_eq!(calm.steps(3).iter().map(Value::to_string).collect::<Vec<_>>(), ["10s", "35s", "1m"]);
        assert_eq!(calm.steps(1), [Value::Span(Millis(10_000))]);
        assert_eq!(calm.value(0.333).to_string(), "27s");
        let short: Param = "freeze=0..5ms".parse().unwrap();
        assert_eq!([0.0, 0.5, 1.0].map(|part| short.value(part).to_string()), ["0ms", "3ms", "5ms"]);
        let order: Param = "order=fifo|las".parse().unwrap();
        assert_eq!(
            [0.0, 0.49, 0.5, 1.0].map(|part| order.value(part).to_string()),
            ["fifo", "fifo", "las", "las"]
        );
        assert_eq!("few=1..3".parse::<Param>().unwrap().steps(100).len(), 3);
    }

    #[test]
    fn wrong_ranges_say_what_is_wrong() {
        let why = |text: &str| text.parse::<Param>().unwrap_err().to_string();
        assert!(why("base").contains("NAME=LOW..HIGH"));
        assert!(why("base=4").contains("NAME=LOW..HIGH"));
        assert_eq!(why("base=9..2"), "`base`: 9 is above 2; write the lower end first");
        assert_eq!(why("base=0..2:log"), "`base`: a logarithmic range begins above 0");
        assert_eq!(why("base=1..2:sqrt"), "`base`: `sqrt` is no scale; leave it out or write :log");
        assert!(why("base=1.5..x").contains("neither a whole number"));
    }
}
