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
    // Their ends are more than there is room kept back for.
    let ids: Vec<u64> = (0..60).map(|_| pool.client.run(&["sleep"])).collect();
    let state = |id: &u64| pool.client.state(*id);
    until("all run", || ids.iter().all(|id| state(id) == "running"));
    disk.fill();
    pool.farm.end_all(Exit::Code(3));
    let message =
        || pool.client.get("/api/v1/health").json()["message"].as_str().unwrap_or_default().to_owned();
    until("it cannot write any more", || message().contains("cannot be written"));
    disk.free();
    until("all have failed", || ids.iter().all(|id| state(id) == "failed"));
    drop(pool);
}

#[test]
fn a_job_can_be_ended_and_removed_on_a_full_disk() {
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
    until("it is read-only", || client.get("/api/v1/health").status == 503);
    client.post(&format!("/api/v1/jobs/{id}/pause"), &serde_json::json!({})).problem(503, "read_only");
    client.post(&format!("/api/v1/jobs/{id}/stop"), &serde_json::json!({})).expect(200);
    client.await_state(id, "stopped");
    client.delete(&format!("/api/v1/jobs/{id}")).expect(204);
    assert_eq!(client.get(&format!("/api/v1/jobs/{id}")).status, 404);
    disk.free();
    drop(pool);
}
