//! What is kept of a workload.

use super::Quantiles;
use crate::trace::history::Ask;
use pond_core::model::Class;
use serde::{Deserialize, Serialize};

/// A workload's habits. Times in milliseconds, probabilities and shares in millionths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// For people: what it was fitted to.
    pub name: String,
    /// Jobs that it was fitted to.
    pub jobs: u64,
    /// When sessions start.
    pub arrivals: Arrivals,
    /// What a session is.
    pub sessions: Sessions,
    /// Sizes.
    pub kinds: Vec<Kind>,
    /// Who submits where.
    pub queues: Vec<QueueModel>,
    /// Run times by class of kinds: [`Kind::durations`] points here.
    pub durations: Vec<Durations>,
    /// The probability that a job has the rank of the one before in its session.
    pub same_rank: u32,
    /// Limits and endings by run time, ascending, in ten classes.
    pub by_duration: Vec<ByDuration>,
}

/// When sessions start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// Sessions in a million hours, by hour of the week from Monday 00:00; 168 of them.
    pub per_hour: Vec<u64>,
    /// Whether the hours are real; otherwise the trace told no calendar and its first hour counts as Monday 00:00.
    pub calendar: bool,
    /// Levels: what an hour has against what is usual, in thousandths.
    pub level: Quantiles,
    /// The probability that an hour keeps the rank of the level before.
    pub same_level: u32,
}

/// What a session is: jobs of one user, queue and kind, each within half an hour of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Jobs.
    pub jobs: Quantiles,
    /// The mean of jobs, in thousandths: what turns a number of jobs into a number of sessions.
    pub mean_jobs: u64,
    /// From one job to the next.
    pub gap: Quantiles,
}

/// Jobs of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Tasks.
    pub tasks: u32,
    /// The most tasks.
    pub max_tasks: u32,
    /// What each asks for.
    pub shapes: Vec<Ask>,
    /// Promise.
    pub class: Class,
    /// 0..=1000.
    pub priority: u16,
    /// Place in [`Model::durations`].
    pub durations: u32,
}

/// Run times of similar kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// Jobs that it was fitted to.
    pub jobs: u64,
    /// Run time.
    pub quantiles: Quantiles,
}

/// Who submits to a queue, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueModel {
    /// Its path.
    pub path: String,
    /// Its share of sessions.
    pub share: u32,
    /// Users.
    pub users: u32,
    /// Zipf's exponent in thousandths: the user of rank r starts sessions in proportion to r^-s.
    pub zipf_milli: u32,
    /// Kinds by place in [`Model::kinds`], and how many sessions had each.
    pub kinds: Vec<(u32, u64)>,
}

/// Limits and endings of jobs that run about as long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByDuration {
    /// Up to this run time; the last class has no end.
    pub up_to: u64,
    /// The share of jobs that failed.
    pub failed: u32,
    /// The share that were cancelled.
    pub cancelled: u32,
    /// The share that had a limit.
    pub limited: u32,
    /// Limits as written, equally likely.
    pub limits: Vec<u64>,
}
