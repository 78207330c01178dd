//! A task's folder: `<state>/tasks/<job>/<index>.<rank>/<generation>/`, the one truth about what was started.
//!
//! ```text
//!            launch.json         claim (locked)         started          ended        folder removed
//! nothing ─────────────▶ ready ───────────────▶ claimed ───────▶ running ─────▶ ended ─────────────▶ purged
//!                          │ claim by the agent             (lock free without `ended` = lost)
//!                          └──────────────────▶ void: never started, and never will be
//! ```
//! The launcher holds a lock on `claim` for as long as it lives. The file appears by `link`, locked from its
//! first moment, and only once: no generation of a task ever runs twice.

use crate::cgroup::Reading;
use crate::tolerate;
use pond_core::event::Exit;
use pond_core::ids::{Generation, JobId, TaskId};
use pond_core::units::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder of one generation of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(pub PathBuf);

/// What the launcher records once the task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub at: Timestamp,
    /// The launcher's process id.
    pub launcher: i32,
    /// Process id of the task's first process, as the machine sees it.
    pub init: i32,
    /// When that process began, in clock ticks since boot: told apart from a later one of the same id.
    pub init_began: u64,
}

/// What the launcher records once the task has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub exit: Exit,
    /// It never came to run: why, for the user.
    pub failed: Option<StartFailure>,
    /// What its control group had counted when the last of its processes was gone.
    #[serde(default)]
    pub used: Option<Reading>,
}

/// Why a task never came to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// One sentence: what, why, what to do.
    pub message: String,
    /// Whether the node is to blame or the job.
    pub node_fault: bool,
}

/// A step that the node could not do.
pub(crate) fn failure(what: &str, error: &dyn std::fmt::Display) -> StartFailure {
    StartFailure { message: format!("cannot {what}: {error}"), node_fault: true }
}

/// Whether a launcher stands by the task.
#[derive(Debug)]
pub enum Claim {
    /// Nobody claimed it.
    Free,
    /// A launcher holds it.
    Held,
    /// Its launcher is gone.
    Left,
}

/// The folder of all generations of a task.
#[must_use]
pub fn of_task(state: &Path, task: TaskId) -> PathBuf {
    of_job(state, task.gang.job).join(format!("{}.{}", task.gang.index, task.rank))
}

/// The folder of all tasks of a job.
#[must_use]
pub fn of_job(state: &Path, job: JobId) -> PathBuf {
    state.join("tasks").join(job.0.to_string())
}

/// Every generation there is a folder of, with its task, in order.
#[must_use]
pub fn all(state: &Path) -> Vec<(TaskId, Generation, Folder)> {
    let jobs = entries(&state.join("tasks"));
    let mut found: Vec<_> = jobs
        .iter()
        .filter_map(|(job, _)| job.parse().ok())
        .flat_map(|job| of_one_job(state, JobId(job)))
        .collect();
    found.sort_unstable_by_key(|(task, generation, _)| (*task, *generation));
    found
}

fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

/// Every generation of every task of one job.
#[must_use]
pub fn of_one_job(state: &Path, job: JobId) -> Vec<(TaskId, Generation, Folder)> {
    let mut found = Vec::new();
    for (name, task_dir) in entries(&of_job(state, job)) {
        let Some((index, rank)) = name.split_once('.') else { continue };
        let (Ok(index), Ok(rank)) = (index.parse(), rank.parse()) else { continue };
        for (generation, dir) in entries(&task_dir) {
            if let Ok(generation) = generation.parse() {
                found.push((job.gang(index).task(rank), Generation(generation), Folder(dir)));
            }
        }
    }
    found
}

/// Removes a folder with everything in it, folders included that are closed to their own owner: an overlay's work folder, and what
/// a task closed.
///
/// # Errors
/// Something in it is somebody else's, or comes while it is removed.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(why)
            if why.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() =>
        {
            open_folders(dir);
            fs::remove_dir_all(dir)
        }
        done => done,
    }
}

/// No link that somebody puts in a folder's place is followed.
fn open_folders(dir: &Path) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let all = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        // What is open as a path alone may be closed to its owner, and is changed by its number.
        let Ok(held) = rustix::fs::open(&dir, flags, Mode::empty()) else { continue };
        let by_number = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
        tolerate(fs::set_permissions(&by_number, all.clone()));
        let entries = fs::read_dir(&by_number).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| dir.join(entry.file_name())));
    }
}

/// Whether there is a folder at this path, and no link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Puts a file in place whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temp = PathBuf::from(name);
    fs::write(&temp, bytes)?;
    fs::rename(&temp, path)
}

impl Folder {
    /// The folder of this generation.
    #[must_use]
    pub fn of(state: &Path, task: TaskId, generation: Generation) -> Self {
        Self(of_task(state, task).join(generation.0.to_string()))
    }

    /// The state folder it is in.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.0.ancestors().nth(4).unwrap_or(&self.0)
    }

    /// What the launcher is to do.
    #[must_use]
    pub fn launch(&self) -> PathBuf {
        self.0.join("launch.json")
    }
    /// The claim.
    #[must_use]
    pub fn claim(&self) -> PathBuf {
        self.0.join("claim")
    }
    /// The launcher's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("ctl.sock")
    }
    /// The writable layer, a folder.
    #[must_use]
    pub fn layer(&self) -> PathBuf {
        self.0.join("layer")
    }
    /// The writable layer, an image of limited size.
    #[must_use]
    pub fn layer_image(&self) -> PathBuf {
        self.0.join("layer.img")
    }

    /// A name for the layer beside those of all other generations of all tasks.
    #[must_use]
    pub fn layer_name(&self) -> String {
        let parts: Vec<_> = self.0.iter().rev().take(3).map(std::ffi::OsStr::to_string_lossy).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join(".")
    }

    /// Removes the layer where it is not in this folder but in memory.
    pub fn remove_layer_elsewhere(&self) {
        if let Ok(elsewhere) = fs::read_link(self.layer()) {
            tolerate(remove_tree(&elsewhere));
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }

    fn record<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        write_whole(&self.0.join(name), &serde_json::to_vec(value)?)
    }

    /// What was recorded at the start.
    #[must_use]
    pub fn started(&self) -> Option<Started> {
        self.read("started")
    }
    /// What was recorded at the end.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.read("ended")
    }

    /// Records the start.
    ///
    /// # Errors
    /// The disk is full or the folder is gone.
    pub fn record_started(&self, started: &Started) -> io::Result<()> {
        self.record("started", started)
    }

    /// Records the end.
    ///
    /// # Errors
    /// The disk is full or the folder is gone.
    pub fn record_ended(&self, ended: &Ended) -> io::Result<()> {
        self.record("ended", ended)
    }

    /// Claims the right to run this generation; the lock lasts as long as the file is open.
    ///
    /// # Errors
    /// `AlreadyExists`: somebody has it or had it.
    pub fn take_claim(&self) -> io::Result<File> {
        let temp = self.0.join(format!("claim.{}", std::process::id()));
        let mut file = File::create(&temp)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        let linked = fs::hard_link(&temp, self.claim());
        fs::remove_file(&temp)?;
        linked.map(|()| file)
    }

    /// Looks at the claim without disturbing it.
    #[must_use]
    pub fn look(&self) -> Claim {
        let Ok(file) = File::open(self.claim()) else { return Claim::Free };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Claim::Left,
            Err(_) => Claim::Held,
        }
    }

    /// The process id of the claim's holder.
    #[must_use]
    pub fn claimant(&self) -> Option<i32> {
        fs::read_to_string(self.claim()).ok()?.trim().parse().ok()
    }
}

/// Now, in milliseconds since the epoch.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now, in microseconds since the epoch.
#[must_use]
pub fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// When a process began, in clock ticks since boot; `None` when there is no such process.
#[must_use]
pub fn process_began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything; the 22nd is the start time.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Bytes on disk of everything below `dir`, hard links counted once a name; what vanishes meanwhile is left out.
#[must_use]
pub fn tree_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            total += meta.blocks() * 512;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    total
}
