//! The way in: a text of any format into jobs, or into everything that is wrong with it.

use crate::check::check;
use crate::error::{Fault, SpecError, Warning};
use crate::graph::{self, Strangers};
use crate::jobfile::{COMMAND, ENV_ONLY, JobFile, JobType, TASK_ONLY};
use crate::read::decode::{decode, unknown_value};
use crate::read::{MAX_BYTES, Node, Value, documents, too_much};
use crate::script;
use serde::Serialize;

/// How a job file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// YAML, one or more documents.
    Yaml,
    /// TOML, one job.
    Toml,
    /// JSON, one job.
    Json,
    /// A script with `#POND` or `#SBATCH` lines.
    Script,
}

impl Format {
    /// The format of a file: by its name, else by how its text starts; YAML when in doubt.
    #[must_use]
    pub fn of(origin: &str, text: &str) -> Self {
        let extension =
            origin.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
        match extension {
            Some("toml") => Self::Toml,
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("sh" | "bash" | "sbatch" | "slurm" | "job") => Self::Script,
            _ if text.starts_with("#!") => Self::Script,
            _ if text.trim_start().starts_with('{') => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// What a good file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Its jobs, in the order of the file.
    pub jobs: Vec<JobFile>,
    /// What was read and cannot be honoured.
    pub warnings: Vec<Warning>,
}

/// What is to be said about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What makes it unusable.
    pub errors: Vec<SpecError>,
    /// What is ignored, or likely not meant.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// The exit code of `pond lint`: 0, or 65 when there are errors.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.errors.is_empty() { 0 } else { SpecError::EXIT_CODE }
    }
}

/// Reads and checks a whole file. `origin` is its name, for messages and for jobs without one.
///
/// # Errors
/// The first thing wrong, with its place.
pub fn read(text: &str, origin: &str, format: Format) -> Result<Reading, SpecError> {
    let (jobs, mut errors, warnings) = everything(text, origin, format);
    if errors.is_empty() { Ok(Reading { jobs, warnings }) } else { Err(errors.swap_remove(0)) }
}

/// Reads a file that holds exactly one job.
///
/// # Errors
/// The first thing wrong, or more than one job.
pub fn read_one(text: &str, origin: &str, format: Format) -> Result<(JobFile, Vec<Warning>), SpecError> {
    let mut reading = read(text, origin, format)?;
    let count = reading.jobs.len();
    match (reading.jobs.pop(), count) {
        (Some(job), 1) => Ok((job, reading.warnings)),
        _ => {
            let why = format!("the file holds {count} jobs, and one is wanted here; use `pond apply`");
            Err(SpecError::of("", Fault::BadValue { why }).within(origin, text))
        }
    }
}

/// Everything wrong with a file: the first structural error of each document, or all findings of its values.
#[must_use]
pub fn lint(text: &str, origin: &str, format: Format) -> Report {
    let (_, errors, warnings) = everything(text, origin, format);
    Report { errors, warnings }
}

fn everything(text: &str, origin: &str, format: Format) -> (Vec<JobFile>, Vec<SpecError>, Vec<Warning>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if format == Format::Script {
        return script_file(text, origin);
    }
    let nodes = match documents(text, format) {
        Ok(nodes) => nodes,
        Err(why) => return (Vec::new(), vec![placed(text, origin, why.at, "", why.fault)], Vec::new()),
    };
    let nodes: Vec<Node> = nodes.into_iter().filter(|node| node.value != Value::Null).collect();
    if nodes.is_empty() {
        let fault = Fault::BadValue { why: "the file holds no job".to_owned() };
        return (Vec::new(), vec![placed(text, origin, None, "", fault)], Vec::new());
    }
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for node in &nodes {
        match job(node) {
            Ok(mut job) => {
                let findings = check(&job);
                let place = |(field, fault): (String, Fault)| {
                    let (field, fault) = without_value(node, field, fault);
                    placed(text, origin, node.place(&field), &field, fault)
                };
                errors.extend(findings.into_iter().map(place));
                if job.name.is_none() && nodes.len() == 1 {
                    job.name = stem(origin);
                }
                jobs.push(job);
            }
            Err((at, field, fault)) => errors.push(placed(text, origin, at, &field, fault)),
        }
    }
    if errors.is_empty()
        && let Err((index, field, fault)) = graph::order(&jobs, Strangers::Refused)
    {
        errors.push(placed(text, origin, nodes[index].place(&field), &field, fault));
    }
    (jobs, errors, Vec::new())
}

/// `run:` with nothing behind it reads as a job without the field; what is missing is its value.
fn without_value(job: &Node, field: String, fault: Fault) -> (String, Fault) {
    match fault {
        Fault::MissingField { name } if field.is_empty() => match job.get(&name) {
            Some(empty) => {
                let (expected, found) = (COMMAND.to_owned(), empty.describe());
                (name, Fault::WrongType { expected, found, quoted: None })
            }
            None => (field, Fault::MissingField { name }),
        },
        _ => (field, fault),
    }
}

fn script_file(text: &str, origin: &str) -> (Vec<JobFile>, Vec<SpecError>, Vec<Warning>) {
    if text.len() > MAX_BYTES {
        let why = too_much(None, text.len(), MAX_BYTES, "bytes");
        return (Vec::new(), vec![placed(text, origin, None, "", why.fault)], Vec::new());
    }
    match script::read(text, origin) {
        Ok((mut job, warnings)) => {
            if job.name.is_none() {
                job.name = stem(origin);
            }
            let placed = |(field, fault): (String, Fault)| placed(text, origin, None, &field, fault);
            let errors: Vec<SpecError> = check(&job).into_iter().map(placed).collect();
            (vec![job], errors, warnings)
        }
        Err(error) => (Vec::new(), vec![error.within(origin, text)], Vec::new()),
    }
}

fn placed(text: &str, origin: &str, at: Option<crate::error::Place>, field: &str, fault: Fault) -> SpecError {
    SpecError { place: at, ..SpecError::of(field, fault) }.within(origin, text)
}

type Placed = (Option<crate::error::Place>, String, Fault);

/// The type first, by hand; then the strict struct, so that no place is lost to serde's tagged enums.
fn job(node: &Node) -> Result<JobFile, Placed> {
    let Value::Map(entries) = &node.value else {
        let expected = "a job: a map of fields that starts with `type: task`".to_owned();
        return Err((
            node.at,
            String::new(),
            Fault::WrongType { expected, found: node.describe(), quoted: None },
        ));
    };
    let kind = job_type(node)?;
    let (foreign, word, owner) = match kind {
        JobType::Task => (ENV_ONLY.as_slice(), "task", "env"),
        JobType::Env => (TASK_ONLY.as_slice(), "env", "task"),
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| foreign.contains(&key.name.as_str())) {
        let fault = Fault::ForeignField { name: key.name.clone(), kind: word, owner };
        return Err((key.at, key.name.clone(), fault));
    }
    decode(node).map_err(|why| (why.at, why.field(), why.fault))
}

fn job_type(node: &Node) -> Result<JobType, Placed> {
    let field = || "type".to_owned();
    let Some(kind) = node.get("type") else {
        return Err((node.at, String::new(), Fault::MissingField { name: field() }));
    };
    let Value::Text(word) = &kind.value else {
        let expected = "one of task, env".to_owned();
        return Err((kind.at, field(), Fault::WrongType { expected, found: kind.describe(), quoted: None }));
    };
    match word.as_str() {
        "task" => Ok(JobType::Task),
        "env" => Ok(JobType::Env),
        later @ ("service" | "pipeline" | "vm") => {
            let instead = "this version has `type: task` and `type: env`".to_owned();
            Err((kind.at, field(), Fault::NotBuilt { what: format!("`type: {later}`"), instead }))
        }
        other => Err((kind.at, field(), unknown_value(other, &["task", "env"]))),
    }
}

/// A job's name from its file's: `runs/train.pond.yaml` gives `train`.
fn stem(origin: &str) -> Option<String> {
    let name = origin.rsplit('/').next()?;
    let stem = name.split('.').next()?;
    crate::check::is_name(stem).then(|| stem.to_owned())
}
