//! Verbs that act on jobs that exist: `stop pause resume resize retry rm`.

use super::Ctx;
use super::list::jobs;
use super::queue::must_be_there;
use crate::args::{JobsArgs, PauseArgs, ResizeArgs, StopArgs};
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::{Careful, JobRef, find};
use crate::term;
use pond_core::model::DeviceKind;
use pond_server::api::types::{ActionBody, DeviceResize, JobQuery, JobSummary, ResizeBody};
use pond_spec::values::{Cores, Devices, MemorySize, ValueError};
use std::io::{BufRead, Write};

/// Does something to each job; one that fails does not keep the others from it, and decides the exit code.
fn each(ctx: &Ctx, names: &[String], mut act: impl FnMut(&Client, JobRef) -> Result<(), CliError>) -> Done {
    let client = ctx.client()?;
    let mut code = codes::OK;
    for name in names {
        match find(&client, name, Careful::Yes).and_then(|job| act(&client, job)) {
            Ok(()) => {}
            Err(gone @ (CliError::Unreachable { .. } | CliError::PipeClosed)) => return Err(gone),
            Err(why) => {
                crate::report(&ctx.out, &why);
                code = why.exit_code();
            }
        }
    }
    Ok(code)
}

fn action(ctx: &Ctx, client: &Client, job: JobRef, verb: &str, body: &ActionBody) -> Result<(), CliError> {
    let body = ActionBody { index: job.index, ..body.clone() };
    let summary: JobSummary = client.post(&job.path(&format!("/{verb}")), &body)?;
    told(ctx, job, &summary)
}

fn told(ctx: &Ctx, job: JobRef, summary: &JobSummary) -> Result<(), CliError> {
    if ctx.out.format.is_data() {
        return ctx.out.entry(summary);
    }
    ctx.out.line(&format!("{job} {}: {}", clean(&summary.name), summary.state.as_str()))
}

/// `pond stop`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn stop(ctx: &Ctx, args: &StopArgs) -> Done {
    let mut names = args.jobs.clone();
    if args.all {
        let query =
            JobQuery { state: Some("active".to_owned()), queue: args.project.clone(), ..JobQuery::default() };
        let client = ctx.client()?;
        names = jobs(&client, &query, u32::MAX)?.iter().map(|job| job.id.to_string()).collect();
        if names.is_empty() {
            must_be_there(&client, query.queue.as_ref())?;
        }
        let question = format!("Stop {} jobs?", names.len());
        if !names.is_empty() && !args.yes && !confirm(&question, false)? {
            return Ok(codes::FAILED);
        }
    }
    let body = ActionBody { now: args.now, ..ActionBody::default() };
    each(ctx, &names, |client, job| match action(ctx, client, job, "stop", &body) {
        // Of all that were active one may have ended by itself meanwhile.
        Err(CliError::Refused(problem)) if args.all && problem.code == "ended" => Ok(()),
        done => done,
    })
}

/// `pond pause`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn pause(ctx: &Ctx, args: &PauseArgs) -> Done {
    let body = ActionBody { release: args.release, ..ActionBody::default() };
    each(ctx, &args.jobs, |client, job| action(ctx, client, job, "pause", &body))
}

/// `pond resume` and `pond retry`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn plain(ctx: &Ctx, args: &JobsArgs, verb: &str) -> Done {
    each(ctx, &args.jobs, |client, job| action(ctx, client, job, verb, &ActionBody::default()))
}

/// `pond resize`.
///
/// # Errors
/// No pool, no such job, nothing to change, or no room for it.
pub fn resize(ctx: &Ctx, args: &ResizeArgs) -> Done {
    let mut body = ResizeBody::default();
    let wrong = |flag: &str| {
        let flag = flag.to_owned();
        move |why: ValueError| CliError::usage(format!("--{flag}: {why}"))
    };
    if let Some(text) = &args.cpu {
        let cores: Cores = text.parse().map_err(wrong("cpu"))?;
        (body.cpu_milli, body.cpu_burst_milli) = (Some(cores.min.0), Some(cores.max.0));
    }
    if let Some(text) = &args.memory {
        let size: MemorySize = text.parse().map_err(wrong("memory"))?;
        (body.memory_bytes, body.memory_burst_bytes) = (Some(size.min.0), Some(size.max.0));
    }
    let kinds = [
        (DeviceKind::Gpu, "gpu", &args.gpu),
        (DeviceKind::Fpga, "fpga", &args.fpga),
        (DeviceKind::Npu, "npu", &args.npu),
        (DeviceKind::OpenCl, "opencl", &args.opencl),
    ];
    for (kind, word, text) in kinds {
        let Some(text) = text else { continue };
        let share = text.parse::<Devices>().and_then(|devices| devices.change(kind)).map_err(wrong(word))?;
        body.devices.push(DeviceResize {
            kind: word.to_owned(),
            compute_thousandths: share.compute.map(|part| part.0),
            compute_most_thousandths: share.slack.compute.map(|part| part.0),
            memory_bytes: share.memory.map(|size| size.0),
            memory_most_bytes: share.slack.memory.map(|size| size.0),
            weight: Some(share.slack.weight).filter(|weight| *weight > 0),
        });
    }
    if body == ResizeBody::default() {
        return Err(CliError::Usage {
            what: "there is nothing to change".to_owned(),
            next: Some("say what it shall have, as in `pond resize JOB --opencl 0.7`".to_owned()),
        });
    }
    each(ctx, std::slice::from_ref(&args.job), |client, job| {
        let body = ResizeBody { index: job.index, ..body.clone() };
        let summary: JobSummary = client.post(&job.path("/resize"), &body)?;
        told(ctx, job, &summary)
    })
}

/// `pond rm`.
///
/// # Errors
/// No pool, no such job, or one that is not over.
pub fn rm(ctx: &Ctx, args: &JobsArgs) -> Done {
    each(ctx, &args.jobs, |client, job| {
        if job.index.is_some() || job.rank.is_some() {
            return Err(CliError::usage(format!("{job} is a part of a job; jobs are removed whole")));
        }
        client.delete(&job.path(""))?;
        ctx.out.said(&format!("{job}: removed"))
    })
}

/// Asks a question that is answered with yes or no.
///
/// # Errors
/// There is nobody to ask.
pub fn confirm(question: &str, default: bool) -> Result<bool, CliError> {
    if !term::is_interactive() {
        return Err(CliError::Usage {
            what: format!("{question} There is no terminal to ask on"),
            next: Some("say yes beforehand with -y".to_owned()),
        });
    }
    let hint = if default { "[Y/n]" } else { "[y/N]" };
    let mut err = std::io::stderr();
    write!(err, "{question} {hint} ")
        .and_then(|()| err.flush())
        .map_err(|why| CliError::io("asking", why))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|why| CliError::io("reading the answer", why))?;
    Ok(match answer.trim().to_lowercase().as_str() {
        "" => default && answer.ends_with('\n'),
        "y" | "yes" => true,
        _ => false,
    })
}
