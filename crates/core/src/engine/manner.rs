//! How gangs are stopped, what is tried again and after how long, and the words for it.

use super::job::{End, Gang, Then};
use crate::event::Exit;
use crate::model::{JobSpec, Retry, RetryOn};
use crate::money::Spent;
use crate::plan::{HoldReason, PreemptCause};
use crate::snapshot::Held;
use crate::units::Millis;
use std::borrow::Cow;

/// Asks a process to end.
pub const SIGTERM: i32 = 15;

/// What comes after a place.
pub enum Next {
    Over(End),
    Again(Millis),
}

impl Next {
    pub fn failure(gang: &Gang, backoff: Millis) -> Self {
        Self::Again(doubled(backoff, gang.failures))
    }

    /// After a rank ended in this way: once more while the budget that it counts against lasts, the pool's or the job's own.
    pub fn after(gang: &mut Gang, retry: &Retry, exit: Exit, max_faults: u32, end: End) -> Self {
        if !is_retried(&retry.on, exit) {
            return Self::Over(end);
        }
        if matches!(exit, Exit::DeviceError | Exit::Lost) {
            gang.faults = gang.faults.saturating_add(1);
            return if gang.faults > max_faults { Self::Over(end) } else { Self::fault(gang, retry.backoff) };
        }
        gang.failures = gang.failures.saturating_add(1);
        if gang.failures > retry.max { Self::Over(end) } else { Self::failure(gang, retry.backoff) }
    }

    pub fn fault(gang: &Gang, backoff: Millis) -> Self {
        Self::Again(doubled(backoff, gang.faults))
    }
}

/// The wait before the attempt after the nth failure.
fn doubled(backoff: Millis, nth: u32) -> Millis {
    backoff.times(1_u64 << nth.saturating_sub(1).min(40))
}

/// A stop by a person outweighs the pool's own reasons; the first failure outweighs later losses.
pub const fn strength(then: &Then) -> u8 {
    match then {
        Then::Evicted(_) | Then::NodeLost(_) => 0,
        Then::StartFailed { .. } | Then::Failed { .. } | Then::DeviceFailed { .. } => 1,
        Then::Pause => 2,
        Then::Finish(_) => 3,
    }
}

/// First signal and grace.
pub fn stop_manner(spec: &JobSpec, then: &Then, spare_grace: Millis) -> (i32, Millis) {
    let saved = spec.checkpoint.as_ref().map(|save| (save.signal, save.grace));
    match then {
        Then::Evicted(PreemptCause::CpuWanted { .. }) => {
            saved.unwrap_or((SIGTERM, spec.grace.min(spare_grace)))
        }
        Then::Evicted(_) | Then::Pause | Then::Finish(End::TimedOut | End::OutOfBudget(_)) => {
            saved.unwrap_or((SIGTERM, spec.grace))
        }
        _ => (SIGTERM, spec.grace),
    }
}

/// Why a gang that is not offered to the planner waits.
pub fn reason_of(held: &Held) -> HoldReason {
    match held {
        Held::Paused => HoldReason::Paused,
        Held::Dependency(jobs) => HoldReason::Dependency(jobs.to_vec()),
        Held::ArrayLimit(most) => HoldReason::ArrayLimit(*most),
        Held::Backoff(until) => HoldReason::Backoff(*until),
        Held::Budget(spent) => HoldReason::Budget(Box::new(Spent::to_owned(spent))),
    }
}

pub fn is_retried(on: &[RetryOn], exit: Exit) -> bool {
    on.iter().any(|wish| match (wish, exit) {
        (RetryOn::NodeFailure, Exit::Lost | Exit::DeviceError)
        | (RetryOn::DeviceError, Exit::DeviceError)
        | (RetryOn::OutOfMemory, Exit::OutOfMemory) => true,
        (RetryOn::Failed, Exit::Code(code)) => code != 0,
        (RetryOn::Failed, Exit::Signal(_) | Exit::OutOfDisk) => true,
        (RetryOn::Exit(wanted), Exit::Code(code)) => *wanted == code,
        _ => false,
    })
}

pub fn describe(then: &Then) -> Cow<'static, str> {
    match then {
        Then::Finish(end) => describe_end(end),
        Then::Failed { rank, exit } => format!("rank {rank}: {}", describe_exit(*exit)).into(),
        Then::DeviceFailed { rank, exit, message, .. } => device_failed(*rank, *exit, message).into(),
        Then::StartFailed { rank, message, .. } => format!("rank {rank} did not start: {message}").into(),
        Then::Evicted(PreemptCause::Priority { beneficiary }) => {
            format!("gives way to job {beneficiary}").into()
        }
        Then::Evicted(PreemptCause::Order { beneficiary }) => {
            format!("gives way to job {beneficiary}, which is before it in line").into()
        }
        Then::Evicted(PreemptCause::Reclaim { beneficiary }) => {
            format!("its queue gives back what it had borrowed, to job {beneficiary}").into()
        }
        Then::Evicted(PreemptCause::CpuWanted { node }) => {
            format!("the CPU of {node} is wanted by its owner").into()
        }
        Then::NodeLost(_) => "a node was lost".into(),
        Then::Pause => "paused".into(),
    }
}

pub fn describe_end(end: &End) -> Cow<'static, str> {
    match end {
        End::Succeeded => "succeeded".into(),
        End::Failed { rank, exit } => format!("rank {rank}: {}", describe_exit(*exit)).into(),
        End::DeviceFailed { rank, exit, message } => device_failed(*rank, *exit, message).into(),
        End::OutOfMemory { rank } => format!("rank {rank} went over its memory").into(),
        End::StartFailed { rank, message } => format!("rank {rank} did not start: {message}").into(),
        End::TimedOut => "ran for as long as its time limit allows".into(),
        End::Stopped { by: Some(user) } => format!("stopped by {user}").into(),
        End::Stopped { by: None } => "stopped because nobody used it".into(),
        End::Cancelled { dependency } => {
            format!("job {dependency}, which it waited for, did not succeed").into()
        }
        End::Evicted => "evicted".into(),
        End::NodeLost => "its node was lost".into(),
        End::PastShare { rank, message } => format!("rank {rank} went past its share: {message}").into(),
        End::OutOfBudget(spent) => spent.to_string().into(),
    }
}

fn device_failed(rank: u32, exit: Exit, message: &str) -> String {
    format!("{message}; rank {rank} was on it; the first end: {}", describe_exit(exit))
}

fn describe_exit(exit: Exit) -> Cow<'static, str> {
    match exit {
        Exit::Code(code) => format!("ended with code {code}").into(),
        Exit::Signal(signal) => format!("ended by signal {signal}").into(),
        Exit::OutOfMemory => "went over its memory".into(),
        Exit::OutOfDisk => "its disk was full".into(),
        Exit::DeviceError => "a device failed under it".into(),
        Exit::Lost => "every trace of it is lost".into(),
    }
}
