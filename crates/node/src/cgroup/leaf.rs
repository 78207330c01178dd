//! Room for the pool where its groups begin below a group that holds processes: a container of one's own on version 2.
//!
//! Version 2 lets a group that is not the machine's own root either hold processes or hand controllers down. A container
//! starts with its processes in the group it sees as its root, so these go into a leaf beside the pool's groups, as they do
//! where other engines run in a container, and come back when the last pool is gone. What limits the container is above.

use super::{read_text, write};
use crate::tolerate;
use std::fs;
use std::path::Path;

/// The leaf beside the pools' groups: a name of our own, so that what another engine made is never taken apart.
pub(super) const LEAF: &str = "pond-init";
/// Processes that start while others are moved are found in the next round.
const ROUNDS: u32 = 100;

/// Moves the processes of this group into the leaf, unless it is the machine's own root or hands none of these down anyway.
///
/// Not first when handing down is refused: the CPU would be handed down beside processes, and then nothing else.
pub(super) fn make_way<'a>(group: &Path, mut controllers: impl Iterator<Item = &'a str>) {
    let known = read_text(&group.join("cgroup.controllers"));
    let limits = controllers.any(|wanted| known.split_ascii_whitespace().any(|name| name == wanted));
    let holds = || !read_text(&group.join("cgroup.procs")).trim().is_empty();
    // The machine's own root has no type and may do both.
    if limits && group.join("cgroup.type").exists() && holds() {
        tolerate(fs::create_dir(group.join(LEAF)));
        tolerate(move_all(group, &group.join(LEAF)));
    }
}

/// Brings the processes back to this group when no pool is below it any more.
pub(super) fn bring_back(group: &Path) {
    let leaf = group.join(LEAF);
    let others = fs::read_dir(group)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path() != leaf);
    if others || !leaf.join("cgroup.procs").exists() || !group.join("cgroup.type").exists() {
        return;
    }
    // It held processes, so whatever it hands down it does since they made way.
    let handed_down = group.join("cgroup.subtree_control");
    for name in read_text(&handed_down).split_ascii_whitespace() {
        tolerate(write(handed_down.clone(), &format!("-{name}")));
    }
    if move_all(&leaf, group) {
        tolerate(fs::remove_dir(&leaf));
    }
}

/// Moves every process; false when some stayed.
fn move_all(from: &Path, to: &Path) -> bool {
    for _ in 0..ROUNDS {
        let processes = read_text(&from.join("cgroup.procs"));
        // 0 is a process of a namespace outside, and to write it would mean oneself.
        let (own, foreign): (Vec<&str>, Vec<&str>) = processes.lines().partition(|id| *id != "0");
        if own.is_empty() {
            return foreign.is_empty();
        }
        own.into_iter().for_each(|id| tolerate(write(to.join("cgroup.procs"), id)));
    }
    false
}
