//! What is wrong with a job file: one message with its place, its cause and the next step.

use serde::Serialize;
use std::fmt;

/// A place in a text: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Fault {
    /// Not YAML, TOML or JSON at all.
    #[error("{why}")]
    Syntax {
        /// What the parser says.
        why: String,
    },
    /// A key that the job file does not have.
    #[error("unknown field `{name}`{}", suggest(.suggestion))]
    UnknownField {
        /// The key.
        name: String,
        /// The nearest key there is.
        suggestion: Option<String>,
        /// All keys there are here.
        known: Vec<String>,
    },
    /// A key that belongs to the other type of job.
    #[error("`{name}` is not a field of `type: {kind}`; it belongs to `type: {owner}`")]
    ForeignField {
        /// The key.
        name: String,
        /// The type of this job.
        kind: &'static str,
        /// The type that has it.
        owner: &'static str,
    },
    /// A word that is not one of those allowed here.
    #[error("`{value}` is not one of {}{}", .known.join(", "), suggest(.suggestion))]
    UnknownValue {
        /// The word.
        value: String,
        /// The nearest word there is.
        suggestion: Option<String>,
        /// All words there are.
        known: Vec<String>,
    },
    /// A value of another type than the field has.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What the field takes.
        expected: String,
        /// What was there.
        found: String,
        /// Where text is taken: the same as text, in quotes.
        #[serde(skip_serializing_if = "Option::is_none")]
        quoted: Option<String>,
    },
    /// A key that must be there is not.
    #[error("missing field `{name}`")]
    MissingField {
        /// The key.
        name: String,
    },
    /// The same key twice.
    #[error("field `{name}` appears twice")]
    DuplicateField {
        /// The key.
        name: String,
    },
    /// Of the right type, but not a value that makes sense.
    #[error("{why}")]
    BadValue {
        /// Why not.
        why: String,
    },
    /// More than any pool has, or than a job may ask for.
    #[error("{what} is {found}; the most is {most}")]
    TooLarge {
        /// Which amount.
        what: &'static str,
        /// What was asked.
        found: String,
        /// The bound.
        most: String,
    },
    /// Designed, recognised, and not built in this version.
    #[error("{what} is not built yet in this version")]
    NotBuilt {
        /// What was asked for.
        what: String,
        /// What there is in its place.
        instead: String,
    },
    /// Two fields that exclude each other.
    #[error("`{one}` and `{other}` exclude each other")]
    Conflict {
        /// The first.
        one: &'static str,
        /// The second.
        other: &'static str,
    },
    /// Jobs that wait for each other.
    #[error("jobs wait for each other: {}", .jobs.join(" -> "))]
    Cycle {
        /// The names along the cycle; the first and the last are the same.
        jobs: Vec<String>,
    },
    /// The file is larger, deeper or has more parts than is read.
    #[error("the file has {found} {of}; at most {most} are read")]
    TooMuch {
        /// How many there are, or how many were counted when reading stopped.
        found: u64,
        /// The bound.
        most: u64,
        /// Of what: `bytes`, `nested levels`, ...
        of: &'static str,
    },
}

fn suggest(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

impl Fault {
    /// What to do about it.
    #[must_use]
    pub fn next(&self) -> String {
        match self {
            Self::Syntax { .. } => {
                "mend the text there; in YAML, quote values that hold `: ` or start with one of {[*&!|>%@`"
                    .to_owned()
            }
            Self::UnknownField { suggestion: Some(_), .. } => {
                "correct it, remove it, or start its name with `x-` to have it ignored".to_owned()
            }
            Self::UnknownField { known, .. } if known.len() > 40 => {
                "`pond sbatch --help` and `pond run --help` list the flags".to_owned()
            }
            Self::UnknownField { known, .. } => format!("fields here are {}", known.join(", ")),
            Self::ForeignField { owner, .. } => format!("remove it, or make this `type: {owner}`"),
            Self::UnknownValue { .. } => "use one of these words".to_owned(),
            Self::WrongType { quoted: Some(quoted), .. } => {
                format!("quote it if it is meant as text: {quoted}; `pond schema` lists every field")
            }
            Self::WrongType { expected, .. } => format!("give {expected}; `pond schema` lists every field"),
            Self::MissingField { name } if name == "type" => {
                "add `type: task`, or `type: env` for an environment".to_owned()
            }
            Self::MissingField { name } => format!("add `{name}:`; `pond schema` lists every field"),
            Self::DuplicateField { .. } => "keep one of the two".to_owned(),
            Self::BadValue { .. } => "see docs/job-file.md for what this field takes".to_owned(),
            Self::TooLarge { .. } => "check the unit, or ask for less".to_owned(),
            Self::NotBuilt { instead, .. } => instead.clone(),
            Self::Conflict { .. } => "keep one of the two".to_owned(),
            Self::Cycle { .. } => "remove one `after:` of these jobs".to_owned(),
            Self::TooMuch { .. } => "split the file".to_owned(),
        }
    }

    /// The word programs can rely on, as in the JSON form.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::UnknownField { .. } => "unknown_field",
            Self::ForeignField { .. } => "foreign_field",
            Self::UnknownValue { .. } => "unknown_value",
            Self::WrongType { .. } => "wrong_type",
            Self::MissingField { .. } => "missing_field",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::BadValue { .. } => "bad_value",
            Self::TooLarge { .. } => "too_large",
            Self::NotBuilt { .. } => "not_built",
            Self::Conflict { .. } => "conflict",
            Self::Cycle { .. } => "cycle",
            Self::TooMuch { .. } => "too_much",
        }
    }
}

/// One thing wrong with one job file.
///
/// `Display` is the one-line form, `line 6 column 3: unknown field ...`; [`Self::report`] adds file, source line and
/// next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct SpecError {
    /// The file's name as it was given; empty for a command line or a request body.
    pub origin: String,
    /// Where in the text; absent when the text has no places (a command line).
    pub place: Option<Place>,
    /// Which field: `resources.gpu`, `--gpu`; empty for the whole.
    pub field: String,
    /// The source line at `place`, cut to 120 characters.
    pub snippet: Option<String>,
    /// What is wrong.
    #[serde(flatten)]
    #[source]
    pub fault: Box<Fault>,
}

impl SpecError {
    /// An error about a field, of no file yet.
    #[must_use]
    pub fn of(field: &str, fault: Fault) -> Self {
        Self {
            origin: String::new(),
            place: None,
            field: field.to_owned(),
            snippet: None,
            fault: Box::new(fault),
        }
    }

    /// The process exit code for a bad file (`EX_DATAERR`).
    pub const EXIT_CODE: u8 = 65;

    /// What to do about it.
    #[must_use]
    pub fn next(&self) -> String {
        match *self.fault {
            Fault::UnknownField { suggestion: Some(_), .. } if self.field.starts_with("--") => {
                "correct it or remove it; `pond run --help` and `pond sbatch --help` list the flags"
                    .to_owned()
            }
            _ => self.fault.next(),
        }
    }

    /// The same error, placed in the file `origin` with this text.
    #[must_use]
    pub fn within(mut self, origin: &str, text: &str) -> Self {
        origin.clone_into(&mut self.origin);
        self.snippet = self.place.and_then(|place| snippet(text, place));
        self
    }

    /// Everything a person needs: message, file, source line with a caret, next step. Ends without a newline.
    #[must_use]
    pub fn report(&self) -> String {
        self.report_as("error")
    }

    pub(crate) fn report_as(&self, severity: &str) -> String {
        use fmt::Write;
        let mut out = format!("{severity}: {self}");
        let origin = if self.origin.is_empty() { "<input>" } else { &self.origin };
        match self.place {
            // Writing to a String cannot fail.
            Some(place) => {
                let gutter = place.line.to_string().len();
                write!(out, "\n{:gutter$}--> {}:{}:{}", "", printable(origin), place.line, place.column).ok();
                if let Some(line) = &self.snippet {
                    let caret = (place.column as usize).saturating_sub(1).min(line.chars().count());
                    write!(
                        out,
                        "\n{:gutter$} |\n{} | {line}\n{:gutter$} | {:caret$}^",
                        "", place.line, "", ""
                    )
                    .ok();
                }
            }
            None if !self.origin.is_empty() => {
                write!(out, "\n --> {}", printable(origin)).ok();
            }
            None => {}
        }
        write!(out, "\n  = {}", printable(&self.next())).ok();
        out
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        // The place and the name in the message say where these are; the other faults need the field.
        let needs_field = !matches!(
            *self.fault,
            Fault::UnknownField { .. }
                | Fault::ForeignField { .. }
                | Fault::DuplicateField { .. }
                | Fault::Cycle { .. }
        );
        if needs_field && !self.field.is_empty() {
            write!(f, "{}: ", printable(&self.field))?;
        }
        f.write_str(&printable(&self.fault.to_string()))
    }
}

/// Control characters of a hostile file must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn snippet(text: &str, place: Place) -> Option<String> {
    let line = text.lines().nth(place.line as usize - 1)?;
    Some(line.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Something that is read and cannot be honoured, or is likely not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file's name.
    pub origin: String,
    /// Where.
    pub place: Option<Place>,
    /// What is ignored and what holds in its place.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.origin.is_empty() {
            write!(f, "{}: ", printable(&self.origin))?;
        }
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&printable(&self.message))
    }
}
