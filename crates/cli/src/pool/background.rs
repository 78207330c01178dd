//! A pool in the background: started by ourselves as a child that takes a session of its own, and left alone
//! as soon as it serves.

use super::down::is_running;
use super::{limits_of_this_user, log_file, state_dir};
use crate::args::{Globals, UpArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::verbs::Ctx;
use clap::ValueEnum as _;
use pond_server::api::types::Version;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take: replaying a long journal is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a starting pool.
const LOOK: Duration = Duration::from_millis(5);

/// A pool that serves.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its URL.
    pub address: String,
    /// Its process.
    pub pid: u32,
    /// It did before we asked.
    pub already: bool,
}

/// The pool; when none is named and none runs here, one is started, and that is said.
///
/// # Errors
/// A pool that was named does not answer; none can be started.
pub fn ensure(ctx: &Ctx) -> Result<Client, CliError> {
    match ctx.client().and_then(|client| client.get::<Version>("/version", &()).map(|_| client)) {
        Ok(client) => Ok(client),
        Err(CliError::NoServer { .. } | CliError::Unreachable { .. }) if ctx.globals.server.is_none() => {
            if let Ok(job) = std::env::var("POND_JOB_ID") {
                return Err(CliError::Usage {
                    what: format!("this runs inside job {job}, and a job reaches no pool"),
                    next: Some("submit from outside of it, or name a pool with --server".to_owned()),
                });
            }
            let started = start(ctx, &UpArgs::default())?;
            if !started.already {
                limits_of_this_user(ctx);
                ctx.out.note(&format!(
                    "no pool was running: started one on this machine at {} (`pond down` stops it)",
                    started.address
                ));
            }
            ctx.client()
        }
        Err(why) => Err(why),
    }
}

/// Starts a pool in the background, unless one runs, and waits until it serves.
///
/// # Errors
/// It ended instead of serving, or took too long.
pub fn start(ctx: &Ctx, args: &UpArgs) -> Result<Started, CliError> {
    let globals = Globals { server: None, ..ctx.globals.clone() };
    let dir = state_dir(&globals);
    if let Some(running) = answers(&globals) {
        return Ok(Started { already: true, ..running });
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|why| CliError::io(format!("making {}", dir.display()), why))?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log_file(&dir))
        .map_err(|why| CliError::io(format!("opening {}", log_file(&dir).display()), why))?;
    let failed =
        |what: String| CliError::Pool { what, next: Some(format!("its log: {}", log_file(&dir).display())) };
    let deadline = Instant::now() + PATIENCE;
    let mut ours: Option<(Child, u64)> = None;
    loop {
        let over = ours.as_mut().is_some_and(|(child, _)| ended(child));
        match (answers(&globals), &ours) {
            (Some(running), Some((child, _))) if running.pid == child.id() => return Ok(running),
            // Somebody else's start was quicker than ours: one of them serves, that is enough.
            (Some(running), _) if over || ours.is_none() => return Ok(Started { already: true, ..running }),
            _ => {}
        }
        match &ours {
            // A server that starts will answer, and one that stops makes room.
            _ if (over || ours.is_none()) && is_running(&dir) => ours = None,
            None => {
                let said_before = log.metadata().map_or(0, |meta| meta.len());
                let log = log.try_clone().map_err(|why| CliError::io("starting the pool", why))?;
                ours = Some((spawn(&dir, args, log)?, said_before));
            }
            Some((_, said_before)) if over => {
                return Err(failed(format!("the pool did not start: {}", said_since(&dir, *said_before))));
            }
            Some(_) => {}
        }
        if Instant::now() > deadline {
            let which =
                ours.as_ref().map_or_else(String::new, |(child, _)| format!(" (process {})", child.id()));
            return Err(failed(format!("the pool{which} does not serve after {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

fn ended(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(Some(_)) | Err(_))
}

/// The pool of this state folder, if it answers.
pub fn answers(globals: &Globals) -> Option<Started> {
    let client = Client::find(globals).ok()?;
    let version: Version = client.get("/version", &()).ok()?;
    Some(Started { address: client.base().to_owned(), pid: version.pid, already: false })
}

fn spawn(dir: &Path, args: &UpArgs, log: File) -> Result<Child, CliError> {
    let failed = |why| CliError::io("starting the pool", why);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("up").arg("--daemon").arg("--state-dir").arg(dir);
    let mut flag = |name: &str, value: Option<&dyn std::fmt::Display>| {
        if let Some(value) = value {
            command.arg(format!("--{name}={value}"));
        }
    };
    flag("listen", args.listen.as_ref().map(|it| it as _));
    flag("node-name", args.node_name.as_ref().map(|it| it as _));
    let past = args.past_share.to_possible_value().map(|value| value.get_name().to_owned());
    flag("past-share", past.as_ref().map(|value| value as _));
    flag("reserve-cpu", (!args.reserve_cpu.is_empty()).then_some(&args.reserve_cpu as _));
    flag("reserve-memory", args.reserve_memory.as_ref().map(|it| it as _));
    flag("disk", args.disk.as_ref().map(|it| it as _));
    // It runs in another folder.
    let oidc = args.oidc.as_ref().map(std::path::absolute).transpose().map_err(failed)?;
    flag("oidc", oidc.as_ref().map(|it| it.display()).as_ref().map(|it| it as _));
    flag("cert", args.cert.as_ref().map(|it| it.display()).as_ref().map(|it| it as _));
    flag("key", args.key.as_ref().map(|it| it.display()).as_ref().map(|it| it as _));
    let errors = log.try_clone().map_err(failed)?;
    command
        .env_remove("POND_SERVER")
        .env_remove("POND_TOKEN")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(failed)
}

/// What the pool wrote to its log since then, on one line.
fn said_since(dir: &Path, since: u64) -> String {
    let mut text = String::new();
    let read = File::open(log_file(dir)).and_then(|mut file| {
        file.seek(SeekFrom::Start(since))?;
        file.take(4096).read_to_string(&mut text)
    });
    match read {
        Ok(_) if !text.trim().is_empty() => {
            text.trim().trim_start_matches("error:").trim().lines().collect::<Vec<_>>().join("; ")
        }
        _ => "it ended without a word".to_owned(),
    }
}
