//! Gate 1: equal, job by job, to the published Helios/Lucid simulator (Hu et al., SC 2021; ASPLOS 2023).

use super::Row;
use crate::conformance::{ConformanceError, Outcome, Policy, run};
use crate::trace::{TraceJob, helios};
use std::collections::BTreeMap;
use std::io::Read;

/// Seconds from the trace's epoch, 2020-04-01 00:02:31, to 2020-09-01 00:00:00.
const SEPTEMBER_S: i64 = 153 * 86_400 - 151;
const CLUSTERS: [(&str, u32); 2] = [("vcvGl", 20), ("vcvlY", 2)];
const POLICIES: [(&str, Policy); 4] =
    [("fifo", Policy::Fifo), ("sjf", Policy::Sjf), ("srtf", Policy::Srtf), ("tiresias", Policy::Tiresias)];

/// Two virtual clusters of Venus in September under four policies: start, end, time in the queue and preemptions of every
/// job against `expected` (plain CSV). `trace`: `venus_2vc_sept.csv`.
///
/// # Errors
/// The expected file breaks off or holds something else; a job is larger than its cluster.
pub fn equality(trace: impl Read, expected: impl Read) -> Result<Vec<Row>, EqualityError> {
    let reading = helios::windowed(trace, SEPTEMBER_S);
    let expected = read(expected)?;
    let mut rows = Vec::new();
    for (vc, nodes) in CLUSTERS {
        let mut jobs: Vec<TraceJob> =
            reading.rows.iter().filter(|job| job.partition == vc).cloned().collect();
        for (name, policy) in POLICIES {
            let theirs = expected.get(&(vc.to_owned(), name.to_owned())).map_or(&[][..], Vec::as_slice);
            // Which of two jobs submitted in one second comes first is told by the published rows alone.
            let rank: BTreeMap<u64, usize> =
                theirs.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
            jobs.sort_by_key(|job| rank.get(&job.id).copied().unwrap_or(usize::MAX));
            let ours = run(nodes, &jobs, policy)?;
            let known: BTreeMap<u64, &Outcome> = theirs.iter().map(|row| (row.id, row)).collect();
            let equal = ours.iter().filter(|row| known.get(&row.id) == Some(row)).count();
            rows.push(Row {
                gate: 1,
                what: format!("Venus {vc}, {name}: jobs equal in start, end, queue, preemptions"),
                ours: equal.to_string(),
                reference: theirs.len().to_string(),
                bound: "all".to_owned(),
                pass: Some(equal == theirs.len() && ours.len() == theirs.len() && equal > 0),
            });
        }
    }
    Ok(rows)
}

/// Why the comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EqualityError {
    /// A row of the expected file.
    #[error("the expected rows cannot be read: {0}")]
    Csv(#[from] csv::Error),
    /// A number of it.
    #[error("the expected rows hold `{text}` in column {column}, which is no number")]
    Number {
        /// From 1.
        column: usize,
        /// What it holds.
        text: String,
    },
    /// The run itself.
    #[error(transparent)]
    Run(#[from] ConformanceError),
}

/// Outcomes by cluster and policy.
fn read(expected: impl Read) -> Result<BTreeMap<(String, String), Vec<Outcome>>, EqualityError> {
    let mut rows: BTreeMap<(String, String), Vec<Outcome>> = BTreeMap::new();
    for record in csv::Reader::from_reader(expected).records() {
        let record = record?;
        let text = |at: usize| record.get(at).unwrap_or_default();
        let number = |at: usize| {
            text(at)
                .parse::<f64>()
                .map_err(|_why| EqualityError::Number { column: at + 1, text: text(at).to_owned() })
        };
        rows.entry((text(0).to_owned(), text(1).to_owned())).or_default().push(Outcome {
            id: number(2)? as u64,
            start_s: number(6)? as i64,
            end_s: number(7)? as i64,
            queue_s: number(8)? as i64,
            preemptions: number(9)? as u32,
        });
    }
    Ok(rows)
}
