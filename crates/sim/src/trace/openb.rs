//! The openb trace: nodes and pods of a GPU cluster (Weng et al., "Beware of Fragmentation", ATC 2023).

use super::jobs::{Builder, Draft, Zero, possible, shape};
use super::table::{Column, Row, Style, malformed, read};
use super::{BadRowReason, Jobs, LeftOut, Machine, Reading};
use crate::workload::{Cluster, Ending};
use std::collections::BTreeSet;
use std::io::Read;

pub(super) const CPU: Column = &["cpu_milli"];
const MEMORY: Column = &["memory_mib"];
const PHASE: Column = &["pod_phase"];
const SCHEDULED: Column = &["scheduled_time"];

/// A machine of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbNode {
    /// Its serial name.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs, all of one model.
    pub gpus: u32,
    /// The model; empty without a GPU.
    pub model: String,
}

/// A pod of the trace. Times are apart ([`lives`]): the packing experiment has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbPod {
    /// Its name.
    pub name: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs.
    pub gpus: u32,
    /// Thousandths of each GPU: 1000 is exclusive.
    pub gpu_milli: u32,
    /// GPU models it accepts; empty: any.
    pub models: Vec<String>,
}

/// Columns `sn, cpu_milli, memory_mib, gpu, model`.
pub fn nodes(input: impl Read) -> Reading<OpenbNode> {
    let mut taken = BTreeSet::new();
    read(input, Style::CSV, |row| {
        let node = OpenbNode {
            name: row.text(&["sn"])?.to_owned(),
            cpu_milli: row.number(CPU)?,
            memory_mib: row.number(MEMORY)?,
            gpus: row.small(&["gpu"])?,
            model: row.told(&["model"]).unwrap_or_default().to_owned(),
        };
        possible(node.cpu_milli, node.memory_mib.saturating_mul(1 << 20), u64::from(node.gpus))?;
        if taken.insert(node.name.clone()) { Ok(node) } else { Err(LeftOut::Double.into()) }
    })
}

/// Columns `name, cpu_milli, memory_mib, num_gpu, gpu_milli` and, where there is one, `gpu_spec` (`A|B`).
pub fn pods(input: impl Read) -> Reading<OpenbPod> {
    read(input, Style::CSV, read_pod)
}

fn read_pod(row: &Row) -> Result<OpenbPod, BadRowReason> {
    Ok(OpenbPod {
        name: row.text(&["name"])?.to_owned(),
        cpu_milli: row.number(CPU)?,
        memory_mib: row.number(MEMORY)?,
        gpus: row.small(&["num_gpu"])?,
        gpu_milli: thousandths(row)?,
        models: row
            .told(&["gpu_spec"])
            .unwrap_or_default()
            .split('|')
            .map(str::trim)
            .filter(|model| !model.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

fn thousandths(row: &Row) -> Result<u32, BadRowReason> {
    let value = row.small(&["gpu_milli"])?;
    if value <= 1000 {
        return Ok(value);
    }
    Err(malformed("gpu_milli", &value.to_string(), "a share from 0 to 1000 thousandths"))
}

/// A pod with its life. Times in seconds from the trace's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbLife {
    /// What it asked for.
    pub pod: OpenbPod,
    /// Quality of service: `LS`, `BE`, `Burstable`, `Guaranteed`.
    pub qos: String,
    /// How it ended.
    pub ending: Ending,
    /// Creation.
    pub created_s: u64,
    /// When it got its place; `None` when it never did.
    pub scheduled_s: Option<u64>,
    /// Deletion; `None` when it was still there.
    pub deleted_s: Option<u64>,
}

/// The columns of [`pods`] and `qos, pod_phase, creation_time, deletion_time, scheduled_time`.
///
/// The variants of the trace made for packing alone have no times: each of their rows lacks `creation_time`.
pub fn lives(input: impl Read) -> Reading<OpenbLife> {
    read(input, Style::CSV, |row| {
        let moment = |column: Column| row.told(column).map(|_| row.whole_seconds(column)).transpose();
        row.text(SCHEDULED)?;
        Ok(OpenbLife {
            created_s: row.whole_seconds(&["creation_time"])?,
            scheduled_s: moment(SCHEDULED)?,
            deleted_s: moment(&["deletion_time"])?,
            qos: row.optional(&["qos"]).unwrap_or_default().to_owned(),
            ending: row.optional(PHASE).map_or(Ending::Completed, read_phase),
            pod: read_pod(row)?,
        })
    })
}

fn read_phase(text: &str) -> Ending {
    match text {
        "Failed" => Ending::Failed,
        _ => Ending::Completed,
    }
}

/// The pods as jobs, on these nodes; without any on the smallest pool that could have run them.
///
/// A pod runs from when it was scheduled to when it was deleted, whatever its phase; its queue is its quality of
/// service. `gpu_milli` below 1000 is a share of a device's time; a `gpu_spec` of several models becomes as many
/// alternatives. Pods that never got a place or were still there are left out.
#[must_use]
pub fn jobs(name: &str, lives: &Reading<OpenbLife>, nodes: &[OpenbNode]) -> Jobs {
    let mut builder = Builder::new(name);
    for (number, (life, &line)) in (1..).zip(lives.rows.iter().zip(&lives.lines)) {
        if !builder.is_first(line, &life.pod.name) {
            continue;
        }
        let spans = match (life.scheduled_s, life.deleted_s) {
            (None, _) => Err(LeftOut::NeverRan),
            (_, None) => Err(LeftOut::NotEnded),
            (Some(start), Some(end)) => {
                end.checked_sub(start).map(|span| (start, span)).ok_or(LeftOut::Backwards)
            }
        };
        match spans {
            Err(why) => builder.leave_out(line, why),
            Ok((start, span)) => drop(builder.add(Draft {
                line,
                id: number,
                user: "",
                queue: &life.qos.to_ascii_lowercase(),
                submit_ms: millis(life.created_s),
                start_ms: Some(millis(start)),
                duration_ms: span.saturating_mul(1000),
                limit_ms: None,
                ending: life.ending,
                tasks: 1,
                shapes: shapes(&life.pod),
                after: None,
            })),
        }
    }
    let cluster = if nodes.is_empty() { builder.smallest(Vec::new()) } else { cluster(nodes) };
    builder.finish(Zero::Counted(None), cluster)
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn shapes(pod: &OpenbPod) -> Vec<pond_core::model::Shape> {
    let memory = pod.memory_mib.saturating_mul(1 << 20);
    let one = |model| shape(pod.cpu_milli, memory, pod.gpus, u64::from(pod.gpu_milli), model);
    if pod.models.is_empty() || pod.gpus == 0 {
        return vec![one(None)];
    }
    pod.models.iter().map(|model| one(Some(model))).collect()
}

/// The nodes as a pool.
#[must_use]
pub fn cluster(nodes: &[OpenbNode]) -> Cluster {
    let node = |node: &OpenbNode| {
        let machine = Machine {
            name: format!("{}/", node.name),
            cpu_milli: node.cpu_milli,
            memory: node.memory_mib.saturating_mul(1 << 20),
            gpus: node.gpus,
            gpu: (node.model.clone(), device_memory(&node.model)),
            partition: String::new(),
        };
        machine.named(&node.name)
    };
    Cluster { nodes: nodes.iter().map(node).collect(), queues: Vec::new() }
}

/// Memory of a device by the trace's name of its model, in bytes; 16 GiB where the name does not tell.
///
/// G2 and G3 are not named by the trace; by their machines they are an A10 (24 GB) and an A100 (80 GB).
pub(super) fn device_memory(model: &str) -> u64 {
    let known =
        [("V100M32", 32), ("A10", 24), ("G2", 24), ("G3", 80), ("A100", 80), ("T4", 16), ("P100", 16)];
    known.iter().find(|(name, _)| *name == model).map_or(16, |(_, size)| *size) << 30
}
