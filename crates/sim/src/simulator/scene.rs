//! What a simulation looks up and never changes.

use super::{SimError, SimSettings};
use crate::workload::{Cluster, Profile, SimJob, Workload};
use pond_core::by_name::ByName;
use pond_core::ids::NodeName;
use pond_core::model::{Checkpoint, JobKind, JobSpec, Retry, RetryOn, RunSpec};
use pond_core::units::Millis;
use std::sync::Arc;

use super::settings::Checkpointing;

/// Workload, machines and settings, with what is found by name.
pub(super) struct Scene<'a> {
    pub workload: &'a Workload,
    pub cluster: &'a Cluster,
    pub settings: &'a SimSettings,
    nodes: ByName<u32>,
    /// What all jobs run.
    run: Arc<RunSpec>,
    retry: Retry,
}

impl<'a> Scene<'a> {
    /// Looks at everything once: places in range, ids unique, jobs in order.
    pub fn new(
        cluster: &'a Cluster,
        workload: &'a Workload,
        settings: &'a SimSettings,
    ) -> Result<Self, SimError> {
        settings.in_range()?;
        let mut nodes = ByName::default();
        for (at, node) in (0_u32..).zip(&cluster.nodes) {
            if nodes.insert(node.name.clone(), at).is_some() {
                return Err(SimError::NodeTwice(node.name.clone()));
            }
        }
        let sorted = workload.jobs.is_sorted_by_key(|job| (job.submit, job.id));
        if !sorted {
            return Err(SimError::Unsorted);
        }
        let mut ids: Vec<u64> = workload.jobs.iter().map(|job| job.id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SimError::JobTwice(pair[0]));
        }
        for job in &workload.jobs {
            let users = (job.user as usize) < workload.users.len();
            let queues = (job.queue as usize) < workload.queues.len();
            let shapes = (job.shape as usize) < workload.shapes.len();
            let profiles = job.profile.is_none_or(|at| (at as usize) < workload.profiles.len());
            if !(users && queues && shapes && profiles) {
                return Err(SimError::Place(job.id));
            }
            if let Some((other, _)) = job.after.filter(|(other, _)| ids.binary_search(other).is_err()) {
                return Err(SimError::UnknownPredecessor { job: job.id, other });
            }
        }
        let on = vec![RetryOn::NodeFailure, RetryOn::Preempted, RetryOn::DeviceError];
        let (run, retry) = (Arc::new(RunSpec::argv(&["work"])), Retry { on, ..Retry::default() });
        Ok(Self { workload, cluster, settings, nodes, run, retry })
    }

    /// The place of a node.
    pub fn node(&self, name: &NodeName) -> Option<u32> {
        self.nodes.get(name)
    }

    pub fn job(&self, at: u32) -> &'a SimJob {
        &self.workload.jobs[at as usize]
    }

    pub fn profile(&self, job: &SimJob) -> Option<&'a Profile> {
        self.workload.profiles.get(job.profile? as usize)
    }

    /// The job as its user submits it.
    pub fn spec(&self, job: &SimJob, predicted: Option<Millis>) -> Arc<JobSpec> {
        let workload = self.workload;
        let settings = self.settings;
        let saves = match settings.checkpointing {
            Checkpointing::OnSignal { takes } => Some(takes),
            Checkpointing::Instant => Some(Millis::ZERO),
            _ => None,
        };
        Arc::new(JobSpec {
            held: false,
            name: job.id.to_string(),
            kind: JobKind::Task,
            queue: workload.queues[job.queue as usize].clone(),
            user: workload.users[job.user as usize].clone(),
            class: job.class,
            priority: job.priority,
            indices: vec![0],
            parallel: None,
            size: job.size,
            shapes: workload.shapes[job.shape as usize].clone(),
            preemptible: settings.preemptible,
            min_runtime: settings.min_runtime,
            time_limit: job.limit.map(|limit| limit.max(Millis(1))),
            predicted,
            speed: self.profile(job).map(|profile| profile.speed.clone()),
            grace: settings.grace,
            retry: self.retry.clone(),
            checkpoint: saves.map(|takes| Checkpoint {
                dir: None,
                signal: 10,
                grace: takes.max(settings.grace),
            }),
            idle: None,
            after: Vec::new(),
            notify: None,
            traceparent: None,
            run: Arc::clone(&self.run),
        })
    }
}
