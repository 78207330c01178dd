//! FIFO and SJF: no preemption, a head that does not fit blocks all behind it.

use super::Outcome;
use super::cluster::{Cluster, Place};
use crate::trace::TraceJob;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Runs to the end; `key` orders the queue, ties by arrival.
///
/// Nothing changes between an arrival and an end, so the clock jumps from one to the next. Each step but the
/// last frees or takes a place, so there are at most two steps a job.
pub(super) fn run(mut cluster: Cluster, jobs: &[&TraceJob], key: impl Fn(&TraceJob) -> u64) -> Vec<Outcome> {
    let mut queue: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut running: BinaryHeap<Reverse<(i64, usize, Place)>> = BinaryHeap::new();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
    let mut arrived = 0;
    while arrived < jobs.len() || !running.is_empty() {
        let next_end = running.peek().map(|Reverse((end, _, _))| *end);
        let next_arrival = jobs.get(arrived).map(|job| job.submit_s);
        let Some(now) = next_end.into_iter().chain(next_arrival).min() else { break };
        while running.peek().is_some_and(|Reverse((end, _, _))| *end <= now) {
            if let Some(Reverse((_, _, place))) = running.pop() {
                cluster.release(&place);
            }
        }
        while let Some(job) = jobs.get(arrived).filter(|job| job.submit_s <= now) {
            queue.insert((key(job), arrived));
            arrived += 1;
        }
        while let Some(&(rank, at)) = queue.first() {
            let Some(place) = cluster.place(jobs[at].gpus) else { break };
            queue.remove(&(rank, at));
            // A job of no duration is released in the second after its start, like any other event.
            let end = now.saturating_add_unsigned(jobs[at].duration_s);
            outcomes[at] = Some(Outcome {
                id: jobs[at].id,
                start_s: now,
                end_s: end,
                queue_s: now - jobs[at].submit_s,
                preemptions: 0,
            });
            running.push(Reverse((end, at, place)));
        }
    }
    outcomes.into_iter().flatten().collect()
}
