//! `pond apply` and `pond plan`: what would happen, on one page, before it does.

use super::Ctx;
use super::act::confirm;
use super::list::class_text;
use super::money::money;
use super::run;
use super::why;
use crate::args::{ApplyArgs, FileArgs};
use crate::error::{CliError, Done, codes};
use crate::jobs::{Prepared, from_file, preview, submit};
use crate::out::{Style, clean};
use crate::pool::ensure;
use pond_core::model::{self, DeviceRequest, JobKind, JobSpec, Shape};
use pond_core::units::{Bytes, Millis};
use pond_server::api::types::{BudgetSpan, Class, EstimateView, Preview, RunsView, Submitted};
use std::collections::BTreeMap;

/// `pond plan`.
///
/// # Errors
/// The file is wrong, or no pool answers.
pub fn plan(ctx: &Ctx, args: &FileArgs) -> Done {
    let prepared = from_file(&args.path(), &args.job)?;
    warn(ctx, &prepared);
    let client = ctx.client()?;
    let mut code = codes::OK;
    let mut all = Vec::new();
    for draft in &prepared.drafts {
        let preview = preview(&client, draft)?;
        if cannot(&preview) {
            code = codes::CANNOT_PLACE;
        }
        if !ctx.out.format.is_data() {
            ctx.out.text(&page(ctx, &draft.spec, &preview))?;
        }
        all.push(preview);
    }
    if ctx.out.format.is_data() {
        ctx.out.value(&all)?;
    }
    Ok(code)
}

/// `pond apply`.
///
/// # Errors
/// The file is wrong, or no pool answers.
pub fn apply(ctx: &Ctx, args: &ApplyArgs) -> Done {
    let prepared = from_file(&args.file.path(), &args.file.job)?;
    warn(ctx, &prepared);
    if args.follow && prepared.drafts.len() != 1 {
        let what = format!("--follow stays with one job, and this file has {}", prepared.drafts.len());
        let next =
            Some("leave it out, and use `pond wait` or `pond logs -f`; nothing was submitted".to_owned());
        return Err(CliError::Usage { what, next });
    }
    let client = ensure(ctx)?;
    let mut code = codes::OK;
    for draft in &prepared.drafts {
        let preview = preview(&client, draft)?;
        if !ctx.out.format.is_data() {
            ctx.out.text(&page(ctx, &draft.spec, &preview))?;
        }
        if cannot(&preview) {
            code = codes::CANNOT_PLACE;
        }
    }
    let question = if prepared.drafts.len() > 1 { "Submit them all?" } else { "Submit?" };
    if !args.yes && !confirm(question, true)? {
        ctx.out.note("nothing was submitted");
        return Ok(codes::FAILED);
    }
    let mut ids = Vec::new();
    let mut all: Vec<Submitted> = Vec::new();
    for draft in &prepared.drafts {
        let submitted = submit(&client, draft, &ids)?;
        ids.push(submitted.job.id);
        if !ctx.out.format.is_data() {
            ctx.out.line(&format!("{} {} submitted", submitted.job.id, clean(&submitted.job.name)))?;
        }
        all.push(submitted);
    }
    match (args.follow, &all[..]) {
        (true, [one]) => return run::stay(ctx, &client, &one.job, false),
        _ if ctx.out.format.is_data() => ctx.out.value(&all)?,
        _ => {}
    }
    Ok(code)
}

/// Says what the file asks for and cannot have.
fn warn(ctx: &Ctx, prepared: &Prepared) {
    for warning in &prepared.warnings {
        ctx.out.warn(&clean(&warning.to_string()));
    }
}

/// Whether waiting would not help.
fn cannot(preview: &Preview) -> bool {
    preview.why.as_ref().is_some_and(|why| why.infeasible)
}

/// The page: only what is known.
fn page(ctx: &Ctx, spec: &JobSpec, preview: &Preview) -> String {
    let mut lines = vec![(clean(&spec.name).into_owned(), head(spec))];
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for place in &preview.placement {
        *nodes.entry(&place.node).or_default() += 1;
    }
    if !nodes.is_empty() {
        let names: Vec<String> = nodes
            .iter()
            .map(
                |(node, count)| {
                    if *count > 1 { format!("{}×{count}", clean(node)) } else { clean(node).into_owned() }
                },
            )
            .collect();
        lines.push(("placement".to_owned(), names.join(" ")));
        let evicts: Vec<_> = preview.evicts.iter().map(|gang| clean(gang)).collect();
        let start = if evicts.is_empty() {
            "now".to_owned()
        } else {
            format!("once {} made room", evicts.join(", "))
        };
        lines.push(("start".to_owned(), start));
    }
    if let Some(span) = run_time(spec, preview) {
        lines.push(("runs".to_owned(), span));
    }
    if let Some(price) = &preview.price {
        lines.push(("price".to_owned(), price_text(spec, price)));
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(10) + 2;
    let mut text = String::new();
    for (place, (name, value)) in lines.iter().enumerate() {
        let style = if place == 0 { Style::Bold } else { Style::Dim };
        text.push_str(&format!("{}{value}\n", ctx.out.paint(style, &format!("{name:<width$}"))));
    }
    if let Some(view) = preview.why.as_ref().filter(|_| preview.placement.is_empty()) {
        let told = why::render(ctx, view);
        // Its first line names a job that is not there yet.
        let told: Vec<&str> = told.lines().skip(1).collect();
        text.push_str(&format!("{}\n", told.join("\n")));
    }
    for warning in &preview.warnings {
        text.push_str(&format!(
            "{}\n",
            ctx.out.paint(Style::Yellow, &format!("warning: {}", clean(warning)))
        ));
    }
    text
}

/// `about 6h10m to 7h40m (from 14 earlier runs); at most 24h`.
fn run_time(spec: &JobSpec, preview: &Preview) -> Option<String> {
    let about = match &preview.runs {
        Some(RunsView { earlier, from_ms, to_ms }) => {
            let (from, to) = (Millis(*from_ms).to_string(), Millis(*to_ms).to_string());
            let span = if from == to { from } else { format!("{from} to {to}") };
            Some(format!("about {span} (from {earlier} earlier runs)"))
        }
        None => spec.predicted.map(|estimate| format!("about {estimate}, as the job says")),
    };
    let most = spec.time_limit.map(|limit| format!("at most {limit}"));
    let parts: Vec<String> = about.into_iter().chain(most).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `67.20 EUR an hour; at most 1612.80 · 3900.00 of 5000.00 left of the budget of nlp this month`.
fn price_text(spec: &JobSpec, price: &EstimateView) -> String {
    let mut text = format!("{} {} an hour", money(price.hour_micros), price.currency);
    if spec.class == model::Class::Spare {
        text.push_str(" if all of it is used");
    }
    if spec.indices.len() > 1 {
        text.push_str(&format!(" for each of {} elements", spec.indices.len()));
    }
    if let Some(about) = price.about_micros {
        text.push_str(&format!("; about {} in all", money(about)));
    }
    if let Some(most) = price.most_micros {
        text.push_str(&format!("; at most {}", money(most)));
    }
    if let Some(budget) = &price.budget {
        let left = budget.limit_micros.saturating_sub(budget.spent_micros);
        let whose = if budget.queue.is_empty() { "the pool" } else { &budget.queue };
        text.push_str(&format!(
            " · {} of {} left of the budget of {}",
            money(left),
            money(budget.limit_micros),
            clean(whose)
        ));
        text.push_str(match budget.span {
            BudgetSpan::Day => " today",
            BudgetSpan::Week => " this week",
            BudgetSpan::Month => " this month",
            BudgetSpan::Total => "",
        });
    }
    text
}

fn head(spec: &JobSpec) -> String {
    let kind = match spec.kind {
        JobKind::Task => "task",
        JobKind::Env => "env",
    };
    let size = if spec.size.min == spec.size.max {
        spec.size.min.to_string()
    } else {
        format!("{}..{}", spec.size.min, spec.size.max)
    };
    let tasks = if spec.size.max == 1 { "1 task".to_owned() } else { format!("{size} tasks") };
    let shapes: Vec<String> = spec.shapes.iter().map(shape).collect();
    let mut parts = vec![kind.to_owned(), format!("{tasks} × {}", shapes.join(" or "))];
    if spec.indices.len() > 1 {
        parts.push(format!("array of {}", spec.indices.len()));
    }
    parts.push(format!("project {}", clean(spec.queue.as_str())));
    let class = match spec.class {
        pond_core::model::Class::Critical => Class::Critical,
        pond_core::model::Class::Standard => Class::Standard,
        pond_core::model::Class::Spare => Class::Spare,
    };
    if class != Class::Standard {
        parts.push(class_text(class).to_owned());
    }
    parts.push(if spec.preemptible { "preemptible" } else { "never preempted" }.to_owned());
    parts.join(" · ")
}

fn shape(shape: &Shape) -> String {
    let range = |low: &dyn std::fmt::Display, high: &dyn std::fmt::Display| {
        let (low, high) = (low.to_string(), high.to_string());
        if low == high { low } else { format!("{low}..{high}") }
    };
    let mut parts: Vec<String> = shape.devices.iter().map(device).collect();
    parts.push(format!("{} CPU", range(&shape.request.cpu, &shape.burst.cpu)));
    parts.push(range(&shape.request.memory, &shape.burst.memory));
    parts.extend(shape.labels.iter().map(|(name, value)| clean(&format!("{name}={value}")).into_owned()));
    parts.join(", ")
}

fn device(ask: &DeviceRequest) -> String {
    let kind = match ask.kind {
        pond_core::model::DeviceKind::Gpu => "gpu",
        pond_core::model::DeviceKind::Fpga => "fpga",
        pond_core::model::DeviceKind::Npu => "npu",
        pond_core::model::DeviceKind::OpenCl => "opencl",
    };
    let name = clean(ask.model.as_deref().unwrap_or(kind)).into_owned();
    let share = if ask.compute.0 < 1000 { format!(" ({} of each)", ask.compute) } else { String::new() };
    let memory = if ask.memory == Bytes::ZERO { String::new() } else { format!(" {}", ask.memory) };
    format!("{name}:{}{memory}{share}", ask.count)
}
