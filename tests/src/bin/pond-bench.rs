//! Figures of the whole binary, as one table in Markdown: what `cargo xtask bench` runs.
//!
//! Nothing here passes or fails. Each figure is a median (p50) and a p95 of the runs named beside it,
//! on this machine, in this run, next to each other, so that they can be compared.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that cannot be made is no measurement")]
#![expect(clippy::print_stdout, reason = "the table")]

use pond_e2e::{Api, Pool, wait_until};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    println!("| what | runs | p50 ms | p95 ms |");
    println!("|---|---|---|---|");
    spawned();
    starts_of_the_server();
    let finished = in_a_pool();
    println!();
    for line in finished {
        println!("{line}");
    }
}

/// Milliseconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn of(runs: usize, mut run: impl FnMut(usize)) -> Self {
        Self::from((0..runs).map(|number| {
            let start = Instant::now();
            run(number);
            start.elapsed().as_secs_f64() * 1000.0
        }))
    }

    fn from(times: impl Iterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn at(&self, part: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((self.0.len() * part / 100).min(last)).copied().unwrap_or(f64::NAN)
    }

    fn row(&self, what: &str) {
        println!("| {what} | {} | {:.1} | {:.1} |", self.0.len(), self.at(50), self.at(95));
    }
}

fn quietly(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("the program runs").success(), "{command:?} failed");
}

/// Programs started from here: the floor and the command line. Other launchers: `cargo bench -p pond-node --bench launch`.
fn spawned() {
    Times::of(50, |_| quietly(&mut Command::new("/bin/true"))).row("`/bin/true`, spawned");
    let pool = Pool::new("bench-cli");
    Times::of(50, |_| quietly(&mut pool.pond(&["--version"]))).row("`pond --version`");
    pool.finish();
}

fn starts_of_the_server() {
    let times = Times::from((0..10).map(|_| {
        let pool = Pool::new("bench-start");
        let start = Instant::now();
        quietly(&mut pool.pond(&["up", "-d"]));
        let took = start.elapsed().as_secs_f64() * 1000.0;
        pool.finish();
        took
    }));
    times.row("`pond up -d`, first start in an empty folder");
}

/// Everything that needs a running pool, oldest first; then its memory.
fn in_a_pool() -> Vec<String> {
    let pool = Pool::new("bench");
    let shared = pool.work().join("shared");
    std::fs::create_dir(&shared).expect("the shared folder");
    quietly(&mut pool.pond(&["up", "-d"]));
    let api = Api::of(&pool).expect("a server");
    Times::of(50, |_| quietly(&mut pool.pond(&["ps"]))).row("`pond ps`");
    one_by_one(&api, &shared);
    Times::of(20, |_| quietly(&mut pool.pond(&["run", "--", "/bin/true"]))).row("`pond run -- /bin/true`");
    let mut lines = vec![format!("- server, idle: {}", resident(&pool))];
    let mut done = over(&api);
    lines.push(batch(&api, "container", &mut done));
    for _ in 0..9 {
        let line = batch(&api, "process", &mut done);
        if done < 3000 {
            lines.push(line);
        }
    }
    lines.push(format!("- server with {done} finished jobs: {}", resident(&pool)));
    let restart = {
        quietly(&mut pool.pond(&["down", "--yes"]));
        Times::of(1, |_| quietly(&mut pool.pond(&["up", "-d"])))
    };
    lines.push(format!("- start of the server with {done} finished jobs: {:.0} ms", restart.at(50)));
    lines.push(format!("- server after that start: {}", resident(&pool)));
    pool.finish();
    lines
}

/// Submissions one after the other on an idle machine: until the engine says it runs, and until it has done something.
fn one_by_one(api: &Api, shared: &Path) {
    let mut running = Vec::new();
    let mut acted = Vec::new();
    let mut ended = Vec::new();
    for number in 0..50 {
        let mark = shared.join(number.to_string());
        let yaml = format!(
            "type: task\nresources: {{cpu: 0.5, memory: 32MB}}\nvolumes: ['{}:/shared']\nrun: [/bin/sh, -c, 'echo > /shared/{number}']\n",
            shared.display()
        );
        let start = Instant::now();
        let answer = api.submit(&yaml).expect("a server");
        let id = answer.body["job"]["id"].as_u64().unwrap_or_else(|| panic!("{}", answer.body));
        while !mark.exists() {
            std::thread::sleep(Duration::from_micros(200));
        }
        acted.push(start.elapsed().as_secs_f64() * 1000.0);
        let mut job = serde_json::Value::Null;
        let done = wait_until(PATIENCE, || {
            job = api.get(&format!("jobs/{id}")).expect("a server").body;
            job["ended_ms"].is_u64()
        });
        assert!(done, "job {id} does not end: {job}");
        let moment = |name: &str| job[name].as_f64().unwrap_or(f64::NAN);
        running.push(moment("started_ms") - moment("submitted_ms"));
        ended.push(moment("ended_ms") - moment("submitted_ms"));
    }
    Times::from(running.into_iter()).row("submitted → running (the server's clock, whole ms)");
    Times::from(acted.into_iter()).row("request sent → first act of the task seen from outside");
    Times::from(ended.into_iter()).row("submitted → ended and accounted (the server's clock, whole ms)");
}

fn over(api: &Api) -> u64 {
    let status = api.get("status").expect("a server").body;
    status["over"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// A thousand jobs of `/bin/true`, handed over one request after the other.
fn batch(api: &Api, isolation: &str, done: &mut u64) -> String {
    let yaml = format!(
        "type: task\nisolation: {isolation}\nresources: {{cpu: 0.1, memory: 16MB}}\nrun: [/bin/true]\n"
    );
    let start = Instant::now();
    for _ in 0..1000 {
        let answer = api.submit(&yaml).expect("a server");
        assert_eq!(answer.status / 100, 2, "{}", answer.body);
    }
    let taken_in = start.elapsed().as_secs_f64();
    let target = *done + 1000;
    assert!(wait_until(PATIENCE, || over(api) >= target), "{} of {target} ended", over(api));
    *done = over(api);
    format!(
        "- 1,000 jobs of `/bin/true`, isolation {isolation}: taken in after {taken_in:.1} s, all ended after {:.1} s",
        start.elapsed().as_secs_f64()
    )
}

fn resident(pool: &Pool) -> String {
    let pid = pool.server().expect("a server");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    format!("{:.1} MB resident", kib * 1.024 / 1000.0)
}
