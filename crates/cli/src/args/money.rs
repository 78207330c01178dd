//! Flags of the verbs about money.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `pond price`.
#[derive(Clone, Debug, Subcommand)]
pub enum PriceVerb {
    /// Show the price sheet: prices that hold, and those to come
    Show {
        /// Prices that have ended, too
        #[arg(long)]
        all: bool,
    },
    /// Add a price, or all of a file; what was charged before stays as it is
    Set(Box<PriceFlags>),
    /// End a price now
    End {
        /// Its number, as `pond price show` has it
        id: u64,
    },
}

/// What is set of prices.
#[derive(Clone, Debug, Default, Args)]
pub struct PriceFlags {
    /// What for: cpu, memory, disk, gpu, fpga, npu or opencl
    #[arg(required_unless_present_any = ["file", "currency"], requires = "price")]
    pub resource: Option<String>,
    /// For an hour of a core, a gibibyte or a whole device: 2.10
    pub price: Option<String>,
    /// Words of the device's model name: H100
    #[arg(long, value_name = "WORDS", requires = "resource")]
    pub model: Option<String>,
    /// For this class alone: critical, standard or spare
    #[arg(long, requires = "resource")]
    pub class: Option<PriceClass>,
    /// From when on; default: now
    #[arg(long, value_name = "WHEN", requires = "resource")]
    pub from: Option<String>,
    /// Until when
    #[arg(long, value_name = "WHEN", requires = "resource")]
    pub to: Option<String>,
    /// The currency of all amounts: EUR
    #[arg(long, value_name = "CODE")]
    pub currency: Option<String>,
    /// Prices from a file (YAML): `currency: EUR`, `prices: [{resource: gpu, model: H100, price: 2.10}]`
    #[arg(short, long, value_name = "FILE", conflicts_with = "resource")]
    pub file: Option<PathBuf>,
}

/// A class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PriceClass {
    /// Pays for the larger of granted and used
    Critical,
    /// Pays for what it was granted, and for its burst at the price of spare
    Standard,
    /// Pays for what it used
    Spare,
}

/// `pond budget`.
#[derive(Clone, Debug, Subcommand)]
pub enum BudgetVerb {
    /// List budgets and how they stand
    Ls,
    /// Set what a queue and all below it may spend; `/` is the pool
    Set {
        /// The queue's path, like `research/nlp`
        queue: String,
        /// How much: 3900 or 0.05
        limit: String,
        /// Over what, in UTC
        #[arg(long, value_enum, default_value_t)]
        every: BudgetEvery,
        /// Percentages of the limit at which people are told
        #[arg(long, value_delimiter = ',', default_values_t = [80, 100])]
        alerts: Vec<u16>,
        /// What happens when it is spent
        #[arg(long, value_enum, default_value_t)]
        stop: BudgetStops,
    },
    /// Let a queue spend what it likes
    Rm {
        /// The queue's path
        queue: String,
    },
}

/// Over what a budget counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BudgetEvery {
    /// From midnight
    Day,
    /// From Monday
    Week,
    /// From the first of the month
    #[default]
    Month,
    /// From the beginning of the pool
    Total,
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BudgetStops {
    /// Nothing but alerts
    Never,
    /// Queued jobs wait; what runs goes on to its end
    #[default]
    Hold,
    /// Queued jobs wait; what runs is ended, with its grace
    End,
}

/// By what a bill is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BillKey {
    /// By queue (project)
    #[default]
    Queue,
    /// By user
    User,
    /// By job
    Job,
    /// By class
    Class,
    /// By resource
    Resource,
    /// By day in UTC
    Day,
    /// By month in UTC
    Month,
}

/// Forms of the ledger's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LedgerForm {
    /// JSON, one object a line
    Json,
    /// Columns
    Csv,
    /// Columns of FOCUS 1.4
    Focus,
}

/// `pond bill`: charges less credits of a month; its rows add up to the ledger.
#[derive(Clone, Debug, Default, Args)]
pub struct BillArgs {
    /// Divide by
    #[arg(long, value_enum, default_value_t)]
    pub by: BillKey,
    /// Of periods that began from then on; default: the first of this month
    #[arg(long, value_name = "WHEN")]
    pub from: Option<String>,
    /// Of periods that began before then, each whole; default: now
    #[arg(long, value_name = "WHEN")]
    pub to: Option<String>,
    /// This queue and all below it
    #[arg(short = 'p', long = "project", visible_alias = "queue", value_name = "QUEUE")]
    pub queue: Option<String>,
    /// This user
    #[arg(short, long)]
    pub user: Option<String>,
    /// This job
    #[arg(short, long)]
    pub job: Option<u64>,
    /// Divide what idle machines would have cost among the rows
    #[arg(long, conflicts_with = "lines")]
    pub split_idle: bool,
    /// Print the lines of the ledger instead of their sums
    #[arg(long, value_enum, value_name = "FORM")]
    pub lines: Option<LedgerForm>,
    /// With --lines: of the hour that is not over, too
    #[arg(long, requires = "lines")]
    pub open: bool,
}
