//! `pond sched compare`: stored runs side by side.

use super::present::{Runs, present};
use super::store::load;
use crate::args::CompareArgs;
use crate::error::{CliError, Done, codes};
use crate::verbs::Ctx;
use std::collections::BTreeSet;

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
