//! What is measured: how each job fares, the pool over time, counts. It looks and never touches.

use super::SimError;
use super::desk::Desk;
use super::fragment::Mix;
use super::scene::Scene;
use crate::outcome::{Areas, Counts, Fate, Level, Point, Stay};
use crate::workload::Ending;
use pond_core::check::Violation;
use pond_core::drive::Observer;
use pond_core::engine::{Change, Committed, End, Engine, Outcome, Refusal, Reply, State, What};
use pond_core::event::{Event, Exit, Report, Request};
use pond_core::ids::{GangId, JobId};
use pond_core::plan::{Decision, HoldReason, Placement, Planner};
use pond_core::snapshot::NodeState;
use pond_core::substrate::{Entry, Record};
use pond_core::units::{Millis, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Where a job stands, as far as it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Nowhere,
    Pending,
    Placed(Timestamp),
}

/// Measures a simulation.
pub(super) struct Recorder<'a> {
    scene: &'a Scene<'a>,
    desk: &'a RefCell<Desk>,
    standing: Vec<Standing>,
    /// Jobs that ended in this turn.
    ended: Vec<JobId>,
    pending: u64,
    pending_devices: u64,
    mix: Mix,
    /// Who is where now, by gang: rank and stay.
    here: BTreeMap<GangId, Vec<(u32, Stay)>>,
    /// What the pool has and what is granted, since when; and whether what it has may be other by now.
    level: Level,
    since: Timestamp,
    stale: bool,
    /// First and last submission.
    arrivals: (Timestamp, Timestamp),
    pub areas: Areas,
    pub series: Vec<Point>,
    pub stays: Vec<Stay>,
    pub counts: Counts,
}

impl<'a> Recorder<'a> {
    pub fn new(scene: &'a Scene<'a>, desk: &'a RefCell<Desk>) -> Self {
        let jobs = &scene.workload.jobs;
        let points = scene.settings.points;
        if let (Some(first), Some(last)) = (jobs.first(), jobs.last())
            && points > 0
        {
            // Half of the points until the last submission leaves half for what comes after it.
            let step = last.submit.since(first.submit).0.saturating_mul(2) / u64::from(points);
            let mut desk = desk.borrow_mut();
            desk.step = Millis(step.div_ceil(1000).max(1) * 1000);
            desk.measure = first.submit;
        }
        Self {
            scene,
            desk,
            standing: vec![Standing::default(); jobs.len()],
            ended: Vec::new(),
            pending: 0,
            pending_devices: 0,
            mix: Mix::new(scene),
            here: BTreeMap::new(),
            level: Level::default(),
            since: Timestamp(0),
            stale: true,
            arrivals: (
                jobs.first().map_or(Timestamp::NEVER, |job| job.submit),
                jobs.last().map_or(Timestamp(0), |job| job.submit),
            ),
            areas: Areas::default(),
            series: Vec::new(),
            stays: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn submitted(&mut self, result: &Result<Outcome, Refusal>) {
        let mut desk = self.desk.borrow_mut();
        if let Ok(Outcome { reply: Reply::Submitted(id), .. }) = result {
            desk.taken_in(*id);
            if let Some(job) = desk.job(*id) {
                self.mix.add(self.scene.job(job));
            }
        } else if let Some(job) = desk.submitted.pop_front() {
            desk.rows[job as usize].fate = Fate::Infeasible;
            desk.over.push((job, None));
        }
    }

    fn change(&mut self, change: &Change) {
        match &change.what {
            What::Gang { gang, to, .. } => self.stands(*gang, *to, change.at),
            What::Job { job, over: Some(true) } => self.ended.push(*job),
            What::Node { .. } | What::Device { .. } => self.stale = true,
            What::Task { task, exit: Some(_), .. } if self.scene.settings.stays => {
                self.leaves(task.gang, Some(task.rank), change.at);
            }
            _ => {}
        }
    }

    fn stands(&mut self, gang: GangId, to: State, at: Timestamp) {
        let mut desk = self.desk.borrow_mut();
        let Some(job) = desk.job(gang.job) else { return };
        let devices = self.scene.workload.devices_milli(self.scene.job(job));
        let old = self.standing[job as usize];
        let new = match (to, old) {
            (State::Pending, _) => Standing::Pending,
            (State::Starting | State::Running | State::Frozen | State::Stopping, Standing::Placed(_)) => old,
            (State::Starting | State::Running | State::Frozen | State::Stopping, _) => Standing::Placed(at),
            _ => Standing::Nowhere,
        };
        if new == old {
            return;
        }
        self.standing[job as usize] = new;
        match old {
            Standing::Pending => {
                self.pending -= 1;
                self.pending_devices -= devices;
            }
            Standing::Placed(since) => {
                desk.placed -= 1;
                desk.moved = at;
                let row = &mut desk.rows[job as usize];
                row.held = row.held.plus(at.since(since));
            }
            Standing::Nowhere => {}
        }
        match new {
            Standing::Pending => {
                self.pending += 1;
                self.pending_devices += devices;
            }
            Standing::Placed(_) => {
                desk.placed += 1;
                desk.moved = at;
                desk.rows[job as usize].start.get_or_insert(at);
            }
            Standing::Nowhere => {}
        }
        drop(desk);
        if !matches!(new, Standing::Placed(_)) && self.scene.settings.stays {
            self.leaves(gang, None, at);
        }
    }

    /// A rank, or all of a gang, is not where it was any more.
    fn leaves(&mut self, gang: GangId, rank: Option<u32>, at: Timestamp) {
        let Some(here) = self.here.get_mut(&gang) else { return };
        let leaving = |known: &u32| rank.is_none_or(|rank| rank == *known);
        let stays = here.extract_if(.., |(known, _)| leaving(known));
        self.stays.extend(stays.map(|(_, stay)| Stay { end: at, ..stay }));
        if here.is_empty() {
            self.here.remove(&gang);
        }
    }

    fn decided(&mut self, decision: &Decision, at: Timestamp) {
        match decision {
            Decision::Hold {
                gang,
                reason: HoldReason::Infeasible(_) | HoldReason::OverQueueLimit { .. },
            } => {
                let mut desk = self.desk.borrow_mut();
                if let Some(job) = desk.job(gang.job) {
                    desk.doubtful.push((job, gang.job));
                }
            }
            Decision::Hold { .. } => return,
            Decision::Place { gang, tasks, .. } => {
                self.counts.placed += 1;
                self.comes(*gang, tasks, at);
            }
            Decision::Grow { gang, tasks, .. } => self.comes(*gang, tasks, at),
            Decision::Preempt { gang, .. } => {
                self.counts.preemptions += 1;
                let mut desk = self.desk.borrow_mut();
                if let Some(job) = desk.job(gang.job) {
                    desk.rows[job as usize].preemptions += 1;
                }
            }
            _ => {}
        }
        if !matches!(decision, Decision::Hold { .. }) {
            self.counts.decisions += 1;
        }
    }

    fn comes(&mut self, gang: GangId, tasks: &[Placement], at: Timestamp) {
        if !self.scene.settings.stays {
            return;
        }
        let Some(job) = self.desk.borrow().job(gang.job) else { return };
        let sim = self.scene.job(job);
        let shape = self.scene.workload.shapes[sim.shape as usize].first();
        let cpu = shape.map_or(0, |shape| shape.request.cpu.0);
        for task in tasks {
            let Some(node) = self.scene.node(&task.node) else { continue };
            let spec = &self.scene.cluster.nodes[node as usize];
            let (part, whole) = if spec.devices.is_empty() {
                (cpu, spec.capacity.cpu.0)
            } else {
                (task.devices.iter().map(|grant| grant.compute.0).sum(), spec.devices.len() as u64 * 1000)
            };
            let share_milli = part * 1000 / whole.max(1);
            let stay = Stay { node, job: sim.id, share_milli, start: at, end: at };
            self.here.entry(gang).or_default().push((task.rank, stay));
        }
    }

    /// What was granted until now counts for the time that it was.
    fn pass(&mut self, now: Timestamp) {
        let from = self.since.max(self.arrivals.0);
        self.areas.add(self.level, (from, now.max(from)), self.arrivals.1);
        self.since = now;
    }

    fn look(&mut self, engine: &Engine) {
        let snapshot = engine.snapshot();
        if std::mem::take(&mut self.stale) {
            let up = || snapshot.nodes.iter().filter(|row| row.state != NodeState::Lost);
            let healthy = up().flat_map(|row| row.devices.iter()).filter(|device| device.healthy);
            self.level.devices = healthy.count() as u64 * 1000;
            self.level.cpu = up().map(|row| row.capacity.cpu.0).sum();
        }
        if let Some(root) = snapshot.queues.first() {
            self.level.granted = root.used.devices.values().sum();
            self.level.granted_cpu = root.used.resources.cpu.0;
        }
    }

    fn measure(&mut self, engine: &Engine, at: Timestamp) {
        self.series.push(Point {
            at,
            pending: self.pending,
            pending_devices_milli: self.pending_devices,
            running: self.desk.borrow().placed,
            devices_milli: self.level.devices,
            granted_devices_milli: self.level.granted,
            fragmented_devices_milli: self.mix.fragmented(engine.snapshot()),
            cpu_milli: self.level.cpu,
            granted_cpu_milli: self.level.granted_cpu,
        });
        let mut desk = self.desk.borrow_mut();
        if self.series.len() as u64 >= u64::from(self.scene.settings.points) {
            let mut at = 0_usize;
            self.series.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            desk.step = desk.step.times(2);
        }
        let last = self.series.last().map_or(at, |point| point.at);
        desk.measure = last.after(desk.step).max(at.after(Millis(1)));
    }

    /// What is still open when the simulation ends.
    pub fn close(&mut self, now: Timestamp) {
        self.pass(now);
        let gangs: Vec<GangId> = self.here.keys().copied().collect();
        for gang in gangs {
            self.leaves(gang, None, now);
        }
        let mut desk = self.desk.borrow_mut();
        for (row, standing) in desk.rows.iter_mut().zip(&self.standing) {
            if let Standing::Placed(since) = standing {
                row.held = row.held.plus(now.since(*since));
            }
        }
    }
}

/// What became of a job.
const fn fate(end: &End, known: Fate) -> Fate {
    match end {
        End::Succeeded => Fate::Ended(Ending::Completed),
        End::Failed { exit: Exit::Code(_), .. } => Fate::Ended(Ending::Failed),
        End::TimedOut => Fate::TimedOut,
        End::Stopped { .. } if matches!(known, Fate::Infeasible) => Fate::Infeasible,
        End::Stopped { .. } | End::Cancelled { .. } => Fate::Ended(Ending::Cancelled),
        End::Failed { .. }
        | End::DeviceFailed { .. }
        | End::OutOfMemory { .. }
        | End::StartFailed { .. }
        | End::Evicted
        | End::NodeLost
        | End::PastShare { .. }
        | End::OutOfBudget(_) => Fate::GivenUp,
    }
}

impl Observer for Recorder<'_> {
    fn handled(&mut self, record: &Record, result: &Result<Outcome, Refusal>) {
        self.desk.borrow_mut().events += 1;
        self.counts.events += 1;
        if let Entry::Event(event) = &record.entry {
            match (event, result) {
                (Event::Request(Request::Submit(_)), _) => self.submitted(result),
                (Event::Request(Request::SetQueue(_)) | Event::Report(Report::NodeUp(_)), Err(why)) => {
                    self.desk.borrow_mut().refused.get_or_insert_with(|| SimError::Refused(why.clone()));
                }
                _ => {}
            }
        }
        if let Ok(outcome) = result {
            for change in &outcome.changes {
                self.change(change);
            }
        }
    }

    fn planned(&mut self, record: Option<&Record>, committed: &Committed, violations: &[Violation]) {
        self.counts.plans += 1;
        self.counts.violations += violations.len() as u64;
        self.counts.stale += committed.stale.len() as u64;
        if let Some(Record { at, entry: Entry::Plan(plan), .. }) = record {
            for decision in &plan.decisions {
                let stale = committed.stale.iter().any(|stale| stale.decision == *decision);
                if !stale {
                    self.decided(decision, *at);
                }
            }
        }
        for change in &committed.changes {
            self.change(change);
        }
    }

    fn settled(&mut self, engine: &Engine, _planner: &Planner, now: Timestamp) {
        self.pass(now);
        self.look(engine);
        for id in self.ended.drain(..) {
            let mut desk = self.desk.borrow_mut();
            let Some(at) = desk.job(id) else { continue };
            let Some(job) = engine.job(id) else { continue };
            let row = &mut desk.rows[at as usize];
            row.end = job.finished;
            if let Some(end) = job.gangs.first().and_then(|gang| gang.outcome()) {
                row.fate = fate(end, row.fate);
            }
            desk.over.push((at, Some(id)));
        }
        if now >= self.desk.borrow().measure {
            self.measure(engine, now);
        }
    }
}
