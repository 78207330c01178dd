//! What can be asked of a running launcher through its socket: one line of JSON, then its answer.

use crate::folder::Folder;
use pond_core::event::Exit;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Send a signal to the command's process group.
    Signal(i32),
    /// Send the signal, and after the grace kill everything. The grace is not made longer by a second request.
    Stop {
        /// First signal.
        signal: i32,
        /// Milliseconds between the two; 0: kill at once.
        grace_ms: u64,
    },
    /// The command's secrets, for a session beside it.
    Secrets,
    /// Take part: the stream then speaks `pond_core::frame`.
    Attach,
}

/// The answer to everything but [`Request::Attach`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// Names and values.
    Secrets(Vec<(String, String)>),
}

/// The exit code a shell would give: the code, 128 + the signal, 137 for want of memory, 1 for what no code tells.
#[must_use]
pub const fn shell_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::OutOfMemory => 137,
        Exit::OutOfDisk | Exit::DeviceError | Exit::Lost => 1,
    }
}

/// Opens the socket in a task's folder.
///
/// # Errors
/// It is there already, or the disk is full.
pub(super) fn listen(folder: &Folder) -> io::Result<UnixListener> {
    // The path of a socket may have 107 bytes at most; through the folder's descriptor it is short.
    let dir = File::open(&folder.0)?;
    let path = format!("/proc/self/fd/{}/ctl.sock", std::os::fd::AsRawFd::as_raw_fd(&dir));
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
