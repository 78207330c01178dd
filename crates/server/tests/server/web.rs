//! The web page: who gets in, what a form must bring, what text of others may do in it.

use super::client::{Answer, Client, job};
use super::farm::NODE;
use super::{Folder, Pool, until};
use serde_json::json;
use std::io::Write;

/// Every page there is, of a pool that has a job 1.
const PAGES: [&str; 14] = [
    "/",
    "/map",
    "/map.json",
    "/queue?state=all",
    "/envs",
    "/jobs/1",
    "/jobs/1/logs",
    "/jobs/1/spec",
    "/jobs/1/samples.json",
    "/usage",
    "/capacity",
    "/scheduler",
    "/notify",
    "/admin",
];

/// Every form there is, with a body that would do something.
const FORMS: [(&str, &str); 22] = [
    ("/usage/prices", "resource=cpu&amount=1"),
    ("/usage/prices/end", "id=1"),
    ("/usage/budgets", "queue=lab&amount=1"),
    ("/usage/budgets/remove", "queue=lab"),
    ("/jobs/1/stop", ""),
    ("/jobs/1/pause", ""),
    ("/jobs/1/remove", ""),
    ("/capacity/farm%3Cb%3E/drain", ""),
    ("/admin/users", "name=thief"),
    ("/admin/users/password", "name=bot&password=0123456789"),
    ("/admin/roles", "user=bot&project=&role=admin"),
    ("/admin/tokens", "name=thief&user=bot&role=admin"),
    ("/admin/tokens/remove", "name=bot"),
    ("/admin/queues", "path=stolen"),
    ("/admin/queues/try", "path=stolen"),
    ("/admin/queues/remove", "path=lab"),
    ("/notify", "name=stolen&to=webhook:https://example.org/&project=own"),
    ("/notify/remove", "name=stolen"),
    ("/notify/test", "name=stolen"),
    ("/notify/send", "id=stolen"),
    ("/notify/settings", "allow=127.0.0.1"),
    ("/logout", ""),
];

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A browser with one cookie.
pub struct Browser {
    pub client: Client,
    pub cookie: String,
}

impl Browser {
    pub fn new(client: &Client) -> Self {
        Self { client: Client { token: String::new(), ..client.clone() }, cookie: String::new() }
    }

    /// Logs in with the client's own token.
    #[track_caller]
    pub fn log_in(client: &Client) -> Self {
        let mut browser = Self::new(client);
        browser.enter(&format!("token={}", client.token)).expect(303);
        browser
    }

    pub fn enter(&mut self, fields: &str) -> Answer {
        let answer = self.post_with("/login", &[], fields);
        if let Some(cookie) = answer.header("set-cookie") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        self.client.request("GET", path, &[("cookie", &self.cookie), ("accept", "text/html")], b"")
    }

    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let own = [("cookie", self.cookie.as_str()), FORM];
        let headers: Vec<_> = own.into_iter().chain(headers.iter().copied()).collect();
        self.client.request("POST", path, &headers, body.as_bytes())
    }

    /// What forms of this session carry.
    #[track_caller]
    pub fn csrf(&self) -> String {
        self.try_csrf().expect("a page has a form")
    }

    /// The same, of those who have a page.
    pub fn try_csrf(&self) -> Option<String> {
        let html = self.get("/").text();
        let from = html.split("name=\"csrf\" value=\"").nth(1)?;
        Some(from.split('"').next()?.to_owned())
    }

    /// A form as a page of ours sends it.
    pub fn post(&self, path: &str, fields: &str) -> Answer {
        let origin = format!("http://{}", self.client.address);
        self.post_with(path, &[("origin", &origin)], &format!("csrf={}&{fields}", self.csrf()))
    }
}

fn bot(pool: &Pool) -> Client {
    pool.client.add_user("bot", &[("", "member")])
}

/// A pool with a node and a job that runs.
fn pool(folder: &Folder) -> Pool {
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    assert_eq!(pool.client.run(&["sleep"]), 1);
    pool.client.await_state(1, "running");
    pool
}

#[test]
fn no_page_and_no_form_without_a_session() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let token = &pool.client.token;
    let port = pool.client.address.rsplit(':').next().unwrap();
    for cookie in ["", &format!("pond_{port}=none"), &format!("pond_{port}={token}")] {
        let stranger = Browser { cookie: cookie.to_owned(), ..Browser::new(&pool.client) };
        for page in PAGES {
            let answer = stranger.get(page).expect(303);
            assert!(answer.header("location").unwrap().starts_with("/login?next=%2F"), "{page}");
        }
        for (form, fields) in FORMS {
            stranger.post_with(form, &[], fields).expect(401);
        }
        let live = [("accept", "text/event-stream")];
        assert_eq!(stranger.client.request("GET", "/live", &live, b"").status, 401);
    }
    // A token in a header opens the API, not the pages: what a page shows, only its own session asks for.
    pool.client.get("/").expect(303);
    assert_eq!(pool.client.state(1), "running");
    // And a session opens the pages, not the API.
    let browser = Browser::log_in(&pool.client);
    browser.get("/api/v1/jobs").problem(401, "unauthorized");
}

/// Addresses on a page, as a browser reads them, without what is behind `#`.
fn links(html: &str, of: &str) -> Vec<String> {
    let base = of.split('?').next().unwrap();
    let found = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let plain = found.map(|link| link.replace("&amp;", "&").replace("&#38;", "&"));
    let whole = plain.map(|link| match link.strip_prefix('?') {
        Some(query) => format!("{base}?{query}"),
        None => link,
    });
    whole
        .filter(|link| link.starts_with('/'))
        .map(|link| link.split('#').next().unwrap().to_owned())
        .collect()
}

#[test]
fn no_link_of_any_page_leads_nowhere() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let client = &pool.client;
    client
        .post("/api/v1/prices", &json!({"prices": [{"resource": "cpu", "micros": 1_000_000_000_000_u64}]}))
        .expect(200);
    client.put("/api/v1/queues/lab", &json!({})).expect(200);
    let failed = client.run(&["exit", "3"]);
    client.await_state(failed, "failed");
    until("something is charged", || client.get("/api/v1/bill").json()["total"]["charge_micros"] != 0);
    let browser = Browser::log_in(client);
    let mut waiting: Vec<String> = PAGES.map(str::to_owned).to_vec();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(page) = waiting.pop() {
        if !seen.insert(page.clone()) {
            continue;
        }
        let answer = browser.get(&page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        if is_page {
            waiting.extend(links(&answer.text(), &page));
        }
    }
    for link in ["/docs/people.md", "/usage/ledger?format=csv", "/usage/ledger?format=focus"] {
        assert!(seen.contains(link), "{link} of {seen:?}");
    }
    let csv = browser.get("/usage/ledger?format=csv");
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"ledger.csv\""));
    assert!(csv.text().starts_with("period,"), "{}", csv.text());
}

#[test]
fn what_an_address_has_too_much_breaks_no_page_and_what_is_wrong_in_it_is_a_page() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    for page in PAGES.into_iter().chain(["/login", "/usage/ledger"]) {
        let sign = if page.contains('?') { '&' } else { '?' };
        browser.get(&format!("{page}{sign}utm_source=mail&tab=x&tab=y")).expect(200);
    }
    for (address, status) in [
        ("/jobs/abc", 400),
        ("/jobs/99", 404),
        ("/jobs/1?index=x", 400),
        ("/jobs/1/logs?lines=x", 400),
        ("/queue?after=x", 400),
        ("/queue?state=active&state=over", 400),
        ("/usage?by=nothing", 400),
        ("/usage/ledger?format=xls", 400),
        ("/admin?until=x", 400),
        ("/admin/tokens", 405),
        ("/docs/%ff", 404),
        ("/assets/%ff", 404),
    ] {
        let answer = browser.get(address).expect(status);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{address}");
        assert!(answer.text().contains("<h1"), "{address}: {}", answer.text());
    }
    // Programs are told as before.
    pool.client.get("/api/v1/jobs/1/why?tab=x").problem(400, "bad_parameter");
}

#[test]
fn a_token_opens_and_the_way_back_stays_inside() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let mut browser = Browser::new(&pool.client);
    let page = browser.get("/login?next=%2Fjobs%2F1").expect(200).text();
    assert!(page.contains("value=\"/jobs/1\""), "{page}");
    let entered = browser.enter(&format!("token={}&next=%2Fjobs%2F1", pool.client.token)).expect(303);
    assert_eq!(entered.header("location"), Some("/jobs/1"));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
            && !cookie.contains(&pool.client.token)
    );
    for page in PAGES {
        let answer = browser.get(page).expect(200);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{page}: {policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{page}");
        let html = answer.text();
        assert!(!html.contains(&pool.client.token), "{page} shows the token");
        assert!(
            !html.contains(" style=") && !html.contains("onclick") && !html.contains("<script>"),
            "{page}"
        );
    }
    for outside in
        ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\tx", "%0d%0aset-cookie:x"]
    {
        let fields = format!("token={}&next={outside}", pool.client.token);
        assert_eq!(browser.enter(&fields).expect(303).header("location"), Some("/"), "{outside}");
    }
    browser.post("/logout", "").expect(303);
    browser.get("/").expect(303);
}

#[test]
fn sessions_are_never_those_that_a_browser_brings() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let port = pool.client.address.rsplit(':').next().unwrap();
    let planted = format!("pond_{port}={}", "ab".repeat(32));
    let mut victim = Browser { cookie: planted.clone(), ..Browser::new(&pool.client) };
    victim.enter(&format!("token={}", pool.client.token)).expect(303);
    assert_ne!(victim.cookie, planted);
    Browser { cookie: planted, ..Browser::new(&pool.client) }.get("/").expect(303);
    // Logging in again ends the session before.
    let before = Browser { cookie: victim.cookie.clone(), ..Browser::new(&pool.client) };
    victim.enter(&format!("token={}", pool.client.token)).expect(303);
    before.get("/").expect(303);
    victim.get("/").expect(200);
}

#[test]
fn wrong_tokens_are_refused_and_soon_not_looked_at() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let mut browser = Browser::new(&pool.client);
    for _ in 0..10 {
        let page = browser.enter("token=wrong").expect(401).text();
        assert!(page.contains("not known"), "{page}");
    }
    browser.enter("token=wrong").expect(429);
    browser.enter(&format!("token={}", pool.client.token)).expect(429);
    assert_eq!(browser.cookie, "");
    // The API's clients at the same address go on.
    assert_eq!(pool.client.state(1), "running");
}

#[test]
fn a_link_logs_in_once() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let path = pool.client.post("/api/v1/login-links", &json!({})).expect(201).json()["path"].clone();
    let path = path.as_str().unwrap();
    let code = path.strip_prefix("/login?code=").unwrap();
    let mut browser = Browser::new(&pool.client);
    // What only looks at links uses none up, and what it sees opens nothing.
    for _ in 0..2 {
        let page = browser.get(path).expect(200);
        assert!(page.header("set-cookie").is_none() && page.text().contains(code));
    }
    browser.enter(&format!("code={code}")).expect(303);
    assert!(browser.get("/").expect(200).text().contains("admin"));
    let mut second = Browser::new(&pool.client);
    let refusal = second.enter(&format!("code={code}")).expect(401).text();
    assert!(refusal.contains("was used"), "{refusal}");
    Browser::new(&pool.client).enter("code=").expect(401);
    Client { token: String::new(), ..pool.client.clone() }
        .post("/api/v1/login-links", &json!({}))
        .problem(401, "unauthorized");
}

#[test]
fn a_revoked_token_ends_its_sessions() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&bot(&pool));
    browser.get("/").expect(200);
    pool.client.delete("/api/v1/tokens/bot").expect(204);
    browser.get("/").expect(303);
}

#[test]
fn forms_of_others_change_nothing() {
    let folder = Folder::new();
    let pool = pool(&folder);
    bot(&pool);
    pool.client.put("/api/v1/queues/lab", &json!({})).expect(200);
    let (browser, other) = (Browser::log_in(&pool.client), Browser::log_in(&pool.client));
    let (csrf, foreign) = (browser.csrf(), other.csrf());
    assert_ne!(csrf, foreign);
    let signed = |fields: &str| format!("csrf={csrf}&{fields}");
    let alike = |route: &str, form: &str| {
        let (route, form): (Vec<_>, Vec<_>) = (route.split('/').collect(), form.split('/').collect());
        route.len() == form.len() && route.iter().zip(&form).all(|(a, b)| a == b || a.starts_with('{'))
    };
    for (method, route) in pond_server::api::all_routes() {
        let form = method == "POST" && !route.starts_with("/api/") && route != "/login";
        assert!(!form || FORMS.iter().any(|(form, _)| alike(&route, form)), "nobody forges {route}");
    }
    for (form, fields) in FORMS {
        for forged in [fields.to_owned(), format!("csrf=&{fields}"), format!("csrf={foreign}&{fields}")] {
            let answer = browser.post_with(form, &[], &forged).expect(403);
            assert!(answer.text().contains("403 csrf"), "{form}");
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://evil.example:443"] {
            browser.post_with(form, &[("origin", origin)], &signed(fields)).expect(403);
        }
        let own = [("content-type", "text/plain"), ("cookie", browser.cookie.as_str())];
        browser.client.request("POST", form, &own, signed(fields).as_bytes()).expect(415);
    }
    assert_eq!(pool.client.state(1), "running");
    assert_eq!(pool.client.get("/api/v1/tokens").json().as_array().unwrap().len(), 1);
    assert_eq!(pool.client.get("/api/v1/nodes").json()[0]["state"], "ready");
    assert_eq!(pool.client.get("/api/v1/queues").json().as_array().unwrap().len(), 3);
    browser.get("/").expect(200);
    // A login form of another site does not make anybody somebody else.
    let fields = format!("token={}", pool.client.token);
    Browser::new(&pool.client).post_with("/login", &[("origin", "http://evil.example")], &fields).expect(403);
}

#[test]
fn buttons_do_what_they_say_and_only_for_those_who_may() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let guest = Browser::log_in(&bot(&pool));
    for page in PAGES {
        let expected = match page {
            "/admin" | "/jobs/1/logs" => 403,
            _ => 200,
        };
        let html = guest.get(page).expect(expected).text();
        assert!(
            !html.contains("/stop\"") && !html.contains("/drain\""),
            "{page} offers what the guest may not do"
        );
    }
    // Whoever sees something may have it told to them; how the pool tells is the administrator's.
    let anybodys =
        |form: &str| form == "/logout" || form.starts_with("/notify") && form != "/notify/settings";
    for (form, fields) in FORMS.iter().filter(|(form, _)| !anybodys(form)) {
        guest.post(form, fields).expect(403);
    }
    assert!(!guest.get("/jobs/1/spec").text().contains("sleep"), "the command of another's job");
    let browser = Browser::log_in(&pool.client);
    assert!(browser.get("/jobs/1/spec").text().contains("sleep"));
    browser.post("/capacity/farm%3Cb%3E/drain", "").expect(303);
    assert_eq!(pool.client.get("/api/v1/nodes").json()[0]["state"], "draining");
    let home = browser.get("/").text();
    assert!(home.contains("machine draining"), "{home}");
    browser.post("/capacity/farm%3Cb%3E/resume", "").expect(303);
    browser.post("/admin/users", "name=carol").expect(303);
    browser.post("/admin/roles", "user=carol&project=&role=member").expect(303);
    let made = browser.post("/admin/tokens", "name=ci&user=carol&role=member&days=9").expect(200).text();
    let secret = made.split("data-copy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let carol = Client { token: secret.clone(), ..pool.client.clone() };
    assert_eq!(carol.get("/api/v1/whoami").expect(200).json()["user"], "carol");
    assert!(!browser.get("/admin").text().contains(&secret));
    browser
        .post(
            "/admin/queues",
            "path=lab&weight=300&guarantee_cpu=4&limit_memory=32GB&limit_gpu=0.5&borrow=on",
        )
        .expect(303);
    let queue = pool.client.get("/api/v1/queues/lab").expect(200).json();
    assert_eq!(queue["settings"]["guarantee"]["cpu_milli"], 4000);
    assert_eq!(queue["settings"]["limit"]["device_thousandths"]["gpu"], 500);
    let form = browser.get("/admin?queue=lab").text();
    assert!(form.contains("value=\"32GB\"") && form.contains("value=\"300\""), "{form}");
    browser.post("/admin/queues", "path=lab&guarantee_cpu=many").expect(422);
    let tried = browser.post("/admin/queues/try", "path=lab&limit_running=7").expect(200).text();
    assert!(
        tried.contains("Nobody is affected") && tried.contains("name=\"limit_running\" value=\"7\""),
        "{tried}"
    );
    browser.post("/admin/queues/remove", "path=lab").expect(303);
    browser.post("/jobs/1/stop", "").expect(303);
    pool.client.await_state(1, "stopped");
    assert_eq!(browser.post("/jobs/1/remove", "").expect(303).header("location"), Some("/queue"));
    browser.get("/jobs/1").expect(404);
    browser.post("/jobs/1/fly", "").expect(404);
}

#[test]
fn signs_need_no_style_of_their_own() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let page = pool.client.request("GET", "/login", &[], b"").expect(200).text();
    let at = page.split_once("rel=\"icon\" href=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let signs = pool.client.request("GET", &at, &[], b"").expect(200).text();
    // The policy forbids inline style, and browsers that hold a file of pictures to it would show nothing.
    assert!(
        signs.contains("<symbol id=\"failed\"") && !signs.contains("<style") && !signs.contains("style="),
        "{signs}"
    );
    assert!(!signs.contains("class="), "{signs}");
}

#[test]
fn what_can_never_start_is_not_said_to_wait_and_commands_in_texts_are_code() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    let mut never = job(&["say", "nothing"]);
    never["resources"]["cpu"] = json!(50_000);
    pool.client.post("/api/v1/jobs", &never).expect(201);
    pool.client.await_state(1, "infeasible");
    let browser = Browser::log_in(&pool.client);
    let home = browser.get("/").expect(200).text();
    assert!(home.contains("0 running, 0 waiting,") && home.contains("1 that can never start"), "{home}");
    assert!(home.contains("Nothing waits."), "{home}");
    let page = browser.get("/jobs/1").expect(200).text();
    assert!(!page.contains("Place in line"), "{page}");
    assert!(page.contains("Timeline <span class=\"zone\">UTC</span>"), "{page}");
    let page = browser.get("/jobs/999").expect(404).text();
    assert!(page.contains("<code>pond ps --all</code>") && !page.contains('`'), "{page}");
}

#[test]
fn text_of_others_stays_text() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
    // Job files have strict names; a client that sends complete specs is held to less.
    let say = pool.client.post("/api/v1/jobs", &job(&["say", evil])).expect(201).json();
    assert_eq!(say["job"]["id"], 1);
    pool.client.await_state(1, "succeeded");
    let mut spec = pool.client.get("/api/v1/jobs/1").expect(200).json()["spec"].clone();
    spec["name"] = json!(evil);
    // It can never run, so that reasons and the first page show it too.
    spec["shapes"][0]["request"]["cpu"] = json!(100_000_000);
    spec["shapes"][0]["burst"]["cpu"] = json!(100_000_000);
    let kind = [("content-type", "application/vnd.pond.spec+json")];
    pool.client.request("POST", "/api/v1/jobs", &kind, spec.to_string().as_bytes()).expect(201);
    pool.client.await_state(2, "infeasible");
    // A job file that says it in every place that takes free text, and one that is refused with it.
    let yaml = format!("type: task\nname: page\nrun: ['say', {evil:?}]\nenv: {{X: {evil:?}}}\n");
    let kind = [("content-type", "application/yaml")];
    let id = pool.client.request("POST", "/api/v1/jobs", &kind, yaml.as_bytes()).expect(201).json();
    assert_eq!(id["job"]["id"], 3);
    let refused = pool.client.request("POST", "/api/v1/jobs", &kind, format!("{evil:?}: 1\n").as_bytes());
    refused.problem(422, "bad_file");
    pool.client.put("/api/v1/users/%3Cscript%3E", &json!({})).problem(422, "bad_name");
    pool.client.put("/api/v1/tokens/%3Cscript%3Ealert(3)", &json!({})).expect(201);
    let browser = Browser::log_in(&pool.client);
    let more = [
        "/jobs/2",
        "/jobs/2/logs",
        "/jobs/2/spec",
        "/jobs/3",
        "/jobs/3/spec",
        "/queue?name=%3Cscript%3E&user=%3Cimg",
        "/jobs/1/logs?grep=%3Cimg",
        "/login?next=/%3Cscript%3E&code=%22%3E%3Cscript%3E",
        "/nowhere/%3Cscript%3E",
    ];
    for page in PAGES.iter().chain(&more).filter(|page| !page.ends_with(".json")) {
        let html = browser.get(page).text();
        assert!(
            !html.contains("<script>") && !html.contains("<img") && !html.contains(NODE),
            "{page}: {html}"
        );
    }
    let log = browser.get("/jobs/1/logs").expect(200).text();
    assert!(log.contains("&#60;script&#62;alert(1)") && log.contains("&#34;&#39;&#38;"), "{log}");
    let home = browser.get("/").expect(200).text();
    assert!(home.contains("&#60;script&#62;alert(1)"), "{home}");
    let asked = browser.get("/jobs/3/spec").expect(200).text();
    assert!(asked.matches("&#60;script&#62;alert(1)").count() >= 2, "{asked}");
}

#[test]
fn there_is_no_folder_behind_the_files() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let stranger = Browser::new(&pool.client);
    let paths = [
        "/assets/../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/token",
        "/assets/....//token",
        "/assets/token",
        "/assets/",
        "/assets/style.css%00.png",
        "/assets/style.css/..",
    ];
    for path in paths {
        let answer = stranger.get(path);
        assert!([303, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains(&pool.client.token) && !answer.text().contains("root:"), "{path}");
    }
    let style = stranger.get("/assets/style.css").expect(200);
    assert!(style.header("cache-control").unwrap().contains("immutable"));
    for job in ["..", "1%2f..%2f..", "0x1", "-1", "99999999999999999999", "1;2"] {
        let browser = Browser::log_in(&pool.client);
        let answer = browser.get(&format!("/jobs/{job}/logs"));
        assert!([400, 404].contains(&answer.status), "{job}: {}", answer.status);
    }
}

/// An id with a space in it is found by nobody: what refers to it is drawn black.
#[test]
fn every_id_on_a_page_is_one_word_and_there_once() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    for page in PAGES {
        let html = browser.get(page).expect(200).text();
        let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!id.is_empty() && !id.contains(char::is_whitespace), "{page}: id `{id}`");
            assert!(!ids[..at].contains(id), "{page}: two things have the id {id}");
        }
        for used in html.split("url(#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(ids.contains(&used), "{page}: nothing has the id {used}");
        }
    }
}

#[test]
fn the_first_page_is_light_and_whole_without_scripts() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    let browser = Browser::log_in(&pool.client);
    let html = browser.get("/").expect(200).text();
    assert!(html.contains("pond run -- echo hello"), "an empty pool shows its first command: {html}");
    assert!(html.contains("CPU of 64 cores: Used 0 cores (0 %)"), "a bar says what it shows: {html}");
    let mut bytes = html.len();
    let links = html
        .split(['"'])
        .filter(|part| part.starts_with("/assets/"))
        .map(|link| link.split('#').next().unwrap());
    let mut links: Vec<&str> = links.collect();
    links.sort_unstable();
    links.dedup();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        let answer = browser.client.request("GET", link, &[("accept-encoding", "gzip, br")], b"").expect(200);
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{link}");
        bytes += answer.body.len();
    }
    println!("the first page: {bytes} bytes with all that it needs");
    assert!(bytes < 60_000, "{bytes}");
}

#[test]
fn an_open_page_is_told_when_something_happens() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    let mut stream = browser.client.connect();
    let headers = [("cookie", browser.cookie.as_str()), ("accept", "text/event-stream")];
    let head = browser.client.head("GET", "/live", &headers) + "\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = std::io::BufReader::new(stream);
    let (status, _headers) = super::client::read_head(&mut reader);
    assert_eq!(status, 200);
    let tick = |reader: &mut std::io::BufReader<_>| loop {
        let chunk = String::from_utf8(super::client::read_chunk(reader).unwrap()).unwrap();
        if let Some(seq) = chunk.trim().strip_prefix("data: ").and_then(|seq| seq.parse::<u64>().ok()) {
            return seq;
        }
    };
    let first = tick(&mut reader);
    pool.client.post("/api/v1/jobs/1/stop", &json!({})).expect(200);
    until("a tick tells of it", || tick(&mut reader) > first);
}

#[test]
fn what_others_made_is_what_they_published() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/vendor");
    let told = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(std::fs::read(&path).unwrap());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(told.contains(&format!("{hash}` | `{name}`")), "{name} is not as its hash says: {hash}");
        count += 1;
    }
    assert_eq!(count, 5);
}
