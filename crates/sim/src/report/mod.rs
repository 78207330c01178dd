//! Reports: what an [`Outcome`] says, in figures, in tables, and on one page with plots.
//!
//! Pure: outcomes in, values and text out. Amounts are integers (milliseconds, thousandths, parts per million), so
//! a report of the same outcome is the same, byte by byte, everywhere.

mod compare;
mod html;
mod number;
mod real;
mod sheet;
mod spread;
mod summary;
#[cfg(test)]
mod tests;

pub use compare::{Bootstrap, Comparison, Difference, Metric, Verdict, compare, contradiction};
pub use html::{Page, Run};
pub use number::{grouped, hours, percent, ratio, seconds, span, thousandths};
pub use real::as_it_was;
pub use sheet::{jobs_csv, series_csv, summaries_csv};
pub use spread::Spread;
pub use summary::{Figures, SizeClass, Summary, slowdown_milli};

#[cfg(doc)]
use crate::outcome::Outcome;
