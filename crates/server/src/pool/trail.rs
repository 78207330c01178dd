//! What tasks used over time, for charts: the whole of an attempt in a fixed room. It is not kept across restarts.

use crate::api::types::TaskSamples;
use pond_core::event::TaskSample;
use pond_core::ids::{Generation, JobId, TaskId};
use std::collections::BTreeMap;

/// Points a task has at most; then two neighbours become one, and new ones span as long as those.
const POINTS: usize = 256;
/// Tasks followed at most, 8 KiB each; the one unheard of for longest makes room.
const TASKS: usize = 2048;

/// One stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    from_ms: u64,
    to_ms: u64,
    cpu_us: u64,
    memory: u64,
}

impl Point {
    fn span_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }

    fn and(self, next: Self) -> Self {
        Self {
            from_ms: self.from_ms,
            to_ms: next.to_ms,
            cpu_us: self.cpu_us.saturating_add(next.cpu_us),
            memory: self.memory.max(next.memory),
        }
    }
}

#[derive(Clone, Debug)]
struct Trail {
    generation: Generation,
    /// When the counter was read last, and what it said.
    counter: (u64, u64),
    /// A point that spans less takes in the next.
    step_ms: u64,
    points: Vec<Point>,
}

impl Trail {
    fn read(&mut self, at_ms: u64, cpu_us: u64, memory: u64) {
        let (before_ms, before_us) = std::mem::replace(&mut self.counter, (at_ms, cpu_us));
        // A clock or a counter that went back begins anew.
        let used = cpu_us.saturating_sub(before_us);
        let point = Point { from_ms: before_ms.min(at_ms), to_ms: at_ms, cpu_us: used, memory };
        match self.points.last_mut() {
            Some(last) if last.span_ms() < self.step_ms || point.span_ms() == 0 => *last = last.and(point),
            _ if point.span_ms() == 0 => {}
            _ => self.points.push(point),
        }
        if self.points.len() > POINTS {
            let merge = |pair: &[Point]| pair.iter().copied().reduce(Point::and);
            self.points = self.points.chunks(2).filter_map(merge).collect();
            let whole = self.points.last().map_or(0, |last| last.to_ms)
                - self.points.first().map_or(0, |first| first.from_ms);
            self.step_ms = whole / (POINTS as u64 / 2);
        }
    }
}

/// The trails of all tasks that were sampled lately.
#[derive(Debug, Default)]
pub struct Trails {
    tasks: BTreeMap<TaskId, Trail>,
}

impl Trails {
    /// Takes in the samples of a node.
    pub fn read(&mut self, at_ms: u64, samples: &[TaskSample]) {
        for sample in samples {
            if let Some(trail) = self.tasks.get_mut(&sample.task)
                && trail.generation == sample.generation
            {
                trail.read(at_ms, sample.cpu_us, sample.memory.0);
                continue;
            }
            let counter = (at_ms, sample.cpu_us);
            let trail = Trail { generation: sample.generation, counter, step_ms: 0, points: Vec::new() };
            self.tasks.insert(sample.task, trail);
        }
        while self.tasks.len() > TASKS
            && let Some(oldest) =
                self.tasks.iter().min_by_key(|(_, trail)| trail.counter.0).map(|(task, _)| *task)
        {
            self.tasks.remove(&oldest);
        }
    }

    /// The trails of a job's tasks.
    #[must_use]
    pub fn of_job(&self, job: JobId) -> Vec<TaskSamples> {
        let from = job.gang(0).task(0);
        let tasks = self.tasks.range(from..).take_while(|(task, _)| task.gang.job == job);
        let view = |(task, trail): (&TaskId, &Trail)| TaskSamples {
            task: task.to_string(),
            at_ms: trail.points.iter().map(|point| point.to_ms).collect(),
            // Microseconds per millisecond are thousandths of a core.
            cpu_milli: trail.points.iter().map(|point| point.cpu_us / point.span_ms().max(1)).collect(),
            memory_bytes: trail.points.iter().map(|point| point.memory).collect(),
        };
        tasks.map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::units::Bytes;
    use proptest::prelude::*;

    fn sample(task: TaskId, generation: u64, cpu_us: u64) -> TaskSample {
        TaskSample {
            task,
            generation: Generation(generation),
            cpu_us,
            throttled_us: 0,
            memory: Bytes(cpu_us % 97),
            disk: Bytes(0),
            io: Bytes(0),
            pids: 1,
            devices: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn no_time_and_no_use_is_lost_however_long_it_runs(steps in proptest::collection::vec((1_u64..5000, 0_u64..9_000_000), 1..2000)) {
            let task = JobId(7).gang(0).task(2);
            let mut trails = Trails::default();
            let (mut at, mut cpu) = (1_000, 0);
            trails.read(at, &[sample(task, 1, cpu)]);
            for (span, used) in steps {
                at += span;
                cpu += used;
                trails.read(at, &[sample(task, 1, cpu)]);
            }
            let trail = &trails.tasks[&task];
            prop_assert!(trail.points.len() <= POINTS);
            prop_assert_eq!(trail.points.iter().map(|point| point.cpu_us).sum::<u64>(), cpu);
            prop_assert_eq!(trail.points[0].from_ms, 1_000);
            prop_assert_eq!(trail.points.last().unwrap().to_ms, at);
            prop_assert!(trail.points.windows(2).all(|two| two[0].to_ms == two[1].from_ms));
        }
    }

    #[test]
    fn a_new_attempt_begins_anew_and_jobs_do_not_mix() {
        let mut trails = Trails::default();
        let tasks = [JobId(6).gang(1).task(0), JobId(7).gang(0).task(0), JobId(8).gang(0).task(0)];
        for at in 0..3 {
            let samples: Vec<TaskSample> = tasks.iter().map(|&task| sample(task, 1, at * 500_000)).collect();
            trails.read(1_000 * at, &samples);
        }
        let of_seven = trails.of_job(JobId(7));
        assert_eq!(of_seven.len(), 1);
        assert_eq!((of_seven[0].task.as_str(), &of_seven[0].cpu_milli[..]), ("7", &[500, 500][..]));
        trails.read(9_000, &[sample(tasks[1], 2, 0)]);
        assert_eq!(trails.of_job(JobId(7))[0].cpu_milli, [0_u64; 0]);
    }
}
