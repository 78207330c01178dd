//! `squeue`, `scancel`, `sinfo`, `sacct`: the pool in Slurm's columns.

use super::flags::{Given, switch, with_value};
use super::format::{Format, elapsed, span, state};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::{moment, now_ms};
use crate::refs::{Careful, JobRef, find};
use crate::verbs::Ctx;
use crate::verbs::list::jobs;
use pond_core::units::Bytes;
use pond_server::api::types::{ActionBody, JobDetail, JobQuery, JobSummary, NodeView, State, WhoView};

/// Jobs that are looked through at most.
const MOST: u32 = 10_000;

/// Which jobs the flags ask for.
fn chosen(client: &Client, given: &Given, scope: &str) -> Result<Vec<JobSummary>, CliError> {
    let mut users = given.list("user");
    if given.has("me") {
        users.push(client.get::<WhoView>("/whoami", &())?.user);
    }
    let query = JobQuery {
        state: Some(scope.to_owned()),
        queue: given.get("partition").map(str::to_owned),
        name: given.get("name").map(str::to_owned),
        ..JobQuery::default()
    };
    let ids: Vec<u64> = given
        .list("jobs")
        .iter()
        .map(|text| {
            find(client, &text.replace('_', "["), Careful::No).or_else(|_why| find(client, text, Careful::No))
        })
        .map(|found| found.map(|job| job.job))
        .collect::<Result<_, _>>()?;
    let states = given.list("states");
    let wanted = |job: &JobSummary| {
        let (long, short) = state(job.state);
        (users.is_empty() || users.contains(&job.user))
            && (ids.is_empty() || ids.contains(&job.id))
            && (states.is_empty()
                || states.iter().any(|it| {
                    it.eq_ignore_ascii_case(long)
                        || it.eq_ignore_ascii_case(short)
                        || it.eq_ignore_ascii_case("all")
                }))
    };
    let mut jobs = jobs(client, &query, MOST)?;
    jobs.retain(wanted);
    jobs.reverse();
    Ok(jobs)
}

fn tasks(job: &JobSummary) -> u64 {
    u64::from(job.size_min)
}

fn ran_ms(job: &JobSummary) -> u64 {
    job.started_ms.map_or(0, |started| job.ended_ms.unwrap_or_else(now_ms).saturating_sub(started))
}

/// `squeue`.
///
/// # Errors
/// A flag that means nothing, or no pool.
pub fn squeue(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('u', "user"),
        with_value('j', "jobs"),
        with_value('p', "partition"),
        with_value('t', "states"),
        with_value('n', "name"),
        with_value('o', "format"),
        switch('h', "noheader"),
        switch('l', "long"),
        switch(' ', "me"),
        switch('a', "all"),
    ];
    let given = Given::read("squeue", &known, args)?;
    let client = ctx.client()?;
    let scope = if given.get("states").is_some() || given.get("jobs").is_some() { "all" } else { "active" };
    let jobs = chosen(&client, &given, scope)?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&jobs).map(|()| codes::OK);
    }
    let usual = if given.has("long") {
        "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R"
    } else {
        "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
    };
    let format = Format::parse(given.get("format").unwrap_or(usual));
    if !given.has("noheader") {
        ctx.out.line(&format.line(|letter| queue_title(letter).to_owned()))?;
    }
    for job in &jobs {
        ctx.out.line(&format.line(|letter| queue_field(letter, job)))?;
    }
    Ok(codes::OK)
}

const fn queue_title(letter: char) -> &'static str {
    match letter {
        'i' | 'A' => "JOBID",
        'P' => "PARTITION",
        'j' => "NAME",
        'u' => "USER",
        't' => "ST",
        'T' => "STATE",
        'M' => "TIME",
        'l' => "TIME_LIMIT",
        'L' => "TIME_LEFT",
        'D' => "NODES",
        'C' => "CPUS",
        'm' => "MIN_MEMORY",
        'Q' => "PRIORITY",
        'R' => "NODELIST(REASON)",
        'r' => "REASON",
        'N' => "NODELIST",
        'S' => "START_TIME",
        'V' => "SUBMIT_TIME",
        'e' => "END_TIME",
        'q' => "QOS",
        _ => "",
    }
}

fn queue_field(letter: char, job: &JobSummary) -> String {
    let (long, short) = state(job.state);
    let nodes = job.nodes.join(",");
    let reason = job.reason.clone().unwrap_or_else(|| "None".to_owned());
    let at = |ms: Option<u64>| ms.map_or_else(|| "N/A".to_owned(), short_moment);
    match letter {
        'i' if job.elements.total > 1 => format!("{}_[{}]", job.id, job.elements.total),
        'i' | 'A' => job.id.to_string(),
        'P' => job.queue.clone(),
        'j' => job.name.clone(),
        'u' => job.user.clone(),
        't' => short.to_owned(),
        'T' => long.to_owned(),
        'M' => span(ran_ms(job)),
        'l' => job.time_limit_ms.map_or_else(|| "UNLIMITED".to_owned(), span),
        'L' => left(job),
        'D' => tasks(job).to_string(),
        'C' => (job.request.cpu_milli.div_ceil(1000) * tasks(job)).to_string(),
        'm' => Bytes(job.request.memory_bytes).to_string(),
        'Q' => job.priority.to_string(),
        'R' if nodes.is_empty() => format!("({reason})"),
        'R' | 'N' => nodes,
        'r' => reason,
        'S' => at(job.started_ms),
        'e' => at(job.ended_ms),
        'V' => at(Some(job.submitted_ms)),
        'q' => crate::verbs::list::class_text(job.class).to_owned(),
        _ => String::new(),
    }
}

/// How much of its time limit a job has left; all of it before it runs.
fn left(job: &JobSummary) -> String {
    let left = job.time_limit_ms.map(|limit| limit.saturating_sub(ran_ms(job)));
    left.map_or_else(|| "UNLIMITED".to_owned(), span)
}

/// `2026-11-24T08:00:00`.
fn short_moment(ms: u64) -> String {
    moment(ms).get(..19).unwrap_or_default().to_owned()
}

/// `scancel`.
///
/// # Errors
/// A flag that means nothing, no such job, or no pool.
pub fn scancel(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('u', "user"),
        with_value('n', "name"),
        with_value('p', "partition"),
        with_value('t', "states"),
        with_value('s', "signal"),
        switch('f', "full"),
        switch('Q', "quiet"),
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
    let client = ctx.client()?;
    let mut targets = Vec::new();
    for text in std::mem::take(&mut given.rest) {
        targets.push(element(&client, &text)?);
    }
    let filters = ["user", "name", "partition", "states", "me"].iter().any(|name| given.has(name));
    if targets.is_empty() {
        if !filters {
            return Err(CliError::usage("No job identification provided"));
        }
        targets = chosen(&client, &given, "active")?.iter().map(|job| JobRef::job(job.id)).collect();
    }
    for target in targets {
        let body = ActionBody { index: target.index, now, ..ActionBody::default() };
        client.post::<JobSummary>(&target.path("/stop"), &body)?;
    }
    Ok(codes::OK)
}

/// `12`, `12_7` (an array element), or what we call jobs.
fn element(client: &Client, text: &str) -> Result<JobRef, CliError> {
    match text.split_once('_').map(|(job, index)| (job.parse(), index.parse())) {
        Some((Ok(job), Ok(index))) => Ok(JobRef { index: Some(index), ..JobRef::job(job) }),
        _ => find(client, text, Careful::Yes),
    }
}

/// `sinfo`.
///
/// # Errors
/// A flag that means nothing, or no pool.
pub fn sinfo(ctx: &Ctx, args: &[String]) -> Done {
    let known =
        [switch('N', "Node"), switch('h', "noheader"), switch('l', "long"), with_value('o', "format")];
    let given = Given::read("sinfo", &known, args)?;
    let nodes: Vec<NodeView> = ctx.client()?.get("/nodes", &())?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&nodes).map(|()| codes::OK);
    }
    let usual = if given.has("Node") { "%.12N %.6D %.9P %6t" } else { "%9P %.5a %.10l %.6D %6t %N" };
    let format = Format::parse(given.get("format").unwrap_or(usual));
    if !given.has("noheader") {
        ctx.out.line(&format.line(|letter| node_title(letter).to_owned()))?;
    }
    for node in &nodes {
        ctx.out.line(&format.line(|letter| node_field(letter, node)))?;
    }
    Ok(codes::OK)
}

const fn node_title(letter: char) -> &'static str {
    match letter {
        'P' | 'R' => "PARTITION",
        'a' => "AVAIL",
        'l' => "TIMELIMIT",
        'D' => "NODES",
        't' | 'T' => "STATE",
        'N' | 'n' => "NODELIST",
        'c' => "CPUS",
        'C' => "CPUS(A/I/O/T)",
        'm' => "MEMORY",
        'e' => "FREE_MEM",
        'd' => "TMP_DISK",
        'G' => "GRES",
        'f' => "AVAIL_FEATURES",
        _ => "",
    }
}

fn node_field(letter: char, node: &NodeView) -> String {
    let cores = |milli: u64| milli / 1000;
    match letter {
        'P' => "pool*".to_owned(),
        'R' => "pool".to_owned(),
        'a' => "up".to_owned(),
        'l' => "infinite".to_owned(),
        'D' => "1".to_owned(),
        't' | 'T' => match node.state.as_str() {
            "ready" if node.granted.cpu_milli == 0 => "idle",
            "ready" if node.granted.cpu_milli >= node.capacity.cpu_milli => "alloc",
            "ready" => "mix",
            "draining" if node.gangs.is_empty() => "drain",
            "draining" => "drng",
            _ => "down",
        }
        .to_owned(),
        'N' | 'n' => node.name.clone(),
        'c' => cores(node.capacity.cpu_milli).to_string(),
        'C' => {
            let (all, used) = (cores(node.capacity.cpu_milli), cores(node.granted.cpu_milli));
            format!("{used}/{}/0/{all}", all.saturating_sub(used))
        }
        'm' => (node.capacity.memory_bytes >> 20).to_string(),
        'e' => (node.capacity.memory_bytes.saturating_sub(node.granted.memory_bytes) >> 20).to_string(),
        'd' => (node.capacity.disk_bytes >> 20).to_string(),
        'G' if node.devices.is_empty() => "(null)".to_owned(),
        'G' => format!("gpu:{}", node.devices.len()),
        'f' => {
            node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

/// `sacct`.
///
/// # Errors
/// A flag or field that means nothing, or no pool.
pub fn sacct(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('j', "jobs"),
        with_value('u', "user"),
        with_value('s', "states"),
        with_value('r', "partition"),
        with_value(' ', "name"),
        with_value('o', "format"),
        switch('n', "noheader"),
        switch('P', "parsable2"),
        switch('p', "parsable"),
        switch('X', "allocations"),
        switch('a', "allusers"),
        switch(' ', "me"),
    ];
    let given = Given::read("sacct", &known, args)?;
    let client = ctx.client()?;
    let jobs = chosen(&client, &given, "all")?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&jobs).map(|()| codes::OK);
    }
    let asked = given.list("format");
    let fields: Vec<(String, usize)> = if asked.is_empty() {
        ["jobid%12", "jobname", "partition", "account", "alloccpus", "state", "exitcode"]
            .iter()
            .map(|field| column(field))
            .collect::<Result<_, _>>()?
    } else {
        asked.iter().map(|field| column(field)).collect::<Result<_, _>>()?
    };
    let end = if given.has("parsable") { "|" } else { "" };
    let print = |cells: Vec<String>| {
        if given.has("parsable2") || given.has("parsable") {
            return ctx.out.line(&format!("{}{end}", cells.join("|")));
        }
        let cells: Vec<String> = cells
            .iter()
            .zip(&fields)
            .map(|(cell, (_, width))| format!("{:>width$}", cell.chars().take(*width).collect::<String>()))
            .collect();
        ctx.out.line(&cells.join(" "))
    };
    if !given.has("noheader") {
        print(fields.iter().map(|(name, _)| title(name).to_owned()).collect())?;
        if end.is_empty() && !given.has("parsable2") {
            print(fields.iter().map(|(_, width)| "-".repeat(*width)).collect())?;
        }
    }
    for job in &jobs {
        print(fields.iter().map(|(name, _)| account_field(&client, name, job)).collect())?;
    }
    Ok(codes::OK)
}

/// `jobname%20`: a field and its width.
fn column(text: &str) -> Result<(String, usize), CliError> {
    let (name, width) = match text.split_once('%') {
        Some((name, width)) => (name, width.trim_start_matches('-').parse().unwrap_or(10)),
        None => (text, 10),
    };
    let name = name.to_lowercase();
    if title(&name).is_empty() {
        return Err(CliError::Usage {
            what: format!("sacct has no field `{text}` here"),
            next: Some("fields: JobID JobName Partition Account User AllocCPUS ReqMem State ExitCode Submit Start End Elapsed NodeList NNodes Priority MaxRSS TotalCPU CPUTimeRAW ElapsedRaw QOS Cost".to_owned()),
        });
    }
    Ok((name, width.min(500)))
}

fn title(name: &str) -> &'static str {
    match name {
        "jobid" | "jobidraw" => "JobID",
        "jobname" => "JobName",
        "partition" => "Partition",
        "account" => "Account",
        "user" => "User",
        "alloccpus" | "ncpus" | "reqcpus" => "AllocCPUS",
        "reqmem" => "ReqMem",
        "state" => "State",
        "exitcode" => "ExitCode",
        "submit" => "Submit",
        "start" => "Start",
        "end" => "End",
        "elapsed" => "Elapsed",
        "nodelist" => "NodeList",
        "nnodes" => "NNodes",
        "priority" => "Priority",
        "maxrss" => "MaxRSS",
        "totalcpu" => "TotalCPU",
        "cost" => "Cost",
        "cputimeraw" => "CPUTimeRAW",
        "elapsedraw" => "ElapsedRaw",
        "qos" => "QOS",
        _ => "",
    }
}

fn account_field(client: &Client, name: &str, job: &JobSummary) -> String {
    let at = |ms: Option<u64>| ms.map_or_else(|| "Unknown".to_owned(), short_moment);
    let text = match name {
        "jobid" | "jobidraw" => job.id.to_string(),
        "jobname" => job.name.clone(),
        "partition" => job.queue.clone(),
        "account" | "user" => job.user.clone(),
        "alloccpus" | "ncpus" | "reqcpus" => (job.request.cpu_milli.div_ceil(1000) * tasks(job)).to_string(),
        "reqmem" => Bytes(job.request.memory_bytes).to_string(),
        "state" => match job.state {
            State::Failed if job.exit_code == Some(137) => "OUT_OF_MEMORY".to_owned(),
            other => state(other).0.to_owned(),
        },
        "exitcode" => match job.exit_code.unwrap_or(0) {
            code @ 129.. => format!("0:{}", code - 128),
            code => format!("{code}:0"),
        },
        "submit" => at(Some(job.submitted_ms)),
        "start" => at(job.started_ms),
        "end" => at(job.ended_ms),
        "elapsed" => elapsed(ran_ms(job)),
        "nodelist" => job.nodes.join(","),
        "nnodes" => tasks(job).to_string(),
        "priority" => job.priority.to_string(),
        "elapsedraw" => (ran_ms(job) / 1000).to_string(),
        "qos" => format!("{:?}", job.class).to_lowercase(),
        "maxrss" | "totalcpu" | "cost" | "cputimeraw" => of_use(client, name, job),
        _ => String::new(),
    };
    crate::out::clean(&text).into_owned()
}

/// What only the whole job knows; empty when it is not known.
fn of_use(client: &Client, name: &str, job: &JobSummary) -> String {
    let Ok(detail) = client.get::<JobDetail>(&JobRef::job(job.id).path(""), &()) else {
        return String::new();
    };
    let uses = detail.gangs.iter().flat_map(|gang| &gang.tasks).filter_map(|task| task.use_now);
    match name {
        "maxrss" => uses
            .map(|used| used.memory_bytes)
            .max()
            .map(|bytes| format!("{}K", bytes >> 10))
            .unwrap_or_default(),
        "cost" => detail
            .cost
            .map(|cost| crate::verbs::money::money(cost.charge_micros - cost.credit_micros))
            .unwrap_or_default(),
        // Cores that were granted, in seconds.
        "cputimeraw" => {
            detail.usage.map(|usage| (usage.granted_cpu_milli_ms / 1_000_000).to_string()).unwrap_or_default()
        }
        _ => detail.usage.map(|usage| elapsed(usage.granted_cpu_milli_ms / 1000)).unwrap_or_default(),
    }
}
