//! The server as its clients meet it: a real one on the loopback, over a substrate of files.

#![expect(clippy::unwrap_used, reason = "a test ends where its world is not as it must be")]

mod admin;
mod client;
mod crash;
mod doors;
mod farm;
mod full;
mod jobs;
mod money;
mod notify;
mod people;
mod roles;
mod size;
mod slow;
mod stored;
mod streams;
mod web;
mod web_devices;
mod web_money;

use client::Client;
use farm::Farm;
use pond_server::{Config, Handle, ServerError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Waits for something to become true.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder of its own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("pond-server-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// A server under test.
pub(crate) struct Pool {
    pub(crate) client: Client,
    pub(crate) farm: Arc<Farm>,
    handle: Handle,
    waiting: Option<JoinHandle<Result<(), ServerError>>>,
    alive: Arc<AtomicBool>,
}

impl Pool {
    pub(crate) fn start(state: &Path) -> Self {
        Self::start_with(state, |_| ())
    }

    pub(crate) fn start_with(state: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(state);
        change(&mut config);
        let opened = pond_server::open(config).unwrap();
        let (sender, reports) = mpsc::channel();
        let farm = Arc::new(Farm::open(&state.join("tasks"), sender, opened.resolver()));
        let server = opened.start(farm.clone(), reports).unwrap();
        let token = std::fs::read_to_string(state.join("token")).unwrap().trim().to_owned();
        let address = server.url().trim_start_matches("http://").to_owned();
        let handle = server.handle();
        let alive = Arc::new(AtomicBool::new(true));
        let (heart, beats) = (farm.clone(), alive.clone());
        std::thread::spawn(move || {
            while beats.load(Ordering::Relaxed) {
                heart.live();
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let waiting = Some(std::thread::spawn(move || server.wait()));
        Self { client: Client { address, token }, farm, handle, waiting, alive }
    }

    /// Ends the server in order.
    pub(crate) fn stop(mut self, keep: bool) -> Result<(), ServerError> {
        self.handle.stop(keep);
        self.waiting.take().unwrap().join().unwrap()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
        if let Some(waiting) = self.waiting.take() {
            self.handle.stop(true);
            drop(waiting.join());
        }
    }
}
