//! What the machine has and can do, against what the machine itself says.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use pond_core::model::{DeviceKind, Link, ShareMode};
use pond_core::units::{Bytes, MilliCpu};
use pond_node::probe::{Doctor, MachineConfig, Offer, State, bus_link, doctor, node, scan_pci, xgmi_links};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What a trial could leave on the machine.
fn traces(state: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains("probe-")).map(str::to_owned));
    let links = fs::read_to_string("/proc/net/dev").unwrap();
    found.extend(links.lines().filter(|line| line.contains("trial")).map(str::to_owned));
    for group in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let Ok(inner) = fs::read_dir(group.path()) else { continue };
        let names = inner.flatten().map(|entry| entry.path().display().to_string());
        found.extend(names.filter(|name| name.contains(&format!("pond-probe-{}", std::process::id()))));
    }
    found.extend(fs::read_dir(state).unwrap().flatten().map(|entry| entry.path().display().to_string()));
    found
}

/// One trial at a time, so that what is looked for afterwards is nobody else's.
static TRIAL: Mutex<()> = Mutex::new(());

fn launcher() -> [OsString; 1] {
    [env!("CARGO_BIN_EXE_pond-launch").into()]
}

#[test]
fn the_doctor_tries_everything_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let before = traces(state.path());
    let alone = TRIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let table = doctor(state.path(), &launcher());
    assert_eq!(traces(state.path()), before);
    drop(alone);
    let mut total = 0;
    for row in &table.rows {
        let took = row.took_us / 1000;
        println!("{:<18} {:<8?} {:>4} ms  {}  {}", row.name, row.state, took, row.detail, row.remedy);
        assert!(!row.detail.is_empty(), "{row:?}");
        assert_eq!(row.state == State::Ok, row.cost.is_empty(), "what is not fine costs something: {row:?}");
        total += row.took_us;
    }
    println!("in all {} ms", total / 1000);
    let names: BTreeSet<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), table.rows.len(), "names are unique");
    let json = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Doctor>(&json).unwrap(), table);
    if rustix::process::geteuid().is_root() {
        for must in
            ["mount namespace", "overlay", "openat2", "seccomp", "memory limit", "freeze", "kill of a group"]
        {
            let row = table.row(must).unwrap();
            if row.state != State::Ok {
                println!("skipped: this machine has no {must} ({}), so it stays untested", row.detail);
            }
        }
    } else {
        println!("skipped: not root, so most trials end early");
    }
}

#[test]
fn trials_may_run_beside_each_other() {
    let state = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let _alone = TRIAL.lock().unwrap_or_else(PoisonError::into_inner);
        let tables: Vec<_> = (0..3).map(|_| scope.spawn(|| doctor(state.path(), &launcher()))).collect();
        let states: Vec<Vec<(String, State)>> = tables
            .into_iter()
            .map(|table| table.join().unwrap().rows.into_iter().map(|row| (row.name, row.state)).collect())
            .collect();
        assert_eq!(states[0], states[1]);
        assert_eq!(states[0], states[2]);
    });
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let _alone = TRIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let table = doctor(Path::new("/proc/nowhere"), &launcher());
    assert_eq!(table.worst(), State::Missing);
    assert!(table.rows[0].detail.contains("/proc/nowhere"), "{table:?}");
}

#[test]
fn the_machine_is_described_after_what_it_keeps() {
    let state = tempfile::tempdir().unwrap();
    let mut config = MachineConfig::new("here", &state.path().join("not/made/yet"));
    config.offer.reserved_memory = Some(Bytes::ZERO);
    config.labels.insert("zone".to_owned(), "lab".to_owned());
    let whole = node(&config);
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!(whole.capacity.cpu, MilliCpu(cpus * 1000));
    assert!(whole.capacity.memory > Bytes(100_000_000) && whole.capacity.disk > Bytes::ZERO, "{whole:?}");
    assert_eq!(whole.labels["arch"], std::env::consts::ARCH);
    assert_eq!(whole.labels["zone"], "lab");
    assert!(whole.labels.contains_key("kernel") && whole.labels.contains_key("numa"));
    config.offer.reserved_memory = Some(Bytes(1_000_000));
    assert_eq!(node(&config).capacity.memory, whole.capacity.memory.minus(Bytes(1_000_000)));
    let disk = Bytes(1 << 60);
    config.offer = Offer { reserved_cpu: MilliCpu(1000), reserved_memory: None, disk: Some(disk) };
    let less = node(&config).capacity;
    assert_eq!(less.cpu, MilliCpu((cpus - 1) * 1000));
    assert!(less.memory < whole.capacity.memory);
    assert_eq!(less.disk, disk);
}

fn pci(root: &Path, address: &str, files: &[(&str, &str)]) {
    let folder = root.join("bus/pci/devices").join(address);
    for (name, text) in files {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// Folders as the kernel shows such cards; this machine has none.
#[test]
fn accelerators_are_told_from_display_adapters() {
    let root = tempfile::tempdir().unwrap();
    let (sys, dev) = (root.path().join("sys"), root.path().join("dev"));
    let card = |class, vendor, device| {
        vec![("class", class), ("vendor", vendor), ("device", device), ("numa_node", "1\n")]
    };
    pci(&sys, "0000:17:00.0", &card("0x030200\n", "0x10de\n", "0x2330\n"));
    let mut amd = card("0x120000\n", "0x1002\n", "0x740c\n");
    amd.extend([("mem_info_vram_total", "68702699520\n"), ("drm/card1/x", ""), ("drm/renderD129/x", "")]);
    pci(&sys, "0000:03:00.0", &amd);
    pci(&sys, "0000:65:00.0", &card("0x120000\n", "0x10ee\n", "0x5004\n"));
    pci(&sys, "0000:66:00.0", &card("0x120000\n", "0x1da3\n", "0x1020\n"));
    pci(&sys, "0000:02:00.0", &card("0x030000\n", "0x1a03\n", "0x2000\n")); // a server's management chip
    pci(&sys, "0000:00:02.0", &card("0x030000\n", "0x1234\n", "0x1111\n")); // a virtual display
    pci(&sys, "0000:01:00.0", &card("0x020000\n", "0x10de\n", "0x2330\n")); // no accelerator at all
    fs::create_dir_all(dev.join("dri")).unwrap();
    fs::write(dev.join("dri/renderD129"), "").unwrap();
    fs::write(dev.join("kfd"), "").unwrap();
    let found = scan_pci(&sys, &dev);
    let kinds: BTreeMap<&str, DeviceKind> =
        found.iter().map(|found| (found.address.as_str(), found.device.kind)).collect();
    let expected = BTreeMap::from([
        ("0000:03:00.0", DeviceKind::Gpu),
        ("0000:17:00.0", DeviceKind::Gpu),
        ("0000:65:00.0", DeviceKind::Fpga),
        ("0000:66:00.0", DeviceKind::Npu),
    ]);
    assert_eq!(kinds, expected);
    let amd = &found[0].device;
    assert_eq!((amd.memory, amd.numa), (Bytes(68_702_699_520), Some(1)));
    assert_eq!(amd.modes, [ShareMode::Exclusive, ShareMode::Advisory]);
    assert_eq!(amd.files.len(), 2, "{:?}", amd.files);
    let nvidia = &found[1].device;
    assert!(nvidia.model.starts_with("NVIDIA") && nvidia.model.contains("H100"), "{}", nvidia.model);
    assert!(nvidia.modes.is_empty(), "without a driver it is shown and never granted");
    assert!(scan_pci(&root.path().join("no-such"), &dev).is_empty());
}

/// A tree of buses as the kernel shows it: two sockets, two root complexes in the first, a switch with a switch below it.
#[test]
fn the_way_between_two_devices_is_read_off_the_tree_of_buses() {
    let root = tempfile::tempdir().unwrap();
    let sys = root.path();
    fs::create_dir_all(sys.join("bus/pci/devices")).unwrap();
    let switch = "pci0000:15/0000:15:01.0/0000:16:00.0";
    let devices = [
        ("0000:19:00.0", format!("{switch}/0000:17:00.0/0000:19:00.0"), "0"),
        ("0000:1a:00.0", format!("{switch}/0000:17:01.0/0000:1a:00.0"), "0"),
        ("0000:1e:00.0", format!("{switch}/0000:17:02.0/0000:1b:00.0/0000:1c:00.0/0000:1e:00.0"), "0"),
        ("0000:20:00.0", "pci0000:15/0000:15:02.0/0000:20:00.0".to_owned(), "0"),
        ("0000:41:00.0", "pci0000:40/0000:40:01.0/0000:41:00.0".to_owned(), "0"),
        ("0000:81:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0".to_owned(), "1"),
        ("0000:91:00.0", "pci0000:90/0000:90:01.0/0000:91:00.0".to_owned(), "-1"),
    ];
    for (address, path, numa) in &devices {
        let folder = sys.join("devices").join(path);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("numa_node"), format!("{numa}\n")).unwrap();
        std::os::unix::fs::symlink(folder, sys.join("bus/pci/devices").join(address)).unwrap();
    }
    let from_first: Vec<Option<Link>> =
        devices[1..].iter().map(|(address, ..)| bus_link(sys, devices[0].0, address)).collect();
    let ways = [Link::SWITCH, Link::SWITCHES, Link::BRIDGE, Link::NUMA, Link::SYSTEM, Link::SYSTEM];
    assert_eq!(from_first, ways.map(Some));
    assert_eq!(bus_link(sys, "0000:91:00.0", "0000:91:00.0"), Some(Link::SWITCH));
    assert_eq!(bus_link(sys, "0000:19:00.0", "0000:99:00.0"), None);
}

/// A tree as the kernel's driver for compute shows it (`kfd_topology.c`): a processor and four GPUs, the last of which is in two parts.
/// Made up: nobody who wrote this had such GPUs.
#[test]
fn the_fabric_between_amds_gpus_is_read_off_the_kernels_topology() {
    let root = tempfile::tempdir().unwrap();
    let nodes = root.path().join("class/kfd/kfd/topology/nodes");
    let node = |number: u32, simds: u32, domain: u32, location: u32| {
        let folder = nodes.join(number.to_string());
        fs::create_dir_all(folder.join("io_links")).unwrap();
        let text = format!(
            "cpu_cores_count {}\nsimd_count {simds}\nvendor_id 4098\nlocation_id {location}\ndomain {domain}\n\
             hive_id 17429683492716396372\n",
            if simds == 0 { 64 } else { 0 }
        );
        fs::write(folder.join("properties"), text).unwrap();
    };
    let link = |from: u32, number: u32, to: u32, kind: u32, weight: u32| {
        let folder = nodes.join(from.to_string()).join("io_links").join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "type {kind}\nversion_major 0\nversion_minor 0\nnode_from {from}\nnode_to {to}\nweight {weight}\n\
             min_latency 0\nmax_latency 0\nmin_bandwidth 0\nmax_bandwidth 64000\nflags 1\n"
        );
        fs::write(folder.join("properties"), text).unwrap();
    };
    node(0, 0, 0, 0);
    // 0000:0c:00.0, 0000:22:00.0, 0001:2d:00.0 and twice 0000:83:00.1.
    for (number, domain, location) in
        [(1, 0, 0x0c00), (2, 0, 0x2200), (3, 1, 0x2d00), (4, 0, 0x8301), (5, 0, 0x8301)]
    {
        node(number, 1216, domain, location);
    }
    link(1, 0, 0, 2, 20); // over PCIe to the processor
    link(1, 1, 2, 11, 15);
    link(2, 1, 1, 11, 15);
    link(3, 1, 2, 11, 30);
    link(4, 0, 5, 11, 13); // parts of one GPU
    link(4, 1, 1, 11, 45);
    link(5, 1, 1, 11, 30);
    link(5, 2, 3, 2, 40); // over PCIe to another
    link(5, 3, 9, 11, 15); // to nobody
    let pair = |one: &str, other: &str, hops| ((one.to_owned(), other.to_owned()), Link::xgmi(hops));
    let expected = BTreeMap::from([
        pair("0000:0c:00.0", "0000:22:00.0", 1),
        pair("0000:22:00.0", "0001:2d:00.0", 2),
        pair("0000:0c:00.0", "0000:83:00.1", 2),
    ]);
    assert_eq!(xgmi_links(root.path()), expected);
    assert_eq!(xgmi_links(&root.path().join("no-such")), BTreeMap::new());
}
