//! Spans to a collector of others: `cargo xtask otel` runs this on a `pond` that can send them. On any other it sees that such a
//! `pond` says so and does not start.

use pond_e2e::{Api, Pool, python, skip, transcript::root, wait_until};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PACKAGE: &str = "opentelemetry-proto==1.45.2";
const PATIENCE: Duration = Duration::from_secs(60);
const ADDRESS: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Ends a process with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

#[test]
fn spans_go_where_the_environment_says() {
    let pool = Pool::new("otel");
    if std::env::var_os("POND_HAS_OTEL").is_none() {
        let refused =
            pool.pond(&["up", "-d"]).env(ADDRESS, "http://127.0.0.1:9").output().expect("pond runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("build it with `--features otel`"), "{said}");
        return pool.finish();
    }
    let python = match python::environment("otel-python", &[PACKAGE], PACKAGE) {
        Ok(python) => python,
        Err(why) => return skip("spans to a collector", &why),
    };
    let (spans, port) = (pool.work().join("spans.jsonl"), pool.work().join("port"));
    std::fs::write(&spans, "").expect("a file");
    let mut collector = pool.program(&python);
    collector.arg(root().join("tests/otel/collector.py")).args([&spans, &port]).stdin(Stdio::null());
    let collector = Ended(collector.spawn().expect("python runs"));
    let read = || std::fs::read_to_string(&port).unwrap_or_default();
    assert!(wait_until(PATIENCE, || !read().is_empty()), "the collector does not start");
    let tracer = Tracer { pool: &pool, address: format!("http://127.0.0.1:{}", read()), spans };
    tracer.up();
    let api = Api::of(&pool).expect("a server");
    _ = pool.ok(&[&RUN[..], &["--name", "short", "--", "true"]].concat());
    let failed = pool.pond(&[&RUN[..], &["--", "sh", "-c", "exit 3"]].concat()).output().expect("pond runs");
    assert_eq!(failed.status.code(), Some(3));
    let asked = ask(&api, "GET /api/v1/jobs/1", "01", "");
    assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    for flags in ["01", "00"] {
        let taken = ask(&api, "POST /api/v1/jobs", flags, JOB);
        assert!(taken.starts_with("HTTP/1.1 201"), "{taken}");
    }
    tracer.restarted();
    _ = pool.ok(&["wait", "3", "4", "--timeout", "60s"]);
    let (token, user) = (api.token().to_owned(), pool.json(&["status", "1"])["user"].clone());
    // What was not sent yet is sent before the end.
    _ = pool.ok(&["down", "--yes"]);
    let spans = tracer.seen();
    requests(&spans);
    of_short_jobs(&spans, &user);
    of_the_callers(&spans);
    of_the_restarted(&spans);
    assert!(spans.iter().all(|span| !span.to_string().contains(&token)), "a token in a span");
    drop(collector);
    pool.finish();
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// The fifth job.
const RESTARTED: u64 = 5;
const RUN: [&str; 5] = ["run", "--cpu", "0.1", "--memory", "32MB"];
const JOB: &str =
    "type: task\nname: called\nisolation: process\nrun: [\"true\"]\nresources: {cpu: 0.1, memory: 32MB}\n";

/// A pool whose spans go to a collector.
struct Tracer<'a> {
    pool: &'a Pool,
    address: String,
    spans: PathBuf,
}

impl Tracer<'_> {
    fn up(&self) {
        let mut up = self.pool.pond(&["up", "-d"]);
        let up = up.env(ADDRESS, &self.address).env("OTEL_BSP_SCHEDULE_DELAY", "100").output();
        assert!(up.expect("pond runs").status.success());
    }

    /// What came so far.
    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.spans).expect("spans");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Runs a job over a kill of the server.
    fn restarted(&self) {
        let pool = self.pool;
        let wait = "until [ -e go ]; do sleep 0.1; done";
        _ = pool.ok(&[&RUN[..], &["-d", "--isolation", "process", "--", "sh", "-c", wait]].concat());
        let launched = || self.seen().iter().any(|span| span["name"] == "launch" && of_job(span, RESTARTED));
        assert!(wait_until(PATIENCE, launched), "no span of the launch: {}", pool.ok(&["ps", "-a"]));
        let server = pool.server().expect("a server");
        let killed = Command::new("kill").args(["-9", &server.to_string()]).status().expect("kill");
        assert!(killed.success() && wait_until(PATIENCE, || pool.server().is_none()));
        self.up();
        std::fs::write(pool.work().join("go"), "").expect("a file");
        _ = pool.ok(&["wait", &RESTARTED.to_string(), "--timeout", "60s"]);
    }
}

/// Whether a span is about a job or a part of it.
fn of_job(span: &Value, id: u64) -> bool {
    let said = &span["attributes"];
    let of =
        |key: &str| said[key].as_str().map(|word| word.split(['.', '[']).next().unwrap_or(word).to_owned());
    ["pond.job", "pond.gang", "pond.task"].iter().any(|key| of(key) == Some(id.to_string()))
}

/// The one span of a job with this name.
fn one<'a>(spans: &'a [Value], id: u64, name: &str) -> &'a Value {
    let found: Vec<_> = spans.iter().filter(|span| span["name"] == name && of_job(span, id)).collect();
    assert_eq!(found.len(), 1, "spans `{name}` of job {id}: {found:?} in {spans:?}");
    found[0]
}

fn requests(spans: &[Value]) {
    for name in ["commit", "plan", "POST /api/v1/jobs"] {
        assert!(spans.iter().any(|span| span["name"] == name), "no span `{name}`: {spans:?}");
    }
    let asked = |span: &&Value| span["name"] == "GET /api/v1/jobs/{id}" && span["trace"] == TRACE;
    let ours = spans.iter().find(asked).expect("the span of our trace");
    assert_eq!(
        (&ours["parent"], &ours["service"], &ours["path"]),
        (&PARENT.into(), &"pond".into(), &"/v1/traces".into())
    );
    assert_eq!(ours["attributes"]["http.response.status_code"], 200);
}

/// Two jobs, each a trace of its own.
fn of_short_jobs(spans: &[Value], user: &Value) {
    let job = one(spans, 1, "job");
    assert_eq!(job["parent"], "");
    let said = &job["attributes"];
    assert_eq!(
        (&said["pond.job.name"], &said["user.name"], &said["pond.queue"], &said["pond.class"]),
        (&"short".into(), user, &"default".into(), &"standard".into())
    );
    assert_eq!((&said["process.exit.code"], &job["error"]), (&0.into(), &Value::Null));
    for (name, above) in [
        ("waiting", "job"),
        ("placement", "job"),
        ("launch", "job"),
        ("run", "job"),
        ("end", "job"),
        ("start", "launch"),
    ] {
        let (span, above) = (one(spans, 1, name), one(spans, 1, above));
        assert_eq!((&span["trace"], &span["parent"]), (&job["trace"], &above["id"]), "{name}");
        assert!(span["from"].as_u64() <= span["to"].as_u64(), "{span}");
    }
    let ended = |name: &str| one(spans, 1, name)["to"].clone();
    let began = |name: &str| one(spans, 1, name)["from"].clone();
    assert_eq!((began("waiting"), ended("end")), (job["from"].clone(), job["to"].clone()));
    assert_eq!((ended("waiting"), ended("launch")), (began("launch"), began("run")));
    assert_eq!(ended("run"), began("end"));
    let launch = &one(spans, 1, "launch")["attributes"];
    assert_eq!(launch["pond.nodes"][0], one(spans, 1, "start")["attributes"]["host.name"]);
    assert_eq!((&launch["pond.attempt"], &launch["pond.gang"]), (&1.into(), &"1".into()));
    let (failed, run, end) = (one(spans, 2, "job"), one(spans, 2, "run"), one(spans, 2, "end"));
    assert_ne!(failed["trace"], job["trace"]);
    assert_eq!((&failed["error"], &end["error"]), (&"failed".into(), &"failed".into()));
    assert_eq!((&run["attributes"]["process.exit.code"], &run["error"]), (&3.into(), &"exit code 3".into()));
    assert_eq!(end["attributes"]["pond.outcome"], "failed");
}

/// Jobs below the span of whoever submitted them: one who wants spans, one who does not.
fn of_the_callers(spans: &[Value]) {
    let job = one(spans, 3, "job");
    assert_eq!((&job["trace"], &job["parent"]), (&TRACE.into(), &PARENT.into()));
    let run = one(spans, 3, "run");
    assert_eq!((&run["trace"], &run["parent"]), (&TRACE.into(), &job["id"]));
    assert!(spans.iter().all(|span| !of_job(span, 4)), "spans that nobody wants: {spans:?}");
}

/// A job whose server was killed under it.
fn of_the_restarted(spans: &[Value]) {
    let id = RESTARTED;
    let job = one(spans, id, "job");
    for name in ["waiting", "launch", "run", "end"] {
        let span = one(spans, id, name);
        assert_eq!((&span["trace"], &span["parent"]), (&job["trace"], &job["id"]), "{name}");
    }
    assert_eq!(one(spans, id, "run")["from"], one(spans, id, "launch")["to"]);
    assert_eq!(job["parent"], "");
}

/// A request that is part of somebody's trace.
fn ask(api: &Api, line: &str, flags: &str, body: &str) -> String {
    let host = api.url().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&host).expect("a server");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-type: application/yaml\r\n\
         content-length: {}\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\nconnection: close\r\n\r\n{body}",
        api.token(),
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    answer
}
