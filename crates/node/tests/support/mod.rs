//! A pool of one machine for tests: an agent in a folder of its own, its reports, and proof that nothing is left.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test file uses its own part, and a test may unwrap"
)]

use pond_core::event::{Allocation, Effect, Exit, Launch, Report};
use pond_core::ids::{Generation, JobId, NodeName, TaskId, UserName};
use pond_core::model::{Class, Command, Resources, RunSpec};
use pond_core::units::{Bytes, MilliCpu, Millis};
use pond_node::agent::Shutdown;
use pond_node::{Agent, Config};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const GEN: Generation = Generation(1);

/// Whether these tests can run here; says what stays untested otherwise.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root, so containers and limits stay untested");
    }
    root
}

pub struct Pool {
    pub agent: Agent,
    pub reports: Receiver<Report>,
    pub dir: PathBuf,
    seen: Vec<Report>,
    keep: bool,
}

pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{count}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn config(dir: &Path) -> Config {
    let mut config = Config::new(&dir.join("state"), "here");
    config.launcher = vec![env!("CARGO_BIN_EXE_pond-launch").into(), pond_node::launcher::ARG.into()];
    config.secrets = Arc::new(|name| (name == "TOKEN").then(|| "s3cret-value".to_owned()));
    config
}

impl Pool {
    pub fn open(name: &str) -> Self {
        Self::reopen(scratch(name))
    }

    pub fn reopen(dir: PathBuf) -> Self {
        let config = config(&dir);
        Self::with(dir, config)
    }

    pub fn with(dir: PathBuf, config: Config) -> Self {
        let (sender, reports) = channel();
        let agent = Agent::open(config, sender).unwrap();
        Self { agent, reports, dir, seen: Vec::new(), keep: false }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The first report that `pick` takes, of all since the pool was opened.
    pub fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Report) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(&mut pick) {
            return found;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(report) => {
                    let found = pick(&report);
                    if !matches!(report, Report::Sampled { .. }) {
                        self.seen.push(report);
                    }
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no report of {what}; seen: {:#?}", self.seen)
                }
            }
        }
    }

    /// The next report, which is not kept for [`Self::expect`].
    pub fn next_report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    pub fn seen(&self) -> &[Report] {
        &self.seen
    }

    pub fn start(&self, launch: Launch) -> TaskId {
        let task = launch.allocation.task;
        self.agent.apply(vec![Effect::Start(Box::new(launch))]);
        task
    }

    pub fn started(&mut self, task: TaskId) {
        self.expect("the start", |report| match report {
            Report::Started { task: of, .. } if *of == task => Some(Ok(())),
            Report::StartFailed { task: of, message, .. } if *of == task => Some(Err(message.clone())),
            _ => None,
        })
        .unwrap();
    }

    pub fn exited(&mut self, task: TaskId) -> Exit {
        self.exited_under(task, GEN)
    }

    pub fn exited_under(&mut self, task: TaskId, under: Generation) -> Exit {
        self.expect("the end", |report| match report {
            Report::Exited { task: of, exit, generation } if (*of, *generation) == (task, under) => {
                Some(Ok(*exit))
            }
            Report::StartFailed { task: of, message, generation, .. }
                if (*of, *generation) == (task, under) =>
            {
                Some(Err(message.clone()))
            }
            _ => None,
        })
        .unwrap()
    }

    /// Runs to its end and returns how it ended and what it wrote.
    pub fn run(&mut self, launch: Launch) -> (Exit, String) {
        let task = self.start(launch);
        let exit = self.exited(task);
        (exit, self.output(task))
    }

    pub fn output(&self, task: TaskId) -> String {
        self.output_under(task, GEN)
    }

    pub fn output_under(&self, task: TaskId, under: Generation) -> String {
        let dir = pond_node::folder::Folder::of(&self.state(), task, under).0;
        let numbers = pond_node::logs::numbers(&dir);
        let bytes: Vec<u8> = numbers
            .into_iter()
            .flat_map(|number| fs::read(pond_node::logs::file(&dir, number)).unwrap())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log holds `text`.
    pub fn wait_output(&self, task: TaskId, text: &str) {
        let mut output = String::new();
        let end = Instant::now() + PATIENCE;
        while !output.contains(text) {
            assert!(Instant::now() < end, "waited in vain for `{text}` in the log: {output:?}");
            std::thread::sleep(Duration::from_millis(5));
            output = self.output(task);
        }
    }

    pub fn stop(&self, task: TaskId, grace_ms: u64) {
        self.agent.apply(vec![Effect::Stop {
            task,
            generation: GEN,
            signal: 15,
            grace: Millis(grace_ms),
            node: NodeName::from("here"),
        }]);
    }

    /// The agent goes as if killed: its tasks stay. Returns the folder for [`Self::reopen`].
    pub fn abandon(mut self) -> PathBuf {
        self.agent.shutdown(Shutdown::Keep);
        self.keep = true;
        self.dir.clone()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        self.agent.shutdown(Shutdown::Stop);
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn task(job: u64) -> TaskId {
    JobId(job).gang(0).task(0)
}

pub fn launch(job: u64, run: RunSpec) -> Launch {
    let request = Resources { cpu: MilliCpu(1000), memory: Bytes(256 << 20), disk: Bytes::ZERO };
    Launch {
        allocation: Allocation {
            task: task(job),
            generation: GEN,
            node: NodeName::from("here"),
            shape: 0,
            request,
            burst: request,
            devices: [].into(),
            shares: Vec::new(),
        },
        name: "test".to_owned(),
        user: UserName::from("tester"),
        class: Class::Standard,
        attempt: 1,
        peers: [NodeName::from("here")].into(),
        keep_layer: false,
        deadline: None,
        checkpoint_dir: None,
        run: Arc::new(run),
    }
}

/// A container over the machine's root that runs this script.
pub fn script(job: u64, text: &str) -> Launch {
    let mut run = RunSpec::argv(&[]);
    run.command = Command::Script(text.to_owned());
    launch(job, run)
}

pub fn change(mut launch: Launch, change: impl FnOnce(&mut RunSpec)) -> Launch {
    change(Arc::make_mut(&mut launch.run));
    launch
}

/// Everything of this machine that a pool may leave behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    mounts: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    loops: BTreeSet<String>,
}

impl Machine {
    pub fn look(dir: &Path) -> Self {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let ours = dir.to_string_lossy().into_owned();
        let id = fs::read_to_string(dir.join("state/pool-id")).unwrap_or_default();
        let mut groups = BTreeSet::new();
        // A hierarchy each where there are several, else one.
        let several = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|root| root.path());
        for root in several.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let group = root.join(format!("pond-{id}"));
            if !id.is_empty() && group.exists() {
                groups.insert(group);
            }
        }
        let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let backing = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file")).ok();
        Self {
            mounts: table.lines().filter(|line| line.contains(&ours)).map(str::to_owned).collect(),
            loops: loops.filter_map(backing).filter(|file| file.contains(&ours)).collect(),
            groups,
        }
    }

    pub fn is_clean(&self) -> bool {
        self.mounts.is_empty() && self.groups.is_empty() && self.loops.is_empty()
    }
}

/// Processes whose command line or environment names this folder.
pub fn processes_of(dir: &Path) -> Vec<(i32, String)> {
    let ours = dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&ours) {
            found.push((pid, line));
        }
    }
    found
}
