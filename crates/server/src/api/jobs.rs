//! Jobs: taking in, listing, acting, explaining.

use super::extract::{Body1, JobNumber, Params, Whole, short};
use super::guard::Caller;
use super::money::seen_budgets;
use super::types::{
    ActionBody, BudgetView, IDEMPOTENCY_KEY, JobDetail, JobPage, JobQuery, JobSummary, Preview, Problem,
    SampleSeries, State, SubmitQuery, Submitted, WhyQuery, WhyView,
};
use super::{Shared, blocking, refused};
use crate::auth;
use crate::auth::rights::{Place, Right};
use crate::notify::settings::{OWN, check_recipient};
use crate::pool::dry;
use crate::pool::inbox::Answer;
use crate::pool::view::{job as view, machine};
use crate::spans;
use crate::store::{JobFilter, Write};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pond_core::engine::{Job, Refusal};
use pond_core::event::{Effect, Request, Target};
use pond_core::ids::{JobId, QueuePath};
use pond_core::model::{Dependency, HostAccess, JobSpec, LEAST_WRITER, NotOpen, Recipient, RunSpec};
use std::collections::BTreeMap;

/// Take in a job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", params(SubmitQuery,
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body gives the same job")),
    request_body(content((Object = "application/json"), (String = "application/yaml"), (String = "application/toml"),
        (String = "text/x-shellscript"), (Object = "application/vnd.pond.spec+json"))),
    responses((status = 201, body = Submitted), (status = 200, description = "this key made it before", body = Submitted)))]
pub async fn submit(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<SubmitQuery>,
    body: Whole,
) -> Result<Response, Problem> {
    let key = idempotency(&caller, &headers, &query, &body)?;
    let (mut spec, mut warnings) = read_spec(&shared, &caller, &query, &body).await?;
    warnings.extend(absent(&shared, &spec).await?);
    spec.traceparent = spans::above(&headers);
    let request = Request::Submit(std::sync::Arc::new(spec));
    let answer = shared.handle.ask(caller.actor(), request, key).await?;
    let Answer::Job { job, repeated } = answer else {
        return Err(Problem::internal("the pool took the job and gave it no id"));
    };
    let summary = summary(&shared, job.0).await?;
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    let place = [(header::LOCATION, format!("{}/jobs/{job}", super::types::API))];
    Ok((status, place, Json(Submitted { job: summary, warnings })).into_response())
}

/// What would happen to a job if it were submitted now.
#[utoipa::path(post, path = "/api/v1/plan", tag = "jobs", params(SubmitQuery),
    request_body(content((Object = "application/json"), (String = "application/yaml"), (String = "application/toml"),
        (String = "text/x-shellscript"), (Object = "application/vnd.pond.spec+json"))),
    responses((status = 200, body = Preview)))]
pub async fn plan(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<SubmitQuery>,
    body: Whole,
) -> Result<Json<Preview>, Problem> {
    let (spec, mut warnings) = read_spec(&shared, &caller, &query, &body).await?;
    warnings.extend(absent(&shared, &spec).await?);
    let (actor, queue) = (caller.actor(), spec.queue.clone());
    let preview = shared.handle.look(move |sight| dry::run(sight, &actor, spec)).await?;
    let mut preview = preview.map_err(|refusal| refused(&refusal))?;
    preview.warnings = warnings;
    if let Some(price) = &mut preview.price {
        let budgets = seen_budgets(&shared, caller.principal).await?;
        let holds = |budget: &BudgetView| queue.is_within(&QueuePath::from(budget.queue.as_str()));
        let left = |budget: &BudgetView| budget.limit_micros.saturating_sub(budget.spent_micros);
        price.budget = budgets.into_iter().filter(holds).min_by_key(left);
    }
    Ok(Json(preview))
}

/// What the job is to be given and is not there. What it waits for may make it, so of such a job nothing is said.
async fn absent(shared: &Shared, spec: &JobSpec) -> Result<Vec<String>, Problem> {
    // Nor to whom it would tell what there is in places that are not open to them.
    if !spec.after.is_empty() || spec.run.within.is_some() {
        return Ok(Vec::new());
    }
    let (access, run) = (shared.access.clone(), spec.run.clone());
    let missing = blocking(move || access.missing(&run)).await?;
    let told = |path: String| {
        format!("`{}` is not on the machine: the job fails unless it is there when it starts", short(&path))
    };
    Ok(missing.into_iter().map(told).collect())
}

/// Keeps a job to what of the machine its queue is open to. Administrators of the pool are not bound.
async fn bind(shared: &Shared, caller: &Caller, spec: &mut JobSpec) -> Result<(), Problem> {
    let mut run = RunSpec::clone(&spec.run);
    run.within = None;
    if run.user.is_some_and(|(uid, gid)| uid == u32::MAX || gid == u32::MAX) {
        let why = "an id of 4294967295 means none";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_field", why).at("user"));
    }
    // That there is no such queue is the engine's to say.
    if !caller.may(Right::Operate, Place::Pool)
        && let Some(access) = open_to(shared, &spec.queue).await?
    {
        access.allows(&run).map_err(|it| not_open(spec.queue.as_str(), &it))?;
        run.within = Some(access.folders);
    }
    spec.run = std::sync::Arc::new(run);
    Ok(())
}

fn not_open(queue: &str, it: &NotOpen) -> Problem {
    let message = format!("jobs of `{}` may not have {}", short(queue), short(&it.what));
    let change = match (it.field, it.opens.as_deref()) {
        ("image", Some("root")) => "name an image (`image:`), or ",
        ("isolation", _) => "leave `isolation` out, or ",
        _ => "",
    };
    // The line is to be pasted: nothing of a path is left to a shell.
    let plain =
        |word: &&String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:".contains(&byte));
    let next = match &it.opens {
        Some(word) if plain(&word) => format!(
            "{change}have an administrator of the pool open it: `pond queue set {} --host +{}`",
            short(queue),
            short(word)
        ),
        Some(_) => {
            format!("{change}have an administrator of the pool open a folder around it: docs/people.md")
        }
        None if it.field == "volumes" => format!(
            "say who writes: `user: ID:GROUP` with ids of {LEAST_WRITER} or above, or end the volume in `:ro`"
        ),
        None => "give an absolute path without `..`".to_owned(),
    };
    Problem::new(StatusCode::FORBIDDEN, "not_open", message).at(it.field).with_next(next)
}

async fn read_spec(
    shared: &Shared,
    caller: &Caller,
    query: &SubmitQuery,
    body: &Whole,
) -> Result<(JobSpec, Vec<String>), Problem> {
    let (mut spec, mut warnings) = super::file::read(&body.content_type, &body.bytes, query)?;
    spec.user = caller.principal.user.clone();
    caller.must(Right::Submit, Place::Queue(spec.queue.as_str()))?;
    bind(shared, caller, &mut spec).await?;
    must_see(shared, caller, &spec.after).await?;
    let usable = |name: &String| shared.secrets.has(name) && !name.starts_with(OWN);
    if let Some(missing) = spec.run.secrets.iter().find(|name| !usable(name)) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_such_secret",
            format!("there is no secret `{}`", short(missing)),
        )
        .at("secrets")
        .with_next("have an administrator set it: `pond secret set NAME`"));
    }
    warnings.extend(unsent(shared, &mut spec));
    for to in spec.notify.iter().flat_map(|notify| &notify.to) {
        match to {
            Recipient::Subscription(name) => {
                let own = shared.notices.named(name).is_some_and(|it| it.user == spec.user.as_str());
                if !own {
                    let message = format!("you have no subscription `{}`", short(name));
                    return Err(Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "no_such_subscription",
                        message,
                    )
                    .at("notify.to")
                    .with_next("`pond notify add` makes one"));
                }
            }
            to => check_recipient(to, &shared.notices.settings()).map_err(|why| why.at("notify.to"))?,
        }
    }
    Ok((spec, warnings))
}

/// A job that the caller does not see may not be waited for, and is answered as one that is not there: before anything else of
/// the job is looked at, so that no other fault tells them apart.
async fn must_see(shared: &Shared, caller: &Caller, after: &[Dependency]) -> Result<(), Problem> {
    if caller.may(Right::See, Place::Pool) {
        return Ok(());
    }
    for awaited in after {
        let sees = match summary(shared, awaited.job.0).await {
            Ok(job) => caller.may(Right::See, Place::Job { user: &job.user, queue: &job.queue }),
            Err(problem) if problem.status == StatusCode::NOT_FOUND => false,
            Err(problem) => return Err(problem),
        };
        if !sees {
            return Err(refused(&Refusal::UnknownDependency(awaited.job)));
        }
    }
    Ok(())
}

/// Takes out of a script written for Slurm the mail that this pool does not send: there it is a line that many have and few need.
fn unsent(shared: &Shared, spec: &mut JobSpec) -> Vec<String> {
    let Some(notify) = spec.notify.as_mut().filter(|_| spec.run.slurm) else { return Vec::new() };
    let settings = shared.notices.settings();
    let mut warnings = Vec::new();
    notify.to.retain(|to| match (to, check_recipient(to, &settings)) {
        (Recipient::Email(address), Err(why)) => {
            warnings.push(format!("no mail is sent to {}: {}", short(address), why.message));
            false
        }
        _ => true,
    });
    if notify.to.is_empty() {
        spec.notify = None;
    }
    warnings
}

/// The user's key, and a hash of all that came with it.
fn idempotency(
    caller: &Caller,
    headers: &HeaderMap,
    query: &SubmitQuery,
    body: &Whole,
) -> Result<Option<(String, auth::TokenHash)>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=200).contains(&key.len())).ok_or_else(|| {
        Problem::bad_request("bad_idempotency_key", "an idempotency key has 1 to 200 characters of ASCII")
            .at(IDEMPOTENCY_KEY)
    })?;
    let what = serde_json::json!([query, body.content_type, auth::hash_bytes(&body.bytes)]);
    Ok(Some((format!("{}\n{key}", caller.principal.user), auth::hash(&what.to_string()))))
}

/// Which states a query asks for.
fn states(query: &JobQuery) -> Result<Vec<State>, Problem> {
    let all = State::ALL.into_iter();
    Ok(match query.state.as_deref() {
        None | Some("all") => Vec::new(),
        Some("active") => all.filter(|state| !state.is_over()).collect(),
        Some("over") => all.filter(|state| state.is_over()).collect(),
        Some(word) => match all.clone().find(|state| state.as_str() == word) {
            Some(state) => vec![state],
            None => {
                let known: Vec<&str> = all.map(State::as_str).collect();
                return Err(Problem::bad_request(
                    "bad_parameter",
                    format!("`{}` is not a state", short(word)),
                )
                .at("state")
                .with_next(format!("use active, over, all, or one of {}", known.join(", "))));
            }
        },
    })
}

/// List jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobQuery), responses((status = 200, body = JobPage)))]
pub async fn list(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    Params(query): Params<JobQuery>,
) -> Result<Json<JobPage>, Problem> {
    let limit = super::limit(query.limit)?;
    let states = states(&query)?;
    let roots = caller.principal.roots();
    let before = query.after.unwrap_or(u64::MAX);
    let wanted = (states.clone(), query.clone());
    let live = shared
        .handle
        .look(move |sight| {
            let (states, query) = wanted;
            let fits = |job: &&Job| {
                let spec = &job.spec;
                job.id.0 < before
                    && caller.may(Right::See, Place::Queue(spec.queue.as_str()))
                    && query.queue.as_ref().is_none_or(|queue| spec.queue.as_str() == queue)
                    && query.user.as_ref().is_none_or(|user| spec.user.as_str() == user)
                    && query.name.as_ref().is_none_or(|name| spec.name == *name)
                    && (states.is_empty() || states.contains(&view::job_state(job)))
            };
            // The drive thread has better things to do: no older job is looked at than the page holds.
            let newest = sight.engine.jobs().rev().filter(fits).take(limit as usize + 1);
            newest.map(|job| (job.id.0, view::summary(sight, job))).collect::<BTreeMap<u64, JobSummary>>()
        })
        .await?;
    let filter = JobFilter {
        roots,
        states: states.iter().map(|state| state.as_str()).collect(),
        queue: query.queue,
        user: query.user,
        name: query.name,
        before: query.after,
    };
    let mut jobs = live;
    if states.is_empty() || states.iter().any(|state| state.is_over()) {
        let archive = shared.archive.clone();
        for job in blocking(move || archive.jobs(&filter, limit + 1)).await?? {
            jobs.entry(job.id).or_insert(job);
        }
    }
    let mut page: Vec<JobSummary> = jobs.into_values().rev().take(limit as usize + 1).collect();
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| more).map(|job| job.id);
    Ok(Json(JobPage { jobs: page, next }))
}

/// A job, wherever it is kept.
pub(super) async fn find(shared: &Shared, id: u64) -> Result<JobDetail, Problem> {
    let live = shared.handle.look(move |sight| {
        sight.engine.job(JobId(id)).map(|job| view::detail(sight, job, super::usage::of_job(sight, job)))
    });
    if let Some(detail) = live.await? {
        return Ok(detail);
    }
    let archive = shared.archive.clone();
    blocking(move || archive.job(id)).await??.ok_or_else(|| no_such_job(id))
}

pub(super) fn no_such_job(id: u64) -> Problem {
    Problem::not_found("no_such_job", format!("there is no job {id}")).with_next("list jobs: `pond ps --all`")
}

pub(super) async fn summary(shared: &Shared, id: u64) -> Result<JobSummary, Problem> {
    let live =
        shared.handle.look(move |sight| sight.engine.job(JobId(id)).map(|job| view::summary(sight, job)));
    match live.await? {
        Some(summary) => Ok(summary),
        None => find(shared, id).await.map(|detail| detail.summary),
    }
}

/// The job, if the caller has this right on it.
pub(super) async fn reach(
    shared: &Shared,
    caller: &Caller,
    right: Right,
    id: u64,
) -> Result<JobSummary, Problem> {
    let job = summary(shared, id).await?;
    caller.must(right, Place::Job { user: &job.user, queue: &job.queue })?;
    if right == Right::Enter {
        must_be_bound(shared, caller, id).await?;
    }
    Ok(job)
}

/// A job that is not bound (an administrator's, or one from before there were bounds) is entered or started anew only by who
/// could have submitted it as it is.
async fn must_be_bound(shared: &Shared, caller: &Caller, id: u64) -> Result<(), Problem> {
    if caller.may(Right::Operate, Place::Pool) {
        return Ok(());
    }
    let live = shared.handle.look(move |sight| {
        sight.engine.job(JobId(id)).map(|job| (job.spec.queue.clone(), RunSpec::clone(&job.spec.run)))
    });
    let (queue, run) = match live.await? {
        Some(live) => live,
        None => {
            let mut detail = find(shared, id).await?;
            let run = detail.spec.get_mut("run").map(serde_json::Value::take).unwrap_or_default();
            let run = serde_json::from_value(run).map_err(|_why| no_such_job(id))?;
            (QueuePath::from(detail.summary.queue.as_str()), run)
        }
    };
    if run.within.is_some() {
        return Ok(());
    }
    open_to(shared, &queue)
        .await?
        .unwrap_or_default()
        .allows(&run)
        .map_err(|it| not_open(queue.as_str(), &it))
}

/// What of the machine is open to a queue; none when there is no such queue.
async fn open_to(shared: &Shared, queue: &QueuePath) -> Result<Option<HostAccess>, Problem> {
    let queue = queue.clone();
    shared.handle.look(move |sight| machine::host_access(sight.engine, &queue)).await
}

/// A job, complete. Its command and variables are shown to those who may read its output.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = u64, Path)),
    responses((status = 200, body = JobDetail)))]
pub async fn get(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
) -> Result<Json<JobDetail>, Problem> {
    let mut detail = find(&shared, id).await?;
    let place = Place::Job { user: &detail.summary.user, queue: &detail.summary.queue };
    caller.must(Right::See, place)?;
    if !caller.may(Right::Handle, place)
        && let Some(spec) = detail.spec.as_object_mut()
    {
        spec.remove("run");
    }
    Ok(Json(detail))
}

async fn act(
    shared: &Shared,
    caller: &Caller,
    id: u64,
    request: Request,
) -> Result<Json<JobSummary>, Problem> {
    reach(shared, caller, Right::Handle, id).await?;
    shared.handle.ask(caller.actor(), request, None).await?;
    summary(shared, id).await.map(Json)
}

pub(super) const fn target(id: u64, index: Option<u32>) -> Target {
    Target { job: JobId(id), index }
}

/// End a job: signal, grace, kill.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/stop", tag = "jobs", params(("id" = u64, Path)),
    request_body = Option<ActionBody>, responses((status = 200, body = JobSummary)))]
pub async fn stop(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Body1(body): Body1<ActionBody>,
) -> Result<Json<JobSummary>, Problem> {
    act(&shared, &caller, id, Request::Stop { target: target(id, body.index), now: body.now }).await
}

/// Freeze a job in place, or stop it keeping its files.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/pause", tag = "jobs", params(("id" = u64, Path)),
    request_body = Option<ActionBody>, responses((status = 200, body = JobSummary)))]
pub async fn pause(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Body1(body): Body1<ActionBody>,
) -> Result<Json<JobSummary>, Problem> {
    act(&shared, &caller, id, Request::Pause { target: target(id, body.index), release: body.release }).await
}

/// Undo a pause.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resume", tag = "jobs", params(("id" = u64, Path)),
    request_body = Option<ActionBody>, responses((status = 200, body = JobSummary)))]
pub async fn resume(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Body1(body): Body1<ActionBody>,
) -> Result<Json<JobSummary>, Problem> {
    must_be_bound(&shared, &caller, id).await?;
    act(&shared, &caller, id, Request::Resume(target(id, body.index))).await
}

/// Queue a finished job once more.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs", params(("id" = u64, Path)),
    request_body = Option<ActionBody>, responses((status = 200, body = JobSummary)))]
pub async fn retry(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Body1(body): Body1<ActionBody>,
) -> Result<Json<JobSummary>, Problem> {
    must_be_bound(&shared, &caller, id).await?;
    act(&shared, &caller, id, Request::Retry(target(id, body.index))).await
}

/// Forget a finished job and delete its files.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = u64, Path)),
    responses((status = 204)))]
pub async fn remove(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
) -> Result<StatusCode, Problem> {
    let job = reach(&shared, &caller, Right::Handle, id).await?;
    let live = shared.handle.look(move |sight| sight.engine.job(JobId(id)).is_some()).await?;
    if live {
        shared.handle.ask(caller.actor(), Request::Remove(JobId(id)), None).await?;
    } else {
        let text = format!("job {id} was removed from the archive");
        let write = Write::Forget { job: id, state: job.state.as_str().to_owned() };
        shared.handle.change(caller.actor(), write, "job.removed", text).await?;
        shared.access.apply(vec![Effect::Purge(JobId(id))]);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Why a job is where it is.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/why", tag = "jobs", params(("id" = u64, Path), WhyQuery),
    responses((status = 200, body = WhyView)))]
pub async fn why(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Params(query): Params<WhyQuery>,
) -> Result<Json<WhyView>, Problem> {
    reach(&shared, &caller, Right::See, id).await?;
    let live = shared.handle.look(move |sight| view::why(sight, JobId(id), query.index)).await?;
    if let Some(why) = live {
        return Ok(Json(why));
    }
    let detail = find(&shared, id).await?;
    let index = query.index.unwrap_or_else(|| detail.gangs.first().map_or(0, |gang| gang.index));
    match detail.gangs.iter().find(|gang| gang.index == index) {
        Some(gang) => Ok(Json(view::why_of_the_past(gang))),
        None => Err(Problem::not_found("no_such_element", format!("job {id} has no element {index}"))),
    }
}

/// What a job's tasks used over time.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/samples", tag = "jobs", params(("id" = u64, Path)),
    responses((status = 200, body = SampleSeries)))]
pub async fn samples(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
) -> Result<Json<SampleSeries>, Problem> {
    reach(&shared, &caller, Right::See, id).await?;
    let tasks = shared.handle.look(move |sight| sight.trails.of_job(JobId(id))).await?;
    Ok(Json(SampleSeries { tasks }))
}
