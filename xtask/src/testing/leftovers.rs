//! What a pool makes on a machine, listed before and after: whatever is new and stays was left behind.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything of the kinds a pool makes, one line each.
#[derive(Debug, Default)]
pub struct Inventory {
    things: BTreeSet<String>,
}

impl Inventory {
    /// Lists what is there now. What cannot be listed (no such program, no such folder) cannot have been made either.
    #[must_use]
    pub fn take() -> Self {
        let mut inventory = Self::default();
        inventory.processes();
        inventory.cgroups(Path::new("/sys/fs/cgroup"), 0);
        inventory.mounts();
        inventory.network();
        inventory.loops();
        inventory.folders();
        inventory
    }

    /// All of it.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.things.iter().map(String::as_str)
    }

    fn add(&mut self, kind: &str, what: impl Display) {
        self.things.insert(format!("{kind} {what}"));
    }

    /// Processes that are the binary, or that run inside a task of a pool.
    fn processes(&mut self) {
        for entry in entries(Path::new("/proc")) {
            let Ok(pid) = entry.parse::<u32>() else { continue };
            let folder = Path::new("/proc").join(&entry);
            let text = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
            let program = std::fs::read_link(folder.join("exe")).unwrap_or_default();
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ours = name.trim_end_matches(" (deleted)") == "pond";
            let environment = text("environ");
            if ours || environment.split(|&byte| byte == 0).any(|pair| pair.starts_with(b"POND_JOB_ID=")) {
                let line = String::from_utf8_lossy(&text("cmdline")).replace('\0', " ");
                self.add("process", format_args!("{pid} {}", line.trim()));
            }
        }
    }

    fn cgroups(&mut self, folder: &Path, depth: usize) {
        for name in entries(folder) {
            let path = folder.join(&name);
            if !path.is_dir() || path.is_symlink() {
                continue;
            }
            if name.contains("pond") {
                self.add("cgroup", path.display());
            }
            if depth < 4 {
                self.cgroups(&path, depth + 1);
            }
        }
    }

    fn mounts(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for line in table.lines().filter(|line| line.contains("pond")) {
            self.add("mount", line.split(' ').nth(4).unwrap_or_default());
        }
    }

    fn network(&mut self) {
        for link in entries(Path::new("/sys/class/net")) {
            self.add("network link", link);
        }
        for name in entries(Path::new("/run/netns")) {
            self.add("network namespace", name);
        }
        for line in said("nft", &["list", "tables"]).lines() {
            self.add("nft", line);
        }
    }

    fn loops(&mut self) {
        for device in entries(Path::new("/sys/block")) {
            let file = Path::new("/sys/block").join(&device).join("loop/backing_file");
            if let Ok(backing) = std::fs::read_to_string(file) {
                self.add("loop device", format_args!("{device} {}", backing.trim()));
            }
        }
    }

    fn folders(&mut self) {
        let temporary = std::env::temp_dir();
        for folder in [temporary.as_path(), Path::new("/run"), Path::new("/dev/shm")] {
            for name in entries(folder).into_iter().filter(|name| name.contains("pond")) {
                self.add("folder", folder.join(name).display());
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    listing.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default()
}

/// What is there now and was not before, once it has had time to go.
#[must_use]
pub fn wait_until_gone(before: &Inventory, patience: Duration) -> Vec<String> {
    let deadline = Instant::now() + patience;
    loop {
        let now = Inventory::take();
        let new: Vec<String> = now.things.difference(&before.things).cloned().collect();
        if new.is_empty() || Instant::now() > deadline {
            return new;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_process_is_seen_until_it_is_gone() {
        let before = Inventory::take();
        let mut child = Command::new("sleep")
            .arg("600")
            .env("POND_JOB_ID", "seen-by-the-inventory")
            .spawn()
            .expect("sleep");
        let mine = format!("process {} ", child.id());
        let seen = |lines: &[String]| lines.iter().any(|line| line.starts_with(&mine));
        let deadline = Instant::now() + Duration::from_secs(10);
        // Between fork and exec the child still has the environment of this test.
        let found = loop {
            let found = seen(&wait_until_gone(&before, Duration::ZERO));
            if found || Instant::now() > deadline {
                break found;
            }
        };
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(found);
        assert!(!seen(&wait_until_gone(&before, Duration::ZERO)));
    }
}
