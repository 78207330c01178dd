//! The agent's side of the process that forks launchers; see [`crate::launcher`].

use crate::folder::Folder;
use crate::launcher::spawner::{receive, send};
use crate::tolerate;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Starts launchers. The process behind it is started with the first of them, and again when it was killed.
pub(super) struct Spawner {
    launcher: Vec<OsString>,
    /// For people who look at the list of processes: whose it is.
    state: PathBuf,
    /// Whether its launchers are root in a user namespace.
    as_root: bool,
    running: Mutex<Option<(OwnedFd, Child)>>,
}

/// A launcher that has its order.
pub(super) struct Launched {
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
    answer: UnixStream,
}

impl Launched {
    /// Waits until the task runs or the launcher is gone.
    pub(super) fn wait_started(&self) -> bool {
        let mut line = String::new();
        BufReader::new(&self.answer).read_line(&mut line).is_ok_and(|len| len > 0)
    }
}

impl Spawner {
    pub(super) fn new(launcher: Vec<OsString>, state: PathBuf, as_root: bool) -> Self {
        Self { launcher, state, as_root, running: Mutex::default() }
    }

    /// Starts a launcher for the order in `folder`; containers are built in the mount namespace `ground`.
    ///
    /// # Errors
    /// No process could be made. A launcher that never gets the whole of its order never claims the task.
    pub(super) fn launch(
        &self,
        folder: &Folder,
        secrets: &[(String, String)],
        ground: Option<BorrowedFd<'_>>,
    ) -> io::Result<Launched> {
        let (mine, theirs) = UnixStream::pair()?;
        self.ask(theirs.as_fd(), ground)?;
        drop(theirs);
        let (mut fds, _) = receive(mine.as_fd())?;
        let pidfd = fds.pop().ok_or_else(|| io::Error::other("no process could be forked"))?;
        let mut answer = mine;
        tolerate(answer.write_all(&serde_json::to_vec(&(folder.0.as_path(), secrets))?));
        answer.shutdown(Shutdown::Write)?;
        Ok(Launched { pidfd, answer })
    }

    fn ask(&self, asker: BorrowedFd<'_>, ground: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = [Some(asker), ground].into_iter().flatten().collect();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((socket, _)) = running.as_ref() {
            match send(socket.as_fd(), &fds) {
                Ok(()) => return Ok(()),
                // It was killed: one more.
                Err(_) => end(running.take()),
            }
        }
        let (socket, child) = self.start()?;
        let sent = send(socket.as_fd(), &fds);
        *running = Some((socket, child));
        sent
    }

    fn start(&self) -> io::Result<(OwnedFd, Child)> {
        let (program, args) = self.launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (mine, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(program)
            .args(args)
            .args(self.as_root.then_some("as-root"))
            .arg("spawn")
            .arg(&self.state)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()?;
        Ok((mine, child))
    }

    /// Ends the process; the launchers it became live on.
    pub(super) fn close(&self) {
        end(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn end(running: Option<(OwnedFd, Child)>) {
    if let Some((socket, mut child)) = running {
        drop(socket);
        tolerate(child.wait());
    }
}
