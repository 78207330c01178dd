//! The event log: pages, and a stream that picks up where it broke off.

use super::extract::{JobNumber, Params};
use super::guard::Caller;
use super::types::{EventPage, EventQuery, EventView, Problem};
use super::{Shared, blocking};
use crate::feed;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
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
    _caller: Caller,
    headers: HeaderMap,
    Params(query): Params<EventQuery>,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/event-stream") {
        return stream(shared, query, &headers);
    }
    page(&shared, query).await.map(|page| Json(page).into_response())
}

/// The event log of one job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", tag = "events", params(("id" = u64, Path), EventQuery),
    responses((status = 200, body = EventPage)))]
pub async fn of_job(
    Extract(shared): Extract<Shared>,
    _caller: Caller,
    JobNumber(id): JobNumber,
    Params(mut query): Params<EventQuery>,
) -> Result<Json<EventPage>, Problem> {
    query.job = Some(id);
    page(&shared, query).await.map(Json)
}

/// A page of the event log.
pub(crate) async fn page(shared: &Shared, query: EventQuery) -> Result<EventPage, Problem> {
    let limit = super::limit(query.limit)? as usize;
    let since = query.since.unwrap_or(0);
    let fresh = shared.feed.kept();
    let archive = shared.archive.clone();
    let wanted = query.clone();
    let most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let kept = blocking(move || archive.events(&wanted, most)).await??;
    let mut found: BTreeMap<u64, EventView> = kept.into_iter().map(|view| (view.seq, view)).collect();
    // What the database does not have yet is in memory.
    for view in fresh.iter().filter(|view| view.seq > since && feed::matches(&query, view)) {
        found.entry(view.seq).or_insert_with(|| (**view).clone());
    }
    let more = found.len() > limit;
    let events: Vec<EventView> = found.into_values().take(limit).collect();
    let next = events.last().filter(|_| more).map(|view| view.seq);
    Ok(EventPage { events, next })
}

fn stream(shared: Shared, query: EventQuery, headers: &HeaderMap) -> Result<Response, Problem> {
    let room = shared.room_for_a_stream()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let since = last.or(query.since).unwrap_or_else(|| shared.feed.last());
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(64);
    tokio::spawn(async move {
        let _room = room;
        follow(shared, query, since, sender).await;
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(alive).into_response())
}

/// Sends entries after `since` until the client or the server goes.
async fn follow(
    shared: Shared,
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
        for view in batch.into_iter().filter(|view| feed::matches(&query, view)) {
            let event = Event::default().id(view.seq.to_string()).event(view.kind.clone());
            let Ok(event) = event.json_data(&*view) else { return };
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
