//! What can be set of a simulation. Plain data; every field has its unit and default.

use pond_core::engine;
use pond_core::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// How a simulation runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimSettings {
    /// The root of all chance. Default 0.
    pub seed: u64,
    /// The engine and, in it, the planner. Default: the engine's own, but without leases
    /// (`lease: 0`): the loss of a node is told after [`Faults::detection`]. With a lease, nodes send heartbeats.
    pub engine: engine::Settings,
    /// What is kept of the work of a job that is stopped. Default [`Checkpointing::Instant`].
    pub checkpointing: Checkpointing,
    /// Time that is lost when a stopped job starts again.
    pub restart: Restart,
    /// Time an elastic job stands still when the number of its tasks changes, in milliseconds. Default 0.
    pub resize_pause: Millis,
    /// From the order to start a task until it runs.
    pub startup: Startup,
    /// From the signal to the end of a task, in milliseconds, at most the grace. Default 0.
    pub stops_in: Millis,
    /// Between the signal and the kill of a task, in milliseconds. Default 10 s.
    pub grace: Millis,
    /// Whether jobs may be evicted. Default true.
    pub preemptible: bool,
    /// Once started, a job is not evicted for this long, in milliseconds. Default 0.
    pub min_runtime: Millis,
    /// Spread of run times around what the workload says, in thousandths: the standard deviation of the logarithm.
    /// Default 0: run times are exact.
    pub run_time_noise: u64,
    /// Samples of CPU use, for policies that lend it; `None`: none. Default `None`.
    pub samples: Option<Sampling>,
    /// What breaks.
    pub faults: Faults,
    /// The simulation ends here at the latest; `None`: when all jobs have ended. Default `None`.
    pub horizon: Option<Timestamp>,
    /// The simulation ends when no job has had a place and none has come for this long, in milliseconds. Default 30 days.
    pub stall: Millis,
    /// The most points of the series; when they are reached, every second one is dropped and the step doubled.
    /// 0: no series. Default 2,000.
    pub points: u32,
    /// Whether to keep who was where. Default false.
    pub stays: bool,
}

impl Default for SimSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            engine: engine::Settings { lease: Millis::ZERO, ..engine::Settings::default() },
            checkpointing: Checkpointing::default(),
            restart: Restart::default(),
            resize_pause: Millis::ZERO,
            startup: Startup::default(),
            stops_in: Millis::ZERO,
            grace: Millis(10_000),
            preemptible: true,
            min_runtime: Millis::ZERO,
            run_time_noise: 0,
            samples: None,
            faults: Faults::default(),
            horizon: None,
            stall: Millis(30 * 86_400_000),
            points: 2000,
            stays: false,
        }
    }
}

/// What is kept of the work of a job that is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Checkpointing {
    /// Nothing: it begins again.
    None,
    /// Everything when it is evicted, as the papers assume; nothing since its start when its machine dies.
    #[default]
    Instant,
    /// What was done up to the last checkpoint.
    Every {
        /// Work between two checkpoints, in milliseconds at full speed; at least 1.
        every: Millis,
        /// Time that writing one takes, in milliseconds at full speed; the job stands still meanwhile.
        cost: Millis,
    },
    /// Everything, when the signal leaves time enough to save; nothing since its start otherwise.
    OnSignal {
        /// Time that saving takes, in milliseconds.
        takes: Millis,
    },
}

/// Time that is lost when a job that was stopped starts again, for loading its state. As in the published Helios and
/// Lucid simulators (Hu et al., SC 2021 and ASPLOS 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// Jobs of at most `few_devices` devices, in milliseconds. Default 40 s.
    pub few: Millis,
    /// Jobs of more devices, in milliseconds. Default 60 s.
    pub many: Millis,
    /// Where `few` ends, in devices. Default 8.
    pub few_devices: u64,
    /// Both times so much, in thousandths: 5000 and 15000 are the stress settings of the protocol. Default 1000.
    pub factor: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { few: Millis(40_000), many: Millis(60_000), few_devices: 8, factor: 1000 }
    }
}

impl Restart {
    /// The time lost by a job of so many thousandths of devices.
    #[must_use]
    pub const fn pause(&self, devices_milli: u64) -> Millis {
        let base = if devices_milli <= self.few_devices.saturating_mul(1000) { self.few } else { self.many };
        Millis(base.0.saturating_mul(self.factor) / 1000)
    }
}

/// From the order to start a task until it runs: log-normal around a median.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Startup {
    /// Half of the tasks need less, in milliseconds. Default 0: tasks run at once.
    pub median: Millis,
    /// Standard deviation of the logarithm, in thousandths. Default 0: every task needs the median.
    pub spread: u64,
}

/// How CPU use is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Between two samples of a node, in milliseconds; at least 1. Default 10 s.
    pub every: Millis,
    /// Spread of a sample around the job's mean use, in thousandths: the standard deviation of the logarithm. Default 0.
    pub noise: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { every: Millis(10_000), noise: 0 }
    }
}

/// What breaks, and when. Each node, each device and each message draws from a generator of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Nodes that die with everything on them. Default: none.
    pub nodes: Option<Breakdown>,
    /// Devices that fail under what runs on them. Default: none.
    pub devices: Option<Breakdown>,
    /// Nodes that are drained one after the other. Default: none.
    pub maintenance: Option<Maintenance>,
    /// Messages between nodes and pool. Default: all arrive, at once, once.
    pub messages: Messages,
    /// After this the pool is told that a node died, in milliseconds; not used when nodes have leases.
    /// Default 45 s: the engine's default lease and its patience after it.
    pub detection: Millis,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            nodes: None,
            devices: None,
            maintenance: None,
            messages: Messages::default(),
            detection: Millis(45_000),
        }
    }
}

/// How often something breaks and how long it stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakdown {
    /// From a repair to the next failure of one piece.
    pub between: Lifetime,
    /// From a failure to its repair.
    pub repair: Lifetime,
}

/// A span by chance: Weibull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// The scale, in milliseconds: 63.2 % of all spans are shorter. With `shape` 1000 the mean.
    pub scale: Millis,
    /// The shape, in thousandths: 1000 is the exponential distribution, below it early failures, above it wear. At least 1.
    #[serde(default = "exponential")]
    pub shape: u64,
}

const fn exponential() -> u64 {
    1000
}

/// Planned work on nodes: one after the other is drained, round and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// From the drain of one node to that of the next, in milliseconds; at least 1.
    pub every: Millis,
    /// How long a node stays drained, in milliseconds.
    pub lasts: Millis,
}

/// What befalls messages on their way, in thousandths of them. Heartbeats and inventories always arrive.
/// With any of these, each node tells its whole inventory every three seconds, as an agent does that lost its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// Reports that never arrive. Default 0.
    pub dropped: u64,
    /// Reports that arrive twice. Default 0.
    pub doubled: u64,
    /// Reports that arrive up to two seconds late and effects up to one second, and so out of order. Default 0.
    pub late: u64,
}

impl Messages {
    /// Whether anything can befall them.
    #[must_use]
    pub const fn any(self) -> bool {
        self.dropped > 0 || self.doubled > 0 || self.late > 0
    }
}
