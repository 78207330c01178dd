//! Jobs: how they are sent, listed, shown and changed.

use super::{CostView, EstimateView, UsageRow, WhyView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// What sort of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Runs to an end.
    Task,
    /// A person works in it; gives its share back when idle.
    Env,
}

/// What the pool promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Runs on what others leave unused.
    Spare,
    /// Keeps what it was granted.
    Standard,
    /// Has a reservation.
    Critical,
}

/// Where a job, an array element or a task stands. Of a job with many elements: the first in this order that
/// any element has, so a job is over when all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Executing.
    Running,
    /// Placed; being prepared.
    Starting,
    /// Being ended.
    Stopping,
    /// Frozen in place: by its user, or by the pool that wants its CPU back.
    Frozen,
    /// Wants a place, and will get one.
    Waiting,
    /// Wants a place that cannot come free: more than any node has, or than its queue may ever have. The request,
    /// the pool or the limit has to change.
    Infeasible,
    /// Stopped by its user or by its idle policy, with its files kept; `resume` goes on.
    Paused,
    /// Ended by itself with an error, or could not be started.
    Failed,
    /// Ended by a user, a time limit or a dependency.
    Stopped,
    /// Ended by itself with exit code 0.
    Succeeded,
}

impl State {
    /// Whether nothing will change without a request.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Stopped | Self::Succeeded)
    }
    /// The word used in JSON, queries and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Frozen => "frozen",
            Self::Waiting => "waiting",
            Self::Infeasible => "infeasible",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
        }
    }
    /// Every state, in the order of the type.
    pub const ALL: [Self; 10] = [
        Self::Running,
        Self::Starting,
        Self::Stopping,
        Self::Frozen,
        Self::Waiting,
        Self::Infeasible,
        Self::Paused,
        Self::Failed,
        Self::Stopped,
        Self::Succeeded,
    ];
}

/// CPU, memory and disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk.
    pub disk_bytes: u64,
}

/// Devices asked for by one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceAsk {
    /// `gpu`, `fpga`, `npu`, `opencl`.
    pub kind: String,
    /// The model asked for; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many.
    pub count: u32,
    /// `exclusive`, `space`, `time`, or `advisory`: a share that nobody keeps.
    pub mode: String,
    /// Share of compute on each.
    pub compute_thousandths: u64,
    /// Share of memory on each; 0: all of it.
    pub memory_bytes: u64,
    /// Of a partition: its profile by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// How many array elements are in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Elements in all; 1 for a plain job.
    pub total: u64,
    /// Elements by state; states without elements are left out.
    pub by_state: BTreeMap<String, u64>,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobSummary {
    /// Its id.
    pub id: u64,
    /// Its name; not unique.
    pub name: String,
    /// What sort.
    pub kind: JobKind,
    /// Where it is charged.
    pub queue: String,
    /// Who submitted it.
    pub user: String,
    /// Promise.
    pub class: Class,
    /// 0 to 1000 inside its queue.
    pub priority: u16,
    /// Where it stands.
    pub state: State,
    /// Why it waits, failed or was stopped, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Elements by state.
    pub elements: Counts,
    /// Fewest tasks of an element that start together.
    pub size_min: u32,
    /// Most tasks of an element.
    pub size_max: u32,
    /// Guaranteed to each task, of its first alternative.
    pub request: Amounts,
    /// Devices of each task, of its first alternative.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceAsk>,
    /// Nodes it is on, without doubles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it began to run: in the present attempt, or, once over, in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When all of it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// How long each of its elements is predicted to run: its own estimate, or what earlier runs tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_ms: Option<u64>,
    /// Once over: what `pond run` and `pond wait` end with. 0 when all succeeded, else the code of the first
    /// task that failed, 128 + its signal, or 137 for out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// A job, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Everything that was asked for, every default filled in.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
    /// Its array elements; one for a plain job.
    pub gangs: Vec<GangView>,
    /// What it has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRow>,
    /// What it has cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostView>,
}

/// One array element: tasks that start together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GangView {
    /// Its id: `12` or `12[7]`.
    pub id: String,
    /// The array index.
    pub index: u32,
    /// Where it stands.
    pub state: State,
    /// Why it waits, failed or was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of the present or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Fencing number of the present or last placement.
    pub generation: u64,
    /// Tasks of the present or last attempt, by rank.
    pub tasks: Vec<TaskView>,
    /// The device that ended the attempt before this one, or the last one once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blamed: Option<BlamedView>,
    /// How near its devices are to each other, for each node that it has several of and that says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearView>,
}

/// How near the devices of an element on one node are to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NearView {
    /// The node.
    pub node: String,
    /// Their ordinals.
    pub devices: Vec<u32>,
    /// How the two that are nearest are joined, in the words of `DeviceView::links`.
    pub nearest: String,
    /// How the two that are farthest are joined; `?`: nobody knows of some.
    pub farthest: String,
}

/// A device that ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlamedView {
    /// Which attempt.
    pub attempt: u32,
    /// Its node.
    pub node: String,
    /// Its ordinal there.
    pub device: u32,
    /// The rank that was on it.
    pub rank: u32,
    /// Which device, and what was told of it.
    pub message: String,
    /// Whether trying again is on the pool's account, and not one of the job's own attempts.
    pub pool_pays: bool,
}

/// One task: a rank of an array element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Its id: `12`, `12.3`, `12[7].3`.
    pub id: String,
    /// Its rank.
    pub rank: u32,
    /// Where it stands.
    pub state: State,
    /// The node.
    pub node: String,
    /// Its address on that node, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Ports reachable on the node's loopback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortView>,
    /// The present step of a slow start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// Guaranteed.
    pub request: Amounts,
    /// The most it may use.
    pub burst: Amounts,
    /// Its CPU limit while it is squeezed, in thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub squeezed_cpu_milli: Option<u64>,
    /// Devices granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<GrantView>,
    /// Use at the last sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_now: Option<TaskUse>,
}

/// A forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortView {
    /// Inside the task.
    pub container: u16,
    /// On the node's loopback.
    pub host: u16,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitView {
    /// `code`, `signal`, `out_of_memory`, `out_of_disk`, `device_error`, `lost`, `not_started`.
    pub kind: String,
    /// What a shell would report: the code, or 128 + the signal.
    pub code: i32,
}

/// A device granted to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// Ordinal on its node.
    pub device: u32,
    /// Share of its compute.
    pub compute_thousandths: u64,
    /// Share of its memory.
    pub memory_bytes: u64,
    /// `exclusive`, `space`, `time`, or `advisory`: a share that nobody keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Of a partition: its profile and, after `@`, its first memory slice: `3g.40gb@4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Its use at the last sample, where that is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_now: Option<DeviceUseView>,
}

/// Use of a share of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceUseView {
    /// The part of its time that was used, over the last minute at most.
    pub delivered_thousandths: u64,
    /// The part of its time it may use now: what was promised, and what others leave.
    pub allowed_thousandths: u64,
    /// Memory held.
    pub memory_bytes: u64,
    /// Memory that its processes hold by the driver's own count, where the driver tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_memory_bytes: Option<u64>,
    /// Time of the device used since the task's start.
    pub busy_ms: u64,
    /// Time that launches were held back, added up over threads.
    pub throttled_ms: u64,
    /// Launches.
    pub launches: u64,
    /// Allocations that were refused because the share was full.
    pub refused: u64,
}

/// Use of a task at its last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskUse {
    /// CPU over the last interval, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Writable layer.
    pub disk_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// Only these: a state, `active` (not over), `over`, or `all` (the default).
    pub state: Option<String>,
    /// Only this queue.
    pub queue: Option<String>,
    /// Only this user.
    pub user: Option<String>,
    /// Only this name, exactly.
    pub name: Option<String>,
    /// At most this many, newest first: 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Only jobs older than this id: the `next` of the page before.
    pub after: Option<u64>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobSummary>,
    /// `after` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// How a job file is read, beside its content type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SubmitQuery {
    /// Name of the file, for messages.
    pub file: Option<String>,
    /// Folder on the server's machine against which relative paths in the file are read.
    pub dir: Option<String>,
}

/// A job was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The new job, or the one this idempotency key already made.
    pub job: JobSummary,
    /// What was read but cannot be honoured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What would happen to a job if it were submitted now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The job as it would be submitted, every default filled in.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
    /// Where its first element would run now; empty when it would wait.
    pub placement: Vec<PlacementView>,
    /// Gangs that would be evicted for it.
    pub evicts: Vec<String>,
    /// Why it would wait, or that it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyView>,
    /// Earlier runs of jobs like it; absent where too few are known, and where the job gives an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<RunsView>,
    /// What it would cost; absent where nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<EstimateView>,
    /// What was read but cannot be honoured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How long jobs like one ran before: of the same user, queue, name, program, size and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunsView {
    /// So many, the last 20 at most.
    pub earlier: u64,
    /// Nine in ten took at least this long.
    pub from_ms: u64,
    /// Nine in ten took at most this long.
    pub to_ms: u64,
}

/// One rank's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacementView {
    /// The rank.
    pub rank: u32,
    /// The node.
    pub node: String,
    /// Devices.
    pub devices: Vec<GrantView>,
}

/// Which part of a job an action is about, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActionBody {
    /// One array element; absent: all of them.
    pub index: Option<u32>,
    /// `stop`: skip the signal and the grace.
    pub now: bool,
    /// `pause`: stop it and give everything back, keeping its files, instead of freezing it in place.
    pub release: bool,
}

/// New limits of a job. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizeBody {
    /// One array element; absent: all of them.
    pub index: Option<u32>,
    /// Guaranteed CPU, thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Most CPU; absent and `cpu_milli` present: the same.
    pub cpu_burst_milli: Option<u64>,
    /// Guaranteed memory.
    pub memory_bytes: Option<u64>,
    /// Most memory.
    pub memory_burst_bytes: Option<u64>,
    /// Guaranteed disk.
    pub disk_bytes: Option<u64>,
    /// Most disk.
    pub disk_burst_bytes: Option<u64>,
    /// New terms of its shares of devices, an entry a kind.
    pub devices: Vec<DeviceResize>,
}

/// New terms of a job's shares of one kind of device. What is absent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceResize {
    /// `gpu`, `fpga`, `npu`, `opencl`.
    pub kind: String,
    /// Guaranteed time, thousandths of a device. Memory that was in proportion to it stays in proportion.
    pub compute_thousandths: Option<u64>,
    /// The most time, when others leave it unused; absent and `compute_thousandths` present: the same.
    pub compute_most_thousandths: Option<u64>,
    /// Guaranteed memory.
    pub memory_bytes: Option<u64>,
    /// The most memory; absent and `memory_bytes` present: the same.
    pub memory_most_bytes: Option<u64>,
    /// Its part of what others leave, against theirs.
    pub weight: Option<u32>,
}
