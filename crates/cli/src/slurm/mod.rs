//! Slurm's commands for hands that know them: the same words in, the familiar columns out.
//!
//! Called by a link named `sbatch`, `srun`, `squeue`, `scancel`, `sinfo` or `sacct` that leads to `pond`.
//! Flags that cannot be honoured are refused with a word, never silently dropped; those of scripts warn.

mod along;
mod flags;
mod format;
mod look;
mod submit;

use crate::error::Done;
use crate::verbs::Ctx;

/// Which one we were called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// Submit a script.
    Sbatch,
    /// Run a command and stay with it.
    Srun,
    /// What waits and runs.
    Squeue,
    /// End jobs.
    Scancel,
    /// Nodes.
    Sinfo,
    /// What was.
    Sacct,
}

impl Shim {
    /// By the program's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sbatch" => Self::Sbatch,
            "srun" => Self::Srun,
            "squeue" => Self::Squeue,
            "scancel" => Self::Scancel,
            "sinfo" => Self::Sinfo,
            "sacct" => Self::Sacct,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sbatch => "sbatch",
            Self::Srun => "srun",
            Self::Squeue => "squeue",
            Self::Scancel => "scancel",
            Self::Sinfo => "sinfo",
            Self::Sacct => "sacct",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Sbatch => {
                "sbatch [FLAGS] SCRIPT [ARG]...\nsbatch [FLAGS] --wrap COMMAND\n\nFlags as in #SBATCH lines; also --parsable, --test-only, --wait.\n"
            }
            Self::Srun => "srun [FLAGS] COMMAND [ARG]...\n\nFlags as in #SBATCH lines.\n",
            Self::Squeue => {
                "squeue [-u USER] [-j JOBS] [-p QUEUE] [-t STATES] [-n NAME] [-h] [-o FORMAT] [--me]\n"
            }
            Self::Scancel => "scancel [-u USER] [-n NAME] [-p QUEUE] [-t STATE] [-s SIGNAL KILL] [JOB]...\n",
            Self::Sinfo => "sinfo [-N] [-h] [-o FORMAT]\n",
            Self::Sacct => "sacct [-j JOBS] [-u USER] [-s STATES] [-n] [-P] [-X] [-o FIELDS]\n",
        }
    }
}

/// Does what the command does.
///
/// # Errors
/// A flag that means nothing here, or as the verb behind it.
pub fn run(ctx: &Ctx, shim: Shim, args: &[String]) -> Done {
    if args.iter().take_while(|arg| arg.starts_with('-')).any(|arg| arg == "--help" || arg == "--usage") {
        ctx.out.text(shim.help())?;
        return Ok(0);
    }
    if args.first().is_some_and(|arg| arg == "--version" || arg == "-V") {
        ctx.out.line(&format!("pond {} as {}", env!("CARGO_PKG_VERSION"), shim.name()))?;
        return Ok(0);
    }
    match shim {
        Shim::Sbatch => submit::sbatch(ctx, args),
        Shim::Srun => submit::srun(ctx, args),
        Shim::Squeue => look::squeue(ctx, args),
        Shim::Scancel => look::scancel(ctx, args),
        Shim::Sinfo => look::sinfo(ctx, args),
        Shim::Sacct => look::sacct(ctx, args),
    }
}
