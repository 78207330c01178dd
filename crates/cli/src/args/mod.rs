//! The command line: every verb and flag, and nothing that acts.

mod job;
mod money;
mod notify;
mod people;
mod pool;
mod sched;
mod work;

pub use job::{ApplyArgs, FileArgs, JobFlags, LintArgs, RareFlags, RunArgs, SbatchArgs};
pub use money::{
    BillArgs, BillKey, BudgetEvery, BudgetStops, BudgetVerb, LedgerForm, PriceClass, PriceFlags, PriceVerb,
};
pub use notify::{
    DeliveryStateArg, MailTlsArg, NotifyFlags, NotifyMailFlags, NotifySettingsFlags, NotifyVerb,
};
pub use people::{ProjectVerb, RoleArg, TokenFlags, TokenVerb, UserFlags, UserVerb};
pub use pool::{
    CompletionArgs, DownArgs, GpuArgs, McpArgs, NodeVerb, PastShareArg, QueueFlags, QueueVerb, SecretVerb,
    UpArgs, UsageArgs, UsageBy,
};
pub use sched::{
    CompareArgs, MOST_MACHINES, Objective, PredictBy, ReplayArgs, ReportArgs, SchedVerb, SetPolicyArgs,
    SimArgs, SimulateArgs, SynthArgs, SynthForm, TraceArgs, TuneArgs, TuneBy,
};
pub use work::{
    AttachArgs, CpArgs, EventsArgs, ExecArgs, ForwardArgs, JobsArgs, LogsArgs, PauseArgs, PsArgs, ResizeArgs,
    StatusArgs, StopArgs, TopArgs, WaitArgs, WhyArgs,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Turns machines into one pool of compute, and runs your work in it.
#[derive(Debug, Parser)]
#[command(
    name = "pond",
    version,
    propagate_version = true,
    after_help = "First steps:\n  pond run -- python3 train.py   run something; a pool starts by itself\n  pond ps                        what runs and waits\n  pond why @last                 why it is where it is\n\nExit codes: 0 ok · the job's own for run and wait · 64 usage · 65 bad file · 69 no server · 75 cannot be placed now · 77 denied"
)]
pub struct Cli {
    /// Which pool and how to print.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// URL of the pool; default: the one whose address is in the state folder
    #[arg(long, global = true, env = "POND_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Folder of the pool on this machine
    #[arg(long, global = true, env = "POND_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Token to show; default: the file `token` in the state folder
    #[arg(long, global = true, env = "POND_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Certificates (PEM) to trust beside the well-known ones
    #[arg(long, global = true, env = "POND_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How to print
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Short for `-o json`
    #[arg(long, global = true, conflicts_with = "output")]
    pub json: bool,
    /// Colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorWhen,
}

impl Globals {
    /// The format that was asked for.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output.unwrap_or_default() }
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// JSON, as the API gives it
    Json,
    /// The same as YAML
    Yaml,
}

impl Format {
    /// Whether programs read it.
    #[must_use]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Print again and again.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Watch {
    /// Print again every so many seconds until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", require_equals = true)]
    pub watch: Option<f64>,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start the pool on this machine
    Up(UpArgs),
    /// Stop the pool on this machine, and what runs in it
    Down(DownArgs),
    /// Run a command, a script or a job file and stay with it to its end
    Run(Box<RunArgs>),
    /// Show what a job file would do, ask, submit it
    Apply(Box<ApplyArgs>),
    /// Show what a job file would do, and do nothing
    Plan(Box<FileArgs>),
    /// List jobs
    Ps(PsArgs),
    /// Show the pool, or one job in full
    Status(StatusArgs),
    /// Show the output of a job
    Logs(LogsArgs),
    /// Run a command inside a running task
    Exec(ExecArgs),
    /// Connect to the terminal of a running task
    Attach(AttachArgs),
    /// Reach a port of a running task from here
    Forward(ForwardArgs),
    /// Copy files into or out of a task
    Cp(CpArgs),
    /// Say why a job is where it is, and what would help
    Why(WhyArgs),
    /// Show what happened in the pool
    Events(EventsArgs),
    /// A live page of nodes and tasks
    Top(TopArgs),
    /// Print a link that opens the web page, logged in: once, within two minutes
    Open {
        /// Open the page of this job
        #[arg(value_name = "JOB")]
        job: Option<String>,
    },
    /// Wait until jobs are over
    Wait(WaitArgs),
    /// Freeze jobs where they are, or stop them keeping their files
    Pause(PauseArgs),
    /// Undo a pause
    Resume(JobsArgs),
    /// Change what a job has while it runs or waits: CPU, memory, shares of devices
    Resize(ResizeArgs),
    /// Stop jobs: signal, grace, kill
    Stop(StopArgs),
    /// Forget finished jobs and delete their files
    Rm(JobsArgs),
    /// Queue finished jobs once more
    Retry(JobsArgs),
    /// Machines
    #[command(subcommand)]
    Node(NodeVerb),
    /// What devices are free now, in which sizes
    Gpu(GpuArgs),
    /// Queues (projects)
    #[command(subcommand)]
    Queue(QueueVerb),
    /// Who used how much
    Usage(UsageArgs),
    /// What it costs, by queue, user, job or time
    Bill(BillArgs),
    /// What an hour of each resource costs
    #[command(subcommand)]
    Price(PriceVerb),
    /// What queues may spend
    #[command(subcommand)]
    Budget(BudgetVerb),
    /// What this machine can do, what is missing and what that costs
    Doctor,
    /// Check job files
    Lint(LintArgs),
    /// Print the JSON Schema of the job file
    Schema,
    /// Secrets: set, list, remove; values are never shown
    #[command(subcommand)]
    Secret(SecretVerb),
    /// Users: who may log in
    #[command(subcommand)]
    User(UserVerb),
    /// Projects: queues with people, who have roles there
    #[command(subcommand)]
    Project(ProjectVerb),
    /// Tokens for people and programs
    #[command(subcommand)]
    Token(TokenVerb),
    /// Notifications: who is told what, by webhook or mail
    #[command(subcommand)]
    Notify(NotifyVerb),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print the manual page, of a verb where one is named: `pond man run | man -l -`
    Man {
        /// The verb, and the verb below it
        #[arg(value_name = "VERB", conflicts_with = "dir")]
        verb: Vec<String>,
        /// Write one page a verb into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// How the pool decides; and simulate: its scheduler on traces, without a pool
    #[command(subcommand)]
    Sched(SchedVerb),
    /// Turn files of other systems into job files
    #[command(subcommand)]
    Import(ImportVerb),
    /// Submit a batch script as Slurm's `sbatch` does
    #[command(disable_help_flag = true)]
    Sbatch(SbatchArgs),
    /// Serve the pool's tools to programs of the Model Context Protocol, on standard input and output
    Mcp(McpArgs),
    /// Names of jobs, one a line, for completion scripts
    #[command(name = "__names", hide = true)]
    Names,
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// A batch script with `#SBATCH` lines
    Sbatch(LintArgs),
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
