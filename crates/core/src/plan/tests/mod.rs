//! What the planner does, as scenarios and as properties.

mod drain;
mod explanations;
mod long;
mod near;
mod orders;
mod partitions;
mod places;
mod properties;
mod scenarios;

use super::problem::Problem;
use super::solve::solve_in_full;
use super::world::World;
use super::{Decision, HoldReason, Plan, Planner};
use crate::check::check_plan;
use crate::ids::GangId;
use crate::snapshot::{GangPhase, Settings};
use crate::units::Timestamp;

/// A second, in milliseconds.
const SECOND: u64 = 1000;

/// One planner on one world; every plan is checked, and made a second time by a planner that has seen nothing.
struct Pool {
    settings: Settings,
    world: World,
    planner: Planner,
    now: u64,
}

impl Pool {
    fn new(world: World) -> Self {
        Self::with(world, Settings::default())
    }

    fn with(world: World, settings: Settings) -> Self {
        Self { planner: Planner::new(settings.clone()), settings, world, now: 1000 * SECOND }
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// Plans and carries out; victims are still there.
    fn plan(&mut self) -> Plan {
        let at = self.at();
        let mut plan = self.planner.plan(&self.world.snapshot, at);
        assert_eq!(check_plan(&self.world.snapshot, &plan), Vec::new(), "{plan:#?}");
        let mut fresh = Planner::new(self.settings.clone()).plan(&self.world.snapshot, at);
        assert_eq!(check_plan(&self.world.snapshot, &fresh), Vec::new(), "{fresh:#?}");
        let mut problem = Problem::new(&self.world.snapshot, &self.settings, at);
        let mut full = solve_in_full(&mut problem, &self.world.snapshot, &self.settings, at);
        full.retain(|decision| !matches!(decision, Decision::Hold { .. }));
        assert_eq!(acts_of(&plan), full, "who was left out would have changed the plan");
        self.world.thin(&mut fresh);
        self.world.thin(&mut plan);
        let (kept, fresh) = (sorted(&plan), sorted(&fresh));
        let differ: Vec<_> = kept.iter().zip(&fresh).filter(|(a, b)| a != b).collect();
        assert!(
            kept.len() == fresh.len() && differ.is_empty(),
            "kept state changes the plan: {differ:#?}, {kept:#?} not {fresh:#?}"
        );
        self.world.apply(&plan, at);
        let waiting =
            self.world.snapshot.gangs.iter().flatten().filter(|row| row.phase == GangPhase::Pending);
        for row in waiting {
            assert!(self.world.reasons.contains_key(&row.id), "{} waits and nobody knows why", row.id);
        }
        plan
    }

    /// Plans until nothing changes, victims leaving at once.
    fn run(&mut self) {
        let mut last = Vec::new();
        for _ in 0..50 {
            let plan = self.plan();
            last.push(acts_of(&plan));
            if acts(&plan) == 0 {
                return;
            }
            self.world.settle();
        }
        last.drain(..46);
        panic!("the pool does not come to rest: {last:?}");
    }

    fn runs(&self, id: GangId) -> bool {
        self.world.placed(id).is_some_and(|placed| !placed.stopping)
    }

    /// Lets gangs end whose time is over.
    fn pass(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        let at = self.at();
        let over =
            self.world.running().filter(|(_, placed)| placed.expected_end.is_some_and(|end| end <= at));
        let over: Vec<GangId> = over.map(|(row, _)| row.id).collect();
        over.into_iter().for_each(|id| self.world.end(id));
    }
}

/// Decisions that are not reasons.
fn acts(plan: &Plan) -> usize {
    plan.decisions.iter().filter(|decision| !matches!(decision, Decision::Hold { .. })).count()
}

fn acts_of(plan: &Plan) -> Vec<Decision> {
    plan.decisions.iter().filter(|decision| !matches!(decision, Decision::Hold { .. })).cloned().collect()
}

/// Decisions in an order that does not depend on how buckets are numbered.
fn sorted(plan: &Plan) -> Vec<String> {
    let mut all: Vec<String> = plan.decisions.iter().map(|decision| format!("{decision:?}")).collect();
    all.sort();
    all
}

fn reason(plan: &Plan, id: GangId) -> Option<&HoldReason> {
    plan.decisions.iter().find_map(|decision| match decision {
        Decision::Hold { gang, reason } if *gang == id => Some(reason),
        _ => None,
    })
}

fn evicted(plan: &Plan) -> Vec<GangId> {
    let gangs = plan.decisions.iter().filter_map(|decision| match decision {
        Decision::Preempt { gang, .. } => Some(*gang),
        _ => None,
    });
    gangs.collect()
}
