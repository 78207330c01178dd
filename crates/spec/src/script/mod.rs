//! Scripts that carry their own flags: `#POND` and `#SBATCH` lines above the first command.
//!
//! The script is never changed and never joined into another command line: it is handed as one argument to the
//! interpreter of its first line. A script with `#SBATCH` lines is started through a constant prelude, behind which the
//! node sets the `SLURM_*` variables from the pool's own; see [`SLURM_PRELUDE`].

mod amounts;
mod flags;
mod sbatch;
mod words;

use crate::error::{Fault, Place, SpecError, Warning};
use crate::jobfile::{CommandText, JobFile};
use crate::overrides::{Flag, FlagArity, Overrides};
use crate::values::Text;
use words::{Word, words};

/// What runs before a script with `#SBATCH` lines. Constant: the script and its interpreter come as `"$@"`. The node
/// puts `.start` and its stand-ins for `srun` and `scontrol` into the folder `POND_SLURM` of each task that
/// [`is_slurm`].
pub(crate) const SLURM_PRELUDE: &str = "exec \"$POND_SLURM/.start\" \"$@\"\n";

/// A command as it is run in a job of Slurm's: behind [`SLURM_PRELUDE`].
pub fn as_slurm(argv: impl IntoIterator<Item = String>) -> Vec<String> {
    ["/bin/sh", "-c", SLURM_PRELUDE, "sbatch"].into_iter().map(str::to_owned).chain(argv).collect()
}

/// Whether a command is a script of Slurm's behind [`SLURM_PRELUDE`].
pub(crate) fn is_slurm(argv: &[Text]) -> bool {
    argv.iter().map(|word| word.0.as_str()).take(3).eq(["/bin/sh", "-c", SLURM_PRELUDE])
}

/// Each flag of `sbatch` as it is written, and what becomes of it, in words.
pub(crate) fn slurm_flags() -> Vec<(String, String)> {
    let words = |known: &flags::Known| {
        let short = known.short.map(|letter| format!(", -{letter}")).unwrap_or_default();
        let fate = match known.fate {
            flags::Fate::Read => "read".to_owned(),
            flags::Fate::Silent => "means nothing here".to_owned(),
            flags::Fate::Warn(why) => format!("warning: {why}"),
        };
        (format!("--{}{short}", known.long), fate)
    };
    flags::FLAGS.iter().map(words).collect()
}

/// One `#POND` or `#SBATCH` line, in words.
struct Line {
    slurm: bool,
    words: Vec<Word>,
}

/// Reads a script into a job, and what its flags ask that cannot be honoured.
pub(crate) fn read(text: &str, origin: &str) -> Result<(JobFile, Vec<Warning>), SpecError> {
    sbatch(Some(text), origin, &[], &[], &|_| None)
}

/// Looks a variable of who submits up, for `--export=NAME`.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a script as `sbatch` does: flags of the command line win over those in the script, `args` are the script's own.
/// Without a script, `--wrap` among the flags gives the command.
///
/// # Errors
/// A flag nobody has, a value it does not take, a script whose interpreter takes no script as an argument.
pub fn sbatch(
    script: Option<&str>,
    origin: &str,
    flags: &[String],
    args: &[String],
    variable: Lookup<'_>,
) -> Result<(JobFile, Vec<Warning>), SpecError> {
    let mut warnings = Vec::new();
    let lines = script.map(directives).transpose()?.unwrap_or_default();
    let mut slurm = sbatch::Request::default();
    let mut overrides = Overrides::new();
    let mut is_slurm = !flags.is_empty();
    for line in lines {
        if line.slurm {
            is_slurm = true;
            slurm.add(&line.words)?;
        } else {
            pond_flags(&line.words, &mut overrides)?;
        }
    }
    let given: Vec<Word> = flags.iter().map(|flag| Word { text: flag.clone(), place: None }).collect();
    slurm.add(&given)?;
    let mut job = JobFile::default();
    slurm.finish(&mut job, &mut warnings, variable)?;
    overrides.apply(&mut job)?;
    let wrapped = slurm.wrapped().map(|command| format!("#!/bin/sh\n{command}\n"));
    let Some(text) = script.map(str::to_owned).or(wrapped) else {
        return Err(SpecError::of(
            "",
            Fault::BadValue { why: "no script, and no --wrap to stand for one".to_owned() },
        ));
    };
    job.run = Some(command(&text, origin, is_slurm, args)?);
    let drawn = text.lines().position(draws);
    if let (true, Some(line)) = (is_slurm && job.nodes.is_some_and(|nodes| nodes.max > 1), drawn) {
        let place = Some(Place { line: u32::try_from(line + 1).unwrap_or(u32::MAX), column: 1 });
        let message =
            "`$RANDOM` differs on each node; take `$SLURM_JOB_ID` for what all must agree on".to_owned();
        warnings.push(Warning { origin: String::new(), place, message });
    }
    for warning in &mut warnings {
        origin.clone_into(&mut warning.origin);
    }
    Ok((job, warnings))
}

/// Whether a line of a shell script asks for `$RANDOM`.
fn draws(line: &str) -> bool {
    let whole = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let asks = line.contains("${RANDOM}") || line.split("$RANDOM").skip(1).any(whole);
    asks && !line.trim_start().starts_with('#')
}

/// The flag lines above the first command.
fn directives(text: &str) -> Result<Vec<Line>, SpecError> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            break;
        }
        for (mark, slurm) in [("#POND", false), ("#SBATCH", true)] {
            let Some(rest) = line.strip_prefix(mark) else { continue };
            if rest.starts_with(|c: char| !c.is_whitespace()) {
                continue;
            }
            let start =
                Place { line: u32::try_from(index + 1).unwrap_or(u32::MAX), column: mark.len() as u32 + 1 };
            out.push(Line { slurm, words: words(rest, start)? });
        }
    }
    Ok(out)
}

fn pond_flags(words: &[Word], overrides: &mut Overrides) -> Result<(), SpecError> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.text.strip_prefix("--") else {
            let why = format!("`{}` is not a flag; flags start with --", crate::read::short(&word.text));
            return Err(word.error("", Fault::BadValue { why }));
        };
        let (name, given) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let flag = Flag::find(name).map_err(|error| SpecError { place: word.place, ..error })?;
        let value = match (flag.arity, given) {
            (FlagArity::Switch, Some(_)) => {
                let why = "takes no value".to_owned();
                return Err(word.error(&format!("--{name}"), Fault::BadValue { why }));
            }
            (FlagArity::Switch, None) => String::new(),
            (_, Some(value)) => value,
            (_, None) => match words.next() {
                Some(value) => value.text.clone(),
                None => {
                    let why = format!("needs a value: --{} {}", flag.name, flag.value);
                    return Err(word.error(&format!("--{name}"), Fault::BadValue { why }));
                }
            },
        };
        overrides.set_at(flag.name, &value, word.place)?;
    }
    Ok(())
}

/// The command that runs a script without touching it.
fn command(text: &str, origin: &str, slurm: bool, args: &[String]) -> Result<CommandText, SpecError> {
    let first = text.lines().next().unwrap_or_default();
    let line = first.strip_prefix("#!").unwrap_or("/bin/sh").trim();
    let mut interpreter: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let program = interpreter.iter().rfind(|word| !word.starts_with('-')).cloned().unwrap_or_default();
    let base = program
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let flag = match base {
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "python" | "pypy" => "-c",
        "perl" | "ruby" => "-e",
        _ => {
            let why = format!(
                "interpreter `{}` takes no script as an argument; use sh, bash, zsh, ksh, python, perl or ruby, or write a job file",
                crate::read::short(line)
            );
            let place = Some(Place { line: 1, column: 1 });
            return Err(SpecError { place, ..SpecError::of("run", Fault::BadValue { why }) });
        }
    };
    interpreter.extend([flag.to_owned(), text.to_owned()]);
    // The word after a shell's script is its $0; Python, Perl and Ruby take what follows as arguments already.
    if matches!(base, "sh" | "bash" | "dash" | "zsh" | "ksh") {
        let name = origin.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("script");
        interpreter.push(name.to_owned());
    }
    interpreter.extend(args.iter().cloned());
    let argv = if slurm { as_slurm(interpreter) } else { interpreter };
    Ok(CommandText::Argv(argv.into_iter().map(Text).collect()))
}
