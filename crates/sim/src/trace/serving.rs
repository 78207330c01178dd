//! Alibaba's traces of serving: instances of recommendation models (cluster-trace-gpu-v2025), and rates of requests and
//! the use of devices of a generative service (v2026).

use super::jobs::{Builder, Draft, Zero, shape};
use super::table::{Column, Row, Style, read};
use super::{BadRowReason, Jobs, Note, Reading, time};
use crate::workload::Ending;
use std::collections::BTreeMap;
use std::io::Read;

const CREATED: Column = &["creation_time"];
const DELETED: Column = &["deletion_time"];
const AT: Column = &["timestamp_anon", "timestamp"];

/// One instance of a service. Times in milliseconds from the trace's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `HN` with a GPU, `CN` without.
    pub role: String,
    /// The service: instances that recur together.
    pub app: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// GPUs.
    pub gpus: u32,
    /// Creation; `None`: it was there when the trace begins.
    pub created_ms: Option<i64>,
    /// When it got its place.
    pub scheduled_ms: Option<i64>,
    /// Deletion; `None`: it was there when the trace ends.
    pub deleted_ms: Option<i64>,
}

/// Columns `instance_sn, role, app_name, cpu_request, gpu_request, memory_request, creation_time, scheduled_time, deletion_time`.
pub fn instances(input: impl Read) -> Reading<Instance> {
    let moment = |row: &Row, column: Column| -> Result<Option<i64>, BadRowReason> {
        if time::is_unknown(row.text(column)?) { Ok(None) } else { row.millis(column).map(Some) }
    };
    read(input, Style::CSV, |row| {
        Ok(Instance {
            role: row.text(&["role"])?.to_owned(),
            app: row.text(&["app_name"])?.to_owned(),
            cpu_milli: row.thousandths(&["cpu_request"])?,
            // GiB, in thousandths.
            memory: u64::try_from(u128::from(row.thousandths(&["memory_request"])?) * (1 << 30) / 1000)
                .unwrap_or(u64::MAX),
            gpus: row.small(&["gpu_request"])?,
            created_ms: moment(row, CREATED)?,
            scheduled_ms: moment(row, &["scheduled_time"])?,
            deleted_ms: moment(row, DELETED)?,
        })
    })
}

/// The instances as jobs of one task, on the smallest pool that could have held them.
///
/// One that was there when the trace begins or ends is cut to the trace, and counted ([`Note::Clamped`]). The queue is
/// the service, the user its role. Instances are numbered by their place.
#[must_use]
pub fn jobs(name: &str, reading: &Reading<Instance>) -> Jobs {
    let last = |row: &Instance| row.deleted_ms.max(row.scheduled_ms).max(row.created_ms);
    let end = reading.rows.iter().filter_map(last).max().unwrap_or(0);
    let mut builder = Builder::new(name);
    for (id, (row, &line)) in (1..).zip(reading.rows.iter().zip(&reading.lines)) {
        let submit_ms = row.created_ms.unwrap_or(0);
        let start_ms = row.scheduled_ms.unwrap_or(submit_ms);
        if row.created_ms.is_none() || row.deleted_ms.is_none() {
            builder.note(Note::Clamped);
        }
        let span = row.deleted_ms.unwrap_or(end).saturating_sub(start_ms);
        let Ok(duration_ms) = u64::try_from(span) else {
            builder.leave_out(line, super::LeftOut::Backwards);
            continue;
        };
        builder.add(Draft {
            line,
            id,
            user: &row.role,
            queue: &row.app,
            submit_ms,
            start_ms: Some(start_ms),
            duration_ms,
            limit_ms: None,
            ending: Ending::Completed,
            tasks: 1,
            shapes: vec![shape(row.cpu_milli, row.memory, row.gpus, 1000, None)],
            after: None,
        });
    }
    let cluster = builder.smallest(Vec::new());
    builder.finish(Zero::Counted(None), cluster)
}

/// One value of a series of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// In milliseconds since 1970, shifted by the trace's makers.
    pub at_ms: i64,
    /// The value in thousandths: requests a second, or percent of the time that the GPU was busy.
    pub milli: i64,
    /// The container; empty for the service in all.
    pub container: String,
    /// The kind of request; empty where the series has none.
    pub kind: String,
}

/// Columns `timestamp_anon, value, container_ip` and `request_type` where there is one.
pub fn values(input: impl Read) -> Reading<Value> {
    read(input, Style::CSV, |row| {
        Ok(Value {
            at_ms: row.millis(AT)?,
            milli: row.millis(&["value"])?,
            container: row.optional(&["container_ip"]).unwrap_or_default().to_owned(),
            kind: row.optional(&["request_type"]).unwrap_or_default().to_owned(),
        })
    })
}

/// The sum over containers in each step, by kind: (start of the step in milliseconds since 1970, sum of the means of
/// each container, in thousandths).
#[must_use]
pub fn totals(values: &[Value], step_ms: u64) -> BTreeMap<String, Vec<(i64, i64)>> {
    let step = i64::try_from(step_ms.max(1)).unwrap_or(i64::MAX);
    let mut means: BTreeMap<(&str, i64, &str), (i64, i64)> = BTreeMap::new();
    for value in values {
        let at = value.at_ms.div_euclid(step) * step;
        let (sum, count) = means.entry((&value.kind, at, &value.container)).or_default();
        (*sum, *count) = (sum.saturating_add(value.milli), *count + 1);
    }
    let mut series: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for ((kind, at, _), (sum, count)) in means {
        let series = series.entry(kind.to_owned()).or_default();
        match series.last_mut() {
            Some((last, total)) if *last == at => *total = total.saturating_add(sum / count),
            _ => series.push((at, sum / count)),
        }
    }
    series
}
