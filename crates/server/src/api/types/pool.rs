//! Machines, devices, and the pool as a whole.

use super::{Amounts, Class, ForecastView, PredictionView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `ready`, `draining`, `suspect` or `lost`.
    pub state: String,
    /// What it may give out.
    pub capacity: Amounts,
    /// Guaranteed to tasks.
    pub granted: Amounts,
    /// CPU asked by `spare` tasks here, thousandths of a core.
    pub spare_cpu_milli: u64,
    /// CPU really used by guaranteed tasks, 95th percentile, thousandths of a core.
    pub busy_cpu_milli: u64,
    /// Its devices.
    pub devices: Vec<DeviceView>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Gangs that have a task here.
    pub gangs: Vec<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceView {
    /// The node it is on.
    pub node: String,
    /// Ordinal on its node.
    pub device: u32,
    /// The driver's lasting name.
    pub uuid: String,
    /// `gpu`, `fpga`, `npu`, `opencl`.
    pub kind: String,
    /// The maker's name.
    pub model: String,
    /// Whether it may be granted.
    pub healthy: bool,
    /// `healthy`, `suspect`, `sick`, `draining` (sick, with tasks on it), `back` (well again, and proving it).
    #[serde(default)]
    pub health: String,
    /// What was told of it when it was found not to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// When it stopped being healthy; absent while it is, and where that was before the pool noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Errors of memory that were corrected in its life, where its driver says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_errors: Option<u64>,
    /// Rows of its memory that were remapped in its life, where its driver says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remapped_rows: Option<u32>,
    /// Whether rows of its memory wait for its next reset to be remapped.
    #[serde(default)]
    pub remap_pending: bool,
    /// Ways it can be divided.
    pub modes: Vec<String>,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Memory not granted.
    pub free_memory_bytes: u64,
    /// Compute not granted.
    pub free_compute_thousandths: u64,
    /// How those who are on it share it; absent: nobody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_as: Option<String>,
    /// The NUMA node it hangs on, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa: Option<u32>,
    /// How it is joined to each device of its node, by ordinal, in the words of `nvidia-smi topo -m`: `NV18` (so many links of
    /// NVLink), `XGMI1` (so many hops of XGMI), `PIX`, `PXB`, `PHB`, `NODE`, `SYS`, from near to far; `X` for itself, `?` where
    /// nobody knows. Empty: of none is it known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// What it can give right now.
    #[serde(default)]
    pub free: Vec<FreeSize>,
    /// Who is on it: tasks and their shares.
    pub holders: Vec<HolderView>,
}

/// The largest piece of a device that can be granted right now in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FreeSize {
    /// `exclusive`, `space`, `time`, `advisory`.
    pub mode: String,
    /// Its time.
    pub compute_thousandths: u64,
    /// Its memory.
    pub memory_bytes: u64,
    /// Of a partition: its profile. There is an entry for each profile that has a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How many such pieces could be granted, were no others.
    #[serde(default)]
    pub count: u32,
}

/// A task on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HolderView {
    /// The task.
    pub task: String,
    /// Who submitted it.
    pub user: String,
    /// Promise.
    pub class: Class,
    /// Its share of compute.
    pub compute_thousandths: u64,
    /// Its share of memory.
    pub memory_bytes: u64,
    /// Of a partition: its profile and, after `@`, its first memory slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
}

/// Labels to set; an empty value removes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelBody {
    /// Name to value.
    pub labels: BTreeMap<String, String>,
}

/// Whether the pool works. Needs no token, so it says nothing about jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, `read_only` (the journal cannot be written; running tasks go on) or `stopping`.
    pub status: String,
    /// What is wrong and what to do, when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Nodes that take tasks.
    pub nodes_ready: u64,
    /// Nodes in all.
    pub nodes: u64,
}

/// Which program answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Version of the program.
    pub version: String,
    /// Versions of the API it speaks.
    pub api: Vec<String>,
    /// When this server started.
    pub started_ms: u64,
    /// Its process.
    pub pid: u32,
}

/// How the pool decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SchedulerView {
    /// The planner's settings, as `pond_core::snapshot::Settings` writes them.
    #[schema(value_type = Object)]
    pub settings: serde_json::Value,
    /// The policy that was chosen; absent: as the pool was started, which is `fair`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Plans made since the server started.
    pub plans: u64,
    /// Rules that plans broke; 0, or there is a bug.
    pub violations: u64,
    /// How predicted starts came out.
    pub forecasts: ForecastView,
    /// How predicted run times came out.
    pub predictions: PredictionView,
}

/// How the pool is to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerBody {
    /// A policy by its name (`pond sched policies`), with `+none`, `+easy`, `+conservative` or `+greedy` behind it for who may pass
    /// a blocked job; absent: as it is. With neither of the two the pool decides as it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Who scores the nodes that fit: `pack`, `spread`, `topology`, `best_fit`, `dot_product`, `gpu_clustering`, `gpu_packing`,
    /// `fgd`, `gaps`, `random`; absent: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
}

/// The pool in one object: what `status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// As `health` says.
    pub health: Health,
    /// Elements of jobs that are not over, by state.
    pub elements: BTreeMap<String, u64>,
    /// Elements that wait, by the word of their reason (docs/why.md).
    #[serde(default)]
    pub waiting: BTreeMap<String, u64>,
    /// Jobs that are over, by state.
    pub over: BTreeMap<String, u64>,
    /// What all nodes may give out.
    pub capacity: Amounts,
    /// Guaranteed to tasks.
    pub granted: Amounts,
    /// On nodes that are suspect or lost.
    pub down: Amounts,
    /// CPU really used by guaranteed tasks, thousandths of a core.
    pub busy_cpu_milli: u64,
    /// CPU really used beyond what was granted, and by `spare` tasks, at their last samples, thousandths of a core.
    #[serde(default)]
    pub burst_cpu_milli: u64,
    /// Memory really used by tasks, at their last samples.
    #[serde(default)]
    pub used_memory_bytes: u64,
    /// Devices in all, whole.
    pub devices: u64,
    /// Devices granted, in thousandths.
    pub devices_granted_thousandths: u64,
}

/// How to shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownBody {
    /// Leave tasks running; the next server adopts them. Otherwise they are stopped first.
    pub keep: bool,
}
