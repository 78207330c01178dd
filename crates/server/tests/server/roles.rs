//! Every route by every role: a table, and nothing is allowed that is not in it.
//!
//! The pool has two projects. A job of the owner's runs in `lab`, and the callers stand in different places to it. A route that
//! the server has and the table has not fails the test, so a new one has to say who may.

use super::client::{Client, job};
use super::web::Browser;
use super::{Folder, Pool, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Who asks. From the least to the most, with those of another project beside.
const CALLERS: [Caller; 10] = [
    Caller::Nobody,
    Caller::Stranger,
    Caller::Other,
    Caller::Viewer,
    Caller::Member,
    Caller::Own,
    Caller::Maintainer,
    Caller::Admin,
    Caller::Scoped,
    Caller::Owner,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// Shows nothing.
    Nobody,
    /// A user without a role.
    Stranger,
    /// Administers the other project.
    Other,
    /// Views `lab`.
    Viewer,
    /// Is a member of `lab`.
    Member,
    /// Is a member of `lab`, and the job is theirs.
    Own,
    /// Maintains `lab`.
    Maintainer,
    /// Administers `lab`.
    Admin,
    /// The pool's administrator with a token that may look at `lab` alone.
    Scoped,
    /// Owns the pool.
    Owner,
}

/// Who may.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Everybody, known or not.
    All,
    /// Whoever has a token or a session.
    Known,
    /// Whoever has a role somewhere. What they see is cut to it.
    AnyRole,
    /// The same, but who came with a token that may only look.
    AnyUser,
    /// Whoever may submit somewhere.
    AnySubmitter,
    /// Who sees `lab`.
    Sees,
    /// The same, but who came with a token that may only look.
    UserSees,
    /// Who may submit to `lab`.
    Submits,
    /// Whose job it is, maintainers of its project.
    Handles,
    /// Whose job it is, administrators of its project.
    Enters,
    /// Administrators of `lab`.
    ProjectAdmin,
    /// Administrators of the pool.
    PoolAdmin,
    /// Who sees the whole pool.
    PoolViewer,
    /// Administrators of anything: what they may do there is asked again for the place.
    AnyAdmin,
}

impl Who {
    fn may(self, caller: Caller) -> bool {
        use Caller::{Admin, Maintainer, Member, Nobody, Other, Own, Owner, Scoped, Stranger, Viewer};
        match self {
            Self::All => true,
            Self::Known => caller != Nobody,
            Self::AnyRole => !matches!(caller, Nobody | Stranger),
            Self::AnyUser => !matches!(caller, Nobody | Stranger | Scoped),
            Self::UserSees => matches!(caller, Viewer | Member | Own | Maintainer | Admin | Owner),
            Self::AnySubmitter => !matches!(caller, Nobody | Stranger | Viewer | Scoped),
            Self::Sees => matches!(caller, Viewer | Member | Own | Maintainer | Admin | Scoped | Owner),
            Self::Submits => matches!(caller, Member | Own | Maintainer | Admin | Owner),
            Self::Handles => matches!(caller, Own | Maintainer | Admin | Owner),
            Self::Enters => matches!(caller, Own | Admin | Owner),
            Self::ProjectAdmin => matches!(caller, Admin | Owner),
            Self::AnyAdmin => matches!(caller, Admin | Owner | Other),
            Self::PoolAdmin | Self::PoolViewer => caller == Owner,
        }
    }
}

/// A route as the server names it, who may, the address that is asked and the body that is sent.
type Row = (&'static str, &'static str, Who, &'static str, &'static str);

const JOB: &str = "JOB";
const OWNER: &str = "OWNER";
const HOST: &str = r#"{"host": {"root": true}}"#;

/// Bodies are such that whoever may gets past the door; what comes of it does not matter here.
const ROWS: [Row; 131] = [
    ("GET", "/api/v1/jobs", Who::AnyRole, "", ""),
    ("POST", "/api/v1/jobs", Who::Submits, "", JOB),
    ("POST", "/api/v1/plan", Who::Submits, "", JOB),
    ("GET", "/api/v1/jobs/{id}", Who::Sees, "/api/v1/jobs/1", ""),
    ("DELETE", "/api/v1/jobs/{id}", Who::Handles, "/api/v1/jobs/1", ""),
    ("POST", "/api/v1/jobs/{id}/stop", Who::Handles, "/api/v1/jobs/1/stop", r#"{"index": 9}"#),
    ("POST", "/api/v1/jobs/{id}/pause", Who::Handles, "/api/v1/jobs/1/pause", r#"{"index": 9}"#),
    ("POST", "/api/v1/jobs/{id}/resume", Who::Handles, "/api/v1/jobs/1/resume", r#"{"index": 9}"#),
    ("POST", "/api/v1/jobs/{id}/retry", Who::Handles, "/api/v1/jobs/1/retry", r#"{"index": 9}"#),
    ("POST", "/api/v1/jobs/{id}/resize", Who::Handles, "/api/v1/jobs/1/resize", r#"{"index": 9}"#),
    ("GET", "/api/v1/jobs/{id}/why", Who::Sees, "/api/v1/jobs/1/why", ""),
    ("GET", "/api/v1/jobs/{id}/logs", Who::Handles, "/api/v1/jobs/1/logs", ""),
    ("GET", "/api/v1/jobs/{id}/samples", Who::Sees, "/api/v1/jobs/1/samples", ""),
    ("GET", "/api/v1/jobs/{id}/events", Who::Sees, "/api/v1/jobs/1/events", ""),
    ("GET", "/api/v1/tasks/{id}/exec", Who::Enters, "/api/v1/tasks/1/exec?argv=%5B%22true%22%5D", ""),
    ("GET", "/api/v1/tasks/{id}/attach", Who::Enters, "/api/v1/tasks/1/attach", ""),
    ("GET", "/api/v1/tasks/{id}/forward", Who::Enters, "/api/v1/tasks/1/forward?port=1", ""),
    ("GET", "/api/v1/tasks/{id}/files", Who::Enters, "/api/v1/tasks/1/files?path=/nothing", ""),
    ("PUT", "/api/v1/tasks/{id}/files", Who::Enters, "/api/v1/tasks/1/files?path=/nothing", ""),
    ("GET", "/api/v1/status", Who::AnyRole, "", ""),
    ("GET", "/api/v1/nodes", Who::AnyRole, "", ""),
    ("GET", "/api/v1/nodes/{node}", Who::AnyRole, "/api/v1/nodes/farm%3Cb%3E", ""),
    ("POST", "/api/v1/nodes/{node}/drain", Who::PoolAdmin, "/api/v1/nodes/none/drain", ""),
    ("POST", "/api/v1/nodes/{node}/resume", Who::PoolAdmin, "/api/v1/nodes/none/resume", ""),
    ("POST", "/api/v1/nodes/{node}/label", Who::PoolAdmin, "/api/v1/nodes/none/label", r#"{"labels": {}}"#),
    ("GET", "/api/v1/devices", Who::AnyRole, "", ""),
    ("GET", "/api/v1/queues", Who::AnyRole, "", ""),
    ("GET", "/api/v1/queues/{*path}", Who::Sees, "/api/v1/queues/lab/nlp", ""),
    // Whose own quota it is does not set it; whoever administers the project above does.
    ("PUT", "/api/v1/queues/{*path}", Who::ProjectAdmin, "/api/v1/queues/lab/nlp", "{}"),
    ("PUT", "/api/v1/queues/{*path}", Who::PoolAdmin, "/api/v1/queues/lab", HOST),
    ("DELETE", "/api/v1/queues/{*path}", Who::ProjectAdmin, "/api/v1/queues/lab/none", ""),
    ("DELETE", "/api/v1/queues/{*path}", Who::PoolAdmin, "/api/v1/queues/lab", ""),
    ("POST", "/api/v1/plan/queues/{*path}", Who::ProjectAdmin, "/api/v1/plan/queues/lab/nlp", "{}"),
    ("POST", "/api/v1/plan/queues/{*path}", Who::PoolAdmin, "/api/v1/plan/queues/lab", HOST),
    ("POST", "/api/v1/plan/queues/{*path}", Who::PoolAdmin, "/api/v1/plan/queues/lab/nlp", HOST),
    ("GET", "/api/v1/scheduler", Who::AnyRole, "", ""),
    ("PUT", "/api/v1/scheduler", Who::PoolAdmin, "", "{}"),
    ("GET", "/api/v1/usage", Who::AnyRole, "", ""),
    ("GET", "/api/v1/prices", Who::AnyRole, "", ""),
    ("POST", "/api/v1/prices", Who::PoolAdmin, "", r#"{"prices": []}"#),
    ("DELETE", "/api/v1/prices/{id}", Who::PoolAdmin, "/api/v1/prices/1", ""),
    ("GET", "/api/v1/budgets", Who::AnyRole, "", ""),
    // As a quota is: whoever administers the project above sets it.
    (
        "PUT",
        "/api/v1/budgets/{*path}",
        Who::ProjectAdmin,
        "/api/v1/budgets/lab/nlp",
        r#"{"limit_micros": 1}"#,
    ),
    ("PUT", "/api/v1/budgets/{*path}", Who::PoolAdmin, "/api/v1/budgets/lab", r#"{"limit_micros": 1}"#),
    ("DELETE", "/api/v1/budgets/{*path}", Who::ProjectAdmin, "/api/v1/budgets/lab/none", ""),
    ("DELETE", "/api/v1/budgets/{*path}", Who::PoolAdmin, "/api/v1/budgets/lab", ""),
    ("GET", "/api/v1/bill", Who::AnyRole, "", ""),
    ("GET", "/api/v1/ledger", Who::AnyRole, "", ""),
    ("GET", "/api/v1/events", Who::AnyRole, "", ""),
    ("GET", "/api/v1/secrets", Who::AnySubmitter, "", ""),
    ("GET", "/api/v1/secrets/{name}", Who::AnySubmitter, "/api/v1/secrets/KEY", ""),
    ("PUT", "/api/v1/secrets/{name}", Who::PoolAdmin, "/api/v1/secrets/KEY", r#"{"value": "x"}"#),
    ("DELETE", "/api/v1/secrets/{name}", Who::PoolAdmin, "/api/v1/secrets/NONE", ""),
    ("GET", "/api/v1/users", Who::PoolAdmin, "", ""),
    ("GET", "/api/v1/users/{name}", Who::PoolAdmin, "/api/v1/users/bystander", ""),
    ("PUT", "/api/v1/users/{name}", Who::PoolAdmin, "/api/v1/users/bystander", "{}"),
    (
        "PUT",
        "/api/v1/users/{name}/password",
        Who::PoolAdmin,
        "/api/v1/users/bystander/password",
        r#"{"new": "0123456789"}"#,
    ),
    ("GET", "/api/v1/roles", Who::AnyRole, "", ""),
    (
        "PUT",
        "/api/v1/roles",
        Who::ProjectAdmin,
        "",
        r#"{"user": "bystander", "project": "lab", "role": "viewer"}"#,
    ),
    ("PUT", "/api/v1/roles", Who::PoolAdmin, "", r#"{"user": "bystander", "role": "viewer"}"#),
    ("GET", "/api/v1/projects", Who::AnyRole, "", ""),
    ("GET", "/api/v1/tokens", Who::Known, "", ""),
    // Of their own; that there are none of others' is another test.
    ("PUT", "/api/v1/tokens/{name}", Who::PoolAdmin, "/api/v1/tokens/made", r#"{"user": "bystander"}"#),
    ("DELETE", "/api/v1/tokens/{name}", Who::Known, "/api/v1/tokens/none", ""),
    ("POST", "/api/v1/login-links", Who::Known, "", ""),
    // Of one's own; that there are none of others' is another test.
    ("GET", "/api/v1/notify/subscriptions", Who::AnyRole, "", ""),
    (
        "PUT",
        "/api/v1/notify/subscriptions/{name}",
        Who::UserSees,
        "/api/v1/notify/subscriptions/made",
        r#"{"to": "webhook:https://example.org/hook", "project": "lab"}"#,
    ),
    ("DELETE", "/api/v1/notify/subscriptions/{name}", Who::AnyUser, "/api/v1/notify/subscriptions/none", ""),
    (
        "POST",
        "/api/v1/notify/subscriptions/{name}/test",
        Who::AnyUser,
        "/api/v1/notify/subscriptions/none/test",
        "",
    ),
    ("GET", "/api/v1/notify/deliveries", Who::AnyRole, "", ""),
    ("GET", "/api/v1/notify/deliveries/{id}", Who::AnyRole, "/api/v1/notify/deliveries/none", ""),
    ("POST", "/api/v1/notify/deliveries/{id}/send", Who::AnyUser, "/api/v1/notify/deliveries/none/send", ""),
    ("GET", "/api/v1/notify/key", Who::AnySubmitter, "", ""),
    ("GET", "/api/v1/notify/settings", Who::PoolAdmin, "", ""),
    ("PUT", "/api/v1/notify/settings", Who::PoolAdmin, "", "{}"),
    ("GET", "/api/v1/health", Who::All, "", ""),
    ("GET", "/api/v1/version", Who::Known, "", ""),
    ("GET", "/api/v1/whoami", Who::Known, "", ""),
    ("POST", "/api/v1/shutdown", Who::PoolAdmin, "", "not json"),
    ("GET", "/api/v1/openapi.json", Who::Known, "", ""),
    ("GET", "/metrics", Who::PoolViewer, "", ""),
    ("GET", "/", Who::AnyRole, "", ""),
    ("GET", "/map", Who::AnyRole, "", ""),
    ("GET", "/map.json", Who::AnyRole, "", ""),
    ("GET", "/queue", Who::AnyRole, "", ""),
    ("GET", "/envs", Who::AnyRole, "", ""),
    ("GET", "/jobs/{id}", Who::Sees, "/jobs/1", ""),
    ("GET", "/jobs/{id}/logs", Who::Handles, "/jobs/1/logs", ""),
    ("GET", "/jobs/{id}/spec", Who::Sees, "/jobs/1/spec", ""),
    ("GET", "/jobs/{id}/samples.json", Who::Sees, "/jobs/1/samples.json", ""),
    ("POST", "/jobs/{id}/{verb}", Who::Handles, "/jobs/1/stop", "index=9"),
    ("GET", "/usage", Who::AnyRole, "", ""),
    ("GET", "/usage/ledger", Who::AnyRole, "/usage/ledger?format=csv", ""),
    ("POST", "/usage/prices", Who::PoolAdmin, "", "resource=cpu&amount=1"),
    ("POST", "/usage/prices", Who::PoolAdmin, "", "resource=npu&amount=1&from=2099-01-01&to=2099-02-01"),
    ("POST", "/usage/prices/end", Who::PoolAdmin, "", "id=99"),
    ("POST", "/usage/budgets", Who::ProjectAdmin, "", "queue=lab/nlp&amount=1000000"),
    ("POST", "/usage/budgets", Who::PoolAdmin, "", "queue=lab&amount=1000000&alerts=50"),
    ("POST", "/usage/budgets", Who::PoolAdmin, "", "queue=/&amount=1000000&alerts=none"),
    ("POST", "/usage/budgets", Who::AnyAdmin, "", "queue=lab/nlp&amount=1000000&alerts=nonsense"),
    ("POST", "/usage/budgets/remove", Who::ProjectAdmin, "", "queue=lab/none"),
    ("POST", "/usage/budgets/remove", Who::PoolAdmin, "", "queue=lab"),
    ("GET", "/capacity", Who::AnyRole, "", ""),
    ("POST", "/capacity/{node}/{verb}", Who::PoolAdmin, "/capacity/none/drain", ""),
    ("GET", "/scheduler", Who::AnyRole, "", ""),
    ("GET", "/notify", Who::AnyRole, "", ""),
    ("POST", "/notify", Who::UserSees, "", "name=made2&to=webhook:https://example.org/hook&project=/lab"),
    ("POST", "/notify/remove", Who::AnyUser, "", "name=none"),
    ("POST", "/notify/test", Who::AnyUser, "", "name=none"),
    ("POST", "/notify/send", Who::AnyUser, "", "id=none"),
    ("POST", "/notify/settings", Who::PoolAdmin, "", ""),
    ("GET", "/admin", Who::PoolAdmin, "", ""),
    ("POST", "/admin/tokens", Who::PoolAdmin, "", "name=made2&user=bystander&role=viewer"),
    ("POST", "/admin/tokens/remove", Who::PoolAdmin, "", "name=none"),
    ("POST", "/admin/queues", Who::ProjectAdmin, "", "path=lab/nlp"),
    // The page that answers is the pool's administrators'.
    ("POST", "/admin/queues/try", Who::PoolAdmin, "", "path=lab/nlp"),
    ("POST", "/admin/queues/remove", Who::ProjectAdmin, "", "path=lab/none"),
    ("POST", "/admin/users", Who::PoolAdmin, "", "name=bystander"),
    ("POST", "/admin/users/password", Who::PoolAdmin, "", "name=bystander&password=0123456789"),
    ("POST", "/admin/roles", Who::ProjectAdmin, "", "user=bystander&project=lab&role=viewer"),
    ("POST", "/admin/roles", Who::AnyAdmin, "", "user=bystander&project=lab&role=nonsense"),
    ("GET", "/live", Who::AnyRole, "", ""),
    ("GET", "/login", Who::All, "", ""),
    // There is no provider here: nobody is turned away, and nobody gets anywhere.
    ("GET", "/login/provider", Who::All, "", ""),
    ("GET", "/login/provider/done", Who::All, "", ""),
    ("GET", "/assets/{name}", Who::All, "/assets/style.css", ""),
    ("GET", "/llms.txt", Who::All, "", ""),
    ("GET", "/docs/{name}", Who::All, "/docs/why.md", ""),
    ("GET", "/no/such/page", Who::Known, "", ""),
    // From here on the session is over, and then there is a new one.
    ("POST", "/logout", Who::Known, "", ""),
    ("POST", "/login", Who::All, "", OWNER),
];

/// Clients of all callers, of a pool whose job 1 is `own`'s.
fn world(pool: &Pool) -> Vec<(Caller, Client)> {
    let root = &pool.client;
    until("the node is there", || root.get("/api/v1/health").json()["nodes_ready"] == 1);
    for (queue, body) in [("lab", HOST), ("lab/nlp", "{}"), ("other", HOST)] {
        let body = serde_json::from_str(body).unwrap();
        root.put(&format!("/api/v1/queues/{queue}"), &body).expect(200);
    }
    root.put("/api/v1/secrets/KEY", &json!({"value": "v"})).expect(200);
    root.add_user("bystander", &[]);
    root.add_user("chief", &[("", "admin")]);
    let scope = json!({"scope": {"role": "viewer", "project": "lab"}});
    let clients = CALLERS.map(|caller| {
        let client = match caller {
            Caller::Nobody => Client { token: String::new(), ..root.clone() },
            Caller::Stranger => root.add_user("stranger", &[]),
            Caller::Other => root.add_user("other", &[("other", "admin")]),
            Caller::Viewer => root.add_user("viewer", &[("lab", "viewer")]),
            Caller::Member => root.add_user("member", &[("lab", "member")]),
            Caller::Own => root.add_user("own", &[("lab", "member")]),
            Caller::Maintainer => root.add_user("maintainer", &[("lab", "maintainer")]),
            Caller::Admin => root.add_user("admin", &[("lab", "admin")]),
            Caller::Scoped => root.token_for("scoped", "chief", &scope),
            Caller::Owner => root.clone(),
        };
        (caller, client)
    });
    let own = &clients[5].1;
    assert_eq!(own.post("/api/v1/jobs", &of_lab()).expect(201).json()["job"]["id"], 1);
    root.await_state(1, "running");
    clients.to_vec()
}

fn of_lab() -> Value {
    let mut body = job(&["sleep"]);
    body["project"] = json!("lab");
    body
}

/// Asks as a browser with a session, or with a token, and gives the status.
fn ask(row: &Row, client: &Client, browser: Option<&Browser>, owner: &str) -> u16 {
    let (method, route, _, address, body) = row;
    let address = if address.is_empty() { route } else { address };
    if *route == "/live" {
        let cookie = browser.map_or("", |browser| browser.cookie.as_str());
        return stream_status(client, &[("cookie", cookie), ("accept", "text/event-stream")]);
    }
    match browser {
        Some(browser) if *method == "GET" => browser.get(address).status,
        Some(browser) => {
            // The sign of a form is on every page; who has no role has no page and forges one.
            let csrf = browser.try_csrf().unwrap_or_default();
            let body = if *body == OWNER { format!("token={owner}") } else { (*body).to_owned() };
            browser.post_with(address, &[], &format!("csrf={csrf}&{body}")).status
        }
        None => {
            let body = if *body == JOB { of_lab().to_string() } else { (*body).to_owned() };
            client.request(method, address, &[("content-type", "application/json")], body.as_bytes()).status
        }
    }
}

/// The status of an answer whose body does not end.
fn stream_status(client: &Client, headers: &[(&str, &str)]) -> u16 {
    use std::io::Write;
    let mut stream = client.connect();
    let head = client.head("GET", "/live", headers) + "\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    super::client::read_head(&mut std::io::BufReader::new(stream)).0
}

#[test]
fn every_route_by_every_role() {
    let folder = Folder::new();
    let pool = Pool::start_with(folder.path(), |config| config.user_rate = 10_000);
    let told: BTreeSet<(&str, &str)> = ROWS.iter().map(|row| (row.0, row.1)).collect();
    let routes = pond_server::api::all_routes();
    assert!(routes.len() > 80, "{}", routes.len());
    for (method, path) in &routes {
        assert!(told.contains(&(method, path)), "{method} {path}: nobody says who may");
    }
    let mut wrong = Vec::new();
    for (caller, client) in world(&pool) {
        let mut browser = Browser::new(&client);
        if caller != Caller::Nobody {
            browser.enter(&format!("token={}", client.token)).expect(303);
        }
        for row in &ROWS {
            let page = !row.1.starts_with("/api/") && row.1 != "/metrics";
            let status = ask(row, &client, page.then_some(&browser), &pool.client.token);
            let (may, refused) = (row.2.may(caller), matches!(status, 401 | 403));
            let turned_away = page && row.0 == "GET" && status == 303;
            let forged = row.1 == "/logout" && caller == Caller::Stranger;
            // Health shows whether nobody at all is turned away; a server's own errors are never an answer.
            if may == (refused || turned_away) && !forged || status >= 500 {
                wrong.push(format!("{caller:?} {} {} {}: {status}", row.0, row.1, row.3));
            }
            if caller == Caller::Nobody && !may && !page {
                assert_eq!(status, 401, "{} {}", row.0, row.1);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(pool.client.state(1), "running", "and nothing came of what was refused");
}

#[test]
fn lists_show_what_the_caller_sees() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let clients = world(&pool);
    let of = |wanted: Caller| &clients.iter().find(|(caller, _)| *caller == wanted).unwrap().1;
    let mut elsewhere = of_lab();
    elsewhere["project"] = json!("other");
    elsewhere["name"] = json!("hidden");
    elsewhere["resources"]["gpu"] = json!(1);
    let hidden = of(Caller::Other).post("/api/v1/jobs", &elsewhere).expect(201).json()["job"]["id"].clone();
    pool.client.await_state(hidden.as_u64().unwrap(), "running");
    let (viewer, other) = (of(Caller::Viewer), of(Caller::Other));
    let ids = |client: &Client, query: &str| {
        let page = client.get(&format!("/api/v1/jobs{query}")).expect(200).json();
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(viewer, ""), [json!(1)]);
    assert_eq!(ids(other, ""), vec![hidden.clone()]);
    assert_eq!(ids(viewer, "?queue=other"), [Value::Null; 0]);
    assert_eq!(ids(of(Caller::Scoped), ""), [json!(1)]);
    viewer.get(&format!("/api/v1/jobs/{hidden}/why")).problem(403, "forbidden");
    let paths = |client: &Client, what: &str| {
        let list = client.get(&format!("/api/v1/{what}")).expect(200).json();
        let paths = list.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap().to_owned());
        paths.collect::<Vec<_>>()
    };
    for what in ["queues", "projects"] {
        assert_eq!(paths(viewer, what), ["", "lab", "lab/nlp"], "{what}");
        assert_eq!(paths(other, what), ["", "other"], "{what}");
    }
    let text = |client: &Client, path: &str| client.get(path).expect(200).text();
    for path in
        ["/api/v1/events?limit=1000", "/api/v1/usage?by=user", "/api/v1/usage?by=job", "/api/v1/roles"]
    {
        let seen = text(viewer, path);
        assert!(!seen.contains("other") && !seen.contains("hidden"), "{path}: {seen}");
    }
    let holder = |client: &Client| client.get("/api/v1/devices").json()[0]["holders"][0].clone();
    assert_eq!(holder(viewer)["user"], "", "that a device is taken is seen, by whom is not");
    assert_eq!(holder(other)["user"], "other");
    assert!(text(viewer, "/api/v1/events?job=1").contains("job 1 was taken in"));
    // Once it is in the archive it is the same.
    pool.client.post(&format!("/api/v1/jobs/{hidden}/stop"), &json!({"now": true})).expect(200);
    pool.client.await_state(hidden.as_u64().unwrap(), "stopped");
    drop(pool);
    let pool = Pool::start_with(folder.path(), |config| config.keep_finished = 0);
    let at = |client: &Client| Client { address: pool.client.address.clone(), ..client.clone() };
    let trigger = at(other).post("/api/v1/jobs", &elsewhere).expect(201).json()["job"]["id"].clone();
    pool.client.post(&format!("/api/v1/jobs/{trigger}/stop"), &json!({"now": true})).expect(200);
    let archived = || {
        let db = rusqlite::Connection::open(folder.path().join("pond.db")).unwrap();
        db.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    until("they are in the archive", || archived() == 2);
    assert_eq!(ids(&at(viewer), "?state=over"), [Value::Null; 0]);
    assert_eq!(ids(&at(other), "?state=over").len(), 2);
    assert!(!text(&at(viewer), "/api/v1/events?limit=1000").contains("hidden"));
    assert!(!text(&at(viewer), "/api/v1/events?limit=1000").contains(&format!("job {hidden} ")));
}
