//! Flags laid over a job file: those of `pond run`, of `#POND` lines and of read `#SBATCH` lines are the same ones.

use crate::error::{Fault, Place, SpecError};
use crate::jobfile::{After, AfterOn, IdleFile, IdleWord, JobFile, ResourcesFile, RetryFile, RetryText};
use crate::read::decode::{unknown_field, unknown_value};
use crate::values::{ArrayText, DiskSize, RetryCause, Span, Text};
use std::fmt;
use std::str::FromStr;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagArity {
    /// Nothing.
    Switch,
    /// A value; the last one counts.
    One,
    /// A value; each use adds one to what the file has.
    Many,
}

/// A flag of `pond run` and of `#POND` lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What follows.
    pub arity: FlagArity,
    /// Name of the value in help.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

const fn one(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, aliases: &[], arity: FlagArity::One, value, help }
}

const fn many(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, aliases: &[], arity: FlagArity::Many, value, help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, aliases: &[], arity: FlagArity::Switch, value: "", help }
}

const fn known_as(flag: Flag, aliases: &'static [&'static str]) -> Flag {
    Flag { aliases, ..flag }
}

/// Every flag there is, in the order of help.
pub const FLAGS: &[Flag] = &[
    one("name", "NAME", "name of the job"),
    known_as(one("project", "QUEUE", "queue it is charged to"), &["queue"]),
    known_as(one("gpu", "DEVICES", "GPUs of each task: 1, H100:8, 0.5, 24GB"), &["gpus"]),
    one("fpga", "DEVICES", "FPGAs of each task"),
    one("npu", "DEVICES", "neural processors of each task"),
    one("opencl", "DEVICES", "OpenCL devices of each task"),
    known_as(one("cpu", "CORES", "cores of each task: 4, 0.5, 4..16"), &["cpus"]),
    known_as(one("memory", "SIZE", "memory of each task: 32GB, 8GB..32GB"), &["mem"]),
    one("disk", "SIZE", "disk of each task's writable layer"),
    one("shm", "SIZE", "size of /dev/shm"),
    one("pids", "COUNT", "most processes and threads of each task"),
    one("nodes", "COUNT", "tasks that start together: 4, or 2..4 when elastic"),
    known_as(one("time", "TIME", "run time after which it is stopped: 90m, 24h"), &["time-limit"]),
    one("estimate", "TIME", "how long you think it runs; nothing is stopped by it"),
    one("grace", "TIME", "between the stop signal and the kill"),
    one("min-runtime", "TIME", "once started, not preempted for this long"),
    one("class", "CLASS", "critical, standard or spare"),
    one("priority", "PRIORITY", "low, normal, high, or 0 to 1000"),
    switch("no-preempt", "never evict it for others"),
    switch("hold", "let it wait until `pond resume`"),
    one("image", "IMAGE", "host, an image in a registry, or the path of an OCI layout"),
    one("isolation", "KIND", "container or process"),
    known_as(many("env", "NAME=VALUE", "environment variable"), &[]),
    many("secret", "NAME", "secret put into the environment"),
    many("volume", "HOST:INSIDE[:ro]", "folder of the machine seen inside"),
    known_as(many("files", "PATH", "file or folder copied into the working folder"), &["file"]),
    many("label", "NAME=VALUE", "label the node must carry"),
    known_as(many("port", "PORT", "port reachable on the machine's loopback"), &["ports"]),
    one("workdir", "DIR", "working folder inside the task"),
    one("user", "ID[:GROUP]", "user and group ids inside: 1000, 1000:100"),
    one("setup", "SCRIPT", "shell script run before the command"),
    one("array", "INDICES", "run once for each index: 0-9, 0-99%4"),
    one("parallel", "COUNT", "most array elements that run at once"),
    known_as(many("after", "JOB[,JOB]", "wait until these jobs succeeded"), &[]),
    many("after-end", "JOB[,JOB]", "wait until these jobs ended, however they did"),
    one("retry", "COUNT", "further attempts"),
    one("retry-on", "CAUSE[,CAUSE]", "what is retried: node_failure, preempted, failed, exit:75, ..."),
    one("checkpoint-dir", "DIR", "folder inside the task where checkpoints are"),
    one("checkpoint-signal", "SIGNAL", "signal sent before an eviction"),
    one("checkpoint-grace", "TIME", "how long before an eviction"),
    one("ide", "IDE", "what an environment starts: jupyter, vscode, none"),
    one("idle-after", "TIME", "an unused environment is paused after this long"),
    one("idle-action", "ACTION", "pause or stop"),
    switch("tty", "give the command a terminal"),
    one("stdin", "PATH", "file that the command reads as its standard input"),
];

/// Flags with their values, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    flag: &'static Flag,
    value: String,
    place: Option<Place>,
}

impl Flag {
    /// The flag with this name or alias; dashes in front and `_` for `-` are allowed.
    ///
    /// # Errors
    /// No flag has this name.
    pub fn find(name: &str) -> Result<&'static Self, SpecError> {
        let plain = name.trim_start_matches('-').replace('_', "-");
        FLAGS.iter().find(|flag| flag.name == plain || flag.aliases.contains(&plain.as_str())).ok_or_else(
            || {
                let known: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
                SpecError::of(&format!("--{plain}"), unknown_field(&plain, &known))
            },
        )
    }
}

impl Overrides {
    /// No flags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a flag; `value` is ignored for a switch. The value is read when the flags are applied.
    ///
    /// # Errors
    /// No flag has this name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SpecError> {
        self.set_at(name, value, None)
    }

    pub(crate) fn set_at(&mut self, name: &str, value: &str, place: Option<Place>) -> Result<(), SpecError> {
        let flag = Flag::find(name).map_err(|error| SpecError { place, ..error })?;
        self.items.push(Item { flag, value: value.to_owned(), place });
        Ok(())
    }

    /// Lays the flags over a job, in order: later ones win.
    ///
    /// # Errors
    /// The first value that its flag does not take; `job` is then half changed and of no use.
    pub fn apply(&self, job: &mut JobFile) -> Result<(), SpecError> {
        for item in &self.items {
            let field = format!("--{}", item.flag.name);
            apply_one(job, item.flag.name, &item.value)
                .map_err(|fault| SpecError { place: item.place, ..SpecError::of(&field, fault) })?;
        }
        Ok(())
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, Fault>
where
    T::Err: fmt::Display,
{
    text.parse().map_err(|why: T::Err| Fault::BadValue { why: why.to_string() })
}

fn number(text: &str) -> Result<u32, Fault> {
    text.parse().map_err(|_why| Fault::WrongType {
        expected: "a whole number".to_owned(),
        found: format!("`{}`", crate::read::short(text)),
        quoted: None,
    })
}

fn word<'t, T: serde::Deserialize<'t>>(text: &'t str, known: &[&str]) -> Result<T, Fault> {
    let deserializer: serde::de::value::StrDeserializer<'t, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(text);
    T::deserialize(deserializer).map_err(|_why| unknown_value(text, known))
}

fn pair(text: &str) -> Result<(String, Text), Fault> {
    let (name, value) = text.split_once('=').ok_or_else(|| Fault::BadValue {
        why: format!("`{}` has no value; write NAME=VALUE", crate::read::short(text)),
    })?;
    Ok((name.to_owned(), Text(value.to_owned())))
}

fn awaited(text: &str, on: AfterOn) -> impl Iterator<Item = After> + '_ {
    text.split(',').filter(|job| !job.is_empty()).map(move |job| {
        let job = Text(job.trim().to_owned());
        if on == AfterOn::Success { After::Job(job) } else { After::On { job, on } }
    })
}

fn apply_one(job: &mut JobFile, name: &str, value: &str) -> Result<(), Fault> {
    let text = || Some(value.to_owned());
    match name {
        "name" => job.name = text(),
        "project" => job.project = text(),
        "nodes" => job.nodes = Some(parse(value)?),
        "time" => job.time_limit = Some(parse(value)?),
        "estimate" => job.estimate = Some(parse(value)?),
        "grace" => job.grace = Some(parse(value)?),
        "min-runtime" => job.min_runtime = Some(parse(value)?),
        "class" => job.class = Some(word(value, &["critical", "standard", "spare"])?),
        "priority" => job.priority = Some(parse(value)?),
        "no-preempt" => job.preemptible = Some(false),
        "hold" => job.hold = Some(true),
        "image" => job.image = Some(parse(value)?),
        "isolation" => job.isolation = Some(word(value, &["process", "container", "vm"])?),
        "env" => job.env.extend([pair(value)?]),
        "secret" => job.secrets.push(value.to_owned()),
        "volume" => job.volumes.push(parse(value)?),
        "files" => job.files.push(value.to_owned()),
        "label" => job.labels.extend([pair(value)?]),
        "port" => job.ports.push(parse(value)?),
        "workdir" => job.workdir = text(),
        "user" => job.user = Some(parse(value)?),
        "setup" => job.setup = text(),
        "array" => job.array = Some(ArrayText::One(parse(value)?)),
        "parallel" => job.parallel = Some(number(value)?),
        "after" => job.after.extend(awaited(value, AfterOn::Success)),
        "after-end" => job.after.extend(awaited(value, AfterOn::End)),
        "ide" => job.ide = Some(word(value, &["jupyter", "vscode", "none"])?),
        "tty" => job.tty = Some(true),
        "stdin" => job.stdin = text(),
        "retry" | "retry-on" => retry(job, name, value)?,
        "idle-after" | "idle-action" => idle(job, name, value)?,
        "checkpoint-dir" | "checkpoint-signal" | "checkpoint-grace" => checkpoint(job, name, value)?,
        resource => resources(job.resources.get_or_insert_default(), resource, value)?,
    }
    Ok(())
}

fn resources(resources: &mut ResourcesFile, name: &str, value: &str) -> Result<(), Fault> {
    let devices = || parse::<crate::values::Devices>(value).map(Some);
    match name {
        "gpu" => resources.gpu = devices()?,
        "fpga" => resources.fpga = devices()?,
        "npu" => resources.npu = devices()?,
        "opencl" => resources.opencl = devices()?,
        "cpu" => resources.cpu = Some(parse(value)?),
        "memory" => resources.memory = Some(parse(value)?),
        "disk" => resources.disk = Some(parse::<DiskSize>(value)?),
        "shm" => resources.shm = Some(parse::<DiskSize>(value)?),
        _ => resources.pids = Some(number(value)?),
    }
    Ok(())
}

fn retry(job: &mut JobFile, name: &str, value: &str) -> Result<(), Fault> {
    if name == "retry" {
        let times = number(value)?;
        job.retry = Some(match job.retry.take() {
            Some(RetryText::Full(full)) => RetryText::Full(RetryFile { max: Some(times), ..full }),
            _ => RetryText::Times(times),
        });
        return Ok(());
    }
    let causes: Result<Vec<RetryCause>, Fault> =
        value.split(',').filter(|cause| !cause.is_empty()).map(|cause| parse(cause.trim())).collect();
    let (max, backoff) = match job.retry.take() {
        Some(RetryText::Times(times)) => (Some(times), None),
        Some(RetryText::Full(full)) => (full.max, full.backoff),
        None => (None, None),
    };
    job.retry = Some(RetryText::Full(RetryFile { on: Some(causes?), max, backoff }));
    Ok(())
}

fn idle(job: &mut JobFile, name: &str, value: &str) -> Result<(), Fault> {
    let half_an_hour = Span(pond_core::units::Millis(1_800_000));
    let idle = job.idle.get_or_insert(IdleFile { after: half_an_hour, action: IdleWord::Pause });
    if name == "idle-after" {
        idle.after = parse(value)?;
    } else {
        idle.action = word(value, &["pause", "stop"])?;
    }
    Ok(())
}

fn checkpoint(job: &mut JobFile, name: &str, value: &str) -> Result<(), Fault> {
    let checkpoint = job.checkpoint.get_or_insert_default();
    match name {
        "checkpoint-dir" => checkpoint.dir = Some(value.to_owned()),
        "checkpoint-signal" => checkpoint.signal = Some(parse(value)?),
        _ => checkpoint.grace = Some(parse(value)?),
    }
    Ok(())
}
