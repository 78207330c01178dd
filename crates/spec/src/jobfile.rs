//! The fields of a job file, as typed structs. The text of each field's doc is its line in `docs/job-file.md` and in
//! the JSON Schema.

use crate::values::{
    ArrayText, Cores, Devices, DiskSize, Factor, ImageText, MemorySize, MomentText, NodeCount, PortText,
    PriorityText, RecipientText, RetryCause, SignalText, Span, Text, UserText, VolumeText,
};
use pond_core::model::{Class, DeviceKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What sort of job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobType {
    /// Runs to an end.
    #[default]
    Task,
    /// An environment a person works in; gives its share back when idle.
    Env,
}

/// What the pool promises a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassWord {
    /// Has a reservation and may preempt.
    Critical,
    /// Keeps what it was granted.
    #[default]
    Standard,
    /// Runs on what others do not use right now.
    Spare,
}

impl From<ClassWord> for Class {
    fn from(word: ClassWord) -> Self {
        match word {
            ClassWord::Critical => Self::Critical,
            ClassWord::Standard => Self::Standard,
            ClassWord::Spare => Self::Spare,
        }
    }
}

/// How far a task is kept from the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IsolationWord {
    /// A process group with limits; it sees the machine's files and network.
    Process,
    /// Namespaces and a root of its own.
    #[default]
    Container,
    /// A kernel of its own. Not built yet.
    Vm,
}

/// What an environment starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdeWord {
    /// JupyterLab, which must be in the image.
    Jupyter,
    /// code-server, which must be in the image.
    Vscode,
    /// Nothing: use `pond exec` and `pond attach`.
    #[default]
    None,
}

/// What happens to an idle environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdleWord {
    /// Stop it, keep its files; `pond resume` goes on.
    #[default]
    Pause,
    /// Stop it for good.
    Stop,
}

/// When to wait for a job no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AfterOn {
    /// Once it succeeded; if it cannot any more, this job is cancelled.
    #[default]
    Success,
    /// Once it ended, however it did.
    End,
}

/// A job to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum After {
    /// Its name in this file, or its id. It must succeed.
    Job(Text),
    /// With a condition.
    On {
        /// Its name in this file, or its id.
        job: Text,
        /// `success` (default) or `end`.
        #[serde(default)]
        on: AfterOn,
    },
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandText {
    /// A shell script.
    Script(String),
    /// Program and arguments.
    Argv(Vec<Text>),
}

/// How a job saves its work before it is evicted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map {dir, signal, grace}")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct CheckpointFile {
    /// Folder inside the task where checkpoints are; in the task as `POND_CHECKPOINT_DIR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Signal sent before any eviction; default SIGUSR1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalText>,
    /// How long before; default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
}

/// How fast it is, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map {models, nodes}")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct SpeedFile {
    /// On each device model, against the one that `estimate` is meant for: `{H100: 1, A100: 0.5}`. Names as in a request for
    /// devices; a model that is not named: 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Factor>,
    /// With so many nodes against one, for elastic jobs: `{1: 1, 2: 1.9, 4: 3.4}`; by straight line in between, constant outside.
    /// Default: in proportion.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, Factor>,
}

/// Further attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a number of attempts, or a map {on, max, backoff}")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct RetryFile {
    /// What is retried; default [node_failure, preempted], which cost no attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<RetryCause>>,
    /// Attempts after the first; default 3 when `on` names a failure of the job itself, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Wait before the second attempt, doubled each time up to an hour; default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
}

/// Whom to tell what becomes of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map {on, to}")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct NotifyFile {
    /// At which moments: `started`, `succeeded`, `failed`, `stopped`, `preempted`, `waiting`, `idle`; default
    /// [succeeded, failed].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<MomentText>>,
    /// `webhook:URL`, `email:ADDRESS`, or the name of a subscription of yours.
    pub to: Vec<RecipientText>,
}

/// The `retry:` field: a map, or a number of attempts for any failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RetryText {
    /// Attempts after the first, for any failure.
    Times(u32),
    /// In full.
    Full(RetryFile),
}

/// What happens to an environment nobody uses: no attached session, CPU and devices under 5 %.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map {after, action}")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct IdleFile {
    /// After this long; the wait begins anew after the pool was down.
    pub after: Span,
    /// `pause` (default: its files are kept, `pond resume` goes on) or `stop`.
    #[serde(default)]
    pub action: IdleWord,
}

/// What each task needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map of resources")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct ResourcesFile {
    /// GPUs: `1`, `H100`, `H100:8`, `A100:40GB:2`, `0.5`, `A100:0.25`, `24GB`, or `{model, memory, count, compute, share}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Devices>,
    /// FPGAs, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpga: Option<Devices>,
    /// Neural processors, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npu: Option<Devices>,
    /// OpenCL devices, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opencl: Option<Devices>,
    /// Cores: `4`, `0.5`, or guaranteed..most as in `4..16`; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// Memory: `32GB` (powers of 1000), `32GiB` (of 1024), or guaranteed..most; default 2GB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
    /// Disk of the writable layer; default 4GB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskSize>,
    /// Size of `/dev/shm`, part of the memory; default half of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm: Option<DiskSize>,
    /// Most processes and threads; default set by the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// One alternative: its fields replace those of `resources` and `labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map of resources")]
#[schemars(transform = crate::schema::allow_ignored)]
pub struct Alternative {
    /// GPUs instead of those in `resources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Devices>,
    /// FPGAs instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpga: Option<Devices>,
    /// Neural processors instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npu: Option<Devices>,
    /// OpenCL devices instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opencl: Option<Devices>,
    /// Cores instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// Memory instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
    /// Disk instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskSize>,
    /// Node labels instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Text>>,
}

/// A job as a person writes it; absent fields take their defaults in [`JobFile::into_spec`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a job: a map of fields that starts with `type: task`")]
#[schemars(title = "Millpond job file", transform = crate::schema::allow_ignored)]
pub struct JobFile {
    /// `task` runs to an end; `env` is an environment a person works in.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// For people; need not be unique. Default: the file's name or the program's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The queue it is charged to, as a path: `research/nlp`. `queue` is another word for it.
    #[serde(default, alias = "queue", skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Tasks that start together or not at all; `2..4` starts with two or more and grows and shrinks. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCount>,
    /// `host` (default: this machine's own root, read-only, under a private layer), an image in a registry, or the path of
    /// an OCI layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageText>,
    /// `container` (default) or `process`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationWord>,
    /// Files and folders copied into the working folder, relative to the job file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Shell script run before `run`, in the same place; its failure is the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// What runs: text is a shell script (`sh -e`), a list is a program and its arguments. Without it the image's own command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CommandText>,
    /// Working folder inside the task; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// User and group ids inside, `1000` or `1000:100`; default: the image's, else those of who runs the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserText>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Text>,
    /// Names of secrets put into the environment (`pond secret set NAME`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Folders of the machine seen inside: `/host:/inside`, `./here:/inside:ro`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeText>,
    /// What each task needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesFile>,
    /// Labels the node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Text>,
    /// Alternatives in order of preference, each laid over `resources`; the first that fits is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Alternative>,
    /// `critical`, `standard` (default) or `spare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassWord>,
    /// Inside its queue: `low` (250), `normal` (500, default), `high` (750), or 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<PriorityText>,
    /// Whether it waits until `pond resume` lets it go; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Whether it may be evicted for others; default true, false for `critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemptible: Option<bool>,
    /// How it saves its work before an eviction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointFile>,
    /// Run time after which it is stopped: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Span>,
    /// How long you think each element runs, all attempts together: `2h`. Nothing is stopped by it. Default: what earlier runs
    /// of yours took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Span>,
    /// How fast it is on other devices and with more nodes: `{models: {H100: 1, A100: 0.5}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedFile>,
    /// Between the stop signal and the kill; default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// Once started, not preempted for this long; default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_runtime: Option<Span>,
    /// Further attempts: a number, or `{on, max, backoff}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryText>,
    /// Whom to tell what becomes of it: `{on: [failed], to: [email:ann@example.org]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyFile>,
    /// Jobs to wait for: names in the same file, ids, or `{job, on: end}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
    /// Runs once for each index: `0-9`, `0-99%4` (at most 4 at once), `1,3,5-9:2`, or a list. In the task as
    /// `POND_ARRAY_INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayText>,
    /// Most array elements that run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// What an environment starts: `jupyter`, `vscode` or `none` (default). Only `type: env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ide: Option<IdeWord>,
    /// Ports reachable on the machine's loopback: `8888`, or `9000:8888` (machine:inside).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortText>,
    /// What happens when nobody uses it: `{after: 30m, action: pause}`. Only `type: env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleFile>,
    /// Give the command a terminal, for `pond attach`; default false, true for `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// File that the command reads as its standard input, relative to the job file; without it there is nothing to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

/// What `run` takes.
pub(crate) const COMMAND: &str = "a shell script, or a list of a program and its arguments";
/// Fields that only a task has.
pub(crate) const TASK_ONLY: [&str; 3] = ["nodes", "array", "parallel"];
/// Fields that only an environment has.
pub(crate) const ENV_ONLY: [&str; 2] = ["ide", "idle"];

impl ResourcesFile {
    /// The device fields with their kinds, in a fixed order.
    #[must_use]
    pub fn devices(&self) -> [(DeviceKind, &'static str, Option<&Devices>); 4] {
        [
            (DeviceKind::Gpu, "gpu", self.gpu.as_ref()),
            (DeviceKind::Fpga, "fpga", self.fpga.as_ref()),
            (DeviceKind::Npu, "npu", self.npu.as_ref()),
            (DeviceKind::OpenCl, "opencl", self.opencl.as_ref()),
        ]
    }

    /// These resources with what an alternative replaces.
    #[must_use]
    pub fn with(&self, other: &Alternative) -> Self {
        Self {
            gpu: other.gpu.clone().or_else(|| self.gpu.clone()),
            fpga: other.fpga.clone().or_else(|| self.fpga.clone()),
            npu: other.npu.clone().or_else(|| self.npu.clone()),
            opencl: other.opencl.clone().or_else(|| self.opencl.clone()),
            cpu: other.cpu.or(self.cpu),
            memory: other.memory.or(self.memory),
            disk: other.disk.or(self.disk),
            shm: self.shm,
            pids: self.pids,
        }
    }
}

impl After {
    /// The name or id.
    #[must_use]
    pub fn job(&self) -> &str {
        match self {
            Self::Job(job) | Self::On { job, .. } => &job.0,
        }
    }

    /// Whether it must succeed.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self, Self::Job(_) | Self::On { on: AfterOn::Success, .. })
    }
}

mod visitors {
    //! Fields that are one of two shapes, read without losing the place of what is inside.

    use super::{After, AfterOn, CommandText, RetryFile, RetryText};
    use crate::values::Text;
    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
    use serde::{Deserialize, Serialize};
    use std::fmt;

    impl<'de> Deserialize<'de> for CommandText {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(CommandVisitor)
        }
    }

    struct CommandVisitor;
    impl<'de> Visitor<'de> for CommandVisitor {
        type Value = CommandText;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(super::COMMAND)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<CommandText, E> {
            Ok(CommandText::Script(text.to_owned()))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<CommandText, A::Error> {
            let mut argv: Vec<Text> = Vec::new();
            while let Some(part) = access.next_element()? {
                argv.push(part);
            }
            Ok(CommandText::Argv(argv))
        }
    }

    impl<'de> Deserialize<'de> for RetryText {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(RetryVisitor)
        }
    }

    struct RetryVisitor;
    impl<'de> Visitor<'de> for RetryVisitor {
        type Value = RetryText;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of attempts, or a map {on, max, backoff}")
        }
        fn visit_u64<E: Error>(self, times: u64) -> Result<RetryText, E> {
            Ok(RetryText::Times(u32::try_from(times).unwrap_or(u32::MAX)))
        }
        fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<RetryText, A::Error> {
            RetryFile::deserialize(MapAccessDeserializer::new(access)).map(RetryText::Full)
        }
    }

    impl<'de> Deserialize<'de> for After {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(AfterVisitor)
        }
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LongAfter {
        job: Text,
        #[serde(default)]
        on: AfterOn,
    }

    struct AfterVisitor;
    impl<'de> Visitor<'de> for AfterVisitor {
        type Value = After;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name or id of a job, or a map {job, on}")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<After, E> {
            Ok(After::Job(Text(text.to_owned())))
        }
        fn visit_u64<E: Error>(self, id: u64) -> Result<After, E> {
            Ok(After::Job(Text(id.to_string())))
        }
        fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<After, A::Error> {
            let long = LongAfter::deserialize(MapAccessDeserializer::new(access))?;
            Ok(After::On { job: long.job, on: long.on })
        }
    }
}
