//! Shares of an OpenCL device in a pool: the machine's own CPU through PoCL stands in for a device.

use pond_e2e::{Pool, is_root, skip};
use std::path::{Path, PathBuf};

/// A pool that offers the machine's CPU as an OpenCL device; none where that cannot be.
fn pool(name: &str) -> Option<Pool> {
    let drivers = std::fs::read_dir("/etc/OpenCL/vendors").into_iter().flatten().count();
    if !is_root() || drivers == 0 {
        skip("shares of an OpenCL device", "they need root and a driver (Debian: pocl-opencl-icd)");
        return None;
    }
    let pool = Pool::new(name);
    let up = pool.pond(&["up", "-d"]).env("POND_OPENCL_CPU", "1").output().expect("pond runs");
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
fn a_running_share_is_resized_in_place() {
    let Some(pool) = pool("resize") else { return };
    let run = ["run", "-d", "--opencl", "compute=30%,memory=256MiB", "--cpu", "0.5", "--memory", "500MB"];
    _ = pool.ok(&[&run[..], &["--name", "a", "--", "sleep", "1000"]].concat());
    _ = pool.ok(&[&run[..], &["--name", "b", "--", "sleep", "1000"]].concat());
    let running = |name: &str| pool.json(&["status", name])["state"] == "running";
    assert!(pond_e2e::wait_until(std::time::Duration::from_secs(60), || running("a") && running("b")));
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
    assert!(pond_e2e::wait_until(std::time::Duration::from_secs(20), gone));
    let up = pool.pond(&["up", "-d"]).env("POND_OPENCL_CPU", "1").output().expect("pond runs");
    assert!(up.status.success(), "{up:?}");
    assert_eq!(size(), "536870912");
    _ = pool.ok(&["resize", "a", "--opencl", "0.5"]);
    assert_eq!(size(), "536870912", "memory that was said apart stays");
    assert_eq!(pool.json(&["gpu"])[0]["free_compute_thousandths"], 200);
    pool.finish();
}

#[test]
fn two_trainings_share_a_device_and_compute_what_they_would_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let python: PathBuf = root.join("target/opencl-python/bin/python");
    if !python.exists() {
        skip("two trainings on one OpenCL device", "`cargo xtask test` makes the Python for it");
        return;
    }
    let Some(pool) = pool("train") else { return };
    let job = |name: &str, percent: u32, python: &Path| {
        let clients = root.join("crates/shims/tests/bed");
        let text = format!(
            "type: task\nname: {name}\n\
             resources: {{opencl: {{compute: {percent}%, memory: 256MiB}}, cpu: 0.5, memory: 2GB}}\n\
             volumes: ['{}:/clients:ro']\nenv: {{DEV: CL, TRAINING: '1', CACHEDB: /tmp/cache.db}}\n\
             run: {} /clients/train.py\n",
            clients.display(),
            python.display()
        );
        write(&pool, &format!("{name}.yaml"), &text)
    };
    let files = [job("less", 30, &python), job("more", 70, &python)];
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
