//! The agent: takes the engine's effects without waiting, carries them out, and reports what happens.
//!
//! Effects of one task are carried out in their order, those of different tasks beside each other by a few
//! worker threads. One thread watches all launchers end, one takes samples. The truth is in the task folders:
//! an agent that opens a state folder takes up what an earlier one left.

mod adopt;
mod health;
mod held;
mod order;
mod partition;
mod past;
mod sample;
mod session;
mod share;
mod spawn;
mod start;
mod watch;
mod work;

pub use order::missing;
pub use session::{CopyOut, ExecRequest};

use crate::cgroup::{Group, Limits, Meters, Pool, Version};
use crate::folder::Folder;
use crate::ground::Grounds;
use crate::launcher::layer;
use crate::launcher::spec::{LaunchSpec, LogSettings};
use crate::net::{Network, TaskNet};
use crate::probe::{Listed, Offer};
use crate::tolerate;
use pond_core::event::{Effect, PastShare, Report};
use pond_core::ids::{Generation, NodeName, TaskId};
use pond_core::model::NodeSpec;
use pond_core::units::{Bytes, Millis};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// Finds a secret's value by its name.
pub type SecretResolver = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How an agent is opened.
#[derive(Clone)]
pub struct Config {
    /// Everything the agent keeps; shared with the server.
    pub state_dir: PathBuf,
    /// This machine's name in the pool.
    pub node: NodeName,
    /// How much of this machine is given out.
    pub offer: Offer,
    /// Finds secrets when a task starts.
    pub secrets: SecretResolver,
    /// The program and first arguments that make a launcher. Default: this program and [`crate::launcher::ARG`].
    pub launcher: Vec<OsString>,
    /// How logs are kept.
    pub logs: LogSettings,
    /// Between two samples, in milliseconds. Default 1000.
    pub sample_every: Millis,
    /// The same while `spare` tasks run, in milliseconds. Default 200.
    pub sample_every_spare: Millis,
    /// Most processes and threads of a task that does not say. Default 16,384.
    pub pids: u32,
    /// Between two looks at how devices are, in milliseconds; a tenth of it while one is not well. Default one minute.
    pub health_every: Millis,
    /// What is done about tasks that go past their shares of devices. Default: they are told.
    pub past_share: PastShare,
}

impl Config {
    /// Defaults: this program as the launcher, no secrets.
    #[must_use]
    pub fn new(state_dir: &Path, node: &str) -> Self {
        Self {
            state_dir: state_dir.to_path_buf(),
            node: NodeName::from(node),
            offer: Offer::default(),
            secrets: Arc::new(|_name| None),
            launcher: crate::launcher::own(),
            logs: LogSettings::default(),
            sample_every: Millis(1000),
            sample_every_spare: Millis(200),
            pids: 16_384,
            health_every: Millis(60_000),
            past_share: PastShare::default(),
        }
    }
}

/// Why an agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or folder of the state folder.
    #[error("cannot {step} {path}: {source}", path = path.display())]
    State {
        /// What was to be done.
        step: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another agent works in this state folder.
    #[error("{path} is in use by another pool; stop it with `pond down`, or choose another state folder", path = path.display())]
    InUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The list of devices that have no other way to be found.
    #[error(transparent)]
    Listed(#[from] crate::probe::ListedError),
    /// A helper thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// What happens to the tasks when the agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They run on and are taken up by the next agent.
    Keep,
    /// They are killed and everything of the pool is removed from the machine but its files.
    Stop,
}

/// Runs tasks on this machine. A handle: clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: Config,
    pool: Pool,
    network: Option<Network>,
    boot: String,
    /// The device files of each device of the node, by ordinal.
    node: NodeSpec,
    /// Those of them that an administrator described.
    listed: Vec<Listed>,
    /// What its GPUs are cut into.
    partitions: partition::Partitions,
    reports: Sender<Report>,
    state: Mutex<State>,
    wake: Condvar,
    watch: watch::Watch,
    spawner: spawn::Spawner,
    /// Without root, who becomes the launchers of containers.
    contained: Option<Contained>,
    grounds: Grounds,
    closing: AtomicBool,
    /// A task that had devices failed: how are they?
    doubted: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the agent has closed: one agent a state folder.
    lock: Mutex<Option<fs::File>>,
}

#[derive(Default)]
pub(crate) struct State {
    work: work::Queues,
    live: BTreeMap<(TaskId, Generation), Live>,
    /// CPU time of the whole machine in microseconds and its memory in use, at the last sample.
    machine: (u64, Bytes),
}

/// A task whose launcher is alive.
pub(crate) struct Live {
    folder: Folder,
    group: Group,
    limits: Limits,
    net: Option<TaskNet>,
    meters: Option<Meters>,
    spare: bool,
    /// First process of the task on the machine.
    init: i32,
    /// Whether it is a container.
    contained: bool,
    /// CPU time at the last sample, microseconds.
    cpu_us: u64,
    /// Last measure of the writable layer, bytes.
    disk: u64,
    /// Parts of devices it was granted.
    shares: Vec<share::Share>,
    /// Its CPU is held down because it went past one of them.
    throttled: bool,
}

impl Live {
    /// One that does not run yet.
    fn new(folder: &Folder, spec: &LaunchSpec, group: Group, shares: Vec<share::Share>) -> Self {
        Self {
            folder: folder.clone(),
            group,
            limits: spec.limits.clone(),
            net: spec.container.as_ref().and_then(|container| container.net.clone()),
            meters: None,
            spare: spec.limits.idle,
            init: 0,
            contained: spec.container.is_some(),
            cpu_us: 0,
            disk: 0,
            shares,
            throttled: false,
        }
    }

    /// Its first process is there, or was.
    fn runs(&mut self) {
        self.meters = Some(self.group.meters());
        self.init = self.folder.started().map_or(0, |started| started.init);
    }
}

/// Containers of a pool without root.
struct Contained {
    spawner: spawn::Spawner,
    /// Set once a trial has shown that the machine lets its users have them.
    works: OnceLock<()>,
}

impl Contained {
    fn new(config: &Config) -> Self {
        let spawner = spawn::Spawner::new(config.launcher.clone(), config.state_dir.clone(), true);
        Self { spawner, works: OnceLock::new() }
    }
}

fn state_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AgentError {
    let path = path.to_path_buf();
    move |source| AgentError::State { step, path, source }
}

impl Agent {
    /// Opens the state folder, takes up what an earlier agent left, and begins to report: first the node,
    /// then its inventory.
    ///
    /// # Errors
    /// The state folder cannot be used, or another agent uses it.
    pub fn open(config: Config, reports: Sender<Report>) -> Result<Self, AgentError> {
        let state = config.state_dir.clone();
        let tasks = state.join("tasks");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&tasks)
            .map_err(state_error("make", &tasks))?;
        spread(&tasks);
        let lock_path = state.join("agent.lock");
        let lock = fs::File::create(&lock_path).map_err(state_error("open", &lock_path))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_held| AgentError::InUse { path: state.clone() })?;
        let id = pool_id(&state).map_err(state_error("name the pool in", &state))?;
        // A file that is wrong ends it here, with nothing made that would have to go again.
        let listed = crate::probe::listed(&state)?;
        layer::take_memory_if_needed(&state);
        let pool = Pool::open(&format!("pond-{id}"));
        let mut node = order::node_spec(&config);
        node.devices.extend(listed.iter().map(|listed| listed.device.clone()));
        let boot = boot_id();
        crate::probe::join(&mut node.devices, &listed);
        let partitions = partition::Partitions::open(&state, &boot, &mut node.devices);
        let inner = Arc::new(Inner {
            network: if pool.version() == Version::None { None } else { Network::open(&state, &id).ok() },
            pool,
            boot,
            node,
            listed,
            partitions,
            reports,
            state: Mutex::default(),
            wake: Condvar::new(),
            watch: watch::Watch::new().map_err(AgentError::Thread)?,
            spawner: spawn::Spawner::new(config.launcher.clone(), state.clone(), false),
            contained: (!rustix::process::geteuid().is_root()).then(|| Contained::new(&config)),
            grounds: Grounds::new(state),
            closing: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            config,
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        });
        inner.adopt();
        let spawn = |name: &str, run: fn(Arc<Inner>)| -> Result<(), AgentError> {
            let for_thread = Arc::clone(&inner);
            let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
            let handle = thread.spawn(move || run(for_thread)).map_err(AgentError::Thread)?;
            inner.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
            Ok(())
        };
        spawn("pond-watch", watch::run)?;
        spawn("pond-sample", sample::run)?;
        if !inner.node.devices.is_empty() {
            spawn("pond-health", health::run)?;
        }
        if inner.node.devices.iter().any(|device| crate::probe::nvidia::number(device).is_some()) {
            spawn("pond-held", held::run)?;
        }
        if inner.partitions.any() {
            spawn("pond-parts", partition::run)?;
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(2 * cpus).clamp(2, 16) {
            spawn("pond-work", work::run)?;
        }
        Ok(Self { inner })
    }

    /// Takes effects to be carried out; never waits.
    pub fn apply(&self, effects: Vec<Effect>) {
        self.inner.enqueue(effects);
    }

    /// This machine as it was described to the engine.
    #[must_use]
    pub fn node(&self) -> &NodeSpec {
        &self.inner.node
    }

    /// Tries what this machine can do for tasks; takes a few hundred milliseconds.
    #[must_use]
    pub fn doctor(&self) -> crate::probe::Doctor {
        crate::probe::doctor(&self.inner.config.state_dir, &self.inner.config.launcher)
    }

    /// Ends the agent; tasks run on or are killed. Returns once nothing more will be reported.
    pub fn shutdown(&self, how: Shutdown) {
        self.inner.close(how);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing(&self) -> bool {
        self.closing.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Sends a report; when nobody listens any more, nobody wants to know.
    fn report(&self, report: Report) {
        tolerate(self.reports.send(report));
    }

    fn folder(&self, task: TaskId, generation: Generation) -> Folder {
        Folder::of(&self.config.state_dir, task, generation)
    }
}

/// Asks the filesystem to place the folders of different jobs apart. Without a journal ext4 looks at every file that
/// was deleted nearby in the last minutes before it makes a new one: where a thousand tasks came and went, each start
/// would pay for all of them. Elsewhere it is of no use and no harm.
fn spread(tasks: &Path) {
    let Ok(dir) = fs::File::open(tasks) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&dir) {
        tolerate(rustix::fs::ioctl_setflags(&dir, flags | rustix::fs::IFlags::TOPDIR));
    }
}

/// A name for this state folder that no other pool of the machine has.
fn pool_id(state: &Path) -> io::Result<String> {
    let path = state.join("pool-id");
    if let Ok(id) = fs::read_to_string(&path)
        && id.len() == 8
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Ok(id);
    }
    let mut random = [0_u8; 4];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    let id = format!("{:08x}", u32::from_be_bytes(random));
    crate::folder::write_whole(&path, id.as_bytes())?;
    Ok(id)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
