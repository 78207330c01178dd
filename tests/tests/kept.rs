//! What a pool shows of the past is there after its server was ended, kindly or not.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server with this signal, and starts the next.
fn restart(pool: &Pool, signal: &str) {
    let server = pool.server().expect("it runs");
    let killed = Command::new("kill").args([signal, &server.to_string()]).status().expect("kill");
    assert!(killed.success() && wait_until(PATIENCE, || pool.server().is_none()));
    _ = pool.ok(&["up", "-d"]);
}

/// When the job's task was looked at, and what it used then, in thousandths of a core.
fn series(pool: &Pool) -> Vec<(u64, u64)> {
    let answer = Api::of(pool).expect("a server").get("jobs/1/samples").expect("an answer").body;
    let task = answer["tasks"][0].clone();
    let numbers = |name: &str| -> Vec<u64> {
        task[name].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    numbers("at_ms").into_iter().zip(numbers("cpu_milli")).collect()
}

#[test]
fn what_a_task_used_is_shown_after_the_server_was_ended() {
    if !is_root() {
        return skip("use over time across restarts", "samples of a container need root");
    }
    let pool = Pool::new("kept");
    _ = pool.ok(&["up", "-d"]);
    let busy = "while :; do :; done";
    _ = pool.ok(&["run", "-d", "--cpu", "0.2", "--memory", "32MB", "--", "sh", "-c", busy]);
    let mut before = Vec::new();
    assert!(wait_until(PATIENCE, || {
        before = series(&pool);
        before.len() >= 3
    }));
    assert!(before.iter().any(|(_, cpu)| *cpu > 50), "{before:?}");
    restart(&pool, "-TERM");
    // The first point is the same, and new ones follow the old.
    let mut after = Vec::new();
    assert!(wait_until(PATIENCE, || {
        after = series(&pool);
        after.len() > before.len() + 2
    }));
    assert_eq!(after[..before.len()], before);
    assert!(after.windows(2).all(|two| two[0].0 < two[1].0), "{after:?}");
    restart(&pool, "-9");
    // A kill loses a minute at the most: what the server before it had taken over was written when that ended.
    let mut last = Vec::new();
    assert!(wait_until(PATIENCE, || {
        last = series(&pool);
        last.len() > before.len()
    }));
    assert_eq!(last[..before.len()], before);
    pool.finish();
}
