//! Forms for money by who may: a project's administrator bounds what is below, says at what people are told, and is told what was wrong.

use super::web::Browser;
use super::{Folder, Pool};
use serde_json::{Value, json};

fn pool(folder: &Folder) -> Pool {
    let pool = Pool::start(folder.path());
    for queue in ["lab", "lab/nlp", "lab/vision", "other"] {
        pool.client.put(&format!("/api/v1/queues/{queue}"), &json!({})).expect(200);
    }
    pool
}

fn logged_in(pool: &Pool, name: &str, role: &str) -> Browser {
    Browser::log_in(&pool.client.add_user(name, &[("lab", role)]))
}

fn budgets(pool: &Pool) -> Vec<(String, Value, Value)> {
    let all = pool.client.get("/api/v1/budgets").expect(200).json();
    let row = |budget: &Value| {
        (
            budget["queue"].as_str().unwrap().to_owned(),
            budget["limit_micros"].clone(),
            budget["alerts"].clone(),
        )
    };
    all.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_projects_administrator_bounds_what_is_below_and_nobody_else_does() {
    let folder = Folder::new();
    let pool = pool(&folder);
    pool.client.put("/api/v1/budgets/lab", &json!({"limit_micros": 9_000_000})).expect(200);
    pool.client.put("/api/v1/budgets/other", &json!({"limit_micros": 1_000_000})).expect(200);
    let admin = logged_in(&pool, "ann", "admin");
    let page = admin.get("/usage").expect(200).text();
    // Their own project's is seen and not theirs to set; what is below is; another project's is not seen.
    assert!(
        page.contains("data-testid=\"set-budget\"") && !page.contains("data-testid=\"set-price\""),
        "{page}"
    );
    assert!(
        page.contains("<option value=\"lab/nlp\">") && !page.contains("<option value=\"lab\">"),
        "{page}"
    );
    assert!(page.contains("<td>lab</td>") && page.contains("80 %, 100 %"), "{page}");
    assert!(!page.contains("/usage/budgets/remove") && !page.contains("other"), "{page}");
    admin
        .post("/usage/budgets", "queue=lab/nlp&amount=2.50&span=week&stop=never&alerts=25%25, 50 75")
        .expect(303);
    admin.post("/usage/budgets", "queue=lab/vision&amount=1&alerts=none").expect(303);
    let of = |queue: &str| budgets(&pool).into_iter().find(|budget| budget.0 == queue).unwrap();
    assert_eq!(of("lab/nlp"), ("lab/nlp".to_owned(), json!(2_500_000), json!([25, 50, 75])));
    assert_eq!(of("lab/vision").2, json!([]));
    let page = admin.get("/usage").expect(200).text();
    assert!(page.contains("25 %, 50 %, 75 %"), "{page}");
    assert_eq!(page.matches("action=\"/usage/budgets/remove\"").count(), 2, "of the two below: {page}");
    // What was wrong is said in the form, which is as it was.
    for (fields, status, said) in [
        ("queue=lab/nlp&amount=3&alerts=many", 422, "`many` is no list of percentages"),
        ("queue=lab/nlp&amount=3&alerts=80,50", 422, "each above the one before"),
        ("queue=lab/nlp&amount=3&alerts=99999", 422, "no list of percentages"),
        ("queue=lab&amount=3", 403, "only an administrator of the pool"),
        ("queue=other&amount=3", 403, "only an administrator of the pool"),
        ("queue=/&amount=3", 403, "only an administrator of the pool"),
    ] {
        let page = admin.post("/usage/budgets", fields).expect(status).text();
        let form = page.split_once("data-testid=\"set-budget\"").unwrap().1.split_once("</form>").unwrap().0;
        assert!(form.contains(said) && form.contains("role=\"alert\""), "{fields}: {form}");
        assert!(form.contains("name=\"amount\"") && form.contains("value=\"3\""), "{fields}: {form}");
    }
    admin.post("/usage/budgets/remove", "queue=lab").expect(403);
    admin.post("/usage/budgets/remove", "queue=lab/vision").expect(303);
    assert_eq!(budgets(&pool).len(), 3);
    for (name, role) in [("max", "maintainer"), ("mia", "member"), ("vic", "viewer")] {
        let browser = logged_in(&pool, name, role);
        let page = browser.get("/usage").expect(200).text();
        assert!(page.contains("<td>lab/nlp</td>"), "{role} sees what the project may spend: {page}");
        assert!(!page.contains("set-budget") && !page.contains("/usage/budgets/remove"), "{role}: {page}");
        browser.post("/usage/budgets", "queue=lab/nlp&amount=7").expect(403);
    }
    assert_eq!(of("lab/nlp").1, json!(2_500_000));
}

#[test]
fn a_price_may_have_an_end() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    let set = |from: &str, to: &str| {
        browser.post("/usage/prices", &format!("resource=cpu&amount=2&currency=EUR&from={from}&to={to}"))
    };
    set("2099-01-01", "2099-02-01 12:00").expect(303);
    let price = pool.client.get("/api/v1/prices").expect(200).json()["prices"][0].clone();
    // `date -u -d '2099-02-01 12:00' +%s`
    assert_eq!(
        (&price["from_ms"], &price["to_ms"]),
        (&json!(4_070_908_800_000_u64), &json!(4_073_630_400_000_u64))
    );
    assert!(browser.get("/usage").expect(200).text().contains("2099-02-01 12:00:00"));
    for (from, to) in [("", "tomorrow"), ("2099-03-01", "2099-02-01"), ("", "2001-01-01")] {
        let page = set(from, to).expect(422).text();
        let form = page.split_once("data-testid=\"set-price\"").unwrap().1.split_once("</form>").unwrap().0;
        assert!(
            form.contains("role=\"alert\"") && form.contains(&format!("value=\"{to}\"")),
            "{from} {to}: {form}"
        );
    }
    assert_eq!(pool.client.get("/api/v1/prices").json()["prices"].as_array().unwrap().len(), 1);
}
