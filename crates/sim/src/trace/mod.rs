//! Readers of public traces. A bad row is reported with its line and the reason, counted, never dropped in silence.

pub mod fgd;
pub mod helios;
pub mod openb;
mod table;

use std::fmt;

/// One job of a trace of GPU jobs; times in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceJob {
    /// The trace's own number.
    pub id: u64,
    /// The part of the cluster it was submitted to; empty when the trace has none.
    pub partition: String,
    /// Who submitted it; empty when the trace has none.
    pub user: String,
    /// Seconds since the trace's epoch; negative before it.
    pub submit_s: i64,
    /// Run time, in seconds.
    pub duration_s: u64,
    /// GPUs; 0 for a CPU job.
    pub gpus: u32,
}

/// A row that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Line in the file, from 1.
    pub line: u64,
    /// Why.
    pub reason: BadRowReason,
}

/// Why a row could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRowReason {
    /// A column that the reader needs is not there.
    #[error("the row has no column `{0}`")]
    Missing(&'static str),
    /// A column that is not a number, or not in range.
    #[error("column `{column}` holds `{text}`, which is not {wanted}")]
    Malformed {
        /// Which column.
        column: &'static str,
        /// What it holds.
        text: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Not CSV at all: quotes that do not close, bytes that are not text.
    #[error("the row is not CSV: {0}")]
    NotCsv(String),
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// What was read of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<T> {
    /// Usable rows, in the order of the file.
    pub rows: Vec<T>,
    /// Rows left out.
    pub bad: Vec<BadRow>,
}
