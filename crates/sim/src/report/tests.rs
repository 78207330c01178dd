//! Reports of small outcomes made by hand, with figures worked out on paper.

use super::*;
use crate::outcome::{Fate, JobOutcome, Outcome, Point, Stay};
use crate::workload::Ending;
use pond_core::units::{Millis, Timestamp};

/// A job that waited `wait_s` and then ran without a break.
pub fn job(id: u64, submit_s: u64, wait_s: u64, run_s: u64, devices: u64) -> JobOutcome {
    let submit = Timestamp(submit_s * 1000);
    let start = submit.after(Millis::from_secs(wait_s));
    JobOutcome {
        id,
        user: u32::try_from(id % 2).unwrap(),
        queue: 0,
        tasks: 1,
        devices_milli: devices * 1000,
        cpu_milli: 1000,
        submit,
        start: Some(start),
        end: Some(start.after(Millis::from_secs(run_s))),
        held: Millis::from_secs(run_s),
        lost: Millis(0),
        duration: Millis::from_secs(run_s),
        preemptions: 0,
        migrations: 0,
        faults: 0,
        fate: Fate::Ended(Ending::Completed),
    }
}

fn outcome(name: &str, jobs: Vec<JobOutcome>) -> Outcome {
    Outcome {
        name: name.to_owned(),
        users: vec!["ann".to_owned(), "bob".to_owned()],
        queues: vec!["default".to_owned()],
        jobs,
        ..Outcome::default()
    }
}

#[test]
fn a_quantile_is_one_of_the_values_at_the_place_that_is_documented() {
    let spread = Spread::of((1..=1000).rev().collect());
    assert_eq!((spread.p50, spread.p99, spread.p999, spread.max), (500, 990, 999, 1000));
    assert_eq!((spread.count, spread.mean), (1000, 500));
    let spread = Spread::of(vec![7, 3, 5]);
    assert_eq!((spread.p50, spread.p99), (5, 7));
    assert_eq!(Spread::of(Vec::new()), Spread::default());
}

#[test]
fn times_classes_and_losses_of_a_run() {
    let mut preempted = job(3, 10, 0, 100, 16);
    preempted.end = Some(Timestamp(250_000));
    (preempted.held, preempted.lost, preempted.preemptions) = (Millis(140_000), Millis(40_000), 1);
    let mut never = job(4, 20, 0, 5, 64);
    (never.start, never.end, never.held, never.fate) = (None, None, Millis(0), Fate::Infeasible);
    let run = outcome("x", vec![job(1, 0, 0, 2, 0), job(2, 0, 28, 2, 1), preempted, never]);
    let summary = Summary::of(&run);
    assert_eq!((summary.jobs, summary.ended, summary.infeasible, summary.unfinished), (4, 3, 1, 0));
    // 2 s, 30 s, 240 s.
    assert_eq!((summary.all.jct_ms.mean, summary.all.jct_ms.p50), (272_000 / 3, 30_000));
    // 0 s, 28 s, 240 − 140 s.
    assert_eq!((summary.all.queue_ms.mean, summary.all.queue_ms.max), (128_000 / 3, 100_000));
    // 2 s count as 10 s: not below 1; 30 / 10; 240 / 100.
    assert_eq!(summary.all.slowdown_milli.mean, (1000 + 3000 + 2400) / 3);
    assert_eq!((summary.preemptions, summary.lost_device_s), (1, 640));
    assert_eq!(summary.makespan_ms, 250_000);
    let sizes: Vec<(SizeClass, u64)> =
        summary.by_size.iter().map(|(size, figures)| (*size, figures.jct_ms.count)).collect();
    assert_eq!(
        sizes,
        [(SizeClass::Cpu, 1), (SizeClass::One, 1), (SizeClass::ThirtyTwo, 1), (SizeClass::More, 0)]
    );
}

#[test]
fn classes_meet_at_the_sizes_of_machines() {
    let classes = [1, 1000, 1001, 4000, 4001, 8000, 8001, 32_000, 32_001].map(SizeClass::of);
    use SizeClass::{Eight, Four, More, One, ThirtyTwo};
    assert_eq!(classes, [One, One, Four, Four, Eight, Eight, ThirtyTwo, ThirtyTwo, More]);
}

#[test]
fn fairness_is_one_when_users_wait_alike_and_falls_when_one_waits() {
    let alike = Summary::of(&outcome("x", vec![job(1, 0, 50, 50, 1), job(2, 0, 10, 10, 1)]));
    assert_eq!((alike.jain_ppm, alike.users), (1_000_000, 2));
    // Shares 1 and 1/2: (3/2)² / (2 · 5/4) = 0.9.
    let apart = Summary::of(&outcome("x", vec![job(1, 0, 0, 50, 1), job(2, 0, 10, 10, 1)]));
    assert_eq!(apart.jain_ppm, 900_000);
}

#[test]
fn allocation_is_a_mean_over_time_and_a_fragment_is_a_part_of_what_is_idle() {
    let point = |at, granted, fragmented| Point {
        at: Timestamp(at),
        devices_milli: 8000,
        granted_devices_milli: granted,
        fragmented_devices_milli: fragmented,
        cpu_milli: 10,
        granted_cpu_milli: 5,
        ..Point::default()
    };
    let mut run = outcome("x", vec![job(1, 0, 0, 4, 8), job(2, 1, 3, 1, 4)]);
    run.series = vec![point(0, 8000, 0), point(1000, 4000, 2000), point(4000, 0, 0)];
    let summary = Summary::of(&run);
    // (8·1 + 4·3) / (8·4); idle 4·3, of which 2·3 are fragments; up to the last submission the pool is full.
    assert_eq!((summary.allocation_ppm, summary.fragmentation_ppm), (625_000, 500_000));
    assert_eq!((summary.allocation_arrivals_ppm, summary.cpu_allocation_ppm), (1_000_000, 500_000));
}

/// Thirty days with twenty jobs each; `wait` gives each job's wait in seconds by day and number.
fn month(name: &str, wait: impl Fn(u64, u64) -> u64) -> Outcome {
    let jobs = (0..30).flat_map(|day| (0..20).map(move |at| (day, at)));
    outcome(
        name,
        jobs.map(|(day, at)| job(day * 20 + at, day * 86_400 + at * 60, wait(day, at), 100, 1)).collect(),
    )
}

#[test]
fn a_difference_on_every_day_is_told_from_one_that_chance_could_make() {
    let base = month("a", |day, at| 100 + (day * 7 + at * 13) % 40);
    let better = month("b", |day, at| 80 + (day * 7 + at * 13) % 40);
    let comparison = compare(&base, &better, Bootstrap::default());
    assert_eq!((comparison.paired, comparison.blocks, comparison.differences.len()), (600, 30, 6));
    let jct = comparison.differences[0];
    // Twenty seconds less for every job: every resample says the same.
    assert_eq!((jct.difference, jct.low, jct.high), (-20_000, Some(-20_000), Some(-20_000)));
    assert_eq!(jct.verdict, Verdict::Lower);
    // Each day better or worse by turns, with one far day: the mean moves, the interval holds 0.
    let noisy = month("c", |day, at| {
        100 + (day * 7 + at * 13) % 40 + if day == 3 { 900 } else { 0 } - if day % 2 == 0 { 20 } else { 0 }
    });
    let jct = compare(&base, &noisy, Bootstrap::default()).differences[0];
    assert!(jct.difference > 0 && jct.low < Some(0) && jct.high > Some(0), "{jct:?}");
    assert_eq!(jct.verdict, Verdict::Indistinguishable);
    assert!(jct.words().ends_with("not distinguishable from chance"), "{}", jct.words());
}

#[test]
fn a_change_in_percent_is_that_of_each_resample() {
    let one_bad_week = month("a", |day, at| if (7..14).contains(&day) { 9_000 } else { 100 } + at);
    let all_good = month("b", |_, at| 100 + at);
    let jct = compare(&one_bad_week, &all_good, Bootstrap::default()).differences[0];
    let [low, high] = jct.change_ppm.unwrap();
    // Of the first run's whole mean it would be up to a third more than all of it.
    assert!(jct.low.unwrap().unsigned_abs() > jct.first, "{jct:?}");
    assert!(-1_000_000 < low && low < high && high < 0, "{jct:?}");
}

#[test]
fn the_quantile_of_a_resample_is_the_one_that_is_documented() {
    let a = month("a", |day, at| day * 31 + at * 17);
    let b = month("b", |day, at| day * 29 + at * 19);
    let comparison = compare(&a, &b, Bootstrap::default());
    let p99 = comparison.differences.iter().find(|difference| difference.metric == Metric::P99Jct).unwrap();
    assert_eq!(p99.first, Summary::of(&a).all.jct_ms.p99);
    assert_eq!(p99.second, Summary::of(&b).all.jct_ms.p99);
    assert!(p99.low <= Some(p99.difference) && Some(p99.difference) <= p99.high);
}

#[test]
fn runs_that_are_equal_too_short_or_of_other_jobs_are_called_that() {
    let base = month("a", |day, at| day + at);
    let same = compare(&base, &base, Bootstrap::default());
    assert!(same.differences.iter().all(|difference| difference.verdict == Verdict::Equal));
    let day = |wait| outcome("d", (0..20).map(|at| job(at, at * 60, wait, 100, 1)).collect());
    let short = compare(&day(5), &day(10), Bootstrap::default());
    assert_eq!((short.blocks, short.differences[0].low), (1, None));
    assert_eq!(short.differences[0].verdict, Verdict::TooShort);
    let others = compare(&base, &day(5), Bootstrap::default());
    assert_eq!((others.paired, others.first_only, others.second_only), (20, 580, 0));
}

#[test]
fn another_seed_moves_the_interval_and_the_same_seed_does_not() {
    let (a, b) = (month("a", |day, at| day * at % 97), month("b", |day, at| day * at % 89));
    let with = |seed| compare(&a, &b, Bootstrap { seed, ..Bootstrap::default() });
    assert_eq!(with(1), with(1));
    assert_ne!(with(1).differences, with(2).differences);
}

#[test]
fn sheets_have_a_row_for_each_job_and_quote_what_must_be_quoted() {
    let mut run = outcome("fifo, loud", vec![job(1, 0, 0, 2, 1), job(2, 1, 5, 2, 2)]);
    run.series.push(Point { at: Timestamp(5), pending: 3, ..Point::default() });
    let jobs = jobs_csv(&run);
    assert_eq!(jobs.lines().count(), 3);
    assert_eq!(
        jobs.lines().nth(2).unwrap(),
        "2,ann,default,1,2000,1000,1000,6000,8000,2000,2000,0,5000,1000,0,0,0,completed"
    );
    assert_eq!(series_csv(&run).lines().nth(1).unwrap(), "5,3,0,0,0,0,0,0,0");
    let summaries = summaries_csv(&[Summary::of(&run)]);
    let all: Vec<&str> = summaries.lines().skip(1).collect();
    assert_eq!(all.len(), 3);
    assert!(all[0].starts_with("\"fifo, loud\",0,all,2,4500,"), "{}", all[0]);
}

fn stay(node: u32, job: u64, share_milli: u64, start_s: u64, end_s: u64) -> Stay {
    Stay { node, job, share_milli, start: Timestamp(start_s * 1000), end: Timestamp(end_s * 1000) }
}

/// Two runs with series, stays and names that try to break out of the page.
fn pair() -> [Outcome; 2] {
    [("fifo <b>", 500), ("las", 100)].map(|(name, slower)| {
        let mut run = month(name, |day, at| slower + (day * 7 + at * 13) % 40);
        run.nodes = vec!["node\u{1b}\"&0".to_owned(), "node1".to_owned()];
        let point = |at: u64| Point {
            at: Timestamp(at * 3_600_000),
            pending: at % 7,
            pending_devices_milli: at % 7 * 2000,
            devices_milli: 16_000,
            granted_devices_milli: 12_000,
            fragmented_devices_milli: at % 4 * 1000,
            ..Point::default()
        };
        run.series = (0..720).map(point).collect();
        run.stays =
            vec![stay(0, 1, 500, 0, 9000), stay(0, 2, 500, 100, 7000), stay(1, 3, 1000, 50, 2_000_000)];
        run
    })
}

fn page(runs: &[Outcome], labels: &[&str]) -> String {
    let summaries: Vec<Summary> = runs.iter().map(Summary::of).collect();
    let comparisons: Vec<Comparison> =
        runs.iter().skip(1).map(|run| compare(&runs[0], run, Bootstrap::default())).collect();
    let runs: Vec<Run<'_>> = (0..runs.len())
        .map(|at| Run { label: labels[at], outcome: &runs[at], summary: &summaries[at] })
        .collect();
    Page { title: "Small & <odd>", about: "two nodes", runs: &runs, comparisons: &comparisons }.html()
}

#[test]
fn a_page_is_well_formed_names_every_drawing_and_fetches_nothing() {
    let html = page(&pair(), &["fifo <b>", "las"]);
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&html, options).expect("the page is well-formed");
    let text = |node: roxmltree::Node<'_, '_>| node.text().unwrap_or_default().to_owned();
    let drawings: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("svg") && node.attribute("role") == Some("img"))
        .collect();
    // Two intervals, two distributions, one size, two of the line, two pools, two timelines.
    assert_eq!(drawings.len(), 11);
    let mut ids = std::collections::BTreeSet::new();
    for node in document.descendants() {
        assert!(!node.has_tag_name("script") && !node.has_tag_name("link"));
        let links = node.attributes().filter(|attribute| ["src", "href"].contains(&attribute.name())).count();
        assert_eq!(links, 0);
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    for drawing in drawings {
        for part in ["title", "desc"] {
            let named = drawing.children().find(|child| child.has_tag_name(part)).map(text);
            assert!(named.is_some_and(|words| !words.is_empty()), "{part}");
        }
    }
    assert!(!html.contains("://"), "nothing is fetched");
    let curves = document.descendants().filter(|node| node.attribute("class") == Some("curve r1 d0 run1"));
    assert_eq!(curves.count(), 4);
}

#[test]
fn a_page_says_what_the_figures_say_and_says_it_the_same_each_time() {
    let runs = pair();
    let html = page(&runs, &["fifo", "las"]);
    assert_eq!(html, page(&runs, &["fifo", "las"]));
    // 100 + 19.5 + 100 s on average against 500 + 19.5 + 100, to a tenth.
    assert!(
        html.contains("<b>las</b> has the lowest mean completion time: 220 s (3.7 min), 64.5 % lower than <b>fifo</b>, more than chance explains."),
        "{}",
        html.lines().find(|line| line.contains("\"lead\"")).unwrap_or_default()
    );
    assert!(html.contains("75.0 % allocated"));
    let alone = page(&runs[..1], &["fifo"]);
    assert!(!alone.contains("more than chance") && alone.contains("Under <b>fifo</b> a job takes 620 s"));
}

#[test]
fn a_page_of_a_run_in_which_nothing_happened_is_still_a_page() {
    let html = page(&[outcome("x", Vec::new())], &["x"]);
    assert!(html.contains("No job came to an end.") && html.ends_with("</html>\n"));
}

#[test]
fn what_really_happened_is_an_outcome_too() {
    let log = "; MaxNodes: 1\n; MaxProcs: 4\n\
               1 0 10 100 2 -1 -1 2 200 -1 1 1 1 -1 1 -1 -1 -1\n\
               2 50 60 10 4 -1 -1 4 20 -1 1 2 1 -1 1 -1 -1 -1\n";
    let (header, reading) = crate::trace::swf::read(log.as_bytes());
    let jobs = crate::trace::swf::jobs("log", &header, &reading, crate::trace::swf::Layout::Nodes);
    let real = as_it_was(&jobs).expect("the log tells of starts");
    let summary = Summary::of(&real);
    assert_eq!((summary.ended, summary.all.jct_ms.mean, summary.all.queue_ms.mean), (2, 90_000, 35_000));
    assert_eq!(real.series.iter().map(|point| point.pending).max(), Some(1));
    // Half of the machine from 10 s to 110 s, all of it for 10 s more, of 120 s.
    let share = summary.cpu_allocation_ppm;
    assert!((498_000..=502_000).contains(&share), "{share}");
    assert_eq!(as_it_was(&crate::trace::Jobs::default()), None);
}
