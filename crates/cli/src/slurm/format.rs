//! Slurm's format strings (`%.18i %9P %j`) and its ways of writing states and times.

use crate::out::{clean, moment};
use pond_server::api::types::State;

/// One part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { letter: char, width: Option<usize>, right: bool },
}

/// A format, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

impl Format {
    /// Reads `%[[.]width]letter` parts; every other letter stands for itself.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut letters = text.chars().peekable();
        let mut plain = String::new();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                plain.push(letter);
                continue;
            }
            let right = letters.next_if_eq(&'.').is_some();
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            match letters.next() {
                None => plain.push('%'),
                Some('%') => plain.push('%'),
                Some(letter) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field {
                        letter,
                        width: digits.parse().ok().map(|width: usize| width.min(500)),
                        right,
                    });
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// One line; `value` gives the text of a letter.
    #[must_use]
    pub fn line(&self, value: impl Fn(char) -> String) -> String {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field { letter, width, right } => {
                    let text = value(*letter);
                    let text = clean(&text);
                    match (width, right) {
                        (None, _) => line.push_str(&text),
                        (Some(width), true) => {
                            let cut: String = text.chars().take(*width).collect();
                            line.push_str(&format!("{cut:>width$}"));
                        }
                        (Some(width), false) => {
                            let cut: String = text.chars().take(*width).collect();
                            line.push_str(&format!("{cut:<width$}"));
                        }
                    }
                }
            }
        }
        line
    }
}

/// The long and the short word for a state.
#[must_use]
pub const fn state(state: State) -> (&'static str, &'static str) {
    match state {
        State::Running => ("RUNNING", "R"),
        State::Starting => ("CONFIGURING", "CF"),
        State::Stopping => ("COMPLETING", "CG"),
        State::Frozen | State::Paused => ("SUSPENDED", "S"),
        State::Waiting | State::Infeasible => ("PENDING", "PD"),
        State::Failed => ("FAILED", "F"),
        State::Stopped => ("CANCELLED", "CA"),
        State::Succeeded => ("COMPLETED", "CD"),
    }
}

/// `2026-11-24T08:00:00`.
#[must_use]
pub fn short_moment(ms: u64) -> String {
    moment(ms).get(..19).unwrap_or_default().to_owned()
}

/// `1-02:03:04`, `02:03:04` or `3:04`, as `squeue` writes spans.
#[must_use]
pub fn span(ms: u64) -> String {
    let secs = ms / 1000;
    match (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, minutes, secs) => format!("{minutes}:{secs:02}"),
        (0, hours, minutes, secs) => format!("{hours}:{minutes:02}:{secs:02}"),
        (days, hours, minutes, secs) => format!("{days}-{hours:02}:{minutes:02}:{secs:02}"),
    }
}

/// `00:03:04`, as `sacct` writes spans.
#[must_use]
pub fn elapsed(ms: u64) -> String {
    let secs = ms / 1000;
    match secs / 86_400 {
        0 => format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60),
        days => format!("{days}-{:02}:{:02}:{:02}", secs / 3600 % 24, secs / 60 % 60, secs % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_cut_and_pad() {
        let format = Format::parse("%.5i %4j|%t %% x%");
        let value = |letter| match letter {
            'i' => "12".to_owned(),
            'j' => "a\u{1b}long".to_owned(),
            _ => "R".to_owned(),
        };
        assert_eq!(format.line(value), "   12 a\\u{|R % x%");
    }

    #[test]
    fn spans_are_slurms() {
        assert_eq!(span(184_000), "3:04");
        assert_eq!(span(93_784_000), "1-02:03:04");
        assert_eq!(elapsed(184_000), "00:03:04");
    }
}
