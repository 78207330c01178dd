//! Words with more than one spelling: priorities, signals, retry causes, and text that may look like a number.

use super::{ValueError, text_value};
use crate::similar::nearest;
use pond_core::model::RetryOn;
use std::fmt;
use std::str::FromStr;

/// `low`, `normal`, `high`, or 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityText(pub u16);

/// `SIGUSR1`, `USR1` or `10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalText(pub i32);

/// `node_failure`, `preempted`, `device_error`, `out_of_memory`, `failed`, `exit:75`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryCause(pub RetryOn);

/// Text that may be written without quotes even when it looks like a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub String);

text_value!(
    PriorityText,
    "low, normal, high, or a number from 0 to 1000",
    ["string", "integer"],
    ["normal", 750]
);
text_value!(SignalText, "a signal", ["string", "integer"], ["SIGUSR1", "TERM", 10]);
text_value!(RetryCause, "a cause to retry for", ["string"], ["node_failure", "exit:75"]);
text_value!(Text, "text", ["string", "number", "boolean"], ["WARN", 4]);

impl FromStr for PriorityText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::form(text, "a priority", "low, normal, high, or a number from 0 to 1000");
        match text {
            "low" => Ok(Self(250)),
            "normal" => Ok(Self(500)),
            "high" => Ok(Self(750)),
            number => match number.parse() {
                Ok(priority @ 0..=1000) => Ok(Self(priority)),
                _ => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for PriorityText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            250 => f.write_str("low"),
            500 => f.write_str("normal"),
            750 => f.write_str("high"),
            other => other.fmt(f),
        }
    }
}

/// Signals of Linux on all its machines but three; a job may be sent those that a program can catch.
const SIGNALS: [(&str, i32); 11] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("URG", 23),
    ("WINCH", 28),
    ("IO", 29),
];

impl FromStr for SignalText {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            ValueError::form(
                text,
                "a signal that a program can catch",
                "SIGUSR1, SIGUSR2, SIGTERM, SIGINT or SIGHUP",
            )
        };
        let word = text.to_ascii_uppercase();
        let name = word.strip_prefix("SIG").unwrap_or(&word);
        let number = name.parse::<i32>().ok();
        let known = SIGNALS.iter().find(|(known, value)| *known == name || number == Some(*value));
        known.map(|&(_, value)| Self(value)).ok_or_else(wrong)
    }
}

impl fmt::Display for SignalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => self.0.fmt(f),
        }
    }
}

const CAUSES: [(&str, RetryOn); 5] = [
    ("node_failure", RetryOn::NodeFailure),
    ("preempted", RetryOn::Preempted),
    ("device_error", RetryOn::DeviceError),
    ("out_of_memory", RetryOn::OutOfMemory),
    ("failed", RetryOn::Failed),
];

/// Why a word is not a cause to retry for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a cause to retry for; use {known}, or exit: and a code from 1 to 255{}", .near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
pub struct CauseError {
    word: String,
    near: Option<&'static str>,
    known: String,
}

impl FromStr for RetryCause {
    type Err = CauseError;
    fn from_str(text: &str) -> Result<Self, CauseError> {
        let exit = text.strip_prefix("exit:").and_then(|code| code.trim().parse::<i32>().ok());
        if let Some(code @ 1..=255) = exit {
            return Ok(Self(RetryOn::Exit(code)));
        }
        let known = CAUSES.map(|(word, _)| word);
        CAUSES.iter().find(|(word, _)| *word == text).map(|&(_, cause)| Self(cause)).ok_or_else(|| {
            CauseError { word: crate::read::short(text), near: nearest(text, known), known: known.join(", ") }
        })
    }
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (CAUSES.iter().find(|(_, cause)| *cause == self.0), self.0) {
            (Some((word, _)), _) => f.write_str(word),
            (None, RetryOn::Exit(code)) => write!(f, "exit:{code}"),
            (None, _) => f.write_str("failed"),
        }
    }
}

impl FromStr for Text {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
