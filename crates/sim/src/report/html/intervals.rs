//! Differences from the first run with their intervals.

use super::curves::WIDTH;
use super::svg::{Drawing, Plot, escape, steps};
use super::{Page, class};
use crate::report::compare::{Difference, Metric, Verdict};
use crate::report::number::{grouped, span, thousandths};

const ROW: f64 = 26.0;
/// Beyond this many times the first run's value marks stay at the edge; their figures are in the table.
const FURTHEST: f64 = 1.5;

/// A drawing for the mean and one for the tail, and all metrics as a table.
pub fn section(page: &Page<'_>) -> String {
    let drawings: String = [Metric::MeanJct, Metric::P99Jct]
        .into_iter()
        .enumerate()
        .map(|(at, metric)| {
            format!(
                "<figure><figcaption><b>{}</b></figcaption>\n{}</figure>\n",
                capital(metric.name()),
                panel(at, metric, page)
            )
        })
        .collect();
    format!("<div class=\"pair\">\n{drawings}</div>\n{}", table(page))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn panel(place: usize, metric: Metric, page: &Page<'_>) -> String {
    let rows: Vec<(usize, &Difference)> = page
        .comparisons
        .iter()
        .enumerate()
        .filter_map(|(at, comparison)| {
            comparison.differences.iter().find(|found| found.metric == metric).map(|found| (at + 1, found))
        })
        .collect();
    let ends = |found: &Difference| {
        [found.low.unwrap_or(found.difference), found.high.unwrap_or(found.difference)].map(|end| end as f64)
    };
    let first = rows.first().map_or(0, |(_, found)| found.first).max(1000) as f64;
    let all = || rows.iter().flat_map(|(_, found)| ends(found));
    let low = all().fold(-0.05 * first, f64::min).max(-FURTHEST * first) * 1.06;
    let high = all().fold(0.05 * first, f64::max).min(FURTHEST * first) * 1.06;
    let height = ROW * rows.len() as f64 + 50.0;
    let plot = Plot { left: 104.0, right: WIDTH - 14.0, top: 6.0, bottom: height - 40.0 };
    let x = plot.x(low, high);
    let label = |at: usize| page.runs.get(at).map_or("", |run| run.label);
    let words: Vec<String> =
        rows.iter().map(|&(at, found)| format!("{}: {}", label(at), found.words())).collect();
    let title = format!("Difference of {} from {}", metric.name(), page.first());
    let mut drawing = Drawing::new(&format!("difference{place}"), WIDTH, height, &title, &words.join("; "));
    let unit = unit(high.max(-low));
    let step = steps((high - low) / unit, 6).get(1).copied().unwrap_or(1.0) * unit;
    let ticks: Vec<(f64, String)> =
        (-8..=8).map(|count| f64::from(count) * step).map(|value| (value, tick(value))).collect();
    drawing.across(&x, &plot, &ticks, "lower is better");
    drawing.line("zero", (x.place(0.0), plot.top), (x.place(0.0), plot.bottom));
    for (row, &(at, found)) in rows.iter().enumerate() {
        let y = plot.top + ROW * (row as f64 + 0.5);
        let [left, right] = ends(found).map(|end| x.place(end));
        let open = matches!(found.verdict, Verdict::Indistinguishable | Verdict::TooShort | Verdict::Equal);
        drawing.open(&format!("whisker {}", class(at)));
        drawing.text("end", (plot.left - 8.0, y + 4.0), label(at));
        drawing.line("reach", (left, y), (right, y));
        let center = (x.place(found.difference as f64), y);
        let tip = format!("{}: {}", label(at), found.words());
        drawing.dot(if open { "open" } else { "solid" }, center, 5.0, &tip);
        drawing.close();
    }
    drawing.done()
}

/// The unit in which round steps are looked for: seconds, minutes, hours or days, in milliseconds.
fn unit(ms: f64) -> f64 {
    let units = [86_400_000.0, 3_600_000.0, 60_000.0];
    units.into_iter().find(|unit| ms >= 2.0 * unit).unwrap_or(1000.0)
}

fn tick(ms: f64) -> String {
    let size = span(ms.abs().round() as u64);
    match ms {
        ..0.0 => format!("−{size}"),
        0.0 => "0".to_owned(),
        _ => format!("+{size}"),
    }
}

fn table(page: &Page<'_>) -> String {
    let mut out = "<details><summary>All differences as a table</summary>\n<div class=\"scroll\"><table>\n<thead><tr>\
                   <th scope=\"col\">Run</th><th scope=\"col\">Figure</th><th scope=\"col\">Value</th>\
                   <th scope=\"col\">Difference</th><th scope=\"col\">95 % interval</th><th scope=\"col\" class=\"word\">In words</th>\
                   </tr></thead>\n<tbody>\n"
        .to_owned();
    for (at, comparison) in page.comparisons.iter().enumerate() {
        let label = page.runs.get(at + 1).map_or("", |run| run.label);
        for found in &comparison.differences {
            let interval = match (found.low, found.high) {
                (Some(low), Some(high)) => format!("{} to {}", signed(found, low), signed(found, high)),
                _ => "–".to_owned(),
            };
            out.push_str(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{interval}</td><td class=\"word\">{}</td></tr>\n",
                escape(label),
                found.metric.name(),
                plain(found, found.second),
                signed(found, found.difference),
                found.words()
            ));
        }
    }
    out + "</tbody></table></div></details>\n"
}

fn plain(found: &Difference, value: u64) -> String {
    if found.metric.is_time() { format!("{} s", grouped((value + 500) / 1000)) } else { thousandths(value) }
}

fn signed(found: &Difference, value: i64) -> String {
    let sign = match value {
        ..0 => "−",
        0 => "",
        1.. => "+",
    };
    format!("{sign}{}", plain(found, value.unsigned_abs()))
}
