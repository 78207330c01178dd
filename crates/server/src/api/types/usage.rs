//! What was used: by the meter, and by samples over time.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How use is grouped and over what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// `queue` (default), `user` or `job`.
    pub by: Option<String>,
}

/// What one queue, user or job is charged for. Amounts times time, in the units of each name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The queue, user or job.
    pub key: String,
    /// CPU at the rate of its class (what was granted; of `critical` what was used, when more): thousandths of a
    /// core × milliseconds.
    pub granted_cpu_milli_ms: u64,
    /// CPU at the rate of `spare`, used above what was granted: thousandths of a core × milliseconds.
    pub burst_cpu_milli_ms: u64,
    /// Memory at the rate of its class: mebibytes × seconds.
    pub granted_memory_mib_s: u64,
    /// Memory at the rate of `spare`, what its jobs used: mebibytes × seconds.
    #[serde(default)]
    pub burst_memory_mib_s: u64,
    /// Disk at the rate of its class: mebibytes × seconds.
    pub granted_disk_mib_s: u64,
    /// Disk at the rate of `spare`, what its jobs used: mebibytes × seconds.
    #[serde(default)]
    pub burst_disk_mib_s: u64,
    /// Devices of all kinds at the rate of its class: thousandths × milliseconds.
    pub granted_device_thousandths_ms: u64,
    /// Of devices, what was used of shares beyond what was granted, and all that `spare` used: at the rate of `spare`.
    #[serde(default)]
    pub burst_device_thousandths_ms: u64,
    /// CPU of these, given back because the pool lost the work: thousandths of a core × milliseconds.
    pub credited_cpu_milli_ms: u64,
}

/// The meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// The moment the meter stands at.
    pub at_ms: u64,
    /// One a queue, user or job.
    pub rows: Vec<UsageRow>,
    /// CPU of each node, in thousandths of a core × milliseconds.
    pub nodes: Vec<NodeUsage>,
    /// Time of each device, in thousandths of it × milliseconds. Of those that nobody measures all that was granted to
    /// tasks that ran counts as used.
    #[serde(default)]
    pub devices: Vec<NodeUsage>,
}

/// One node's CPU, or one device's time, since it joined. `capacity = granted + idle + planned + down`, `granted = used_within + waste`,
/// `used = used_within + burst`: exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeUsage {
    /// The node.
    pub node: String,
    /// Ordinal of the device; absent: CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// All of it.
    pub capacity: u64,
    /// Granted to tasks that ran.
    pub granted: u64,
    /// Free, and could have been granted.
    pub idle: u64,
    /// Set aside for tasks that did not run yet.
    pub planned: u64,
    /// Free, and could not have been granted.
    pub down: u64,
    /// Of `granted`, what was used.
    pub used_within: u64,
    /// Of `granted`, what was not used, or is not yet known to have been.
    pub waste: u64,
    /// Used beyond what was granted.
    pub burst: u64,
}

/// Use of a job's tasks over the whole of its present or last attempt, as far as this server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampleSeries {
    /// One a task, by its id.
    pub tasks: Vec<TaskSamples>,
}

/// Use of one task. At most 256 points; when there are more, two become one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskSamples {
    /// The task.
    pub task: String,
    /// When each point ends, oldest first.
    pub at_ms: Vec<u64>,
    /// CPU from the point before to this one, thousandths of a core.
    pub cpu_milli: Vec<u64>,
    /// The most memory at any sample of it.
    pub memory_bytes: Vec<u64>,
}
