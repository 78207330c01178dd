//! The storm: the server is killed with `kill -9` at random moments while about fifty tasks run and
//! arrays and gangs come and go.
//!
//! Every task appends a line to a shared file when it starts and when it ends, and prints numbered
//! lines. Afterwards: no job is lost, no task ran twice in one attempt, what ran was taken back with
//! its log whole, and the meter's identity held after every restart.
//!
//! A second storm kills it while people pause, resume, resize, stop and retry, and critical tasks evict spare ones: every
//! task says of itself that it runs, by a lock that no other attempt of it may hold, and in the end that is what the
//! server says; all bills are the ledger's sum.
//!
//! `POND_STORM_ROUNDS` (default 12; 200 for the long form) and `POND_STORM_SEED` (default 1) choose the storm.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How many tasks the storm keeps running.
const CROWD: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// SplitMix64: the storm's only chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One job that the server has taken in.
struct Job {
    id: u64,
    elements: u32,
    ranks: u32,
    lines: u64,
}

impl Job {
    fn tasks(&self) -> usize {
        (self.elements * self.ranks) as usize
    }
}

/// A line of the shared file: which task, in which attempt.
type Run = (u64, u32, u32, u32);

struct Storm {
    pool: Pool,
    shared: PathBuf,
    chance: Chance,
    jobs: Vec<Job>,
    capacity: u64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_is_lost_and_nothing_doubled_when_the_server_is_killed() {
    if !is_root() {
        skip("the storm", "containers with limits need root");
        return;
    }
    let (rounds, seed) = (setting("POND_STORM_ROUNDS", 12), setting("POND_STORM_SEED", 1));
    println!("storm: {rounds} rounds, seed {seed}");
    let mut storm = Storm::begin("storm", seed);
    for round in 0..rounds {
        let spell = Duration::from_millis(storm.chance.below(1200));
        storm.churn(spell);
        storm.kill();
        storm.start();
        storm.check_identities(round);
    }
    storm.wait_for_the_end();
    storm.check_runs();
    storm.check_logs();
    let tasks: usize = storm.jobs.iter().map(Job::tasks).sum();
    println!("storm: {} jobs, {tasks} tasks, {rounds} kills", storm.jobs.len());
    assert!(tasks >= CROWD, "the storm was no storm: only {tasks} tasks");
    storm.pool.finish();
}

#[test]
fn what_people_do_while_the_server_is_killed_is_done_or_not() {
    if !is_root() {
        skip("the storm of actions", "containers with limits need root");
        return;
    }
    let (rounds, seed) = (setting("POND_STORM_ROUNDS", 8), setting("POND_STORM_SEED", 1));
    println!("storm of actions: {rounds} rounds, seed {seed}");
    let mut storm = Storm::begin("steered", seed);
    for (what, price) in [("cpu", "3600"), ("memory", "77.7")] {
        _ = storm.pool.ok(&["price", "set", what, price, "--currency", "EUR"]);
    }
    for round in 0..rounds {
        storm.steer();
        storm.kill();
        storm.start();
        storm.check_identities(round);
    }
    let mut differ = String::new();
    let agreed = wait_until(PATIENCE, || {
        let (held, said) = (storm.held(), storm.said_to_run());
        differ = format!("alive: {held:?}, said: {said:?}");
        held == said
    });
    assert!(agreed, "{differ}");
    let (starts, _) = runs(&storm.shared);
    assert!(doubles(&starts).is_empty(), "run twice in one attempt: {:?}", doubles(&starts));
    assert!(!storm.shared.join("doubled").exists(), "two attempts of one task at once");
    _ = storm.pool.ok(&["stop", "--all", "--yes", "--now"]);
    let api = Api::of(&storm.pool).expect("a server");
    let active =
        || api.get("jobs?state=active").expect("a server").body["jobs"].as_array().map_or(0, Vec::len);
    assert!(wait_until(PATIENCE, || active() == 0), "{} do not end", active());
    let net = |by: &str| storm.pool.json(&["bill", "--by", by])["total"]["net_micros"].clone();
    let lines = storm.pool.ok(&["bill", "--lines", "json", "--open"]);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line"));
    let part = |line: &Value, name: &str| line[name].as_i64().unwrap_or_default();
    let sum: i64 = lines.map(|line| part(&line, "charge_micros") - part(&line, "credit_micros")).sum();
    assert!(sum > 0 && ["queue", "job", "class", "day"].iter().all(|by| net(by) == sum), "{sum}");
    println!("storm of actions: {} starts, {sum} micro-units", starts.len());
    storm.pool.finish();
}

impl Storm {
    /// A pool with a server and a shared folder.
    fn begin(name: &str, seed: u64) -> Self {
        let pool = Pool::new(name);
        let shared = pool.work().join("shared");
        std::fs::create_dir(&shared).expect("the shared folder");
        let storm = Self { pool, shared, chance: Chance(seed), jobs: Vec::new(), capacity: 0 };
        storm.start();
        storm
    }

    /// People at work for up to a second; what they last asked for is under way when it ends.
    fn steer(&mut self) {
        let api = Api::of(&self.pool).expect("a server");
        let jobs = api.get("jobs?state=active").expect("a server").body;
        let ids: Vec<u64> =
            jobs["jobs"].as_array().expect("jobs").iter().filter_map(|job| job["id"].as_u64()).collect();
        for _ in 0..4 + self.chance.below(12) {
            let one = (!ids.is_empty()).then(|| ids[self.chance.below(ids.len() as u64) as usize]);
            let (kind, path, body) = match (self.chance.below(9), one) {
                (0..4, _) | (_, None) => ("application/yaml", "jobs".to_owned(), self.held_job()),
                (draw, Some(id)) => {
                    let milli = 100 + 100 * self.chance.below(6);
                    let (verb, body) = match draw {
                        4 => ("pause", "{}".to_owned()),
                        5 => ("resume", "{}".to_owned()),
                        6 => ("stop", "{}".to_owned()),
                        7 => ("retry", "{}".to_owned()),
                        _ => ("resize", format!("{{\"cpu_milli\": {milli}}}")),
                    };
                    ("application/json", format!("jobs/{id}/{verb}"), body)
                }
            };
            let api = api.clone();
            // Whether it can be done, or anybody still answers, is not the question.
            std::thread::spawn(move || api.send("POST", &path, kind, &body).map(drop).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(self.chance.below(90)));
        }
    }

    /// A job whose tasks each hold a lock while they are alive.
    fn held_job(&mut self) -> String {
        let class = ["standard", "spare", "critical"][self.chance.below(3) as usize];
        let (ranks, steps) = (1 + self.chance.below(3), [5, 50, 100_000][self.chance.below(3) as usize]);
        format!(
            "type: task\nname: steered\nnodes: {ranks}\nclass: {class}\ngrace: 1s\nmin_runtime: 0s\n\
             retry: {{max: 3, on: [preempted, node_failure]}}\nresources: {{cpu: 0.3, memory: 32MB, disk: 1MB}}\n\
             volumes: ['{}:/shared']\nrun: |\n  \
             exec 9> /shared/lock-$POND_JOB_ID-$RANK\n  \
             flock -n 9 || {{ touch /shared/doubled; exit 3; }}\n  \
             echo \"start $POND_JOB_ID 0 $RANK $POND_ATTEMPT\" >> /shared/runs\n  \
             i=0; while [ $i -lt {steps} ]; do i=$((i+1)); sleep 0.1; done\n",
            self.shared.display()
        )
    }

    /// Tasks that are alive, by their locks: job and rank. Only looked at: whoever tried a lock could be in the way of a start.
    fn held(&self) -> BTreeSet<(u64, u64)> {
        let locks = std::fs::read_to_string("/proc/locks").expect("the kernel's locks");
        let locks = locks.lines().filter(|line| line.contains("FLOCK"));
        let inodes: BTreeSet<u64> = locks
            .filter_map(|line| line.split_whitespace().nth(5)?.rsplit(':').next()?.parse().ok())
            .collect();
        let files = std::fs::read_dir(&self.shared).expect("the shared folder").flatten();
        let held = files.filter(|file| inodes.contains(&file.ino())).filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let (job, rank) = name.strip_prefix("lock-")?.split_once('-')?;
            Some((job.parse().ok()?, rank.parse().ok()?))
        });
        held.collect()
    }

    /// Tasks that the server says are alive.
    fn said_to_run(&self) -> BTreeSet<(u64, u64)> {
        let api = Api::of(&self.pool).expect("a server");
        let jobs = api.get("jobs?state=active&limit=1000").expect("a server").body;
        let jobs = jobs["jobs"].as_array().expect("jobs").clone();
        let mut said = BTreeSet::new();
        for id in jobs.iter().filter_map(|job| job["id"].as_u64()) {
            let detail = api.get(&format!("jobs/{id}")).expect("a server").body;
            let gangs = detail["gangs"].as_array().cloned().unwrap_or_default();
            for task in gangs.iter().flat_map(|gang| gang["tasks"].as_array().cloned().unwrap_or_default()) {
                if ["running", "frozen"].iter().any(|state| task["state"] == *state) {
                    said.insert((id, task["rank"].as_u64().expect("a rank")));
                }
            }
        }
        said
    }

    /// Starts a server and waits until it answers.
    fn start(&self) {
        // The address of the dead server must not be taken for that of the new one.
        _ = std::fs::remove_file(self.pool.state().join("address"));
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.pool.work().join("server.log"));
        let log = log.expect("the server's log");
        let mut command = self.pool.pond(&["up"]);
        command.stdout(log.try_clone().expect("the server's log")).stderr(log);
        // The server is reaped by this test, not adopted by it: a thread waits for it to end.
        let mut child = command.spawn().expect("pond up");
        std::thread::spawn(move || child.wait());
        let up = wait_until(PATIENCE, || Api::of(&self.pool).is_ok_and(|api| api.get("health").is_ok()));
        assert!(up, "the server does not come up again: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.pool.work().join("server.log")).unwrap_or_default()
    }

    fn kill(&self) {
        let pid = self.pool.server().expect("a server to kill");
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
        assert!(killed.success());
        let gone = wait_until(PATIENCE, || self.pool.server().is_none());
        assert!(gone, "server {pid} outlives kill -9");
    }

    /// Keeps the crowd up for a while, from a thread of its own in the long run: the kill comes in between.
    fn churn(&mut self, spell: Duration) {
        let until = Instant::now() + spell;
        let api = Api::of(&self.pool).expect("a server");
        while Instant::now() < until {
            if self.running() < CROWD {
                self.submit(&api);
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // One more is under way when the kill comes: whether it was taken in or not, it is never half.
        let (_, yaml) = self.draw();
        std::thread::spawn(move || api.submit(&yaml));
    }

    fn submit(&mut self, api: &Api) {
        let (shape, yaml) = self.draw();
        let answer = api.submit(&yaml).expect("a server that answers");
        assert_eq!(answer.status / 100, 2, "{}", answer.body);
        let id = answer.body["job"]["id"].as_u64().expect("an id");
        self.jobs.push(Job { id, ..shape });
    }

    fn draw(&mut self) -> (Job, String) {
        let (elements, ranks) = match self.chance.below(4) {
            0 => (2 + self.chance.below(4) as u32, 1),
            1 => (1, 2 + self.chance.below(2) as u32),
            _ => (1, 1),
        };
        let lines = 5 + self.chance.below(40);
        let array = if elements > 1 { format!("array: 0-{}\n", elements - 1) } else { String::new() };
        let yaml = format!(
            "type: task\nname: storm\nnodes: {ranks}\n{array}resources: {{cpu: 0.01..1, memory: 16MB..64MB, disk: 1MB}}\n\
             volumes: ['{}:/shared']\nrun: |\n  \
             me=\"$POND_JOB_ID ${{POND_ARRAY_INDEX:-0}} $RANK $POND_ATTEMPT\"\n  \
             echo \"start $me\" >> /shared/runs\n  \
             i=0\n  while [ $i -lt {lines} ]; do i=$((i+1)); echo \"line $i\"; sleep 0.2; done\n  \
             echo \"end $me\" >> /shared/runs\n",
            self.shared.display()
        );
        (Job { id: 0, elements, ranks, lines }, yaml)
    }

    /// Tasks that have started and not ended, by their own word, and those still to start.
    fn running(&self) -> usize {
        let (starts, ends) = runs(&self.shared);
        let all: usize = self.jobs.iter().map(Job::tasks).sum();
        let waiting = all.saturating_sub(starts.len());
        starts.len().saturating_sub(ends.len()) + waiting
    }

    fn check_identities(&mut self, round: u64) {
        let usage = Api::of(&self.pool).and_then(|api| api.get("usage")).expect("usage").body;
        let nodes = usage["nodes"].as_array().expect("nodes");
        assert!(!nodes.is_empty(), "round {round}: the node is forgotten: {usage}");
        let part =
            |node: &Value, name: &str| node[name].as_u64().unwrap_or_else(|| panic!("{name} in {node}"));
        for node in nodes {
            let parts = ["granted", "idle", "planned", "down"].map(|name| part(node, name));
            assert_eq!(part(node, "capacity"), parts.iter().sum::<u64>(), "round {round}: {node}");
        }
        let capacity = nodes.iter().map(|node| part(node, "capacity")).sum();
        assert!(capacity >= self.capacity, "round {round}: the meter runs backwards: {usage}");
        self.capacity = capacity;
    }

    fn wait_for_the_end(&self) {
        let api = Api::of(&self.pool).expect("a server");
        for job in &self.jobs {
            let mut last = Value::Null;
            let over = wait_until(PATIENCE, || {
                last = api.get(&format!("jobs/{}", job.id)).expect("a server").body;
                ["succeeded", "failed", "stopped"].contains(&last["state"].as_str().unwrap_or_default())
            });
            assert!(over, "job {} does not end: {last}", job.id);
            assert_eq!(last["state"], "succeeded", "job {}: {last}", job.id);
        }
        // Those whose submission was under way at a kill, and that were taken in.
        let mut active = Value::Null;
        let over = wait_until(PATIENCE, || {
            active = api.get("jobs?state=active").expect("a server").body;
            active["jobs"].as_array().is_some_and(Vec::is_empty)
        });
        assert!(over, "these do not end: {active}");
    }

    fn check_runs(&self) {
        let (starts, ends) = runs(&self.shared);
        let unique: BTreeSet<&Run> = starts.iter().collect();
        assert_eq!(unique.len(), starts.len(), "run twice in one attempt: {:?}", doubles(&starts));
        let ended: BTreeSet<&Run> = ends.iter().collect();
        assert_eq!(ended.len(), ends.len(), "ended twice in one attempt: {:?}", doubles(&ends));
        let mut attempts: BTreeMap<(u64, u32, u32), Vec<u32>> = BTreeMap::new();
        for (job, index, rank, attempt) in &starts {
            attempts.entry((*job, *index, *rank)).or_default().push(*attempt);
        }
        for job in &self.jobs {
            for (index, rank) in
                (0..job.elements).flat_map(|index| (0..job.ranks).map(move |rank| (index, rank)))
            {
                let ran = attempts
                    .get(&(job.id, index, rank))
                    .unwrap_or_else(|| panic!("{}[{index}].{rank} is lost", job.id));
                let last = *ran.iter().max().expect("at least one");
                assert!(
                    ended.contains(&(job.id, index, rank, last)),
                    "{}[{index}].{rank} did not end",
                    job.id
                );
                // A gang of which one rank had not started yet may be started anew; a task alone that ran never is.
                assert!(job.ranks > 1 || ran.len() == 1, "{}[{index}] ran in attempts {ran:?}", job.id);
            }
        }
    }

    fn check_logs(&self) {
        for job in &self.jobs {
            let expected: Vec<String> = (1..=job.lines).map(|number| format!("line {number}")).collect();
            for (index, rank) in
                (0..job.elements).flat_map(|index| (0..job.ranks).map(move |rank| (index, rank)))
            {
                let target =
                    if job.elements > 1 { format!("{}[{index}]", job.id) } else { job.id.to_string() };
                let text = self.pool.ok(&["logs", &target, "--rank", &rank.to_string()]);
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines, expected, "the log of {target} rank {rank}");
            }
        }
    }
}

/// Starts and ends in the shared file.
fn runs(shared: &Path) -> (Vec<Run>, Vec<Run>) {
    let text = std::fs::read_to_string(shared.join("runs")).unwrap_or_default();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap_or_else(|error| panic!("`{line}`: {error}"));
        let run = (u64::from(number(1)), number(2), number(3), number(4));
        let list = if words[0] == "start" { &mut starts } else { &mut ends };
        list.push(run);
    }
    (starts, ends)
}

fn doubles(runs: &[Run]) -> Vec<Run> {
    let mut seen = BTreeSet::new();
    runs.iter().filter(|run| !seen.insert(**run)).copied().collect()
}
