//! The simulator: the pool's own engine and planner on a virtual clock.
//!
//! ```text
//!            Workload, Cluster, SimSettings
//!                        │
//!                     [World] ── events ──▶ drive(engine, planner) ──▶ [Recorder] ──▶ Outcome
//!                        ▲ └──── effects ◀─────────┘                       │
//!                        └──────────────── word of what is over ◀──────────┘
//! ```
//! There is no second scheduler: the world submits jobs, starts and ends processes, breaks machines; everything that is
//! decided is decided by [`pond_core`]. Every plan is checked. Time is in whole milliseconds; chance comes from one seed
//! with a generator for each purpose and item, so that two policies meet the same failures. Finished jobs are
//! archived: memory goes with what lives, but for a row a job.
//!
//! How fast a job works depends on how many of its tasks run, on the model of their devices and on the neighbours on
//! shared ones ([`Profile`](crate::workload::Profile)); when one of these changes, its end is foreseen anew.

mod desk;
mod faults;
mod feasible;
mod fragment;
mod line;
mod process;
mod range;
mod recorder;
mod run;
mod scene;
mod settings;
mod work;
mod world;

pub use range::{Amount, OutOfRange, Range};
pub use settings::{
    Breakdown, Checkpointing, Faults, Lifetime, Maintenance, Messages, Restart, Sampling, SimSettings,
    Startup,
};

use crate::experiment::{Given, Predictor};
use crate::outcome::{Fate, JobOutcome, Outcome};
use crate::random::Random;
use crate::workload::{Cluster, SimJob, Workload};
use desk::Desk;
use pond_core::drive::{Journal, JournalError, drive};
use pond_core::engine::{Engine, Refusal, check_snapshot};
use pond_core::ids::NodeName;
use pond_core::plan::Planner;
use pond_core::substrate::Record;
use pond_core::units::{Millis, Timestamp};
use recorder::Recorder;
use scene::Scene;
use std::cell::RefCell;
use world::World;

/// How far a simulation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Events that the engine handled.
    pub events: u64,
    /// The virtual clock.
    pub now: Timestamp,
    /// Jobs that are over.
    pub jobs_done: u64,
    /// Jobs that are not, those included that were not submitted yet.
    pub jobs_left: u64,
}

/// Whether a simulation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Go,
    /// It ends here, with [`SimError::Cancelled`].
    Stop,
}

/// What cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// Jobs are not in the order of their submission.
    #[error(
        "the workload's jobs are not in the order of submission; call `Workload::sort` after the last was added"
    )]
    Unsorted,
    /// Two jobs have one id.
    #[error("two jobs have the id {0}; give each its own")]
    JobTwice(u64),
    /// Two nodes have one name.
    #[error("two nodes are called `{0}`; give each its own name")]
    NodeTwice(NodeName),
    /// A job names a user, queue, shape or profile that the workload does not have.
    #[error(
        "job {0} refers to a user, queue, shape or profile that the workload does not have; take places from `Workload::user` and its like"
    )]
    Place(u64),
    /// A job follows one that is not there.
    #[error(
        "job {job} is to follow job {other}, which is not in the workload; leave `after` out or add that job"
    )]
    UnknownPredecessor {
        /// The job.
        job: u64,
        /// The other one.
        other: u64,
    },
    /// A setting means nothing.
    #[error(transparent)]
    Setting(#[from] OutOfRange),
    /// The pool does not take a node or a queue of the cluster.
    #[error("the pool does not take the cluster: {0}")]
    Refused(#[source] Refusal),
    /// The caller wanted no more.
    #[error("cancelled at {} ms of simulated time", .0.0)]
    Cancelled(Timestamp),
    /// History could not be kept.
    #[error("the simulation keeps no history and yet failed to keep it; this is a defect")]
    Journal,
}

/// Runs a workload on a cluster. `progress` is told now and then and may end it.
///
/// Equal inputs give equal outcomes, byte for byte. It ends when all jobs are over, at the horizon, or when nothing
/// can happen any more; jobs that are not over then are [`Fate::Unfinished`].
///
/// # Errors
/// Inputs that contradict themselves or that the engine refuses; cancellation.
pub fn simulate(
    cluster: &Cluster,
    workload: &Workload,
    settings: &SimSettings,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Outcome, SimError> {
    simulate_with(cluster, workload, settings, &mut Given, progress)
}

/// As [`simulate`], with predictions by somebody who sees what ends.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_with(
    cluster: &Cluster,
    workload: &Workload,
    settings: &SimSettings,
    predictor: &mut dyn Predictor,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Outcome, SimError> {
    let scene = Scene::new(cluster, workload, settings)?;
    let rows = workload.jobs.iter().map(|job| row(workload, job)).collect();
    let desk = RefCell::new(Desk::new(rows));
    let mut recorder = Recorder::new(&scene, &desk);
    let mut world = World::new(&scene, &desk, predictor, progress);
    let mut engine = Engine::new(settings.engine.clone());
    let mut planner = Planner::new(settings.engine.plan.clone());
    let driven = drive(&mut engine, &mut planner, &mut world, &mut Forgetful(0), &mut recorder);
    driven.map_err(|_why| SimError::Journal)?;
    if let Some(why) = desk.borrow_mut().refused.take() {
        return Err(why);
    }
    if world.was_cancelled() {
        return Err(SimError::Cancelled(world.now));
    }
    recorder.close(world.now);
    let mut counts = recorder.counts;
    let unsound = check_snapshot(&engine).len() + engine.meter().check(world.now).len();
    counts.violations += unsound as u64;
    counts.doubled = world.doubled;
    counts.faults = world.fault_count;
    let (series, stays) = (std::mem::take(&mut recorder.series), std::mem::take(&mut recorder.stays));
    let areas = Some(recorder.areas);
    drop((recorder, world));
    Ok(Outcome {
        name: workload.name.clone(),
        seed: settings.seed,
        users: workload.users.iter().map(ToString::to_string).collect(),
        queues: workload.queues.iter().map(ToString::to_string).collect(),
        nodes: cluster.nodes.iter().map(|node| node.name.to_string()).collect(),
        jobs: desk.into_inner().rows,
        series,
        areas,
        stays,
        counts,
    })
}

/// A job's row before anything happened.
fn row(workload: &Workload, job: &SimJob) -> JobOutcome {
    let shape = workload.shapes.get(job.shape as usize).and_then(|alternatives| alternatives.first());
    let cpu = shape.map_or(0, |shape| shape.request.cpu.0);
    JobOutcome {
        id: job.id,
        user: job.user,
        queue: job.queue,
        tasks: job.size.min,
        devices_milli: workload.devices_milli(job),
        cpu_milli: cpu.saturating_mul(u64::from(job.size.min)),
        submit: job.submit,
        start: None,
        end: None,
        held: Millis::ZERO,
        lost: Millis::ZERO,
        duration: job.duration,
        preemptions: 0,
        migrations: 0,
        faults: 0,
        fate: Fate::Unfinished,
    }
}

/// A span scattered log-normally around a median, `spread` in thousandths of the logarithm; one millisecond at least
/// unless it is zero.
fn scattered(median: Millis, spread: u64, chance: &mut Random) -> Millis {
    if spread == 0 || median.is_zero() {
        return median;
    }
    let factor = (chance.normal() * spread as f64 / 1000.0).exp();
    Millis(((median.0 as f64 * factor).round() as u64).max(1))
}

/// Counts history and keeps none: a simulation is run again, not recovered.
struct Forgetful(u64);

impl Journal for Forgetful {
    fn last(&self) -> u64 {
        self.0
    }

    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.0 += records.len() as u64;
        Ok(())
    }
}
