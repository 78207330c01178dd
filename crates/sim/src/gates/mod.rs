//! Gates: ours against a reference, row by row, each with its bound. `cargo xtask gates sim` runs them all.
//!
//! Pure: traces come in as readers or rows, and what a run costs is measured outside.

mod equality;
mod packing;
mod planner;

pub use equality::equality;
pub use packing::{packing, packing_contest};
pub use planner::{Pool, planner, same_bytes};

/// One thing that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which gate, from 1.
    pub gate: u8,
    /// What is compared.
    pub what: String,
    /// Ours.
    pub ours: String,
    /// The reference; empty where there is none.
    pub reference: String,
    /// The bound in words; empty for a row that only informs.
    pub bound: String,
    /// Whether the bound holds; `None` for a row that only informs.
    pub pass: Option<bool>,
}

impl Row {
    /// A row that only informs.
    #[must_use]
    pub fn note(gate: u8, what: String, ours: String) -> Self {
        Self { gate, what, ours, reference: String::new(), bound: String::new(), pass: None }
    }
}
