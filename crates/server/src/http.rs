//! Connections: accepting, TLS, limits on how many and how slow, and an orderly end.

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 512;
/// What one is told that is too many for its address; whoever speaks TLS sees the connection closed.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 57\r\n\r\nyour address has as many connections as one address may.\n";
/// How long open connections may go on after the end was asked for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not what it should be.
    #[error("cannot read a {what} in PEM form from {path}: {source}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// In which file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("the certificate {path} cannot be used with its key: {source}")]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// A TLS acceptor for a certificate chain and a key, both in PEM files.
///
/// # Errors
/// When either cannot be read or they do not fit.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let pem = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(pem("certificate", certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem("private key", key))?;
    let pair = |source| TlsError::Pair { path: certificate.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a connection is served with.
#[derive(Clone)]
pub struct Terms {
    /// Serve HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// How long a TLS handshake, or the head of a request from the moment it is waited for, may take.
    pub head_time: Duration,
    /// Connections at once from one address, so that a single client cannot keep everybody else out.
    pub per_address: usize,
}

/// How many connections each address has; of IPv6, each network of 64 bits, since a machine has all of one.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place among those of its address.
struct Place {
    all: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// A place for one more, or `None` when the address has that many.
    fn place(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Place> {
        let address = match peer.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        (*count < most).then(|| {
            *count += 1;
            Place { all: Arc::clone(self), address }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Accepts and serves connections until `stop` turns true, then gives the open ones a short while.
pub async fn serve(listener: TcpListener, terms: Terms, routes: Router, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let addresses = Arc::new(Addresses::default());
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked_to_stop(&mut stop) => break,
        };
        // Out of descriptors, or the peer is gone already: neither ends the server.
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(place) = addresses.place(peer.ip(), terms.per_address) else {
            if terms.tls.is_none() {
                // It never waits; whoever has closed already, or does not read, needs no answer.
                stream.into_std().and_then(|mut stream| stream.write(TOO_MANY)).map(drop).unwrap_or_default();
            }
            continue;
        };
        let (terms, routes, stop) = (terms.clone(), routes.clone(), stop.clone());
        tokio::spawn(async move {
            connection(stream, peer, terms, routes, stop).await;
            drop((place, permit));
        });
    }
    drop(listener);
    let everyone = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    tokio::time::timeout(LAST_WORDS, room.acquire_many(everyone)).await.map(drop).unwrap_or_default();
}

/// Returns once the end was asked for. Keeps nothing of the channel, whose guard may not cross threads.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|&stop| stop).await.map(drop).unwrap_or_default();
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    Terms { tls, head_time, .. }: Terms,
    routes: Router,
    stop: watch::Receiver<bool>,
) {
    stream.set_nodelay(true).unwrap_or_default();
    let routes = routes.layer(axum::Extension(Peer(peer)));
    let Some(tls) = tls else { return exchange(stream, head_time, routes, stop).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(head_time, tls.accept(stream)).await {
        exchange(stream, head_time, routes, stop).await;
    }
}

async fn exchange<S>(stream: S, head_time: Duration, routes: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = asked_to_stop(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    // A connection that broke is the client's business; it has no one left to tell.
    ended.unwrap_or_default();
}
