//! `sbatch` and `srun`: flags and scripts are read by the job file's own reader.

use super::Shim;
use crate::error::{CliError, Done, codes};
use crate::jobs::{Prepared, bad_file, preview, submit, text_of};
use crate::out::clean;
use crate::pool::ensure;
use crate::refs::JobRef;
use crate::verbs::Ctx;
use crate::verbs::run::stay;
use crate::verbs::session::code_of;
use crate::verbs::wait::until_over;
use pond_spec::{Context, FlagArity, JobFile, SpecError, into_specs, sbatch as read_sbatch, sbatch_flags};
use std::path::Path;

/// The flags in front, apart from what follows them.
fn split<'a>(shim: Shim, args: &'a [String]) -> Result<(Vec<String>, &'a [String]), CliError> {
    let arity = |name: &str| sbatch_flags().into_iter().find(|flag| flag.is(name)).map(|flag| flag.arity);
    let mut place = 0;
    while let Some(arg) = args.get(place) {
        if arg == "--" {
            return Ok((args[..place].to_vec(), &args[place + 1..]));
        }
        if !arg.starts_with('-') || arg == "-" {
            break;
        }
        place += 1;
        if arg.contains('=') || (!arg.starts_with("--") && arg.len() > 2) {
            continue;
        }
        match arity(arg) {
            Some(FlagArity::Value) => place += 1,
            Some(_) => {}
            None => {
                return Err(CliError::Usage {
                    what: format!("`{arg}` means nothing to this {}", shim.name()),
                    next: Some(format!("`{} --help` says what does", shim.name())),
                });
            }
        }
    }
    let place = place.min(args.len());
    Ok((args[..place].to_vec(), &args[place..]))
}
