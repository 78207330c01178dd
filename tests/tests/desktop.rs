//! `--notify` with the real `notify-send`, a real session bus of the test's own, and a service on it that writes down what it is shown.

use pond_e2e::{Pool, python, skip, transcript::root, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const TEST: &str = "messages on the desktop by notify-send";
const PACKAGE: &str = "jeepney==0.9.0";
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a process with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// A session bus that nobody else is on, and where it is.
fn bus(pool: &Pool) -> (Ended, String) {
    let config = format!("--config-file={}", root().join("tests/desktop/bus.conf").display());
    let listen = format!("--address=unix:path={}", pool.work().join("bus").display());
    let mut daemon = pool.program("dbus-daemon");
    daemon
        .args(["--nofork", "--nopidfile", "--print-address", &config, &listen])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut daemon = Ended(daemon.spawn().expect("dbus-daemon runs"));
    let mut address = String::new();
    BufReader::new(daemon.0.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
    assert!(address.starts_with("unix:path="), "the bus does not start: {address:?}");
    (daemon, address.trim().to_owned())
}

fn shown(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn the_end_of_a_job_is_shown_by_the_desktops_own_service() {
    for program in ["notify-send", "dbus-daemon"] {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
        if !found {
            return skip(TEST, &format!("there is no {program}; install libnotify-bin and dbus-daemon"));
        }
    }
    let python = match python::environment("desktop-python", &[PACKAGE], PACKAGE) {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("desktop");
    let (daemon, address) = bus(&pool);
    let file = pool.work().join("shown.jsonl");
    let mut receiver = pool.program(&python);
    receiver.arg(root().join("tests/desktop/receiver.py")).arg(&file);
    let receiver = Ended(receiver.env("DBUS_SESSION_BUS_ADDRESS", &address).spawn().expect("python runs"));
    assert!(wait_until(PATIENCE, || file.is_file()), "the service does not start");
    _ = pool.ok(&["up", "-d"]);
    let run = ["run", "--notify", "--isolation", "process", "--cpu", "0.1", "--memory", "32MB"];
    let ends = |more: &[&str], code: i32| {
        let mut command = pool.pond(&[&run[..], more].concat());
        let output = command.env("DBUS_SESSION_BUS_ADDRESS", &address).output().expect("pond runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(!said.contains("there is no desktop"), "{said}");
    };
    ends(&["--name", "train", "--", "true"], 0);
    ends(&["--name", "train", "--", "sh", "-c", "exit 3"], 3);
    ends(&["--name", "none", "--workdir", "/no\\nsuch <b>\"c\" & 'd' -e", "--", "true"], 1);
    let shown = shown(&file);
    let is = |title: &str, body: &str| json!({"program": "pond", "title": title, "body": body});
    let expected =
        [is("job 1 train succeeded", "exit code 0"), is("job 2 train failed", "rank 0: exit code 3")];
    assert_eq!(shown[..2], expected);
    // The title is plain; the body may have markup, so what is none comes written out. A name has neither.
    let (title, body) = (&shown[2]["title"], shown[2]["body"].as_str().expect("a body"));
    assert_eq!((shown.len(), title), (3, &"job 3 none failed".into()));
    let written = "cannot enter the working folder `/no\\nsuch &lt;b&gt;\"c\" &amp; 'd' -e`: ";
    assert!(body.starts_with(written), "{body}");
    drop((receiver, daemon));
    pool.finish();
}
