//! From a model and a seed to a workload, in whole numbers but for Zipf's powers, which are rounded to whole weights.

use super::arrivals::Starts;
use super::model::{Model, QueueModel};
use super::quantiles::{RANKS, Weights, chance, rank};
use crate::random::Random;
use crate::trace::time::hour_of_week;
use crate::trace::{Jobs, history};
use crate::workload::{Cluster, Ending, SimJob, Workload};
use pond_core::ids::NodeName;
use pond_core::model::{GangSize, Shape};
use pond_core::units::{Millis, Timestamp};

/// How much to generate. With neither `jobs` nor `span` as many jobs as the model was fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Exactly so many jobs.
    pub jobs: Option<u64>,
    /// Over this time: with `jobs`, at the rate that makes about so many in it; alone, at the model's.
    pub span: Option<Millis>,
    /// Rate against the model's in percent, 100 is as fitted. Without effect when `jobs` and `span` fix it.
    pub load_percent: u32,
    /// Where in the calendar the workload begins, in milliseconds since 1970.
    pub zero_ms: i64,
}

impl Default for Options {
    /// The model's own number of jobs at its own rate, from Monday 2024-01-01 00:00.
    fn default() -> Self {
        Self { jobs: None, span: None, load_percent: 100, zero_ms: 1_704_067_200_000 }
    }
}

/// The most jobs of one workload.
const MOST: u64 = 1 << 28;
/// A step of at most this much, in ranks, from one job of a session to the next of the same rank: 1.6 %.
const JITTER: u64 = RANKS / 64;

/// Generates a workload. Same model, seed and options, same bytes.
#[must_use]
pub fn generate(model: &Model, seed: u64, options: &Options) -> Workload {
    let mut raw = Sessions::new(model, seed).run(model, options);
    raw.sort_unstable_by_key(|job| (job.submit, job.session, job.place));
    if let Some(jobs) = wanted(model, options) {
        raw.truncate(usize::try_from(jobs).unwrap_or(usize::MAX));
    }
    Names::default().workload(model, &raw)
}

/// A workload as a reader of traces gives it: formats that name the machine get the smallest that could have run it.
///
/// # Errors
/// None in practice: it is written to memory, and read again.
pub fn as_read(workload: Workload, zero_ms: i64) -> std::io::Result<Jobs> {
    let made = Jobs { workload, zero_ms: Some(zero_ms), ..Jobs::default() };
    let mut lines = Vec::new();
    history::write(&made, &mut lines)?;
    Ok(history::jobs_of("", &history::read(lines.as_slice())))
}

fn wanted(model: &Model, options: &Options) -> Option<u64> {
    match (options.jobs, options.span) {
        (Some(jobs), _) => Some(jobs.min(MOST)),
        (None, None) => Some(model.jobs.min(MOST)),
        (None, Some(_)) => None,
    }
}

/// The rate against the model's in millionths.
fn load(model: &Model, options: &Options) -> u64 {
    let (Some(jobs), Some(span)) = (options.jobs, options.span) else {
        return u64::from(options.load_percent) * 10_000;
    };
    // Sessions of an average hour in millionths, times jobs of a session in thousandths.
    let per_hour: u128 = model.arrivals.per_hour.iter().map(|&rate| u128::from(rate)).sum::<u128>() / 168;
    let usual = per_hour * u128::from(model.sessions.mean_jobs) * u128::from(span.0) / 3_600_000;
    let load = u128::from(jobs) * 1_000_000_000_000_000 / usual.max(1);
    u64::try_from(load).unwrap_or(u64::MAX)
}

/// A job without names.
struct Raw {
    submit: u64,
    session: u64,
    place: u32,
    queue: u32,
    user: u32,
    kind: u32,
    duration: u64,
    limit: Option<u64>,
    ending: Ending,
}

struct Sessions {
    random: Random,
    ranks: Random,
    ends: Random,
    queues: Weights,
    users: Vec<Weights>,
    kinds: Vec<Weights>,
    seed: u64,
}

fn zipf(queue: &QueueModel) -> Weights {
    let s = f64::from(queue.zipf_milli) / 1000.0;
    Weights::of((1..=queue.users.max(1)).map(|r| (f64::from(r).powf(-s) * 1.0e9).round() as u64 + 1))
}

impl Sessions {
    fn new(model: &Model, seed: u64) -> Self {
        let kinds = |queue: &QueueModel| Weights::of(queue.kinds.iter().map(|(_, weight)| *weight));
        Self {
            random: Random::new(seed, "sessions"),
            ranks: Random::new(seed, "ranks"),
            ends: Random::new(seed, "ends"),
            queues: Weights::of(model.queues.iter().map(|queue| u64::from(queue.share))),
            users: model.queues.iter().map(zipf).collect(),
            kinds: model.queues.iter().map(kinds).collect(),
            seed,
        }
    }

    fn run(mut self, model: &Model, options: &Options) -> Vec<Raw> {
        let wanted = wanted(model, options);
        let end = if wanted.is_some() { u64::MAX >> 8 } else { options.span.map_or(0, |span| span.0) };
        let offset = if model.arrivals.calendar { hour_of_week(options.zero_ms) as u64 } else { 0 };
        let mut raw = Vec::new();
        let load = load(model, options);
        let idle = load == 0 || model.arrivals.per_hour.iter().all(|&rate| rate == 0);
        if idle || model.queues.is_empty() || model.kinds.is_empty() {
            return raw;
        }
        let mut starts = Starts::new(&model.arrivals, load, offset, self.seed);
        let most = wanted.unwrap_or(MOST);
        let mut session = 0;
        while (raw.len() as u64) < most {
            let Some(start) = starts.next(end) else { break };
            session += 1;
            self.session(model, session, start, &mut raw);
        }
        if wanted.is_none() {
            raw.retain(|job| job.submit < end);
        }
        raw
    }

    fn session(&mut self, model: &Model, session: u64, start: u64, raw: &mut Vec<Raw>) {
        let queue = self.queues.draw(&mut self.random);
        let user = self.users[queue].draw(&mut self.random);
        let drawn = self.kinds[queue].draw(&mut self.random);
        let kind = model.queues[queue].kinds.get(drawn).map_or(0, |(kind, _)| *kind);
        let durations =
            model.kinds.get(kind as usize).and_then(|kind| model.durations.get(kind.durations as usize));
        let jobs = u32::try_from(model.sessions.jobs.draw(&mut self.random).clamp(1, 1_000_000)).unwrap_or(1);
        let mut submit = start;
        let mut at_rank = rank(&mut self.ranks);
        for place in 0..jobs {
            if place > 0 {
                submit = submit.saturating_add(model.sessions.gap.draw(&mut self.random));
                at_rank = self.next_rank(at_rank, model.same_rank);
            }
            let duration = durations.map_or(0, |class| class.quantiles.at(at_rank));
            let (limit, ending) = self.end(model, duration);
            let (queue, user) = (queue as u32, user as u32);
            raw.push(Raw { submit, session, place, queue, user, kind, duration, limit, ending });
        }
    }

    /// Near the rank before, reflected at the ends so that every rank stays as likely, or anywhere.
    fn next_rank(&mut self, before: u64, same: u32) -> u64 {
        if !chance(&mut self.ranks, same) {
            return rank(&mut self.ranks);
        }
        let moved = before + rank(&mut self.ranks) * (2 * JITTER) / RANKS;
        if moved < JITTER {
            JITTER - moved
        } else if moved - JITTER >= RANKS {
            2 * RANKS - 1 - (moved - JITTER)
        } else {
            moved - JITTER
        }
    }

    fn end(&mut self, model: &Model, duration: u64) -> (Option<u64>, Ending) {
        let at = model.by_duration.partition_point(|class| class.up_to < duration);
        let Some(class) = model.by_duration.get(at).or(model.by_duration.last()) else {
            return (None, Ending::Completed);
        };
        let drawn = u32::try_from(self.ends.below(1_000_000)).unwrap_or(0);
        let ending = if drawn < class.failed {
            Ending::Failed
        } else if drawn < class.failed.saturating_add(class.cancelled) {
            Ending::Cancelled
        } else {
            Ending::Completed
        };
        let limited = chance(&mut self.ends, class.limited);
        let drawn = self.ends.below(class.limits.len());
        let limit = class.limits.get(drawn).filter(|_| limited);
        (limit.map(|&limit| limit.max(duration).max(1)), ending)
    }
}

/// Places of names in the workload, given in the order in which jobs need them.
#[derive(Default)]
struct Names {
    users: Vec<Vec<Option<u32>>>,
    queues: Vec<Option<u32>>,
    shapes: Vec<Option<u32>>,
}

impl Names {
    fn workload(mut self, model: &Model, raw: &[Raw]) -> Workload {
        let mut workload = Workload::new(&model.name);
        workload.jobs.reserve_exact(raw.len());
        self.users = model.queues.iter().map(|queue| vec![None; queue.users.max(1) as usize]).collect();
        self.queues = vec![None; model.queues.len()];
        self.shapes = vec![None; model.kinds.len()];
        let mut before = 0_u32;
        let offsets: Vec<u32> = model
            .queues
            .iter()
            .map(|queue| {
                before = before.saturating_add(queue.users.max(1));
                before - queue.users.max(1)
            })
            .collect();
        for (id, job) in (1..).zip(raw) {
            let (queue_at, kind_at) = (job.queue as usize, job.kind as usize);
            let Some(kind) = model.kinds.get(kind_at) else { continue };
            let user = *self.users[queue_at][job.user as usize]
                .get_or_insert_with(|| workload.user(&format!("u{:04}", offsets[queue_at] + job.user)));
            let queue =
                *self.queues[queue_at].get_or_insert_with(|| workload.queue(&model.queues[queue_at].path));
            let shape = *self.shapes[kind_at]
                .get_or_insert_with(|| workload.shape(kind.shapes.iter().map(Shape::from).collect()));
            workload.jobs.push(SimJob {
                id,
                submit: Timestamp(job.submit),
                user,
                queue,
                class: kind.class,
                priority: kind.priority,
                size: GangSize { min: kind.tasks.max(1), max: kind.max_tasks.max(kind.tasks).max(1) },
                shape,
                duration: Millis(job.duration),
                limit: job.limit.map(Millis),
                predicted: None,
                ending: job.ending,
                after: None,
                profile: None,
            });
        }
        workload
    }
}

/// A cluster of so many nodes in the proportions of another: its nodes over and over, in even steps.
#[must_use]
pub fn cluster(like: &Cluster, nodes: usize) -> Cluster {
    let known = like.nodes.len();
    if known == 0 {
        return like.clone();
    }
    let node = |at: usize| {
        let place = usize::try_from(at as u128 * known as u128 / nodes.max(1) as u128).unwrap_or(0);
        let mut node = like.nodes[place.min(known - 1)].clone();
        node.name = NodeName::from(format!("n{at}"));
        for (number, device) in node.devices.iter_mut().enumerate() {
            device.uuid = format!("n{at}-{number}");
        }
        node
    };
    Cluster { nodes: (0..nodes).map(node).collect(), queues: like.queues.clone() }
}
