//! Trials of what keeps tasks apart: namespaces, overlay, seccomp, networks.

use super::doctor::{Row, Scratch};
use crate::ground::in_mount_namespace;
use crate::launcher::layer;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io;
use std::process::{Command, Stdio};

const NO_CONTAINERS: &str = "no containers: jobs run as plain processes that see the whole machine";
const AS_ROOT: &str = "run the pool as root";
const ELSEWHERE: &str = "put the state folder on ext4, xfs or btrfs of this machine (`--state-dir`)";
const LET_USERS: &str = "run the pool as root, or let users have namespaces: `sysctl user.max_user_namespaces`, on Debian \
                         `kernel.unprivileged_userns_clone=1`, on Ubuntu `kernel.apparmor_restrict_unprivileged_userns=0`";

fn cure(why: &io::Error) -> &'static str {
    if why.kind() == io::ErrorKind::Unsupported { ELSEWHERE } else { LET_USERS }
}

/// Whether this process must be root to make namespaces, and is not.
fn is_contained() -> bool {
    !rustix::process::geteuid().is_root()
}

/// User, mount and process namespaces. Without root the last two, and an overlay, are to be had in the first alone.
pub(super) fn namespaces(scratch: &Scratch) -> Vec<Row> {
    let user = crate::launcher::user::try_with(&scratch.launcher, &scratch.folder);
    let without_root = match (&user, is_contained()) {
        (Ok(true), _) => {
            Row::ok("user namespace", "made; in it an overlay, and processes of its own in a limited number")
        }
        (Ok(false), _) => Row::degraded(
            "user namespace",
            "made; in it an overlay, and processes of its own in any number",
            "a fork bomb in a container of a pool without root takes the machine",
            "use Linux 5.14 or later",
        ),
        (Err(why), true) => Row::missing("user namespace", why.to_string(), NO_CONTAINERS, cure(why)),
        (Err(why), false) => Row::degraded(
            "user namespace",
            why.to_string(),
            "a pool without root would have no containers here",
            cure(why),
        ),
    };
    let other = |name: &str, tried: io::Result<()>| match (tried, &user) {
        (Ok(()), _) => Row::ok(name, "made"),
        (Err(_), Ok(_)) if is_contained() => Row::ok(name, "made in a user namespace"),
        (Err(why), _) => Row::missing(name, why.to_string(), NO_CONTAINERS, AS_ROOT),
    };
    let mount = other("mount namespace", in_mount_namespace(|| Ok(())));
    let process = other("process namespace", by_program(&["--pid", "--fork"]));
    vec![without_root, mount, process, overlay(scratch, user.is_ok())]
}

/// A process of several threads cannot enter a namespace of processes itself: a program of its own does.
fn by_program(flags: &[&str]) -> io::Result<()> {
    let mut command = Command::new("unshare");
    command.args(flags).arg("true").stdin(Stdio::null()).env("LC_ALL", "C");
    let output = command.output().map_err(|why| {
        io::Error::new(why.kind(), format!("cannot try it: the program `unshare` of util-linux: {why}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// An overlay as containers have it: an upper layer in the state folder, a file of the lower one hidden.
fn overlay(scratch: &Scratch, in_user_namespace: bool) -> Row {
    let tried = scratch.room("overlay").and_then(|room| layer::try_overlay(&room, false));
    // On an overlay, as in a container of one's own without a volume.
    let memory = || scratch.room("overlay-in-memory").and_then(|room| layer::try_overlay(&room, true));
    match tried {
        Ok(()) => Row::ok("overlay", "mounted, written, a lower file hidden"),
        Err(_) if in_user_namespace && is_contained() => {
            Row::ok("overlay", "in a user namespace: mounted, written, a lower file hidden")
        }
        Err(why) if memory().is_ok() => Row::degraded(
            "overlay",
            format!("in memory only; in the state folder: {why}"),
            "files that a task without a disk limit writes outside of volumes are its memory, and end with the pool",
            "put the state folder on ext4, xfs or btrfs: give the container a volume for it",
        ),
        Err(why) => Row::missing(
            "overlay",
            why.to_string(),
            NO_CONTAINERS,
            "put the state folder on ext4, xfs or btrfs, and run the pool as root",
        ),
    }
}

/// Unpacking images safely needs `openat2`.
pub(super) fn beneath(scratch: &Scratch) -> Vec<Row> {
    let tried =
        rustix::fs::open(&scratch.folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).and_then(|folder| {
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            rustix::fs::openat2(&folder, ".", flags, Mode::empty(), inside)?;
            match rustix::fs::openat2(&folder, "..", flags, Mode::empty(), inside) {
                Err(rustix::io::Errno::XDEV) => Ok(()),
                Err(why) => Err(why),
                Ok(_escaped) => Err(rustix::io::Errno::NOTSUP),
            }
        });
    vec![match tried {
        Ok(()) => Row::ok("openat2", "keeps paths inside a folder"),
        Err(why) => Row::missing(
            "openat2",
            why.to_string(),
            "no images from layouts or registries",
            "use Linux 5.6 or later",
        ),
    }]
}

/// A filter on a thread of its own, which ends with it.
pub(super) fn seccomp(_scratch: &Scratch) -> Vec<Row> {
    use crate::launcher::sys::{Instruction, install_filter};
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    let allow_all = [Instruction { code: RETURN, when_true: 0, when_false: 0, operand: ALLOW }];
    let tried = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true)?;
            install_filter(&allow_all)
        });
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the trial panicked")))
    });
    vec![match tried {
        Ok(()) => Row::ok("seccomp", "filter installed"),
        Err(why) => Row::missing(
            "seccomp",
            why.to_string(),
            "tasks may make system calls that they should not",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }]
}

/// Bridge, cable and nf_tables in a namespace that ends with the trial; and whether there is a way out.
pub(super) fn network(_scratch: &Scratch) -> Vec<Row> {
    let trial = crate::net::trial();
    let shared = "tasks share the machine's network: ports collide, and gangs see each other's";
    let links = match &trial.links {
        Ok(()) => Row::ok("network of tasks", "namespace, bridge and cable made"),
        Err(why) => Row::missing("network of tasks", why.to_string(), shared, AS_ROOT),
    };
    // Without links of their own they have the machine's.
    let lonely = if trial.links.is_ok() { "tasks in containers have no way to the internet" } else { shared };
    let table = match &trial.table {
        Ok(()) => Row::ok("nf_tables", "table with masquerade installed"),
        Err(why) => Row::degraded(
            "nf_tables",
            why.to_string(),
            lonely,
            "use a kernel with nf_tables and masquerade, and run the pool as root",
        ),
    };
    let route = match &trial.uplink {
        Some(link) => Row::ok("way out", format!("default route by {link}")),
        None => Row::degraded("way out", "no default route", lonely, "give the machine a default route"),
    };
    vec![links, table, route]
}
