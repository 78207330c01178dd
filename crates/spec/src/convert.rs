//! A job file into the job the pool takes: every default filled in, every path absolute.

use crate::check::check;
use crate::error::SpecError;
use crate::graph::{self, Strangers};
use crate::jobfile::{
    CommandText, IdeWord, IdleWord, IsolationWord, JobFile, JobType, NotifyFile, ResourcesFile, RetryFile,
    RetryText, SpeedFile,
};
use crate::script::is_slurm;
use crate::values::places::{absolute, on_machine};
use crate::values::{ImageText, SignalText, Span, Text};
use pond_core::ids::{JobId, QueuePath, UserName};
use pond_core::model::{
    Checkpoint, Class, Command, DeviceKind, GangSize, IdleAction, IdlePolicy, Image, Isolation, JobKind,
    JobSpec, Moment, NotifySpec, PortSpec, Resources, Retry, RetryOn, RunSpec, Shape, ShareMode, Speed,
    Volume,
};
use pond_core::units::{Bytes, MilliCpu, Millis};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a job file does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who submits.
    pub user: UserName,
    /// Absolute folder against which relative paths are read.
    pub base_dir: String,
    /// Queue of jobs that name none.
    pub default_queue: QueuePath,
    /// Resources of jobs that name none.
    pub default_request: Resources,
}

impl Context {
    /// One core, 2 GB of memory, 4 GB of disk, queue `default`.
    #[must_use]
    pub fn new(user: &str, base_dir: &str) -> Self {
        Self {
            user: UserName::from(user),
            base_dir: base_dir.to_owned(),
            default_queue: QueuePath::from("default"),
            default_request: Resources {
                cpu: MilliCpu(1000),
                memory: Bytes(2_000_000_000),
                disk: Bytes(4_000_000_000),
            },
        }
    }
}

/// Another job, as a job file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobRef {
    /// A job of the pool.
    Id(JobId),
    /// The draft at this place of the same list; always an earlier one.
    Earlier(usize),
    /// A name that only the caller can know; not given by [`into_specs`].
    Name(String),
}

/// A job to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Which.
    pub job: JobRef,
    /// Whether it must succeed.
    pub success: bool,
}

/// A job that is complete but for the ids of the jobs it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The job; its `after` is empty.
    pub spec: JobSpec,
    /// What to put into `after`, once the ids are known.
    pub after: Vec<Awaited>,
}

/// Turns the jobs of one file into drafts, ordered so that each waits only for earlier ones.
///
/// # Errors
/// What [`JobFile::into_spec`] refuses, and jobs that wait for each other. A name in `after` that is not in the list stays
/// [`JobRef::Name`]: a flag may name a job of the pool. In a file, [`crate::read`] has refused it.
pub fn into_specs(jobs: Vec<JobFile>, context: &Context) -> Result<Vec<Draft>, SpecError> {
    let order =
        graph::order(&jobs, Strangers::Allowed).map_err(|(_, field, fault)| SpecError::of(&field, fault))?;
    let mut place_of: BTreeMap<usize, usize> = BTreeMap::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (place, &index) in order.iter().enumerate() {
        place_of.insert(index, place);
        if let Some(name) = &jobs[index].name {
            names.insert(name.clone(), place);
        }
    }
    let mut slots: Vec<Option<JobFile>> = jobs.into_iter().map(Some).collect();
    let mut drafts = Vec::new();
    for index in order {
        let Some(job) = slots[index].take() else { continue };
        let mut draft = job.into_spec(context)?;
        for awaited in &mut draft.after {
            if let JobRef::Name(name) = &awaited.job
                && let Some(&place) = names.get(name)
            {
                awaited.job = JobRef::Earlier(place);
            }
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

impl JobFile {
    /// Whether it runs in another root than the machine's.
    pub(crate) fn has_image(&self) -> bool {
        !matches!(self.image, None | Some(ImageText::Host))
    }

    /// Fills in every default and checks everything that can be checked without the pool.
    ///
    /// # Errors
    /// The first finding. Its place is known only to [`crate::read`], which checks too; this call serves jobs made in code
    /// and those changed by overrides after reading.
    pub fn into_spec(self, context: &Context) -> Result<Draft, SpecError> {
        if let Some((field, fault)) = check(&self).into_iter().next() {
            return Err(SpecError::of(&field, fault));
        }
        let shapes = self.shapes(context)?;
        let array = self.array.as_ref().and_then(|array| array.resolve().ok());
        let class = Class::from(self.class.unwrap_or_default());
        let env = self.kind == JobType::Env;
        let after = self
            .after
            .iter()
            .map(|after| Awaited {
                job: after
                    .job()
                    .parse()
                    .map_or_else(|_why| JobRef::Name(after.job().to_owned()), |id| JobRef::Id(JobId(id))),
                success: after.success(),
            })
            .collect();
        let spec = JobSpec {
            name: self.default_name(),
            kind: if env { JobKind::Env } else { JobKind::Task },
            queue: self.project.as_deref().map_or_else(|| context.default_queue.clone(), QueuePath::from),
            user: context.user.clone(),
            class,
            priority: self.priority.map_or(500, |priority| priority.0),
            indices: array.as_ref().map_or_else(|| vec![0], |array| array.indices.clone()),
            parallel: self.parallel.or_else(|| array.as_ref().and_then(|array| array.parallel)),
            size: self.nodes.map_or(GangSize::ONE, |nodes| GangSize { min: nodes.min, max: nodes.max }),
            shapes,
            held: self.hold.unwrap_or(false),
            preemptible: self.preemptible.unwrap_or(class != Class::Critical),
            min_runtime: span(self.min_runtime, Millis::ZERO),
            time_limit: self.time_limit.map(|limit| limit.0),
            predicted: self.estimate.map(|estimate| estimate.0),
            speed: self.speed.as_ref().map(speed),
            grace: span(self.grace, Millis(10_000)),
            retry: retry(self.retry.as_ref()),
            checkpoint: self.checkpoint.as_ref().map(|checkpoint| Checkpoint {
                dir: checkpoint.dir.as_deref().and_then(|dir| absolute(dir).ok()),
                signal: checkpoint.signal.unwrap_or(SignalText(10)).0,
                grace: span(checkpoint.grace, Millis(30_000)),
            }),
            idle: self.idle.as_ref().map(|idle| IdlePolicy {
                after: idle.after.0,
                action: match idle.action {
                    IdleWord::Pause => IdleAction::Pause,
                    IdleWord::Stop => IdleAction::Stop,
                },
            }),
            after: Vec::new(),
            notify: self.notify.as_ref().map(|notify| Box::new(told(notify))),
            traceparent: None,
            run: Arc::new(self.run_spec(context, array.as_ref().map(|array| array.indices.as_slice()))),
        };
        Ok(Draft { spec, after })
    }

    fn default_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let program = match &self.run {
            Some(CommandText::Argv(argv)) => argv.first().map(|program| program.0.as_str()),
            Some(CommandText::Script(script)) => script.split_whitespace().next(),
            None => match &self.image {
                Some(ImageText::Registry(name) | ImageText::Layout(name)) => Some(name.as_str()),
                None | Some(ImageText::Host) => None,
            },
        };
        let word = program.and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        let word = if self.run.is_none() { word.split([':', '@']).next().unwrap_or_default() } else { word };
        let fallback = if self.kind == JobType::Env { "env" } else { "task" };
        if crate::check::is_name(word) { word.to_owned() } else { fallback.to_owned() }
    }

    fn shapes(&self, context: &Context) -> Result<Vec<Shape>, SpecError> {
        let base = self.resources.clone().unwrap_or_default();
        let plain = self.isolation == Some(IsolationWord::Process);
        if self.any_of.is_empty() {
            return shapes(&base, &self.labels, context, plain);
        }
        let others = self.any_of.iter().map(|other| {
            let labels = other.labels.as_ref().unwrap_or(&self.labels);
            shapes(&base.with(other), labels, context, plain)
        });
        Ok(others.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn run_spec(self, context: &Context, indices: Option<&[u32]>) -> RunSpec {
        let resources = self.resources.unwrap_or_default();
        let mut env: BTreeMap<String, String> =
            self.env.into_iter().map(|(name, value)| (name, value.0)).collect();
        if let Some([first, .., last] | [first @ last]) = indices {
            env.insert("POND_ARRAY_COUNT".to_owned(), indices.map_or(0, <[u32]>::len).to_string());
            env.insert("POND_ARRAY_MIN".to_owned(), first.to_string());
            env.insert("POND_ARRAY_MAX".to_owned(), last.to_string());
        }
        let mut ports: Vec<PortSpec> =
            self.ports.iter().map(|port| PortSpec { container: port.container, host: port.host }).collect();
        let ide = self.ide.unwrap_or_default();
        let terminal = self.kind == JobType::Env && ide == IdeWord::None && self.stdin.is_none();
        if let (true, Some(port)) = (ports.is_empty(), ide.port()) {
            ports.push(PortSpec { container: port, host: 0 });
        }
        if let Some(port) = ports.first() {
            env.entry("PORT".to_owned()).or_insert_with(|| port.container.to_string());
        }
        let slurm = matches!(&self.run, Some(CommandText::Argv(argv)) if is_slurm(argv));
        RunSpec {
            isolation: match self.isolation.unwrap_or_default() {
                IsolationWord::Process => Isolation::Process,
                IsolationWord::Container | IsolationWord::Vm => Isolation::Container,
            },
            image: match self.image {
                None | Some(ImageText::Host) => Image::Host,
                Some(ImageText::Layout(path)) => Image::Layout(on_machine(&context.base_dir, &path)),
                Some(ImageText::Registry(name)) => Image::Registry(name),
            },
            command: match self.run {
                Some(CommandText::Script(text)) => Command::Script(text),
                Some(CommandText::Argv(argv)) => Command::Argv(argv.into_iter().map(|part| part.0).collect()),
                None if self.kind == JobType::Task => Command::Argv(Vec::new()),
                None => Command::Script(ide.script().to_owned()),
            },
            setup: self.setup,
            workdir: self.workdir.and_then(|workdir| absolute(&workdir).ok()),
            user: self.user.map(|user| (user.uid, user.gid)),
            slurm,
            env,
            secrets: self.secrets,
            volumes: self
                .volumes
                .into_iter()
                .map(|volume| Volume {
                    source: on_machine(&context.base_dir, &volume.source),
                    target: volume.target,
                    read_only: volume.read_only,
                })
                .collect(),
            files: self.files.iter().map(|file| copied(&context.base_dir, file)).collect(),
            ports,
            shm: resources.shm.map_or(Bytes::ZERO, |size| size.0),
            pids: resources.pids.unwrap_or(0),
            within: None,
            stdin: self.stdin.map(|file| on_machine(&context.base_dir, &file)),
            tty: self.tty.unwrap_or(terminal),
        }
    }
}

/// Bad counts are refused before.
fn speed(file: &SpeedFile) -> Speed {
    let ranks = file.nodes.iter().filter_map(|(count, factor)| Some((count.parse().ok()?, factor.0)));
    let mut ranks: Vec<(u32, u64)> = ranks.collect();
    ranks.sort_unstable();
    Speed { models: file.models.iter().map(|(model, factor)| (model.clone(), factor.0)).collect(), ranks }
}

/// A path to copy. `.` and what ends in `/` mean what is in the folder, which a `/` at the end says to the node.
fn copied(base: &str, file: &str) -> String {
    let path = on_machine(base, file);
    let contents = file == "." || file.ends_with('/') || file.ends_with("/.");
    if contents && !path.ends_with('/') { path + "/" } else { path }
}

impl IdeWord {
    /// What runs in an environment that has no `run`. Constant text: the port comes through the environment.
    const fn script(self) -> &'static str {
        match self {
            Self::Jupyter => "exec jupyter lab --allow-root --no-browser --ip=0.0.0.0 --port=\"$PORT\"\n",
            Self::Vscode => "exec code-server --bind-addr \"0.0.0.0:$PORT\"\n",
            Self::None => "exec sleep infinity\n",
        }
    }

    const fn port(self) -> Option<u16> {
        match self {
            Self::Jupyter => Some(8888),
            Self::Vscode => Some(8080),
            Self::None => None,
        }
    }
}

fn span(span: Option<Span>, default: Millis) -> Millis {
    span.map_or(default, |span| span.0)
}

/// What one alternative asks for; with `advisory: true` the same once more, on devices where nobody keeps
/// shares. Nobody keeps those of a plain process.
fn shapes(
    resources: &ResourcesFile,
    labels: &BTreeMap<String, Text>,
    context: &Context,
    plain: bool,
) -> Result<Vec<Shape>, SpecError> {
    let kept = shape(resources, labels, context)?;
    let advisory: Vec<DeviceKind> = resources
        .devices()
        .into_iter()
        .filter(|(_, _, field)| field.is_some_and(crate::values::Devices::is_advisory))
        .map(|(kind, _, _)| kind)
        .collect();
    if advisory.is_empty() {
        return Ok(vec![kept]);
    }
    let mut loose = kept.clone();
    for request in &mut loose.devices {
        if advisory.contains(&request.kind) && request.mode == ShareMode::Time {
            request.mode = ShareMode::Advisory;
        }
    }
    Ok(if plain { vec![loose] } else { vec![kept, loose] })
}

fn shape(
    resources: &ResourcesFile,
    labels: &BTreeMap<String, Text>,
    context: &Context,
) -> Result<Shape, SpecError> {
    let default = context.default_request;
    let (cpu, cpu_most) = resources.cpu.map_or((default.cpu, default.cpu), |cpu| (cpu.min, cpu.max));
    // Half of the memory is the default of /dev/shm, so asking for more of it alone means more memory.
    let (memory, memory_most) = match (resources.memory, resources.shm) {
        (Some(memory), _) => (memory.min, memory.max),
        (None, shm) => {
            let memory = default.memory.max(shm.map_or(Bytes::ZERO, |shm| shm.0.times(2)));
            (memory, memory)
        }
    };
    let disk = resources.disk.map_or(default.disk, |disk| disk.0);
    let mut devices = Vec::new();
    for (kind, word, field) in resources.devices() {
        let Some(field) = field else { continue };
        let requests = field.requests(kind).map_err(|why| {
            SpecError::of(
                &format!("resources.{word}"),
                crate::error::Fault::BadValue { why: why.to_string() },
            )
        })?;
        devices.extend(requests);
    }
    Ok(Shape {
        request: Resources { cpu, memory, disk },
        burst: Resources { cpu: cpu_most, memory: memory_most, disk },
        devices,
        labels: labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
    })
}

fn told(file: &NotifyFile) -> NotifySpec {
    let on = file.on.as_ref().map(|on| on.iter().map(|moment| moment.0).collect());
    NotifySpec {
        on: on.unwrap_or_else(|| vec![Moment::Succeeded, Moment::Failed]),
        to: file.to.iter().map(|to| to.0.clone()).collect(),
    }
}

fn retry(text: Option<&RetryText>) -> Retry {
    let default = Retry::default();
    match text {
        None => default,
        Some(RetryText::Times(times)) => {
            let mut on = default.on;
            on.push(RetryOn::Failed);
            on.extend([RetryOn::OutOfMemory, RetryOn::DeviceError]);
            Retry { on, max: *times, backoff: default.backoff }
        }
        Some(RetryText::Full(RetryFile { on, max, backoff })) => {
            let on = on.as_ref().map_or(default.on, |causes| causes.iter().map(|cause| cause.0).collect());
            let own = on.iter().any(|cause| !matches!(cause, RetryOn::NodeFailure | RetryOn::Preempted));
            Retry {
                on,
                max: max.unwrap_or(if own { 3 } else { 0 }),
                backoff: span(*backoff, default.backoff),
            }
        }
    }
}
