//! The way to the drive thread: one channel for everything that wants something of the pool.

use super::earlier::Earlier;
use super::forecast::Forecasts;
use super::telling;
use super::trail::Trails;
use crate::api::refused;
use crate::api::types::{EventView, Problem};
use crate::auth::TokenHash;
use crate::room::Room;
use crate::store::Write;
use axum::http::StatusCode;
use pond_core::engine::{Engine, Outcome, Refusal, Reply};
use pond_core::event::{Actor, Report, Request, TaskSample};
use pond_core::ids::{JobId, NodeName, TaskId};
use pond_core::plan::Planner;
use pond_core::units::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Requests that may be under way at once; more are told to come back.
const IN_FLIGHT: usize = 2048;
/// How long a request waits for the drive thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pool looks like between two turns, for reading.
pub struct Sight<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The planner, for explanations.
    pub planner: &'a Planner,
    /// The last samples, by node.
    pub samples: &'a BTreeMap<NodeName, BTreeMap<TaskId, TaskSample>>,
    /// Samples over time.
    pub trails: &'a Trails,
    /// Predicted starts, and how they came out.
    pub forecasts: &'a Forecasts,
    /// How long jobs ran.
    pub earlier: &'a Earlier,
    /// The time of the last turn.
    pub now: Timestamp,
}

/// A reader that runs on the drive thread between two turns. Short, or everything waits for it.
pub type Look = Box<dyn FnOnce(&Sight<'_>) + Send>;

/// A request to the engine, with its way back.
pub struct Ask {
    /// Who.
    pub actor: Actor,
    /// What.
    pub request: Request,
    /// The user and idempotency key, and the hash of what came with it.
    pub key: Option<(String, TokenHash)>,
    /// The way back.
    pub reply: oneshot::Sender<Result<Answer, Problem>>,
}

/// What the engine made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A new job, or one that the same key made before.
    Job {
        /// Its id.
        job: JobId,
        /// Whether the key was used before.
        repeated: bool,
    },
    /// It is done, or on its way.
    Done,
}

impl Answer {
    /// What whoever asked is told of what the engine said.
    pub(super) fn of(result: &Result<Outcome, Refusal>) -> Result<Self, Problem> {
        match result {
            Ok(Outcome { reply: Reply::Submitted(job), .. }) => Ok(Self::Job { job: *job, repeated: false }),
            Ok(_) => Ok(Self::Done),
            Err(refusal) => Err(refused(refusal)),
        }
    }
}

/// A change that is the server's own: people and secrets.
pub struct Change {
    /// Who.
    pub actor: Actor,
    /// What goes into the database.
    pub write: Write,
    /// Its kind and sentence in the event log, unless it is not worth one.
    pub line: Option<(&'static str, String)>,
    /// The way back, once it is durable.
    pub reply: oneshot::Sender<Result<(), Problem>>,
}

/// Anything that goes to the drive thread.
pub enum Message {
    /// A node tells something.
    Report(Report),
    /// Somebody asks for something.
    Ask(Box<Ask>),
    /// Somebody wants to look.
    Look(Look),
    /// The server's own state changes.
    Change(Box<Change>),
    /// A line for the event log; its number and its moment are still to come.
    Note(Box<EventView>),
    /// The end; `true`: tasks stay.
    Stop(bool),
}

/// Whether the pool can write its journal.
#[derive(Debug, Default)]
pub struct Condition {
    state: AtomicU8,
    message: Mutex<String>,
    /// The disk that it is on, when somebody looks at it.
    room: Option<Room>,
    /// Whether that was full when it was told last.
    told_full: AtomicBool,
    /// Times it went read-only since the start.
    pub lapses: AtomicU64,
}

/// The values of [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// All is well.
    Ok,
    /// The journal cannot be written: nothing new is taken in.
    ReadOnly,
    /// The server is ending.
    Stopping,
}

impl Condition {
    /// All is well, as long as there is room on this disk.
    #[must_use]
    pub fn on(room: Room) -> Self {
        Self { room: Some(room), ..Self::default() }
    }

    /// Whether the journal can be written and its disk is full all the same: what is left is for what makes room.
    fn is_short(&self) -> Option<&Room> {
        self.room.as_ref().filter(|room| self.state.load(Ordering::Acquire) == 0 && room.is_short())
    }

    /// Kind and text of a line for the event log, once each time that the disk has become full or is not full any more.
    pub fn turned(&self) -> Option<(&'static str, String)> {
        let full = self.is_short().is_some();
        if self.told_full.swap(full, Ordering::AcqRel) == full {
            return None;
        }
        if full {
            self.lapses.fetch_add(1, Ordering::Relaxed);
            return Some(("pool.read_only", format!("nothing new is taken in: {}", self.message())));
        }
        Some(("pool.writable", "there is room on the disk again".to_owned()))
    }

    /// How it is.
    #[must_use]
    pub fn get(&self) -> Conditions {
        match self.state.load(Ordering::Acquire) {
            0 if self.is_short().is_some() => Conditions::ReadOnly,
            0 => Conditions::Ok,
            1 => Conditions::ReadOnly,
            _ => Conditions::Stopping,
        }
    }
    /// Why, when it is not well.
    #[must_use]
    pub fn message(&self) -> String {
        let said = || self.message.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.is_short().map_or_else(said, Room::message)
    }
    /// Says how it is from now on.
    pub fn set(&self, condition: Conditions, message: String) {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = message;
        let number = match condition {
            Conditions::Ok => 0,
            Conditions::ReadOnly => 1,
            Conditions::Stopping => 2,
        };
        if self.state.swap(number, Ordering::AcqRel) != 1 && number == 1 {
            self.lapses.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// # Errors
    /// 503 unless all is well.
    pub fn must_be_writable(&self) -> Result<(), Problem> {
        match self.get() {
            Conditions::Ok => Ok(()),
            Conditions::ReadOnly => Err(read_only(&self.message())),
            Conditions::Stopping => Err(stopping()),
        }
    }

    /// The same for one request: what ends something or takes it away is taken in on a full disk as well, for that makes room.
    ///
    /// # Errors
    /// 503 when it is not taken in.
    fn must_take(&self, makes_room: bool) -> Result<(), Problem> {
        if makes_room && self.is_short().is_some() { Ok(()) } else { self.must_be_writable() }
    }
}

/// The refusal while the journal cannot be written.
#[must_use]
pub fn read_only(why: &str) -> Problem {
    Problem::unavailable("read_only", format!("the pool takes in nothing new: {why}"))
        .with_next("make room there; running tasks go on meanwhile")
}

fn stopping() -> Problem {
    Problem::unavailable("stopping", "the server is stopping").with_next("start it again with `pond up`")
}

/// A cheap handle on the drive thread.
#[derive(Clone)]
pub struct Handle {
    inbox: Sender<Message>,
    room: Arc<Semaphore>,
    /// Whether the pool can write.
    pub condition: Arc<Condition>,
}

impl Handle {
    /// A handle that sends into this inbox.
    #[must_use]
    pub fn new(inbox: Sender<Message>, condition: Arc<Condition>) -> Self {
        Self { inbox, room: Arc::new(Semaphore::new(IN_FLIGHT)), condition }
    }

    /// Hands a request to the engine and waits for its answer.
    ///
    /// # Errors
    /// The engine's refusal; 429 and 503 when the pool cannot take it now.
    pub async fn ask(
        &self,
        actor: Actor,
        request: Request,
        key: Option<(String, TokenHash)>,
    ) -> Result<Answer, Problem> {
        self.condition.must_take(matches!(request, Request::Stop { .. } | Request::Remove(_)))?;
        self.send(|reply| Message::Ask(Box::new(Ask { actor, request, key, reply }))).await?
    }

    /// Reads something off the pool between two turns.
    ///
    /// # Errors
    /// 429 and 503 when the drive thread has no time or is gone, 500 when the reader panics.
    pub async fn look<T: Send + 'static>(
        &self,
        reader: impl FnOnce(&Sight<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.send(|reply: oneshot::Sender<T>| {
            Message::Look(Box::new(move |sight| {
                // A client that has gone away does not want its answer.
                reply.send(reader(sight)).map_err(drop).unwrap_or_default();
            }))
        })
        .await
    }

    /// Changes the server's own state and waits until that is durable.
    ///
    /// # Errors
    /// 503 when it cannot be written.
    pub async fn change(
        &self,
        actor: Actor,
        write: Write,
        kind: &'static str,
        text: String,
    ) -> Result<(), Problem> {
        self.condition.must_take(matches!(write, Write::Forget { .. }))?;
        let line = Some((kind, text));
        self.send(|reply| Message::Change(Box::new(Change { actor, write, line, reply }))).await?
    }

    /// The same without a line in the event log.
    ///
    /// # Errors
    /// 503 when it cannot be written.
    pub async fn change_quietly(&self, actor: Actor, write: Write) -> Result<(), Problem> {
        self.condition.must_be_writable()?;
        self.send(|reply| Message::Change(Box::new(Change { actor, write, line: None, reply }))).await?
    }

    /// Leaves a line in the event log about something that changes nothing. It is not waited for.
    pub fn note(&self, actor: Actor, kind: &'static str, text: String) {
        self.tell(telling::line(Timestamp::default(), &actor, kind, text));
    }

    /// The same of a line that says what it is about. Its number and its moment are given later.
    pub fn tell(&self, line: EventView) {
        // When the inbox is gone, so is the log.
        self.inbox.send(Message::Note(Box::new(line))).unwrap_or_default();
    }

    /// Asks the drive thread to end.
    pub fn stop(&self, keep: bool) {
        // When the inbox is gone, so is the thread: what was asked for has happened.
        self.inbox.send(Message::Stop(keep)).unwrap_or_default();
    }

    async fn send<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Problem> {
        let _room = self.room.try_acquire().map_err(|_full| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests are under way",
            )
            .with_next("send fewer at once")
        })?;
        let (reply, answer) = oneshot::channel();
        self.inbox.send(message(reply)).map_err(|_gone| stopping())?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_dropped)) if self.condition.get() == Conditions::Stopping => Err(stopping()),
            Ok(Err(_dropped)) => Err(Problem::internal("the request was lost on its way to the pool")),
            Err(_late) => Err(Problem::unavailable(
                "busy",
                "the pool did not answer in time; it may still do what was asked",
            )
            .with_next("look before you ask again, or send an idempotency key")),
        }
    }
}
