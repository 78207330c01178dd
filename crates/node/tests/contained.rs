//! A pool in a container of its own, where version 2 of control groups begins at a group that holds processes.

mod support;

use pond_core::event::{Effect, Exit};
use pond_core::units::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Pool, root, script, until};

const GROUPS: &str = "/sys/fs/cgroup";
/// Of the container, in bytes: less than the machine has.
const MEMORY: u64 = 1 << 30;
/// What the inner test is told: that it is in a container, so that nobody runs it outside of one.
const INSIDE: &str = "POND_TEST_CONTAINED";

fn processes(group: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(GROUPS).join(group).join("cgroup.procs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A group of its own below the machine's root with everything handed down, and its end.
struct Outside(PathBuf);

impl Outside {
    fn new() -> Self {
        let dir = Path::new(GROUPS).join(format!("test-contained-{}", std::process::id()));
        fs::create_dir(&dir).expect("a group");
        for name in ["cpu", "memory", "pids", "io"] {
            fs::write(Path::new(GROUPS).join("cgroup.subtree_control"), format!("+{name}"))
                .expect("handed down");
        }
        fs::write(dir.join("memory.max"), MEMORY.to_string()).expect("a limit");
        Self(dir)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        _ = fs::write(self.0.join("cgroup.kill"), "1");
        until("the group is empty and gone", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn tasks_are_limited_in_a_container_of_ones_own() {
    let controllers = fs::read_to_string(Path::new(GROUPS).join("cgroup.controllers")).unwrap_or_default();
    if !root() || !controllers.split_whitespace().any(|name| name == "memory") {
        eprintln!(
            "skipped: version 2 of control groups limits nothing here; `cargo xtask v2` has a machine where it does"
        );
        return;
    }
    let outside = Outside::new();
    // The shell stays in the container's root group beside the pool, as a container's first process does.
    let enter = r#"echo $$ > "$1/cgroup.procs" && exec unshare --cgroup --mount sh -c '
        umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && "$0" --exact the_pool_in_the_container --ignored --nocapture; exit $?' "$2""#;
    let program = std::env::current_exe().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", enter, "sh"]).arg(&outside.0).arg(program).env(INSIDE, "1");
    let said = shell.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.contains("1 passed"), "{text}{error}");
}

#[test]
#[ignore = "it is run by the test above, in a container"]
fn the_pool_in_the_container() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let before = processes("");
    assert!(before.len() >= 2, "a shell and this test: {before:?}");
    let mut pool = Pool::open("contained");
    assert_eq!(processes(""), [""; 0], "processes have made way");
    let mut eater = script(1, "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null");
    eater.allocation.request.memory = Bytes(32 << 20);
    eater.allocation.burst.memory = Bytes(32 << 20);
    assert_eq!(pool.run(eater).0, Exit::OutOfMemory);
    let mut second = Pool::open("contained-second");
    let capacity = second.agent.node().capacity;
    assert!(capacity.memory <= Bytes(MEMORY), "the container's, seen from the leaf: {capacity:?}");
    drop(pool);
    assert_eq!(second.run(script(1, "exit 3")).0, Exit::Code(3));
    assert_eq!(processes(""), [""; 0], "while a pool is left");
    drop(second);
    let after = processes("");
    assert!(before.iter().all(|id| after.contains(id)), "they are back: {before:?}, {after:?}");
    let left = fs::read_dir(GROUPS).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(left, 0, "no group is left");
    assert_eq!(fs::read_to_string(Path::new(GROUPS).join("cgroup.subtree_control")).unwrap().trim(), "");
}

/// An overlay, as a container of one's own has it for its root.
struct Overlay(PathBuf);

impl Overlay {
    fn new() -> Self {
        let dir = support::scratch("overlay");
        for name in ["lower", "upper", "work", "root"] {
            fs::create_dir(dir.join(name)).expect("a folder");
        }
        let at = |name: &str| dir.join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let options = std::ffi::CString::new(options).expect("no zero");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount(c"overlay", dir.join("root"), c"overlay", flags, options.as_c_str())
            .expect("an overlay");
        Self(dir)
    }

    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.0.display().to_string();
        table.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        _ = rustix::mount::unmount(self.0.join("root"), rustix::mount::UnmountFlags::DETACH);
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_state_folder_that_can_hold_no_layers_keeps_them_in_memory_while_the_pool_is_up() {
    if !root() {
        return;
    }
    let overlay = Overlay::new();
    assert_eq!(overlay.mounts().len(), 1);
    let dir = overlay.0.join("root/pool");
    fs::create_dir(&dir).unwrap();
    let mut pool = Pool::reopen(dir);
    let layers = pool.state().join("layers");
    let (exit, said) = pool.run(script(1, "mkdir /data && echo kept > /data/file"));
    assert_eq!(exit, Exit::Code(0), "{said}");
    let mut limited = script(2, "head -c 100000000 /dev/zero > /fill");
    limited.allocation.request.disk = Bytes(32 << 20);
    assert_eq!(
        pool.run(limited).0,
        Exit::OutOfDisk,
        "a limited one is a filesystem of its own, here as well"
    );
    // A server that was killed and came back finds them.
    let mut pool = Pool::reopen(pool.abandon());
    let mut tar = tar::Archive::new(pool.agent.copy_out(support::task(1), "/data/file").unwrap());
    let mut text = String::new();
    for entry in tar.entries().unwrap() {
        std::io::Read::read_to_string(&mut entry.unwrap(), &mut text).unwrap();
    }
    assert_eq!(text, "kept\n");
    assert_eq!(fs::read_dir(&layers).unwrap().count(), 1);
    pool.agent.apply(vec![Effect::Purge(support::task(1).gang.job)]);
    until("the layer is gone with its job", || fs::read_dir(&layers).unwrap().count() == 0);
    assert_eq!(pool.run(script(3, "true")).0, Exit::Code(0));
    drop(pool);
    assert_eq!(overlay.mounts().len(), 1, "{:?}", overlay.mounts());
}
