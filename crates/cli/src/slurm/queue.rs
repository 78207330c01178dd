//! `squeue` and `scancel`.

use super::files::memory;
use super::flags::{Given, switch, with_value};
use super::format::{Format, short_moment, span};
use super::rows::{Asked, Row, Scope, chosen};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::JobRef;
use crate::verbs::Ctx;
use pond_server::api::types::{ActionBody, JobDetail, JobSummary};

/// `squeue`.
///
/// # Errors
/// A flag that means nothing, no such job, or no pool.
pub fn squeue(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('u', "user"),
        with_value('j', "jobs"),
        with_value('p', "partition"),
        with_value('t', "states"),
        with_value('n', "name"),
        with_value('o', "format"),
        with_value('O', "Format"),
        with_value('S', "sort"),
        with_value('M', "clusters"),
        switch('h', "noheader"),
        switch('l', "long"),
        switch('r', "array"),
        switch(' ', "me"),
        switch(' ', "start"),
        switch(' ', "noconvert"),
        switch('a', "all"),
    ];
    let given = Given::read("squeue", &known, args)?;
    let client = ctx.client()?;
    let mut rows = chosen(&client, &given, Scope { active: true, apart: given.has("array"), detail: false })?;
    if let Some(keys) = given.get("sort") {
        sort(&mut rows, keys)?;
    }
    let usual = match (given.has("start"), given.has("long")) {
        (true, _) => "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20N %R",
        (_, true) => "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R",
        _ => "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R",
    };
    let format = match given.get("Format") {
        Some(fields) => long_format(fields)?,
        None => Format::parse(given.get("format").unwrap_or(usual)),
    };
    if !given.has("noheader") {
        ctx.out.line(&format.line(|letter| title(letter).to_owned()))?;
    }
    for row in &rows {
        ctx.out.line(&format.line(|letter| field(letter, row)))?;
    }
    Ok(codes::OK)
}

/// Field names of `-O`, the letters they are, and whose title is another.
const LONG: [(&str, char); 30] = [
    ("jobid", 'A'),
    ("jobarrayid", 'i'),
    ("arrayjobid", 'F'),
    ("arraytaskid", 'K'),
    ("name", 'j'),
    ("username", 'u'),
    ("account", 'a'),
    ("partition", 'P'),
    ("state", 'T'),
    ("statecompact", 't'),
    ("timeused", 'M'),
    ("timelimit", 'l'),
    ("timeleft", 'L'),
    ("numnodes", 'D'),
    ("numcpus", 'C'),
    ("numtasks", 'D'),
    ("mincpus", 'c'),
    ("minmemory", 'm'),
    ("nodelist", 'N'),
    ("reason", 'r'),
    ("reasonlist", 'R'),
    ("submittime", 'V'),
    ("starttime", 'S'),
    ("endtime", 'e'),
    ("priority", 'Q'),
    ("prioritylong", 'Q'),
    ("qos", 'q'),
    ("gres", 'b'),
    ("tres-per-node", 'b'),
    ("batchhost", 'B'),
];

/// `JobID:10,State` as the same in letters; a column has 20 places when it does not say.
fn long_format(fields: &str) -> Result<Format, CliError> {
    let mut letters = String::new();
    for field in fields.split(',').filter(|field| !field.is_empty()) {
        let (name, width) = field.split_once(':').unwrap_or((field, "20"));
        let (width, right) = match width.strip_prefix('.') {
            Some(width) => (width, "."),
            None => (width, ""),
        };
        let letter = LONG.iter().find(|(long, _)| name.trim().eq_ignore_ascii_case(long));
        let (Some((_, letter)), Ok(width)) = (letter, width.parse::<u16>()) else {
            let names: Vec<&str> = LONG.iter().map(|(long, _)| *long).collect();
            return Err(CliError::Usage {
                what: format!("squeue has no field `{field}` here"),
                next: Some(format!("fields: {}", names.join(" "))),
            });
        };
        letters.push_str(&format!("%{right}{width}{letter}"));
    }
    Ok(Format::parse(&letters))
}

/// `P,-t,i`: by these letters, the first counting most.
fn sort(rows: &mut [Row], keys: &str) -> Result<(), CliError> {
    for key in keys.split(',').rev().filter(|key| !key.is_empty()) {
        let (down, letter) = match key.strip_prefix('-') {
            Some(letter) => (true, letter),
            None => (false, key.trim_start_matches('+')),
        };
        let letter = letter.chars().next().filter(|letter| !title(*letter).is_empty());
        let Some(letter) = letter else {
            return Err(CliError::Usage {
                what: format!("squeue cannot sort by `{key}`"),
                next: Some("name the letters of its format, as in -S -p,i".to_owned()),
            });
        };
        // What is a number is compared as one.
        let by = |row: &Row| match letter {
            'i' | 'A' | 'F' => (row.job.id, row.id.clone()),
            'p' | 'Q' => (u64::from(row.job.priority), String::new()),
            'M' => (row.ran_ms(), String::new()),
            'D' => (row.tasks(), String::new()),
            'C' => (row.cores(), String::new()),
            'c' => (row.job.request.cpu_milli, String::new()),
            'm' => (row.job.request.memory_bytes, String::new()),
            'l' => (row.job.time_limit_ms.unwrap_or(u64::MAX), String::new()),
            'L' => {
                let left = row.job.time_limit_ms.map(|limit| limit.saturating_sub(row.ran_ms()));
                (left.unwrap_or(u64::MAX), String::new())
            }
            other => (0, field(other, row)),
        };
        rows.sort_by(|a, b| if down { by(b).cmp(&by(a)) } else { by(a).cmp(&by(b)) });
    }
    Ok(())
}

const fn title(letter: char) -> &'static str {
    match letter {
        'i' | 'A' => "JOBID",
        'F' => "ARRAY_JOB_ID",
        'K' => "ARRAY_TASK_ID",
        'P' => "PARTITION",
        'j' => "NAME",
        'u' => "USER",
        'a' => "ACCOUNT",
        't' => "ST",
        'T' => "STATE",
        'M' => "TIME",
        'l' => "TIME_LIMIT",
        'L' => "TIME_LEFT",
        'D' => "NODES",
        'C' => "CPUS",
        'c' => "MIN_CPUS",
        'm' => "MIN_MEMORY",
        'p' | 'Q' => "PRIORITY",
        'R' => "NODELIST(REASON)",
        'r' => "REASON",
        'N' => "NODELIST",
        'B' => "EXEC_HOST",
        'S' => "START_TIME",
        'V' => "SUBMIT_TIME",
        'e' => "END_TIME",
        'q' => "QOS",
        'b' => "TRES_PER_NODE",
        'k' => "COMMENT",
        _ => "",
    }
}

/// What a letter stands for in the line of a job.
pub fn field(letter: char, row: &Row) -> String {
    let job = &row.job;
    let nodes = row.nodes.join(",");
    let reason = row.reason.clone().unwrap_or_else(|| "None".to_owned());
    let at = |ms: Option<u64>| ms.map_or_else(|| "N/A".to_owned(), short_moment);
    match letter {
        'i' => row.id.clone(),
        'A' | 'F' => job.id.to_string(),
        'K' => row.element.clone().unwrap_or_else(|| "N/A".to_owned()),
        'P' => job.queue.clone(),
        'j' => job.name.clone(),
        'u' | 'a' => job.user.clone(),
        't' => row.words().1.to_owned(),
        'T' => row.words().0.to_owned(),
        'M' => span(row.ran_ms()),
        'l' => job.time_limit_ms.map_or_else(|| "UNLIMITED".to_owned(), span),
        'L' => {
            let left = job.time_limit_ms.map(|limit| limit.saturating_sub(row.ran_ms()));
            left.map_or_else(|| "UNLIMITED".to_owned(), span)
        }
        'D' => row.tasks().to_string(),
        'C' => row.cores().to_string(),
        'c' => job.request.cpu_milli.div_ceil(1000).to_string(),
        'm' => memory(job.request.memory_bytes),
        'p' | 'Q' => job.priority.to_string(),
        'R' if nodes.is_empty() => format!("({reason})"),
        'R' | 'N' => nodes,
        'B' => row.nodes.first().cloned().unwrap_or_else(|| "n/a".to_owned()),
        'r' => reason,
        'S' => at(row.started_ms),
        'e' => at(row.ended_ms),
        'V' => at(Some(job.submitted_ms)),
        'q' => crate::verbs::list::class_text(job.class).to_owned(),
        'b' => gres(job),
        'k' => "(null)".to_owned(),
        _ => String::new(),
    }
}

fn gres(job: &JobSummary) -> String {
    let one = |ask: &pond_server::api::types::DeviceAsk| {
        let model = ask.model.as_deref().map(|model| format!(":{model}")).unwrap_or_default();
        format!("gres/{}{model}:{}", ask.kind, ask.count)
    };
    let all: Vec<String> = job.devices.iter().map(one).collect();
    if all.is_empty() { "N/A".to_owned() } else { all.join(",") }
}

/// `scancel`.
///
/// # Errors
/// A flag that means nothing, no such job, or no pool.
pub fn scancel(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('u', "user"),
        with_value('n', "name"),
        with_value(' ', "jobname"),
        with_value('p', "partition"),
        with_value('t', "states"),
        with_value('s', "signal"),
        with_value('M', "clusters"),
        switch('b', "batch"),
        switch('f', "full"),
        switch('Q', "quiet"),
        switch('v', "verbose"),
        switch(' ', "me"),
    ];
    let mut given = Given::read("scancel", &known, args)?;
    let now = match given.get("signal").map(|it| it.trim_start_matches("SIG").to_owned()).as_deref() {
        None | Some("TERM" | "15" | "INT" | "2") => false,
        Some("KILL" | "9") => true,
        Some(other) => {
            return Err(CliError::Usage {
                what: format!("scancel cannot send {other} to a job here"),
                next: Some("use `pond exec JOB -- kill` inside it".to_owned()),
            });
        }
    };
    let filters = ["user", "name", "jobname", "partition", "states", "me"].iter().any(|name| given.has(name));
    let named: Vec<String> =
        std::mem::take(&mut given.rest).iter().flat_map(|text| super::flags::ids(text)).collect();
    if named.is_empty() && !filters {
        return Err(CliError::usage("No job identification provided"));
    }
    let client = ctx.client()?;
    if filters {
        // By their states or their numbers some elements of an array are meant, otherwise all of it.
        let some = given.has("states") || named.iter().any(|text| text.contains('_'));
        named.into_iter().for_each(|text| given.add("jobs", text));
        let mut targets: Vec<JobRef> = Vec::new();
        for row in chosen(&client, &given, Scope { active: true, apart: some, detail: false })? {
            let index = row.element.as_deref().filter(|_| some).and_then(|element| element.parse().ok());
            let target = JobRef { index, ..JobRef::job(row.job.id) };
            if targets.last() != Some(&target) {
                targets.push(target);
            }
        }
        return targets.iter().try_for_each(|target| stop(&client, target, now)).map(|()| codes::OK);
    }
    let mut code = codes::OK;
    for text in named {
        let told = Asked::read(&client, &text).and_then(|asked| match &asked.only {
            None => stop(&client, &JobRef::job(asked.job), now),
            Some(only) => only.iter().try_for_each(|index| {
                stop(&client, &JobRef { index: Some(*index), ..JobRef::job(asked.job) }, now)
            }),
        });
        match told {
            Ok(()) => {}
            Err(gone @ CliError::Unreachable { .. }) => return Err(gone),
            Err(why) => {
                ctx.out.warn(&format!("scancel: {}: {}", clean(&text), clean(&why.to_string())));
                code = codes::FAILED;
            }
        }
    }
    Ok(code)
}

/// Stops a job or an element. One that is over already needs no word, as with Slurm.
fn stop(client: &Client, target: &JobRef, now: bool) -> Result<(), CliError> {
    let body = ActionBody { index: target.index, now, ..ActionBody::default() };
    let Err(why) = client.post::<JobSummary>(&target.path("/stop"), &body) else { return Ok(()) };
    let detail: JobDetail = client.get(&target.path(""), &())?;
    let over = match target.index {
        Some(index) => detail.gangs.iter().any(|gang| gang.index == index && gang.state.is_over()),
        None => detail.summary.state.is_over(),
    };
    if over { Ok(()) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    use super::long_format;

    #[test]
    fn long_fields_have_letters() {
        assert_eq!(
            long_format("JobID:5,State").unwrap().line(|letter| letter.to_string()),
            format!("{:<5}{:<20}", "A", "T")
        );
        assert!(long_format("JobID,nonsense").is_err());
        assert!(long_format("JobID:x").is_err());
    }
}
