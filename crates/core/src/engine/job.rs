//! What the engine knows of a job: its gangs, their attempts, their tasks.
//!
//! ```text
//!                  ┌─────────────────────────── retry, place lost, evicted ────────────────────────────┐
//!                  ▼                                                                                   │
//!  submit ──▶ Held ⇄ Pending ──place──▶ Starting ──all ranks run──▶ Running ⇄ Frozen                   │
//!              │        │                  │                           │        │                      │
//!              │        │                  └───── stop, failure of a rank, eviction, time limit,       │
//!              │        │                         idle, pause with release ────────┬───────────────────┤
//!              │        │                                                          ▼                   │
//!              │        │                                                      Stopping ──all ended──▶ ┤
//!              ▼        ▼                                                                              ▼
//!          Finished (stopped, cancelled)                       Finished (succeeded, failed, ...)   Held(Paused)
//! ```

use crate::event::{DeviceGrant, Exit, Grants};
use crate::ids::{GangId, Generation, JobId, UserName};
use crate::model::{DeviceChange, DeviceKind, JobSpec, Resources, ShareMode, ShareTerms, Slack};
use crate::money::Spent;
use crate::plan::{Decision, DeviceAt, HoldReason, PreemptCause};
use crate::snapshot::{Attained, Held, NodeOrd, Shrinking};
use crate::units::{MilliCpu, Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::blame::Blamed;
use super::sample::Samples;

/// A job that was admitted and not yet archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// As it was submitted.
    pub spec: Arc<JobSpec>,
    /// When.
    pub submitted: Timestamp,
    /// Dependencies that have not ended.
    pub waiting_on: BTreeSet<JobId>,
    /// One per array index, ascending.
    pub gangs: Vec<Gang>,
    /// When the last gang ended; `None` while one has not.
    pub finished: Option<Timestamp>,
    /// Gangs that are pending or placed: what `parallel` limits.
    pub(super) active: u32,
    /// Array indices held back by `parallel` and nothing else.
    pub(super) waiting: BTreeSet<u32>,
    /// Gangs that have not ended.
    pub(super) unfinished: u32,
    /// Gangs that ended otherwise than with success.
    pub(super) failed: u32,
}

/// One array element of a job, or all of a plain one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gang {
    /// Its id.
    pub id: GangId,
    /// Where it stands.
    pub phase: Phase,
    /// The last one given; zero when it was never placed.
    pub generation: Generation,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts that failed by the job's own doing, since the last `retry`.
    pub failures: u32,
    /// Attempts in a row that failed by the pool's doing.
    pub faults: u32,
    /// Its place in line.
    pub queued: Timestamp,
    /// Times it was evicted.
    pub evictions: u32,
    /// When it was last evicted.
    pub last_evicted: Option<Timestamp>,
    /// What it had of the pool, up to [`Live::metered`] while it has a place.
    #[serde(default)]
    pub attained: Attained,
    /// Nodes it failed on lately, newest last.
    pub avoid: Vec<NodeOrd>,
    /// Why it waits, as the planner said last.
    pub hold: Option<HoldReason>,
    /// What was decided of it, newest last.
    pub past: VecDeque<Past>,
    /// The attempt before the present one, or the last.
    pub last: Option<Attempt>,
    /// Amounts that replace those of its shapes.
    pub resized: Option<Limits>,
    /// Terms that replace those of its shares of devices, one entry a kind.
    #[serde(default)]
    pub resized_devices: Vec<DeviceChange>,
    /// A user wants it to wait.
    pub paused: bool,
    /// Its next start keeps the writable layer of the one before.
    pub keep_layer: bool,
    /// It may not start before this.
    pub backoff: Option<Timestamp>,
    /// Its row, its demand and its queue in the snapshot while it has not ended.
    pub(super) rows: Option<super::rows::GangRows>,
}

/// Guaranteed and most of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Guaranteed.
    pub request: Resources,
    /// The most.
    pub burst: Resources,
}

/// A decision that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When.
    pub at: Timestamp,
    /// What.
    pub decision: Decision,
    /// What it had waited for until then.
    pub waited: Option<HoldReason>,
}

/// An attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// Under which generation.
    pub generation: Generation,
    /// When it got its place.
    pub placed: Timestamp,
    /// When all ranks ran.
    pub started: Option<Timestamp>,
    /// When its place was free again.
    pub ended: Timestamp,
    /// Its ranks.
    pub ranks: Vec<RankEnd>,
    /// The device that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Blamed>,
    /// Why it never came to run, when a start failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstarted: Option<Box<str>>,
}

/// How one rank of an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankEnd {
    /// Its rank.
    pub rank: u32,
    /// Under which generation.
    pub generation: Generation,
    /// Where it was.
    pub node: NodeOrd,
    /// How it ended.
    pub exit: Exit,
}

/// Where a gang stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for something other than a place.
    Held(Held),
    /// Waits for a place.
    Pending,
    /// Has one.
    Placed(Box<Live>),
    /// Over.
    Finished {
        /// How.
        outcome: End,
        /// When.
        at: Timestamp,
    },
}

/// A gang that has a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Which of the job's shapes.
    pub alternative: u32,
    /// When it got its place.
    pub placed: Timestamp,
    /// When all ranks ran.
    pub started: Option<Timestamp>,
    /// When its ranks changed last, up to which what it holds is in [`Gang::attained`]; `None`: they never did.
    #[serde(default)]
    pub metered: Option<Timestamp>,
    /// What it did in this attempt up to then, in milliseconds at full speed.
    #[serde(default)]
    pub worked: Millis,
    /// What it was told: the latest moment at which it will still run.
    pub deadline: Option<Timestamp>,
    /// Its ranks, ascending.
    pub tasks: Vec<Task>,
    /// Ranks that are gone with their node.
    pub gone: Vec<RankEnd>,
    /// A user froze it.
    pub paused: bool,
    /// The pool froze it.
    pub frozen: Option<Timestamp>,
    /// Why it is being ended.
    pub ending: Option<Ending>,
    /// It gives up its highest ranks.
    pub shrinking: Option<Shrinking>,
    /// A resize that its nodes are doing, or did not.
    #[serde(default)]
    pub resizing: super::resize::Resizing,
    /// Nobody uses it since then.
    pub idle_since: Option<Timestamp>,
    #[serde(skip)]
    pub(super) asked: super::report::Asked,
}

impl Live {
    /// Whether its tasks do not run, for whatever reason.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.paused || self.frozen.is_some()
    }

    /// Whether one of its tasks is squeezed.
    pub(super) fn is_squeezed(&self) -> bool {
        self.tasks.iter().any(|task| task.squeezed_to().is_some())
    }
}

/// A gang on its way out of its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// What becomes of it then.
    pub then: Then,
    /// First signal.
    pub signal: i32,
    /// Between signal and kill.
    pub grace: Millis,
    /// When it began.
    pub since: Timestamp,
    /// Until then a device may turn out to be to blame; `None`: none can.
    #[serde(default)]
    pub verdict: Option<Timestamp>,
    /// Times the kill was repeated.
    pub repeats: u32,
}

impl Ending {
    /// Whether it makes room for others.
    pub(super) const fn is_eviction(&self) -> bool {
        matches!(self.then, Then::Evicted(_))
    }
}

/// What becomes of a gang when its tasks have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is over.
    Finish(End),
    /// A rank failed: over, or once more if the budget allows.
    Failed {
        /// Which rank.
        rank: u32,
        /// How.
        exit: Exit,
    },
    /// As `Failed`, and a device under a rank of it could not work any more: over, or once more on the pool's account.
    DeviceFailed {
        /// The rank on the device.
        rank: u32,
        /// How the rank that ended first did.
        exit: Exit,
        /// Which device, and what was told of it.
        message: String,
        /// The same device by its place.
        #[serde(default)]
        at: Option<DeviceAt>,
    },
    /// A rank could not be started, by the node's fault or not.
    StartFailed {
        /// Which rank.
        rank: u32,
        /// The substrate's sentence.
        message: String,
        /// Whose fault.
        node_fault: bool,
    },
    /// Back to the queue: others need the place.
    Evicted(PreemptCause),
    /// Back to the queue: a node is gone.
    NodeLost(NodeOrd),
    /// Held until it is resumed.
    Pause,
}

/// How a gang ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All ranks ended with code 0.
    Succeeded,
    /// A rank failed and no attempt is left.
    Failed {
        /// Which rank failed first.
        rank: u32,
        /// How.
        exit: Exit,
    },
    /// A device failed under a rank, and no attempt is left.
    DeviceFailed {
        /// The rank on the device.
        rank: u32,
        /// How the rank that ended first did.
        exit: Exit,
        /// Which device, and what was told of it.
        message: String,
    },
    /// A rank went over its memory and no attempt is left.
    OutOfMemory {
        /// Which rank.
        rank: u32,
    },
    /// A rank could not be started.
    StartFailed {
        /// Which rank.
        rank: u32,
        /// The substrate's sentence.
        message: String,
    },
    /// It ran for as long as it may.
    TimedOut,
    /// Somebody stopped it.
    Stopped {
        /// Who; `None`: the pool, because nobody used the environment.
        by: Option<UserName>,
    },
    /// It never ran: what it waited for ended otherwise than it needs.
    Cancelled {
        /// The job it waited for.
        dependency: JobId,
    },
    /// It was evicted, and does not want to be retried then.
    Evicted,
    /// Its node was lost, and it does not want to be retried then.
    NodeLost,
    /// A rank went past its share of a device, and the node ends those that do.
    PastShare {
        /// Which rank.
        rank: u32,
        /// In which way.
        message: String,
    },
    /// A budget is spent that ends what runs.
    OutOfBudget(Box<Spent>),
}

impl End {
    /// Whether it is a success.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// The exit code that stands for it: 0, the failed rank's own code, 128 + signal, 137 for a kill by the pool.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Succeeded => 0,
            Self::Failed { exit, .. } | Self::DeviceFailed { exit, .. } => match exit {
                Exit::Code(code) => *code,
                Exit::Signal(signal) => 128_i32.saturating_add(*signal),
                _ => 1,
            },
            Self::OutOfMemory { .. } => 137,
            Self::TimedOut => 124,
            Self::Stopped { .. } | Self::OutOfBudget(_) => 143,
            _ => 1,
        }
    }
}

/// One rank of a gang that has a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its rank.
    pub rank: u32,
    /// Under which generation it was started: that of its gang, or an older one when the gang has grown since.
    pub generation: Generation,
    /// Where.
    pub node: NodeOrd,
    /// What it is doing.
    pub state: TaskState,
    /// Guaranteed and most.
    pub limits: Limits,
    /// What they were before a resize that is not confirmed.
    pub limits_before: Option<Limits>,
    /// Its devices before that resize.
    #[serde(default)]
    pub(super) devices_before: Vec<(DeviceGrant, HeldDevice)>,
    /// Its CPU limit now, smaller than `limits.burst.cpu` while squeezed.
    pub cpu_limit: MilliCpu,
    /// Devices.
    pub devices: Grants,
    /// What they count as, in their order.
    pub(super) held: Vec<HeldDevice>,
    /// Its address, when it has one.
    pub address: Option<String>,
    /// Host ports: (inside, on the machine).
    pub ports: Vec<(u16, u16)>,
    /// The last step of its start, for people.
    pub message: Option<String>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// Sessions attached now.
    pub sessions: u32,
    /// Recent use.
    pub samples: Samples,
    /// Recent use of its devices, in thousandths of a device instead of a core, by ordinal; of those that are measured.
    #[serde(default)]
    pub device_samples: BTreeMap<u32, Samples>,
    /// What its node's row counts of it.
    pub(super) counted: super::rows::Counted,
}

impl Task {
    /// Its CPU limit, while that is smaller than the most it may use because owners want CPU back.
    #[must_use]
    pub fn squeezed_to(&self) -> Option<MilliCpu> {
        (self.cpu_limit < self.limits.burst.cpu).then_some(self.cpu_limit)
    }
}

/// What a granted device counts as until it is given back, whatever becomes of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldDevice {
    /// How it is divided.
    pub mode: ShareMode,
    /// In its queue's use of this kind.
    pub kind: DeviceKind,
    /// By so many thousandths.
    pub share: u64,
    /// What the task may have of it beyond its grant.
    #[serde(default)]
    pub slack: Slack,
}

impl HeldDevice {
    /// For the substrate.
    pub(super) const fn terms(&self) -> ShareTerms {
        ShareTerms { mode: self.mode, slack: self.slack }
    }
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// The substrate was told to start it.
    Starting,
    /// It runs.
    Running,
    /// It has ended.
    Ended(Exit),
}

/// The state of a gang in one word, for people and for the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for something other than a place.
    Held,
    /// Waits for a place.
    Pending,
    /// Has a place; some ranks do not run yet.
    Starting,
    /// All ranks run.
    Running,
    /// Has its place and does not run.
    Frozen,
    /// Gave its place back until it is resumed.
    Paused,
    /// Being ended.
    Stopping,
    /// Over, with success.
    Succeeded,
    /// Over, without.
    Failed,
    /// Over, because somebody stopped it.
    Stopped,
    /// Over before it ran.
    Cancelled,
}

impl State {
    /// Whether it is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped | Self::Cancelled)
    }
}

impl Gang {
    /// The place it has.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.phase {
            Phase::Placed(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Placed(live) => Some(live),
            _ => None,
        }
    }

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> Option<&End> {
        match &self.phase {
            Phase::Finished { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// Its state in one word.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Held(Held::Paused) => State::Paused,
            Phase::Held(_) => State::Held,
            Phase::Pending => State::Pending,
            Phase::Placed(live) if live.ending.is_some() => State::Stopping,
            Phase::Placed(live) if live.is_frozen() => State::Frozen,
            Phase::Placed(live) if live.started.is_some() => State::Running,
            Phase::Placed(_) => State::Starting,
            Phase::Finished { outcome, .. } => match outcome {
                End::Succeeded => State::Succeeded,
                End::Stopped { .. } | End::OutOfBudget(_) => State::Stopped,
                End::Cancelled { .. } => State::Cancelled,
                _ => State::Failed,
            },
        }
    }
}

impl Job {
    /// The gang with this array index.
    #[must_use]
    pub fn gang(&self, index: u32) -> Option<&Gang> {
        let at = self.gangs.binary_search_by_key(&index, |gang| gang.id.index).ok()?;
        self.gangs.get(at)
    }

    pub(super) fn gang_mut(&mut self, index: u32) -> Option<&mut Gang> {
        let at = self.gangs.binary_search_by_key(&index, |gang| gang.id.index).ok()?;
        self.gangs.get_mut(at)
    }

    /// Whether every gang ended with success.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.unfinished == 0 && self.failed == 0
    }

    /// Gangs that have not ended.
    #[must_use]
    pub const fn unfinished(&self) -> u32 {
        self.unfinished
    }

    /// The exit code of the whole job: that of its first gang that failed, 0 otherwise; `None` while one has not ended.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let mut codes = self.gangs.iter().filter_map(Gang::outcome).map(End::exit_code);
        self.finished.and(codes.find(|code| *code != 0).or(Some(0)))
    }
}
