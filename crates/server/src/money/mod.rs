//! From the engine's ledger to what people read: decimal amounts, bills, exports.

mod bill;
mod export;
mod focus;

pub use bill::Bill;
pub use export::Writer;

use crate::pool::view::word;
use pond_core::money::{MICROS, Resource};

/// Micro-units as a decimal number, at least two decimals: `12.50`, `-0.000001`.
#[must_use]
pub fn decimal(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let size = micros.unsigned_abs();
    let rest = format!("{:06}", size % u128::from(MICROS));
    let short = rest.trim_end_matches('0');
    format!("{sign}{}.{short:0<2}", size / u128::from(MICROS))
}

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

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn money_is_written_to_the_last_micro_unit() {
        assert_eq!(decimal(0), "0.00");
        assert_eq!(decimal(2_500_000), "2.50");
        assert_eq!(decimal(-1), "-0.000001");
        assert_eq!(decimal(12_345_678), "12.345678");
    }
}
