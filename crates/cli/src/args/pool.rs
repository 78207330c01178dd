//! Flags of the verbs about the pool itself.

use super::Watch;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `pond up`.
#[derive(Clone, Debug, Default, Args)]
pub struct UpArgs {
    /// Come back as soon as it serves
    #[arg(short, long)]
    pub detach: bool,
    /// Address to listen on; anything but loopback needs --cert
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<std::net::SocketAddr>,
    /// Certificate chain (PEM) to serve HTTPS with
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Identity provider that people log in through: a TOML file, see docs/people.md
    #[arg(long, value_name = "FILE")]
    pub oidc: Option<PathBuf>,
    /// Name of this node; default: the host's name
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// CPU cores the pool leaves to the machine
    #[arg(long, value_name = "CORES", default_value = "0")]
    pub reserve_cpu: String,
    /// Memory the pool leaves to the machine; default: a twentieth, 256 MB to 4 GB
    #[arg(long, value_name = "SIZE")]
    pub reserve_memory: Option<String>,
    /// Disk the pool gives out; default: nine tenths of what is free. More than is free can be promised: layers
    /// take only what is written
    #[arg(long, env = "POND_DISK", value_name = "SIZE")]
    pub disk: Option<String>,
    /// What is done about tasks that go past their shares of devices
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub past_share: PastShareArg,
    /// Already in the background: take a session of its own (used by --detach)
    #[arg(long, hide = true)]
    pub daemon: bool,
}

/// What is done about a task that goes past its share of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PastShareArg {
    /// An event says so
    #[default]
    Flag,
    /// It also gets next to none of the device's time, and little CPU, until it keeps to its share
    Throttle,
    /// Its job is ended
    End,
}

/// `pond down`: tasks get the stop signal and five seconds; their jobs go back to the queue and start again at
/// the next `pond up`, as jobs do that waited.
#[derive(Clone, Copy, Debug, Args)]
pub struct DownArgs {
    /// Leave tasks running; the next `pond up` takes them over
    #[arg(long)]
    pub keep: bool,
    /// Do not ask, though tasks run
    #[arg(short, long)]
    pub yes: bool,
}

/// `pond node`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeVerb {
    /// List machines
    Ls(Watch),
    /// Show one machine
    Show {
        /// Its name; default: the only one
        node: Option<String>,
    },
    /// Take no more tasks on it; running ones stay
    Drain {
        /// Its name
        node: String,
    },
    /// Take tasks again
    Resume {
        /// Its name
        node: String,
    },
    /// Set or remove labels
    Label {
        /// Its name
        node: String,
        /// `NAME=VALUE` sets, `NAME=` removes
        #[arg(required = true, value_name = "NAME=VALUE")]
        labels: Vec<String>,
    },
}

/// `pond gpu`.
#[derive(Clone, Copy, Debug, Args)]
pub struct GpuArgs {
    /// How the devices of each node are joined
    #[arg(long)]
    pub topology: bool,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// `pond queue`.
#[derive(Clone, Debug, Subcommand)]
pub enum QueueVerb {
    /// List queues
    Ls(Watch),
    /// Show one queue
    Show {
        /// Its path, like `research/nlp`
        queue: String,
    },
    /// Create or change a queue
    Set {
        /// Its path, like `research/nlp`
        queue: String,
        /// What to set.
        #[command(flatten)]
        flags: Box<QueueFlags>,
        /// Show who would be affected, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove an empty queue
    Rm {
        /// Its path
        queue: String,
    },
}

/// What is set of a queue; what is not named stays as it is. An empty value removes a guarantee or a limit.
#[derive(Clone, Debug, Default, Args)]
pub struct QueueFlags {
    /// Its part of what is above all guarantees, against its siblings
    #[arg(long)]
    pub weight: Option<u32>,
    /// Guaranteed: `cpu=8`, `memory=32GB`, `disk=1TB`, `gpu=2`
    #[arg(long, value_name = "WHAT=AMOUNT", value_delimiter = ',')]
    pub guarantee: Vec<String>,
    /// Never more than: `cpu=16`, `memory=64GB`, `gpu=4`, `running=20`
    #[arg(long, value_name = "WHAT=AMOUNT", value_delimiter = ',')]
    pub limit: Vec<String>,
    /// Whether it may use more than its guarantee while others leave it
    #[arg(long, value_name = "BOOL")]
    pub borrow: Option<bool>,
    /// Whether shares of devices may use memory beyond what they are guaranteed
    #[arg(long, value_name = "BOOL")]
    pub oversubscribe: Option<bool>,
    /// What of the machine its jobs may be given: `none`, or `root`, `process`, `/data`, `/scratch:rw`; `+/data` adds; `inherit`
    /// for what the queue above says
    #[arg(long, value_name = "WHAT[,WHAT]")]
    pub host: Option<String>,
}

/// How use is grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UsageBy {
    /// By queue
    #[default]
    Queue,
    /// By user
    User,
    /// By job
    Job,
}

/// `pond usage`.
#[derive(Clone, Copy, Debug, Args)]
pub struct UsageArgs {
    /// Group by
    #[arg(long, value_enum, default_value_t)]
    pub by: UsageBy,
    /// Again and again.
    #[command(flatten)]
    pub watch: Watch,
}

/// `pond secret`.
#[derive(Clone, Debug, Subcommand)]
pub enum SecretVerb {
    /// Set a secret; the value comes from standard input
    Set {
        /// Its name, which is the variable's name inside tasks
        name: String,
        /// Read the value from this file
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// List names
    Ls,
    /// Remove a secret
    Rm {
        /// Its name
        name: String,
    },
}

/// `pond completion`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Flags of `pond mcp`.
#[derive(Clone, Copy, Debug, Args)]
pub struct McpArgs {
    /// Offer tools that change something, too: submit, stop, pause, resume, retry
    #[arg(long)]
    pub allow_writes: bool,
}
