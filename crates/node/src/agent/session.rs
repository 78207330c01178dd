//! What people do with a task: run commands in it, attach to it, reach its ports, move files, read its logs.

use super::{Agent, Inner};
use crate::folder::{Claim, Folder};
use crate::launcher::control::{Answer, Request};
use crate::launcher::enter::EnterRequest;
use crate::launcher::{copy, layer};
use crate::tolerate;
use pond_core::ids::{Generation, TaskId};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A command to run inside a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Rows of the terminal.
    pub rows: u16,
    /// Columns of the terminal.
    pub cols: u16,
    /// Working folder inside; absent: the task's own.
    pub cwd: Option<String>,
    /// Variables on top of the task's own.
    pub env: Vec<(String, String)>,
}

impl Agent {
    /// Runs a command inside a running task, beside its own. The stream speaks [`pond_core::frame::Frame`];
    /// closing it ends the command.
    ///
    /// # Errors
    /// `NotFound`: the task does not run here.
    pub fn exec(&self, task: TaskId, request: ExecRequest) -> io::Result<UnixStream> {
        let folder = self.inner.running(task)?;
        let secrets = match super::work::ask(&folder, &Request::Secrets)? {
            Answer::Secrets(secrets) => secrets,
            Answer::Done => Vec::new(),
        };
        let ExecRequest { argv, tty, rows, cols, cwd, env } = request;
        let env = secrets.into_iter().chain(env).collect();
        let mut line = serde_json::to_vec(&EnterRequest { argv, tty, rows, cols, cwd, env })?;
        line.push(b'\n');
        let (mut mine, theirs) = UnixStream::pair()?;
        let helper = self.inner.helper(&["enter"], &folder, &[], Stdio::from(OwnedFd::from(theirs)))?;
        reap_later(helper)?;
        mine.write_all(&line)?;
        Ok(mine)
    }

    /// Takes part in the task's own terminal or, without one, listens to its output. The stream speaks
    /// [`pond_core::frame::Frame`]; closing it leaves the task alone.
    ///
    /// # Errors
    /// `NotFound`: the task does not run here.
    pub fn attach(&self, task: TaskId) -> io::Result<UnixStream> {
        let folder = self.inner.running(task)?;
        let mut stream = super::work::connect(&folder)?;
        let mut line = serde_json::to_vec(&Request::Attach)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        Ok(stream)
    }

    /// Connects to a port on the loopback inside the task's network.
    ///
    /// # Errors
    /// `NotFound`: the task does not run here; otherwise as connecting does.
    pub fn connect(&self, task: TaskId, port: u16) -> io::Result<TcpStream> {
        let folder = self.inner.running(task)?;
        let net = super::adopt::read_spec(&folder).and_then(|spec| spec.container?.net);
        match net {
            Some(net) => crate::net::connect(&net, port),
            None => TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(5)),
        }
    }

    /// What is at `path` inside the task, as a tar stream; works on the kept layer once the task has ended.
    ///
    /// # Errors
    /// `NotConnected`: the task was never here; `NotFound`: the path is not there; `PermissionDenied`: its user may not read it. The
    /// stream ends in an error when something could not be read.
    pub fn copy_out(&self, task: TaskId, path: &str) -> io::Result<CopyOut> {
        let folder = self.inner.newest(task).map_err(not_connected)?;
        let mut helper = self.inner.helper(&["copy-out"], &folder, &[path], Stdio::null())?;
        let (Some(stdout), Some(stderr)) = (helper.stdout.take(), helper.stderr.take()) else {
            return Err(io::Error::other("the copying process has no pipes"));
        };
        let rest = self.inner.contained.is_some().then_some(folder);
        let mut copy = CopyOut { helper, stdout, stderr, ahead: Vec::new(), over: false, rest };
        // The first bytes are read at once, so that a path that is not there is an error here.
        let mut first = vec![0_u8; 512];
        let len = copy.read(&mut first)?;
        first.truncate(len);
        copy.ahead = first;
        Ok(copy)
    }

    /// Unpacks a tar stream into the folder `path` inside the task, which is made when it is not there; or, `onto`, what is in
    /// it gets that path as its name, unless a folder is there.
    ///
    /// # Errors
    /// `NotConnected`: the task was never here; `PermissionDenied`: its user may not write there; `InvalidInput`: what the archive
    /// holds is not taken; others: the stream is broken, or the layer is full.
    pub fn copy_in(&self, task: TaskId, path: &str, onto: bool, mut tar: impl Read) -> io::Result<()> {
        let folder = self.inner.newest(task).map_err(not_connected)?;
        let verb = if onto { "copy-onto" } else { "copy-in" };
        let mut helper = self.inner.helper(&[verb], &folder, &[path], Stdio::piped())?;
        let copied = match helper.stdin.take() {
            Some(mut stdin) => io::copy(&mut tar, &mut stdin).map(drop),
            None => Ok(()),
        };
        let done = helper.wait_with_output()?;
        if self.inner.contained.is_some() {
            tidy(&folder);
        }
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(io::Error::new(copy::kind(done.status.code()), why));
        }
        copied
    }

    /// The files with a task's output, oldest first, of one attempt or the newest; see [`crate::logs`].
    ///
    /// # Errors
    /// `NotFound`: the task was never here.
    pub fn log_files(&self, task: TaskId, attempt: Option<u32>) -> io::Result<Vec<PathBuf>> {
        let folder = match attempt {
            None => self.inner.newest(task)?,
            Some(attempt) => self.inner.attempt(task, attempt)?,
        };
        Ok(crate::logs::numbers(&folder.0)
            .into_iter()
            .map(|number| crate::logs::file(&folder.0, number))
            .collect())
    }
}

impl Inner {
    /// Folders of a task's generations, oldest first.
    fn generations(&self, task: TaskId) -> Vec<(Generation, Folder)> {
        let dir = crate::folder::of_task(&self.config.state_dir, task);
        let mut found: Vec<(Generation, Folder)> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                Some((Generation(entry.file_name().to_str()?.parse().ok()?), Folder(entry.path())))
            })
            .collect();
        found.sort_unstable_by_key(|(generation, _)| *generation);
        found
    }

    fn newest(&self, task: TaskId) -> io::Result<Folder> {
        let newest = self.generations(task).pop();
        newest.map(|(_, folder)| folder).ok_or_else(not_here)
    }

    fn running(&self, task: TaskId) -> io::Result<Folder> {
        let folder = self.newest(task)?;
        let runs = matches!(folder.look(), Claim::Held) && folder.started().is_some();
        if runs { Ok(folder) } else { Err(not_here()) }
    }

    fn attempt(&self, task: TaskId, attempt: u32) -> io::Result<Folder> {
        let of = |folder: &Folder| super::adopt::read_spec(folder).map(|spec| spec.attempt);
        let found = self.generations(task).into_iter().rev().find(|(_, folder)| of(folder) == Some(attempt));
        found.map(|(_, folder)| folder).ok_or_else(not_here)
    }

    /// Starts the launcher program for something else than a task.
    fn helper(&self, verb: &[&str], folder: &Folder, rest: &[&str], stdin: Stdio) -> io::Result<Child> {
        let (program, args) = self.config.launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let piped = verb != ["enter"];
        let output = || if piped { Stdio::piped() } else { Stdio::null() };
        Command::new(program)
            .args(args)
            .args(verb)
            .arg(&folder.0)
            .args(rest)
            .env_clear()
            .current_dir("/")
            .stdin(stdin)
            .stdout(output())
            .stderr(output())
            .spawn()
    }
}

fn not_here() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it is not running on this machine")
}

/// Of files: that the task is not here is another thing than that a path is not there.
fn not_connected(why: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, why)
}

/// Waits for a helper in a thread of its own, so that it leaves no zombie.
fn reap_later(mut helper: Child) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("pond-session".to_owned()).stack_size(64 << 10);
    thread.spawn(move || tolerate(helper.wait())).map(drop)
}

/// A tar stream of a task's files.
#[derive(Debug)]
pub struct CopyOut {
    helper: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    ahead: Vec<u8>,
    over: bool,
    /// Where layers that were mounted for it are to be left in order.
    rest: Option<Folder>,
}

/// Of a container without root, after a look at its files, or when its launcher did not come to it.
pub(super) fn tidy(folder: &Folder) {
    let container = super::adopt::read_spec(folder).and_then(|spec| spec.container);
    let container = container.filter(|container| container.user_namespace);
    if let Some(container) = container.filter(|_| !matches!(folder.look(), Claim::Held)) {
        layer::tidy(folder, !container.lowers.is_empty());
    }
}

impl Read for CopyOut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            let len = self.ahead.len().min(buffer.len());
            buffer[..len].copy_from_slice(&self.ahead[..len]);
            self.ahead.drain(..len);
            return Ok(len);
        }
        let len = if self.over { 0 } else { self.stdout.read(buffer)? };
        if len == 0 && !buffer.is_empty() && !self.over {
            self.over = true;
            let status = self.helper.wait()?;
            if !status.success() {
                let mut why = String::new();
                self.stderr.read_to_string(&mut why)?;
                return Err(io::Error::new(copy::kind(status.code()), why.trim().to_owned()));
            }
        }
        Ok(len)
    }
}

impl Drop for CopyOut {
    fn drop(&mut self) {
        tolerate(self.helper.kill());
        tolerate(self.helper.wait());
        self.rest.iter().for_each(tidy);
    }
}
