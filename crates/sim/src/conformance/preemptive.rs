//! SRTF and Tiresias: every round a greedy scan over the GPU *count* chooses who should run.
//!
//! A chosen job whose placement fails stays pending and its count stays consumed. Running time is counted down
//! before places are given out, so a job ends one second later than its duration.

use super::Outcome;
use super::cluster::{Cluster, GPUS_PER_NODE, Place};
use crate::trace::TraceJob;

/// Which jobs come first, and how often that is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every second, by remaining time; ties: waiting before running, each in its list's order.
    Srtf,
    /// Every 60 s, by level of attained service, then submit time; ties: running before waiting.
    Tiresias,
}

impl Rule {
    const fn round_s(self) -> i64 {
        match self {
            Self::Srtf => 1,
            Self::Tiresias => 60,
        }
    }
}

/// GPU·s after which a job is in Tiresias' second queue, for good.
const TIRESIAS_SPLIT: u64 = 18_000;

/// Seconds a preemption adds to the remaining time: jobs of one node, and larger ones.
const fn overhead_s(gpus: u32) -> u64 {
    if gpus <= GPUS_PER_NODE { 40 } else { 60 }
}

struct State {
    remaining_s: u64,
    attained: u64,
    waiting_since: i64,
    place: Option<Place>,
    started: bool,
    outcome: Outcome,
}

struct Run<'a> {
    cluster: Cluster,
    jobs: &'a [&'a TraceJob],
    states: Vec<State>,
    /// Jobs in the order in which they began to wait.
    waiting: Vec<usize>,
    /// Jobs in the order in which they got their present place.
    running: Vec<usize>,
    arrived: usize,
}

pub(super) fn run(cluster: Cluster, jobs: &[&TraceJob], rule: Rule) -> Vec<Outcome> {
    let states = jobs.iter().map(|job| State::new(job)).collect();
    let mut run = Run { cluster, jobs, states, waiting: Vec::new(), running: Vec::new(), arrived: 0 };
    let mut now = jobs.first().map_or(0, |job| job.submit_s);
    loop {
        run.release(now);
        run.arrive(now);
        if now.rem_euclid(rule.round_s()) == 0 {
            run.round(now, rule);
        }
        match run.next_second(now) {
            Some(next) => now = next,
            None => return run.states.into_iter().map(|state| state.outcome).collect(),
        }
    }
}

impl State {
    fn new(job: &TraceJob) -> Self {
        Self {
            remaining_s: job.duration_s,
            attained: 0,
            waiting_since: job.submit_s,
            place: None,
            started: false,
            outcome: Outcome { id: job.id, start_s: 0, end_s: 0, queue_s: 0, preemptions: 0 },
        }
    }
}

impl Run<'_> {
    fn release(&mut self, now: i64) {
        let Self { cluster, jobs, states, running, .. } = self;
        running.retain(|&at| {
            let state = &mut states[at];
            if state.remaining_s > 0 {
                state.remaining_s -= 1;
                state.attained += u64::from(jobs[at].gpus);
                return true;
            }
            state.outcome.end_s = now;
            if let Some(place) = state.place.take() {
                cluster.release(&place);
            }
            false
        });
    }

    fn arrive(&mut self, now: i64) {
        while self.jobs.get(self.arrived).is_some_and(|job| job.submit_s <= now) {
            self.waiting.push(self.arrived);
            self.arrived += 1;
        }
    }

    fn round(&mut self, now: i64, rule: Rule) {
        let mut quota = self.cluster.capacity();
        let mut chosen = Vec::new();
        for at in self.order(rule) {
            let gpus = u64::from(self.jobs[at].gpus);
            let runs = self.states[at].place.is_some();
            if gpus <= quota {
                quota -= gpus;
                if !runs {
                    chosen.push(at);
                }
            } else if runs {
                self.preempt(at, now);
            }
        }
        for at in chosen {
            self.start(at, now);
        }
    }

    fn order(&self, rule: Rule) -> Vec<usize> {
        match rule {
            Rule::Srtf => {
                let mut order = [self.waiting.as_slice(), &self.running].concat();
                order.sort_by_key(|&at| self.states[at].remaining_s);
                order
            }
            Rule::Tiresias => {
                let mut order = [self.running.as_slice(), &self.waiting].concat();
                order.sort_by_key(|&at| (self.states[at].attained >= TIRESIAS_SPLIT, self.jobs[at].submit_s));
                order
            }
        }
    }

    fn preempt(&mut self, at: usize, now: i64) {
        let state = &mut self.states[at];
        if let Some(place) = state.place.take() {
            self.cluster.release(&place);
        }
        state.outcome.preemptions += 1;
        state.remaining_s += overhead_s(self.jobs[at].gpus);
        state.waiting_since = now;
        self.running.retain(|&other| other != at);
        self.waiting.push(at);
    }

    fn start(&mut self, at: usize, now: i64) {
        let Some(place) = self.cluster.place(self.jobs[at].gpus) else { return };
        let state = &mut self.states[at];
        state.place = Some(place);
        state.outcome.queue_s += now - state.waiting_since;
        if !state.started {
            state.started = true;
            state.outcome.start_s = now;
        }
        self.waiting.retain(|&other| other != at);
        self.running.push(at);
    }

    /// The next second at which something can change; `None` when all is done.
    ///
    /// With nobody waiting, nothing changes before the next end or arrival: the seconds between are taken at once.
    fn next_second(&mut self, now: i64) -> Option<i64> {
        let arrival = self.jobs.get(self.arrived).map(|job| job.submit_s);
        if !self.waiting.is_empty() {
            return Some(now + 1);
        }
        let shortest = self.running.iter().map(|&at| self.states[at].remaining_s).min();
        let end = shortest.map(|left| now.saturating_add_unsigned(left) + 1);
        let next = end.into_iter().chain(arrival).min()?.max(now + 1);
        let skipped = (next - now - 1).unsigned_abs();
        for &at in &self.running {
            self.states[at].remaining_s -= skipped;
            self.states[at].attained += skipped * u64::from(self.jobs[at].gpus);
        }
        Some(next)
    }
}
