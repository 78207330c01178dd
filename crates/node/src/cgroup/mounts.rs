//! Where control groups are mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// Controllers and names of a version 1 hierarchy; none for version 2.
pub(super) type Kind = Option<Vec<String>>;

/// Mount points of control groups: (v1 controller names or none for v2, where).
pub(super) fn mounts() -> Vec<(Kind, PathBuf)> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for line in table.lines() {
        let mut parts = line.split(' ');
        let (Some(_), Some(target), Some(kind), Some(options)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        match kind {
            "cgroup" => {
                found.push((Some(options.split(',').map(str::to_owned).collect()), PathBuf::from(target)));
            }
            "cgroup2" => found.push((None, PathBuf::from(target))),
            _ => {}
        }
    }
    found
}

/// Where this v1 controller is mounted.
pub(super) fn mounted_v1<'a>(mounts: &'a [(Kind, PathBuf)], controller: &str) -> Option<&'a Path> {
    mounts.iter().find_map(|(kind, root)| {
        kind.as_ref()?.iter().any(|name| name == controller).then_some(root.as_path())
    })
}

/// Where version 2 is mounted.
pub(super) fn mounted_v2(mounts: &[(Kind, PathBuf)]) -> Option<&Path> {
    mounts.iter().find(|(kind, _)| kind.is_none()).map(|(_, root)| root.as_path())
}
