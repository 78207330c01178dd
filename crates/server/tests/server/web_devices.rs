//! What pages tell of devices: how they are and why, and who waits for them or was thrown off by them.

use super::client::job;
use super::farm::{NODE, node};
use super::web::Browser;
use super::{Folder, Pool, until};
use pond_core::event::{Exit, Report, Sign, Wear};
use pond_core::ids::NodeName;
use pond_core::model::{Device, Link, NodeSpec, Traits};
use serde_json::{Value, json};

const FELL: &str = "XID 79: it fell off the bus";

fn pool(folder: &Folder) -> Pool {
    let pool = Pool::start(folder.path());
    until("the node is there", || pool.client.get("/api/v1/health").json()["nodes_ready"] == 1);
    pool
}

/// The node tells of its only device, and the pool has heard it.
fn told(pool: &Pool, sign: Sign, message: &str, becomes: &str) {
    let node = NodeName::from(NODE);
    pool.farm.tell(Report::DeviceSign { node, device: 0, sign, message: message.to_owned() });
    until(becomes, || pool.client.get("/api/v1/devices").json()[0]["health"] == becomes);
}

fn on_a_gpu() -> Value {
    let mut body = job(&["sleep"]);
    body["resources"]["gpu"] = json!(1);
    body
}

/// The part of a page from a mark on, up to the end of what it begins.
#[track_caller]
fn part(html: &str, mark: &str, end: &str) -> String {
    let from = html.split_once(mark).unwrap_or_else(|| panic!("no {mark}: {html}")).1;
    from.split_once(end).unwrap_or_else(|| panic!("no {end}: {from}")).0.to_owned()
}

#[test]
fn a_device_that_is_not_well_is_on_the_map_and_counted_with_its_cause() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let viewer = Browser::log_in(&pool.client.add_user("viewer", &[("", "viewer")]));
    let map = viewer.get("/map").expect(200).text();
    assert!(!map.contains("unwell") && map.contains("h-healthy") && !map.contains("h-sick"), "{map}");
    let wear = Wear { corrected: Some(50), remapped: Some(3), pending: true };
    pool.farm.tell(Report::DeviceWear { node: NodeName::from(NODE), device: 0, wear });
    told(&pool, Sign::Fatal, FELL, "sick");
    let map = viewer.get("/map").expect(200).text();
    let list = part(&map, "data-testid=\"unwell\"", "</section>");
    for said in ["/map#farm%3Cb%3E%2F0", "#sick\"></use>", ">sick</span>", FELL, "not given out since 20"] {
        assert!(list.contains(said), "{said}: {list}");
    }
    let table = part(&map, "id=\"map-table\"", "</table>");
    for said in ["h-sick", FELL, "3 rows of its memory were remapped", "wait for its next reset", "50 errors"]
    {
        assert!(table.contains(said), "{said}: {table}");
    }
    let chip = viewer.get("/map.json").expect(200).json()[0]["d"][0].clone();
    assert_eq!((&chip["s"], &chip["b"], &chip["h"]), (&"sick".into(), &FELL.into(), &false.into()));
    assert!(chip["t"].as_str().is_some_and(|at| at.starts_with("20")), "{chip}");
    let counted = part(&viewer.get("/capacity").expect(200).text(), "data-testid=\"models\"", "</table>");
    let row = part(&counted, "<tbody>", "</tbody>");
    assert!(row.contains("gpu NVIDIA H100 80GB HBM3") && row.contains("<b class=\"bad\">1</b>"), "{row}");
    assert!(row.contains(&format!("sick: {FELL}")), "{row}");
    let home = viewer.get("/").expect(200).text();
    assert!(home.contains(&format!("is sick: {FELL}")), "{home}");
    // Suspicion is another word and another sign; once it is well nothing is left of it.
    for becomes in ["back", "back", "back", "healthy"] {
        told(&pool, Sign::Well, "", becomes);
    }
    told(&pool, Sign::Trouble, "<script>hot</script>", "suspect");
    let map = viewer.get("/map").expect(200).text();
    let list = part(&map, "data-testid=\"unwell\"", "</section>");
    assert!(list.contains("#suspect\"></use>") && list.contains("&#60;script&#62;hot"), "{list}");
    for becomes in ["suspect", "suspect", "healthy"] {
        told(&pool, Sign::Well, "", becomes);
    }
    let map = viewer.get("/map").expect(200).text();
    assert!(!map.contains("unwell") && !map.contains("hot"), "{map}");
    pool.client.post("/api/v1/nodes/farm%3Cb%3E/drain", &json!({})).expect(200);
    let capacity = viewer.get("/capacity").expect(200).text();
    assert!(part(&capacity, "data-testid=\"models\"", "</table>").contains("its machine is draining"));
}

#[test]
fn who_waits_for_a_sick_device_or_lost_one_is_told_so_on_the_jobs_page() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    pool.client.post("/api/v1/jobs", &on_a_gpu()).expect(201);
    pool.client.await_state(1, "running");
    let page = || browser.get("/jobs/1").expect(200).text();
    assert!(!page().contains("data-testid=\"unwell\"") && !page().contains("blamed"), "{}", page());
    told(&pool, Sign::Fatal, FELL, "draining");
    pool.farm.end_all(Exit::Code(3));
    until("it is tried again", || {
        let why = pool.client.get("/api/v1/jobs/1/why").json();
        why["reason"]["unwell"]["devices"].is_array()
    });
    let html = page();
    let blamed = part(&html, "data-testid=\"blamed\"", "</p>");
    for said in [
        "Attempt 1 was ended by",
        "href=\"/map#farm%3Cb%3E%2F0\"",
        "device 0 of farm&#60;b&#62; failed: XID 79",
        "rank 0 was on it",
        "on the pool's account",
    ] {
        assert!(blamed.contains(said), "{said}: {blamed}");
    }
    let waits = part(&html, "data-testid=\"reason\"", "</span>");
    assert!(waits.contains("waits for devices that are not well: device 0"), "{waits}");
    let why = part(&html, "data-testid=\"why\"", "</section>");
    for said in
        ["it starts when they do", "data-testid=\"unwell\"", "h-draining", "data-testid=\"awaits-devices\""]
    {
        assert!(why.contains(said), "{said}: {why}");
    }
    let home = browser.get("/").expect(200).text();
    assert!(home.contains("waits for devices that are not well"), "{home}");
    for becomes in ["back", "back", "back", "healthy"] {
        told(&pool, Sign::Well, "", becomes);
    }
    pool.client.await_state(1, "running");
    let html = page();
    assert!(html.contains("data-testid=\"blamed\"") && !html.contains("awaits-devices"), "{html}");
    assert!(!html.contains("data-testid=\"unwell\""), "{html}");
}

/// A machine with devices that are joined like this: to those before each.
fn machine(name: &str, links: &[&[Link]], numa: impl Fn(usize) -> Option<u32>) -> NodeSpec {
    let mut spec = node();
    spec.name = NodeName::from(name);
    let device = |at: usize| Device {
        uuid: format!("GPU-{name}-{at}"),
        numa: numa(at),
        traits: Traits { links: links[at].to_vec().into(), ..Traits::default() },
        ..spec.devices[0].clone()
    };
    let devices = (0..links.len()).map(device).collect();
    NodeSpec { devices, ..spec }
}

/// The words of a page's part, a space between.
fn words(html: &str) -> String {
    let text = html.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
    text.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn how_devices_are_joined_is_on_the_map_and_how_near_a_gangs_are_on_its_page() {
    let folder = Folder::new();
    let pool = pool(&folder);
    let browser = Browser::log_in(&pool.client);
    assert!(
        !browser.get("/map").expect(200).text().contains("data-testid=\"joined\""),
        "one device is alone"
    );
    let (nv, sys, pix) = (Link::nvlink(4), Link::SYSTEM, Link::SWITCH);
    let islands: [&[Link]; 4] = [&[], &[sys], &[nv, sys], &[sys, pix, sys]];
    let half = |at: usize| u32::try_from(at % 2).ok();
    for spec in [
        machine("twin", &islands, half),
        machine("dark", &[&[], &[]], |_| None),
        machine("amd", &[&[], &[Link::xgmi(1)]], |_| None),
        // Last, for what tasks do is then told in its name.
        machine(NODE, &islands, half),
    ] {
        pool.farm.tell(Report::NodeUp(spec));
    }
    until("they have joined", || {
        pool.client.get("/api/v1/nodes").json()[0]["devices"].as_array().is_some_and(|all| all.len() == 4)
    });
    let map = browser.get("/map").expect(200).text();
    let tables: Vec<String> = map
        .split("data-testid=\"joined\"")
        .skip(1)
        .map(|part| words(part.split("</details>").next().unwrap()))
        .collect();
    assert_eq!(tables.len(), 2, "{tables:?}");
    let twins = &tables[0];
    for said in [
        "How the 4 devices of farm&#60;b&#62;, twin are joined NVLink 0, 2 The same PCIe switch 1, 3 NUMA node 0 0, 2 NUMA node 1 1, 3",
        "Device 0 1 2 3 0 NVIDIA H100 80GB HBM3 X SYS NV4 SYS 1 NVIDIA H100 80GB HBM3 SYS X SYS PIX",
        "NV4 4 links of NVLink PIX one PCIe switch at most SYS the way between NUMA nodes",
    ] {
        assert!(twins.contains(said), "{said}: {twins}");
    }
    assert!(tables[1].contains("of amd are joined XGMI 0, 1 Device 0 1"), "{}", tables[1]);
    // Two GPUs of a task, and one for each of two ranks; nothing of one alone.
    let near = |body: &Value| {
        let id = pool.client.post("/api/v1/jobs", body).expect(201).json()["job"]["id"].as_u64().unwrap();
        pool.client.await_state(id, "running");
        let html = browser.get(&format!("/jobs/{id}")).expect(200).text();
        let seen = pool.client.get(&format!("/api/v1/jobs/{id}")).json();
        pool.client.post(&format!("/api/v1/jobs/{id}/stop"), &json!({"now": true})).expect(200);
        pool.client.await_state(id, "stopped");
        (seen, html)
    };
    let mut asked = job(&["sleep"]);
    asked["resources"]["gpu"] = json!(4);
    let (seen, html) = near(&asked);
    assert_eq!(seen["gangs"][0]["near"][0]["farthest"], "SYS", "{seen}");
    let said = words(&part(&html, "data-testid=\"near\"", "</p>").replacen('>', "<b>", 1));
    assert!(
        said.ends_with("Devices 0, 1, 2, 3: the nearest two are joined by 4 links of NVLink (NV4), the farthest by the way between NUMA nodes (SYS)."),
        "{said}"
    );
    asked["resources"]["gpu"] = json!(1);
    asked["nodes"] = json!(2);
    let (seen, html) = near(&asked);
    let entry = &seen["gangs"][0]["near"][0];
    assert_eq!((&entry["nearest"], &entry["farthest"]), (&"NV4".into(), &"NV4".into()), "{seen}");
    assert!(html.contains(": Devices 0, 2 are joined by 4 links of NVLink (NV4)."), "{html}");
    asked["nodes"] = json!(1);
    let (seen, html) = near(&asked);
    assert!(seen["gangs"][0]["near"].is_null() && !html.contains("data-testid=\"near\""), "{seen}");
}
