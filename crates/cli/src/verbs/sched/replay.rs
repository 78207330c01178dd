//! `pond sched replay`: the pool's own past under another policy, beside what really happened.

use super::present::{Runs, places, present};
use super::runs::{Meter, Task, all, threads};
use super::source::{Scene, nodes_in_words, window};
use super::{policies, settings, store};
use crate::args::ReplayArgs;
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::verbs::Ctx;
use pond_core::ids::{NodeName, QueuePath};
use pond_core::model::{
    Class, Device, DeviceKind, GangSize, NodeSpec, QueueLimits, QueueSpec, Resources, Shape, ShareMode,
    Traits,
};
use pond_core::partition::known;
use pond_core::units::{Bytes, MilliCpu, Millis};
use pond_server::api::types::{
    Amounts, DeviceView, GangView, JobDetail, JobPage, JobQuery, NodeView, QueueAmounts, QueueView, State,
};
use pond_sim::experiment::{Foresight, foresee};
use pond_sim::report::as_it_was;
use pond_sim::trace::history::{self, Ask, Row};
use pond_sim::trace::{summary, time};
use pond_sim::workload::{Cluster, Ending};
use serde::Deserialize;
use std::sync::Arc;

/// What a finished job asked for, of its whole description.
#[derive(Deserialize)]
struct Asked {
    class: Class,
    priority: u16,
    size: GangSize,
    shapes: Vec<Shape>,
    time_limit: Option<Millis>,
    predicted: Option<Millis>,
}

/// `pond sched replay`.
///
/// # Errors
/// No pool, or one without a finished job; a wrong command line.
pub fn replay(ctx: &Ctx, args: &ReplayArgs) -> Done {
    let policies = policies::named(&args.policy)?;
    args.report.places(args.save.as_ref())?;
    places(&args.export)?;
    let each = settings::of_each(&policies, &args.sim, args.report.html.is_some())?;
    let mut scene = past(ctx, args)?;
    let Some(real) = as_it_was(&scene.jobs) else {
        return Err(CliError::Usage {
            what: "the pool has no finished job in this window".to_owned(),
            next: Some("`pond ps -a` lists what it has; widen --from and --to".to_owned()),
        });
    };
    foresee(&mut scene.jobs.workload, Foresight::Oracle);
    let (cluster, workload) = (&scene.jobs.cluster, &scene.jobs.workload);
    let tasks: Vec<Task<'_>> =
        each.iter().map(|settings| Task { cluster, workload, settings, learns: scene.learns }).collect();
    let mut meter = Meter::new((workload.jobs.len() * tasks.len()) as u64);
    let outcomes = all(&tasks, threads(args.sim.threads), &mut meter, 0)?;
    drop(meter);
    let mut runs = vec![("as it was".to_owned(), real)];
    runs.extend(policies.into_iter().map(|(name, _)| name).zip(outcomes));
    let runs = Runs { title: scene.title, about: scene.about, runs };
    if let Some(path) = &args.save {
        store::save(path, &runs)?;
    }
    present(&ctx.out, &runs, &args.report)?;
    Ok(codes::OK)
}

/// The pool's finished jobs, its machines and its queues, by its API.
fn past(ctx: &Ctx, args: &ReplayArgs) -> Result<Scene, CliError> {
    let client = ctx.client()?;
    let nodes: Vec<NodeView> = client.get("/nodes", &())?;
    let queues: Vec<QueueView> = client.get("/queues", &())?;
    let rows = rows(&client)?;
    let queues = queues.iter().filter(|queue| !queue.path.is_empty()).map(queue).collect();
    let cluster = Cluster { nodes: nodes.iter().map(machine).collect(), queues };
    let numbered: Vec<(u64, &Row)> = rows.iter().map(|row| (row.id, row)).collect();
    let mut jobs = history::jobs("this pool", &numbered, Some(0), cluster);
    for tally in summary(&jobs.left_out) {
        ctx.out.warn(&format!(
            "{} of {} jobs that are over left out: {}",
            tally.count,
            rows.len(),
            tally.first.reason
        ));
    }
    if let Some(path) = &args.export {
        let mut text = Vec::new();
        history::write(&jobs, &mut text).map_err(|why| CliError::io("writing the history", why))?;
        super::present::write(path, &text)?;
        ctx.out.note(&format!("history: {}", path.display()));
    }
    if args.from.is_some() || args.to.is_some() {
        jobs = window(&jobs, args.from.as_deref(), args.to.as_deref())?;
    } else if let Some(first) = rows.iter().map(|row| row.submit_ms).min() {
        jobs = jobs.between(first, i64::MAX).unwrap_or(jobs);
    }
    let moment = |ms: Option<i64>| ms.map_or_else(String::new, time::show);
    let about = format!(
        "{} · from {} UTC · run times known to policies that ask for them",
        nodes_in_words(&jobs.cluster),
        moment(jobs.zero_ms)
    );
    Ok(Scene { title: format!("the pool at {}", client.base()), about, learns: false, jobs })
}

/// Every element of every job that is over, oldest first.
fn rows(client: &Client) -> Result<Vec<Row>, CliError> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let query =
            JobQuery { state: Some("over".to_owned()), limit: Some(1000), after, ..JobQuery::default() };
        let page: JobPage = client.get("/jobs", &query)?;
        for job in &page.jobs {
            let detail: JobDetail = client.get(&format!("/jobs/{}", job.id), &())?;
            rows.extend(elements(&detail)?);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    rows.sort_by_key(|row: &Row| (row.submit_ms, row.id));
    for (number, row) in (1..).zip(&mut rows) {
        row.id = number;
    }
    Ok(rows)
}

fn elements(detail: &JobDetail) -> Result<Vec<Row>, CliError> {
    let asked: Asked = serde_json::from_value(detail.spec.clone()).map_err(|why| CliError::BadAnswer {
        request: format!("GET /jobs/{}", detail.summary.id),
        why: why.to_string(),
    })?;
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let row = |gang: &GangView| {
        let started = gang.tasks.iter().filter_map(|task| task.started_ms).min();
        let ended = gang.tasks.iter().filter_map(|task| task.ended_ms).max();
        Row {
            id: detail.summary.id,
            submit_ms: signed(detail.summary.submitted_ms),
            start_ms: started.map(signed),
            duration_ms: started.zip(ended).map(|(started, ended)| ended.saturating_sub(started)),
            user: detail.summary.user.clone(),
            queue: detail.summary.queue.clone(),
            class: asked.class,
            priority: asked.priority,
            tasks: asked.size.min,
            max_tasks: Some(asked.size.max),
            shapes: asked.shapes.iter().map(Ask::from).collect(),
            limit_ms: asked.time_limit.map(|limit| limit.0),
            predicted_ms: asked.predicted.map(|span| span.0),
            ending: match gang.state {
                State::Failed => Ending::Failed,
                State::Stopped => Ending::Cancelled,
                _ => Ending::Completed,
            },
            ..Row::default()
        }
    };
    Ok(detail.gangs.iter().map(row).collect())
}

fn queue(view: &QueueView) -> QueueSpec {
    let word = |text: &String| serde_json::from_value(serde_json::Value::String(text.clone())).ok();
    let amounts = |amounts: &QueueAmounts| QueueLimits {
        cpu: amounts.cpu_milli,
        memory: amounts.memory_bytes,
        disk: amounts.disk_bytes,
        devices: amounts
            .device_thousandths
            .iter()
            .filter_map(|(kind, amount)| word(kind).map(|kind: DeviceKind| (kind, *amount)))
            .collect(),
        running: amounts.running,
    };
    QueueSpec {
        path: QueuePath::from(view.path.as_str()),
        guarantee: amounts(&view.settings.guarantee),
        weight: view.settings.weight,
        limit: amounts(&view.settings.limit),
        borrow: view.settings.borrow,
        oversubscribe: view.settings.oversubscribe,
        host: None,
    }
}

fn machine(node: &NodeView) -> NodeSpec {
    NodeSpec {
        name: NodeName::from(node.name.as_str()),
        capacity: resources(node.capacity),
        devices: node.devices.iter().filter_map(device).collect(),
        labels: node.labels.clone(),
    }
}

const fn resources(amounts: Amounts) -> Resources {
    Resources {
        cpu: MilliCpu(amounts.cpu_milli),
        memory: Bytes(amounts.memory_bytes),
        disk: Bytes(amounts.disk_bytes),
    }
}

fn device(device: &DeviceView) -> Option<Device> {
    let word = |text: &str| serde_json::Value::String(text.to_owned());
    let kind: DeviceKind = serde_json::from_value(word(&device.kind)).ok()?;
    let modes: Vec<ShareMode> =
        device.modes.iter().filter_map(|mode| serde_json::from_value(word(mode)).ok()).collect();
    let layout = modes
        .contains(&ShareMode::Space)
        .then(|| known::layout(&device.model, Bytes(device.memory_bytes)))
        .flatten();
    Some(Device {
        uuid: device.uuid.clone(),
        kind,
        model: device.model.clone(),
        memory: Bytes(device.memory_bytes),
        modes,
        numa: None,
        files: Vec::new(),
        traits: Traits { layout: layout.map(Arc::new), ..Traits::default() },
    })
}
