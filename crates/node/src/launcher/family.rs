//! The processes of a task where no control group holds them: whoever descends from its first process, and in a container whoever
//! is in its namespace of processes.
//!
//! They are found by looking at all processes of the machine, again until a look finds nobody new: slower than a group, and
//! a process that leaves its session and its parents behind (in no container) is still found, for the task's first process and its
//! launcher take up orphans.

use super::sys;
use crate::cgroup::{CgroupError, Group, Reading};
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
    /// CPU time with that of children who were waited for, in ticks of a hundredth of a second.
    ticks: u64,
    threads: u32,
    pages: u64,
    namespace: Option<PathBuf>,
}

fn namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

fn row(pid: i32, with_namespace: bool) -> Option<Row> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first of these is the third of `proc(5)`.
    let field = |number: usize| fields.get(number - 3);
    let number = |at: usize| field(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Some(Row {
        parent: field(4)?.parse().ok()?,
        state: *field(3)?.as_bytes().first()?,
        ticks: (14..=17).map(number).sum(),
        threads: u32::try_from(number(20)).unwrap_or(u32::MAX),
        pages: number(24),
        namespace: if with_namespace { namespace(pid) } else { None },
    })
}

/// All processes of the machine; `with_namespaces`: those that may be asked for theirs with it.
fn table(with_namespaces: bool) -> BTreeMap<i32, Row> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, row(pid, with_namespaces)?))).collect()
}

/// Everybody of the task: its first process, and whoever descends from it or is in its namespace.
fn all(rows: &BTreeMap<i32, Row>, first: i32, container: bool) -> BTreeSet<i32> {
    let own = rows.get(&first).filter(|_| container).and_then(|row| row.namespace.as_ref());
    let mut found: BTreeSet<i32> = rows
        .iter()
        .filter(|(_, row)| own.is_some() && row.namespace.as_ref() == own)
        .map(|(pid, _)| *pid)
        .collect();
    found.insert(first);
    loop {
        let more: Vec<i32> = rows
            .iter()
            .filter(|(pid, row)| found.contains(&row.parent) && !found.contains(*pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// A process of a task, beside its first.
struct Member {
    pid: i32,
    state: u8,
    /// How many of the task's are above it, its first process left out.
    depth: usize,
    /// Whether the one above it stands still, or is none of the task's.
    may_stop: bool,
}

impl Member {
    const fn is_still(&self) -> bool {
        is_still(self.state)
    }
}

const fn is_still(state: u8) -> bool {
    matches!(state, b'T' | b't')
}

/// Everybody of the task but its first process, who has not ended.
fn members(first: i32, container: bool) -> Vec<Member> {
    let rows = table(container);
    let others: BTreeSet<i32> =
        all(&rows, first, container).into_iter().filter(|pid| *pid != first).collect();
    let above = |pid: i32| rows.get(&pid).map(|row| row.parent).filter(|parent| others.contains(parent));
    let member = |pid: &i32| {
        let state = rows.get(pid).map(|row| row.state).filter(|state| *state != b'Z')?;
        let depth = std::iter::successors(above(*pid), |pid| above(*pid)).take(others.len()).count();
        let parent = above(*pid).and_then(|pid| rows.get(&pid)).map(|row| row.state);
        let may_stop = parent.is_none_or(|state| is_still(state) || state == b'Z');
        Some(Member { pid: *pid, state, depth, may_stop })
    };
    others.iter().filter_map(member).collect()
}

/// What tasks use, each given by its first process and whether it is a container's, in one look at the machine: CPU to a hundredth of a
/// second, and resident memory, in which what processes share is counted for each of them.
pub(crate) fn read(tasks: &[(i32, bool)]) -> Vec<Option<Reading>> {
    if tasks.is_empty() {
        return Vec::new();
    }
    let rows = table(tasks.iter().any(|(_, container)| *container));
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let reading = |(first, container): &(i32, bool)| {
        rows.get(first)?;
        let own = all(&rows, *first, *container);
        let cpu_us = own.iter().filter_map(|pid| rows.get(pid)).map(|row| row.ticks * 10_000).sum();
        // The first process is the pool's own program.
        let own = own.iter().filter(|pid| *pid != first).filter_map(|pid| rows.get(pid));
        let own: Vec<&Row> = own.filter(|row| row.state != b'Z').collect();
        let memory = own.iter().map(|row| row.pages * page).sum();
        Some(Reading { cpu_us, memory, pids: own.iter().map(|row| row.threads).sum(), ..Reading::default() })
    };
    tasks.iter().map(reading).collect()
}

/// What the task of this launcher used in all, once it has ended.
pub(super) fn used() -> Option<Reading> {
    Some(Reading { cpu_us: sys::children_cpu_us()?, ..Reading::default() })
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
    // Whoever was made between a look and its signals is found by the next look. A shell that sees a program of its own stopped takes
    // its terminal back: so nobody is stopped before who is above it, and nobody goes on after that one.
    let end = Instant::now() + END;
    while Instant::now() < end {
        let mut other = members(first, container);
        other.retain(|member| member.is_still() != frozen);
        if other.is_empty() {
            return Ok(());
        }
        other.sort_by_key(|member| std::cmp::Reverse(member.depth));
        for member in other.iter().filter(|member| !frozen || member.may_stop) {
            tolerate(sys::kill(member.pid, if frozen { libc::SIGSTOP } else { libc::SIGCONT }));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let source = io::Error::new(io::ErrorKind::TimedOut, "some of its processes did not come to rest");
    Err(CgroupError { path: PathBuf::from("processes"), value: String::new(), source })
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
        for member in left {
            tolerate(sys::kill(member.pid, libc::SIGKILL));
        }
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A shell with a shell with a sleeper below it, as a task that no group holds.
    #[test]
    fn a_family_stops_from_above_and_goes_on_from_below() {
        let text = "sh -c 'sleep 1000; true'; true";
        let mut top = Command::new("sh").args(["-c", text]).stdin(Stdio::null()).spawn().expect("sh");
        let first = i32::try_from(top.id()).expect("a number");
        let end = Instant::now() + Duration::from_secs(20);
        while members(first, false).len() < 2 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = members(first, false);
        let mut depths: Vec<usize> = found.iter().map(|member| member.depth).collect();
        depths.sort_unstable();
        assert_eq!(depths, [0, 1]);
        let group = crate::cgroup::Pool::default().group("nowhere");
        let freeze = |frozen| freeze(&group, frozen, || Some((first, process_began(first), false)));
        freeze(true).expect("stopped");
        assert!(members(first, false).iter().all(Member::is_still));
        freeze(false).expect("awake");
        assert!(!members(first, false).iter().any(Member::is_still));
        assert!(
            super::freeze(&group, true, || Some((first, None, false))).is_err(),
            "another process of that number"
        );
        for pid in found.iter().map(|member| member.pid).chain([first]) {
            tolerate(sys::kill(pid, libc::SIGKILL));
        }
        top.wait().expect("it ends");
    }
}
