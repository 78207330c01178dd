//! Flags of `pond sched`: how the pool decides, and its scheduler on traces instead of on machines.

use clap::{Args, Subcommand, ValueEnum};
use pond_core::units::{Bytes, MilliCpu};
use std::path::PathBuf;

/// `pond sched`.
#[derive(Clone, Debug, Subcommand)]
pub enum SchedVerb {
    /// Show how the pool decides, and how well its predictions hold
    Show,
    /// Choose how the pool decides, from its next plan on and after every restart
    Set(SetPolicyArgs),
    /// Run a trace through the pool's own scheduler, under one policy or several side by side
    Simulate(Box<SimulateArgs>),
    /// Run the pool's own past under another policy, beside what really happened
    Replay(Box<ReplayArgs>),
    /// Show two or more stored runs side by side
    Compare(CompareArgs),
    /// Make up a workload that behaves like a trace
    Synth(Box<SynthArgs>),
    /// Search for parameters on the first part of a trace and test them on the rest
    Tune(Box<TuneArgs>),
    /// List policies
    Policies,
}

/// `pond sched set`.
#[derive(Clone, Debug, Args)]
pub struct SetPolicyArgs {
    /// The policy (`pond sched policies`), with `+none`, `+easy`, `+conservative` or `+greedy` behind it for who may pass a
    /// blocked job; try it first: `pond sched replay --policy P`
    #[arg(value_name = "POLICY")]
    pub policy: Option<String>,
    /// Which node is filled first: pack, spread, topology, best-fit, dot-product, gpu-clustering, gpu-packing, fgd, gaps, random
    #[arg(long, value_name = "P")]
    pub placement: Option<String>,
    /// As the pool was started
    #[arg(long, conflicts_with_all = ["policy", "placement"])]
    pub reset: bool,
}

/// What is simulated.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Trace and machines")]
pub struct TraceArgs {
    /// A trace: a file, plain or packed (gzip, zstd), or a folder with its parts
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,
    /// Its format; default: what its first bytes look like (docs/traces.md lists them)
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<pond_sim::trace::Format>,
    /// The file with its machines, where that does not lie beside it in its folder
    #[arg(long, value_name = "FILE")]
    pub machines: Option<PathBuf>,
    /// SWF: all processors on one machine and each job one task, as in most published simulations of these logs
    #[arg(long, conflicts_with_all = ["nodes", "cluster"])]
    pub flat: bool,
    /// Only jobs submitted from this moment on: a date, a date and time, or a span since the trace's start
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// Only jobs submitted before this moment
    #[arg(long, value_name = "WHEN")]
    pub to: Option<String>,
    /// Arrivals so many times as dense: 1.2 is a fifth more load
    #[arg(long, value_name = "FACTOR")]
    pub load: Option<String>,
    /// What is said of run times before jobs start
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub predict: PredictBy,
    /// Measured speeds for jobs that use devices, of Gavel, Pollux, Sia or Lucid's pairs; each job draws a model by the seed
    #[arg(long, value_name = "FILE")]
    pub speeds: Vec<PathBuf>,
    /// Jobs may grow to so many times their tasks, of one device each
    #[arg(long, value_name = "N", requires = "speeds", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub grow: u32,
    /// So many jobs of one device may share it, and slow each other down
    #[arg(long, value_name = "N", requires = "speeds", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub share: u32,
    /// This many machines, all alike, instead of the trace's own
    #[arg(long, value_name = "N", conflicts_with = "cluster", value_parser = machines)]
    pub nodes: Option<u32>,
    /// Devices of each
    #[arg(long, value_name = "N", requires = "nodes", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub gpus_per_node: u32,
    /// CPU cores of each; default: never short
    #[arg(long, value_name = "CORES", requires = "nodes")]
    pub cpus_per_node: Option<MilliCpu>,
    /// Memory of each; default: never short
    #[arg(long, value_name = "SIZE", requires = "nodes")]
    pub memory_per_node: Option<Bytes>,
    /// Machines and queues from a file (YAML or JSON; docs/simulate.md)
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
}

/// The most machines of a pool.
pub const MOST_MACHINES: u32 = 1_000_000;

fn machines(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=MOST_MACHINES).contains(&count) => Ok(count),
        Ok(_) => Err("a pool has 1 to 1,000,000 machines".to_owned()),
        Err(_) => Err("not a number of machines; a file with machines is given with --cluster".to_owned()),
    }
}

/// Where predictions of run times come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PredictBy {
    /// The true run time: an oracle
    #[default]
    True,
    /// The limit that users asked for
    Estimate,
    /// The mean of the user's last two jobs that had ended, the limit before
    UserMean,
    /// One hour for all: no knowledge
    Constant,
    /// Upside down, as a stress test
    Inverted,
}

/// How it is simulated.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub struct SimArgs {
    /// Which node is filled first: pack, spread, topology, best-fit, dot-product, gpu-clustering, gpu-packing, fgd, gaps, random
    #[arg(long, value_name = "NAME")]
    pub placement: Option<String>,
    /// The root of all chance; same seed, same outcome
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Cost of starting again after an eviction, times the published 40 s (60 s above 8 devices); 0: free
    #[arg(long, value_name = "FACTOR")]
    pub overhead: Option<String>,
    /// What breaks: `nodes=MEAN/REPAIR`, `devices=MEAN/REPAIR`, for example nodes=30d/4h,devices=90d/1h
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Any setting of the simulator, the engine or the planner: plan.calm=10s, restart.few=20s
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Runs at a time; default: one a core
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What is made of the runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Write one page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write tables: summary.csv, and for each run its jobs and series
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
    /// Resamples for the 95 % intervals
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub resamples: u32,
    /// Length of the blocks that are resampled
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = some_time)]
    pub block: pond_core::units::Millis,
}

/// A span of time that is one.
fn some_time(text: &str) -> Result<pond_core::units::Millis, String> {
    let span: pond_core::units::Millis = text.parse().map_err(|why| format!("{why}"))?;
    if span.0 == 0 { Err("a span of nothing".to_owned()) } else { Ok(span) }
}

/// `pond sched simulate`.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// What.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Policies, side by side; the first is the one that others are compared with. `pond sched policies` lists them
    #[arg(
        long,
        value_name = "P",
        value_delimiter = ',',
        default_value = "fifo,easy,sjf,srtf,qssf,tiresias,las,fair"
    )]
    pub policy: Vec<String>,
    /// How.
    #[command(flatten)]
    pub sim: SimArgs,
    /// What comes of it.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Keep the outcomes for `pond sched compare` (JSON; packed when the name ends in .gz)
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `pond sched replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Policies, each shown beside what really happened
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "fair")]
    pub policy: Vec<String>,
    /// Only jobs submitted from this moment on
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// Only jobs submitted before this moment
    #[arg(long, value_name = "WHEN")]
    pub to: Option<String>,
    /// Write the pool's history as a trace (JSON lines)
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub sim: SimArgs,
    /// What comes of it.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Keep the outcomes for `pond sched compare`
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `pond sched compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// Outcomes kept with --save; the first run of the first file is the one that others are compared with
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What comes of it.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `pond sched tune`.
#[derive(Clone, Debug, Args)]
pub struct TuneArgs {
    /// What.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// The policy whose parameters are searched
    #[arg(long, value_name = "P", default_value = "las")]
    pub policy: String,
    /// A parameter and its range: plan.ranking.base=2..16:log, plan.calm=0s..10min, plan.placement=pack|spread
    #[arg(long = "param", value_name = "NAME=RANGE", required = true)]
    pub params: Vec<String>,
    /// How the space is searched
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub method: TuneBy,
    /// Candidates at most (random, cma); values of each parameter (grid)
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub budget: u32,
    /// What is to be small
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub objective: Objective,
    /// Percent of the trace's time that is searched on; the rest is the test
    #[arg(long, value_name = "PERCENT", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=90))]
    pub train: u64,
    /// Candidates that are tested and shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// How.
    #[command(flatten)]
    pub sim: SimArgs,
}

/// A way through the space of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TuneBy {
    /// Every combination of evenly spread values
    Grid,
    /// By chance
    #[default]
    Random,
    /// CMA-ES: learns where better values are; for numbers, from about 40 candidates on
    Cma,
}

/// What a search makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Objective {
    /// Mean completion time
    #[default]
    MeanJct,
    /// Completion time that 99 % of jobs do not exceed
    P99Jct,
    /// Mean time without a place
    MeanQueue,
    /// Time without a place that 99 % of jobs do not exceed
    P99Queue,
    /// Mean bounded slowdown
    MeanSlowdown,
    /// Bounded slowdown that 99 % of jobs do not exceed
    P99Slowdown,
}

/// `pond sched synth`.
#[derive(Clone, Debug, Args)]
pub struct SynthArgs {
    /// A trace that a model is fitted to, or a model kept with --save-model
    #[arg(value_name = "TRACE|MODEL")]
    pub source: PathBuf,
    /// The trace's format; default: what its first bytes look like
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<pond_sim::trace::Format>,
    /// Jobs to make; default: as many as the model was fitted to, or as --span holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=268_435_456))]
    pub jobs: Option<u64>,
    /// Time over which they come; with --jobs at the rate that makes so many in it
    #[arg(long, value_name = "SPAN")]
    pub span: Option<pond_core::units::Millis>,
    /// Arrivals so many times as dense: 1.2 is a fifth more load
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    pub load: String,
    /// The root of all chance; same model and seed, same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Form of what is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub to: SynthForm,
    /// Where to write it; default: standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Keep the model (JSON: quantiles and counts, no row and no user's name of the trace)
    #[arg(long, value_name = "FILE")]
    pub save_model: Option<PathBuf>,
    /// Instead of writing: fit the first 60 % of the trace's time, and compare what is made with the rest
    #[arg(long, conflicts_with_all = ["jobs", "span", "load", "to", "out", "save_model"])]
    pub check: bool,
}

/// A form in which a made-up workload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SynthForm {
    /// Our own JSON lines, which lose nothing
    #[default]
    Millpond,
    /// Standard Workload Format
    Swf,
    /// The CSV of Helios
    Helios,
    /// What `sacct --parsable2` prints
    Sacct,
}
