//! Readers of traces: public ones, those of other schedulers, and the pool's own history.
//!
//! Each reader takes bytes from whatever it is handed and gives typed rows ([`Reading`]); most rows become a
//! [`Workload`](crate::workload::Workload) and the machines of the trace ([`Jobs`]). A row that cannot be used is
//! told with its line and the reason, and counted; nothing is dropped in silence. What each format holds, what is
//! used of it and what is left out: `docs/traces.md`.

mod detect;
pub mod fgd;
pub mod helios;
pub mod history;
mod jobs;
pub mod journal;
mod lines;
mod open;
pub mod openb;
pub mod pai;
pub mod philly;
pub mod profiles;
pub mod requests;
pub mod serving;
pub mod slurm;
mod slurm_json;
mod source;
pub mod swf;
mod table;
pub mod time;
pub mod unpack;
pub mod write;

pub use detect::{Format, UnknownFormat, detect, names};
pub use jobs::{Jobs, Machine, Note};
pub use open::{Content, Loaded, Options, TraceError, open, open_with};
pub use source::{PassedOver, of_pipe};

use crate::workload::Ending;
use std::collections::BTreeMap;
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
        /// What it holds; shortened to 80 characters.
        text: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A quote that does not close.
    #[error("a quote is opened and never closed")]
    OpenQuote,
    /// More columns than the header names: a separator inside a value.
    #[error("the row has {found} columns where the header names {named}")]
    TooWide {
        /// Columns of the row.
        found: usize,
        /// Columns of the header.
        named: usize,
    },
    /// The last row, narrower than the header and without a line end: a copy that was cut short.
    #[error("the file ends within this row")]
    CutShort,
    /// Bytes that are not UTF-8.
    #[error("the line is not text")]
    NotText,
    /// A line longer than any that the formats have.
    #[error("the line has more than {0} bytes")]
    TooLong(usize),
    /// A line that is not one JSON object of the format.
    #[error("not an entry of this format: {0}")]
    NotJson(String),
    /// Good, but nothing that can be replayed.
    #[error("{0}")]
    LeftOut(#[from] LeftOut),
}

/// Why a row that is right in itself is no job that could be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum LeftOut {
    /// It was cancelled, or refused, before it had a place.
    #[error("the job never ran")]
    NeverRan,
    /// It still ran, or waited, when the trace was taken.
    #[error("the job had not ended")]
    NotEnded,
    /// No submission, start or end from which a run time follows.
    #[error("the job's times are not known")]
    NoTimes,
    /// It ends before it starts, or starts before it is submitted.
    #[error("the job's times run backwards")]
    Backwards,
    /// It asked for nothing: no processor, no device.
    #[error("the job asks for nothing")]
    NoSize,
    /// A part of a job that has a row of its own.
    #[error("a part of a job that has a row of its own")]
    Part,
    /// The number of an earlier row.
    #[error("an earlier row has the same number or name")]
    Double,
    /// Its amounts are beyond any machine.
    #[error("its amounts are beyond any machine")]
    TooLarge,
    /// It ran for longer than a century: a moment or a number that was mistyped.
    #[error("it ran for more than a hundred years")]
    TooLong,
    /// Its speeds are out of range, or do not ascend by tasks.
    #[error("its speeds are out of range or out of order")]
    Unsound,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// The input ended before its end: a gzip file cut short, a disk that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input breaks off after line {line}: {why}")]
pub struct Broken {
    /// The last whole line.
    pub line: u64,
    /// What the system says.
    pub why: String,
}

/// What was read of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<T> {
    /// Usable rows, in the order of the file.
    pub rows: Vec<T>,
    /// The line of each of [`Self::rows`], from 1.
    pub lines: Vec<u64>,
    /// Rows left out.
    pub bad: Vec<BadRow>,
    /// Set when there was more that could not be read; the rows up to there are whole.
    pub broken: Option<Broken>,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), lines: Vec::new(), bad: Vec::new(), broken: None }
    }
}

impl<T> Reading<T> {
    fn take(&mut self, line: u64, row: Result<T, BadRowReason>) {
        match row {
            Ok(row) => {
                self.rows.push(row);
                self.lines.push(line);
            }
            Err(reason) => self.bad.push(BadRow { line, reason }),
        }
    }
}

/// One line of [`summary`]: how often something was wrong, and the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many rows.
    pub count: u64,
    /// The first of them, as an example.
    pub first: BadRow,
}

/// Bad rows by what is wrong with them (the column, not its text), most frequent first.
#[must_use]
pub fn summary(bad: &[BadRow]) -> Vec<Tally> {
    let mut kinds: BTreeMap<(u8, &str), Tally> = BTreeMap::new();
    for row in bad {
        let tally =
            kinds.entry(kind_of(&row.reason)).or_insert_with(|| Tally { count: 0, first: row.clone() });
        tally.count += 1;
    }
    let mut all: Vec<Tally> = kinds.into_values().collect();
    all.sort_by_key(|tally| (std::cmp::Reverse(tally.count), tally.first.line));
    all
}

const fn kind_of(reason: &BadRowReason) -> (u8, &str) {
    match reason {
        BadRowReason::Missing(column) => (0, column),
        BadRowReason::Malformed { column, .. } => (1, column),
        BadRowReason::OpenQuote => (2, ""),
        BadRowReason::TooWide { .. } => (3, ""),
        BadRowReason::NotText => (4, ""),
        BadRowReason::TooLong(_) => (5, ""),
        BadRowReason::NotJson(_) => (6, ""),
        BadRowReason::CutShort => (7, ""),
        BadRowReason::LeftOut(why) => (16 + *why as u8, ""),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × like {}", self.count, self.first)
    }
}

/// At most 80 characters of what was found, for a message.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is wrong with an entry that is no JSON of its format. Where it is counts from the entry's begin, as the row's line is
/// told beside it.
fn not_json(why: &serde_json::Error) -> BadRowReason {
    let text = why.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    BadRowReason::NotJson(match why.line() {
        0 => excerpt(what),
        1 => format!("{}, at its column {}", excerpt(what), why.column()),
        line => format!("{}, in its line {line}", excerpt(what)),
    })
}

/// How a job ended, `None` when it goes on or waits again; and whether that is a guess because the word is not known.
fn read_ending(state: &str) -> (Option<Ending>, bool) {
    let goes_on = GOING.iter().any(|known| is_word(state, known));
    let known = read_state(state);
    match (goes_on, known) {
        (true, None) => (None, false),
        // What is cut so short that it may be either, too.
        (true, Some(ending)) => (Some(ending), true),
        (false, known) => (Some(known.unwrap_or_default()), known.is_none()),
    }
}

/// Whether a state is this word, in capitals: alone, with more behind it (`CANCELLED by 7`), or cut to the width of its column
/// (`OUT_OF_ME+`).
fn is_word(state: &str, word: &str) -> bool {
    let text = state.split(' ').next().unwrap_or_default();
    match text.split_once('+') {
        Some((begin, "")) if begin.len() >= CUT => {
            word.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin))
        }
        Some((whole, _)) => whole.eq_ignore_ascii_case(word),
        None => text.eq_ignore_ascii_case(word),
    }
}

/// The shortest that a word is cut to and is still taken for it.
const CUT: usize = 4;

/// States of jobs that go on, or wait again.
const GOING: [&str; 24] = [
    "RUNNING",
    "R",
    "PENDING",
    "PD",
    "SUSPENDED",
    "S",
    "REQUEUED",
    "RQ",
    "REQUEUE_HOLD",
    "RH",
    "REQUEUE_FED",
    "RF",
    "RESV_DEL_HOLD",
    "RD",
    "RESIZING",
    "RS",
    "COMPLETING",
    "CG",
    "CONFIGURING",
    "CF",
    "SIGNALING",
    "STAGE_OUT",
    "STOPPED",
    "POWER_UP_NODE",
];

/// How a state, in any of the spellings that traces have, ends a job; `None` for a word that is not known.
fn read_state(text: &str) -> Option<Ending> {
    let ends: [(Ending, &[&str]); 3] = [
        (Ending::Completed, &["COMPLETED", "CD", "PASS"]),
        (Ending::Cancelled, &["CANCELLED", "CANCELED", "CA", "KILLED", "REVOKED"]),
        (Ending::Failed, &FAILED),
    ];
    ends.into_iter().find(|(_, words)| words.iter().any(|word| is_word(text, word))).map(|(end, _)| end)
}

/// States of jobs that ended without having done what they were to do.
const FAILED: [&str; 17] = [
    "FAILED",
    "F",
    "TIMEOUT",
    "TO",
    "NODE_FAIL",
    "NF",
    "OOM",
    "BOOT_FAIL",
    "BF",
    "OUT_OF_MEMORY",
    "OUT_OF_ME",
    "DEADLINE",
    "DL",
    "PREEMPTED",
    "PR",
    "SPECIAL_EXIT",
    "LAUNCH_FAILED",
];
