//! What came of a simulation: one row a job, a series over time, counts. Reports are made of this and nothing else.

use crate::workload::Ending;
use pond_core::units::{Millis, Timestamp};

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It ran to its end.
    Ended(Ending),
    /// It was ended at its time limit.
    TimedOut,
    /// It was given up after faults.
    GivenUp,
    /// It fits no node or no queue's limit, ever, or the pool does not take it at all.
    Infeasible,
    /// The simulation ended before it did.
    Unfinished,
}

/// How one job fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JobOutcome {
    /// The trace's own number.
    pub id: u64,
    /// Place in [`Outcome::users`].
    pub user: u32,
    /// Place in [`Outcome::queues`].
    pub queue: u32,
    /// Tasks at the smallest size.
    pub tasks: u32,
    /// Thousandths of devices asked for by all tasks.
    pub devices_milli: u64,
    /// Thousandths of a core asked for by all tasks.
    pub cpu_milli: u64,
    /// Submitted.
    pub submit: Timestamp,
    /// When it first got a place.
    pub start: Option<Timestamp>,
    /// End.
    pub end: Option<Timestamp>,
    /// Time with a place, all attempts together.
    pub held: Millis,
    /// Of that, time whose work was lost or spent on overheads of preemption, migration and faults.
    pub lost: Millis,
    /// True run time, alone, as the trace has it.
    pub duration: Millis,
    /// Evictions by the pool.
    pub preemptions: u32,
    /// Moves to another place that the pool chose.
    pub migrations: u32,
    /// Attempts ended by nodes or devices that failed.
    pub faults: u32,
    /// What became of it.
    pub fate: Fate,
}

impl JobOutcome {
    /// Job completion time: from submission to end.
    #[must_use]
    pub fn jct(&self) -> Option<Millis> {
        self.end.map(|end| end.since(self.submit))
    }

    /// Time without a place before the end: completion time less the time with a place.
    #[must_use]
    pub fn queued(&self) -> Option<Millis> {
        self.jct().map(|jct| jct.minus(self.held))
    }
}

/// The pool at one moment. Device amounts in thousandths of a device, CPU in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Gangs that wait for a place.
    pub pending: u64,
    /// Devices that those ask for, at their smallest size.
    pub pending_devices_milli: u64,
    /// Gangs that have one.
    pub running: u64,
    /// Devices of nodes that are up.
    pub devices_milli: u64,
    /// Of those, granted.
    pub granted_devices_milli: u64,
    /// Of those not granted, what a task drawn from the mix so far could not use (Weng et al., ATC 2023).
    pub fragmented_devices_milli: u64,
    /// Cores of nodes that are up.
    pub cpu_milli: u64,
    /// Of those, granted.
    pub granted_cpu_milli: u64,
}

/// What a pool has and what of it is granted at one moment: devices and cores in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Devices of nodes that are up.
    pub devices: u64,
    /// Of those, granted.
    pub granted: u64,
    /// Cores of nodes that are up.
    pub cpu: u64,
    /// Of those, granted.
    pub granted_cpu: u64,
}

/// Levels summed over time, in thousandths × milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Area {
    /// Devices of nodes that were up.
    pub devices: u128,
    /// Of those, granted.
    pub granted: u128,
    /// Cores of nodes that were up.
    pub cpu: u128,
    /// Of those, granted.
    pub granted_cpu: u128,
}

impl Area {
    /// Adds a level that held for so long.
    pub fn add(&mut self, level: Level, span: Millis) {
        let over = |amount: u64| u128::from(amount) * u128::from(span.0);
        self.devices += over(level.devices);
        self.granted += over(level.granted);
        self.cpu += over(level.cpu);
        self.granted_cpu += over(level.granted_cpu);
    }
}

/// Exact sums, which the points of a series are too few for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Areas {
    /// From the first submission to the end.
    pub whole: Area,
    /// The same up to the last submission.
    pub arrivals: Area,
}

impl Areas {
    /// Adds a level that held from one moment to another, where submissions end at `last_submit`.
    pub fn add(&mut self, level: Level, (from, to): (Timestamp, Timestamp), last_submit: Timestamp) {
        self.whole.add(level, to.since(from));
        self.arrivals.add(level, to.min(last_submit).since(from));
    }
}

/// A gang's stay on a node, for the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stay {
    /// Place in [`Outcome::nodes`].
    pub node: u32,
    /// The job.
    pub job: u64,
    /// Thousandths of the node's devices, of its cores where it has none.
    pub share_milli: u64,
    /// From.
    pub start: Timestamp,
    /// To.
    pub end: Timestamp,
}

/// What was counted on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Events that the engine handled.
    pub events: u64,
    /// Plans made.
    pub plans: u64,
    /// Decisions carried out, reasons for waiting left out.
    pub decisions: u64,
    /// Gangs placed.
    pub placed: u64,
    /// Gangs evicted.
    pub preemptions: u64,
    /// Gangs moved.
    pub migrations: u64,
    /// Faults of nodes and devices.
    pub faults: u64,
    /// Violations that `check_plan` found; anything but 0 is a defect.
    pub violations: u64,
    /// Decisions that were stale when they were to be carried out.
    pub stale: u64,
    /// Tasks that were started while an older generation of them still ran; anything but 0 is a defect.
    pub doubled: u64,
}

/// What came of a simulation. Equal for equal inputs, byte by byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// What was run, for people: workload and policy.
    pub name: String,
    /// The root seed.
    pub seed: u64,
    /// Users by place.
    pub users: Vec<String>,
    /// Queues by place.
    pub queues: Vec<String>,
    /// Nodes by place.
    pub nodes: Vec<String>,
    /// One row a job, in the order of submission.
    pub jobs: Vec<JobOutcome>,
    /// The pool over time, at even steps.
    pub series: Vec<Point>,
    /// The pool over all of its time; nothing in outcomes of earlier builds.
    #[serde(default)]
    pub areas: Option<Areas>,
    /// Who was where; empty unless asked for.
    pub stays: Vec<Stay>,
    /// Counts.
    pub counts: Counts,
}
