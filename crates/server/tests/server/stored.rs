//! State folders of earlier builds, kept as files, are opened by this one.
//!
//! `stored/format-N.db` is a `pond.db` that was written by the build that had format N last: an image of the
//! engine with history after it, finished jobs, queues, a token. It is made by
//! `cargo test -p pond-server --test server stored::make -- --ignored`, when a format ends; an old one is never
//! made again.

use super::client::{Client, job};
use super::{Folder, Pool, until};
use pond_core::event::Exit;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Jobs of the file, in the order of their ids: name, state when it was stored, state once all is done.
const JOBS: [(&str, &str, &str); 13] = [
    ("fine", "succeeded", "succeeded"),
    ("wrong", "failed", "failed"),
    ("long", "infeasible", "succeeded"),
    ("sweep", "running", "succeeded"),
    ("elastic", "running", "succeeded"),
    ("gpu", "running", "succeeded"),
    ("lent", "running", "succeeded"),
    ("next", "waiting", "succeeded"),
    ("giant", "infeasible", "infeasible"),
    ("office", "running", "succeeded"),
    ("later", "paused", "paused"),
    ("again", "waiting", "succeeded"),
    ("limited", "waiting", "succeeded"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/stored")
}

fn asked(name: &str, argv: &[&str], more: Value) -> Value {
    let mut asked = job(argv);
    asked["name"] = json!(name);
    if let (Some(asked), Value::Object(more)) = (asked.as_object_mut(), more) {
        asked.extend(more);
    }
    asked
}

fn submit(client: &Client, body: &Value) -> u64 {
    client.post("/api/v1/jobs", body).expect(201).json()["job"]["id"].as_u64().unwrap()
}

/// What an image will hold.
fn before_the_image(client: &Client) {
    client.put("/api/v1/queues/lab", &json!({"weight": 3, "limit": {"running": 1}})).expect(200);
    client.put("/api/v1/queues/lab/nlp", &json!({"guarantee": {"cpu_milli": 4000}})).expect(200);
    client.put("/api/v1/users/bot", &json!({})).expect(200);
    let role = json!({"user": "bot", "role": "member"});
    client.put("/api/v1/roles", &role).expect(200);
    client.put("/api/v1/tokens/ci", &json!({"user": "bot", "scope": {"role": "member"}})).expect(201);
    for body in [
        asked("fine", &["exit", "0"], json!({})),
        asked("wrong", &["exit", "3"], json!({"retry": {"on": ["failed"], "max": 1}})),
        asked("long", &["sleep"], json!({"time_limit": "24h", "env": {"A": "b"}, "labels": {"team": "x"}})),
        asked("sweep", &["sleep"], json!({"array": "0-5%2", "class": "critical", "priority": 900})),
        asked("elastic", &["sleep"], json!({"nodes": "2..4", "ports": [80]})),
        asked("gpu", &["sleep"], json!({"resources": {"gpu": "H100:1", "cpu": "1..2", "memory": "1GB"}})),
        asked(
            "lent",
            &["sleep"],
            json!({"class": "spare", "checkpoint": {"signal": "SIGUSR1", "grace": "5s"}}),
        ),
        asked("next", &["exit", "0"], json!({"after": [3]})),
        asked("giant", &["sleep"], json!({"resources": {"cpu": 500}})),
    ] {
        submit(client, &body);
    }
    client.await_state(2, "failed");
    client.await_state(9, "infeasible");
}

/// What will only stand in the history after it.
fn after_the_image(client: &Client) {
    let env = json!({"type": "env", "name": "office", "run": ["sleep"], "idle": {"after": "30m", "action": "pause"},
                     "resources": {"cpu": 1, "memory": "100MB"}});
    submit(client, &env);
    let later = submit(client, &asked("later", &["sleep"], json!({})));
    client.await_state(later, "running");
    client.post(&format!("/api/v1/jobs/{later}/pause"), &json!({"release": true})).expect(200);
    client.await_state(later, "paused");
    let retry = json!({"retry": {"on": ["failed"], "max": 9}});
    let again = submit(client, &asked("again", &["exit", "1"], retry));
    until("it is tried again", || {
        client.get(&format!("/api/v1/jobs/{again}")).json()["gangs"][0]["attempt"].as_u64() > Some(2)
    });
    submit(client, &asked("limited", &["exit", "0"], json!({"project": "lab/nlp", "after": [3]})));
}

/// Not a test: writes the file of the present format.
#[test]
#[ignore = "makes a file that is kept, when a format ends"]
fn make() {
    let state = Folder::new();
    // Of the two that are over, one stays with the engine and one is in the archive alone.
    let start = || Pool::start_with(state.path(), |config| config.keep_finished = 1);
    let pool = start();
    before_the_image(&pool.client);
    pool.stop(true).unwrap();
    let pool = start();
    after_the_image(&pool.client);
    let db = rusqlite::Connection::open(state.path().join("pond.db")).unwrap();
    let format: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let kept: i64 = db.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).unwrap();
    assert!(kept > 0, "nothing in the archive");
    let path = folder().join(format!("format-{format}.db"));
    std::fs::create_dir_all(folder()).unwrap();
    db.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
    let lines: i64 = db.query_row("SELECT COUNT(*) FROM log", [], |row| row.get(0)).unwrap();
    let images: i64 = db.query_row("SELECT COUNT(*) FROM image", [], |row| row.get(0)).unwrap();
    assert!(images == 1 && lines > 10, "{images} images, {lines} lines of history");
}

#[test]
fn state_of_every_format_is_opened_and_gone_on_with() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no stored state");
    for file in files {
        goes_on(&file);
    }
}

fn goes_on(file: &Path) {
    let state = Folder::new();
    std::fs::copy(file, state.path().join("pond.db")).unwrap();
    let pool = Pool::start(state.path());
    let client = &pool.client;
    let listed = client.get("/api/v1/jobs?limit=100").expect(200).json();
    let names: Vec<&str> =
        listed["jobs"].as_array().unwrap().iter().rev().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, JOBS.map(|(name, ..)| name));
    for ((name, stored, _), id) in JOBS.into_iter().zip(1..) {
        // What runs is started anew on a machine that knows nothing of it; what does not run stands where it stood.
        if !matches!(stored, "running" | "waiting") {
            assert_eq!(client.state(id), stored, "{name}");
        }
    }
    assert_eq!(client.get("/api/v1/jobs/2").json()["exit_code"], 3);
    let queue = client.get("/api/v1/queues/lab/nlp").expect(200).json();
    assert_eq!(queue["settings"]["guarantee"]["cpu_milli"], 4000);
    // Before there were roles, who had a token could submit anywhere.
    let token = client.get("/api/v1/tokens").json()[0].clone();
    assert_eq!((token["user"].as_str(), token["scope"]["role"].as_str()), (Some("bot"), Some("member")));
    assert_eq!(client.get("/api/v1/users/bot").expect(200).json()["roles"], json!({"": "member"}));
    let told = client.get("/api/v1/events?kind=job.submitted").expect(200).json();
    assert_eq!(told["events"].as_array().unwrap().len(), JOBS.len());
    // And it goes on: what no node could take gets one with the label it wants, what runs ends, what waited for it follows, what is tried again succeeds at last.
    let label = json!({"labels": {"team": "x"}});
    client.post("/api/v1/nodes/farm%3Cb%3E/label", &label).expect(200);
    for ((name, _, last), id) in JOBS.into_iter().zip(1..) {
        until(&format!("{name} is {last}"), || {
            pool.farm.end_all(Exit::Code(0));
            let state = client.state(id);
            state == last || name == "again" && state != "failed"
        });
    }
    let report = client.get("/api/v1/usage").json();
    let part = |name: &str| report["nodes"][0][name].as_u64().unwrap();
    assert_eq!(part("capacity"), part("granted") + part("idle") + part("planned") + part("down"));
}
