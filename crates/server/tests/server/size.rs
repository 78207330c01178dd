//! How large and how quick a server with a long past is. Figures are printed, not judged: machines differ.

use super::client::{Client, job};
use super::{Folder, Pool, until};
use std::path::Path;
use std::time::Instant;

/// Finished jobs of the past.
const JOBS: usize = 10_000;

/// Not a test: the server whose size is read.
#[test]
#[ignore = "run by the measurement of this file, in a process of its own"]
fn serve_past() {
    let Some(state) = std::env::var_os("POND_TEST_PAST") else { return };
    let _pool = Pool::start(Path::new(&state));
    loop {
        std::thread::park();
    }
}

/// `cargo test --release -p pond-server --test server -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement: it takes a minute"]
fn ten_thousand_finished_jobs() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..JOBS / 4 {
                    pool.client.run(&["exit", "0"]);
                }
            });
        }
    });
    let over = || pool.client.get("/api/v1/status").json()["over"]["succeeded"].as_u64() == Some(JOBS as u64);
    let deadline = Instant::now() + std::time::Duration::from_secs(300);
    while !over() {
        assert!(Instant::now() < deadline, "they do not end");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    println!("{JOBS} jobs in, run and over: {:?}", began.elapsed());
    pool.stop(true).unwrap();
    let began = Instant::now();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "size::serve_past", "--ignored", "--nocapture"])
        .env("POND_TEST_PAST", folder.path())
        .spawn()
        .unwrap();
    let address = folder.path().join("address");
    until("it serves", || address.exists());
    let start = began.elapsed();
    let url = std::fs::read_to_string(&address).unwrap();
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
    let client = Client {
        address: url.trim().trim_start_matches("http://").to_owned(),
        token: token.trim().to_owned(),
    };
    let began = Instant::now();
    assert_eq!(client.get("/api/v1/jobs?limit=1000").json()["jobs"].as_array().unwrap().len(), 1000);
    println!("start: {start:?}; a page of 1000 jobs: {:?}", began.elapsed());
    client.post("/api/v1/jobs", &job(&["exit", "0"])).expect(201);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("Threads")) {
        println!("{line}");
    }
    let database = std::fs::metadata(folder.path().join("pond.db")).unwrap().len();
    println!("pond.db: {} MB", database / 1_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
}
