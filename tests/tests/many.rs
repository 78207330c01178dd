//! A thousand one-shot jobs at once: all of them end, each with its own result.

use pond_e2e::{Api, Pool, is_root, skip, wait_until};
use std::time::Duration;

const JOBS: usize = 1000;

#[test]
fn a_thousand_jobs_at_once_all_end() {
    if !is_root() {
        skip("a thousand jobs", "containers with limits need root");
        return;
    }
    let pool = Pool::new("many");
    let shared = pool.work().join("shared");
    std::fs::create_dir(&shared).expect("the shared folder");
    _ = pool.ok(&["up", "-d"]);
    let api = Api::of(&pool).expect("a server");
    let yaml = format!(
        "type: task\nresources: {{cpu: 0.1, memory: 16MB, disk: 1MB}}\nvolumes: ['{}:/shared']\n\
         run: echo $POND_JOB_ID >> /shared/ran\n",
        shared.display()
    );
    let mut ids: Vec<u64> = (0..JOBS)
        .map(|_| {
            let answer = api.submit(&yaml).expect("a server");
            answer.body["job"]["id"].as_u64().unwrap_or_else(|| panic!("{}", answer.body))
        })
        .collect();
    let mut over = 0;
    let ended = wait_until(Duration::from_secs(300), || {
        over = api.get("status").expect("a server").body["over"]["succeeded"].as_u64().unwrap_or_default();
        over >= JOBS as u64
    });
    assert!(ended, "{over} of {JOBS} succeeded");
    let text = std::fs::read_to_string(shared.join("ran")).expect("what the jobs wrote");
    let mut ran: Vec<u64> = text.lines().map(|line| line.parse().expect("an id")).collect();
    ran.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ran, ids);
    pool.finish();
}
