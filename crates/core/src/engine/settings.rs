//! What an operator can set of the engine. Plain data; every field has its unit and default.

use crate::snapshot;
use crate::units::Millis;
use serde::{Deserialize, Serialize};

/// How the engine keeps time and patience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A node unheard of for this long is suspect, in milliseconds; zero: never. Default 15 s.
    pub lease: Millis,
    /// A suspect node is lost after this much longer, in milliseconds. Default 30 s.
    pub lost_after: Millis,
    /// A task that has not started after this long is given up and tried elsewhere, in milliseconds. Default one hour.
    pub start_timeout: Millis,
    /// A stop that nobody confirmed is repeated, without grace, this long after its grace, in milliseconds;
    /// doubles each time. Default 10 s.
    pub stop_again: Millis,
    /// A gang whose attempts fail through no fault of its own this many times in a row is given up. Default 10.
    pub max_faults: u32,
    /// How long the failure of a gang with devices that tell of themselves waits to be judged, for a device may be to blame and its
    /// driver tell of it later, in milliseconds; never longer than the attempt ran. Zero: what is not known by then is not waited for. Default no wait; a server
    /// sets it.
    pub device_verdict: Millis,
    /// A device that was told to be beyond work at most this long before a gang on it failed is to blame, in milliseconds. Default 15
    /// minutes: longer than collective libraries wait for a rank that is cut off.
    pub device_blame: Millis,
    /// An attempt that ran this long shows that the faults before it are over, in milliseconds. Default one minute.
    pub steady: Millis,
    /// The longest wait between two attempts, in milliseconds. Default one hour.
    pub max_backoff: Millis,
    /// The most grace a `spare` gang without checkpoint has when the owner wants its CPU, in milliseconds. Default 300.
    pub spare_grace: Millis,
    /// Past decisions kept per gang. Default 16.
    pub past: u32,
    /// Whether the ledger is kept, and with it prices and budgets. Default no; a server sets it.
    pub ledger: bool,
    /// How often budgets are looked at, in milliseconds. Default 5 s.
    pub budget_every: Millis,
    /// How the pool is planned.
    pub plan: snapshot::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Millis(15_000),
            lost_after: Millis(30_000),
            start_timeout: Millis(3_600_000),
            stop_again: Millis(10_000),
            max_faults: 10,
            device_verdict: Millis::ZERO,
            device_blame: Millis(900_000),
            steady: Millis(60_000),
            max_backoff: Millis(3_600_000),
            spare_grace: Millis(300),
            past: 16,
            ledger: false,
            budget_every: Millis(5000),
            plan: snapshot::Settings::default(),
        }
    }
}
