//! Start to exit of `/bin/true`: the agent against `crun` and `bwrap`, in one run; and a thousand tasks at once.
//!
//! `cargo bench -p pond-node --bench launch`, as root. Prints the table of `docs/performance.md`. A word behind `--`
//! runs only the rows with that word in their name: `-- container`, for a profile.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops when something is amiss"
)]

use pond_core::event::{Allocation, Effect, Exit, Launch, Report};
use pond_core::ids::{Generation, JobId, NodeName, TaskId, UserName};
use pond_core::model::{Class, Isolation, Resources, RunSpec};
use pond_core::units::{Bytes, MilliCpu};
use pond_node::agent::Shutdown;
use pond_node::{Agent, Config};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const RUNS: u64 = 60;
const MANY: u64 = 1000;

fn main() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: skipped");
        return;
    }
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = Config::new(&dir.join("state"), "here");
    config.launcher = vec![env!("CARGO_BIN_EXE_pond-launch").into(), pond_node::launcher::ARG.into()];
    let counted = count_cpu();
    let (sender, reports) = channel();
    let agent = Agent::open(config, sender).unwrap();
    let only = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    let wanted = |name: &str| only.as_ref().is_none_or(|word| name.contains(word.as_str()));
    println!("| start to exit of /bin/true | median ms | 90 % ms | cpu ms |");
    println!("|---|---|---|---|");
    let mut job = 0;
    if wanted("spawn and wait") {
        row("spawn and wait", || run(Command::new("/bin/true")));
    }
    for (name, isolation, disk) in [
        ("pond, process", Isolation::Process, 0),
        ("pond, container (namespaces, overlay, network, limits, seccomp)", Isolation::Container, 0),
        ("pond, container with a disk quota of 10 GB", Isolation::Container, 10_000_000_000),
    ] {
        if !wanted(name) {
            continue;
        }
        row(name, || {
            job += 1;
            agent.apply(vec![start(job, isolation, disk)]);
            wait(&reports, 1);
        });
    }
    others(&dir, &wanted);
    for (name, isolation) in [("containers", Isolation::Container), ("processes", Isolation::Process)] {
        if !wanted(name) {
            continue;
        }
        let (begin, cpu) = (Instant::now(), own_cpu_ms());
        agent.apply((0..MANY).map(|number| start(10_000 + job + number, isolation, 0)).collect());
        wait(&reports, MANY);
        let (took, used) = (begin.elapsed(), own_cpu_ms() - cpu);
        job += MANY;
        println!();
        println!(
            "{MANY} one-shot {name} at once: {:.2} s, {:.2} ms of CPU each",
            took.as_secs_f64(),
            used / MANY as f64
        );
    }
    agent.shutdown(Shutdown::Stop);
    stop_counting(counted);
    std::fs::remove_dir_all(dir).unwrap();
}

/// The same by other programs.
fn others(dir: &Path, wanted: &dyn Fn(&str) -> bool) {
    if wanted("crun")
        && let Some(mut crun) = Crun::open(dir)
    {
        let shell = crun.shell.id();
        row_of(
            "crun run (read-only bind of /, its own defaults, cgroups v1)",
            || cpu_ms(shell),
            || crun.run(),
        );
    }
    if wanted("bwrap") && Command::new("bwrap").arg("--version").output().is_ok() {
        row("bwrap (read-only bind, all namespaces, no limits)", || {
            let mut bwrap = Command::new("bwrap");
            bwrap.args([
                "--ro-bind",
                "/",
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--unshare-all",
                "/bin/true",
            ]);
            run(bwrap);
        });
    }
}

/// A group of this process and of all it starts, in the v1 hierarchy that only counts CPU time and in which the
/// agent makes no groups: what its launchers and tasks use stays in here. On a machine without it, times of
/// launchers are missing, for nobody waits for them.
const COUNTED: &str = "/sys/fs/cgroup/cpuacct";

fn count_cpu() -> Option<PathBuf> {
    let group = Path::new(COUNTED).join(format!("pond-bench-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    Some(group)
}

fn stop_counting(group: Option<PathBuf>) {
    let Some(group) = group else { return };
    std::fs::write(Path::new(COUNTED).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    std::fs::remove_dir(group).unwrap();
}

fn own_cpu_ms() -> f64 {
    let counter = Path::new(COUNTED).join(format!("pond-bench-{}/cpuacct.usage", std::process::id()));
    match std::fs::read_to_string(counter) {
        Ok(ns) => ns.trim().parse::<f64>().unwrap() / 1e6,
        Err(_) => cpu_ms(std::process::id()),
    }
}

/// CPU time in milliseconds of a process and of all its children that it has waited for.
fn cpu_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(4);
    // The kernel counts in hundredths of a second.
    fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() * 10.0
}

fn row(name: &str, once: impl FnMut()) {
    row_of(name, own_cpu_ms, once);
}

fn row_of(name: &str, cpu_ms: impl Fn() -> f64, mut once: impl FnMut()) {
    for _ in 0..5 {
        once();
    }
    let cpu = cpu_ms();
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            once();
            begin.elapsed()
        })
        .collect();
    let cpu = (cpu_ms() - cpu) / RUNS as f64;
    times.sort();
    let ms = |place: usize| times[place].as_secs_f64() * 1000.0;
    println!("| {name} | {:.2} | {:.2} | {cpu:.1} |", ms(times.len() / 2), ms(times.len() * 9 / 10));
}

fn run(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

fn wait(reports: &Receiver<Report>, count: u64) {
    let mut ended = 0;
    while ended < count {
        match reports.recv().unwrap() {
            Report::Exited { exit, task, .. } => {
                assert_eq!(exit, Exit::Code(0), "{task}");
                ended += 1;
            }
            Report::StartFailed { message, .. } => panic!("{message}"),
            _ => {}
        }
    }
}

fn start(job: u64, isolation: Isolation, disk: u64) -> Effect {
    let mut run = RunSpec::argv(&["/bin/true"]);
    run.isolation = isolation;
    let request = Resources { cpu: MilliCpu(1000), memory: Bytes(256 << 20), disk: Bytes(disk) };
    let task: TaskId = JobId(job).gang(0).task(0);
    Effect::Start(Box::new(Launch {
        allocation: Allocation {
            task,
            generation: Generation(1),
            node: NodeName::from("here"),
            shape: 0,
            request,
            burst: request,
            devices: [].into(),
            shares: Vec::new(),
        },
        name: "bench".to_owned(),
        user: UserName::from("bench"),
        class: Class::Standard,
        attempt: 1,
        peers: [NodeName::from("here")].into(),
        keep_layer: false,
        deadline: None,
        checkpoint_dir: None,
        run: Arc::new(run),
    }))
}

/// `crun` in a mount namespace without the `unified` hierarchy: on hybrid machines it refuses to run beside it.
struct Crun {
    shell: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Crun {
    /// `None` when there is no `crun` or it does not run here.
    fn open(dir: &Path) -> Option<Self> {
        let bundle = dir.join("bundle");
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        assert!(Command::new("crun").arg("spec").current_dir(&bundle).status().ok()?.success());
        let path = bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = vec!["/bin/true"].into();
        std::fs::write(&path, config.to_string()).unwrap();
        let id = format!("pond-bench-{}", std::process::id());
        let loop_text = format!(
            "umount /sys/fs/cgroup/unified 2>/dev/null; mount --bind -o ro / rootfs; \
             while read n; do crun run {id}-$n </dev/null >/dev/null 2>&1; echo $?; done"
        );
        let mut shell = Command::new("unshare")
            .args(["--mount", "sh", "-c", &loop_text])
            .current_dir(&bundle)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let answers = BufReader::new(shell.stdout.take()?).lines();
        let mut crun = Self { shell, answers };
        let works = crun.once() == "0";
        if !works {
            println!("| crun does not run here | | | |");
        }
        works.then_some(crun)
    }

    fn once(&mut self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        writeln!(self.shell.stdin.as_mut().unwrap(), "{number}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    fn run(&mut self) {
        assert_eq!(self.once(), "0");
    }
}

impl Drop for Crun {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().unwrap();
    }
}
