//! From a workload to its model. Floating point is used here and not in [`super::generate`]: a model holds whole numbers.

use super::model::{Arrivals, ByDuration, Durations, Kind, Model, QueueModel, Sessions};
use super::quantiles::Quantiles;
use crate::random::Random;
use crate::trace::history::Ask;
use crate::trace::time::hour_of_week;
use crate::workload::{Ending, SimJob, Workload};
use pond_core::model::Class;
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;
const WEEK: usize = 168;
/// Two jobs of one user, queue and kind that lie further apart than this are of two sessions; so are two that lie further
/// apart than a quarter of what is usual for the three, or a trace without users would be one session.
const SESSION_GAP_MS: u64 = 1_800_000;
/// A kind with at least so many jobs has run times of its own; the rest share those of kinds of about their size.
const OWN_DURATIONS: usize = 200;
/// Classes of run times for limits and endings, and the most limits kept for each.
const CLASSES: usize = 10;
const LIMITS: usize = 64;
/// Variates from which the quantiles of the levels are taken.
const LEVELS: usize = 20_000;
/// The most that the level's variance is taken for: an hour of a trace that is nothing but bursts.
const MAX_VARIANCE: f64 = 50.0;

type KindKey = (u32, u32, u32, Class, u16);

const fn kind_key(job: &SimJob) -> KindKey {
    (job.size.min, job.size.max, job.shape, job.class, job.priority)
}

/// Fits a model; `zero_ms` is the workload's time zero in milliseconds since 1970, where it is known.
#[must_use]
pub fn fit(workload: &Workload, zero_ms: Option<i64>) -> Model {
    let mut kinds = Kinds::of(workload);
    let sessions = find_sessions(workload);
    let (durations, ranks) = kinds.durations(workload);
    Model {
        name: workload.name.clone(),
        jobs: workload.jobs.len() as u64,
        arrivals: arrivals(&sessions.starts, zero_ms, workload),
        same_rank: same_rank(&sessions.follows, &ranks),
        sessions: sessions.model(),
        queues: queues(workload, &kinds),
        kinds: kinds.kinds,
        durations,
        by_duration: by_duration(&workload.jobs),
    }
}

fn millionths(part: f64) -> u32 {
    // Between 0 and 10^6 the cast is exact after rounding.
    (part.clamp(0.0, 1.0) * 1.0e6).round() as u32
}

fn share(part: usize, whole: usize) -> u32 {
    millionths(part as f64 / whole.max(1) as f64)
}

/// Kinds of jobs by place, and the place of each job's.
struct Kinds {
    kinds: Vec<Kind>,
    of_job: Vec<u32>,
}

impl Kinds {
    fn of(workload: &Workload) -> Self {
        let mut counts: BTreeMap<KindKey, u64> = BTreeMap::new();
        for job in &workload.jobs {
            *counts.entry(kind_key(job)).or_default() += 1;
        }
        let places: BTreeMap<KindKey, u32> = counts.keys().copied().zip(0..).collect();
        let kind = |&(tasks, max_tasks, shape, class, priority): &KindKey| Kind {
            tasks,
            max_tasks,
            shapes: workload.shapes.get(shape as usize).into_iter().flatten().map(Ask::from).collect(),
            class,
            priority,
            durations: 0,
        };
        Self {
            kinds: counts.keys().map(kind).collect(),
            of_job: workload.jobs.iter().map(|job| places[&kind_key(job)]).collect(),
        }
    }

    /// Run times of classes of kinds, and the rank of each job in its class, from 0 to 1.
    fn durations(&mut self, workload: &Workload) -> (Vec<Durations>, Vec<f64>) {
        let mut counts = vec![0_usize; self.kinds.len()];
        let mut sizes = vec![0_u64; self.kinds.len()];
        for (job, &kind) in workload.jobs.iter().zip(&self.of_job) {
            counts[kind as usize] += 1;
            sizes[kind as usize] = size_of(workload, job);
        }
        let class = |kind: usize| {
            if counts[kind] >= OWN_DURATIONS {
                (1, kind as u64)
            } else {
                (0, u64::from(sizes[kind].max(1).ilog2()))
            }
        };
        let mut classes: BTreeMap<(u8, u64), Vec<u64>> = BTreeMap::new();
        for (job, &kind) in workload.jobs.iter().zip(&self.of_job) {
            classes.entry(class(kind as usize)).or_default().push(job.duration.0);
        }
        let places: BTreeMap<(u8, u64), u32> = classes.keys().copied().zip(0..).collect();
        for (at, kind) in self.kinds.iter_mut().enumerate() {
            kind.durations = places[&class(at)];
        }
        classes.values_mut().for_each(|sample| sample.sort_unstable());
        let rank = |(job, &kind): (&SimJob, &u32)| {
            let sorted = &classes[&class(kind as usize)];
            let below = sorted.partition_point(|&other| other < job.duration.0);
            let upto = sorted.partition_point(|&other| other <= job.duration.0);
            (below + upto) as f64 / 2.0 / sorted.len() as f64
        };
        let ranks = workload.jobs.iter().zip(&self.of_job).map(rank).collect();
        let model =
            |sample: Vec<u64>| Durations { jobs: sample.len() as u64, quantiles: Quantiles::of(sample) };
        (classes.into_values().map(model).collect(), ranks)
    }
}

/// Thousandths of devices, of cores where it asks for no device.
pub(super) fn size_of(workload: &Workload, job: &SimJob) -> u64 {
    let devices = workload.devices_milli(job);
    let shape = workload.shapes.get(job.shape as usize).and_then(|all| all.first());
    let cores = shape.map_or(0, |shape| shape.request.cpu.0).saturating_mul(u64::from(job.size.min));
    if devices > 0 { devices } else { cores }
}

#[derive(Default)]
struct Found {
    starts: Vec<u64>,
    lengths: Vec<u64>,
    gaps: Vec<u64>,
    /// Places of two jobs, one after the other in a session.
    follows: Vec<(usize, usize)>,
}

fn find_sessions(workload: &Workload) -> Found {
    let mut found = Found::default();
    let of = |job: &SimJob| (job.user, job.queue, kind_key(job));
    let mut counts: BTreeMap<(u32, u32, KindKey), u64> = BTreeMap::new();
    for job in &workload.jobs {
        *counts.entry(of(job)).or_default() += 1;
    }
    let ends = workload.jobs.first().zip(workload.jobs.last());
    let span = ends.map_or(0, |(first, last)| last.submit.since(first.submit).0);
    let mut open: BTreeMap<(u32, u32, KindKey), (usize, usize)> = BTreeMap::new();
    for (at, job) in workload.jobs.iter().enumerate() {
        let last = open.entry(of(job)).or_insert((usize::MAX, 0));
        let gap = workload.jobs.get(last.0).map(|before| job.submit.since(before.submit).0);
        let longest = SESSION_GAP_MS.min(span / counts[&of(job)] / 4);
        match gap.filter(|&gap| gap <= longest) {
            Some(gap) => {
                found.gaps.push(gap);
                found.follows.push((last.0, at));
                found.lengths[last.1] += 1;
            }
            None => {
                last.1 = found.lengths.len();
                found.starts.push(job.submit.0);
                found.lengths.push(1);
            }
        }
        last.0 = at;
    }
    found
}

impl Found {
    fn model(self) -> Sessions {
        let jobs = Quantiles::of(self.lengths);
        let mean_jobs = jobs.mean_milli().max(1000);
        Sessions { jobs, mean_jobs, gap: Quantiles::of(self.gaps) }
    }
}

/// The correlation of ranks of jobs that follow each other: under the model it is the probability of the same rank.
fn same_rank(follows: &[(usize, usize)], ranks: &[f64]) -> u32 {
    let (mut cov, mut var) = (0.0, 0.0);
    for &(one, two) in follows {
        let (one, two) = (ranks[one] - 0.5, ranks[two] - 0.5);
        cov += one * two;
        var += (one * one + two * two) / 2.0;
    }
    millionths(if var > 0.0 { cov / var } else { 0.0 })
}

fn arrivals(starts: &[u64], zero_ms: Option<i64>, workload: &Workload) -> Arrivals {
    let offset = zero_ms.map_or(0, hour_of_week);
    let last = workload.jobs.last().map_or(0, |job| job.submit.0);
    let first = workload.jobs.first().map_or(0, |job| job.submit.0 / HOUR_MS);
    // Hours that are there in part are left out, unless there are no others.
    let whole = (last / HOUR_MS).max(first + 1);
    let hours = usize::try_from(whole - first).unwrap_or(0).min(1 << 22);
    let mut counts = vec![0_u32; hours];
    for start in starts {
        let at = usize::try_from(start / HOUR_MS - first).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
    }
    let of_week = |at: usize| (at + offset + usize::try_from(first % WEEK as u64).unwrap_or(0)) % WEEK;
    let usual = usual(&counts, of_week);
    let expected: Vec<f64> = (0..hours).map(|at| usual[of_week(at)]).collect();
    let (variance, same) = level(&counts, &expected);
    Arrivals {
        per_hour: usual.iter().map(|rate| (rate * 1.0e6).round() as u64).collect(),
        calendar: zero_ms.is_some(),
        level: gamma(variance),
        same_level: millionths(same),
    }
}

/// The rate of each hour of the week. A few weeks do not show that of an hour by itself, so each is drawn to that of the
/// same hour of all days, with the weight of two weeks, and that to the mean of all, with the weight of half a day.
fn usual(counts: &[u32], of_week: impl Fn(usize) -> usize) -> Vec<f64> {
    let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let mean = total / counts.len().max(1) as f64;
    let mut week = vec![(0.0, 0.0); WEEK];
    let mut day = vec![(0.5 * mean, 0.5); 24];
    for (at, &count) in counts.iter().enumerate() {
        let hour = of_week(at);
        for (sum, seen) in [&mut week[hour], &mut day[hour % 24]] {
            *sum += f64::from(count);
            *seen += 1.0;
        }
    }
    let rate = |(hour, (sum, seen)): (usize, &(f64, f64))| {
        let (of_day, days) = day[hour % 24];
        (sum + 2.0 * of_day / days) / (seen + 2.0)
    };
    week.iter().enumerate().map(rate).collect()
}

/// The variance of what hours have against what is usual, and how it carries over to the next hour, both without
/// the chance of a Poisson process: `Var(count) = e + e² v`, `Cov(count, next) = e e' v ρ`.
fn level(counts: &[u32], expected: &[f64]) -> (f64, f64) {
    let off: Vec<f64> = counts.iter().zip(expected).map(|(&count, e)| f64::from(count) - e).collect();
    let own: f64 = off.iter().zip(expected).map(|(off, e)| off * off - e).sum();
    let squares: f64 = expected.iter().map(|e| e * e).sum();
    let variance = if squares > 0.0 { (own / squares).clamp(0.0, MAX_VARIANCE) } else { 0.0 };
    let next: f64 = off.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let products: f64 = expected.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let same = if variance > 0.0 && products > 0.0 { next / products / variance } else { 0.0 };
    (variance, same.clamp(0.0, 0.99))
}

/// Quantiles of a gamma distribution of mean 1000 and this variance over the mean's square (Marsaglia, Tsang, "A simple
/// method for generating gamma variables", 2000; below shape 1 with a power of a uniform).
fn gamma(variance: f64) -> Quantiles {
    if variance < 1.0e-6 {
        return Quantiles::of(vec![1000]);
    }
    let mut random = Random::new(0, "gamma");
    let mut uniform = move || (random.bits() >> 11) as f64 / (1_u64 << 53) as f64 + f64::MIN_POSITIVE;
    let shape = 1.0 / variance;
    let boosted = if shape < 1.0 { shape + 1.0 } else { shape };
    let d = boosted - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut sample: Vec<f64> = Vec::with_capacity(LEVELS);
    while sample.len() < LEVELS {
        let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        let v = (1.0 + c * normal).powi(3);
        if v > 0.0 && uniform().ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
            let down = if shape < 1.0 { uniform().powf(1.0 / shape) } else { 1.0 };
            sample.push(d * v * down / shape * 1.0e6);
        }
    }
    let fine = Quantiles::of(sample.iter().map(|&level| level.round() as u64).collect());
    fine.scaled_to_mean(1000)
}

fn queues(workload: &Workload, kinds: &Kinds) -> Vec<QueueModel> {
    #[derive(Default)]
    struct Seen {
        jobs: usize,
        users: BTreeMap<u32, u64>,
        kinds: BTreeMap<u32, u64>,
    }
    let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
    for (job, &kind) in workload.jobs.iter().zip(&kinds.of_job) {
        let queue = seen.entry(job.queue).or_default();
        queue.jobs += 1;
        *queue.users.entry(job.user).or_default() += 1;
        *queue.kinds.entry(kind).or_default() += 1;
    }
    let model = |(queue, seen): (u32, Seen)| {
        let mut counts: Vec<u64> = seen.users.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        QueueModel {
            path: workload.queues.get(queue as usize).map(|path| path.to_string()).unwrap_or_default(),
            share: share(seen.jobs, workload.jobs.len()),
            users: u32::try_from(counts.len()).unwrap_or(u32::MAX),
            zipf_milli: (zipf(&counts) * 1000.0).round() as u32,
            kinds: seen.kinds.into_iter().collect(),
        }
    };
    seen.into_iter().map(model).collect()
}

/// The exponent of Zipf's law that makes these counts, largest first, most likely: where the mean of ln r that it
/// predicts is the one seen. Between 0 and 4, by halving.
fn zipf(counts: &[u64]) -> f64 {
    let total: f64 = counts.iter().map(|&count| count as f64).sum();
    let seen: f64 =
        counts.iter().zip(1_u32..).map(|(&count, r)| count as f64 * f64::from(r).ln()).sum::<f64>()
            / total.max(1.0);
    let predicted = |s: f64| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for r in (1_u32..).take(counts.len()).map(f64::from) {
            let weight = r.powf(-s);
            sum += weight * r.ln();
            weights += weight;
        }
        sum / weights
    };
    let (mut low, mut high) = (0.0, 4.0);
    if counts.len() < 2 {
        return 0.0;
    }
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if predicted(middle) > seen { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

fn by_duration(jobs: &[SimJob]) -> Vec<ByDuration> {
    let mut order: Vec<&SimJob> = jobs.iter().collect();
    order.sort_by_key(|job| (job.duration, job.id));
    let length = order.len().div_ceil(CLASSES).max(1);
    let class = |part: &[&SimJob]| {
        let ended = |ending| part.iter().filter(|job| job.ending == ending).count();
        let mut limits: Vec<u64> = part.iter().filter_map(|job| job.limit).map(|limit| limit.0).collect();
        limits.sort_unstable();
        let limited = share(limits.len(), part.len());
        let step = limits.len().div_ceil(LIMITS).max(1);
        ByDuration {
            up_to: part.last().map_or(0, |job| job.duration.0),
            failed: share(ended(Ending::Failed), part.len()),
            cancelled: share(ended(Ending::Cancelled), part.len()),
            limited,
            limits: limits.into_iter().skip(step / 2).step_by(step).collect(),
        }
    };
    order.chunks(length).map(class).collect()
}
