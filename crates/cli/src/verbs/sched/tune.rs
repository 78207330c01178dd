//! `pond sched tune`: parameters that do well on the first part of a trace, and how they do on the rest.

use super::runs::{Meter, Task, all, threads};
use super::source::{Scene, scene};
use super::{policies, settings};
use crate::args::{Objective, TuneArgs, TuneBy};
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Style, Table};
use crate::verbs::Ctx;
use pond_core::units::Timestamp;
use pond_sim::report::{Summary, seconds, thousandths};
use pond_sim::simulator::SimSettings;
use pond_sim::tune::{Candidate, Method, Param, SearchError, Trial, search};
use pond_sim::workload::Workload;
use serde::Serialize;

/// A candidate with its scores on both parts.
#[derive(Clone, Debug, Serialize)]
struct Scored {
    /// Setting and value; none: as the policy is by default.
    params: Vec<(String, String)>,
    train: Option<u64>,
    test: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    policy: String,
    objective: String,
    train_jobs: usize,
    test_jobs: usize,
    tried: usize,
    candidates: Vec<Scored>,
}

struct Bench<'a> {
    args: &'a TuneArgs,
    scene: &'a Scene,
    base: SimSettings,
    params: Vec<Param>,
}

/// `pond sched tune`.
///
/// # Errors
/// A wrong command line or a trace that cannot be used.
pub fn tune(ctx: &Ctx, args: &TuneArgs) -> Done {
    let named = policies::named(std::slice::from_ref(&args.policy))?;
    let mut base = SimSettings { points: 0, ..settings::settings(&args.sim)? };
    named.iter().for_each(|(_, policy)| policy.apply(&mut base.engine.plan));
    let base = settings::overridden(base, &args.sim)?;
    let params = read_params(&args.params)?;
    let scene = scene(&ctx.out, &args.trace, args.sim.seed)?;
    let (train, test) = split(&scene.jobs.workload, args.train)?;
    let bench = Bench { args, scene: &scene, base, params };
    // A value that no setting takes is said before anything runs.
    let ends: Vec<Candidate> =
        [0.0, 1.0].map(|part| bench.params.iter().map(|param| param.value(part)).collect()).to_vec();
    ends.iter().try_for_each(|candidate| bench.settings(candidate).map(drop))?;
    let trials = bench.search(&train)?;
    let answer = bench.answer(&trials, &train, &test)?;
    if ctx.out.format.is_data() {
        ctx.out.value(&answer)?
    } else {
        print(ctx, &answer, args.objective)?
    }
    Ok(codes::OK)
}

fn read_params(texts: &[String]) -> Result<Vec<Param>, CliError> {
    let mut params: Vec<Param> = Vec::new();
    for text in texts {
        let param = text.parse::<Param>().map_err(|why| CliError::Usage {
            what: format!("--param: {why}"),
            next: Some("for example plan.ranking.base=2..16:log, plan.calm=0s..10min".to_owned()),
        })?;
        if params.iter().any(|known| known.name() == param.name()) {
            return Err(CliError::Usage {
                what: format!("--param: `{}` is given twice", param.name()),
                next: Some("leave one of the two out; one range takes in both".to_owned()),
            });
        }
        params.push(param);
    }
    Ok(params)
}

/// The first part of the trace by time of submission, and the rest. Each is simulated from an empty pool.
fn split(whole: &Workload, percent: u64) -> Result<(Workload, Workload), CliError> {
    let submits = || whole.jobs.iter().map(|job| job.submit.0);
    let (first, last) = (submits().min().unwrap_or(0), submits().max().unwrap_or(0));
    let cut = Timestamp(first + (last - first) / 100 * percent);
    let part = |keep: &dyn Fn(Timestamp) -> bool| {
        let mut part = whole.clone();
        part.jobs.retain(|job| keep(job.submit));
        let known: std::collections::BTreeSet<u64> = part.jobs.iter().map(|job| job.id).collect();
        part.jobs.iter_mut().for_each(|job| job.after = job.after.filter(|(id, _)| known.contains(id)));
        part
    };
    let (train, test) = (part(&|at| at < cut), part(&|at| at >= cut));
    if train.jobs.is_empty() || test.jobs.is_empty() {
        return Err(CliError::usage(
            "the trace is too short to be cut into a part to search on and a part to test on",
        ));
    }
    Ok((train, test))
}

impl Bench<'_> {
    fn settings(&self, candidate: &Candidate) -> Result<SimSettings, CliError> {
        let pairs = self.params.iter().zip(candidate);
        let settings = pairs.into_iter().try_fold(self.base.clone(), |settings, (param, value)| {
            settings::set(&settings, &format!("{}={value}", param.name()))
        })?;
        settings::in_range(settings)
    }

    /// What candidates come to on a workload: in milliseconds or thousandths.
    fn scores(
        &self,
        candidates: &[Candidate],
        workload: &Workload,
        meter: &mut Meter,
        done: u64,
    ) -> Result<Vec<Option<u64>>, CliError> {
        let each: Vec<SimSettings> =
            candidates.iter().map(|candidate| self.settings(candidate)).collect::<Result<_, _>>()?;
        let tasks: Vec<Task<'_>> = each
            .iter()
            .map(|settings| Task {
                cluster: &self.scene.jobs.cluster,
                workload,
                settings,
                learns: self.scene.learns,
            })
            .collect();
        let outcomes = all(&tasks, threads(self.args.sim.threads), meter, done)?;
        Ok(outcomes.iter().map(|outcome| score(&Summary::of(outcome), self.args.objective)).collect())
    }

    fn search(&self, train: &Workload) -> Result<Vec<Trial>, CliError> {
        let budget = self.args.budget;
        let (method, expected) = match self.args.method {
            TuneBy::Grid => {
                let values: usize = self.params.iter().map(|param| param.steps(budget).len()).product();
                (Method::Grid { steps: budget }, values)
            }
            TuneBy::Random => (Method::Random { count: budget }, budget as usize),
            TuneBy::Cma => (Method::Cma { count: budget }, budget as usize),
        };
        let mut meter = Meter::new((expected * train.jobs.len()) as u64);
        let mut done = 0;
        search(&self.params, method, self.args.sim.seed, &mut |batch| {
            let scores = self.scores(batch, train, &mut meter, done)?;
            done += (batch.len() * train.jobs.len()) as u64;
            Ok(scores.into_iter().map(|score| score.map(|score| score as f64)).collect())
        })
        .map_err(|why| match why {
            SearchError::Evaluation(why) => why,
            other => CliError::usage(format!("--param: {other}")),
        })
    }

    /// The best on the first part, and the policy as it is, on both parts.
    fn answer(&self, trials: &[Trial], train: &Workload, test: &Workload) -> Result<Answer, CliError> {
        let mut best: Vec<(f64, &Candidate)> =
            trials.iter().filter_map(|trial| trial.score.map(|score| (score, &trial.candidate))).collect();
        best.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        best.truncate(self.args.top.max(1));
        let tested: Vec<Candidate> = best.iter().map(|(_, candidate)| (*candidate).clone()).collect();
        let mut meter = Meter::new((train.jobs.len() + test.jobs.len() * (tested.len() + 1)) as u64);
        let unchanged = [&self.base];
        let plain = |workload: &Workload, meter: &mut Meter, done| -> Result<Option<u64>, CliError> {
            let tasks = unchanged.map(|settings| Task {
                cluster: &self.scene.jobs.cluster,
                workload,
                settings,
                learns: self.scene.learns,
            });
            let outcomes = all(&tasks, 1, meter, done)?;
            Ok(outcomes.first().and_then(|outcome| score(&Summary::of(outcome), self.args.objective)))
        };
        let mut candidates = vec![Scored {
            params: Vec::new(),
            train: plain(train, &mut meter, 0)?,
            test: plain(test, &mut meter, train.jobs.len() as u64)?,
        }];
        let done = (train.jobs.len() + test.jobs.len()) as u64;
        let scores = self.scores(&tested, test, &mut meter, done)?;
        for ((trained, candidate), test) in best.iter().zip(scores) {
            let pairs = self.params.iter().zip(candidate.iter());
            let params = pairs.map(|(param, value)| (param.name().to_owned(), value.to_string())).collect();
            // Scores came from whole numbers.
            candidates.push(Scored { params, train: Some(trained.round() as u64), test });
        }
        Ok(Answer {
            policy: self.args.policy.clone(),
            objective: objective_name(self.args.objective).to_owned(),
            train_jobs: train.jobs.len(),
            test_jobs: test.jobs.len(),
            tried: trials.len(),
            candidates,
        })
    }
}

/// `None` when jobs were not over: what they would have come to is not known.
fn score(run: &Summary, objective: Objective) -> Option<u64> {
    let figures = &run.all;
    let value = match objective {
        Objective::MeanJct => figures.jct_ms.mean,
        Objective::P99Jct => figures.jct_ms.p99,
        Objective::MeanQueue => figures.queue_ms.mean,
        Objective::P99Queue => figures.queue_ms.p99,
        Objective::MeanSlowdown => figures.slowdown_milli.mean,
        Objective::P99Slowdown => figures.slowdown_milli.p99,
    };
    (run.unfinished == 0).then_some(value)
}

const fn objective_name(objective: Objective) -> &'static str {
    match objective {
        Objective::MeanJct => "mean JCT, s",
        Objective::P99Jct => "p99 JCT, s",
        Objective::MeanQueue => "mean queue time, s",
        Objective::P99Queue => "p99 queue time, s",
        Objective::MeanSlowdown => "mean slowdown",
        Objective::P99Slowdown => "p99 slowdown",
    }
}

fn print(ctx: &Ctx, answer: &Answer, objective: Objective) -> Result<(), CliError> {
    let heading = format!(
        "{} of {}: {} candidate{} on {} jobs, tested on the {} after them",
        answer.objective,
        answer.policy,
        answer.tried,
        if answer.tried == 1 { "" } else { "s" },
        answer.train_jobs,
        answer.test_jobs
    );
    ctx.out.line(&ctx.out.paint(Style::Bold, &crate::out::clean(&heading)))?;
    ctx.out.line("")?;
    let slowdown = matches!(objective, Objective::MeanSlowdown | Objective::P99Slowdown);
    let figure = |value: Option<u64>| {
        value.map_or_else(
            || "not over".to_owned(),
            |value| if slowdown { thousandths(value) } else { seconds(value) },
        )
    };
    let plain = answer.candidates.first();
    let against = |value: Option<u64>, plain: Option<u64>| match (value, plain) {
        (Some(value), Some(plain)) if plain > 0 => {
            let tenths = (i128::from(value) - i128::from(plain)) * 1000 / i128::from(plain);
            let sign = if tenths < 0 { "-" } else { "+" };
            format!("{sign}{}.{} %", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10)
        }
        _ => String::new(),
    };
    let mut table = Table::new(vec![
        Column::right("TRAIN"),
        Column::right(""),
        Column::right("TEST"),
        Column::right(""),
        Column::left("PARAMETERS"),
    ]);
    for (at, row) in answer.candidates.iter().enumerate() {
        let words: Vec<String> = row.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let versus = |value, plain| if at == 0 { String::new() } else { against(value, plain) };
        table.row(vec![
            figure(row.train).into(),
            versus(row.train, plain.and_then(|plain| plain.train)).into(),
            figure(row.test).into(),
            versus(row.test, plain.and_then(|plain| plain.test)).into(),
            if at == 0 { Cell::styled(Style::Dim, "as it is by default") } else { words.join(" ").into() },
        ]);
    }
    ctx.out.table(&table)
}
