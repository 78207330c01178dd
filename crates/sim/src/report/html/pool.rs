//! What the pool granted over time: a small drawing a run, all on the same axes.

use super::curves::{WIDTH, day, day_axis, days};
use super::svg::{Drawing, Plot, escape};
use super::{Run, class};
use crate::outcome::Point;
use crate::report::number::percent;

const HEIGHT: f64 = 168.0;
const PLOT: Plot = Plot { left: 52.0, right: WIDTH - 12.0, top: 8.0, bottom: HEIGHT - 36.0 };
const POINTS: usize = 180;

/// The drawings of all runs.
pub fn section(runs: &[Run<'_>]) -> String {
    let bounds = days(runs);
    let drawn = runs.iter().enumerate().filter(|(_, run)| run.outcome.series.len() > 1);
    let figures: String = drawn
        .map(|(at, run)| {
            let summary = run.summary;
            format!(
                "<figure class=\"run{at}\"><figcaption><b>{}</b> {} % allocated · {} % under load · fragments {} % of idle\
                 </figcaption>\n{}</figure>\n",
                escape(run.label),
                percent(summary.allocation_ppm),
                percent(summary.allocation_arrivals_ppm),
                percent(summary.fragmentation_ppm),
                panel(at, run, bounds)
            )
        })
        .collect();
    if figures.is_empty() { figures } else { format!("<div class=\"pair\">\n{figures}</div>\n") }
}

/// Granted and fragmented in percent of what is up, as means over each step, by time. CPU where there is no device.
fn shares(series: &[Point], low: f64, high: f64) -> Vec<Option<(f64, f64)>> {
    let devices = series.iter().any(|point| point.devices_milli > 0);
    let mut sums = vec![(0.0, 0.0, 0.0); POINTS];
    let place = |ms: u64| (day(ms) - low) / (high - low).max(f64::MIN_POSITIVE) * POINTS as f64;
    for pair in series.windows(2) {
        let (from, to) = (place(pair[0].at.0), place(pair[1].at.0));
        let point = pair[0];
        let (whole, granted, fragmented) = if devices {
            (point.devices_milli, point.granted_devices_milli, point.fragmented_devices_milli)
        } else {
            (point.cpu_milli, point.granted_cpu_milli, 0)
        };
        for (step, sum) in sums.iter_mut().enumerate().take(POINTS).skip(from as usize) {
            let span = to.min(step as f64 + 1.0) - from.max(step as f64);
            if span <= 0.0 {
                break;
            }
            sum.0 += whole as f64 * span;
            sum.1 += granted as f64 * span;
            sum.2 += fragmented as f64 * span;
        }
    }
    let share = |(whole, granted, fragmented): (f64, f64, f64)| {
        (whole > 0.0).then(|| (granted * 100.0 / whole, (granted + fragmented) * 100.0 / whole))
    };
    sums.into_iter().map(share).collect()
}

fn panel(at: usize, run: &Run<'_>, (low, high): (f64, f64)) -> String {
    let (x, y) = (PLOT.x(low, high), PLOT.y(0.0, 100.0));
    let summary = run.summary;
    let description = format!(
        "Percent of the pool. Mean allocation {} %, {} % until the last submission; {} % of idle devices are fragments.",
        percent(summary.allocation_ppm),
        percent(summary.allocation_arrivals_ppm),
        percent(summary.fragmentation_ppm)
    );
    let title = format!("{}: allocation and fragmentation over time", run.label);
    let mut drawing = Drawing::new(&format!("pool{at}"), WIDTH, HEIGHT, &title, &description);
    let shares = shares(&run.outcome.series, low, high);
    let known: Vec<(f64, f64, f64)> = shares
        .iter()
        .enumerate()
        .filter_map(|(step, share)| {
            let when = low + (high - low) * (step as f64 + 0.5) / POINTS as f64;
            share.map(|(granted, with)| (x.place(when), y.place(granted), y.place(with)))
        })
        .collect();
    let (ticks, unit) = day_axis(low, high);
    drawing.across(&x, &PLOT, &ticks, unit);
    drawing.up(&y, &PLOT, &[0, 50, 100].map(|share| (f64::from(share), format!("{share} %"))));
    let granted: Vec<(f64, f64)> = known.iter().map(|&(x, granted, _)| (x, granted)).collect();
    let with: Vec<(f64, f64)> = known.iter().map(|&(x, _, with)| (x, with)).collect();
    if let (Some(first), Some(last)) = (granted.first(), granted.last()) {
        let floor = [(last.0, PLOT.bottom), (first.0, PLOT.bottom)];
        drawing.path(&format!("area {}", class(at)), &[&granted[..], &floor].concat());
        let back: Vec<(f64, f64)> = granted.iter().rev().copied().collect();
        drawing.path("hatched", &[&with[..], &back].concat());
    }
    drawing.path(&format!("edge {}", class(at)), &granted);
    drawing.done()
}
