//! Jobs as Slurm lists them: a line each, and of an array one for each element, those that wait together in one.

use super::flags::{Given, ids};
use super::format::state;
use crate::client::Client;
use crate::error::CliError;
use crate::out::now_ms;
use crate::refs::{Careful, JobRef, find};
use crate::verbs::list::jobs;
use pond_server::api::types::{GangView, JobDetail, JobQuery, JobSummary, State, TaskView, WhoView};
use std::collections::BTreeSet;

/// Jobs that are looked through at most.
const MOST: u32 = 10_000;

/// A job or some elements of one, as they were asked for.
pub struct Asked {
    /// The job.
    pub job: u64,
    /// Of an array, only these.
    pub only: Option<Vec<u32>>,
    /// As it was written.
    text: String,
}

impl Asked {
    /// `12`, `12_7`, `12_[1-3,7]`, with a step behind it or not (`12.batch`), or what we call jobs.
    ///
    /// # Errors
    /// No such job.
    pub fn read(client: &Client, text: &str) -> Result<Self, CliError> {
        let whole = match text.split_once('.') {
            Some((job, step)) if step == "batch" || step == "extern" || step.parse::<u32>().is_ok() => job,
            _ => text,
        };
        let (job, elements) = whole.split_once('_').map_or((whole, None), |(job, rest)| (job, Some(rest)));
        let text = whole.to_owned();
        match (job.parse(), elements) {
            (Ok(job), None) => Ok(Self { job, only: None, text }),
            (Ok(job), Some(elements)) => {
                let elements = elements.trim_start_matches('[').trim_end_matches(']');
                let indices = elements.parse::<pond_spec::values::ArrayIndices>();
                let indices = indices.map_err(|why| CliError::Usage {
                    what: format!("`{whole}`: {why}"),
                    next: Some("write elements as in 12_7 or 12_[1-3,7]".to_owned()),
                })?;
                Ok(Self { job, only: Some(indices.indices), text })
            }
            _ => {
                let JobRef { job, index, .. } = find(client, whole, Careful::Yes)?;
                Ok(Self { job, only: index.map(|index| vec![index]), text })
            }
        }
    }
}

/// Users that flags name. The name that this machine knows us by means who we are to the pool.
///
/// # Errors
/// The pool does not say who we are.
pub fn users(client: &Client, given: &Given) -> Result<Vec<String>, CliError> {
    let mut users = given.list("user");
    let login = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let mine = users.contains(&login);
    if given.has("me") || mine {
        users.retain(|user| *user != login);
        users.push(client.get::<WhoView>("/whoami", &())?.user);
    }
    Ok(users)
}

/// One line.
pub struct Row {
    /// The job.
    pub job: JobSummary,
    /// `12`, `12_7` or `12_[8-9]`.
    pub id: String,
    /// Of an array: which elements.
    pub element: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// Where it is.
    pub nodes: Vec<String>,
    /// When it began to run.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub ended_ms: Option<u64>,
    /// Once over.
    pub exit_code: Option<i32>,
    /// The attempt, from 1; 0 before the first.
    pub attempt: Option<u32>,
    /// Memory of its largest task, now.
    pub memory_bytes: Option<u64>,
}

impl Row {
    /// How long it has run.
    pub fn ran_ms(&self) -> u64 {
        self.started_ms.map_or(0, |started| self.ended_ms.unwrap_or_else(now_ms).saturating_sub(started))
    }

    /// Slurm's long and short word for where it stands.
    pub fn words(&self) -> (&'static str, &'static str) {
        match (self.state, self.exit_code) {
            (State::Paused, _) if self.started_ms.is_none() => ("PENDING", "PD"),
            (State::Failed, Some(124)) => ("TIMEOUT", "TO"),
            (State::Failed, Some(137)) => ("OUT_OF_MEMORY", "OOM"),
            (other, _) => state(other),
        }
    }

    /// Cores of all its tasks.
    pub fn cores(&self) -> u64 {
        self.job.request.cpu_milli.div_ceil(1000) * self.tasks()
    }

    /// Nodes, and tasks of ours.
    pub fn tasks(&self) -> u64 {
        u64::from(self.job.size_min)
    }

    fn whole(job: &JobSummary, detail: Option<&JobDetail>) -> Self {
        let gang = detail.and_then(|detail| detail.gangs.first());
        Self {
            id: job.id.to_string(),
            element: None,
            state: job.state,
            reason: job.reason.clone(),
            // Once over, a job is on none; its tasks say where they were.
            nodes: match gang.filter(|_| job.nodes.is_empty()) {
                Some(gang) => nodes(gang),
                None => job.nodes.clone(),
            },
            started_ms: job.started_ms,
            ended_ms: job.ended_ms,
            exit_code: job.exit_code,
            attempt: gang.map(|gang| gang.attempt),
            memory_bytes: gang.and_then(memory),
            job: job.clone(),
        }
    }

    fn element(job: &JobSummary, gang: &GangView) -> Self {
        let ended = gang.tasks.iter().filter_map(|task| task.ended_ms).max();
        let code = |task: &TaskView| task.exit.as_ref().map(|exit| exit.code);
        let codes = || gang.tasks.iter().filter_map(code);
        Self {
            id: format!("{}_{}", job.id, gang.index),
            element: Some(gang.index.to_string()),
            state: gang.state,
            reason: gang.reason.clone(),
            nodes: nodes(gang),
            started_ms: gang.tasks.iter().filter_map(|task| task.started_ms).min(),
            ended_ms: ended.filter(|_| gang.state.is_over()),
            exit_code: codes()
                .find(|code| *code != 0)
                .or_else(|| codes().next())
                .filter(|_| gang.state.is_over()),
            attempt: Some(gang.attempt),
            memory_bytes: memory(gang),
            job: job.clone(),
        }
    }
}

fn nodes(gang: &GangView) -> Vec<String> {
    let nodes: BTreeSet<&String> = gang.tasks.iter().map(|task| &task.node).collect();
    nodes.into_iter().cloned().collect()
}

fn memory(gang: &GangView) -> Option<u64> {
    gang.tasks.iter().filter_map(|task| task.use_now).map(|used| used.memory_bytes).max()
}

/// Indices as Slurm writes them: `1-3,7`.
fn ranges(indices: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &index in indices {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
            _ => parts.push((index, index)),
        }
    }
    let part = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The lines of one job.
fn lines(
    client: &Client,
    job: &JobSummary,
    asked: Option<&Asked>,
    scope: Scope,
) -> Result<Vec<Row>, CliError> {
    let apart = scope.apart;
    let detail = || client.get::<JobDetail>(&JobRef::job(job.id).path(""), &());
    if job.elements.total <= 1 {
        let detail = if asked.is_some() || scope.detail { Some(detail()?) } else { None };
        let mut row = Row::whole(job, detail.as_ref());
        if let Some(asked) = asked.filter(|asked| asked.only.is_some()) {
            row.id.clone_from(&asked.text);
        }
        return Ok(vec![row]);
    }
    let detail = detail()?;
    let wanted = |gang: &&GangView| {
        asked.and_then(|asked| asked.only.as_ref()).is_none_or(|only| only.contains(&gang.index))
    };
    let mut rows = Vec::new();
    let (waiting, others): (Vec<&GangView>, Vec<&GangView>) = detail
        .gangs
        .iter()
        .filter(wanted)
        .partition(|gang| !apart && matches!(gang.state, State::Waiting | State::Infeasible));
    if let Some(first) = waiting.first() {
        let indices: Vec<u32> = waiting.iter().map(|gang| gang.index).collect();
        let element = if indices.len() == 1 { ranges(&indices) } else { format!("[{}]", ranges(&indices)) };
        rows.push(Row {
            id: format!("{}_{element}", job.id),
            element: Some(element),
            ..Row::element(job, first)
        });
    }
    rows.extend(others.into_iter().map(|gang| Row::element(job, gang)));
    Ok(rows)
}

/// Slurm's words for states, those too that no job here is ever in.
const STATES: [&str; 31] = [
    "ALL",
    "PENDING",
    "PD",
    "RUNNING",
    "R",
    "CONFIGURING",
    "CF",
    "COMPLETING",
    "CG",
    "SUSPENDED",
    "S",
    "COMPLETED",
    "CD",
    "CANCELLED",
    "CA",
    "FAILED",
    "F",
    "TIMEOUT",
    "TO",
    "OUT_OF_MEMORY",
    "OOM",
    "PREEMPTED",
    "PR",
    "NODE_FAIL",
    "NF",
    "BOOT_FAIL",
    "BF",
    "DEADLINE",
    "DL",
    "REQUEUED",
    "RQ",
];

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Scope {
    /// Only what is not over, unless states are named.
    pub active: bool,
    /// Elements that wait each have a line of their own.
    pub apart: bool,
    /// Where its tasks are and how often it started is asked of each job, not only of those that are named.
    pub detail: bool,
}

/// What flags ask for, in the order of their ids, or in that in which jobs are named.
///
/// # Errors
/// A job or state that is none, or no pool.
pub fn chosen(client: &Client, given: &Given, scope: Scope) -> Result<Vec<Row>, CliError> {
    let users = users(client, given)?;
    let states: Vec<String> = given.list("states").iter().map(|it| it.to_uppercase()).collect();
    if let Some(unknown) = states.iter().find(|it| !STATES.contains(&it.as_str())) {
        return Err(CliError::Usage {
            what: format!("Invalid job state specified: {unknown}"),
            next: Some(format!("states: {}", STATES.join(" "))),
        });
    }
    let names: Vec<String> = ["name", "jobname"].iter().flat_map(|flag| given.list(flag)).collect();
    let queues = given.list("partition");
    let asked: Vec<Asked> =
        given.texts("jobs").flat_map(ids).map(|text| Asked::read(client, &text)).collect::<Result<_, _>>()?;
    let active = scope.active && states.is_empty();
    let wanted = |job: &JobSummary| {
        (users.is_empty() || users.contains(&job.user))
            && (names.is_empty() || names.contains(&job.name))
            && (queues.is_empty() || queues.contains(&job.queue))
            && !(active && job.state.is_over())
    };
    let mut rows = Vec::new();
    if asked.is_empty() {
        let which = if active { "active" } else { "all" };
        let one = |list: &[String]| Some(list).filter(|list| list.len() == 1).map(|list| list[0].clone());
        let query = JobQuery {
            state: Some(which.to_owned()),
            queue: one(&queues),
            name: one(&names),
            user: one(&users),
            ..JobQuery::default()
        };
        for job in jobs(client, &query, MOST)?.iter().rev().filter(|job| wanted(job)) {
            rows.extend(lines(client, job, None, scope)?);
        }
    }
    for asked in &asked {
        let detail: JobDetail = client.get(&JobRef::job(asked.job).path(""), &())?;
        if wanted(&detail.summary) {
            rows.extend(lines(client, &detail.summary, Some(asked), scope)?);
        }
    }
    rows.retain(|row| {
        let (long, short) = row.words();
        !(active && row.state.is_over())
            && (states.is_empty() || states.iter().any(|it| it == long || it == short || it == "ALL"))
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn indices_are_written_as_slurm_does() {
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(ranges(&[4]), "4");
        assert_eq!(ranges(&[u32::MAX]), u32::MAX.to_string());
    }
}
