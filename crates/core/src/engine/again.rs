//! What becomes of a gang that has left its place: over, or once more, and on whose account.

use super::change::Out;
use super::job::{End, Phase, State, Then};
use super::manner::{Next, describe, is_retried};
use super::{Engine, Timer};
use crate::event::Exit;
use crate::ids::GangId;
use crate::model::RetryOn;
use crate::snapshot::{Held, NodeOrd};
use crate::units::Millis;
use std::borrow::Cow;

/// Nodes a gang avoids at most.
const AVOID: usize = 8;

impl Engine {
    /// A gang that left its place: over, once more, or held.
    pub(super) fn become_what(&mut self, id: GangId, then: Then, ran: Millis, from: State, out: &mut Out) {
        let nodes = self.nodes_of_last(id, &then);
        let settings = (self.settings.steady, self.settings.max_faults, self.settings.max_backoff);
        let because = match &then {
            Then::DeviceFailed { .. } => Some(describe(&then)),
            _ => None,
        };
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let retry = &job.spec.retry;
        let Ok(at) = job.gangs.binary_search_by_key(&id.index, |gang| gang.id.index) else { return };
        let gang = &mut job.gangs[at];
        if ran >= settings.0 {
            gang.faults = 0;
        }
        let next = match then {
            Then::Finish(end) => Next::Over(end),
            Then::Pause => {
                gang.paused = true;
                gang.keep_layer = true;
                Next::Again(Millis::ZERO)
            }
            Then::Evicted(_) if retry.on.contains(&RetryOn::Preempted) => Next::Again(Millis::ZERO),
            Then::Evicted(_) => Next::Over(End::Evicted),
            Then::NodeLost(_) if retry.on.contains(&RetryOn::NodeFailure) => Next::Again(Millis::ZERO),
            Then::NodeLost(_) => Next::Over(End::NodeLost),
            Then::StartFailed { rank, message, node_fault } => {
                let again = node_fault && gang.faults < settings.1;
                gang.faults = gang.faults.saturating_add(1);
                if again {
                    Next::fault(gang, retry.backoff)
                } else {
                    Next::Over(End::StartFailed { rank, message })
                }
            }
            Then::DeviceFailed { rank, exit, message, .. } => {
                // Who asked to be tried again after a failure alone pays for it as for one.
                let own = !is_retried(&retry.on, Exit::DeviceError) && is_retried(&retry.on, exit);
                let counts = if own { exit } else { Exit::DeviceError };
                Next::after(gang, retry, counts, settings.1, End::DeviceFailed { rank, exit, message })
            }
            Then::Failed { rank, exit } => {
                let end = match exit {
                    Exit::OutOfMemory => End::OutOfMemory { rank },
                    exit => End::Failed { rank, exit },
                };
                Next::after(gang, retry, exit, settings.1, end)
            }
        };
        for node in nodes {
            gang.avoid.retain(|known| *known != node);
            gang.avoid.push(node);
            if gang.avoid.len() > AVOID {
                gang.avoid.remove(0);
            }
        }
        match next {
            Next::Over(end) => self.finish(id, end, from, out),
            Next::Again(wait) => self.queue_again(id, wait.0.min(settings.2.0), from, because, out),
        }
    }

    /// The nodes that a failure counts against.
    fn nodes_of_last(&self, id: GangId, then: &Then) -> Vec<NodeOrd> {
        let blamed = match then {
            Then::StartFailed { rank, node_fault: true, .. } => *rank,
            Then::DeviceFailed { rank, .. } | Then::Failed { rank, exit: Exit::DeviceError | Exit::Lost } => {
                *rank
            }
            Then::NodeLost(node) => return vec![*node],
            _ => return Vec::new(),
        };
        let last = self.gang(id).and_then(|gang| gang.last.as_ref());
        let ranks = last.into_iter().flat_map(|last| &last.ranks);
        ranks.filter(|end| end.rank == blamed).map(|end| end.node).collect()
    }

    /// Back to the queue, its place in line kept.
    fn queue_again(
        &mut self,
        id: GangId,
        wait_ms: u64,
        from: State,
        because: Option<Cow<'static, str>>,
        out: &mut Out,
    ) {
        let until = self.now.after(Millis(wait_ms));
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        // It leaves its array place and asks for one again like any other.
        job.active = job.active.saturating_sub(1);
        let Some(gang) = job.gang_mut(id.index) else { return };
        gang.backoff = (wait_ms > 0).then_some(until);
        gang.phase = Phase::Held(Held::Backoff(until));
        if wait_ms > 0 {
            self.timers.set(Timer::Backoff(id), until);
        }
        let mut quiet = Out::default();
        self.settle(id, "", &mut quiet);
        let because = because.map_or_else(String::new, |because| format!(": {because}"));
        self.note_gang(id, from, format!("back in the queue, with its place in line{because}"), out);
        out.effects.append(&mut quiet.effects);
        self.next_element(id.job, out);
    }
}
