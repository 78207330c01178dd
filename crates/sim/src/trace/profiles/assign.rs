//! Measured speeds for the jobs of a trace that says nothing of them: which model a job trains is drawn.

use super::Pair;
use crate::random::Random;
use crate::workload::{Profile, SimJob, Workload};
use pond_core::model::{GangSize, Shape, ShareMode};
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use std::collections::BTreeMap;

/// How speeds are given to jobs that use devices; others and those that have a profile stay as they are.
///
/// The run time of the trace is kept as that at the smallest size, alone, on the fastest model. So what is measured is how a
/// policy deals with speeds that differ, not how that cluster did. Where not to use it: to foretell a real cluster,
/// whose large jobs are not of the same models as its small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assign {
    /// The root of chance; every job draws for itself, all models alike. Default 0.
    pub seed: u64,
    /// A job may grow to so many times its tasks, at least 1. Above 1 jobs of whole devices become tasks of one device each,
    /// as speeds by tasks are measured, and lose what kept several on one node. Default 1: sizes stay.
    pub grow: u32,
    /// So many jobs of one whole device may share it, 1..=1000; their tasks ask for that part of its time. Default 1: none.
    pub share: u32,
}

impl Default for Assign {
    fn default() -> Self {
        Self { seed: 0, grow: 1, share: 1 }
    }
}

/// Speed of each of two that do not fit on one device together: they take turns.
const TURNS: u64 = 500;

impl Assign {
    /// Gives each job one of the profiles, or of the names in `pairs` that have none; and pairs their speeds.
    ///
    /// Of a pair that was measured on several devices the mean is taken. A workload gets speeds once.
    pub fn to(&self, workload: &mut Workload, profiles: &[Profile], pairs: &[Pair]) {
        let mut known: BTreeMap<&str, u32> = BTreeMap::new();
        for profile in profiles {
            known.insert(&profile.name, workload.profile(profile.clone()));
        }
        for name in pairs.iter().flat_map(|pair| [pair.first.as_str(), &pair.second]) {
            known
                .entry(name)
                .or_insert_with(|| workload.profile(Profile { name: name.to_owned(), ..Profile::default() }));
        }
        let models: Vec<u32> = known.values().copied().collect();
        if models.is_empty() {
            return;
        }
        let mut jobs = std::mem::take(&mut workload.jobs);
        for job in &mut jobs {
            if job.profile.is_none() && workload.devices_milli(job) > 0 {
                job.profile = Some(models[Random::of(self.seed, "speeds", job.id).below(models.len())]);
                self.resize(workload, job);
            }
        }
        workload.jobs = jobs;
        workload.interference.extend(interference(&known, pairs));
    }

    fn resize(&self, workload: &mut Workload, job: &mut SimJob) {
        let Some(shapes) = workload.shapes.get(job.shape as usize) else { return };
        let mut shapes = shapes.clone();
        let counts: Vec<Option<u32>> = shapes.iter().map(whole_devices).collect();
        let Some(Some(count)) = counts.first().copied().filter(|first| counts.iter().all(|n| n == first))
        else {
            return;
        };
        if self.grow > 1 {
            let least = job.size.min.saturating_mul(count);
            job.size = GangSize { min: least, max: least.saturating_mul(self.grow) };
            shapes.iter_mut().for_each(|shape| split(shape, count));
        }
        if self.share > 1 && count == 1 && job.size.min == 1 {
            for request in shapes.iter_mut().flat_map(|shape| &mut shape.devices) {
                request.mode = ShareMode::Time;
                request.compute = Thousandths(1000 / u64::from(self.share.min(1000)));
            }
        }
        job.shape = workload.shape(shapes);
    }
}

/// How many devices a task asks for, if it asks for whole ones of one kind and nothing else.
fn whole_devices(shape: &Shape) -> Option<u32> {
    match shape.devices.as_slice() {
        [one] if one.mode == ShareMode::Exclusive && one.count > 0 => Some(one.count),
        _ => None,
    }
}

/// Makes a shape one of so many equal parts with a device each.
fn split(shape: &mut Shape, parts: u32) {
    let part = |amount: u64| amount.div_ceil(u64::from(parts));
    for whole in [&mut shape.request, &mut shape.burst] {
        whole.cpu = MilliCpu(part(whole.cpu.0));
        whole.memory = Bytes(part(whole.memory.0));
        whole.disk = Bytes(part(whole.disk.0));
    }
    shape.devices.iter_mut().for_each(|request| request.count = 1);
}

fn interference(known: &BTreeMap<&str, u32>, pairs: &[Pair]) -> BTreeMap<(u32, u32), u64> {
    let mut sums: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
    for pair in pairs {
        let (first, second) = (known[pair.first.as_str()], known[pair.second.as_str()]);
        let fits = pair.first_milli > 0 && pair.second_milli > 0;
        let speeds = if fits { [pair.first_milli, pair.second_milli] } else { [TURNS; 2] };
        for (key, speed) in [(first, second), (second, first)].into_iter().zip(speeds) {
            let (sum, count) = sums.entry(key).or_default();
            (*sum, *count) = (sum.saturating_add(speed), *count + 1);
        }
    }
    sums.into_iter().map(|(key, (sum, count))| (key, sum / count)).collect()
}
