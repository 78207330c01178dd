//! Samples: what the machine and each task use, read from descriptors that stay open.

use super::Inner;
use super::share::Share;
use crate::cgroup::Reading;
use crate::folder::Ended;
use crate::launcher::family;
use pond_core::event::{Report, TaskSample};
use pond_core::ids::{Generation, TaskId};
use pond_core::units::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks at all processes take one part in so many of a CPU's time.
const MOST_OF_FAMILIES: u32 = 50;

/// The sampling thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    let (stat, meminfo) = (File::open("/proc/stat").ok(), File::open("/proc/meminfo").ok());
    let mut due = Instant::now();
    let (mut look, mut rest) = (due, due);
    while !inner.closing() {
        let spare = inner.state().live.values().any(|live| live.spare);
        let every = if spare { inner.config.sample_every_spare } else { inner.config.sample_every };
        let now = Instant::now();
        inner.divide_devices();
        inner.look_at_shares(&mut look);
        if now < due {
            // Short waits, so that closing and a first spare task are noticed.
            std::thread::sleep((due - now).min(Duration::from_millis(100)));
            due = due.min(now + Duration::from_millis(every.0));
            continue;
        }
        due = now + Duration::from_millis(every.0);
        let tasks = inner.sample_tasks(&mut rest);
        let node_cpu_us = stat.as_ref().map_or(0, node_cpu_us);
        let node_memory = Bytes(meminfo.as_ref().map_or(0, node_memory));
        inner.state().machine = (node_cpu_us, node_memory);
        inner.report(Report::Sampled { node: inner.config.node.clone(), node_cpu_us, node_memory, tasks });
    }
}

fn text(file: &File) -> String {
    let mut buffer = [0_u8; 4096];
    let len = file.read_at(&mut buffer, 0).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

/// CPU time of the whole machine since boot: all but idle, waiting for disks and what guests count twice.
fn node_cpu_us(stat: &File) -> u64 {
    let text = text(stat);
    let fields: Vec<u64> = text
        .lines()
        .next()
        .map(|line| line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect())
        .unwrap_or_default();
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|place| fields.get(*place)).sum();
    // The kernel counts in hundredths of a second, whatever its own clock does.
    busy * 10_000
}

fn node_memory(meminfo: &File) -> u64 {
    let text = text(meminfo);
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0)
    };
    field("MemTotal:").saturating_sub(field("MemAvailable:")) * 1024
}

impl Inner {
    /// The last sample of a task, with its end: what it used since the one before, or at all when it was shorter than
    /// the time between two.
    pub(super) fn report_used(&self, task: TaskId, generation: Generation, ended: &Ended) {
        let Some(used) = ended.used else { return };
        let sample = TaskSample {
            task,
            generation,
            cpu_us: used.cpu_us,
            throttled_us: used.throttled_us,
            memory: Bytes::ZERO,
            disk: Bytes::ZERO,
            io: Bytes(used.io),
            pids: 0,
            devices: super::share::take_up(&self.folder(task, generation))
                .iter()
                .filter_map(Share::sample)
                .collect(),
        };
        let (node_cpu_us, node_memory) = self.state().machine;
        self.report(Report::Sampled {
            node: self.config.node.clone(),
            node_cpu_us,
            node_memory,
            tasks: vec![sample],
        });
    }

    /// What tasks use that no control group holds. A look at all processes of a machine may take a while: it rests until `rest`.
    fn read_families(&self, rest: &mut Instant) -> BTreeMap<(TaskId, Generation), Reading> {
        let began = Instant::now();
        if began < *rest {
            return BTreeMap::new();
        }
        let state = self.state();
        let tasks: Vec<_> =
            state.live.iter().filter(|(_, live)| live.init > 0 && !live.group.holds()).collect();
        if tasks.is_empty() {
            return BTreeMap::new();
        }
        let firsts: Vec<_> = tasks.iter().map(|(_, live)| (live.init, live.contained)).collect();
        let keys: Vec<_> = tasks.into_iter().map(|(key, _)| *key).collect();
        drop(state);
        let found = keys.into_iter().zip(family::read(&firsts));
        *rest = began + began.elapsed() * MOST_OF_FAMILIES;
        found.filter_map(|(key, reading)| Some((key, reading?))).collect()
    }

    fn sample_tasks(&self, rest: &mut Instant) -> Vec<TaskSample> {
        let alone = self.read_families(rest);
        let mut state = self.state();
        let mut samples = Vec::with_capacity(state.live.len());
        for ((task, generation), live) in &mut state.live {
            let of_group = || live.meters.as_ref().and_then(crate::cgroup::Meters::read);
            let Some(mut reading) = of_group().or_else(|| alone.get(&(*task, *generation)).copied()) else {
                continue;
            };
            // Of a family it is what is found at a look, and who has just ended may be in none.
            live.cpu_us = live.cpu_us.max(reading.cpu_us);
            reading.cpu_us = live.cpu_us;
            if live.folder.layer_image().exists()
                && let Ok(space) = rustix::fs::statvfs(format!("/proc/{}/root", live.init))
            {
                live.disk = (space.f_blocks - space.f_bfree) * space.f_frsize;
            }
            samples.push(TaskSample {
                task: *task,
                generation: *generation,
                cpu_us: reading.cpu_us,
                throttled_us: reading.throttled_us,
                memory: Bytes(reading.memory),
                disk: Bytes(live.disk),
                io: Bytes(reading.io),
                pids: reading.pids,
                devices: live.shares.iter().filter_map(Share::sample).collect(),
            });
        }
        samples
    }
}
