//! Devices of one task, and of the ranks of one gang, are those that are joined best, on a modelled driver.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use pond_nvidia_model::device::Mapped;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

/// Two islands of NVLink, four GPUs each: 0, 2, 4, 6 and 1, 3, 5, 7. In each two PCIe switches with two GPUs.
fn islands(machine: &Mapped) {
    for (one, row) in machine.joins.iter().enumerate() {
        for (other, join) in row.iter().enumerate().skip(one + 1) {
            if one % 2 == other % 2 {
                join.lanes.store(4, Release);
                join.way.store(if one / 4 == other / 4 { 10 } else { 30 }, Release);
            }
        }
    }
}

/// The devices that a running job's tasks have.
fn devices(pool: &Pool, job: &str) -> BTreeSet<u64> {
    let running = || pool.json(&["status", job])["state"] == "running";
    assert!(wait_until(Duration::from_secs(90), running), "{}", pool.ok(&["why", job]));
    let status = pool.json(&["status", job]);
    let tasks = status["gangs"][0]["tasks"].as_array().expect("tasks").iter();
    let grants = tasks.flat_map(|task| task["devices"].as_array().expect("devices"));
    grants.map(|grant| grant["device"].as_u64().expect("a number")).collect()
}

#[test]
fn a_gang_of_four_gpus_is_on_one_island_however_broken_the_other_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let model = target.join("debug/libpond_nvidia_model.so");
    if !is_root() || !model.exists() {
        return skip("distances of GPUs in a pool", "it needs root and `cargo build -p pond-nvidia-model`");
    }
    let pool = Pool::new("near");
    let driver = pool.work().join("driver");
    std::fs::create_dir(&driver).expect("made");
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        std::fs::copy(&model, driver.join(name)).expect("copied");
    }
    let machine = Mapped::create(&driver.join("machine"), &[(16 << 30, 64); 8]).expect("made");
    islands(&machine);
    let mut up = pool.pond(&["up", "-d"]);
    up.env("POND_NVIDIA_DRIVER", &driver).env("POND_NVIDIA_MODEL", driver.join("machine"));
    assert!(up.output().expect("pond runs").status.success());
    let matrix = pool.ok(&["gpu", "--topology"]);
    let row = |number: &str| -> Vec<String> {
        let mut lines = matrix.lines().map(|line| line.split_whitespace().map(str::to_owned));
        let found = lines.find_map(|mut words| (words.nth(1)? == number).then(|| words.collect()));
        found.unwrap_or_else(|| panic!("{number}: {matrix}"))
    };
    assert_eq!(row("0")[..9], ["X", "SYS", "NV4", "SYS", "NV4", "SYS", "NV4", "SYS", "?"].map(str::to_owned));
    assert_eq!(row("3")[..8], ["SYS", "NV4", "SYS", "X", "SYS", "NV4", "SYS", "NV4"].map(str::to_owned));
    assert_eq!(pool.json(&["gpu"])[7]["links"], serde_json::json!(row("7")[..8]));
    let page = |path: &str| Api::of(&pool).and_then(|api| api.page(path)).expect("a page");
    let map = page("/map");
    assert!(map.contains("are joined NVLink 0, 2, 4, 6 | 1, 3, 5, 7"), "{map}");
    assert!(map.contains("NV4 4 links of NVLink"), "{map}");
    let run = |name: &str, file: &str| {
        let path = pool.work().join(format!("{name}.yaml"));
        let text = format!("type: task\nname: {name}\n{file}run: sleep 600\n");
        std::fs::write(&path, text).expect("written");
        _ = pool.ok(&["run", "-d", &path.display().to_string()]);
        devices(&pool, name)
    };
    let part = "cpu: 0.1, memory: 64MB, disk: 1MB";
    assert_eq!(run("alone", &format!("resources: {{gpu: 1, {part}}}\n")), BTreeSet::from([0]));
    // Four of the other island, as four ranks and as one task; what is left of the first goes to smaller ones.
    let gang = run("gang", &format!("nodes: 4\nresources: {{gpu: 1, {part}}}\n"));
    assert_eq!(gang, BTreeSet::from([1, 3, 5, 7]));
    let said = page(&format!("/jobs/{}", pool.json(&["status", "gang"])["id"]));
    assert!(said.contains("Devices 1, 3, 5, 7: each two are joined by 4 links of NVLink (NV4)."), "{said}");
    _ = pool.ok(&["stop", "--now", "gang"]);
    _ = pool.pond(&["wait", "gang"]).output().expect("pond runs");
    assert_eq!(run("two", &format!("resources: {{gpu: 2, {part}}}\n")), BTreeSet::from([2, 4]));
    assert_eq!(run("four", &format!("resources: {{gpu: 4, {part}}}\n")), BTreeSet::from([1, 3, 5, 7]));
    pool.finish();
}
