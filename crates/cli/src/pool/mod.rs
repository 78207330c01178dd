//! The pool on this machine: `pond up`, `pond down`, `pond doctor`, and the one `pond run` starts by itself.

mod background;
mod doctor;
mod down;
mod glue;
mod left;
mod serve;

pub use background::ensure;
pub use doctor::doctor;
pub use down::down;
pub use left::left_files;

use crate::args::{Globals, UpArgs};
use crate::error::{Done, codes};
use crate::verbs::Ctx;
use std::path::{Path, PathBuf};

/// Folder of the pool on this machine: as flags or environment say, `/var/lib/pond` for root, else under the
/// user's state folder.
#[must_use]
pub fn state_dir(globals: &Globals) -> PathBuf {
    if let Some(dir) = &globals.state_dir {
        return dir.clone();
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/pond");
    }
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path("XDG_STATE_HOME")
        .or_else(|| path("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("pond")
}

/// What a pool of this user cannot do, if anything.
fn limits_of_this_user(ctx: &Ctx) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let limits = match pond_node::cgroup::look_for_handed() {
        Ok(()) => "",
        Err(_) => "there are no limits of CPU and memory, and ",
    };
    match pond_node::probe::user_containers(&state_dir(&ctx.globals)) {
        Ok(()) => ctx.out.note(&format!(
            "without root {limits}tasks share the machine's network and one user; `pond doctor` says what is missing"
        )),
        Err(why) => ctx.out.note(&format!(
            "without root {limits}there are no containers here ({why}): submit with `--isolation process`; \
             `pond doctor` says what is missing"
        )),
    }
}

/// Where the pool in the background writes what it has to say.
#[must_use]
pub fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// `pond up`.
///
/// # Errors
/// The state folder is taken or cannot be written, or the address cannot be listened on.
pub fn up(ctx: &Ctx, args: &UpArgs) -> Done {
    if args.detach && !args.daemon {
        let started = background::start(ctx, args)?;
        let dir = state_dir(&ctx.globals);
        if ctx.out.format.is_data() {
            ctx.out.value(&serde_json::json!({
                "address": started.address, "pid": started.pid, "log": log_file(&dir), "already": started.already,
            }))?;
        } else {
            ctx.out.line(&started.address)?;
            if !started.already {
                limits_of_this_user(ctx);
            }
            let how = if started.already { "already serving" } else { "serving" };
            ctx.out.note(&format!(
                "{how} in the background (process {}); log: {}; stop with `pond down`",
                started.pid,
                log_file(&dir).display()
            ));
        }
        return Ok(codes::OK);
    }
    serve::serve(ctx, args)
}
