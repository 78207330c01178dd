//! What is said of run times before jobs start: predictions for policies that ask for them.
//!
//! Predictions are put into the workload before the simulation, so that every policy hears the same.

use crate::workload::{SimJob, Workload};
use pond_core::units::{Millis, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Where predictions come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predictor {
    /// The true run time: an oracle. What the SJF, SRTF and GPU×time baselines of papers know.
    #[default]
    True,
    /// The limit that the user asked for; none without.
    Estimate,
    /// The mean run time of this user's jobs that had ended when the job was submitted; before the first of them the mean
    /// of all users' jobs, and none before the first of all. (Tsafrir, Etsion, Feitelson, IEEE TPDS 2007, use the
    /// last two; the mean of all is steadier and does as well as a baseline.)
    UserMean,
    /// One hour for every job: what a policy does without any knowledge.
    Constant,
    /// The true order upside down, as a stress test: the shortest job is said to be the longest.
    Inverted,
}

impl Predictor {
    /// Writes predictions into all jobs; those that were there are gone.
    ///
    /// `starts`: when jobs really started, where the trace tells. A job counts as ended at its start, or else its
    /// submission, plus its run time: without starts history is known a little too early.
    pub fn apply(self, workload: &mut Workload, starts: &BTreeMap<u64, Timestamp>) {
        match self {
            Self::True => each(workload, |job| Some(job.duration)),
            Self::Estimate => each(workload, |job| job.limit),
            Self::Constant => each(workload, |_job| Some(Millis(3_600_000))),
            Self::Inverted => {
                let spans = || workload.jobs.iter().map(|job| job.duration.0.max(1));
                let product = u128::from(spans().min().unwrap_or(1)) * u128::from(spans().max().unwrap_or(1));
                let upside_down =
                    |span: u64| u64::try_from(product / u128::from(span.max(1))).unwrap_or(u64::MAX);
                each(workload, |job| Some(Millis(upside_down(job.duration.0))));
            }
            Self::UserMean => user_mean(workload, starts),
        }
    }
}

fn each(workload: &mut Workload, prediction: impl Fn(&SimJob) -> Option<Millis>) {
    for job in &mut workload.jobs {
        job.predicted = prediction(job);
    }
}

#[derive(Default)]
struct Mean {
    sum: u128,
    count: u128,
}

impl Mean {
    fn add(&mut self, span: Millis) {
        self.sum += u128::from(span.0);
        self.count += 1;
    }

    fn get(&self) -> Option<Millis> {
        self.sum.checked_div(self.count).map(|mean| Millis(u64::try_from(mean).unwrap_or(u64::MAX)))
    }
}

fn user_mean(workload: &mut Workload, starts: &BTreeMap<u64, Timestamp>) {
    let mut running: BinaryHeap<Reverse<(Timestamp, u32, Millis)>> = BinaryHeap::new();
    let (mut users, mut all): (BTreeMap<u32, Mean>, Mean) = (BTreeMap::new(), Mean::default());
    for job in &mut workload.jobs {
        while let Some(&Reverse((end, user, duration))) = running.peek()
            && end <= job.submit
        {
            users.entry(user).or_default().add(duration);
            all.add(duration);
            running.pop();
        }
        job.predicted = users.get(&job.user).and_then(Mean::get).or_else(|| all.get());
        let start = starts.get(&job.id).copied().unwrap_or(job.submit);
        running.push(Reverse((start.after(job.duration), job.user, job.duration)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Ending;
    use pond_core::model::{Class, GangSize};

    fn workload(jobs: &[(u64, &str, u64)]) -> Workload {
        let mut workload = Workload::new("x");
        for (id, &(submit, user, duration)) in (1..).zip(jobs) {
            let user = workload.user(user);
            let job = SimJob {
                id,
                submit: Timestamp(submit),
                user,
                queue: 0,
                class: Class::Standard,
                priority: 500,
                size: GangSize { min: 1, max: 1 },
                shape: 0,
                duration: Millis(duration),
                limit: (id > 1).then_some(Millis(duration * 2)),
                predicted: None,
                ending: Ending::Completed,
                after: None,
                profile: None,
            };
            workload.jobs.push(job);
        }
        workload
    }

    fn predicted(predictor: Predictor, jobs: &[(u64, &str, u64)], starts: &[(u64, u64)]) -> Vec<Option<u64>> {
        let mut workload = workload(jobs);
        let starts = starts.iter().map(|&(id, start)| (id, Timestamp(start))).collect();
        predictor.apply(&mut workload, &starts);
        workload.jobs.iter().map(|job| job.predicted.map(|span| span.0)).collect()
    }

    #[test]
    fn a_users_mean_knows_only_what_had_ended() {
        let jobs = [(0, "ann", 100), (50, "ann", 300), (100, "ann", 9), (110, "bob", 9), (350, "ann", 9)];
        // Bob has no history: he gets the mean of ann's jobs of 100 and 9, which had ended at 109.
        let means = [None, None, Some(100), Some(54)];
        assert_eq!(predicted(Predictor::UserMean, &jobs[..4], &[]), means);
        // At 350 ann's jobs of 100, 300 and 9 have ended.
        assert_eq!(predicted(Predictor::UserMean, &jobs, &[])[4], Some(136));
        // The first started late: at 100 nothing had ended.
        assert_eq!(predicted(Predictor::UserMean, &jobs, &[(1, 20)])[2], None);
    }

    #[test]
    fn the_other_predictors_say_what_they_are_called() {
        let jobs = [(0, "a", 10), (0, "a", 1000), (0, "a", 100)];
        assert_eq!(predicted(Predictor::True, &jobs, &[]), [Some(10), Some(1000), Some(100)]);
        assert_eq!(predicted(Predictor::Inverted, &jobs, &[]), [Some(1000), Some(10), Some(100)]);
        assert_eq!(predicted(Predictor::Estimate, &jobs, &[]), [None, Some(2000), Some(200)]);
        assert_eq!(predicted(Predictor::Constant, &jobs, &[]), [Some(3_600_000); 3]);
    }
}
