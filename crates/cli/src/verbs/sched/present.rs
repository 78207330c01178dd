//! What is shown of runs: a table, JSON, CSV files, a page.

use crate::args::ReportArgs;
use crate::error::CliError;
use crate::out::{Cell, Column, Out, Style, Table, clean};
use pond_sim::outcome::Outcome;
use pond_sim::report::{
    Bootstrap, Comparison, Difference, Metric, Page, Run, Summary, Verdict, compare, grouped, hours,
    jobs_csv, percent, ratio, seconds, series_csv, summaries_csv, thousandths,
};
use serde::Serialize;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Runs with their names, in the order in which they are shown.
#[derive(Debug)]
pub struct Runs {
    /// Heading.
    pub title: String,
    /// A line below it.
    pub about: String,
    /// Names and outcomes.
    pub runs: Vec<(String, Outcome)>,
}

/// Figures of all runs.
#[derive(Serialize)]
struct Answer<'a> {
    title: &'a str,
    about: &'a str,
    runs: &'a [Summary],
    comparisons: &'a [Comparison],
}

/// Prints the runs and writes the files that were asked for.
///
/// # Errors
/// A file cannot be written.
pub fn present(out: &Out, runs: &Runs, args: &ReportArgs) -> Result<(), CliError> {
    let bootstrap = Bootstrap { resamples: args.resamples, block: args.block, ..Bootstrap::default() };
    let summaries: Vec<Summary> = runs
        .runs
        .iter()
        .map(|(label, outcome)| Summary { name: label.clone(), ..Summary::of(outcome) })
        .collect();
    let comparisons: Vec<Comparison> = match runs.runs.split_first() {
        Some(((first, base), others)) => others
            .iter()
            .map(|(label, other)| Comparison {
                first: first.clone(),
                second: label.clone(),
                ..compare(base, other, bootstrap)
            })
            .collect(),
        None => Vec::new(),
    };
    if let Some(dir) = &args.csv {
        write_csv(dir, runs, &summaries)?;
    }
    if let Some(path) = &args.html {
        let shown: Vec<Run<'_>> = runs
            .runs
            .iter()
            .zip(&summaries)
            .map(|((label, outcome), summary)| Run { label, outcome, summary })
            .collect();
        let page = Page { title: &runs.title, about: &runs.about, runs: &shown, comparisons: &comparisons };
        write(path, page.html().as_bytes())?;
    }
    if out.format.is_data() {
        out.value(&Answer {
            title: &runs.title,
            about: &runs.about,
            runs: &summaries,
            comparisons: &comparisons,
        })?;
    } else {
        out.line(
            &out.paint(Style::Bold, &format!("{} of {}", jobs_in_words(&summaries), clean(&runs.title))),
        )?;
        out.line(&out.paint(Style::Dim, &clean(&runs.about)))?;
        out.line("")?;
        out.table(&figures(&summaries, &comparisons))?;
        warnings(out, &summaries);
    }
    for path in [&args.html, &args.csv].into_iter().flatten() {
        out.note(&format!("written: {}", path.display()));
    }
    Ok(())
}

fn jobs_in_words(summaries: &[Summary]) -> String {
    match summaries.first().map_or(0, |summary| summary.jobs) {
        1 => "1 job".to_owned(),
        jobs => format!("{} jobs", grouped(jobs)),
    }
}

/// Writes a file. What was there before stays until the new text is whole.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    replace(path, bytes).map_err(|why| CliError::io(format!("writing {}", path.display()), why))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Behind a link it is what it leads to that is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_not_there| path.to_owned());
    let before = fs::metadata(&path).ok();
    // A device or a pipe takes text as it comes.
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return fs::write(&path, bytes);
    }
    match replace_whole(&path, before.as_ref(), bytes) {
        // One may be allowed to change a file and not its folder.
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied && before.is_some() => {
            fs::write(&path, bytes)
        }
        written => written,
    }
}

/// By a draft beside it, which has the rights of what was there before it has any content.
fn replace_whole(path: &Path, before: Option<&fs::Metadata>, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let rights = before.map_or_else(|| fs::Permissions::from_mode(0o666), fs::Metadata::permissions);
    let mut draft = tempfile::Builder::new()
        .prefix(".pond-")
        .permissions(rights)
        .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
        // Without the draft's own name, which tells nobody anything.
        .map_err(|why| io::Error::from(why.kind()))?;
    draft.as_file_mut().write_all(bytes)?;
    if let Some(before) = before {
        // The mask of this process may have taken some away.
        draft.as_file().set_permissions(before.permissions())?;
    }
    draft.persist(path).map_err(|why| why.error)?;
    Ok(())
}

/// Whether files can be put where the command line says, as far as that can be known before they are made: a long
/// simulation is not to end in a mistyped name.
///
/// # Errors
/// A folder that is not there, or one where a file is to be.
pub fn places<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), CliError> {
    for path in files {
        let shown = clean(&path.display().to_string()).into_owned();
        let wrong = |what: String, next: &str| CliError::Usage { what, next: Some(next.to_owned()) };
        if path.is_dir() {
            return Err(wrong(format!("`{shown}` is a folder"), "name a file in it"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(wrong(format!("there is no folder to write `{shown}` in"), "make the folder first"));
        }
        if !may_write(path) {
            return Err(wrong(format!("`{shown}` may not be written"), "name a file where you may write"));
        }
    }
    Ok(())
}

/// Whether a file can be written, one that is there or a new one: a draft is made beside it, as [`write`] does, and taken away.
fn may_write(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = || tempfile::Builder::new().prefix(".pond-").tempfile_in(folder).is_ok();
    match fs::metadata(path) {
        // One may be allowed to change a file and not its folder.
        Ok(file) if file.is_file() => fs::OpenOptions::new().append(true).open(path).is_ok() || draft(),
        // A device or a pipe takes what it is given.
        Ok(_) => true,
        Err(_not_there) => draft(),
    }
}

impl ReportArgs {
    /// As [`places`], for all that a report writes, and for one file more.
    ///
    /// # Errors
    /// As [`places`], and a file where a folder is to be.
    pub fn places(&self, save: Option<&PathBuf>) -> Result<(), CliError> {
        places(self.html.iter().chain(save))?;
        match &self.csv {
            Some(folder) if folder.exists() && !folder.is_dir() => Err(CliError::Usage {
                what: format!("`{}` is a file", clean(&folder.display().to_string())),
                next: Some("--csv takes a folder; one that is not there is made".to_owned()),
            }),
            Some(folder) => {
                // The nearest folder above that is there has to take it.
                let there =
                    folder.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists());
                let inside = there.unwrap_or(Path::new("")).join("summary.csv");
                if may_write(&inside) {
                    return Ok(());
                }
                Err(CliError::Usage {
                    what: format!("nothing may be written in `{}`", clean(&folder.display().to_string())),
                    next: Some("name a folder where you may write".to_owned()),
                })
            }
            None => Ok(()),
        }
    }
}

fn write_csv(dir: &Path, runs: &Runs, summaries: &[Summary]) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|why| CliError::io(format!("making {}", dir.display()), why))?;
    write(&dir.join("summary.csv"), summaries_csv(summaries).as_bytes())?;
    for (label, outcome) in &runs.runs {
        let plain: String = label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-+.".contains(c) { c } else { '_' })
            .collect();
        write(&dir.join(format!("jobs-{plain}.csv")), jobs_csv(outcome).as_bytes())?;
        write(&dir.join(format!("series-{plain}.csv")), series_csv(outcome).as_bytes())?;
    }
    Ok(())
}

/// The comparison: a row a run.
fn figures(summaries: &[Summary], comparisons: &[Comparison]) -> Table {
    let mut table = Table::new(vec![
        Column::left("POLICY"),
        Column::right("JCT s"),
        Column::right("P50"),
        Column::right("P99"),
        Column::right("P99.9"),
        Column::right("QUEUE s"),
        Column::right("P99"),
        Column::right("SLOWDOWN"),
        Column::right("P99").wide(),
        Column::right("EVICTED"),
        Column::right("MOVED").wide(),
        Column::right("FAULTS").wide(),
        Column::right("LOST h"),
        Column::right("ALLOC %"),
        Column::right("FRAG %").wide(),
        Column::right("FAIR"),
        Column::right("NOT DONE"),
        Column::left("MEAN JCT AGAINST THE FIRST"),
    ]);
    let any = |run: &Summary| run.all.jct_ms.count > 0;
    let best = summaries.iter().filter(|run| any(run)).map(|run| run.all.jct_ms.mean).min();
    for (at, run) in summaries.iter().enumerate() {
        let is_best = any(run) && best == Some(run.all.jct_ms.mean) && summaries.len() > 1;
        let style = if is_best { Style::Green } else { Style::Plain };
        // Nothing is known of times where no job ended; 0 would be the best there is.
        let seconds = |ms| if any(run) { seconds(ms) } else { "-".to_owned() };
        let thousandths = |milli| if any(run) { thousandths(milli) } else { "-".to_owned() };
        let versus =
            at.checked_sub(1).and_then(|at| comparisons.get(at)).and_then(mean_jct).filter(|_| any(run));
        table.row(vec![
            Cell::styled(style, &run.name),
            Cell::styled(style, &seconds(run.all.jct_ms.mean)),
            seconds(run.all.jct_ms.p50).into(),
            seconds(run.all.jct_ms.p99).into(),
            seconds(run.all.jct_ms.p999).into(),
            seconds(run.all.queue_ms.mean).into(),
            seconds(run.all.queue_ms.p99).into(),
            thousandths(run.all.slowdown_milli.mean).into(),
            thousandths(run.all.slowdown_milli.p99).into(),
            grouped(run.preemptions).into(),
            grouped(run.migrations).into(),
            grouped(run.faults).into(),
            hours(u128::from(run.lost_device_s) * 1_000_000).into(),
            percent(if run.allocation_ppm > 0 { run.allocation_ppm } else { run.cpu_allocation_ppm }).into(),
            percent(run.fragmentation_ppm).into(),
            ratio(run.jain_ppm).into(),
            grouped(run.jobs - run.all.jct_ms.count).into(),
            versus.map_or_else(|| Cell::from(""), versus_cell),
        ]);
    }
    table
}

fn mean_jct(comparison: &Comparison) -> Option<&Difference> {
    comparison.differences.iter().find(|found| found.metric == Metric::MeanJct)
}

/// The difference in percent with its interval; dim where it may be chance.
fn versus_cell(found: &Difference) -> Cell {
    let part = |ppm: i128| {
        let tenths = ppm.unsigned_abs() / 1000;
        format!("{}{}.{}", if ppm < 0 { "-" } else { "+" }, tenths / 10, tenths % 10)
    };
    let change = i128::from(found.difference) * 1_000_000 / i128::from(found.first.max(1));
    let text = match (found.verdict, found.change_ppm) {
        (Verdict::Equal, _) => return Cell::styled(Style::Dim, "equal, job by job"),
        (_, Some([low, high])) => {
            format!("{} % ({} to {})", part(change), part(low.into()), part(high.into()))
        }
        _ => format!("{} %", part(change)),
    };
    match found.verdict {
        Verdict::Lower => Cell::styled(Style::Green, &text),
        Verdict::Higher => Cell::styled(Style::Red, &text),
        _ => Cell::styled(Style::Dim, &format!("{text}, may be chance")),
    }
}

fn warnings(out: &Out, summaries: &[Summary]) {
    for run in summaries {
        if run.violations > 0 {
            out.warn(&format!(
                "{}: the checker of plans found {} violations; this is a defect of ours",
                run.name, run.violations
            ));
        }
        let left = [
            (run.unfinished, "not over at the end"),
            (run.infeasible, "fit nowhere"),
            (run.given_up, "given up after faults"),
        ];
        let words: Vec<String> = left
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !words.is_empty() {
            out.warn(&format!(
                "{}: jobs that are in no figure of time: {}",
                clean(&run.name),
                words.join(", ")
            ));
        }
    }
}
