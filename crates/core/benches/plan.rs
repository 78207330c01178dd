//! Planning at the target size: 100,000 pending tasks of 500 shapes in 20 queues, 5 % of them in gangs, on 10,000 nodes.
//!
//! `cargo bench -p pond-core --features testkit --bench plan` prints placements a second, the tick at steady state
//! (a full pool, 1 % of it changing each tick) and the peak of resident memory.
#![expect(missing_docs, reason = "criterion's macros make undocumented items")]
#![expect(clippy::print_stdout, reason = "figures for people")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pond_core::ids::GangId;
use pond_core::model::{Class, QueueSpec};
use pond_core::plan::world::{Ask, World, gpus, shape};
use pond_core::plan::{Decision, Planner};
use pond_core::snapshot::{QueueOrd, Settings};
use pond_core::units::Timestamp;
use std::hint::black_box;
use std::time::{Duration, Instant};

const NODES: u64 = 10_000;
const TASKS: u64 = 100_000;
const SHAPES: u64 = 500;
const QUEUES: u64 = 20;

/// Small steps of a fixed sequence (splitmix64), so that every run sees the same pool.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

fn pool(tiny: bool) -> (World, Vec<QueueOrd>) {
    let mut world = World::new();
    let mut queues = Vec::new();
    for group in 0..4 {
        let mut spec = QueueSpec::new(&format!("g{group}"));
        spec.weight = 100 + group * 50;
        world.queue(spec);
        for leaf in 0..QUEUES as u32 / 4 - 1 {
            queues.push(world.queue(QueueSpec::new(&format!("g{group}/q{leaf}"))));
        }
    }
    let gpu = World::gpu("NVIDIA H100 80GB HBM3", 80);
    for node in 0..if tiny { NODES / 10 } else { NODES } {
        let (rack, switch) = (format!("r{}", node / 40), format!("s{}", node / 20));
        let labels = [
            ("zone", if node < NODES / 2 { "a" } else { "b" }),
            ("rack", rack.as_str()),
            ("switch", switch.as_str()),
        ];
        match node % 4 {
            0 => world.node(96, 1024, &vec![gpu.clone(); 8], &labels),
            _ => world.node(64, 256, &[], &labels),
        };
    }
    (world, queues)
}

fn ask(dice: &mut Dice) -> Ask {
    let kind = dice.roll(SHAPES);
    let mut task = shape(1 + kind % 16, 1 + kind / 16);
    if kind.is_multiple_of(5) {
        task.devices.push(gpus(1 + (kind / 5 % 4) as u32));
    }
    let ask =
        Ask::new(task).limit(600 + kind % 7 * 600).priority(if kind.is_multiple_of(11) { 750 } else { 500 });
    let ask = ask.class(if kind % 50 == 7 { Class::Critical } else { Class::Standard });
    // 5 % of the tasks in gangs of 8: one submission in 153.
    if dice.roll(153) == 0 { ask.tasks(8, 8) } else { ask }
}

fn fill(world: &mut World, queues: &[QueueOrd], dice: &mut Dice, tasks: u64, now: Timestamp) {
    let mut made = 0;
    while made < tasks {
        let ask = ask(dice);
        made += u64::from(ask.row.size.min);
        let queue = queues[dice.roll(queues.len() as u64) as usize];
        world.submit(queue, ask, now);
    }
}

fn placed_tasks(decisions: &[Decision]) -> usize {
    let tasks = |decision: &Decision| match decision {
        Decision::Place { tasks, .. } | Decision::Grow { tasks, .. } => tasks.len(),
        _ => 0,
    };
    decisions.iter().map(tasks).sum()
}

fn peak_rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown").to_owned()
}

/// CPU time of this thread so far: on a busy machine the clock on the wall counts the neighbours too.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// One plan of everything, by a planner that has seen nothing.
fn cold(c: &mut Criterion) {
    let (mut world, queues) = pool(false);
    fill(&mut world, &queues, &mut Dice(1), TASKS, Timestamp(0));
    let (started, cpu_before) = (Instant::now(), cpu());
    let plan = Planner::new(Settings::default()).plan(&world.snapshot, Timestamp(1000));
    let (took, used) = (started.elapsed(), cpu() - cpu_before);
    let tasks = placed_tasks(&plan.decisions);
    let speed = tasks as f64 / used.as_secs_f64();
    println!(
        "cold: {tasks} tasks placed in {took:?} ({used:?} of CPU): {speed:.0} a CPU second, {}",
        peak_rss()
    );
    c.bench_function("cold plan of 100,000 tasks on 10,000 nodes", |b| {
        b.iter_batched(
            || Planner::new(Settings::default()),
            |mut planner| black_box(planner.plan(&world.snapshot, Timestamp(1000))),
            BatchSize::PerIteration,
        );
    });
}

/// A full pool with a backlog of 100,000 tasks; each tick 1 % of what runs ends and as much is submitted.
fn steady(c: &mut Criterion) {
    let (mut world, queues) = pool(false);
    let (mut planner, mut dice, mut now) = (Planner::new(Settings::default()), Dice(2), 1000);
    let mut backlog = 0;
    while backlog < TASKS {
        fill(&mut world, &queues, &mut dice, TASKS / 2, Timestamp(now));
        now += 1000;
        let plan = planner.plan(&world.snapshot, Timestamp(now));
        world.apply(&plan, Timestamp(now));
        backlog = world.pending() as u64;
    }
    let running: Vec<GangId> = world.running().map(|(row, _)| row.id).collect();
    println!("steady: {} gangs run, {backlog} wait, {}", running.len(), peak_rss());
    let mut churn = move |ticks: u64| {
        let (mut total, mut worst, mut used) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for _ in 0..ticks {
            now += 1000;
            let running: Vec<GangId> = world.running().map(|(row, _)| row.id).collect();
            let ended: Vec<GangId> = running.into_iter().filter(|_| dice.roll(100) == 0).collect();
            fill(&mut world, &queues, &mut dice, ended.len() as u64, Timestamp(now));
            ended.into_iter().for_each(|gang| world.end(gang));
            world.settle();
            let (started, cpu_before) = (Instant::now(), cpu());
            let plan = planner.plan(&world.snapshot, Timestamp(now));
            let took = started.elapsed();
            used += cpu() - cpu_before;
            (total, worst) = (total + took, worst.max(took));
            world.apply(&plan, Timestamp(now));
        }
        (total, worst, used)
    };
    // A pool that runs for long must not get slower.
    for ticks in [20, 480] {
        let (total, worst, used) = churn(ticks);
        let (total, used) = (total / ticks as u32, used / ticks as u32);
        println!(
            "steady, {ticks} ticks: {total:?} a tick ({used:?} of CPU), worst {worst:?}, {}",
            peak_rss()
        );
    }
    c.bench_function("steady tick, full pool, 1 % churn", |b| b.iter_custom(|ticks| churn(ticks).0));
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
}

criterion_group! { name = plan; config = short(); targets = cold, steady }
criterion_main!(plan);
