//! One side of an interactive session: frames over a socket that must never make its owner wait.

use crate::tolerate;
use pond_core::frame::Frame;
use rustix::event::{PollFd, PollFlags};
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Output waiting for a slow reader before the session is closed.
const MOST_WAITING: usize = 8 << 20;

/// Input that waits for the task before no more is read.
const MOST_INPUT: usize = 1 << 20;

/// A client of a task: its input as it comes, its output as it is taken.
#[derive(Debug)]
pub(crate) struct Session {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Bytes for the task's standard input.
    input: Vec<u8>,
    input_ended: bool,
    closed: bool,
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}

impl Session {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let closed = stream.set_nonblocking(true).is_err();
        let (incoming, outgoing, input) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, incoming, outgoing, input, input_ended: false, closed }
    }

    pub(crate) const fn closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn poll(&self) -> PollFd<'_> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.input.len() < MOST_INPUT);
        flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        PollFd::new(&self.stream, flags)
    }

    pub(crate) const fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(crate) const fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// Whether the client has said that its input is over and all of it was taken.
    pub(crate) const fn input_over(&self) -> bool {
        self.input_ended && self.input.is_empty()
    }

    /// Queues a frame for the client.
    pub(crate) fn push(&mut self, frame: &Frame) {
        self.outgoing.extend(frame.to_stream());
        self.closed |= self.outgoing.len() > MOST_WAITING;
    }

    /// Reads and writes what can be without waiting; returns frames that are neither input nor its end.
    pub(crate) fn serve(&mut self) -> Vec<Frame> {
        self.write();
        let mut buffer = [0_u8; 16 << 10];
        while self.input.len() < MOST_INPUT {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(len) => self.incoming.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.closed = true;
                    break;
                }
            }
        }
        let mut others = Vec::new();
        loop {
            match Frame::take(&mut self.incoming) {
                Ok(Some(Frame::Stdin(bytes))) => self.input.extend(bytes),
                Ok(Some(Frame::StdinEnd)) => self.input_ended = true,
                Ok(Some(frame)) => others.push(frame),
                Ok(None) => return others,
                Err(_) => {
                    self.closed = true;
                    return others;
                }
            }
        }
    }

    fn write(&mut self) {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(len) => drop(self.outgoing.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Hands input to the task as far as it takes it.
    pub(crate) fn feed(&mut self, to: BorrowedFd<'_>) {
        while !self.input.is_empty() {
            match rustix::io::write(to, &self.input) {
                Ok(len) => drop(self.input.drain(..len)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.input.clear(),
            }
        }
    }

    pub(crate) fn forget_input(&mut self) {
        self.input.clear();
    }

    /// Sends what is queued, waiting a second at most.
    pub(crate) fn finish(&mut self) {
        let ready = self.stream.set_nonblocking(false).is_ok()
            && self.stream.set_write_timeout(Some(Duration::from_secs(1))).is_ok();
        if ready {
            tolerate(self.stream.write_all(&self.outgoing));
        }
        self.outgoing.clear();
    }
}
