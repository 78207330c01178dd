//! Queues, and what a change of one would do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Amounts of a queue's guarantee or limit; what is absent is not guaranteed, or not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueAmounts {
    /// Thousandths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Thousandths of a device by kind (`gpu`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub device_thousandths: BTreeMap<String, u64>,
    /// Gangs that may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
}

/// What is set of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueBody {
    /// What it gets back by reclaim.
    pub guarantee: QueueAmounts,
    /// Its part of what is above all guarantees, at least 1.
    #[schema(minimum = 1)]
    pub weight: u32,
    /// What it can never pass.
    pub limit: QueueAmounts,
    /// Whether it may use more than its guarantee while others leave it.
    pub borrow: bool,
    /// Whether its shares of devices may use memory beyond what they are guaranteed.
    pub oversubscribe: bool,
}

impl Default for QueueBody {
    /// No guarantee, weight 100, no limit, may borrow.
    fn default() -> Self {
        Self {
            guarantee: QueueAmounts::default(),
            weight: 100,
            limit: QueueAmounts::default(),
            borrow: true,
            oversubscribe: false,
        }
    }
}

/// A queue with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Its path in the tree; the root's is empty.
    pub path: String,
    /// What is set.
    pub settings: QueueBody,
    /// Held by it and all below.
    pub used: QueueAmounts,
    /// Elements that wait, of it and all below.
    pub waiting: u64,
    /// Elements that wait for a place that cannot come free, of it and all below.
    pub infeasible: u64,
    /// Decayed history of use: dominant share in millionths times seconds.
    pub history: u64,
}

/// What a change of a queue would do to a job's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effected {
    /// It is evicted and waits again.
    Evicted,
    /// It gives ranks back.
    Shrinks,
    /// It is frozen in place.
    Freezes,
    /// It would start now, and does not.
    HeldBack,
    /// It can never start as the queue would be.
    Never,
    /// It waits, for another reason than before.
    Waits,
    /// It starts now.
    Starts,
    /// It gets more ranks.
    Grows,
    /// It runs again.
    Thaws,
}

/// An element of a job that a change of a queue would affect. Of jobs that the caller may not see only the number is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Affected {
    /// What would happen to it.
    pub what: Effected,
    /// The job.
    pub job: u64,
    /// The element.
    pub element: String,
    /// The job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who submitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Why, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a change of a queue would do, by the next plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueTrial {
    /// Which queue.
    pub path: String,
    /// What is set now; absent: there is no such queue yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<QueueBody>,
    /// What would be set.
    pub after: QueueBody,
    /// In what it would hold more than its limit: `cpu`, `memory`, `disk`, `running`, `gpu`, ... What runs stays; nothing
    /// more of it starts.
    pub over: Vec<String>,
    /// Who is affected, the worst first, at most 200.
    pub affected: Vec<Affected>,
    /// More that are not listed.
    pub more: u64,
}
