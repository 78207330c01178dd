//! Two runs of the same jobs side by side, with intervals that say whether a difference is more than chance.

use super::spread;
use super::summary::{finished, slowdown_milli};
use crate::outcome::{JobOutcome, Outcome};
use crate::random::Random;
use pond_core::units::Millis;
use std::collections::BTreeMap;

/// How intervals are found: whole blocks of submission time are drawn with replacement (Künsch 1989, with blocks that
/// do not overlap, as Carlstein 1986), because jobs that were in the pool together do not fare independently.
///
/// Where not to use it: where a backlog lasts much longer than a block, blocks hang together and intervals come
/// out too narrow; take longer blocks then. With fewer than ten blocks an interval is a rough guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Resamples. Default 1,000.
    pub resamples: u32,
    /// Length of a block, in milliseconds, counted from the first submission. Default one day.
    pub block: Millis,
    /// The root seed. Default 1.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, block: Millis(86_400_000), seed: 1 }
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean completion time, in milliseconds.
    MeanJct,
    /// The quantile 0.99 of completion time, in milliseconds.
    P99Jct,
    /// Mean time without a place, in milliseconds.
    MeanQueue,
    /// The quantile 0.99 of time without a place, in milliseconds.
    P99Queue,
    /// Mean bounded slowdown, in thousandths.
    MeanSlowdown,
    /// The quantile 0.99 of the bounded slowdown, in thousandths.
    P99Slowdown,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::MeanJct, Self::P99Jct, Self::MeanQueue, Self::P99Queue, Self::MeanSlowdown, Self::P99Slowdown];

    /// As it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanJct => "mean JCT",
            Self::P99Jct => "p99 JCT",
            Self::MeanQueue => "mean queue time",
            Self::P99Queue => "p99 queue time",
            Self::MeanSlowdown => "mean slowdown",
            Self::P99Slowdown => "p99 slowdown",
        }
    }

    /// Whether it is a span of time (milliseconds), not a ratio (thousandths).
    #[must_use]
    pub const fn is_time(self) -> bool {
        !matches!(self, Self::MeanSlowdown | Self::P99Slowdown)
    }

    fn value(self, job: &JobOutcome) -> Option<u64> {
        let jct = finished(job)?;
        match self {
            Self::MeanJct | Self::P99Jct => Some(jct.0),
            Self::MeanQueue | Self::P99Queue => Some(jct.minus(job.held).0),
            Self::MeanSlowdown | Self::P99Slowdown => slowdown_milli(job),
        }
    }

    const fn is_mean(self) -> bool {
        matches!(self, Self::MeanJct | Self::MeanQueue | Self::MeanSlowdown)
    }
}

/// What an interval says of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second run is lower, and the interval is wholly below 0.
    Lower,
    /// The second run is higher, and the interval is wholly above 0.
    Higher,
    /// The interval holds 0: the difference may be chance.
    Indistinguishable,
    /// Every job fared the same.
    Equal,
    /// Fewer than two blocks: nothing can be said.
    TooShort,
}

/// One metric of two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Which; says the unit of the fields below.
    pub metric: Metric,
    /// In the first run.
    pub first: u64,
    /// In the second run.
    pub second: u64,
    /// Second less first.
    pub difference: i64,
    /// Lower end of the 95 % interval of the difference; `None` with fewer than two blocks.
    pub low: Option<i64>,
    /// Upper end.
    pub high: Option<i64>,
    /// Ends of the 95 % interval of the change in parts per million of the first run, each resample's own: never below
    /// -1,000,000. `None` with fewer than two blocks, or where the first run was 0 in a resample.
    pub change_ppm: Option<[i64; 2]>,
    /// What the interval says.
    pub verdict: Verdict,
}

impl Difference {
    /// By how much the second run is lower or higher, in percent of the first: `12.3 %`. `None`: the first is 0.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        let tenths =
            (u128::from(self.difference.unsigned_abs()) * 1000).checked_div(u128::from(self.first))?;
        Some(format!("{}.{} %", tenths / 10, tenths % 10))
    }

    /// The verdict in words: `"12.3 % lower, distinguishable"`.
    #[must_use]
    pub fn words(&self) -> String {
        let change = self.change().map_or_else(String::new, |change| change + " ");
        let side = if self.difference < 0 { "lower" } else { "higher" };
        match self.verdict {
            Verdict::Lower | Verdict::Higher => format!("{change}{side}, distinguishable"),
            Verdict::Indistinguishable if self.difference == 0 => "no difference seen".to_owned(),
            Verdict::Indistinguishable => format!("{change}{side}, not distinguishable from chance"),
            Verdict::Equal => "equal, job by job".to_owned(),
            Verdict::TooShort => format!("{change}{side}; too few days to say whether by chance"),
        }
    }
}

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    /// Name of the first run.
    pub first: String,
    /// Name of the second run.
    pub second: String,
    /// Jobs that came to an end in both; only these are compared.
    pub paired: u64,
    /// Jobs that came to an end in the first run alone.
    pub first_only: u64,
    /// Jobs that came to an end in the second run alone.
    pub second_only: u64,
    /// Blocks with at least one paired job.
    pub blocks: u64,
    /// How the intervals were found.
    pub bootstrap: Bootstrap,
    /// One entry a metric.
    pub differences: Vec<Difference>,
}

/// A job that two runs have under one number and that is not the same in both: they are of different workloads, and nothing is told by
/// comparing them.
#[must_use]
pub fn contradiction<'a>(
    first: &'a Outcome,
    second: &'a Outcome,
) -> Option<(&'a JobOutcome, &'a JobOutcome)> {
    let what = |job: &JobOutcome| (job.submit, job.duration, job.tasks, job.devices_milli, job.cpu_milli);
    let known: BTreeMap<u64, &JobOutcome> = first.jobs.iter().map(|job| (job.id, job)).collect();
    let pairs = second.jobs.iter().filter_map(|job| Some((*known.get(&job.id)?, job)));
    pairs.into_iter().find(|(one, other)| what(one) != what(other))
}

/// Compares two runs of the same workload, job by job (paired by id).
#[must_use]
pub fn compare(first: &Outcome, second: &Outcome, bootstrap: Bootstrap) -> Comparison {
    let done = |outcome: &Outcome| outcome.jobs.iter().filter(|job| finished(job).is_some()).count() as u64;
    let others: BTreeMap<u64, &JobOutcome> =
        second.jobs.iter().filter(|job| finished(job).is_some()).map(|job| (job.id, job)).collect();
    let pairs: Vec<(&JobOutcome, &JobOutcome)> = first
        .jobs
        .iter()
        .filter(|job| finished(job).is_some())
        .filter_map(|job| others.get(&job.id).map(|other| (job, *other)))
        .collect();
    let blocks = Blocks::of(&pairs, bootstrap);
    let paired = pairs.len() as u64;
    Comparison {
        first: first.name.clone(),
        second: second.name.clone(),
        paired,
        first_only: done(first) - paired,
        second_only: done(second) - paired,
        blocks: blocks.count as u64,
        bootstrap,
        differences: Metric::ALL.iter().map(|&metric| blocks.difference(&pairs, metric)).collect(),
    }
}

/// The block of each pair, and how often each block was drawn in each resample.
struct Blocks {
    count: usize,
    of_pair: Vec<usize>,
    draws: Vec<Vec<u32>>,
}

impl Blocks {
    fn of(pairs: &[(&JobOutcome, &JobOutcome)], bootstrap: Bootstrap) -> Self {
        let start = pairs.iter().map(|(job, _)| job.submit).min().unwrap_or_default();
        let day = |job: &JobOutcome| job.submit.since(start).0 / bootstrap.block.0.max(1);
        let mut days: Vec<u64> = pairs.iter().map(|(job, _)| day(job)).collect();
        days.sort_unstable();
        days.dedup();
        let of_pair = pairs.iter().map(|(job, _)| days.partition_point(|&known| known < day(job))).collect();
        let mut random = Random::new(bootstrap.seed, "bootstrap");
        let draws = (0..bootstrap.resamples).map(|_| {
            let mut drawn = vec![0_u32; days.len()];
            for _ in 0..days.len() {
                drawn[random.below(days.len())] += 1;
            }
            drawn
        });
        Self { count: days.len(), of_pair, draws: draws.collect() }
    }

    fn difference(&self, pairs: &[(&JobOutcome, &JobOutcome)], metric: Metric) -> Difference {
        let value = |job: &JobOutcome| metric.value(job).unwrap_or(0);
        let sides: [Side; 2] = [
            Side::of(pairs.iter().map(|pair| value(pair.0)).zip(self.of_pair.iter().copied()), self.count),
            Side::of(pairs.iter().map(|pair| value(pair.1)).zip(self.of_pair.iter().copied()), self.count),
        ];
        let once = vec![1; self.count];
        let [first, second] = sides.each_ref().map(|side| side.statistic(metric, &once));
        let drawn: Vec<[u64; 2]> = self
            .draws
            .iter()
            .map(|drawn| sides.each_ref().map(|side| side.statistic(metric, drawn)))
            .collect();
        let [low, high] = self.interval(drawn.iter().map(|[first, second]| Some(less(*second, *first))));
        let changes = drawn.iter().map(|[first, second]| change_ppm(*first, *second));
        let change_ppm = match self.interval(changes) {
            [Some(low), Some(high)] => Some([low, high]),
            _ => None,
        };
        let equal = pairs.iter().all(|pair| value(pair.0) == value(pair.1));
        let verdict = match (low, high) {
            _ if equal => Verdict::Equal,
            (Some(_), Some(high)) if high < 0 => Verdict::Lower,
            (Some(low), Some(_)) if low > 0 => Verdict::Higher,
            (Some(_), Some(_)) => Verdict::Indistinguishable,
            _ => Verdict::TooShort,
        };
        Difference { metric, first, second, difference: less(second, first), low, high, change_ppm, verdict }
    }

    /// The middle 95 % of what resamples gave; nothing when one gave nothing, or with fewer than two blocks.
    fn interval(&self, resampled: impl Iterator<Item = Option<i64>>) -> [Option<i64>; 2] {
        let Some(mut sorted) = resampled.collect::<Option<Vec<i64>>>().filter(|_| self.count >= 2) else {
            return [None, None];
        };
        sorted.sort_unstable();
        [25, 975].map(|per_mille| {
            let place = usize::try_from(spread::rank(sorted.len() as u64, per_mille)).unwrap_or(0);
            sorted.get(place).copied()
        })
    }
}

/// By how much the second is more, in parts per million of the first; `None` of 0.
fn change_ppm(first: u64, second: u64) -> Option<i64> {
    let ppm = i128::from(second).checked_mul(1_000_000)?.checked_div(i128::from(first))? - 1_000_000;
    Some(i64::try_from(ppm).unwrap_or(i64::MAX))
}

fn less(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

/// One run's values of one metric.
struct Side {
    /// Sum and count of each block.
    sums: Vec<(u128, u64)>,
    /// Values with their blocks, largest first.
    descending: Vec<(u64, usize)>,
}

impl Side {
    fn of(values: impl Iterator<Item = (u64, usize)>, blocks: usize) -> Self {
        let mut descending: Vec<(u64, usize)> = values.collect();
        let mut sums = vec![(0, 0); blocks];
        for &(value, block) in &descending {
            sums[block].0 += u128::from(value);
            sums[block].1 += 1;
        }
        descending.sort_unstable_by(|a, b| b.cmp(a));
        Self { sums, descending }
    }

    /// The metric when each block counts as often as it was drawn. A quantile walks down from the largest value and
    /// stops at its place, so a resample looks at about a hundredth of the jobs.
    fn statistic(&self, metric: Metric, drawn: &[u32]) -> u64 {
        let weighted = self.sums.iter().zip(drawn);
        let (sum, count) = weighted.fold((0_u128, 0_u64), |(sum, count), (block, &times)| {
            (sum + block.0 * u128::from(times), count + block.1 * u64::from(times))
        });
        if metric.is_mean() {
            return u64::try_from(sum / u128::from(count.max(1))).unwrap_or(u64::MAX);
        }
        let above = count - spread::rank(count, 990).min(count);
        let mut seen = 0;
        for &(value, block) in &self.descending {
            seen += u64::from(drawn[block]);
            if seen >= above {
                return value;
            }
        }
        0
    }
}
