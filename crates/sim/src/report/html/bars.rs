//! Bars by size class: a drawing a class, a bar a run.

use super::curves::WIDTH;
use super::svg::Drawing;
use super::{Run, class, tables};
use crate::report::number::{grouped, seconds, span};
use crate::report::summary::SizeClass;

const ROW: f64 = 22.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = WIDTH - 84.0;

/// The drawings of all classes, and their figures as a table.
pub fn section(runs: &[Run<'_>]) -> String {
    let used = SizeClass::ALL.into_iter().filter(|size| {
        runs.iter().any(|run| run.summary.by_size.get(size).is_some_and(|figures| figures.jct_ms.count > 0))
    });
    let figures: String = used
        .enumerate()
        .map(|(at, size)| {
            let jobs = runs
                .iter()
                .filter_map(|run| run.summary.by_size.get(&size))
                .map(|figures| figures.jct_ms.count);
            let name = match size {
                SizeClass::Cpu => "CPU only".to_owned(),
                SizeClass::One => "1 device".to_owned(),
                size => format!("{} devices", size.name().replace('>', "more than ")),
            };
            format!(
                "<figure><figcaption><b>{name}</b> {} jobs</figcaption>\n{}</figure>\n",
                grouped(jobs.max().unwrap_or(0)),
                panel(at, &name, size, runs)
            )
        })
        .collect();
    if figures.is_empty() {
        return figures;
    }
    format!("<div class=\"pair\">\n{figures}</div>\n{}", tables::by_size(runs))
}

fn panel(at: usize, name: &str, size: SizeClass, runs: &[Run<'_>]) -> String {
    let of = |run: &Run<'_>| run.summary.by_size.get(&size).copied().unwrap_or_default();
    let longest = runs.iter().map(|run| of(run).jct_ms.mean).max().unwrap_or(0).max(1);
    let height = ROW * runs.len() as f64 + 8.0;
    let title = format!("{name}: mean completion time by policy");
    let words: Vec<String> =
        runs.iter().map(|run| format!("{} {}", run.label, span(of(run).jct_ms.mean))).collect();
    let mut drawing = Drawing::new(&format!("size{at}"), WIDTH, height, &title, &words.join("; "));
    for (row, run) in runs.iter().enumerate() {
        let figures = of(run);
        let top = 4.0 + ROW * row as f64;
        let wide = |ms: u64| (RIGHT - LEFT) * ms as f64 / longest as f64;
        let (jct, queue) = (figures.jct_ms, figures.queue_ms);
        let tip = format!(
            "{}: mean {} s, of which {} s in the queue; p50 {} s, p99 {} s",
            run.label,
            seconds(jct.mean),
            seconds(queue.mean),
            seconds(jct.p50),
            seconds(jct.p99)
        );
        drawing.open(&format!("bars {}", class(row)));
        drawing.text("end", (LEFT - 8.0, top + 14.0), run.label);
        drawing.bar("light", (LEFT, top + 3.0), (wide(jct.mean), ROW - 7.0), &tip);
        drawing.bar("full", (LEFT, top + 3.0), (wide(queue.mean), ROW - 7.0), &tip);
        drawing.text("", (LEFT + wide(jct.mean) + 6.0, top + 14.0), &span(jct.mean));
        drawing.close();
    }
    drawing.line("base", (LEFT, 2.0), (LEFT, height - 2.0));
    drawing.done()
}
