//! The seam between the pool and the world: where tasks run, and where history is kept.

use crate::event::{Actor, Effect, Event};
use crate::plan::Plan;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Where tasks run: this machine, Kubernetes, the simulator. Synchronous and pulled.
// seam: real life and simulator drive the same engine through it
pub trait Substrate {
    /// Waits until something happened or `until` has come, whichever is first, and puts all that happened into `events`,
    /// in its order.
    ///
    /// Returns the time, never earlier than any time returned before. `None` ends the drive loop.
    fn poll(&mut self, until: Timestamp, events: &mut Vec<(Actor, Event)>) -> Option<Timestamp>;

    /// Takes effects to be carried out. Real effects are slow: this only enqueues; outcomes come back as events.
    fn apply(&mut self, effects: Vec<Effect>);
}

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up by one from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub entry: Entry,
}

/// What a line of history holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Something happened.
    Event(Event),
    /// A plan is about to be committed.
    Plan(Plan),
}
