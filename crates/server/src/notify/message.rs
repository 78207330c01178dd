//! What a message says: a line, a body of JSON for webhooks, a text for mail.

use super::reader::JobFacts;
use crate::api::types::{EventView, Topic};
use crate::web::stamp;
use serde::Serialize;

/// What is told, before it is known to whom.
pub struct News<'a> {
    /// About what.
    pub topic: Topic,
    /// The line of the event log.
    pub view: &'a EventView,
    /// The job that it is about.
    pub job: Option<&'a JobFacts>,
    /// Where people find the pool's pages.
    pub url: Option<&'a str>,
}

/// The body of a webhook. `text` is where chat servers look for what to show.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    text: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    topic: Topic,
    event: u64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Job<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize)]
struct Job<'a> {
    id: u64,
    name: &'a str,
    user: &'a str,
    project: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The most of a reason that a line has room for, in characters.
const REASON: usize = 160;

impl News<'_> {
    /// In one line.
    #[must_use]
    pub fn title(&self) -> String {
        let Some(job) = self.job else { return self.view.text.clone() };
        let what = match self.topic {
            Topic::Started => "runs",
            Topic::Succeeded => "succeeded",
            Topic::Failed => "failed",
            Topic::Stopped => "was stopped",
            Topic::Preempted => "gives way to another",
            Topic::Waiting => "has waited for long",
            Topic::Idle => "is not used",
            _ => return self.view.text.clone(),
        };
        let why = job.reason.as_ref().filter(|_| matches!(self.topic, Topic::Failed | Topic::Stopped));
        let why = why.map_or_else(String::new, |why| match why.char_indices().nth(REASON) {
            Some((end, _)) => format!(": {}…", &why[..end]),
            None => format!(": {why}"),
        });
        format!("job {} {} {what}{why}", job.id, job.name)
    }

    fn link(&self) -> Option<String> {
        let base = self.url?.trim_end_matches('/');
        Some(match self.job {
            Some(job) => format!("{base}/jobs/{}", job.id),
            None => base.to_owned(),
        })
    }

    /// For webhooks.
    #[must_use]
    pub fn json(&self) -> String {
        let title = self.title();
        let body = Body {
            r#type: self.topic.kind(),
            timestamp: stamp(self.view.at_ms),
            text: &title,
            data: Data {
                topic: self.topic,
                event: self.view.seq,
                message: &self.view.text,
                job: self.job.map(|job| Job {
                    id: job.id,
                    name: &job.name,
                    user: &job.user,
                    project: &job.queue,
                    state: job.state.as_str(),
                    reason: job.reason.as_deref(),
                }),
                subject: self.view.subject.as_deref(),
                node: self.view.node.as_deref(),
                url: self.link(),
            },
        };
        // Plain data: serde_json cannot fail on it.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// For mail.
    #[must_use]
    pub fn text(&self) -> String {
        let title = self.title();
        let mut text = format!("{title}\n\n");
        if self.view.text != title {
            text.push_str(&format!("{}\n", self.view.text));
        }
        text.push_str(&format!("{}\n", stamp(self.view.at_ms)));
        if let Some(job) = self.job {
            text.push_str(&format!("job {} {} of {} in {}\n", job.id, job.name, job.user, job.queue));
        }
        if let Some(link) = self.link() {
            text.push_str(&format!("\n{link}\n"));
        }
        text
    }
}
