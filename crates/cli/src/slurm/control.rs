//! `scontrol`: what it shows, and what it does to jobs and nodes.

use super::account::{exit, tres};
use super::files;
use super::flags::Given;
use super::format::{elapsed, short_moment};
use super::nodes;
use super::rows::{Asked, Row, Scope, chosen};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::JobRef;
use crate::verbs::Ctx;
use pond_server::api::types::{ActionBody, GangView, JobDetail, JobSummary, NodeView, QueueView, State};

/// `scontrol`.
///
/// # Errors
/// A word that means nothing, no such job or node, a refusal, or no pool.
pub fn scontrol(ctx: &Ctx, args: &[String]) -> Done {
    let flags = ["-o", "--oneliner", "-d", "--details", "-a", "--all", "-Q", "--quiet", "-v", "--verbose"];
    let line = args.iter().any(|arg| arg == "-o" || arg == "--oneliner");
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !flags.contains(arg)).collect();
    match words.as_slice() {
        ["show", "job" | "jobs" | "jobid", rest @ ..] => show_jobs(ctx, rest, line),
        ["show", "node" | "nodes", rest @ ..] => show_nodes(ctx, rest, line),
        ["show", "partition" | "partitions", names @ ..] => show_queues(ctx, names, line),
        ["show", "hostname" | "hostnames", list] => {
            hosts(list)?.iter().try_for_each(|name| ctx.out.line(&clean(name))).map(|()| codes::OK)
        }
        ["ping"] => {
            ctx.client()?.get::<pond_server::api::types::Health>("/health", &())?;
            ctx.out.line("The pool is UP").map(|()| codes::OK)
        }
        ["hold" | "uhold", jobs @ ..] if !jobs.is_empty() => hold(ctx, jobs),
        ["suspend", jobs @ ..] if !jobs.is_empty() => each(ctx, jobs, "pause"),
        ["release" | "resume", jobs @ ..] if !jobs.is_empty() => each(ctx, jobs, "resume"),
        ["requeue", jobs @ ..] if !jobs.is_empty() => each(ctx, jobs, "retry"),
        ["cancel", ..] => Err(instead("scontrol cancels nothing here", "use `scancel JOB`")),
        ["update", rest @ ..] => Err(update(rest)),
        [] => Err(instead(
            "no word to say what to do",
            "write scontrol show job 12, hold 12, release 12 or requeue 12",
        )),
        _ => Err(instead(
            &format!("`{}` means nothing to this scontrol", words.join(" ")),
            "there are show job, node, partition, hostnames; hold, release, suspend, resume, requeue; ping",
        )),
    }
}

fn instead(what: &str, next: &str) -> CliError {
    CliError::Usage { what: what.to_owned(), next: Some(next.to_owned()) }
}

/// What to write for a change of a job or a node.
fn update(words: &[&str]) -> CliError {
    let given = |name: &str| {
        words.iter().find_map(|word| {
            let (key, value) = word.split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let next = match (given("JobId"), given("NodeName"), given("State")) {
        (Some(job), ..) => format!(
            "its cores and memory: `pond resize {job} --cpu N --memory SIZE`; anything else: submit it anew"
        ),
        (None, Some(node), Some(state)) if state.eq_ignore_ascii_case("resume") => {
            format!("use `pond node resume {node}`")
        }
        (None, Some(node), _) => {
            format!("use `pond node drain {node}` or `pond node label {node} NAME=VALUE`")
        }
        _ => "queues are set by `pond queue set`".to_owned(),
    };
    instead("nothing is changed by `scontrol update` here", &next)
}

/// The jobs that words name.
fn asked(client: &Client, words: &[&str]) -> Result<Vec<Asked>, CliError> {
    let names = words.iter().flat_map(|text| super::flags::ids(text));
    names
        .map(|text| Asked::read(client, text.trim_start_matches("jobid=").trim_start_matches("JobId=")))
        .collect()
}

/// Does something to each job. As Slurm's, it says nothing when it is done.
fn each(ctx: &Ctx, jobs: &[&str], verb: &str) -> Done {
    let client = ctx.client()?;
    for asked in asked(&client, jobs)? {
        let indices: Vec<Option<u32>> =
            asked.only.map_or_else(|| vec![None], |only| only.into_iter().map(Some).collect());
        act(&client, asked.job, &indices, verb)?;
    }
    Ok(codes::OK)
}

fn act(client: &Client, job: u64, indices: &[Option<u32>], verb: &str) -> Result<(), CliError> {
    let job = JobRef::job(job);
    for index in indices {
        let body = ActionBody { index: *index, ..ActionBody::default() };
        client.post::<JobSummary>(&job.path(&format!("/{verb}")), &body)?;
    }
    Ok(())
}

/// Keeps from starting what has not started; what runs is left alone.
fn hold(ctx: &Ctx, jobs: &[&str]) -> Done {
    let client = ctx.client()?;
    for asked in asked(&client, jobs)? {
        let detail: JobDetail = client.get(&JobRef::job(asked.job).path(""), &())?;
        let waits = |gang: &&GangView| {
            matches!(gang.state, State::Waiting | State::Infeasible | State::Paused)
                && asked.only.as_ref().is_none_or(|only| only.contains(&gang.index))
        };
        let waiting: Vec<Option<u32>> =
            detail.gangs.iter().filter(waits).map(|gang| Some(gang.index)).collect();
        match waiting.len() {
            0 => {
                return Err(instead(
                    &format!("job {} is no longer pending", asked.job),
                    &format!("use `scontrol suspend {}` to freeze what runs", asked.job),
                ));
            }
            all if all == detail.gangs.len() => act(&client, asked.job, &[None], "pause")?,
            _ => act(&client, asked.job, &waiting, "pause")?,
        }
    }
    Ok(codes::OK)
}

/// Groups of `name=value`, a line each, or all in one.
fn print(ctx: &Ctx, lines: &[String], one: bool) -> Result<(), CliError> {
    let lines: Vec<_> = lines.iter().map(|line| clean(line)).collect();
    let text = lines.join(if one { " " } else { "\n   " });
    ctx.out.text(&format!("{text}\n{}", if one { "" } else { "\n" }))
}

fn show_jobs(ctx: &Ctx, words: &[&str], one: bool) -> Done {
    let client = ctx.client()?;
    let mut args: Vec<String> = Vec::new();
    for word in words {
        args.extend(["-j".to_owned(), word.split_once('=').map_or(*word, |(_, job)| job).to_owned()]);
    }
    let given = Given::read("scontrol", &[super::flags::with_value('j', "jobs")], &args)?;
    let rows = chosen(&client, &given, Scope { active: words.is_empty(), apart: false, detail: true })?;
    for row in &rows {
        print(ctx, &job_lines(row, &run_of(&client, row)?), one)?;
    }
    if rows.is_empty() {
        ctx.out.line("No jobs in the system")?;
    }
    Ok(codes::OK)
}

/// What it runs and where, as its specification has it.
fn run_of(client: &Client, row: &Row) -> Result<serde_json::Value, CliError> {
    let mut detail: JobDetail = client.get(&JobRef::job(row.job.id).path(""), &())?;
    Ok(detail.spec.get_mut("run").map(serde_json::Value::take).unwrap_or_default())
}

fn job_lines(row: &Row, run: &serde_json::Value) -> Vec<String> {
    let job = &row.job;
    let [err, input, out] = files::lines(row, run);
    let at = |ms: Option<u64>| ms.map_or_else(|| "Unknown".to_owned(), short_moment);
    let limit = job.time_limit_ms.map_or_else(|| "UNLIMITED".to_owned(), elapsed);
    let expected = row.started_ms.zip(job.time_limit_ms).map(|(start, limit)| start + limit);
    let array = row.element.as_ref().map(|element| format!(" ArrayJobId={} ArrayTaskId={element}", job.id));
    let nodes = if row.nodes.is_empty() { "(null)".to_owned() } else { row.nodes.join(",") };
    let reason = row.reason.clone().unwrap_or_else(|| "None".to_owned()).replace(' ', "_");
    vec![
        format!("JobId={}{} JobName={}", job.id, array.unwrap_or_default(), job.name),
        format!(
            "UserId={} Priority={} QOS={}",
            job.user,
            job.priority,
            crate::verbs::list::class_text(job.class)
        ),
        format!("JobState={} Reason={reason} Dependency=(null)", row.words().0),
        format!("Requeue=1 Restarts={} ExitCode={}", row.attempt.unwrap_or(1).saturating_sub(1), exit(row)),
        format!("RunTime={} TimeLimit={limit}", elapsed(row.ran_ms())),
        format!(
            "SubmitTime={} StartTime={} EndTime={}",
            short_moment(job.submitted_ms),
            at(row.started_ms),
            at(row.ended_ms.or(expected))
        ),
        format!("Partition={} NodeList={nodes}", job.queue),
        format!("NumNodes={0} NumCPUs={1} NumTasks={0}", row.tasks(), row.cores()),
        format!("TRES={}", tres(row)),
        format!("Command={}", files::command(run)),
        format!("WorkDir={}", run["workdir"].as_str().unwrap_or("(null)")),
        err,
        input,
        out,
    ]
}

fn show_nodes(ctx: &Ctx, words: &[&str], one: bool) -> Done {
    let nodes: Vec<NodeView> = ctx.client()?.get("/nodes", &())?;
    let wanted: Vec<&str> = words.iter().flat_map(|word| word.split(',')).collect();
    if let Some(missing) = wanted.iter().find(|name| !nodes.iter().any(|node| node.name == **name)) {
        return Err(CliError::NoSuch { kind: "node", name: (*missing).to_owned() });
    }
    for node in nodes.iter().filter(|node| wanted.is_empty() || wanted.contains(&node.name.as_str())) {
        let field = |letter| nodes::field(letter, node);
        let (all, granted) = (node.capacity, node.granted);
        let lines = [
            format!("NodeName={} State={}", node.name, field('T').to_uppercase()),
            format!(
                "CPUAlloc={} CPUTot={} CPULoad={:.2}",
                granted.cpu_milli / 1000,
                all.cpu_milli / 1000,
                node.busy_cpu_milli as f64 / 1000.0
            ),
            format!(
                "RealMemory={} AllocMem={} FreeMem={}",
                field('m'),
                granted.memory_bytes >> 20,
                field('e')
            ),
            format!("TmpDisk={} Gres={} AvailableFeatures={}", field('d'), field('G'), field('f')),
            "Partitions=pool".to_owned(),
        ];
        print(ctx, &lines, one)?;
    }
    Ok(codes::OK)
}

fn show_queues(ctx: &Ctx, names: &[&str], one: bool) -> Done {
    let queues: Vec<QueueView> = ctx.client()?.get("/queues", &())?;
    if let Some(gone) = names.iter().find(|name| !queues.iter().any(|queue| queue.path == **name)) {
        return Err(instead(&format!("there is no partition `{gone}`"), "`pond queue` lists them"));
    }
    let wanted = |path: &str| !path.is_empty() && (names.is_empty() || names.contains(&path));
    for queue in queues.iter().filter(|queue| wanted(&queue.path)) {
        print(ctx, &[format!("PartitionName={} State=UP MaxTime=UNLIMITED", queue.path)], one)?;
    }
    Ok(codes::OK)
}

/// `a[1-3,07]b,c`, taken apart.
fn hosts(list: &str) -> Result<Vec<String>, CliError> {
    let wrong = || instead(&format!("Invalid hostlist: {list}"), "write names as in a[1-3,07]b,c");
    let mut out = Vec::new();
    for name in super::flags::ids(list) {
        let mut heads = vec![String::new()];
        let mut rest = name.as_str();
        while let Some((plain, behind)) = rest.split_once('[') {
            let (inside, after) = behind.split_once(']').ok_or_else(wrong)?;
            let mut parts: Vec<String> = Vec::new();
            for range in inside.split(',') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| text.parse::<u32>().map_err(|_why| wrong());
                let (from, to) = (number(first)?, number(last)?);
                // A number of more digits is none that a node has.
                if first.len() > 10
                    || u64::from(to.saturating_sub(from)) + (parts.len() + heads.len()) as u64 > 100_000
                {
                    return Err(wrong());
                }
                parts.extend((from..=to).map(|at| format!("{at:0width$}", width = first.len())));
            }
            if heads.len().saturating_mul(parts.len()) > 100_000 {
                return Err(wrong());
            }
            heads = heads
                .iter()
                .flat_map(|head| parts.iter().map(move |part| format!("{head}{plain}{part}")))
                .collect();
            rest = after;
        }
        out.extend(heads.into_iter().map(|head| format!("{head}{rest}")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[test]
    fn lists_of_nodes_are_taken_apart() {
        assert_eq!(hosts("a[1,3-4,08-10]b,c").unwrap(), ["a1b", "a3b", "a4b", "a08b", "a09b", "a10b", "c"]);
        assert_eq!(hosts("r[1-2]n[0-1]").unwrap(), ["r1n0", "r1n1", "r2n0", "r2n1"]);
        for wrong in ["a[1-", "a[x-2]", "a[1,,2]", "a[0-4000000000]", "a[0-999][0-999]"] {
            assert!(hosts(wrong).is_err(), "{wrong}");
        }
        assert!(hosts(&format!("a[{}1]", "0".repeat(70_000))).is_err(), "wider than a number can be padded");
    }
}
