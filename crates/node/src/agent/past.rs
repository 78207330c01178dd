//! Whether tasks keep to their shares of devices: what their ledgers say against what they may, and against what
//! their processes have open. What is past a share is told, throttled, or ended, as the agent was configured.
//!
//! | past | seen by | for |
//! |---|---|---|
//! | a ledger that is none | it cannot be read, or has another head | 3 s |
//! | going around the library | a process has a driver of the share mapped, and the library not | 3 s |
//! | more than its ledger says | what the device's driver counts for the task's processes, against the ledger | 10 s |
//! | more memory than it may | what the ledger holds against the terms, also after they became smaller | 10 s |
//! | more time than it may | measured time ahead of the allowance, and launches go on | 10 s |
//!
//! ```text
//!   keeps ──seen──▶ suspected ──seen for so long──▶ told (flag, throttle, end)
//!     ▲                 │                                   │
//!     └──── not seen ───┴──────────── not seen ─────────────┘  told again
//! ```
//! NVIDIA's driver says itself how much each program [holds](super::held); OpenCL's do not.

use super::held::Real;
use super::share::{Past, Share};
use super::{Inner, Live};
use crate::cgroup::Limits;
use crate::tolerate;
use pond_core::event::{PastShare, Report};
use pond_share::Use;
use std::fs;
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How much measured time may be ahead of what is allowed, ns: a kernel or two that nobody knew, and the burst.
const AHEAD_NS: u64 = 2_000_000_000;

/// What a process may hold on a device beyond what its ledger counts, bytes: modules, what is rounded up, a context that takes
/// more than was reckoned. Ours; not measured on a real driver.
const UNCOUNTED: u64 = 512 << 20;

/// In which way a task goes past a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Ledger,
    Around,
    Driver { real: u64, ledger: u64, most: u64 },
    Memory { held: u64, most: u64 },
    Time { ahead_ns: u64 },
}

impl Way {
    const fn kind(self) -> u8 {
        match self {
            Self::Ledger => 0,
            Self::Around => 1,
            Self::Memory { .. } => 2,
            Self::Time { .. } => 3,
            Self::Driver { .. } => 4,
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Ledger | Self::Around => Duration::from_secs(3),
            Self::Driver { .. } | Self::Memory { .. } | Self::Time { .. } => Duration::from_secs(10),
        }
    }

    fn text(self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        match self {
            Self::Ledger => "its ledger is damaged".to_owned(),
            Self::Around => {
                "a process of it uses the device's driver past the library that keeps shares".to_owned()
            }
            Self::Driver { real, ledger, most } => format!(
                "its processes hold {} MiB of the device's memory by the driver's count, {} MiB by the ledger of its \
                 share, and may hold {} MiB",
                mib(real),
                mib(ledger),
                mib(most)
            ),
            Self::Memory { held, most } => {
                format!(
                    "it holds {} MiB of the device's memory where it may hold {} MiB",
                    mib(held),
                    mib(most)
                )
            }
            Self::Time { ahead_ns } => {
                format!("it goes on launching {} ms ahead of its time on the device", ahead_ns / 1_000_000)
            }
        }
    }
}

impl Inner {
    /// Looks at every share, when it is time again.
    pub(super) fn look_at_shares(&self, due: &mut Instant) {
        let now = Instant::now();
        if now < *due {
            return;
        }
        *due = now + EVERY;
        let act = self.config.past_share;
        let mut told = Vec::new();
        let mut state = self.state();
        for ((task, generation), live) in &mut state.live {
            if live.shares.is_empty() || live.meters.is_none() {
                continue;
            }
            let around = goes_around(live);
            for share in &mut live.shares {
                let way = if around { Some(Way::Around) } else { way_of(share) };
                let Some((way, done)) = judge(&mut share.past, way, now) else { continue };
                told.push(Report::PastShare {
                    task: *task,
                    generation: *generation,
                    device: share.device(),
                    message: way.text(),
                    act: done.then_some(act),
                });
            }
            if act == PastShare::Throttle {
                throttle(live);
            }
        }
        drop(state);
        told.into_iter().for_each(|report| self.report(report));
    }
}

/// What is new: a way that lasted long enough (true), or one that is over (false).
fn judge(past: &mut Past, way: Option<Way>, now: Instant) -> Option<(Way, bool)> {
    let same = past.way.zip(way).is_some_and(|(old, new)| old.kind() == new.kind());
    if !same {
        let ended = past.way.filter(|_| past.told);
        (past.way, past.since, past.told) = (way, now, false);
        return ended.map(|old| (old, false));
    }
    past.way = way;
    let way = way.filter(|way| !past.told && now.duration_since(past.since) >= way.patience())?;
    past.told = true;
    Some((way, true))
}

fn way_of(share: &mut Share) -> Option<Way> {
    let Some(used) = share.usage() else { return Some(Way::Ledger) };
    let launches = std::mem::replace(&mut share.past.launches, used.launches);
    over_memory(share, &used).or_else(|| beside_ledger(share, &used)).or_else(|| {
        let ahead_ns = used.busy_ns.saturating_sub(share.allowed_ns());
        (ahead_ns > AHEAD_NS && used.launches > launches).then_some(Way::Time { ahead_ns })
    })
}

fn over_memory(share: &Share, used: &Use) -> Option<Way> {
    let most = share.memory();
    (used.memory > most).then_some(Way::Memory { held: used.memory, most })
}

/// Whether the driver counts more than the ledger can have missed. Nothing is missed of who never came to the ledger.
fn beside_ledger(share: &Share, used: &Use) -> Option<Way> {
    let real = Real::fresh(share.real)?;
    let missed = if used.memory == 0 { 0 } else { UNCOUNTED.saturating_mul(real.processes) };
    let way = Way::Driver { real: real.bytes, ledger: used.memory, most: share.memory() };
    (real.bytes > used.memory.saturating_add(missed)).then_some(way)
}

/// Whether a process of the task has a driver mapped that only the library should open.
fn goes_around(live: &Live) -> bool {
    let drivers = super::share::drivers(&live.folder);
    let around = |pid: &i32| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let has = |name: &str| maps.lines().any(|line| line.rsplit('/').next() == Some(name));
        drivers.iter().any(|name| has(name)) && !has(crate::probe::opencl::LIBRARY)
    };
    live.group.pids().iter().any(around)
}

/// Gives a task that was told of so much of its CPU as it was promised of its devices, and back when it keeps to them.
fn throttle(live: &mut Live) {
    let promised = live.shares.iter().filter(|share| share.past.told).map(Share::promised).min();
    let Some(thousandths) = promised else {
        if std::mem::take(&mut live.throttled) {
            tolerate(live.group.set(&live.limits));
        }
        return;
    };
    live.throttled = true;
    let cpu = if live.limits.cpu_milli == 0 { all_cpus() } else { live.limits.cpu_milli };
    let limits = Limits { cpu_milli: (cpu * thousandths / 1000).max(10), ..live.limits.clone() };
    tolerate(live.group.set(&limits));
}

fn all_cpus() -> u64 {
    std::thread::available_parallelism().map_or(1000, |count| count.get() as u64 * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_its_end_once() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let over = |held| Some(Way::Memory { held, most: 1 << 20 });
        let mut past = Past::default();
        assert_eq!(judge(&mut past, over(2 << 20), after(0)), None);
        assert_eq!(judge(&mut past, over(3 << 20), after(9)), None);
        assert_eq!(
            judge(&mut past, over(4 << 20), after(10)),
            Some((Way::Memory { held: 4 << 20, most: 1 << 20 }, true))
        );
        assert_eq!(judge(&mut past, over(5 << 20), after(11)), None);
        assert!(matches!(judge(&mut past, None, after(12)), Some((Way::Memory { .. }, false))));
        assert_eq!(judge(&mut past, None, after(13)), None);
        assert_eq!(judge(&mut past, Some(Way::Around), after(14)), None);
        assert_eq!(judge(&mut past, None, after(16)), None, "it did not last");
    }
}
