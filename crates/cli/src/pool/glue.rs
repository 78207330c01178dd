//! The node's agent as the server's window on tasks: neither knows the other.

use pond_core::event::Effect;
use pond_core::ids::TaskId;
use pond_core::model::RunSpec;
use pond_node::agent::{self, Agent, Shutdown};
use pond_server::{Access, ExecRequest};
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// An agent of this process.
pub struct Local(pub Agent);

impl Access for Local {
    fn apply(&self, effects: Vec<Effect>) {
        self.0.apply(effects);
    }

    fn missing(&self, run: &RunSpec) -> Vec<String> {
        agent::missing(run)
    }

    fn exec(&self, task: TaskId, request: ExecRequest) -> io::Result<UnixStream> {
        let ExecRequest { argv, tty, rows, cols, cwd, env } = request;
        let env = env.into_iter().collect();
        self.0.exec(task, agent::ExecRequest { argv, tty, rows, cols, cwd, env })
    }

    fn attach(&self, task: TaskId) -> io::Result<UnixStream> {
        self.0.attach(task)
    }

    fn connect(&self, task: TaskId, port: u16) -> io::Result<TcpStream> {
        self.0.connect(task, port)
    }

    fn copy_out(&self, task: TaskId, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.copy_out(task, path)?))
    }

    fn copy_in(&self, task: TaskId, path: &str, onto: bool, tar: Box<dyn Read + Send>) -> io::Result<()> {
        self.0.copy_in(task, path, onto, tar)
    }

    fn log_files(&self, task: TaskId, attempt: Option<u32>) -> io::Result<Vec<PathBuf>> {
        match self.0.log_files(task, attempt) {
            // A task that has not been here yet has written nothing yet.
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            files => files,
        }
    }

    fn shutdown(&self, keep: bool) {
        self.0.shutdown(if keep { Shutdown::Keep } else { Shutdown::Stop });
    }
}
