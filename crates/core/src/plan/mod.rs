//! What the planner wants: a value, made from a [`Snapshot`](crate::snapshot::Snapshot), checked, then committed.
//!
//! No placement choice is made outside this module.

mod elastic;
mod emit;
mod evict;
mod explain;
mod lend;
mod outlook;
mod places;
mod planner;
mod policy;
mod problem;
mod reserve;
mod rights;
mod runs;
mod sentence;
mod solve;
#[cfg(test)]
mod tests;
mod turns;
mod what_if;
#[cfg(any(test, feature = "testkit"))]
pub mod world;

pub use places::{Place, Places, WantOrd};
pub use planner::Planner;
pub use policy::named;
pub(crate) use problem::shape::model_matches;
pub(crate) use sentence::{amount, kind_name};
pub use sentence::{for_money, unwell};

use crate::event::Grants;
use crate::ids::{GangId, Generation, NodeName, TaskId};
use crate::model::{DeviceKind, Resources};
use crate::units::{MilliCpu, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One task's place in a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its rank.
    pub rank: u32,
    /// The node.
    pub node: NodeName,
    /// Devices of that node.
    pub devices: Grants,
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Start a pending gang, whole.
    Place {
        /// Which gang.
        gang: GangId,
        /// Which alternative of its shapes.
        alternative: u32,
        /// One entry a rank, ranks ascending from 0; between min and max of them.
        tasks: Arc<[Placement]>,
    },
    /// Add ranks to a running elastic gang.
    Grow {
        /// Which gang.
        gang: GangId,
        /// The generation that was seen.
        generation: Generation,
        /// The new ranks.
        tasks: Arc<[Placement]>,
    },
    /// Take the highest ranks from a running elastic gang.
    Shrink {
        /// Which gang.
        gang: GangId,
        /// The generation that was seen.
        generation: Generation,
        /// Ranks left.
        to: u32,
        /// On whose behalf.
        beneficiary: Option<GangId>,
    },
    /// Evict a running gang, whole.
    Preempt {
        /// Which gang.
        gang: GangId,
        /// The generation that was seen.
        generation: Generation,
        /// Why.
        cause: PreemptCause,
    },
    /// Freeze a `spare` gang: its CPU is wanted back.
    Freeze {
        /// Which gang.
        gang: GangId,
        /// The generation that was seen.
        generation: Generation,
    },
    /// Let a frozen gang run again.
    Thaw {
        /// Which gang.
        gang: GangId,
        /// The generation that was seen.
        generation: Generation,
    },
    /// Squeeze a `spare` task, or let it out.
    Limit {
        /// Which task.
        task: TaskId,
        /// The generation that was seen.
        generation: Generation,
        /// Its new CPU limit.
        cpu: MilliCpu,
    },
    /// Leave a gang waiting, for this reason. Said when the reason is another than the one said last.
    Hold {
        /// Which gang.
        gang: GangId,
        /// Why.
        reason: HoldReason,
    },
}

/// Why a running gang is evicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreemptCause {
    /// A `critical` gang, or one of higher class or priority in the same queue, needs the place.
    Priority {
        /// Who.
        beneficiary: GangId,
    },
    /// The order policy puts a gang of the same line so far before it.
    Order {
        /// Who.
        beneficiary: GangId,
    },
    /// A queue below its guarantee takes back what was lent.
    Reclaim {
        /// Who.
        beneficiary: GangId,
    },
    /// The owner of the CPU that this `spare` gang ran on needs it.
    CpuWanted {
        /// The node it is wanted on.
        node: NodeName,
    },
}

/// A hard constraint that a node can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Not ready: draining, suspect or lost.
    NotReady,
    /// Lacks a label.
    Label(String),
    /// Has no device of this kind and model at all.
    NoDevice(DeviceKind),
    /// None of its devices of this kind is given out whole: they are cut.
    NotWhole(DeviceKind),
    /// Its devices of this kind cannot be divided the way that was asked for.
    NoShare(DeviceKind),
    /// Its devices of this kind have no partition such as this.
    NoProfile(DeviceKind, String),
    /// Fewer healthy devices in all than asked for, or too small ones.
    TooFewDevices(DeviceKind),
    /// Too small, even when empty.
    TooSmall(Dimension),
    /// Too full now.
    TooFull(Dimension),
    /// No place now for a partition such as this on its devices of this kind, beside what is used there.
    NoPlace(DeviceKind, String),
    /// None of its devices of this kind has so much memory, even when empty.
    SmallDevice(DeviceKind),
}

/// A counted dimension of a node or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Devices of a kind.
    Device(DeviceKind),
    /// Number of gangs.
    Running,
}

/// How many nodes each constraint removed, in the order the constraints are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funnel {
    /// Nodes in the pool.
    pub nodes: u32,
    /// Nodes lost at each constraint.
    pub removed: Vec<(Constraint, u32)>,
    /// Tasks of the gang that could be placed now.
    pub placeable: u32,
    /// Tasks the gang needs at least.
    pub needed: u32,
}

/// Why a gang waits. What is recorded of it holds no number that moves while others start and end: [`Planner::explain`]
/// has those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// Would not fit if the pool were empty: never without a change of the request or of the pool. The funnel is
    /// that of the empty pool.
    Infeasible(Arc<Funnel>),
    /// Would fit if the pool were empty and these devices were granted, which they are not for how they are: sick, suspected, or
    /// proving that they are well again.
    Unwell {
        /// Which, in the order of nodes; at most eight.
        devices: Vec<DeviceAt>,
        /// So many others.
        more: u32,
    },
    /// Would fit if the pool were empty; now it is too full, or what is free is kept for others.
    NoRoom,
    /// Its queue, or one above, is at its limit.
    QueueLimit {
        /// Which queue.
        queue: crate::ids::QueuePath,
        /// In what.
        dimension: Dimension,
        /// The limit, in the dimension's base unit.
        limit: u64,
        /// Asked for.
        asked: u64,
    },
    /// Asks for more than its queue's limit allows at all.
    OverQueueLimit {
        /// Which queue.
        queue: crate::ids::QueuePath,
        /// In what.
        dimension: Dimension,
        /// The limit.
        limit: u64,
        /// Asked for.
        asked: u64,
    },
    /// There is room, kept for a gang ahead that would otherwise be delayed. Only an [`Explanation`] says so: what
    /// is recorded is [`Self::NoRoom`], which does not change with every start.
    Reserved {
        /// For whom.
        gang: GangId,
        /// From when that gang expects to start, when known.
        until: Option<Timestamp>,
    },
    /// Others are being evicted for it.
    AwaitingEviction {
        /// How many gangs.
        victims: u32,
    },
    /// Paused by a user.
    Paused,
    /// Waits for other jobs.
    Dependency(Vec<crate::ids::JobId>),
    /// Its array runs as many elements as it may.
    ArrayLimit(u32),
    /// Waits before its next attempt.
    Backoff(Timestamp),
    /// A budget is spent.
    Budget(Box<crate::money::Spent>),
}

/// A device by its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceAt {
    /// Its node.
    pub node: NodeName,
    /// Its ordinal there.
    pub device: u32,
}

impl std::fmt::Display for DeviceAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "device {} of {}", self.device, self.node)
    }
}

/// What the planner wants, in the order it must be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Epoch of the snapshot it was made from.
    pub epoch: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Entries; at most one per gang, but for `Limit`.
    pub decisions: Vec<Decision>,
    /// The moment at which planning again could give something else, though nothing happens until then.
    pub again: Option<Timestamp>,
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has a place.
    Placed,
    /// Waiting will do.
    Waiting,
    /// It can never fit as it is: change the request.
    NeedsYou,
    /// An administrator must act: a quota, a drained node.
    NeedsAdmin,
}

/// One change that would help, found by running the placer again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    /// The change, in words: "with memory 40GB instead of 80GB".
    pub change: String,
    /// When it would start then; `None`: not known, but it would become possible.
    pub start: Option<Timestamp>,
}

/// Why a gang is where it is, complete: the same object in CLI, API and page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which gang.
    pub gang: GangId,
    /// Whether waiting can help.
    pub verdict: Verdict,
    /// One sentence with arithmetic and advice.
    pub sentence: String,
    /// The typed reason behind it; `None` when placed.
    pub reason: Option<HoldReason>,
    /// How many nodes each constraint removed, for its first alternative.
    pub funnel: Funnel,
    /// Its place in the planner's order, from 1; 0 when placed.
    pub position: u32,
    /// The gangs right before it in that order, nearest first, at most five.
    pub ahead: Vec<GangId>,
    /// When it is predicted to start, from expected ends of what runs and the line ahead.
    pub predicted_start: Option<Timestamp>,
    /// Changes that would help, best first.
    pub what_ifs: Vec<WhatIf>,
    /// What each task asks for, of its first alternative.
    pub asked: Resources,
}
