//! Control groups of a user who is not root: those that were handed over.
//!
//! In version 2 whoever owns a group makes groups below it, and a process is moved by who may write to the group above both
//! the one it is in and the one it comes to. So a pool without root has to be in a group of its own: one it was started in
//! (`systemd-run --user --scope -p Delegate=yes`, a service with `Delegate=yes`), or a scope that the service manager of its
//! user makes at its request. That manager, and every scope of it, ends with the user's last session unless the user
//! *lingers*; a pool that would be ended so stays where it is.

use super::leaf::LEAF;
use super::read_text;
use rustix::fs::Access;
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How systemd marks a group that it hands over (since 251).
const MARK: &str = "user.delegate";
/// How long a scope may take to be there, and the manager to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a user has no groups of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Only version 2 of control groups can be handed over.
    Version1,
    /// No service manager of this user answers.
    Manager,
    /// What the manager runs for this user ends with the last session.
    Lingering,
    /// The manager made no scope, or one that holds no limits.
    Refused,
}

impl Without {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Version1 => "boot with version 2 of control groups, or run the pool as root",
            Self::Manager => {
                "start the pool where systemd runs services of yours and their bus is there (package dbus-user-session), or in a \
                 group that is handed to it (`systemd-run --user --scope -p Delegate=yes pond up`), or as root"
            }
            Self::Lingering => {
                "say `loginctl enable-linger` once, and start the pool again; or run it as root"
            }
            Self::Refused => {
                "start the pool in a group that is handed to it (`systemd-run --user --scope -p Delegate=yes pond up`), or as root"
            }
        }
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version1 => "no group could be made",
            Self::Manager => "no group was handed to this user, and no service manager of theirs answers",
            Self::Lingering => "the groups that systemd makes for this user end with the last session",
            Self::Refused => "the service manager of this user made no group with limits",
        })
    }
}

/// Whether a pool of this user would have groups below `root`; nothing is done for it.
///
/// # Errors
/// Why not.
pub(super) fn look(root: &Path) -> Result<(), Without> {
    if own(root).is_some_and(|dir| is_handed(root, &dir)) { Ok(()) } else { Manager::reach().map(drop) }
}

/// The group below which this process may make others and move its children into them. If there is none, a scope is asked for,
/// and the process is in it then.
///
/// # Errors
/// Why there is none.
pub(super) fn take(root: &Path, name: &str) -> Result<PathBuf, Without> {
    let handed = || own(root).filter(|dir| is_handed(root, dir));
    if let Some(dir) = handed() {
        return Ok(dir);
    }
    Manager::reach()?.make_scope(name)?;
    // The answer tells of a job that was begun.
    let end = Instant::now() + PATIENCE;
    loop {
        match handed() {
            Some(dir) => return Ok(dir),
            None if Instant::now() > end => return Err(Without::Refused),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The group of this process, or the one whose leaf it was moved into by a pool.
fn own(root: &Path) -> Option<PathBuf> {
    let text = read_text(Path::new("/proc/self/cgroup"));
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let dir = root.join(path);
    if dir.file_name().is_some_and(|name| name == LEAF) {
        dir.parent().map(Path::to_path_buf)
    } else {
        Some(dir)
    }
}

/// Whether this group itself was handed over, and not one above it: systemd does not expect others in a terminal's or a service's
/// group that it did not hand over, though they belong to the user.
fn is_handed(root: &Path, dir: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let is_users = |dir: &Path| fs::metadata(dir).is_ok_and(|meta| meta.uid() == user);
    let may_write = |file: &str| rustix::fs::access(dir.join(file), Access::WRITE_OK).is_ok();
    let begins_here = || dir == root || dir.parent().is_some_and(|above| !is_users(above));
    is_users(dir)
        && may_write("cgroup.procs")
        && may_write("cgroup.subtree_control")
        && has_limits(&read_text(&dir.join("cgroup.controllers")))
        && (begins_here() || is_marked(dir) || is_scope_of_ours(dir))
}

fn is_marked(dir: &Path) -> bool {
    let mut mark = [0_u8; 8];
    rustix::fs::getxattr(dir, MARK, &mut mark).is_ok_and(|len| mark.get(..len) == Some(b"1".as_slice()))
}

/// Older managers leave no mark.
fn is_scope_of_ours(dir: &Path) -> bool {
    dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.starts_with("pond-") && Path::new(name).extension().is_some_and(|end| end == "scope")
    })
}

/// Whether one of these controllers limits something.
fn has_limits(controllers: &str) -> bool {
    controllers.split_ascii_whitespace().any(|name| matches!(name, "cpu" | "memory" | "pids"))
}

/// The service manager of this user.
struct Manager {
    runtime: PathBuf,
}

impl Manager {
    /// # Errors
    /// It is not there, or ends what it runs with the last session.
    fn reach() -> Result<Self, Without> {
        let user = rustix::process::geteuid().as_raw();
        let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let runtime = named.unwrap_or_else(|| PathBuf::from(format!("/run/user/{user}")));
        let is_socket = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if !is_socket(runtime.join("bus")) || !runtime.join("systemd").is_dir() {
            return Err(Without::Manager);
        }
        let manager = Self { runtime };
        let user = user.to_string();
        let lingers = manager.ask("loginctl", &["show-user", &user, "--property=Linger", "--value"]);
        match lingers.as_deref().map(str::trim) {
            Some("yes") => Ok(manager),
            Some(_) => Err(Without::Lingering),
            None => Err(Without::Manager),
        }
    }

    /// Has this process moved into a scope of its own that is handed over. Its name is new each time: tasks of a server before this
    /// one keep theirs.
    fn make_scope(&self, name: &str) -> Result<(), Without> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let unit = format!("{name}-{now}.scope");
        let process = std::process::id().to_string();
        let call = [
            "--user",
            "call",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "StartTransientUnit",
        ];
        // A name, what to do when it is taken, three properties, no units beside it.
        let what = ["ssa(sv)a(sa(sv))", &unit, "fail", "3"];
        let properties =
            ["Description", "s", "Millpond", "Delegate", "b", "true", "PIDs", "au", "1", &process, "0"];
        let words: Vec<&str> = call.into_iter().chain(what).chain(properties).collect();
        self.ask("busctl", &words).map(drop).ok_or(Without::Refused)
    }

    /// What the program prints, if it succeeds.
    fn ask(&self, program: &str, words: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(words).env("XDG_RUNTIME_DIR", &self.runtime).env("LC_ALL", "C");
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", self.runtime.display()));
        let output = command.stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_by_the_controllers_that_limit() {
        assert!(has_limits("cpuset cpu io"));
        assert!(has_limits("pids\n"));
        assert!(!has_limits("cpuset io hugetlb misc"));
        assert!(!has_limits(""));
    }

    #[test]
    fn only_scopes_that_were_asked_for_are_ours() {
        assert!(is_scope_of_ours(Path::new("/sys/fs/cgroup/user.slice/app.slice/pond-0a-1.scope")));
        assert!(!is_scope_of_ours(Path::new("/sys/fs/cgroup/user.slice/app.slice/pond.service")));
        assert!(!is_scope_of_ours(Path::new("/sys/fs/cgroup/user.slice/session-1.scope")));
    }
}
