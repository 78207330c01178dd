//! `sbatch` and `srun`: flags and scripts are read by the job file's own reader.

use super::along;
use crate::error::{CliError, Done, codes};
use crate::jobs::{Prepared, bad_file, preview, submit, text_of};
use crate::out::clean;
use crate::pool::ensure;
use crate::refs::JobRef;
use crate::term;
use crate::verbs::Ctx;
use crate::verbs::run::{hopeless, stay};
use crate::verbs::session::code_of;
use crate::verbs::wait::{Waited, until_over};
use pond_core::model::Command;
use pond_spec::{Fault, as_slurm, sbatch as read_script};
use std::path::Path;
use std::sync::Arc;

/// The flags in front, apart from what follows them.
fn split(args: &[String]) -> Result<(&[String], &[String]), CliError> {
    let mut place = 0;
    while let Some(arg) = args.get(place) {
        if arg == "--" {
            return Ok((args.get(..place).unwrap_or_default(), args.get(place + 1..).unwrap_or_default()));
        }
        if !arg.starts_with('-') || arg == "-" {
            break;
        }
        place += 1 + usize::from(takes_next(arg)?);
    }
    let place = place.min(args.len());
    Ok(args.split_at(place))
}

/// Whether the word behind this flag is its value. The reader of scripts knows; it is asked with the flag alone.
fn takes_next(flag: &str) -> Result<bool, CliError> {
    let alone = if flag.starts_with("--") { !flag.contains('=') } else { flag.chars().count() == 2 };
    let Err(why) = read_script(Some("#!/bin/sh\n"), "", &[flag.to_owned()], &[], &|_| None) else {
        return Ok(false);
    };
    match *why.fault {
        Fault::BadValue { .. } if alone && !why.field.is_empty() => Ok(true),
        _ if alone => Err(CliError::Usage { what: why.to_string(), next: Some(why.next()) }),
        _ => Ok(false),
    }
}

fn has(flags: &[String], names: &[&str]) -> bool {
    flags.iter().any(|flag| names.contains(&flag.as_str()))
}

/// `sbatch`.
///
/// # Errors
/// The flags or the script are wrong, or no pool answers.
pub fn sbatch(ctx: &Ctx, args: &[String]) -> Done {
    let (flags, rest) = split(args)?;
    // What only concerns this command is not the job's.
    let own = |flag: &&String| {
        !matches!(flag.as_str(), "--parsable" | "--test-only" | "--wait" | "-W" | "--quiet" | "-Q")
    };
    let given: Vec<String> = flags.iter().filter(own).cloned().collect();
    let prepared = match rest {
        [script, arguments @ ..] => {
            let (text, name) = text_of(Path::new(script))?;
            prepared(ctx, Some((&text, &name)), &given, arguments)?
        }
        [] if given.iter().any(|flag| flag.starts_with("--wrap")) => prepared(ctx, None, &given, &[])?,
        [] => {
            let (text, name) = text_of(Path::new("-"))?;
            prepared(ctx, Some((&text, &name)), &given, &[])?
        }
    };
    let mut draft = prepared.only()?;
    let client = ensure(ctx)?;
    along::take(ctx, &client, &mut draft)?;
    if has(flags, &["--test-only"]) {
        let view = preview(&client, &draft)?;
        let sentence = match view.placement.first() {
            Some(place) => format!("sbatch: Job to start now on {}", clean(&place.node)),
            None => format!(
                "sbatch: {}",
                view.why.map_or_else(|| "would wait".to_owned(), |why| clean(&why.sentence).into_owned())
            ),
        };
        ctx.out.line(&sentence)?;
        return Ok(codes::OK);
    }
    let submitted = submit(&client, &draft, &[])?;
    for warning in &submitted.warnings {
        ctx.out.warn(&clean(warning));
    }
    let job = submitted.job;
    if has(flags, &["--parsable"]) {
        ctx.out.line(&job.id.to_string())?;
    } else if !has(flags, &["--quiet", "-Q"]) {
        ctx.out.line(&format!("Submitted batch job {}", job.id))?;
    }
    // As Slurm does when "requested node configuration is not available", but the job is kept, as with `pond run -d`.
    if let Some(sentence) = hopeless(&client, JobRef::job(job.id)) {
        return Err(CliError::CannotPlace { sentence });
    }
    if !has(flags, &["--wait", "-W"]) {
        return Ok(codes::OK);
    }
    match until_over(&client, JobRef::job(job.id), None)? {
        Waited::Over(ended) => Ok(code_of(ended.code)),
        Waited::Infeasible | Waited::OutOfTime => Ok(codes::CANNOT_PLACE),
    }
}

/// `srun`: the command with the flags of `sbatch`, and we stay with it.
///
/// # Errors
/// The flags are wrong, or no pool answers.
pub fn srun(ctx: &Ctx, args: &[String]) -> Done {
    let (args, own) = own_of_srun(args);
    let (flags, command) = split(&args)?;
    if command.is_empty() {
        return Err(CliError::Usage {
            what: "no command to run".to_owned(),
            next: Some("write srun [FLAGS] COMMAND [ARG]...".to_owned()),
        });
    }
    // The reader makes a job of flags and a command line; the command is put in as words, never as text of a shell. It
    // is the one step of the job, which the node's own `srun` starts.
    let mut given = flags.to_vec();
    given.push("--wrap=true".to_owned());
    let mut draft = prepared(ctx, None, &given, &[])?.only()?;
    let own_step = own.iter().copied().filter(|flag| *flag != "--pty");
    let words = ["srun", "--alone"].into_iter().chain(own_step).chain(["--"]).map(str::to_owned);
    let step = words.chain(command.iter().cloned());
    Arc::make_mut(&mut draft.spec.run).command = Command::Argv(as_slurm(step));
    if !flags.iter().any(|flag| flag.starts_with("-J") || flag.starts_with("--job-name")) {
        let name = Path::new(&command[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
        draft.spec.name = name;
    }
    let tty = own.contains(&"--pty");
    if tty && !term::is_interactive() {
        return Err(CliError::Usage {
            what: "--pty needs a terminal".to_owned(),
            next: Some("leave --pty out where none is there".to_owned()),
        });
    }
    Arc::make_mut(&mut draft.spec.run).tty |= tty;
    let client = ensure(ctx)?;
    along::take(ctx, &client, &mut draft)?;
    let job = submit(&client, &draft, &[])?.job;
    stay(ctx, &client, &job, tty)
}

/// Flags of `srun` alone, in front of its command: what is this command's, and what the node's own `srun` is told.
const OWN_OF_SRUN: [&str; 8] =
    ["--pty", "--unbuffered", "-u", "--label", "-l", "--kill-on-bad-exit", "-K", "--mpi=none"];

/// The words without them, and which they were.
fn own_of_srun(args: &[String]) -> (Vec<String>, Vec<&'static str>) {
    let mut own = Vec::new();
    let mut rest = args.iter();
    let mut kept = Vec::new();
    for arg in rest.by_ref() {
        match OWN_OF_SRUN.iter().find(|flag| *flag == arg) {
            Some(flag) => own.push(*flag),
            None => kept.push(arg.clone()),
        }
        // Behind a word that is neither a flag nor the value of one comes what is not ours.
        if split(&kept).is_ok_and(|(flags, _)| flags.len() < kept.len()) {
            break;
        }
    }
    kept.extend(rest.cloned());
    (kept, own)
}

/// A job of a script or of `--wrap`, working where we are, as Slurm's do.
fn prepared(
    ctx: &Ctx,
    script: Option<(&str, &str)>,
    flags: &[String],
    arguments: &[String],
) -> Result<Prepared, CliError> {
    let (text, name) = script.unzip();
    let variable = |name: &str| std::env::var(name).ok();
    let (job, warnings) =
        read_script(text, name.unwrap_or_default(), flags, arguments, &variable).map_err(|why| {
            match (text, name, why.place) {
                (Some(text), Some(name), Some(_)) => bad_file(&why.within(name, text)),
                _ => CliError::Usage { what: why.to_string(), next: Some(why.next()) },
            }
        })?;
    let mut prepared = Prepared::of(vec![job], warnings, None)?;
    let here = std::env::current_dir().map_err(|why| CliError::io("finding this folder", why))?;
    prepared.work_in(&here);
    for warning in &prepared.warnings {
        ctx.out.warn(&clean(&warning.to_string()));
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::{own_of_srun, split};

    #[test]
    fn flags_end_where_the_script_begins() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, flags) in [
            ("-N 2 --time=10 -J x run.sh -N 3", 5),
            ("--parsable run.sh", 1),
            ("-c4 run.sh", 1),
            ("--wrap ls", 2),
            ("run.sh --x", 0),
        ] {
            assert_eq!(split(&words(text)).unwrap().0.len(), flags, "{text}");
        }
        assert!(split(&words("--no-such-flag run.sh")).is_err());
        for (text, kept, own) in [
            ("--pty bash -l", "bash -l", &["--pty"][..]),
            ("-N 1 -u -K -c 2 ls -l -u", "-N 1 -c 2 ls -l -u", &["-u", "-K"]),
            ("ls --pty", "ls --pty", &[]),
        ] {
            assert_eq!(own_of_srun(&words(text)), (words(kept), own.to_vec()), "{text}");
        }
    }
}
