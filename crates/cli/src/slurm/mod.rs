//! Slurm's commands for hands that know them: the same words in, the familiar columns out.
//!
//! Called by a link named `sbatch`, `srun`, `squeue`, `scancel`, `scontrol`, `sinfo` or `sacct` that leads to `pond`; links
//! named as others of Slurm's commands say what to write instead.
//! Flags that cannot be honoured are refused with a word, never silently dropped; those of scripts warn.

mod account;
mod along;
mod control;
mod files;
mod flags;
mod format;
mod nodes;
mod queue;
mod rows;
mod submit;

use crate::error::{CliError, Done};
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
    /// One job or node, and what is done to it.
    Scontrol,
    /// A shell on nodes; not here.
    Salloc,
    /// Use of a running job; not here.
    Sstat,
    /// Use of a job that is over; not here.
    Seff,
    /// Accounts; not here.
    Sacctmgr,
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
            "scontrol" => Self::Scontrol,
            "salloc" => Self::Salloc,
            "sstat" => Self::Sstat,
            "seff" => Self::Seff,
            "sacctmgr" => Self::Sacctmgr,
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
            Self::Scontrol => "scontrol",
            Self::Salloc => "salloc",
            Self::Sstat => "sstat",
            Self::Seff => "seff",
            Self::Sacctmgr => "sacctmgr",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Sbatch => {
                "sbatch [FLAGS] SCRIPT [ARG]...\nsbatch [FLAGS] --wrap COMMAND\n\nFlags as in #SBATCH lines; also --parsable, --test-only, --wait.\n"
            }
            Self::Srun => "srun [FLAGS] COMMAND [ARG]...\n\nFlags as in #SBATCH lines.\n",
            Self::Squeue => {
                "squeue [-u USER] [-j JOBS] [-p QUEUE] [-t STATES] [-n NAME] [-h] [-l] [-r] [-S KEYS] [-o FORMAT] [-O FIELDS] [--me] [--start]\n"
            }
            Self::Scancel => {
                "scancel [-u USER] [-n NAME] [-p QUEUE] [-t STATES] [-s SIGNAL] [--me] [JOB]...\n"
            }
            Self::Sinfo => "sinfo [-N] [-l] [-s] [-h] [-n NODES] [-t STATES] [-o FORMAT]\n",
            Self::Sacct => {
                "sacct [-j JOBS] [-u USER] [-s STATES] [-S MOMENT] [-E MOMENT] [-n] [-P] [-p] [-X] [-b] [-o FIELDS] [--name NAMES] [--array]\nsacct -e\n"
            }
            Self::Scontrol => {
                "scontrol [-o] show {job [JOB], node [NODE], partition, hostnames LIST}\nscontrol {hold, release, suspend, resume, requeue} JOB...\n"
            }
            Self::Salloc | Self::Sstat | Self::Seff | Self::Sacctmgr => "This command is not here.\n",
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
        Shim::Squeue => queue::squeue(ctx, args),
        Shim::Scancel => queue::scancel(ctx, args),
        Shim::Sinfo => nodes::sinfo(ctx, args),
        Shim::Sacct => account::sacct(ctx, args),
        Shim::Scontrol => control::scontrol(ctx, args),
        Shim::Salloc => Err(absent(shim, "use `srun --pty bash` for a shell, `pond run -d` to hold nodes")),
        Shim::Sstat => {
            Err(absent(shim, "use `pond top`, `pond status JOB` or `sacct -j JOB -o JobID,MaxRSS`"))
        }
        Shim::Seff => Err(absent(shim, "use `pond status JOB` and `pond usage`")),
        Shim::Sacctmgr => Err(absent(shim, "there are no accounts: use `pond project` and `pond queue`")),
    }
}

fn absent(shim: Shim, next: &str) -> CliError {
    CliError::Usage { what: format!("{} is not here", shim.name()), next: Some(next.to_owned()) }
}
