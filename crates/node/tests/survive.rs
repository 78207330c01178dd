//! The agent may be killed at any moment: nothing is lost, nothing runs twice.
//!
//! The agent under test is this test program itself, executed again: see `the_other_process`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod support;

use pond_core::event::{Effect, Exit, Found, Report};
use pond_core::ids::{Generation, TaskId};
use pond_core::model::Isolation;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{GEN, Pool, change, root, script, task, until};

const FOLDER: &str = "POND_TEST_FOLDER";

/// Not a test of its own: the process that is killed. Takes effects as JSON lines, gives reports as JSON lines.
#[test]
fn the_other_process() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let (sender, reports) = channel();
    let agent = pond_node::Agent::open(support::config(Path::new(&dir)), sender).unwrap();
    std::thread::spawn(move || {
        for report in reports {
            if !matches!(report, Report::Sampled { .. }) {
                eprintln!("{}", serde_json::to_string(&report).unwrap());
            }
        }
    });
    for line in std::io::stdin().lines() {
        let effects: Vec<Effect> = serde_json::from_str(&line.unwrap()).unwrap();
        agent.apply(effects);
    }
}

struct Other {
    process: Child,
}

impl Other {
    fn open(dir: &Path) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process }
    }

    fn apply(&mut self, effects: &[Effect]) {
        let stdin = self.process.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", serde_json::to_string(effects).unwrap()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reports until `count` tasks have started.
    fn wait_started(&mut self, count: usize) {
        let lines = BufReader::new(self.process.stderr.as_mut().unwrap()).lines();
        let started = lines.map(|line| line.unwrap()).filter(|line| line.starts_with("{\"started\""));
        assert_eq!(started.take(count).count(), count);
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn inventory(pool: &mut Pool) -> Vec<(TaskId, Generation, Found)> {
    pool.expect("the inventory", |report| match report {
        Report::Inventory { tasks, .. } => Some(tasks.clone()),
        _ => None,
    })
}

fn start(launch: pond_core::event::Launch) -> Effect {
    Effect::Start(Box::new(launch))
}

/// Both back ends where possible.
fn back_ends() -> Vec<Isolation> {
    if root() { vec![Isolation::Process, Isolation::Container] } else { vec![Isolation::Process] }
}

#[test]
fn running_tasks_are_taken_up_with_their_logs_whole_and_their_ends_known() {
    for isolation in back_ends() {
        let dir = support::scratch("adopt");
        let mut other = Other::open(&dir);
        let with = |launch| change(launch, |run: &mut pond_core::model::RunSpec| run.isolation = isolation);
        let count = "i=0; while test $i -lt 60; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 11";
        other.apply(&[
            start(with(script(1, count))),
            start(with(script(2, "sleep 1000"))),
            start(with(script(3, "sleep 0.4; exit 12"))),
        ]);
        other.wait_started(3);
        other.kill();
        // The third ends while nobody looks.
        let third = pond_node::folder::Folder::of(&dir.join("state"), task(3), GEN);
        until("the third to end", || matches!(third.look(), pond_node::folder::Claim::Left));
        let mut pool = Pool::reopen(dir);
        let found = inventory(&mut pool);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(matches!(found[1].2, Found::Running { .. }), "{found:?}");
        assert!(matches!(found[2].2, Found::Ended { exit: Exit::Code(12), .. }), "{found:?}");
        let first_ended_before = matches!(found[0].2, Found::Ended { exit: Exit::Code(11), .. });
        assert!(first_ended_before || pool.exited(task(1)) == Exit::Code(11));
        let lines: String = (0..60).map(|number| format!("line {number}\n")).collect();
        assert_eq!(pool.output(task(1)), lines);
        pool.stop(task(2), 0);
        assert_eq!(pool.exited(task(2)), Exit::Signal(9));
    }
}

#[test]
fn a_task_whose_launcher_was_killed_is_lost_and_nothing_of_it_stays() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("orphan");
    for (job, isolation) in [(1, Isolation::Process), (2, Isolation::Container)] {
        let mark = format!("88{}{job}", std::process::id());
        let launch = change(script(job, &format!("sleep {mark}")), |run| run.isolation = isolation);
        let task = pool.start(launch);
        pool.started(task);
        let folder = pond_node::folder::Folder::of(&pool.state(), task, GEN);
        let launcher = rustix::process::Pid::from_raw(folder.claimant().unwrap()).unwrap();
        rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
        assert_eq!(pool.exited(task), Exit::Lost);
        let alive = || {
            fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
                fs::read(entry.path().join("cmdline")).unwrap_or_default()
                    == format!("sleep\0{mark}\0").as_bytes()
            })
        };
        until("the task to be gone", || !alive());
    }
}

#[test]
fn one_generation_starts_once_however_often_it_is_asked_for() {
    let mut pool = Pool::open("once");
    let mark = pool.dir.join("mark");
    let launch = || {
        let text = format!("echo x >> {}; sleep 0.3", mark.display());
        change(script(1, &text), |run| run.isolation = Isolation::Process)
    };
    pool.agent.apply((0..20).map(|_| start(launch())).collect());
    pool.exited(task(1));
    pool.agent.apply((0..20).map(|_| start(launch())).collect());
    pool.start(change(script(2, "true"), |run| run.isolation = Isolation::Process));
    pool.exited(task(2));
    let mut pool = Pool::reopen(pool.abandon());
    pool.agent.apply(vec![start(launch())]);
    pool.start(change(script(3, "true"), |run| run.isolation = Isolation::Process));
    pool.exited(task(3));
    assert_eq!(fs::read_to_string(&mark).unwrap(), "x\n");
}

/// A generator of its own, so that a seed tells the whole run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Kills the agent at random moments while tasks start and end. Rounds: `POND_KILLS`, default 6.
#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_runs_twice() {
    let rounds: u64 = std::env::var("POND_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let seed = std::env::var("POND_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    let mut dice = Dice(seed);
    let dir = support::scratch("storm");
    let marks = dir.join("marks");
    fs::create_dir(&marks).unwrap();
    let isolations = back_ends();
    let mut asked = Vec::new();
    for round in 0..rounds {
        let mut other = Other::open(&dir);
        let mut effects = Vec::new();
        for number in 0..8 {
            let job = round * 8 + number + 1;
            let isolation = isolations[dice.roll(isolations.len() as u64) as usize];
            effects.push(start(storm_task(job, isolation, &marks, dice.roll(300))));
            asked.push((job, isolation));
        }
        other.apply(&effects);
        std::thread::sleep(Duration::from_millis(dice.roll(250)));
        other.kill();
    }
    let mut pool = Pool::reopen(dir.clone());
    let found = inventory(&mut pool);
    for (job, isolation) in asked {
        let mark = fs::read_to_string(marks.join(job.to_string())).unwrap_or_default();
        let mine = found.iter().find(|(of, _, _)| *of == task(job));
        let Some((_, _, what)) = mine else {
            assert_eq!(mark, "", "seed {seed}: {job} ran ({isolation:?}) and is not in the inventory");
            continue;
        };
        let exit = match what {
            Found::Running { .. } => pool.exited(task(job)),
            Found::Ended { exit, .. } => *exit,
        };
        let mark = fs::read_to_string(marks.join(job.to_string())).unwrap_or_default();
        match exit {
            Exit::Code(0) => {
                assert_eq!(mark, "ran\n", "seed {seed}: {job}");
                assert_eq!(pool.output(task(job)), "begin\nend\n", "seed {seed}: {job}");
            }
            other => panic!("seed {seed}: {job} ({isolation:?}) ended as {other:?}"),
        }
    }
}

fn storm_task(job: u64, isolation: Isolation, marks: &Path, ms: u64) -> pond_core::event::Launch {
    let text = format!("echo ran >> {}/{job}; echo begin; sleep 0.{ms:03}; echo end", marks.display());
    change(script(job, &text), |run| {
        run.isolation = isolation;
        let marks = marks.display().to_string();
        run.volumes =
            vec![pond_core::model::Volume { source: marks.clone(), target: marks, read_only: false }];
    })
}

#[test]
fn two_agents_do_not_share_a_folder() {
    let pool = Pool::open("lock");
    let (sender, _reports) = channel();
    let again = pond_node::Agent::open(support::config(&pool.dir), sender);
    assert!(again.err().unwrap().to_string().contains("in use"));
}

#[test]
fn a_launcher_that_comes_late_finds_the_generation_taken() {
    let dir: PathBuf = support::scratch("late");
    let folder = pond_node::folder::Folder::of(&dir.join("state"), task(1), GEN);
    fs::create_dir_all(&folder.0).unwrap();
    let claim = folder.take_claim().unwrap();
    assert!(folder.take_claim().is_err());
    drop(claim);
    assert!(folder.take_claim().is_err(), "a claim is for ever");
    fs::remove_dir_all(dir).unwrap();
}
