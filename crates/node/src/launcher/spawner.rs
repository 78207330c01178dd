//! The process that becomes every launcher of a pool, by forking.
//!
//! Loading a program costs more than most of what a launcher does: the kernel maps it, the loader relocates it, the
//! C library asks the processor what it can do, and each page is touched for the first time. Paid once, by
//! this process, it costs the launchers a fork. It has one thread, keeps nothing of any task, and never reads an
//! order: the fork does. It ends when the agent lets go of its socket; the launchers live on.

use super::{keeper, sys};
use crate::tolerate;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Serves the agent behind standard input until it is gone.
pub(super) fn run() -> ExitCode {
    let Ok(agent) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(70) };
    let quiet = || -> io::Result<()> {
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        sys::forget_children()
    };
    if quiet().is_err() {
        return ExitCode::from(70);
    }
    while let Ok((mut fds, true)) = receive(agent.as_fd()) {
        let ground = if fds.len() > 1 { fds.pop() } else { None };
        let Some(asker) = fds.pop() else { continue };
        // What fails here shows to who asked as a connection that ends.
        match sys::fork_watched() {
            Ok(sys::Watched::Child) => {
                // Else the agent could not tell that the spawner is gone for as long as this launcher lives.
                drop(agent);
                sys::default_signals();
                return keeper::run(UnixStream::from(asker), ground);
            }
            Ok(sys::Watched::Parent(pidfd)) => tolerate(send(asker.as_fd(), &[pidfd.as_fd()])),
            Err(_) => {}
        }
    }
    ExitCode::SUCCESS
}

/// Sends one byte with these descriptors, two at most.
///
/// # Errors
/// The other side is gone.
pub(crate) fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(fds));
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL)
    });
    Ok(sent.map(drop)?)
}

/// Takes one byte with its descriptors; false when the other side is gone.
///
/// # Errors
/// The socket is broken.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<OwnedFd>, bool)> {
    let mut byte = [0_u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((fds.flatten().collect(), got.bytes > 0))
}
