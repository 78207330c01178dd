//! Many open pages and many requests at once, against a real pool: what `cargo xtask bench` runs second.
//!
//! ```text
//! pond-load [pages] [requests a second] [seconds]
//! ```
//! 200 pages, 50 requests, 60 seconds unless told. A page does what a browser's does: it holds a stream of ticks, and each tick
//! fetches the page anew. Requests come by the clock, whether the ones before were answered or not; one in 25 submits a job,
//! so that there is something to show all the time. Nothing here passes or fails.

#![expect(clippy::expect_used, reason = "a measurement that cannot be made is no measurement")]
#![expect(clippy::print_stdout, reason = "the figures")]

use pond_e2e::{Api, Pool, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What pages people keep open. On the first, newcomers are looked for.
const PAGES: [&str; 5] = ["/queue?state=all", "/", "/map", "/usage", "/capacity"];
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests that are on their way at one time, at most: later ones wait, and their wait counts.
const HANDS: usize = 16;

struct Load {
    api: Api,
    cookie: String,
    over: AtomicBool,
    /// When each marked job was submitted, by its number.
    marks: Mutex<Vec<Instant>>,
    /// From the submission of a job to the moment when a page shows it, in milliseconds.
    behind: Mutex<Vec<f64>>,
    /// A page fetched anew, in milliseconds.
    refreshes: Mutex<Vec<f64>>,
    answers: Mutex<Vec<f64>>,
    streams: AtomicU64,
    failed: AtomicU64,
}

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("a whole number"));
    let (pages, rate, seconds) =
        (words.next().unwrap_or(200), words.next().unwrap_or(50), words.next().unwrap_or(60));
    let pool = Pool::new("load");
    _ = pool.ok(&["up", "-d"]);
    let api = Api::of(&pool).expect("a server");
    let cookie = login(&api).expect("a session");
    let load = Arc::new(Load {
        api,
        cookie,
        over: AtomicBool::new(false),
        marks: Mutex::default(),
        behind: Mutex::default(),
        refreshes: Mutex::default(),
        answers: Mutex::default(),
        streams: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let mut threads = Vec::new();
    for number in 0..pages {
        let load = load.clone();
        let page = move || load.page(PAGES[number % PAGES.len()]);
        threads.push(std::thread::Builder::new().stack_size(256 << 10).spawn(page).expect("a thread"));
    }
    let open = || load.streams.load(Ordering::Relaxed) == pages as u64;
    assert!(
        wait_until(PATIENCE, open),
        "only {} pages got their stream",
        load.streams.load(Ordering::Relaxed)
    );
    load.answers.lock().expect("unpoisoned").clear();
    let busy = cpu_seconds(&pool);
    let began = Instant::now();
    ask(&load, rate, seconds);
    let spent = (cpu_seconds(&pool) - busy) / began.elapsed().as_secs_f64();
    load.over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a page");
    }
    let peak = memory(&pool, "VmHWM:");
    println!("{pages} open pages and {rate} requests a second for {seconds} s:");
    println!("| what | count | p50 ms | p99 ms | most ms |");
    println!("|---|---|---|---|---|");
    row("a request of the API, its wait included", &load.answers);
    row("a page fetched anew", &load.refreshes);
    row("from a submission to the page that shows it", &load.behind);
    println!(
        "\nserver: {peak:.0} MB at most, {spent:.2} cores; {} requests failed",
        load.failed.load(Ordering::Relaxed)
    );
    pool.finish();
}

fn row(what: &str, times: &Mutex<Vec<f64>>) {
    let mut times = times.lock().expect("unpoisoned").clone();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let at = |part| at(part).copied().unwrap_or(f64::NAN);
    println!("| {what} | {} | {:.1} | {:.1} | {:.1} |", times.len(), at(50), at(99), at(100));
}

/// Requests by the clock, taken by a few threads; each counts from the moment when it was due.
fn ask(load: &Arc<Load>, rate: usize, seconds: usize) {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= rate * seconds {
                        return;
                    }
                    let due = begin + Duration::from_secs_f64(number as f64 / rate as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    load.request(number, due);
                }
            });
        }
    });
}

impl Load {
    fn request(&self, number: usize, due: Instant) {
        let answer = match number % 25 {
            0 => self.submit(),
            1..=8 => self.api.get("status"),
            9..=14 => self.api.get("jobs?limit=50"),
            15..=19 => self.api.get("jobs/1"),
            20 | 21 => self.api.get("nodes"),
            22 | 23 => self.api.get("queues"),
            _ => self.api.get("jobs/1/why"),
        };
        if !answer.is_ok_and(|answer| answer.status / 100 == 2) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.answers.lock().expect("unpoisoned").push(due.elapsed().as_secs_f64() * 1000.0);
    }

    fn submit(&self) -> std::io::Result<pond_e2e::Answer> {
        let number = {
            let mut marks = self.marks.lock().expect("unpoisoned");
            marks.push(Instant::now());
            marks.len() - 1
        };
        self.api.submit(&format!(
            "type: task\nname: mark-{number}\nisolation: process\nresources: {{cpu: 0.1, memory: 16MB}}\nrun: [/bin/true]\n"
        ))
    }

    /// One open page, until it is over.
    fn page(&self, path: &str) {
        let stream = connect(&self.api, "/live", &self.cookie).expect("a stream");
        let mut lines = BufReader::new(stream);
        let (mut line, mut seen, mut first) = (String::new(), 0, true);
        while !self.over.load(Ordering::Relaxed) {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) if !line.starts_with("data:") => continue,
                Ok(_) => {}
            }
            if first {
                self.streams.fetch_add(1, Ordering::Relaxed);
                first = false;
            }
            let began = Instant::now();
            let html = fetch(&self.api, path, &self.cookie).unwrap_or_default();
            if !html.starts_with("HTTP/1.1 200") {
                self.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.refreshes.lock().expect("unpoisoned").push(began.elapsed().as_secs_f64() * 1000.0);
            if path == PAGES[0] {
                seen = self.look(&html, seen);
            }
        }
    }

    /// Notes how long each job took that this page shows for the first time; how many it has seen then.
    fn look(&self, html: &str, seen: usize) -> usize {
        let marks = self.marks.lock().expect("unpoisoned").clone();
        let shown = |number: &usize| html.contains(&format!(">mark-{number}<"));
        let Some(newest) = (seen..marks.len()).rev().find(shown) else { return seen };
        let new = (seen..=newest).filter(shown).map(|number| marks[number].elapsed().as_secs_f64() * 1000.0);
        self.behind.lock().expect("unpoisoned").extend(new);
        newest + 1
    }
}

/// Begins a request that the server answers as it answers a browser.
fn connect(api: &Api, path: &str, cookie: &str) -> std::io::Result<TcpStream> {
    let host = api.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\nhx-request: true\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

fn fetch(api: &Api, path: &str, cookie: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    connect(api, path, cookie)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The cookie of a session that the pool's own token began.
fn login(api: &Api) -> std::io::Result<String> {
    let host = api.url().trim_start_matches("http://").to_owned();
    let body = format!("token={}", api.token());
    let mut stream = TcpStream::connect(&host)?;
    let head = format!(
        "POST /login HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cookie = text.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|line| line.split(';').next()).map(str::to_owned);
    cookie.ok_or_else(|| std::io::Error::other(text))
}

fn memory(pool: &Pool, name: &str) -> f64 {
    let pid = pool.server().expect("a server");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1.024 / 1000.0
}

fn cpu_seconds(pool: &Pool) -> f64 {
    let pid = pool.server().expect("a server");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its figures");
    let ticks = stat.rsplit(')').next().expect("fields").split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}
