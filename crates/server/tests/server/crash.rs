//! Ends of all kinds, and what the next start makes of them.

use super::client::{Client, job};
use super::{Folder, Pool, until};
use pond_core::event::Exit;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
fn an_orderly_end_and_a_new_start_lose_nothing() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let (running, over) = (pool.client.run(&["sleep"]), pool.client.run(&["exit", "7"]));
    pool.client.put("/api/v1/queues/q", &json!({"weight": 5})).expect(200);
    let bot = pool.client.add_user("bot", &[("", "viewer")]);
    pool.client.await_state(running, "running");
    pool.client.await_state(over, "failed");
    let before = pool.client.get(&format!("/api/v1/jobs/{over}")).json();
    pool.stop(true).unwrap();
    assert!(!folder.path().join("address").exists());

    let pool = Pool::start(folder.path());
    assert_eq!(pool.client.state(running), "running");
    assert_eq!(pool.client.get(&format!("/api/v1/jobs/{over}")).json(), before);
    assert_eq!(pool.client.get("/api/v1/queues/q").json()["settings"]["weight"], 5);
    let bot = Client { address: pool.client.address.clone(), ..bot };
    bot.get("/api/v1/jobs").expect(200);
    // It is adopted: its end is heard, and it ran once.
    pool.farm.end_all(Exit::Code(0));
    pool.client.await_state(running, "succeeded");
    assert_eq!(pool.farm.tasks().iter().filter(|(task, ..)| task.gang.job.0 == running).count(), 1);
    assert_eq!(pool.client.run(&["exit", "0"]), 3, "numbers go on");
}

#[test]
fn a_shutdown_over_the_api_stops_tasks_unless_asked_to_keep_them() {
    for keep in [true, false] {
        let folder = Folder::new();
        let mut pool = Pool::start(folder.path());
        let id = pool.client.run(&["sleep"]);
        pool.client.await_state(id, "running");
        pool.client.post("/api/v1/shutdown", &json!({"keep": keep})).expect(202);
        pool.waiting.take().unwrap().join().unwrap().unwrap();
        assert_eq!(*pool.farm.stopped.lock().unwrap(), Some(keep));
        let runs = pool.farm.tasks().iter().any(|(_, _, exit)| exit.is_none());
        assert_eq!(runs, keep);
    }
}

/// Not a test: the server that the tests below kill. Ends tasks at random by itself.
#[test]
#[ignore = "run by the tests of this file, in a process of its own"]
fn serve() {
    let Some(state) = std::env::var_os("POND_TEST_STATE") else { return };
    let pool = Pool::start_with(Path::new(&state), |config| config.keep_finished = 10);
    let mut random = Random(std::process::id().into());
    loop {
        std::thread::sleep(std::time::Duration::from_millis(random.below(20)));
        let running: Vec<_> = pool.farm.tasks().into_iter().filter(|(_, _, exit)| exit.is_none()).collect();
        if let Some((task, generation, _)) = running.get(usize::try_from(random.below(8)).unwrap()) {
            let exit = if random.below(5) == 0 { Exit::Code(1) } else { Exit::Code(0) };
            pool.farm.end(*task, *generation, exit);
        }
    }
}

/// A small generator (xorshift), so that a seed tells a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Victim(Child);

impl Victim {
    fn start(state: &Path) -> (Self, Client) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::serve", "--ignored", "--nocapture"])
            .env("POND_TEST_STATE", state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let victim = Self(child);
        // After a kill the old address is still there; only a new one counts.
        let pid = format!("{}\n", victim.0.id());
        until("the server is up", || {
            let there = std::fs::read_to_string(state.join("server.pid")).is_ok_and(|text| text == pid);
            there && std::fs::read_to_string(state.join("address")).is_ok_and(|url| reachable(&url))
        });
        let address = std::fs::read_to_string(state.join("address")).unwrap();
        let token = std::fs::read_to_string(state.join("token")).unwrap();
        let address = address.trim().trim_start_matches("http://").to_owned();
        (victim, Client { address, token: token.trim().to_owned() })
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn reachable(url: &str) -> bool {
    std::net::TcpStream::connect(url.trim().trim_start_matches("http://")).is_ok()
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `kill -9` at random moments while jobs come and go: none that was taken in is lost, none runs twice in one attempt.
#[test]
fn killed_at_random_nothing_is_lost_or_doubled() {
    let rounds: u64 = std::env::var("POND_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let seed: u64 = std::env::var("POND_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    println!("POND_SEED={seed} POND_KILLS={rounds}");
    let mut random = Random(seed);
    let folder = Folder::new();
    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
    let mut next = 0_u64;
    for _ in 0..rounds {
        let (victim, client) = Victim::start(folder.path());
        for key in taken.keys() {
            // The same key still stands for the same job.
            assert_eq!(submit(&client, key).unwrap(), taken[key]);
        }
        for _ in 0..random.below(20) + 1 {
            let key = format!("job-{next}");
            next += 1;
            taken.insert(key.clone(), submit(&client, &key).unwrap());
        }
        // One more is on its way while the server dies: in or out, never both.
        let (dying, late) = (client.clone(), format!("job-{next}"));
        next += 1;
        let wait = random.below(3000);
        let thread = std::thread::spawn({
            let late = late.clone();
            move || std::panic::catch_unwind(|| submit(&dying, &late)).ok().flatten()
        });
        std::thread::sleep(std::time::Duration::from_micros(wait));
        victim.kill();
        if let Some(id) = thread.join().unwrap() {
            taken.insert(late, id);
        }
    }
    let (victim, client) = Victim::start(folder.path());
    for (key, id) in &taken {
        until(&format!("{key} is over"), || ["succeeded", "failed"].contains(&client.state(*id).as_str()));
    }
    let mut ids: Vec<u64> = taken.values().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), taken.len(), "two keys, one job");
    // Plain jobs have one task; a second file of one would be a second run, unless the first is said to be lost.
    let attempts =
        |id: u64| client.get(&format!("/api/v1/jobs/{id}")).json()["gangs"][0]["attempt"].as_u64().unwrap();
    let mut runs: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path().join("tasks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some((job, _)) = name.split_once('@') {
            *runs.entry(job.parse().unwrap()).or_default() += 1;
        }
    }
    for id in ids {
        let ran = runs.get(&id).copied().unwrap_or(0);
        assert_eq!(ran, attempts(id), "job {id} ran {ran} times");
        assert_eq!(ran, 1, "job {id}: nothing was lost, so nothing had to run again");
    }
    let report = client.get("/api/v1/usage").json();
    let part = |name: &str| report["nodes"][0][name].as_u64().unwrap();
    assert_eq!(part("capacity"), part("granted") + part("idle") + part("planned") + part("down"));
    let told: Vec<u64> = events(&client);
    assert!(told.is_sorted_by(|a, b| a < b));
    victim.kill();
}

/// How forecasts came out is known after `kill -9`, but for the last second.
#[test]
fn how_forecasts_came_out_is_known_after_a_kill() {
    let folder = Folder::new();
    let (victim, client) = Victim::start(folder.path());
    // One at a time, each with a limit of an hour that it does not use: every start is foretold, and comes early.
    let mut job = job(&["sleep"]);
    (job["resources"]["cpu"], job["time_limit"]) = (json!(60), json!("1h"));
    for _ in 0..120 {
        client.post("/api/v1/jobs", &job).expect(201);
    }
    let compared = |client: &Client| {
        client.get("/api/v1/scheduler").expect(200).json()["forecasts"]["compared"].as_u64().unwrap()
    };
    until("a forecast came out", || compared(&client) > 0);
    let (before, then) = (compared(&client), std::time::Instant::now());
    until("more came out for longer than a second", || {
        compared(&client) > before && then.elapsed() > std::time::Duration::from_secs(2)
    });
    victim.kill();
    let (victim, client) = Victim::start(folder.path());
    let after = compared(&client);
    assert!(after >= before, "{before} came out, {after} are known");
    victim.kill();
}

fn events(client: &Client) -> Vec<u64> {
    let (mut all, mut since) = (Vec::new(), 0);
    loop {
        let page = client.get(&format!("/api/v1/events?limit=1000&since={since}")).json();
        all.extend(page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => since = next,
            None => return all,
        }
    }
}

fn submit(client: &Client, key: &str) -> Option<u64> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    let answer = client.request("POST", "/api/v1/jobs", &headers, job(&["sleep"]).to_string().as_bytes());
    [200, 201].contains(&answer.status).then(|| answer.json()["job"]["id"].as_u64().unwrap())
}
