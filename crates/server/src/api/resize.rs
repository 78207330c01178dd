//! Changing what a job has while it runs.

use super::Shared;
use super::extract::{Body1, JobNumber};
use super::guard::Caller;
use super::jobs::{no_such_job, reach, summary, target};
use super::types::{DeviceResize, JobSummary, Problem, ResizeBody};
use crate::auth::rights::Right;
use crate::pool::view::machine;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use pond_core::engine::Gang;
use pond_core::event::Request;
use pond_core::ids::JobId;
use pond_core::model::{DeviceChange, Resources, Slack};
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use pond_spec::limits::LEAST_MEMORY;
use std::time::{Duration, Instant};

/// How long an answer waits for nodes that resize.
const RESIZING: Duration = Duration::from_secs(2);

/// Change the limits of a running or waiting job.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resize", tag = "jobs", params(("id" = u64, Path)),
    request_body = ResizeBody, responses((status = 200, body = JobSummary)))]
pub async fn resize(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Body1(body): Body1<ResizeBody>,
) -> Result<Json<JobSummary>, Problem> {
    reach(&shared, &caller, Right::Handle, id).await?;
    let index = body.index;
    let present = shared.handle.look(move |sight| {
        let job = sight.engine.job(JobId(id))?;
        let gang = index.map_or_else(|| job.gangs.first(), |index| job.gang(index))?;
        let shapes = gang.shapes(&job.spec);
        let shape = shapes.first()?;
        Some((shape.request, shape.burst))
    });
    let (request, burst) = present.await?.ok_or_else(|| no_such_job(id))?;
    if let Some(bytes) = body.memory_bytes.filter(|bytes| *bytes < LEAST_MEMORY.0) {
        let message = format!("no program runs in {} of memory", Bytes(bytes));
        return Err(Problem::bad_request("bad_amount", message)
            .at("memory_bytes")
            .with_next("write the unit, as in 512MB"));
    }
    let (request, burst) = resized(request, burst, &body);
    let devices = body.devices.iter().map(device_change).collect::<Result<_, _>>()?;
    let request = Request::Resize { target: target(id, index), request, burst, devices };
    shared.handle.ask(caller.actor(), request, None).await?;
    answered(&shared, id, index).await?;
    summary(&shared, id).await.map(Json)
}

/// Waits until the nodes have done a resize, for a moment at most.
///
/// # Errors
/// One of them did not.
async fn answered(shared: &Shared, id: u64, index: Option<u32>) -> Result<(), Problem> {
    let end = Instant::now() + RESIZING;
    loop {
        let looked = shared.handle.look(move |sight| {
            let gangs = sight.engine.job(JobId(id)).map_or(&[][..], |job| &job.gangs);
            let lives = gangs.iter().filter(|gang| index.is_none_or(|index| gang.id.index == index));
            let lives: Vec<_> = lives.filter_map(Gang::live).map(|live| &live.resizing).collect();
            (lives.iter().any(|it| it.is_open()), lives.iter().find_map(|it| it.refused.clone()))
        });
        match looked.await? {
            (_, Some(why)) => {
                let message = format!("job {id} keeps what it had: {why}");
                let next =
                    "ask for more than it uses (`pond status` shows that), or change it before it starts";
                return Err(Problem::new(StatusCode::CONFLICT, "not_resized", message).with_next(next));
            }
            (true, None) if Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
            (_, None) => return Ok(()),
        }
    }
}

fn device_change(body: &DeviceResize) -> Result<DeviceChange, Problem> {
    Ok(DeviceChange {
        kind: machine::kind_named(&body.kind).ok_or_else(|| super::pool::no_such_kind(&body.kind))?,
        compute: body.compute_thousandths.map(Thousandths),
        memory: body.memory_bytes.map(Bytes),
        slack: Slack {
            compute: body.compute_most_thousandths.or(body.compute_thousandths).map(Thousandths),
            memory: body.memory_most_bytes.or(body.memory_bytes).map(Bytes),
            weight: body.weight.unwrap_or(0),
        },
    })
}

/// New limits: what is not said stays, and a new guarantee without a new most sets both.
fn resized(request: Resources, burst: Resources, body: &ResizeBody) -> (Resources, Resources) {
    let part = |now: u64, most: u64, new: Option<u64>, new_most: Option<u64>| {
        let guaranteed = new.unwrap_or(now);
        (guaranteed, new_most.or(new).unwrap_or(most))
    };
    let cpu = part(request.cpu.0, burst.cpu.0, body.cpu_milli, body.cpu_burst_milli);
    let memory = part(request.memory.0, burst.memory.0, body.memory_bytes, body.memory_burst_bytes);
    let disk = part(request.disk.0, burst.disk.0, body.disk_bytes, body.disk_burst_bytes);
    let resources =
        |cpu, memory, disk| Resources { cpu: MilliCpu(cpu), memory: Bytes(memory), disk: Bytes(disk) };
    (resources(cpu.0, memory.0, disk.0), resources(cpu.1, memory.1, disk.1))
}
