//! Figures as tables: all that the drawings show, and more.

use super::Run;
use super::svg::escape;
use crate::report::number::{grouped, hours, percent, ratio, seconds, span, thousandths};
use crate::report::summary::{SizeClass, Summary};

/// A column: its group, its name, the figure, how it is written, and whether the lowest or the highest is best.
type Column = (&'static str, &'static str, fn(&Summary) -> u64, fn(u64) -> String, Best);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Best {
    Low,
    High,
    None,
}

const COLUMNS: [Column; 16] = [
    ("JCT, s", "mean", |run| run.all.jct_ms.mean, seconds, Best::Low),
    ("JCT, s", "p50", |run| run.all.jct_ms.p50, seconds, Best::Low),
    ("JCT, s", "p99", |run| run.all.jct_ms.p99, seconds, Best::Low),
    ("JCT, s", "p99.9", |run| run.all.jct_ms.p999, seconds, Best::Low),
    ("Queue, s", "mean", |run| run.all.queue_ms.mean, seconds, Best::Low),
    ("Queue, s", "p99", |run| run.all.queue_ms.p99, seconds, Best::Low),
    ("Slowdown", "mean", |run| run.all.slowdown_milli.mean, thousandths, Best::Low),
    ("Slowdown", "p99", |run| run.all.slowdown_milli.p99, thousandths, Best::Low),
    ("Pool, %", "allocation", |run| run.allocation_ppm, percent, Best::High),
    ("Pool, %", "fragments", |run| run.fragmentation_ppm, percent, Best::Low),
    ("", "fairness", |run| run.jain_ppm, ratio, Best::High),
    ("", "makespan", |run| run.makespan_ms, span, Best::Low),
    ("Moves", "evictions", |run| run.preemptions, grouped, Best::None),
    ("Moves", "migrations", |run| run.migrations, grouped, Best::None),
    ("Moves", "lost, h", |run| run.lost_device_s, lost, Best::None),
    ("Jobs", "not done", not_done, grouped, Best::Low),
];

fn lost(device_s: u64) -> String {
    hours(u128::from(device_s) * 1_000_000)
}

fn not_done(run: &Summary) -> u64 {
    run.jobs - run.all.jct_ms.count.min(run.jobs)
}

/// The figures of all runs, a row a run. The best of a column is marked where runs differ.
pub fn figures(runs: &[Run<'_>]) -> String {
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| column.0 != "Moves" || runs.iter().any(|run| (column.2)(run.summary) > 0))
        .collect();
    let mut out =
        "<div class=\"scroll\"><table class=\"figures\">\n<thead><tr><th scope=\"colgroup\"></th>".to_owned();
    for group in shown.chunk_by(|a, b| a.0 == b.0) {
        out.push_str(&format!("<th colspan=\"{}\" scope=\"colgroup\">{}</th>", group.len(), group[0].0));
    }
    out.push_str("</tr>\n<tr><th scope=\"col\" class=\"word\">Policy</th>");
    for column in &shown {
        out.push_str(&format!("<th scope=\"col\">{}</th>", column.1));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (at, run) in runs.iter().enumerate() {
        out.push_str(&format!(
            "<tr><th scope=\"row\" class=\"word\"><i class=\"swatch r{}\"></i>{}</th>",
            at % super::COLORS,
            escape(run.label)
        ));
        for column in &shown {
            let value = (column.2)(run.summary);
            let text = (column.3)(value);
            let best = is_best(runs, column, value);
            out.push_str(&if best { format!("<td><b>{text}</b></td>") } else { format!("<td>{text}</td>") });
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    if runs.len() > 1 {
        out.push_str("<p class=\"note\">Bold: the best of its column.</p>\n");
    }
    out
}

fn is_best(runs: &[Run<'_>], column: &Column, value: u64) -> bool {
    let values = || runs.iter().map(|run| (column.2)(run.summary));
    let (low, high) = (values().min(), values().max());
    let best = match column.4 {
        Best::Low => low,
        Best::High => high,
        Best::None => None,
    };
    low != high && best == Some(value)
}

/// The figures of each size class.
pub fn by_size(runs: &[Run<'_>]) -> String {
    let head: String = [
        "Devices",
        "Policy",
        "Jobs done",
        "JCT mean, s",
        "JCT p50",
        "JCT p99",
        "Queue mean, s",
        "Queue p99",
        "Slowdown mean",
    ]
    .map(|name| format!("<th scope=\"col\">{name}</th>"))
    .concat();
    let mut out = format!(
        "<details><summary>By size as a table</summary>\n<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
    );
    for size in SizeClass::ALL {
        for run in runs {
            let Some(figures) = run.summary.by_size.get(&size) else { continue };
            out.push_str(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td>",
                escape(size.name()),
                escape(run.label)
            ));
            for text in [
                grouped(figures.jct_ms.count),
                seconds(figures.jct_ms.mean),
                seconds(figures.jct_ms.p50),
                seconds(figures.jct_ms.p99),
                seconds(figures.queue_ms.mean),
                seconds(figures.queue_ms.p99),
                thousandths(figures.slowdown_milli.mean),
            ] {
                out.push_str(&format!("<td>{text}</td>"));
            }
            out.push_str("</tr>\n");
        }
    }
    out + "</tbody></table></div></details>\n"
}
