//! `pond`: the command line of a pool, the pool's server in one process, and the launcher of its tasks.
//!
//! Three programs in one binary: called as `pond __launch` it is the process that stands by a task; called as
//! `sbatch`, `srun`, `squeue`, `scancel`, `scontrol`, `sinfo` or `sacct` it speaks Slurm's tongue; otherwise it is `pond`.

pub mod args;
pub mod client;
pub mod desktop;
pub mod error;
pub mod jobs;
pub mod mcp;
pub mod out;
pub mod pool;
pub mod refs;
pub mod slurm;
pub mod term;
pub mod verbs;
pub mod watch;

use args::{Cli, Globals, ImportVerb, Verb};
use clap::Parser as _;
use clap::error::ErrorKind;
use error::{CliError, Done, codes};
use out::{Out, Style, clean};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use verbs::Ctx;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == pond_node::launcher::ARG) {
        return pond_node::launcher::main(args.get(2..).unwrap_or_default());
    }
    let called = args.first().map(|path| Path::new(path).file_name().unwrap_or_default().to_owned());
    let called = called.unwrap_or_default().to_string_lossy().into_owned();
    let done = match slurm::Shim::named(&called) {
        Some(shim) => {
            let words: Vec<String> =
                args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
            let globals =
                Globals { server: env("POND_SERVER"), token: env("POND_TOKEN"), ..Globals::default() };
            let globals = Globals {
                state_dir: env("POND_STATE_DIR").map(Into::into),
                ca: env("POND_CA").map(Into::into),
                ..globals
            };
            let ctx = Ctx { out: Out::new(&globals), globals };
            ended(&ctx.out, slurm::run(&ctx, shim, &words))
        }
        None => match Cli::try_parse_from(&args) {
            Ok(cli) => {
                let ctx = Ctx { out: Out::new(&cli.globals), globals: cli.globals };
                ended(&ctx.out, dispatch(&ctx, cli.verb))
            }
            Err(error) => usage(&error),
        },
    };
    ExitCode::from(done)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn ended(out: &Out, done: Done) -> u8 {
    done.unwrap_or_else(|why| {
        report(out, &why);
        why.exit_code()
    })
}

/// What clap has to say: help goes to standard output with 0, errors to standard error with 64.
fn usage(error: &clap::Error) -> u8 {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => codes::OK,
        _ => codes::USAGE,
    };
    // Nobody reads it: the code says it all.
    drop(error.print());
    code
}

/// Tells a person what went wrong and what to do; a reader that has gone needs no telling.
pub fn report(out: &Out, error: &CliError) {
    if matches!(error, CliError::PipeClosed) {
        return;
    }
    let mut text = match error {
        // Already whole messages, each with its place and its next step.
        CliError::BadFile { messages } => format!("{}\n", messages.trim_end()),
        other => {
            let place = other.place().map(|place| format!("{}: ", clean(place))).unwrap_or_default();
            let message = other.to_string();
            let message: Vec<_> = message.lines().map(clean).collect();
            format!("{} {place}{}\n", Style::Red.paint(out.color_err, "error:"), message.join("\n"))
        }
    };
    if let Some(next) = error.next() {
        text.push_str(&format!("{} {}\n", Style::Dim.paint(out.color_err, "next:"), clean(&next)));
    }
    // Nobody reads standard error: the exit code says it all.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn dispatch(ctx: &Ctx, verb: Verb) -> Done {
    match verb {
        Verb::Up(args) => pool::up(ctx, &args),
        Verb::Down(args) => pool::down(ctx, args),
        Verb::Run(args) => verbs::run::run(ctx, &args),
        Verb::Apply(args) => verbs::apply::apply(ctx, &args),
        Verb::Plan(args) => verbs::apply::plan(ctx, &args),
        Verb::Ps(args) => verbs::list::ps(ctx, &args),
        Verb::Status(args) => verbs::status::status(ctx, &args),
        Verb::Logs(args) => verbs::logs::logs(ctx, &args),
        Verb::Exec(args) => verbs::session::exec(ctx, &args),
        Verb::Attach(args) => verbs::session::attach(ctx, &args),
        Verb::Forward(args) => verbs::forward::forward(ctx, &args),
        Verb::Cp(args) => verbs::copy::cp(ctx, &args),
        Verb::Why(args) => verbs::why::why(ctx, &args),
        Verb::Events(args) => verbs::events::events(ctx, &args),
        Verb::Top(args) => verbs::top::top(ctx, args),
        Verb::Open { job } => verbs::house::open(ctx, job.as_deref()),
        Verb::Wait(args) => verbs::wait::wait(ctx, &args),
        Verb::Pause(args) => verbs::act::pause(ctx, &args),
        Verb::Resume(args) => verbs::act::plain(ctx, &args, "resume"),
        Verb::Resize(args) => verbs::act::resize(ctx, &args),
        Verb::Stop(args) => verbs::act::stop(ctx, &args),
        Verb::Rm(args) => verbs::act::rm(ctx, &args),
        Verb::Retry(args) => verbs::act::plain(ctx, &args, "retry"),
        Verb::Node(verb) => verbs::machine::node(ctx, &verb),
        Verb::Gpu(args) => verbs::machine::gpu(ctx, args),
        Verb::Queue(verb) => verbs::queue::queue(ctx, &verb),
        Verb::Usage(args) => verbs::usage::usage(ctx, args),
        Verb::Bill(args) => verbs::money::bill(ctx, &args),
        Verb::Price(verb) => verbs::money::price(ctx, verb),
        Verb::Budget(verb) => verbs::money::budget(ctx, verb),
        Verb::Doctor => pool::doctor(ctx),
        Verb::Lint(args) => verbs::files::lint(ctx, &args),
        Verb::Schema => verbs::files::schema(ctx),
        Verb::Secret(verb) => verbs::secret::secret(ctx, &verb),
        Verb::User(verb) => verbs::people::user(ctx, &verb),
        Verb::Project(verb) => verbs::people::project(ctx, &verb),
        Verb::Token(verb) => verbs::people::token(ctx, &verb),
        Verb::Notify(verb) => verbs::notify::notify(ctx, &verb),
        Verb::Completion(args) => verbs::house::completion(ctx, args),
        Verb::Man { verb, dir } => verbs::house::man(ctx, &verb, dir.as_deref()),
        Verb::Sched(verb) => verbs::sched::sched(ctx, &verb),
        Verb::Import(ImportVerb::Sbatch(args)) => verbs::files::import(ctx, &args),
        Verb::Sbatch(args) => slurm::run(ctx, slurm::Shim::Sbatch, &args.args),
        Verb::Mcp(args) => mcp::serve(ctx, args),
        Verb::Names => verbs::house::names(ctx),
    }
}
