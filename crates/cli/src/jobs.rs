//! Command lines, scripts and job files on their way to the pool.
//!
//! Flags become fields of a job file, so that each is read by the same parser and refused with the same words,
//! whichever way it came.

use crate::args::JobFlags;
use crate::client::Client;
use crate::error::CliError;
use crate::refs::{Careful, find};
use pond_core::ids::JobId;
use pond_core::model::{Dependency, Image, JobSpec};
use pond_server::api::types::{IDEMPOTENCY_KEY, Preview, SPEC, SubmitQuery, Submitted};
use pond_spec::values::Text;
use pond_spec::{
    Awaited, CommandText, Context, Draft, Format, JobFile, JobRef, Overrides, SpecError, Warning, into_specs,
    read, sbatch,
};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

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
    let text = String::from_utf8(bytes).map_err(|why| no_text(&why, &name))?;
    Ok((text, name))
}

/// The file is in another encoding; says where that shows first.
fn no_text(why: &std::string::FromUtf8Error, name: &str) -> CliError {
    let bytes = why.as_bytes();
    let before = &bytes[..why.utf8_error().valid_up_to()];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    let what = match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "the file is UTF-16, not UTF-8".to_owned(),
        _ => {
            format!("the byte {:#04X} here is no UTF-8", bytes.get(before.len()).copied().unwrap_or_default())
        }
    };
    CliError::BadFile {
        messages: format!(
            "error: line {line} column {column}: {what}\n --> {name}:{line}:{column}\n  = save the file as UTF-8"
        ),
    }
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
    let over = overrides(flags)?;
    let jobs = reading.jobs.into_iter().map(|job| laid_over(job, &over)).collect::<Result<Vec<_>, _>>()?;
    Prepared::of(jobs, reading.warnings, path.parent())
}

/// The job of a script with lines for us, which is given these arguments.
///
/// # Errors
/// The script cannot be read or is wrong; a flag is wrong.
pub fn from_script(path: &Path, arguments: &[String], flags: &JobFlags) -> Result<Prepared, CliError> {
    let (text, name) = text_of(path)?;
    let variable = |name: &str| std::env::var(name).ok();
    let (job, warnings) = sbatch(Some(&text), &name, &[], arguments, &variable)
        .map_err(|why| bad_file(&why.within(&name, &text)))?;
    Prepared::of(vec![laid_over(job, &overrides(flags)?)?], warnings, path.parent())
}

/// One job that runs this command, or without one the image's own, made of flags alone.
///
/// # Errors
/// A flag is wrong.
pub fn from_command(argv: &[String], flags: &JobFlags) -> Result<Prepared, CliError> {
    let run = (!argv.is_empty()).then(|| CommandText::Argv(argv.iter().cloned().map(Text).collect()));
    let job = laid_over(JobFile { run, ..JobFile::default() }, &overrides(flags)?)?;
    Prepared::of(vec![job], Vec::new(), None)
}

/// An error that has no place in a file is about the command line.
fn refused(why: &SpecError) -> CliError {
    match why.place {
        Some(_) => bad_file(why),
        None => CliError::Usage { what: why.to_string(), next: Some(why.next()) },
    }
}

/// The flags, to be laid over a job. Each value is read when that is done.
fn overrides(flags: &JobFlags) -> Result<Overrides, CliError> {
    let mut all = Overrides::new();
    let rare = &flags.rare;
    let one: [(&str, &Option<String>); 34] = [
        ("name", &flags.name),
        ("project", &flags.project),
        ("cpu", &flags.cpu),
        ("memory", &flags.memory),
        ("disk", &flags.disk),
        ("shm", &flags.shm),
        ("gpu", &flags.gpu),
        ("opencl", &flags.opencl),
        ("nodes", &flags.nodes),
        ("array", &flags.array),
        ("time", &flags.time),
        ("estimate", &flags.estimate),
        ("class", &flags.class),
        ("priority", &flags.priority),
        ("image", &flags.image),
        ("isolation", &flags.isolation),
        ("workdir", &flags.workdir),
        ("user", &flags.user),
        ("stdin", &flags.stdin),
        ("grace", &flags.grace),
        ("retry", &flags.retry.map(|count| count.to_string())),
        ("fpga", &rare.fpga),
        ("npu", &rare.npu),
        ("pids", &rare.pids),
        ("setup", &rare.setup),
        ("parallel", &rare.parallel),
        ("min-runtime", &rare.min_runtime),
        ("retry-on", &rare.retry_on),
        ("checkpoint-dir", &rare.checkpoint_dir),
        ("checkpoint-signal", &rare.checkpoint_signal),
        ("checkpoint-grace", &rare.checkpoint_grace),
        ("ide", &rare.ide),
        ("idle-after", &rare.idle_after),
        ("idle-action", &rare.idle_action),
    ];
    let env: Vec<String> = flags.env.iter().map(|text| passed_on(text)).collect();
    let many: [(&str, &[String]); 8] = [
        ("secret", &flags.secrets),
        ("volume", &flags.volumes),
        ("files", &flags.files),
        ("port", &flags.ports),
        ("after", &flags.after),
        ("after-end", &rare.after_end),
        ("label", &flags.labels),
        ("env", &env),
    ];
    let one = one.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let many = many.iter().flat_map(|(name, values)| values.iter().map(move |value| (*name, value.as_str())));
    let switches = [("no-preempt", flags.no_preempt), ("hold", flags.hold)];
    let switches = switches.iter().filter_map(|(name, on)| on.then_some((*name, "")));
    for (name, value) in one.chain(many).chain(switches) {
        all.set(name, value).map_err(|why| refused(&why))?;
    }
    Ok(all)
}

/// A lone `NAME` stands for our own variable of that name.
fn passed_on(text: &str) -> String {
    match std::env::var(text) {
        Ok(value) if !text.contains('=') => format!("{text}={value}"),
        _ => text.to_owned(),
    }
}

fn laid_over(mut job: JobFile, over: &Overrides) -> Result<JobFile, CliError> {
    over.apply(&mut job).map_err(|why| refused(&why))?;
    Ok(job)
}

impl Prepared {
    /// Jobs with every default filled in; relative paths are read against `base`, or this folder.
    ///
    /// # Errors
    /// What can only be seen once flags and file are one.
    pub fn of(jobs: Vec<JobFile>, warnings: Vec<Warning>, base: Option<&Path>) -> Result<Self, CliError> {
        let base = base.filter(|base| !base.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let base =
            base.canonicalize().map_err(|why| CliError::io(format!("looking at {}", base.display()), why))?;
        let context = Context::new("local", &base.to_string_lossy());
        let drafts = into_specs(jobs, &context).map_err(|why| refused(&why))?;
        Ok(Self { drafts, warnings })
    }

    /// Jobs over this machine's own root that name no working folder work in `dir`: they see what we see.
    pub fn work_in(&mut self, dir: &Path) {
        for draft in &mut self.drafts {
            let run = Arc::make_mut(&mut draft.spec.run);
            if run.workdir.is_none() && run.image == Image::Host && dir.is_absolute() {
                run.workdir = Some(dir.to_string_lossy().into_owned());
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
    use pond_core::model::Command;

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

    /// The page of the job file says that flags of `#POND` lines are also those of `pond run`.
    #[test]
    fn every_flag_of_scripts_is_one_of_run() {
        use clap::CommandFactory as _;
        let command = crate::args::Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let known: Vec<&str> =
            run.get_arguments().filter_map(clap::Arg::get_long_and_visible_aliases).flatten().collect();
        let missing: Vec<_> = pond_spec::FLAGS.iter().filter(|flag| !known.contains(&flag.name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let rare = crate::args::RareFlags {
            pids: Some("77".to_owned()),
            setup: Some("true".to_owned()),
            retry_on: Some("exit:75".to_owned()),
            min_runtime: Some("90s".to_owned()),
            ..Default::default()
        };
        let draft = from_command(&argv(&["true"]), &JobFlags { rare, ..JobFlags::default() })
            .unwrap()
            .only()
            .unwrap();
        assert_eq!((draft.spec.run.pids, draft.spec.run.setup.as_deref()), (77, Some("true")));
        assert_eq!((draft.spec.min_runtime.0, draft.spec.retry.max), (90_000, 3));
    }

    #[test]
    fn a_file_in_another_encoding_is_told_where_it_shows() {
        let told = |bytes: &[u8]| {
            let why = String::from_utf8(bytes.to_vec()).unwrap_err();
            no_text(&why, "a.yaml").to_string()
        };
        let latin = told(b"type: task\nname: caf\xE9\n");
        assert!(
            latin.contains("line 2 column 10: the byte 0xE9 here is no UTF-8\n --> a.yaml:2:10"),
            "{latin}"
        );
        assert!(told(b"\xFF\xFEt\0y\0").contains("line 1 column 1: the file is UTF-16"));
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
        let over = overrides(&flags).unwrap();
        let job = laid_over(jobs[0].clone(), &over).unwrap();
        let spec = job.into_spec(&Context::new("u", "/")).unwrap().spec;
        assert_eq!(spec.shapes[0].request.cpu.0, 4000);
        assert_eq!(spec.shapes[0].request.memory.0, 1_000_000_000);
        assert_eq!((spec.run.env["A"].as_str(), spec.run.env["B"].as_str()), ("1", "3"));
    }
}
