//! What happened ([`Event`]) and what must be done ([`Effect`]): the whole conversation between
//! the engine and the world.

use crate::ids::{Generation, JobId, NodeName, QueuePath, TaskId, UserName};
use crate::model::{Class, DeviceChange, JobSpec, NodeSpec, QueueSpec, Resources, RunSpec, ShareTerms};
use crate::money::{Budget, PriceSpec};
use crate::partition::Part;
use crate::plan::named::Choice;
use crate::units::{Bytes, Millis, Thousandths, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The pool itself: a timer, a plan.
    Pool,
    /// A node's report.
    Node(NodeName),
    /// A person or a program on a person's behalf.
    User {
        /// The name the token stands for.
        name: UserName,
        /// Where the request came from: an address, or `local`.
        from: String,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody asks for something.
    Request(Request),
    /// A substrate tells something.
    Report(Report),
    /// A timer of the engine is due.
    Tick,
    /// The record of a finished job is kept elsewhere now: the engine may forget all but how it ended.
    Archived(JobId),
    /// Closed periods of the ledger up to this one are kept elsewhere now.
    Booked(u64),
}

/// Which part of a job a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The job.
    pub job: JobId,
    /// One array element; absent: all of them.
    pub index: Option<u32>,
}

impl Target {
    /// All of a job.
    #[must_use]
    pub const fn job(job: JobId) -> Self {
        Self { job, index: None }
    }
}

/// What users and administrators ask for. Refused with a typed reason, or accepted whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take in a new job.
    Submit(Arc<JobSpec>),
    /// End it: signal, grace, kill; or kill at once.
    Stop {
        /// What.
        target: Target,
        /// Skip the signal and the grace.
        now: bool,
    },
    /// Freeze it where it is (its CPU goes back to the pool), or stop it keeping its writable layer (all of it goes back).
    Pause {
        /// What.
        target: Target,
        /// Give everything back.
        release: bool,
    },
    /// Undo a pause.
    Resume(Target),
    /// Queue a finished job once more, with a new attempt.
    Retry(Target),
    /// Forget a finished job and delete its files.
    Remove(JobId),
    /// Change the limits of a running or waiting job.
    Resize {
        /// What.
        target: Target,
        /// The new guaranteed amounts per task.
        request: Resources,
        /// The new most per task.
        burst: Resources,
        /// New terms of its shares of devices.
        #[serde(default)]
        devices: Vec<DeviceChange>,
    },
    /// A person is using an environment: the number of sessions attached now.
    Sessions {
        /// Which task.
        task: TaskId,
        /// How many.
        count: u32,
    },
    /// Create or change a queue.
    SetQueue(Box<QueueSpec>),
    /// Remove an empty queue.
    RemoveQueue(QueuePath),
    /// Choose how the pool decides; absent: as it was started.
    SetPolicy(Option<Choice>),
    /// Take no more tasks on a node (running ones stay), or take them again.
    Drain {
        /// Which node.
        node: NodeName,
        /// On or off.
        on: bool,
    },
    /// Set labels of a node; an empty value removes the label.
    Label {
        /// Which node.
        node: NodeName,
        /// Labels to set.
        labels: BTreeMap<String, String>,
    },
    /// Add prices to the sheet, and say in which currency they are.
    SetPrices {
        /// The currency of all amounts; absent: it stays.
        currency: Option<String>,
        /// What is added.
        prices: Vec<PriceSpec>,
    },
    /// End a price now; forget it if it has not begun.
    EndPrice(u64),
    /// Set what a queue may spend.
    SetBudget(Budget),
    /// Let a queue spend what it likes.
    RemoveBudget(QueuePath),
}

/// What the memory of a device has been through, by its driver; nothing of it keeps the device from being granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wear {
    /// Errors that were corrected, in its whole life; `None`: its driver does not say.
    pub corrected: Option<u64>,
    /// Rows that were remapped; `None`: its driver does not say.
    pub remapped: Option<u32>,
    /// Whether rows wait for its next reset to be remapped.
    pub pending: bool,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed for going over its memory.
    OutOfMemory,
    /// It failed, or was killed, with its disk full.
    OutOfDisk,
    /// A device failed under it.
    DeviceError,
    /// The substrate has lost every trace of it.
    Lost,
}

/// What a substrate found of a task when it looked ([`Report::Inventory`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It runs.
    Running {
        /// Since when.
        started: Timestamp,
    },
    /// It has ended.
    Ended {
        /// When it started.
        started: Timestamp,
        /// When it ended.
        ended: Timestamp,
        /// How.
        exit: Exit,
    },
}

/// Use of one task, from counters that only grow, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSample {
    /// Which task.
    pub task: TaskId,
    /// Under which generation.
    pub generation: Generation,
    /// CPU time used since the task's start, in microseconds.
    pub cpu_us: u64,
    /// CPU time it was throttled by its quota since the start, in microseconds.
    pub throttled_us: u64,
    /// Memory now, page cache that can be dropped left out.
    pub memory: Bytes,
    /// Writable layer now.
    pub disk: Bytes,
    /// Bytes read and written to block devices since the start.
    pub io: Bytes,
    /// Processes and threads now.
    pub pids: u32,
    /// Its shares of devices whose use is measured ([`Traits::measured`](crate::model::Traits)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceUse>,
}

/// Use of one share of a device by a task. Times count from the task's start and only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUse {
    /// Ordinal in [`NodeSpec::devices`].
    pub device: u32,
    /// Time of the device that was used, in microseconds.
    pub busy_us: u64,
    /// Time that launches were held back, added up over threads, in microseconds.
    pub throttled_us: u64,
    /// Launches that were measured.
    pub launches: u64,
    /// Allocations that were refused because the share was full.
    pub refused: u64,
    /// Memory held now.
    pub memory: Bytes,
    /// Memory that its processes hold by the driver's own count, where the driver tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_memory: Option<Bytes>,
    /// The part of the device's time it may have now: its promise, and what others leave.
    pub allowed: Thousandths,
}

/// What something seen of a device tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// It answers, and nothing is wrong with it.
    Well,
    /// Something that may pass: it did not answer, is too hot, corrected many errors. A program's own error (XID 13, 31, 43, 45
    /// with NVIDIA) is no sign of the device.
    Trouble,
    /// Trouble that ended the program that met it and no other: a contained error of memory (XID 94).
    Contained,
    /// It cannot work: it fell off the bus (XID 79), memory errors that nobody corrects (48, 95), its firmware hangs (119, 120).
    Fatal,
}

/// What is done about a task that goes past its share of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PastShare {
    /// It is told.
    #[default]
    Flag,
    /// It gets next to none of the device's time, and of its CPU the part that it was promised of the device.
    Throttle,
    /// It is ended.
    End,
}

/// What a start is made of, on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// The image is fetched and unpacked, or found.
    Image,
    /// What containers on it stand on is mounted, or found.
    Mounts,
    /// Its address and ports are chosen.
    Network,
    /// Its shares and partitions of devices are made.
    Devices,
    /// From the order to its launcher until its command runs: control group, root, network, first process.
    Start,
}

impl StepKind {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Mounts => "mounts",
            Self::Network => "network",
            Self::Devices => "devices",
            Self::Start => "start",
        }
    }
}

/// A step of a task's start by the clock of its node, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub kind: StepKind,
    /// When it began.
    pub from_us: u64,
    /// When it was done.
    pub to_us: u64,
}

/// What substrates tell. Those about a task carry its generation; an old one is counted and ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A node is there, new or changed or back.
    NodeUp(NodeSpec),
    /// A node is alive: renews its lease.
    Lease(NodeName),
    /// A node is known to be gone.
    NodeLost(NodeName),
    /// Everything a node has; tasks the engine believes to be there and that are missing were never started or are lost.
    Inventory {
        /// Which node.
        node: NodeName,
        /// What it has.
        tasks: Vec<(TaskId, Generation, Found)>,
    },
    /// A task runs.
    Started {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Its address for its peers and for `forward`, when it has one.
        address: Option<String>,
        /// Host ports chosen for its `ports`: (inside, on the machine).
        ports: Vec<(u16, u16)>,
        /// What its start was made of, for those who trace it; nothing follows from it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step>,
    },
    /// A task could not be started.
    StartFailed {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// One sentence for the user: what, why, what to do.
        message: String,
        /// Whether the node is to blame (try again elsewhere) or the job (do not).
        node_fault: bool,
    },
    /// A step of a slow start, for people: "pulling pytorch/pytorch:2.13.0, 40 %".
    Progress {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// The step.
        message: String,
    },
    /// A task ended by itself or was ended.
    Exited {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// How.
        exit: Exit,
    },
    /// A freeze or thaw took effect, or the reason why not.
    Frozen {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Frozen or thawed.
        frozen: bool,
        /// Why it could not be done.
        #[serde(default)]
        refused: Option<String>,
    },
    /// A resize took effect, or the reason why the old limits stay.
    Resized {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Why it was refused.
        refused: Option<String>,
    },
    /// Use of everything on a node.
    Sampled {
        /// Which node.
        node: NodeName,
        /// CPU used by the whole machine since boot, in microseconds, pool tasks included.
        node_cpu_us: u64,
        /// Memory of the machine that is not available.
        node_memory: Bytes,
        /// One entry a running task.
        tasks: Vec<TaskSample>,
    },
    /// A task goes past its share of a device, or keeps to it again.
    PastShare {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Ordinal in [`NodeSpec::devices`].
        device: u32,
        /// In which way, for people.
        message: String,
        /// What the node does about it, or did until now; `None`: the task keeps to its share again.
        act: Option<PastShare>,
    },
    /// A sign of how a device is: a probe, or what its driver says. What follows from it the engine decides.
    DeviceSign {
        /// Which node.
        node: NodeName,
        /// Ordinal in [`NodeSpec::devices`].
        device: u32,
        /// What it tells.
        sign: Sign,
        /// In words, for people.
        message: String,
    },
    /// What a device's memory has been through is other than it was.
    DeviceWear {
        /// Which node.
        node: NodeName,
        /// Ordinal in [`NodeSpec::devices`].
        device: u32,
        /// Now.
        wear: Wear,
    },
    /// A device is known to be usable or unusable.
    DeviceHealth {
        /// Which node.
        node: NodeName,
        /// Ordinal in [`NodeSpec::devices`].
        device: u32,
        /// Usable?
        healthy: bool,
        /// Why, for people.
        message: String,
    },
}

/// What a task was granted of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// Ordinal in [`NodeSpec::devices`].
    pub device: u32,
    /// Share of its compute.
    pub compute: Thousandths,
    /// Share of its memory.
    pub memory: Bytes,
    /// Which part of its hardware, when it is cut ([`ShareMode::Space`](crate::model::ShareMode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A task's devices: the plan, the engine, the snapshot and the effects that speak of them hold one list.
pub type Grants = Arc<[DeviceGrant]>;

/// What a task was granted, where, under which generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Which task.
    pub task: TaskId,
    /// Under which generation.
    pub generation: Generation,
    /// On which node.
    pub node: NodeName,
    /// Which of the job's shapes it was placed with.
    pub shape: u32,
    /// Guaranteed.
    pub request: Resources,
    /// The most it may use.
    pub burst: Resources,
    /// Devices.
    pub devices: Grants,
    /// On what terms, in their order.
    #[serde(default)]
    pub shares: Vec<ShareTerms>,
}

/// What a start needs beside the allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// What it was granted.
    pub allocation: Allocation,
    /// The job's name.
    pub name: String,
    /// Who submitted it.
    pub user: UserName,
    /// Weight and order of giving way.
    pub class: Class,
    /// From 1.
    pub attempt: u32,
    /// Nodes of all ranks of the gang, by rank.
    pub peers: Arc<[NodeName]>,
    /// Keep the writable layer of the attempt before (a paused environment).
    pub keep_layer: bool,
    /// When the time limit stops it.
    pub deadline: Option<Timestamp>,
    /// Folder of its checkpoints, inside.
    pub checkpoint_dir: Option<String>,
    /// What is executed.
    pub run: Arc<RunSpec>,
}

/// What a substrate must do. Every effect is idempotent: doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Start a task, unless this generation was started before.
    Start(Box<Launch>),
    /// End a task: `signal`, then after `grace` the kill of the whole group. Grace zero: kill at once.
    Stop {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// First signal (15 unless the job has a checkpoint signal).
        signal: i32,
        /// Time between the two.
        grace: Millis,
        /// The node it is on.
        node: NodeName,
    },
    /// Freeze or thaw a task.
    Freeze {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Freeze or thaw.
        frozen: bool,
        /// The node it is on.
        node: NodeName,
    },
    /// Change a running task's limits.
    Resize {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Guaranteed.
        request: Resources,
        /// The most.
        burst: Resources,
        /// Its devices, the same ones as before.
        #[serde(default)]
        devices: Vec<DeviceGrant>,
        /// On what terms, in their order.
        #[serde(default)]
        shares: Vec<ShareTerms>,
        /// The node it is on.
        node: NodeName,
    },
    /// Send a signal to the main process.
    Signal {
        /// Which.
        task: TaskId,
        /// Under which generation.
        generation: Generation,
        /// Number.
        signal: i32,
        /// The node it is on.
        node: NodeName,
    },
    /// Kill whatever runs of this task under a generation up to this one.
    Fence {
        /// Which.
        task: TaskId,
        /// The last generation that must not live.
        generation: Generation,
        /// The node it is on.
        node: NodeName,
    },
    /// Delete everything kept of a job: logs, layers, results.
    Purge(JobId),
}
