//! A WebSocket for one thread: reading never blocks, so that one `poll` waits for the pool, the keyboard and
//! signals together.

use super::trust::Trust;
use crate::error::CliError;
use pond_server::api::types::Problem;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::Response;
use tungstenite::{Error, Message, WebSocket};

/// A plain or encrypted connection.
#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// What reading gave.
#[derive(Debug)]
pub enum Got {
    /// A message.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The other end is done.
    Closed,
}

/// The connection.
#[derive(Debug)]
pub struct Socket {
    inner: WebSocket<Wire>,
    address: String,
}

impl Socket {
    /// Connects.
    pub(super) fn open(base: &str, path: &str, token: Option<&str>, trust: &Trust) -> Result<Self, CliError> {
        let unreachable = |why: &dyn std::fmt::Display| CliError::Unreachable {
            address: base.to_owned(),
            why: why.to_string(),
        };
        let (scheme, host) = base.split_once("://").unwrap_or(("http", base));
        let authority = host.split('/').next().unwrap_or(host);
        let secure = scheme == "https";
        let with_port = match authority.rsplit_once(':') {
            Some((_host, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:{}", if secure { 443 } else { 80 }),
        };
        let tcp = TcpStream::connect(&with_port).map_err(|why| unreachable(&why))?;
        tcp.set_nodelay(true).map_err(|why| unreachable(&why))?;
        let wire = if secure {
            encrypt(tcp, &with_port, trust).map_err(|why| unreachable(&why))?
        } else {
            Wire::Plain(tcp)
        };
        let url = format!("{}://{host}{path}", if secure { "wss" } else { "ws" });
        let mut request = url.into_client_request().map_err(|why| unreachable(&why))?;
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().map_err(|why| unreachable(&why))?;
            request.headers_mut().insert("authorization", value);
        }
        match tungstenite::client(request, wire) {
            Ok((inner, _response)) => {
                inner.get_ref().tcp().set_nonblocking(true).map_err(|why| unreachable(&why))?;
                Ok(Self { inner, address: base.to_owned() })
            }
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(refusal(&response, base)),
            Err(why) => Err(unreachable(&why)),
        }
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    /// The connection broke.
    pub fn take(&mut self) -> Result<Got, CliError> {
        loop {
            return match self.inner.read() {
                Ok(Message::Binary(bytes)) => Ok(Got::Bytes(bytes.to_vec())),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    Ok(Got::Closed)
                }
                Ok(_) => continue,
                Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                    Ok(Got::Closed)
                }
                Err(why) => Err(self.broken(&why)),
            };
        }
    }

    /// Sends a message; waits while the other end does not take it.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: Vec<u8>) -> Result<(), CliError> {
        let mut outcome = self.inner.send(Message::binary(bytes));
        loop {
            match outcome {
                Ok(()) => return Ok(()),
                Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => {
                    let fd = self.inner.get_ref().tcp();
                    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::OUT)];
                    rustix::event::poll(&mut fds, None).map_err(|why| self.broken(&why))?;
                    outcome = self.inner.flush();
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(()),
                Err(why) => return Err(self.broken(&why)),
            }
        }
    }

    /// Says goodbye.
    pub fn close(&mut self) {
        // The other end may have gone first; both ways it is over.
        drop(self.inner.close(None));
        drop(self.inner.flush());
    }

    /// What to wait on.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inner.get_ref().tcp().as_fd()
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> CliError {
        CliError::Unreachable { address: self.address.clone(), why: why.to_string() }
    }
}

/// TLS over a connection that is made.
fn encrypt(tcp: TcpStream, with_port: &str, trust: &Trust) -> Result<Wire, Box<dyn std::error::Error>> {
    let host = with_port.rsplit_once(':').map_or(with_port, |(host, _port)| host);
    let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let connection = rustls::ClientConnection::new(trust.for_sockets()?, name)?;
    Ok(Wire::Tls(Box::new(rustls::StreamOwned::new(connection, tcp))))
}

fn refusal(response: &Response<Option<Vec<u8>>>, base: &str) -> CliError {
    let body = response.body().as_deref().unwrap_or_default();
    CliError::Refused(serde_json::from_slice(body).unwrap_or_else(|_why| Problem {
        status: response.status().as_u16(),
        code: "http".to_owned(),
        message: format!("{base} would not open the session: {}", response.status()),
        place: None,
        next: None,
    }))
}
