//! Alibaba's cluster-trace-gpu-v2020 (Weng et al., "MLaaS in the Wild", NSDI 2022): the tables of jobs, tasks, instances
//! and machines of PAI. The files have no header; the columns are those of the `.header` files beside them.

use super::jobs::{Builder, Draft, Zero, possible, shape};
use super::table::{Column, Row, Style, malformed, read};
use super::{BadRowReason, Jobs, LeftOut, Machine, Note, Reading, time};
use crate::workload::{Cluster, Ending};
use pond_core::model::Shape;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Columns of `pai_job_table`.
pub const JOB_COLUMNS: &[&str] = &["job_name", "inst_id", "user", "status", "start_time", "end_time"];
/// Columns of `pai_task_table`.
pub const TASK_COLUMNS: &[&str] = &[
    "job_name",
    "task_name",
    "inst_num",
    "status",
    "start_time",
    "end_time",
    "plan_cpu",
    "plan_mem",
    "plan_gpu",
    "gpu_type",
];
/// Columns of `pai_instance_table`.
pub const INSTANCE_COLUMNS: &[&str] = &[
    "job_name",
    "task_name",
    "inst_name",
    "worker_name",
    "inst_id",
    "status",
    "start_time",
    "end_time",
    "machine",
];
/// Columns of `pai_machine_spec`.
pub const MACHINE_COLUMNS: &[&str] = &["machine", "gpu_type", "cap_cpu", "cap_mem", "cap_gpu"];

const STATUS: Column = &["status"];
const START: Column = &["start_time"];
const END: Column = &["end_time"];

const fn under(columns: &'static [&'static str]) -> Style {
    Style { separators: &[','], quoted: true, header: Some(columns) }
}

/// A job; times in milliseconds on the trace's own calendar, whose hours and weekdays are real and dates are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaiJob {
    /// Its name.
    pub name: String,
    /// Who.
    pub user: String,
    /// How it ended; `None` when it had not.
    pub ending: Option<Ending>,
    /// Submission.
    pub submit_ms: Option<i64>,
    /// End.
    pub end_ms: Option<i64>,
}

/// A role of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaiTask {
    /// The job's name.
    pub job: String,
    /// The role: `ps`, `worker`.
    pub role: String,
    /// How many instances.
    pub instances: u32,
    /// Start.
    pub start_ms: Option<i64>,
    /// End.
    pub end_ms: Option<i64>,
    /// CPU of each instance, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of each, in bytes.
    pub memory: u64,
    /// GPUs of each, in thousandths.
    pub gpu_milli: u64,
    /// The model it was given.
    pub model: String,
}

/// One instance of a role, where it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaiInstance {
    /// The job's name.
    pub job: String,
    /// The role.
    pub role: String,
    /// Start.
    pub start_ms: Option<i64>,
    /// End.
    pub end_ms: Option<i64>,
    /// The machine.
    pub machine: String,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaiMachine {
    /// Its name.
    pub name: String,
    /// The model of its GPUs.
    pub model: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// GPUs.
    pub gpus: u32,
}

/// Read as seconds since 1970 the trace's times have the hour and the weekday of Shanghai, in milliseconds east of UTC.
const SHANGHAI_MS: i64 = 8 * 3_600_000;

/// Seconds as `4550879.0`; `None` when empty.
fn moment(row: &Row, column: Column) -> Result<Option<i64>, BadRowReason> {
    if time::is_unknown(row.text(column)?) {
        return Ok(None);
    }
    row.millis(column).map(|at| Some(at.saturating_add(SHANGHAI_MS)))
}

/// A number that may be missing, then 0; in thousandths.
fn amount(row: &Row, column: Column) -> Result<u64, BadRowReason> {
    if time::is_unknown(row.text(column)?) { Ok(0) } else { row.thousandths(column) }
}

fn skip_header(row: &Row, first: &'static str) -> Result<(), BadRowReason> {
    // Some copies were given the header as a first line.
    if row.first() == first { Err(LeftOut::Part.into()) } else { Ok(()) }
}

/// Reads `pai_job_table`.
pub fn job_rows(input: impl Read) -> Reading<PaiJob> {
    read(input, under(JOB_COLUMNS), |row| {
        skip_header(row, "job_name")?;
        Ok(PaiJob {
            name: row.text(&["job_name"])?.to_owned(),
            user: row.text(&["user"])?.to_owned(),
            ending: read_status(row.text(STATUS)?)?,
            submit_ms: moment(row, START)?,
            end_ms: moment(row, END)?,
        })
    })
}

fn read_status(text: &str) -> Result<Option<Ending>, BadRowReason> {
    match text {
        "Terminated" => Ok(Some(Ending::Completed)),
        "Failed" => Ok(Some(Ending::Failed)),
        "Running" | "Waiting" | "Interrupted" | "" => Ok(None),
        _ => Err(malformed("status", text, "Terminated, Failed, Running or Waiting")),
    }
}

/// Reads `pai_task_table`.
pub fn task_rows(input: impl Read) -> Reading<PaiTask> {
    read(input, under(TASK_COLUMNS), |row| {
        skip_header(row, "job_name")?;
        Ok(PaiTask {
            job: row.text(&["job_name"])?.to_owned(),
            role: row.text(&["task_name"])?.to_owned(),
            instances: row.small(&["inst_num"])?,
            start_ms: moment(row, START)?,
            end_ms: moment(row, END)?,
            // Percent of a core and of a GPU: 600.0 is six cores.
            cpu_milli: amount(row, &["plan_cpu"])? / 100,
            memory: gib(amount(row, &["plan_mem"])?),
            gpu_milli: amount(row, &["plan_gpu"])? / 100,
            model: row.optional(&["gpu_type"]).unwrap_or_default().to_owned(),
        })
    })
}

/// Thousandths of a GiB in bytes.
fn gib(milli: u64) -> u64 {
    u64::try_from(u128::from(milli) * (1 << 30) / 1000).unwrap_or(u64::MAX)
}

/// Reads `pai_instance_table`.
pub fn instance_rows(input: impl Read) -> Reading<PaiInstance> {
    read(input, under(INSTANCE_COLUMNS), |row| {
        skip_header(row, "job_name")?;
        Ok(PaiInstance {
            job: row.text(&["job_name"])?.to_owned(),
            role: row.text(&["task_name"])?.to_owned(),
            start_ms: moment(row, START)?,
            end_ms: moment(row, END)?,
            machine: row.optional(&["machine"]).unwrap_or_default().to_owned(),
        })
    })
}

/// Reads `pai_machine_spec`.
pub fn machine_rows(input: impl Read) -> Reading<PaiMachine> {
    let mut taken = BTreeSet::new();
    read(input, under(MACHINE_COLUMNS), |row| {
        skip_header(row, "machine")?;
        let machine = PaiMachine {
            name: row.text(&["machine"])?.to_owned(),
            model: row.text(&["gpu_type"])?.to_owned(),
            cpu_milli: row.thousandths(&["cap_cpu"])?,
            memory: gib(row.thousandths(&["cap_mem"])?),
            gpus: row.small(&["cap_gpu"])?,
        };
        possible(machine.cpu_milli, machine.memory, u64::from(machine.gpus))?;
        if taken.insert(machine.name.clone()) { Ok(machine) } else { Err(LeftOut::Double.into()) }
    })
}

/// The workload: jobs with their tasks, joined by name; without `machines` on the smallest pool that could have run it.
///
/// A job becomes one gang of equal tasks. Where roles differ, those with GPUs make its size, and every task gets the
/// largest amounts among them: parameter servers are not modelled. Less than a whole GPU is a share of its time; more is
/// rounded up to whole ones. The run time is from the first task's start to the job's end. Jobs are numbered by their row.
#[must_use]
pub fn jobs(name: &str, rows: &Reading<PaiJob>, tasks: &Reading<PaiTask>, machines: &[PaiMachine]) -> Jobs {
    let mut of_job: BTreeMap<&str, Vec<&PaiTask>> = BTreeMap::new();
    for task in &tasks.rows {
        of_job.entry(&task.job).or_default().push(task);
    }
    let mut builder = Builder::new(name);
    for (number, (job, &line)) in (1..).zip(rows.rows.iter().zip(&rows.lines)) {
        if !builder.is_first(line, &job.name) {
            continue;
        }
        let roles = of_job.get(job.name.as_str()).map_or(&[][..], Vec::as_slice);
        match draft(number, line, job, roles) {
            Ok((draft, mixed)) => {
                if mixed {
                    builder.note(Note::MixedTasks);
                }
                builder.add(draft);
            }
            Err(why) => builder.leave_out(line, why),
        }
    }
    let cluster = if machines.is_empty() { builder.smallest(Vec::new()) } else { cluster(machines) };
    builder.finish(Zero::Midnight, cluster)
}

fn draft<'a>(id: u64, line: u64, job: &'a PaiJob, roles: &[&PaiTask]) -> Result<(Draft<'a>, bool), LeftOut> {
    let ending = job.ending.ok_or(LeftOut::NotEnded)?;
    let submit_ms = job.submit_ms.ok_or(LeftOut::NoTimes)?;
    let start_ms = roles.iter().filter_map(|task| task.start_ms).min().ok_or(LeftOut::NeverRan)?;
    let end_ms = job.end_ms.or_else(|| roles.iter().filter_map(|task| task.end_ms).max());
    let span = end_ms.ok_or(LeftOut::NoTimes)?.saturating_sub(start_ms);
    let Ok(duration_ms) = u64::try_from(span) else { return Err(LeftOut::Backwards) };
    let gpus = roles.iter().any(|task| task.gpu_milli > 0);
    let counted: Vec<&&PaiTask> = roles.iter().filter(|task| !gpus || task.gpu_milli > 0).collect();
    let tasks = counted.iter().fold(0_u32, |sum, task| sum.saturating_add(task.instances));
    let most = |of: fn(&PaiTask) -> u64| counted.iter().map(|task| of(task)).max().unwrap_or(0);
    let shape =
        task_shape(most(|task| task.cpu_milli), most(|task| task.memory), most(|task| task.gpu_milli));
    let first = counted.first().map(|task| (task.cpu_milli, task.memory, task.gpu_milli));
    let mixed = counted.len() < roles.len()
        || counted.iter().any(|task| Some((task.cpu_milli, task.memory, task.gpu_milli)) != first);
    let draft = Draft {
        line,
        id,
        user: &job.user,
        queue: "",
        submit_ms,
        // A task may be logged a moment before its job.
        start_ms: Some(start_ms.max(submit_ms)),
        duration_ms,
        limit_ms: None,
        ending,
        tasks,
        shapes: vec![shape],
        after: None,
    };
    Ok((draft, mixed))
}

fn task_shape(cpu_milli: u64, memory: u64, gpu_milli: u64) -> Shape {
    let count = u32::try_from(gpu_milli.div_ceil(1000)).unwrap_or(u32::MAX);
    shape(cpu_milli, memory, count, if gpu_milli < 1000 { gpu_milli } else { 1000 }, None)
}

fn cluster(machines: &[PaiMachine]) -> Cluster {
    let node = |machine: &PaiMachine| {
        let spec = Machine {
            name: format!("{}/", machine.name),
            cpu_milli: machine.cpu_milli,
            memory: machine.memory,
            gpus: machine.gpus,
            gpu: (machine.model.clone(), super::openb::device_memory(&machine.model)),
            partition: String::new(),
        };
        spec.named(&machine.name)
    };
    Cluster { nodes: machines.iter().map(node).collect(), queues: Vec::new() }
}
