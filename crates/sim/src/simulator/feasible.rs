//! Whether a job fits at all: the planner itself is asked, in a pool with every machine up and nobody else in it.
//!
//! The planner of the running pool judges by the nodes that are there now; a node that comes back may change its mind.

use super::scene::Scene;
use crate::workload::SimJob;
use pond_core::engine::{Engine, Reply};
use pond_core::event::{Actor, Event, Report, Request, Target};
use pond_core::ids::QueuePath;
use pond_core::model::{Class, GangSize, QueueSpec};
use pond_core::plan::{Decision, Planner};
use pond_core::units::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The queues to be made: those of the cluster, then those that jobs name and nobody described, parents first.
pub(super) fn queues(scene: &Scene) -> Vec<QueueSpec> {
    let mut known: BTreeSet<&str> = BTreeSet::from(["", "default"]);
    let mut specs: Vec<QueueSpec> = scene.cluster.queues.clone();
    known.extend(scene.cluster.queues.iter().map(|spec| spec.path.as_str()));
    for path in scene.workload.queues.iter().map(QueuePath::as_str) {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            if known.insert(&path[..end]) {
                specs.push(QueueSpec::new(&path[..end]));
            }
        }
    }
    specs
}

/// What the answer depends on.
type Ask = (u32, GangSize, u32, Class);

/// A pool with nobody in it.
pub(super) struct EmptyPool {
    engine: Engine,
    planner: Planner,
    known: BTreeMap<Ask, bool>,
}

impl EmptyPool {
    pub fn new(scene: &Scene) -> Self {
        let mut settings = scene.settings.engine.clone();
        settings.lease = Millis::ZERO;
        let mut engine = Engine::new(settings);
        for spec in queues(scene) {
            drop(engine.handle(
                Timestamp(0),
                &Actor::Pool,
                Event::Request(Request::SetQueue(Box::new(spec))),
            ));
        }
        for node in &scene.cluster.nodes {
            let up = Event::Report(Report::NodeUp(node.clone()));
            drop(engine.handle(Timestamp(0), &Actor::Node(node.name.clone()), up));
        }
        Self { engine, planner: Planner::new(scene.settings.engine.plan.clone()), known: BTreeMap::new() }
    }

    /// Whether the job would start if it were alone.
    pub fn fits(&mut self, scene: &Scene, job: &SimJob) -> bool {
        let ask = (job.shape, job.size, job.queue, job.class);
        if let Some(known) = self.known.get(&ask) {
            return *known;
        }
        let submit = Event::Request(Request::Submit(scene.spec(job, None)));
        let Ok(taken) = self.engine.handle(Timestamp(0), &Actor::Pool, submit) else { return false };
        let Reply::Submitted(id) = taken.reply else { return false };
        let plan = self.planner.plan(self.engine.snapshot(), Timestamp(0));
        let places = |decision: &Decision| matches!(decision, Decision::Place { gang, .. } if gang.job == id);
        let fits = plan.decisions.iter().any(places);
        let stop = Request::Stop { target: Target::job(id), now: true };
        drop(self.engine.handle(Timestamp(0), &Actor::Pool, Event::Request(stop)));
        drop(self.engine.handle(Timestamp(0), &Actor::Pool, Event::Archived(id)));
        self.known.insert(ask, fits);
        fits
    }
}
