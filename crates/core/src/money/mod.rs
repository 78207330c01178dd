//! Money: prices, the ledger that is closed hour by hour, budgets. Exact, in integers.
//!
//! ```text
//!  meter ──sums──▶ account of a job ──the hour is over──▶ late ──all CPU is told apart──▶ Period, closed
//!                  (the present period)                  (the period before)              kept by the server
//! ```
//! A [`Period`] ends with the hour in UTC, and where a price begins or ends to hold, so each has one price list. It is
//! closed when every task that ran at its end has said how much CPU it used up to there, at the latest when the next
//! one ends; what was not said by then counts as not used.
//!
//! **Rounding.** An amount is a whole number of micro-units (10⁻⁶ of the currency). What a job owes for a resource is
//! rounded down, and the part of a micro-unit that is left is carried into the job's next period. So an entry is
//! within one micro-unit of price × quantity, all entries of a job together are, too, and nothing is ever given back that
//! was not charged. A bill is a sum of entries: whichever way the ledger is cut into bills, they add up to it.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp
)]

mod amount;
mod budget;
mod calendar;
mod ledger;
mod price;

pub use amount::{decimal, decimal_to, micros, places};
pub(crate) use budget::Finding;
pub use budget::{Budget, BudgetError, BudgetStop, Budgets, MAX_BUDGETS, Spending, Spent};
pub use calendar::{Span, date, moment};
pub(crate) use ledger::{Account, Books, Payer};
pub use ledger::{Ledger, Standing};
pub use price::{MAX_PRICE, MAX_PRICES, Price, PriceError, PriceSheet, PriceSpec, Priced};

use crate::check::Violation;
use crate::ids::{JobId, QueuePath, UserName};
use crate::model::{Class, DeviceKind};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Micro-units of the currency in one of it.
pub const MICROS: u64 = 1_000_000;
const HOUR_MS: u128 = 3_600_000;

/// What is charged for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Devices of one model.
    Device {
        /// Their kind.
        kind: DeviceKind,
        /// The maker's name for them.
        model: String,
    },
}

impl Resource {
    /// What the meter counts of it for one unit (core, gibibyte, device) and hour.
    #[must_use]
    pub const fn unit_hour(&self) -> u128 {
        match self {
            Self::Cpu | Self::Device { .. } => 1000 * HOUR_MS,
            Self::Memory | Self::Disk => (1 << 30) * HOUR_MS,
        }
    }
}

/// What became of one resource, in the meter's unit × milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Granted while it ran.
    pub granted: u128,
    /// Of that, used.
    pub used_within: u128,
    /// Of that, not used.
    pub waste: u128,
    /// Used beyond what was granted.
    pub burst: u128,
    /// Charged at the price of the job's class.
    pub base: u128,
    /// Charged at the price of `spare`.
    pub spare: u128,
}

impl Sums {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds other sums to these.
    pub const fn add(&mut self, other: Self) {
        self.granted = self.granted.saturating_add(other.granted);
        self.used_within = self.used_within.saturating_add(other.used_within);
        self.waste = self.waste.saturating_add(other.waste);
        self.burst = self.burst.saturating_add(other.burst);
        self.base = self.base.saturating_add(other.base);
        self.spare = self.spare.saturating_add(other.spare);
    }

    /// What it costs at these prices, in micro-units × [`Resource::unit_hour`].
    const fn cost(&self, rates: Rates) -> u128 {
        let base = self.base.saturating_mul(rates.class as u128);
        base.saturating_add(self.spare.saturating_mul(rates.spare as u128))
    }
}

/// Prices of one resource for one job, in micro-units for a unit and hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Of the job's class.
    pub class: u64,
    /// Of `spare`.
    pub spare: u64,
}

/// One line of the ledger: one resource of one job in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The job.
    pub job: JobId,
    /// The queue that is charged.
    pub queue: QueuePath,
    /// Who submitted the job.
    pub user: UserName,
    /// Its class.
    pub class: Class,
    /// What.
    pub resource: Resource,
    /// How much, in the meter's unit × milliseconds.
    pub sums: Sums,
    /// At which prices.
    pub rates: Rates,
    /// What is charged, in micro-units.
    pub charge: u64,
    /// Of that, for use beyond what was granted, and for all use of `spare`.
    pub charge_spare: u64,
    /// What is given back because the pool lost the work, charged in this period or in those before it.
    pub credit: u64,
}

impl Entry {
    /// Charge less credit, in micro-units.
    #[must_use]
    pub fn net(&self) -> i128 {
        i128::from(self.charge).saturating_sub(i128::from(self.credit))
    }
}

/// What became of one resource of all machines in one period, in the meter's unit × milliseconds.
///
/// `capacity = granted + idle + planned + down`. Of devices this counts compute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolEntry {
    /// What.
    pub resource: Resource,
    /// All there was.
    pub capacity: u128,
    /// Granted to tasks that ran.
    pub granted: u128,
    /// Free, and could have been granted.
    pub idle: u128,
    /// Set aside for tasks that did not run yet.
    pub planned: u128,
    /// Free, and could not have been granted.
    pub down: u128,
    /// The price of class `standard`, in micro-units for a unit and hour: what idle time would have cost.
    pub rate: u64,
}

impl PoolEntry {
    /// What an amount of it is worth at the price of class `standard`, in whole micro-units.
    #[must_use]
    pub fn worth(&self, amount: u128) -> u64 {
        whole(amount.saturating_mul(u128::from(self.rate)), self.resource.unit_hour()).0
    }
}

/// A closed period of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Counts up from 1 without gap, but for periods in which nothing was there.
    pub seq: u64,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// The currency of its amounts.
    pub currency: String,
    /// By job and resource.
    pub entries: Vec<Entry>,
    /// By resource.
    pub pool: Vec<PoolEntry>,
}

impl Period {
    /// Whether its identities hold: `granted = used_within + waste` for each job and resource,
    /// `capacity = granted + idle + planned + down` for each resource, and what jobs were granted of CPU, memory and disk
    /// is what the machines granted.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut broken = |rule, detail| found.push(Violation { rule, detail });
        for entry in &self.entries {
            let Sums { granted, used_within, waste, .. } = entry.sums;
            if granted != used_within.saturating_add(waste) {
                let line = format!("period {}, job {}, {:?}", self.seq, entry.job, entry.resource);
                broken("ledger_granted", format!("{line}: granted {granted} is not {used_within} + {waste}"));
            }
        }
        for line in &self.pool {
            let parts = line.granted.saturating_add(line.idle).saturating_add(line.planned);
            if line.capacity != parts.saturating_add(line.down) {
                broken("ledger_capacity", format!("period {}, {line:?}", self.seq));
            }
            if matches!(line.resource, Resource::Device { .. }) {
                continue;
            }
            let of_jobs = self.entries.iter().filter(|entry| entry.resource == line.resource);
            let sum = of_jobs.fold(0_u128, |sum, entry| sum.saturating_add(entry.sums.granted));
            if sum != line.granted {
                let detail = format!(
                    "period {}, {:?}: jobs {sum}, machines {}",
                    self.seq, line.resource, line.granted
                );
                broken("ledger_jobs", detail);
            }
        }
        found
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.pool.is_empty()
    }
}

/// Whole micro-units in a cost, and what is left of it.
fn whole(cost: u128, unit_hour: u128) -> (u64, u128) {
    let units = cost.checked_div(unit_hour).unwrap_or(0);
    (u64::try_from(units).unwrap_or(u64::MAX), cost.checked_rem(unit_hour).unwrap_or(0))
}
