//! Why a request is refused: what is wrong, why, and what to do next.

use crate::ids::{GangId, JobId, NodeName, QueuePath, TaskId};
use crate::money::{BudgetError, PriceError};
use crate::plan::Dimension;
use crate::plan::named::PolicyError;
use thiserror::Error;

/// A request the engine does not take. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No queue with this path.
    #[error("no queue `{0}`; list them with `pond queue ls`, or have an administrator create it")]
    UnknownQueue(QueuePath),
    /// No such job.
    #[error("no job {0}; list jobs with `pond ps --all`")]
    UnknownJob(JobId),
    /// The job ended and its record was archived.
    #[error("job {0} ended and was archived; submit it again from its file")]
    Archived(JobId),
    /// The job has no element with this array index.
    #[error("job {} has no array index {}; `pond status {}` lists them", .0.job, .0.index, .0.job)]
    UnknownIndex(GangId),
    /// No such task, or it does not run.
    #[error("task {0} does not run; `pond status` shows what does")]
    UnknownTask(TaskId),
    /// No such node.
    #[error("no node `{0}`; list them with `pond node ls`")]
    UnknownNode(NodeName),
    /// A dependency that does not exist.
    #[error("it waits for job {0}, which does not exist; submit that one first")]
    UnknownDependency(JobId),
    /// A dependency that ended in a way that cannot satisfy it.
    #[error("it waits for the success of job {0}, which has already failed; retry that one first")]
    FailedDependency(JobId),
    /// A field of the job is not possible.
    #[error("{field} {problem}; {advice}")]
    BadJob {
        /// The field of the job file.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A queue that cannot be.
    #[error("queue `{path}` {problem}; {advice}")]
    BadQueue {
        /// The queue's path.
        path: QueuePath,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A policy that is not there.
    #[error("{0}; `pond sched policies` lists them")]
    BadPolicy(PolicyError),
    /// A node that cannot be.
    #[error("node `{node}` {problem}; {advice}")]
    BadNode {
        /// The node's name.
        node: NodeName,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A price that cannot be.
    #[error(transparent)]
    BadPrice(PriceError),
    /// A budget that cannot be.
    #[error(transparent)]
    BadBudget(BudgetError),
    /// It has ended: nothing to stop, pause or resize.
    #[error("job {0} has ended; `pond retry {0}` queues it once more")]
    Ended(JobId),
    /// It has not ended: nothing to retry, remove or archive.
    #[error("job {0} has not ended; `pond stop {0}` ends it")]
    NotEnded(JobId),
    /// It is not paused.
    #[error("job {0} is not paused; `pond status {0}` shows its state")]
    NotPaused(JobId),
    /// It is on its way to an end or a pause.
    #[error("job {0} is being ended; try again when `pond status {0}` shows that it has")]
    Stopping(JobId),
    /// Its devices are not shared in a way whose terms can change.
    #[error(
        "job {job} has no share ({}) that could be resized; whole devices and partitions stay as they are: submit it again", crate::plan::kind_name(*kind)
    )]
    NoShare {
        /// The job.
        job: JobId,
        /// The kind of device.
        kind: crate::model::DeviceKind,
    },
    /// A running job cannot grow on its node, on its device, or in its queue.
    #[error(
        "{what} has {} left where {} more is asked for; ask for less, or stop and submit it again",
        crate::plan::amount(*dimension, *free),
        crate::plan::amount(*dimension, *asked)
    )]
    NoRoom {
        /// The node or the queue.
        what: String,
        /// In what.
        dimension: Dimension,
        /// Left, in the dimension's base unit.
        free: u64,
        /// Asked for beyond that which it has.
        asked: u64,
    },
}
