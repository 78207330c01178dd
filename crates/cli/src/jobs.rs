//! Command lines, scripts and job files on their way to the pool.
//!
//! Flags become fields of a job file, so that each is read by the same parser and refused with the same words,
//! whichever way it came.

use crate::args::JobFlags;
use crate::client::Client;
use crate::error::CliError;
use crate::refs::{Careful, find};
use pond_core::ids::JobId;
use pond_core::model::{Command, Dependency, Image, JobSpec};
use pond_server::api::types::{IDEMPOTENCY_KEY, Preview, SPEC, SubmitQuery, Submitted};
use pond_spec::{Awaited, Context, Draft, Format, JobFile, JobRef, SpecError, Warning, into_specs, read};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

/// Jobs that are complete but for the ids of those they wait for.
#[derive(Debug)]
pub struct Prepared {
    /// In an order in which each waits only for earlier ones.
    pub drafts: Vec<Draft>,
    /// What was read and cannot be honoured.
    pub warnings: Vec<Warning>,
}

/// The text of a file, `-` for standard input, and the name it goes by in messages.
///
/// # Errors
/// It cannot be read, or is not text.
pub fn text_of(path: &Path) -> Result<(String, String), CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(pond_spec::MAX_BYTES as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|why| CliError::io("reading standard input", why))?;
        return Ok((text, "<stdin>".to_owned()));
    }
    let name = path.display().to_string();
    let bad = |why: &dyn std::fmt::Display| CliError::BadFile {
        messages: format!("error: {why}\n --> {name}\n  = name a file of text that can be read"),
    };
    let file = std::fs::File::open(path).map_err(|why| bad(&why))?;
    let mut bytes = Vec::new();
    file.take(pond_spec::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|why| bad(&why))?;
    let text = String::from_utf8(bytes).map_err(|why| bad(&why))?;
    Ok((text, name))
}

/// The error of a bad file as the whole message it is.
#[must_use]
pub fn bad_file(why: &SpecError) -> CliError {
    CliError::BadFile { messages: why.report() }
}

/// The jobs of a file with flags laid over each.
///
/// # Errors
/// The file cannot be read or is wrong; a flag is wrong.
pub fn from_file(path: &Path, flags: &JobFlags) -> Result<Prepared, CliError> {
    let (text, name) = text_of(path)?;
    let reading = read(&text, &name, Format::of(&name, &text)).map_err(|why| bad_file(&why))?;
    let over = fields(flags)?;
    let jobs = reading.jobs.into_iter().map(|job| laid_over(job, &over)).collect::<Result<Vec<_>, _>>()?;
    prepared(jobs, reading.warnings, path.parent())
}

/// One job that runs this command, made of flags alone.
///
/// # Errors
/// A flag is wrong.
pub fn from_command(argv: &[String], flags: &JobFlags) -> Result<Prepared, CliError> {
    let run: Vec<Value> = argv.iter().map(|part| Value::String(part.clone())).collect();
    let over = fields(flags)?;
    let job = laid_over(JobFile::default(), &over)?;
    let job = laid_over(job, json!({ "run": run }).as_object().unwrap_or(&Map::new()))?;
    prepared(vec![job], Vec::new(), None)
}

fn prepared(jobs: Vec<JobFile>, warnings: Vec<Warning>, base: Option<&Path>) -> Result<Prepared, CliError> {
    let base = base.filter(|base| !base.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let base =
        base.canonicalize().map_err(|why| CliError::io(format!("looking at {}", base.display()), why))?;
    let context = Context::new("local", &base.to_string_lossy());
    let drafts = into_specs(jobs, &context).map_err(|why| refused(&why))?;
    Ok(Prepared { drafts, warnings })
}

/// An error that has no place in a file is about the command line.
fn refused(why: &SpecError) -> CliError {
    match why.place {
        Some(_) => bad_file(why),
        None => CliError::Usage { what: why.to_string(), next: Some(why.next()) },
    }
}

/// `job` with these fields in place of its own; maps are merged.
fn laid_over(job: JobFile, over: &Map<String, Value>) -> Result<JobFile, CliError> {
    if over.is_empty() {
        return Ok(job);
    }
    let broken = |why: serde_json::Error| CliError::usage(why.to_string());
    let mut value = serde_json::to_value(&job).map_err(broken)?;
    for (name, field) in over {
        match (value.get_mut(name), field) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                old.extend(new.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            (Some(Value::Array(old)), Value::Array(new)) if name != "run" => old.extend(new.iter().cloned()),
            _ => value[name] = field.clone(),
        }
    }
    serde_json::from_value(value).map_err(broken)
}

/// The flags as fields of a job file. Each is read here once by itself, so that its error can name it.
fn fields(flags: &JobFlags) -> Result<Map<String, Value>, CliError> {
    let mut all = Map::new();
    let mut put = |flag: &str, name: &str, value: Option<Value>| -> Result<(), CliError> {
        let Some(value) = value else { return Ok(()) };
        let mut field = json!({});
        match name.split_once('.') {
            Some((outer, inner)) => field[outer][inner] = value,
            None => field[name] = value,
        }
        let alone = laid_over(JobFile::default(), field.as_object().unwrap_or(&Map::new()));
        alone.map_err(|why| CliError::usage(format!("--{flag}: {why}")))?;
        let Value::Object(field) = field else { return Ok(()) };
        for (name, value) in field {
            match (all.get_mut(&name), value) {
                (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
                (_, value) => drop(all.insert(name, value)),
            }
        }
        Ok(())
    };
    let text = |value: &Option<String>| value.clone().map(Value::String);
    put("name", "name", text(&flags.name))?;
    put("project", "project", text(&flags.project))?;
    put("cpu", "resources.cpu", text(&flags.cpu))?;
    put("memory", "resources.memory", text(&flags.memory))?;
    put("disk", "resources.disk", text(&flags.disk))?;
    put("shm", "resources.shm", text(&flags.shm))?;
    put("gpu", "resources.gpu", text(&flags.gpu))?;
    put("nodes", "nodes", text(&flags.nodes))?;
    put("array", "array", text(&flags.array))?;
    put("time", "time_limit", text(&flags.time))?;
    put("class", "class", text(&flags.class))?;
    put("priority", "priority", text(&flags.priority))?;
    put("image", "image", text(&flags.image))?;
    put("isolation", "isolation", text(&flags.isolation))?;
    put("workdir", "workdir", text(&flags.workdir))?;
    put("grace", "grace", text(&flags.grace))?;
    put("retry", "retry", flags.retry.map(Value::from))?;
    put("no-preempt", "preemptible", flags.no_preempt.then_some(Value::Bool(false)))?;
    let list = |values: &[String]| (!values.is_empty()).then(|| Value::from(values.to_vec()));
    put("secret", "secrets", list(&flags.secrets))?;
    put("volume", "volumes", list(&flags.volumes))?;
    put("file", "files", list(&flags.files))?;
    put("port", "ports", list(&flags.ports))?;
    put("after", "after", list(&flags.after))?;
    put("label", "labels", pairs("label", &flags.labels, |_name| None)?)?;
    put("env", "env", pairs("env", &flags.env, |name| std::env::var(name).ok())?)?;
    Ok(all)
}

/// `NAME=VALUE`, several; what a lone `NAME` stands for is asked of `lone`.
fn pairs(
    flag: &str,
    texts: &[String],
    lone: impl Fn(&str) -> Option<String>,
) -> Result<Option<Value>, CliError> {
    let mut map = Map::new();
    for text in texts {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => match lone(text) {
                Some(value) => (text.as_str(), value),
                None => return Err(CliError::usage(format!("--{flag}: `{text}` is not NAME=VALUE"))),
            },
        };
        map.insert(name.to_owned(), Value::String(value));
    }
    Ok((!map.is_empty()).then_some(Value::Object(map)))
}

impl Prepared {
    /// Jobs over this machine's own root that name no working folder work in `dir`: they see what we see.
    pub fn work_in(&mut self, dir: &Path) {
        for draft in &mut self.drafts {
            let run = &mut draft.spec.run;
            if run.workdir.is_none() && run.image == Image::Host && dir.is_absolute() {
                run.workdir = Some(dir.to_string_lossy().into_owned());
            }
        }
    }

    /// Gives scripts arguments: `$1` and so on.
    pub fn with_arguments(&mut self, arguments: &[String]) {
        if arguments.is_empty() {
            return;
        }
        for draft in &mut self.drafts {
            if let Command::Script(text) = &draft.spec.run.command {
                let mut argv = ["sh", "-ec", text, &draft.spec.name].map(str::to_owned).to_vec();
                argv.extend_from_slice(arguments);
                draft.spec.run.command = Command::Argv(argv);
            }
        }
    }

    /// The only job.
    ///
    /// # Errors
    /// There are more.
    pub fn only(self) -> Result<Draft, CliError> {
        let count = self.drafts.len();
        match (self.drafts.into_iter().next(), count) {
            (Some(draft), 1) => Ok(draft),
            _ => Err(CliError::Usage {
                what: format!("the file holds {count} jobs, and one is wanted here"),
                next: Some("use `pond apply`".to_owned()),
            }),
        }
    }
}

/// Fills in the ids of the jobs that `draft` waits for; `earlier` are those of the drafts before it.
fn complete(client: &Client, draft: &Draft, earlier: &[u64]) -> Result<JobSpec, CliError> {
    let mut spec = draft.spec.clone();
    for Awaited { job, success } in &draft.after {
        let job = match job {
            JobRef::Id(id) => *id,
            JobRef::Earlier(place) => match earlier.get(*place) {
                Some(id) => JobId(*id),
                // Only for a dry run: the other job is not there yet.
                None => continue,
            },
            JobRef::Name(name) => JobId(find(client, name, Careful::Yes)?.job),
        };
        spec.after.push(Dependency { job, success: *success });
    }
    Ok(spec)
}

/// Submits one job; `earlier` are the ids of the drafts before it.
///
/// # Errors
/// The pool refuses.
pub fn submit(client: &Client, draft: &Draft, earlier: &[u64]) -> Result<Submitted, CliError> {
    let key = format!("{}-{}-{}", std::process::id(), crate::out::now_ms(), earlier.len());
    let spec = body(&complete(client, draft, earlier)?)?;
    let headers = [("content-type", SPEC), (IDEMPOTENCY_KEY, key.as_str())];
    client.post_text("/jobs", &SubmitQuery::default(), &headers, &spec)
}

/// What would happen to one job.
///
/// # Errors
/// The pool refuses.
pub fn preview(client: &Client, draft: &Draft) -> Result<Preview, CliError> {
    let spec = body(&complete(client, draft, &[])?)?;
    client.post_text("/plan", &SubmitQuery::default(), &[("content-type", SPEC)], &spec)
}

fn body(spec: &JobSpec) -> Result<String, CliError> {
    serde_json::to_string(spec)
        .map_err(|why| CliError::BadAnswer { request: "this job".to_owned(), why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn flags_become_fields() {
        let flags = JobFlags {
            cpu: Some("2..4".to_owned()),
            memory: Some("512MB".to_owned()),
            array: Some("0-3%2".to_owned()),
            env: argv(&["A=1", "B=x=y"]),
            retry: Some(2),
            volumes: argv(&["/data:/data:ro"]),
            ..JobFlags::default()
        };
        let draft = from_command(&argv(&["echo", "a b"]), &flags).unwrap().only().unwrap();
        let shape = &draft.spec.shapes[0];
        assert_eq!(
            (shape.request.cpu.0, shape.burst.cpu.0, shape.request.memory.0),
            (2000, 4000, 512_000_000)
        );
        assert_eq!(draft.spec.indices, vec![0, 1, 2, 3]);
        assert_eq!(draft.spec.parallel, Some(2));
        assert_eq!(draft.spec.run.env["B"], "x=y");
        assert_eq!(draft.spec.retry.max, 2);
        assert!(draft.spec.run.volumes[0].read_only);
        assert_eq!(draft.spec.run.command, Command::Argv(argv(&["echo", "a b"])));
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let flags = JobFlags { memory: Some("12XB".to_owned()), ..JobFlags::default() };
        let why = from_command(&argv(&["true"]), &flags).unwrap_err();
        assert_eq!(why.exit_code(), 64);
        assert!(why.to_string().starts_with("--memory: "), "{why}");
        assert!(why.to_string().contains("GiB"), "{why}");
    }

    #[test]
    fn flags_win_over_the_file_and_leave_the_rest() {
        let text = "type: task\nname: a\nrun: 'true'\nresources: {cpu: 2, memory: 1GB}\nenv: {A: 1, B: 2}\n";
        let jobs = read(text, "t", Format::Yaml).unwrap().jobs;
        let flags = JobFlags { cpu: Some("4".to_owned()), env: argv(&["B=3"]), ..JobFlags::default() };
        let over = fields(&flags).unwrap();
        let job = laid_over(jobs[0].clone(), &over).unwrap();
        let spec = job.into_spec(&Context::new("u", "/")).unwrap().spec;
        assert_eq!(spec.shapes[0].request.cpu.0, 4000);
        assert_eq!(spec.shapes[0].request.memory.0, 1_000_000_000);
        assert_eq!((spec.run.env["A"].as_str(), spec.run.env["B"].as_str()), ("1", "3"));
    }
}
