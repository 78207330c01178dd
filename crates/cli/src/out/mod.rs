//! Printing: one place that knows about formats, colours, terminals and readers that go away.

mod escape;
mod progress;
mod style;
mod table;
mod time;

pub use escape::{clean, is_harmful};
pub use progress::Progress;
pub use style::{Style, state_style};
pub use table::{Cell, Column, Table};
pub use time::{ago, moment, now_ms, parse_when, span_between};

use crate::args::{ColorWhen, Format, Globals};
use crate::error::CliError;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Standard output.
#[derive(Debug)]
pub struct Out {
    /// How answers are printed.
    pub format: Format,
    /// Whether standard output is a terminal.
    pub tty: bool,
    /// Whether standard output is coloured.
    pub color: bool,
    /// Whether standard error is coloured.
    pub color_err: bool,
    /// Columns of the terminal; absent when it is none.
    pub width: Option<usize>,
}

impl Out {
    /// As the flags and the environment say.
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        let tty = io::stdout().is_terminal();
        let wanted = |is_tty: bool| match globals.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                is_tty && !unwanted && crate::term::has_screen()
            }
        };
        let width = tty.then(|| crate::term::size().map(|(_rows, cols)| usize::from(cols))).flatten();
        Self {
            format: globals.format(),
            tty,
            color: wanted(tty),
            color_err: wanted(io::stderr().is_terminal()),
            width,
        }
    }

    /// Writes text as it stands.
    ///
    /// # Errors
    /// Nobody reads any more, or the disk is full.
    pub fn text(&self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they stand.
    ///
    /// # Errors
    /// Nobody reads any more, or the disk is full.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|why| CliError::io("writing to standard output", why))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn line(&self, line: &str) -> Result<(), CliError> {
        self.text(&format!("{line}\n"))
    }

    /// Writes a line of what was done, for people; programs get nothing.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn said(&self, line: &str) -> Result<(), CliError> {
        if self.format.is_data() { Ok(()) } else { self.line(line) }
    }

    /// Writes a value as JSON or YAML.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn value<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.text(&self.render(value)?)
    }

    fn render<T: Serialize>(&self, value: &T) -> Result<String, CliError> {
        let unprintable = |why: String| CliError::BadAnswer { request: "this request".to_owned(), why };
        match self.format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(|why| unprintable(why.to_string())),
            _ => serde_json::to_string_pretty(value)
                .map(|text| text + "\n")
                .map_err(|why| unprintable(why.to_string())),
        }
    }

    /// Writes one value of a stream: a line of JSON, or a YAML document.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn entry<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        match self.format {
            Format::Yaml => self.text(&format!("---\n{}", self.render(value)?)),
            _ => {
                let line = serde_json::to_string(value).map_err(|why| CliError::BadAnswer {
                    request: "this request".to_owned(),
                    why: why.to_string(),
                })?;
                self.line(&line)
            }
        }
    }

    /// Writes a table.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn table(&self, table: &Table) -> Result<(), CliError> {
        self.text(&table.render(self.format == Format::Wide, self.color, self.width))
    }

    /// `text` in this style when output is coloured.
    #[must_use]
    pub fn paint(&self, style: Style, text: &str) -> String {
        style.paint(self.color, text)
    }

    /// A line on standard error for people.
    pub fn note(&self, line: &str) {
        self.stderr(Style::Dim, "", line);
    }

    /// A warning on standard error.
    pub fn warn(&self, line: &str) {
        self.stderr(Style::Yellow, "warning: ", line);
    }

    fn stderr(&self, style: Style, prefix: &str, line: &str) {
        let text = format!("{}\n", style.paint(self.color_err, &format!("{prefix}{line}")));
        // Nobody reads standard error any more: there is nobody to tell.
        drop(io::stderr().write_all(text.as_bytes()));
    }
}
