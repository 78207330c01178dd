//! The processes of a task where no control group holds them: whoever descends from its first process, and in a container whoever
//! is in its namespace of processes.
//!
//! They are found by looking at all processes of the machine, again until a look finds nobody new: slower than a group, and
//! a process that leaves its session and its parents behind (in no container) is still found, for the task's first process and its
//! launcher take up orphans.

use super::sys;
use crate::cgroup::{CgroupError, Group};
use crate::folder::process_began;
use crate::tolerate;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long everybody may take to be gone.
const END: Duration = Duration::from_secs(2);

/// A process of the machine.
struct Row {
    parent: i32,
    /// As in `/proc/PID/stat`.
    state: u8,
    namespace: Option<PathBuf>,
}

fn namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

fn row(pid: i32) -> Option<Row> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some(Row { parent: fields.next()?.parse().ok()?, state, namespace: None })
}

/// Everybody of the task but its first process, who has not ended; with the state of each.
fn members(first: i32, container: bool) -> Vec<(i32, u8)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = if container { namespace(first) } else { None };
    let look = |pid: i32| {
        let mut row = row(pid)?;
        row.namespace = own.as_ref().and_then(|_| namespace(pid));
        Some((pid, row))
    };
    let rows: BTreeMap<i32, Row> = pids.filter_map(look).collect();
    let mut found: BTreeSet<i32> =
        rows.iter().filter(|(_, row)| own.is_some() && row.namespace == own).map(|(pid, _)| *pid).collect();
    found.insert(first);
    loop {
        let more: Vec<i32> = rows
            .iter()
            .filter(|(pid, row)| found.contains(&row.parent) && !found.contains(*pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.remove(&first);
    let alive = |pid: i32| rows.get(&pid).map(|row| (pid, row.state)).filter(|(_, state)| *state != b'Z');
    found.into_iter().filter_map(alive).collect()
}

/// A task's first process: its number, when it began, whether it is a container's.
pub(crate) type First = (i32, Option<u64>, bool);

/// Freezes or thaws a task: its group, or without one each of its processes by SIGSTOP and SIGCONT.
///
/// # Errors
/// The group cannot be frozen, or the task has ended.
pub(crate) fn freeze(
    group: &Group,
    frozen: bool,
    first: impl FnOnce() -> Option<First>,
) -> Result<(), CgroupError> {
    match group.freeze(frozen) {
        Err(why) if why.source.kind() == io::ErrorKind::Unsupported => {}
        done => return done,
    }
    let alive = first().filter(|(first, began, _)| *first > 0 && process_began(*first) == *began);
    let Some((first, _, container)) = alive else {
        let source = io::Error::other("the task has ended");
        return Err(CgroupError { path: PathBuf::from("processes"), value: String::new(), source });
    };
    // Whoever was made between a look and its signals is found by the next look.
    let end = Instant::now() + END;
    while Instant::now() < end {
        let other: Vec<i32> = members(first, container)
            .into_iter()
            .filter(|(_, state)| (*state == b'T') != frozen)
            .map(|(pid, _)| pid)
            .collect();
        if other.is_empty() {
            break;
        }
        for pid in other {
            tolerate(sys::kill(pid, if frozen { libc::SIGSTOP } else { libc::SIGCONT }));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Kills everything of the task whose launcher this is, its first process has ended.
pub(super) fn end(group: &Group) {
    group.kill();
    if group.members().is_some() {
        return;
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let end = Instant::now() + END;
    while Instant::now() < end {
        let left = members(own, false);
        if left.is_empty() {
            break;
        }
        for (pid, _) in left {
            tolerate(sys::kill(pid, libc::SIGKILL));
        }
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(1));
    }
}
