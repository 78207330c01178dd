//! What an event or a plan changed, in order: the lines of the event log and of a job's timeline.

use super::job::State;
use super::refusal::Refusal;
use crate::event::{Effect, Exit, PastShare};
use crate::ids::{GangId, Generation, JobId, NodeName, QueuePath, TaskId};
use crate::plan::Decision;
use crate::snapshot::NodeState;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What came of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What must be done.
    pub effects: Vec<Effect>,
    /// The answer.
    pub reply: Reply,
    /// What changed.
    pub changes: Vec<Change>,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The job was taken in under this id.
    Submitted(JobId),
    /// It is done, or under way.
    #[default]
    Done,
}

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// What must be done.
    pub effects: Vec<Effect>,
    /// What changed.
    pub changes: Vec<Change>,
    /// Decisions that events had overtaken. Nothing of them was done.
    pub stale: Vec<Stale>,
}

/// A decision that no longer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The decision.
    pub decision: Decision,
    /// What it ran into.
    pub why: StaleReason,
}

/// Why a decision was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleReason {
    /// The gang is not there, or ended.
    #[error("the gang is not there any more")]
    Gone,
    /// The gang is not in the phase that the decision needs.
    #[error("the gang is not in the phase for that")]
    Phase,
    /// The gang has been placed anew since.
    #[error("the gang is under another generation")]
    Generation,
    /// Not the ranks, the count or the alternative that the gang wants.
    #[error("the ranks are not what the gang asked for")]
    Ranks,
    /// A node is not there or does not take tasks.
    #[error("a node does not take tasks")]
    Node,
    /// A node has too little left.
    #[error("a node has too little left")]
    Room,
    /// A device is not there, not healthy, not shared that way or too full, or the grant is not what was asked for.
    #[error("a device cannot be granted that way")]
    Device,
    /// A queue is at its limit.
    #[error("a queue is at its limit")]
    QueueLimit,
    /// The gang may not be evicted, frozen or resized.
    #[error("the gang may not be touched that way")]
    Protected,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Why, for people; empty where `what` says it all.
    pub reason: Cow<'static, str>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "subject")]
pub enum What {
    /// A job was taken in, ended (`from: None` at its beginning, `to: None` when it is forgotten).
    Job {
        /// Which.
        job: JobId,
        /// Whether it is over; `None` when it is forgotten.
        over: Option<bool>,
    },
    /// A gang went from one state to another (or changed within it).
    Gang {
        /// Which.
        gang: GangId,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Its last generation.
        generation: Generation,
        /// Its attempt.
        attempt: u32,
        /// Whether it is on its way out of its place for others.
        evicted: bool,
    },
    /// Nobody used a gang of an environment for so long that it is paused or stopped.
    Idle {
        /// Which.
        gang: GangId,
    },
    /// A rank of a gang: started, ended, a step of its start.
    Task {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Where.
        node: NodeName,
        /// How it ended, when it did.
        exit: Option<Exit>,
    },
    /// A node went from one state to another.
    Node {
        /// Which.
        node: NodeName,
        /// From; `None` when it is new.
        from: Option<NodeState>,
        /// To.
        to: NodeState,
    },
    /// A device became usable or unusable.
    Device {
        /// Which node.
        node: NodeName,
        /// Ordinal on the node.
        device: u32,
        /// Usable?
        healthy: bool,
    },
    /// A task goes past its share of a device, or keeps to it again.
    Share {
        /// Which.
        task: TaskId,
        /// Where.
        node: NodeName,
        /// Ordinal on the node.
        device: u32,
        /// What is done about it; `None`: it keeps to its share again.
        act: Option<PastShare>,
    },
    /// A queue was set or removed.
    Queue {
        /// Which.
        queue: QueuePath,
        /// Whether it is there.
        present: bool,
    },
    /// A part of a budget is spent.
    Budget {
        /// Whose.
        queue: QueuePath,
        /// The part, in percent.
        percent: u16,
    },
    /// A budget is spent and its queue's jobs wait or end, or there is room in it again.
    OutOfBudget {
        /// Whose.
        queue: QueuePath,
        /// Spent, or room again.
        over: bool,
    },
}

/// Messages that were ignored, by cause. They grow for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// From an older generation, or of a task that holds no place.
    pub old_generation: u64,
    /// A second report of something known.
    pub repeated: u64,
    /// Of a task by a node that does not have it.
    pub wrong_node: u64,
    /// From or about a node nobody knows.
    pub unknown_node: u64,
    /// Decisions that events had overtaken.
    pub stale: u64,
    /// Requests refused.
    pub refused: u64,
    /// Fences sent.
    pub fenced: u64,
}

/// What a handler works with: where effects and changes go.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub effects: Vec<Effect>,
    pub changes: Vec<Change>,
}

/// Shorthand of handlers that may refuse.
pub(super) type Handled<T> = Result<T, Refusal>;
