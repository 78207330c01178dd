//! What a server leaves on the machine when it ends in other ways than `pond down`: nothing, but for what runs.

use pond_e2e::{Pool, wait_until};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the server to end and to leave its tasks alone, as a service manager does.
fn terminate(pool: &Pool) {
    let server = pool.server().expect("it runs");
    let asked = Command::new("kill").args(["-TERM", &server.to_string()]).status().expect("kill");
    assert!(asked.success() && wait_until(PATIENCE, || pool.server().is_none()));
}

#[test]
fn a_server_that_cannot_listen_leaves_nothing() {
    let pool = Pool::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = pool.pond(&["up", "-d", "--listen", &address]).output().expect("pond runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains(&address), "{said}");
    pool.finish();
}

#[test]
fn a_server_that_is_terminated_leaves_what_runs_and_nothing_else() {
    let pool = Pool::new("terminated");
    _ = pool.ok(&["up", "-d"]);
    _ = pool.ok(&["run", "--cpu", "0.1", "--memory", "32MB", "--", "true"]);
    terminate(&pool);
    assert_eq!(pool.leftovers(), [""; 0]);

    _ = pool.ok(&["up", "-d"]);
    _ = pool.ok(&["run", "-d", "--name", "stays", "--cpu", "0.1", "--memory", "32MB", "--", "sleep", "1000"]);
    let process = || pool.ok(&["exec", "stays", "--", "cat", "/proc/1/stat"]);
    let mut started = String::new();
    assert!(wait_until(PATIENCE, || {
        let asked = pool.pond(&["exec", "stays", "--", "cat", "/proc/1/stat"]).output().expect("pond runs");
        started = String::from_utf8_lossy(&asked.stdout).into_owned();
        asked.status.success()
    }));
    terminate(&pool);
    let left = pool.leftovers();
    assert!(left.iter().any(|line| line.starts_with("process") && line.contains("sleep 1000")), "{left:#?}");
    _ = pool.ok(&["up", "-d"]);
    assert_eq!(process().split(' ').nth(21), started.split(' ').nth(21), "the same process");
    pool.finish();
}

/// Whoever comes first starts it; the others use it, or say that it serves already.
#[test]
fn many_who_start_a_pool_at_once_share_one() {
    let pool = Pool::new("rush");
    let waits = |arguments: &[&str]| {
        let mut command = pool.pond(arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("pond runs")
    };
    let run = [
        "run",
        "--isolation",
        "process",
        "--cpu",
        "0.1",
        "--memory",
        "32MB",
        "--disk",
        "1MB",
        "--",
        "echo",
        "hi",
    ];
    let begun: Vec<_> = (0..3).flat_map(|_| [waits(&["up", "-d"]), waits(&run)]).collect();
    let ended: Vec<_> = begun.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
    for (place, output) in ended.iter().enumerate() {
        assert!(output.status.success(), "{place}: {}", pond_e2e::pool::shown(output));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(if place % 2 == 0 { said.starts_with("http://") } else { said == "hi\n" }, "{said}");
    }
    let started = |output: &std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.contains("started one on this machine")
            || said.contains("serving in the background") && !said.contains("already")
    };
    assert_eq!(ended.iter().filter(|output| started(output)).count(), 1, "one of them started it");
    pool.finish();
}
