//! Admission: what a job must be to be taken in, and how it is taken in.

use super::Engine;
use super::change::{Handled, Out, What};
use super::job::{Gang, Job, Phase};
use super::refusal::Refusal;
use super::rows::GangRows;
use crate::ids::{GangId, Generation, JobId, QueuePath};
use crate::model::{Class, Dependency, DeviceRequest, JobSpec, Resources, Shape, ShareMode};
use crate::snapshot::{Attained, GangPhase, GangRow, Held};
use crate::units::{Millis, Thousandths};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The most CPU of one task or node, in thousandths of a core: a million cores.
pub const MAX_CPU: u64 = 1_000_000_000;
/// The most memory, disk or device memory of one task or node: a pebibyte.
pub const MAX_BYTES: u64 = 1 << 50;
/// The most ranks of a gang.
pub const MAX_RANKS: u32 = 100_000;
const MAX_ELEMENTS: usize = 100_000;
const MAX_SHAPES: usize = 64;
/// The most devices of one task or node.
pub const MAX_DEVICES: u32 = 1024;

const fn bad(field: &'static str, problem: &'static str, advice: &'static str) -> Refusal {
    Refusal::BadJob { field, problem, advice }
}

/// Refuses with `BadJob` unless the condition holds.
fn ensure(holds: bool, field: &'static str, problem: &'static str, advice: &'static str) -> Handled<()> {
    if holds { Ok(()) } else { Err(bad(field, problem, advice)) }
}

/// Whether guaranteed and most are possible amounts.
pub(super) fn check_limits(request: &Resources, burst: &Resources) -> Handled<()> {
    let small = |amounts: &Resources| {
        amounts.cpu.0 <= MAX_CPU && amounts.memory.0 <= MAX_BYTES && amounts.disk.0 <= MAX_BYTES
    };
    ensure(small(request), "resources", "ask for more than any machine has", "ask for less")?;
    ensure(small(burst), "resources", "burst to more than any machine has", "give a lower upper end")?;
    ensure(request.fits(burst), "resources", "end below where they begin", "write `low..high` with low first")
}

fn check_device(request: &DeviceRequest) -> Handled<()> {
    ensure(
        request.count >= 1,
        "devices",
        "ask for no device",
        "ask for one at least, or leave the line out",
    )?;
    ensure(request.count <= MAX_DEVICES, "devices", "ask for more than any machine has", "use more nodes")?;
    ensure(
        request.compute <= Thousandths::WHOLE,
        "devices",
        "ask for more than a whole device",
        "raise count",
    )?;
    let slack = request.slack;
    ensure(
        slack.compute.is_none_or(|most| most >= request.compute && most <= Thousandths::WHOLE)
            && slack.memory.is_none_or(|most| most >= request.memory && most.0 <= MAX_BYTES),
        "devices",
        "have an upper end that cannot be",
        "write `low..high` with low first, and no more than a device has",
    )?;
    let largest = request.memory.max(request.device_memory);
    ensure(largest.0 <= MAX_BYTES, "devices", "ask for more memory than any device has", "ask for less")?;
    match request.mode {
        ShareMode::Exclusive => ensure(
            request.compute == Thousandths::WHOLE && request.memory.is_zero(),
            "devices",
            "are exclusive and yet a share",
            "leave out compute and memory, or share by space or time",
        ),
        ShareMode::Space | ShareMode::Time | ShareMode::Advisory => ensure(
            !(request.compute.is_zero() && request.memory.is_zero() && request.profile.is_none()),
            "devices",
            "ask for a share of nothing",
            "say how much compute or memory",
        ),
    }
}

pub(super) fn check_shape(shape: &Shape) -> Handled<()> {
    check_limits(&shape.request, &shape.burst)?;
    ensure(shape.devices.len() <= MAX_DEVICES as usize, "devices", "are too many", "use more nodes")?;
    shape.devices.iter().try_for_each(check_device)
}

/// Whether a job could be at all, in any pool.
pub(super) fn check_spec(spec: &JobSpec) -> Handled<()> {
    ensure(!spec.name.is_empty(), "name", "is empty", "give the job a name")?;
    ensure(spec.priority <= 1000, "priority", "is above 1000", "use 0 to 1000, or low, normal, high")?;
    ensure(!spec.indices.is_empty(), "array", "is empty", "give one index at least")?;
    ensure(
        spec.indices.len() <= MAX_ELEMENTS,
        "array",
        "has over 100,000 elements",
        "submit several arrays",
    )?;
    let ascending = spec.indices.windows(2).all(|pair| pair[0] < pair[1]);
    ensure(ascending, "array", "has indices twice or out of order", "list each once, ascending")?;
    ensure(spec.parallel != Some(0), "parallel", "is 0, so that nothing could run", "use 1 or more")?;
    ensure(spec.size.min >= 1, "nodes", "is 0", "use 1 or more")?;
    ensure(spec.size.min <= spec.size.max, "nodes", "ends below where it begins", "write `low..high`")?;
    ensure(spec.size.max <= MAX_RANKS, "nodes", "is over 100,000", "ask for fewer")?;
    ensure(!spec.shapes.is_empty(), "resources", "are missing", "say what a task needs")?;
    ensure(
        spec.notify.as_ref().is_none_or(|notify| notify.is_small()),
        "notify",
        "tells too many, or at too long an address",
        "name at most 8 recipients of at most 2048 bytes; a subscription tells more",
    )?;
    ensure(spec.shapes.len() <= MAX_SHAPES, "any_of", "has over 64 alternatives", "give fewer")?;
    let distinct: BTreeSet<JobId> = spec.after.iter().map(|after| after.job).collect();
    ensure(distinct.len() == spec.after.len(), "after", "names a job twice", "name each once")?;
    ensure(spec.time_limit != Some(Millis::ZERO), "time_limit", "is 0", "leave it out for no limit")?;
    let sound = spec.speed.as_ref().is_none_or(crate::model::Speed::is_sound);
    ensure(sound, "speed", "has a factor out of range or ranks out of order", "list ranks ascending")?;
    let signal = spec.checkpoint.as_ref().map_or(1, |save| save.signal);
    ensure((1..=64).contains(&signal), "checkpoint.signal", "is no signal", "use for example SIGUSR1")?;
    spec.shapes.iter().try_for_each(check_shape)
}

impl Engine {
    /// Refuses shares that may use more memory than they are guaranteed, unless their queue allows that.
    pub(super) fn check_memory(&self, shapes: &[Shape], queue: &QueuePath) -> Handled<()> {
        let allowed =
            self.rows.queue_ord(queue).is_some_and(|ord| self.rows.snapshot.queue(ord).spec.oversubscribe);
        let more = |request: &DeviceRequest| request.slack.memory.is_some_and(|most| most > request.memory);
        ensure(
            allowed || !shapes.iter().flat_map(|shape| &shape.devices).any(more),
            "devices",
            "may use more memory than they are guaranteed, which their queue does not allow",
            "give one size, or have an administrator set `pond queue set QUEUE --oversubscribe true`",
        )
    }

    /// Takes in a job, or says why not.
    pub(super) fn submit(&mut self, spec: Arc<JobSpec>, out: &mut Out) -> Handled<JobId> {
        check_spec(&spec)?;
        if self.rows.queue_ord(&spec.queue).is_none() || spec.queue.as_str().is_empty() {
            return Err(Refusal::UnknownQueue(spec.queue.to_owned()));
        }
        self.check_memory(&spec.shapes, &spec.queue)?;
        let mut waiting_on = BTreeSet::new();
        for after in &spec.after {
            if self.still_waits(*after)? {
                waiting_on.insert(after.job);
            }
        }
        let id = JobId(self.next_job);
        self.next_job = self.next_job.saturating_add(1);
        for other in &waiting_on {
            self.dependents.entry(*other).or_default().insert(id);
        }
        self.note(
            out,
            What::Job { job: id, over: Some(false) },
            ["submitted by ", spec.user.as_str()].concat(),
        );
        let gangs: Vec<Gang> =
            spec.indices.iter().map(|index| self.new_gang(id.gang(*index), spec.held)).collect();
        let job = Job {
            id,
            submitted: self.now,
            waiting_on,
            active: 0,
            waiting: BTreeSet::new(),
            unfinished: u32::try_from(gangs.len()).unwrap_or(u32::MAX),
            failed: 0,
            finished: None,
            gangs,
            spec,
        };
        let spec = Arc::clone(&job.spec);
        self.jobs.insert(id, Box::new(job));
        for index in &spec.indices {
            self.enter_row(id.gang(*index));
            self.settle(id.gang(*index), "submitted", out);
        }
        Ok(id)
    }

    /// Whether a dependency has yet to end; refused when it can no longer be met.
    fn still_waits(&self, after: Dependency) -> Handled<bool> {
        let ended = match self.jobs.get(&after.job) {
            Some(job) if job.unfinished() > 0 => return Ok(true),
            Some(job) => job.succeeded(),
            None => self.archive.succeeded(after.job).ok_or(Refusal::UnknownDependency(after.job))?,
        };
        if after.success && !ended { Err(Refusal::FailedDependency(after.job)) } else { Ok(false) }
    }

    const fn new_gang(&self, id: GangId, paused: bool) -> Gang {
        Gang {
            id,
            phase: Phase::Held(Held::ArrayLimit(0)),
            generation: Generation(0),
            attempt: 0,
            failures: 0,
            faults: 0,
            queued: self.now,
            evictions: 0,
            last_evicted: None,
            attained: Attained { service: 0, done: Millis::ZERO },
            avoid: Vec::new(),
            hold: None,
            past: VecDeque::new(),
            last: None,
            resized: None,
            resized_devices: Vec::new(),
            paused,
            keep_layer: false,
            backoff: None,
            rows: None,
        }
    }

    /// Gives a gang that has not ended its row in the snapshot.
    pub(super) fn enter_row(&mut self, id: GangId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(queue) = self.rows.queue_ord(&job.spec.queue) else { return };
        let Some(gang) = job.gang(id.index) else { return };
        let shapes = gang.shapes(&job.spec);
        if let Some(shape) = shapes.first() {
            self.rows.snapshot.mix.arrive(shape, job.spec.size.min);
        }
        let demand = self.rows.intern(shapes);
        let row = gang_row(job, gang, queue, demand);
        let ord = self.rows.add_gang(row);
        let spare = job.spec.class == Class::Spare;
        if let Some(gang) = job.gang_mut(id.index) {
            gang.rows = Some(GangRows { gang: ord, demand, queue });
        }
        if spare {
            self.spare_gangs = self.spare_gangs.saturating_add(1);
        }
    }
}

/// A gang's row, but for its phase.
pub(super) fn gang_row(
    job: &Job,
    gang: &Gang,
    queue: crate::snapshot::QueueOrd,
    demand: crate::snapshot::DemandOrd,
) -> GangRow {
    let spec = &job.spec;
    GangRow {
        id: gang.id,
        queue,
        user: spec.user.to_owned(),
        class: spec.class,
        priority: spec.priority,
        demand,
        size: spec.size,
        queued: gang.queued,
        time_limit: spec.time_limit,
        predicted: spec.predicted,
        attained: gang.attained,
        saves: spec.checkpoint.is_some(),
        speed: spec.speed.clone().map(Arc::new),
        preemptible: spec.preemptible && spec.class != Class::Critical,
        min_runtime: spec.min_runtime,
        evictions: gang.evictions,
        last_evicted: gang.last_evicted,
        avoid: gang.avoid.to_vec(),
        phase: GangPhase::Pending,
    }
}
