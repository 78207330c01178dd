//! The planner: keeps the problem between plans and has it solved.

use super::problem::Problem;
use super::{Explanation, Plan, explain, solve};
use crate::ids::GangId;
use crate::snapshot::{Settings, Snapshot};
use crate::units::Timestamp;

/// Makes plans. What it keeps between two plans only saves work: a new planner makes the same plan of the same snapshot, but
/// that it gives every reason anew, and reasons that are known already change nothing.
#[derive(Clone, Debug)]
pub struct Planner {
    settings: Settings,
    problem: Option<Problem>,
    /// The epoch of the last plan: its reasons count as known once that plan was carried out.
    told: u64,
}

impl Planner {
    /// A planner with these settings.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, problem: None, told: 0 }
    }

    /// Takes on other settings, when they are other ones: what was kept between plans is made anew.
    pub fn follow(&mut self, settings: &Settings) {
        if self.settings != *settings {
            *self = Self::new(settings.to_owned());
        }
    }

    /// What to do now.
    #[must_use]
    pub fn plan(&mut self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        if snapshot.touched.since < self.told {
            // Nobody carried the last plan out: what it said was not heard.
            self.problem = None;
        }
        self.told = snapshot.epoch;
        let problem = match &mut self.problem {
            Some(problem) => {
                problem.update(snapshot, &self.settings, now);
                problem
            }
            none => none.insert(Problem::new(snapshot, &self.settings, now)),
        };
        solve::solve(problem, snapshot, &self.settings, now)
    }

    /// How much of everything that could pile up is kept between plans.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        self.problem.as_ref().map_or_else(Vec::new, Problem::kept)
    }

    /// Why a gang is where it is; `None` when there is no such gang.
    ///
    /// Costs a plan: nothing of it is kept.
    #[must_use]
    pub fn explain(&self, snapshot: &Snapshot, gang: GangId, now: Timestamp) -> Option<Explanation> {
        let kept = self.problem.as_ref().filter(|problem| problem.is_of(snapshot));
        let mut problem = kept.cloned().unwrap_or_else(|| Problem::new(snapshot, &self.settings, now));
        problem.pass_time(snapshot, now);
        explain::explain(&mut problem, snapshot, &self.settings, gang, now)
    }
}
