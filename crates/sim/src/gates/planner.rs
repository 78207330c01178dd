//! Gates 4 and 5: the real planner under all policies, and that the same seed gives the same bytes.

use super::Row;
use crate::experiment::Contestant;
use crate::outcome::Outcome;
use crate::report::{Summary, grouped, percent, seconds, thousandths};
use crate::simulator::{SimError, SimSettings};
use crate::workload::{Cluster, Workload};

/// A workload on a pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// As it is printed.
    pub name: String,
    /// Machines.
    pub cluster: Cluster,
    /// Jobs.
    pub workload: Workload,
    /// A policy's name, the mean completion time known for it in milliseconds, and how far ours may be from it, in
    /// thousandths.
    pub known: Vec<(&'static str, u64, u64)>,
}

/// Runs a pool under each contestant: one row each, with its mean completion time against the one that is known, and
/// a second one that no plan broke a rule.
///
/// # Errors
/// The pool cannot be simulated.
pub fn planner(pool: &Pool, contestants: &[Contestant]) -> Result<Vec<Row>, SimError> {
    let mut rows = Vec::new();
    for contestant in contestants {
        let outcome = contestant.run(&pool.cluster, &pool.workload, &SimSettings::default())?;
        let summary = Summary::of(&outcome);
        let jct = summary.all.jct_ms;
        let what =
            format!("{}, {}: JCT s mean (p99; slowdown; evictions; allocation)", pool.name, contestant.name);
        let ours = format!(
            "{} ({}; {}; {}; {} %)",
            seconds(jct.mean),
            seconds(jct.p99),
            thousandths(summary.all.slowdown_milli.mean),
            grouped(summary.preemptions),
            percent(if summary.allocation_ppm > 0 {
                summary.allocation_arrivals_ppm
            } else {
                summary.cpu_allocation_ppm
            })
        );
        let sound = summary.violations == 0 && outcome.counts.doubled == 0 && summary.unfinished == 0;
        let mut row = Row::note(4, what, ours);
        if let Some((_, known, within)) = pool.known.iter().find(|(name, ..)| *name == contestant.name) {
            row.reference = seconds(*known);
            row.bound = format!("± {} %", percent(within * 1000));
            row.pass = Some(
                sound && jct.mean.abs_diff(*known).saturating_mul(1000) <= known.saturating_mul(*within),
            );
        } else if !sound {
            row.bound = "no violation, no job left".to_owned();
            row.pass = Some(false);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Runs each contestant twice, with faults on, and compares what comes of it, byte by byte.
///
/// # Errors
/// The pool cannot be simulated.
pub fn same_bytes(
    pool: &Pool,
    contestants: &[Contestant],
    settings: &SimSettings,
    bytes: impl Fn(&Outcome) -> Vec<u8>,
) -> Result<Vec<Row>, SimError> {
    let mut rows = Vec::new();
    for contestant in contestants {
        let once = || contestant.run(&pool.cluster, &pool.workload, settings);
        let (first, second) = (once()?, once()?);
        let (one, two) = (bytes(&first), bytes(&second));
        let sound = first.counts.violations == 0 && first.counts.doubled == 0;
        rows.push(Row {
            gate: 5,
            what: format!("{}, {}: run twice, bytes alike; violations", pool.name, contestant.name),
            ours: format!("{} of {} bytes; {}", alike(&one, &two), one.len(), first.counts.violations),
            reference: String::new(),
            bound: "all; 0".to_owned(),
            pass: Some(one == two && sound),
        });
    }
    Ok(rows)
}

fn alike(one: &[u8], two: &[u8]) -> usize {
    one.iter().zip(two).take_while(|(a, b)| a == b).count()
}
