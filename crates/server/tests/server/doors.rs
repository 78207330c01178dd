//! What stands before the pool: tokens, hosts, sizes, times, and the description of the API.

use super::client::{Client, read_answer};
use super::{Folder, Pool};
use pond_server::api::openapi;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// Every method and path of the API, with ids of nothing.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(openapi::build()).unwrap();
    let mut found = vec![("GET".to_owned(), "/metrics".to_owned())];
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let path = path
                .replace("{id}", "1")
                .replace("{node}", "n")
                .replace("{path}", "q")
                .replace("{name}", "x");
            found.push((method.to_uppercase(), path));
        }
    }
    found
}

#[test]
fn every_route_needs_a_token_but_health() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let operations = operations();
    assert!(operations.len() > 40);
    for token in ["", "wrong", &"0".repeat(64)] {
        let stranger = Client { token: token.to_owned(), ..pool.client.clone() };
        for (method, path) in &operations {
            let answer = stranger.request(method, path, &[], b"");
            if path == "/api/v1/health" {
                answer.expect(200);
            } else {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
                answer.problem(401, "unauthorized");
            }
        }
    }
    let basic = [("authorization", "Basic cm9vdDpyb290")];
    pool.client.request("GET", "/api/v1/jobs", &basic, b"").problem(401, "unauthorized");
}

#[test]
fn every_described_route_is_there() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    for (method, path) in operations() {
        if path == "/api/v1/shutdown" {
            continue;
        }
        let answer = pool.client.request(&method, &path, &[], b"");
        assert_ne!(answer.status, 405, "{method} {path}");
        let nowhere = answer.status == 404 && answer.json()["code"] == "no_such_route";
        assert!(!nowhere && answer.status != 500, "{method} {path}: {}", answer.text());
    }
    pool.client.get("/api/v1/nothing").problem(404, "no_such_route");
    pool.client.request("PATCH", "/api/v1/jobs", &[], b"").problem(405, "method_not_allowed");
}

#[test]
fn the_description_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("POND_UPDATE").is_some() {
        std::fs::write(path, openapi::text()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == openapi::text(), "docs/openapi.json is old: run this test with POND_UPDATE=1");
    let document: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    // Programs are made of these names, so each is there once.
    let mut ids: Vec<&str> = Vec::new();
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|all| all.as_object().unwrap().values())
    {
        let id = operation["operationId"].as_str().unwrap();
        assert!(!ids.contains(&id), "two operations are called {id}");
        ids.push(id);
    }
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let stands_for_another = property["oneOf"].as_array().is_some_and(|all| all.len() == 1);
            assert!(!stands_for_another || property["default"].is_null(), "{name}.{field}: {property}");
        }
    }
    // Every reference leads somewhere.
    for part in kept.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}

#[test]
fn names_of_other_sites_are_refused() {
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| config.hosts = vec!["pool.example".to_owned()]);
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::1"] {
        let answer = pool.client.request("GET", "/api/v1/health", &[("host", host)], b"");
        assert!([400, 421].contains(&answer.status) || host == "[::1", "{host}: {}", answer.status);
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:80", "pool.example:443", "POOL.example"] {
        pool.client.request("GET", "/api/v1/health", &[("host", host)], b"").expect(200);
    }
    // What probes of load balancers send, and what a browser never does.
    let status = |request: &str| {
        let mut stream = std::net::TcpStream::connect(&pool.client.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read_answer(stream).status
    };
    assert_eq!(status("GET /api/v1/health HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status("GET /api/v1/health HTTP/1.0\r\nhost: evil.example\r\n\r\n"), 421);
    assert_eq!(status("GET http://evil.example/api/v1/health HTTP/1.0\r\n\r\n"), 421);
    assert_eq!(status("GET /api/v1/health HTTP/1.1\r\nconnection: close\r\n\r\n"), 421);
}

#[test]
fn bodies_that_are_compressed_are_refused_as_such() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let send = |coding: &str| {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        pool.client.request("POST", "/api/v1/plan", &headers, br#"{"type": "task", "run": "true"}"#)
    };
    send("identity").expect(200);
    send("gzip").problem(415, "bad_content_encoding");
}

#[test]
fn bad_bodies_are_told_what_is_wrong_and_change_nothing() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let json = "application/json";
    let good = r#"{"type": "task", "run": ["exit", "0"]}"#;
    let table: &[(&str, &str, &str, u16, &str)] = &[
        ("/api/v1/jobs", json, "", 422, "bad_file"),
        ("/api/v1/jobs", json, "{", 422, "bad_file"),
        ("/api/v1/jobs", json, "[]", 422, "bad_file"),
        ("/api/v1/jobs", json, "null", 422, "bad_file"),
        ("/api/v1/jobs", json, r#"{"type": "task"}"#, 422, "bad_file"),
        ("/api/v1/jobs", json, r#"{"type": "task", "run": 7}"#, 422, "bad_file"),
        ("/api/v1/jobs", json, r#"{"type": "task", "run": "x", "memroy": 1}"#, 422, "bad_file"),
        ("/api/v1/jobs", json, r#"{"type": "task", "run": "x", "project": "nowhere"}"#, 422, "no_such_queue"),
        ("/api/v1/jobs", json, r#"{"type": "task", "run": "x", "after": [99]}"#, 422, "no_such_dependency"),
        ("/api/v1/jobs", json, r#"{"type": "task", "run": "x", "secrets": ["NONE"]}"#, 422, "no_such_secret"),
        ("/api/v1/jobs", "application/yaml", "type: task\nrun: [a\n", 422, "bad_file"),
        ("/api/v1/jobs", "application/toml", "type = task", 422, "bad_file"),
        ("/api/v1/jobs", "application/vnd.pond.spec+json", "{}", 422, "bad_field"),
        ("/api/v1/jobs", "application/vnd.pond.spec+json", "x", 400, "bad_json"),
        ("/api/v1/jobs", "image/png", good, 415, "bad_content_type"),
        ("/api/v1/jobs?colour=red", json, good, 400, "bad_parameter"),
        ("/api/v1/plan", json, r#"{"type": "task"}"#, 422, "bad_file"),
        ("/api/v1/jobs/99/stop", json, "{}", 404, "no_such_job"),
        ("/api/v1/jobs/x/stop", json, "{}", 400, "bad_id"),
        ("/api/v1/jobs/99999999999999999999/stop", json, "{}", 400, "bad_id"),
        ("/api/v1/jobs/1/stop", json, r#"{"index": -1}"#, 422, "bad_field"),
        ("/api/v1/jobs/1/stop", json, r#"{"later": true}"#, 422, "bad_field"),
        ("/api/v1/jobs/1/stop", "text/plain", "{}", 415, "bad_content_type"),
        ("/api/v1/nodes/nobody/drain", json, "", 404, "no_such_node"),
        ("/api/v1/shutdown", json, r#"{"keep": "yes"}"#, 422, "bad_field"),
    ];
    for (path, kind, body, status, code) in table {
        let answer = pool.client.request("POST", path, &[("content-type", kind)], body.as_bytes());
        assert_eq!(answer.status, *status, "{path} {body}: {}", answer.text());
        answer.problem(*status, code);
    }
    // A complete spec may have any name that looks like what it is.
    let plan = pool.client.post("/api/v1/plan", &json!({"type": "task", "run": "true"})).expect(200).json();
    let mut spec = plan["spec"].clone();
    let kind = [("content-type", "application/vnd.pond.spec+json")];
    for (name, status) in
        [("学習 🚀 👩\u{200d}💻", 200), ("\u{202e}live", 422), ("a\u{0}", 422), ("a\nb", 422)]
    {
        spec["name"] = json!(name);
        let answer = pool.client.request("POST", "/api/v1/plan", &kind, spec.to_string().as_bytes());
        assert_eq!(answer.status, status, "{name:?}: {}", answer.text());
    }
    let yaml = "type: task\nrun: x\nclas: spare\n";
    let answer =
        pool.client.request("POST", "/api/v1/jobs", &[("content-type", "application/yaml")], yaml.as_bytes());
    let problem = answer.problem(422, "bad_file");
    assert!(problem["where"].as_str().unwrap().starts_with("line 3 column 1"), "{problem}");
    assert!(problem.to_string().contains("class"), "{problem}");
    assert_eq!(pool.client.get("/api/v1/jobs").expect(200).json()["jobs"], json!([]));
}

#[test]
fn bodies_have_limits_of_size_and_time() {
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| config.body_time = Duration::from_millis(300));
    let large = vec![b'x'; (1 << 20) + 1];
    let kind = [("content-type", "application/yaml")];
    pool.client.request("POST", "/api/v1/jobs", &kind, &large).problem(413, "body_too_large");
    // A body that never comes to its end, and a head that promises more than comes.
    let mut stream = pool.client.connect();
    let head = pool.client.head("POST", "/api/v1/jobs", &kind) + "content-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"type: ").unwrap();
    read_answer(stream).problem(408, "body_too_slow");
    pool.client.get("/api/v1/health").expect(200);
}

#[test]
fn plain_http_beyond_the_loopback_must_be_wanted() {
    let folder = Folder::new();
    let mut config = pond_server::Config::new(folder.path());
    config.listen = "0.0.0.0:0".parse().unwrap();
    let Err(refusal) = pond_server::open(config.clone()) else {
        panic!("it listens to the world in clear text")
    };
    assert!(refusal.to_string().contains("certificate"), "{refusal}");
    config.allow_plain = true;
    assert!(pond_server::open(config).is_ok());
}

#[test]
fn two_servers_never_share_a_folder() {
    let folder = Folder::new();
    let _pool = Pool::start(folder.path());
    let Err(refusal) = pond_server::open(pond_server::Config::new(folder.path())) else {
        panic!("two servers")
    };
    assert!(refusal.to_string().contains("already uses"), "{refusal}");
}

/// With the system's `openssl`, which makes the certificate and is the client.
#[test]
fn https_with_a_certificate() {
    use std::process::{Command, Stdio};
    let (folder, keys) = (Folder::new(), Folder::new());
    let (certificate, key) = (keys.path().join("cert.pem"), keys.path().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("not tested: there is no openssl to make a certificate with");
        return;
    }
    let mut swapped = pond_server::Config::new(folder.path());
    swapped.tls = Some(pond_server::TlsFiles { certificate: key.clone(), key: certificate.clone() });
    assert!(pond_server::open(swapped).is_err());
    let tls = pond_server::TlsFiles { certificate, key };
    let pool = Pool::start_with(folder.path(), |config| config.tls = Some(tls));
    let url = std::fs::read_to_string(folder.path().join("address")).unwrap();
    let address = url.trim().strip_prefix("https://").unwrap();
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-ign_eof", "-connect", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = format!("GET /api/v1/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    client.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    let answer = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"status\":\"ok\""), "{answer}");
    // Whoever speaks plainly to it gets no answer in plain text.
    let plain = Client { address: address.to_owned(), token: String::new() };
    let mut stream = plain.connect();
    stream.write_all(b"GET /api/v1/health HTTP/1.1\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    drop(std::io::Read::read_to_end(&mut stream, &mut heard));
    assert!(!heard.starts_with(b"HTTP"));
    drop(pool);
}
