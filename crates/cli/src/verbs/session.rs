//! `pond exec` and `pond attach`: our terminal on the other end of a task's.
//!
//! One thread and one `poll` over keyboard, pool and signals. Ctrl-P Ctrl-Q lets go of the task and leaves it running.

use super::Ctx;
use crate::args::{AttachArgs, ExecArgs};
use crate::client::{Client, Got, Socket};
use crate::error::{CliError, Done, codes};
use crate::refs::{Careful, JobRef, find};
use crate::term::{self, Raw, Signals};
use pond_core::frame::Frame;
use pond_server::api::types::{ExecQuery, JobDetail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the far side has to answer the second signal in a row that it has said nothing to.
const ANSWER: Duration = Duration::from_secs(1);

/// What SIGTERM or a terminal that goes away means for what runs on the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// It is ours: it gets the signal.
    Reaches,
    /// It was there before us and goes on.
    Leaves,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ended with this code.
    Exit(i32),
    /// We let go of it.
    Detached,
    /// The connection ended without a word.
    Lost,
    /// Nothing came back for this signal.
    Silent(i32),
}

/// `pond exec`.
///
/// # Errors
/// No pool, no such task, or the command cannot be started.
pub fn exec(ctx: &Ctx, args: &ExecArgs) -> Done {
    let client = ctx.client()?;
    let job = find(&client, &args.job, Careful::No)?;
    let tty = args.tty || (!args.no_tty && term::is_interactive());
    let argv = match &args.command[..] {
        [] => vec!["sh".to_owned()],
        [dashes, rest @ ..] if dashes == "--" && !rest.is_empty() => rest.to_vec(),
        command => command.to_vec(),
    };
    let json = |value: serde_json::Value| Some(value.to_string());
    let env = super::machine::pairs(&args.env)?;
    let (rows, cols) = term::size().unwrap_or((24, 80));
    let query = ExecQuery {
        argv: json(argv.into()),
        tty: Some(tty),
        rows: tty.then_some(rows),
        cols: tty.then_some(cols),
        cwd: args.workdir.clone(),
        env: if env.is_empty() { None } else { json(serde_json::json!(env)) },
    };
    let socket = client.socket(&path(job, "exec"), &query)?;
    ended(ctx, &client, Session::new(socket, tty, Hangup::Reaches).run()?)
}

/// `pond attach`.
///
/// # Errors
/// No pool, or no such task.
pub fn attach(ctx: &Ctx, args: &AttachArgs) -> Done {
    let client = ctx.client()?;
    let job = find(&client, &args.job, Careful::No)?;
    let tty = has_terminal(&client, job)? && io::IsTerminal::is_terminal(&io::stdin());
    if tty {
        ctx.out.note("connected; Ctrl-P Ctrl-Q leaves it running");
    }
    ended(ctx, &client, connect(&client, job, tty, Hangup::Leaves)?)
}

fn ended(ctx: &Ctx, client: &Client, end: End) -> Done {
    match end {
        End::Exit(code) => Ok(code_of(code)),
        End::Detached => Ok(codes::OK),
        End::Lost => Err(lost(client)),
        End::Silent(signal) => {
            ctx.out.note("nothing came back; the session is left");
            Ok(code_of(128 + signal))
        }
    }
}

/// Joins a running task's own terminal or output.
///
/// # Errors
/// No such task, or the connection broke.
pub fn connect(client: &Client, job: JobRef, tty: bool, hangup: Hangup) -> Result<End, CliError> {
    let socket = client.socket(&path(job, "attach"), &ExecQuery::default())?;
    Session::new(socket, tty, hangup).run()
}

fn has_terminal(client: &Client, job: JobRef) -> Result<bool, CliError> {
    let detail: JobDetail = client.get(&job.path(""), &())?;
    Ok(detail.spec.pointer("/run/tty").and_then(serde_json::Value::as_bool).unwrap_or(false))
}

fn path(job: JobRef, verb: &str) -> String {
    format!("/tasks/{}/{verb}", crate::client::encode(&job.task().to_string()))
}

/// The session is gone and nobody said how the command ended.
#[must_use]
pub fn lost(client: &Client) -> CliError {
    CliError::Unreachable { address: client.base().to_owned(), why: "the session was cut off".to_owned() }
}

/// A job's exit code as ours.
#[must_use]
pub fn code_of(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(codes::FAILED)
}

struct Session {
    socket: Socket,
    tty: bool,
    stdin: bool,
    hangup: Hangup,
    /// Signals sent since anything was heard.
    unanswered: u32,
    /// When to stop waiting for an answer.
    until: Option<Instant>,
}

impl Session {
    const fn new(socket: Socket, tty: bool, hangup: Hangup) -> Self {
        Self { socket, tty, stdin: true, hangup, unanswered: 0, until: None }
    }

    fn run(mut self) -> Result<End, CliError> {
        let raw =
            self.tty.then(Raw::enter).transpose().map_err(|why| CliError::io("taking the terminal", why))?;
        let mut signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH])
            .map_err(|why| CliError::io("catching signals", why))?;
        if self.tty {
            self.resize()?;
        }
        let end = self.talk(&mut signals)?;
        self.socket.close();
        drop(raw);
        Ok(end)
    }

    fn talk(&mut self, signals: &mut Signals) -> Result<End, CliError> {
        let mut detach = DetachKeys::default();
        let mut last = SIGINT;
        loop {
            if let Some(end) = self.drain()? {
                return Ok(end);
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                return Ok(End::Silent(last));
            }
            let (keyboard, caught) = self.wait(signals)?;
            if caught {
                for signal in signals.take() {
                    if self.hangup == Hangup::Leaves && matches!(signal, SIGTERM | SIGHUP) {
                        return Ok(End::Detached);
                    }
                    self.signal(signal)?;
                    if signal != SIGWINCH {
                        last = signal;
                    }
                }
            }
            if keyboard && self.keyboard(&mut detach)? {
                return Ok(End::Detached);
            }
        }
    }

    /// Sleeps until something is there; says whether it is the keyboard and whether it is a signal.
    fn wait(&self, signals: &Signals) -> Result<(bool, bool), CliError> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::from_borrowed_fd(self.socket.fd(), PollFlags::IN)];
        fds.extend(signals.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if self.stdin {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(CliError::io("waiting for the session", why.into())),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let keyboard = self.stdin && fds.last().is_some_and(ready);
        let signal_fds = fds.get(1..fds.len() - usize::from(self.stdin)).unwrap_or_default();
        Ok((keyboard, signal_fds.iter().any(ready)))
    }

    /// Prints all that has come.
    fn drain(&mut self) -> Result<Option<End>, CliError> {
        loop {
            let bytes = match self.socket.take()? {
                Got::Nothing => return Ok(None),
                Got::Closed => return Ok(Some(End::Lost)),
                Got::Bytes(bytes) => bytes,
            };
            (self.unanswered, self.until) = (0, None);
            let frame = Frame::from_message(&bytes).map_err(|why| CliError::BadAnswer {
                request: "this session".to_owned(),
                why: why.to_string(),
            })?;
            match frame {
                Frame::Stdout(bytes) => write(&mut io::stdout().lock(), &bytes)?,
                Frame::Stderr(bytes) => write(&mut io::stderr().lock(), &bytes)?,
                Frame::Exit(code) => return Ok(Some(End::Exit(code))),
                Frame::Failed(why) => return Err(CliError::Pool { what: why, next: None }),
                Frame::Stdin(_) | Frame::StdinEnd | Frame::Resize { .. } | Frame::Signal(_) => {}
            }
        }
    }

    /// Sends what was typed; true when it was the detach keys.
    fn keyboard(&mut self, detach: &mut DetachKeys) -> Result<bool, CliError> {
        let mut buffer = [0; 16 * 1024];
        let count = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(false),
            Err(_) => 0,
        };
        if count == 0 {
            // In raw mode an end of input is no key: the terminal has gone, which its signal may tell later.
            if self.tty && self.hangup == Hangup::Leaves {
                return Ok(true);
            }
            self.stdin = false;
            self.send(&Frame::StdinEnd)?;
            return Ok(false);
        }
        let typed = buffer.get(..count).unwrap_or_default();
        if !self.tty {
            return self.send(&Frame::Stdin(typed.to_vec())).map(|()| false);
        }
        let (pass, let_go) = detach.filter(typed);
        if !pass.is_empty() {
            self.send(&Frame::Stdin(pass))?;
        }
        Ok(let_go)
    }

    fn signal(&mut self, signal: i32) -> Result<(), CliError> {
        match signal {
            SIGWINCH if self.tty => self.resize(),
            SIGWINCH => Ok(()),
            other => {
                self.unanswered += 1;
                if self.unanswered == 2 {
                    self.until = Some(Instant::now() + ANSWER);
                }
                self.send(&Frame::Signal(other))
            }
        }
    }

    fn resize(&mut self) -> Result<(), CliError> {
        match term::size() {
            Some((rows, cols)) => self.send(&Frame::Resize { rows, cols }),
            None => Ok(()),
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<(), CliError> {
        self.socket.send(frame.to_message())
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> Result<(), CliError> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(|why| CliError::io("writing the output", why))
}

/// Finds Ctrl-P Ctrl-Q in what is typed; a Ctrl-P followed by anything else is passed on.
#[derive(Debug, Default)]
struct DetachKeys {
    held: bool,
}

impl DetachKeys {
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.held, byte) {
                (true, 0x11) => return (pass, true),
                (false, 0x10) => self.held = true,
                (held, byte) => {
                    if held {
                        pass.push(0x10);
                    }
                    self.held = byte == 0x10;
                    if byte != 0x10 {
                        pass.push(byte);
                    }
                }
            }
        }
        (pass, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads_and_nothing_else_is_lost() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b\x10"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"\x11c"), (Vec::new(), true));
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }
}
