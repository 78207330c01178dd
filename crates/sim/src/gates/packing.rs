//! Gate 2: the published packing table (Weng et al., ATC 2023), and ours against FGD.

use super::Row;
use crate::packing::{Cell, Contest, TOLERANCE};

/// One row a workload and policy: the cell that differs most from the published mean.
#[must_use]
pub fn packing(cells: &[Cell]) -> Vec<Row> {
    let alike = |a: &Cell, b: &Cell| a.workload == b.workload && a.policy == b.policy;
    cells
        .chunk_by(alike)
        .filter_map(|cells| {
            let worst = cells.iter().max_by(|a, b| a.difference().abs().total_cmp(&b.difference().abs()))?;
            Some(Row {
                gate: 2,
                what: format!(
                    "{}, {}: allocation % at {} % (of {} points the one that differs most)",
                    worst.workload,
                    worst.policy.name(),
                    worst.percent,
                    cells.len()
                ),
                ours: format!("{:.2}", worst.ours.mean),
                reference: format!("{:.2}", worst.published.mean),
                bound: format!("± {TOLERANCE} points"),
                pass: Some(worst.passes()),
            })
        })
        .collect()
}

/// Our policy against FGD on the same arrivals, without migration.
#[must_use]
pub fn packing_contest(workload: &str, contest: &Contest) -> Row {
    Row {
        gate: 2,
        what: format!("{workload}, ours without migration: allocation % at 130 %"),
        ours: format!("{:.2} ± {:.2}", contest.gaps.mean, contest.gaps.deviation),
        reference: format!("FGD {:.2} ± {:.2}", contest.fgd.mean, contest.fgd.deviation),
        bound: "more".to_owned(),
        pass: Some(contest.gaps.mean > contest.fgd.mean),
    }
}
