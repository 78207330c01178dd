//! Containers without root: a user namespace in which the pool's user is root, and nobody else is anybody.
//!
//! Launchers of containers are forks of a process that has entered one and was then executed again in it: what is executed
//! there belongs to the namespace, memory and all, so that other processes of the same user may join a task by its
//! descriptor, as those of root may. Each container has one more in it, in which the kernel counts its processes. There is one
//! id inside; files of all others show as nobody's, and stay theirs.
//! What that means for a root put together of the machine's own: [`super::pieces`], `docs/decisions/0092-containers-without-root.md`.

use super::layer;
use super::privileges;
use super::sys::{self, Side};
use crate::folder::remove_tree;
use crate::tolerate;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Resource, Rlimit, WaitOptions};
use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the user of this process root of a new user namespace with mounts of its own, into which later mounts of the machine
/// come. The process must have one thread.
///
/// # Errors
/// The machine does not let its users have namespaces.
pub(super) fn enter() -> io::Result<()> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    become_root(own)?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(c"/", propagation)?)
}

/// Makes who had these ids outside root of the user namespace that this process has just come into.
///
/// # Errors
/// Somebody else did.
pub(super) fn become_root((uid, gid): (u32, u32)) -> io::Result<()> {
    // Else the kernel lets nobody but root say which groups there are.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Lets this process and all others of its user namespace be so many together. A kernel before 5.14 counts those of the same user
/// everywhere, so there nothing is set.
///
/// # Errors
/// The kernel refused.
pub(super) fn limit_processes(most: u64) -> io::Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (5, 14) || most == 0 {
        return Ok(());
    }
    let before = rustix::process::getrlimit(Resource::Nproc);
    let most = before.maximum.map_or(most, |before| before.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    Ok(rustix::process::setrlimit(Resource::Nproc, limit)?)
}

/// Becomes a launcher with these words in a user namespace.
pub(super) fn again(words: &[&str]) -> ExitCode {
    let argv = ["pond", super::ARG].iter().chain(words).map(|word| CString::new(*word));
    let Ok(argv) = argv.collect::<Result<Vec<CString>, _>>() else { return ExitCode::from(65) };
    if enter().is_err() {
        return ExitCode::from(71);
    }
    drop(sys::execve(c"/proc/self/exe", &argv, &[]));
    ExitCode::from(71)
}

/// Printed where the kernel keeps a namespace to a number of processes.
const COUNTED: &str = "counted";
const NO_OVERLAY: &str = "the state folder cannot hold the layers of containers";
/// Of the trial's process: it was kept to no number.
const UNCOUNTED: i32 = 255;

/// Tries in an empty folder all that a container needs, and prints what did not work, or [`COUNTED`].
pub(super) fn try_in(room: &Path) -> ExitCode {
    let (text, code) = match trial(room) {
        Ok(true) => (COUNTED.to_owned(), ExitCode::SUCCESS),
        Ok(false) => (String::new(), ExitCode::SUCCESS),
        Err((step, why)) => (format!("{step}: {why}"), ExitCode::FAILURE),
    };
    tolerate(io::stdout().write_all(text.as_bytes()));
    code
}

/// Whether the number of processes is kept, when all else works.
fn trial(room: &Path) -> Result<bool, (&'static str, io::Error)> {
    let at = |step: &'static str| move |why| (step, why);
    enter().map_err(at("a user namespace cannot be made"))?;
    layer::overlay_in(room, true).map_err(at(NO_OVERLAY))?;
    let step = "the processes of a namespace cannot be shown";
    let inside = || -> io::Result<bool> {
        become_root((0, 0))?;
        sys::unshare(libc::CLONE_NEWNS)?;
        // Refused where a part of the machine's own /proc is covered, as in most containers.
        rustix::mount::mount(c"proc", room.join("lower"), c"proc", MountFlags::empty(), None)?;
        privileges::drop_all()?;
        limit_processes(1)?;
        match sys::fork() {
            Ok(Side::Child) => sys::exit_now(0),
            Ok(Side::Parent(_)) => Ok(false),
            Err(_) => Ok(true),
        }
    };
    let flags = sys::CONTAINER_NAMESPACES | sys::USER_NAMESPACE;
    match sys::clone3(flags, None).map_err(at(step))? {
        Side::Child => sys::exit_now(match inside() {
            Ok(true) => 0,
            Ok(false) => UNCOUNTED,
            Err(why) => why.raw_os_error().unwrap_or(libc::EIO),
        }),
        Side::Parent(pid) => {
            let pid = rustix::process::Pid::from_raw(pid);
            let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(pid, WaitOptions::empty()));
            match ended.ok().flatten().and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(true),
                Some(UNCOUNTED) => Ok(false),
                code => Err((step, io::Error::from_raw_os_error(code.unwrap_or(libc::EIO)))),
            }
        }
    }
}

/// Whether a user namespace of this machine holds containers, and if so whether it keeps them to a number of processes.
///
/// # Errors
/// What does not work; of the kind `Unsupported` when it is the state folder that cannot hold an overlay.
pub(crate) fn try_with(launcher: &[OsString], state: &Path) -> io::Result<bool> {
    let (program, args) = launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // Two tasks may be the first at the same moment.
    static TRIED: AtomicU64 = AtomicU64::new(0);
    let number = TRIED.fetch_add(1, Ordering::Relaxed);
    let room = state.join(format!("user-trial-{}-{number}", std::process::id()));
    tolerate(remove_tree(&room));
    fs::create_dir(&room)?;
    let mut command = Command::new(program);
    command.args(args).arg("try-user").arg(&room).env_clear().stdin(Stdio::null());
    let output = command.output();
    tolerate(remove_tree(&room));
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text == COUNTED),
        false if text.starts_with(NO_OVERLAY) => Err(io::Error::new(io::ErrorKind::Unsupported, text)),
        false => Err(io::Error::other(text)),
    }
}
