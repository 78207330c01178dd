//! Lists of jobs: the queue, and environments.

use super::session::Visitor;
use super::{Page, Shell, assets, render, show};
use crate::api::extract::Params;
use crate::api::types::{JobKind, JobPage, JobQuery, JobSummary, QueueView, State, StatusView, TaskView};
use crate::api::{Shared, jobs, pool};
use askama::Template;
use axum::extract::State as Extract;
use axum::http::Uri;
use serde::Deserialize;

/// Jobs of a page.
const PAGE: u32 = 100;
/// Environments shown.
const ENVS: usize = 100;

/// What is asked of the queue. Empty fields of a form count as absent.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Wish {
    state: String,
    queue: String,
    user: String,
    name: String,
    after: Option<u64>,
}

impl Wish {
    fn query(&self) -> JobQuery {
        let some = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        JobQuery {
            state: some(&self.state).or_else(|| Some("active".to_owned())),
            queue: some(&self.queue),
            user: some(&self.user),
            name: some(&self.name),
            limit: Some(PAGE),
            after: self.after,
        }
    }

    fn is_plain(&self) -> bool {
        self.queue.is_empty() && self.user.is_empty() && self.name.is_empty() && self.after.is_none()
    }

    /// The address of the page behind this one.
    fn next(&self, after: u64) -> String {
        let pairs =
            [("state", &self.state), ("queue", &self.queue), ("user", &self.user), ("name", &self.name)];
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        let given: String = given.map(|(key, value)| format!("{key}={}&", show::in_query(value))).collect();
        format!("/queue?{given}after={after}")
    }
}

/// What can be chosen, and its name.
const STATES: [(&str, &str); 8] = [
    ("active", "Active"),
    ("waiting", "Waiting"),
    ("running", "Running"),
    ("infeasible", "Infeasible"),
    ("paused", "Paused"),
    ("failed", "Failed"),
    ("over", "Over"),
    ("all", "All"),
];

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    shell: Shell,
    wish: Wish,
    chosen: String,
    jobs: Vec<JobSummary>,
    next: Option<String>,
    queues: Vec<QueueView>,
    status: StatusView,
}

impl QueuePage {
    /// How many elements are in a state, for those of which the pool keeps count.
    fn count(&self, state: &str) -> Option<u64> {
        if state == "active" {
            return Some(self.status.elements.values().sum());
        }
        let counted = State::ALL.iter().find(|known| known.as_str() == state && !known.is_over())?;
        Some(self.status.elements.get(counted.as_str()).copied().unwrap_or(0))
    }

    fn is_chosen(&self, word: &str) -> bool {
        self.chosen == word
    }

    fn states() -> &'static [(&'static str, &'static str)] {
        &STATES
    }
}

/// Jobs, newest first.
pub async fn page(
    Extract(shared): Extract<Shared>,
    visitor: Visitor,
    here: Uri,
    Params(wish): Params<Wish>,
) -> Page {
    let shell = Shell::new(&visitor, "Queue", "queue", &here);
    let query = wish.query();
    let chosen = query.state.clone().unwrap_or_default();
    let found = jobs::list(Extract(shared.clone()), visitor.caller.clone(), Params(query)).await?.0;
    let queues = pool::queues(Extract(shared.clone()), visitor.caller.clone()).await?.0;
    let status = shared.status().await?;
    let JobPage { jobs, next } = found;
    let next = next.map(|after| wish.next(after));
    render(&QueuePage { shell, wish, chosen, jobs, next, queues, status })
}

#[derive(Template)]
#[template(path = "envs.html")]
struct EnvsPage {
    shell: Shell,
    envs: Vec<(JobSummary, Vec<TaskView>)>,
}

/// Environments that are not over.
pub async fn envs(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    let shell = Shell::new(&visitor, "Environments", "envs", &here);
    let query = JobQuery { state: Some("active".to_owned()), limit: Some(1000), ..JobQuery::default() };
    let found = jobs::list(Extract(shared.clone()), visitor.caller.clone(), Params(query)).await?.0;
    let mut envs = Vec::new();
    for job in found.jobs.into_iter().filter(|job| job.kind == JobKind::Env).take(ENVS) {
        let number = crate::api::extract::JobNumber(job.id);
        // One that ended meanwhile is shown without its tasks.
        let detail = jobs::get(Extract(shared.clone()), visitor.caller.clone(), number).await;
        let tasks = detail.map_or_else(
            |_gone| Vec::new(),
            |detail| detail.0.gangs.into_iter().flat_map(|gang| gang.tasks).collect(),
        );
        envs.push((job, tasks));
    }
    render(&EnvsPage { shell, envs })
}
