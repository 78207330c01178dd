//! Reasons in a few words, for lists. `why` has the whole sentence.

use pond_core::engine::{End, Gang, Phase};
use pond_core::event::Exit;
use pond_core::plan::{Constraint, Dimension, HoldReason, unwell};
use pond_core::snapshot::Held;
use pond_core::units::Bytes;

/// Why a gang waits, by the planner's word.
#[must_use]
pub fn hold(reason: &HoldReason) -> String {
    match reason {
        HoldReason::Infeasible(funnel) if funnel.nodes == 0 => "the pool has no node yet".to_owned(),
        HoldReason::Infeasible(_) => "fits no node of this pool, even empty".to_owned(),
        HoldReason::Unwell { devices, more } => {
            format!("waits for devices that are not well: {}", unwell(devices, *more))
        }
        HoldReason::NoRoom => "waits for room".to_owned(),
        HoldReason::QueueLimit { queue, dimension: what, .. } => {
            format!("queue {queue} is at its {} limit", dimension(what))
        }
        HoldReason::OverQueueLimit { queue, dimension: what, .. } => {
            format!("asks for more {} than queue {queue} may ever have", dimension(what))
        }
        HoldReason::Reserved { gang, .. } => format!("room is kept for {gang}"),
        HoldReason::AwaitingEviction { victims } => format!("waits for {victims} being evicted"),
        HoldReason::Paused => "paused".to_owned(),
        HoldReason::Dependency(jobs) => waits_for(jobs),
        HoldReason::ArrayLimit(limit) => format!("{limit} of its array may run at once"),
        HoldReason::Backoff(_) => "waits before its next attempt".to_owned(),
        HoldReason::Budget(spent) => spent.to_string(),
    }
}

/// The word of the reason for which a gang waits: what [`HoldReason`] is called in JSON; `new` before its first plan.
#[must_use]
pub fn waiting(gang: &Gang) -> Option<String> {
    Some(match (&gang.phase, &gang.hold) {
        (Phase::Held(Held::Paused), _) => "paused".to_owned(),
        (Phase::Held(Held::Dependency(_)), _) => "dependency".to_owned(),
        (Phase::Held(Held::ArrayLimit(_)), _) => "array_limit".to_owned(),
        (Phase::Held(Held::Backoff(_)), _) => "backoff".to_owned(),
        (Phase::Held(Held::Budget(_)), _) => "budget".to_owned(),
        (Phase::Pending, Some(reason)) => kind(reason),
        (Phase::Pending, None) => "new".to_owned(),
        (Phase::Placed(_) | Phase::Finished { .. }, _) => return None,
    })
}

/// What a reason or an end is called in JSON, without what it says beside.
#[must_use]
pub fn kind<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(tagged)) => tagged.keys().next().cloned().unwrap_or_default(),
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Why a gang is not offered to the planner.
#[must_use]
pub fn held(held: &Held) -> String {
    match held {
        Held::Paused => "paused".to_owned(),
        Held::Dependency(jobs) => waits_for(jobs),
        Held::ArrayLimit(limit) => format!("{limit} of its array may run at once"),
        Held::Backoff(_) => "waits before its next attempt".to_owned(),
        Held::Budget(spent) => spent.to_string(),
    }
}

fn waits_for(jobs: &[pond_core::ids::JobId]) -> String {
    let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    format!("waits for job {}", jobs.join(", "))
}

/// How a gang ended, when that needs a word; `disk` is what the writable layer of a rank may hold.
#[must_use]
pub fn outcome(outcome: &End, disk: Option<Bytes>) -> Option<String> {
    Some(match outcome {
        End::Succeeded => return None,
        End::Failed { rank, exit: Exit::OutOfDisk } => match disk {
            Some(size) => format!("rank {rank}: its disk of {size} was full"),
            None => format!("rank {rank}: {}", exit(Exit::OutOfDisk)),
        },
        End::Failed { rank, exit: how } => format!("rank {rank}: {}", exit(*how)),
        End::DeviceFailed { rank, exit: how, message } => {
            format!("{message}; rank {rank} was on it; the first end: {}", exit(*how))
        }
        End::OutOfMemory { rank } => format!("rank {rank} went over its memory"),
        End::StartFailed { message, .. } => message.clone(),
        End::TimedOut => "its time limit was over".to_owned(),
        End::Stopped { by: Some(user) } => format!("stopped by {user}"),
        End::Stopped { by: None } => "nobody used it".to_owned(),
        End::Cancelled { dependency } => {
            format!("job {dependency}, which it waited for, did not end as needed")
        }
        End::Evicted => "evicted; it does not want to be retried then".to_owned(),
        End::OutOfBudget(spent) => spent.to_string(),
        End::NodeLost => "its node was lost; it does not want to be retried then".to_owned(),
        End::PastShare { rank, message } => format!("rank {rank} went past its share of a device: {message}"),
    })
}

/// How a task ended.
#[must_use]
pub fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::OutOfMemory => "went over its memory".to_owned(),
        Exit::OutOfDisk => "its disk was full".to_owned(),
        Exit::DeviceError => "a device failed".to_owned(),
        Exit::Lost => "lost with its node".to_owned(),
    }
}

/// A dimension in one word.
#[must_use]
pub fn dimension(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Cpu => "CPU".to_owned(),
        Dimension::Memory => "memory".to_owned(),
        Dimension::Disk => "disk".to_owned(),
        Dimension::Device(kind) => super::word(kind),
        Dimension::Running => "running".to_owned(),
    }
}

/// A constraint in a few words.
#[must_use]
pub fn constraint(constraint: &Constraint) -> String {
    match constraint {
        Constraint::NotReady => "not ready".to_owned(),
        Constraint::Label(label) => format!("lacks label {label}"),
        Constraint::NoDevice(kind) => format!("has no such {}", super::word(kind)),
        Constraint::NoShare(kind) => format!("cannot share its {} that way", super::word(kind)),
        Constraint::NotWhole(kind) => format!("gives out no whole {}", super::word(kind)),
        Constraint::NoProfile(kind, wanted) => format!("no {} can be cut into a {wanted}", super::word(kind)),
        Constraint::NoPlace(kind, wanted) => format!("no place for a {wanted} ({})", super::word(kind)),
        Constraint::TooFewDevices(kind) => format!("too few or too small {}", super::word(kind)),
        Constraint::SmallDevice(kind) => format!("no {} with so much memory", super::word(kind)),
        Constraint::TooSmall(what) => format!("too small ({})", dimension(what)),
        Constraint::TooFull(what) => format!("too full ({})", dimension(what)),
    }
}
