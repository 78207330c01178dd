//! Jobs through the API: in, run, out, listed, archived.

use super::client::job;
use super::farm::NODE;
use super::{Folder, Pool, until};
use pond_core::event::Exit;
use serde_json::json;

#[test]
fn a_job_runs_and_everything_about_it_can_be_read() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let answer = client.post("/api/v1/jobs", &job(&["say", "hello"])).expect(201);
    assert_eq!(answer.header("location"), Some("/api/v1/jobs/1"));
    client.await_state(1, "succeeded");
    let detail = client.get("/api/v1/jobs/1").expect(200).json();
    assert_eq!(detail["exit_code"], 0);
    assert_eq!(detail["user"], "local");
    assert_eq!(detail["gangs"][0]["tasks"][0]["exit"], json!({"kind": "code", "code": 0}));
    assert_eq!(detail["gangs"][0]["tasks"][0]["node"], NODE);
    assert_eq!(detail["spec"]["run"]["command"], json!({"argv": ["say", "hello"]}));
    assert_eq!(client.get("/api/v1/jobs/1/logs").expect(200).text(), "hello\n");
    let kinds: Vec<String> = client.get("/api/v1/jobs/1/events").expect(200).json()["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("job.submitted"));
    assert!(
        kinds.contains(&"gang.running".to_owned()) && kinds.contains(&"job.ended".to_owned()),
        "{kinds:?}"
    );
    assert_eq!(client.get("/api/v1/jobs/1/why").expect(200).json()["verdict"], "over");
}

#[test]
fn failures_keep_their_code_and_reason() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let failed = pool.client.run(&["exit", "3"]);
    pool.client.await_state(failed, "failed");
    let detail = pool.client.get(&format!("/api/v1/jobs/{failed}")).json();
    assert_eq!(detail["exit_code"], 3);
    assert_eq!(detail["reason"], "rank 0: exit code 3");
}

#[test]
fn a_job_that_waits_for_its_next_start_says_why_the_last_one_failed() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["unstarted", "no loop device is free"]);
    let reason =
        || pool.client.get(&format!("/api/v1/jobs/{id}")).json()["reason"].as_str().map(str::to_owned);
    let said = "waits before its next attempt; its last start failed: no loop device is free";
    until("the reason", || reason().is_some_and(|reason| reason == said));
    let why = pool.client.get(&format!("/api/v1/jobs/{id}/why")).json();
    let sentence = why["sentence"].as_str().unwrap_or_default();
    assert!(
        sentence.starts_with("Its last start failed: no loop device is free. It is tried again in "),
        "{why}"
    );
}

#[test]
fn jobs_are_stopped_paused_resumed_resized_retried_and_removed() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let id = client.run(&["sleep"]);
    let act = |verb: &str, body| client.post(&format!("/api/v1/jobs/{id}/{verb}"), &body);
    client.await_state(id, "running");
    act("pause", json!({})).expect(200);
    client.await_state(id, "frozen");
    act("resume", json!({})).expect(200);
    client.await_state(id, "running");
    act("resume", json!({})).problem(409, "not_paused");
    act("resize", json!({"cpu_milli": 2000, "memory_burst_bytes": 200_000_000})).expect(200);
    let task = || client.get(&format!("/api/v1/jobs/{id}")).json()["gangs"][0]["tasks"][0].clone();
    until("the new limits hold", || task()["request"]["cpu_milli"] == 2000);
    assert_eq!(task()["burst"]["cpu_milli"], 2000);
    // What it asks for is what it was made to ask for, wherever that is said.
    let listed = client.get("/api/v1/jobs").json()["jobs"][0].clone();
    assert_eq!(listed["request"]["cpu_milli"], 2000, "{listed}");
    assert_eq!(task()["request"]["memory_bytes"], 100_000_000);
    assert_eq!(task()["burst"]["memory_bytes"], 200_000_000);
    client.delete(&format!("/api/v1/jobs/{id}")).problem(409, "not_ended");
    act("stop", json!({"now": true})).expect(200);
    client.await_state(id, "stopped");
    act("stop", json!({})).problem(409, "ended");
    act("retry", json!({})).expect(200);
    client.await_state(id, "running");
    pool.farm.end_all(Exit::Code(0));
    client.await_state(id, "succeeded");
    client.delete(&format!("/api/v1/jobs/{id}")).expect(204);
    client.get(&format!("/api/v1/jobs/{id}")).problem(404, "no_such_job");
    until("its files are gone", || pool.farm.tasks().is_empty());
}

#[test]
fn the_same_key_makes_one_job() {
    let folder = Folder::new();
    let mut pool = Pool::start(folder.path());
    let submit = |pool: &Pool, key: &str, argv: &[&str]| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        pool.client.request("POST", "/api/v1/jobs", &headers, job(argv).to_string().as_bytes())
    };
    let first = submit(&pool, "k1", &["exit", "0"]).expect(201).json();
    assert_eq!(submit(&pool, "k1", &["exit", "0"]).expect(200).json()["job"]["id"], first["job"]["id"]);
    submit(&pool, "k1", &["exit", "1"]).problem(409, "idempotency_key_reused");
    assert_eq!(submit(&pool, "k2", &["exit", "0"]).expect(201).json()["job"]["id"], 2);
    submit(&pool, &"k".repeat(201), &["exit", "0"]).problem(400, "bad_idempotency_key");
    // At the same moment, from many sides.
    let ids: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| submit(&pool, "k3", &["exit", "0"]).json())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()["job"]["id"].as_u64().unwrap()).collect()
    });
    assert!(ids.iter().all(|&id| id == 3), "{ids:?}");
    // A refused one leaves the key free; and keys outlive the server.
    let bad = json!({"type": "task", "run": "x", "project": "nowhere"}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k4")];
    pool.client.request("POST", "/api/v1/jobs", &headers, bad.as_bytes()).problem(422, "no_such_queue");
    submit(&pool, "k4", &["exit", "0"]).expect(201);
    pool.stop(true).unwrap();
    pool = Pool::start(folder.path());
    assert_eq!(submit(&pool, "k1", &["exit", "0"]).expect(200).json()["job"]["id"], 1);
    assert_eq!(pool.client.get("/api/v1/jobs").json()["jobs"].as_array().unwrap().len(), 4);
}

#[test]
fn finished_jobs_go_to_the_archive_and_lists_do_not_show_the_seam() {
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| config.keep_finished = 3);
    let client = &pool.client;
    for number in 0..20 {
        client.run(&["exit", if number % 2 == 0 { "0" } else { "1" }]);
    }
    let count = |state: &str| {
        let over = client.get("/api/v1/status").expect(200).json()["over"].clone();
        over[state].as_u64().unwrap_or(0)
    };
    until("all are over", || count("succeeded") == 10 && count("failed") == 10);
    let archived =
        || client.get("/metrics").expect(200).text().contains("pond_jobs_archived{state=\"failed\"} 8");
    until("most are in the archive", || archived() || count("failed") == 10);
    let mut seen = Vec::new();
    let mut path = "/api/v1/jobs?limit=7".to_owned();
    loop {
        let page = client.get(&path).expect(200).json();
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/jobs?limit=7&after={next}");
    }
    assert_eq!(seen, (1..=20).rev().collect::<Vec<u64>>());
    let ids = |query: &str| {
        let page = client.get(&format!("/api/v1/jobs?{query}")).expect(200).json();
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("state=failed"), (1..=10).rev().map(|half| half * 2).collect::<Vec<u64>>());
    assert_eq!(ids("state=over").len(), 20);
    assert_eq!(ids("state=active"), Vec::<u64>::new());
    assert_eq!(ids("user=nobody"), Vec::<u64>::new());
    assert_eq!(ids("queue=default&name=t&user=local").len(), 20);
    client.get("/api/v1/jobs?state=odd").problem(400, "bad_parameter");
    client.get("/api/v1/jobs?limit=0").problem(400, "bad_parameter");
    // The first one is in the archive: it can be read, not changed, and removed.
    let detail = client.get("/api/v1/jobs/1").expect(200).json();
    assert_eq!((detail["state"].clone(), detail["exit_code"].clone()), (json!("succeeded"), json!(0)));
    assert_eq!(client.get("/api/v1/jobs/1/why").expect(200).json()["verdict"], "over");
    client.post("/api/v1/jobs/1/retry", &json!({})).problem(409, "archived");
    client.delete("/api/v1/jobs/1").expect(204);
    client.get("/api/v1/jobs/1").problem(404, "no_such_job");
    assert_eq!(count("succeeded"), 9);
}

#[test]
fn a_dry_run_places_and_changes_nothing() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    let preview = pool.client.post("/api/v1/plan", &job(&["sleep"])).expect(200).json();
    assert_eq!(preview["placement"][0]["node"], NODE);
    let mut large = job(&["sleep"]);
    large["resources"]["cpu"] = json!(1000);
    let preview = pool.client.post("/api/v1/plan", &large).expect(200).json();
    assert_eq!(preview["placement"], json!([]));
    assert_eq!(pool.client.get("/api/v1/jobs").json()["jobs"], json!([]));
}

#[test]
fn others_may_look_at_the_list_and_no_more() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = pool.client.run(&["sleep"]);
    pool.client.await_state(id, "running");
    let bot = pool.client.add_user("bot", &[("", "member")]);
    assert_eq!(bot.get("/api/v1/jobs").expect(200).json()["jobs"][0]["id"], id);
    assert!(bot.get(&format!("/api/v1/jobs/{id}")).expect(200).json()["spec"]["run"].is_null());
    bot.post(&format!("/api/v1/jobs/{id}/stop"), &json!({})).problem(403, "forbidden");
    bot.get(&format!("/api/v1/jobs/{id}/logs")).problem(403, "forbidden");
    bot.get(&format!("/api/v1/tasks/{id}/files?path=/etc")).problem(403, "forbidden");
    for (method, path) in [
        ("POST", "/api/v1/shutdown"),
        ("PUT", "/api/v1/queues/q"),
        ("PUT", "/api/v1/secrets/A"),
        ("PUT", "/api/v1/tokens/more"),
        ("GET", "/api/v1/users"),
    ] {
        let body = match path {
            "/api/v1/secrets/A" => json!({"value": "x"}),
            "/api/v1/tokens/more" => json!({"user": "local"}),
            _ => json!({}),
        };
        bot.request(method, path, &[("content-type", "application/json")], body.to_string().as_bytes())
            .problem(403, "forbidden");
    }
    pool.client.put("/api/v1/queues/default", &json!({"host": {"root": true}})).expect(200);
    let own = bot.run(&["sleep"]);
    assert_eq!(bot.get(&format!("/api/v1/jobs/{own}")).json()["user"], "bot");
    bot.post(&format!("/api/v1/jobs/{own}/stop"), &json!({"now": true})).expect(200);
    pool.client.delete("/api/v1/tokens/bot").expect(204);
    bot.get("/api/v1/jobs").problem(401, "unauthorized");
}

fn asking(cpu: u64, more: serde_json::Value) -> serde_json::Value {
    let mut asked = super::client::job(&["sleep"]);
    asked["resources"]["cpu"] = serde_json::json!(cpu);
    for (key, value) in more.as_object().unwrap() {
        asked[key] = value.clone();
    }
    asked
}

#[test]
fn why_tells_who_went_first_what_was_decided_and_forecasts_are_held_to_account() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let submit = |job: &serde_json::Value| client.post("/api/v1/jobs", job).expect(201).json();
    let why = |job: u64| client.get(&format!("/api/v1/jobs/{job}/why")).expect(200).json();
    submit(&asking(60, serde_json::json!({"time_limit": "1h"})));
    client.await_state(1, "running");
    submit(&asking(32, serde_json::json!({})));
    client.await_state(2, "waiting");
    super::until("its start is foretold", || {
        client.get("/api/v1/jobs/2/events?kind=forecast.made").json()["events"].as_array().unwrap().len() == 1
    });
    // One that fits beside the first goes before the second, and the second is told.
    submit(&asking(2, serde_json::json!({})));
    client.await_state(3, "running");
    let view = why(2);
    assert_eq!(view["passed_by"][0]["gang"], "3", "{view}");
    assert!(view["passed_by"][0]["because"].as_str().unwrap().contains("backfill"), "{view}");
    assert!(view["predicted_start_ms"].is_u64() && view.get("predicted_latest_ms").is_none(), "{view}");
    // The first ends long before its limit: the forecast was wrong by nearly an hour, and the pool says so.
    client.post("/api/v1/jobs/1/stop", &serde_json::json!({"now": true})).expect(200);
    client.await_state(2, "running");
    let forecasts = client.get("/api/v1/scheduler").expect(200).json()["forecasts"].clone();
    assert_eq!(
        (forecasts["made"].as_u64(), forecasts["compared"].as_u64()),
        (Some(1), Some(1)),
        "{forecasts}"
    );
    assert!(forecasts["median_error_ms"].as_u64().unwrap() > 3_000_000, "{forecasts}");
    let met = client.get("/api/v1/jobs/2/events?kind=forecast.met").json()["events"][0]["text"].clone();
    assert!(met.as_str().unwrap().contains("earlier than was expected"), "{met}");
    let past = why(2)["past"].clone();
    let text = past[0]["text"].as_str().unwrap();
    assert!(text.starts_with("placed on farm<b>") && text.ends_with("until then: waits for room"), "{past}");
    // One of a higher class takes its place, and it is told for whom.
    submit(&asking(60, serde_json::json!({"class": "critical"})));
    client.await_state(4, "running");
    let past = why(2)["past"].clone();
    let evicted = past.as_array().unwrap().iter().find(|past| past["what"] == "preempt").unwrap().clone();
    assert!(evicted["text"].as_str().unwrap().contains("evicted for 4"), "{past}");
    assert_eq!(why(2)["passed_by"][0]["because"], "it is of a higher class");
    // What came out is known after a restart.
    pool.stop(true).unwrap();
    let pool = Pool::start(folder.path());
    let kept = pool.client.get("/api/v1/scheduler").expect(200).json()["forecasts"].clone();
    assert_eq!((&kept["made"], &kept["compared"]), (&forecasts["made"], &forecasts["compared"]));
    assert_eq!(kept["median_error_ms"], forecasts["median_error_ms"]);
}
