//! One page that says what came of one run or of several side by side.
//!
//! A file of its own: drawings are inline SVG, the style is in the page, there is no script, and nothing is fetched.
//! Every drawing has a name and a description, runs differ by dash as well as by colour, and every figure that is
//! drawn is also in a table. The same runs give the same bytes.

mod bars;
mod curves;
mod intervals;
mod pool;
mod svg;
mod tables;
mod timeline;

use super::compare::{Comparison, Metric, Verdict};
use super::number::{grouped, seconds, span};
use super::summary::Summary;
use crate::outcome::Outcome;
use std::fmt::Write as _;
use svg::escape;

const STYLE: &str = include_str!("style.css");
/// Runs that have a colour of their own; those after them share it with another dash.
const COLORS: usize = 8;

/// A run as the page shows it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Short name, unique on the page: the policy.
    pub label: &'a str,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Its figures.
    pub summary: &'a Summary,
}

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Heading: the workload.
    pub title: &'a str,
    /// A line below it: the pool, the window, the command.
    pub about: &'a str,
    /// The runs, in the order in which they are to be shown; the first is the one that others are compared with.
    pub runs: &'a [Run<'a>],
    /// Comparisons of the first run with each of the others.
    pub comparisons: &'a [Comparison],
}

/// The classes of a run's marks: its colour and its dash.
fn class(place: usize) -> String {
    format!("r{} d{}", place % COLORS, (place / COLORS) % 3)
}

impl Page<'_> {
    /// The page as HTML, UTF-8.
    #[must_use]
    pub fn html(&self) -> String {
        let mut out = String::new();
        out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
        out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
        out.push_str(&format!("<title>{} · Millpond</title>\n", escape(self.title)));
        out.push_str(&format!("<style>\n{STYLE}{}</style>\n</head>\n<body>\n", self.switches()));
        out.push_str(HATCH);
        out.push_str(&self.head());
        out.push_str(&self.legend());
        out.push_str("<main>\n");
        self.section(&mut out, "Figures", "", &tables::figures(self.runs));
        if !self.comparisons.is_empty() {
            let note = format!(
                "Difference from <b>{}</b>, job by job; bars are 95 % intervals from resampled blocks of days. An \
                 interval that holds 0 means that the difference may be chance.",
                escape(self.first())
            );
            self.section(&mut out, "Is it more than chance?", &note, &intervals::section(self));
        }
        self.section(
            &mut out,
            "How long jobs take",
            "The share of jobs that are over after a time. Further left and higher is better.",
            &curves::distributions(self.runs),
        );
        self.section(
            &mut out,
            "By size of job",
            "Mean completion time by number of devices; the solid part is time without a place.",
            &bars::section(self.runs),
        );
        self.section(
            &mut out,
            "The line over time",
            "What waits: the peak in each step of the drawing.",
            &curves::queues(self.runs),
        );
        self.section(
            &mut out,
            "The pool over time",
            "Devices granted; above them, hatched, those idle that a job drawn from the mix could not use.",
            &pool::section(self.runs),
        );
        let timelines = timeline::section(self.runs);
        if !timelines.is_empty() {
            self.section(&mut out, "Nodes over time", "Who was where, from the first node down.", &timelines);
        }
        out.push_str("</main>\n");
        out.push_str(FOOT);
        out.push_str("</body>\n</html>\n");
        out
    }

    fn first(&self) -> &str {
        self.runs.first().map_or("", |run| run.label)
    }

    fn section(&self, out: &mut String, title: &str, note: &str, body: &str) {
        if body.is_empty() {
            return;
        }
        let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>\n") };
        write!(out, "<section>\n<h2>{title}</h2>\n{note}{body}</section>\n").unwrap_or_default();
    }

    /// Rules by which a run's curves go when its box in the legend is empty.
    fn switches(&self) -> String {
        let rules = (0..self.runs.len())
            .map(|at| format!("body:has(#show{at}:not(:checked)) .run{at}{{display:none}}\n"));
        rules.collect()
    }

    fn head(&self) -> String {
        let jobs = self.runs.first().map_or(0, |run| run.summary.jobs);
        let nodes = self.runs.first().map_or(0, |run| run.outcome.nodes.len());
        let devices = self.runs.first().and_then(|run| run.outcome.series.first());
        let facts = [
            (grouped(jobs), "jobs"),
            (grouped(self.runs.first().map_or(0, |run| run.summary.users)), "users"),
            (grouped(nodes as u64), "nodes"),
            (grouped(devices.map_or(0, |point| point.devices_milli / 1000)), "devices"),
            (grouped(self.runs.len() as u64), if self.runs.len() == 1 { "policy" } else { "policies" }),
        ];
        let mut out = format!("<header>\n<h1>{}</h1>\n", escape(self.title));
        if !self.about.is_empty() {
            out.push_str(&format!("<p class=\"about\">{}</p>\n", escape(self.about)));
        }
        out.push_str(&format!("<p class=\"lead\">{}</p>\n<ul class=\"facts\">", self.lead()));
        for (figure, name) in facts.iter().filter(|(figure, _)| figure != "0") {
            out.push_str(&format!("<li><b>{figure}</b> {name}</li>"));
        }
        out.push_str("</ul>\n");
        out.push_str(THEME);
        out.push_str("</header>\n");
        out
    }

    /// The one sentence that says what came of it.
    fn lead(&self) -> String {
        let done = |run: &&Run<'_>| run.summary.all.jct_ms.count > 0;
        let mean = |run: &Run<'_>| run.summary.all.jct_ms.mean;
        let Some(best) = self.runs.iter().filter(done).min_by_key(|run| mean(run)) else {
            return "No job came to an end.".to_owned();
        };
        let spread = best.summary.all.jct_ms;
        if self.runs.len() == 1 {
            return format!(
                "Under <b>{}</b> a job takes {} s ({}) on average from submission to end, and half of them at most {}.",
                escape(best.label),
                seconds(spread.mean),
                span(spread.mean),
                span(spread.p50)
            );
        }
        let mut out = format!(
            "<b>{}</b> has the lowest mean completion time: {} s ({})",
            escape(best.label),
            seconds(spread.mean),
            span(spread.mean)
        );
        let against = self
            .runs
            .iter()
            .skip(1)
            .position(|run| run.label == best.label)
            .and_then(|at| self.comparisons.get(at))
            .and_then(|comparison| comparison.differences.iter().find(|d| d.metric == Metric::MeanJct));
        let first = escape(self.first());
        match against {
            Some(found) if found.difference < 0 => {
                let by = found.change().unwrap_or_default();
                let chance = if found.verdict == Verdict::Lower {
                    "more than chance explains"
                } else {
                    "which may be chance"
                };
                out.push_str(&format!(", {by} lower than <b>{first}</b>, {chance}."));
            }
            _ => out.push('.'),
        }
        out
    }

    fn legend(&self) -> String {
        if self.runs.len() < 2 {
            return String::new();
        }
        let mut out = "<nav class=\"legend\" aria-label=\"Runs: untick one to hide its curves\">".to_owned();
        for (at, run) in self.runs.iter().enumerate() {
            write!(
                out,
                "<label><input type=\"checkbox\" id=\"show{at}\" checked=\"\"/><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\">\
                 <path class=\"curve {}\" d=\"M1 5H33\"/></svg>{}</label>",
                class(at),
                escape(run.label)
            )
            .unwrap_or_default();
        }
        out + "</nav>\n"
    }
}

/// What hatches are drawn with, anywhere on the page.
const HATCH: &str = "<svg class=\"defs\" aria-hidden=\"true\"><defs><pattern id=\"hatch\" width=\"5\" height=\"5\" \
                     patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><path d=\"M0 0V5\"/></pattern>\
                     </defs></svg>\n";

const THEME: &str = "<fieldset class=\"theme\"><legend>Colours</legend>\
<label><input type=\"radio\" name=\"theme\" id=\"auto\" checked=\"\"/>auto</label>\
<label><input type=\"radio\" name=\"theme\" id=\"light\"/>light</label>\
<label><input type=\"radio\" name=\"theme\" id=\"dark\"/>dark</label></fieldset>\n";

const FOOT: &str = "<footer>\n<h2>How to read the figures</h2>\n<dl>\n\
<dt>JCT</dt><dd>Job completion time, from submission to end, of jobs that came to an end. Jobs that did not are \
counted beside it, not in it.</dd>\n\
<dt>Queue time</dt><dd>The part of it without a place, before the first start and after evictions.</dd>\n\
<dt>Slowdown</dt><dd>Completion time over run time, runs under 10 s counted as 10 s, never under 1.</dd>\n\
<dt>p50, p99, p99.9</dt><dd>The smallest value that at least 50, 99 or 99.9 % of jobs do not exceed.</dd>\n\
<dt>Allocation</dt><dd>Device time granted over device time of nodes that were up. \u{201c}Under load\u{201d}: up to the last \
submission.</dd>\n\
<dt>Fragmentation</dt><dd>Idle device time that a job drawn from the mix could not have used, over all idle device \
time.</dd>\n\
<dt>Fairness</dt><dd>Jain's index over users of run time over completion time: 1 when all wait alike.</dd>\n\
<dt>Lost</dt><dd>Device-hours of work lost to preemption, migration and faults.</dd>\n</dl>\n</footer>\n";
