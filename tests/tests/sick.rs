//! A GPU that its driver calls sick is left alone until it is well again, on a modelled driver.

use pond_e2e::{Pool, is_root, skip, wait_until};
use pond_nvidia_model::device::Mapped;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// The driver tells of an error of the device, or of a program.
fn xid(machine: &Mapped, device: usize, number: u64) {
    machine.devices[device].xid[0].store(number, Release);
    machine.devices[device].xid[1].fetch_add(1, AcqRel);
}

fn health(pool: &Pool, device: u64) -> String {
    let all = pool.json(&["gpu"]);
    let found = all.as_array().expect("devices").iter().find(|view| view["device"] == device).expect("it");
    found["health"].as_str().expect("a word").to_owned()
}

fn state(pool: &Pool, job: &str) -> String {
    pool.json(&["status", job])["state"].as_str().expect("a word").to_owned()
}

#[test]
fn what_a_driver_tells_of_a_gpu_decides_whether_it_is_granted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let model = target.join("debug/libpond_nvidia_model.so");
    if !is_root() || !model.exists() {
        return skip("health of GPUs in a pool", "it needs root and `cargo build -p pond-nvidia-model`");
    }
    let pool = Pool::new("sick");
    let driver = pool.work().join("driver");
    std::fs::create_dir(&driver).expect("made");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        std::fs::copy(&model, driver.join(name)).expect("copied");
    }
    let machine = Mapped::create(&driver.join("machine"), &[(16 << 30, 64), (16 << 30, 64)]).expect("made");
    let mut up = pool.pond(&["up", "-d"]);
    up.env("POND_NVIDIA_DRIVER", &driver).env("POND_NVIDIA_MODEL", driver.join("machine"));
    assert!(up.output().expect("pond runs").status.success());
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
    // A look finds what no event told: one that is too hot twice in a row, one that fell off the bus. Tasks stay.
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
