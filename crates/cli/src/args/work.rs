//! Flags of the verbs about jobs that exist. JOB is an id, a name or `@last`; an array element is `JOB[7]`,
//! a rank `JOB.3`.

use super::Watch;
use clap::Args;

/// `pond ps`.
#[derive(Clone, Debug, Args)]
pub struct PsArgs {
    /// Those that are over too
    #[arg(short, long)]
    pub all: bool,
    /// Only this state: running, waiting, failed, ...
    #[arg(long)]
    pub state: Option<String>,
    /// Only this project (queue)
    #[arg(short, long, value_name = "QUEUE")]
    pub project: Option<String>,
    /// Only this user
    #[arg(short, long)]
    pub user: Option<String>,
    /// At most this many, newest first
    #[arg(short = 'n', long, default_value_t = 100)]
    pub limit: u32,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// `pond status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// A job; absent: the pool
    pub job: Option<String>,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// `pond logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// The job
    pub job: String,
    /// Go on until it is over
    #[arg(short, long)]
    pub follow: bool,
    /// Only this rank
    #[arg(short, long)]
    pub rank: Option<u32>,
    /// Only this attempt, from 1; default: the last
    #[arg(long)]
    pub attempt: Option<u32>,
    /// Only the last lines of each rank
    #[arg(long, visible_short_alias = 'n', value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines with this text
    #[arg(short, long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only lines since then: a span (`10m`) or a moment (`2026-11-24T08:00:00Z`)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// The moment before each line
    #[arg(short, long)]
    pub timestamps: bool,
}

/// `pond exec`.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// With a terminal; default when standard input and output are one
    #[arg(short, long)]
    pub tty: bool,
    /// Without a terminal
    #[arg(short = 'T', long, conflicts_with = "tty")]
    pub no_tty: bool,
    /// Working folder inside
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Variable, `NAME=VALUE`
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The job or rank
    pub job: String,
    /// Command and arguments; default: a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `pond attach`.
#[derive(Clone, Debug, Args)]
pub struct AttachArgs {
    /// The job or rank
    pub job: String,
}

/// `pond forward`.
#[derive(Clone, Debug, Args)]
pub struct ForwardArgs {
    /// The job or rank
    pub job: String,
    /// `HERE[:INSIDE]`: port on this machine (0: any), port inside
    #[arg(required = true, value_name = "PORT[:PORT]")]
    pub ports: Vec<String>,
    /// Address on this machine to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub bind: std::net::IpAddr,
}

/// `pond cp`.
#[derive(Clone, Debug, Args)]
pub struct CpArgs {
    /// File or folder: a path here, or `JOB:PATH`; `-` reads a tar stream
    pub from: String,
    /// Where to, as for `cp -r`: a path here, or `JOB:PATH`; `-` writes a tar stream
    pub to: String,
}

/// `pond why`.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// The job
    pub job: String,
}

/// `pond events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Only this job
    pub job: Option<String>,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Only after this number
    #[arg(long)]
    pub since: Option<u64>,
    /// Only kinds that start with this: `gang`, `node.`, `token`
    #[arg(long)]
    pub kind: Option<String>,
    /// Only by this user, `node:NAME` or `pool`
    #[arg(long)]
    pub actor: Option<String>,
    /// Only what people did: who, what, when, from where
    #[arg(long)]
    pub audit: bool,
    /// Only what was done from this address
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Only from this moment on: a date and time, or how long ago (`2h`)
    #[arg(long, value_name = "WHEN")]
    pub after: Option<String>,
    /// Only before this moment
    #[arg(long, value_name = "WHEN")]
    pub before: Option<String>,
    /// At most this many, the newest
    #[arg(short = 'n', long, default_value_t = 100)]
    pub limit: u32,
}

/// `pond top`.
#[derive(Clone, Copy, Debug, Args)]
pub struct TopArgs {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub every: f64,
    /// Print once, as text
    #[arg(long)]
    pub once: bool,
}

/// `pond wait`.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Give up after this long (`30s`, `10m`), with code 75
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Show a message on this desktop when each is over
    #[arg(long)]
    pub notify: bool,
}

/// `pond resize`.
#[derive(Clone, Debug, Args)]
pub struct ResizeArgs {
    /// The job
    pub job: String,
    /// CPU cores: `2`, `4..16` (guaranteed..burst)
    #[arg(short, long, value_name = "CORES")]
    pub cpu: Option<String>,
    /// Memory: `8GiB`, `8GB..32GB`
    #[arg(short, long, visible_alias = "mem", value_name = "SIZE")]
    pub memory: Option<String>,
    /// Its share of each GPU: `0.7`, `30%..60%`, `4GB`, `compute=70%,memory=4GB,weight=2`
    #[arg(short, long, value_name = "SHARE")]
    pub gpu: Option<String>,
    /// Its share of each FPGA
    #[arg(long, value_name = "SHARE")]
    pub fpga: Option<String>,
    /// Its share of each NPU
    #[arg(long, value_name = "SHARE")]
    pub npu: Option<String>,
    /// Its share of each OpenCL device
    #[arg(long, value_name = "SHARE")]
    pub opencl: Option<String>,
}

/// Jobs to act on.
#[derive(Clone, Debug, Args)]
pub struct JobsArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `pond stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// The jobs
    #[arg(required_unless_present = "all", value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Kill at once, without signal and grace
    #[arg(long)]
    pub now: bool,
    /// All that are not over
    #[arg(long, conflicts_with = "jobs")]
    pub all: bool,
    /// With --all: do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// With --all: only this project (queue)
    #[arg(short, long, value_name = "QUEUE")]
    pub project: Option<String>,
}

/// `pond pause`.
#[derive(Clone, Debug, Args)]
pub struct PauseArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Stop it and give everything back, keeping its files, instead of freezing it in place
    #[arg(long)]
    pub release: bool,
}
