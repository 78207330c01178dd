//! How long jobs like this one took: what fills `predicted` of a job whose file gives no estimate.
//!
//! Alike are jobs of one user in one queue with the same name, the same program or script, as many tasks and the same devices.
//! The prediction is the third quartile of the last [`KEPT`] runs, by nearest rank: who is thought short and runs long takes more
//! from others than the other way round. That a user's own last runs foretell the next one well, and that a wrong prediction is
//! best corrected while the job runs (the planner gives who is overdue a quarter more), is shown in Tsafrir, Etsion, Feitelson,
//! "Backfilling Using System-Generated Predictions Rather than User Runtime Estimates", TPDS 2007. They take the mean of two runs.
//!
//! A prediction becomes part of the job before the journal has it, so a replay needs none of this. Kept in memory: the runs of
//! jobs that the engine still knows and of the archive's newest come back at a start.

use super::outcomes::Outcomes;
use crate::api::types::{JobDetail, PredictionView, RunsView};
use pond_core::engine::{Engine, Job, State};
use pond_core::event::Request;
use pond_core::ids::{GangId, JobId, QueuePath, UserName};
use pond_core::model::{Command, DeviceRequest, GangSize, JobKind, JobSpec};
use pond_core::units::Millis;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Runs kept of jobs that are alike.
const KEPT: usize = 20;
/// Fewer runs foretell nothing.
const ENOUGH: usize = 2;
/// Sorts of jobs that are kept; those that ran longest ago go.
const SORTS: usize = 4096;
/// Predictions compared.
const COMPARED: usize = 512;
/// The archive's newest jobs that are read at a start.
pub const READ_AT_START: u32 = 500;

/// What makes jobs alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    user: UserName,
    queue: QueuePath,
    name: String,
    /// Hash of the program, the tasks and the devices; of this process only.
    work: u64,
}

impl Sort {
    fn of(spec: &JobSpec) -> Self {
        let mut hasher = DefaultHasher::new();
        let GangSize { min, max } = spec.size;
        (min, max).hash(&mut hasher);
        match &spec.run.command {
            Command::Script(script) => script.hash(&mut hasher),
            // `python3 -u train.py --lr 0.1`: the program and what it is about, not how.
            Command::Argv(argv) => {
                let about = argv.iter().skip(1).find(|part| !part.starts_with('-'));
                (argv.first(), about).hash(&mut hasher);
            }
        }
        for DeviceRequest { kind, model, count, compute, memory, .. } in
            spec.shapes.iter().flat_map(|shape| &shape.devices)
        {
            (*kind as u8, model, count, compute.0, memory.0).hash(&mut hasher);
        }
        let (user, queue, name) = (spec.user.clone(), spec.queue.clone(), spec.name.clone());
        Self { user, queue, name, work: hasher.finish() }
    }
}

/// The last runs of one sort.
#[derive(Debug, Default)]
struct Runs {
    /// In milliseconds, oldest first.
    spans: VecDeque<u64>,
    /// When one was added last.
    turn: u64,
}

/// Earlier runs, and how predictions came out.
#[derive(Debug, Default)]
pub struct Earlier {
    sorts: BTreeMap<Sort, Runs>,
    /// The sorts by [`Runs::turn`].
    turns: BTreeMap<u64, Sort>,
    turn: u64,
    /// Gangs that ended well and are still to be looked at.
    ended: Vec<GangId>,
    /// By how many hundredths of its prediction each run was longer, oldest first.
    errors: VecDeque<i64>,
}

impl Earlier {
    /// A gang is over, with success.
    pub fn ended(&mut self, gang: GangId) {
        self.ended.push(gang);
    }

    /// Learns from the gangs that ended since.
    pub fn learn(&mut self, engine: &Engine) {
        for gang in std::mem::take(&mut self.ended) {
            let Some(job) = engine.job(gang.job) else { continue };
            let Some(span) = ran(engine, gang) else { continue };
            self.compare(&job.spec, span);
            self.add(&job.spec, span);
        }
    }

    /// Takes in what is known at a start: the archive's jobs, newest first, and those that the engine has.
    pub fn recall(&mut self, archived: &[JobDetail], engine: &Engine) {
        for detail in archived.iter().rev() {
            let summary = &detail.summary;
            // An archived job tells of its last attempt alone, and of the elements of an array only together.
            let (Some(from), Some(to), 1) = (summary.started_ms, summary.ended_ms, detail.gangs.len()) else {
                continue;
            };
            if let Ok(spec) = serde_json::from_value::<JobSpec>(detail.spec.clone()) {
                self.add(&spec, Millis(to.saturating_sub(from)));
            }
        }
        let mut known: Vec<(JobId, &Job)> = engine.jobs().map(|job| (job.id, job)).collect();
        known.sort_unstable_by_key(|(id, job)| (job.finished, *id));
        for (_, job) in known {
            for gang in job.gangs.iter().filter(|gang| gang.state() == State::Succeeded) {
                if let Some(span) = ran(engine, gang.id) {
                    self.add(&job.spec, span);
                }
            }
        }
    }

    /// How predictions came out before this server started.
    pub fn recall_outcomes(&mut self, outcomes: &Outcomes) {
        self.errors.clone_from(&outcomes.runs);
        self.errors.truncate(COMPARED);
    }

    /// How predictions came out up to now.
    pub fn tell(&self, outcomes: &mut Outcomes) {
        outcomes.runs.clone_from(&self.errors);
    }

    fn add(&mut self, spec: &JobSpec, span: Millis) {
        if spec.kind != JobKind::Task {
            return;
        }
        self.turn += 1;
        let sort = Sort::of(spec);
        let runs = self.sorts.entry(sort.clone()).or_default();
        self.turns.remove(&runs.turn);
        runs.turn = self.turn;
        if runs.spans.len() == KEPT {
            runs.spans.pop_front();
        }
        runs.spans.push_back(span.0);
        self.turns.insert(self.turn, sort);
        if self.sorts.len() > SORTS
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.sorts.remove(&oldest);
        }
    }

    fn compare(&mut self, spec: &JobSpec, span: Millis) {
        let Some(predicted) = spec.predicted else { return };
        let (ran, said) = (i128::from(span.0), i128::from(predicted.0.max(1)));
        if self.errors.len() == COMPARED {
            self.errors.pop_front();
        }
        self.errors.push_back(i64::try_from((ran - said) * 100 / said).unwrap_or(i64::MAX));
    }

    /// What earlier runs tell of a job; `None` where too few are known, and of environments.
    #[must_use]
    pub fn of(&self, spec: &JobSpec) -> Option<Told> {
        if spec.kind != JobKind::Task {
            return None;
        }
        let runs = &self.sorts.get(&Sort::of(spec))?.spans;
        let mut sorted: Vec<u64> = runs.iter().copied().collect();
        sorted.sort_unstable();
        (sorted.len() >= ENOUGH).then(|| Told {
            predicted: Millis(rank(&sorted, 75)),
            runs: RunsView {
                earlier: sorted.len() as u64,
                from_ms: rank(&sorted, 10),
                to_ms: rank(&sorted, 90),
            },
        })
    }

    /// A job that gives no estimate gets that of earlier runs, and keeps it.
    pub fn complete(&self, request: &mut Request) {
        let Request::Submit(spec) = request else { return };
        if let (None, Some(told)) = (spec.predicted, self.of(spec)) {
            Arc::make_mut(spec).predicted = Some(told.predicted);
        }
    }

    /// How predictions came out.
    #[must_use]
    pub fn view(&self) -> PredictionView {
        let mut sorted: Vec<i64> = self.errors.iter().copied().collect();
        sorted.sort_unstable();
        let mut sizes: Vec<i64> = sorted.iter().map(|error| error.saturating_abs()).collect();
        sizes.sort_unstable();
        PredictionView {
            compared: sorted.len() as u64,
            longer: sorted.iter().filter(|&&error| error > 0).count() as u64,
            median_error_percent: (!sizes.is_empty()).then(|| rank(&sizes, 50).unsigned_abs()),
        }
    }
}

/// What earlier runs tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The run time to reckon with.
    pub predicted: Millis,
    /// The runs it comes from.
    pub runs: RunsView,
}

/// How long a gang that succeeded ran: work it had saved before, and its last attempt.
fn ran(engine: &Engine, gang: GangId) -> Option<Millis> {
    let gang = engine.gang(gang)?;
    let last = gang.last.as_ref()?;
    Some(gang.attained.done.plus(last.ended.since(last.started?)))
}

/// The percentile by nearest rank of a sorted list.
fn rank<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::model::{RunSpec, Shape};

    fn job(argv: &[&str]) -> JobSpec {
        JobSpec::new("train", Shape::default(), RunSpec::argv(argv))
    }

    fn told(earlier: &Earlier, spec: &JobSpec) -> Option<(u64, u64)> {
        earlier.of(spec).map(|told| (told.predicted.0, told.runs.earlier))
    }

    #[test]
    fn what_is_alike_foretells_and_what_is_not_does_not() {
        let mut earlier = Earlier::default();
        let train = job(&["python3", "-u", "train.py", "--lr", "0.1"]);
        earlier.add(&train, Millis(4000));
        assert_eq!(told(&earlier, &train), None, "one run tells too little");
        for span in [1000, 3000, 2000] {
            earlier.add(&train, Millis(span));
        }
        assert_eq!(told(&earlier, &train), Some((3000, 4)), "the third quartile");
        assert_eq!(told(&earlier, &job(&["python3", "train.py", "--lr", "0.5"])), Some((3000, 4)));
        assert_eq!(told(&earlier, &job(&["python3", "eval.py"])), None);
        let other = |change: &dyn Fn(&mut JobSpec)| {
            let mut spec = train.clone();
            change(&mut spec);
            told(&earlier, &spec)
        };
        assert_eq!(other(&|spec| spec.user = UserName::from("bo")), None);
        assert_eq!(other(&|spec| spec.name = "tune".to_owned()), None);
        assert_eq!(other(&|spec| spec.size = GangSize { min: 2, max: 2 }), None);
        assert_eq!(other(&|spec| spec.kind = JobKind::Env), None);
        assert_eq!(other(&|spec| spec.time_limit = Some(Millis(9))), Some((3000, 4)));
    }

    #[test]
    fn only_the_last_runs_count_and_only_the_latest_sorts_are_kept() {
        let mut earlier = Earlier::default();
        let old = job(&["old"]);
        for span in (0..KEPT as u64 + 5).map(|at| if at < 5 { 1_000_000 } else { 10 }) {
            earlier.add(&old, Millis(span));
        }
        assert_eq!(told(&earlier, &old), Some((10, KEPT as u64)));
        for number in 0..SORTS {
            earlier.add(&job(&["new", &number.to_string()]), Millis(5));
        }
        assert_eq!((earlier.sorts.len(), earlier.turns.len()), (SORTS, SORTS));
        assert_eq!(told(&earlier, &old), None);
    }

    #[test]
    fn predictions_are_compared_with_what_came_of_them() {
        let mut earlier = Earlier::default();
        for (ran, predicted) in [(100, Some(100)), (150, Some(100)), (80, Some(100)), (7, None)] {
            let mut spec = job(&["true"]);
            spec.predicted = predicted.map(Millis);
            earlier.compare(&spec, Millis(ran));
        }
        let view = earlier.view();
        assert_eq!((view.compared, view.longer, view.median_error_percent), (3, 1, Some(20)));
    }
}
