//! `sacct`.

use super::files::memory;
use super::flags::{Given, switch, with_value};
use super::format::{elapsed, short_moment};
use super::rows::{Row, Scope, chosen};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::{clean, now_ms, parse_when};
use crate::refs::JobRef;
use crate::verbs::Ctx;
use pond_server::api::types::JobDetail;
use std::collections::BTreeMap;

/// Its fields and their titles; several names for one are one after the other.
const FIELDS: [(&str, &str); 40] = [
    ("jobid", "JobID"),
    ("jobidraw", "JobIDRaw"),
    ("jobname", "JobName"),
    ("partition", "Partition"),
    ("account", "Account"),
    ("user", "User"),
    ("cluster", "Cluster"),
    ("alloccpus", "AllocCPUS"),
    ("ncpus", "NCPUS"),
    ("reqcpus", "ReqCPUS"),
    ("reqmem", "ReqMem"),
    ("alloctres", "AllocTRES"),
    ("reqtres", "ReqTRES"),
    ("state", "State"),
    ("exitcode", "ExitCode"),
    ("derivedexitcode", "DerivedExitCode"),
    ("submit", "Submit"),
    ("eligible", "Eligible"),
    ("start", "Start"),
    ("end", "End"),
    ("elapsed", "Elapsed"),
    ("elapsedraw", "ElapsedRaw"),
    ("timelimit", "Timelimit"),
    ("timelimitraw", "TimelimitRaw"),
    ("planned", "Planned"),
    ("nodelist", "NodeList"),
    ("nnodes", "NNodes"),
    ("allocnodes", "AllocNodes"),
    ("ntasks", "NTasks"),
    ("priority", "Priority"),
    ("qos", "QOS"),
    ("reason", "Reason"),
    ("restarts", "Restarts"),
    ("workdir", "WorkDir"),
    ("maxrss", "MaxRSS"),
    ("averss", "AveRSS"),
    ("totalcpu", "TotalCPU"),
    ("cputime", "CPUTime"),
    ("cputimeraw", "CPUTimeRAW"),
    ("cost", "Cost"),
];

/// `sacct`.
///
/// # Errors
/// A flag or field that means nothing, no such job, or no pool.
pub fn sacct(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('j', "jobs"),
        with_value('u', "user"),
        with_value('s', "states"),
        with_value('r', "partition"),
        with_value(' ', "name"),
        with_value('o', "format"),
        with_value('S', "starttime"),
        with_value('E', "endtime"),
        with_value('M', "clusters"),
        switch('n', "noheader"),
        switch('P', "parsable2"),
        switch('p', "parsable"),
        switch('X', "allocations"),
        switch('b', "brief"),
        switch('e', "helpformat"),
        switch('a', "allusers"),
        switch('D', "duplicates"),
        switch(' ', "array"),
        switch(' ', "noconvert"),
        switch(' ', "me"),
    ];
    let given = Given::read("sacct", &known, args)?;
    if given.has("helpformat") {
        let names: Vec<&str> = FIELDS.iter().map(|(_, title)| *title).collect();
        return ctx.out.line(&names.join(" ")).map(|()| codes::OK);
    }
    let asked = given.list("format");
    let usual: &[&str] = if given.has("brief") {
        &["jobid", "state", "exitcode"]
    } else {
        &["jobid%12", "jobname", "partition", "account", "alloccpus", "state", "exitcode"]
    };
    let columns: Vec<Column> = if asked.is_empty() {
        usual.iter().map(|text| Column::read(text)).collect::<Result<_, _>>()?
    } else if asked.iter().any(|text| text.eq_ignore_ascii_case("all")) {
        FIELDS.iter().map(|(name, _)| Column::read(name)).collect::<Result<_, _>>()?
    } else {
        asked.iter().map(|text| Column::read(text)).collect::<Result<_, _>>()?
    };
    let from = given.get("starttime").map(when).transpose()?.unwrap_or(0);
    let to = given.get("endtime").map(when).transpose()?.unwrap_or(u64::MAX);
    let client = ctx.client()?;
    let detail = columns.iter().any(|it| matches!(it.name, "maxrss" | "averss" | "restarts" | "nodelist"));
    let mut rows = chosen(&client, &given, Scope { active: false, apart: given.has("array"), detail })?;
    rows.retain(|row| row.job.submitted_ms <= to && row.ended_ms.is_none_or(|ended| ended >= from));
    let end = if given.has("parsable") { "|" } else { "" };
    let bare = given.has("parsable2") || given.has("parsable");
    let print = |cells: Vec<String>| {
        if bare {
            return ctx.out.line(&format!("{}{end}", cells.join("|")));
        }
        let cells: Vec<String> =
            cells.iter().zip(&columns).map(|(cell, column)| column.padded(cell)).collect();
        ctx.out.line(&cells.join(" "))
    };
    if !given.has("noheader") {
        print(columns.iter().map(|column| column.title.to_owned()).collect())?;
        if !bare {
            print(columns.iter().map(|column| "-".repeat(column.width)).collect())?;
        }
    }
    let mut details = Details::default();
    for row in &rows {
        print(columns.iter().map(|column| field(&client, &mut details, column.name, row)).collect())?;
    }
    Ok(codes::OK)
}

/// `jobname%20`, `jobname%-20`: a field, its width, and on which side it stands.
struct Column {
    name: &'static str,
    title: &'static str,
    width: usize,
    left: bool,
}

impl Column {
    fn read(text: &str) -> Result<Self, CliError> {
        let (name, width) = text.split_once('%').unwrap_or((text, "10"));
        let digits = width.trim_start_matches('-');
        let found = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((name, title)) = found else {
            let names: Vec<&str> = FIELDS.iter().map(|(_, title)| *title).collect();
            return Err(CliError::Usage {
                what: format!("sacct has no field `{text}` here"),
                next: Some(format!("fields: {}", names.join(" "))),
            });
        };
        Ok(Self {
            name,
            title,
            width: digits.parse().unwrap_or(10).min(500),
            left: digits.len() < width.len(),
        })
    }

    /// Cut as Slurm cuts: a `+` says that there is more.
    fn padded(&self, cell: &str) -> String {
        let width = self.width;
        let mut cell = cell.to_owned();
        if cell.chars().count() > width {
            cell = cell.chars().take(width.saturating_sub(1)).chain(['+']).collect();
        }
        if self.left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    }
}

/// A moment as Slurm reads them, in UTC as all times here: `2026-11-24`, `2026-11-24T08:00`, `now-2hours`, `today`.
fn when(text: &str) -> Result<u64, CliError> {
    const DAY_MS: u64 = 86_400_000;
    let wrong = || CliError::Usage {
        what: format!("`{text}` is no moment"),
        next: Some("write 2026-11-24, 2026-11-24T08:00:00, today, now or now-2hours".to_owned()),
    };
    let now = now_ms();
    match text.to_ascii_lowercase().as_str() {
        "now" => return Ok(now),
        "today" | "midnight" => return Ok(now / DAY_MS * DAY_MS),
        "yesterday" => return Ok((now / DAY_MS).saturating_sub(1) * DAY_MS),
        other => {
            if let Some(back) = other.strip_prefix("now-") {
                let letters = back.trim_start_matches(|digit: char| digit.is_ascii_digit());
                let count: u64 = back[..back.len() - letters.len()].parse().map_err(|_why| wrong())?;
                let unit = match letters.trim_end_matches('s') {
                    "" | "second" => 1000,
                    "minute" => 60_000,
                    "hour" => 3_600_000,
                    "day" => DAY_MS,
                    "week" => 7 * DAY_MS,
                    _ => return Err(wrong()),
                };
                return Ok(now.saturating_sub(count.saturating_mul(unit)));
            }
        }
    }
    let whole = match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        10 => text.to_owned(),
        _ => return Err(wrong()),
    };
    parse_when(&whole).map_err(|_why| wrong())
}

/// What was asked about whole jobs, each once; none: it was not told.
type Details = BTreeMap<u64, Option<JobDetail>>;

fn field(client: &Client, details: &mut Details, name: &str, row: &Row) -> String {
    let job = &row.job;
    let at = |ms: Option<u64>| ms.map_or_else(|| "Unknown".to_owned(), short_moment);
    let text = match name {
        "jobid" | "jobidraw" => row.id.clone(),
        "jobname" => job.name.clone(),
        "partition" => job.queue.clone(),
        "account" | "user" => job.user.clone(),
        "cluster" => "pond".to_owned(),
        "alloccpus" | "ncpus" | "reqcpus" => row.cores().to_string(),
        "reqmem" => memory(job.request.memory_bytes),
        "alloctres" if row.started_ms.is_none() => String::new(),
        "alloctres" | "reqtres" => tres(row),
        "state" => row.words().0.to_owned(),
        "exitcode" | "derivedexitcode" => exit(row),
        "submit" | "eligible" => at(Some(job.submitted_ms)),
        "start" => at(row.started_ms),
        "end" => at(row.ended_ms),
        "elapsed" => elapsed(row.ran_ms()),
        "elapsedraw" => (row.ran_ms() / 1000).to_string(),
        "timelimit" => job.time_limit_ms.map_or_else(|| "UNLIMITED".to_owned(), elapsed),
        "timelimitraw" => {
            job.time_limit_ms.map_or_else(|| "UNLIMITED".to_owned(), |limit| (limit / 60_000).to_string())
        }
        "planned" => {
            let until = row.started_ms.or(row.ended_ms).unwrap_or_else(now_ms);
            elapsed(until.saturating_sub(job.submitted_ms))
        }
        "nodelist" if row.nodes.is_empty() => "None assigned".to_owned(),
        "nodelist" => row.nodes.join(","),
        "nnodes" | "allocnodes" | "ntasks" => row.tasks().to_string(),
        "priority" => job.priority.to_string(),
        "qos" => crate::verbs::list::class_text(job.class).to_owned(),
        "reason" => row.reason.clone().unwrap_or_else(|| "None".to_owned()),
        "maxrss" | "averss" => row.memory_bytes.map(|bytes| format!("{}K", bytes >> 10)).unwrap_or_default(),
        "restarts" => row.attempt.map(|attempt| attempt.saturating_sub(1).to_string()).unwrap_or_default(),
        _ => {
            let id = row.job.id;
            let ask = || client.get(&JobRef::job(id).path(""), &()).ok();
            details.entry(id).or_insert_with(ask).as_ref().map(|job| of_detail(job, name)).unwrap_or_default()
        }
    };
    clean(&text).into_owned()
}

/// `1:0`, or `0:9` for a signal.
pub fn exit(row: &Row) -> String {
    match row.exit_code.unwrap_or(0) {
        code @ 129..=192 => format!("0:{}", code - 128),
        code => format!("{code}:0"),
    }
}

/// `cpu=4,mem=8192M,node=2,gres/gpu=2`.
pub fn tres(row: &Row) -> String {
    let memory = (row.job.request.memory_bytes >> 20) * row.tasks();
    let mut text = format!("cpu={},mem={memory}M,node={}", row.cores(), row.tasks());
    for ask in &row.job.devices {
        text.push_str(&format!(",gres/{}={}", ask.kind, u64::from(ask.count) * row.tasks()));
    }
    text
}

/// What only the whole job knows, for all of it; empty when it is not known.
fn of_detail(detail: &JobDetail, name: &str) -> String {
    let seconds = detail.usage.as_ref().map(|usage| usage.granted_cpu_milli_ms / 1_000_000);
    match name {
        "workdir" => detail.spec["run"]["workdir"].as_str().unwrap_or_default().to_owned(),
        "cost" => detail
            .cost
            .as_ref()
            .map(|cost| crate::verbs::money::money(cost.charge_micros - cost.credit_micros))
            .unwrap_or_default(),
        // Cores that were granted, in seconds.
        "cputimeraw" => seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
        _ => seconds.map(|seconds| elapsed(seconds * 1000)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, when};

    #[test]
    fn moments_are_read_as_slurm_reads_them() {
        assert_eq!(when("1970-01-02").unwrap(), 86_400_000);
        assert_eq!(when("1970-01-01T00:01").unwrap(), 60_000);
        assert_eq!(when("1970-01-01T00:00:01").unwrap(), 1000);
        assert!(when("now-1days").unwrap() < when("now-1hour").unwrap());
        assert!(when("today").unwrap() <= when("now").unwrap());
        for wrong in ["noon", "now-1parsec", "2026-13-01", "12", "ää"] {
            assert_eq!(when(wrong).unwrap_err().exit_code(), 64, "{wrong}");
        }
    }

    #[test]
    fn columns_are_cut_and_padded() {
        let column = |text: &str| Column::read(text).unwrap();
        assert_eq!(column("JobName%5").padded("a long one"), "a lo+");
        assert_eq!(column("jobname%-5").padded("ab"), "ab   ");
        assert_eq!(column("jobname").padded("ab"), "        ab");
        assert!(Column::read("nonsense").is_err());
    }
}
