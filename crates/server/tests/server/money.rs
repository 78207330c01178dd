//! Prices, budgets, bills and the ledger over the API, across restarts.

use super::client::{Client, job};
use super::farm::NODE;
use super::web::Browser;
use super::{Folder, Pool, until};
use pond_core::event::{Report, TaskSample};
use pond_core::ids::NodeName;
use pond_core::units::Bytes;
use serde_json::{Value, json};

fn set_price(client: &Client, resource: &str, micros: u64) {
    let body = json!({"currency": "EUR", "prices": [{"resource": resource, "micros": micros}]});
    client.post("/api/v1/prices", &body).expect(200);
}

/// Lines of the ledger that are closed.
fn lines(client: &Client) -> Vec<Value> {
    let text = client.get("/api/v1/ledger").expect(200).text();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(lines: &[Value], field: &str) -> u64 {
    lines.iter().map(|line| line[field].as_u64().unwrap()).sum()
}

/// Runs a job while a core costs a unit a millisecond, and closes the period by another price.
fn one_closed_job(client: &Client) -> u64 {
    set_price(client, "cpu", 3_600_000_000_000 / 4);
    let id = client.run(&["sleep"]);
    client.await_state(id, "running");
    client.post(&format!("/api/v1/jobs/{id}/stop"), &json!({"now": true})).expect(200);
    client.await_state(id, "stopped");
    set_price(client, "cpu", 0);
    until("the period is closed", || !lines(client).is_empty());
    id
}

#[test]
fn the_ledger_outlives_the_server_and_bills_are_its_sums() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = one_closed_job(&pool.client);
    let before = lines(&pool.client);
    let charge = sum(&before, "charge_micros");
    assert!(charge > 0, "{before:?}");
    for line in &before {
        let part = |name: &str| line[format!("{name}_micro_hours")].as_u64().unwrap();
        assert_eq!(part("granted"), part("used") + part("waste"));
        assert_eq!(
            (&line["job"], &line["closed"], &line["currency"]),
            (&json!(id), &json!(true), &json!("EUR"))
        );
    }
    let detail = pool.client.get(&format!("/api/v1/jobs/{id}")).json();
    assert_eq!(detail["cost"], json!({"charge_micros": charge, "credit_micros": 0, "currency": "EUR"}));
    pool.stop(true).unwrap();
    let pool = Pool::start(folder.path());
    assert_eq!(lines(&pool.client), before, "what is closed stays");
    for by in ["queue", "user", "job", "class", "resource", "day", "month"] {
        let bill = pool.client.get(&format!("/api/v1/bill?by={by}&split_idle=true")).expect(200).json();
        let rows = bill["rows"].as_array().unwrap();
        assert_eq!(sum(rows, "charge_micros"), charge, "by {by}");
        assert_eq!(bill["total"]["net_micros"], charge, "by {by}");
        let idle = sum(rows, "idle_micros");
        assert_eq!(bill["total"]["idle_micros"], idle, "by {by}");
        assert_eq!(bill["pool"][0]["resource"], "cpu");
    }
    let nobody = pool.client.get("/api/v1/bill?user=nobody").expect(200).json();
    assert_eq!((&nobody["rows"], &nobody["total"]["charge_micros"]), (&json!([]), &json!(0)));
}

/// Tells the pool that a task used so much since its start.
fn sample(pool: &Pool, job: u64, cpu_us: u64, memory: u64) {
    let tasks = pool.farm.tasks();
    let (task, generation, _) = tasks.iter().find(|(task, ..)| task.gang.job.0 == job).unwrap();
    let sample = TaskSample {
        task: *task,
        generation: *generation,
        cpu_us,
        throttled_us: 0,
        memory: Bytes(memory),
        disk: Bytes::ZERO,
        io: Bytes::ZERO,
        pids: 1,
        devices: Vec::new(),
    };
    let (node, tasks) = (NodeName::from(NODE), vec![sample]);
    pool.farm.tell(Report::Sampled { node, node_cpu_us: cpu_us, node_memory: Bytes::ZERO, tasks });
}

#[test]
fn what_a_spare_job_uses_is_the_same_on_the_bill_in_usage_and_on_the_first_page() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    set_price(client, "memory", 1_000_000);
    let mut spare = job(&["sleep"]);
    spare["class"] = json!("spare");
    let id = client.post("/api/v1/jobs", &spare).expect(201).json()["job"]["id"].as_u64().unwrap();
    client.await_state(id, "running");
    let mut cpu_us = 0;
    let mut used = || {
        cpu_us += 50_000;
        sample(&pool, id, cpu_us, 1 << 40);
        let rows = client.get("/api/v1/usage?by=job").json()["rows"].clone();
        rows[0]["burst_memory_mib_s"].as_u64().unwrap()
    };
    until("its memory is counted", || used() > 1 << 20);
    let status = client.get("/api/v1/status").json();
    assert!(status["burst_cpu_milli"].as_u64().unwrap() > 0, "{status}");
    let page = Browser::log_in(client).get("/").expect(200).text();
    assert!(page.contains("Used beyond grants and by spare"), "{page}");
    let before = used();
    let bill = client.get("/api/v1/bill?by=job").expect(200).json();
    let after = used();
    let amounts = bill["rows"][0]["amounts"].as_array().unwrap();
    let memory = amounts.iter().find(|amount| amount["resource"] == "memory").unwrap();
    let mib_s = memory["charged_micro_hours"].as_u64().unwrap() * 1024 * 36 / 10_000;
    assert!((before..=after + 1).contains(&(mib_s + 1)), "{before} {mib_s} {after}: {memory}");
}

#[test]
fn a_bill_says_what_it_sums_and_a_time_that_cannot_be_what_is_wrong_with_it() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    one_closed_job(&pool.client);
    let bill = |query: &str| pool.client.get(&format!("/api/v1/bill{query}")).expect(200).json();
    let line = lines(&pool.client).remove(0);
    let (from, to) = (line["from_ms"].as_u64().unwrap(), line["to_ms"].as_u64().unwrap());
    // A period that began in the time is summed whole, and one that began before is not.
    let first = bill(&format!("?from_ms={from}&to_ms={}", from + 1));
    assert_eq!((&first["summed_from_ms"], &first["summed_to_ms"]), (&json!(from), &json!(to)));
    assert_eq!((&first["from_ms"], &first["to_ms"]), (&json!(from), &json!(from + 1)));
    assert!(first["total"]["charge_micros"].as_u64().unwrap() > 0, "{first}");
    let rest = bill(&format!("?from_ms={}", from + 1));
    assert_eq!((&rest["summed_from_ms"], &rest["total"]["charge_micros"]), (&json!(to), &json!(0)));
    let nothing = bill("?from_ms=4&to_ms=5");
    assert!(nothing.get("summed_from_ms").is_none() && nothing["rows"] == json!([]), "{nothing}");
    for (query, place) in [
        ("?from_ms=5&to_ms=4", "to_ms"),
        ("?to_ms=4", "to_ms"),
        ("?from_ms=99999999999999", "from_ms"),
        ("?from_ms=99999999999998&to_ms=99999999999999", "from_ms"),
    ] {
        let problem = pool.client.get(&format!("/api/v1/bill{query}")).problem(400, "bad_parameter");
        assert!(problem["where"] == place && problem["next"].is_string(), "{query}: {problem}");
    }
}

#[test]
fn the_ledger_is_written_in_columns_and_in_those_of_focus() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let id = one_closed_job(&pool.client);
    let csv = pool.client.get("/api/v1/ledger?format=csv").expect(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let charge = rows[0].iter().position(|name| *name == "charge").unwrap();
    let cpu = rows.iter().find(|row| row.contains(&"cpu")).unwrap();
    assert!(cpu[charge].parse::<f64>().unwrap() > 0.0, "{cpu:?}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let focus = pool.client.get("/api/v1/ledger?format=focus").expect(200).text();
    let head: Vec<&str> = focus.lines().next().unwrap().split(',').collect();
    for must in
        ["BilledCost", "ChargeCategory", "ChargePeriodStart", "ServiceProviderName", "AllocatedMethodId"]
    {
        assert!(head.contains(&must), "{must}");
    }
    assert!(focus.contains(&format!("job-{id}")), "{focus}");
    // A folder for the published validator to look at, when a caller wants to.
    if let Ok(path) = std::env::var("POND_FOCUS_FILE") {
        std::fs::write(path, focus).unwrap();
    }
}

#[test]
fn a_budget_holds_jobs_and_says_so() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    client.put("/api/v1/queues/lab", &json!({})).expect(200);
    set_price(client, "cpu", 1_000_000_000_000);
    let body = json!({"limit_micros": 1, "span": "total", "stop": "hold"});
    let set = client.put("/api/v1/budgets/lab", &body).expect(200).json();
    assert_eq!(
        (&set["spent_micros"], &set["blocks"], &set["alerts"]),
        (&json!(0), &json!(false), &json!([80, 100]))
    );
    let submit = || {
        let mut wanted = job(&["sleep"]);
        wanted["project"] = json!("lab");
        client.post("/api/v1/jobs", &wanted).expect(201).json()["job"]["id"].as_u64().unwrap()
    };
    let first = submit();
    client.await_state(first, "running");
    until("the budget is spent", || client.get("/api/v1/budgets").json()[0]["blocks"] == true);
    let second = submit();
    until("it is held", || {
        let reason = client.get(&format!("/api/v1/jobs/{second}")).json()["reason"].clone();
        reason.as_str().is_some_and(|reason| reason.starts_with("the budget of lab is spent"))
    });
    let why = client.get(&format!("/api/v1/jobs/{second}/why")).expect(200).json();
    assert_eq!(why["verdict"], "needs_admin", "{why}");
    assert!(why["sentence"].as_str().unwrap().contains("the budget of lab is spent"), "{why}");
    assert_eq!(why["reason"]["budget"]["limit_micros"], 1, "{why}");
    assert_eq!(why["reason"]["budget"].as_object().unwrap().len(), 4, "in all has no end: {why}");
    // What is said is how the budget stands, not how it stood when the job began to wait.
    client.put("/api/v1/budgets/lab", &json!({"limit_micros": 2, "span": "day"})).expect(200);
    let (shown, why) = (
        client.get(&format!("/api/v1/jobs/{second}")).json(),
        client.get(&format!("/api/v1/jobs/{second}/why")).json(),
    );
    assert!(shown["reason"].as_str().unwrap().ends_with(" of 0.000002 EUR"), "{shown}");
    assert!(why["sentence"].as_str().unwrap().contains(" of 0.000002 EUR; wait "), "{why}");
    let budget = &why["reason"]["budget"];
    assert_eq!((&budget["limit_micros"], budget["until_ms"].is_u64()), (&json!(2), true), "{why}");
    // Who may give more is told so on the first page; who may not, is not.
    let needs = |client: &Client| {
        let page = Browser::log_in(client).get("/").expect(200).text();
        page.split_once("Needs you").unwrap().1.split_once("</section>").unwrap().0.to_owned()
    };
    let page = needs(client);
    assert!(
        page.contains("Budget of lab") && page.contains("1 waits for money: its budget is spent"),
        "{page}"
    );
    assert!(!page.contains("Nothing. What waits"), "{page}");
    assert!(needs(&client.add_user("ann", &[("lab", "admin")])).contains("Nothing. What waits"));
    assert_eq!(client.state(first), "running");
    let told = client.get("/api/v1/events?kind=budget.").json();
    assert_eq!(told["events"][0]["kind"], "budget.alert", "{told}");
    client.delete("/api/v1/budgets/lab").expect(204);
    client.await_state(second, "running");
    client.delete("/api/v1/budgets/lab").problem(404, "no_such_budget");
    client.put("/api/v1/budgets/nowhere", &body).problem(422, "no_such_queue");
}

#[test]
fn prices_that_cannot_be_are_refused_and_nothing_of_them_is_set() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let client = &pool.client;
    let post = |price: Value| {
        let good = json!({"resource": "cpu", "micros": 1});
        client.post("/api/v1/prices", &json!({"prices": [good, price]}))
    };
    post(json!({"resource": "coffee", "micros": 1})).problem(422, "bad_price");
    post(json!({"resource": "cpu", "micros": 1, "model": "H100"})).problem(422, "bad_price");
    post(json!({"resource": "cpu", "micros": 1, "from_ms": 5})).problem(422, "bad_price");
    post(json!({"resource": "gpu", "micros": u64::MAX})).problem(422, "bad_price");
    post(json!({"resource": "cpu", "micros": 1, "prize": 2})).problem(422, "bad_field");
    assert_eq!(client.get("/api/v1/prices?all=true").json()["prices"], json!([]));
    client.delete("/api/v1/prices/7").problem(404, "no_such_price");
}

#[test]
fn of_two_prices_for_the_same_the_list_says_which_counts() {
    let folder = Folder::new();
    let pool = Pool::start(folder.path());
    let set = |price: serde_json::Value| {
        pool.client.post("/api/v1/prices", &json!({"prices": [price]})).expect(200).json()
    };
    set(json!({"resource": "cpu", "micros": 100_000}));
    set(json!({"resource": "cpu", "micros": 20_000, "class": "spare"}));
    let sheet = set(json!({"resource": "cpu", "micros": 200_000}));
    let replaced: Vec<_> =
        sheet["prices"].as_array().unwrap().iter().map(|price| price["replaced_by"].clone()).collect();
    assert_eq!(json!(replaced), json!([3, null, null]), "{sheet}");
}
