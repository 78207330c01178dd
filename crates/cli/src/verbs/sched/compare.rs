//! `pond sched compare`: stored runs side by side.

use super::present::{Runs, present};
use super::store::load;
use crate::args::CompareArgs;
use crate::error::{CliError, Done, codes};
use crate::verbs::Ctx;
use pond_core::units::Millis;
use pond_sim::outcome::JobOutcome;
use pond_sim::report::contradiction;
use std::collections::BTreeSet;

const ONE_WORKLOAD: &str = "compare runs of one trace, with the same seed and changes of it";

/// `pond sched compare`.
///
/// # Errors
/// A file is not there or holds something else; fewer than two runs.
pub fn compare(ctx: &Ctx, args: &CompareArgs) -> Done {
    args.report.places(None)?;
    let mut all: Option<Runs> = None;
    for path in &args.files {
        let stored = load(path)?;
        match &mut all {
            None => all = Some(stored),
            Some(all) => all.runs.extend(stored.runs),
        }
    }
    let mut runs = all.filter(|runs| runs.runs.len() > 1).ok_or_else(|| CliError::Usage {
        what: "there is one run, and nothing to compare it with".to_owned(),
        next: Some("name another file, or one that was kept with several policies".to_owned()),
    })?;
    tell_apart(&mut runs);
    must_be_of_one_workload(ctx, &runs)?;
    present(&ctx.out, &runs, &args.report)?;
    Ok(codes::OK)
}

/// Runs of several files may have one name: the second `las` becomes `las (2)`.
fn tell_apart(runs: &mut Runs) {
    let mut known = BTreeSet::new();
    for (label, _) in &mut runs.runs {
        let plain = label.clone();
        for number in 2.. {
            if known.insert(label.clone()) {
                break;
            }
            *label = format!("{plain} ({number})");
        }
    }
}

/// Jobs are paired by their number, so a number has to be the same job in all runs.
fn must_be_of_one_workload(ctx: &Ctx, runs: &Runs) -> Result<(), CliError> {
    let Some(((base, first), others)) = runs.runs.split_first() else { return Ok(()) };
    let known: BTreeSet<u64> = first.jobs.iter().map(|job| job.id).collect();
    for (label, other) in others {
        if let Some((one, two)) = contradiction(first, other) {
            let shown = |job: &JobOutcome| {
                let (submit, duration) = (Millis(job.submit.0), job.duration);
                format!(
                    "submitted after {submit} and running {duration} on {} devices",
                    thousandths(job.devices_milli)
                )
            };
            return Err(CliError::Usage {
                what: format!(
                    "`{base}` and `{label}` are of different workloads: job {} is {} in the one, {} in the other",
                    one.id,
                    shown(one),
                    shown(two)
                ),
                next: Some(ONE_WORKLOAD.to_owned()),
            });
        }
        let both = other.jobs.iter().filter(|job| known.contains(&job.id)).count();
        if both == 0 {
            return Err(CliError::Usage {
                what: format!("`{base}` and `{label}` are of different workloads: no job is in both"),
                next: Some(ONE_WORKLOAD.to_owned()),
            });
        }
        let (less, more) = (first.jobs.len() - both, other.jobs.len() - both);
        if less + more > 0 {
            ctx.out.warn(&format!(
                "{less} jobs of `{base}` are not in `{label}`, and {more} the other way round; what is said of a difference is said of the {both} \
                 that are in both, and the other columns of all"
            ));
        }
    }
    Ok(())
}

fn thousandths(amount: u64) -> String {
    if amount.is_multiple_of(1000) {
        (amount / 1000).to_string()
    } else {
        format!("{}.{:03}", amount / 1000, amount % 1000)
    }
}
