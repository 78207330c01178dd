//! What a user submits.

use crate::ids::{JobId, QueuePath, UserName};
use crate::model::{NotifySpec, RunSpec, Shape, Speed};
use crate::units::Millis;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the pool promises a job about its CPU and its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Runs on what others do not use right now; squeezed, frozen, then evicted when they want it back.
    Spare,
    /// Keeps what it was granted.
    #[default]
    Standard,
    /// Has a reservation and may preempt.
    Critical,
}

/// What sort of job it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Runs to an end.
    #[default]
    Task,
    /// An environment a person works in; gives its share back when idle.
    Env,
}

/// How many tasks start together. `min == max` when not elastic; both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GangSize {
    /// Fewer than this never run.
    pub min: u32,
    /// More than this are never given.
    pub max: u32,
}

impl GangSize {
    /// One task.
    pub const ONE: Self = Self { min: 1, max: 1 };
}

/// What calls for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// The node was lost.
    NodeFailure,
    /// The pool took the place away.
    Preempted,
    /// A device failed under it.
    DeviceError,
    /// It went over its memory.
    OutOfMemory,
    /// Any exit code but 0, any signal.
    Failed,
    /// This exit code.
    Exit(i32),
}

/// The budget of attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// What is retried.
    pub on: Vec<RetryOn>,
    /// Attempts after the first that count against the job. Preemption and node failure, being the pool's doing, do not.
    pub max: u32,
    /// Wait before the second attempt; doubles each time, up to an hour.
    pub backoff: Millis,
}

impl Default for Retry {
    /// Preemption and node failures only, 0 attempts for the job's own failures, one second.
    fn default() -> Self {
        Self { on: vec![RetryOn::NodeFailure, RetryOn::Preempted], max: 0, backoff: Millis(1000) }
    }
}

/// How a job saves its work before it is evicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Folder inside the task.
    pub dir: Option<String>,
    /// Signal number sent `grace` before any eviction.
    pub signal: i32,
    /// How long the save may take.
    pub grace: Millis,
}

/// What happens to an environment nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleAction {
    /// Stop it, keep its writable layer, give everything back; `resume` starts it again from that layer.
    Pause,
    /// Stop it for good.
    Stop,
}

/// When an environment counts as idle: no attached session, and CPU and devices under 5 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdlePolicy {
    /// For this long.
    pub after: Millis,
    /// And then.
    pub action: IdleAction,
}

/// Another job that must end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The other job.
    pub job: JobId,
    /// Whether it must succeed; otherwise any end will do. A job whose dependency can no longer be met is cancelled.
    pub success: bool,
}

/// A job, complete and valid: every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Not unique; for people.
    pub name: String,
    /// Task or environment.
    pub kind: JobKind,
    /// The queue (project) it is charged to.
    pub queue: QueuePath,
    /// Who submitted it.
    pub user: UserName,
    /// Promise about CPU and place.
    pub class: Class,
    /// 0..=1000 inside its queue; 500 is normal, low is 250, high is 750.
    pub priority: u16,
    /// Array indices, ascending, no doubles; `[0]` for a plain job. Each is a gang of its own.
    pub indices: Vec<u32>,
    /// Most gangs of the array that hold an allocation at once.
    pub parallel: Option<u32>,
    /// Tasks per gang.
    pub size: GangSize,
    /// What each task needs; alternatives in order of preference, at least one.
    pub shapes: Vec<Shape>,
    /// Whether it waits until it is resumed, as if it had been paused at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Whether it may be evicted for others. `critical` jobs never are.
    pub preemptible: bool,
    /// Once started, it is not preempted for this long.
    pub min_runtime: Millis,
    /// Run time after which it is stopped.
    pub time_limit: Option<Millis>,
    /// How long each of its gangs is predicted to run at full speed, all its attempts together; `None`: nobody knows.
    pub predicted: Option<Millis>,
    /// How its speed depends on its place; `None`: on the number of its ranks alone, in proportion.
    pub speed: Option<Speed>,
    /// Between the stop signal and the kill.
    pub grace: Millis,
    /// The budget of attempts.
    pub retry: Retry,
    /// How it saves its work.
    pub checkpoint: Option<Checkpoint>,
    /// For environments.
    pub idle: Option<IdlePolicy>,
    /// Jobs that must end first.
    pub after: Vec<Dependency>,
    /// Whom to tell what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Box<NotifySpec>>,
    /// The span that it is part of, in W3C's words (`traceparent`); `None`: it is a trace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Box<str>>,
    /// What is executed. Shared by all launches.
    pub run: Arc<RunSpec>,
}

impl JobSpec {
    /// A standard job of one task with this shape and command; every other field at its default.
    #[must_use]
    pub fn new(name: &str, shape: Shape, run: RunSpec) -> Self {
        Self {
            name: name.to_owned(),
            kind: JobKind::Task,
            queue: QueuePath::from("default"),
            user: UserName::from("local"),
            class: Class::Standard,
            priority: 500,
            indices: vec![0],
            parallel: None,
            size: GangSize::ONE,
            shapes: vec![shape],
            held: false,
            preemptible: true,
            min_runtime: Millis::ZERO,
            time_limit: None,
            predicted: None,
            speed: None,
            grace: Millis(10_000),
            retry: Retry::default(),
            checkpoint: None,
            idle: None,
            after: Vec::new(),
            notify: None,
            traceparent: None,
            run: Arc::new(run),
        }
    }
}
