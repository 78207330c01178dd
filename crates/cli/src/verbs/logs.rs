//! `pond logs`, and the same stream for `pond run`: lines of all ranks, merged, each behind its task's name.

use super::Ctx;
use crate::args::LogsArgs;
use crate::client::Client;
use crate::error::{CliError, Done, codes};
use crate::out::{Out, Style, moment, parse_when};
use crate::refs::{Careful, JobRef, find};
use pond_core::ids::TaskId;
use pond_server::api::types::{JobDetail, JobSummary, LogLine, LogQuery};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::time::{Duration, Instant};

/// How long a broken stream may stay broken before we give up: the pool may be restarting.
const PATIENCE: Duration = Duration::from_secs(30);

/// `pond logs`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn logs(ctx: &Ctx, args: &LogsArgs) -> Done {
    let client = ctx.client()?;
    let job = find(&client, &args.job, Careful::No)?;
    let summary = client.get::<JobDetail>(&job.path(""), &())?.summary;
    let mut stream = Stream::new(ctx, client, job, &summary);
    stream.query.rank = args.rank.or(job.rank);
    stream.query.attempt = args.attempt;
    stream.query.tail = args.tail;
    stream.query.grep = args.grep.clone();
    stream.query.follow = args.follow.then_some(true);
    stream.query.since_ms = args.since.as_deref().map(parse_when).transpose()?;
    // A line in parts would be in nobody's way but a program's.
    stream.query.parts = (!ctx.out.format.is_data()).then_some(true);
    stream.timestamps = args.timestamps;
    stream.prefix = stream.prefix && stream.query.rank.is_none();
    if args.follow {
        crate::term::when_reader_gone(|| std::process::exit(i32::from(codes::PIPE)));
    }
    stream.copy().map(|()| codes::OK)
}

/// A job's output on its way to ours.
pub struct Stream<'a> {
    out: &'a Out,
    ctx: &'a Ctx,
    client: Client,
    job: JobRef,
    /// Which lines.
    pub query: LogQuery,
    /// The moment before each line.
    pub timestamps: bool,
    /// The task before each line.
    pub prefix: bool,
    /// What the job wrote to standard error goes to ours.
    pub apart: bool,
    /// Lines shown, by task: after a break the same ones are not shown again.
    seen: BTreeMap<String, u64>,
    /// Of our output and our error output: the task and stream of the line that was begun last and has no end yet.
    open: [Option<(String, String)>; 2],
    began: Option<Box<dyn FnMut() + Send + 'a>>,
}

impl<'a> Stream<'a> {
    /// All lines of a job that are there now.
    #[must_use]
    pub fn new(ctx: &'a Ctx, client: Client, job: JobRef, summary: &JobSummary) -> Self {
        let several = summary.size_max > 1 || (summary.elements.total > 1 && job.index.is_none());
        Self {
            out: &ctx.out,
            ctx,
            client,
            job,
            query: LogQuery { index: job.index, json: Some(true), ..LogQuery::default() },
            timestamps: false,
            prefix: several,
            apart: false,
            seen: BTreeMap::new(),
            open: [None, None],
            began: None,
        }
    }

    /// Does this before the first line.
    pub fn before_first_line(&mut self, began: impl FnMut() + Send + 'a) {
        self.began = Some(Box::new(began));
    }

    /// Copies to the end; when following, to the end of the job, across restarts of the pool.
    ///
    /// # Errors
    /// Nobody reads any more; the pool refuses or stays away.
    pub fn copy(&mut self) -> Result<(), CliError> {
        let mut broken: Option<Instant> = None;
        loop {
            let mut connected = false;
            let end = self.copy_once(&mut connected);
            if connected {
                broken = None;
            }
            if self.query.follow != Some(true) {
                return end;
            }
            match end.and_then(|()| self.is_over()) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why @ CliError::Unreachable { .. }) => {
                    let since = *broken.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(why);
                    }
                }
                Err(why) => return Err(why),
            }
            std::thread::sleep(Duration::from_millis(100));
            if let Ok(client) = self.ctx.client() {
                self.client = client;
            }
            // What was shown is skipped by counting, so everything must be sent.
            self.query.tail = None;
        }
    }

    fn is_over(&self) -> Result<bool, CliError> {
        let detail: JobDetail = self.client.get(&self.job.path(""), &())?;
        let element = detail.gangs.iter().find(|gang| Some(gang.index) == self.job.index);
        Ok(element.map_or(detail.summary.state, |gang| gang.state).is_over())
    }

    fn copy_once(&mut self, connected: &mut bool) -> Result<(), CliError> {
        let mut skip = self.seen.clone();
        let stream = self.client.stream(&self.job.path("/logs"), &self.query, &[])?;
        *connected = true;
        let mut reader = BufReader::with_capacity(64 * 1024, stream);
        let (mut stdout, mut stderr) = (io::BufWriter::new(io::stdout()), io::BufWriter::new(io::stderr()));
        // A line that was cut off by a break comes again, whole.
        for (place, to) in [&mut stdout as &mut dyn Write, &mut stderr].into_iter().enumerate() {
            if self.open[place].take().is_some() {
                to.write_all(b"\n").map_err(|why| CliError::io("writing the output", why))?;
            }
        }
        let mut text = Vec::new();
        loop {
            if reader.buffer().is_empty() {
                flush(&mut stdout)?;
                flush(&mut stderr)?;
            }
            text.clear();
            let read = reader.read_until(b'\n', &mut text);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(why) => return Err(self.broke(&why)),
            }
            let Ok(line) = serde_json::from_slice::<LogLine>(&text) else { continue };
            if let Some(left) = skip.get_mut(&line.task).filter(|left| **left > 0) {
                *left -= u64::from(!line.open);
                continue;
            }
            *self.seen.entry(line.task.clone()).or_default() += u64::from(!line.open);
            if let Some(mut began) = self.began.take() {
                began();
            }
            if line.missed && !self.out.format.is_data() {
                flush(&mut stdout)?;
                self.out.warn(
                    "output was lost here: it came faster than it could be shown, and the oldest goes first",
                );
            }
            if self.apart && line.stream == "stderr" {
                self.write(&mut stderr, 1, &line)?;
            } else {
                self.write(&mut stdout, 0, &line)?;
            }
        }
        flush(&mut stdout)?;
        flush(&mut stderr)
    }

    fn broke(&self, why: &io::Error) -> CliError {
        CliError::Unreachable { address: self.client.base().to_owned(), why: why.to_string() }
    }

    fn write(&mut self, to: &mut impl Write, place: usize, line: &LogLine) -> Result<(), CliError> {
        if self.out.format.is_data() {
            return self.out.entry(line);
        }
        let mut text = String::new();
        let goes_on = match self.open[place].take() {
            None => false,
            Some((task, stream)) if task == line.task && stream == line.stream => true,
            Some(_) => {
                // Another one speaks up in the middle of a line.
                text.push('\n');
                false
            }
        };
        if !goes_on {
            text.push_str(&self.before(line));
        }
        text.push_str(&line.line);
        if line.open {
            self.open[place] = Some((line.task.clone(), line.stream.clone()));
        } else {
            text.push('\n');
        }
        to.write_all(text.as_bytes()).map_err(|why| CliError::io("writing the output", why))
    }

    /// What stands before a line: the moment, the task.
    fn before(&self, line: &LogLine) -> String {
        let mut text = String::new();
        if let Some(at) = line.at_ms.filter(|_| self.timestamps) {
            text.push_str(&moment(at));
            text.push(' ');
        }
        if self.prefix {
            let rank = line.task.parse::<TaskId>().map_or(0, |task| task.rank.max(task.gang.index));
            text.push_str(&self.out.paint(Style::of_rank(rank), &format!("{} | ", line.task)));
        }
        text
    }
}

fn flush(to: &mut impl Write) -> Result<(), CliError> {
    to.flush().map_err(|why| CliError::io("writing the output", why))
}
