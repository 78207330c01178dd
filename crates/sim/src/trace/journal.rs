//! The pool's own history: journal lines are taken in again by an engine, as after a restart, and every job that ends on
//! the way becomes a [`Row`].
//!
//! A journal begins with an image or with the first line ever; jobs that ended before that are not in it. The
//! server keeps those in its database, from where they can be had as rows of [`super::history`] too.

use super::history::{self, Ask, Row};
use super::{BadRow, Jobs, LeftOut};
use crate::workload::{Cluster, Ending};
use pond_core::engine::{Attempt, End, Engine, Gang, Job, Phase, State, What};
use pond_core::event::{Event, Report, Request};
use pond_core::ids::{GangId, QueuePath};
use pond_core::model::{NodeSpec, QueueSpec};
use pond_core::substrate::{Entry, Record};
use pond_core::units::{Millis, Timestamp};
use std::collections::BTreeMap;

/// What a journal tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// One row for each array element that ended; ids count up from 1 in the order of their ends.
    pub rows: Vec<Row>,
    /// The element of each row.
    pub gangs: Vec<GangId>,
    /// Elements that had not ended, or never ran, with the journal line that they were last seen in.
    pub left_out: Vec<BadRow>,
    /// Machines, as they said last.
    pub nodes: Vec<NodeSpec>,
    /// Queues, as they were set last; removed ones that jobs were in are kept.
    pub queues: Vec<QueueSpec>,
    /// Lines that the engine refused, as it did when they were new.
    pub refused: u64,
}

/// Takes in the lines of a journal; `engine` is restored from the image before them, or new.
///
/// Times of rows are milliseconds since 1970, as the journal's. A job's run time is the time that all its ranks ran, in
/// all attempts together. Attempts of jobs in the image that ended before it are known to the last one only.
pub fn read(mut engine: Engine, records: impl IntoIterator<Item = Record>) -> History {
    let mut watch = Watch::default();
    for node in engine.nodes() {
        watch.nodes.insert(node.spec.name.to_string(), node.spec.clone());
    }
    for queue in &engine.snapshot().queues {
        watch.queues.insert(queue.spec.path.clone(), queue.spec.clone());
    }
    for gang in engine.jobs().flat_map(|job| &job.gangs) {
        watch.open.insert(gang.id, Ran::default());
    }
    let mut last = 0;
    for record in records {
        last = record.seq;
        watch.note(&record);
        let changes = match record.entry {
            Entry::Event(event) => match engine.handle(record.at, &record.actor, event) {
                Ok(outcome) => outcome.changes,
                Err(_refused) => {
                    watch.history.refused += 1;
                    continue;
                }
            },
            Entry::Plan(plan) => engine.commit(record.at, &plan).changes,
        };
        for change in changes {
            if let What::Gang { gang, from, .. } = change.what {
                watch.look(&engine, gang, from, record.seq);
            }
        }
    }
    watch.finish(&engine, last)
}

#[derive(Default)]
struct Watch {
    history: History,
    nodes: BTreeMap<String, NodeSpec>,
    queues: BTreeMap<QueuePath, QueueSpec>,
    /// Elements that have not ended, and what they ran up to their present attempt.
    open: BTreeMap<GangId, Ran>,
    /// The last attempt of elements that ended: a retry is a life of its own.
    closed: BTreeMap<GangId, u32>,
}

#[derive(Clone, Copy, Default)]
struct Ran {
    /// The last attempt that is in `span`.
    attempt: u32,
    span: Millis,
    first: Option<Timestamp>,
}

impl Ran {
    fn add(&mut self, last: &Attempt) {
        if last.attempt <= self.attempt {
            return;
        }
        self.attempt = last.attempt;
        if let Some(started) = last.started {
            self.span = self.span.plus(last.ended.since(started));
            self.first = self.first.or(Some(started));
        }
    }
}

impl Watch {
    /// What a line says by itself.
    fn note(&mut self, record: &Record) {
        match &record.entry {
            Entry::Event(Event::Report(Report::NodeUp(spec))) => {
                self.nodes.insert(spec.name.to_string(), spec.clone());
            }
            Entry::Event(Event::Request(Request::SetQueue(spec))) => {
                self.queues.insert(spec.path.clone(), (**spec).clone());
            }
            _ => {}
        }
    }

    /// An element changed: its attempts are summed up, and when it has ended it is a row.
    fn look(&mut self, engine: &Engine, id: GangId, from: State, line: u64) {
        let Some((job, gang)) = engine.job(id.job).zip(engine.gang(id)) else { return };
        let before = self.closed.get(&id).copied().unwrap_or(0);
        let mut ran = self.open.remove(&id).unwrap_or(Ran { attempt: before, ..Ran::default() });
        gang.last.iter().for_each(|last| ran.add(last));
        let Phase::Finished { outcome, .. } = &gang.phase else {
            self.open.insert(id, ran);
            return;
        };
        let was_over = [State::Succeeded, State::Failed, State::Stopped, State::Cancelled].contains(&from);
        if was_over {
            return;
        }
        self.closed.insert(id, ran.attempt);
        let Some(first) = ran.first else {
            self.history.left_out.push(BadRow { line, reason: LeftOut::NeverRan.into() });
            return;
        };
        let row = Row {
            id: self.history.rows.len() as u64 + 1,
            start_ms: Some(signed(first)),
            duration_ms: Some(ran.span.0),
            ending: ending(outcome),
            ..asked(job)
        };
        self.history.rows.push(row);
        self.history.gangs.push(id);
    }

    fn finish(mut self, engine: &Engine, line: u64) -> History {
        let going = |gang: &&Gang| !matches!(gang.phase, Phase::Finished { .. });
        for _ in engine.jobs().flat_map(|job| &job.gangs).filter(going) {
            self.history.left_out.push(BadRow { line, reason: LeftOut::NotEnded.into() });
        }
        self.history.nodes = self.nodes.into_values().collect();
        let known = |path: &QueuePath| !path.as_str().is_empty() && path.as_str() != "default";
        self.history.queues = self.queues.into_values().filter(|queue| known(&queue.path)).collect();
        self.history
    }
}

fn signed(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// What a job asked for, without what became of it.
#[must_use]
pub fn asked(job: &Job) -> Row {
    let spec = &job.spec;
    Row {
        submit_ms: signed(job.submitted),
        user: spec.user.to_string(),
        queue: spec.queue.to_string(),
        class: spec.class,
        priority: spec.priority,
        tasks: spec.size.min,
        max_tasks: (spec.size.max != spec.size.min).then_some(spec.size.max),
        shapes: spec.shapes.iter().map(Ask::from).collect(),
        limit_ms: spec.time_limit.map(|limit| limit.0),
        ..Row::default()
    }
}

const fn ending(outcome: &End) -> Ending {
    match outcome {
        End::Succeeded => Ending::Completed,
        End::Stopped { .. } | End::Cancelled { .. } => Ending::Cancelled,
        _ => Ending::Failed,
    }
}

/// The workload and the machines of a history.
#[must_use]
pub fn jobs(name: &str, history: &History) -> Jobs {
    let rows: Vec<(u64, &Row)> = history.rows.iter().map(|row| (row.id, row)).collect();
    let cluster = Cluster { nodes: history.nodes.clone(), queues: history.queues.clone() };
    // Timestamps count from 1970 in UTC; the workload counts from the midnight before its first submission.
    let midnight = |at: i64| at.div_euclid(86_400_000) * 86_400_000;
    let zero = history.rows.iter().map(|row| midnight(row.submit_ms)).min().unwrap_or(0);
    let shifted: Vec<Row> = rows
        .iter()
        .map(|(_, row)| Row {
            submit_ms: row.submit_ms - zero,
            start_ms: row.start_ms.map(|start| start - zero),
            ..(*row).clone()
        })
        .collect();
    let rows: Vec<(u64, &Row)> = shifted.iter().map(|row| (row.id, row)).collect();
    let mut jobs = history::jobs(name, &rows, Some(zero), cluster);
    jobs.left_out.extend(history.left_out.iter().cloned());
    jobs
}
