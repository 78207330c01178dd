//! The terminal we run on: its size, and raw mode that is always undone.

mod keys;
mod signals;

pub use keys::{Key, Keys};
pub use signals::Signals;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Write};

/// Rows and columns of the terminal; `None` when there is none or it does not know.
#[must_use]
pub fn size() -> Option<(u16, u16)> {
    let known = |size: rustix::termios::Winsize| (size.ws_row > 0 && size.ws_col > 0).then_some(size);
    let size = tcgetwinsize(io::stdout())
        .ok()
        .and_then(known)
        .or_else(|| tcgetwinsize(io::stdin()).ok().and_then(known))?;
    Some((size.ws_row, size.ws_col))
}

/// Whether both ends of a conversation are a terminal.
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether the terminal understands more than text, as far as its name tells.
#[must_use]
pub fn has_screen() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Does this once whoever reads our standard output has gone, however long nothing is written to it.
pub fn when_reader_gone(gone: impl FnOnce() + Send + 'static) {
    use rustix::event::{PollFd, PollFlags, poll};
    let is_pipe = rustix::fs::fstat(io::stdout())
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo);
    if !is_pipe {
        return;
    }
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        // An interrupted wait begins again; the other end is seen by its hanging up.
        while !matches!(poll(&mut fds, None), Ok(count) if count > 0) {}
        gone();
    });
}

/// Raw mode on standard input for as long as this lives; undone on every way out, panics included.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
    screen: bool,
}

impl Raw {
    /// Every key as it comes, nothing echoed.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before, screen: false })
    }

    /// The same with a screen of its own: what was there before comes back at the end.
    ///
    /// # Errors
    /// Standard input or output is no terminal.
    pub fn enter_screen() -> io::Result<Self> {
        let mut raw = Self::enter()?;
        raw.screen = true;
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // On a terminal that has gone there is nothing to put right.
        if self.screen {
            let mut out = io::stdout().lock();
            drop(out.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| out.flush()));
        }
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).unwrap_or_default();
    }
}
