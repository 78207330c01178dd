//! A program that has a driver of its own beside the library that keeps its share, on a modelled driver: what NVIDIA's driver says
//! of real use against what the ledger says.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use pond_nvidia_model::device::Mapped;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
const MIB: u64 = 1 << 20;

/// A pool with a modelled GPU, 16 GiB and 64 multiprocessors (a context: 256 MiB), that all processes see alike.
fn pool(name: &str, past_share: &str) -> Option<Pool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let model = target.join("debug/libpond_nvidia_model.so");
    if !is_root() || !model.exists() {
        skip(
            "real use of a GPU against its ledger",
            "it needs root and `cargo build -p pond-nvidia -p pond-nvidia-model`",
        );
        return None;
    }
    let pool = Pool::new(name);
    let driver = pool.work().join("driver");
    std::fs::create_dir(&driver).expect("made");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1", "own.so"] {
        std::fs::copy(&model, driver.join(name)).expect("copied");
    }
    _ = Mapped::create(&driver.join("machine"), &[(16 << 30, 64)]).expect("made");
    let mut up = pool.pond(&["up", "-d", "--past-share", past_share]);
    up.env("POND_NVIDIA_DRIVER", &driver).env("POND_NVIDIA_MODEL", driver.join("machine"));
    assert!(up.output().expect("pond runs").status.success());
    Some(pool)
}

/// The file of a job with 1 GiB of the GPU that holds so much by this driver.
fn holder(pool: &Pool, name: &str, driver: &str, mib: u64) -> String {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/hold.py").canonicalize().expect("there");
    let text = format!(
        "type: task\nname: {name}\nresources: {{gpu: {{compute: 30%, memory: 1GiB}}, cpu: 0.2, memory: 200MB}}\n\
         volumes: ['{}:/driver', '{}:/client.py:ro']\n\
         run: POND_NVIDIA_MODEL=/driver/machine exec python3 /client.py {driver} {mib}\n",
        pool.work().join("driver").display(),
        client.display(),
    );
    let path = pool.work().join(format!("{name}.yaml"));
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// A metric of a task's share.
fn metric(pool: &Pool, name: &str, task: &str) -> Option<u64> {
    let text = Api::of(pool).and_then(|api| api.text("/metrics")).expect("metrics");
    let own =
        |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(&format!("task=\"{task}\""));
    text.lines().find(own)?.rsplit(' ').next()?.parse().ok()
}

/// Real use and what the ledger says, in MiB, once they are seen.
fn is_seen(pool: &Pool, task: &str, real: u64, ledger: u64) {
    let seen = || {
        let mib = |name| metric(pool, name, task).map(|bytes| bytes / MIB);
        [mib("pond_share_real_memory_bytes"), mib("pond_share_memory_bytes")]
    };
    let right = wait_until(PATIENCE, || seen() == [Some(real), Some(ledger)]);
    assert!(right, "{:?} {}{}", seen(), pool.ok(&["events"]), pool.ok(&["logs", task]));
}

#[test]
fn what_a_program_holds_beside_its_ledger_is_seen_and_told() {
    let Some(pool) = pool("beside-flag", "flag") else { return };
    // Through the library: both count the same.
    _ = pool.ok(&["run", "-d", &holder(&pool, "keeps", "libcuda.so.1", 100)]);
    is_seen(&pool, "1", 356, 356);
    // By a driver of its own, more than it may, and less.
    _ = pool.ok(&["run", "-d", &holder(&pool, "over", "/driver/own.so", 2000)]);
    _ = pool.ok(&["run", "-d", &holder(&pool, "under", "/driver/own.so", 100)]);
    is_seen(&pool, "2", 2256, 0);
    is_seen(&pool, "3", 356, 0);
    let held = |mib: u64| {
        format!("{mib} MiB of the device's memory by the driver's count, 0 MiB by the ledger of its share")
    };
    let told = || pool.ok(&["events", "--kind", "share."]);
    let both = || told().contains(&held(2256)) && told().contains(&held(356));
    assert!(wait_until(PATIENCE, both), "{}", pool.ok(&["events"]));
    assert!(told().contains("and may hold 1024 MiB"), "{}", told());
    assert_eq!(told().lines().filter(|line| line.contains("goes past its share")).count(), 2, "{}", told());
    let share = &pool.json(&["status", "over"])["gangs"][0]["tasks"][0]["devices"][0]["use_now"];
    assert_eq!((&share["real_memory_bytes"], &share["memory_bytes"]), (&(2256 * MIB).into(), &0.into()));
    for job in ["keeps", "over", "under"] {
        assert_eq!(pool.json(&["status", job])["state"], "running", "{job} is told of, and goes on");
    }
    pool.finish();
}

#[test]
fn who_holds_more_than_its_ledger_says_is_throttled_or_ended_where_that_is_wanted() {
    let Some(slow) = pool("beside-throttle", "throttle") else { return };
    _ = slow.ok(&["run", "-d", &holder(&slow, "over", "/driver/own.so", 2000)]);
    let told = || slow.ok(&["events", "--kind", "share."]).contains("it is throttled");
    assert!(wait_until(PATIENCE, told), "{}", slow.ok(&["events"]));
    assert_eq!(slow.json(&["status", "over"])["state"], "running");
    slow.finish();

    let Some(strict) = pool("beside-end", "end") else { return };
    let run = strict.pond(&["run", &holder(&strict, "over", "/driver/own.so", 2000)]).output().expect("runs");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("went past its share of a device") && said.contains("2256 MiB"), "{said}");
    strict.finish();
}
