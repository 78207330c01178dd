//! The pieces of an experiment: who is compared, who predicts, what is made harder, what is kept for the test.
//!
//! Leakage rules: a prediction may use what ended in the *simulation* before the submission, never the trace's own times;
//! a model is fitted on jobs that had ended before the cut ([`ended_before`]) and judged on those submitted after it
//! ([`submitted_from`]); ids are no features. An oracle may break them and says so in its name.

use crate::outcome::{Fate, JobOutcome, Outcome};
use crate::simulator::{Control, SimError, SimSettings, simulate_with};
use crate::workload::{Cluster, SimJob, Workload};
use pond_core::plan::named;
use pond_core::units::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Says how long jobs will run, from what it has seen by then.
pub trait Predictor {
    /// A job is submitted: how long it will run, all its attempts together; `None`: it cannot say.
    fn predict(&mut self, job: &SimJob) -> Option<Millis>;

    /// A job is over; `row` says how it fared.
    fn over(&mut self, job: &SimJob, row: &JobOutcome);
}

/// Says what the workload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given;

impl Predictor for Given {
    fn predict(&mut self, job: &SimJob) -> Option<Millis> {
        job.predicted
    }

    fn over(&mut self, _job: &SimJob, _row: &JobOutcome) {}
}

/// The mean run time of the last two jobs of the same user that had ended, at most the user's own limit (Tsafrir,
/// Etsion and Feitelson, "Backfilling Using System-Generated Predictions", IEEE TPDS 2007). The limit where fewer ended.
/// Ended means in the simulation. Where not to use it: users whose jobs have little in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastTwo {
    /// By user: the last, and the one before.
    last: BTreeMap<u32, (Millis, Option<Millis>)>,
}

impl Predictor for LastTwo {
    fn predict(&mut self, job: &SimJob) -> Option<Millis> {
        match self.last.get(&job.user) {
            Some((last, Some(before))) => {
                let mean = Millis(last.0.midpoint(before.0));
                Some(job.limit.map_or(mean, |limit| mean.min(limit)))
            }
            _ => job.limit,
        }
    }

    fn over(&mut self, job: &SimJob, row: &JobOutcome) {
        if matches!(row.fate, Fate::Ended(_) | Fate::TimedOut) {
            let ran = row.held.minus(row.lost);
            self.last
                .entry(job.user)
                .and_modify(|known| *known = (ran, Some(known.0)))
                .or_insert((ran, None));
        }
    }
}

/// Where predictions come from. All but [`Foresight::LastTwo`] need no history and are written into the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foresight {
    /// None.
    Nothing,
    /// The true run time: an oracle.
    Oracle,
    /// The user's limit.
    Limit,
    /// What [`LastTwo`] says while the simulation runs: nothing is written.
    LastTwo,
    /// The same for everybody, in milliseconds: stress.
    Constant(Millis),
    /// Long for short and short for long: the longest and the shortest run time together, less the job's own. Stress,
    /// made from the truth and no prediction.
    Inverted,
}

/// Writes predictions into a workload, over what was there.
pub fn foresee(workload: &mut Workload, foresight: Foresight) {
    let durations = || workload.jobs.iter().map(|job| job.duration);
    let ends = durations().min().unwrap_or_default().plus(durations().max().unwrap_or_default());
    for job in &mut workload.jobs {
        job.predicted = match foresight {
            Foresight::Nothing | Foresight::LastTwo => None,
            Foresight::Oracle => Some(job.duration),
            Foresight::Limit => job.limit,
            Foresight::Constant(span) => Some(span),
            Foresight::Inverted => Some(ends.minus(job.duration)),
        };
    }
}

/// Makes jobs come faster: `factor` in thousandths, 1200 is a fifth more jobs in the same time. 0 counts as 1.
/// Times between a job and its follower stay.
pub fn hasten(workload: &mut Workload, factor: u64) {
    let first = workload.jobs.first().map_or(Timestamp(0), |job| job.submit);
    for job in &mut workload.jobs {
        let span = u128::from(job.submit.since(first).0) * 1000 / u128::from(factor.max(1));
        job.submit = first.after(Millis(u64::try_from(span).unwrap_or(u64::MAX)));
    }
    workload.sort();
}

/// When the first so many thousandths of the jobs have been submitted: the cut between training and test.
#[must_use]
pub fn cut_after(workload: &Workload, thousandths: u64) -> Timestamp {
    let count = workload.jobs.len() as u64 * thousandths.min(1000) / 1000;
    let at = usize::try_from(count).unwrap_or(usize::MAX);
    workload.jobs.get(at).or(workload.jobs.last()).map_or(Timestamp(0), |job| job.submit)
}

/// What may be learned from at the cut: the ids of jobs that had ended by then in this simulation.
#[must_use]
pub fn ended_before(outcome: &Outcome, cut: Timestamp) -> BTreeSet<u64> {
    let ended = |job: &&JobOutcome| job.end.is_some_and(|end| end < cut);
    outcome.jobs.iter().filter(ended).map(|job| job.id).collect()
}

/// The jobs submitted from the cut on, counted from it. A job whose predecessor was before the cut comes by its own time.
#[must_use]
pub fn submitted_from(workload: &Workload, cut: Timestamp) -> Workload {
    let mut part = workload.clone();
    part.jobs.retain(|job| job.submit >= cut);
    let kept: BTreeSet<u64> = part.jobs.iter().map(|job| job.id).collect();
    for job in &mut part.jobs {
        job.submit = Timestamp(job.submit.since(cut).0);
        job.after = job.after.filter(|(other, _)| kept.contains(other));
    }
    part
}

/// A policy under comparison, and what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// For tables; names an oracle as such.
    pub name: &'static str,
    /// The policy, as [`named::by_name`] finds it.
    pub policy: &'static str,
    /// What it knows of run times.
    pub foresight: Foresight,
}

impl Contestant {
    /// Runs a workload under it, in a pool that is otherwise as `settings` says.
    ///
    /// # Errors
    /// The workload cannot be simulated.
    pub fn run(
        &self,
        cluster: &Cluster,
        workload: &Workload,
        settings: &SimSettings,
    ) -> Result<Outcome, SimError> {
        let mut workload = workload.clone();
        foresee(&mut workload, self.foresight);
        let mut settings = settings.clone();
        // The names are constants of this module; a test looks each up.
        if let Ok(named) = named::by_name(self.policy) {
            named.apply(&mut settings.engine.plan);
        }
        let (mut given, mut learned) = (Given, LastTwo::default());
        let predictor: &mut dyn Predictor =
            if self.foresight == Foresight::LastTwo { &mut learned } else { &mut given };
        simulate_with(cluster, &workload, &settings, predictor, &mut |_| Control::Go)
    }
}

/// The baselines that every comparison shows, then the other policies that the planner knows.
pub const CONTESTANTS: [Contestant; 18] = {
    use Foresight::{LastTwo, Limit, Nothing, Oracle};
    const fn new(name: &'static str, policy: &'static str, foresight: Foresight) -> Contestant {
        Contestant { name, policy, foresight }
    }
    [
        new("FIFO", "fifo", Nothing),
        new("EASY, limits", "easy", Limit),
        new("EASY, oracle", "easy", Oracle),
        new("SJF, oracle", "sjf", Oracle),
        new("GPU x time, oracle", "qssf", Oracle),
        new("fewest GPUs", "smallest", Nothing),
        new("Tiresias", "tiresias", Nothing),
        new("bucketed LAS", "las", Nothing),
        new("SRTF, oracle", "srtf", Oracle),
        new("SRSF, oracle", "srsf", Oracle),
        new("conservative, limits", "conservative", Limit),
        new("GPU x time, last two of the user", "qssf", LastTwo),
        new("DRF fair share of queues, limits", "fair", Limit),
        new("fair share, bucketed LAS", "fair-las", Nothing),
        new("Themis, oracle", "themis", Oracle),
        new("Gavel", "gavel", Nothing),
        new("goodput", "goodput", Nothing),
        new("SJF and EASY, last two of the user", "sjf+easy", LastTwo),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Ending;
    use pond_core::model::{Class, GangSize};

    fn workload(jobs: &[(u64, u64)]) -> Workload {
        let mut workload = Workload::new("test");
        for (at, (submit, duration)) in (1..).zip(jobs) {
            let job = SimJob {
                id: at,
                submit: Timestamp(*submit),
                user: 0,
                queue: 0,
                class: Class::Standard,
                priority: 500,
                size: GangSize::ONE,
                shape: 0,
                duration: Millis(*duration),
                limit: Some(Millis(900)),
                predicted: None,
                ending: Ending::Completed,
                after: (at > 1).then_some((at - 1, Millis(5))),
                profile: None,
            };
            workload.jobs.push(job);
        }
        workload
    }

    fn ran(id: u64, held: u64, lost: u64) -> JobOutcome {
        JobOutcome {
            id,
            user: 0,
            queue: 0,
            tasks: 1,
            devices_milli: 0,
            cpu_milli: 0,
            submit: Timestamp(0),
            start: Some(Timestamp(0)),
            end: Some(Timestamp(held)),
            held: Millis(held),
            lost: Millis(lost),
            duration: Millis(held - lost),
            preemptions: 0,
            migrations: 0,
            faults: 0,
            fate: Fate::Ended(Ending::Completed),
        }
    }

    #[test]
    fn the_last_two_of_a_user_predict_the_next() {
        let workload = workload(&[(0, 100), (1, 200), (2, 300), (3, 400)]);
        let job = |at: usize| &workload.jobs[at];
        let mut predictor = LastTwo::default();
        assert_eq!(predictor.predict(job(0)), Some(Millis(900)));
        predictor.over(job(0), &ran(1, 100, 0));
        assert_eq!(predictor.predict(job(1)), Some(Millis(900)));
        predictor.over(job(1), &ran(2, 350, 150));
        predictor.over(job(2), &JobOutcome { fate: Fate::GivenUp, ..ran(3, 5, 5) });
        assert_eq!(predictor.predict(job(3)), Some(Millis(150)));
        predictor.over(job(3), &ran(4, 5000, 0));
        assert_eq!(predictor.predict(job(3)), Some(Millis(900)), "no more than the limit");
    }

    #[test]
    fn contestants_have_policies_and_every_policy_a_contestant() {
        let mut known: Vec<&str> = Vec::new();
        for one in CONTESTANTS {
            let named = named::by_name(one.policy).unwrap();
            assert!(
                named.predicts || matches!(one.foresight, Foresight::Nothing | Foresight::LastTwo),
                "{one:?}"
            );
            known.push(named.name);
        }
        assert!(named::ALL.iter().all(|named| known.contains(&named.name)), "{known:?}");
    }

    #[test]
    fn stress_and_cuts() {
        let mut all = workload(&[(100, 10), (220, 40), (340, 30), (460, 20)]);
        foresee(&mut all, Foresight::Inverted);
        assert_eq!(
            all.jobs.iter().map(|job| job.predicted).collect::<Vec<_>>(),
            [40, 10, 20, 30].map(|ms| Some(Millis(ms)))
        );
        hasten(&mut all, 1200);
        assert_eq!(all.jobs.iter().map(|job| job.submit.0).collect::<Vec<_>>(), [100, 200, 300, 400]);
        let cut = cut_after(&all, 500);
        let test = submitted_from(&all, cut);
        assert_eq!(
            test.jobs.iter().map(|job| (job.id, job.submit.0)).collect::<Vec<_>>(),
            [(3, 0), (4, 100)]
        );
        assert_eq!((test.jobs[0].after, test.jobs[1].after), (None, Some((3, Millis(5)))));
        let outcome = Outcome { jobs: vec![ran(1, 299, 0), ran(2, 300, 0)], ..Outcome::default() };
        assert_eq!(ended_before(&outcome, cut), BTreeSet::from([1]));
    }
}
