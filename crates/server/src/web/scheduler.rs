//! How the pool decides: policies and their settings, and how well its predictions hold.

use super::session::Visitor;
use super::{Page, Shell, assets, render, show};
use crate::api::types::SchedulerView;
use crate::api::{Shared, pool};
use askama::Template;
use axum::extract::State as Extract;
use axum::http::Uri;

#[derive(Template)]
#[template(path = "scheduler.html")]
struct SchedulerPage {
    shell: Shell,
    view: SchedulerView,
}

impl SchedulerPage {
    /// The settings that say most, in words.
    fn rows(&self) -> Vec<(&'static str, String, &'static str)> {
        let word = |name: &str| match &self.view.settings[name] {
            serde_json::Value::String(word) => word.replace('_', " "),
            other => other.to_string(),
        };
        let span = |name: &str| show::span(self.view.settings[name].as_u64().unwrap_or(0));
        let part = |name: &str| show::percent(self.view.settings[name].as_u64().unwrap_or(0));
        let reserved = match word("reservations") {
            all if all == u32::MAX.to_string() => "everybody".to_owned(),
            some => some,
        };
        let policy = self.view.policy.clone().unwrap_or_else(|| "fair".to_owned());
        vec![
            ("Policy", policy, "pond sched set chooses another"),
            ("Queues", word("queues"), "which queue is served next"),
            ("Order", word("order"), "which job of it is tried first"),
            ("Placement", word("placement"), "which machine is filled first"),
            ("Backfill", word("backfill"), "who may pass a job that is blocked"),
            ("Reservations", reserved, "jobs at the head of the line for which room is kept"),
            ("Fair share forgets half in", span("half_life"), ""),
            ("Patience", span("patience"), "a job blocked this long may have machines drained for it"),
            ("Calm", span("calm"), "a job once evicted is left alone this long"),
            ("Kept back from spare", part("lend_margin"), "of each machine's CPU"),
        ]
    }
}

/// The scheduler.
pub async fn page(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    let shell = Shell::new(&visitor, "Scheduler", "scheduler", &here);
    let view = pool::scheduler(Extract(shared), visitor.caller).await?.0;
    render(&SchedulerPage { shell, view })
}
