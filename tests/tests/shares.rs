//! Shares of an OpenCL device in a pool: the machine's own CPU through PoCL stands in for a device.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pool that offers the machine's CPU as an OpenCL device; none where that cannot be.
fn pool(name: &str) -> Option<Pool> {
    pool_with(name, &[])
}

/// The same, started with these flags.
fn pool_with(name: &str, flags: &[&str]) -> Option<Pool> {
    let drivers = std::fs::read_dir("/etc/OpenCL/vendors").into_iter().flatten().count();
    if !is_root() || drivers == 0 {
        skip("shares of an OpenCL device", "they need root and a driver (Debian: pocl-opencl-icd)");
        return None;
    }
    let pool = Pool::new(name);
    let up =
        pool.pond(&[&["up", "-d"], flags].concat()).env("POND_OPENCL_CPU", "1").output().expect("pond runs");
    assert!(up.status.success(), "{up:?}");
    let devices = pool.ok(&["gpu"]);
    assert!(devices.contains("opencl"), "build -p pond-shims beside -p pond: {devices}");
    Some(pool)
}

fn write(pool: &Pool, name: &str, text: &str) -> String {
    std::fs::write(pool.work().join(name), text).expect("written");
    name.to_owned()
}

#[test]
fn a_share_holds_in_whatever_a_task_starts_and_a_whole_device_is_left_alone() {
    let Some(pool) = pool("shares") else { return };
    let look = "clinfo --raw 2>/dev/null | grep -m1 GLOBAL_MEM_SIZE | grep -o '[0-9]*$'";
    let part = write(
        &pool,
        "part.yaml",
        &format!(
            "type: task\nresources: {{opencl: {{compute: 30%, memory: 256MiB}}, cpu: 0.5, memory: 1GB}}\nrun: |\n  \
             {look}\n  env -i sh -c \"{look}\"\n  env -i setsid --wait sh -c \"{look}\"\n"
        ),
    );
    let said = pool.ok(&["run", &part]);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["268435456"; 3], "{said}");

    let whole = write(
        &pool,
        "whole.yaml",
        "type: task\nresources: {opencl: 1, cpu: 0.5, memory: 1GB}\n\
         run: ls /run /etc/OpenCL/vendors; env; cat /proc/self/maps /proc/self/mountinfo\n",
    );
    let said = pool.ok(&["run", &whole]);
    assert!(!said.contains("pond-share") && !said.contains("libpond"), "{said}");
    assert!(!said.contains("LD_PRELOAD") && !said.contains("OpenCL/vendors "), "{said}");

    let plain = write(
        &pool,
        "plain.yaml",
        "type: task\nisolation: process\nresources: {opencl: 0.3, cpu: 0.5, memory: 1GB}\nrun: exit 0\n",
    );
    let refused = pool.pond(&["run", &plain]).output().expect("pond runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("kept in containers only"), "{refused:?}");
    pool.finish();
}

#[test]
fn a_failure_on_a_device_that_tells_nothing_is_judged_at_once() {
    let Some(pool) = pool("judged") else { return };
    let failing =
        ["run", "--opencl", "1", "--cpu", "0.1", "--memory", "64MB", "--", "sh", "-c", "sleep 2; exit 3"];
    let ended = pool.pond(&failing).output().expect("pond runs");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let log = Api::of(&pool).and_then(|api| api.get("events?job=1")).expect("a server").body;
    let at = |kind: &str| {
        let events = log["events"].as_array().expect("events").iter();
        let found: Vec<_> =
            events.filter(|event| event["kind"] == kind).map(|event| &event["at_ms"]).collect();
        assert_eq!(found.len(), 1, "{kind}: {log}");
        found[0].as_u64().expect("a moment")
    };
    assert_eq!(at("task.ended"), at("job.ended"), "nobody waits for what cannot come: {log}");
    pool.finish();
}

#[test]
fn a_running_share_is_resized_in_place() {
    let Some(pool) = pool("resize") else { return };
    let run = ["run", "-d", "--opencl", "compute=30%,memory=256MiB", "--cpu", "0.5", "--memory", "500MB"];
    _ = pool.ok(&[&run[..], &["--name", "a", "--", "sleep", "1000"]].concat());
    _ = pool.ok(&[&run[..], &["--name", "b", "--", "sleep", "1000"]].concat());
    let running = |name: &str| pool.json(&["status", name])["state"] == "running";
    assert!(wait_until(Duration::from_secs(60), || running("a") && running("b")));
    let size = || {
        let look = "clinfo --raw | grep -m1 GLOBAL_MEM_SIZE | grep -o '[0-9]*$'";
        pool.ok(&["exec", "a", "--", "sh", "-c", look]).trim().to_owned()
    };
    let pid = || pool.ok(&["exec", "a", "--", "cat", "/proc/1/stat"]);
    let (before, started) = (size(), pid());
    _ = pool.ok(&["resize", "a", "--opencl", "compute=70%,memory=512MiB"]);
    assert_eq!((before.as_str(), size().as_str()), ("268435456", "536870912"));
    assert_eq!(pid().split(' ').nth(21), started.split(' ').nth(21), "the same process");
    let device = &pool.json(&["gpu"])[0];
    assert_eq!(device["free_compute_thousandths"], 0);

    let refused = pool.pond(&["resize", "b", "--opencl", "0.4"]).output().expect("pond runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("has 0 OpenCL device left"), "{said}");

    // A server that is started anew finds the share as it was left.
    let server = pool.server().expect("it runs");
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &server.to_string()])
            .status()
            .expect("kill")
            .success()
    );
    let gone = || pool.server().is_none();
    assert!(wait_until(Duration::from_secs(20), gone));
    let up = pool.pond(&["up", "-d"]).env("POND_OPENCL_CPU", "1").output().expect("pond runs");
    assert!(up.status.success(), "{up:?}");
    assert_eq!(size(), "536870912");
    _ = pool.ok(&["resize", "a", "--opencl", "0.5"]);
    assert_eq!(size(), "536870912", "memory that was said apart stays");
    assert_eq!(pool.json(&["gpu"])[0]["free_compute_thousandths"], 200);
    pool.finish();
}

/// A driver of this machine, as the file that names it says.
fn driver() -> String {
    let mut files = std::fs::read_dir("/etc/OpenCL/vendors").expect("drivers").flatten();
    let text = files.find_map(|file| std::fs::read_to_string(file.path()).ok()).expect("a driver");
    text.lines().next().expect("its library").trim().to_owned()
}

#[test]
fn a_task_that_goes_around_its_share_is_ended_where_that_is_wanted() {
    let Some(pool) = pool_with("around", &["--past-share", "end"]) else { return };
    let open = format!("import ctypes, time; ctypes.CDLL('{}'); time.sleep(600)", driver());
    let share = ["run", "--opencl", "0.3", "--cpu", "0.5", "--memory", "500MB"];
    let run = pool.pond(&[&share[..], &["--", "python3", "-c", &open]].concat()).output().expect("pond runs");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("went past its share of a device: a process of it uses"), "{said}");
    assert!(pool.ok(&["events", "--kind", "share."]).contains("goes past its share of device"));
    // Who opens the same driver through the library keeps to its share.
    _ = pool.ok(&[&share[..], &["--", "sh", "-c", "clinfo > all && sleep 5"]].concat());
    pool.finish();
}

#[test]
fn a_damaged_ledger_and_a_share_that_became_too_small_are_told() {
    let Some(pool) = pool_with("told", &["--past-share", "throttle"]) else { return };
    let wipe =
        "dd if=/dev/zero of=/run/pond-share/0.ledger bs=16 count=1 conv=notrunc 2> /dev/null; sleep 600";
    let share = ["run", "-d", "--opencl", "compute=50%,memory=1GB", "--cpu", "0.5", "--memory", "500MB"];
    _ = pool.ok(&[&share[..], &["--name", "wipes", "--", "sh", "-c", wipe]].concat());
    let told = |text: &str| pool.ok(&["events", "--kind", "share."]).contains(text);
    let patience = Duration::from_secs(60);
    assert!(
        wait_until(patience, || told("its ledger is damaged; it is throttled")),
        "{}",
        pool.ok(&["events"])
    );
    _ = pool.ok(&["stop", "--now", "wipes"]);

    let Some(python) = python() else { return pool.finish() };
    _ = pool.ok(&["run", "-d", &training(&pool, "holds", 50, 1_000_000, &python)]);
    // Once a few steps are done all that it needs is allocated, and nothing more is asked for that could be refused.
    let steps = || pool.ok(&["logs", "holds"]).lines().filter(|line| line.starts_with("loss")).count();
    assert!(wait_until(patience, || steps() > 4), "{}", pool.ok(&["logs", "holds"]));
    _ = pool.ok(&["resize", "holds", "--opencl", "memory=4096B"]);
    assert!(wait_until(patience, || told("of the device's memory where it may hold 0 MiB; it is throttled")));
    assert_eq!(pool.json(&["status", "holds"])["state"], "running", "nothing is taken from it");
    _ = pool.ok(&["resize", "holds", "--opencl", "memory=256MiB"]);
    assert!(wait_until(patience, || told("2 keeps to its share of device 0 again")));
    pool.finish();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The Python with clients of OpenCL.
fn python() -> Option<PathBuf> {
    let python = root().join("target/opencl-python/bin/python");
    if !python.exists() {
        skip("trainings on one OpenCL device", "`cargo xtask test` makes the Python for it");
    }
    python.exists().then_some(python)
}

/// The file of a training with a share of the device.
fn training(pool: &Pool, name: &str, percent: u32, steps: u32, python: &Path) -> String {
    let text = job(name, percent, 0.5, &format!("STEPS: '{steps}'"), python);
    write(pool, &format!("{name}.yaml"), &text)
}

/// The job file of a training with part of the device and so many cores.
fn job(name: &str, percent: u32, cpu: f64, env: &str, python: &Path) -> String {
    let clients = root().join("crates/shims/tests/bed");
    format!(
        "type: task\nname: {name}\n\
         resources: {{opencl: {{compute: {percent}%, memory: 256MiB}}, cpu: {cpu}, memory: 2GB}}\n\
         volumes: ['{}:/clients:ro']\nenv: {{DEV: CL, TRAINING: '1', PYTHONUNBUFFERED: '1', CACHEDB: /tmp/cache.db, {env}}}\n\
         run: {} /clients/train.py\n",
        clients.display(),
        python.display()
    )
}

/// What a job is charged for devices: thousandths × milliseconds.
fn charged(pool: &Pool, job: &str) -> u64 {
    let usage = pool.json(&["usage", "--by", "job"]);
    let row = usage["rows"].as_array().expect("rows").iter().find(|row| row["key"] == job);
    row.and_then(|row| row["granted_device_thousandths_ms"].as_u64()).unwrap_or(0)
}

/// Time of the device that a job used, in microseconds: what its ledger says now.
fn busy_us(pool: &Pool, job: &str) -> u64 {
    let metrics = Api::of(pool).and_then(|api| api.text("/metrics")).expect("metrics");
    let line = metrics.lines().find(|line| {
        line.starts_with("pond_share_busy_seconds_total") && line.contains(&format!("task=\"{job}\""))
    });
    let seconds = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1e6) as u64)
}

#[test]
fn two_trainings_are_resized_while_they_run_and_pay_for_the_whole_device() {
    let Some(python) = python() else { return };
    let Some(pool) = pool("pay") else { return };
    for (name, percent) in [("less", 30), ("more", 70)] {
        let file = training(&pool, name, percent, 1_000_000, &python);
        _ = pool.ok(&["run", "-d", &file]);
    }
    let patience = Duration::from_secs(120);
    let both_beyond = |us: u64| wait_until(patience, || busy_us(&pool, "1") > us && busy_us(&pool, "2") > us);
    assert!(both_beyond(500_000), "{}", pool.ok(&["top", "--once"]));
    assert_eq!(pool.json(&["gpu"])[0]["free_compute_thousandths"], 0);

    // From 30:70 to 60:40, the one that gives first.
    _ = pool.ok(&["resize", "more", "--opencl", "0.4"]);
    _ = pool.ok(&["resize", "less", "--opencl", "0.6"]);
    let begun = busy_us(&pool, "1").max(busy_us(&pool, "2"));
    assert!(both_beyond(begun + 500_000), "{}", pool.ok(&["top", "--once"]));
    let terms = |job: &str| pool.json(&["status", job])["gangs"][0]["tasks"][0]["devices"][0].clone();
    let (less, more) = (terms("less"), terms("more"));
    assert_eq!((&less["compute_thousandths"], &more["compute_thousandths"]), (&600.into(), &400.into()));
    assert_eq!((&less["use_now"]["allowed_thousandths"], &less["mode"]), (&600.into(), &"time".into()));
    assert_eq!(less["memory_bytes"], 256 << 20, "memory that was said apart stays");
    assert!(
        less["use_now"]["memory_bytes"].as_u64().is_some_and(|held| held > 0 && held <= 256 << 20),
        "{less}"
    );

    _ = pool.ok(&["stop", "--now", "less", "more"]);
    _ = pool.pond(&["wait", "less", "more"]).output().expect("pond runs");
    let device = pool.json(&["usage"])["devices"][0].clone();
    let part = |name: &str| device[name].as_u64().expect("a number");
    assert_eq!(part("capacity"), part("granted") + part("idle") + part("planned") + part("down"));
    assert_eq!(part("granted"), part("used_within") + part("waste"));
    assert!(part("used_within") > 2_000_000, "{device}");
    let bills = [charged(&pool, "1"), charged(&pool, "2")];
    assert_eq!(bills.iter().sum::<u64>(), part("granted"), "{bills:?} {device}");
    pool.finish();
}

/// The part of the device's time that a job was given over the last minute, by the pool's own samples, in thousandths.
fn delivered(pool: &Pool, job: &str) -> u64 {
    let device = &pool.json(&["status", job])["gangs"][0]["tasks"][0]["devices"][0];
    device["use_now"]["delivered_thousandths"].as_u64().expect("measured")
}

/// Prints what was measured; `cargo xtask gates devices` runs it, where the machine is quiet.
#[test]
#[ignore = "a figure of three minutes: `cargo xtask gates devices` takes it"]
fn shares_of_two_trainings_are_what_was_promised() {
    let Some(python) = python() else { panic!("`cargo xtask test` makes the Python for it") };
    let Some(pool) = pool("measure") else { panic!("no OpenCL") };
    // Steps of tenths of a second, nearly all of it on the device: what Python does between them is not given to it.
    let heavy = "STEPS: '1000000', BATCH: '4096', WIDTH: '1024'";
    for (name, percent) in [("less", 30), ("more", 70)] {
        let file = write(&pool, &format!("{name}.yaml"), &job(name, percent, 1.0, heavy, &python));
        _ = pool.ok(&["run", "-d", &file]);
    }
    let started = || busy_us(&pool, "1") > 500_000 && busy_us(&pool, "2") > 500_000;
    assert!(wait_until(Duration::from_secs(120), started));
    // The samples before both ran leave the minute that counts.
    std::thread::sleep(Duration::from_secs(62));
    let before = [delivered(&pool, "less"), delivered(&pool, "more")];
    _ = pool.ok(&["resize", "more", "--opencl", "0.4"]);
    let begin = std::time::Instant::now();
    _ = pool.ok(&["resize", "less", "--opencl", "0.6"]);
    let asked = begin.elapsed();
    std::thread::sleep(Duration::from_secs(62));
    let after = [delivered(&pool, "less"), delivered(&pool, "more")];
    _ = pool.ok(&["stop", "--now", "less", "more"]);
    println!(
        "two trainings at 300 and 700: {before:?}; resized to 600 and 400: {after:?}; `pond resize`: {asked:?}"
    );
    let near =
        |got: [u64; 2], want: [u64; 2]| got.iter().zip(want).all(|(got, want)| got.abs_diff(want) <= 20);
    assert!(near(before, [300, 700]) && near(after, [600, 400]), "more than 2 points off");
    pool.finish();
}

#[test]
fn two_trainings_share_a_device_and_compute_what_they_would_alone() {
    let Some(python) = python() else { return };
    let Some(pool) = pool("train") else { return };
    let files = [training(&pool, "less", 30, 12, &python), training(&pool, "more", 70, 12, &python)];
    let runs: Vec<_> = files
        .iter()
        .map(|file| {
            pool.pond(&["run", file]).stdout(std::process::Stdio::piped()).spawn().expect("pond runs")
        })
        .collect();
    let said: Vec<String> = runs
        .into_iter()
        .map(|run| {
            let done = run.wait_with_output().expect("waited");
            assert!(done.status.success(), "{done:?}");
            String::from_utf8_lossy(&done.stdout).into_owned()
        })
        .collect();
    assert_eq!(said[0].matches("loss 0x").count(), 12, "{said:?}");
    assert_eq!(said[0], said[1]);
    pool.finish();
}

/// A pool with a GPU that a model of NVIDIA's driver shows: 16 GiB and 8 multiprocessors.
fn gpu_pool(name: &str) -> Option<(Pool, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let model = target.join("debug/libpond_nvidia_model.so");
    if !is_root() || !model.exists() {
        skip(
            "shares of a GPU in a pool",
            "they need root and `cargo build -p pond-nvidia -p pond-nvidia-model`",
        );
        return None;
    }
    let pool = Pool::new(name);
    let driver = pool.work().join("driver");
    std::fs::create_dir(&driver).expect("made");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        std::fs::copy(&model, driver.join(name)).expect("copied");
    }
    let up = pool.pond(&["up", "-d"]).env("POND_NVIDIA_DRIVER", &driver).output().expect("pond runs");
    assert!(up.status.success(), "{up:?}");
    Some((pool, root.join("tests/clients/gpu.py")))
}

#[test]
fn a_share_of_a_gpu_holds_in_whatever_a_task_starts_and_a_whole_one_is_left_alone() {
    let Some((pool, client)) = gpu_pool("gpu-shares") else { return };
    let python =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let python = String::from_utf8_lossy(&python.expect("python3").stdout).trim().to_owned();
    // The model's GPU has 64 multiprocessors: a context is charged with 256 MiB.
    let part = write(
        &pool,
        "part.yaml",
        &format!(
            "type: task\nresources: {{gpu: {{compute: 30%, memory: 1GiB}}, cpu: 0.5, memory: 1GB}}\nrun: |\n  \
             look=\"{python} {}\"\n  \
             $look\n  env -i $look\n  env -i setsid --wait $look\n  ls -A /etc/OpenCL/vendors\n",
            client.display()
        ),
    );
    let said = pool.ok(&["run", &part]);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["1073741824 1073741824 768"; 3], "{said}");

    // A share that is in use: from outside, and resized.
    let run = ["run", "-d", "--gpu", "compute=30%,memory=1GiB", "--cpu", "0.5", "--memory", "500MB"];
    _ = pool.ok(&[&run[..], &["--name", "a", "--", "sleep", "1000"]].concat());
    let running = || pool.json(&["status", "a"])["state"] == "running";
    assert!(pond_e2e::wait_until(std::time::Duration::from_secs(60), running));
    let client = client.display().to_string();
    let size = || pool.ok(&["exec", "a", "--", "/usr/bin/env", "-i", &python, &client]);
    assert_eq!(size().trim(), "1073741824 1073741824 768");
    _ = pool.ok(&["resize", "a", "--gpu", "compute=50%,memory=2GiB"]);
    assert_eq!(size().trim(), "2147483648 2147483648 1792");
    _ = pool.ok(&["stop", "a"]);

    let whole = write(
        &pool,
        "whole.yaml",
        "type: task\nresources: {gpu: 1, cpu: 0.5, memory: 1GB}\n\
         run: ls /run; env; cat /proc/self/maps /proc/self/mountinfo\n",
    );
    let said = pool.ok(&["run", &whole]);
    assert!(!said.contains("pond-share") && !said.contains("libpond"), "{said}");
    assert!(!said.contains("LD_PRELOAD") && !said.contains("libcuda"), "{said}");

    let plain = write(
        &pool,
        "plain.yaml",
        "type: task\nisolation: process\nresources: {gpu: 0.3, cpu: 0.5, memory: 1GB}\nrun: exit 0\n",
    );
    let refused = pool.pond(&["run", &plain]).output().expect("pond runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("kept in containers only"), "{refused:?}");
    pool.finish();
}
