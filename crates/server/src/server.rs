//! A server from start to end.
//!
//! ```text
//! open ──▶ Opened ──start──▶ Server (drive thread, two async threads, one for reports) ──wait──▶ ended
//! ```
//! Between the two a caller opens the substrate, which needs the state folder and the secrets and gives the reports.

use crate::access::Access;
use crate::api::{self, Gate, Inner, STREAMS, Shared};
use crate::auth::oidc::{Oidc, Provider, ProviderError};
use crate::auth::people::{People, Session};
use crate::clock;
use crate::feed::Feed;
use crate::http::{self, Terms, TlsError};
use crate::notify::settings::OWN;
use crate::notify::{Notices, NotifyPace, courier};
use crate::pool::drive::{self, Drive, DriveError, said};
use crate::pool::earlier::READ_AT_START;
use crate::pool::inbox::{Condition, Handle, Message};
use crate::pool::start::{self, Parts};
use crate::pool::tally::Tallies;
use crate::room::Room;
use crate::secrets::Secrets;
use crate::spans::{self, Sending, SpansError};
use crate::state::{StateDir, StateError};
use crate::store::{Archive, Found, Store, StoreError};
use crate::web::{Gateway, Web};
use pond_core::engine::Settings;
use pond_core::event::Report;
use pond_core::ids::UserName;
use pond_core::units::Millis;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Certificate and key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that lead to its root behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a server is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// Where it listens. Default: a free port of the loopback.
    pub listen: SocketAddr,
    /// Serve HTTPS.
    pub tls: Option<TlsFiles>,
    /// Listen beyond the loopback without TLS. Tokens then cross the network readable.
    pub allow_plain: bool,
    /// Names, beside addresses and `localhost`, that clients may call it by.
    pub hosts: Vec<String>,
    /// Whom the local token stands for.
    pub user: UserName,
    /// How the pool is run.
    pub settings: Settings,
    /// Finished jobs kept in memory, for `retry`; older ones are only in the archive. Default 200.
    pub keep_finished: usize,
    /// Requests a second of a user of whom nothing else is said; five seconds' worth may come at once. Default 100.
    pub user_rate: u32,
    /// An identity provider that people log in through.
    pub provider: Option<Provider>,
    /// How long the head of a request, or a TLS handshake, may take to come. Default 10 s.
    pub head_time: Duration,
    /// How long the body of a request may take to come. Default 30 s.
    pub body_time: Duration,
    /// Connections at once from one address, of 512 in all. Default 384.
    pub per_address: usize,
    /// How fast notifications are.
    pub notify: NotifyPace,
}

impl Config {
    /// On a free port of the loopback, everything else at its default.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            allow_plain: false,
            hosts: Vec::new(),
            user: UserName::from("local"),
            settings: Settings { ledger: true, device_verdict: Millis::from_secs(5), ..Settings::default() },
            keep_finished: 200,
            user_rate: 100,
            provider: None,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            per_address: 384,
            notify: NotifyPace::default(),
        }
    }
}

/// Why there is no server, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Spans cannot be sent.
    #[error(transparent)]
    Spans(#[from] SpansError),
    /// The identity provider's file cannot be used.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// TLS cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Tokens would cross the network readable.
    #[error(
        "{0} is not on the loopback, and tokens would cross the network readable: give a certificate and its key (`pond up --cert FILE --key FILE`)"
    )]
    Plain(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another server there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start {what}: {source}")]
    Thread {
        /// For what.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The drive thread ended by itself.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The drive thread panicked.
    #[error("the pool stumbled: {0}; its journal is whole, start the server again")]
    Panic(String),
}

/// Gives the value of a secret by its name.
pub type Resolver = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A state folder, locked and read, about to be served.
pub struct Opened {
    config: Config,
    state: StateDir,
    store: Store,
    found: Found,
    secrets: Secrets,
    people: People,
    sessions: Vec<Session>,
    gateway: Option<Gateway>,
    tls: Option<TlsAcceptor>,
}

/// Takes the state folder and reads what is in it.
///
/// # Errors
/// When another server has it, it cannot be read, or the configuration is unsafe.
pub fn open(config: Config) -> Result<Opened, ServerError> {
    if config.tls.is_none() && !config.listen.ip().is_loopback() && !config.allow_plain {
        return Err(ServerError::Plain(config.listen));
    }
    let tls = config.tls.as_ref().map(|files| http::tls(&files.certificate, &files.key)).transpose()?;
    let gateway = config.provider.clone().map(Oidc::new).transpose()?.map(Gateway::new);
    let state = StateDir::lock(&config.state_dir)?;
    let mut store = Store::open(state.path())?;
    let mut found = store.found()?;
    found.traced_as = spans::on().then(|| store.pool_name()).transpose()?;
    let token = state.random_file("token")?;
    let key = state.random_file("secret.key")?;
    let secrets = Secrets::new(&key, std::mem::take(&mut found.secrets));
    let sessions = std::mem::take(&mut found.people.sessions);
    let people = People::new(&token, config.user.clone(), std::mem::take(&mut found.people));
    Ok(Opened { config, state, store, found, secrets, people, sessions, gateway, tls })
}

impl Opened {
    /// The state folder, absolute.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Opens secrets by name, for the environment of tasks.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        let secrets = self.secrets.clone();
        Arc::new(move |name| secrets.open(name).filter(|_| !name.starts_with(OWN)))
    }

    /// Starts to serve. `reports` come from the substrate behind `access`.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the system gives no thread.
    pub fn start(self, access: Arc<dyn Access>, reports: Receiver<Report>) -> Result<Server, ServerError> {
        let sending = Sending::start()?;
        let (sender, inbox) = mpsc::channel();
        let condition = Arc::new(Condition::on(Room::laid_by(self.state.path())));
        let handle = Handle::new(sender.clone(), condition.clone());
        let feed = Arc::new(Feed::after(self.found.last_event));
        let tallies = Arc::new(Tallies::new(self.found.archived.clone()));
        let archive = Archive::open(self.store.path())?;
        let mut found = self.found;
        let noticed = std::mem::take(&mut found.notices);
        let mark = noticed.mark;
        let notices = Notices::new(noticed);
        let drive = start::start(
            found,
            Parts {
                store: self.store,
                feed: feed.clone(),
                tallies: tallies.clone(),
                inbox,
                access: access.clone(),
                condition,
                people: self.people.clone(),
                notices: notices.clone(),
                secrets: self.secrets.clone(),
                settings: self.config.settings,
                keep_finished: self.config.keep_finished,
                archived: archive.succeeded(READ_AT_START)?,
            },
        );
        let (stop, stopped) = watch::channel(false);
        // Where the provider sends browsers back to is a name of ours.
        let mut hosts = self.config.hosts;
        hosts.extend(self.config.provider.as_ref().map(Provider::host));
        let shared: Shared = Arc::new(Inner {
            gate: Gate {
                hosts,
                people: self.people,
                user_rate: self.config.user_rate,
                pace: Default::default(),
                body_time: self.config.body_time,
            },
            handle: handle.clone(),
            access: access.clone(),
            archive,
            feed,
            secrets: self.secrets,
            notices,
            notify: self.config.notify,
            counters: Default::default(),
            tallies,
            streams: Arc::new(Semaphore::new(STREAMS)),
            sessions: Mutex::default(),
            web: Web::new(self.config.tls.is_some(), self.sessions, self.gateway),
            stop: stopped.clone(),
            started_ms: clock::wall_ms(),
        });
        let terms = Terms {
            tls: self.tls.clone(),
            head_time: self.config.head_time,
            per_address: self.config.per_address,
        };
        let (serving, address) = listen(self.config.listen, terms, shared.clone(), stopped)?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        forward_reports(reports, sender)?;
        let thread = spawn_drive(drive)?;
        drop(serving.runtime.spawn(courier::run(shared, mark)));
        self.state.publish(&url)?;
        Ok(Server { url, handle, access, thread, serving, stop, spans: sending, state: self.state })
    }
}

fn listen(
    address: SocketAddr,
    terms: Terms,
    shared: Shared,
    stopped: watch::Receiver<bool>,
) -> Result<(Serving, SocketAddr), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_name("pond-http")
        .enable_all()
        .build()
        .map_err(|source| ServerError::Thread { what: "the HTTP threads", source })?;
    let failed = |source| ServerError::Listen { address, source };
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let serving = runtime.spawn(http::serve(listener, terms, api::routes(shared), stopped));
    Ok((Serving { runtime, serving }, address))
}

struct Serving {
    runtime: Runtime,
    serving: tokio::task::JoinHandle<()>,
}

/// The substrate speaks through a channel of its own, which cannot be waited for together with another.
fn forward_reports(reports: Receiver<Report>, inbox: Sender<Message>) -> Result<(), ServerError> {
    std::thread::Builder::new()
        .name("pond-reports".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            for report in reports {
                if inbox.send(Message::Report(report)).is_err() {
                    return;
                }
            }
        })
        .map(drop)
        .map_err(|source| ServerError::Thread { what: "the thread for reports", source })
}

type Driven = Result<bool, ServerError>;

fn spawn_drive(drive: Drive) -> Result<JoinHandle<Driven>, ServerError> {
    std::thread::Builder::new()
        .name("pond-drive".to_owned())
        .spawn(move || match catch_unwind(AssertUnwindSafe(|| drive::run(drive))) {
            Ok(ended) => ended.map_err(ServerError::from),
            Err(panic) => Err(ServerError::Panic(said(panic.as_ref()))),
        })
        .map_err(|source| ServerError::Thread { what: "the drive thread", source })
}

/// A server that runs.
pub struct Server {
    url: String,
    handle: Handle,
    access: Arc<dyn Access>,
    thread: JoinHandle<Driven>,
    serving: Serving,
    stop: watch::Sender<bool>,
    spans: Sending,
    state: StateDir,
}

impl Server {
    /// Where it is: `http://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for the end from elsewhere: `handle().stop(keep)`.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the server was asked to end, ends it in order, and stops the substrate.
    ///
    /// # Errors
    /// When the pool ended by itself; the process should end too, with this reason. Tasks go on running.
    pub fn wait(self) -> Result<(), ServerError> {
        let driven = match self.thread.join() {
            Ok(driven) => driven,
            Err(panic) => Err(ServerError::Panic(said(panic.as_ref()))),
        };
        self.stop.send_replace(true);
        let Serving { runtime, serving } = self.serving;
        // The task only ends by `stop` or by a panic; either way nobody is served any more.
        runtime.block_on(serving).unwrap_or_default();
        runtime.shutdown_timeout(Duration::from_secs(2));
        self.access.shutdown(*driven.as_ref().unwrap_or(&true));
        self.spans.end();
        drop(self.state);
        driven.map(drop)
    }
}
