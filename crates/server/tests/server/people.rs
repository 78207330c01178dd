//! Users, passwords, tokens, sessions: what opens, for how long, and what a thief or a guesser gets.

use super::client::Client;
use super::web::Browser;
use super::{Folder, Pool, until};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

fn with_password(pool: &Pool, name: &str) {
    pool.client.add_user(name, &[("", "member")]);
    let path = format!("/api/v1/users/{name}/password");
    pool.client.put(&path, &json!({"new": PASSWORD})).expect(204);
}

fn form(user: &str, password: &str) -> String {
    format!("user={user}&password={}", password.replace(' ', "+"))
}

#[test]
fn whoever_has_no_role_is_told_so_and_can_leave() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    with_password(&pool, "ann");
    pool.client.put("/api/v1/roles", &json!({"user": "ann", "project": "", "role": null})).expect(200);
    let mut browser = Browser::new(&pool.client);
    browser.enter(&form("ann", PASSWORD)).expect(303);
    let page = browser.get("/").expect(403).text();
    assert!(page.contains("Logged in as <b data-testid=\"user\">ann</b>"), "{page}");
    assert!(browser.get("/admin").expect(403).text().contains("action=\"/logout\""));
    assert!(!browser.get("/nowhere").expect(404).text().contains("/logout"));
    browser.post("/logout", "").expect(303);
    browser.get("/").expect(303);
}

#[test]
fn a_password_opens_a_session_and_a_change_ends_it() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    assert!(!Browser::new(&pool.client).get("/login").text().contains("name=\"password\""));
    with_password(&pool, "ann");
    let mut browser = Browser::new(&pool.client);
    assert!(browser.get("/login").text().contains("name=\"password\""));
    browser.enter(&form("ann", PASSWORD)).expect(303);
    let page = browser.get("/").expect(200).text();
    assert!(page.contains("ann") && !page.contains("/admin"), "{page}");
    browser.get("/admin").expect(403);
    pool.client.put("/api/v1/users/ann/password", &json!({"new": "another one entirely"})).expect(204);
    browser.get("/").expect(303);
    browser.enter(&form("ann", PASSWORD)).expect(401);
    browser.enter(&form("ann", "another one entirely")).expect(303);
    pool.client.put("/api/v1/users/ann", &json!({"disabled": true})).expect(200);
    browser.get("/").expect(303);
    browser.enter(&form("ann", "another one entirely")).expect(401);
    pool.client.put("/api/v1/users/ann", &json!({"disabled": false})).expect(200);
    browser.enter(&form("ann", "another one entirely")).expect(303);
    pool.client.put("/api/v1/users/ann/password", &json!({"new": "short"})).problem(422, "bad_password");
    pool.client.put("/api/v1/users/nobody/password", &json!({"new": PASSWORD})).problem(404, "no_such_user");
    for name in ["a%20b", "pool", "node:x", "%3Cb%3E", "a%2Fb"] {
        pool.client.put(&format!("/api/v1/users/{name}"), &json!({})).problem(422, "bad_name");
    }
}

#[test]
fn people_change_their_own_password_with_the_one_before() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    with_password(&pool, "ann");
    let ann = pool.client.token_for("ann2", "ann", &json!({}));
    let path = "/api/v1/users/ann/password";
    let refused = ann.put(path, &json!({"new": "mine alone now"})).problem(403, "forbidden");
    assert_eq!(refused["where"], "current");
    ann.put(path, &json!({"new": "mine alone now", "current": PASSWORD})).expect(204);
    // Guessing at the one before through a stolen token is as slow as at the door.
    for _ in 0..5 {
        ann.put(path, &json!({"new": "mine alone now", "current": "guess"})).problem(403, "forbidden");
    }
    ann.put(path, &json!({"new": "mine alone now", "current": "guess"})).problem(429, "too_many_tries");
    pool.client.put("/api/v1/users/bob", &json!({})).expect(200);
    ann.put("/api/v1/users/bob/password", &json!({"new": PASSWORD})).problem(403, "forbidden");
}

#[test]
fn sessions_outlive_the_server_and_their_names_are_not_stored() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    with_password(&pool, "ann");
    let (mut by_password, mut gone) = (Browser::new(&pool.client), Browser::new(&pool.client));
    by_password.enter(&form("ann", PASSWORD)).expect(303);
    gone.enter(&form("ann", PASSWORD)).expect(303);
    let by_token = Browser::log_in(&pool.client);
    gone.post("/logout", "").expect(303);
    let value = by_password.cookie.split_once('=').unwrap().1.to_owned();
    pool.stop(true).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        for secret in [value.as_bytes(), PASSWORD.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    let pool = Pool::start(folder.path());
    // A new port: the cookie's name has it, its value is what counts.
    let port = pool.client.address.rsplit(':').next().unwrap().to_owned();
    let moved = |browser: &Browser| {
        let value = browser.cookie.split_once('=').unwrap().1;
        Browser { cookie: format!("pond_{port}={value}"), ..Browser::new(&pool.client) }
    };
    let (ann, root) = (moved(&by_password), moved(&by_token));
    assert!(ann.get("/").expect(200).text().contains("ann"));
    root.get("/admin").expect(200);
    moved(&gone).get("/").expect(303);
    // Forms go on as well, and ending it ends it for the next server too.
    ann.post("/logout", "").expect(303);
    let after = moved(&by_password);
    after.get("/").expect(303);
}

#[test]
fn guessing_is_held_up_for_the_account_and_for_the_address() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    with_password(&pool, "ann");
    with_password(&pool, "bob");
    let mut browser = Browser::new(&pool.client);
    for _ in 0..5 {
        let page = browser.enter(&form("ann", "guess")).expect(401).text();
        assert!(page.contains("not known") && !page.contains("guess"), "{page}");
    }
    let held = browser.enter(&form("ann", PASSWORD)).expect(429).text();
    assert!(held.contains("wait"), "{held}");
    // Names that nobody has count too, so that they cannot be told from others.
    for at in 0..5 {
        browser.enter(&form(&format!("nobody{at}"), "guess")).expect(401);
    }
    browser.enter(&form("bob", PASSWORD)).expect(429);
    assert_eq!(browser.cookie, "");
    let told = || {
        let told = pool.client.get("/api/v1/events?kind=login.failed&audit=true").expect(200).json();
        told["events"].as_array().unwrap().clone()
    };
    // Lines about what changes nothing are not waited for.
    until("all are in the log", || told().len() == 10);
    let told = told();
    assert!(told[0]["text"].as_str().unwrap().starts_with("ann was not let in"), "{told:?}");
    assert!(!told.iter().any(|line| line["text"].as_str().unwrap().contains("nobody")), "{told:?}");
}

#[test]
fn tokens_end_and_make_none_that_allow_more() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    root.put("/api/v1/queues/lab", &json!({})).expect(200);
    root.add_user("ann", &[("", "maintainer")]);
    let brief = root.token_for("brief", "ann", &json!({"valid_ms": 300}));
    brief.get("/api/v1/whoami").expect(200);
    until("it has ended", || brief.get("/api/v1/whoami").status == 401);
    let lab = json!({"scope": {"role": "member", "project": "lab"}, "valid_ms": 3_600_000});
    let narrow = root.token_for("narrow", "ann", &lab);
    assert_eq!(narrow.get("/api/v1/whoami").json()["roles"], json!({"lab": "member"}));
    for (more, name) in [
        (json!({}), "forever"),
        (json!({"valid_ms": 3_600_000}), "wide"),
        (json!({"valid_ms": 60_000, "scope": {"role": "maintainer", "project": "lab"}}), "higher"),
        (json!({"valid_ms": 60_000, "scope": {"role": "member", "project": ""}}), "above"),
        (json!({"valid_ms": 7_200_000, "scope": {"role": "member", "project": "lab"}}), "longer"),
        (
            json!({"valid_ms": 60_000, "user": "local", "scope": {"role": "viewer", "project": "lab"}}),
            "others",
        ),
    ] {
        narrow.put(&format!("/api/v1/tokens/{name}"), &more).problem(403, "forbidden");
    }
    narrow
        .put(
            "/api/v1/tokens/less",
            &json!({"valid_ms": 60_000, "scope": {"role": "viewer", "project": "lab"}}),
        )
        .expect(201);
    // Nor does a name give away, or take over, the token of another.
    root.put("/api/v1/tokens/boss", &json!({})).expect(201);
    let ann = root.token_for("ann3", "ann", &json!({}));
    ann.put("/api/v1/tokens/boss", &json!({})).problem(403, "forbidden");
    ann.delete("/api/v1/tokens/boss").problem(404, "no_such_token");
    let names = |client: &Client| {
        let list = client.get("/api/v1/tokens").expect(200).json();
        list.as_array().unwrap().iter().map(|token| token["name"].clone()).collect::<Vec<Value>>()
    };
    assert!(!names(&ann).contains(&json!("boss")) && names(&ann).contains(&json!("narrow")));
    assert!(names(root).contains(&json!("boss")));
    root.put("/api/v1/tokens/x", &json!({"user": "nobody"})).problem(404, "no_such_user");
    root.put("/api/v1/tokens/x", &json!({"scope": {"role": "member", "project": "none"}}))
        .problem(404, "no_such_queue");
}

#[test]
fn the_pool_is_called_by_a_name_where_it_has_no_path() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    pool.client.put("/api/v1/queues/lab", &json!({})).expect(200);
    let page = Browser::log_in(&pool.client).get("/admin").expect(200).text();
    let row = page.split_once("(the pool)</span></td>").unwrap().1.split_once("</tr>").unwrap().0;
    assert!(row.contains("the pool's owner alone") && !row.contains("above"), "{row}");
    let ann = pool.client.add_user("ann", &[("lab", "admin")]);
    let refused =
        ann.put("/api/v1/roles", &json!({"user": "ann", "role": "viewer"})).problem(403, "forbidden");
    assert_eq!(refused["message"], "you have no role in `/` that allows this");
}

#[test]
fn a_token_touches_none_that_allows_more_than_itself() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    root.put("/api/v1/queues/lab", &json!({})).expect(200);
    let ann = root.add_user("ann", &[("", "maintainer")]);
    let hour = |scope: &Value, hours: u64| json!({"scope": scope, "valid_ms": hours * 3_600_000});
    let (member, viewer) =
        (json!({"role": "member", "project": "lab"}), json!({"role": "viewer", "project": "lab"}));
    let narrow = root.token_for("narrow", "ann", &hour(&member, 2));
    root.token_for("less", "ann", &hour(&viewer, 1));
    root.token_for("later", "ann", &hour(&viewer, 3));
    root.token_for("above", "ann", &hour(&json!({"role": "viewer", "project": ""}), 1));
    root.token_for("higher", "ann", &hour(&json!({"role": "maintainer", "project": "lab"}), 1));
    let names = |client: &Client| {
        let list = client.get("/api/v1/tokens").expect(200).json();
        list.as_array().unwrap().iter().map(|token| token["name"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(names(&narrow), ["less", "narrow"]);
    assert_eq!(names(&ann), ["above", "ann", "higher", "later", "less", "narrow"]);
    for name in ["ann", "later", "above", "higher"] {
        let path = format!("/api/v1/tokens/{name}");
        narrow.delete(&path).problem(404, "no_such_token");
        narrow.put(&path, &hour(&viewer, 1)).problem(403, "forbidden");
    }
    narrow.put("/api/v1/tokens/less", &hour(&viewer, 1)).expect(201);
    narrow.delete("/api/v1/tokens/less").expect(204);
    // Nor does it get what is without bounds by a password, where there is none before.
    narrow.put("/api/v1/users/ann/password", &json!({"new": PASSWORD})).problem(403, "forbidden");
    narrow.delete("/api/v1/tokens/narrow").expect(204);
    narrow.get("/api/v1/whoami").expect(401);
    ann.delete("/api/v1/tokens/higher").expect(204);
    assert_eq!(names(&ann), ["above", "ann", "later"]);
    ann.put("/api/v1/users/ann/password", &json!({"new": PASSWORD})).expect(204);
}

#[test]
fn a_job_that_one_does_not_see_is_waited_for_as_little_as_one_that_is_not_there() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    for queue in ["lab", "other"] {
        root.put(&format!("/api/v1/queues/{queue}"), &json!({"host": {"root": true}})).expect(200);
    }
    let ann = root.add_user("ann", &[("lab", "member")]);
    let file = |queue: &str, after: Option<u64>| {
        let after: Vec<u64> = after.into_iter().collect();
        json!({"type": "task", "queue": queue, "run": ["sleep"], "resources": {"cpu": 1}, "after": after})
    };
    let submit = |queue: &str| {
        let job = root.post("/api/v1/jobs", &file(queue, None)).expect(201).json()["job"]["id"].clone();
        job.as_u64().unwrap()
    };
    let (seen, hidden, failed) = (submit("lab"), submit("other"), submit("other"));
    root.post(&format!("/api/v1/jobs/{failed}/stop"), &json!({})).expect(200);
    until("it is over", || root.state(failed) == "stopped");
    for path in ["/api/v1/jobs", "/api/v1/plan"] {
        let answer = |job| {
            let problem = ann.post(path, &file("lab", Some(job))).problem(422, "no_such_dependency");
            problem.to_string().replace(&format!("job {job},"), "job N,")
        };
        assert_eq!([answer(hidden), answer(failed)], [answer(9), answer(9)]);
        // Neither does another fault of the job tell them apart.
        let bad = |job| {
            let mut file = file("lab", Some(job));
            file["nodes"] = json!(100_001);
            ann.post(path, &file).text().replace(&format!("job {job},"), "job N,")
        };
        assert_eq!([bad(hidden), bad(failed)], [bad(9), bad(9)]);
        root.post(path, &file("lab", Some(failed))).problem(422, "failed_dependency");
    }
    ann.post("/api/v1/plan", &file("lab", Some(seen))).expect(200);
    ann.post("/api/v1/jobs", &file("lab", Some(seen))).expect(201);
}

#[test]
fn roles_outlive_the_server_and_end_with_their_queue() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    pool.client.put("/api/v1/queues/lab", &json!({})).expect(200);
    let ann = pool.client.add_user("ann", &[("lab", "admin")]);
    ann.put("/api/v1/queues/lab/nlp", &json!({})).expect(200);
    pool.stop(true).unwrap();
    let pool = Pool::start(folder.path());
    let ann = Client { address: pool.client.address.clone(), ..ann };
    assert_eq!(ann.get("/api/v1/whoami").json()["roles"], json!({"lab": "admin"}));
    pool.client.put("/api/v1/users/bob", &json!({})).expect(200);
    ann.put("/api/v1/roles", &json!({"user": "bob", "project": "lab/nlp", "role": "viewer"})).expect(200);
    ann.put("/api/v1/roles", &json!({"user": "bob", "project": "", "role": "viewer"}))
        .problem(403, "forbidden");
    ann.put("/api/v1/roles", &json!({"user": "local", "project": "lab"})).problem(409, "owner");
    ann.delete("/api/v1/queues/lab/nlp").expect(204);
    ann.put("/api/v1/queues/lab/nlp", &json!({})).expect(200);
    let of_bob = |pool: &Pool| pool.client.get("/api/v1/users/bob").expect(200).json()["roles"].clone();
    assert_eq!(of_bob(&pool), json!({}), "a new queue of an old name is nobody's");
    // As the image and the history after it tell it, too.
    pool.stop(true).unwrap();
    assert_eq!(of_bob(&Pool::start(folder.path())), json!({}));
}

#[test]
fn who_sends_too_much_waits_and_holds_up_nobody_else() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let (ann, bob) =
        (pool.client.add_user("ann", &[("", "viewer")]), pool.client.add_user("bob", &[("", "viewer")]));
    pool.client.put("/api/v1/users/ann", &json!({"rate": 1})).expect(200);
    let answers: Vec<_> = (0..20).map(|_| ann.get("/api/v1/whoami")).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("some are refused");
    assert!(refused.header("retry-after").is_some());
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 5);
    bob.get("/api/v1/whoami").expect(200);
    assert_eq!(pool.client.get("/api/v1/users/ann").json()["rate"], 1);
}

/// Jobs of `lab/nlp` that want something of the machine, the field that says so, and what opens it.
fn ways_to_the_machine() -> [(Value, &'static str, Value); 6] {
    let job = |more: &[(&str, Value)]| {
        let mut job = json!({"type": "task", "name": "j", "project": "lab/nlp", "run": ["true"]});
        for (name, value) in more {
            job[*name] = value.clone();
        }
        job
    };
    [
        (job(&[]), "image", json!({"root": true})),
        (job(&[("isolation", json!("process"))]), "isolation", json!({"process": true})),
        (
            job(&[("image", json!("debian")), ("volumes", json!(["/data/a:/a:ro"]))]),
            "volumes",
            json!({"folders": [{"path": "/data"}]}),
        ),
        (
            job(&[("image", json!("debian")), ("user", json!(1000)), ("volumes", json!(["/data/a:/a"]))]),
            "volumes",
            json!({"folders": [{"path": "/data", "write": true}]}),
        ),
        (
            job(&[("image", json!("debian")), ("files", json!(["/data/a"]))]),
            "files",
            json!({"folders": [{"path": "/data"}]}),
        ),
        (
            job(&[("image", json!("debian")), ("stdin", json!("/data/a"))]),
            "stdin",
            json!({"folders": [{"path": "/data"}]}),
        ),
    ]
}

/// Of each way to the machine: refused until it is open, then taken; a setting below wins over one above.
#[test]
fn what_of_the_machine_is_open_binds_members_and_not_administrators() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    let open = |queue: &str, host: Value| {
        root.put(&format!("/api/v1/queues/{queue}"), &json!({"host": host})).expect(200);
    };
    for queue in ["lab", "lab/nlp"] {
        root.put(&format!("/api/v1/queues/{queue}"), &json!({})).expect(200);
    }
    let ann = root.add_user("ann", &[("lab", "member")]);
    let head = root.add_user("head", &[("lab", "admin")]);
    let narrow = root.token_for("narrow", "local", &json!({"scope": {"role": "member", "project": "lab"}}));
    let ways = ways_to_the_machine();
    for (job, field, host) in &ways {
        open("lab", json!({"root": false}));
        for client in [&ann, &head, &narrow] {
            for path in ["/api/v1/jobs", "/api/v1/plan"] {
                let answer = client.post(path, job).problem(403, "not_open");
                assert_eq!(answer["where"], *field, "{answer}");
                assert!(answer["message"].as_str().unwrap().contains("`lab/nlp`"), "{answer}");
            }
        }
        let id = root.post("/api/v1/jobs", job).expect(201).json()["job"]["id"].clone();
        assert!(root.get(&format!("/api/v1/jobs/{id}")).json()["spec"]["run"]["within"].is_null());
        open("lab", host.clone());
        let id = ann.post("/api/v1/jobs", job).expect(201).json()["job"]["id"].clone();
        let within = root.get(&format!("/api/v1/jobs/{id}")).json()["spec"]["run"]["within"].clone();
        assert!(within.is_array(), "the node is told too: {within}");
        open("lab/nlp", json!({}));
        ann.post("/api/v1/jobs", job).problem(403, "not_open");
        root.put("/api/v1/queues/lab/nlp", &json!({})).expect(200);
    }
    // Nobody says for themselves what is open to them, neither in a whole spec nor in a queue's settings.
    open("lab", json!({"folders": [{"path": "/data"}]}));
    let (id, kind) =
        (root.post("/api/v1/jobs", &ways[2].0).json()["job"]["id"].clone(), "application/vnd.pond.spec+json");
    let mut spec = root.get(&format!("/api/v1/jobs/{id}")).json()["spec"].clone();
    spec["run"]["within"] = json!([{"path": "/", "write": true}]);
    let sent = ann.request("POST", "/api/v1/jobs", &[("content-type", kind)], spec.to_string().as_bytes());
    let id = sent.expect(201).json()["job"]["id"].clone();
    let kept = root.get(&format!("/api/v1/jobs/{id}")).json()["spec"]["run"]["within"].clone();
    assert_eq!(kept, json!([{"path": "/data", "write": false}]));
    spec["run"]["user"] = json!([u32::MAX, u32::MAX]);
    let nobody = root.request("POST", "/api/v1/jobs", &[("content-type", kind)], spec.to_string().as_bytes());
    nobody.problem(422, "bad_field");
    head.put("/api/v1/queues/lab/nlp", &json!({"host": {"root": true}})).problem(403, "forbidden");
    head.put("/api/v1/queues/lab/nlp", &json!({"weight": 7})).expect(200);
    // What is shut is not opened by making the queue anew, and what is said of it is kept by who may not say.
    open("lab/nlp", json!({}));
    head.delete("/api/v1/queues/lab/nlp").problem(403, "forbidden");
    head.put("/api/v1/queues/lab/nlp", &json!({"weight": 8})).expect(200);
    assert_eq!(root.get("/api/v1/queues/lab/nlp").json()["settings"]["host"]["root"], false);
    let mut lost = ways[0].0.clone();
    lost["project"] = json!("lab/lost");
    ann.post("/api/v1/jobs", &lost).problem(422, "no_such_queue");
    let bad = json!({"host": {"folders": [{"path": "/data/../etc"}]}});
    root.put("/api/v1/queues/lab", &bad).problem(422, "bad_field");
}

/// An administrator's job has the machine; who has not does not come to it through that job.
#[test]
fn who_is_bound_does_not_enter_or_start_anew_what_is_not() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    root.put("/api/v1/queues/lab", &json!({})).expect(200);
    let head = root.add_user("head", &[("lab", "admin")]);
    let narrow = root.token_for("narrow", "local", &json!({"scope": {"role": "member", "project": "lab"}}));
    let job = json!({"type": "task", "name": "j", "project": "lab", "run": ["sleep"]});
    let id = root.post("/api/v1/jobs", &job).expect(201).json()["job"]["id"].as_u64().unwrap();
    root.await_state(id, "running");
    for client in [&head, &narrow] {
        client.get(&format!("/api/v1/tasks/{id}/files?path=/etc")).problem(403, "not_open");
        client.post(&format!("/api/v1/jobs/{id}/pause"), &json!({})).expect(200);
        client.post(&format!("/api/v1/jobs/{id}/resume"), &json!({})).problem(403, "not_open");
        root.post(&format!("/api/v1/jobs/{id}/resume"), &json!({})).expect(200);
    }
    head.post(&format!("/api/v1/jobs/{id}/stop"), &json!({"now": true})).expect(200);
    root.await_state(id, "stopped");
    head.post(&format!("/api/v1/jobs/{id}/retry"), &json!({})).problem(403, "not_open");
    root.put("/api/v1/queues/lab", &json!({"host": {"root": true}})).expect(200);
    head.post(&format!("/api/v1/jobs/{id}/retry"), &json!({})).expect(200);
}

#[test]
fn the_audit_log_is_asked_by_who_what_when_and_from_where() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let root = &pool.client;
    let ann = root.add_user("ann", &[("", "member")]);
    root.put("/api/v1/queues/default", &json!({"host": {"root": true}})).expect(200);
    let id = ann.run(&["sleep"]);
    ann.post(&format!("/api/v1/jobs/{id}/stop"), &json!({"now": true})).expect(200);
    root.await_state(id, "stopped");
    let asked =
        |query: &str| root.get(&format!("/api/v1/events?{query}")).expect(200).json()["events"].clone();
    let by_ann = asked("audit=true&actor=ann");
    let kinds: Vec<&str> =
        by_ann.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"request.stop") && kinds.contains(&"job.submitted"), "{kinds:?}");
    assert!(
        asked("audit=true&limit=1000").as_array().unwrap().iter().all(|line| line["from"] == "127.0.0.1")
    );
    assert_eq!(asked("audit=true&from=10.0.0.1"), json!([]));
    let newest = asked("newest=true&limit=1000");
    let seqs: Vec<u64> =
        newest.as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b), "{seqs:?}");
    // Page by page, from the newest, it is the same.
    let (mut paged, mut until) = (Vec::new(), u64::MAX >> 1);
    loop {
        let page = root.get(&format!("/api/v1/events?newest=true&limit=4&until={until}")).expect(200).json();
        paged.extend(page["events"].as_array().unwrap().iter().map(|line| line["seq"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => until = next,
            None => break,
        }
    }
    assert_eq!(paged[paged.len() - seqs.len()..], seqs);
    let at = newest[2]["at_ms"].as_u64().unwrap();
    let later = asked(&format!("after_ms={at}&limit=1000"));
    let earlier = asked(&format!("before_ms={at}&limit=1000"));
    assert!(later.as_array().unwrap().iter().all(|line| line["at_ms"].as_u64().unwrap() >= at));
    assert!(earlier.as_array().unwrap().iter().all(|line| line["at_ms"].as_u64().unwrap() < at));
    // Others see what they did themselves, and no addresses of anybody else.
    let seen = ann.get("/api/v1/events?limit=1000").expect(200).json();
    for line in seen["events"].as_array().unwrap() {
        assert!(line["from"].is_null() || line["actor"] == "ann", "{line}");
        assert!(!line["kind"].as_str().unwrap().starts_with("token."), "{line}");
    }
}
