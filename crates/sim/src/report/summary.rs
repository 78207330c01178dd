//! The figures of one run.

use super::spread::Spread;
use crate::outcome::{Areas, Fate, JobOutcome, Level, Outcome, Point};
use pond_core::units::{Millis, Timestamp};
use std::collections::BTreeMap;

/// Shorter run times count as this long in the bounded slowdown, in milliseconds. Feitelson et al. (JSSPP 1997) and
/// most of the literature after them: 10 s.
const SLOWDOWN_BOUND: Millis = Millis(10_000);

/// A class of jobs by the devices that all tasks of one ask for, at the smallest size. A fraction of a device counts
/// with the next whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum SizeClass {
    /// No device.
    #[serde(rename = "cpu")]
    Cpu,
    /// One, or a share of one.
    #[serde(rename = "1")]
    One,
    /// 2 to 4.
    #[serde(rename = "2-4")]
    Four,
    /// 5 to 8: up to a machine of the usual kind.
    #[serde(rename = "5-8")]
    Eight,
    /// 9 to 32.
    #[serde(rename = "9-32")]
    ThirtyTwo,
    /// More than 32.
    #[serde(rename = ">32")]
    More,
}

impl SizeClass {
    /// All of them, ascending.
    pub const ALL: [Self; 6] = [Self::Cpu, Self::One, Self::Four, Self::Eight, Self::ThirtyTwo, Self::More];

    /// The class of a job that asks for so many thousandths of devices.
    #[must_use]
    pub const fn of(devices_milli: u64) -> Self {
        match devices_milli {
            0 => Self::Cpu,
            1..=1_000 => Self::One,
            1_001..=4_000 => Self::Four,
            4_001..=8_000 => Self::Eight,
            8_001..=32_000 => Self::ThirtyTwo,
            _ => Self::More,
        }
    }

    /// As programs read it: `2-4`, `cpu`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::One => "1",
            Self::Four => "2-4",
            Self::Eight => "5-8",
            Self::ThirtyTwo => "9-32",
            Self::More => ">32",
        }
    }

    /// As people read it: `2–4`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU only",
            Self::One => "1",
            Self::Four => "2–4",
            Self::Eight => "5–8",
            Self::ThirtyTwo => "9–32",
            Self::More => ">32",
        }
    }
}

/// How jobs fared that came to an end: those that ended by themselves and those ended at their time limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// From submission to end, in milliseconds.
    pub jct_ms: Spread,
    /// Of that, without a place, in milliseconds.
    pub queue_ms: Spread,
    /// Bounded slowdown ([`slowdown_milli`]), in thousandths.
    pub slowdown_milli: Spread,
}

/// What came of a run, in figures. Ratios are in parts per million.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// What was run.
    pub name: String,
    /// The root seed.
    pub seed: u64,
    /// Jobs submitted.
    pub jobs: u64,
    /// Jobs that ended by themselves.
    pub ended: u64,
    /// Jobs ended at their time limit.
    pub timed_out: u64,
    /// Jobs given up after faults.
    pub given_up: u64,
    /// Jobs that fit nowhere, ever.
    pub infeasible: u64,
    /// Jobs that were not over when the simulation was. Figures of time leave them out, so they flatter a run with many.
    pub unfinished: u64,
    /// Of all jobs that came to an end.
    pub all: Figures,
    /// The same by size class; classes without a job are left out.
    pub by_size: BTreeMap<SizeClass, Figures>,
    /// Evictions by the pool.
    pub preemptions: u64,
    /// Moves that the pool chose.
    pub migrations: u64,
    /// Attempts ended by faults.
    pub faults: u64,
    /// Work lost to preemption, migration and faults, in device-seconds: lost time × devices at the smallest size.
    pub lost_device_s: u64,
    /// Granted device time over device time of nodes that were up, from the first submission to the end.
    pub allocation_ppm: u64,
    /// The same up to the last submission: without the time in which the pool runs empty.
    pub allocation_arrivals_ppm: u64,
    /// Granted CPU time over CPU time of nodes that were up.
    pub cpu_allocation_ppm: u64,
    /// Device time that was idle and that a task drawn from the mix could not have used, over idle device time
    /// (the ratio of Weng et al., ATC 2023, as a mean over the points of the series).
    pub fragmentation_ppm: u64,
    /// From the first submission to the last end, in milliseconds.
    pub makespan_ms: u64,
    /// Jain's index of fairness (Jain, Chiu, Hawe, 1984) over users: `(Σx)² / (n·Σx²)`, where a user's `x` is the
    /// run time of all their jobs that ended over the completion time of these jobs. 1,000,000: all wait alike;
    /// `1/n` at worst.
    pub jain_ppm: u64,
    /// Users with a job that came to an end.
    pub users: u64,
    /// Violations that the checker of plans found; anything but 0 is a defect.
    pub violations: u64,
}

/// Bounded slowdown in thousandths: `max(1, completion time / max(run time, 10 s))` (Feitelson et al., "Theory and
/// practice in parallel job scheduling", JSSPP 1997), rounded down. The run time is the job's own; for a job ended at
/// its time limit it is the time it had a place. `None`: it did not come to an end.
#[must_use]
pub fn slowdown_milli(job: &JobOutcome) -> Option<u64> {
    let run = if job.fate == Fate::TimedOut { job.held } else { job.duration };
    let jct = finished(job)?;
    Some((jct.0.saturating_mul(1000) / run.max(SLOWDOWN_BOUND).0).max(1000))
}

/// Completion time of a job that came to an end.
pub(super) fn finished(job: &JobOutcome) -> Option<Millis> {
    matches!(job.fate, Fate::Ended(_) | Fate::TimedOut).then(|| job.jct()).flatten()
}

/// A part of a whole in parts per million; 0 of nothing.
fn ppm(part: u128, whole: u128) -> u64 {
    u64::try_from(part.saturating_mul(1_000_000) / whole.max(1)).unwrap_or(u64::MAX)
}

impl Figures {
    fn of<'jobs>(jobs: impl Iterator<Item = &'jobs JobOutcome>) -> Self {
        let (mut jct, mut queue, mut slowdown) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            let Some(span) = finished(job) else { continue };
            jct.push(span.0);
            queue.push(span.minus(job.held).0);
            slowdown.extend(slowdown_milli(job));
        }
        Self { jct_ms: Spread::of(jct), queue_ms: Spread::of(queue), slowdown_milli: Spread::of(slowdown) }
    }
}

impl Summary {
    /// The figures of an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let jobs = &outcome.jobs;
        let class = |job: &JobOutcome| SizeClass::of(job.devices_milli);
        let count = |wanted: fn(Fate) -> bool| jobs.iter().filter(|job| wanted(job.fate)).count() as u64;
        let by_size = SizeClass::ALL.into_iter().filter(|&size| jobs.iter().any(|job| class(job) == size));
        let lost = jobs.iter().map(|job| u128::from(job.lost.0) * u128::from(job.devices_milli));
        let first = jobs.iter().map(|job| job.submit).min().unwrap_or_default();
        let last_submit = jobs.iter().map(|job| job.submit).max().unwrap_or_default();
        let last_end = jobs.iter().filter_map(|job| job.end).max().unwrap_or(first);
        let (jain_ppm, users) = jain(jobs);
        let Areas { whole, arrivals } =
            outcome.areas.unwrap_or_else(|| areas_below(&outcome.series, last_submit));
        let (fragmented, idle) = fragments(&outcome.series);
        Self {
            name: outcome.name.clone(),
            seed: outcome.seed,
            jobs: jobs.len() as u64,
            ended: count(|fate| matches!(fate, Fate::Ended(_))),
            timed_out: count(|fate| fate == Fate::TimedOut),
            given_up: count(|fate| fate == Fate::GivenUp),
            infeasible: count(|fate| fate == Fate::Infeasible),
            unfinished: count(|fate| fate == Fate::Unfinished),
            all: Figures::of(jobs.iter()),
            by_size: by_size
                .map(|size| (size, Figures::of(jobs.iter().filter(|job| class(job) == size))))
                .collect(),
            preemptions: jobs.iter().map(|job| u64::from(job.preemptions)).sum(),
            migrations: jobs.iter().map(|job| u64::from(job.migrations)).sum(),
            faults: jobs.iter().map(|job| u64::from(job.faults)).sum(),
            lost_device_s: u64::try_from(lost.sum::<u128>() / 1_000_000).unwrap_or(u64::MAX),
            allocation_ppm: ppm(whole.granted, whole.devices),
            allocation_arrivals_ppm: ppm(arrivals.granted, arrivals.devices),
            cpu_allocation_ppm: ppm(whole.granted_cpu, whole.cpu),
            fragmentation_ppm: ppm(fragmented, idle),
            makespan_ms: last_end.since(first).0,
            jain_ppm,
            users,
            violations: outcome.counts.violations,
        }
    }
}

/// Areas under the curves of a series: a point holds until the next one.
fn areas_below(series: &[Point], last_submit: Timestamp) -> Areas {
    let mut areas = Areas::default();
    for pair in series.windows(2) {
        let level = Level {
            devices: pair[0].devices_milli,
            granted: pair[0].granted_devices_milli,
            cpu: pair[0].cpu_milli,
            granted_cpu: pair[0].granted_cpu_milli,
        };
        areas.add(level, (pair[0].at, pair[1].at), last_submit);
    }
    areas
}

/// Device time in fragments, and idle, below the points of a series.
fn fragments(series: &[Point]) -> (u128, u128) {
    let pairs = series.windows(2).map(|pair| {
        let (point, span) = (pair[0], u128::from(pair[1].at.since(pair[0].at).0));
        let idle = point.devices_milli.saturating_sub(point.granted_devices_milli);
        (u128::from(point.fragmented_devices_milli) * span, u128::from(idle) * span)
    });
    pairs.fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
}

/// Jain's index over users, in parts per million, and how many users there are.
fn jain(jobs: &[JobOutcome]) -> (u64, u64) {
    let mut users: BTreeMap<u32, (u128, u128)> = BTreeMap::new();
    for job in jobs {
        let Some(jct) = finished(job) else { continue };
        let (run, whole) = users.entry(job.user).or_default();
        // A job that ran faster than the trace has it counts as one that did not wait.
        *run += u128::from(job.duration.min(jct).0);
        *whole += u128::from(jct.0);
    }
    let shares =
        users.values().map(|&(run, whole)| u128::from(if whole == 0 { 1_000_000 } else { ppm(run, whole) }));
    let (sum, squares) = shares.fold((0, 0), |(sum, squares), x| (sum + x, squares + x * x));
    let count = users.len() as u64;
    (ppm(sum * sum, u128::from(count) * squares), count)
}
