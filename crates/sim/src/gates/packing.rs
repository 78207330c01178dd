//! Gate 2: the published packing table (Weng et al., ATC 2023), and ours against FGD.

use super::Row;
use crate::packing::{Cell, Contest, Figure, MOVES, TOLERANCE};

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

/// Ours against FGD on the same arrivals: without migration, and with a few moves, which are counted.
#[must_use]
pub fn packing_contest(workload: &str, contest: &Contest) -> Vec<Row> {
    let row = |what: String, ours: Figure, cost: String| Row {
        gate: 2,
        what: format!("{workload}, ours {what}: allocation % at 130 %"),
        ours: format!("{:.2} ± {:.2}{cost}", ours.mean, ours.deviation),
        reference: format!("FGD {:.2} ± {:.2}", contest.fgd.mean, contest.fgd.deviation),
        bound: "more".to_owned(),
        pass: Some(ours.mean > contest.fgd.mean),
    };
    let cost =
        format!(", {} pods moved, {:.2} % of what was granted", contest.moves.pods, contest.moved_percent());
    vec![
        row("without migration".to_owned(), contest.gaps, String::new()),
        row(format!("with at most {MOVES} move for a pod"), contest.moving, cost),
    ]
}
