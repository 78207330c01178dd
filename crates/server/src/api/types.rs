//! The JSON of `/api/v1`: what goes over the wire, and nothing else.
//!
//! Amounts are integers in the unit their name ends in (`_ms`, `_bytes`, `cpu_milli`, `_thousandths`);
//! moments are milliseconds since the Unix epoch. Ids are text as `pond_core::ids` prints them: `12`,
//! `12[7]`, `12[7].3`. Absent values are left out.

mod money;
mod people;
mod usage;
mod why;

pub use crate::auth::rights::{Role, Scope};
pub use money::{
    BillAmount, BillBy, BillQuery, BillReport, BillRow, BudgetBody, BudgetSpan, BudgetStop, BudgetView,
    CostView, LedgerFormat, LedgerLine, LedgerQuery, PoolAmount, PriceBody, PriceView, PricesBody,
    PricesQuery, PricesView,
};
pub use people::{
    LoginLink, NewToken, PasswordBody, ProjectView, RoleBody, RoleQuery, RoleView, TokenBody, TokenView,
    UserBody, UserView, WhoView,
};
pub use usage::{NodeUsage, SampleSeries, TaskSamples, UsageQuery, UsageReport, UsageRow};
pub use why::{ForecastView, FunnelStep, PassedView, PastView, WhatIfView, WhyQuery, WhyView};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Version of the API in its path.
pub const API: &str = "/api/v1";
/// Request header: the same key with the same body gives the same job, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Content type of a job file in YAML.
pub const YAML: &str = "application/yaml";
/// Content type of a job file in TOML.
pub const TOML: &str = "application/toml";
/// Content type of a shell script with `#POND` or `#SBATCH` lines.
pub const SCRIPT: &str = "text/x-shellscript";
/// Content type of a complete job (`pond_core::model::JobSpec` as JSON), as a client that has read the job
/// file itself sends it.
pub const SPEC: &str = "application/vnd.pond.spec+json";
/// Content type of every error.
pub const PROBLEM: &str = "application/problem+json";
/// Content type of one JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";

/// An error (RFC 9457), with what a person needs to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// A word that programs can rely on: `no_such_job`, `bad_file`, `read_only`, ...
    pub code: String,
    /// What is wrong, one sentence.
    pub message: String,
    /// Where: `line 6 column 3` of the job file, a parameter, a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

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
    /// When it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When all of it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
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
    /// What was read but cannot be honoured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

/// Which lines of a job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// One array element; default 0 for a plain job, all elements of an array.
    pub index: Option<u32>,
    /// One rank; absent: all, each line behind its task's id when there are several tasks.
    pub rank: Option<u32>,
    /// The attempt from 1; absent: the last.
    pub attempt: Option<u32>,
    /// Go on until the job is over.
    pub follow: Option<bool>,
    /// Start with the last so many lines of each task.
    pub tail: Option<u64>,
    /// Only lines that contain this text.
    pub grep: Option<String>,
    /// Only lines from this moment on; lines of which it is not known when they came are given.
    pub since_ms: Option<u64>,
    /// `true`, with `json`: a line that has begun and has no end yet is given as far as it goes, with `open` set, and
    /// then the rest of it: prompts, progress bars. Not with `grep`.
    pub parts: Option<bool>,
    /// `true`: lines of `application/x-ndjson`, each a [`LogLine`].
    pub json: Option<bool>,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The task that wrote it.
    pub task: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub line: String,
    /// More of the line is to come, in the next entry of the same task and stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// Which entries of the event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only entries after this number. With `accept: text/event-stream` the header `last-event-id` does the same.
    pub since: Option<u64>,
    /// Only this job.
    pub job: Option<u64>,
    /// Only this actor.
    pub actor: Option<String>,
    /// Only kinds that start with this.
    pub kind: Option<String>,
    /// `true`: only what people did, which is the audit log.
    pub audit: Option<bool>,
    /// Only what was done from this address.
    pub from: Option<String>,
    /// Only entries of this moment or later.
    pub after_ms: Option<u64>,
    /// Only entries before this moment.
    pub before_ms: Option<u64>,
    /// `true`: newest first; `next` is then the `until` of the next page. Not used for a stream.
    pub newest: Option<bool>,
    /// Only entries before this number. Not used for a stream.
    pub until: Option<u64>,
    /// At most this many: 1 to 1000, default 100. Not used for a stream.
    pub limit: Option<u32>,
}

/// One entry of the event log, which is the audit log too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Counts up; gaps are possible, doubles are not.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// Who: a user's name, `node:NAME` or `pool`.
    pub actor: String,
    /// Where a user's request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What, for programs: `job.submitted`, `gang.placed`, `node.drained`, `token.created`, ...
    pub kind: String,
    /// The job it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The gang or task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What, for people: one sentence.
    pub text: String,
}

/// A page of the event log, oldest first unless the newest were asked for. What the caller may not see is left out, so
/// a page may be short and still have a next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The entries.
    pub events: Vec<EventView>,
    /// `since` of the next page, or its `until` when the newest come first; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Query of `tasks/{id}/exec` and `tasks/{id}/attach`. Then frames of `pond_core::frame` go both ways as binary messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExecQuery {
    /// A JSON list: program and arguments. Needed for `exec`, refused for `attach`.
    pub argv: Option<String>,
    /// Give it a terminal.
    pub tty: Option<bool>,
    /// Rows of the terminal.
    pub rows: Option<u16>,
    /// Columns of the terminal.
    pub cols: Option<u16>,
    /// Working folder inside.
    pub cwd: Option<String>,
    /// A JSON object: variables on top of the task's own.
    pub env: Option<String>,
}

/// Query of `tasks/{id}/forward`. Then the bytes of the connection go both ways as binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ForwardQuery {
    /// Port inside the task.
    pub port: u16,
}

/// Query of `tasks/{id}/files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// GET: the file or folder to read. PUT: the folder the tar stream is unpacked into.
    pub path: String,
}

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
}

/// Labels to set; an empty value removes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelBody {
    /// Name to value.
    pub labels: BTreeMap<String, String>,
}

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
    /// Elements that wait, in it alone.
    pub waiting: u64,
    /// Elements that wait for a place that cannot come free, in it alone.
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

/// A secret's name; values are never given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name, which is the variable's name inside tasks.
    pub name: String,
    /// When it was set last.
    pub updated_ms: u64,
}

/// The value of a secret, on its way in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretBody {
    /// The value, at most 64 KiB.
    pub value: String,
}

impl std::fmt::Debug for SecretBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBody(…)")
    }
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
    /// Plans made since the server started.
    pub plans: u64,
    /// Rules that plans broke; 0, or there is a bug.
    pub violations: u64,
    /// How predicted starts came out.
    pub forecasts: ForecastView,
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
