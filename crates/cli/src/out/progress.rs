//! One line on standard error that is written over and over, for anything that takes more than a second.

use super::clean;
use std::io::{self, IsTerminal, Write};

/// The line. Without a terminal each new step is a line of its own.
#[derive(Debug)]
pub struct Progress {
    tty: bool,
    last: String,
    shown: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { tty: io::stderr().is_terminal(), last: String::new(), shown: false }
    }
}

impl Progress {
    /// Shows a step, unless it is the one that is shown.
    pub fn step(&mut self, text: &str) {
        if self.last == text {
            return;
        }
        text.clone_into(&mut self.last);
        let text = clean(text);
        let line = if self.tty { format!("\r\u{1b}[K{text}") } else { format!("{text}\n") };
        // Progress that nobody can see is no loss.
        drop(io::stderr().write_all(line.as_bytes()));
        self.shown = true;
    }

    /// Takes the line away, so that output can follow.
    pub fn clear(&mut self) {
        if self.tty && self.shown {
            drop(io::stderr().write_all(b"\r\x1b[K"));
        }
        self.shown = false;
        self.last.clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
