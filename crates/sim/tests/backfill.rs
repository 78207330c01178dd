//! FIFO, EASY and conservative backfill against a second, independent implementation of each by its paper, on a machine that is
//! a number of processors. Every job has to start at the same millisecond.

use pond_core::model::{Class, GangSize, NodeSpec, Resources, Shape};
use pond_core::snapshot::{Backfill, QueuePolicy};
use pond_core::units::{Bytes, MilliCpu, Millis, Timestamp};
use pond_sim::random::Random;
use pond_sim::simulator::{Control, SimSettings, simulate};
use pond_sim::workload::{Cluster, Ending, SimJob, Workload};
use std::collections::BTreeMap;

/// A job: times in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Job {
    submit: u64,
    run: u64,
    /// What its user says, at least `run`.
    estimate: u64,
    processors: u64,
}

/// The textbook: who starts when.
struct Machine<'a> {
    jobs: &'a [Job],
    free: u64,
    /// Estimated end, job.
    running: Vec<(u64, usize)>,
    waiting: Vec<usize>,
    starts: Vec<u64>,
}

impl Machine<'_> {
    fn start(&mut self, now: u64, job: usize) {
        self.free -= self.jobs[job].processors;
        self.starts[job] = now;
        self.running.push((now + self.jobs[job].estimate, job));
    }

    /// Starts heads as long as they fit.
    fn fifo(&mut self, now: u64) {
        while let Some(&head) = self.waiting.first() {
            if self.jobs[head].processors > self.free {
                return;
            }
            self.waiting.remove(0);
            self.start(now, head);
        }
    }

    /// The shadow time of the head and the processors that it leaves over then (Lifka, 1995; Mu'alem and Feitelson, 2001).
    fn easy(&mut self, now: u64) {
        self.fifo(now);
        let Some(&head) = self.waiting.first() else { return };
        self.running.sort_unstable();
        let (mut available, mut shadow) = (self.free, now);
        for (end, job) in &self.running {
            if available >= self.jobs[head].processors {
                break;
            }
            available += self.jobs[*job].processors;
            shadow = *end;
        }
        let mut extra = available - self.jobs[head].processors;
        for job in self.waiting.clone().into_iter().skip(1) {
            let Job { processors, estimate, .. } = self.jobs[job];
            let ends_in_time = now + estimate <= shadow;
            if processors <= self.free && (ends_in_time || processors <= extra) {
                if !ends_in_time {
                    extra -= processors;
                }
                self.waiting.retain(|other| *other != job);
                self.start(now, job);
            }
        }
    }

    /// Every waiting job has a reservation: the earliest that delays none before it. They are made anew at each event.
    fn conservative(&mut self, now: u64) {
        // What changes in the number of free processors, and when.
        let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
        for (end, job) in &self.running {
            *changes.entry(*end).or_default() += self.jobs[*job].processors.cast_signed();
        }
        for job in self.waiting.clone() {
            let Job { processors, estimate, .. } = self.jobs[job];
            let fits = |at: u64| {
                let mut free = self.free.cast_signed();
                let enough = |free: i64| free >= processors.cast_signed();
                let mut always = true;
                for (when, change) in changes.range(..at + estimate) {
                    always &= *when <= at || enough(free);
                    free += change;
                }
                always && enough(free)
            };
            let mut moments = std::iter::once(now).chain(changes.keys().copied());
            let at = moments.find(|at| fits(*at)).expect("it fits the empty machine");
            if at == now {
                self.waiting.retain(|other| *other != job);
                self.start(now, job);
            } else {
                *changes.entry(at).or_default() -= processors.cast_signed();
            }
            *changes.entry(at + estimate).or_default() += processors.cast_signed();
        }
    }
}

fn textbook(jobs: &[Job], processors: u64, backfill: Backfill) -> Vec<u64> {
    let mut machine = Machine {
        jobs,
        free: processors,
        running: Vec::new(),
        waiting: Vec::new(),
        starts: vec![0; jobs.len()],
    };
    let mut next = 0;
    loop {
        let ends = |machine: &Machine, job: usize| machine.starts[job] + jobs[job].run;
        let end = machine.running.iter().map(|(_, job)| ends(&machine, *job)).min();
        let submit = jobs.get(next).map(|job| job.submit);
        let Some(now) = end.into_iter().chain(submit).min() else { return machine.starts };
        let over: Vec<usize> =
            machine.running.iter().map(|(_, job)| *job).filter(|job| ends(&machine, *job) == now).collect();
        machine.running.retain(|(_, job)| !over.contains(job));
        machine.free += over.iter().map(|job| jobs[*job].processors).sum::<u64>();
        while jobs.get(next).is_some_and(|job| job.submit == now) {
            machine.waiting.push(next);
            next += 1;
        }
        match backfill {
            Backfill::Easy => machine.easy(now),
            Backfill::Conservative => machine.conservative(now),
            _ => machine.fifo(now),
        }
    }
}

/// How the pool knows what users say, and what its processors are.
#[derive(Clone, Copy, Debug)]
enum Shown {
    /// Time limits; one node.
    Limits,
    /// Predictions; one node.
    Predictions,
    /// Predictions; a node for each processor, and gangs of tasks that have one each.
    Nodes,
}

/// The pool.
fn pool(jobs: &[Job], processors: u64, backfill: Backfill, shown: Shown) -> Vec<u64> {
    let mut workload = Workload::new("backfill");
    for (id, job) in (1..).zip(jobs) {
        let tasks = if matches!(shown, Shown::Nodes) { job.processors } else { 1 };
        let cpu = MilliCpu(job.processors / tasks * 1000);
        let shape = Shape::new(Resources { cpu, ..Resources::ZERO });
        let size = u32::try_from(tasks).expect("few");
        let said = Some(Millis(job.estimate));
        let job = SimJob {
            id,
            submit: Timestamp(job.submit),
            user: workload.user("ada"),
            queue: workload.queue("default"),
            class: Class::Standard,
            priority: 500,
            size: GangSize { min: size, max: size },
            shape: workload.shape(vec![shape]),
            duration: Millis(job.run),
            limit: said.filter(|_| matches!(shown, Shown::Limits)),
            predicted: said.filter(|_| !matches!(shown, Shown::Limits)),
            ending: Ending::Completed,
            after: None,
            profile: None,
        };
        workload.jobs.push(job);
    }
    let count = if matches!(shown, Shown::Nodes) { processors } else { 1 };
    let cpu = MilliCpu(processors / count * 1000);
    let node = |number: u64| {
        let capacity = Resources { cpu, memory: Bytes(1 << 40), disk: Bytes::ZERO };
        let name = format!("n{number}").as_str().into();
        NodeSpec { name, capacity, devices: Vec::new(), labels: BTreeMap::new() }
    };
    let mut settings = SimSettings::default();
    settings.engine.plan.backfill = backfill;
    settings.engine.plan.queues = QueuePolicy::OneLine;
    settings.engine.plan.reservations = u32::MAX;
    let cluster = Cluster { nodes: (0..count).map(node).collect(), queues: Vec::new() };
    let outcome = simulate(&cluster, &workload, &settings, &mut |_| Control::Go).expect("a sound workload");
    outcome.jobs.iter().map(|job| job.start.expect("it runs").0).collect()
}

/// Jobs from a seed; `wrong`: users say up to so many times what is true.
fn jobs(seed: u64, wrong: usize) -> Vec<Job> {
    let mut chance = Random::new(seed, "jobs");
    let mut submit = 0;
    (0..120)
        .map(|_| {
            submit += chance.below(40_000) as u64;
            let run = 1000 + chance.below(400_000) as u64;
            let estimate = run + chance.below(run as usize * wrong + 1) as u64;
            Job { submit, run, estimate, processors: 1 + chance.below(16) as u64 }
        })
        .collect()
}

fn compare(backfill: Backfill, wrong: usize, shown: Shown) {
    for seed in 0..10 {
        let jobs = jobs(seed, wrong);
        let (ours, theirs) = (pool(&jobs, 20, backfill, shown), textbook(&jobs, 20, backfill));
        let differ: Vec<usize> = (0..jobs.len()).filter(|at| ours[*at] != theirs[*at]).collect();
        assert!(
            differ.is_empty(),
            "seed {seed}: {} of {} jobs; job {} starts at {} instead of {}",
            differ.len(),
            jobs.len(),
            differ[0],
            ours[differ[0]],
            theirs[differ[0]]
        );
    }
}

#[test]
fn first_come_first_served_is_that_of_the_textbook() {
    for shown in [Shown::Limits, Shown::Predictions, Shown::Nodes] {
        compare(Backfill::None, 0, shown);
        compare(Backfill::None, 4, shown);
    }
}

#[test]
fn easy_backfill_is_that_of_the_textbook() {
    for shown in [Shown::Limits, Shown::Predictions, Shown::Nodes] {
        compare(Backfill::Easy, 0, shown);
        compare(Backfill::Easy, 4, shown);
    }
}

#[test]
fn conservative_backfill_is_that_of_the_textbook() {
    for shown in [Shown::Limits, Shown::Predictions] {
        compare(Backfill::Conservative, 0, shown);
        compare(Backfill::Conservative, 4, shown);
    }
}

/// With estimates that are right, nobody starts later than if nobody passed anybody: what EASY does not promise.
#[test]
fn conservative_backfill_delays_nobody() {
    for seed in 0..10 {
        let jobs = jobs(seed, 0);
        let starts = pool(&jobs, 20, Backfill::Conservative, Shown::Limits);
        let unpassed = textbook(&jobs, 20, Backfill::None);
        let late: Vec<usize> = (0..jobs.len()).filter(|at| starts[*at] > unpassed[*at]).collect();
        assert!(late.is_empty(), "seed {seed}: {late:?}");
    }
}
