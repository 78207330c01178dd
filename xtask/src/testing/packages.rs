//! Programs that tests use, and where Debian keeps them.

use crate::shell;
use std::process::Command;

struct Need {
    program: &'static str,
    package: &'static str,
    untested: &'static str,
}

const NEEDS: [Need; 7] = [
    Need { program: "nft", package: "nftables", untested: "container networks: names, ports, isolation" },
    Need { program: "ip", package: "iproute2", untested: "container networks" },
    Need { program: "mkfs.ext4", package: "e2fsprogs", untested: "disk limits of containers" },
    Need { program: "losetup", package: "mount", untested: "disk limits of containers" },
    Need { program: "python3", package: "python3", untested: "the training examples" },
    Need { program: "crun", package: "crun", untested: "nothing; the bench loses a row" },
    Need { program: "bwrap", package: "bubblewrap", untested: "nothing; the bench loses a row" },
];

/// Installs what is missing when that is possible, and says what stays untested when it is not.
pub fn provide() {
    let missing = || NEEDS.iter().filter(|need| !shell::has(need.program));
    let wanted: Vec<&str> = missing().map(|need| need.package).collect();
    if wanted.is_empty() {
        return;
    }
    if is_root() && shell::has("apt-get") {
        println!("installing from apt: {}", wanted.join(" "));
        apt(&["update", "-qq"]);
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"], wanted.as_slice()].concat());
    }
    for need in missing() {
        println!(
            "missing: {} (Debian package {}); left untested: {}",
            need.program, need.package, need.untested
        );
    }
}

fn apt(arguments: &[&str]) {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("apt-get {} ended with {status}", arguments.join(" ")),
        Err(error) => println!("apt-get cannot be run: {error}"),
    }
}

/// Whether this process may do what only root may.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    effective.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
