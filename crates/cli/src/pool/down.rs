//! `pond down`: the pool of this machine ends, and with it (unless kept) all that it started.

use super::{background, log_file, state_dir};
use crate::args::{DownArgs, UpArgs};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::Progress;
use crate::term;
use crate::verbs::Ctx;
use crate::verbs::act::confirm;
use pond_server::api::types::{ShutdownBody, State, StatusView};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long tasks may take to end before the pool is told with a signal, and after that again before we give up.
const PATIENCE: Duration = Duration::from_secs(90);

/// `pond down`.
///
/// # Errors
/// It does not end.
pub fn down(ctx: &Ctx, args: DownArgs) -> Done {
    let dir = state_dir(&ctx.globals);
    if ctx.globals.server.is_some() {
        // Another machine's pool: it can be asked, and not be watched.
        let client = ctx.client()?;
        client.post::<serde_json::Value>("/shutdown", &ShutdownBody { keep: args.keep })?;
        ctx.out.said(&format!("{} was asked to stop", client.base()))?;
        return Ok(codes::OK);
    }
    if !is_running(&dir) {
        if args.keep || !has_tasks(&dir) {
            ctx.out.note(&format!("no pool runs here ({})", dir.display()));
            return Ok(codes::OK);
        }
        if !args.yes && !term::is_interactive() {
            return Err(unasked("tasks of the pool that was here run on"));
        }
        ctx.out.note("no pool runs here, but its tasks are still there: starting it to end them");
        background::start(ctx, &UpArgs::default())?;
    }
    let asked = ctx.client().and_then(|client| ask(ctx, &client, args));
    match asked {
        Ok(true) => {}
        Ok(false) => return Ok(codes::FAILED),
        Err(CliError::Unreachable { .. } | CliError::NoServer { .. }) => {
            ctx.out.warn("the pool does not answer; telling its process to end");
            signal(&dir, ending(args));
        }
        Err(why) => return Err(why),
    }
    // Another one may start as soon as this one has ended.
    let server = pid(&dir);
    let mut progress = Progress::default();
    if !gone_within(&dir, server, PATIENCE, &mut progress) {
        signal(&dir, ending(args));
        if !gone_within(&dir, server, Duration::from_secs(10), &mut progress) {
            return Err(CliError::Pool {
                what: "the pool does not end".to_owned(),
                next: Some(format!(
                    "see {}; `kill -9 {}` ends it, and `pond up` picks its tasks up",
                    log_file(&dir).display(),
                    pid(&dir)
                )),
            });
        }
    }
    drop(progress);
    let what = if args.keep {
        "the pool has stopped; its tasks go on, `pond up` takes them over"
    } else {
        "the pool has stopped"
    };
    ctx.out.said(what)?;
    Ok(codes::OK)
}

/// Asks the pool to end, after asking a person when something runs; false when that person says no. What waits is no loss: the
/// next pool goes on with it.
fn ask(ctx: &Ctx, client: &Client, args: DownArgs) -> Result<bool, CliError> {
    if !args.keep && !args.yes {
        let view: StatusView = client.get("/status", &())?;
        let runs = [State::Starting, State::Running, State::Frozen, State::Stopping];
        let running: u64 = runs.iter().filter_map(|state| view.elements.get(state.as_str())).sum();
        let what = if running == 1 { "1 job runs".to_owned() } else { format!("{running} jobs run") };
        if running > 0 && !term::is_interactive() {
            return Err(unasked(&what));
        }
        if running > 0 && !confirm(&format!("{what}; stop with the pool?"), false)? {
            ctx.out.note("nothing was done; `pond down --keep` leaves them running");
            return Ok(false);
        }
    }
    client.post::<serde_json::Value>("/shutdown", &ShutdownBody { keep: args.keep })?;
    Ok(true)
}

fn unasked(what: &str) -> CliError {
    CliError::Usage {
        what: format!("{what}, and there is no terminal to ask on whether to stop them"),
        next: Some("`pond down -y` stops them, `pond down --keep` leaves them running".to_owned()),
    }
}

/// Whether a server holds the state folder.
pub(super) fn is_running(dir: &Path) -> bool {
    // The lock goes with the process, however it ended; a file that is not there was never locked.
    File::open(dir.join("server.pid"))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Whether a task was started under this state folder and has left no word of its end:
/// `tasks/JOB/INDEX.RANK/GENERATION/ended` is that word.
fn has_tasks(dir: &Path) -> bool {
    let below = |dir: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let generations =
        below(&dir.join("tasks")).into_iter().flat_map(|job| below(&job)).flat_map(|task| below(&task));
    generations.into_iter().any(|folder| folder.is_dir() && !folder.join("ended").exists())
}

fn gone_within(dir: &Path, server: i32, span: Duration, progress: &mut Progress) -> bool {
    let began = Instant::now();
    while is_running(dir) && pid(dir) == server {
        if began.elapsed() > span {
            return false;
        }
        if began.elapsed() > Duration::from_secs(1) {
            progress.step("waiting for tasks to end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Ctrl-C ends the tasks too, SIGTERM leaves them.
const fn ending(args: DownArgs) -> Signal {
    if args.keep { Signal::TERM } else { Signal::INT }
}

fn pid(dir: &Path) -> i32 {
    let text = std::fs::read_to_string(dir.join("server.pid")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn signal(dir: &Path, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid(dir)).filter(|_| is_running(dir)) {
        // It may end by itself between the look and the signal.
        kill_process(pid, signal).unwrap_or_default();
    }
}
