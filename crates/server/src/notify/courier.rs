//! Reads the event log on, makes messages of it, and sends what is due: a few at once, of one lane one.
//!
//! ```text
//!        ┌───────────────────────────────────────────────────────┐
//!        ▼                                                       │
//!  read lines ─▶ keep messages and how far was read ─▶ send due ─┴─ wait: a line, a change, a try's end, the next moment
//! ```

use super::address::Allowed;
use super::mail::{self, MailError};
use super::reader::{Desk, JobFacts, is_news};
use super::webhook::{self, Post, WebhookError};
use super::{Delivery, Mark, NotifyChange, TRIES, WAITING, pause};
use crate::api::types::{DeliveryState, EventQuery, EventView, MailServer, Problem};
use crate::api::{Shared, blocking};
use crate::clock;
use crate::pool::inbox::Conditions;
use crate::pool::telling;
use crate::store::Write;
use futures_util::FutureExt;
use pond_core::engine::{Job, Phase};
use pond_core::event::Actor;
use pond_core::ids::{JobId, UserName};
use pond_core::model::Recipient;
use pond_core::snapshot::Held;
use pond_core::units::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Messages under way at once.
const SENDS: usize = 4;
/// Lines are read in batches so long apart, so that a busy log costs little.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait when the database cannot be read or written.
const TROUBLE: Duration = Duration::from_secs(1);
/// Lines read from the database at once.
const BATCH: u32 = 500;
/// How far the log was read is written down after so many lines, though they made no message.
const STRIDE: u64 = 1000;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// The receiver of a webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The mail server.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// There is nobody any more whose message it is.
    #[error("the account of {user} is gone or disabled")]
    Nobody {
        /// Who was.
        user: String,
    },
    /// The server stumbled.
    #[error("sending it made the server stumble")]
    Stumbled,
}

impl SendError {
    /// Whether it is in vain to try again.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Nobody { .. } | Self::Webhook(WebhookError::Gone))
    }

    /// How long the receiver wants to be left alone.
    fn wait(&self) -> Duration {
        match self {
            Self::Webhook(WebhookError::Status { wait, .. }) => wait.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

type Tried = (Delivery, Result<String, SendError>);

struct Courier {
    shared: Shared,
    mark: Mark,
    /// How far the database knows.
    kept: u64,
    flying: JoinSet<Tried>,
    busy: BTreeSet<String>,
}

/// Tells until the server stops.
pub async fn run(shared: Shared, mark: Option<Mark>) {
    // A pool that never told begins with what comes.
    let first = Mark { line: shared.feed.last(), checked_ms: clock::wall_ms() };
    let mut mark = mark.unwrap_or(first);
    loop {
        let mut courier = Courier {
            shared: shared.clone(),
            mark,
            kept: mark.line,
            flying: JoinSet::new(),
            busy: BTreeSet::new(),
        };
        if AssertUnwindSafe(courier.work()).catch_unwind().await.is_ok() {
            return;
        }
        shared.tallies.panics.fetch_add(1, Ordering::Relaxed);
        // The line that made it stumble is not read again.
        mark = Mark { line: shared.feed.last(), ..courier.mark };
        tokio::time::sleep(TROUBLE).await;
    }
}

impl Courier {
    async fn work(&mut self) {
        let mut news = self.shared.feed.follow();
        let mut changes = self.shared.notices.follow();
        let mut stop = self.shared.stop.clone();
        loop {
            news.mark_unchanged();
            changes.mark_unchanged();
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(_not_now) => TROUBLE,
            };
            tokio::select! {
                changed = news.changed() => {
                    if changed.is_err() { return }
                    tokio::time::sleep(GATHER).await;
                }
                changed = changes.changed() => if changed.is_err() { return },
                Some(tried) = self.flying.join_next() => {
                    if let Ok((delivery, result)) = tried
                        && !self.settle(delivery, result).await
                    {
                        return;
                    }
                }
                () = tokio::time::sleep(wait) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Reads, keeps, sends. Gives how long nothing is to be done.
    async fn turn(&mut self) -> Result<Duration, Problem> {
        // A pool that ends loses its machine on purpose: that is no news.
        if self.shared.handle.condition.get() == Conditions::Stopping {
            return Ok(self.shared.notify.check);
        }
        let now = clock::wall_ms();
        if u128::from(now.saturating_sub(self.mark.checked_ms)) >= self.shared.notify.check.as_millis() {
            self.check(now).await?;
        }
        while self.read().await? {}
        self.send().await
    }

    /// Reads a batch of lines and keeps their messages. Gives whether there were any.
    async fn read(&mut self) -> Result<bool, Problem> {
        let lines = match self.shared.feed.since(self.mark.line) {
            Some(lines) => lines,
            None => self.older().await?,
        };
        let Some(last) = lines.last().map(|view| view.seq) else { return Ok(false) };
        let news: Vec<Arc<EventView>> = without_ends(&lines).filter(|view| is_news(view)).cloned().collect();
        let facts = self.facts(&news).await?;
        let made = {
            let shared = &self.shared;
            let settings = shared.notices.settings();
            let desk = Desk {
                notices: &shared.notices,
                people: &shared.gate.people,
                secrets: &shared.secrets,
                settings: &settings,
                now_ms: clock::wall_ms(),
            };
            let of = |view: &Arc<EventView>| desk.messages(view, view.job.and_then(|job| facts.get(&job)));
            news.iter().flat_map(of).collect()
        };
        let made = self.few(made).await?;
        let mark = Mark { line: last, ..self.mark };
        if !made.is_empty() || last - self.kept >= STRIDE {
            let write = Write::Notify(NotifyChange::Made(Some(mark), made));
            self.shared.handle.change_quietly(Actor::Pool, write).await?;
            self.kept = last;
        }
        self.mark = mark;
        Ok(true)
    }

    /// Lines that are not in memory any more.
    async fn older(&self) -> Result<Vec<Arc<EventView>>, Problem> {
        let archive = self.shared.archive.clone();
        let query = EventQuery { since: Some(self.mark.line), ..EventQuery::default() };
        let lines = blocking(move || archive.events(&query, BATCH)).await??;
        Ok(match lines.is_empty() {
            // The log was cut behind the mark.
            true => self.shared.feed.kept(),
            false => lines.into_iter().map(Arc::new).collect(),
        })
    }

    /// The jobs that lines are about.
    async fn facts(&self, news: &[Arc<EventView>]) -> Result<BTreeMap<u64, JobFacts>, Problem> {
        let wanted: BTreeSet<u64> = news.iter().filter_map(|view| view.job).collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = wanted.clone();
        let live = self.shared.handle.look(move |sight| {
            let jobs = asked.into_iter().filter_map(|job| Some((job, sight.engine.job(JobId(job))?)));
            jobs.map(|(id, job)| (id, JobFacts::of(sight, job))).collect::<BTreeMap<u64, JobFacts>>()
        });
        let mut facts = live.await?;
        for job in wanted.into_iter().filter(|job| !facts.contains_key(job)).collect::<Vec<_>>() {
            let archive = self.shared.archive.clone();
            let found = blocking(move || archive.job(job)).await??;
            facts.extend(found.as_ref().and_then(JobFacts::archived).map(|found| (job, found)));
        }
        Ok(facts)
    }

    /// Those messages that their users have room for.
    async fn few(&self, made: Vec<Delivery>) -> Result<Vec<Delivery>, Problem> {
        if made.is_empty() {
            return Ok(made);
        }
        let archive = self.shared.archive.clone();
        let mut waiting = blocking(move || archive.waiting_messages()).await??;
        let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
        let mut kept = Vec::new();
        for delivery in made {
            let count = waiting.entry(delivery.user.clone()).or_default();
            if *count >= WAITING {
                *dropped.entry(delivery.user).or_default() += 1;
            } else {
                *count += 1;
                kept.push(delivery);
            }
        }
        for (user, count) in dropped {
            let text = format!("{count} messages to {user} were not made: {WAITING} wait already");
            self.shared.handle.note(Actor::Pool, "notify.dropped", text);
        }
        Ok(kept)
    }

    /// Tells of jobs that have begun to wait for long, and of tokens that have begun to end soon.
    async fn check(&mut self, now: u64) -> Result<(), Problem> {
        let settings = self.shared.notices.settings();
        let since = self.mark.checked_ms;
        let crosses = move |moment: u64| since < moment && moment <= now;
        let after = settings.waiting_ms;
        if after > 0 {
            let found = self.shared.handle.look(move |sight| {
                let jobs = sight.engine.jobs().filter_map(|job| Some((job, waits_since(job)?)));
                let late = jobs.filter(|(_, began)| crosses(began.0.saturating_add(after)));
                late.map(|(job, _)| (job.id, job.spec.name.clone())).collect::<Vec<_>>()
            });
            for (job, name) in found.await? {
                let text = format!("job {job} {name} has waited for {}", Millis(after));
                self.shared.handle.tell(EventView {
                    job: Some(job.0),
                    ..telling::line(Timestamp(now), &Actor::Pool, "job.waiting", text)
                });
            }
        }
        for token in self.shared.gate.people.tokens() {
            let soon =
                token.expires_ms.map(|end| end.saturating_sub(settings.token_ms).max(token.created_ms + 1));
            if settings.token_ms > 0 && soon.is_some_and(crosses) {
                let left = Millis(token.expires_ms.unwrap_or_default().saturating_sub(now));
                let text = format!("token {} of {} ends in {left}", token.name, token.user);
                self.shared.handle.tell(EventView {
                    subject: Some(token.name),
                    ..telling::line(Timestamp(now), &Actor::Pool, "token.expiring", text)
                });
            }
        }
        self.mark.checked_ms = now;
        Ok(())
    }

    /// Starts what is due. Gives how long nothing will be.
    async fn send(&mut self) -> Result<Duration, Problem> {
        let now = clock::wall_ms();
        while self.flying.len() < SENDS {
            let (archive, busy) = (self.shared.archive.clone(), self.busy.clone());
            let Some(delivery) = blocking(move || archive.due_message(now, &busy)).await?? else { break };
            self.busy.insert(delivery.lane.clone());
            let task = self.task(&delivery);
            self.flying.spawn(async move {
                let result = match tokio::task::spawn_blocking(task).await {
                    Ok(result) => result,
                    Err(_panic) => Err(SendError::Stumbled),
                };
                (delivery, result)
            });
        }
        let (archive, busy) = (self.shared.archive.clone(), self.busy.clone());
        let (waiting, next) = blocking(move || archive.next_message(&busy)).await??;
        self.shared.notices.counts().waiting.store(waiting, Ordering::Relaxed);
        let next = next.filter(|_| self.flying.len() < SENDS);
        let check = self.shared.notify.check;
        let until = next.map_or(check, |due| Duration::from_millis(due.saturating_sub(clock::wall_ms())));
        Ok(until.max(Duration::from_millis(1)).min(check))
    }

    /// One try, to be made on a thread that may wait.
    fn task(&self, delivery: &Delivery) -> impl FnOnce() -> Result<String, SendError> + Send + use<> {
        let shared = &self.shared;
        let there = shared.gate.people.of_user(&UserName::from(delivery.user.as_str())).is_some();
        let settings = shared.notices.settings();
        let patience = shared.notify.patience;
        let (secrets, delivery) = (shared.secrets.clone(), delivery.clone());
        move || {
            if !there {
                return Err(SendError::Nobody { user: delivery.user });
            }
            let key = secrets.derive(&format!("webhook {}", delivery.key));
            match &delivery.to {
                Recipient::Webhook(url) => {
                    let allowed = Allowed::of(&settings.allow);
                    let seconds = clock::wall_ms() / 1000;
                    let Delivery { id, body, .. } = &delivery;
                    let status =
                        webhook::post(Post { url, key: &key, id, seconds, body }, allowed, patience)?;
                    Ok(format!("it answered {status}"))
                }
                Recipient::Email(to) => {
                    let server = settings.mail.as_ref().ok_or(MailError::NoServer)?;
                    Ok(mailed(server, to, &delivery, |name| secrets.open(name))?)
                }
                Recipient::Subscription(_) => Err(MailError::NoServer.into()),
            }
        }
    }

    /// Keeps what came of a try. Gives whether the server goes on.
    async fn settle(&mut self, mut delivery: Delivery, result: Result<String, SendError>) -> bool {
        let now = clock::wall_ms();
        let counts = self.shared.notices.counts();
        delivery.attempts += 1;
        let mut line = None;
        match result {
            Ok(said) => {
                delivery.state = DeliveryState::Delivered;
                delivery.last = Some(said);
                counts.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => {
                delivery.last = Some(why.to_string());
                counts.failed.fetch_add(1, Ordering::Relaxed);
                if delivery.attempts >= TRIES || why.is_final() {
                    delivery.state = DeliveryState::GivenUp;
                    counts.given_up.fetch_add(1, Ordering::Relaxed);
                    line = Some(format!(
                        "message {} to {} about {} was given up after {} tries: {why}",
                        delivery.id, delivery.user, delivery.topic, delivery.attempts
                    ));
                } else {
                    let pause = pause(self.shared.notify.first_retry, &delivery.id, delivery.attempts)
                        .max(why.wait());
                    delivery.due_ms = now + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                }
            }
        }
        let lane = delivery.lane.clone();
        let write = Write::Notify(NotifyChange::Tried(Box::new(delivery)));
        // Until it is kept, the lane stays busy: otherwise the message would be sent again at once.
        loop {
            let handle = &self.shared.handle;
            let kept = match &line {
                Some(text) => {
                    handle.change(Actor::Pool, write.clone(), "notify.given_up", text.clone()).await
                }
                None => handle.change_quietly(Actor::Pool, write.clone()).await,
            };
            if kept.is_ok() {
                self.busy.remove(&lane);
                return true;
            }
            let mut stop = self.shared.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(TROUBLE) => {}
                () = stopped(&mut stop) => return false,
            }
        }
    }
}

/// Waits until the server stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|&stop| stop).await.map(drop).unwrap_or_default();
}

fn mailed(
    server: &MailServer,
    to: &str,
    delivery: &Delivery,
    password: impl Fn(&str) -> Option<String>,
) -> Result<String, MailError> {
    let mail = mail::message(server, to, &delivery.id, &delivery.title, &delivery.body)?;
    let code = mail::send(&mail::transport(server, password)?, &mail)?;
    Ok(format!("the mail server answered {code}"))
}

/// Since when a job has waited for a place, or for money, with nothing of it in a place.
#[must_use]
pub fn waits_since(job: &Job) -> Option<Timestamp> {
    let waits = |phase: &Phase| matches!(phase, Phase::Pending | Phase::Held(Held::Budget(_)));
    let idle = job.gangs.iter().all(|gang| !matches!(gang.phase, Phase::Placed(_)));
    let waiting = job.gangs.iter().filter(|gang| waits(&gang.phase));
    let since = waiting.map(|gang| gang.last.as_ref().map_or(job.submitted, |last| last.ended)).max();
    since.filter(|_| idle)
}

/// Lines without the loss of machines that a pool lost by ending.
fn without_ends(lines: &[Arc<EventView>]) -> impl Iterator<Item = &Arc<EventView>> {
    let ended = |from: usize| {
        let next =
            lines[from..].iter().find(|view| view.kind == "server.stopped" || view.kind == "server.started");
        next.is_some_and(|view| view.kind == "server.stopped")
    };
    lines
        .iter()
        .enumerate()
        .filter(move |(place, view)| view.kind != "node.lost" || !ended(*place))
        .map(|(_, view)| view)
}
