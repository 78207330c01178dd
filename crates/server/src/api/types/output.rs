//! What jobs print, what happened, and how to get inside.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which lines of a job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// One array element; default 0 for a plain job, all elements of an array.
    pub index: Option<u32>,
    /// One rank; absent: all, each line behind its task's id when there are several tasks.
    pub rank: Option<u32>,
    /// The attempt from 1; absent: the last.
    pub attempt: Option<u32>,
    /// Go on until the job is over.
    pub follow: Option<bool>,
    /// Start with the last so many lines of each task.
    pub tail: Option<u64>,
    /// Only lines that contain this text.
    pub grep: Option<String>,
    /// Only lines from this moment on; lines of which it is not known when they came are given.
    pub since_ms: Option<u64>,
    /// `true`, with `json`: a line that has begun and has no end yet is given as far as it goes, with `open` set, and
    /// then the rest of it: prompts, progress bars. Not with `grep`.
    pub parts: Option<bool>,
    /// `true`: lines of `application/x-ndjson`, each a [`LogLine`].
    pub json: Option<bool>,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The task that wrote it.
    pub task: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub line: String,
    /// More of the line is to come, in the next entry of the same task and stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Output before this line is gone: it came faster than it was read here, and of a task's files the oldest go first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
}

/// Which entries of the event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only entries after this number. With `accept: text/event-stream` the header `last-event-id` does the same.
    pub since: Option<u64>,
    /// Only this job.
    pub job: Option<u64>,
    /// Only this actor.
    pub actor: Option<String>,
    /// Only kinds that start with this.
    pub kind: Option<String>,
    /// `true`: only what people did, which is the audit log.
    pub audit: Option<bool>,
    /// Only what was done from this address.
    pub from: Option<String>,
    /// Only entries of this moment or later.
    pub after_ms: Option<u64>,
    /// Only entries before this moment.
    pub before_ms: Option<u64>,
    /// `true`: newest first; `next` is then the `until` of the next page. Not used for a stream.
    pub newest: Option<bool>,
    /// Only entries before this number. Not used for a stream.
    pub until: Option<u64>,
    /// At most this many: 1 to 1000, default 100. Not used for a stream.
    pub limit: Option<u32>,
}

/// One entry of the event log, which is the audit log too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Counts up; gaps are possible, doubles are not.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// Who: a user's name, `node:NAME` or `pool`.
    pub actor: String,
    /// Where a user's request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What, for programs: `job.submitted`, `gang.placed`, `node.drained`, `token.created`, ...
    pub kind: String,
    /// The job it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The gang or task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What, for people: one sentence.
    pub text: String,
}

/// A page of the event log, oldest first unless the newest were asked for. What the caller may not see is left out, so
/// a page may be short and still have a next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The entries.
    pub events: Vec<EventView>,
    /// `since` of the next page, or its `until` when the newest come first; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Query of `tasks/{id}/exec` and `tasks/{id}/attach`. Then frames of `pond_core::frame` go both ways as binary messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExecQuery {
    /// A JSON list: program and arguments. Needed for `exec`, refused for `attach`.
    pub argv: Option<String>,
    /// Give it a terminal.
    pub tty: Option<bool>,
    /// Rows of the terminal.
    pub rows: Option<u16>,
    /// Columns of the terminal.
    pub cols: Option<u16>,
    /// Working folder inside.
    pub cwd: Option<String>,
    /// A JSON object: variables on top of the task's own.
    pub env: Option<String>,
}

/// Query of `tasks/{id}/forward`. Then the bytes of the connection go both ways as binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ForwardQuery {
    /// Port inside the task.
    pub port: u16,
}

/// Query of `tasks/{id}/files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// GET: the file or folder to read. PUT: the folder the tar stream is unpacked into.
    pub path: String,
    /// PUT: what is in the tar stream gets `path` as its name; when a folder is there it goes into that.
    pub onto: Option<bool>,
}
