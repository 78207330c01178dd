//! What tasks used over time, for charts: the whole of an attempt in a fixed room.
//!
//! It is kept over restarts: once a minute the trails that grew go into the database, so many at a time in turn, and all of them at the
//! end. A kill loses a task its last minute, or of more than [`BATCH`] running tasks as many minutes as there are batches.

use crate::api::types::TaskSamples;
use crate::store::Write;
use pond_core::event::TaskSample;
use pond_core::ids::{Generation, JobId, TaskId};
use pond_core::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Points a task has at most; then two neighbours become one, and new ones span as long as those.
const POINTS: usize = 256;
/// Tasks followed at most, 8 KiB each; the one unheard of for longest makes room.
const TASKS: usize = 2048;
/// Who was heard of so long ago makes room for another; where all were heard of since, there is none.
const SILENT_MS: u64 = 10_000;
/// How often trails are written.
const EVERY: Millis = Millis(60_000);
/// Trails written at once, 13 KB each at most.
const BATCH: usize = 128;

/// One stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
struct Point {
    from_ms: u64,
    to_ms: u64,
    cpu_us: u64,
    memory: u64,
}

impl From<[u64; 4]> for Point {
    fn from([from_ms, to_ms, cpu_us, memory]: [u64; 4]) -> Self {
        Self { from_ms, to_ms, cpu_us, memory }
    }
}

impl From<Point> for [u64; 4] {
    fn from(point: Point) -> Self {
        [point.from_ms, point.to_ms, point.cpu_us, point.memory]
    }
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        if at_ms < before_ms {
            // A clock that went back begins anew: what was before would lie ahead of what comes.
            (self.step_ms, self.points) = (0, Vec::new());
            return;
        }
        // So does a counter, from nothing.
        let used = cpu_us.saturating_sub(before_us);
        let point = Point { from_ms: before_ms, to_ms: at_ms, cpu_us: used, memory };
        match self.points.last_mut() {
            Some(last) if last.span_ms() < self.step_ms || point.span_ms() == 0 => *last = last.and(point),
            _ if point.span_ms() == 0 => {}
            _ => self.points.push(point),
        }
        if self.points.len() > POINTS {
            let merge = |pair: &[Point]| pair.iter().copied().reduce(Point::and);
            self.points = self.points.chunks(2).filter_map(merge).collect();
            let ends = self.points.first().zip(self.points.last());
            let whole = ends.map_or(0, |(first, last)| last.to_ms.saturating_sub(first.from_ms));
            self.step_ms = whole / (POINTS as u64 / 2);
        }
    }
}

/// The trails of all tasks that were sampled lately.
#[derive(Debug)]
pub struct Trails {
    tasks: BTreeMap<TaskId, Trail>,
    /// Those that are not written as they are.
    unwritten: BTreeSet<TaskId>,
    /// Those in the database.
    stored: BTreeSet<TaskId>,
    /// Those in the database that made room for others.
    dropped: Vec<TaskId>,
    /// When some were written last, and the last of them: the next go on behind it.
    written: (Timestamp, TaskId),
}

impl Default for Trails {
    fn default() -> Self {
        let written = (Timestamp(0), JobId(0).gang(0).task(0));
        let (unwritten, stored) = (BTreeSet::new(), BTreeSet::new());
        Self { tasks: BTreeMap::new(), unwritten, stored, dropped: Vec::new(), written }
    }
}

impl Trails {
    /// What was written before is known again; what another version wrote and this one cannot read is left out.
    pub fn recall(rows: Vec<(TaskId, Vec<u8>)>) -> Self {
        let read = |(task, body): (TaskId, Vec<u8>)| Some((task, serde_json::from_slice(&body).ok()?));
        let stored = rows.iter().map(|(task, _)| *task).collect();
        Self { tasks: rows.into_iter().filter_map(read).collect(), stored, ..Self::default() }
    }

    /// What is to be written now; `last`: there is no later.
    pub fn due(&mut self, now: Timestamp, last: bool) -> Vec<Write> {
        if !last && now.since(self.written.0) < EVERY {
            return Vec::new();
        }
        let most = if last { usize::MAX } else { BATCH };
        let cursor = self.written.1;
        let behind = self.unwritten.range((Bound::Excluded(cursor), Bound::Unbounded));
        let batch: Vec<TaskId> = behind.chain(self.unwritten.range(..=cursor)).take(most).copied().collect();
        self.written = (now, batch.last().copied().unwrap_or(cursor));
        let mut writes: Vec<Write> =
            self.dropped.drain(..).map(|task| Write::Trail { task, body: None }).collect();
        for task in batch {
            self.unwritten.remove(&task);
            self.stored.insert(task);
            // Plain numbers: serde_json cannot fail on them.
            let body = self.tasks.get(&task).and_then(|trail| serde_json::to_vec(trail).ok());
            writes.push(Write::Trail { task, body });
        }
        writes
    }

    /// A job is forgotten, and its rows with it.
    pub fn forget(&mut self, job: JobId) {
        let from = job.gang(0).task(0);
        let tasks = self.tasks.range(from..).take_while(|(task, _)| task.gang.job == job);
        let gone: Vec<TaskId> = tasks.map(|(task, _)| *task).collect();
        for task in gone {
            self.tasks.remove(&task);
            self.unwritten.remove(&task);
            self.stored.remove(&task);
        }
    }

    /// Takes in the samples of a node.
    pub fn read(&mut self, at_ms: u64, samples: &[TaskSample]) {
        let mut is_full = false;
        for sample in samples {
            let known = self.tasks.get(&sample.task).map(|trail| trail.generation);
            // Of an attempt that is over, by a node that was away.
            if known.is_some_and(|known| known > sample.generation) {
                continue;
            }
            if known.is_none() {
                is_full = is_full || self.tasks.len() >= TASKS && !self.make_room(at_ms);
                if is_full {
                    continue;
                }
            }
            let begin = || Trail {
                generation: sample.generation,
                counter: (at_ms, sample.cpu_us),
                step_ms: 0,
                points: Vec::new(),
            };
            let trail = self.tasks.entry(sample.task).or_insert_with(begin);
            if trail.generation < sample.generation {
                *trail = begin();
            } else if known.is_some() {
                trail.read(at_ms, sample.cpu_us, sample.memory.0);
            }
            self.unwritten.insert(sample.task);
        }
    }

    /// Drops the one unheard of for longest; whether that was long enough.
    fn make_room(&mut self, now_ms: u64) -> bool {
        let oldest = self.tasks.iter().min_by_key(|(_, trail)| trail.counter.0);
        let Some((oldest, heard_ms)) = oldest.map(|(task, trail)| (*task, trail.counter.0)) else {
            return true;
        };
        if now_ms.saturating_sub(heard_ms) < SILENT_MS {
            return false;
        }
        self.tasks.remove(&oldest);
        self.unwritten.remove(&oldest);
        if self.stored.remove(&oldest) {
            self.dropped.push(oldest);
        }
        true
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
        // What is still said of the attempt before changes nothing.
        trails.read(10_000, &[sample(tasks[1], 2, 500_000)]);
        trails.read(10_500, &[sample(tasks[1], 1, 9_000_000)]);
        assert_eq!(trails.of_job(JobId(7))[0].cpu_milli, [500]);
    }

    #[test]
    fn a_clock_that_goes_back_begins_anew() {
        let task = JobId(7).gang(0).task(0);
        let mut trails = Trails::default();
        for at in (3_600_000..3_700_000).chain(1_000_000..1_400_000).step_by(1000) {
            trails.read(at, &[sample(task, 1, at)]);
        }
        let trail = &trails.tasks[&task];
        assert_eq!(trail.points[0].from_ms, 1_000_000);
        assert!(
            trail.points.len() > POINTS / 2
                && trail.points.windows(2).all(|two| two[0].to_ms == two[1].from_ms)
        );
    }

    #[test]
    fn more_tasks_than_are_followed_take_no_turns() {
        let mut trails = Trails::default();
        let samples: Vec<TaskSample> =
            (1..).take(TASKS * 2).map(|job| sample(JobId(job).gang(0).task(0), 1, 1)).collect();
        for at in 1..100 {
            trails.read(at * 1000, &samples);
            if at % 60 == 0 {
                assert_eq!(trails.due(Timestamp(at * 1000), false).len(), BATCH);
            }
        }
        assert!(trails.dropped.is_empty());
        assert_eq!(trails.tasks.len(), TASKS);
        // The first half is heard of no more.
        trails.read(200_000, &samples[TASKS..]);
        assert_eq!((trails.tasks.len(), trails.dropped.len()), (TASKS, BATCH));
    }

    /// What a database would hold after these writes.
    fn write(rows: &mut BTreeMap<TaskId, Vec<u8>>, writes: Vec<Write>) -> usize {
        let count = writes.len();
        for write in writes {
            match write {
                Write::Trail { task, body: Some(body) } => drop(rows.insert(task, body)),
                Write::Trail { task, body: None } => drop(rows.remove(&task)),
                other => panic!("{other:?}"),
            }
        }
        count
    }

    #[test]
    fn every_trail_is_written_in_its_turn_and_known_again() {
        let tasks: Vec<TaskId> = (1..=300).map(|job| JobId(job).gang(0).task(0)).collect();
        let (mut trails, mut rows) = (Trails::default(), BTreeMap::new());
        let mut written = Vec::new();
        for minute in 1..=6 {
            let at = minute * EVERY.0;
            let samples: Vec<TaskSample> = tasks.iter().map(|&task| sample(task, 1, at)).collect();
            trails.read(at, &samples);
            written.push(write(&mut rows, trails.due(Timestamp(at), false)));
            assert!(trails.due(Timestamp(at + 1), false).is_empty(), "once a minute");
            if minute == 3 {
                assert_eq!(rows.len(), tasks.len(), "three batches");
            }
        }
        assert_eq!(written, [BATCH; 6]);
        assert!(write(&mut rows, trails.due(Timestamp(6 * EVERY.0 + 1), true)) > BATCH, "all that is left");
        let mut again = Trails::recall(rows.clone().into_iter().collect());
        assert_eq!(again.tasks, trails.tasks);
        assert!(again.due(Timestamp(u64::MAX), true).is_empty());
        // What is read on goes on where it was, and who makes room or is forgotten goes.
        again.read(7 * EVERY.0, &[sample(tasks[0], 1, 7 * EVERY.0)]);
        assert_eq!(again.of_job(JobId(1))[0].at_ms.len(), 6);
        again.forget(JobId(2));
        assert!(again.of_job(JobId(2)).is_empty());
        let many: Vec<TaskSample> =
            (1000..).take(TASKS).map(|job| sample(JobId(job).gang(0).task(0), 1, 1)).collect();
        again.read(8 * EVERY.0, &many);
        write(&mut rows, again.due(Timestamp(8 * EVERY.0), true));
        // The forgotten one's row goes with its job.
        rows.remove(&tasks[1]);
        assert_eq!(rows.keys().collect::<Vec<_>>(), again.tasks.keys().collect::<Vec<_>>());
        assert!(Trails::recall(vec![(tasks[0], b"{".to_vec())]).tasks.is_empty());
    }
}
