//! How like two workloads are: the Kolmogorov–Smirnov distance of what a scheduler feels.

use super::fit::size_of;
use crate::trace::Jobs;
use crate::trace::time::hour_of_week;
use crate::workload::Workload;
use pond_core::units::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Distances in thousandths: 0 for equal distributions, 1000 for such that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Goodness {
    /// Jobs of the one and of the other.
    pub jobs: [u64; 2],
    /// Jobs an hour, in thousandths.
    pub per_hour: [u64; 2],
    /// Time from one submission to the next.
    pub gaps: u64,
    /// Jobs in an hour: how bursty it is.
    pub hourly: u64,
    /// Hour of the day of submissions.
    pub hours: u64,
    /// Devices, or cores.
    pub sizes: u64,
    /// Run times.
    pub durations: u64,
    /// Size × run time.
    pub work: u64,
    /// Spearman's correlation of size and run time, in thousandths.
    pub size_duration: [i64; 2],
    /// The share of jobs of the ten busiest users, in thousandths.
    pub top_ten_users: [u64; 2],
}

/// Compares two workloads; `zeros` are their time zeros in milliseconds since 1970.
#[must_use]
pub fn compare(one: &Workload, two: &Workload, zeros: [i64; 2]) -> Goodness {
    let both = |of: &dyn Fn(&Workload) -> Vec<u64>| distance(of(one), of(two));
    let hours = |workload: &Workload, zero: i64| -> Vec<u64> {
        let hour = |at: Timestamp| hour_of_week(zero.saturating_add_unsigned(at.0)) as u64 % 24;
        workload.jobs.iter().map(|job| hour(job.submit)).collect()
    };
    Goodness {
        jobs: [one.jobs.len() as u64, two.jobs.len() as u64],
        per_hour: [per_hour(one), per_hour(two)],
        gaps: both(&|workload| {
            workload.jobs.windows(2).map(|pair| pair[1].submit.since(pair[0].submit).0).collect()
        }),
        hourly: both(&hourly),
        hours: distance(hours(one, zeros[0]), hours(two, zeros[1])),
        sizes: both(&|workload| workload.jobs.iter().map(|job| size_of(workload, job)).collect()),
        durations: both(&|workload| workload.jobs.iter().map(|job| job.duration.0).collect()),
        work: both(&|workload| {
            workload.jobs.iter().map(|job| size_of(workload, job).saturating_mul(job.duration.0)).collect()
        }),
        size_duration: [size_duration(one), size_duration(two)],
        top_ten_users: [top_ten(one), top_ten(two)],
    }
}

/// The largest difference of two empirical distribution functions, in thousandths.
fn distance(mut one: Vec<u64>, mut two: Vec<u64>) -> u64 {
    if one.is_empty() || two.is_empty() {
        return if one.is_empty() && two.is_empty() { 0 } else { 1000 };
    }
    one.sort_unstable();
    two.sort_unstable();
    let (mut a, mut b, mut largest) = (0, 0, 0_u128);
    let (n, m) = (one.len() as u128, two.len() as u128);
    while a < one.len() && b < two.len() {
        let value = one[a].min(two[b]);
        a += one[a..].partition_point(|&other| other <= value);
        b += two[b..].partition_point(|&other| other <= value);
        largest = largest.max((a as u128 * m).abs_diff(b as u128 * n));
    }
    u64::try_from(largest * 1000 / (n * m)).unwrap_or(1000)
}

fn span_hours(workload: &Workload) -> (u64, u64) {
    let at = |job: Option<&crate::workload::SimJob>| job.map_or(0, |job| job.submit.0 / 3_600_000);
    (at(workload.jobs.first()), at(workload.jobs.last()))
}

fn per_hour(workload: &Workload) -> u64 {
    let (first, last) = span_hours(workload);
    workload.jobs.len() as u64 * 1000 / (last - first + 1)
}

fn hourly(workload: &Workload) -> Vec<u64> {
    let (first, last) = span_hours(workload);
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for job in &workload.jobs {
        *counts.entry(job.submit.0 / 3_600_000).or_default() += 1;
    }
    (first..=last).take(1 << 22).map(|hour| counts.get(&hour).copied().unwrap_or(0)).collect()
}

fn top_ten(workload: &Workload) -> u64 {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for job in &workload.jobs {
        *counts.entry(job.user).or_default() += 1;
    }
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.iter().take(10).sum::<u64>() * 1000 / (workload.jobs.len() as u64).max(1)
}

/// Middle ranks: equal values share the mean of their places.
fn ranks(values: &[u64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = |value: &u64| {
        let below = sorted.partition_point(|other| other < value);
        (below + sorted.partition_point(|other| other <= value)) as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

fn size_duration(workload: &Workload) -> i64 {
    let sizes = ranks(&workload.jobs.iter().map(|job| size_of(workload, job)).collect::<Vec<_>>());
    let durations = ranks(&workload.jobs.iter().map(|job| job.duration.0).collect::<Vec<_>>());
    let middle = workload.jobs.len() as f64 / 2.0;
    let (mut cov, mut one, mut two) = (0.0, 0.0, 0.0);
    for (size, duration) in sizes.iter().zip(&durations) {
        let (size, duration) = (size - middle, duration - middle);
        cov += size * duration;
        one += size * size;
        two += duration * duration;
    }
    let product: f64 = one * two;
    if product > 0.0 { (cov / product.sqrt() * 1000.0).round() as i64 } else { 0 }
}

/// The jobs submitted in the first so many percent of the time, and the rest, each counted from its own beginning.
#[must_use]
pub fn split(jobs: &Jobs, percent: u64) -> (Workload, Workload) {
    let last = jobs.workload.jobs.last().map_or(0, |job| job.submit.0);
    let cut = u64::try_from(u128::from(last) * u128::from(percent.min(100)) / 100).unwrap_or(last);
    // At a midnight, so that both parts begin at an hour of the day that is known.
    let cut = Timestamp(cut / 86_400_000 * 86_400_000);
    let (mut first, mut rest) = (jobs.workload.clone(), jobs.workload.clone());
    first.jobs.retain(|job| job.submit < cut);
    rest.jobs.retain(|job| job.submit >= cut);
    for job in &mut rest.jobs {
        job.submit = Timestamp(job.submit.since(cut).0);
    }
    (first, rest)
}
