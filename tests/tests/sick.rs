//! A GPU that its driver calls sick is left alone until it is well again, on a modelled driver.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use pond_nvidia_model::device::Mapped;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// The driver tells of an error of the device, or of a program.
fn xid(machine: &Mapped, device: usize, number: u64) {
    machine.devices[device].xid[0].store(number, Release);
    machine.devices[device].xid[1].fetch_add(1, AcqRel);
}

fn page(pool: &Pool, path: &str) -> String {
    Api::of(pool).and_then(|api| api.page(path)).expect("a page")
}

fn health(pool: &Pool, device: u64) -> String {
    let all = pool.json(&["gpu"]);
    let found = all.as_array().expect("devices").iter().find(|view| view["device"] == device).expect("it");
    found["health"].as_str().expect("a word").to_owned()
}

fn state(pool: &Pool, job: &str) -> String {
    pool.json(&["status", job])["state"].as_str().expect("a word").to_owned()
}

/// A pool with two modelled GPUs.
fn two_gpus(name: &str) -> Option<(Pool, Mapped)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let model = target.join("debug/libpond_nvidia_model.so");
    if !is_root() || !model.exists() {
        skip("health of GPUs in a pool", "it needs root and `cargo build -p pond-nvidia-model`");
        return None;
    }
    let pool = Pool::new(name);
    let driver = pool.work().join("driver");
    std::fs::create_dir(&driver).expect("made");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        std::fs::copy(&model, driver.join(name)).expect("copied");
    }
    let machine = Mapped::create(&driver.join("machine"), &[(16 << 30, 64), (16 << 30, 64)]).expect("made");
    let mut up = pool.pond(&["up", "-d"]);
    up.env("POND_NVIDIA_DRIVER", &driver).env("POND_NVIDIA_MODEL", driver.join("machine"));
    assert!(up.output().expect("pond runs").status.success());
    Some((pool, machine))
}

#[test]
fn what_a_driver_tells_of_a_gpu_decides_whether_it_is_granted() {
    let Some((pool, machine)) = two_gpus("sick") else { return };
    let is = |device: u64, wanted: &str| {
        let right = wait_until(PATIENCE, || health(&pool, device) == wanted);
        assert!(right, "{device} is {}, not {wanted}: {}", health(&pool, device), pool.ok(&["events"]));
    };
    // A program's own error says nothing of the device; the driver's word of another one behind it has come through.
    xid(&machine, 0, 31);
    xid(&machine, 1, 48);
    is(1, "sick");
    assert_eq!(health(&pool, 0), "healthy");
    let told = pool.ok(&["events"]);
    assert!(told.contains("XID 48: a double-bit error of memory") && !told.contains("XID 31"), "{told}");
    // One job has the other device, and the next waits for it and not for the sick one.
    let run = |name: &str| {
        _ = pool.ok(&[
            "run", "-d", "--name", name, "--gpu", "1", "--cpu", "0.1", "--memory", "64MB", "--", "sleep",
            "600",
        ]);
    };
    run("first");
    assert!(wait_until(PATIENCE, || state(&pool, "first") == "running"), "{}", pool.ok(&["why", "first"]));
    run("second");
    // It works again, and proves it: three good looks, the first of which only ends the trouble.
    is(1, "healthy");
    assert!(wait_until(PATIENCE, || state(&pool, "second") == "running"), "{}", pool.ok(&["why", "second"]));
    // A limit that somebody set slows it down (4), and its power supply (0x80): the first is nothing.
    machine.devices[1].slowed.store(4, Release);
    xid(&machine, 1, 94);
    is(1, "suspect");
    is(1, "healthy");
    machine.devices[1].slowed.store(0x80, Release);
    is(1, "suspect");
    machine.devices[1].slowed.store(0, Release);
    let told = pool.ok(&["events"]);
    assert!(told.contains("XID 94: a contained error of memory; it is suspected"), "{told}");
    assert!(told.contains("its hardware slows it down: its power supply"), "{told}");
    // A look finds what no event told: one that is too hot on top of it, one that fell off the bus. Tasks stay.
    machine.devices[1].heat.store(93, Release);
    machine.devices[0].lost.store(1, Release);
    is(1, "draining");
    is(0, "draining");
    let told = pool.ok(&["events"]);
    assert!(told.contains("it is at 93 °C, and slows itself down from 90 °C on"), "{told}");
    assert!(told.contains("device 0 of") && told.contains("it fell off the bus"), "{told}");
    assert_eq!((state(&pool, "first"), state(&pool, "second")), ("running".to_owned(), "running".to_owned()));
    pool.finish();
}

/// A file of a job that uses its whole GPU until that fails; it says nothing of being tried again.
fn training(pool: &Pool, name: &str) -> String {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/hold.py").canonicalize().expect("there");
    let text = format!(
        "type: task\nname: {name}\nresources: {{gpu: 1, cpu: 0.2, memory: 200MB}}\n\
         volumes: ['{}:/driver', '{}:/client.py:ro']\n\
         run: POND_NVIDIA_MODEL=/driver/machine python3 /client.py /driver/libcuda.so.1 64\n",
        pool.work().join("driver").display(),
        client.display(),
    );
    let path = pool.work().join(format!("{name}.yaml"));
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn a_job_whose_gpu_falls_off_the_bus_goes_on_on_another() {
    let Some((pool, machine)) = two_gpus("lost") else { return };
    _ = pool.ok(&["run", "-d", &training(&pool, "train")]);
    let on = |job: &str| -> Option<(u64, u64)> {
        let status = pool.json(&["status", job]);
        let held = &status["gangs"][0]["tasks"][0]["devices"][0];
        let holds = status["state"] == "running" && pool.ok(&["logs", job]).contains("holds 64");
        Some((status["gangs"][0]["attempt"].as_u64()?, held["device"].as_u64()?)).filter(|_| holds)
    };
    let is_on = |job: &str, attempt: u64, device: u64| {
        let right = wait_until(PATIENCE, || on(job) == Some((attempt, device)));
        assert!(right, "{:?} {}{}", on(job), pool.ok(&["events"]), pool.ok(&["why", job]));
    };
    is_on("train", 1, 0);
    // The device is gone for who uses it, and the driver says so.
    machine.devices[0].lost.store(1, Release);
    machine.devices[0].sick.store(999, Release);
    xid(&machine, 0, 79);
    is_on("train", 2, 1);
    // Whichever was first, the word of the driver or the end of the program: a look finds that nobody is on it any more.
    assert!(wait_until(PATIENCE, || health(&pool, 0) == "sick"), "{}", pool.ok(&["events"]));
    let fell = "XID 79: it fell off the bus";
    let told = pool.ok(&["events", "--kind", "device."]);
    assert!(told.contains("device 0 of") && told.contains(fell), "{told}");
    // It ended by itself, when its device failed, and that is on the pool's account.
    for said in [pool.ok(&["events"]), pool.ok(&["why", "train"])] {
        assert!(said.contains("back in the queue, with its place in line: device 0 of"), "{said}");
        assert!(
            said.contains("XID 79: it fell off the bus; rank 0 was on it; the first end: ended with code 3"),
            "{said}"
        );
    }
    // Both the one that moved and the one that waits are told what is the matter, and with which device.
    _ = pool.ok(&["run", "-d", &training(&pool, "next")]);
    for job in ["train", "next"] {
        let why = pool.ok(&["why", job]);
        assert!(why.contains(&format!("is sick: {fell}")) && why.contains("device 0 of"), "{why}");
        let unwell = pool.json(&["why", job])["unwell"][0].clone();
        assert_eq!((&unwell["device"], &unwell["because"]), (&0.into(), &fell.into()), "{unwell}");
    }
    assert_eq!(pool.json(&["gpu"])[0]["because"], fell);
    assert!(page(&pool, "/map").contains(&format!("sick {fell} not given out since 20")));
    let counted = page(&pool, "/capacity");
    assert!(
        counted.contains("Not given out Why not") && counted.contains(&format!("sick: {fell}")),
        "{counted}"
    );
    let of = |job: &str| page(&pool, &format!("/jobs/{}", pool.json(&["status", job])["id"]));
    let moved = of("train");
    assert!(moved.contains("Attempt 1 was ended by a device : device 0 of"), "{moved}");
    assert!(
        moved.contains(&format!("failed: {fell}; rank 0 was on it. It is tried again on the pool")),
        "{moved}"
    );
    let waits = of("next");
    assert!(waits.contains("Devices of its sort that are not well Device 0 of"), "{waits}");
    assert_eq!(state(&pool, "next"), "waiting");
    // Somebody resets it: it proves itself, and is granted.
    machine.devices[0].lost.store(0, Release);
    machine.devices[0].sick.store(0, Release);
    is_on("next", 1, 0);
    let told = pool.ok(&["events", "--kind", "device."]);
    assert!(told.contains("works again and has to prove it") && told.contains("healthy again"), "{told}");
    assert!(!pool.ok(&["why", "next"]).contains("unwell"));
    assert_eq!(on("train"), Some((2, 1)), "it stays where it is");
    pool.finish();
}

#[test]
fn a_program_that_a_contained_error_ended_goes_on_elsewhere() {
    let Some((pool, machine)) = two_gpus("contained") else { return };
    _ = pool.ok(&["run", "-d", &training(&pool, "train")]);
    let on = || {
        let status = pool.json(&["status", "train"]);
        let held = &status["gangs"][0]["tasks"][0]["devices"][0]["device"];
        let holds = status["state"] == "running" && pool.ok(&["logs", "train"]).contains("holds 64");
        holds.then(|| (status["gangs"][0]["attempt"].clone(), held.clone()))
    };
    let is_on = |attempt: u64, device: u64| {
        let right = wait_until(PATIENCE, || on() == Some((attempt.into(), device.into())));
        assert!(right, "{:?} {}", on(), pool.ok(&["events"]));
    };
    is_on(1, 0);
    // The driver tells of the error, and who met it is ended.
    xid(&machine, 0, 94);
    assert!(wait_until(PATIENCE, || health(&pool, 0) == "suspect"), "{}", pool.ok(&["events"]));
    machine.devices[0].sick.store(999, Release);
    is_on(2, 1);
    let told = pool.ok(&["events"]);
    assert!(told.contains("ended the program on it: XID 94: a contained error of memory"), "{told}");
    // The device goes on by itself, and was never called sick.
    assert!(wait_until(PATIENCE, || health(&pool, 0) == "healthy"), "{}", pool.ok(&["events"]));
    let told = pool.ok(&["events", "--kind", "device."]);
    assert!(!told.contains("is sick"), "{told}");
    pool.finish();
}

#[test]
fn a_driver_may_tell_of_a_lost_gpu_after_the_program_has_failed() {
    let Some((pool, machine)) = two_gpus("late") else { return };
    _ = pool.ok(&["run", "-d", &training(&pool, "train")]);
    let status = || pool.json(&["status", "train"]);
    let ran = || {
        let status = status();
        let began = status["started_ms"].as_u64().unwrap_or(u64::MAX);
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
        u64::try_from(now).expect("a moment").saturating_sub(began)
    };
    // A failure is judged after as long as the program ran at most, so it runs for longer than that takes at its longest.
    let holds = || pool.ok(&["logs", "train"]).contains("holds 64") && ran() > 6000;
    assert!(wait_until(PATIENCE, holds), "{}{}", status(), pool.ok(&["events"]));
    machine.devices[0].sick.store(999, Release);
    let failed = || pool.ok(&["events"]).contains("rank 0: ended with code 3");
    assert!(wait_until(PATIENCE, failed), "{}", pool.ok(&["events"]));
    machine.devices[0].lost.store(1, Release);
    xid(&machine, 0, 79);
    let again = || {
        let status = status();
        status["state"] == "running" && status["gangs"][0]["attempt"] == 2
    };
    assert!(wait_until(PATIENCE, again), "{}{}", status(), pool.ok(&["events"]));
    assert_eq!(status()["gangs"][0]["tasks"][0]["devices"][0]["device"], 1);
    // The other one is well as far as anybody knows, and so a failure on it is the program's own.
    machine.devices[1].sick.store(999, Release);
    assert!(wait_until(PATIENCE, || status()["state"] == "failed"), "{}{}", status(), pool.ok(&["events"]));
    assert_eq!(status()["exit_code"], 3, "{}", status());
    pool.finish();
}

#[test]
fn who_needs_gpus_that_are_all_sick_waits_for_them() {
    let Some((pool, machine)) = two_gpus("all") else { return };
    let job = training(&pool, "train");
    // Gone for good as far as a look can tell: nothing brings them back before the test does.
    for device in 0..2 {
        machine.devices[device].lost.store(1, Release);
        xid(&machine, device, 79);
    }
    let sick = || (0..2).all(|device| health(&pool, device) == "sick");
    assert!(wait_until(PATIENCE, sick), "{}", pool.ok(&["events"]));
    let plan = pool.pond(&["plan", &job]).output().expect("pond runs");
    let said = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.status.success() && said.contains("once devices that are not well work again"), "{said}");
    // Who runs it and waits for its start goes on waiting: it is not told that it can never start.
    let mut run =
        pool.pond(&["run", &job]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("pond runs");
    assert!(wait_until(PATIENCE, || pool.ok(&["ps"]).contains("train")), "{}", pool.ok(&["events"]));
    let told =
        || pool.json(&["why", "train"])["reason"]["unwell"]["devices"].as_array().map(Vec::len) == Some(2);
    assert!(wait_until(PATIENCE, told), "{}", pool.ok(&["why", "train"]));
    let why = pool.json(&["why", "train"]);
    assert_eq!((&why["infeasible"], &why["verdict"]), (&false.into(), &"waiting".into()), "{why}");
    assert_eq!((state(&pool, "train").as_str(), run.try_wait().expect("a child")), ("waiting", None));
    assert!(
        pool.ok(&["ps"]).contains("waits for devices that are not well: device 0 of"),
        "{}",
        pool.ok(&["ps"])
    );
    let said = page(&pool, &format!("/jobs/{}", pool.json(&["status", "train"])["id"]));
    assert!(said.contains("once devices that are not well work again: device 0 of"), "{said}");
    assert!(said.contains("What would change it Enough of these devices at work again."), "{said}");
    assert!(page(&pool, "/").contains("for devices that are not well"));
    // One that could not have its GPUs though all were well is told so as before.
    let three = pool.pond(&["run", "--gpu", "3", "--", "true"]).output().expect("pond runs");
    assert_eq!(three.status.code(), Some(75), "{}", String::from_utf8_lossy(&three.stderr));
    for device in 0..2 {
        machine.devices[device].lost.store(0, Release);
    }
    assert!(wait_until(PATIENCE, || state(&pool, "train") == "running"), "{}", pool.ok(&["why", "train"]));
    _ = pool.ok(&["stop", "train"]);
    _ = run.wait().expect("it ends");
    pool.finish();
}

#[test]
fn memory_that_goes_bad_slowly_is_told_and_a_row_that_cannot_be_replaced_is_the_end() {
    let Some((pool, machine)) = two_gpus("worn") else { return };
    let rows = |device: usize, values: [u64; 4]| {
        machine.devices[device].rows.iter().zip(values).for_each(|(word, value)| word.store(value, Release));
    };
    machine.devices[0].corrected.store(41, Release);
    rows(0, [2, 1, 1, 0]);
    xid(&machine, 0, 63);
    let told = || pool.ok(&["events"]).contains("rows of its memory wait for its next reset to be remapped");
    assert!(wait_until(PATIENCE, told), "{}", pool.ok(&["events"]));
    let worn = |device: usize| {
        let view = &pool.json(&["gpu"])[device];
        (view["corrected_errors"].as_u64(), view["remapped_rows"].as_u64(), view["remap_pending"].as_bool())
    };
    assert_eq!((worn(0), worn(1)), ((Some(41), Some(3), Some(true)), (Some(0), Some(0), Some(false))));
    // What waits is no trouble: it comes back from what its XID told.
    assert!(wait_until(PATIENCE, || health(&pool, 0) == "healthy"), "{}", pool.ok(&["events"]));
    machine.devices[0].corrected.store(50, Release);
    rows(1, [0, 9, 0, 1]);
    xid(&machine, 1, 63);
    assert!(wait_until(PATIENCE, || health(&pool, 1) == "sick"), "{}", pool.ok(&["events"]));
    assert!(pool.ok(&["events"]).contains("a bad row of its memory could not be remapped"));
    assert!(wait_until(PATIENCE, || worn(0).0 == Some(50)), "{:?}", worn(0));
    let map = page(&pool, "/map");
    for said in [
        "3 rows of its memory were remapped; rows wait for its next reset to be remapped; 50 errors of memory",
        "sick a bad row of its memory could not be remapped",
    ] {
        assert!(map.contains(said), "{said}: {map}");
    }
    let metrics = Api::of(&pool).and_then(|api| api.text("/metrics")).expect("metrics");
    for line in [
        "pond_device_corrected_errors_total{",
        "pond_device_remapped_rows_total{",
        "pond_device_remap_pending{",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    pool.finish();
}
