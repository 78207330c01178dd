//! A small synchronous netlink client: requests are built as bytes, sent in one batch, and each is waited for.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_ACK: u16 = 1 | 4;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`.
pub(super) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_REPLACE`.
pub(super) const REPLACE: u16 = 0x100;
/// `NLM_F_APPEND`.
pub(super) const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A request being built.
pub(super) struct Request {
    bytes: Vec<u8>,
    acked: bool,
}

impl Request {
    /// `head` is the fixed structure after the netlink header.
    pub(super) fn new(kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST_ACK | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(head);
        let mut request = Self { bytes, acked: true };
        request.pad();
        request
    }

    /// A request without an answer of its own: the begin and end of a batch.
    pub(super) fn unacknowledged(mut self) -> Self {
        self.bytes[6..8].copy_from_slice(&1_u16.to_ne_bytes());
        self.acked = false;
        self
    }

    pub(super) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    pub(super) fn put_u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number in network order, as nf_tables wants all of them.
    pub(super) fn put_be32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(super) fn put_text(self, kind: u16, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value)
    }

    /// An attribute that holds attributes.
    pub(super) fn nest(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut done = inner(self);
        let length = u16::try_from(done.bytes.len() - start).unwrap_or(u16::MAX);
        done.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        done
    }

    /// Bytes that are not an attribute: the fixed structure inside some nests.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The first request of a batch that failed: its place and the kernel's reason.
pub(super) type Failed = (usize, Errno);

/// A netlink socket; it belongs to the network namespace of the thread that opened it.
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(super) fn route() -> Result<Self, Errno> {
        // protocol 0 is routing
        Self::open(None)
    }

    pub(super) fn netfilter() -> Result<Self, Errno> {
        Self::open(Some(net::netlink::NETFILTER))
    }

    fn open(protocol: Option<net::Protocol>) -> Result<Self, Errno> {
        let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        // answers come at once or never; a lost one must not hang a launcher
        let patience = Some(std::time::Duration::from_secs(10));
        net::sockopt::set_socket_timeout(&fd, net::sockopt::Timeout::Recv, patience)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all requests at once and waits for every answer. The kernel goes on after a failed one.
    pub(super) fn run(&mut self, requests: Vec<Request>) -> Result<(), Failed> {
        let first = self.sequence + 1;
        let mut batch = Vec::new();
        let mut waiting = 0;
        let acked: Vec<bool> = requests.iter().map(|request| request.acked).collect();
        for mut request in requests {
            self.sequence += 1;
            let length = u32::try_from(request.bytes.len()).unwrap_or(u32::MAX);
            request.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
            request.bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
            waiting += usize::from(request.acked);
            batch.extend_from_slice(&request.bytes);
        }
        let lost = |why| (0, why);
        net::send(&self.fd, &batch, SendFlags::empty()).map_err(lost)?;
        let mut failed: Option<Failed> = None;
        let mut buffer = vec![0_u8; 32 * 1024];
        while waiting > 0 {
            let (_, length) = net::recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty()).map_err(lost)?;
            for answer in messages(&buffer[..length.min(buffer.len())]) {
                if answer.kind != ERROR || answer.sequence < first {
                    continue;
                }
                let place = usize::try_from(answer.sequence - first).unwrap_or(0);
                // an unacknowledged request still speaks up when it fails
                waiting -= usize::from(acked.get(place).copied().unwrap_or(false)).min(waiting);
                let code =
                    answer.body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                if code != 0 && failed.is_none_or(|(earlier, _)| place < earlier) {
                    failed = Some((place, Errno::from_raw_os_error(-code)));
                    if !acked.get(place).copied().unwrap_or(true) {
                        return Err((place, Errno::from_raw_os_error(-code)));
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Asks for everything of a kind; `each` gets the body of every entry.
    pub(super) fn dump(&mut self, kind: u16, head: &[u8], each: impl FnMut(&[u8])) -> Result<(), Errno> {
        self.ask(Request::new(kind, DUMP, head), each)
    }

    /// Sends one request that is answered with entries; `each` gets the body of every one.
    pub(super) fn ask(&mut self, mut request: Request, mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
        self.sequence += 1;
        let length = u32::try_from(request.bytes.len()).unwrap_or(u32::MAX);
        request.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        request.bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        net::send(&self.fd, &request.bytes, SendFlags::empty())?;
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            let (_, length) = net::recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty())?;
            for answer in messages(&buffer[..length.min(buffer.len())]) {
                match answer.kind {
                    _ if answer.sequence != self.sequence => {}
                    DONE => return Ok(()),
                    ERROR => {
                        let code = answer.body.get(..4).and_then(|code| code.try_into().ok());
                        return match code.map_or(-5, i32::from_ne_bytes) {
                            // all of it has been told
                            0 => Ok(()),
                            code => Err(Errno::from_raw_os_error(-code)),
                        };
                    }
                    _ => each(answer.body),
                }
            }
        }
    }
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let length = usize::try_from(u32::from_ne_bytes(header[0..4].try_into().ok()?)).ok()?;
        let body = bytes.get(HEADER..length)?;
        let kind = u16::from_ne_bytes(header[4..6].try_into().ok()?);
        let sequence = u32::from_ne_bytes(header[8..12].try_into().ok()?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    })
}

/// The attributes in a body, after its fixed structure: kind without flags, and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}
