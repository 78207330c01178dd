//! The published results of the packing experiment (Weng et al., ATC 2023): mean and deviation over ten seeds.

use super::table::{Style, read};
use super::{BadRowReason, Reading};
use crate::packing::Figure;
use std::io::Read;

/// One policy on one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedRow {
    /// The workload, by the name of its file without extensions.
    pub workload: String,
    /// The policy, by its published name.
    pub policy: String,
    /// Percent of the GPUs granted when 95, 100, 110, 120 and 130 % had been asked for.
    pub allocated: [Figure; 5],
}

/// Columns `workload, sc_policy` and, for each percent, `alloc@95_mean, alloc@95_std`.
pub fn published(input: impl Read) -> Reading<PublishedRow> {
    read(input, Style::CSV, |row| {
        let figure = |mean, deviation| -> Result<Figure, BadRowReason> {
            Ok(Figure { mean: row.decimal(mean)?, deviation: row.decimal(deviation)? })
        };
        Ok(PublishedRow {
            workload: row.text(&["workload"])?.to_owned(),
            policy: row.text(&["sc_policy"])?.to_owned(),
            allocated: [
                figure(&["alloc@95_mean"], &["alloc@95_std"])?,
                figure(&["alloc@100_mean"], &["alloc@100_std"])?,
                figure(&["alloc@110_mean"], &["alloc@110_std"])?,
                figure(&["alloc@120_mean"], &["alloc@120_std"])?,
                figure(&["alloc@130_mean"], &["alloc@130_std"])?,
            ],
        })
    })
}
