//! `pond wait`: until jobs are over; ends with the code of the first that failed.

use super::Ctx;
use super::run::hopeless;
use super::session::code_of;
use crate::args::WaitArgs;
use crate::client::{Client, EventStream};
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::{Careful, JobRef, find};
use pond_core::units::Millis;
use pond_server::api::types::{EventQuery, JobDetail, State};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Without news a job is looked at this often: events are a hint, the job's state is the truth.
const LOOK: Duration = Duration::from_secs(1);

/// How a job, or a part of it, ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// In which state.
    pub state: State,
    /// With which code.
    pub code: i32,
    /// The job as it stands.
    pub detail: JobDetail,
}

/// What came of waiting.
#[derive(Clone, Debug)]
pub enum Waited {
    /// It is over.
    Over(Box<Ended>),
    /// Nothing that comes free would let it start.
    Infeasible,
    /// The deadline came first.
    OutOfTime,
}

/// `pond wait`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn wait(ctx: &Ctx, args: &WaitArgs) -> Done {
    let client = ctx.client()?;
    let deadline = match &args.timeout {
        Some(text) => {
            let span: Millis = text.parse().map_err(|why| CliError::usage(format!("--timeout: {why}")))?;
            Some(Instant::now() + Duration::from_millis(span.0))
        }
        None => None,
    };
    let jobs: Vec<JobRef> =
        args.jobs.iter().map(|text| find(&client, text, Careful::No)).collect::<Result<_, _>>()?;
    let mut worst = codes::OK;
    for (place, &job) in jobs.iter().enumerate() {
        let ended = match until_over(&client, job, deadline)? {
            Waited::Over(ended) => ended,
            Waited::Infeasible => {
                states(ctx, &client, &jobs[place..])?;
                let why = hopeless(&client, job);
                let sentence = why.unwrap_or_else(|| format!("{job} cannot start as things are"));
                return Err(CliError::CannotPlace { sentence });
            }
            Waited::OutOfTime => {
                states(ctx, &client, &jobs[place..])?;
                let sentence = format!("{job} is not over yet; gave up waiting");
                return Err(CliError::CannotPlace { sentence });
            }
        };
        if ctx.out.format.is_data() {
            ctx.out.entry(&ended.detail.summary)?;
        } else {
            let summary = &ended.detail.summary;
            ctx.out.line(&format!(
                "{job} {}: {} ({})",
                clean(&summary.name),
                ended.state.as_str(),
                ended.code
            ))?;
        }
        if args.notify {
            tell(ctx, &ended);
        }
        if worst == codes::OK {
            worst = code_of(ended.code);
        }
    }
    Ok(worst)
}

/// For a program: how jobs stand that are not waited for any longer.
fn states(ctx: &Ctx, client: &Client, jobs: &[JobRef]) -> Result<(), CliError> {
    if !ctx.out.format.is_data() {
        return Ok(());
    }
    jobs.iter().try_for_each(|job| ctx.out.entry(&client.get::<JobDetail>(&job.path(""), &())?.summary))
}

/// Shows the end of a job on the desktop.
pub fn tell(ctx: &Ctx, ended: &Ended) {
    let job = &ended.detail.summary;
    let title = format!("job {} {} {}", job.id, job.name, ended.state.as_str());
    let text = job.reason.clone().unwrap_or_else(|| format!("exit code {}", ended.code));
    if !crate::desktop::show(&title, &text) {
        ctx.out.warn("there is no desktop to show a message on");
    }
}

/// Waits for the end of a job or of one element.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn until_over(client: &Client, job: JobRef, deadline: Option<Instant>) -> Result<Waited, CliError> {
    if let Some(waited) = look(client, job)? {
        return Ok(waited);
    }
    let news = news_of(client, job);
    loop {
        let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK));
        match news.recv_timeout(left) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(LOOK / 5)),
        }
        if let Some(waited) = look(client, job)? {
            return Ok(waited);
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(Waited::OutOfTime);
        }
    }
}

fn look(client: &Client, job: JobRef) -> Result<Option<Waited>, CliError> {
    let detail: JobDetail = client.get(&job.path(""), &())?;
    let element = job.index.and_then(|index| detail.gangs.iter().find(|gang| gang.index == index));
    let state = element.map_or(detail.summary.state, |gang| gang.state);
    if !state.is_over() {
        return Ok((state == State::Infeasible).then_some(Waited::Infeasible));
    }
    let of_element = |gang: &pond_server::api::types::GangView| {
        let failed = gang
            .tasks
            .iter()
            .filter_map(|task| task.exit.as_ref())
            .map(|exit| exit.code)
            .find(|&code| code != 0);
        failed.unwrap_or(i32::from(state != State::Succeeded))
    };
    let code = match element {
        Some(gang) => of_element(gang),
        None => detail.summary.exit_code.unwrap_or(i32::from(state != State::Succeeded)),
    };
    Ok(Some(Waited::Over(Box::new(Ended { state, code, detail }))))
}

/// A word whenever something happened to the job, from a thread that ends with the receiver.
fn news_of(client: &Client, job: JobRef) -> Receiver<()> {
    let (send, receive) = mpsc::channel();
    let client = client.clone();
    std::thread::spawn(move || {
        let query = EventQuery { job: Some(job.job), ..EventQuery::default() };
        let Ok(mut stream) = EventStream::open(&client, query) else { return };
        while stream.next_event().is_ok() {
            if send.send(()).is_err() {
                return;
            }
        }
    });
    receive
}
