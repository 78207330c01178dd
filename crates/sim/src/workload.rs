//! What is simulated: jobs with their true run times, and the machines they are to run on.
//!
//! Readers of traces, the synthesiser and the pool's own history all make a [`Workload`]; the simulator takes nothing else.
//! Names and shapes are kept once and referred to by place, so that a job is small: a million of them fit a small machine.

use pond_core::ids::{QueuePath, UserName};
use pond_core::model::{Class, GangSize, NodeSpec, QueueSpec, Shape, Speed};
use pond_core::units::{Millis, Timestamp};
use std::collections::BTreeMap;

/// How the trace says that a job ended when it ran undisturbed. The simulated job ends the same way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It did what it was to do.
    #[default]
    Completed,
    /// It ended with an error after its run time.
    Failed,
    /// Its user ended it after its run time.
    Cancelled,
}

/// One job, with what only the simulator may know: how long it really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimJob {
    /// The trace's own number; unique in the workload.
    pub id: u64,
    /// When it is submitted, counted from the workload's epoch.
    pub submit: Timestamp,
    /// Who submits it: place in [`Workload::users`].
    pub user: u32,
    /// Where it is charged: place in [`Workload::queues`].
    pub queue: u32,
    /// Promise.
    pub class: Class,
    /// 0..=1000; 500 is normal.
    pub priority: u16,
    /// Tasks, all or none; `min < max` when elastic.
    pub size: GangSize,
    /// What each task asks for: place in [`Workload::shapes`].
    pub shape: u32,
    /// Run time alone, at full speed, with `size.min` tasks on the device the trace measured.
    pub duration: Millis,
    /// The limit its user asked for; it is ended there.
    pub limit: Option<Millis>,
    /// What a predictor said before it started. Never derived from `duration`, but for an oracle that says so.
    pub predicted: Option<Millis>,
    /// How it ends.
    pub ending: Ending,
    /// The job (by [`Self::id`]) that must end before this one is submitted, and the time between the two; `submit` only
    /// gives the order then.
    pub after: Option<(u64, Millis)>,
    /// How its speed depends on where and with how many tasks it runs: place in [`Workload::profiles`].
    pub profile: Option<u32>,
}

/// What a job is like that trains a model: how its speed depends on its place, and how busy it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Profile {
    /// For people: the model that is trained.
    pub name: String,
    /// Speed by device model and by the number of its tasks.
    pub speed: Speed,
    /// Use of a device alone, in thousandths, and of its memory, in bytes: what interference is looked up by.
    pub device_busy: u64,
    /// Memory it uses on each device, in bytes.
    pub device_memory: u64,
    /// CPU it uses on average, in thousandths of what it asked for; `None`: all of it. Told only where samples are asked for.
    pub cpu_busy: Option<u64>,
}

/// Jobs in the order of their submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// For people.
    pub name: String,
    /// Users by place.
    pub users: Vec<UserName>,
    /// Queues by place.
    pub queues: Vec<QueuePath>,
    /// Alternatives by place, in order of preference.
    pub shapes: Vec<Vec<Shape>>,
    /// Speed profiles by place.
    pub profiles: Vec<Profile>,
    /// Speed of a job with the first profile beside one with the second on one device, in thousandths of its speed alone.
    /// Of pairs that are not here, two that are busy for more than the device together share it in proportion.
    pub interference: BTreeMap<(u32, u32), u64>,
    /// Ascending by `(submit, id)`.
    pub jobs: Vec<SimJob>,
    names: Names,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    users: BTreeMap<UserName, u32>,
    queues: BTreeMap<QueuePath, u32>,
    shapes: BTreeMap<Vec<Shape>, u32>,
    profiles: BTreeMap<Profile, u32>,
}

fn intern<T: Clone + Ord>(known: &mut BTreeMap<T, u32>, list: &mut Vec<T>, item: T) -> u32 {
    let next = u32::try_from(list.len()).unwrap_or(u32::MAX);
    *known.entry(item).or_insert_with_key(|item| {
        list.push(item.clone());
        next
    })
}

impl Workload {
    /// An empty workload.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The place of a user, new or known.
    pub fn user(&mut self, name: &str) -> u32 {
        intern(&mut self.names.users, &mut self.users, UserName::from(name))
    }

    /// The place of a queue, new or known.
    pub fn queue(&mut self, path: &str) -> u32 {
        intern(&mut self.names.queues, &mut self.queues, QueuePath::from(path))
    }

    /// The place of a list of alternatives, new or known.
    pub fn shape(&mut self, alternatives: Vec<Shape>) -> u32 {
        intern(&mut self.names.shapes, &mut self.shapes, alternatives)
    }

    /// The place of a speed profile, new or known.
    pub fn profile(&mut self, profile: Profile) -> u32 {
        intern(&mut self.names.profiles, &mut self.profiles, profile)
    }

    /// Speed of a job with profile `own` beside one with profile `other` on the same device, in thousandths of its speed alone.
    #[must_use]
    pub fn beside(&self, own: Option<u32>, other: Option<u32>) -> u64 {
        let measured = own.zip(other).and_then(|pair| self.interference.get(&pair));
        let busy = |at: Option<u32>| {
            let profile = at.and_then(|at| self.profiles.get(at as usize));
            profile.map_or(0, |profile| profile.device_busy)
        };
        measured.copied().unwrap_or_else(|| 1_000_000 / busy(own).saturating_add(busy(other)).max(1000))
    }

    /// Puts the jobs into the order of their submission. Call it once, after the last job was added.
    pub fn sort(&mut self) {
        self.jobs.sort_by_key(|job| (job.submit, job.id));
    }

    /// Thousandths of devices that all tasks of a job ask for, in its first alternative, at its smallest size.
    #[must_use]
    pub fn devices_milli(&self, job: &SimJob) -> u64 {
        let shape = self.shapes.get(job.shape as usize).and_then(|alternatives| alternatives.first());
        let per_task = shape.map_or(0, |shape| {
            shape.devices.iter().map(|asked| u64::from(asked.count).saturating_mul(asked.compute.0)).sum()
        });
        u64::saturating_mul(per_task, u64::from(job.size.min))
    }
}

/// The machines and the queues of a simulated pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Machines, in the order in which they come up.
    pub nodes: Vec<NodeSpec>,
    /// Queues beside the root and `default`; parents before children. Queues that jobs name and that are missing
    /// here are made without guarantee or limit.
    pub queues: Vec<QueueSpec>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_device_in_proportion_unless_measured() {
        let mut workload = Workload::new("pairs");
        let half =
            workload.profile(Profile { name: "half".to_owned(), device_busy: 500, ..Profile::default() });
        let whole =
            workload.profile(Profile { name: "whole".to_owned(), device_busy: 1000, ..Profile::default() });
        assert_eq!(workload.beside(Some(half), Some(half)), 1000);
        assert_eq!(workload.beside(Some(half), Some(whole)), 666);
        workload.interference.insert((half, whole), 840);
        assert_eq!(
            (workload.beside(Some(half), Some(whole)), workload.beside(Some(whole), Some(half))),
            (840, 666)
        );
        assert_eq!(workload.beside(None, Some(whole)), 1000);
    }
}
