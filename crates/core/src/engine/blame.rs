//! Whose failure an end is: the job's own, or that of a device under it.
//!
//! ```text
//!   sign, then end:  the device is down by a fatal sign of this attempt's time ─▶ the device's, at once
//!   end, then sign:  the gang keeps its place until the verdict is due
//!                       ├─ such a sign of one of its devices ───────────────▶ the device's, at once
//!                       └─ none ────────────────────────────────────────────▶ the job's own
//! ```
//! A sign is one that the device cannot work any more, at most [`device_blame`](super::Settings::device_blame) before the end, or that it
//! ended the program that was on it and goes on itself ([`Sign::Contained`](crate::event::Sign)), at most a verdict's wait before it.
//!
//! A driver may tell of a loss after the program has noticed it, so a failure of a gang with devices of which something may still be
//! told ([`Traits::tells`](crate::model::Traits)) is not judged before [`device_verdict`](super::Settings::device_verdict) has passed,
//! and never later than after as much time as the attempt ran: a program that fails at once is told so at once. Meanwhile nobody else
//! is put on the device. Any rank's device counts: which rank notices first that one of them is cut off is chance.

use super::change::Out;
use super::job::{Ending, Gang, Then};
use super::{Condition, Engine, Timer};
use crate::event::Exit;
use crate::ids::GangId;
use crate::plan::DeviceAt;
use crate::snapshot::NodeOrd;
use crate::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// Whether an end by itself could be the doing of a device. Memory and disk that ran out are the task's own.
const fn may_be_of_a_device(then: &Then) -> bool {
    matches!(then, Then::Failed { exit: Exit::Code(_) | Exit::Signal(_), .. })
}

/// A device that ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blamed {
    /// Which.
    pub at: DeviceAt,
    /// The rank on it.
    pub rank: u32,
    /// Which, and what was told of it, for people.
    pub message: String,
    /// Whether another attempt is on the pool's account and not the job's.
    pub pool_pays: bool,
}

impl Blamed {
    /// What comes after a place, if a device was to blame.
    pub(super) fn of(then: &Then, pool_pays: bool) -> Option<Self> {
        let Then::DeviceFailed { rank, message, at: Some(at), .. } = then else { return None };
        Some(Self { at: at.to_owned(), rank: *rank, message: message.to_owned(), pool_pays })
    }
}

impl Engine {
    /// When a failure that begins now is judged; `None`: nothing else can be to blame.
    pub(super) fn verdict_due(&self, id: GangId, then: &Then) -> Option<Timestamp> {
        let live = self.gang(id)?.live()?;
        let ran = self.now.since(live.started.unwrap_or(self.now));
        let wait = self.settings.device_verdict.min(ran);
        let tells = live.tasks.iter().any(|task| {
            let known = &self.nodes[task.node.0 as usize].spec.devices;
            task.devices
                .iter()
                .any(|grant| known.get(grant.device as usize).is_some_and(|device| device.traits.tells))
        });
        (tells && wait > Millis::ZERO && may_be_of_a_device(then)).then(|| self.now.after(wait))
    }

    /// Has a failure judged then.
    pub(super) fn await_verdict(&mut self, id: GangId, due: Option<Timestamp>) {
        match due {
            Some(due) => self.timers.set(Timer::Verdict(id), due),
            None => self.timers.cancel(Timer::Verdict(id)),
        }
    }

    /// Whether the end of a gang whose ranks have all ended is still to be judged. One that a device is to blame for becomes that.
    pub(super) fn awaits_verdict(&mut self, id: GangId) -> bool {
        let ending = self.gang(id).and_then(Gang::live).and_then(|live| live.ending.as_ref());
        let Some((due, since)) =
            ending.filter(|ending| may_be_of_a_device(&ending.then)).map(|it| (it.verdict, it.since))
        else {
            return false;
        };
        let Some((rank, at, message)) = self.blamed_device(id, since) else {
            return due.is_some_and(|due| due > self.now);
        };
        let live = self.gang_mut(id).and_then(Gang::live_mut);
        if let Some(Ending { then, .. }) = live.and_then(|live| live.ending.as_mut()) {
            let Then::Failed { exit, .. } = *then else { return false };
            *then = Then::DeviceFailed { rank, exit, message, at: Some(at) };
        }
        false
    }

    /// The rank under which a device failed in this attempt, which one, and in which words: the rank that ended first before others.
    fn blamed_device(&self, id: GangId, since: Timestamp) -> Option<(u32, DeviceAt, String)> {
        let live = self.gang(id)?.live()?;
        let first = match live.ending.as_ref()?.then {
            Then::Failed { rank, .. } => rank,
            _ => 0,
        };
        let mut ranks: Vec<_> = live.tasks.iter().collect();
        ranks.sort_by_key(|task| (task.rank != first, task.rank));
        for task in ranks {
            let node = &self.nodes[task.node.0 as usize];
            for grant in task.devices.iter() {
                let Some(health) = node.health.get(&grant.device) else { continue };
                let within = |at: Timestamp, most| at >= live.placed && since.since(at) <= most;
                let fatal = health.fatal.filter(|at| within(*at, self.settings.device_blame));
                let contained =
                    health.contained.as_ref().filter(|(at, _)| within(*at, self.settings.device_verdict));
                let device = DeviceAt { node: node.spec.name.to_owned(), device: grant.device };
                let words = match (fatal, contained) {
                    (Some(_), _) if health.condition != Condition::Healthy => {
                        format!("{device} failed: {}", health.because)
                    }
                    (_, Some((_, told))) => format!("{device} ended the program on it: {told}"),
                    _ => continue,
                };
                return Some((task.rank, device, words));
            }
        }
        None
    }

    /// A device cannot work any more: failures of gangs on it that are not judged yet are its.
    pub(super) fn judge_on(&mut self, ord: NodeOrd, device: u32, out: &mut Out) {
        let on_it = |id: &GangId| {
            let live = self.gang(*id).and_then(Gang::live);
            let live =
                live.filter(|live| live.ending.as_ref().is_some_and(|ending| ending.verdict.is_some()));
            live.is_some_and(|live| live.tasks.iter().any(|task| task.node == ord && task.has_device(device)))
        };
        let mut gangs: Vec<GangId> = self.nodes[ord.0 as usize].tasks.iter().map(|task| task.gang).collect();
        gangs.dedup();
        gangs.retain(on_it);
        for gang in gangs {
            self.conclude(gang, out);
        }
    }
}
