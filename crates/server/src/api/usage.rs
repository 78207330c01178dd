//! What the meter says: by queue, user or job, and per node.

use super::Shared;
use super::extract::{Params, short};
use super::guard::Caller;
use super::types::{NodeUsage, Problem, UsageQuery, UsageReport, UsageRow};
use crate::auth::rights::{Place, Principal, Right};
use crate::pool::inbox::Sight;
use axum::Json;
use axum::extract::State as Extract;
use pond_core::engine::Job;
use pond_core::meter::{Bill, Owner, Totals};
use pond_core::snapshot::NodeOrd;
use std::collections::BTreeMap;

/// What was used, and by whom.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(UsageQuery),
    responses((status = 200, body = UsageReport)))]
pub async fn usage(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<UsageQuery>,
) -> Result<Json<UsageReport>, Problem> {
    let rows: fn(&Sight<'_>, &Principal) -> Vec<UsageRow> = match query.by.as_deref() {
        None | Some("queue") => |sight, who| by(sight, who, |owner| owner.queue.to_string()),
        Some("user") => |sight, who| by(sight, who, |owner| owner.user.to_string()),
        Some("job") => jobs,
        Some(other) => {
            return Err(Problem::bad_request(
                "bad_parameter",
                format!("`{}` is no way to group", short(other)),
            )
            .at("by")
            .with_next("use queue, user or job"));
        }
    };
    let report = shared.handle.look(move |sight| UsageReport {
        at_ms: sight.now.0,
        rows: rows(sight, &caller.principal),
        nodes: nodes(sight),
        devices: devices(sight),
    });
    report.await.map(Json)
}

/// Of what the caller sees.
fn by(sight: &Sight<'_>, who: &Principal, key: fn(&Owner) -> String) -> Vec<UsageRow> {
    let mut sums: BTreeMap<String, (Bill, Bill)> = BTreeMap::new();
    let owners = sight.engine.meter().owners().iter();
    for owner in owners.filter(|owner| who.may(Right::See, Place::Queue(owner.queue.as_str()))) {
        let (charged, credited) = sums.entry(key(owner)).or_default();
        charged.add(&owner.charged);
        credited.add(&owner.credited);
    }
    sums.into_iter().map(|(key, (charged, credited))| row(key, &charged, &credited)).collect()
}

/// Jobs that are in memory; the archive keeps the usage of the others with each.
fn jobs(sight: &Sight<'_>, who: &Principal) -> Vec<UsageRow> {
    let seen = |job: &&Job| who.may(Right::See, Place::Queue(job.spec.queue.as_str()));
    sight.engine.jobs().filter(seen).filter_map(|job| of_job(sight, job)).collect()
}

/// What the meter says of a job, when it ever ran.
#[must_use]
pub fn of_job(sight: &Sight<'_>, job: &Job) -> Option<UsageRow> {
    let meter = sight.engine.meter();
    let charged = meter.of_job(job.id)?;
    Some(row(job.id.to_string(), charged, meter.credit_of(job.id).unwrap_or(&Bill::default())))
}

fn row(key: String, charged: &Bill, credited: &Bill) -> UsageRow {
    UsageRow {
        key,
        granted_cpu_milli_ms: whole(charged.cpu.base),
        burst_cpu_milli_ms: whole(charged.cpu.spare),
        granted_memory_mib_s: mib_s(charged.memory.base),
        burst_memory_mib_s: mib_s(charged.memory.spare),
        granted_disk_mib_s: mib_s(charged.disk.base),
        burst_disk_mib_s: mib_s(charged.disk.spare),
        granted_device_thousandths_ms: whole(charged.devices.values().map(|amount| amount.base).sum()),
        burst_device_thousandths_ms: whole(charged.devices.values().map(|amount| amount.spare).sum()),
        credited_cpu_milli_ms: whole(credited.cpu.base),
    }
}

fn nodes(sight: &Sight<'_>) -> Vec<NodeUsage> {
    let rows = sight.engine.snapshot().nodes.iter().zip(0_u32..);
    rows.filter_map(|(row, place)| {
        let [cpu, ..] = sight.engine.meter().of_node(sight.now, NodeOrd(place))?;
        Some(parts(row.name.to_string(), None, &cpu))
    })
    .collect()
}

fn devices(sight: &Sight<'_>) -> Vec<NodeUsage> {
    let rows = sight.engine.snapshot().nodes.iter().zip(0_u32..);
    rows.flat_map(|(row, place)| {
        let gauges = sight.engine.meter().of_devices(sight.now, NodeOrd(place)).into_iter().zip(0_u32..);
        gauges.map(|([time, _], device)| parts(row.name.to_string(), Some(device), &time))
    })
    .collect()
}

fn parts(node: String, device: Option<u32>, totals: &Totals) -> NodeUsage {
    NodeUsage {
        node,
        device,
        capacity: whole(totals.capacity),
        granted: whole(totals.granted),
        idle: whole(totals.idle),
        planned: whole(totals.planned),
        down: whole(totals.down),
        used_within: whole(totals.used_within),
        waste: whole(totals.waste),
        burst: whole(totals.burst),
    }
}

/// A thousand cores for half a million years fit; more reads as the most.
fn whole(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// From bytes × milliseconds.
fn mib_s(amount: u128) -> u64 {
    whole(amount / (1000 << 20))
}
