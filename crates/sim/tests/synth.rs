//! Made-up workloads: the same bytes from the same seed, as many as asked, like what they were fitted to.

use pond_core::model::{Class, GangSize, Resources, Shape};
use pond_core::units::{Bytes, MilliCpu, Millis, Timestamp};
use pond_sim::random::Random;
use pond_sim::synth::{Model, Options, cluster, compare, fit, generate, split};
use pond_sim::trace::{Format, Jobs, helios, history, open, write};
use pond_sim::workload::{Ending, SimJob, Workload};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

const DAY: u64 = 86_400_000;

/// Six weeks of two queues: small short jobs by day, large long ones at any hour, some users busier than others.
fn original() -> Workload {
    let mut random = Random::new(7, "original");
    let mut workload = Workload::new("original");
    let mut shape = |cores: u64| {
        workload.shape(vec![Shape::new(Resources {
            cpu: MilliCpu(cores * 1000),
            memory: Bytes(1 << 30),
            disk: Bytes(0),
        })])
    };
    let shapes = [shape(1), shape(8)];
    let places = [(workload.queue("small"), 40), (workload.queue("large"), 9)];
    for id in 1..=12_000_u64 {
        let large = random.below(4) == 0;
        let (queue, users) = places[usize::from(large)];
        let day = random.below(42) as u64 * DAY;
        let hour = if large { random.below(24) } else { 8 + random.below(10) } as u64 * 3_600_000;
        let user = random.below(users).min(random.below(users)).min(random.below(users));
        let user = workload.user(&format!("someone {queue} {user}"));
        let base = if large { 40_000_000 } else { 600_000 };
        workload.jobs.push(SimJob {
            id,
            submit: Timestamp(day + hour + random.below(3_600_000) as u64),
            user,
            queue,
            class: if large { Class::Critical } else { Class::Standard },
            priority: 500,
            size: GangSize { min: if large { 4 } else { 1 }, max: if large { 4 } else { 1 } },
            shape: shapes[usize::from(large)],
            duration: Millis(base / 10 + (base * random.below(1000) as u64 / 1000)),
            limit: large.then_some(Millis(86_400_000)),
            predicted: None,
            ending: if random.below(5) == 0 { Ending::Failed } else { Ending::Completed },
            after: None,
            profile: None,
        });
    }
    workload.sort();
    workload
}

const MONDAY: i64 = 1_704_067_200_000;

#[test]
fn what_is_generated_is_like_what_was_fitted_and_unlike_another_model() {
    let original = original();
    let model = fit(&original, Some(MONDAY));
    let made = generate(&model, 1, &Options::default());
    let good = compare(&made, &original, [MONDAY, MONDAY]);
    eprintln!("{good:?}");
    assert_eq!(good.jobs, [12_000, 12_000]);
    for (what, distance) in [
        ("gaps", good.gaps),
        ("hours", good.hours),
        ("sizes", good.sizes),
        ("durations", good.durations),
        ("work", good.work),
    ] {
        assert!(distance < 40, "{what}: {good:?}");
    }
    assert!(good.size_duration[0].abs_diff(good.size_duration[1]) < 50, "{good:?}");
    assert!(good.top_ten_users[0].abs_diff(good.top_ten_users[1]) < 100, "{good:?}");
    let failed = made.jobs.iter().filter(|job| job.ending == Ending::Failed).count();
    assert!((2000..2800).contains(&failed), "{failed}");
    // The measure tells a model that gives every kind the run times of all apart.
    let mut flat = model.clone();
    let all: Vec<u64> = original.jobs.iter().map(|job| job.duration.0).collect();
    for class in &mut flat.durations {
        class.quantiles = pond_sim::synth::Quantiles::of(all.clone());
    }
    let worse = compare(&generate(&flat, 1, &Options::default()), &original, [MONDAY, MONDAY]);
    assert!(worse.work > 2 * good.work && worse.size_duration[0] < 100, "{worse:?}");
}

#[test]
fn a_model_is_kept_as_json_and_tells_no_user() {
    let model = fit(&original(), Some(MONDAY));
    let text = serde_json::to_string(&model).unwrap();
    assert!(!text.contains("someone"), "{text}");
    let again: Model = serde_json::from_str(&text).unwrap();
    assert_eq!(again, model);
    assert_eq!(generate(&again, 9, &Options::default()), generate(&model, 9, &Options::default()));
}

#[test]
fn load_and_span_scale_the_rate() {
    let model = fit(&original(), Some(MONDAY));
    let span = Some(Millis(42 * DAY));
    let count =
        |load_percent| generate(&model, 3, &Options { span, load_percent, ..Options::default() }).jobs.len();
    let (usual, double) = (count(100), count(200));
    assert!((11_000..13_000).contains(&usual), "{usual}");
    assert!((22_000..26_000).contains(&double), "{double}");
    let month = generate(
        &model,
        3,
        &Options { jobs: Some(50_000), span: Some(Millis(30 * DAY)), ..Options::default() },
    );
    let last = month.jobs.last().unwrap().submit.0;
    assert_eq!(month.jobs.len(), 50_000);
    assert!((28 * DAY..32 * DAY).contains(&last), "{}", last / DAY);
}

#[test]
fn hours_of_the_day_follow_the_calendar() {
    let model = fit(&original(), Some(MONDAY));
    // Three days and six hours later.
    let zero_ms = MONDAY + 78 * 3_600_000;
    let made = generate(&model, 5, &Options { zero_ms, ..Options::default() });
    let good = compare(&made, &original(), [zero_ms, MONDAY]);
    assert!(good.hours < 40, "{good:?}");
    let wrong = compare(&made, &original(), [MONDAY, MONDAY]);
    assert!(wrong.hours > 200, "{wrong:?}");
}

#[test]
fn a_split_loses_no_job() {
    let jobs = Jobs { workload: original(), ..Jobs::default() };
    let (first, rest) = split(&jobs, 60);
    assert_eq!(first.jobs.len() + rest.jobs.len(), 12_000);
    assert!(first.jobs.len() > 6000 && rest.jobs.first().unwrap().submit < Timestamp(DAY));
}

fn samples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/traces"))
}

fn sample(name: &str) -> Model {
    serde_json::from_slice(&fs::read(samples().join(name)).expect(name)).expect(name)
}

#[test]
fn the_samples_of_the_project_are_read_without_a_bad_row() {
    let files = [
        ("gpu.jsonl", Format::Millpond, 300),
        ("gpu.csv", Format::Helios, 500),
        ("gpu.sacct", Format::Sacct, 300),
        ("hpc.swf", Format::Swf, 600),
    ];
    for (name, format, count) in files {
        let loaded = open(&samples().join(name), None).unwrap();
        assert_eq!((loaded.format, loaded.bad.len()), (format, 0), "{name}");
        let jobs = loaded.into_jobs().unwrap();
        assert_eq!(jobs.workload.jobs.len() + jobs.left_out.len(), count, "{name}");
        assert!(jobs.left_out.len() * 20 < count, "{name}: {:?}", jobs.left_out);
        assert!(!jobs.cluster.nodes.is_empty());
    }
}

#[test]
fn the_samples_are_what_their_models_and_seeds_make() {
    let options = |jobs| Options { jobs: Some(jobs), ..Options::default() };
    let gpu = open(&samples().join("gpu.jsonl"), None).unwrap().into_jobs().unwrap();
    assert_eq!(gpu.workload, generate(&sample("venus-vcs.json"), 1, &options(300)));
    let hpc = open(&samples().join("hpc.swf"), None).unwrap().into_jobs().unwrap();
    let made = generate(&sample("hpc.json"), 1, &options(600));
    let key = |workload: &Workload| -> Vec<_> {
        workload
            .jobs
            .iter()
            .map(|job| (job.id, job.submit, job.duration, job.limit, job.size, job.ending))
            .collect()
    };
    // A cancelled job without run time is none for a log.
    let ran = |key: &(u64, Timestamp, Millis, Option<Millis>, GangSize, Ending)| {
        key.2 > Millis(0) || key.5 != Ending::Cancelled
    };
    assert_eq!(key(&hpc.workload), key(&made).into_iter().filter(ran).collect::<Vec<_>>());
}

#[test]
#[ignore = "a million jobs: seconds in a release build, a minute otherwise"]
fn a_month_of_a_million_jobs() {
    let month = Options { jobs: Some(1_000_000), span: Some(Millis(30 * DAY)), ..Options::default() };
    let made = generate(&sample("venus.json"), 1, &month);
    let last = made.jobs.last().unwrap().submit.0;
    assert!(made.jobs.len() == 1_000_000 && (20 * DAY..40 * DAY).contains(&last), "{}", last / DAY);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_seed_gives_the_same_bytes_that_are_read_back(seed: u64, jobs in 1_u64..400, load in 1_u32..500) {
        let model = fit(&original(), Some(MONDAY));
        let options = Options { jobs: Some(jobs), load_percent: load, ..Options::default() };
        let file = || {
            let workload = generate(&model, seed, &options);
            let nodes = cluster(&helios::cluster(&[], 3, helios::Pooling::Pooled), 5);
            let jobs = Jobs { workload, cluster: nodes, zero_ms: Some(options.zero_ms), ..Jobs::default() };
            let mut bytes = Vec::new();
            history::write(&jobs, &mut bytes).unwrap();
            (jobs, bytes)
        };
        let (made, bytes) = file();
        prop_assert_eq!(&bytes, &file().1);
        prop_assert_eq!(made.workload.jobs.len() as u64, jobs);
        prop_assert_eq!(&write::in_order(&made), &made);
        let reading = history::read(bytes.as_slice());
        prop_assert_eq!(&reading.bad, &[]);
        prop_assert_eq!(history::jobs_of("", &reading), made);
    }

    #[test]
    fn a_model_of_few_jobs_generates_too(submits in prop::collection::vec(0_u64..10_000_000_000, 0..12), seed: u64) {
        let mut workload = Workload::new("few");
        let shape = workload.shape(vec![Shape::default()]);
        let (user, queue) = (workload.user("u"), workload.queue("q"));
        for (id, submit) in (1..).zip(&submits) {
            workload.jobs.push(SimJob {
                id, submit: Timestamp(*submit), user, queue, class: Class::Spare, priority: 1, size: GangSize::ONE, shape,
                duration: Millis(*submit), limit: None, predicted: None, ending: Ending::Cancelled, after: None, profile: None,
            });
        }
        workload.sort();
        let model = fit(&workload, None);
        let made = generate(&model, seed, &Options::default());
        prop_assert_eq!(made.jobs.len(), submits.len());
        let span = Options { span: Some(Millis(1_000_000)), load_percent: 1_000_000, ..Options::default() };
        prop_assert!(generate(&model, seed, &span).jobs.iter().all(|job| job.submit.0 < 1_000_000));
    }
}
