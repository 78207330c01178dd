//! Made-up workloads: `cargo run --release -p pond-sim --example synth -- fit TRACE [MODEL.json]` fits a model on the first 60 % of a
//! trace's time and compares what it generates with the rest; `… -- make MODEL.json FORMAT JOBS SEED` writes one (FORMAT:
//! `millpond`, `swf`, `helios` or `sacct`); `… -- month JOBS NODES MODEL.json` makes a month and says what it is.

use pond_core::units::Millis;
use pond_sim::synth::{Goodness, Model, Options, as_read, cluster, compare, fit, generate, split};
use pond_sim::trace::{Jobs, history, open, write};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const MONTH: Millis = Millis(30 * 86_400_000);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    match words.as_slice() {
        ["fit", trace] => assess(Path::new(trace), None, &mut out)?,
        ["fit", trace, model] => assess(Path::new(trace), Some(Path::new(model)), &mut out)?,
        ["make", model, format, jobs, seed] => {
            make(Path::new(model), format, jobs.parse()?, seed.parse()?, &mut out)?
        }
        ["month", jobs, nodes, model] => month(jobs.parse()?, nodes.parse()?, Path::new(model), &mut out)?,
        _ => {
            return Err(
                "say `fit TRACE [MODEL]`, `make MODEL FORMAT JOBS SEED` or `month JOBS NODES MODEL`".into()
            );
        }
    }
    Ok(out.flush()?)
}

fn load(path: &Path) -> Outcome<Model> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Fits, compares, and writes the model of the whole trace.
fn assess(trace: &Path, model: Option<&Path>, out: &mut impl Write) -> Outcome<()> {
    let jobs = open(trace, None)?.into_jobs().ok_or("the trace holds no jobs")?;
    let zero = jobs.zero_ms.unwrap_or(0);
    let (first, rest) = split(&jobs, 60);
    let cut = jobs.workload.jobs.last().map_or(0, |job| job.submit.0) / 10 * 6 / 86_400_000 * 86_400_000;
    let later = zero.saturating_add_unsigned(cut);
    let fitted = fit(&first, jobs.zero_ms);
    let like = |jobs: usize, zero_ms| Options { jobs: Some(jobs as u64), zero_ms, ..Options::default() };
    writeln!(
        out,
        "{:22} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}  size~time  top ten",
        "thousandths", "jobs", "per h", "gaps", "hourly", "hours", "sizes", "times", "work"
    )?;
    let of_first = generate(&fitted, 1, &like(first.jobs.len(), zero));
    show(out, "made ~ fitted part", compare(&of_first, &first, [zero, zero]))?;
    let of_rest = generate(&fitted, 2, &like(rest.jobs.len(), later));
    show(out, "made ~ held-out part", compare(&of_rest, &rest, [later, later]))?;
    show(out, "fitted ~ held-out part", compare(&first, &rest, [zero, later]))?;
    if let Some(path) = model {
        fs::write(path, serde_json::to_vec(&fit(&jobs.workload, jobs.zero_ms))?)?;
    }
    Ok(())
}

fn show(out: &mut impl Write, name: &str, good: Goodness) -> std::io::Result<()> {
    let Goodness { gaps, hourly, hours, sizes, durations, work, .. } = good;
    writeln!(
        out,
        "{name:22} {:7} {:7.1} {gaps:6} {hourly:6} {hours:6} {sizes:6} {durations:6} {work:6}  {:?}  {:?}",
        good.jobs[0],
        good.per_hour[0] as f64 / 1000.0,
        good.size_duration,
        good.top_ten_users
    )
}

/// Formats that name the machine get the smallest that could have run the jobs, as a reader makes it up.
fn make(model: &Path, format: &str, jobs: u64, seed: u64, out: &mut impl Write) -> Outcome<()> {
    let options = Options { jobs: Some(jobs), ..Options::default() };
    let workload = generate(&load(model)?, seed, &options);
    let mut lines = Vec::new();
    history::write(
        &Jobs { workload: workload.clone(), zero_ms: Some(options.zero_ms), ..Jobs::default() },
        &mut lines,
    )?;
    let on_machines = as_read(workload, options.zero_ms)?;
    match format {
        "millpond" => out.write_all(&lines)?,
        "swf" => write::swf(&on_machines, out)?,
        "helios" => write::helios(&on_machines, out)?,
        "sacct" => write::sacct(&on_machines, out)?,
        _ => return Err("formats are millpond, swf, helios and sacct".into()),
    }
    Ok(())
}

fn month(jobs: u64, nodes: usize, model: &Path, out: &mut impl Write) -> Outcome<()> {
    let workload =
        generate(&load(model)?, 1, &Options { jobs: Some(jobs), span: Some(MONTH), ..Options::default() });
    let last = workload.jobs.last().map_or(0, |job| job.submit.0);
    let like = pond_sim::trace::helios::cluster(&[], 8, pond_sim::trace::helios::Pooling::Pooled);
    let cluster = cluster(&like, nodes);
    let days = last as f64 / 86_400_000.0;
    writeln!(
        out,
        "{} jobs over {days:.1} days, {} users, {} nodes",
        workload.jobs.len(),
        workload.users.len(),
        cluster.nodes.len()
    )?;
    Ok(())
}
