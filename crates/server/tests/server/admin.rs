//! Nodes, devices, queues, secrets, tokens, usage, metrics.

use super::client::job;
use super::farm::NODE;
use super::{Folder, Pool, until};
use serde_json::json;

const NODE_PATH: &str = "/api/v1/nodes/farm%3Cb%3E";

#[test]
fn nodes_are_drained_resumed_and_labelled() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    until("the node is there", || client.get("/api/v1/nodes").json().as_array().unwrap().len() == 1);
    assert_eq!(
        client.post(&format!("{NODE_PATH}/drain"), &json!({})).expect(200).json()["state"],
        "draining"
    );
    let id = client.run(&["sleep"]);
    until("it is known why it waits", || {
        client.get(&format!("/api/v1/jobs/{id}")).json()["reason"].is_string()
    });
    let why = client.get(&format!("/api/v1/jobs/{id}/why")).expect(200).json();
    assert!(["waiting", "needs_admin"].contains(&why["verdict"].as_str().unwrap()), "{why}");
    assert_eq!(client.post(&format!("{NODE_PATH}/resume"), &json!({})).expect(200).json()["state"], "ready");
    client.await_state(id, "running");
    let labelled =
        client.post(&format!("{NODE_PATH}/label"), &json!({"labels": {"rack": "b"}})).expect(200).json();
    assert_eq!(labelled["labels"]["rack"], "b");
    assert_eq!(labelled["gangs"], json!([id.to_string()]));
    client.get("/api/v1/nodes/nobody").problem(404, "no_such_node");
    let devices = client.get("/api/v1/devices").expect(200).json();
    assert_eq!(devices[0]["model"], "NVIDIA H100 80GB HBM3");
    assert_eq!(devices[0]["holders"], json!([]));
}

/// Not among those that wait, in any list, until the pool or the limit would allow it.
#[test]
fn what_can_never_fit_is_infeasible_and_not_waiting() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    until("the node is there", || client.get("/api/v1/nodes").json().as_array().unwrap().len() == 1);
    client.put("/api/v1/queues/lab", &json!({"limit": {"cpu_milli": 500}})).expect(200);
    let (mut giant, mut over) = (job(&["sleep"]), job(&["sleep"]));
    giant["resources"]["cpu"] = json!(65);
    over["project"] = json!("lab");
    let ids = [giant, over]
        .map(|body| client.post("/api/v1/jobs", &body).expect(201).json()["job"]["id"].as_u64().unwrap());
    for (id, reason) in ids.into_iter().zip(["infeasible", "over_queue_limit"]) {
        client.await_state(id, "infeasible");
        let why = client.get(&format!("/api/v1/jobs/{id}/why")).expect(200).json();
        assert_eq!(why["infeasible"], true, "{why}");
        assert!(why["reason"][reason].is_object(), "{why}");
    }
    let listed = |state: &str| {
        let page = client.get(&format!("/api/v1/jobs?state={state}")).expect(200).json();
        page["jobs"].as_array().unwrap().len()
    };
    assert_eq!([listed("waiting"), listed("infeasible"), listed("active")], [0, 2, 2]);
    let queue = client.get("/api/v1/queues/lab").json();
    assert_eq!((&queue["waiting"], &queue["infeasible"]), (&json!(0), &json!(1)));
    assert_eq!(client.get("/api/v1/status").json()["elements"], json!({"infeasible": 2}));
    client.put("/api/v1/queues/lab", &json!({"limit": {"cpu_milli": 1000}})).expect(200);
    client.await_state(ids[1], "running");
}

#[test]
fn devices_show_who_is_on_them() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let mut wanted = job(&["sleep"]);
    wanted["resources"]["gpu"] = json!(1);
    pool.client.post("/api/v1/jobs", &wanted).expect(201);
    pool.client.await_state(1, "running");
    let devices = pool.client.get("/api/v1/devices").json();
    assert_eq!(devices[0]["holders"][0]["task"], "1");
    assert_eq!(devices[0]["free_compute_thousandths"], 0);
}

#[test]
fn queues_are_a_tree() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let body = json!({"weight": 3, "limit": {"running": 1, "device_thousandths": {"gpu": 1000}}});
    client.put("/api/v1/queues/research", &body).expect(200);
    let made = client.put("/api/v1/queues/research/nlp", &json!({})).expect(200).json();
    assert_eq!(made["settings"]["weight"], 100);
    let queue = client.get("/api/v1/queues/research").expect(200).json();
    assert_eq!(queue["settings"]["weight"], 3);
    assert_eq!(queue["settings"]["limit"]["device_thousandths"]["gpu"], 1000);
    let mut wanted = job(&["sleep"]);
    wanted["project"] = json!("research/nlp");
    client.post("/api/v1/jobs", &wanted).expect(201);
    client.await_state(1, "running");
    client.post("/api/v1/jobs", &wanted).expect(201);
    until("the limit holds it", || {
        let job = client.get("/api/v1/jobs/2").json();
        job["reason"].as_str().is_some_and(|reason| reason.contains("running limit"))
    });
    assert!(client.delete("/api/v1/queues/research/nlp").status >= 400);
    client.get("/api/v1/queues/none").problem(404, "no_such_queue");
    let odd = json!({"limit": {"device_thousandths": {"tpu": 1}}});
    client.put("/api/v1/queues/research", &odd).problem(422, "bad_field");
    client.put("/api/v1/queues/a/b/c", &json!({})).problem(422, "bad_queue");
    client.put("/api/v1/queues/empty", &json!({})).expect(200);
    client.delete("/api/v1/queues/empty").expect(204);
}

/// Of a pool of one machine with 64 cores.
#[test]
fn a_dry_run_says_who_a_change_of_a_queue_would_affect_and_changes_nothing() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    until("the node is there", || client.get("/api/v1/health").json()["nodes_ready"] == 1);
    for queue in ["lab", "shop"] {
        client.put(&format!("/api/v1/queues/{queue}"), &json!({})).expect(200);
    }
    let submit = |queue: &str, name: &str, cpu: u64| {
        let mut body = job(&["sleep"]);
        (body["project"], body["name"], body["resources"]["cpu"]) = (json!(queue), json!(name), json!(cpu));
        client.post("/api/v1/jobs", &body).expect(201).json()["job"]["id"].as_u64().unwrap()
    };
    let lent = submit("lab", "lent", 60);
    client.await_state(lent, "running");
    let blocked = submit("shop", "blocked", 30);
    client.await_state(blocked, "waiting");
    let tried = |queue: &str, body: serde_json::Value| {
        let trial = client.post(&format!("/api/v1/plan/queues/{queue}"), &body).expect(200).json();
        let affected = trial["affected"].as_array().unwrap().iter();
        let told: Vec<_> = affected.map(|it| (it["what"].clone(), it["job"].as_u64().unwrap())).collect();
        (told, trial)
    };
    assert_eq!(tried("shop", json!({"weight": 100})).0, []);
    // A guarantee takes back what was lent.
    let (told, trial) = tried("shop", json!({"guarantee": {"cpu_milli": 40_000}}));
    assert!(told.contains(&(json!("evicted"), lent)), "{trial}");
    assert_eq!(trial["affected"][0]["name"], "lent", "the worst comes first: {trial}");
    assert!(trial["affected"][0]["reason"].as_str().unwrap().contains("guaranteed"), "{trial}");
    // A limit below what runs evicts nobody, and is said.
    let (told, trial) = tried("lab", json!({"limit": {"cpu_milli": 20_000}}));
    assert!(!told.iter().any(|(what, _)| what == "evicted"), "{trial}");
    assert_eq!(trial["over"], json!(["cpu"]));
    let (told, trial) = tried("shop", json!({"limit": {"cpu_milli": 20_000}}));
    assert_eq!(told, [(json!("never"), blocked)], "{trial}");
    // What a limit holds back starts once it is lifted.
    client.put("/api/v1/queues/shop", &json!({"limit": {"cpu_milli": 2_000}})).expect(200);
    let small = submit("shop", "small", 3);
    client.await_state(small, "infeasible");
    let (told, trial) = tried("shop", json!({}));
    assert!(told.contains(&(json!("starts"), small)), "{trial}");
    tried("new", json!({})).1["before"].as_null().unwrap();
    client.post("/api/v1/plan/queues/a/b/c", &json!({})).problem(422, "bad_queue");
    assert_eq!(client.state(lent), "running");
    assert_eq!(client.get("/api/v1/queues/shop").json()["settings"]["limit"]["cpu_milli"], 2_000);
    client.get("/api/v1/queues/new").problem(404, "no_such_queue");
}

#[test]
fn secrets_reach_tasks_and_nothing_else() {
    const VALUE: &str = "hunter2-is-not-a-secret-anyone-may-see";
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    assert!(
        !client.put("/api/v1/secrets/HF_TOKEN", &json!({"value": VALUE})).expect(200).text().contains(VALUE)
    );
    let mut wanted = job(&["secret", "HF_TOKEN"]);
    wanted["secrets"] = json!(["HF_TOKEN"]);
    client.post("/api/v1/jobs", &wanted).expect(201);
    client.await_state(1, "succeeded");
    // Wrong requests that carry the value do not give it back.
    let kind = [("content-type", "application/json")];
    for body in
        [format!("{{\"valeu\": \"{VALUE}\"}}"), format!("{{\"value\": \"{VALUE}"), format!("\"{VALUE}\"")]
    {
        let answer = client.request("PUT", "/api/v1/secrets/OTHER", &kind, body.as_bytes());
        assert!(answer.status >= 400 && !answer.text().contains(VALUE), "{}", answer.text());
    }
    let bad = client.put("/api/v1/secrets/1BAD", &json!({"value": VALUE}));
    assert!(!bad.problem(422, "bad_secret").to_string().contains(VALUE));
    for path in [
        "/api/v1/secrets",
        "/api/v1/secrets/HF_TOKEN",
        "/api/v1/jobs/1",
        "/api/v1/events?limit=1000",
        "/metrics",
    ] {
        assert!(!client.get(path).expect(200).text().contains(VALUE), "{path}");
    }
    assert_eq!(client.get("/api/v1/secrets").json()[0]["name"], "HF_TOKEN");
    let token = client.token.clone();
    let nowhere = |folder: &std::path::Path| {
        for file in walk(folder) {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!contains(&bytes, VALUE.as_bytes()), "{} holds the secret", file.display());
            let named = file.file_name().is_some_and(|name| name == "token");
            assert!(named || !contains(&bytes, token.as_bytes()), "{} holds the token", file.display());
        }
    };
    nowhere(folder.path());
    client.delete("/api/v1/secrets/HF_TOKEN").expect(204);
    client.get("/api/v1/secrets/HF_TOKEN").problem(404, "no_such_secret");
    client.put("/api/v1/secrets/HF_TOKEN", &json!({"value": VALUE})).expect(200);
    pool.stop(true).unwrap();
    nowhere(folder.path());
    let pool = Pool::start(folder.path());
    pool.client.post("/api/v1/jobs", &wanted).expect(201);
    pool.client.await_state(2, "succeeded");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn files_of_the_state_folder_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let state = folder.path().join("state");
    let _pool = Pool::start(&state);
    let mode = |path: &str| std::fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for file in ["token", "secret.key", "pond.db", "pond.db-wal", "pond.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn the_event_log_says_who_did_what_from_where() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let id = client.run(&["sleep"]);
    client.await_state(id, "running");
    client.post(&format!("/api/v1/jobs/{id}/stop"), &json!({"now": true})).expect(200);
    client.post("/api/v1/jobs/77/stop", &json!({})).problem(404, "no_such_job");
    client.put("/api/v1/tokens/ci", &json!({})).expect(201);
    client.await_state(id, "stopped");
    let log = client.get("/api/v1/events?limit=1000").json();
    let find = |kind: &str| {
        let events = log["events"].as_array().unwrap();
        events.iter().find(|event| event["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {log}")).clone()
    };
    for kind in ["request.stop", "job.submitted", "token.created"] {
        let event = find(kind);
        assert_eq!((event["actor"].clone(), event["from"].clone()), (json!("local"), json!("127.0.0.1")));
    }
    assert_eq!(find("node.ready")["actor"], format!("node:{NODE}"));
    find("server.started");
    let seqs: Vec<u64> =
        log["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    // Page by page it is the same.
    let (mut paged, mut since) = (Vec::new(), 0);
    loop {
        let page = client.get(&format!("/api/v1/events?limit=3&since={since}")).expect(200).json();
        paged.extend(page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => since = next,
            None => break,
        }
    }
    assert_eq!(paged[..seqs.len()], seqs);
    let only = client.get("/api/v1/events?kind=token.").json();
    assert_eq!(only["events"].as_array().unwrap().len(), 1);
}

#[test]
fn usage_and_metrics_balance() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let id = client.run(&["sleep"]);
    client.await_state(id, "running");
    for by in ["queue", "user", "job"] {
        let report = client.get(&format!("/api/v1/usage?by={by}")).expect(200).json();
        let cpu = &report["nodes"][0];
        let part = |name: &str| cpu[name].as_u64().unwrap();
        assert_eq!(
            part("capacity"),
            part("granted") + part("idle") + part("planned") + part("down"),
            "{report}"
        );
        assert_eq!(part("granted"), part("used_within") + part("waste"), "{report}");
    }
    client.get("/api/v1/usage?by=colour").problem(400, "bad_parameter");
    let text = client.get("/metrics").expect(200).text();
    for line in [
        "pond_tasks{state=\"running\"} 1",
        "pond_plan_violations_total 0",
        "pond_writable 1",
        "pond_node_up{node=\"farm<b>\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    well_formed(&text);
}

/// Every sample follows the head of its family, and no family is told twice.
fn well_formed(text: &str) {
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(!families.contains(&name.to_owned()), "{name} twice");
            assert!(kind != "counter" || name.ends_with("_total"), "{name}");
            families.push(name.to_owned());
        } else if !line.starts_with('#') {
            let family = families.last().unwrap();
            assert!(line.starts_with(family.as_str()), "{line} after {family}");
            let value = line.rsplit_once(' ').unwrap().1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(families.len() > 20);
}

#[test]
fn what_waits_below_a_queue_counts_for_it_and_for_the_pool() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    until("the node is there", || client.get("/api/v1/health").json()["nodes_ready"] == 1);
    client.put("/api/v1/queues/lab", &json!({})).expect(200);
    client.put("/api/v1/queues/lab/nlp", &json!({"limit": {"running": 1}})).expect(200);
    let submit = |cores: u64| {
        let mut job = job(&["sleep"]);
        job["project"] = json!("lab/nlp");
        job["resources"] = json!({"cpu": cores, "memory": "8MB", "disk": "1MB"});
        client.post("/api/v1/jobs", &job).expect(201).json()["job"]["id"].as_u64().unwrap()
    };
    let runs = submit(1);
    client.await_state(runs, "running");
    client.await_state(submit(1), "waiting");
    client.await_state(submit(50_000), "infeasible");
    let queues = client.get("/api/v1/queues").expect(200).json();
    for path in ["", "lab", "lab/nlp"] {
        let queue = queues.as_array().unwrap().iter().find(|queue| queue["path"] == path).unwrap();
        assert_eq!((&queue["waiting"], &queue["infeasible"]), (&json!(1), &json!(1)), "{queue}");
    }
    // An empty label is none at all to Prometheus.
    let metrics = client.get("/metrics").expect(200).text();
    for queue in ["/", "lab", "lab/nlp"] {
        for metric in ["waiting", "infeasible"] {
            let line = format!("pond_queue_{metric}{{queue=\"{queue}\"}} 1");
            assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
        }
    }
    assert!(!metrics.contains("=\"\""), "{metrics}");
    client.post(&format!("/api/v1/jobs/{runs}/stop"), &json!({})).expect(200);
}
