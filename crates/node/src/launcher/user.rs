//! Containers without root: a user namespace in which the pool's user is root, and nobody else is anybody.
//!
//! Launchers of containers are forks of a process that has entered one and was then executed again in it: what is executed
//! there belongs to the namespace, memory and all, so that other processes of the same user may join a task by its
//! descriptor, as those of root may. There is one id inside; files of all others show as nobody's, and stay theirs.
//! What that means for a root put together of the machine's own: [`super::pieces`], `docs/decisions/0092-containers-without-root.md`.

use super::layer;
use super::sys::{self, Side};
use crate::folder::remove_tree;
use crate::tolerate;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::WaitOptions;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Makes the user of this process root of a new user namespace with mounts of its own, into which later mounts of the machine
/// come. The process must have one thread.
///
/// # Errors
/// The machine does not let its users have namespaces.
pub(super) fn enter() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    // Else the kernel lets nobody but root say which groups there are.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(c"/", propagation)?)
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

/// Tries in an empty folder all that a container needs, and says on standard error what did not work.
pub(super) fn try_in(room: &Path) -> ExitCode {
    match trial(room) {
        Ok(()) => ExitCode::SUCCESS,
        Err((step, why)) => {
            eprint_reason(step, &why);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "read by the agent that asked")]
fn eprint_reason(step: &str, why: &io::Error) {
    eprintln!("{step}: {why}");
}

fn trial(room: &Path) -> Result<(), (&'static str, io::Error)> {
    let at = |step: &'static str| move |why| (step, why);
    enter().map_err(at("a user namespace cannot be made"))?;
    layer::overlay_in(room, true).map_err(at("an overlay cannot be mounted in a user namespace"))?;
    let step = "the processes of a namespace cannot be shown";
    match sys::clone3(sys::CONTAINER_NAMESPACES, None).map_err(at(step))? {
        Side::Child => {
            // Refused where a part of the machine's own /proc is covered, as in most containers.
            let mounted =
                rustix::mount::mount(c"proc", room.join("lower"), c"proc", MountFlags::empty(), None);
            sys::exit_now(mounted.map_or_else(rustix::io::Errno::raw_os_error, |()| 0))
        }
        Side::Parent(pid) => {
            let pid = rustix::process::Pid::from_raw(pid);
            let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(pid, WaitOptions::empty()));
            let code = ended.ok().flatten().and_then(|(_, status)| status.exit_status());
            match code {
                Some(0) => Ok(()),
                code => Err((step, io::Error::from_raw_os_error(code.unwrap_or(libc::EIO)))),
            }
        }
    }
}

/// Whether a user namespace of this machine holds containers.
///
/// # Errors
/// What does not work.
pub(crate) fn try_with(launcher: &[OsString], state: &Path) -> io::Result<()> {
    let (program, args) = launcher.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let room = state.join(format!("user-trial-{}", std::process::id()));
    fs::create_dir(&room)?;
    let mut command = std::process::Command::new(program);
    command.args(args).arg("try-user").arg(&room).env_clear().stdin(std::process::Stdio::null());
    let output = command.output();
    tolerate(remove_tree(&room));
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}
