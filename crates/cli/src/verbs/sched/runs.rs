//! Several simulations side by side, one a thread, with one bar for all of them.

use crate::error::CliError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pond_sim::experiment::{Given, LastTwo, Predictor};
use pond_sim::outcome::Outcome;
use pond_sim::simulator::{Control, Progress, SimError, SimSettings, simulate_with};
use pond_sim::workload::{Cluster, Workload};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// One simulation.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Machines.
    pub cluster: &'a Cluster,
    /// Jobs.
    pub workload: &'a Workload,
    /// How.
    pub settings: &'a SimSettings,
    /// Whether predictions are learned from what ends in the simulation ([`LastTwo`]), or stand in the workload.
    pub learns: bool,
}

/// A bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    began: Instant,
    events: u64,
}

impl Meter {
    /// For so many jobs in all.
    #[must_use]
    pub fn new(jobs: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(jobs), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}  {eta} left");
        // The template is a constant; a wrong one shows as the default bar.
        bar.set_style(style.unwrap_or_else(|_why| ProgressStyle::default_bar()));
        Self { bar, began: Instant::now(), events: 0 }
    }

    fn show(&self, jobs: u64, events: u64, what: &str) {
        let spent = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (self.events + events) as f64 / spent;
        let rate = if rate >= 1e6 { format!("{:.1} M", rate / 1e6) } else { format!("{:.0} k", rate / 1e3) };
        self.bar.set_message(format!("{what} · {rate} events/s"));
        self.bar.set_position(jobs);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// As many threads as were asked for, or one a core.
#[must_use]
pub fn threads(asked: Option<usize>) -> usize {
    asked
        .filter(|&asked| asked > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

#[derive(Default)]
struct Gauge {
    jobs: AtomicU64,
    events: AtomicU64,
}

/// Runs one of them, and tells the gauge how far it is, until it is to stop.
fn one(task: &Task<'_>, gauge: &Gauge, stop: &AtomicUsize) -> Result<Outcome, SimError> {
    let (mut given, mut learned) = (Given, LastTwo::default());
    let predictor: &mut dyn Predictor = if task.learns { &mut learned } else { &mut given };
    let mut watch = |progress: Progress| {
        gauge.jobs.store(progress.jobs_done, Ordering::Relaxed);
        gauge.events.store(progress.events, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) > 0 { Control::Stop } else { Control::Go }
    };
    let outcome = simulate_with(task.cluster, task.workload, task.settings, predictor, &mut watch)?;
    gauge.jobs.store(outcome.jobs.len() as u64, Ordering::Relaxed);
    gauge.events.store(outcome.counts.events, Ordering::Relaxed);
    Ok(outcome)
}

/// Runs all of them, at most `threads` at a time, and gives the outcomes in the order of the tasks. `done` jobs of the
/// meter were over before.
///
/// # Errors
/// The first that cannot be simulated; the others are stopped.
pub fn all(
    tasks: &[Task<'_>],
    threads: usize,
    meter: &mut Meter,
    done: u64,
) -> Result<Vec<Outcome>, CliError> {
    let next = AtomicUsize::new(0);
    let gauges: Vec<Gauge> = tasks.iter().map(|_| Gauge::default()).collect();
    let stop = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    let sum = |part: fn(&Gauge) -> &AtomicU64| {
        gauges.iter().map(|gauge| part(gauge).load(Ordering::Relaxed)).sum::<u64>()
    };
    let mut outcomes: Vec<Option<Outcome>> = tasks.iter().map(|_| None).collect();
    let mut failed = None;
    std::thread::scope(|scope| {
        for _ in 0..threads.min(tasks.len()) {
            let sender = sender.clone();
            let (next, gauges, stop) = (&next, &gauges, &stop);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(task), Some(gauge)) = (tasks.get(at), gauges.get(at)) else { return };
                    if sender.send((at, one(task, gauge, stop))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok((at, Ok(outcome))) => outcomes[at] = Some(outcome),
                Ok((_, Err(why))) => {
                    stop.store(1, Ordering::Relaxed);
                    next.store(tasks.len(), Ordering::Relaxed);
                    failed.get_or_insert(why);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let over = outcomes.iter().flatten().count();
            meter.show(
                done + sum(|gauge| &gauge.jobs),
                sum(|gauge| &gauge.events),
                &format!("{over} of {} runs", tasks.len()),
            );
        }
    });
    meter.events += sum(|gauge| &gauge.events);
    match failed {
        Some(why) => Err(unusable(&why)),
        None => Ok(outcomes.into_iter().flatten().collect()),
    }
}

fn unusable(why: &SimError) -> CliError {
    CliError::BadFile {
        messages: format!("error: this cannot be simulated: {}", crate::out::clean(&why.to_string())),
    }
}
