//! Notifications against other people's receivers: `standardwebhooks` verifies, `aiosmtpd` takes mail by STARTTLS, implicit TLS and plain;
//! and the server is killed while messages wait.

use pond_e2e::{Pool, python, skip, transcript::root, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TEST: &str = "notifications to receivers of others";
const PACKAGES: [&str; 3] = ["standardwebhooks==1.0.1", "aiosmtpd==1.4.6", "trustme==1.2.1"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a process with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// What the receivers took.
fn got(pool: &Pool, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(pool.work().join("got.jsonl")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

fn kill(pool: &Pool) {
    let pid = pool.server().expect("a server");
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
    assert!(killed.success() && wait_until(PATIENCE, || pool.server() != Some(pid)));
}

#[test]
fn receivers_of_others_take_what_we_send() {
    let python = match python::environment("notify-python", &PACKAGES, &PACKAGES.join(" ")) {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("notify");
    let receivers = pool
        .program(&python)
        .arg(root().join("tests/notify/receivers.py"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let receivers = Ended(receivers.expect("python runs"));
    let ports = pool.work().join("ports.json");
    assert!(wait_until(PATIENCE, || ports.is_file()), "the receivers do not start");
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(&ports).expect("ports")).expect("JSON");
    _ = pool.ok(&["up", "-d"]);
    webhooks(&pool, &ports);
    mail(&pool, &ports);
    drop(receivers);
    pool.finish();
}

fn webhooks(pool: &Pool, ports: &Value) {
    _ = pool.ok(&["notify", "settings", "--allow", "127.0.0.0/8"]);
    let hook = format!("webhook:http://127.0.0.1:{}/", ports["hook"]);
    let key = pool.ok(&["notify", "add", "chat", &hook, "--on", "none"]);
    write(&pool.work().join("key"), &key);
    assert!(
        pool.ok(&["notify", "test", "chat"]).contains("delivered"),
        "it is signed as the library wants it"
    );
    // The receiver fails, the server is killed with a message on its way, and starts again.
    let broken = pool.work().join("broken");
    write(&broken, "");
    let file = pool.work().join("told.pond.yaml");
    write(
        &file,
        "type: task\nname: told\nisolation: process\nrun: exit 3\nresources: {memory: 64MB, disk: 10MB}\nnotify: {on: [failed], to: [chat]}\n",
    );
    let ended = pool.pond(&["run", "told.pond.yaml"]).output().expect("pond runs");
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
    let tries = || got(pool, "webhook").iter().filter(|it| it["type"] == "job.failed").count();
    assert!(wait_until(PATIENCE, || tries() >= 1), "{:?}", got(pool, "webhook"));
    kill(pool);
    std::fs::remove_file(&broken).expect("the receiver is mended");
    _ = pool.ok(&["up", "-d"]);
    let taken = || got(pool, "webhook").iter().any(|it| it["type"] == "job.failed" && it["broken"] == false);
    assert!(wait_until(PATIENCE, taken), "{}", pool.ok(&["notify", "deliveries"]));
    let ids: std::collections::BTreeSet<String> = got(pool, "webhook")
        .iter()
        .filter(|it| it["type"] == "job.failed")
        .map(|it| it["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "the same message each time: {ids:?}");
}

/// Names the receivers' mail server.
fn use_server(pool: &Pool, tls: &str, port: &Value, more: &[&str]) {
    let port = port.to_string();
    let from = "Pool <pond@example.org>";
    let words = ["notify", "mail", "localhost", "--from", from, "--tls", tls, "--port", &port];
    _ = pool.ok(&[&words, more].concat());
}

const LOGIN: [&str; 4] = ["--user", "pond", "--password-secret", "POND_SMTP"];
const TRUST: [&str; 2] = ["--mail-ca", "ca.pem"];

fn mail(pool: &Pool, ports: &Value) {
    write(&pool.work().join("password"), "hunter2-squeamish");
    _ = pool.ok(&["secret", "set", "POND_SMTP", "--from", "password"]);
    let known = [&TRUST[..], &LOGIN].concat();
    use_server(pool, "starttls", &ports["starttls"], &known);
    _ = pool.ok(&["notify", "add", "post", "email:ann@example.org", "--on", "succeeded"]);
    assert!(pool.ok(&["notify", "test", "post"]).contains("delivered: the mail server answered 250"));
    use_server(pool, "implicit", &ports["implicit"], &known);
    assert!(pool.ok(&["notify", "test", "post"]).contains("delivered"));
    use_server(pool, "none", &ports["plain"], &[]);
    assert!(pool.ok(&["notify", "test", "post"]).contains("delivered"));
    _ = pool.ok(&["run", "--isolation", "process", "--memory", "64MB", "--name", "post", "--", "true"]);
    assert!(wait_until(PATIENCE, || got(pool, "mail").len() == 4), "{}", pool.ok(&["notify", "deliveries"]));
    let mails = got(pool, "mail");
    let kept = |field: &str| mails.iter().map(|mail| mail[field].clone()).collect::<Vec<_>>();
    assert_eq!(kept("tls"), [true, true, false, false]);
    assert_eq!(kept("user")[..2], ["pond", "pond"], "it logs in, after TLS has begun");
    for mail in &mails {
        assert_eq!(mail["to"], serde_json::json!(["ann@example.org"]));
        assert_eq!(mail["sender"], "pond@example.org");
    }
    let subject = mails[3]["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("[millpond] job ") && subject.ends_with("post succeeded"), "{subject}");
    assert!(mails[3]["text"].as_str().is_some_and(|text| text.contains("in default")), "{}", mails[3]);
    refusals(pool, ports);
}

/// A certificate of nobody we know, and a password that is wrong, are no reason to say more in the open.
fn refusals(pool: &Pool, ports: &Value) {
    let refused = |why: &str| {
        let tried = pool.pond(&["notify", "test", "post"]).output().expect("pond runs");
        let said = String::from_utf8_lossy(&tried.stdout).to_lowercase();
        assert!(tried.status.code() == Some(1) && said.contains(why), "{said}");
    };
    use_server(pool, "starttls", &ports["starttls"], &LOGIN);
    refused("certificate");
    use_server(pool, "starttls", &ports["starttls"], &[&TRUST[..], &LOGIN].concat());
    write(&pool.work().join("password"), "another");
    _ = pool.ok(&["secret", "set", "POND_SMTP", "--from", "password"]);
    refused("535");
    assert_eq!(got(pool, "mail").len(), 4);
    for words in [&["events", "-n", "1000"][..], &["notify", "settings", "--json"], &["notify", "deliveries"]]
    {
        assert!(!pool.ok(words).contains("hunter2"), "{words:?}");
    }
    let log = std::fs::read_to_string(pool.state().join("server.log")).unwrap_or_default();
    assert!(!log.contains("hunter2"));
}
