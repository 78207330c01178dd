//! Measured speeds: how fast a model trains on a kind of device, with so many tasks, beside another job.

mod assign;
pub mod gavel;
pub mod interference;
pub mod pollux;

pub use assign::Assign;

/// Two jobs on one device: each one's speed against that alone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pair {
    /// The model of device; empty where the measurement names none.
    pub device: String,
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// Speed of the one in thousandths of that alone; 0: both do not fit.
    pub first_milli: u64,
    /// Speed of the other.
    pub second_milli: u64,
    /// How busy the device was with both, in thousandths of the time; 0: not measured.
    pub device_busy: u64,
    /// How busy its memory was, in thousandths of the time; 0: not measured.
    pub memory_busy: u64,
    /// Memory that both used, in bytes; 0: not measured.
    pub memory: u64,
}

/// `part / whole` in thousandths, rounded; 0 without a whole, at most a million.
fn milli(part: f64, whole: f64) -> u64 {
    let ratio = part / whole * 1000.0;
    // Between 0 and 10^6 the cast is exact after rounding.
    if ratio.is_finite() && ratio > 0.0 { ratio.min(1.0e6).round() as u64 } else { 0 }
}
