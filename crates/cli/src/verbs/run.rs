//! `pond run`: submit one job, stay with it, end as it ends.
//!
//! ```text
//! submit -> wait for a start (one line of progress) -> output -> the job's own exit code
//!              Ctrl-C once: stop, gracefully · twice: kill
//! ```

use super::Ctx;
use super::logs::Stream;
use super::session::{End, Hangup, code_of, connect};
use super::wait::{Ended, Waited, until_over};
use crate::args::{ColorWhen, RunArgs};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::jobs::{Prepared, from_command, from_file, from_script, submit};
use crate::out::{Out, Progress, clean};
use crate::pool::{ensure, left_files};
use crate::refs::JobRef;
use crate::term::{self, Signals};
use pond_core::model::JobSpec;
use pond_server::api::types::{ActionBody, JobDetail, JobSummary, State, WhyQuery, WhyView};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Between two looks at a job that has not started.
const LOOK: Duration = Duration::from_millis(200);
/// A start that takes less is not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// `pond run`.
///
/// # Errors
/// The command line or file is wrong, no pool can be reached or started, or it refuses.
pub fn run(ctx: &Ctx, args: &RunArgs) -> Done {
    let mut prepared = prepare(args)?;
    let here = std::env::current_dir().map_err(|why| CliError::io("finding this folder", why))?;
    prepared.work_in(&here);
    for warning in &prepared.warnings {
        ctx.out.warn(&clean(&warning.to_string()));
    }
    let mut draft = prepared.only()?;
    let tty = args.tty && !args.detach;
    if tty && !term::is_interactive() {
        return Err(CliError::usage("--tty needs a terminal"));
    }
    if args.interactive && args.detach && !args.tty {
        return Err(CliError::usage(
            "--interactive with --detach: nobody stays to pass the input on; name a file with --stdin",
        ));
    }
    Arc::make_mut(&mut draft.spec.run).tty |= args.tty;
    let client = ensure(ctx)?;
    let spool = if args.interactive && !args.tty { Some(spool(ctx, &mut draft.spec)?) } else { None };
    let submitted = submit(&client, &draft, &[])?;
    for warning in &submitted.warnings {
        ctx.out.warn(&clean(warning));
    }
    if args.detach {
        return detached(ctx, &client, &submitted.job);
    }
    let done = stay(ctx, &client, &submitted.job, tty);
    if args.notify
        && let Ok(Waited::Over(ended)) =
            until_over(&client, JobRef::job(submitted.job.id), Some(Instant::now()))
    {
        super::wait::tell(ctx, &ended);
    }
    if args.rm {
        // What is kept of it is no loss; the job's own end is what counts.
        client.delete(&JobRef::job(submitted.job.id).path("")).unwrap_or_default();
    }
    drop(spool);
    done
}

/// A job file, a script with lines for us, or a command.
fn prepare(args: &RunArgs) -> Result<Prepared, CliError> {
    let [first, rest @ ..] = &args.command[..] else { return from_command(&[], &args.job) };
    if first.starts_with('-') {
        return Err(CliError::Usage {
            what: format!("`{}` is no flag of `pond run`", clean(first)),
            next: Some(near(first)),
        });
    }
    let path = Path::new(first);
    let extension = path.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    match extension {
        "yaml" | "yml" | "toml" | "json" if rest.is_empty() && path.is_file() => from_file(path, &args.job),
        _ if is_script(path, extension) => from_script(path, rest, &args.job),
        _ => from_command(&args.command, &args.job),
    }
}

/// What to write instead of a flag that is none.
fn near(word: &str) -> String {
    use clap::CommandFactory as _;
    let command = crate::args::Cli::command();
    let run = command.find_subcommand("run").into_iter().flat_map(clap::Command::get_arguments);
    let flags: Vec<&str> = run.filter_map(clap::Arg::get_long).collect();
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    match pond_spec::nearest(name, flags) {
        Some(flag) => format!("did you mean `--{flag}`? `pond run --help` lists all of them"),
        None => "`pond run --help` lists all of them; flags stand before the command".to_owned(),
    }
}

/// Whether a file is a shell script with `#POND` or `#SBATCH` lines, or one that could not be run by its name.
fn is_script(path: &Path, extension: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(meta) = path.metadata() else { return false };
    if !meta.is_file() || meta.len() > pond_spec::MAX_BYTES as u64 {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let asks = text.lines().any(|line| line.starts_with("#POND") || line.starts_with("#SBATCH"));
    let shell = matches!(extension, "sh" | "bash" | "sbatch" | "slurm");
    asks || (shell && meta.permissions().mode() & 0o111 == 0)
}

fn detached(ctx: &Ctx, client: &Client, job: &JobSummary) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(job)?;
    } else {
        ctx.out.line(&job.id.to_string())?;
    }
    match hopeless(client, JobRef::job(job.id)) {
        Some(sentence) => Err(CliError::CannotPlace { sentence }),
        None => Ok(codes::OK),
    }
}

/// Why waiting cannot help, if it cannot.
#[must_use]
pub fn hopeless(client: &Client, job: JobRef) -> Option<String> {
    why(client, job).and_then(|view| view.infeasible.then_some(view.sentence))
}

fn why(client: &Client, job: JobRef) -> Option<WhyView> {
    client.get(&job.path("/why"), &WhyQuery { index: job.index }).ok()
}

/// Whether a job that waits was ever seen to have a chance. One that has none from the start is taken back; one that
/// loses it while it waits (a device turns sick, a limit is lowered) waits on, for what was lost may come back.
#[derive(Debug, Default)]
struct Hope {
    seen: bool,
}

impl Hope {
    /// Takes a job back that can never start; says why.
    fn lost(&mut self, client: &Client, job: JobRef, state: State) -> Result<Option<String>, CliError> {
        if self.seen || !matches!(state, State::Waiting | State::Infeasible) {
            return Ok(None);
        }
        let Some(view) = why(client, job) else { return Ok(None) };
        if !view.infeasible {
            self.seen = view.nodes > 0;
            return Ok(None);
        }
        let body = ActionBody { now: true, ..ActionBody::default() };
        client.post::<JobSummary>(&job.path("/stop"), &body)?;
        Ok(Some(format!("{} Job {job} was stopped.", view.sentence)))
    }
}

/// Stays with a job to its end: shows its output, passes Ctrl-C on, and gives back its exit code.
///
/// # Errors
/// The pool stays away, or the job can never start.
pub fn stay(ctx: &Ctx, client: &Client, job: &JobSummary, tty: bool) -> Done {
    let id = JobRef::job(job.id);
    if std::io::stderr().is_terminal() {
        ctx.out.note(&format!("{} {}", job.id, clean(&job.name)));
    }
    stop_on_signals(ctx, client, id, tty)?;
    let gone = client.clone();
    // As the shell would end a program whose reader has gone.
    term::when_reader_gone(move || {
        stop_unread(&gone, id);
        std::process::exit(i32::from(codes::PIPE));
    });
    if tty && started(client, id)? {
        match connect(client, id, true, Hangup::Reaches) {
            Ok(End::Detached) => {
                ctx.out.note(&format!("\n{id} goes on; `pond attach {id}` comes back to it"));
                return Ok(codes::OK);
            }
            Ok(End::Exit(_) | End::Lost | End::Silent(_)) => {}
            // It was over before we came: its output is in its log.
            Err(CliError::Refused(_) | CliError::Pool { .. }) => copy(ctx, client, id, job)?,
            Err(why) => return Err(why),
        }
    } else {
        // A write may find the reader gone before the watch above does, and what we return ends the process.
        copy(ctx, client, id, job).inspect_err(|why| {
            if matches!(why, CliError::PipeClosed) {
                stop_unread(client, id);
            }
        })?;
    }
    let Waited::Over(ended) = until_over(client, id, None)? else { return Ok(codes::FAILED) };
    told(ctx, client, &ended);
    Ok(code_of(ended.code))
}

/// Stops a job whose output nobody reads any more; there is nobody to tell that it could not be done.
fn stop_unread(client: &Client, id: JobRef) {
    client.post::<JobSummary>(&id.path("/stop"), &ActionBody::default()).map(drop).unwrap_or_default();
}

/// The output, after one line of progress while nothing comes.
fn copy(ctx: &Ctx, client: &Client, id: JobRef, job: &JobSummary) -> Result<(), CliError> {
    let began = Arc::new(AtomicBool::new(false));
    let waiting = {
        let (client, began) = (client.clone(), Arc::clone(&began));
        std::thread::spawn(move || until_started(&client, id, &began))
    };
    let mut stream = Stream::new(ctx, client.clone(), id, job);
    stream.query.follow = Some(true);
    stream.query.parts = (!ctx.out.format.is_data()).then_some(true);
    stream.apart = true;
    let flag = Arc::clone(&began);
    stream.before_first_line(move || flag.store(true, Ordering::Relaxed));
    let copied = stream.copy();
    began.store(true, Ordering::Relaxed);
    match waiting.join() {
        Ok(Some(sentence)) => Err(CliError::CannotPlace { sentence }),
        _ => copied,
    }
}

/// Shows why nothing happens yet; a job that can never start is stopped, and the reason given back.
fn until_started(client: &Client, job: JobRef, began: &AtomicBool) -> Option<String> {
    let since = Instant::now();
    let mut progress = Progress::default();
    let mut pause = Duration::from_millis(50);
    let mut hope = Hope::default();
    while !began.load(Ordering::Relaxed) {
        std::thread::sleep(pause);
        pause = LOOK;
        // A pool that is away for a moment is none of our business: the stream waits for it.
        let Ok(detail) = client.get::<JobDetail>(&job.path(""), &()) else { continue };
        let state = detail.summary.state;
        if !matches!(state, State::Waiting | State::Infeasible | State::Starting) {
            return None;
        }
        // The stream ends with the job; if it cannot be stopped the stream goes on.
        if let Some(sentence) = hope.lost(client, job, state).ok()? {
            return Some(sentence);
        }
        if since.elapsed() > PATIENCE && !began.load(Ordering::Relaxed) {
            progress.step(&step(&detail));
        }
    }
    None
}

fn step(detail: &JobDetail) -> String {
    let doing = detail.gangs.iter().flat_map(|gang| &gang.tasks).find_map(|task| task.progress.as_deref());
    let state = detail.summary.state.as_str();
    match doing.or(detail.summary.reason.as_deref()) {
        Some(text) => format!("{}: {state}: {text}", detail.summary.id),
        None => format!("{}: {state}", detail.summary.id),
    }
}

/// Waits until there is something to connect to; false when it was over at once.
fn started(client: &Client, job: JobRef) -> Result<bool, CliError> {
    let mut progress = Progress::default();
    let since = Instant::now();
    let mut hope = Hope::default();
    loop {
        let detail: JobDetail = client.get(&job.path(""), &())?;
        match detail.summary.state {
            State::Running | State::Frozen => return Ok(true),
            state if state.is_over() => return Ok(false),
            state => {
                if let Some(sentence) = hope.lost(client, job, state)? {
                    return Err(CliError::CannotPlace { sentence });
                }
            }
        }
        if since.elapsed() > PATIENCE {
            progress.step(&step(&detail));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ctrl-C asks the job to stop, and the second one kills it. On a terminal of its own it gets the key itself.
fn stop_on_signals(ctx: &Ctx, client: &Client, job: JobRef, tty: bool) -> Result<(), CliError> {
    let caught: &[i32] = if tty { &[SIGTERM, SIGHUP] } else { &[SIGINT, SIGTERM, SIGHUP] };
    let mut signals = Signals::catch(caught).map_err(|why| CliError::io("catching Ctrl-C", why))?;
    let client = client.clone();
    let out = Out { color: false, ..Out::new(&ctx.globals) };
    let quiet = ctx.globals.color == ColorWhen::Never && !std::io::stderr().is_terminal();
    std::thread::spawn(move || {
        let mut asked = false;
        loop {
            if signals.wait(None).is_empty() {
                continue;
            }
            let body = ActionBody { now: asked, ..ActionBody::default() };
            if !quiet {
                out.note(if asked { "killing it" } else { "stopping it (Ctrl-C again kills it)" });
            }
            if let Err(why) = client.post::<JobSummary>(&job.path("/stop"), &body)
                && asked
            {
                out.warn(&why.to_string());
            }
            asked = true;
        }
    });
    Ok(())
}

/// What is worth knowing after the end: how it failed, and files that would otherwise be forgotten.
fn told(ctx: &Ctx, client: &Client, ended: &Ended) {
    let summary = &ended.detail.summary;
    if ended.state != State::Succeeded
        && let Some(reason) = &summary.reason
    {
        ctx.out.note(&format!("{}: {}: {}", summary.id, ended.state.as_str(), clean(reason)));
    }
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (files, more) = left_files(&ctx.globals, client, &ended.detail);
    if let Some(first) = files.first() {
        let others = match files.len() + more {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        ctx.out.note(&format!(
            "it left {}{others} in its own layer; `pond cp {}:{} .` brings it here",
            clean(&first.to_string_lossy()),
            summary.id,
            clean(&first.to_string_lossy())
        ));
    }
}

/// Copies standard input to its end into a file that the job reads, which is taken away again when it is dropped.
fn spool(ctx: &Ctx, spec: &mut JobSpec) -> Result<NamedTempFile, CliError> {
    if ctx.globals.server.is_some() {
        return Err(CliError::usage(
            "--interactive without --tty works with the pool of this machine only; name a file of that one with --stdin",
        ));
    }
    if spec.run.tty {
        return Err(CliError::usage("the job has a terminal, which it reads from: connect to it with --tty"));
    }
    if spec.run.stdin.is_some() {
        return Err(CliError::usage(
            "--interactive and a job with `stdin`: it reads one of them; leave out the other",
        ));
    }
    let failed = |why| CliError::io(format!("writing to {}", std::env::temp_dir().display()), why);
    let mut file = tempfile::Builder::new().prefix("pond-stdin-").tempfile().map_err(failed)?;
    std::io::copy(&mut std::io::stdin().lock(), file.as_file_mut()).map_err(failed)?;
    let path = file.path().to_string_lossy().into_owned();
    Arc::make_mut(&mut spec.run).stdin = Some(path);
    Ok(file)
}
