//! Queues: a tree that says who may have how much.

use crate::ids::QueuePath;
use crate::model::{DeviceKind, HostAccess, Resources};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Amounts of everything the pool counts, for guarantees and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueLimits {
    /// CPU in thousandths of a core; absent: not guaranteed, or not limited.
    pub cpu: Option<u64>,
    /// Memory in bytes; absent as above.
    pub memory: Option<u64>,
    /// Disk in bytes; absent as above.
    pub disk: Option<u64>,
    /// Thousandths of a device, per kind; absent as above.
    pub devices: BTreeMap<DeviceKind, u64>,
    /// Gangs that may hold an allocation at once; absent as above. Not used in a guarantee.
    pub running: Option<u64>,
}

/// One queue of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Where it stands in the tree; its parent is the path without the last part.
    pub path: QueuePath,
    /// What the queue gets back by reclaim whenever it has work for it.
    #[serde(default)]
    pub guarantee: QueueLimits,
    /// Its part of what is above all guarantees, against its siblings; at least 1, default 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// What it can never pass.
    #[serde(default)]
    pub limit: QueueLimits,
    /// Whether it may use more than its guarantee while others leave it unused. Default true.
    #[serde(default = "default_true")]
    pub borrow: bool,
    /// Whether shares of devices in it may be promised memory beyond what they are guaranteed, so that more may be used
    /// of a device than it has. Default false.
    #[serde(default)]
    pub oversubscribe: bool,
    /// What of the machine itself its jobs may be given; absent: as the queue above, and at the top nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostAccess>,
}

const fn default_weight() -> u32 {
    100
}

const fn default_true() -> bool {
    true
}

impl QueueSpec {
    /// A queue with no guarantee, weight 100 and no limit.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: QueuePath::from(path),
            guarantee: QueueLimits::default(),
            weight: default_weight(),
            limit: QueueLimits::default(),
            borrow: true,
            oversubscribe: false,
            host: None,
        }
    }
}

impl From<Resources> for QueueLimits {
    fn from(resources: Resources) -> Self {
        Self {
            cpu: Some(resources.cpu.0),
            memory: Some(resources.memory.0),
            disk: Some(resources.disk.0),
            ..Self::default()
        }
    }
}
