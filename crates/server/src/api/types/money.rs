//! Prices, budgets, bills and the ledger. Money is whole micro-units (`_micros`) of the pool's currency; time on a
//! resource is millionths of a unit-hour (`_micro_hours`): of a core, a gibibyte or a device.

use super::Class;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which prices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PricesQuery {
    /// Those that have ended and those to come, too.
    #[serde(default)]
    pub all: bool,
}

/// The price sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PricesView {
    /// Three letters; those of ISO 4217 for no currency while none was set.
    pub currency: String,
    /// In the order in which they were set.
    pub prices: Vec<PriceView>,
}

/// One price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceView {
    /// Counts up from 1.
    pub id: u64,
    /// `cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`.
    pub resource: String,
    /// Words of the device's model name; absent: any model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For this class alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// For one `unit`.
    pub micros: u64,
    /// `core-hour`, `GiB-hour` or `device-hour`.
    pub unit: String,
    /// From this moment on.
    pub from_ms: u64,
    /// Until this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
    /// Whether it holds now.
    pub holds: bool,
    /// The price for the same that began later and counts instead of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<u64>,
}

/// Prices to be set, all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PricesBody {
    /// The currency of all amounts, three capital letters. It cannot change any more once something was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What is added to the sheet.
    pub prices: Vec<PriceBody>,
}

/// One price to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBody {
    /// `cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`.
    pub resource: String,
    /// Words of the device's model name: `H100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For this class alone; absent: for every class that has no price of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// For an hour of a core, a gibibyte or a whole device.
    pub micros: u64,
    /// From when on: now, or a moment to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
}

/// Over what a budget counts, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BudgetSpan {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    #[default]
    Month,
    /// From the beginning of the pool.
    Total,
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BudgetStop {
    /// Nothing but alerts.
    Never,
    /// Queued jobs wait; what runs goes on to its end.
    #[default]
    Hold,
    /// Queued jobs wait; what runs is ended with its grace.
    End,
}

/// A budget to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetBody {
    /// What the queue and all below it may spend.
    pub limit_micros: u64,
    /// Over what. Default: a month.
    #[serde(default)]
    pub span: BudgetSpan,
    /// Parts of the limit, in percent, at which an event `budget.alert` is told. Default: 80 and 100.
    #[serde(default = "usual_alerts")]
    pub alerts: Vec<u16>,
    /// What happens at the limit. Default: queued jobs wait.
    #[serde(default)]
    pub stop: BudgetStop,
}

/// The parts of a budget at which people are told when nobody says others.
#[must_use]
pub fn usual_alerts() -> Vec<u16> {
    vec![80, 100]
}

/// A budget, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// The queue; empty: the pool.
    pub queue: String,
    /// What may be spent.
    pub limit_micros: u64,
    /// What was spent in this span, less credits.
    pub spent_micros: u64,
    /// Of the limit, rounded down; absent when the limit is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// In this currency.
    pub currency: String,
    /// Over what.
    pub span: BudgetSpan,
    /// When the span began.
    pub from_ms: u64,
    /// When the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
    /// Parts at which people are told, in percent.
    pub alerts: Vec<u16>,
    /// What happens at the limit.
    pub stop: BudgetStop,
    /// Whether jobs wait for it now.
    pub blocks: bool,
}

/// What a job would cost at the prices that hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EstimateView {
    /// An hour of one element, for what it is granted. `spare` pays for what it uses of that.
    pub hour_micros: u64,
    /// All elements, if each ran to its time limit; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_micros: Option<u64>,
    /// All elements, if each ran as long as it is predicted to; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about_micros: Option<u64>,
    /// In this currency.
    pub currency: String,
    /// The budget that holds for the job and has the least left, among those that whoever asks may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetView>,
}

/// What a job has cost up to now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostView {
    /// Charged.
    pub charge_micros: u64,
    /// Of that, given back because the pool lost the work.
    pub credit_micros: u64,
    /// In this currency.
    pub currency: String,
}

/// By what a bill is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BillBy {
    /// By queue (project).
    #[default]
    Queue,
    /// By user.
    User,
    /// By job.
    Job,
    /// By class.
    Class,
    /// By resource.
    Resource,
    /// By day in UTC.
    Day,
    /// By month in UTC.
    Month,
}

/// Which bill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BillQuery {
    /// `queue` (default), `user`, `job`, `class`, `resource`, `day` or `month`.
    #[serde(default)]
    #[param(inline)]
    pub by: BillBy,
    /// Periods that began at this moment or later; default: the first of this month.
    pub from_ms: Option<u64>,
    /// Periods that began before this moment; default: up to now.
    pub to_ms: Option<u64>,
    /// This queue and all below it.
    pub queue: Option<String>,
    /// This user.
    pub user: Option<String>,
    /// This job.
    pub job: Option<u64>,
    /// Divide what idle machines would have cost among the rows, in proportion to their charges.
    #[serde(default)]
    pub split_idle: bool,
}

/// A bill. The charges less credits of its rows add up to `total`, to the micro-unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillReport {
    /// The currency.
    pub currency: String,
    /// Periods that began at this moment or later were asked for.
    pub from_ms: u64,
    /// Up to this moment.
    pub to_ms: u64,
    /// When the first period began that was summed; absent: none was. Periods are summed whole: one ends with the hour in UTC, and
    /// where a price begins or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed_from_ms: Option<u64>,
    /// When the last one ended that was summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed_to_ms: Option<u64>,
    /// By what it is divided.
    pub by: BillBy,
    /// The largest first.
    pub rows: Vec<BillRow>,
    /// All rows together.
    pub total: BillRow,
    /// What became of the machines in that time, whoever is asked about.
    pub pool: Vec<PoolAmount>,
}

/// One queue, user, job, class, resource or time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillRow {
    /// Which.
    pub key: String,
    /// Charged.
    pub charge_micros: u64,
    /// Of that, for use beyond what was granted and for all use of `spare`.
    pub charge_spare_micros: u64,
    /// Of the charge, for what was granted and not used; rounded down for each line of the ledger.
    pub waste_micros: u64,
    /// Given back because the pool lost the work.
    pub credit_micros: u64,
    /// Charge less credit.
    pub net_micros: i64,
    /// Its part of what idle machines would have cost, when that is divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_micros: Option<u64>,
    /// By resource.
    pub amounts: Vec<BillAmount>,
}

/// One resource of a bill. `granted = used + waste`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillAmount {
    /// `cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`.
    pub resource: String,
    /// The device's model name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `core-hour`, `GiB-hour` or `device-hour`.
    pub unit: String,
    /// Granted while it ran.
    pub granted_micro_hours: u64,
    /// Of that, used.
    pub used_micro_hours: u64,
    /// Of that, not used.
    pub waste_micro_hours: u64,
    /// Used beyond what was granted.
    pub burst_micro_hours: u64,
    /// So much is charged for, at the price of the class or of `spare`: what `pond usage` counts.
    #[serde(default)]
    pub charged_micro_hours: u64,
    /// Charged.
    pub charge_micros: u64,
    /// Given back.
    pub credit_micros: u64,
}

/// One resource of all machines. `capacity = granted + idle + planned + down`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolAmount {
    /// `cpu`, `memory`, `disk`, `gpu`, `fpga`, `npu` or `opencl`.
    pub resource: String,
    /// The device's model name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `core-hour`, `GiB-hour` or `device-hour`.
    pub unit: String,
    /// All there was.
    pub capacity_micro_hours: u64,
    /// Granted to tasks that ran.
    pub granted_micro_hours: u64,
    /// Free, and could have been granted.
    pub idle_micro_hours: u64,
    /// Set aside for tasks that did not run yet.
    pub planned_micro_hours: u64,
    /// Free, and could not have been granted.
    pub down_micro_hours: u64,
    /// What the idle part would have cost at the price of class `standard`.
    pub idle_micros: u64,
}

/// How the ledger is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LedgerFormat {
    /// One [`LedgerLine`] a line.
    #[default]
    Json,
    /// The same in columns.
    Csv,
    /// Columns of FOCUS 1.4 (Cost and Usage).
    Focus,
}

/// Which lines of the ledger, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LedgerQuery {
    /// `json` (default), `csv` or `focus`.
    #[serde(default)]
    #[param(inline)]
    pub format: LedgerFormat,
    /// Periods that began at this moment or later; default: the first of this month.
    pub from_ms: Option<u64>,
    /// Periods that began before this moment; default: up to now.
    pub to_ms: Option<u64>,
    /// This queue and all below it.
    pub queue: Option<String>,
    /// This user.
    pub user: Option<String>,
    /// This job.
    pub job: Option<u64>,
    /// Lines of the period that is not over, too, as if it ended now.
    #[serde(default)]
    pub open: bool,
}

/// One resource of one job in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerLine {
    /// The period's number.
    pub period: u64,
    /// Its first moment.
    pub from_ms: u64,
    /// The first moment after it.
    pub to_ms: u64,
    /// Whether it is closed: it never changes any more.
    pub closed: bool,
    /// The queue that is charged.
    pub queue: String,
    /// Who submitted the job.
    pub user: String,
    /// The job.
    pub job: u64,
    /// Its class.
    pub class: Class,
    /// How much, and what it costs.
    #[serde(flatten)]
    pub amount: BillAmount,
    /// Price of the class for a unit.
    pub price_micros: u64,
    /// Price of `spare` for a unit.
    pub spare_price_micros: u64,
    /// Of the charge, for use beyond what was granted and for all use of `spare`.
    pub charge_spare_micros: u64,
    /// The currency.
    pub currency: String,
}
