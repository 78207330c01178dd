//! The database `pond.db`: journal, image of the engine, event log, archive, people, secrets.
//!
//! SQLite in WAL mode with `synchronous=FULL`. There is one writer, the drive thread; everything it has to
//! write at one moment goes into one transaction ([`Store::commit`]), so a torn file loses whole
//! transactions from the end and never a part of one. Readers ([`Archive`]) never block it.
//!
//! ```text
//!            append ≤ 1 transaction a step            image + drop log up to it
//! (opened) ───────────▶ log ───────────────────────────▶ image
//!    │                                                     │
//!    └── replay: image, then log records after it ◀────────┘
//! ```

mod archive;
mod books;
mod notify;
mod people;
mod schema;

pub use archive::{Archive, JobFilter};
pub use books::BookFilter;

use crate::api::types::{EventView, JobDetail, JobSummary};
use crate::auth::TokenHash;
use crate::auth::people::{FoundPeople, PeopleChange};
use crate::notify::{FoundNotices, NotifyChange};
use crate::room::{Room, hold};
use pond_core::engine::EngineImage;
use pond_core::ids::TaskId;
use pond_core::money::Period;
use pond_core::substrate::Record;
use pond_core::units::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Why the database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be written for now: a full disk, a failing one. Nothing of the transaction was kept.
    #[error("{path} cannot be written ({source}); free space on its disk, then the pool goes on by itself")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The database itself refuses.
    #[error("{path}: cannot {verb}: {source}")]
    Database {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// A newer version of the program has written it.
    #[error(
        "{path} has format {found}, written by {}; this version reads up to {known}: use that one, or a newer one",
        named(.writer)
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The last format known.
        known: i64,
        /// The version that wrote it, when it says.
        writer: Option<String>,
    },
    /// A row does not hold what was written.
    #[error(
        "{path}: {what}, written by {}, cannot be read by this version ({}): {source}; see \
         `What is stored` in docs/operations.md",
        named(.writer),
        env!("CARGO_PKG_VERSION")
    )]
    BadRow {
        /// The file.
        path: PathBuf,
        /// Which row.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
        /// The version that started on the file last, when it says.
        writer: Option<String>,
    },
}

/// A version in a message.
fn named(writer: &Option<String>) -> String {
    writer.as_ref().map_or_else(|| "an early version".to_owned(), |version| format!("pond {version}"))
}

impl StoreError {
    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unwritable { .. })
    }
}

/// A finished job on its way into the archive.
#[derive(Clone, Debug)]
pub struct ArchivedJob {
    /// All that is shown of it.
    pub detail: JobDetail,
}

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Write {
    /// A line of history.
    Record(Record),
    /// An entry of the event log, with the history line it follows from.
    Event {
        /// The entry. Its `seq` is given by the database's writer.
        view: EventView,
        /// The history line it follows from; 0: none.
        record: u64,
    },
    /// A finished job.
    Archive(Box<ArchivedJob>),
    /// A closed period of the ledger.
    Period(Box<Period>),
    /// How predictions came out, in JSON.
    Outcomes(String),
    /// What a task used over time.
    Trail {
        /// The task.
        task: TaskId,
        /// Its trail in JSON; `None`: it made room for others.
        body: Option<Vec<u8>>,
    },
    /// A job that is to be forgotten.
    Forget {
        /// Which.
        job: u64,
        /// Its state, for the count of the archive.
        state: String,
    },
    /// A line of history that must not be replayed.
    Unrecord(u64),
    /// That this version has taken the database over.
    Writer,
    /// What an idempotency key stands for.
    Key {
        /// The user and the key.
        key: String,
        /// Hash of the request.
        hash: TokenHash,
        /// The submission's history line.
        record: u64,
        /// When.
        at: Timestamp,
    },
    /// The job that a submission became, or that it was refused.
    KeyJob {
        /// The submission's history line.
        record: u64,
        /// The job; `None`: refused, and the key is free again.
        job: Option<u64>,
    },
    /// Users, roles, tokens, sessions.
    People(PeopleChange),
    /// Subscriptions, messages on their way, how the pool tells.
    Notify(NotifyChange),
    /// A sealed secret.
    Secret {
        /// Its name.
        name: String,
        /// Its sealed value.
        sealed: Vec<u8>,
        /// When.
        at: Timestamp,
    },
    /// A removed secret.
    RemoveSecret(String),
    /// The state of the engine after this history line: everything up to it is dropped from the journal.
    Image {
        /// The last line that is in it.
        record: u64,
        /// When.
        at: Timestamp,
        /// The engine, as JSON.
        body: Vec<u8>,
    },
}

/// What a key stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Hash of the request it came with.
    pub hash: TokenHash,
    /// The job it made.
    pub job: u64,
}

/// What was found at opening.
#[derive(Debug, Default)]
pub struct Found {
    /// The engine's image, and the history line it stands after.
    pub image: Option<(u64, EngineImage)>,
    /// History after the image.
    pub records: Vec<Record>,
    /// The last moment known.
    pub last: Timestamp,
    /// The last history line whose event-log entries are written.
    pub told: u64,
    /// The number of the last event-log entry.
    pub last_event: u64,
    /// Users, roles, tokens, sessions.
    pub people: FoundPeople,
    /// Subscriptions and how the pool tells.
    pub notices: FoundNotices,
    /// Sealed secrets.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Jobs in the archive, by state.
    pub archived: BTreeMap<String, u64>,
    /// How predictions came out, as [`Write::Outcomes`] has it.
    pub outcomes: Option<String>,
    /// What tasks used over time, as [`Write::Trail`] has it.
    pub trails: Vec<(TaskId, Vec<u8>)>,
    /// The pool's name in traces; `None`: no spans are sent.
    pub traced_as: Option<String>,
}

/// The one writer.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
    /// The database and its log, for room that is taken beforehand, and how much that is. Behind the connection: to close a file lets go
    /// of all locks that the process has on it.
    held: [Option<File>; 2],
    room: u64,
    commits: u32,
}

impl Store {
    /// Opens or makes the database in a state folder.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a newer version.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("pond.db");
        let db = schema::open(&path)?;
        let room = Room::of(state_dir).kept();
        // The log begins anew before it needs more than is held for it.
        let pages = (room / 2 / PAGE).clamp(16, 1000);
        db.pragma_update(None, "wal_autocheckpoint", whole(pages))
            .map_err(|why| failed("set up", path.clone(), why))?;
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).ok();
        let held = [open(&path), open(&path.with_extension("db-wal"))];
        let store = Self { db, path, held, room, commits: 0 };
        store.hold_room();
        Ok(store)
    }

    /// Takes room for what is still to be written, as long as there is some.
    fn hold_room(&self) {
        for file in self.held.iter().flatten() {
            hold(file, self.room / 2);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what a start needs.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn found(&self) -> Result<Found, StoreError> {
        let image = self
            .db
            .query_row("SELECT record, at, body FROM image", [], |row| {
                Ok((count(row.get(0)?), count(row.get(1)?), row.get::<_, Vec<u8>>(2)?))
            })
            .optional()
            .map_err(self.failed("read the image"))?;
        let from = image.as_ref().map_or(0, |image| image.0);
        let records = self.records(from)?;
        let at = image.as_ref().map_or(0, |image| image.1);
        let image =
            image.map(|(record, _, body)| Ok((record, self.parse(&body, || "the state".to_owned())?)));
        let last = Timestamp(records.last().map_or(at, |record| record.at.0.max(at)));
        let number = |sql: &str| -> Result<u64, StoreError> {
            self.db.query_row(sql, [], |row| row.get(0)).map(count).map_err(self.failed("read counters"))
        };
        Ok(Found {
            image: image.transpose()?,
            records,
            last,
            told: number("SELECT COALESCE(MAX(record), 0) FROM events")?.max(from),
            last_event: number("SELECT COALESCE(MAX(seq), 0) FROM events")?,
            people: people::read(&self.db).map_err(self.failed("read users, roles and tokens"))?,
            notices: notify::read(&self.db).map_err(self.failed("read subscriptions"))?,
            secrets: self.secrets()?,
            archived: self.archived()?,
            outcomes: self
                .db
                .query_row("SELECT value FROM meta WHERE key = 'outcomes'", [], |row| row.get(0))
                .optional()
                .map_err(self.failed("read how predictions came out"))?,
            trails: self.trails()?,
            traced_as: None,
        })
    }

    fn records(&self, from: u64) -> Result<Vec<Record>, StoreError> {
        let failed = |source| self.failed("read the journal")(source);
        let mut rows =
            self.db.prepare("SELECT seq, body FROM log WHERE seq > ?1 ORDER BY seq").map_err(failed)?;
        let rows = rows
            .query_map([whole(from)], |row| Ok((count(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))
            .map_err(failed)?;
        let mut records = Vec::new();
        for row in rows {
            let (seq, body) = row.map_err(failed)?;
            records.push(self.parse(&body, || format!("line {seq} of the journal"))?);
        }
        Ok(records)
    }

    fn parse<T: serde::de::DeserializeOwned>(
        &self,
        body: &[u8],
        what: impl FnOnce() -> String,
    ) -> Result<T, StoreError> {
        serde_json::from_slice(body).map_err(|source| StoreError::BadRow {
            path: self.path.clone(),
            what: what(),
            source,
            writer: schema::writer(&self.db).unwrap_or_default(),
        })
    }

    fn secrets(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let failed = |source| self.failed("read secrets")(source);
        let mut rows = self.db.prepare("SELECT name, sealed FROM secrets").map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn trails(&self) -> Result<Vec<(TaskId, Vec<u8>)>, StoreError> {
        let failed = |source| self.failed("read what tasks used")(source);
        let mut rows = self.db.prepare("SELECT task, body FROM trails").map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).map_err(failed)?;
        let rows: Vec<(String, Vec<u8>)> = rows.collect::<Result<_, _>>().map_err(failed)?;
        Ok(rows.into_iter().filter_map(|(task, body)| Some((task.parse().ok()?, body))).collect())
    }

    fn archived(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let failed = |source| self.failed("count the archive")(source);
        let mut rows = self.db.prepare("SELECT state, COUNT(*) FROM jobs GROUP BY state").map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, count(row.get(1)?)))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Writes all of it, durably, or nothing. Gives the bytes that the journal grew by.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] when the disk is full or fails; the database is as it was.
    pub fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        if writes.is_empty() {
            return Ok(0);
        }
        let path = self.path.clone();
        let result = self.db.transaction().and_then(|tx| {
            let mut grown = 0;
            for write in writes {
                grown += apply(&tx, write)?;
            }
            tx.commit().map(|()| grown)
        });
        self.commits = self.commits.wrapping_add(1);
        if self.commits.is_multiple_of(HOLD_EVERY) {
            self.hold_room();
        }
        result.map_err(|source| failed("write", path, source))
    }

    /// A name for the pool that no other has, made when it is asked for first.
    ///
    /// # Errors
    /// When it can neither be read nor written.
    pub fn pool_name(&mut self) -> Result<String, StoreError> {
        self.db
            .execute(
                "INSERT OR IGNORE INTO meta (key, value) VALUES ('pool', lower(hex(randomblob(16))))",
                [],
            )
            .and_then(|_| {
                self.db.query_row("SELECT value FROM meta WHERE key = 'pool'", [], |row| row.get(0))
            })
            .map_err(self.failed("name the pool in"))
    }

    /// What an idempotency key stands for, if it was used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key(&self, key: &str) -> Result<Option<KeyUse>, StoreError> {
        self.db
            .prepare_cached("SELECT hash, job FROM keys WHERE key = ?1 AND job IS NOT NULL")
            .and_then(|mut statement| {
                let row = |row: &rusqlite::Row<'_>| Ok(KeyUse { hash: row.get(0)?, job: count(row.get(1)?) });
                statement.query_row([key], row).optional()
            })
            .map_err(self.failed("read an idempotency key"))
    }

    fn failed(&self, verb: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| failed(verb, path, source)
    }
}

/// Bytes of a page of the database.
const PAGE: u64 = 4096;
/// Transactions after which room is taken again.
const HOLD_EVERY: u32 = 64;
/// Keys older than this are forgotten when new ones come, in milliseconds: a day.
const KEY_LIFE_MS: u64 = 86_400_000;
/// Entries of the event log that are kept at least; the oldest beyond go when the journal is compacted.
const EVENTS_KEPT: i64 = 1_000_000;

fn apply_trail(tx: &Transaction<'_>, task: TaskId, body: Option<&[u8]>) -> rusqlite::Result<()> {
    let (job, task) = (whole(task.gang.job.0), task.to_string());
    let changed = match body {
        Some(body) => tx
            .prepare_cached("INSERT OR REPLACE INTO trails (job, task, body) VALUES (?1, ?2, ?3)")?
            .execute(params![job, task, body]),
        None => {
            tx.prepare_cached("DELETE FROM trails WHERE job = ?1 AND task = ?2")?.execute(params![job, task])
        }
    };
    changed.map(drop)
}

fn apply(tx: &Transaction<'_>, write: &Write) -> rusqlite::Result<u64> {
    let mut grown = 0;
    match write {
        Write::Record(record) => {
            let body = json(record)?;
            grown = body.len() as u64;
            tx.prepare_cached("INSERT INTO log (seq, body) VALUES (?1, ?2)")?
                .execute(params![whole(record.seq), body])?;
        }
        Write::Event { view, record } => {
            tx.prepare_cached(
                "INSERT INTO events (seq, record, job, actor, kind, body) VALUES (?1,?2,?3,?4,?5,?6)",
            )?
            .execute(params![
                whole(view.seq),
                whole(*record),
                view.job.map(whole),
                view.actor,
                view.kind,
                json(view)?
            ])?;
        }
        Write::Archive(job) => archive_job(tx, &job.detail)?,
        Write::Period(period) => books::keep(tx, period)?,
        Write::Unrecord(seq) => {
            tx.execute("DELETE FROM log WHERE seq = ?1", [whole(*seq)])?;
        }
        Write::Writer => {
            tx.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('writer', ?1)",
                [env!("CARGO_PKG_VERSION")],
            )?;
        }
        Write::Outcomes(text) => {
            tx.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('outcomes', ?1)")?
                .execute([text])?;
        }
        Write::Trail { task, body } => apply_trail(tx, *task, body.as_deref())?,
        Write::Forget { job, .. } => {
            tx.prepare_cached("DELETE FROM trails WHERE job = ?1")?.execute([whole(*job)])?;
            tx.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([whole(*job)])?;
        }
        Write::Key { key, hash, record, at } => {
            let stale = whole(at.0.saturating_sub(KEY_LIFE_MS));
            tx.prepare_cached("DELETE FROM keys WHERE at < ?1")?.execute([stale])?;
            tx.prepare_cached("INSERT OR REPLACE INTO keys (key, hash, record, at) VALUES (?1,?2,?3,?4)")?
                .execute(params![key, hash, whole(*record), whole(at.0)])?;
        }
        Write::KeyJob { record, job: Some(job) } => {
            tx.prepare_cached("UPDATE keys SET job = ?2 WHERE record = ?1")?
                .execute([whole(*record), whole(*job)])?;
        }
        Write::KeyJob { record, job: None } => {
            tx.prepare_cached("DELETE FROM keys WHERE record = ?1")?.execute([whole(*record)])?;
        }
        Write::Image { record, at, body } => {
            tx.execute(
                "INSERT OR REPLACE INTO image (id, record, at, body) VALUES (1,?1,?2,?3)",
                params![whole(*record), whole(at.0), body],
            )?;
            tx.execute("DELETE FROM log WHERE seq <= ?1", [whole(*record)])?;
            tx.execute("DELETE FROM events WHERE seq <= (SELECT MAX(seq) FROM events) - ?1", [EVENTS_KEPT])?;
        }
        other => apply_administration(tx, other)?,
    }
    Ok(grown)
}

fn apply_administration(tx: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::People(change) => people::apply(tx, change)?,
        Write::Notify(change) => notify::apply(tx, change)?,
        Write::Secret { name, sealed, at } => {
            tx.execute(
                "INSERT OR REPLACE INTO secrets (name, sealed, at) VALUES (?1,?2,?3)",
                params![name, sealed, whole(at.0)],
            )?;
        }
        Write::RemoveSecret(name) => {
            tx.execute("DELETE FROM secrets WHERE name = ?1", [name])?;
        }
        _ => {}
    }
    Ok(())
}

fn archive_job(tx: &Transaction<'_>, detail: &JobDetail) -> rusqlite::Result<()> {
    let job: &JobSummary = &detail.summary;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO jobs (id, name, queue, user, state, ended, summary, detail) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
    )?
    .execute(params![
        whole(job.id),
        job.name,
        job.queue,
        job.user,
        job.state.as_str(),
        job.ended_ms.map(whole),
        json(job)?,
        json(detail)?
    ])?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))
}

fn failed(verb: &'static str, path: PathBuf, source: rusqlite::Error) -> StoreError {
    let passing = matches!(
        source.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::DatabaseBusy | ErrorCode::ReadOnly
        )
    );
    match passing {
        true => StoreError::Unwritable { path, source },
        false => StoreError::Database { verb, path, source },
    }
}

/// SQLite's integers are signed. Numbers of ours stay far below 2^63: counters, and milliseconds since 1970.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back of [`whole`].
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
