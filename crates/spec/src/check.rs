//! What types alone cannot say: bounds, names, fields that exclude each other, what is not built yet.

use crate::error::Fault;
use crate::jobfile::{CommandText, IdeWord, IsolationWord, JobFile, JobType, RetryText};
use crate::limits;
use crate::read::short;
use crate::values::places as paths;
use pond_core::model::notify::MAX_RECIPIENTS;
use pond_core::model::{Moment, ShareMode};
use std::collections::BTreeMap;

/// A fault and the field it is in.
pub(crate) type Finding = (String, Fault);

/// Every finding of a job, in the order of its fields.
pub(crate) fn check(job: &JobFile) -> Vec<Finding> {
    let mut out = Vec::new();
    kind(job, &mut out);
    names(job, &mut out);
    place(job, &mut out);
    command(job, &mut out);
    variables(job, &mut out);
    resources(job, &mut out);
    sizes(job, &mut out);
    spans(job, &mut out);
    out
}

/// Reading refuses these with their place; flags of a command line can still bring them.
fn kind(job: &JobFile, out: &mut Vec<Finding>) {
    let (fields, kind, owner): (&[(&str, bool)], _, _) = match job.kind {
        JobType::Task => (&[("ide", job.ide.is_some()), ("idle", job.idle.is_some())], "task", "env"),
        JobType::Env => {
            let array = job.array.is_some();
            (
                &[("nodes", job.nodes.is_some()), ("array", array), ("parallel", job.parallel.is_some())],
                "env",
                "task",
            )
        }
    };
    for (name, _) in fields.iter().filter(|(_, given)| *given) {
        out.push(((*name).to_owned(), Fault::ForeignField { name: (*name).to_owned(), kind, owner }));
    }
}

fn bad(field: &str, why: String) -> Finding {
    (field.to_owned(), Fault::BadValue { why })
}

fn not_built(field: &str, what: &str, instead: &str) -> Finding {
    (field.to_owned(), Fault::NotBuilt { what: what.to_owned(), instead: instead.to_owned() })
}

/// Letters, digits and `-_.`, starting with a letter or digit.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= limits::NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// What a shell takes for a variable.
pub(crate) fn is_variable(text: &str) -> bool {
    text.len() <= limits::NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

const NAME_RULE: &str = "use letters, digits and - _ . (at most 128), starting with a letter or digit";

fn names(job: &JobFile, out: &mut Vec<Finding>) {
    if let Some(name) = &job.name
        && !is_name(name)
    {
        out.push(bad("name", format!("`{}` is not a name; {NAME_RULE}", short(name))));
    }
    if let Some(project) = &job.project
        && !(project.len() <= 256 && project.split('/').all(is_name))
    {
        out.push(bad(
            "project",
            format!("`{}` is not a queue; write names joined by `/`; {NAME_RULE}", short(project)),
        ));
    }
    labels("labels", &job.labels, out);
    for (index, other) in job.any_of.iter().enumerate() {
        if let Some(map) = &other.labels {
            labels(&format!("any_of[{index}].labels"), map, out);
        }
    }
    for (index, after) in job.after.iter().enumerate() {
        if !is_name(after.job()) {
            out.push(bad(
                &format!("after[{index}]"),
                format!("`{}` is not the name or id of a job", short(after.job())),
            ));
        }
    }
}

fn labels(field: &str, map: &BTreeMap<String, crate::values::Text>, out: &mut Vec<Finding>) {
    let fits = |text: &str| text.split('/').all(is_name);
    if let Some((key, _)) =
        map.iter().find(|(key, value)| !fits(key) || !(value.0.is_empty() || fits(&value.0)))
    {
        out.push(bad(&format!("{field}.{key}"), format!("not a label; {NAME_RULE}")));
    }
}

fn place(job: &JobFile, out: &mut Vec<Finding>) {
    if job.isolation == Some(IsolationWord::Vm) {
        out.push(not_built("isolation", "isolation `vm`", "use `container` or `process`"));
    }
    if job.isolation == Some(IsolationWord::Process) {
        if job.has_image() {
            out.push(bad(
                "image",
                "an image needs `isolation: container`; a process runs on the machine's own root".to_owned(),
            ));
        }
        if !job.volumes.is_empty() {
            let why =
                "volumes need `isolation: container`; a process sees the machine's own folders".to_owned();
            out.push(bad("volumes", why));
        }
    }
    if let Some(workdir) = &job.workdir
        && let Err(why) = paths::absolute(workdir)
    {
        out.push(bad("workdir", why.to_string()));
    }
    for (index, file) in job.files.iter().enumerate() {
        if let Err(why) = paths::clean(file) {
            out.push(bad(&format!("files[{index}]"), why.to_string()));
        }
    }
    if let Some(file) = &job.stdin {
        if let Err(why) = paths::clean(file) {
            out.push(bad("stdin", why.to_string()));
        }
        if job.tty == Some(true) {
            let why = "a command with a terminal reads from the terminal; keep one of `stdin` and `tty`";
            out.push(bad("stdin", why.to_owned()));
        }
    }
    let mut targets = BTreeMap::new();
    for (index, volume) in job.volumes.iter().enumerate() {
        if let Some(first) = targets.insert(&volume.target, index) {
            let why = format!("`{}` is already the target of volumes[{first}]", short(&volume.target));
            out.push(bad(&format!("volumes[{index}]"), why));
        }
    }
    let mut ports = BTreeMap::new();
    for (index, port) in job.ports.iter().enumerate() {
        if port.host != 0 && ports.insert(port.host, index).is_some() {
            out.push(bad(
                &format!("ports[{index}]"),
                format!("port {} of the machine is used twice", port.host),
            ));
        }
    }
    if let Some(notify) = &job.notify
        && !(1..=MAX_RECIPIENTS).contains(&notify.to.len())
    {
        out.push(bad("notify.to", format!("name 1 to {MAX_RECIPIENTS} recipients")));
    }
    if let Some(on) = job.notify.as_ref().and_then(|notify| notify.on.as_ref())
        && !(1..=Moment::ALL.len()).contains(&on.len())
    {
        out.push(bad("notify.on", "name one moment at least, and each once".to_owned()));
    }
}

fn command(job: &JobFile, out: &mut Vec<Finding>) {
    match &job.run {
        None if job.kind == JobType::Task && !job.has_image() => {
            out.push((String::new(), Fault::MissingField { name: "run".to_owned() }))
        }
        None => {}
        Some(_) if job.ide.is_some_and(|ide| ide != IdeWord::None) => {
            out.push(("run".to_owned(), Fault::Conflict { one: "run", other: "ide" }));
        }
        Some(CommandText::Script(text)) => {
            if text.trim().is_empty() {
                out.push(bad("run", "the script is empty".to_owned()));
            }
            no_nul("run", text, out);
        }
        Some(CommandText::Argv(argv)) => {
            if argv.first().is_none_or(|program| program.0.is_empty()) {
                out.push(bad("run", "the list is empty; write a program and its arguments".to_owned()));
            }
            for (index, part) in argv.iter().enumerate() {
                argument(&format!("run[{index}]"), &part.0, out);
            }
        }
    }
    if let Some(setup) = &job.setup {
        no_nul("setup", setup, out);
    }
    if let Some(dir) = job.checkpoint.as_ref().and_then(|checkpoint| checkpoint.dir.as_ref())
        && let Err(why) = paths::absolute(dir)
    {
        out.push(bad("checkpoint.dir", why.to_string()));
    }
}

fn no_nul(field: &str, text: &str, out: &mut Vec<Finding>) {
    if text.contains('\0') {
        out.push(bad(field, "holds a NUL character, which no program can be given".to_owned()));
    }
}

fn argument(field: &str, text: &str, out: &mut Vec<Finding>) {
    no_nul(field, text, out);
    if text.len() > limits::ARGUMENT {
        let found = format!("{} bytes", text.len());
        let most = format!("{} bytes; put it into a file", limits::ARGUMENT);
        out.push((field.to_owned(), Fault::TooLarge { what: "one argument or variable", found, most }));
    }
}

fn variables(job: &JobFile, out: &mut Vec<Finding>) {
    for (name, value) in &job.env {
        let field = format!("env.{name}");
        if !is_variable(name) {
            let why = format!(
                "`{}` is not a variable name; use letters, digits and _, not starting with a digit",
                short(name)
            );
            out.push(bad(&field, why));
        } else if name.starts_with("POND_") {
            out.push(bad(
                &field,
                format!("`{name}` is set by the pool: variables starting with POND_ are its own"),
            ));
        }
        argument(&field, &value.0, out);
    }
    for (index, name) in job.secrets.iter().enumerate() {
        let field = format!("secrets[{index}]");
        if !is_variable(name) {
            out.push(bad(
                &field,
                format!("`{}` is not a secret's name; use letters, digits and _", short(name)),
            ));
        } else if job.env.contains_key(name) {
            out.push(bad(&field, format!("`{name}` is in `env` too; keep one of the two")));
        }
    }
    for (field, count) in [
        ("env", job.env.len()),
        ("secrets", job.secrets.len()),
        ("files", job.files.len()),
        ("volumes", job.volumes.len()),
        ("ports", job.ports.len()),
        ("labels", job.labels.len()),
        ("after", job.after.len()),
        ("speed.models", job.speed.as_ref().map_or(0, |speed| speed.models.len())),
        ("speed.nodes", job.speed.as_ref().map_or(0, |speed| speed.nodes.len())),
    ] {
        if count > limits::ENTRIES {
            let (found, most) = (count.to_string(), limits::ENTRIES.to_string());
            out.push((field.to_owned(), Fault::TooLarge { what: "the number of entries", found, most }));
        }
    }
    if job.any_of.len() > 16 {
        let (found, most) = (job.any_of.len().to_string(), "16".to_owned());
        out.push(("any_of".to_owned(), Fault::TooLarge { what: "the number of alternatives", found, most }));
    }
}

/// Of a share of a process outside of a container.
const UNKEPT: &str = "a share of a device is kept in containers only; leave `isolation: process` out, ask for the whole \
                      device, or write `advisory: true` to take a share that nobody keeps";

fn resources(job: &JobFile, out: &mut Vec<Finding>) {
    let plain = job.isolation == Some(IsolationWord::Process);
    let base = job.resources.clone().unwrap_or_default();
    let mut look = |at: &str, resources: &crate::jobfile::ResourcesFile| {
        for (kind, word, devices) in resources.devices() {
            let Some(devices) = devices else { continue };
            match devices.requests(kind) {
                Err(why) => out.push(bad(&format!("{at}.{word}"), why.to_string())),
                Ok(requests) if plain && !devices.is_advisory() => {
                    if requests.iter().any(|request| request.mode == ShareMode::Time) {
                        out.push(bad(&format!("{at}.{word}"), UNKEPT.to_owned()));
                    }
                }
                Ok(_) => {}
            }
        }
        if let Some(memory) = resources.memory.filter(|memory| memory.min < limits::LEAST_MEMORY) {
            let why = format!("no program runs in {memory}; write the unit, as in 512MB");
            out.push(bad(&format!("{at}.memory"), why));
        }
    };
    look("resources", &base);
    for (index, other) in job.any_of.iter().enumerate() {
        look(&format!("any_of[{index}]"), &crate::jobfile::ResourcesFile::default().with(other));
    }
    if base.pids.is_some_and(|pids| pids == 0 || pids > limits::PIDS) {
        let found = base.pids.unwrap_or_default().to_string();
        let most = limits::PIDS.to_string();
        out.push((
            "resources.pids".to_owned(),
            Fault::TooLarge { what: "the number of processes", found, most },
        ));
    }
    if let (Some(shm), Some(memory)) = (base.shm, base.memory)
        && shm.0 > memory.max
    {
        let why = format!(
            "/dev/shm of {shm} is part of the memory, which is {memory}; ask for more memory or less shm"
        );
        out.push(bad("resources.shm", why));
    }
}

fn sizes(job: &JobFile, out: &mut Vec<Finding>) {
    if job.parallel == Some(0) {
        out.push(bad(
            "parallel",
            "at least one element must run; leave `parallel` out for no bound".to_owned(),
        ));
    }
    let array = match job.array.as_ref().map(crate::values::ArrayText::resolve) {
        None => {
            if job.parallel.is_some_and(|parallel| parallel > 0) {
                out.push(bad("parallel", "`parallel` bounds an array, and there is no `array`".to_owned()));
            }
            return;
        }
        Some(Err(why)) => return out.push(bad("array", why.to_string())),
        Some(Ok(array)) => array,
    };
    if array.parallel.is_some() && job.parallel.is_some() {
        out.push(bad("parallel", "the array already has a bound after `%`; keep one of the two".to_owned()));
    }
    let tasks = array.indices.len() as u64 * u64::from(job.nodes.map_or(1, |nodes| nodes.max));
    if tasks > limits::TASKS {
        let (found, most) = (tasks.to_string(), limits::TASKS.to_string());
        out.push((
            "array".to_owned(),
            Fault::TooLarge { what: "the number of tasks (elements times nodes)", found, most },
        ));
    }
}

fn spans(job: &JobFile, out: &mut Vec<Finding>) {
    for (field, span) in
        [("time_limit", job.time_limit), ("idle.after", job.idle.as_ref().map(|idle| idle.after))]
    {
        if span.is_some_and(|span| span.0.is_zero()) {
            out.push(bad(
                field,
                "a time of 0 would end the job at once; leave it out for no limit".to_owned(),
            ));
        }
    }
    if job.estimate.is_some_and(|estimate| estimate.0.is_zero()) {
        out.push(bad("estimate", "a job takes some time; leave it out where you do not know".to_owned()));
    }
    for count in job.speed.iter().flat_map(|speed| speed.nodes.keys()) {
        if !count.parse::<u32>().is_ok_and(|count| (1..=limits::NODES).contains(&count)) {
            let why = format!("`{}` is no number of nodes", crate::read::short(count));
            out.push(bad("speed.nodes", why));
        }
    }
    let attempts = match &job.retry {
        Some(RetryText::Times(times)) => Some(*times),
        Some(RetryText::Full(full)) => full.max,
        None => None,
    };
    if attempts.is_some_and(|attempts| attempts > limits::ATTEMPTS) {
        let found = attempts.unwrap_or_default().to_string();
        let most = limits::ATTEMPTS.to_string();
        out.push(("retry".to_owned(), Fault::TooLarge { what: "the number of attempts", found, most }));
    }
    if job.preemptible == Some(true) && job.class == Some(crate::jobfile::ClassWord::Critical) {
        let why =
            "a critical job is never preempted; leave `preemptible` out, or use `class: standard`".to_owned();
        out.push(bad("preemptible", why));
    }
}
