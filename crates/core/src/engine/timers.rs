//! What the engine must do at a moment though nothing else happens.

use crate::ids::GangId;
use crate::snapshot::NodeOrd;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One thing to be done later. Each has at most one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// A node's lease runs out, or its time as a suspect does.
    Lease(NodeOrd),
    /// A gang may start again.
    Backoff(GangId),
    /// A gang did not start.
    Start(GangId),
    /// A gang has run for as long as it may.
    Limit(GangId),
    /// A gang's stop was not confirmed.
    Enforce(GangId),
    /// Nobody uses an environment.
    Idle(GangId),
    /// A gang's failure is judged: its own, or that of a device.
    Verdict(GangId),
    /// Budgets are to be looked at.
    Budgets,
}

impl Timer {
    /// Under which it is kept: those of a gang stand together.
    const fn key(self) -> (Option<GangId>, Self) {
        match self {
            Self::Backoff(gang)
            | Self::Start(gang)
            | Self::Limit(gang)
            | Self::Enforce(gang)
            | Self::Verdict(gang)
            | Self::Idle(gang) => (Some(gang), self),
            Self::Lease(_) | Self::Budgets => (None, self),
        }
    }
}

/// All that is to be done later, by moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    when: BTreeMap<(Option<GangId>, Timer), Timestamp>,
    line: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    /// Sets or moves a timer.
    pub fn set(&mut self, timer: Timer, at: Timestamp) {
        self.cancel(timer);
        if at != Timestamp::NEVER {
            self.when.insert(timer.key(), at);
            self.line.insert((at, timer));
        }
    }

    /// Forgets a timer.
    pub fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.when.remove(&timer.key()) {
            self.line.remove(&(at, timer));
        }
    }

    /// Forgets every timer of a gang.
    pub fn cancel_gang(&mut self, gang: GangId) {
        let own = (Some(gang), Timer::Lease(NodeOrd(0)))..=(Some(gang), Timer::Budgets);
        while let Some(((_, timer), _)) = self.when.range(own.clone()).next() {
            self.cancel(*timer);
        }
    }

    /// The next moment; [`Timestamp::NEVER`] when there is none.
    pub fn next(&self) -> Timestamp {
        self.line.first().map_or(Timestamp::NEVER, |(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, timer) = *self.line.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Every timer in order, to be saved.
    pub fn all(&self) -> Vec<(Timer, Timestamp)> {
        let mut all: Vec<(Timer, Timestamp)> =
            self.when.iter().map(|((_, timer), at)| (*timer, *at)).collect();
        all.sort_unstable();
        all
    }
}
