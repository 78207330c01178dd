//! The table that `pond doctor` prints.

use super::{capability, isolation, limits};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How a capability is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was tried and works.
    Ok,
    /// It works in part, or could not be tried to its end.
    Degraded,
    /// It does not work.
    Missing,
}

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What: `overlay`, `memory limit`, ... Stable: programs may look for it.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found: a version, an amount, the kernel's reason.
    pub detail: String,
    /// What its absence costs the user; empty when it is fine.
    pub cost: String,
    /// What to do about it; empty when it is fine or nothing can be done.
    pub remedy: String,
    /// Time the trial took, in microseconds.
    pub took_us: u64,
}

impl Row {
    pub(super) fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, State::Ok, detail.into(), "", "")
    }

    pub(super) fn degraded(name: &str, detail: impl Into<String>, cost: &str, remedy: &str) -> Self {
        Self::new(name, State::Degraded, detail.into(), cost, remedy)
    }

    pub(super) fn missing(name: &str, detail: impl Into<String>, cost: &str, remedy: &str) -> Self {
        Self::new(name, State::Missing, detail.into(), cost, remedy)
    }

    fn new(name: &str, state: State, detail: String, cost: &str, remedy: &str) -> Self {
        Self {
            name: name.to_owned(),
            state,
            detail,
            cost: cost.to_owned(),
            remedy: remedy.to_owned(),
            took_us: 0,
        }
    }
}

/// What the machine can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// One row a capability, always the same ones in the same order.
    pub rows: Vec<Row>,
}

impl Doctor {
    /// The row of this name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The worst state of all rows.
    #[must_use]
    pub fn worst(&self) -> State {
        self.rows.iter().map(|row| row.state).max().unwrap_or(State::Ok)
    }
}

/// Where trials may write.
pub(super) struct Scratch {
    pub folder: PathBuf,
    /// What makes a launcher.
    pub launcher: Vec<OsString>,
    /// Unique on the machine while this process lives; names control groups and links.
    pub tag: String,
}

impl Scratch {
    fn new(under: &Path, launcher: &[OsString]) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let tag = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = under.join(format!("probe-{tag}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, launcher: launcher.to_vec(), tag })
    }

    /// A new empty folder for one trial.
    pub(super) fn room(&self, name: &str) -> std::io::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        crate::tolerate(std::fs::remove_dir_all(&self.folder));
    }
}

/// Tries everything the pool may need of this machine; `state_dir` is where tasks and images would lie, `launcher` the program and
/// first arguments that make a launcher ([`crate::launcher::own`]).
/// Takes a few hundred milliseconds and leaves nothing behind.
#[must_use]
pub fn doctor(state_dir: &Path, launcher: &[OsString]) -> Doctor {
    let began = Instant::now();
    let scratch = match Scratch::new(state_dir, launcher) {
        Ok(scratch) => scratch,
        Err(why) => {
            let detail = format!("cannot write to {}: {why}", state_dir.display());
            let remedy = "run as root, or choose another folder with --state-dir";
            let mut row = Row::missing("state folder", detail, "no pool can run here", remedy);
            row.took_us = micros(began);
            return Doctor { rows: vec![row] };
        }
    };
    let mut rows = Vec::new();
    for trial in TRIALS {
        let began = Instant::now();
        let before = rows.len();
        rows.extend(trial(&scratch));
        let share = micros(began) / (rows.len() - before).max(1) as u64;
        for row in &mut rows[before..] {
            row.took_us = share;
        }
    }
    Doctor { rows }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

type Trial = fn(&Scratch) -> Vec<Row>;

const TRIALS: &[Trial] = &[
    capability::privilege,
    capability::state_folder,
    isolation::namespaces,
    isolation::beneath,
    isolation::seccomp,
    isolation::network,
    limits::groups,
    limits::pressure,
    limits::disk,
    capability::open_files,
    capability::inotify,
    capability::pidfd,
    capability::nvidia,
    capability::accelerators,
    capability::kvm,
    capability::criu,
];
