//! `pond why`: one explanation, as the pool made it, laid out for people.

use super::Ctx;
use super::list::devices_text;
use super::status::amounts;
use crate::args::WhyArgs;
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::{Style, ago, clean, moment, now_ms};
use crate::refs::{Careful, JobRef, find};
use pond_core::units::Millis;
use pond_server::api::types::{Amounts, EventPage, EventQuery, WhyQuery, WhyView};

/// Decisions of the past that are shown.
const PAST: usize = 8;

/// `pond why`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn why(ctx: &Ctx, args: &WhyArgs) -> Done {
    let client = ctx.client()?;
    let job = find(&client, &args.job, Careful::No)?;
    let view: WhyView = client.get(&job.path("/why"), &WhyQuery { index: job.index })?;
    if ctx.out.format.is_data() {
        ctx.out.value(&view)?;
    } else {
        ctx.out.text(&render(ctx, &view))?;
        past(ctx, &client, job)?;
    }
    Ok(codes::OK)
}

fn verdict(view: &WhyView) -> (Style, &'static str) {
    match view.verdict.as_str() {
        "placed" => (Style::Green, "it has a place"),
        "waiting" => (Style::Yellow, "it waits its turn"),
        "needs_you" => (Style::Red, "it needs you: waiting will not help"),
        "needs_admin" if has_next_span(view) => (Style::Red, "it needs an administrator, or patience"),
        "needs_admin" => (Style::Red, "it needs an administrator: waiting will not help"),
        "over" => (Style::Dim, "it is over"),
        _ => (Style::Plain, "it is somewhere else"),
    }
}

/// Whether it waits for money and a later span of the budget brings some.
fn has_next_span(view: &WhyView) -> bool {
    view.reason.as_ref().is_some_and(|reason| reason["budget"]["until_ms"].is_u64())
}

/// The text of an explanation; the plan page shows the same.
#[must_use]
pub fn render(ctx: &Ctx, view: &WhyView) -> String {
    let (style, words) = verdict(view);
    let out = &ctx.out;
    let mut text = format!(
        "{}  {}\n{}\n",
        out.paint(Style::Bold, &clean(&view.gang)),
        out.paint(style, words),
        clean(&view.sentence)
    );
    let mut field = |name: &str, value: &str| {
        text.push_str(&format!("{} {value}\n", out.paint(Style::Dim, &format!("{name:<11}"))));
    };
    for device in &view.unwell {
        let because =
            device.because.as_ref().map_or_else(String::new, |because| format!(": {}", clean(because)));
        field(
            "unwell",
            &format!("device {} of {} is {}{because}", device.device, clean(&device.node), device.health),
        );
    }
    if matches!(view.verdict.as_str(), "placed" | "over") {
        return text;
    }
    if view.asked != Amounts::default() {
        field("asks", &asks(view));
    }
    if view.nodes > 0 {
        let mut left = view.nodes;
        let mut steps = vec![if left == 1 { "1 node".to_owned() } else { format!("{left} nodes") }];
        for step in &view.funnel {
            left = left.saturating_sub(step.removed);
            steps.push(format!("-{} {}", step.removed, clean(&step.constraint)));
        }
        field("nodes", &format!("{} = {left} left", steps.join(", ")));
    }
    if view.needed > 1 {
        field(
            "gang",
            &format!("{} of the {} tasks it needs could be placed now", view.placeable, view.needed),
        );
    }
    if view.position > 0 {
        let ahead: Vec<_> = view.ahead.iter().map(|gang| clean(gang)).collect();
        let behind = if ahead.is_empty() { String::new() } else { format!(", behind {}", ahead.join(", ")) };
        field("position", &format!("{}{behind}", view.position));
    }
    if let Some(start) = view.predicted_start_ms {
        let band = view.predicted_earliest_ms.zip(view.predicted_latest_ms);
        let band = band.map_or_else(String::new, |(early, late)| {
            format!("; eight of ten: {} to {}", in_words(early), in_words(late))
        });
        field("start", &format!("predicted {}{band}", in_words(start)));
    }
    for (place, other) in view.passed_by.iter().enumerate() {
        let name = if place == 0 { "went first" } else { "" };
        field(name, &format!("{}: {}", clean(&other.gang), clean(&other.because)));
    }
    for (place, what_if) in view.what_ifs.iter().enumerate() {
        let start = what_if.start_ms.map_or_else(|| "possible".to_owned(), in_words);
        field(if place == 0 { "what if" } else { "" }, &format!("{}: {start}", clean(&what_if.change)));
    }
    text
}

/// What it asks for: `4 × (8 CPU, 64GB, H100:8)`.
fn asks(view: &WhyView) -> String {
    let mut each = amounts(&view.asked);
    if !view.devices.is_empty() {
        each.push_str(&format!(", {}", clean(&devices_text(&view.devices))));
    }
    if view.tasks > 1 { format!("{} × ({each})", view.tasks) } else { each }
}

/// `now`, or `in 3m04s`.
fn in_words(at_ms: u64) -> String {
    match at_ms.saturating_sub(now_ms()) {
        0..=1000 => "now".to_owned(),
        left => format!("in {} ({})", Millis(left), moment(at_ms)),
    }
}

/// What was decided about it before: from the event log, newest last.
fn past(ctx: &Ctx, client: &Client, job: JobRef) -> Result<(), CliError> {
    let query = EventQuery { kind: Some("gang.".to_owned()), limit: Some(1000), ..EventQuery::default() };
    let page: EventPage = client.get(&job.path("/events"), &query)?;
    let element = job.index.map(|index| format!("{}[{index}]", job.job));
    let mine: Vec<_> = page
        .events
        .iter()
        .filter(|event| {
            element.is_none() || event.subject.as_deref().is_none_or(|it| Some(it) == element.as_deref())
        })
        .collect();
    if mine.is_empty() {
        return Ok(());
    }
    ctx.out.line(&ctx.out.paint(Style::Dim, "decided before"))?;
    for event in mine.iter().rev().take(PAST).rev() {
        ctx.out.line(&format!("  {:>8} ago  {}", ago(event.at_ms), clean(&event.text)))?;
    }
    Ok(())
}
