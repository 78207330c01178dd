//! One job: why it is where it is, what happened, its ranks, what it uses, its output and its request.

use super::form::Signed;
use super::session::Visitor;
use super::{Oops, Page, Shell, assets, joined, render, show, usage};
use crate::api::extract::{Body1, JobNumber, Params};
use crate::api::types::{
    ActionBody, BlamedView, EventQuery, EventView, GangView, JobDetail, JobKind, LogLine, LogQuery, Problem,
    WhyQuery, WhyView,
};
use crate::api::{Shared, events, jobs, output};
use crate::auth::rights::{Place, Right};
use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Extract};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

/// Entries of the event log shown.
const EVENTS: u32 = 1000;
/// Ranks and elements shown.
const ROWS: usize = 200;
/// Lines of output shown at first, and at most.
const LINES: u64 = 400;
const MOST_LINES: u64 = 5000;
/// Bytes of output read for a page.
const MOST_OUTPUT: usize = 8 << 20;

/// A stretch of the bar over the timeline.
struct Stretch {
    state: &'static str,
    from: u64,
    width: u64,
    took: String,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    shell: Shell,
    tab: &'static str,
    job: JobDetail,
    why: Option<WhyView>,
    events: Vec<EventView>,
    stretches: Vec<Stretch>,
    mine: bool,
    is_env: bool,
    index: Option<u32>,
}

impl JobPage {
    fn rows() -> usize {
        ROWS
    }

    /// Whether nothing keeps it but devices that are not well.
    fn awaits_devices(&self) -> bool {
        let reason = self.why.as_ref().and_then(|why| why.reason.as_ref());
        reason.is_some_and(|reason| reason.get("unwell").is_some())
    }

    /// Elements whose last attempt was ended by a device.
    fn blamed(&self) -> Vec<(&GangView, &BlamedView)> {
        let gangs = self.job.gangs.iter();
        gangs.filter_map(|gang| gang.blamed.as_ref().map(|blamed| (gang, blamed))).take(ROWS).collect()
    }

    fn is_array(&self) -> bool {
        self.job.summary.elements.total > 1
    }
}

/// Which element of an array. What is not known of an address is nothing to the page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Chosen {
    index: Option<u32>,
}

/// The job; `?index=` chooses the element that is explained.
pub async fn page(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    JobNumber(id): JobNumber,
    Params(chosen): Params<Chosen>,
) -> Page {
    let state = || Extract(shared.clone());
    let caller = || visitor.caller.clone();
    let job = jobs::get(state(), caller(), JobNumber(id)).await?.0;
    let index = chosen.index;
    let why =
        jobs::why(state(), caller(), JobNumber(id), Params(WhyQuery { index })).await.map(|why| why.0).ok();
    let query = EventQuery { limit: Some(EVENTS), ..EventQuery::default() };
    let events = events::of_job(state(), caller(), JobNumber(id), Params(query)).await?.0.events;
    let shell = Shell::new(&visitor, format!("{} · {id}", job.summary.name), "queue", &here);
    let stretches = stretches(&job, &events, shell.now);
    let mine =
        visitor.caller.may(Right::Handle, Place::Job { user: &job.summary.user, queue: &job.summary.queue });
    let is_env = job.summary.kind == JobKind::Env;
    render(&JobPage { shell, tab: "overview", job, why, events, stretches, mine, index, is_env })
}

/// Kinds of entries of the event log, and what a gang is in from then on.
const LIFE: [(&str, &str); 8] = [
    ("gang.held", "waiting"),
    ("gang.pending", "waiting"),
    ("gang.starting", "starting"),
    ("gang.running", "running"),
    ("gang.frozen", "frozen"),
    ("gang.paused", "paused"),
    ("gang.stopping", "stopping"),
    ("gang.evicted", "stopping"),
];

/// How the time of a plain job was spent, from its event log: waiting, starting, running, and so on.
fn stretches(job: &JobDetail, events: &[EventView], now: u64) -> Vec<Stretch> {
    if job.summary.elements.total != 1 {
        return Vec::new();
    }
    let state = |event: &EventView| {
        let found = LIFE.iter().find(|(kind, _)| *kind == event.kind);
        found.map(|(_, state)| *state)
    };
    let begin = job.summary.submitted_ms;
    let end = job.summary.ended_ms.unwrap_or(now).max(begin + 1);
    let mut edges = vec![(begin, "waiting")];
    for (at, state) in events.iter().filter_map(|event| Some((event.at_ms, state(event)?))) {
        if edges.last().is_some_and(|(_, before)| *before != state) {
            edges.push((at.clamp(begin, end), state));
        }
    }
    let ends = edges.iter().skip(1).map(|(at, _)| *at).chain([end]).collect::<Vec<_>>();
    let place = |at: u64| show::part(at - begin, end - begin);
    let stretch = |(&(from, state), to): (&(u64, &'static str), u64)| Stretch {
        state,
        from: place(from),
        width: place(to).saturating_sub(place(from)),
        took: show::span(to.saturating_sub(from)),
    };
    edges.iter().zip(ends).map(stretch).collect()
}

/// Which lines of output a page shows.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogWish {
    index: String,
    rank: String,
    attempt: String,
    grep: String,
    lines: Option<u64>,
}

impl LogWish {
    fn query(&self) -> Result<LogQuery, Problem> {
        let number = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_why| {
                Problem::bad_request("bad_parameter", format!("{name} is a whole number")).at(name)
            }),
        };
        Ok(LogQuery {
            index: number("index", &self.index)?,
            rank: number("rank", &self.rank)?,
            attempt: number("attempt", &self.attempt)?,
            grep: (!self.grep.is_empty()).then(|| self.grep.clone()),
            tail: Some(self.lines.unwrap_or(LINES).min(MOST_LINES)),
            json: Some(true),
            ..LogQuery::default()
        })
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    shell: Shell,
    tab: &'static str,
    job: JobDetail,
    wish: LogWish,
    lines: Vec<LogLine>,
    cut: bool,
    mine: bool,
    is_env: bool,
}

impl LogsPage {
    fn several(&self) -> bool {
        self.lines.first().is_some_and(|first| self.lines.iter().any(|line| line.task != first.task))
    }
}

/// The end of what a job wrote; lines of several tasks in the order in which they came.
pub async fn logs(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    JobNumber(id): JobNumber,
    Params(wish): Params<LogWish>,
) -> Page {
    let (state, caller) = (Extract(shared.clone()), visitor.caller.clone());
    let job = jobs::get(state, caller.clone(), JobNumber(id)).await?.0;
    let query = wish.query()?;
    let most = usize::try_from(query.tail.unwrap_or(LINES)).unwrap_or(usize::MAX);
    let answer = output::logs(Extract(shared), caller, JobNumber(id), Params(query)).await?;
    let body = axum::body::to_bytes(answer.into_body(), MOST_OUTPUT).await;
    let body = body.map_err(|_large_or_broken| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "output_too_large",
            "its last lines are too long for a page",
        )
        .with_next(format!("read them with `pond logs {id}`"))
    })?;
    let mut lines: Vec<LogLine> =
        body.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    // The sort is stable: what has no moment keeps its place beside its neighbours of the same task.
    lines.sort_by_key(|line| line.at_ms);
    let cut = lines.len() >= most;
    lines.drain(..lines.len().saturating_sub(most));
    let shell = Shell::new(&visitor, format!("Output of {} · {id}", job.summary.name), "queue", &here);
    let mine =
        visitor.caller.may(Right::Handle, Place::Job { user: &job.summary.user, queue: &job.summary.queue });
    let is_env = job.summary.kind == JobKind::Env;
    render(&LogsPage { shell, tab: "logs", job, wish, lines, cut, mine, is_env })
}

#[derive(Template)]
#[template(path = "spec.html")]
struct SpecPage {
    shell: Shell,
    tab: &'static str,
    job: JobDetail,
    text: String,
    mine: bool,
    is_env: bool,
}

/// The complete request.
pub async fn spec(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    JobNumber(id): JobNumber,
) -> Page {
    let job = jobs::get(Extract(shared), visitor.caller.clone(), JobNumber(id)).await?.0;
    let shell = Shell::new(&visitor, format!("Request of {} · {id}", job.summary.name), "queue", &here);
    // The spec came from JSON; serde_json cannot fail on it.
    let text = serde_json::to_string_pretty(&job.spec).unwrap_or_default();
    let mine =
        visitor.caller.may(Right::Handle, Place::Job { user: &job.summary.user, queue: &job.summary.queue });
    let is_env = job.summary.kind == JobKind::Env;
    render(&SpecPage { shell, tab: "spec", job, text, mine, is_env })
}

/// Use over time, for the charts.
pub async fn samples(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    number: JobNumber,
) -> Result<Response, Oops> {
    Ok(jobs::samples(Extract(shared), visitor.caller, number).await?.into_response())
}

/// What a button of a job does.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Signal, grace, kill.
    Stop,
    /// Kill.
    Kill,
    /// Freeze in place.
    Pause,
    /// Stop and give everything back, keeping files.
    Release,
    /// Undo a pause.
    Resume,
    /// Queue it once more.
    Retry,
    /// Forget it.
    Remove,
}

/// Carries out what a button says.
pub async fn act(
    Extract(shared): Extract<Shared>,
    deed: Result<Path<(u64, Deed)>, PathRejection>,
    form: Signed,
) -> Result<Response, Oops> {
    let Path((id, deed)) = deed.map_err(|_unknown| super::nowhere())?;
    let caller = form.visitor.caller;
    let state = Extract(shared);
    let number = JobNumber(id);
    let index = form.fields.number("index")?.map(|index| u32::try_from(index).unwrap_or(u32::MAX));
    let body = |now, release| Body1(ActionBody { index, now, release });
    let done = match deed {
        Deed::Stop => jobs::stop(state, caller, number, body(false, false)).await,
        Deed::Kill => jobs::stop(state, caller, number, body(true, false)).await,
        Deed::Pause => jobs::pause(state, caller, number, body(false, false)).await,
        Deed::Release => jobs::pause(state, caller, number, body(false, true)).await,
        Deed::Resume => jobs::resume(state, caller, number, body(false, false)).await,
        Deed::Retry => jobs::retry(state, caller, number, body(false, false)).await,
        Deed::Remove => {
            jobs::remove(state, caller, number).await?;
            return Ok(Redirect::to("/queue").into_response());
        }
    };
    drop(done?);
    Ok(Redirect::to(&format!("/jobs/{id}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: u64, kind: &str) -> EventView {
        let text = String::new();
        EventView {
            seq: 0,
            at_ms,
            actor: text.clone(),
            from: None,
            kind: kind.to_owned(),
            job: None,
            subject: None,
            node: None,
            text,
        }
    }

    #[test]
    fn the_bar_covers_the_whole_life_without_gaps() {
        let summary = serde_json::json!({"id": 1, "name": "n", "kind": "task", "queue": "", "user": "u", "class": "spare",
            "priority": 0, "state": "succeeded", "elements": {"total": 1, "by_state": {}}, "size_min": 1, "size_max": 1,
            "request": {"cpu_milli": 0, "memory_bytes": 0, "disk_bytes": 0}, "submitted_ms": 1000, "ended_ms": 11000,
            "spec": {}, "gangs": []});
        let job: JobDetail = serde_json::from_value(summary).unwrap();
        let events = [
            event(1000, "job.submitted"),
            event(1000, "gang.pending"),
            event(3000, "gang.starting"),
            event(3500, "gang.running"),
            event(11000, "gang.succeeded"),
        ];
        let found = stretches(&job, &events, 99_000);
        let found: Vec<_> =
            found.iter().map(|part| (part.state, part.from, part.width, part.took.as_str())).collect();
        assert_eq!(
            found,
            [("waiting", 0, 200, "2s"), ("starting", 200, 50, "500ms"), ("running", 250, 750, "7s")]
        );
    }
}
