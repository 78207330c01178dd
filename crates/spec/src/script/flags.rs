//! The flags of `sbatch`: which have a value, and what becomes of each.

use super::words::Word;
use crate::error::{Fault, SpecError};
use crate::read::decode::unknown_field;
use crate::read::short;

/// Whether a flag has a value.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Arg {
    None,
    Needed,
    Optional,
}

/// What becomes of a flag.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    /// Read below, by its long name.
    Read,
    /// Means nothing here, and nothing is lost.
    Silent,
    /// Cannot be honoured: why, and what holds instead.
    Warn(&'static str),
}

pub(super) struct Known {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) arg: Arg,
    pub(super) fate: Fate,
}

const fn read(long: &'static str, short: Option<char>) -> Known {
    Known { long, short, arg: Arg::Needed, fate: Fate::Read }
}

const fn warn(long: &'static str, short: Option<char>, arg: Arg, why: &'static str) -> Known {
    Known { long, short, arg, fate: Fate::Warn(why) }
}

const LAYOUT: &str = "the pool decides where tasks and their cores are";
const NAMED: &str = "nodes are chosen by labels: use `#POND --label NAME=VALUE`";
const NO_LICENCE: &str = "the pool counts no licences and has no reservations";
const START: &str = "the job may start at once; delay the submission instead";

pub(super) const FLAGS: &[Known] = &[
    read("job-name", Some('J')),
    read("nodes", Some('N')),
    read("ntasks", Some('n')),
    read("ntasks-per-node", None),
    read("cpus-per-task", Some('c')),
    read("mem", None),
    read("mem-per-cpu", None),
    read("mem-per-gpu", None),
    read("gres", None),
    read("gpus", Some('G')),
    read("gpus-per-node", None),
    read("gpus-per-task", None),
    read("cpus-per-gpu", None),
    read("time", Some('t')),
    read("partition", Some('p')),
    read("array", Some('a')),
    read("dependency", Some('d')),
    read("chdir", Some('D')),
    read("input", Some('i')),
    read("output", Some('o')),
    read("error", Some('e')),
    read("open-mode", None),
    read("export", None),
    Known { long: "requeue", short: None, arg: Arg::None, fate: Fate::Read },
    Known { long: "no-requeue", short: None, arg: Arg::None, fate: Fate::Read },
    read("signal", None),
    Known { long: "hold", short: Some('H'), arg: Arg::None, fate: Fate::Read },
    Known { long: "nice", short: None, arg: Arg::Optional, fate: Fate::Read },
    read("priority", None),
    read("mail-type", None),
    read("mail-user", None),
    read("tmp", None),
    read("wrap", None),
    Known { long: "comment", short: None, arg: Arg::Needed, fate: Fate::Silent },
    Known { long: "verbose", short: Some('v'), arg: Arg::None, fate: Fate::Silent },
    Known { long: "quiet", short: Some('Q'), arg: Arg::None, fate: Fate::Silent },
    Known { long: "parsable", short: None, arg: Arg::None, fate: Fate::Silent },
    Known { long: "kill-on-invalid-dep", short: None, arg: Arg::Needed, fate: Fate::Silent },
    Known { long: "wait", short: Some('W'), arg: Arg::None, fate: Fate::Silent },
    warn("account", Some('A'), Arg::Needed, "there are no accounts; the queue is `--partition`"),
    warn(
        "qos",
        Some('q'),
        Arg::Needed,
        "there is no quality of service; use `#POND --class` and `--priority`",
    ),
    warn("exclusive", None, Arg::Optional, "other tasks may be on the node; ask for all its cores instead"),
    warn("oversubscribe", Some('s'), Arg::None, "cores are granted, not shared; use `#POND --class spare`"),
    warn("constraint", Some('C'), Arg::Needed, NAMED),
    warn("prefer", None, Arg::Needed, NAMED),
    warn("nodelist", Some('w'), Arg::Needed, NAMED),
    warn("nodefile", Some('F'), Arg::Needed, NAMED),
    warn("exclude", Some('x'), Arg::Needed, NAMED),
    warn("contiguous", None, Arg::None, LAYOUT),
    warn("switches", None, Arg::Needed, LAYOUT),
    warn("distribution", Some('m'), Arg::Needed, LAYOUT),
    warn("hint", None, Arg::Needed, LAYOUT),
    warn("extra-node-info", Some('B'), Arg::Needed, LAYOUT),
    warn("sockets-per-node", None, Arg::Needed, LAYOUT),
    warn("cores-per-socket", None, Arg::Needed, LAYOUT),
    warn("threads-per-core", None, Arg::Needed, LAYOUT),
    warn("ntasks-per-core", None, Arg::Needed, LAYOUT),
    warn("ntasks-per-socket", None, Arg::Needed, LAYOUT),
    warn("ntasks-per-gpu", None, Arg::Needed, LAYOUT),
    warn("gpus-per-socket", None, Arg::Needed, LAYOUT),
    warn("gpu-bind", None, Arg::Needed, LAYOUT),
    warn("gpu-freq", None, Arg::Needed, LAYOUT),
    warn("cpu-freq", None, Arg::Needed, LAYOUT),
    warn("mem-bind", None, Arg::Needed, LAYOUT),
    warn("mincpus", None, Arg::Needed, LAYOUT),
    warn("core-spec", Some('S'), Arg::Needed, LAYOUT),
    warn("thread-spec", None, Arg::Needed, LAYOUT),
    warn("gres-flags", None, Arg::Needed, LAYOUT),
    warn("overcommit", Some('O'), Arg::None, LAYOUT),
    warn("spread-job", None, Arg::None, LAYOUT),
    warn("use-min-nodes", None, Arg::None, LAYOUT),
    warn("network", None, Arg::Needed, "the pool makes a task's network"),
    warn("begin", Some('b'), Arg::Needed, START),
    warn("immediate", Some('I'), Arg::Optional, "the job waits when it cannot start at once"),
    warn("deadline", None, Arg::Needed, "only `--time` bounds the job"),
    warn("time-min", None, Arg::Needed, "only `--time` bounds the job"),
    warn("licenses", Some('L'), Arg::Needed, NO_LICENCE),
    warn("reservation", None, Arg::Needed, NO_LICENCE),
    warn("clusters", Some('M'), Arg::Needed, "there is one pool"),
    warn("burst-buffer", None, Arg::Needed, "there is no burst buffer"),
    warn("bb", None, Arg::Needed, "there is no burst buffer"),
    warn("bbf", None, Arg::Needed, "there is no burst buffer"),
    warn("uid", None, Arg::Needed, "a job runs as who submits it"),
    warn("gid", None, Arg::Needed, "a job runs as who submits it"),
    warn(
        "get-user-env",
        None,
        Arg::Optional,
        "the environment at submission is not passed on; use `--export=NAME=VALUE`",
    ),
    warn(
        "export-file",
        None,
        Arg::Needed,
        "the environment at submission is not passed on; use `--export=NAME=VALUE`",
    ),
    warn("no-kill", Some('k'), Arg::Optional, "a gang ends when one of its nodes is lost"),
    warn("reboot", None, Arg::None, "nodes are not rebooted for a job"),
    warn("power", None, Arg::Needed, "power is not managed"),
    warn("profile", None, Arg::Needed, "use is always sampled; see `pond usage`"),
    warn("acctg-freq", None, Arg::Needed, "use is always sampled; see `pond usage`"),
    warn("propagate", None, Arg::Optional, "limits of the submitting shell are not passed on"),
    warn("container", None, Arg::Needed, "use `#POND --image PATH`"),
    warn("ignore-pbs", None, Arg::None, "#PBS lines are never read"),
    warn("delay-boot", None, Arg::Needed, "nodes are not booted for a job"),
    warn("mcs-label", None, Arg::Needed, "use `#POND --label NAME=VALUE`"),
    warn("wckey", None, Arg::Needed, "there are no accounts; the queue is `--partition`"),
    warn("test-only", None, Arg::None, "use `pond plan`"),
];

/// The flag of a word, as getopt finds it: `--long`, `--long=value`, a unique beginning of it, `-N2`, `-N`.
pub(super) fn find(word: &Word) -> Result<(&'static Known, Option<String>), SpecError> {
    let text = word.text.as_str();
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let begun: Vec<&Known> =
            FLAGS.iter().filter(|known| !name.is_empty() && known.long.starts_with(name)).collect();
        let exact = FLAGS.iter().find(|known| known.long == name);
        return match (exact, begun.as_slice()) {
            (Some(known), _) => taken(known, value, word),
            (None, [known]) => taken(known, value, word),
            _ => {
                let names: Vec<&str> = FLAGS.iter().map(|known| known.long).collect();
                Err(word.error(&format!("--{}", short(name)), unknown_field(name, &names)))
            }
        };
    }
    let mut chars = text.chars();
    if let (Some('-'), Some(letter)) = (chars.next(), chars.next())
        && let Some(known) = FLAGS.iter().find(|known| known.short == Some(letter))
    {
        let rest = chars.as_str();
        let value = rest.strip_prefix('=').unwrap_or(rest);
        return taken(known, (!value.is_empty()).then(|| value.to_owned()), word);
    }
    let why = format!("`{}` is not a flag of sbatch", short(text));
    Err(word.error("", Fault::BadValue { why }))
}

pub(super) fn taken(
    known: &'static Known,
    value: Option<String>,
    word: &Word,
) -> Result<(&'static Known, Option<String>), SpecError> {
    if known.arg == Arg::None && value.is_some() {
        let why = "takes no value".to_owned();
        return Err(word.error(&format!("--{}", known.long), Fault::BadValue { why }));
    }
    Ok((known, value))
}
