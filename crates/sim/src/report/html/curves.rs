//! Curves of several runs in one drawing: how long jobs take, and what waits.

use super::svg::{Drawing, Plot, Scale, steps};
use super::{Run, class};
use crate::outcome::{Outcome, Point};
use crate::report::number::{grouped, span};
use crate::report::summary::finished;

pub const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const PLOT: Plot = Plot { left: 52.0, right: WIDTH - 12.0, top: 12.0, bottom: HEIGHT - 40.0 };
/// Points of a curve: more than that cannot be told apart on a screen.
const POINTS: usize = 260;

/// Ticks of a logarithmic axis of time, in milliseconds.
const TIMES: [u64; 9] =
    [1000, 10_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000, 5_184_000_000];

/// Drawings side by side where there is room.
fn beside(drawings: &[String]) -> String {
    format!("<div class=\"pair\">\n{}</div>\n", drawings.concat())
}

fn figure(caption: &str, drawing: &str) -> String {
    format!("<figure><figcaption>{caption}</figcaption>\n{drawing}</figure>\n")
}

/// How completion times and times in the queue are distributed.
pub fn distributions(runs: &[Run<'_>]) -> String {
    let done = |outcome: &Outcome, queued: bool| -> Vec<u64> {
        let jobs = outcome.jobs.iter();
        let mut times: Vec<u64> = jobs
            .filter_map(|job| finished(job).map(|jct| if queued { jct.minus(job.held).0 } else { jct.0 }))
            .collect();
        times.sort_unstable();
        times
    };
    if runs.iter().all(|run| run.summary.all.jct_ms.count == 0) {
        return String::new();
    }
    beside(&[
        figure("Completion time", &distribution("cdf-jct", "Completion time", runs, |o| done(o, false))),
        figure("Time in the queue", &distribution("cdf-queue", "Time in the queue", runs, |o| done(o, true))),
    ])
}

fn distribution(id: &str, what: &str, runs: &[Run<'_>], times: impl Fn(&Outcome) -> Vec<u64>) -> String {
    let curves: Vec<Vec<u64>> = runs.iter().map(|run| times(run.outcome)).collect();
    let longest = curves.iter().filter_map(|times| times.last()).max().copied().unwrap_or(0);
    let shortest = curves.iter().filter_map(|times| times.first()).min().copied().unwrap_or(0);
    let low = TIMES.into_iter().rev().find(|&tick| tick <= shortest).unwrap_or(TIMES[0]);
    let x = Scale::log(low as f64, longest.max(low.saturating_mul(10)) as f64, PLOT.left, PLOT.right);
    let y = PLOT.y(0.0, 100.0);
    let words: Vec<String> = runs
        .iter()
        .zip(&curves)
        .map(|(run, times)| {
            let half = times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(0);
            format!("{}: half of the jobs within {}", run.label, span(half))
        })
        .collect();
    let description = format!("Share of jobs over time on a logarithmic axis. {}.", words.join("; "));
    let mut drawing = Drawing::new(id, WIDTH, HEIGHT, &format!("{what}, distribution"), &description);
    let ticks: Vec<(f64, String)> = TIMES.iter().map(|&ms| (ms as f64, span(ms))).collect();
    drawing.across(&x, &PLOT, &ticks, &format!("{what}, logarithmic"));
    drawing.up(&y, &PLOT, &[0, 25, 50, 75, 100].map(|share| (f64::from(share), format!("{share} %"))));
    for (at, times) in curves.iter().enumerate().filter(|(_, times)| !times.is_empty()) {
        let points: Vec<(f64, f64)> = (0..=POINTS)
            .map(|step| {
                let ms = x.value(step as f64 / POINTS as f64);
                let over = times.partition_point(|&time| time as f64 <= ms);
                (x.place(ms), y.place(over as f64 * 100.0 / times.len() as f64))
            })
            .collect();
        drawing.path(&format!("curve {} run{at}", class(at)), &points);
    }
    drawing.done()
}

/// How many gangs wait and how many devices they ask for.
pub fn queues(runs: &[Run<'_>]) -> String {
    if runs.iter().all(|run| run.outcome.series.len() < 2) {
        return String::new();
    }
    if runs.iter().all(|run| run.outcome.series.iter().all(|point| point.pending == 0)) {
        return "<p>Nothing ever waited.</p>\n".to_owned();
    }
    let gangs = line("queue-gangs", "Gangs that wait", runs, |point| point.pending);
    let devices =
        line("queue-devices", "Devices that they ask for", runs, |point| point.pending_devices_milli / 1000);
    let has_devices =
        runs.iter().any(|run| run.outcome.series.iter().any(|point| point.pending_devices_milli > 0));
    let mut drawings = vec![figure("Gangs that wait", &gangs)];
    if has_devices {
        drawings.push(figure("Devices that they ask for", &devices));
    }
    beside(&drawings)
}

/// The first and the last moment of all series, in days.
pub fn days(runs: &[Run<'_>]) -> (f64, f64) {
    let moments = || runs.iter().flat_map(|run| &run.outcome.series).map(|point| point.at.0);
    (day(moments().min().unwrap_or(0)), day(moments().max().unwrap_or(0)))
}

/// Milliseconds as days.
pub fn day(ms: u64) -> f64 {
    ms as f64 / 86_400_000.0
}

/// An axis of days, and its ticks: hours where the whole is short.
pub fn day_axis(low: f64, high: f64) -> (Vec<(f64, String)>, &'static str) {
    let (unit, name) = if high - low > 3.0 { (1.0, "days") } else { (24.0, "hours") };
    let ticks =
        steps((high - low) * unit, 6).into_iter().map(|step| (low + step / unit, super::svg::at(step)));
    (ticks.collect(), name)
}

fn line(id: &str, what: &str, runs: &[Run<'_>], height: impl Fn(&Point) -> u64) -> String {
    let (low, high) = days(runs);
    let peak = |run: &Run<'_>| run.outcome.series.iter().map(&height).max().unwrap_or(0);
    let top = runs.iter().map(peak).max().unwrap_or(0).max(1);
    let (x, y) = (PLOT.x(low, high), PLOT.y(0.0, top as f64 * 1.04));
    let words: Vec<String> =
        runs.iter().map(|run| format!("{}: peak {}", run.label, grouped(peak(run)))).collect();
    let description = format!("Over {} days. {}.", (high - low).round(), words.join("; "));
    let mut drawing = Drawing::new(id, WIDTH, HEIGHT, &format!("{what}, over time"), &description);
    let (ticks, unit) = day_axis(low, high);
    drawing.across(&x, &PLOT, &ticks, unit);
    let rungs: Vec<(f64, String)> =
        whole(steps(top as f64, 5)).into_iter().map(|step| (step, short(step))).collect();
    drawing.up(&y, &PLOT, &rungs);
    for (at, run) in runs.iter().enumerate() {
        let mut peaks: Vec<Option<u64>> = vec![None; POINTS + 1];
        for point in &run.outcome.series {
            let place = (day(point.at.0) - low) / (high - low).max(f64::MIN_POSITIVE) * POINTS as f64;
            let peak = &mut peaks[(place as usize).min(POINTS)];
            *peak = (*peak).max(Some(height(point)));
        }
        let points: Vec<(f64, f64)> = peaks
            .iter()
            .enumerate()
            .filter_map(|(step, peak)| {
                let when = low + (high - low) * step as f64 / POINTS as f64;
                peak.map(|peak| (x.place(when), y.place(peak as f64)))
            })
            .collect();
        drawing.path(&format!("curve {} run{at}", class(at)), &points);
    }
    drawing.done()
}

/// Only the whole numbers of these: there is no half gang.
fn whole(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.retain(|number| number.fract().abs() < 1e-9);
    numbers
}

/// A round number in few letters: `2.5k`.
fn short(number: f64) -> String {
    if number >= 1000.0 { format!("{}k", super::svg::at(number / 1000.0)) } else { super::svg::at(number) }
}
