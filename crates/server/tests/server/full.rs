//! A full disk: nothing new is taken in, what runs goes on, and the pool recovers by itself.

use super::client::job;
use super::{Folder, Pool, until};
use pond_core::event::Exit;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk of its own.
struct Disk(PathBuf);

impl Disk {
    /// `None` when this user may not mount.
    fn new(path: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "pond-test"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_makes_the_pool_read_only_until_there_is_room() {
    let folder = Folder::new();
    let Some(disk) = Disk::new(folder.path(), "4m") else {
        println!("not tested: this user may not mount a small disk");
        return;
    };
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let id = client.run(&["sleep"]);
    client.await_state(id, "running");
    disk.fill();
    let refused = || client.post("/api/v1/jobs", &job(&["exit", "0"]));
    until("a submission is refused", || refused().status == 503);
    refused().problem(503, "read_only");
    let health = client.get("/api/v1/health").expect(503).json();
    assert_eq!(health["status"], "read_only");
    assert!(health["message"].as_str().unwrap().contains("free space"), "{health}");
    // Reading goes on, and so do tasks.
    assert_eq!(client.state(id), "running");
    let home = super::web::Browser::log_in(client).get("/").expect(200).text();
    assert!(home.contains("free space"), "{home}");
    client.put("/api/v1/secrets/A", &serde_json::json!({"value": "x"})).problem(503, "read_only");
    let task = pool.farm.tasks()[0].0;
    disk.free();
    pool.farm.end(task, pond_core::ids::Generation(1), Exit::Code(0));
    until("it is well again", || client.get("/api/v1/health").status == 200);
    client.await_state(id, "succeeded");
    let id = client.run(&["exit", "0"]);
    client.await_state(id, "succeeded");
    let kinds = client.get("/api/v1/events?kind=pool.").json().to_string();
    assert!(kinds.contains("pool.read_only") && kinds.contains("pool.writable"), "{kinds}");
    drop(pool);
}

#[test]
fn what_tasks_tell_while_the_disk_is_full_is_not_lost() {
    let folder = Folder::new();
    let tasks = Folder::new();
    let state = folder.path().join("disk");
    std::fs::create_dir(&state).unwrap();
    let Some(disk) = Disk::new(&state, "4m") else {
        println!("not tested: this user may not mount a small disk");
        return;
    };
    // Tasks live on another disk, as their logs may.
    std::os::unix::fs::symlink(tasks.path(), state.join("tasks")).unwrap();
    let pool = Pool::start(&state);
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    disk.fill();
    pool.farm.end_all(Exit::Code(3));
    until("it is read-only", || pool.client.get("/api/v1/health").status == 503);
    assert_eq!(pool.client.state(id), "running", "what is not durable has not happened");
    disk.free();
    pool.client.await_state(id, "failed");
    drop(pool);
}
