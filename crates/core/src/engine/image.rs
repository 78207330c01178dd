//! The engine as plain data, so that history before it may be forgotten.
//!
//! Kept: what no other part determines. The snapshot, indexes and shared launches are made anew; ordinals are
//! kept, so that a planner sees the same rows in the same places.

use super::admit::gang_row;
use super::archive::Archive;
use super::change::Counters;
use super::history::History;
use super::job::Job;
use super::node::Node;
use super::rows::Rows;
use super::timers::{Timer, Timers};
use super::{Engine, Settings};
use crate::ids::{JobId, QueuePath};
use crate::meter::Meter;
use crate::mix::Mix;
use crate::model::{Class, QueueSpec, Resources, Shape};
use crate::plan::named::Choice;
use crate::snapshot::{DeviceRow, NodeRow, QueueOrd};
use crate::units::{MilliCpu, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The engine's state, to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineImage {
    now: Timestamp,
    #[serde(default)]
    awake_since: Timestamp,
    next_job: u64,
    jobs: Vec<Job>,
    archive: Archive,
    nodes: Vec<Node>,
    queues: Vec<QueueSpec>,
    history: History,
    timers: Vec<(Timer, Timestamp)>,
    meter: Meter,
    counters: Counters,
    #[serde(default)]
    mix: Mix<Shape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    choice: Option<Choice>,
}

impl Engine {
    /// The state as plain data.
    #[must_use]
    pub fn save(&self) -> EngineImage {
        EngineImage {
            now: self.now,
            awake_since: self.awake_since,
            next_job: self.next_job,
            jobs: self.jobs().map(Job::to_owned).collect(),
            archive: self.archive.to_owned(),
            nodes: self.nodes.to_vec(),
            queues: self.rows.snapshot.queues.iter().map(|row| row.spec.to_owned()).collect(),
            history: self.history_now(),
            timers: self.timers.all(),
            meter: self.meter.to_owned(),
            counters: self.counters,
            mix: self.rows.snapshot.mix.to_owned(),
            choice: self.choice.to_owned(),
        }
    }

    /// The engine as it was when it was saved; it wants a plan.
    #[must_use]
    pub fn restore(image: EngineImage, mut settings: Settings) -> Self {
        let configured = settings.plan.to_owned();
        // A version that does not know the policy decides as it was started.
        let chosen = image.choice.and_then(|choice| Some((choice.settings(&configured).ok()?, choice)));
        let choice = chosen.map(|(plan, choice)| {
            settings.plan = plan;
            choice
        });
        let jobs = image.jobs.into_iter().map(|job| (job.id, Box::new(job))).collect();
        let mut engine = Self {
            settings,
            now: image.now,
            awake_since: image.awake_since,
            next_job: image.next_job,
            jobs,
            archive: image.archive,
            nodes: image.nodes,
            history: image.history,
            meter: image.meter,
            counters: image.counters,
            dependents: BTreeMap::new(),
            rows: Rows::new(),
            pool: None,
            timers: Timers::default(),
            spare_gangs: 0,
            wants_plan: true,
            plan_again: Timestamp::NEVER,
            configured,
            choice,
            used: Vec::new(),
        };
        engine.meter.ledger_mut().turn(engine.settings.ledger);
        for (timer, at) in image.timers {
            engine.timers.set(timer, at);
        }
        engine.rows = engine.rows_from_scratch(image.queues);
        engine.rows.snapshot.mix = image.mix;
        // Histories were saved up to date.
        engine.rows.used_otherwise.clear();
        for job in engine.jobs.values() {
            for other in &job.waiting_on {
                let waiting: &mut BTreeSet<JobId> = engine.dependents.entry(*other).or_default();
                waiting.insert(job.id);
            }
            if job.spec.class == Class::Spare {
                engine.spare_gangs += u64::from(job.unfinished());
            }
        }
        engine
    }

    /// The snapshot as the state determines it: what the rows kept by differences must equal.
    pub(super) fn rows_from_scratch(&self, queues: Vec<QueueSpec>) -> Rows {
        let mut rows = Rows::new();
        for (at, spec) in queues.into_iter().enumerate() {
            let above = spec.path.as_str().rsplit_once('/').map_or("", |(above, _)| above);
            let parent = if at == 0 { None } else { rows.queue_ord(&QueuePath::from(above)) };
            let ord = rows.add_queue(spec, parent);
            rows.queue_mut(ord).history = self.history.value(at);
        }
        for node in &self.nodes {
            rows.add_node(node_row(node));
        }
        for job in self.jobs.values() {
            for gang in &job.gangs {
                self.enter_from_scratch(&mut rows, job, gang);
            }
        }
        rows
    }

    fn enter_from_scratch(&self, rows: &mut Rows, job: &Job, gang: &super::Gang) {
        let Some(place) = gang.rows else { return };
        let mut row = gang_row(job, gang, place.queue, place.demand);
        row.phase = self.row_phase(gang, &job.spec, Vec::new());
        rows.put_demand(place.demand, gang.shapes(&job.spec).into_owned());
        rows.put_gang(place.gang, row);
        let Some(live) = gang.live() else { return };
        rows.count_running(place.queue, true);
        for task in &live.tasks {
            rows.account(task, job.spec.class, place.queue, true);
            rows.recount(task.node, super::Counted::default(), task.counted);
            rows.seat(task.node, place.gang, true);
        }
    }

    /// The queues in the order of their rows.
    pub(super) fn queue_specs(&self) -> Vec<QueueSpec> {
        self.rows.snapshot.queues.iter().map(|row| row.spec.to_owned()).collect()
    }

    /// Where a queue stands in the snapshot.
    #[must_use]
    pub fn queue_ord(&self, path: &QueuePath) -> Option<QueueOrd> {
        self.rows.queue_ord(path)
    }
}

fn node_row(node: &Node) -> NodeRow {
    let last = node.replaced.keys().last().map_or(0, |at| *at as usize + 1);
    let devices = (0_u32..).zip(0..node.spec.devices.len().max(last)).filter_map(|(ord, at)| {
        let replaced = node.replaced.get(&ord);
        let spec = replaced.or_else(|| node.spec.devices.get(at))?;
        let mut row = DeviceRow::new(spec.to_owned());
        row.healthy = replaced.is_none() && node.healthy.get(at).copied().unwrap_or(false);
        Some(row)
    });
    NodeRow {
        name: node.spec.name.to_owned(),
        state: node.state(),
        capacity: node.spec.capacity,
        granted: Resources::ZERO,
        spare_cpu: MilliCpu::ZERO,
        busy_p95: MilliCpu::ZERO,
        busy_now: MilliCpu::ZERO,
        devices: devices.collect(),
        labels: node.merged_labels(),
        gangs: Vec::new(),
    }
}
