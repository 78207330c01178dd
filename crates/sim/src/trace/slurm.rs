//! What `sacct` prints, with `--parsable2`, `--parsable` or `--delimiter`, or in columns over dashes; its header decides which columns
//! there are.

use super::jobs::{Builder, Draft, Zero, shape, split_evenly};
use super::table::{Column, Row, Style, malformed, read};
use super::{BadRowReason, Jobs, LeftOut, Note, Reading, is_word, read_ending, slurm_json, time};
use crate::workload::{Cluster, Ending};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

pub(super) const ID: Column = &["JobID", "JobIDRaw"];
const RAW: Column = &["JobIDRaw"];
pub(super) const STATE: Column = &["State"];
const SUBMIT: Column = &["Submit", "Eligible"];
const START: Column = &["Start"];
const END: Column = &["End"];
const ELAPSED: Column = &["Elapsed"];
const ELAPSED_RAW: Column = &["ElapsedRaw"];
const LIMIT: Column = &["Timelimit"];
const LIMIT_RAW: Column = &["TimelimitRaw"];
const NODES: Column = &["NNodes", "AllocNodes", "ReqNodes"];
const CPUS: Column = &["NCPUS", "AllocCPUS", "ReqCPUS"];
const TRES: [Column; 2] = [&["AllocTRES"], &["ReqTRES"]];
const GRES: Column = &["AllocGRES", "ReqGRES"];
const MEMORY: Column = &["ReqMem"];

/// One job; times in milliseconds since 1970, local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmJob {
    /// Slurm's number, made unique: an element of an array without a number of its own is 10¹⁵ + job × 10⁶ + index, a
    /// component of a heterogeneous job 2 × 10¹⁵ + job × 10⁶ + component.
    pub id: u64,
    /// Who.
    pub user: String,
    /// On whose account; empty without that column.
    pub account: String,
    /// Where.
    pub partition: String,
    /// Submission.
    pub submit_ms: Option<i64>,
    /// Start; `None` when it had none.
    pub start_ms: Option<i64>,
    /// Run time; `None` when it cannot be told.
    pub duration_ms: Option<u64>,
    /// Limit; `None` for none.
    pub limit_ms: Option<u64>,
    /// How it ended; `None` when it had not.
    pub ending: Option<Ending>,
    /// Its state is no word that is known; it is taken to be an end like any other.
    pub strange: bool,
    /// Its state is one after which Slurm puts the job back into the queue.
    pub again: bool,
    /// Nodes.
    pub nodes: u32,
    /// CPUs in all.
    pub cpus: u64,
    /// GPUs in all.
    pub gpus: u32,
    /// Their model, where the request names it.
    pub model: Option<String>,
    /// Memory in all, in bytes; 0 when it is not told.
    pub memory: u64,
}

/// States after which Slurm may put a job back into the queue; `sacct --duplicates` shows a row for each such attempt.
const AGAIN: [&str; 10] =
    ["REQUEUED", "RQ", "REQUEUE_HOLD", "RH", "PREEMPTED", "PR", "NODE_FAIL", "NF", "BOOT_FAIL", "BF"];

/// Reads jobs, of a table or of what `sacct --json` prints; steps (`123.batch`, `123.0`) are left out and counted, they have
/// a row of their job beside them.
pub fn jobs_of(input: impl Read) -> Reading<SlurmJob> {
    let mut input = BufReader::new(input);
    // What cannot be read is told by whoever reads on.
    let plain = |head: &[u8]| {
        head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first() == Some(&b'{')
    };
    let json = input.fill_buf().is_ok_and(plain);
    if json { slurm_json::jobs_of(input) } else { read(input, Style::SACCT, read_job) }
}

fn read_job(row: &Row) -> Result<SlurmJob, BadRowReason> {
    // What `sacct` prints unless it is told otherwise has no times.
    let timed = row.has(ELAPSED) || row.has(ELAPSED_RAW) || (row.has(START) && row.has(END));
    if !timed {
        return Err(BadRowReason::Missing(ELAPSED[0]));
    }
    if !row.has(SUBMIT) && !row.has(START) {
        return Err(BadRowReason::Missing(SUBMIT[0]));
    }
    let id = row.text(ID)?;
    if id.contains('.') {
        return Err(LeftOut::Part.into());
    }
    let raw = row.optional(RAW).and_then(|text| text.parse().ok());
    let id = match raw {
        Some(id) => id,
        None => read_id(id).ok_or_else(|| malformed("JobID", id, "a job, an element or a component"))?,
    };
    let state = row.text(STATE)?;
    let (ending, strange) = read_ending(state);
    let moment = |column: Column| if row.has(column) { row.moment(column) } else { Ok(None) };
    let (start_ms, end_ms) = (moment(START)?, moment(END)?);
    let told = (count(row, NODES)?, count(row, CPUS)?);
    let amounts = Amounts::read(row, told)?;
    Ok(SlurmJob {
        id,
        user: row.optional(&["User", "UID"]).unwrap_or_default().to_owned(),
        account: row.optional(&["Account"]).unwrap_or_default().to_owned(),
        partition: row.optional(&["Partition"]).unwrap_or_default().to_owned(),
        submit_ms: moment(SUBMIT)?,
        start_ms,
        duration_ms: read_duration(row, start_ms, end_ms)?,
        limit_ms: read_limit(row)?,
        ending,
        strange,
        again: waits_again(state),
        nodes: amounts.nodes,
        cpus: amounts.cpus,
        gpus: amounts.gpus,
        model: amounts.model,
        memory: amounts.memory,
    })
}

pub(super) fn waits_again(state: &str) -> bool {
    AGAIN.iter().any(|known| is_word(state, known))
}

/// A number of nodes or CPUs, 0 when there is none; some columns of `sacct` have 2048 as `2K`.
fn count(row: &Row, column: Column) -> Result<u64, BadRowReason> {
    let Some(text) = row.optional(column) else { return Ok(0) };
    let digits = text.trim_end_matches(['K', 'M']);
    let shift = if text.ends_with('K') { 10 } else { 20 * u32::from(text.ends_with('M')) };
    let number = if digits.len() == text.len() {
        text.parse().ok()
    } else {
        time::read_thousandths(digits)
            .and_then(|milli| u64::try_from(i128::from(milli) * (1 << shift) / 1000).ok())
    };
    number.ok_or_else(|| malformed(column[0], text, "a whole number of 0 or more"))
}

/// `123`, `123_4`, `123_[4-7%2]` (elements that never ran), `123+1`.
fn read_id(text: &str) -> Option<u64> {
    let unique = |base: &str, part: &str, region: u64| -> Option<u64> {
        let (base, part) =
            (base.parse::<u64>().ok()?, part.parse::<u64>().ok().filter(|part| *part < 1_000_000)?);
        region.checked_add(base.checked_mul(1_000_000)?)?.checked_add(part)
    };
    let array = |base, part: &str| {
        let first = part.trim_start_matches('[').split(['-', ',', '%', ']']).next().unwrap_or_default();
        unique(base, first, 1_000_000_000_000_000)
    };
    match (text.split_once('_'), text.split_once('+')) {
        (Some((base, part)), _) => array(base, part),
        (None, Some((base, part))) => unique(base, part, 2_000_000_000_000_000),
        (None, None) => text.parse().ok(),
    }
}

fn read_duration(row: &Row, start: Option<i64>, end: Option<i64>) -> Result<Option<u64>, BadRowReason> {
    if row.optional(ELAPSED_RAW).is_some() {
        return row.number(ELAPSED_RAW).map(|seconds| Some(seconds.saturating_mul(1000)));
    }
    if let Some(text) = row.optional(ELAPSED) {
        let span = time::read_span(text)
            .ok_or_else(|| malformed("Elapsed", text, "[days-]hours:minutes:seconds"))?;
        return Ok(Some(span));
    }
    match start.zip(end) {
        Some((start, end)) => match u64::try_from(end.saturating_sub(start)) {
            Ok(span) => Ok(Some(span)),
            Err(_negative) => Err(LeftOut::Backwards.into()),
        },
        None => Ok(None),
    }
}

fn read_limit(row: &Row) -> Result<Option<u64>, BadRowReason> {
    let none = |text: &str| {
        time::is_unknown(text)
            // `Partition_Limit` is longer than its column.
            || ["unlimited", "partition_limit", "partition+", "invalid"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word))
    };
    if let Some(text) = row.optional(LIMIT).filter(|text| !none(text)) {
        let span = time::read_span(text)
            .ok_or_else(|| malformed("Timelimit", text, "[days-]hours:minutes:seconds"))?;
        return Ok(Some(span));
    }
    match row.optional(LIMIT_RAW).filter(|text| !none(text)) {
        Some(_) => row.number(LIMIT_RAW).map(|minutes| Some(minutes.saturating_mul(60_000))),
        None => Ok(None),
    }
}

#[derive(Default)]
pub(super) struct Amounts {
    pub nodes: u32,
    pub cpus: u64,
    pub gpus: u32,
    pub model: Option<String>,
    pub memory: u64,
    /// GPUs of each model.
    models: BTreeMap<String, u32>,
}

impl Amounts {
    /// What was allocated, or asked for where nothing was: `cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=16G,node=1`; with the nodes and
    /// CPUs of columns of their own.
    fn read(row: &Row, (nodes, cpus): (u64, u64)) -> Result<Self, BadRowReason> {
        let mut amounts = Self::default();
        let found = TRES.iter().find_map(|&column| row.optional(column).map(|text| (column[0], text)));
        let column = found.map_or("AllocTRES", |(column, _)| column);
        if let Some((_, text)) = found.filter(|(_, text)| text.ends_with('+')) {
            return Err(malformed(column, text, "whole: `sacct` cut it to the width of its column"));
        }
        for (name, value) in
            found.iter().flat_map(|(_, text)| text.split(',')).filter_map(|item| item.split_once('='))
        {
            amounts.take(name.trim(), value.trim()).ok_or_else(|| malformed(column, value, "an amount"))?;
        }
        amounts.nodes = u32::try_from(nodes).unwrap_or(u32::MAX).max(amounts.nodes).max(1);
        amounts.cpus = amounts.cpus.max(cpus);
        if amounts.gpus == 0 {
            amounts.read_gres(row.optional(GRES).unwrap_or_default());
        }
        if amounts.memory == 0 {
            let text = row.optional(MEMORY).unwrap_or_default();
            // `4Gc` is for each CPU, `4Gn` for each node, `4G` in all (since Slurm 21.08).
            let (digits, each) = match text.strip_suffix('c') {
                Some(rest) => (rest, amounts.cpus.max(1)),
                None => (
                    text.trim_end_matches('n'),
                    if text.ends_with('n') { u64::from(amounts.nodes) } else { 1 },
                ),
            };
            amounts.memory = read_memory(digits).unwrap_or(0).saturating_mul(each);
        }
        Ok(amounts)
    }

    /// An amount by its name, as `AllocTRES` has them; `None` when it is none.
    pub fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "cpu" => self.cpus = value.parse().ok()?,
            "node" => self.nodes = value.parse().ok()?,
            "mem" => self.memory = read_memory(value)?,
            "gres/gpu" => self.gpus = self.gpus.max(value.parse().ok()?),
            _ => {
                if let Some(model) = name.strip_prefix("gres/gpu:") {
                    self.models.insert(model.to_owned(), value.parse().ok()?);
                    let all = self.models.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
                    self.gpus = self.gpus.max(all);
                    // Of a job on several models each task may have had any.
                    self.model = (self.models.len() == 1).then(|| model.to_owned());
                }
            }
        }
        Some(())
    }

    /// `gpu:2`, `gpu:a100:2`, `gres:gpu:2`, and from 19.05 to 20.11 `PER_NODE:gpu:2`, as older versions print it.
    fn read_gres(&mut self, text: &str) {
        for item in text.split(',') {
            let each_node = item.strip_prefix("PER_NODE:");
            let times = if each_node.is_some() { self.nodes } else { 1 };
            let item = each_node.unwrap_or(item).trim_start_matches("PER_JOB:").trim_start_matches("gres:");
            let parts: Vec<&str> = item.split([':', '(']).collect();
            let (count, model) = match parts.as_slice() {
                ["gpu"] => (1, None),
                ["gpu", count, ..] if count.parse::<u32>().is_ok() => (count.parse().unwrap_or(0), None),
                ["gpu", model, count, ..] => (count.parse().unwrap_or(0), Some(*model)),
                _ => continue,
            };
            self.gpus = u32::saturating_mul(count, times);
            self.model = model.map(str::to_owned);
        }
    }
}

/// Slurm's sizes are of 1024; without a unit it counts MiB.
fn read_memory(text: &str) -> Option<u64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let milli = u64::try_from(time::read_thousandths(&text[..end])?).ok()?;
    let shift = match text[end..].chars().next() {
        Some('K' | 'k') => 10,
        Some('G' | 'g') => 30,
        Some('T' | 't') => 40,
        Some('P' | 'p') => 50,
        _ => 20,
    };
    u64::try_from(u128::from(milli) * (1_u128 << shift) / 1000).ok()
}

/// The workload, on the smallest pool that could have run it: `sacct` names no machines.
///
/// A job is one task a node, with an equal part of its CPUs, memory and GPUs; where its GPUs do not divide by its nodes
/// it is split into the fewest equal tasks instead. Queues are partitions. The attempts of a job that was put back into the
/// queue are one job, which ran as long as all of them together.
#[must_use]
pub fn jobs(name: &str, reading: &Reading<SlurmJob>) -> Jobs {
    let mut builder = Builder::new(name);
    for (job, line, attempts) in lives(reading) {
        match draft(&job, line) {
            Ok(draft) => {
                if attempts > 1 {
                    builder.note(Note::Attempts);
                }
                if job.submit_ms.is_none() {
                    builder.note(Note::SubmitIsStart);
                }
                if job.limit_ms.is_none() {
                    builder.note(Note::NoLimit);
                }
                if job.strange {
                    builder.note(Note::UnknownState);
                }
                builder.add(draft);
            }
            Err(why) => builder.leave_out(line, why),
        }
    }
    let cluster: Cluster = builder.smallest(Vec::new());
    builder.finish(Zero::Midnight, cluster)
}

/// Jobs with their line, of several attempts the last one's, and how many those were; in the order of the file.
fn lives(reading: &Reading<SlurmJob>) -> Vec<(Cow<'_, SlurmJob>, u64, usize)> {
    let mut lives: Vec<(Cow<'_, SlurmJob>, u64, usize)> = Vec::with_capacity(reading.rows.len());
    let mut place = BTreeMap::new();
    for (job, &line) in reading.rows.iter().zip(&reading.lines) {
        let at = *place.entry(job.id).or_insert(lives.len());
        match lives.get_mut(at) {
            // Two rows of one attempt, or two jobs under one number, are told apart from attempts by state, user and start.
            Some((before, first, attempts)) if follows(before, job) => {
                *before = Cow::Owned(together(before, job));
                (*first, *attempts) = (line, *attempts + 1);
            }
            _ => lives.push((Cow::Borrowed(job), line, 1)),
        }
    }
    lives
}

/// Whether a row is the next attempt of a job.
fn follows(before: &SlurmJob, next: &SlurmJob) -> bool {
    before.again && before.user == next.user && before.start_ms != next.start_ms
}

fn together(before: &SlurmJob, last: &SlurmJob) -> SlurmJob {
    let earlier = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
    let spans = [before.duration_ms, last.duration_ms];
    SlurmJob {
        submit_ms: earlier(before.submit_ms, last.submit_ms),
        start_ms: earlier(before.start_ms, last.start_ms),
        duration_ms: spans.into_iter().flatten().reduce(u64::saturating_add),
        ..last.clone()
    }
}

fn draft(job: &SlurmJob, line: u64) -> Result<Draft<'_>, LeftOut> {
    let ending = job.ending.ok_or(LeftOut::NotEnded)?;
    let duration_ms = match (job.start_ms, job.duration_ms) {
        (None, None | Some(0)) => return Err(LeftOut::NeverRan),
        (_, None) => return Err(LeftOut::NoTimes),
        (Some(_), Some(0)) if ending == Ending::Cancelled => return Err(LeftOut::NeverRan),
        (_, Some(span)) => span,
    };
    let submit_ms = job.submit_ms.or(job.start_ms).ok_or(LeftOut::NoTimes)?;
    if job.cpus == 0 && job.gpus == 0 {
        return Err(LeftOut::NoSize);
    }
    let (tasks, gpus) = if job.gpus.is_multiple_of(job.nodes) {
        (job.nodes, job.gpus / job.nodes)
    } else {
        split_evenly(job.gpus, 8)
    };
    let each = |amount: u64| amount.div_ceil(u64::from(tasks));
    let cpu_milli = each(job.cpus.saturating_mul(1000));
    Ok(Draft {
        line,
        id: job.id,
        user: &job.user,
        queue: &job.partition,
        submit_ms,
        start_ms: job.start_ms,
        duration_ms,
        limit_ms: job.limit_ms,
        ending,
        tasks,
        shapes: vec![shape(cpu_milli, each(job.memory), gpus, 1000, job.model.as_deref())],
        after: None,
    })
}
