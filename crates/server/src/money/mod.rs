//! From the engine's ledger to what people read: decimal amounts, bills, exports.

mod bill;
mod export;
mod focus;

pub use bill::Bill;
pub use export::Writer;

use crate::pool::view::word;
pub use pond_core::money::decimal;
use pond_core::money::{MICROS, Resource};

/// What a resource is called: its word, the device's model, and the unit that is priced.
#[must_use]
pub fn named(resource: &Resource) -> (String, Option<String>, &'static str) {
    match resource {
        Resource::Cpu => ("cpu".to_owned(), None, "core-hour"),
        Resource::Memory => ("memory".to_owned(), None, "GiB-hour"),
        Resource::Disk => ("disk".to_owned(), None, "GiB-hour"),
        Resource::Device { kind, model } => (word(kind), Some(model.clone()), "device-hour"),
    }
}

/// Millionths of unit-hours in an amount of the meter, rounded down.
fn micro_hours(resource: &Resource, amount: u128) -> u64 {
    u64::try_from(amount.saturating_mul(u128::from(MICROS)) / resource.unit_hour()).unwrap_or(u64::MAX)
}
