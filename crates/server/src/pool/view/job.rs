//! Jobs, gangs and tasks.

use super::{amounts, grant, word, words};
use crate::api::types::{
    BlamedView, Class, CostView, Counts, DeviceAsk, DeviceUseView, ExitView, FunnelStep, GangView, GrantView,
    JobDetail, JobKind, JobSummary, PortView, State, TaskUse, TaskView, UsageRow, WhatIfView, WhyView,
};
use crate::pool::inbox::Sight;
use pond_core::engine::{self, Attempt, Gang, Job, Live, Phase, Task, TaskState};
use pond_core::event::{DeviceGrant, Exit};
use pond_core::ids::{GangId, JobId, TaskId};
use pond_core::model::{self, ShareTerms};
use pond_core::money::Spent;
use pond_core::plan::{Explanation, HoldReason, Verdict, for_money};
use pond_core::snapshot::{Held, NodeOrd};
use pond_core::units::{Bytes, MilliCpu, Timestamp};
use serde_json::json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The state of a gang as the API calls it.
#[must_use]
pub fn state(gang: &Gang) -> State {
    match gang.state() {
        engine::State::Pending if gang.hold.as_ref().is_some_and(never_ends) => State::Infeasible,
        engine::State::Held | engine::State::Pending => State::Waiting,
        engine::State::Starting => State::Starting,
        engine::State::Running => State::Running,
        engine::State::Frozen => State::Frozen,
        engine::State::Paused => State::Paused,
        engine::State::Stopping => State::Stopping,
        engine::State::Succeeded => State::Succeeded,
        engine::State::Failed => State::Failed,
        engine::State::Stopped | engine::State::Cancelled => State::Stopped,
    }
}

/// Whether nothing that comes free would ever be enough. A pool that has no node yet may still get one.
fn never_ends(reason: &HoldReason) -> bool {
    match reason {
        HoldReason::Infeasible(funnel) => funnel.nodes > 0,
        HoldReason::OverQueueLimit { .. } => true,
        _ => false,
    }
}

/// The state of a job: the first of its elements' in the order of the type.
#[must_use]
pub fn job_state(job: &Job) -> State {
    job.gangs.iter().map(state).min().unwrap_or(State::Waiting)
}

/// A job as a list shows it.
#[must_use]
pub fn summary(sight: &Sight<'_>, job: &Job) -> JobSummary {
    let shapes = asked(job);
    let shape = shapes.first();
    let overall = job_state(job);
    let mut by_state: BTreeMap<String, u64> = BTreeMap::new();
    let mut nodes = BTreeSet::new();
    for gang in &job.gangs {
        *by_state.entry(state(gang).as_str().to_owned()).or_default() += 1;
        nodes.extend(gang.live().into_iter().flat_map(|live| &live.tasks).map(|task| task.node));
    }
    JobSummary {
        id: job.id.0,
        name: job.spec.name.clone(),
        kind: match job.spec.kind {
            model::JobKind::Task => JobKind::Task,
            model::JobKind::Env => JobKind::Env,
        },
        queue: job.spec.queue.to_string(),
        user: job.spec.user.to_string(),
        class: class(job.spec.class),
        priority: job.spec.priority,
        state: overall,
        reason: job_reason(sight, job),
        elements: Counts { total: job.gangs.len() as u64, by_state },
        size_min: job.spec.size.min,
        size_max: job.spec.size.max,
        request: shape.map_or_else(Default::default, |shape| amounts(shape.request)),
        devices: shape.map_or_else(Vec::new, |shape| shape.devices.iter().map(ask).collect()),
        nodes: nodes.into_iter().map(|node| node_name(sight, node)).collect(),
        submitted_ms: job.submitted.0,
        started_ms: job.gangs.iter().filter_map(began).min(),
        ended_ms: job.finished.map(|at| at.0),
        time_limit_ms: job.spec.time_limit.map(|limit| limit.0),
        predicted_ms: job.spec.predicted.map(|predicted| predicted.0),
        exit_code: job.exit_code(),
    }
}

/// What each task of a job asks for now: its first element's, with what a resize changed.
fn asked(job: &Job) -> Cow<'_, [model::Shape]> {
    job.gangs.first().map_or(Cow::Borrowed(&job.spec.shapes), |gang| gang.shapes(&job.spec))
}

/// CPU that tasks really use beyond what they are granted, and all that `spare` uses, at their last samples.
#[must_use]
pub fn burst_now(job: &Job) -> MilliCpu {
    let spare = job.spec.class == model::Class::Spare;
    let beyond = |task: &Task| {
        let granted = if spare { MilliCpu::ZERO } else { task.limits.request.cpu };
        task.samples.latest().map_or(MilliCpu::ZERO, |used| used.minus(granted))
    };
    let tasks = job.gangs.iter().filter_map(Gang::live).flat_map(|live| &live.tasks);
    tasks.map(beyond).fold(MilliCpu::ZERO, MilliCpu::plus)
}

/// A class as the API calls it.
#[must_use]
pub const fn class(class: model::Class) -> Class {
    match class {
        model::Class::Spare => Class::Spare,
        model::Class::Standard => Class::Standard,
        model::Class::Critical => Class::Critical,
    }
}

fn ask(request: &model::DeviceRequest) -> DeviceAsk {
    DeviceAsk {
        kind: word(&request.kind),
        model: request.model.clone(),
        count: request.count,
        mode: word(&request.mode),
        compute_thousandths: request.compute.0,
        memory_bytes: request.memory.0,
        profile: request.profile.clone(),
    }
}

/// When the attempt that runs began to, or the last one of a gang that is over.
fn began(gang: &Gang) -> Option<u64> {
    let at = match &gang.phase {
        Phase::Placed(live) => live.started,
        Phase::Finished { .. } => gang.last.as_ref().and_then(|attempt| attempt.started),
        Phase::Held(_) | Phase::Pending => None,
    };
    at.map(|at| at.0)
}

/// Why the last start failed of a gang that waits to be started again.
fn unstarted(gang: &Gang) -> Option<&str> {
    let Phase::Held(Held::Backoff(_)) = &gang.phase else { return None };
    gang.last.as_ref()?.unstarted.as_deref()
}

/// What there is to say of a job's state: of the first of its gangs that is in it.
#[must_use]
pub fn job_reason(sight: &Sight<'_>, job: &Job) -> Option<String> {
    let overall = job_state(job);
    job.gangs.iter().find(|gang| state(gang) == overall).and_then(|gang| reason(sight, job, gang))
}

/// How the budget that something waits for stands now: what the wait began with is of that moment.
fn present<'a>(sight: &'a Sight<'_>, spent: &'a Spent) -> &'a Spent {
    sight.engine.meter().ledger().budgets().over(&spent.queue).unwrap_or(spent)
}

fn reason(sight: &Sight<'_>, job: &Job, gang: &Gang) -> Option<String> {
    match &gang.phase {
        Phase::Held(Held::Budget(spent)) => Some(present(sight, spent).to_string()),
        Phase::Held(held) => Some(match unstarted(gang) {
            Some(why) => format!("{}; its last start failed: {why}", words::held(held)),
            None => words::held(held),
        }),
        Phase::Pending => gang.hold.as_ref().map(words::hold),
        Phase::Placed(live) if live.ending.is_some() => Some("being ended".to_owned()),
        Phase::Placed(live) if live.paused => Some("frozen by a user".to_owned()),
        Phase::Placed(live) if live.frozen.is_some() => Some("its CPU is wanted by others".to_owned()),
        Phase::Placed(live) => live.tasks.iter().find_map(|task| match task.state {
            TaskState::Starting => task.message.clone(),
            _ => None,
        }),
        Phase::Finished { outcome, .. } => words::outcome(outcome, disk(job, gang)),
    }
}

/// What the writable layer of a rank may hold; none when its alternatives differ.
fn disk(job: &Job, gang: &Gang) -> Option<Bytes> {
    let most = |request: model::Resources, burst: model::Resources| request.disk.max(burst.disk);
    let mut sizes = job.spec.shapes.iter().map(|shape| most(shape.request, shape.burst));
    let size = match &gang.resized {
        Some(limits) => most(limits.request, limits.burst),
        None => sizes.next().filter(|first| sizes.all(|size| size == *first))?,
    };
    Some(size).filter(|size| *size > Bytes::ZERO)
}

/// A job, complete. `usage`: what the meter says of it.
#[must_use]
pub fn detail(sight: &Sight<'_>, job: &Job, usage: Option<UsageRow>) -> JobDetail {
    JobDetail {
        summary: summary(sight, job),
        // A JobSpec is plain data; serde_json cannot fail on it.
        spec: serde_json::to_value(&job.spec).unwrap_or_default(),
        gangs: job.gangs.iter().map(|gang| gang_view(sight, job, gang)).collect(),
        usage,
        cost: cost(sight, job),
    }
}

/// What a job has cost; nothing while no price was ever set.
fn cost(sight: &Sight<'_>, job: &Job) -> Option<CostView> {
    let meter = sight.engine.meter();
    let sheet = meter.ledger().sheet();
    let standing = meter.cost_of(job.id).filter(|_| !sheet.prices().is_empty())?;
    Some(CostView {
        charge_micros: standing.charged,
        credit_micros: standing.credited,
        currency: sheet.currency().to_owned(),
    })
}

fn gang_view(sight: &Sight<'_>, job: &Job, gang: &Gang) -> GangView {
    let tasks = match (gang.live(), &gang.last) {
        (Some(live), _) => live.tasks.iter().map(|task| task_view(sight, gang, live, task)).collect(),
        (None, Some(last)) => ended_tasks(sight, gang.id, last),
        (None, None) => Vec::new(),
    };
    GangView {
        id: gang.id.to_string(),
        index: gang.id.index,
        state: state(gang),
        reason: reason(sight, job, gang),
        attempt: gang.attempt,
        generation: gang.generation.0,
        tasks,
        blamed: gang.last.as_ref().and_then(blamed),
        near: gang.live().map_or_else(Vec::new, |live| super::near::of_gang(sight, live)),
    }
}

/// The device that ended an attempt.
fn blamed(last: &Attempt) -> Option<BlamedView> {
    let device = last.device.as_ref()?;
    Some(BlamedView {
        attempt: last.attempt,
        node: device.at.node.to_string(),
        device: device.at.device,
        rank: device.rank,
        message: device.message.clone(),
        pool_pays: device.pool_pays,
    })
}

fn task_view(sight: &Sight<'_>, gang: &Gang, live: &Live, task: &Task) -> TaskView {
    let exit = match task.state {
        TaskState::Ended(exit) => Some(exit),
        _ => None,
    };
    let state = match task.state {
        TaskState::Starting => State::Starting,
        TaskState::Running if live.is_frozen() => State::Frozen,
        TaskState::Running if live.ending.is_some() => State::Stopping,
        TaskState::Running => State::Running,
        TaskState::Ended(exit) => ended_state(exit),
    };
    TaskView {
        id: gang.id.task(task.rank).to_string(),
        rank: task.rank,
        state,
        node: node_name(sight, task.node),
        address: task.address.clone(),
        ports: task.ports.iter().map(|&(container, host)| PortView { container, host }).collect(),
        progress: task.message.clone(),
        started_ms: task.started.map(|at| at.0),
        ended_ms: None,
        exit: exit.map(exit_view),
        request: amounts(task.limits.request),
        burst: amounts(task.limits.burst),
        squeezed_cpu_milli: task.squeezed_to().map(|limit| limit.0),
        devices: task
            .terms()
            .map(|(held, terms)| held_view(sight, gang.id.task(task.rank), task, held, terms))
            .collect(),
        use_now: task_use(sight, gang.id.task(task.rank), task),
    }
}

fn ended_tasks(sight: &Sight<'_>, gang: GangId, last: &Attempt) -> Vec<TaskView> {
    let view = |end: &engine::RankEnd| TaskView {
        id: gang.task(end.rank).to_string(),
        rank: end.rank,
        state: ended_state(end.exit),
        node: node_name(sight, end.node),
        address: None,
        ports: Vec::new(),
        progress: None,
        started_ms: last.started.map(|at| at.0),
        ended_ms: Some(last.ended.0),
        exit: Some(exit_view(end.exit)),
        request: Default::default(),
        burst: Default::default(),
        squeezed_cpu_milli: None,
        devices: Vec::new(),
        use_now: None,
    };
    last.ranks.iter().map(view).collect()
}

const fn ended_state(exit: Exit) -> State {
    match exit {
        Exit::Code(0) => State::Succeeded,
        _ => State::Failed,
    }
}

/// How a task ended, as the API writes it.
#[must_use]
pub fn exit_view(exit: Exit) -> ExitView {
    let (kind, code) = match exit {
        Exit::Code(code) => ("code", code),
        Exit::Signal(signal) => ("signal", 128_i32.saturating_add(signal)),
        Exit::OutOfMemory => ("out_of_memory", 137),
        Exit::OutOfDisk => ("out_of_disk", 1),
        Exit::DeviceError => ("device_error", 1),
        Exit::Lost => ("lost", 1),
    };
    ExitView { kind: kind.to_owned(), code }
}

/// What a task has of a device, and what it did with it.
fn held_view(sight: &Sight<'_>, id: TaskId, task: &Task, held: &DeviceGrant, terms: ShareTerms) -> GrantView {
    let devices = sight.engine.snapshot().nodes.get(task.node.0 as usize).map(|node| &node.devices);
    let row = devices.and_then(|devices| devices.get(held.device as usize));
    GrantView {
        mode: Some(word(&terms.mode)),
        partition: row.and_then(|row| super::partition(&row.spec, held)),
        use_now: device_use(sight, id, task, held.device),
        ..grant(held)
    }
}

/// Use of a share, as far as it is measured.
#[must_use]
pub fn device_use(sight: &Sight<'_>, id: TaskId, task: &Task, device: u32) -> Option<DeviceUseView> {
    let node = sight.engine.snapshot().nodes.get(task.node.0 as usize)?;
    let sample = sight.samples.get(&node.name)?.get(&id)?;
    let used = sample.devices.iter().find(|used| used.device == device)?;
    let delivered = task.device_samples.get(&device).and_then(engine::Samples::mean);
    Some(DeviceUseView {
        delivered_thousandths: delivered.map_or(0, |rate| rate.0),
        allowed_thousandths: used.allowed.0,
        memory_bytes: used.memory.0,
        real_memory_bytes: used.real_memory.map(|held| held.0),
        busy_ms: used.busy_us / 1000,
        throttled_ms: used.throttled_us / 1000,
        launches: used.launches,
        refused: used.refused,
    })
}

/// Use at the last sample.
fn task_use(sight: &Sight<'_>, id: TaskId, task: &Task) -> Option<TaskUse> {
    let node = sight.engine.snapshot().nodes.get(task.node.0 as usize)?;
    let sample = sight.samples.get(&node.name)?.get(&id)?;
    Some(TaskUse {
        cpu_milli: task.samples.latest().map_or(0, |cpu| cpu.0),
        memory_bytes: sample.memory.0,
        disk_bytes: sample.disk.0,
        pids: sample.pids,
    })
}

/// The name of a node of the snapshot.
#[must_use]
pub fn node_name(sight: &Sight<'_>, ord: NodeOrd) -> String {
    sight.engine.snapshot().nodes.get(ord.0 as usize).map(|row| row.name.to_string()).unwrap_or_default()
}

/// Why a gang is where it is. `None`: there is no such gang.
#[must_use]
pub fn why(sight: &Sight<'_>, job: JobId, index: Option<u32>) -> Option<WhyView> {
    let job = sight.engine.job(job)?;
    let gang = match index {
        Some(index) => job.gang(index)?,
        None => {
            let waits = |gang: &&Gang| matches!(state(gang), State::Waiting | State::Infeasible);
            job.gangs.iter().find(waits).or_else(|| job.gangs.first())?
        }
    };
    let explained = sight.planner.explain(sight.engine.snapshot(), gang.id, sight.now);
    let mut view = explained.map_or_else(
        || plain_why(sight, job, gang),
        |mut explanation| {
            tell_money(sight, &mut explanation);
            explanation_view(&explanation)
        },
    );
    if let Some(why) = unstarted(gang) {
        view.sentence = format!("Its last start failed: {why}. {}", view.sentence);
    }
    tell_asked(&mut view, &gang.shapes(&job.spec), job.spec.size.min);
    view.past = super::past::decided(sight, gang);
    if !state(gang).is_over() {
        view.unwell = super::machine::unwell(sight, &job.spec.shapes);
    }
    if !view.infeasible {
        view.passed_by = super::past::passed_by(sight, job, gang);
    }
    if let (Some(start), Some((early, late))) = (view.predicted_start_ms, sight.forecasts.band()) {
        // What is past cannot be foretold any more.
        let moment = |error: i64| start.saturating_add_signed(error).max(sight.now.0);
        (view.predicted_earliest_ms, view.predicted_latest_ms) = (Some(moment(early)), Some(moment(late)));
    }
    Some(view)
}

/// Elements in queues that `seen` admits that wait for money, by the queue of the budget.
#[must_use]
pub fn penniless(sight: &Sight<'_>, seen: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let jobs = sight.engine.jobs().filter(|job| job.finished.is_none() && seen(job.spec.queue.as_str()));
    let mut waiting = BTreeMap::new();
    for gang in jobs.flat_map(|job| &job.gangs) {
        if let Phase::Held(Held::Budget(spent)) = &gang.phase {
            *waiting.entry(spent.queue.to_string()).or_default() += 1;
        }
    }
    waiting
}

/// What a job asks for beside amounts: devices, and how many tasks that start together.
pub fn tell_asked(view: &mut WhyView, shapes: &[model::Shape], tasks: u32) {
    let devices = shapes.first().map(|shape| shape.devices.iter().map(ask).collect());
    view.devices = devices.unwrap_or_default();
    view.tasks = tasks;
}

/// Of what waits for money: how its budget stands now.
pub fn tell_money(sight: &Sight<'_>, explanation: &mut Explanation) {
    if let Some(HoldReason::Budget(spent)) = &mut explanation.reason {
        **spent = present(sight, spent).to_owned();
        explanation.sentence = for_money(spent, sight.now);
    }
}

/// For a gang the planner does not know: it is over, or its phase says it all.
fn plain_why(sight: &Sight<'_>, job: &Job, gang: &Gang) -> WhyView {
    let hold = gang.hold.as_ref().and_then(reason_view);
    WhyView { reason: hold, ..bare_why(gang.id.to_string(), state(gang), reason(sight, job, gang)) }
}

/// A reason as the API writes it: amounts and moments with their units, and no moment that never comes.
fn reason_view(reason: &HoldReason) -> Option<serde_json::Value> {
    let known = |moment: &Timestamp| Some(moment.0).filter(|_| *moment != Timestamp::NEVER);
    let (word, mut inside) = match reason {
        HoldReason::Budget(spent) => (
            "budget",
            json!({
                "queue": spent.queue,
                "spent_micros": spent.spent,
                "limit_micros": spent.limit,
                "currency": spent.currency,
                "until_ms": known(&spent.until),
            }),
        ),
        HoldReason::Reserved { gang, until } => {
            ("reserved", json!({ "gang": gang.to_string(), "until_ms": until.as_ref().and_then(known) }))
        }
        HoldReason::Backoff(until) => ("backoff", json!({ "until_ms": known(until) })),
        other => return serde_json::to_value(other).ok(),
    };
    if let Some(fields) = inside.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Some(json!({ word: inside }))
}

/// For a gang of the archive.
#[must_use]
pub fn why_of_the_past(gang: &GangView) -> WhyView {
    bare_why(gang.id.clone(), gang.state, gang.reason.clone())
}

fn bare_why(gang: String, state: State, reason: Option<String>) -> WhyView {
    let sentence = match reason {
        Some(reason) => format!("{}: {reason}", state.as_str()),
        None => state.as_str().to_owned(),
    };
    WhyView {
        gang,
        verdict: match state {
            state if state.is_over() => "over",
            State::Waiting | State::Infeasible | State::Paused => "waiting",
            _ => "placed",
        }
        .to_owned(),
        infeasible: state == State::Infeasible,
        sentence,
        reason: None,
        nodes: 0,
        funnel: Vec::new(),
        placeable: 0,
        needed: 0,
        position: 0,
        ahead: Vec::new(),
        unwell: Vec::new(),
        predicted_start_ms: None,
        predicted_earliest_ms: None,
        predicted_latest_ms: None,
        passed_by: Vec::new(),
        past: Vec::new(),
        what_ifs: Vec::new(),
        asked: Default::default(),
        devices: Vec::new(),
        tasks: 0,
    }
}

/// The planner's explanation as the API writes it.
#[must_use]
pub fn explanation_view(explanation: &Explanation) -> WhyView {
    WhyView {
        gang: explanation.gang.to_string(),
        verdict: match explanation.verdict {
            Verdict::Placed => "placed",
            Verdict::Waiting => "waiting",
            Verdict::NeedsYou => "needs_you",
            Verdict::NeedsAdmin => "needs_admin",
        }
        .to_owned(),
        infeasible: explanation.reason.as_ref().is_some_and(never_ends),
        sentence: explanation.sentence.clone(),
        reason: explanation.reason.as_ref().and_then(reason_view),
        nodes: explanation.funnel.nodes,
        funnel: explanation
            .funnel
            .removed
            .iter()
            .map(|(constraint, removed)| FunnelStep {
                constraint: words::constraint(constraint),
                removed: *removed,
            })
            .collect(),
        placeable: explanation.funnel.placeable,
        needed: explanation.funnel.needed,
        position: explanation.position,
        ahead: explanation.ahead.iter().map(ToString::to_string).collect(),
        unwell: Vec::new(),
        predicted_start_ms: explanation.predicted_start.map(|at| at.0),
        predicted_earliest_ms: None,
        predicted_latest_ms: None,
        passed_by: Vec::new(),
        past: Vec::new(),
        what_ifs: explanation
            .what_ifs
            .iter()
            .map(|what_if| WhatIfView {
                change: what_if.change.clone(),
                start_ms: what_if.start.map(|at| at.0),
            })
            .collect(),
        asked: amounts(explanation.asked),
        devices: Vec::new(),
        tasks: 0,
    }
}
