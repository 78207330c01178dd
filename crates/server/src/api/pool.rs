//! The pool as a whole: its state, nodes, devices, queues, the server itself.

use super::Shared;
use super::extract::{Body1, Name, short};
use super::guard::Caller;
use super::types::{
    DeviceView, Health, LabelBody, NodeView, Problem, QueueBody, QueueTrial, QueueView, SchedulerBody,
    SchedulerView, ShutdownBody, StatusView, Version, WhoView,
};
use crate::auth::rights::{Grants, Place, Principal, Right, above};
use crate::pool::inbox::{Conditions, Sight};
use crate::pool::trial;
use crate::pool::view::machine as view;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use pond_core::event::Request;
use pond_core::ids::{NodeName, QueuePath, TaskId};
use pond_core::model::{HostAccess, QueueSpec};
use pond_core::plan::named::Choice;
use pond_core::snapshot::PlacementPolicy;
use std::sync::atomic::Ordering;

/// The policy of a pool for which nobody chose one.
const STARTED: &str = "fair";

/// Whether the pool works. Needs no token.
#[utoipa::path(get, path = "/api/v1/health", tag = "pool", security(()),
    responses((status = 200, body = Health), (status = 503, description = "read-only or stopping", body = Health)))]
pub async fn health(Extract(shared): Extract<Shared>) -> Result<(StatusCode, Json<Health>), Problem> {
    let condition = shared.handle.condition.clone();
    let health = shared.handle.look(move |sight| view::health(sight, &condition)).await?;
    let status = match shared.handle.condition.get() {
        Conditions::Ok => StatusCode::OK,
        Conditions::ReadOnly | Conditions::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(health)))
}

/// Which program answers.
#[utoipa::path(get, path = "/api/v1/version", tag = "pool", responses((status = 200, body = Version)))]
pub async fn version(Extract(shared): Extract<Shared>, _caller: Caller) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: vec!["v1".to_owned()],
        started_ms: shared.started_ms,
        pid: std::process::id(),
    })
}

/// Whom the token stands for, and what it lets them do.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "pool", responses((status = 200, body = WhoView)))]
pub async fn whoami(caller: Caller) -> Json<WhoView> {
    let who = &caller.principal;
    let roles = who.roots().into_iter().filter_map(|path| Some((path.clone(), who.role_at(&path)?)));
    let roles: Grants = roles.collect();
    Json(WhoView { user: who.user.to_string(), admin: who.may(Right::Operate, Place::Pool), roles })
}

/// The pool in one object.
#[utoipa::path(get, path = "/api/v1/status", tag = "pool", responses((status = 200, body = StatusView)))]
pub async fn status(Extract(shared): Extract<Shared>, _caller: Caller) -> Result<Json<StatusView>, Problem> {
    shared.status().await.map(Json)
}

/// Every node.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "pool", responses((status = 200, body = Vec<NodeView>)))]
pub async fn nodes(Extract(shared): Extract<Shared>, caller: Caller) -> Result<Json<Vec<NodeView>>, Problem> {
    let read = move |sight: &Sight<'_>| {
        let mut nodes = view::nodes(sight);
        let devices = nodes.iter_mut().flat_map(|node| &mut node.devices);
        veil(sight, &caller.principal, devices);
        nodes
    };
    shared.handle.look(read).await.map(Json)
}

/// Takes away whose task is on a device, where the caller may not know: that it is taken is everybody's business.
fn veil<'a>(sight: &Sight<'_>, who: &Principal, devices: impl Iterator<Item = &'a mut DeviceView>) {
    if who.may(Right::See, Place::Pool) {
        return;
    }
    for holder in devices.flat_map(|device| &mut device.holders) {
        let task = holder.task.parse::<TaskId>().ok();
        let job = task.and_then(|task| sight.engine.job(task.gang.job));
        if !job.is_some_and(|job| who.may(Right::See, Place::Queue(job.spec.queue.as_str()))) {
            holder.user.clear();
        }
    }
}

/// A node.
#[utoipa::path(get, path = "/api/v1/nodes/{node}", tag = "pool", params(("node" = String, Path)),
    responses((status = 200, body = NodeView)))]
pub async fn node(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<NodeView>, Problem> {
    find_node(&shared, &caller, name).await.map(Json)
}

async fn find_node(shared: &Shared, caller: &Caller, name: String) -> Result<NodeView, Problem> {
    let missing = format!("there is no node `{}`", short(&name));
    let who = caller.principal.clone();
    let read = move |sight: &Sight<'_>| {
        let mut found = view::node_named(sight, &name)?;
        veil(sight, &who, found.devices.iter_mut());
        Some(found)
    };
    let found = shared.handle.look(read).await?;
    found.ok_or_else(|| Problem::not_found("no_such_node", missing).with_next("list them: `pond node ls`"))
}

async fn on_node(
    shared: &Shared,
    caller: &Caller,
    name: String,
    request: Request,
) -> Result<Json<NodeView>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    find_node(shared, caller, name.clone()).await?;
    shared.handle.ask(caller.actor(), request, None).await?;
    find_node(shared, caller, name).await.map(Json)
}

/// Take no more tasks on a node; running ones stay.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", tag = "pool", params(("node" = String, Path)),
    responses((status = 200, body = NodeView)))]
pub async fn drain(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<NodeView>, Problem> {
    let request = Request::Drain { node: NodeName::from(name.clone()), on: true };
    on_node(&shared, &caller, name, request).await
}

/// Take tasks on a node again.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/resume", tag = "pool", params(("node" = String, Path)),
    responses((status = 200, body = NodeView)))]
pub async fn resume(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<NodeView>, Problem> {
    let request = Request::Drain { node: NodeName::from(name.clone()), on: false };
    on_node(&shared, &caller, name, request).await
}

/// Set labels of a node; an empty value removes one.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/label", tag = "pool", params(("node" = String, Path)),
    request_body = LabelBody, responses((status = 200, body = NodeView)))]
pub async fn label(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(name): Name,
    Body1(body): Body1<LabelBody>,
) -> Result<Json<NodeView>, Problem> {
    let request = Request::Label { node: NodeName::from(name.clone()), labels: body.labels };
    on_node(&shared, &caller, name, request).await
}

/// Every device.
#[utoipa::path(get, path = "/api/v1/devices", tag = "pool", responses((status = 200, body = Vec<DeviceView>)))]
pub async fn devices(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<DeviceView>>, Problem> {
    let read = move |sight: &Sight<'_>| {
        let mut devices = view::devices(sight);
        veil(sight, &caller.principal, devices.iter_mut());
        devices
    };
    shared.handle.look(read).await.map(Json)
}

/// Every queue that the caller sees, and those above, parents before their children.
#[utoipa::path(get, path = "/api/v1/queues", tag = "queues", responses((status = 200, body = Vec<QueueView>)))]
pub async fn queues(
    Extract(shared): Extract<Shared>,
    caller: Caller,
) -> Result<Json<Vec<QueueView>>, Problem> {
    let mut queues = shared.handle.look(view::queues).await?;
    queues.retain(|queue| caller.principal.sees_way_to(&queue.path));
    Ok(Json(queues))
}

/// How the pool decides.
#[utoipa::path(get, path = "/api/v1/scheduler", tag = "pool", responses((status = 200, body = SchedulerView)))]
pub async fn scheduler(
    Extract(shared): Extract<Shared>,
    _caller: Caller,
) -> Result<Json<SchedulerView>, Problem> {
    // Settings are plain data; serde_json cannot fail on them.
    let read = |sight: &Sight<'_>| {
        let settings = serde_json::to_value(&sight.engine.settings().plan).unwrap_or_default();
        let policy = sight.engine.choice().map(|choice| choice.policy.clone());
        (settings, policy, sight.forecasts.view(), sight.earlier.view())
    };
    let (settings, policy, forecasts, predictions) = shared.handle.look(read).await?;
    let plans = shared.tallies.plans.load(Ordering::Relaxed);
    let violations = shared.tallies.violations.load(Ordering::Relaxed);
    Ok(Json(SchedulerView { settings, policy, plans, violations, forecasts, predictions }))
}

/// Choose how the pool decides: from the next plan on, and after every restart. What runs goes on.
#[utoipa::path(put, path = "/api/v1/scheduler", tag = "pool", request_body = SchedulerBody,
    responses((status = 200, body = SchedulerView)))]
pub async fn set_scheduler(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Body1(body): Body1<SchedulerBody>,
) -> Result<Json<SchedulerView>, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    let placement = body.placement.map(|word| {
        let known = serde_json::from_value::<PlacementPolicy>(serde_json::Value::String(word.clone()));
        known.map_err(|_why| {
            let message = format!("no placement policy is called `{}`", short(&word));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_policy", message)
                .at("placement")
                .with_next("`pond sched set --help` lists them")
        })
    });
    let placement = placement.transpose()?;
    let reset = body.policy.is_none() && placement.is_none();
    let choose = move |sight: &Sight<'_>| {
        let policy = body.policy.or_else(|| Some(sight.engine.choice()?.policy.clone()));
        let placement = placement.unwrap_or(sight.engine.settings().plan.placement);
        Choice { policy: policy.unwrap_or_else(|| STARTED.to_owned()), placement }
    };
    let choice = if reset { None } else { Some(shared.handle.look(choose).await?) };
    shared.handle.ask(caller.actor(), Request::SetPolicy(choice), None).await?;
    scheduler(Extract(shared), caller).await
}

pub(super) async fn find_queue(shared: &Shared, path: String) -> Result<QueueView, Problem> {
    let missing = format!("there is no queue `{}`", short(&path));
    let queues = shared.handle.look(view::queues).await?;
    let found = queues.into_iter().find(|queue| queue.path == path);
    found.ok_or_else(|| Problem::not_found("no_such_queue", missing).with_next("list them: `pond queue ls`"))
}

/// A queue. The path may hold slashes.
#[utoipa::path(get, path = "/api/v1/queues/{path}", tag = "queues", params(("path" = String, Path)),
    responses((status = 200, body = QueueView)))]
pub async fn queue(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
) -> Result<Json<QueueView>, Problem> {
    if !caller.principal.sees_way_to(&path) {
        caller.must(Right::See, Place::Queue(&path))?;
    }
    find_queue(&shared, path).await.map(Json)
}

/// Make or change a queue.
#[utoipa::path(put, path = "/api/v1/queues/{path}", tag = "queues", params(("path" = String, Path)),
    request_body = QueueBody, responses((status = 200, body = QueueView)))]
pub async fn set_queue(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
    Body1(body): Body1<QueueBody>,
) -> Result<Json<QueueView>, Problem> {
    let spec = wanted_queue(&shared, &caller, &path, &body).await?;
    shared.handle.ask(caller.actor(), Request::SetQueue(Box::new(spec)), None).await?;
    find_queue(&shared, path).await.map(Json)
}

/// What a caller may set of a queue. What of the machine is open is the pool's, not the project's.
async fn wanted_queue(
    shared: &Shared,
    caller: &Caller,
    path: &str,
    body: &QueueBody,
) -> Result<QueueSpec, Problem> {
    caller.must(Right::Shape, Place::Queue(above(path)))?;
    let mut spec =
        view::queue_spec(path, body).map_err(|kind| no_such_kind(&kind).at("device_thousandths"))?;
    let bad =
        |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", why).at("host.folders");
    spec.host.as_ref().map_or(Ok(()), HostAccess::check).map_err(bad)?;
    if !caller.may(Right::Operate, Place::Pool) {
        let own = own_host(shared, path).await?;
        if spec.host.is_some() && spec.host != own {
            return caller.must(Right::Operate, Place::Pool).map(|()| spec).map_err(|why| why.at("host"));
        }
        spec.host = own;
    }
    Ok(spec)
}

/// What a queue itself says of what is open.
async fn own_host(shared: &Shared, path: &str) -> Result<Option<HostAccess>, Problem> {
    let name = path.to_owned();
    let now = shared.handle.look(move |sight| view::queue_named(sight.engine, &name)).await?;
    Ok(now.and_then(|now| now.settings.host).map(Into::into))
}

/// What would happen if a queue were set like this: who would be evicted, held back, started. Changes nothing.
#[utoipa::path(post, path = "/api/v1/plan/queues/{path}", tag = "queues", params(("path" = String, Path)),
    request_body = QueueBody, responses((status = 200, body = QueueTrial)))]
pub async fn try_queue(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
    Body1(body): Body1<QueueBody>,
) -> Result<Json<QueueTrial>, Problem> {
    let spec = wanted_queue(&shared, &caller, &path, &body).await?;
    let actor = caller.actor();
    let tried = shared.handle.look(move |sight| trial::queue(sight, &caller.principal, &actor, spec)).await?;
    tried.map(Json).map_err(|refusal| super::refused(&refusal))
}

/// Remove an empty queue.
#[utoipa::path(delete, path = "/api/v1/queues/{path}", tag = "queues", params(("path" = String, Path)),
    responses((status = 204)))]
pub async fn remove_queue(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Name(path): Name,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Shape, Place::Queue(above(&path)))?;
    find_queue(&shared, path.clone()).await?;
    if own_host(&shared, &path).await?.is_some() {
        // Made anew it would have what is open to the queue above.
        caller.must(Right::Operate, Place::Pool).map_err(|why| why.at("host"))?;
    }
    shared.handle.ask(caller.actor(), Request::RemoveQueue(QueuePath::from(path)), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End the server. Tasks stay for the next one with `keep`, otherwise they are stopped first.
#[utoipa::path(post, path = "/api/v1/shutdown", tag = "pool", request_body = Option<ShutdownBody>,
    responses((status = 202)))]
pub async fn shutdown(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Body1(body): Body1<ShutdownBody>,
) -> Result<StatusCode, Problem> {
    caller.must(Right::Operate, Place::Pool)?;
    shared.handle.condition.set(Conditions::Stopping, String::new());
    shared.handle.stop(body.keep);
    Ok(StatusCode::ACCEPTED)
}

/// A name that is no kind of device.
pub(super) fn no_such_kind(name: &str) -> Problem {
    let what = format!("`{}` is not a kind of device", short(name));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", what)
        .with_next("use gpu, fpga, npu or opencl")
}
