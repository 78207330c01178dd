//! Notifications as receivers meet them: real HTTP servers on the loopback, which take, fail, hang and send elsewhere.
//! Signatures are verified by the library of Standard Webhooks.

use super::client::{Client, job, read_head};
use super::{Folder, Pool, until};
use pond_server::Config;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Got {
    headers: Vec<(String, String)>,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
    /// Whether the library takes it for ours.
    fn verifies(&self, secret: &str) -> bool {
        let mut headers = http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.header(name).parse().unwrap());
        }
        Webhook::new(secret).unwrap().verify(self.body.as_bytes(), &headers).is_ok()
    }
}

/// A receiver of webhooks. It says what it is told to, the last of it again and again.
struct Receiver {
    address: String,
    got: Arc<Mutex<Vec<Got>>>,
    ended: Arc<AtomicBool>,
    hearing: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// `answers`: heads of answers; an empty one is none, ever.
    fn start(answers: &[&str]) -> Self {
        Self::at("127.0.0.1:0", answers)
    }

    fn at(address: &str, answers: &[&str]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let (got, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, over) = (Arc::clone(&got), Arc::clone(&ended));
        let hearing = std::thread::spawn(move || {
            let mut open = Vec::new();
            for (place, stream) in listener.incoming().flatten().enumerate() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let answer = &answers[place.min(answers.len() - 1)];
                let stream = hear(stream, &heard);
                match answer.as_str() {
                    "" => open.push(stream),
                    head => drop(
                        (&stream).write_all(
                            format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                                .as_bytes(),
                        ),
                    ),
                }
            }
        });
        Self { address, got, ended, hearing: Some(hearing) }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn hook(&self) -> String {
        format!("webhook:http://{}/hook?key=not-for-others", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        drop(TcpStream::connect(&self.address));
        drop(self.hearing.take().map(std::thread::JoinHandle::join));
    }
}

fn hear(stream: TcpStream, heard: &Mutex<Vec<Got>>) -> TcpStream {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap_or_default();
    if line.starts_with("POST ") {
        // The first line of a head of an answer has its status in the same place.
        let chained = std::io::Cursor::new(b"HTTP/1.1 200 OK\r\n".to_vec()).chain(reader.by_ref());
        let (_, headers) = read_head(&mut BufReader::with_capacity(1, chained));
        let length = headers
            .iter()
            .find(|(key, _)| key == "content-length")
            .map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        heard.lock().unwrap().push(Got { headers, body: String::from_utf8(body).unwrap() });
    }
    reader.into_inner()
}

fn start(state: &Path) -> Pool {
    start_with(state, |_| ())
}

/// A pool that tries again soon, and may send to the loopback.
fn start_with(state: &Path, change: impl FnOnce(&mut Config)) -> Pool {
    let pool = Pool::start_with(state, |config| {
        config.notify.first_retry = Duration::from_micros(50);
        config.notify.check = Duration::from_millis(50);
        change(config);
    });
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    pool.client.put("/api/v1/notify/settings", &json!({"allow": ["127.0.0.0/8"]})).expect(200);
    pool
}

fn subscribe(client: &Client, name: &str, body: &Value) -> String {
    let made = client.put(&format!("/api/v1/notify/subscriptions/{name}"), body).expect(201).json();
    made["secret"].as_str().unwrap_or_default().to_owned()
}

fn deliveries(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/api/v1/notify/deliveries{query}")).expect(200).json().as_array().unwrap().clone()
}

fn fail(pool: &Pool) -> u64 {
    let id = pool.client.run(&["exit", "3"]);
    pool.client.await_state(id, "failed");
    id
}

#[test]
fn a_webhook_is_tried_until_it_is_taken_and_its_signature_verifies() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let receiver = Receiver::start(&["500 Oh", "503 Later", "204 Thanks"]);
    let secret = subscribe(&pool.client, "chat", &json!({"to": receiver.hook(), "on": ["failed"]}));
    let done = pool.client.run(&["exit", "0"]);
    pool.client.await_state(done, "succeeded");
    let id = fail(&pool);
    until("it is delivered", || deliveries(&pool.client, "?state=delivered").len() == 1);
    let got = receiver.got();
    assert_eq!(got.len(), 3, "what succeeded is not told: {got:?}");
    for one in &got {
        assert_eq!((one.header("webhook-id"), &one.body), (got[0].header("webhook-id"), &got[0].body));
        assert_eq!(one.header("content-type"), "application/json");
        assert!(one.verifies(&secret), "{one:?}");
        assert!(!one.verifies("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    }
    let body = got[0].json();
    assert_eq!((body["type"].as_str(), body["data"]["job"]["id"].as_u64()), (Some("job.failed"), Some(id)));
    assert_eq!(body["data"]["job"]["state"], "failed");
    let reason = body["data"]["job"]["reason"].as_str().expect("why it failed");
    assert!(reason.contains("exit code"), "{reason}");
    assert!(body["text"].as_str().unwrap().ends_with(reason), "{body}");
    let delivery = &deliveries(&pool.client, "")[0];
    assert_eq!(
        (delivery["attempts"].as_u64(), delivery["last"].as_str()),
        (Some(3), Some("it answered 204"))
    );
    assert_eq!(delivery["id"], got[0].header("webhook-id"));
    let metrics = pool.client.get("/metrics").text();
    assert!(metrics.contains("pond_notifications_total{outcome=\"delivered\"} 1"), "{metrics}");
}

#[test]
fn messages_outlive_the_server_and_are_neither_lost_nor_made_twice() {
    let folder = Folder::new();
    let pool = start_with(folder.path(), |config| config.notify.first_retry = Duration::from_millis(200));
    let broken = Receiver::start(&["500 Oh"]);
    let secret = subscribe(&pool.client, "chat", &json!({"to": broken.hook(), "on": ["failed"]}));
    let id = fail(&pool);
    until("it was tried", || broken.got().len() == 1);
    pool.stop(true).unwrap();
    let (address, first) = (broken.address.clone(), broken.got()[0].clone());
    drop(broken);
    let mended = Receiver::at(&address, &["200 OK"]);
    let pool = start(folder.path());
    until("it is delivered", || !deliveries(&pool.client, "?state=delivered").is_empty());
    let got = mended.got();
    assert_eq!((got.len(), got[0].header("webhook-id")), (1, first.header("webhook-id")));
    assert!(got[0].verifies(&secret), "the key follows from the pool's own");
    // A line that was written and not read when the server went is read when it is back: not the end of the machine, though.
    pool.stop(false).unwrap();
    let db = rusqlite::Connection::open(folder.path().join("pond.db")).unwrap();
    db.execute("DELETE FROM deliveries", []).unwrap();
    db.execute(
        "UPDATE meta SET value = json_object('line', 0, 'checked_ms', 0) WHERE key = 'notify.mark'",
        [],
    )
    .unwrap();
    db.execute("UPDATE subscriptions SET body = CAST(json_set(CAST(body AS TEXT), '$.since', 0, '$.on', json('[\"failed\",\"node_lost\"]')) AS BLOB)", []).unwrap();
    drop(db);
    let pool = start(folder.path());
    until("it is made anew", || deliveries(&pool.client, "?state=delivered").len() == 1);
    let again = &deliveries(&pool.client, "")[0];
    assert_eq!((again["id"].as_str(), again["job"].as_u64()), (Some(first.header("webhook-id")), Some(id)));
    let lost = pool.client.get("/api/v1/events?kind=node.lost").json();
    assert_eq!(lost["events"].as_array().unwrap().len(), 1, "{lost}");
}

#[test]
fn what_nobody_takes_is_given_up_and_can_be_sent_again() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let answers: Vec<&str> = std::iter::repeat_n("500 Oh", 8).chain(["200 OK"]).collect();
    let receiver = Receiver::start(&answers);
    subscribe(&pool.client, "chat", &json!({"to": receiver.hook(), "on": ["failed"]}));
    fail(&pool);
    until("it is given up", || deliveries(&pool.client, "?state=given_up").len() == 1);
    assert_eq!(receiver.got().len(), 8);
    let told = pool.client.get("/api/v1/events?kind=notify.given_up").json()["events"][0]["text"].clone();
    let told = told.as_str().unwrap();
    assert!(told.contains("after 8 tries: it answered 500") && !told.contains("not-for-others"), "{told}");
    let id = deliveries(&pool.client, "")[0]["id"].as_str().unwrap().to_owned();
    pool.client.post(&format!("/api/v1/notify/deliveries/{id}/send"), &json!({})).expect(202);
    until("it is delivered", || deliveries(&pool.client, "?state=delivered").len() == 1);
    assert_eq!(receiver.got()[8].header("webhook-id"), id);
    // What is gone for good is not asked again.
    let gone = Receiver::start(&["410 Gone"]);
    subscribe(&pool.client, "gone", &json!({"to": gone.hook(), "on": []}));
    pool.client.post("/api/v1/notify/subscriptions/gone/test", &json!({})).expect(202);
    until("it is given up", || deliveries(&pool.client, "?subscription=gone&state=given_up").len() == 1);
    assert_eq!(gone.got().len(), 1);
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let folder = Folder::new();
    let pool = start_with(folder.path(), |config| {
        config.notify.patience = Duration::from_millis(300);
        config.notify.first_retry = Duration::from_secs(60);
    });
    let (hangs, takes) = (Receiver::start(&[""]), Receiver::start(&["200 OK"]));
    subscribe(&pool.client, "hangs", &json!({"to": hangs.hook(), "on": ["failed"]}));
    subscribe(&pool.client, "takes", &json!({"to": takes.hook(), "on": ["failed"]}));
    for _ in 0..3 {
        fail(&pool);
    }
    until("the other has all", || deliveries(&pool.client, "?subscription=takes&state=delivered").len() == 3);
    let late =
        || deliveries(&pool.client, "?subscription=hangs").iter().filter(|it| it["attempts"] == 1).count();
    until("each was tried", || late() == 3);
    assert_eq!(deliveries(&pool.client, "?subscription=hangs")[0]["last"], "it did not answer in time");
    // Whoever ends a subscription ends what waits of it.
    pool.client.delete("/api/v1/notify/subscriptions/hangs").expect(204);
    assert_eq!(deliveries(&pool.client, "?subscription=hangs").len(), 0);
}

#[test]
fn no_redirect_is_followed() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let target = Receiver::start(&["200 OK"]);
    let redirect = format!("307 Elsewhere\r\nlocation: http://{}/", target.address);
    let receiver = Receiver::start(&[&redirect]);
    subscribe(&pool.client, "chat", &json!({"to": receiver.hook(), "on": []}));
    pool.client.post("/api/v1/notify/subscriptions/chat/test", &json!({})).expect(202);
    until("it is given up", || deliveries(&pool.client, "?state=given_up").len() == 1);
    assert!(target.got().is_empty());
    let last = deliveries(&pool.client, "")[0]["last"].clone();
    assert!(last.as_str().unwrap().contains("redirects are not followed"), "{last}");
}

#[test]
fn webhooks_do_not_reach_the_pools_own_surroundings_unless_allowed() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let client = &pool.client;
    let receiver = Receiver::start(&["200 OK"]);
    let port = receiver.address.rsplit(':').next().unwrap().to_owned();
    let put = |to: &str| client.put("/api/v1/notify/subscriptions/x", &json!({"to": to, "on": []}));
    client.put("/api/v1/notify/settings", &json!({})).expect(200);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
    ] {
        put(&format!("webhook:https://{host}:{port}/")).problem(422, "bad_recipient");
    }
    for to in [
        "webhook:http://example.org/",
        "webhook:file:///etc/passwd",
        "webhook:https://a@example.org/",
        "nobody",
        "email:a@b",
    ] {
        put(to).problem(422, "bad_recipient");
    }
    // Names are looked at when they are used: this is one for 127.0.0.1 that only the resolver understands.
    for host in ["2130706433", "127.1", "0x7f000001"] {
        put(&format!("webhook:https://{host}:{port}/")).expect(201);
        let made = client.post("/api/v1/notify/subscriptions/x/test", &json!({})).expect(202).json();
        let at = format!("/api/v1/notify/deliveries/{}", made["id"].as_str().unwrap());
        until("it was tried", || client.get(&at).json()["attempts"].as_u64() >= Some(1));
        let last = client.get(&at).json()["last"].clone();
        assert!(last.as_str().unwrap().contains("127.0.0.1 is not on the public internet"), "{last}");
    }
    assert!(receiver.got().is_empty());
    for bad in ["nonsense", "10.0.0.0/33"] {
        client.put("/api/v1/notify/settings", &json!({"allow": [bad]})).problem(422, "bad_settings");
    }
    // What is allowed no longer is not sent either.
    client.put("/api/v1/notify/settings", &json!({"allow": ["127.0.0.1"]})).expect(200);
    put(&receiver.hook()).expect(201);
    client.put("/api/v1/notify/settings", &json!({})).expect(200);
    client.post("/api/v1/notify/subscriptions/x/test", &json!({})).expect(202);
    until("it is given up", || {
        deliveries(client, "?state=given_up").iter().any(|it| it["to"].as_str().unwrap().contains("hook"))
    });
    assert!(receiver.got().is_empty());
}

#[test]
fn people_are_told_what_they_may_see_and_no_more() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let root = &pool.client;
    for queue in ["lab", "other"] {
        root.put(&format!("/api/v1/queues/{queue}"), &json!({"host": {"root": true}})).expect(200);
    }
    let ann = root.add_user("ann", &[("lab", "member")]);
    let bob = root.add_user("bob", &[("lab", "viewer")]);
    let eve = root.add_user("eve", &[("other", "admin")]);
    let receivers = [(); 4].map(|()| Receiver::start(&["200 OK"]));
    let body = |place: usize, project: Option<&str>| json!({"to": receivers[place].hook(), "on": ["failed", "stopped"], "project": project});
    subscribe(&ann, "ann-own", &body(0, None));
    subscribe(&bob, "bob-lab", &body(1, Some("lab")));
    subscribe(&bob, "bob-own", &body(2, None));
    subscribe(&eve, "eve-other", &body(3, Some("other")));
    eve.put("/api/v1/notify/subscriptions/eve-lab", &body(3, Some("lab"))).problem(403, "forbidden");
    eve.put("/api/v1/notify/subscriptions/ann-own", &body(3, None)).problem(409, "name_taken");
    eve.delete("/api/v1/notify/subscriptions/ann-own").problem(404, "no_such_subscription");
    let scoped = ann.token_for("ann-lab", "ann", &json!({"scope": {"role": "viewer", "project": "lab"}}));
    scoped.put("/api/v1/notify/subscriptions/wide", &body(3, None)).problem(403, "forbidden");
    let mut asked = job(&["exit", "1"]);
    asked["project"] = json!("lab");
    let id = ann.post("/api/v1/jobs", &asked).expect(201).json()["job"]["id"].as_u64().unwrap();
    root.await_state(id, "failed");
    let counts = || receivers.each_ref().map(|receiver| receiver.got().len());
    until("both are told", || counts() == [1, 1, 0, 0]);
    // Of others' webhooks an administrator sees the host alone.
    let listed =
        root.get("/api/v1/notify/subscriptions").text() + &root.get("/api/v1/notify/deliveries").text();
    assert!(listed.contains(&receivers[0].address) && !listed.contains("not-for-others"), "{listed}");
    assert_eq!(deliveries(&eve, "").len(), 0);
    assert_eq!(deliveries(&bob, "").len(), 1);
    // Who may see no more is told no more, and who is gone is sent no more.
    root.put("/api/v1/roles", &json!({"user": "bob", "project": "lab", "role": null})).expect(200);
    root.put("/api/v1/users/ann", &json!({"disabled": true})).expect(200);
    root.post(&format!("/api/v1/jobs/{id}/retry"), &json!({})).expect(200);
    let over = || root.get("/api/v1/events?kind=job.ended").json()["events"].as_array().unwrap().len() == 2;
    until("it is over again", over);
    subscribe(root, "all", &json!({"to": receivers[3].hook(), "on": ["failed"], "project": ""}));
    root.run(&["exit", "1"]);
    until("the administrator is told", || counts()[3] == 1);
    assert_eq!(counts(), [1, 1, 0, 1]);
}

#[test]
fn a_token_that_allows_less_touches_no_more_of_its_owners_messages() {
    let folder = Folder::new();
    let receiver = Receiver::start(&["200 OK"]);
    let pool = start(folder.path());
    let root = &pool.client;
    root.put("/api/v1/queues/lab", &json!({})).expect(200);
    subscribe(root, "all", &json!({"to": receiver.hook()}));
    subscribe(root, "lab", &json!({"to": receiver.hook(), "project": "lab"}));
    let token = |name: &str, role: &str, project: &str| {
        root.token_for(name, "local", &json!({"scope": {"role": role, "project": project}}))
    };
    let names = |client: &Client| {
        let list = client.get("/api/v1/notify/subscriptions").expect(200).json();
        list.as_array().unwrap().iter().map(|it| it["name"].to_string()).collect::<Vec<_>>().join(" ")
    };
    let (looks, narrow) = (token("looks", "viewer", ""), token("narrow", "admin", "lab"));
    assert_eq!((names(&looks), names(&narrow)), (r#""all" "lab""#.to_owned(), r#""lab""#.to_owned()));
    let of = |name: &str| format!("/api/v1/notify/subscriptions/{name}");
    looks.delete(&of("all")).problem(403, "forbidden");
    looks.post(&format!("{}/test", of("all")), &json!({})).problem(403, "forbidden");
    looks.put(&of("mine"), &json!({"to": receiver.hook()})).problem(403, "forbidden");
    narrow.delete(&of("all")).problem(404, "no_such_subscription");
    root.post(&format!("{}/test", of("all")), &json!({})).expect(202);
    until("it is delivered", || deliveries(root, "").iter().any(|it| it["state"] == "delivered"));
    let id = deliveries(root, "")[0]["id"].as_str().unwrap().to_owned();
    assert!(deliveries(&narrow, "").is_empty() && !deliveries(&looks, "").is_empty());
    looks.post(&format!("/api/v1/notify/deliveries/{id}/send"), &json!({})).problem(403, "forbidden");
    narrow.get(&format!("/api/v1/notify/deliveries/{id}")).problem(404, "no_such_message");
    narrow.delete(&of("lab")).expect(204);
}

#[test]
fn a_job_names_whom_to_tell() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let (inline, named) = (Receiver::start(&["200 OK"]), Receiver::start(&["200 OK"]));
    let secret = subscribe(&pool.client, "chat", &json!({"to": named.hook(), "on": []}));
    let mut asked = job(&["exit", "0"]);
    asked["notify"] = json!({"on": ["started", "succeeded"], "to": [inline.hook(), "chat"]});
    let id = pool.client.post("/api/v1/jobs", &asked).expect(201).json()["job"]["id"].clone();
    pool.client.await_state(id.as_u64().unwrap(), "succeeded");
    let kinds = |receiver: &Receiver| {
        let mut kinds: Vec<String> =
            receiver.got().iter().map(|got| got.json()["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    until("both are told both", || {
        kinds(&inline) == ["job.started", "job.succeeded"] && kinds(&named) == kinds(&inline)
    });
    let key = pool.client.get("/api/v1/notify/key").expect(200).json()["secret"].as_str().unwrap().to_owned();
    assert!(inline.got()[0].verifies(&key) && !inline.got()[0].verifies(&secret));
    assert!(named.got()[0].verifies(&secret) && !named.got()[0].verifies(&key));
    for (to, code) in [
        ("nobody", "no_such_subscription"),
        ("webhook:https://10.0.0.1/", "bad_recipient"),
        ("email:a@example.org", "bad_recipient"),
    ] {
        asked["notify"]["to"] = json!([to]);
        pool.client.post("/api/v1/jobs", &asked).problem(422, code);
    }
}

#[test]
fn waiting_jobs_ending_tokens_and_spent_budgets_are_told() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let client = &pool.client;
    let receiver = Receiver::start(&["200 OK"]);
    subscribe(
        client,
        "ops",
        &json!({"to": receiver.hook(), "project": "", "on": ["waiting", "token", "budget", "budget_spent", "node_lost"]}),
    );
    client
        .put(
            "/api/v1/notify/settings",
            &json!({"allow": ["127.0.0.1"], "waiting_ms": 300, "token_ms": 3_600_000}),
        )
        .expect(200);
    client.put("/api/v1/tokens/soon", &json!({"valid_ms": 60_000})).expect(201);
    client.put("/api/v1/tokens/later", &json!({"valid_ms": 36_000_000})).expect(201);
    client.put("/api/v1/queues/lab", &json!({})).expect(200);
    client.put("/api/v1/budgets/lab", &json!({"limit_micros": 0, "stop": "hold"})).expect(200);
    let mut asked = job(&["sleep"]);
    asked["project"] = json!("lab");
    client.post("/api/v1/jobs", &asked).expect(201);
    let kinds = || {
        let mut kinds: Vec<String> =
            receiver.got().iter().map(|got| got.json()["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    until("all three", || kinds() == ["budget.spent", "job.waiting", "token.expiring"]);
    pool.farm.lose();
    until("the machine is lost", || kinds().contains(&"node.lost".to_owned()));
    assert_eq!(kinds().len(), 4, "each once: {:?}", kinds());
}

#[test]
fn secrets_of_the_server_are_no_jobs() {
    let folder = Folder::new();
    let pool = start(folder.path());
    let client = &pool.client;
    client.put("/api/v1/secrets/POND_SMTP", &json!({"value": "hunter2"})).expect(200);
    client.put("/api/v1/secrets/SMTP", &json!({"value": "hunter2"})).expect(200);
    let mut asked = job(&["sleep"]);
    asked["secrets"] = json!(["POND_SMTP"]);
    client.post("/api/v1/jobs", &asked).problem(422, "no_such_secret");
    let mail = |more: Value| {
        let mut mail = json!({"host": "mail.example.org", "from": "pond@example.org"});
        mail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.put("/api/v1/notify/settings", &json!({"mail": mail}))
    };
    mail(json!({"user": "pond", "password": "SMTP"})).problem(422, "bad_settings");
    mail(json!({"user": "pond", "password": "POND_NONE"})).problem(422, "bad_settings");
    mail(json!({"user": "pond"})).problem(422, "bad_settings");
    mail(json!({"tls": "none"})).problem(422, "bad_settings");
    mail(json!({"from": "pond"})).problem(422, "bad_settings");
    mail(json!({"from": "pond@example.org\r\nBcc: eve@example.org"})).problem(422, "bad_settings");
    mail(json!({"ca": "not a certificate"})).problem(422, "bad_settings");
    mail(json!({"user": "pond", "password": "POND_SMTP"})).expect(200);
    assert!(!client.get("/api/v1/notify/settings").text().contains("hunter2"));
    client
        .put("/api/v1/notify/subscriptions/x", &json!({"to": "email:a@elsewhere.org"}))
        .problem(422, "bad_recipient");
    client.put("/api/v1/notify/subscriptions/x", &json!({"to": "email:a@example.org"})).expect(201);
}
