//! Flags of the verbs that make jobs.

use clap::Args;
use std::path::PathBuf;

/// `pond run`.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "pond run [FLAGS] -- COMMAND [ARG]...\n       pond run [FLAGS] --image IMAGE\n       pond run [FLAGS] SCRIPT.sh [ARG]...\n       pond run [FLAGS] JOB.pond.yaml"
)]
pub struct RunArgs {
    /// What the job asks for.
    #[command(flatten)]
    pub job: JobFlags,
    /// Print the id and come back at once
    #[arg(short, long)]
    pub detach: bool,
    /// Give the command a terminal and connect to it
    #[arg(short, long)]
    pub tty: bool,
    /// Connect standard input
    #[arg(short, long)]
    pub interactive: bool,
    /// Delete the job and its files when it is over
    #[arg(long, conflicts_with = "detach")]
    pub rm: bool,
    /// Show a message on this desktop when it is over
    #[arg(long, conflicts_with = "detach")]
    pub notify: bool,
    /// Command and arguments, a script with #POND or #SBATCH lines, or a job file
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "image",
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}

/// What a job asks for; on top of what its file says.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The job")]
pub struct JobFlags {
    /// Name; default: that of the program or file
    #[arg(short, long)]
    pub name: Option<String>,
    /// Project (queue) it is charged to
    #[arg(short, long, env = "POND_PROJECT", value_name = "QUEUE")]
    pub project: Option<String>,
    /// CPU cores: `2`, `0.5`, `4..16` (guaranteed..burst)
    #[arg(short, long, value_name = "CORES")]
    pub cpu: Option<String>,
    /// Memory: `512MB`, `8GiB`, `8GB..32GB`
    #[arg(short, long, visible_alias = "mem", value_name = "SIZE")]
    pub memory: Option<String>,
    /// Disk for what it writes
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm: Option<String>,
    /// Devices: `1`, `H100:8`, `A100:40GB:2`, `0.5`, `24GB`, `compute=30%..60%,memory=4GB`
    #[arg(short, long, value_name = "DEVICES")]
    pub gpu: Option<String>,
    /// OpenCL devices, written like GPUs: `1`, `0.3`, `4GB`
    #[arg(long, value_name = "DEVICES")]
    pub opencl: Option<String>,
    /// Tasks that start together, `4` or `2..4`
    #[arg(short = 'N', long, value_name = "COUNT")]
    pub nodes: Option<String>,
    /// Array indices: `0-9`, `1,3,7`, `0-99%5` (at most 5 at once)
    #[arg(short, long, value_name = "INDICES")]
    pub array: Option<String>,
    /// Stop it after this long: `30m`, `24h`
    #[arg(long, visible_alias = "time-limit", value_name = "DURATION")]
    pub time: Option<String>,
    /// How long you think it runs; nothing is stopped by it
    #[arg(long, value_name = "DURATION")]
    pub estimate: Option<String>,
    /// `critical`, `standard` or `spare`
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// `low`, `normal`, `high`, or 0..1000
    #[arg(long, value_name = "PRIORITY")]
    pub priority: Option<String>,
    /// `host`, an OCI layout on this machine, or an image in a registry
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// `container` or `process`
    #[arg(long, value_name = "HOW")]
    pub isolation: Option<String>,
    /// Working folder inside; default: this folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group ids inside: `1000`, `1000:100`
    #[arg(short, long, value_name = "ID[:GROUP]")]
    pub user: Option<String>,
    /// Variable, `NAME=VALUE`, or `NAME` to pass yours on
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Secret to put into the environment
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// Folder of the machine to show inside: `FROM:TO[:ro]`
    #[arg(short, long = "volume", value_name = "FROM:TO")]
    pub volumes: Vec<String>,
    /// File or folder to copy into the working folder
    #[arg(long = "files", value_name = "PATH")]
    pub files: Vec<String>,
    /// File that the command reads as its standard input
    #[arg(long, value_name = "PATH")]
    pub stdin: Option<String>,
    /// Port to make reachable from this machine: `8888`
    #[arg(long = "port", value_name = "PORT")]
    pub ports: Vec<String>,
    /// Only nodes with this label, `NAME=VALUE`
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    /// Start only after this job succeeded
    #[arg(long, value_name = "JOB")]
    pub after: Vec<String>,
    /// Attempts after the first when it fails
    #[arg(long, value_name = "COUNT")]
    pub retry: Option<u32>,
    /// Time between the stop signal and the kill
    #[arg(long, value_name = "DURATION")]
    pub grace: Option<String>,
    /// Never evict it for others
    #[arg(long)]
    pub no_preempt: bool,
    /// Let it wait until `pond resume`
    #[arg(long)]
    pub hold: bool,
    /// What is asked for less often.
    #[command(flatten)]
    pub rare: RareFlags,
}

/// What a job asks for less often.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The job, further")]
pub struct RareFlags {
    /// FPGAs, written like GPUs
    #[arg(long, value_name = "DEVICES")]
    pub fpga: Option<String>,
    /// Neural processors, written like GPUs
    #[arg(long, value_name = "DEVICES")]
    pub npu: Option<String>,
    /// Most processes and threads of each task
    #[arg(long, value_name = "COUNT")]
    pub pids: Option<String>,
    /// Shell script run before the command
    #[arg(long, value_name = "SCRIPT")]
    pub setup: Option<String>,
    /// Most array elements that run at once
    #[arg(long, value_name = "COUNT")]
    pub parallel: Option<String>,
    /// Start only after this job ended, however it did
    #[arg(long, value_name = "JOB")]
    pub after_end: Vec<String>,
    /// Once started, not preempted for this long
    #[arg(long, value_name = "DURATION")]
    pub min_runtime: Option<String>,
    /// What is retried: `node_failure`, `preempted`, `failed`, `exit:75`, ...
    #[arg(long, value_name = "CAUSE")]
    pub retry_on: Option<String>,
    /// Folder inside where checkpoints are
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<String>,
    /// Signal sent before an eviction
    #[arg(long, value_name = "SIGNAL")]
    pub checkpoint_signal: Option<String>,
    /// How long before an eviction
    #[arg(long, value_name = "DURATION")]
    pub checkpoint_grace: Option<String>,
    /// What an environment starts: `jupyter`, `vscode`, `none`
    #[arg(long, value_name = "IDE")]
    pub ide: Option<String>,
    /// Pause an unused environment after this long
    #[arg(long, value_name = "DURATION")]
    pub idle_after: Option<String>,
    /// `pause` or `stop`
    #[arg(long, value_name = "ACTION")]
    pub idle_action: Option<String>,
}

/// A job file, and flags on top of it.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// The job file; `-` reads standard input
    #[arg(short, long, value_name = "FILE", required_unless_present = "path", conflicts_with = "path")]
    pub file: Option<PathBuf>,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// What the job asks for.
    #[command(flatten)]
    pub job: JobFlags,
}

impl FileArgs {
    /// The file, whichever way it was given.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file.clone().or_else(|| self.path.clone()).unwrap_or_else(|| PathBuf::from("-"))
    }
}

/// `pond apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// Submit without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Stay with it: show its output and end with its exit code
    #[arg(short = 'F', long)]
    pub follow: bool,
}

/// `pond lint`, `pond import`.
#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// Files; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `pond sbatch`: everything is read by the shim.
#[derive(Clone, Debug, Args)]
pub struct SbatchArgs {
    /// Flags as `sbatch` knows them, then the script
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    pub args: Vec<String>,
}
