//! The event log: pages, and a stream that picks up where it broke off.

use super::extract::{JobNumber, Params};
use super::guard::Caller;
use super::types::{EventPage, EventQuery, EventView, Problem};
use super::{Shared, blocking};
use crate::auth::rights::{Place, Right};
use crate::feed;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use pond_core::ids::JobId;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Entries read from the database at once for a stream.
const BATCH: u32 = 500;

/// The event log, oldest first; a stream when `text/event-stream` is accepted.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery,
    ("last-event-id" = Option<u64>, Header, description = "a stream goes on after this entry")),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
pub async fn list(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<EventQuery>,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/event-stream") {
        return stream(shared, caller, query, &headers);
    }
    page(&shared, &caller, query).await.map(|page| Json(page).into_response())
}

/// The event log of one job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", tag = "events", params(("id" = u64, Path), EventQuery),
    responses((status = 200, body = EventPage)))]
pub async fn of_job(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Params(mut query): Params<EventQuery>,
) -> Result<Json<EventPage>, Problem> {
    super::jobs::reach(&shared, &caller, Right::See, id).await?;
    query.job = Some(id);
    page(&shared, &caller, query).await.map(Json)
}

/// A page of the event log, cut to what the caller sees: it may be shorter than was asked for, or empty, and still have a
/// next one.
pub(crate) async fn page(shared: &Shared, caller: &Caller, query: EventQuery) -> Result<EventPage, Problem> {
    let limit = super::limit(query.limit)? as usize;
    let newest = query.newest.unwrap_or(false);
    let fresh = shared.feed.kept();
    let archive = shared.archive.clone();
    let wanted = query.clone();
    let most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let kept = blocking(move || archive.events(&wanted, most)).await??;
    let mut found: BTreeMap<u64, EventView> = kept.into_iter().map(|view| (view.seq, view)).collect();
    // What the database does not have yet is in memory.
    for view in fresh.iter().filter(|view| feed::is_on_page(&query, view)) {
        found.entry(view.seq).or_insert_with(|| (**view).clone());
    }
    let more = found.len() > limit;
    let events = found.into_values();
    let events: Vec<EventView> =
        if newest { events.rev().take(limit).collect() } else { events.take(limit).collect() };
    let next = events.last().filter(|_| more).map(|view| view.seq);
    Ok(EventPage { events: seen(shared, caller, events).await?, next })
}

/// Those entries that the caller may see, as they may see them.
///
/// What is about a job follows the job, and what is about the pool itself the pool. What is about people is the
/// administrator's, as are addresses; everybody sees their own.
async fn seen(shared: &Shared, caller: &Caller, events: Vec<EventView>) -> Result<Vec<EventView>, Problem> {
    if caller.may(Right::Operate, Place::Pool) {
        return Ok(events);
    }
    let everywhere = caller.may(Right::See, Place::Pool);
    let queues = if everywhere { BTreeMap::new() } else { queues_of(shared, &events).await? };
    let sees = |event: &EventView| match event.job {
        _ if everywhere => event.job.is_some() || !PEOPLE.iter().any(|kind| event.kind.starts_with(kind)),
        Some(job) => queues.get(&job).is_some_and(|queue| caller.may(Right::See, Place::Queue(queue))),
        None => false,
    };
    let mut seen = Vec::new();
    for mut event in events {
        let own = event.from.is_some() && event.actor == caller.principal.user.as_str();
        if own || sees(&event) {
            event.from = event.from.filter(|_| own);
            seen.push(event);
        }
    }
    Ok(seen)
}

/// Kinds of entries that are about people and what they keep to themselves.
const PEOPLE: [&str; 7] = ["access.", "login.", "role.", "secret.", "token.", "user.", "session."];

/// The queues of the jobs that entries are about, of those that are there.
async fn queues_of(shared: &Shared, events: &[EventView]) -> Result<BTreeMap<u64, String>, Problem> {
    let jobs: BTreeSet<u64> = events.iter().filter_map(|event| event.job).collect();
    let asked = jobs.clone();
    let live = shared.handle.look(move |sight| {
        let found = asked.into_iter().filter_map(|job| Some((job, sight.engine.job(JobId(job))?)));
        found.map(|(job, found)| (job, found.spec.queue.to_string())).collect::<BTreeMap<u64, String>>()
    });
    let mut queues = live.await?;
    let archive = shared.archive.clone();
    let rest: Vec<u64> = jobs.into_iter().filter(|job| !queues.contains_key(job)).collect();
    queues.extend(blocking(move || archive.queues_of(&rest)).await??);
    Ok(queues)
}

fn stream(
    shared: Shared,
    caller: Caller,
    query: EventQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let room = shared.room_for_a_stream()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let since = last.or(query.since).unwrap_or_else(|| shared.feed.last());
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(64);
    tokio::spawn(async move {
        let _room = room;
        follow(shared, caller, query, since, sender).await;
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(alive).into_response())
}

/// Sends entries after `since` until the client or the server goes.
async fn follow(
    shared: Shared,
    caller: Caller,
    query: EventQuery,
    mut since: u64,
    sender: mpsc::Sender<Result<Event, Infallible>>,
) {
    let mut news = shared.feed.follow();
    let mut stop = shared.stop.clone();
    loop {
        news.mark_unchanged();
        let batch = match shared.feed.since(since) {
            Some(batch) => batch,
            None => match older(&shared, since).await {
                Some(batch) => batch,
                None => return,
            },
        };
        let end = batch.last().map(|view| view.seq);
        let wanted =
            batch.iter().filter(|view| feed::matches(&query, view)).map(|view| (**view).clone()).collect();
        let Some(caller) = shared.gate.again(&caller) else { return };
        let Ok(wanted) = seen(&shared, &caller, wanted).await else { return };
        for view in wanted {
            let event = Event::default().id(view.seq.to_string()).event(view.kind.clone());
            let Ok(event) = event.json_data(&view) else { return };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if let Some(end) = end {
            since = end;
            continue;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
            _ = stop.wait_for(|&stop| stop) => return,
        }
    }
}

/// Entries that are no longer in memory. An empty batch would mean the log was cut behind `since`: go to what is kept.
async fn older(shared: &Shared, since: u64) -> Option<Vec<Arc<EventView>>> {
    let archive = shared.archive.clone();
    let query = EventQuery { since: Some(since), ..EventQuery::default() };
    let batch = blocking(move || archive.events(&query, BATCH)).await.ok()?.ok()?;
    match batch.is_empty() {
        true => Some(shared.feed.kept()),
        false => Some(batch.into_iter().map(Arc::new).collect()),
    }
}
