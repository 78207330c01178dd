//! The rules of the published Helios/Lucid simulator (Hu et al., SC 2021; Hu et al., ASPLOS 2023), exactly.
//!
//! This is a yardstick, not a scheduler: heads that block, rounds of a fixed length, fixed overheads. The real
//! planner shares nothing with it. Each virtual cluster is run alone, on a clock of whole seconds. Inside a
//! second: jobs that have come to their end are released, arrivals join the queue, the queue is sorted, places
//! are given out.
//!
//! Where not to use it: for anything but comparing with results published under the same rules. A second too
//! much at the end of preemptive runs and ranks that depend on the order of lists are part of those rules.

mod blocking;
mod cluster;
mod preemptive;

use crate::trace::TraceJob;
use cluster::Cluster;

/// An order policy of the reference simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// First in, first out; a head that does not fit blocks.
    Fifo,
    /// Shortest true duration first; a head that does not fit blocks.
    Sjf,
    /// Shortest remaining time first, decided every second, by GPU count; preemption costs 40 or 60 s.
    Srtf,
    /// Two queues split at 18,000 GPU·s of attained service (Gu et al., NSDI 2019), decided every 60 s.
    Tiresias,
}

/// How one job fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The job.
    pub id: u64,
    /// First start, in seconds since the epoch.
    pub start_s: i64,
    /// End, in seconds since the epoch.
    pub end_s: i64,
    /// Time spent waiting, first wait and waits after preemption together, in seconds.
    pub queue_s: i64,
    /// Times it was preempted.
    pub preemptions: u32,
}

/// Why a run is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConformanceError {
    /// Under these rules it would block the queue for ever.
    #[error("job {id} asks for {gpus} GPUs and the cluster has {capacity}; leave it out or add nodes")]
    TooLarge {
        /// The job.
        id: u64,
        /// What it asks for.
        gpus: u32,
        /// What there is.
        capacity: u32,
    },
}

/// Runs one virtual cluster of `nodes` nodes with 8 GPUs each to the end of its last job.
///
/// Jobs without a GPU take no part. Outcomes come in the order of `jobs`' submit times, ties in the given order.
///
/// # Errors
/// A job larger than the cluster.
pub fn run(nodes: u32, jobs: &[TraceJob], policy: Policy) -> Result<Vec<Outcome>, ConformanceError> {
    let mut jobs: Vec<&TraceJob> = jobs.iter().filter(|job| job.gpus > 0).collect();
    jobs.sort_by_key(|job| job.submit_s);
    let capacity = nodes.saturating_mul(cluster::GPUS_PER_NODE);
    if let Some(job) = jobs.iter().find(|job| job.gpus > capacity) {
        return Err(ConformanceError::TooLarge { id: job.id, gpus: job.gpus, capacity });
    }
    let cluster = Cluster::new(nodes);
    Ok(match policy {
        Policy::Fifo => blocking::run(cluster, &jobs, |_job| 0),
        Policy::Sjf => blocking::run(cluster, &jobs, |job| job.duration_s),
        Policy::Srtf => preemptive::run(cluster, &jobs, preemptive::Rule::Srtf),
        Policy::Tiresias => preemptive::run(cluster, &jobs, preemptive::Rule::Tiresias),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64, submit_s: i64, duration_s: u64, gpus: u32) -> TraceJob {
        TraceJob { id, partition: String::new(), user: String::new(), submit_s, duration_s, gpus }
    }

    fn starts(outcomes: &[Outcome]) -> Vec<(u64, i64, i64)> {
        outcomes.iter().map(|job| (job.id, job.start_s, job.end_s)).collect()
    }

    #[test]
    fn a_head_that_does_not_fit_blocks_smaller_ones() {
        let jobs = [job(1, 0, 10, 8), job(2, 1, 10, 16), job(3, 2, 10, 1)];
        let outcomes = run(2, &jobs, Policy::Fifo).unwrap();
        assert_eq!(starts(&outcomes), [(1, 0, 10), (2, 10, 20), (3, 20, 30)]);
        let outcomes = run(2, &jobs[1..], Policy::Sjf).unwrap();
        assert_eq!(starts(&outcomes), [(2, 1, 11), (3, 11, 21)]);
    }

    #[test]
    fn srtf_preempts_for_the_shorter_one_and_pays_for_it() {
        let jobs = [job(1, 0, 100, 8), job(2, 10, 5, 8)];
        let outcomes = run(1, &jobs, Policy::Srtf).unwrap();
        // Job 2 ends a second late (10 + 5 + 1); job 1 ran 10 of its 100 seconds and pays 40.
        assert_eq!(starts(&outcomes), [(1, 0, 147), (2, 10, 16)]);
        assert_eq!((outcomes[0].preemptions, outcomes[0].queue_s), (1, 6));
    }

    #[test]
    fn tiresias_lets_newcomers_pass_who_has_had_its_share() {
        let jobs = [job(1, 0, 10_000, 8), job(2, 3000, 60, 8)];
        let outcomes = run(1, &jobs, Policy::Tiresias).unwrap();
        assert_eq!(starts(&outcomes)[1], (2, 3000, 3061));
        assert_eq!(outcomes[0].preemptions, 1);
    }

    #[test]
    fn a_job_larger_than_the_cluster_is_refused() {
        let why = run(1, &[job(9, 0, 1, 16)], Policy::Fifo).unwrap_err();
        assert_eq!(
            why.to_string(),
            "job 9 asks for 16 GPUs and the cluster has 8; leave it out or add nodes"
        );
    }
}
