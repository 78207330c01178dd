//! Watches launchers end: one thread, one descriptor a launcher, adopted ones included.

use super::{Inner, State};
use crate::folder::{Claim, Ended, Folder, now};
use crate::tolerate;
use pond_core::event::{Exit, Report};
use pond_core::ids::{Generation, TaskId};
use rustix::event::{PollFd, PollFlags, epoll};
use rustix::process::{Pid, PidfdFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The launchers being watched.
pub(crate) struct Watch {
    epoll: OwnedFd,
    /// Written to when the agent closes.
    closing: OwnedFd,
    seen: Mutex<Seen>,
}

/// The key of [`Watch::closing`]; launchers count up from 0.
const CLOSING: u64 = u64::MAX;

#[derive(Default)]
struct Seen {
    next: u64,
    launchers: BTreeMap<u64, (TaskId, Generation, OwnedFd)>,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let closing = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &closing, epoll::EventData::new_u64(CLOSING), epoll::EventFlags::IN)?;
        Ok(Self { epoll, closing, seen: Mutex::default() })
    }

    /// Makes the watching thread look whether the agent closes.
    pub(crate) fn wake(&self) {
        tolerate(rustix::io::write(&self.closing, &1_u64.to_ne_bytes()));
    }

    /// Watches the process until it ends.
    pub(crate) fn add(&self, pid: i32, task: TaskId, generation: Generation) -> io::Result<()> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        self.add_opened(rustix::process::pidfd_open(pid, PidfdFlags::empty())?, task, generation)
    }

    /// Watches the process behind a descriptor until it ends.
    pub(crate) fn add_opened(&self, fd: OwnedFd, task: TaskId, generation: Generation) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = seen.next;
        seen.next += 1;
        epoll::add(&self.epoll, &fd, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
        seen.launchers.insert(key, (task, generation, fd));
        Ok(())
    }

    fn take(&self, key: u64) -> Option<(TaskId, Generation, OwnedFd)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seen.launchers.remove(&key)?;
        tolerate(epoll::delete(&self.epoll, &taken.2));
        Some(taken)
    }
}

/// The watching thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    let mut events = Vec::with_capacity(64);
    while !inner.closing() {
        events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut events);
        tolerate(epoll::wait(&inner.watch.epoll, buffer, None));
        for event in &events {
            let key = event.data.u64();
            let Some((task, generation, fd)) = inner.watch.take(key) else { continue };
            drop(fd);
            inner.launcher_ended(task, generation);
        }
    }
}

/// Waits for a process to end; false when it has not in time.
pub(super) fn wait_for(pid: i32, most: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let timeout = rustix::time::Timespec::try_from(most).ok();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

impl Inner {
    fn launcher_ended(&self, task: TaskId, generation: Generation) {
        let folder = self.folder(task, generation);
        if matches!(folder.look(), Claim::Held) {
            // The one we started found the generation taken: watch the one that has it.
            if let Some(pid) = folder.claimant()
                && self.watch.add(pid, task, generation).is_ok()
            {
                return;
            }
        }
        let ended = self.settle(task, generation, &folder);
        self.doubt_devices(&folder, ended.exit);
        self.state().forget(task, generation);
        if let Some(network) = &self.network {
            network.release(task, generation);
        }
        self.partitions.release((task, generation));
        self.report_used(task, generation, &ended);
        self.report(match ended.failed {
            Some(failure) => Report::StartFailed {
                task,
                generation,
                message: failure.message,
                node_fault: failure.node_fault,
            },
            None => Report::Exited { task, generation, exit: ended.exit },
        });
    }

    /// How a task ended whose launcher is gone; cleans up after a launcher that could not.
    pub(super) fn settle(&self, task: TaskId, generation: Generation, folder: &Folder) -> Ended {
        if let Some(ended) = folder.ended() {
            return ended;
        }
        let group = self.group(task, generation);
        group.kill();
        let used = group.totals();
        tolerate(group.remove());
        let net = self.state().live.get_mut(&(task, generation)).and_then(|live| live.net.take());
        if let Some(net) = net.or_else(|| super::adopt::read_spec(folder)?.container?.net) {
            tolerate(crate::net::detach(&net));
        }
        let at = now();
        let started = folder.started().map_or(at, |started| started.at);
        let ended = Ended { started, at: at.max(started), exit: Exit::Lost, failed: None, used };
        tolerate(folder.record_ended(&ended));
        super::session::tidy(folder);
        ended
    }
}

impl State {
    fn forget(&mut self, task: TaskId, generation: Generation) {
        self.live.remove(&(task, generation));
    }
}
