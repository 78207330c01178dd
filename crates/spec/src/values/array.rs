//! Array indices: `0-9`, `1,3,5-9:2`, `0-99%4`, or a list of such parts.

use super::{ValueError, text_value};
use crate::limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Indices and how many elements may run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayIndices {
    /// Ascending, no doubles, at least one.
    pub indices: Vec<u32>,
    /// The number after `%`.
    pub parallel: Option<u32>,
}

text_value!(ArrayIndices, "array indices", ["string", "integer"], ["0-9", "0-99%4", "1,3,5-9:2"]);

/// The `array:` field: one text, or a list of indices and ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ArrayText {
    /// `0-9%4`.
    One(ArrayIndices),
    /// `[0, 3, 5-9]`.
    List(Vec<ArrayIndices>),
}

impl<'de> Deserialize<'de> for ArrayText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArrayVisitor)
    }
}

struct ArrayVisitor;

impl<'de> serde::de::Visitor<'de> for ArrayVisitor {
    type Value = ArrayText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("array indices such as `0-9%4`, or a list of them")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ArrayText, E> {
        text.parse().map(ArrayText::One).map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<ArrayText, E> {
        Err(E::custom(format!(
            "`{value}` could mean {value} elements or the index {value}; write 0-{} or [{value}]",
            value.saturating_sub(1)
        )))
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<ArrayText, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = access.next_element()? {
            parts.push(part);
        }
        Ok(ArrayText::List(parts))
    }
}

impl ArrayText {
    /// All indices, ascending and without doubles.
    ///
    /// # Errors
    /// An empty list, more indices than a job may have, `%` inside a list.
    pub fn resolve(&self) -> Result<ArrayIndices, ValueError> {
        match self {
            Self::One(array) => Ok(array.clone()),
            Self::List(parts) => {
                if parts.iter().any(|part| part.parallel.is_some()) {
                    return Err(ValueError::form("%", "part of a list", "`parallel: 4` beside `array:`"));
                }
                collect(parts.iter().flat_map(|part| part.indices.iter().copied()), None, "[]")
            }
        }
    }
}

fn collect(
    indices: impl Iterator<Item = u32>,
    parallel: Option<u32>,
    text: &str,
) -> Result<ArrayIndices, ValueError> {
    let mut set = BTreeSet::new();
    for index in indices {
        set.insert(index);
        if set.len() as u64 > limits::TASKS {
            return Err(ValueError::TooLarge {
                what: "an array",
                text: crate::read::short(text),
                most: format!("{} elements", limits::TASKS),
            });
        }
    }
    if set.is_empty() {
        return Err(ValueError::form(text, "a set of array indices", "0-9, 1,3,5 or 0-99%4"));
    }
    Ok(ArrayIndices { indices: set.into_iter().collect(), parallel })
}

impl FromStr for ArrayIndices {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a set of array indices", "0-9, 1,3,5-9:2 or 0-99%4");
        let number = |part: &str| part.trim().parse::<u32>().map_err(|_why| wrong());
        let (list, parallel) = match text.split_once('%') {
            Some((list, most)) => (list, Some(number(most)?)),
            None => (text, None),
        };
        if parallel == Some(0) {
            return Err(ValueError::Zero { what: "the number after %" });
        }
        let mut ranges = Vec::new();
        for part in list.split(',') {
            let (range, step) = match part.split_once(':') {
                Some((range, step)) => (range, number(step)?),
                None => (part, 1),
            };
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(range)?, number(range)?),
            };
            if last < first {
                return Err(ValueError::Backwards { text: crate::read::short(text), example: "0-9" });
            }
            if step == 0 {
                return Err(ValueError::Zero { what: "the step" });
            }
            if last > limits::INDEX {
                return Err(ValueError::TooLarge {
                    what: "an array index",
                    text: last.to_string(),
                    most: limits::INDEX.to_string(),
                });
            }
            ranges.push((first..=last).step_by(step as usize));
        }
        collect(ranges.into_iter().flatten(), parallel, text)
    }
}

impl fmt::Display for ArrayIndices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.indices.chunk_by(|a, b| a + 1 == *b);
        for (place, run) in runs.enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match run {
                [only] => write!(f, "{only}")?,
                [first, .., last] => write!(f, "{first}-{last}")?,
                [] => {}
            }
        }
        match self.parallel {
            Some(most) => write!(f, "%{most}"),
            None => Ok(()),
        }
    }
}
