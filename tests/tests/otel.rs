//! Spans to a collector of others: `cargo xtask otel` runs this on a `pond` that can send them. On any other it sees that such a
//! `pond` says so and does not start.

use pond_e2e::{Api, Pool, python, skip, transcript::root, wait_until};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Child, Stdio};
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
    let mut collector = pool.program(&python);
    collector.arg(root().join("tests/otel/collector.py")).args([&spans, &port]).stdin(Stdio::null());
    let collector = Ended(collector.spawn().expect("python runs"));
    let read = || std::fs::read_to_string(&port).unwrap_or_default();
    assert!(wait_until(PATIENCE, || !read().is_empty()), "the collector does not start");
    let up = pool.pond(&["up", "-d"]).env(ADDRESS, format!("http://127.0.0.1:{}", read())).output();
    assert!(up.expect("pond runs").status.success());
    _ = pool.ok(&["run", "--cpu", "0.1", "--memory", "32MB", "--isolation", "process", "--", "true"]);
    let api = Api::of(&pool).expect("a server");
    traced(&api);
    let token = api.token().to_owned();
    // What was not sent yet is sent before the end.
    _ = pool.ok(&["down", "--yes"]);
    let text = std::fs::read_to_string(&spans).expect("spans");
    let spans: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    for name in ["commit", "plan", "launch", "POST /api/v1/jobs"] {
        assert!(!named(name).is_empty(), "no span `{name}`: {text}");
    }
    assert_eq!(named("launch")[0]["attributes"]["pond.subject"], "1");
    let request = named("GET /api/v1/jobs/{id}");
    let ours = request.iter().find(|span| span["trace"] == TRACE).expect("the span of our trace");
    assert_eq!(
        (&ours["parent"], &ours["service"], &ours["path"]),
        (&PARENT.into(), &"pond".into(), &"/v1/traces".into())
    );
    assert_eq!(ours["attributes"]["http.response.status_code"], 200);
    assert!(!text.contains(&token), "a token in a span");
    drop(collector);
    pool.finish();
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A request that is part of somebody's trace.
fn traced(api: &Api) {
    let host = api.url().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&host).expect("a server");
    let head = format!(
        "GET /api/v1/jobs/1 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         traceparent: 00-{TRACE}-{PARENT}-01\r\nconnection: close\r\n\r\n",
        api.token()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
