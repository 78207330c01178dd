//! Who was where: a row a node. Few stays are drawn one by one; many as shades of how much of a node was granted.

use super::curves::{day, day_axis};
use super::svg::{Drawing, Plot, at as coordinate, escape};
use super::{COLORS, Run};
use crate::outcome::{Outcome, Stay};
use std::fmt::Write as _;

const WIDTH: f64 = 1140.0;
/// More rows than that are joined, so that each is still to be seen.
const ROWS: usize = 64;
const COLUMNS: usize = 240;
/// Up to so many stays are drawn one by one.
const SINGLE: usize = 1500;
/// Shades of a heat map, from touched to full.
const SHADES: usize = 5;

/// The drawings of all runs that kept their stays.
pub fn section(runs: &[Run<'_>]) -> String {
    let stays = || runs.iter().flat_map(|run| &run.outcome.stays);
    let low = stays().map(|stay| stay.start.0).min().unwrap_or(0);
    let high = stays().map(|stay| stay.end.0).max().unwrap_or(0);
    let single = runs.iter().all(|run| run.outcome.stays.len() <= SINGLE && run.outcome.nodes.len() <= ROWS);
    let tall = if runs.len() > 2 { 180.0 } else { 280.0 };
    let drawn = runs.iter().enumerate().filter(|(_, run)| !run.outcome.stays.is_empty());
    let figures: String = drawn
        .map(|(at, run)| {
            let chart = Chart::new(at, run, (low, high), tall);
            let drawing = if single { chart.stays() } else { chart.heat() };
            format!(
                "<figure class=\"run{at}\"><figcaption><b>{}</b> {}</figcaption>\n{drawing}</figure>\n",
                escape(run.label),
                chart.what(single)
            )
        })
        .collect();
    figures
}

struct Chart<'a> {
    at: usize,
    run: &'a Run<'a>,
    low: f64,
    high: f64,
    rows: usize,
    plot: Plot,
    row: f64,
}

impl<'a> Chart<'a> {
    fn new(at: usize, run: &'a Run<'a>, (low, high): (u64, u64), tall: f64) -> Self {
        let rows = run.outcome.nodes.len().clamp(1, ROWS);
        let row = (tall / rows as f64).clamp(2.6, 26.0);
        let bottom = 6.0 + row * rows as f64;
        let plot = Plot { left: 92.0, right: WIDTH - 12.0, top: 6.0, bottom };
        Self { at, run, low: day(low), high: day(high), rows, plot, row }
    }

    fn outcome(&self) -> &'a Outcome {
        self.run.outcome
    }

    fn what(&self, single: bool) -> String {
        let nodes = self.outcome().nodes.len();
        match (single, nodes > self.rows) {
            (true, _) => "each block is a gang's stay, its height the share of the node".to_owned(),
            (false, false) => "a row a node; the stronger the colour, the more of it is granted".to_owned(),
            (false, true) => {
                format!(
                    "{} rows of {nodes} nodes; the stronger the colour, the more of them is granted",
                    self.rows
                )
            }
        }
    }

    /// Axes, names of nodes, and room for the rest.
    fn begin(&self) -> Drawing {
        let title = format!("{}: nodes over time", self.run.label);
        let description = format!(
            "{} stays on {} nodes over {} days.",
            self.outcome().stays.len(),
            self.outcome().nodes.len(),
            coordinate(self.high - self.low)
        );
        let height = self.plot.bottom + 40.0;
        let mut drawing = Drawing::new(&format!("nodes{}", self.at), WIDTH, height, &title, &description);
        let (ticks, unit) = day_axis(self.low, self.high);
        drawing.across(&self.plot.x(self.low, self.high), &self.plot, &ticks, unit);
        let every = (14.0 / self.row).ceil() as usize;
        for row in (0..self.rows).step_by(every.max(1)) {
            let node = row * self.outcome().nodes.len() / self.rows;
            let name = self.outcome().nodes.get(node).map_or("", String::as_str);
            let short: String = name.chars().take(14).collect();
            drawing.text("end", (self.plot.left - 6.0, self.top(row) + self.row / 2.0 + 4.0), &short);
        }
        drawing
    }

    fn top(&self, row: usize) -> f64 {
        self.plot.top + self.row * row as f64
    }

    /// The row of a node.
    fn row_of(&self, stay: &Stay) -> usize {
        (stay.node as usize * self.rows / self.outcome().nodes.len().max(1)).min(self.rows - 1)
    }

    fn stays(&self) -> String {
        let mut drawing = self.begin();
        let x = self.plot.x(self.low, self.high);
        let mut stays: Vec<&Stay> = self.outcome().stays.iter().collect();
        stays.sort_by_key(|stay| (stay.node, stay.start, stay.job));
        let mut there: Vec<(&Stay, u64)> = Vec::new();
        drawing.open("stays");
        for stay in stays {
            there.retain(|(other, _)| other.node == stay.node && other.end > stay.start);
            let offset = lowest(&there, stay.share_milli);
            there.push((stay, offset));
            let (left, right) = (x.place(day(stay.start.0)), x.place(day(stay.end.0)));
            let share = |milli: u64| self.row * milli.min(1000) as f64 / 1000.0;
            let tip = format!(
                "job {} on {}, {} % of it",
                stay.job,
                self.outcome().nodes.get(stay.node as usize).map_or("", String::as_str),
                stay.share_milli / 10
            );
            let top = self.top(self.row_of(stay)) + share(offset);
            let class = format!("r{}", stay.job as usize % COLORS);
            drawing.bar(
                &class,
                (left, top),
                ((right - left).max(0.7), share(stay.share_milli).max(1.0)),
                &tip,
            );
        }
        drawing.close();
        drawing.done()
    }

    fn heat(&self) -> String {
        let mut drawing = self.begin();
        let mut heat = vec![vec![0.0; COLUMNS]; self.rows];
        let column =
            |ms: u64| (day(ms) - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE) * COLUMNS as f64;
        for stay in &self.outcome().stays {
            let (from, to) = (column(stay.start.0), column(stay.end.0));
            let cells = heat[self.row_of(stay)].iter_mut().enumerate();
            for (step, cell) in cells.take(to as usize + 1).skip(from as usize) {
                let span = to.min(step as f64 + 1.0) - from.max(step as f64);
                *cell += stay.share_milli as f64 * span.max(0.0);
            }
        }
        let nodes_a_row = self.outcome().nodes.len().max(1) as f64 / self.rows as f64;
        let wide = (self.plot.right - self.plot.left) / COLUMNS as f64;
        let mut shades = vec![String::new(); SHADES];
        for (row, cells) in heat.iter().enumerate() {
            let shade =
                |cell: f64| ((cell / nodes_a_row / 1000.0 * SHADES as f64 + 0.499) as usize).min(SHADES);
            let graded: Vec<usize> = cells.iter().map(|&cell| shade(cell)).collect();
            let mut from = 0;
            for alike in graded.chunk_by(|a, b| a == b) {
                if let Some(path) = alike[0].checked_sub(1).and_then(|shade| shades.get_mut(shade)) {
                    let left = coordinate(self.plot.left + wide * from as f64);
                    let middle = coordinate(self.top(row) + self.row / 2.0);
                    write!(path, "M{left} {middle}h{}", coordinate(wide * alike.len() as f64))
                        .unwrap_or_default();
                }
                from += alike.len();
            }
        }
        drawing.open_wide(&format!("heat r{}", self.at % COLORS), (self.row - 0.6).max(1.0));
        for (shade, path) in shades.iter().enumerate() {
            drawing.shape(&format!("h{}", shade + 1), path);
        }
        drawing.close();
        drawing.done()
    }
}

/// The lowest place, in thousandths of the node, that is free for a share; where fragments leave none, the bottom of
/// the largest.
fn lowest(there: &[(&Stay, u64)], share: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> =
        there.iter().map(|(stay, offset)| (*offset, offset + stay.share_milli)).collect();
    taken.sort_unstable();
    let (mut free, mut best) = (0, (0, 0));
    for (from, to) in taken.into_iter().chain([(1000, 1000)]) {
        let room = from.saturating_sub(free);
        if room >= share {
            return free;
        }
        best = best.max((room, free));
        free = free.max(to);
    }
    best.1
}
