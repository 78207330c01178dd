//! What the server needs of the machine's tasks beside effects and reports: sessions, files, output.

use pond_core::event::Effect;
use pond_core::ids::TaskId;
use pond_core::model::RunSpec;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

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
    pub env: BTreeMap<String, String>,
}

/// A substrate's tasks from close by. None of it may be called on an async thread but [`Self::apply`].
// seam: the node implements it in the command line's glue, the tests in memory; the server depends on neither
pub trait Access: Send + Sync + 'static {
    /// Takes effects to be carried out; only enqueues.
    fn apply(&self, effects: Vec<Effect>);

    /// Which of the machine's own files and folders that such a task would be given are not there now.
    fn missing(&self, run: &RunSpec) -> Vec<String>;

    /// Runs a command inside a task. The stream speaks [`pond_core::frame::Frame`].
    ///
    /// # Errors
    /// When the task does not run here or the command cannot be started.
    fn exec(&self, task: TaskId, request: ExecRequest) -> io::Result<UnixStream>;

    /// Joins the task's own terminal or output. The stream speaks [`pond_core::frame::Frame`].
    ///
    /// # Errors
    /// When the task does not run here.
    fn attach(&self, task: TaskId) -> io::Result<UnixStream>;

    /// Connects to a port inside the task.
    ///
    /// # Errors
    /// When the task does not run here or nothing listens.
    fn connect(&self, task: TaskId, port: u16) -> io::Result<TcpStream>;

    /// A file or folder of the task as a tar stream.
    ///
    /// # Errors
    /// `NotFound`: the path is not there; `PermissionDenied`: the task's user may not read it; others: the task is not there.
    fn copy_out(&self, task: TaskId, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Unpacks a tar stream into a folder of the task; `onto`: what is in it gets this path as its name, unless a folder is there.
    ///
    /// # Errors
    /// As [`Self::copy_out`], when a file stands where a folder would be, or when the stream is not a tar stream.
    fn copy_in(&self, task: TaskId, path: &str, onto: bool, tar: Box<dyn Read + Send>) -> io::Result<()>;

    /// The files that hold a task's output, oldest first; the last one grows. Beside each stands its index, of
    /// the same name with `.idx` behind it: one 16-byte entry a write, big-endian: when (milliseconds, 8 bytes),
    /// how many bytes (4), which stream (1 byte: 1 output, 2 error), 3 bytes zero. `attempt` counts from 1;
    /// absent: the last.
    ///
    /// # Errors
    /// When they cannot be listed. A task without output has no files.
    fn log_files(&self, task: TaskId, attempt: Option<u32>) -> io::Result<Vec<PathBuf>>;

    /// Ends the substrate once nothing drives it any more: leaves tasks running, or stops every one of them
    /// and removes what was made for them. Returns when that is done.
    fn shutdown(&self, keep: bool);
}
