//! Where the two ends of the loop leave each other word: the world, which makes things happen, and the recorder, which
//! sees what the engine made of them.

use super::SimError;
use crate::outcome::JobOutcome;
use pond_core::ids::JobId;
use pond_core::units::{Millis, Timestamp};
use std::collections::VecDeque;

/// Word between world and recorder.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// One row a job, in the workload's order.
    pub rows: Vec<JobOutcome>,
    /// Jobs by the engine's id: ids count up from 1 with every job that is taken in.
    ids: Vec<u32>,
    /// Submitted, and not yet taken in or refused.
    pub submitted: VecDeque<u32>,
    /// Over since the world looked last, with the engine's id where there is one.
    pub over: Vec<(u32, Option<JobId>)>,
    /// Jobs of which the planner said that they never fit.
    pub doubtful: Vec<(u32, JobId)>,
    /// Gangs that have a place.
    pub placed: u64,
    /// When a gang last got a place or left one.
    pub moved: Timestamp,
    /// The moment of the next point.
    pub measure: Timestamp,
    /// Between two points; zero: none.
    pub step: Millis,
    /// Events that the engine handled.
    pub events: u64,
    /// What the pool would not take of the cluster.
    pub refused: Option<SimError>,
}

impl Desk {
    pub fn new(rows: Vec<JobOutcome>) -> Self {
        Self { rows, measure: Timestamp::NEVER, ..Self::default() }
    }

    /// The next submitted job was taken in.
    pub fn taken_in(&mut self, id: JobId) {
        if let Some(job) = self.submitted.pop_front() {
            self.ids.push(job);
        }
        debug_assert_eq!(id.0, self.ids.len() as u64, "ids count up from 1");
    }

    /// The workload's place of a job.
    pub fn job(&self, id: JobId) -> Option<u32> {
        self.ids.get(usize::try_from(id.0.checked_sub(1)?).ok()?).copied()
    }
}
