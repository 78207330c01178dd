//! Queues, and what a change of one would do.

use pond_core::model::{HostAccess, HostFolder};
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

/// A folder of the machine with all that is below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFolderBody {
    /// Its absolute path.
    pub path: String,
    /// Whether jobs may change what is in it.
    #[serde(default)]
    pub write: bool,
}

/// What of the machine itself jobs may be given. It binds everybody but administrators of the pool, who alone set it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostAccessBody {
    /// The machine's own root as the root of containers: `image: host`.
    pub root: bool,
    /// Processes outside of a container, with the rights of who runs the pool: `isolation: process`.
    pub process: bool,
    /// What volumes, copied files, standard input and image layouts may be taken from.
    pub folders: Vec<HostFolderBody>,
}

impl From<HostAccessBody> for HostAccess {
    fn from(body: HostAccessBody) -> Self {
        let folders = body.folders.into_iter().map(|it| HostFolder { path: it.path, write: it.write });
        Self { root: body.root, process: body.process, folders: folders.collect() }
    }
}

impl From<HostAccess> for HostAccessBody {
    fn from(access: HostAccess) -> Self {
        let folders = access.folders.into_iter().map(|it| HostFolderBody { path: it.path, write: it.write });
        Self { root: access.root, process: access.process, folders: folders.collect() }
    }
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
    /// What of the machine itself its jobs may be given; absent: as the queue above, and at the top nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostAccessBody>,
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
            host: None,
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
    /// What of the machine itself its jobs may be given, by this queue's own setting or by that of one above.
    pub host: HostAccessBody,
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
