//! A job's output: all of it, its end, or as it comes.

use super::extract::{JobNumber, Params};
use super::guard::Caller;
use super::types::{JobDetail, LogLine, LogQuery, NDJSON, Problem};
use super::{Shared, blocking};
use crate::auth::rights::Right;
use crate::logs::{Gained, Tail};
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pond_core::ids::TaskId;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// How often growing files are looked at, at the least.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often the job's tasks are looked up anew while following.
const TASKS_AGAIN: Duration = Duration::from_millis(500);
/// Tasks whose output one request may read.
const MOST_TASKS: usize = 10_000;

type Chunk = Result<Bytes, io::Error>;

/// What tasks wrote. Text, each line behind its task when there are several; or one JSON object a line.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs", tag = "jobs", params(("id" = u64, Path), LogQuery),
    responses((status = 200, content((String = "text/plain"), (LogLine = "application/x-ndjson")))))]
pub async fn logs(
    Extract(shared): Extract<Shared>,
    caller: Caller,
    JobNumber(id): JobNumber,
    Params(query): Params<LogQuery>,
) -> Result<Response, Problem> {
    super::jobs::reach(&shared, &caller, Right::Handle, id).await?;
    let room = shared.room_for_a_stream()?;
    let detail = super::jobs::find(&shared, id).await?;
    let named = query.index.is_none() || detail.gangs.iter().any(|gang| Some(gang.index) == query.index);
    if !named {
        return Err(Problem::not_found("no_such_element", format!("job {id} has no such element")));
    }
    let json = query.json.unwrap_or(false);
    let kind = if json { NDJSON } else { "text/plain; charset=utf-8" };
    let (sender, receiver) = mpsc::channel::<Chunk>(8);
    tokio::spawn(pump(shared, id, detail, query, room, sender));
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Tasks the query is about, and whether the job is over.
fn wanted(detail: &JobDetail, query: &LogQuery) -> (BTreeSet<TaskId>, bool) {
    let gangs = detail.gangs.iter().filter(|gang| query.index.is_none_or(|index| gang.index == index));
    let tasks = gangs.flat_map(|gang| {
        // Before its first attempt a gang shows no tasks; rank 0 will be there.
        let known = gang.tasks.iter().filter_map(|task| task.id.parse().ok());
        let first: Option<TaskId> = gang.id.parse().ok();
        match query.rank {
            // A rank that an elastic gang has given up is not among its tasks, and its output is kept.
            Some(rank) => first.map(|task| TaskId { rank, ..task }).into_iter().collect(),
            None => known.chain(first).collect::<Vec<TaskId>>(),
        }
    });
    (tasks.take(MOST_TASKS).collect(), detail.summary.state.is_over())
}

async fn pump(
    shared: Shared,
    id: u64,
    mut detail: JobDetail,
    query: LogQuery,
    _room: OwnedSemaphorePermit,
    sender: mpsc::Sender<Chunk>,
) {
    let follow = query.follow.unwrap_or(false);
    let mut tails: Vec<Tail> = Vec::new();
    let mut stop = shared.stop.clone();
    let mut news = shared.feed.follow();
    let mut looked_up = tokio::time::Instant::now();
    loop {
        let (tasks, over) = wanted(&detail, &query);
        let several = tasks.len();
        for task in tasks {
            if !tails.iter().any(|tail| tail.task() == task) {
                tails.push(Tail::new(task, &query, several));
            }
        }
        let done = over || !follow;
        let Some((back, more)) = drain(&shared, tails, done, &query, &sender).await else { return };
        tails = back;
        if done && !more {
            return;
        }
        if more {
            continue;
        }
        let told = tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => false,
            changed = news.changed() => changed.is_ok(),
            () = sender.closed() => return,
            _ = stop.wait_for(|&stop| stop) => return,
        };
        if told || looked_up.elapsed() >= TASKS_AGAIN {
            looked_up = tokio::time::Instant::now();
            let Ok(now) = super::jobs::find(&shared, id).await else { return };
            detail = now;
        }
    }
}

/// Reads one chunk of every task. `None`: the client is gone, or a file cannot be read and it was told so.
async fn drain(
    shared: &Shared,
    mut tails: Vec<Tail>,
    done: bool,
    query: &LogQuery,
    sender: &mpsc::Sender<Chunk>,
) -> Option<(Vec<Tail>, bool)> {
    let access = shared.access.clone();
    let read = blocking(move || {
        let gained: Vec<io::Result<Gained>> =
            tails.iter_mut().map(|tail| tail.read(access.as_ref(), done)).collect();
        (tails, gained)
    });
    let (tails, gained) = read.await.ok()?;
    let several = tails.len() > 1;
    let mut more = false;
    for gained in gained {
        match gained {
            Ok(gained) => {
                more |= gained.more;
                let text = text(&gained.lines, query.json.unwrap_or(false), several);
                if !text.is_empty() && sender.send(Ok(Bytes::from(text))).await.is_err() {
                    return None;
                }
            }
            Err(why) => {
                // The client sees the body break off.
                sender.send(Err(why)).await.unwrap_or_default();
                return None;
            }
        }
    }
    Some((tails, more))
}

fn text(lines: &[LogLine], json: bool, several: bool) -> String {
    let mut text = String::new();
    for line in lines {
        if json {
            // A LogLine is text and numbers; serde_json cannot fail on it.
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
        } else {
            if several {
                text.push_str(&line.task);
                text.push_str(" | ");
            }
            text.push_str(&line.line);
        }
        text.push('\n');
    }
    text
}
