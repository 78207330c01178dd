//! `pond sched synth`: workloads made up from a model, which is fitted to a trace.

use super::present::{places, write};
use super::settings::factor_milli;
use super::source::read_trace;
use crate::args::{SynthArgs, SynthForm};
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Out, Table, clean};
use crate::verbs::Ctx;
use pond_core::units::Millis;
use pond_sim::synth::{Goodness, Model, Options, as_read, compare, fit, generate, split};
use pond_sim::trace::{self, Jobs, history};
use pond_sim::workload::Workload;
use serde::Serialize;
use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;

/// The part of a trace's time that a model is fitted to when it is to be checked against the rest.
const FITTED_PERCENT: u64 = 60;

/// `pond sched synth`.
///
/// # Errors
/// A source that is neither a trace nor a model, a file that cannot be written.
pub fn synth(ctx: &Ctx, args: &SynthArgs) -> Done {
    if args.check {
        return check(&ctx.out, args);
    }
    places(args.out.iter().chain(&args.save_model))?;
    let load = factor_milli("--load", &args.load)?;
    if load < 10 {
        return Err(CliError::Usage {
            what: "--load: less than a hundredth is no load".to_owned(),
            next: Some("write 0.01 or more; 1 leaves arrivals as they are".to_owned()),
        });
    }
    if args.span == Some(Millis::ZERO) {
        return Err(CliError::Usage {
            what: "--span: no job comes in no time".to_owned(),
            next: Some("write a span such as 4w".to_owned()),
        });
    }
    let model = model(&ctx.out, args)?;
    if let Some(path) = &args.save_model {
        write(
            path,
            &serde_json::to_vec(&model).map_err(|why| CliError::io("making the model", why.into()))?,
        )?;
        ctx.out.note(&format!("kept: {}", clean(&path.display().to_string())));
    }
    let options = Options {
        jobs: args.jobs,
        span: args.span,
        load_percent: u32::try_from(load / 10).unwrap_or(u32::MAX),
        ..Options::default()
    };
    let workload = generate(&model, args.seed, &options);
    let (count, last) = (workload.jobs.len(), workload.jobs.last().map_or(0, |job| job.submit.0));
    let bytes = written(workload, options.zero_ms, args.to)
        .map_err(|why| CliError::io("writing the workload", why))?;
    match &args.out {
        None => ctx.out.bytes(&bytes)?,
        Some(path) => {
            write(path, &bytes)?;
            ctx.out.line(&format!(
                "written: {}, {count} jobs, the last submitted after {}",
                clean(&path.display().to_string()),
                Millis(last)
            ))?;
        }
    }
    Ok(codes::OK)
}

/// A kept model, or one fitted to a trace.
fn model(out: &Out, args: &SynthArgs) -> Result<Model, CliError> {
    let kept = match trace::of_pipe(&args.source) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            return Err(CliError::io(format!("reading {}", args.source.display()), why));
        }
        found => found.unwrap_or_default(),
    };
    let bytes = match &kept {
        Some(kept) => Cow::from(&kept[..]),
        None => Cow::from(fs::read(&args.source).unwrap_or_default()),
    };
    if args.format.is_none() && is_model(&bytes) {
        return serde_json::from_slice(&bytes).map_err(|why| CliError::BadFile {
            messages: format!(
                "error: {}: not a whole model: {}\nnext: make one with `pond sched synth TRACE --save-model FILE`",
                clean(&args.source.display().to_string()),
                clean(&why.to_string())
            ),
        });
    }
    let jobs = read_trace(out, &args.source, args.format, &trace::Options { kept, ..Default::default() })?;
    Ok(fit(&jobs.workload, jobs.zero_ms))
}

/// Whether a file begins as a model does, which no trace does.
fn is_model(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    head.trim_start().starts_with('{') && head.contains("\"arrivals\"") && head.contains("\"per_hour\"")
}

fn written(workload: Workload, zero_ms: i64, form: SynthForm) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if form == SynthForm::Millpond {
        history::write(&Jobs { workload, zero_ms: Some(zero_ms), ..Jobs::default() }, &mut bytes)?;
        return Ok(bytes);
    }
    let jobs = as_read(workload, zero_ms)?;
    match form {
        SynthForm::Swf => trace::write::swf(&jobs, &mut bytes)?,
        SynthForm::Helios => trace::write::helios(&jobs, &mut bytes)?,
        SynthForm::Sacct | SynthForm::Millpond => trace::write::sacct(&jobs, &mut bytes)?,
    }
    Ok(bytes)
}

/// Says how like the held-out rest of a trace the made-up workload is, beside how like it the fitted part is.
fn check(out: &Out, args: &SynthArgs) -> Done {
    if fs::metadata(&args.source).is_ok_and(|file| file.is_file())
        && fs::read(&args.source).is_ok_and(|bytes| is_model(&bytes))
    {
        return Err(CliError::Usage {
            what: format!("{}: a model has no rows to compare with", args.source.display()),
            next: Some("name the trace that it was fitted to".to_owned()),
        });
    }
    let jobs = read_trace(out, &args.source, args.format, &trace::Options::default())?;
    let (first, rest) = split(&jobs, FITTED_PERCENT);
    if first.jobs.is_empty() || rest.jobs.is_empty() {
        return Err(CliError::BadFile {
            messages: format!(
                "error: {}: too short to be divided: it is cut at a midnight\nnext: name a trace of two days or more",
                clean(&args.source.display().to_string())
            ),
        });
    }
    let zero = jobs.zero_ms.unwrap_or(0);
    let day = 86_400_000;
    let cut = jobs.workload.jobs.last().map_or(0, |job| job.submit.0) / 100 * FITTED_PERCENT / day * day;
    let later = zero.saturating_add_unsigned(cut);
    let model = fit(&first, jobs.zero_ms);
    let made = |seed, like: &Workload, zero_ms| {
        let options = Options { jobs: Some(like.jobs.len() as u64), zero_ms, ..Options::default() };
        generate(&model, seed, &options)
    };
    let (of_first, of_rest) = (made(args.seed, &first, zero), made(args.seed.wrapping_add(1), &rest, later));
    let rows = [
        ("made, fitted part", compare(&of_first, &first, [zero, zero])),
        ("made, rest", compare(&of_rest, &rest, [later, later])),
        ("fitted part, rest", compare(&first, &rest, [zero, later])),
    ];
    if out.format.is_data() {
        let rows: Vec<Row<'_>> = rows.iter().map(|(between, distances)| Row { between, distances }).collect();
        out.value(&rows)?;
        return Ok(codes::OK);
    }
    out.line("Kolmogorov-Smirnov distances: 0 for one distribution, 1 for two that do not overlap.\n")?;
    let heads = ["GAPS", "PER HOUR", "HOUR OF DAY", "SIZE", "RUN TIME", "SIZE × TIME"];
    let columns = std::iter::once(Column::left("BETWEEN")).chain(heads.map(Column::right));
    let mut table = Table::new(columns.collect());
    for (between, good) in &rows {
        table.row(cells(between, good));
    }
    out.table(&table)?;
    Ok(codes::OK)
}

#[derive(Serialize)]
struct Row<'a> {
    between: &'a str,
    /// In thousandths.
    distances: &'a Goodness,
}

fn cells(between: &str, good: &Goodness) -> Vec<Cell> {
    let of = |milli: u64| Cell::from(format!("{}.{:03}", milli / 1000, milli % 1000));
    let Goodness { gaps, hourly, hours, sizes, durations, work, .. } = *good;
    let distances = [gaps, hourly, hours, sizes, durations, work].map(of);
    std::iter::once(Cell::from(between)).chain(distances).collect()
}
