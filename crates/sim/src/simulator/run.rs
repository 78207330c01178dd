//! A job that has started: its ranks, and who shares devices with it.

use super::work::{FULL, Work};
use super::world::World;
use pond_core::event::{DeviceGrant, Exit, Grants};
use pond_core::ids::{Generation, JobId};
use pond_core::units::{Millis, Thousandths, Timestamp};

/// A job that was started at least once and is not over.
#[derive(Debug)]
pub(super) struct Run {
    pub id: JobId,
    pub attempt: u32,
    pub work: Work,
    pub ranks: Vec<Rank>,
    /// The end that is foreseen carries this number; an older one is void.
    pub version: u32,
    /// This attempt works no more.
    pub halted: bool,
    /// Some attempt has worked: the next must load what it left.
    pub begun: bool,
    /// The foreseen end moved though the speed did not.
    pub stale_end: bool,
}

impl Run {
    pub fn new(id: JobId, length: Millis) -> Self {
        Self {
            id,
            attempt: 0,
            work: Work::new(length),
            ranks: Vec::new(),
            version: 0,
            halted: false,
            begun: false,
            stale_end: false,
        }
    }

    /// A rank, a vacant one when nothing was heard of it yet.
    pub fn rank_mut(&mut self, rank: u32) -> &mut Rank {
        let at = rank as usize;
        if self.ranks.len() <= at {
            self.ranks.resize_with(at + 1, Rank::default);
        }
        &mut self.ranks[at]
    }
}

/// What a rank is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RankState {
    #[default]
    Vacant,
    Starting,
    Running,
    Frozen,
    Ended(Timestamp, Exit),
}

/// One rank of the present attempt.
#[derive(Debug, Default)]
pub(super) struct Rank {
    pub generation: Generation,
    /// Nothing up to this generation is started any more.
    pub closed: Generation,
    pub node: u32,
    pub state: RankState,
    pub devices: Grants,
    /// Speed on these devices against the reference, in thousandths.
    pub model_speed: u64,
    pub started: Timestamp,
    /// Guaranteed CPU, in thousandths of a core.
    pub cpu_milli: u64,
    /// CPU time used up to the last sample, in microseconds, and when that was.
    pub cpu_us: u64,
    pub sampled: Timestamp,
}

impl Rank {
    pub fn starting(generation: Generation, node: u32, devices: Grants, model_speed: u64) -> Self {
        let state = RankState::Starting;
        Self { generation, closed: generation, node, state, devices, model_speed, ..Self::default() }
    }

    pub const fn lives(&self) -> bool {
        matches!(self.state, RankState::Starting | RankState::Running | RankState::Frozen)
    }
}

/// Whether others may have parts of the same device that it is felt on; partitions of its hardware are felt by nobody.
fn is_shared(grant: &DeviceGrant) -> bool {
    grant.compute < Thousandths::WHOLE && grant.part.is_none()
}

impl World<'_> {
    /// Speed of a job on devices of a node against the devices that its trace measured, in thousandths.
    pub fn model_speed(&self, job: u32, node: u32, devices: &[DeviceGrant]) -> u64 {
        let Some(profile) = self.scene.profile(self.scene.job(job)) else { return FULL };
        let known = &self.scene.cluster.nodes[node as usize].devices;
        let used = devices.iter().filter_map(|grant| known.get(grant.device as usize));
        let speeds = used.map(|device| profile.speed.on(&device.model));
        speeds.min().unwrap_or(FULL)
    }

    /// What neighbours on shared devices leave of a rank's speed, in thousandths: on its worst device.
    pub fn neighbours(&self, job: u32, rank: &Rank) -> u64 {
        let own = self.scene.job(job).profile;
        let sharers = &self.machines[rank.node as usize].sharers;
        let left = |grant: &DeviceGrant| {
            let all = sharers.get(&grant.device).map_or(&[][..], Vec::as_slice);
            all.iter().filter(|other| **other != job).fold(FULL, |speed, other| {
                speed * self.scene.workload.beside(own, self.scene.job(*other).profile) / FULL
            })
        };
        rank.devices.iter().filter(|grant| is_shared(grant)).map(left).min().unwrap_or(FULL)
    }

    /// A rank that runs now becomes a neighbour to others.
    pub fn share(&mut self, job: u32, rank: u32) {
        let Some(run) = &self.runs[job as usize] else { return };
        let rank = &run.ranks[rank as usize];
        let node = rank.node as usize;
        let devices: Vec<u32> =
            rank.devices.iter().filter(|grant| is_shared(grant)).map(|grant| grant.device).collect();
        for device in devices {
            self.machines[node].sharers.entry(device).or_default().push(job);
            self.refresh_neighbours(job, node, device);
        }
    }

    /// A rank that ran is no neighbour any more.
    pub fn unshare(&mut self, job: u32, node: u32, devices: &[DeviceGrant]) {
        for grant in devices.iter().filter(|grant| is_shared(grant)) {
            if let Some(sharers) = self.machines[node as usize].sharers.get_mut(&grant.device)
                && let Some(at) = sharers.iter().position(|other| *other == job)
            {
                sharers.remove(at);
            }
            self.refresh_neighbours(job, node as usize, grant.device);
        }
    }

    fn refresh_neighbours(&mut self, job: u32, node: usize, device: u32) {
        let all = self.machines[node].sharers.get(&device).cloned().unwrap_or_default();
        for other in all {
            if other != job {
                self.refresh(other);
            }
        }
    }
}
