//! What people call jobs: an id, a name, `@last` (their own newest); with `[7]` an array element, with `.3` a rank.

use crate::client::Client;
use crate::error::CliError;
use pond_core::ids::{JobId, TaskId};
use pond_server::api::types::{JobPage, JobQuery, JobSummary, WhoView};

/// A job, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRef {
    /// The job.
    pub job: u64,
    /// The array element, when one was named.
    pub index: Option<u32>,
    /// The rank, when one was named.
    pub rank: Option<u32>,
}

impl JobRef {
    /// A whole job.
    #[must_use]
    pub const fn job(job: u64) -> Self {
        Self { job, index: None, rank: None }
    }

    /// The task that is meant; the first element and rank unless others were named.
    #[must_use]
    pub fn task(&self) -> TaskId {
        JobId(self.job).gang(self.index.unwrap_or(0)).task(self.rank.unwrap_or(0))
    }

    /// The path of the job in the API, with `rest` behind it.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/jobs/{}{rest}", self.job)
    }
}

impl std::fmt::Display for JobRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.job)?;
        if let Some(index) = self.index {
            write!(f, "[{index}]")?;
        }
        if let Some(rank) = self.rank {
            write!(f, ".{rank}")?;
        }
        Ok(())
    }
}

/// Whether several jobs of one name are one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Careful {
    /// Take the newest.
    No,
    /// Refuse: the verb changes something.
    Yes,
}

/// A text split into the name and the parts behind it.
#[derive(Debug, PartialEq, Eq)]
struct Split<'a> {
    name: &'a str,
    index: Option<u32>,
    rank: Option<u32>,
}

fn split(text: &str) -> Split<'_> {
    let (rest, rank) = match text.rsplit_once('.').map(|(rest, rank)| (rest, rank.parse().ok())) {
        Some((rest, Some(rank))) if !rest.is_empty() => (rest, Some(rank)),
        _ => (text, None),
    };
    let inner = rest.strip_suffix(']').and_then(|open| open.rsplit_once('['));
    match inner.map(|(name, index)| (name, index.parse().ok())) {
        Some((name, Some(index))) if !name.is_empty() => Split { name, index: Some(index), rank },
        _ => Split { name: rest, index: None, rank },
    }
}

/// Finds the job a text means.
///
/// # Errors
/// There is none, or (when careful) more than one that is not over.
pub fn find(client: &Client, text: &str, careful: Careful) -> Result<JobRef, CliError> {
    let parts = split(text);
    let of = |job: u64| JobRef { job, index: parts.index, rank: parts.rank };
    if let Ok(job) = parts.name.parse() {
        return Ok(of(job));
    }
    if parts.name == "@last" {
        let who: WhoView = client.get("/whoami", &())?;
        return newest(client, JobQuery { limit: Some(1), user: Some(who.user), ..JobQuery::default() })?
            .first()
            .map(|job| of(job.id))
            .ok_or_else(|| CliError::NoSuch { kind: "job", name: text.to_owned() });
    }
    if let Some(job) = named(client, text, careful)? {
        // A name may itself look like a rank: `v1.2`.
        return Ok(JobRef::job(job));
    }
    match named(client, parts.name, careful)? {
        Some(job) if parts.name != text => Ok(of(job)),
        _ => Err(CliError::NoSuch { kind: "job", name: text.to_owned() }),
    }
}

/// The newest job of this name, one that is not over before one that is.
fn named(client: &Client, name: &str, careful: Careful) -> Result<Option<u64>, CliError> {
    let query = |state: &str| JobQuery {
        name: Some(name.to_owned()),
        state: Some(state.to_owned()),
        limit: Some(10),
        ..JobQuery::default()
    };
    let active = newest(client, query("active"))?;
    if careful == Careful::Yes && active.len() > 1 {
        let ids: Vec<String> = active.iter().map(|job| job.id.to_string()).collect();
        return Err(CliError::Usage {
            what: format!("{} jobs are called `{name}`", active.len()),
            next: Some(format!("say which by its id: {}", ids.join(", "))),
        });
    }
    match active.first() {
        Some(job) => Ok(Some(job.id)),
        None => Ok(newest(client, query("over"))?.first().map(|job| job.id)),
    }
}

fn newest(client: &Client, query: JobQuery) -> Result<Vec<JobSummary>, CliError> {
    Ok(client.get::<JobPage>("/jobs", &query)?.jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_reference() {
        let parts = |text| {
            let Split { name, index, rank } = split(text);
            (name, index, rank)
        };
        assert_eq!(parts("12"), ("12", None, None));
        assert_eq!(parts("12[7].3"), ("12", Some(7), Some(3)));
        assert_eq!(parts("@last.1"), ("@last", None, Some(1)));
        assert_eq!(parts("train.py"), ("train.py", None, None));
        assert_eq!(parts("x[y]"), ("x[y]", None, None));
        assert_eq!(parts("[7]"), ("[7]", None, None));
        assert_eq!(parts(".3"), (".3", None, None));
    }
}
