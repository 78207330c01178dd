//! Signals as bytes on a socket, so that one `poll` waits for them beside everything else.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Some signals, caught for as long as the process lives.
#[derive(Debug)]
pub struct Signals {
    receive: Vec<(i32, UnixStream)>,
}

impl Signals {
    /// Catches these from now on.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn catch(signals: &[i32]) -> io::Result<Self> {
        let mut receive = Vec::with_capacity(signals.len());
        for &signal in signals {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, theirs)?;
            receive.push((signal, ours));
        }
        Ok(Self { receive })
    }

    /// What to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.receive.iter().map(|(_signal, stream)| stream.as_fd())
    }

    /// Those that came since the last call.
    pub fn take(&mut self) -> Vec<i32> {
        let mut came = Vec::new();
        for (signal, stream) in &mut self.receive {
            let mut bytes = [0; 64];
            while matches!(stream.read(&mut bytes), Ok(count) if count > 0) {
                came.push(*signal);
            }
        }
        came
    }

    /// Waits until one of them comes, at most `timeout_ms` when there is one.
    pub fn wait(&mut self, timeout_ms: Option<u64>) -> Vec<i32> {
        let timeout = timeout_ms.map(|ms| rustix::event::Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
        });
        {
            let mut fds: Vec<_> = self
                .fds()
                .map(|fd| rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN))
                .collect();
            // An interrupted wait is a wait that is over: the caller looks again.
            rustix::event::poll(&mut fds, timeout.as_ref()).unwrap_or_default();
        }
        self.take()
    }
}
