//! The Philly traces (Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads",
//! ATC 2019): `cluster_job_log`, a JSON array of jobs with their attempts, and `cluster_machine_list`.

use super::jobs::{Builder, Draft, Zero, possible, shape, split_evenly};
use super::lines::read_objects;
use super::table::{Style, read};
use super::{Jobs, LeftOut, Machine, Note, Reading, not_json, read_ending, time};
use crate::workload::Cluster;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::io::Read;

/// One job as logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PhillyJob {
    /// `application_1506638472019_14199`.
    pub jobid: String,
    /// `Pass`, `Killed` or `Failed`.
    #[serde(default, deserialize_with = "or_nothing")]
    pub status: String,
    /// Virtual cluster.
    #[serde(default, deserialize_with = "or_nothing")]
    pub vc: String,
    /// Who.
    #[serde(default)]
    pub user: Option<String>,
    /// `2017-10-07 01:11:39`; `None` as text when it is not known.
    #[serde(default)]
    pub submitted_time: Option<String>,
    /// In their order; none for a job that never ran.
    #[serde(default, deserialize_with = "or_nothing")]
    pub attempts: Vec<Attempt>,
}

/// One try to run a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// As [`PhillyJob::submitted_time`].
    #[serde(default)]
    pub start_time: Option<String>,
    /// The same; missing for one that still ran.
    #[serde(default)]
    pub end_time: Option<String>,
    /// Servers.
    #[serde(default, deserialize_with = "or_nothing")]
    pub detail: Vec<Server>,
}

/// GPUs of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// Its name.
    #[serde(default, deserialize_with = "or_nothing")]
    pub ip: String,
    /// Its GPUs.
    #[serde(default, deserialize_with = "or_nothing")]
    pub gpus: Vec<String>,
}

/// `null` stands for what is not there.
fn or_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// Reads `cluster_job_log`: an array, or one object a line.
pub fn jobs_of(input: impl Read) -> Reading<PhillyJob> {
    read_objects(input, None, |text| serde_json::from_str(text).map_err(|why| not_json(&why)))
}

/// A machine of `cluster_machine_list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhillyMachine {
    /// Its name.
    pub name: String,
    /// GPUs.
    pub gpus: u32,
    /// Memory of each, in bytes.
    pub gpu_memory: u64,
}

/// Columns `machineId, number of GPUs, single GPU mem` (`24GB`).
pub fn machines(input: impl Read) -> Reading<PhillyMachine> {
    const MEMORY: &[&str] = &["single GPU mem"];
    let mut taken = BTreeSet::new();
    read(input, Style::CSV, |row| {
        let text = row.text(MEMORY)?;
        let gib: String = text.chars().take_while(char::is_ascii_digit).collect();
        let gib: u64 =
            gib.parse().map_err(|_why| super::table::malformed(MEMORY[0], text, "a size in GB"))?;
        let machine = PhillyMachine {
            name: row.text(&["machineId", "machine_id"])?.to_owned(),
            gpus: row.small(&["number of GPUs"])?,
            gpu_memory: gib.saturating_mul(1 << 30),
        };
        possible(0, machine.gpu_memory, u64::from(machine.gpus))?;
        if taken.insert(machine.name.clone()) { Ok(machine) } else { Err(LeftOut::Double.into()) }
    })
}

/// The workload; without `machines` on the smallest pool that could have run it.
///
/// The run time is that of all attempts together; the size is that of the largest. CPU and memory are not in the
/// trace: each task asks for one core and 1 GiB a GPU. Jobs are numbered by their place in the file.
#[must_use]
pub fn jobs(name: &str, reading: &Reading<PhillyJob>, machines: &[PhillyMachine]) -> Jobs {
    let mut builder = Builder::new(name);
    for (number, (job, &line)) in (1..).zip(reading.rows.iter().zip(&reading.lines)) {
        if !builder.is_first(line, &job.jobid) {
            continue;
        }
        match Life::of(job) {
            Ok(life) => {
                let (ending, strange) = read_ending(&job.status);
                if strange {
                    builder.note(Note::UnknownState);
                }
                if job.attempts.len() > 1 {
                    builder.note(Note::Attempts);
                }
                let cpu_milli = u64::from(life.gpus) * 1000;
                builder.add(Draft {
                    line,
                    id: number,
                    user: job.user.as_deref().unwrap_or_default(),
                    queue: &job.vc,
                    submit_ms: life.submit_ms,
                    start_ms: Some(life.start_ms),
                    duration_ms: life.run_ms,
                    limit_ms: None,
                    // Its last attempt has an end, whatever its state says.
                    ending: ending.unwrap_or_default(),
                    tasks: life.tasks,
                    shapes: vec![shape(cpu_milli, u64::from(life.gpus) << 30, life.gpus, 1000, None)],
                    after: None,
                });
            }
            Err(why) => builder.leave_out(line, why),
        }
    }
    let cluster = if machines.is_empty() { builder.smallest(Vec::new()) } else { pool(machines) };
    builder.finish(Zero::Midnight, cluster)
}

struct Life {
    submit_ms: i64,
    start_ms: i64,
    run_ms: u64,
    tasks: u32,
    gpus: u32,
}

impl Life {
    fn of(job: &PhillyJob) -> Result<Self, LeftOut> {
        let moment = |text: &Option<String>| text.as_deref().and_then(time::read_moment);
        let submit_ms = moment(&job.submitted_time).ok_or(LeftOut::NoTimes)?;
        let last = job.attempts.last().ok_or(LeftOut::NeverRan)?;
        if moment(&last.end_time).is_none() {
            return Err(if moment(&last.start_time).is_some() {
                LeftOut::NotEnded
            } else {
                LeftOut::NoTimes
            });
        }
        let spans = job
            .attempts
            .iter()
            .filter_map(|attempt| moment(&attempt.start_time).zip(moment(&attempt.end_time)));
        let mut start_ms = None;
        let mut run_ms = 0_u64;
        for (start, end) in spans {
            let Ok(span) = u64::try_from(end.saturating_sub(start)) else { return Err(LeftOut::Backwards) };
            run_ms = run_ms.saturating_add(span);
            start_ms = Some(start_ms.map_or(start, |first: i64| first.min(start)));
        }
        let start_ms = start_ms.ok_or(LeftOut::NoTimes)?;
        let count = |attempt: &Attempt| attempt.detail.iter().map(|server| server.gpus.len()).sum::<usize>();
        let widest = job.attempts.iter().max_by_key(|attempt| count(attempt)).ok_or(LeftOut::NeverRan)?;
        let gpus = u32::try_from(count(widest)).unwrap_or(u32::MAX);
        if gpus == 0 {
            return Err(LeftOut::NoSize);
        }
        let servers = u32::try_from(widest.detail.len()).unwrap_or(u32::MAX);
        let (tasks, gpus) =
            if gpus.is_multiple_of(servers) { (servers, gpus / servers) } else { split_evenly(gpus, 8) };
        Ok(Self { submit_ms, start_ms, run_ms, tasks, gpus })
    }
}

/// The machines as a pool, with four cores and 32 GiB a GPU: the trace tells nothing of either.
fn pool(machines: &[PhillyMachine]) -> Cluster {
    let node = |machine: &PhillyMachine| {
        let spec = Machine {
            name: format!("{}/", machine.name),
            cpu_milli: u64::from(machine.gpus.max(1)) * 4000,
            memory: u64::from(machine.gpus.max(1)) * (32 << 30),
            gpus: machine.gpus,
            gpu: ("GPU".to_owned(), machine.gpu_memory),
            partition: String::new(),
        };
        spec.named(&machine.name)
    };
    Cluster { nodes: machines.iter().map(node).collect(), queues: Vec::new() }
}
