//! Reading beside the writer: finished jobs and the event log.

use super::{StoreError, count, schema, whole};
use crate::api::types::{EventQuery, EventView, JobDetail, JobSummary};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A reader of the database. Cheap to clone; blocks for the time of a query, so not for async threads.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) db: Arc<Mutex<Connection>>,
    pub(super) path: PathBuf,
}

/// Which finished jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only queues at or below one of these; the empty path is all.
    pub roots: Vec<String>,
    /// Only these states; empty: any.
    pub states: Vec<&'static str>,
    /// Only this queue.
    pub queue: Option<String>,
    /// Only this user.
    pub user: Option<String>,
    /// Only this name.
    pub name: Option<String>,
    /// Only ids below this.
    pub before: Option<u64>,
}

impl Archive {
    /// Opens the database that [`super::Store::open`] has opened before.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { db: Arc::new(Mutex::new(schema::open_reader(path)?)), path: path.to_owned() })
    }

    /// Finished jobs, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<Vec<JobSummary>, StoreError> {
        let mut sql = "SELECT summary FROM jobs WHERE 1".to_owned();
        let mut values: Vec<Value> = Vec::new();
        if !filter.roots.iter().any(String::is_empty) {
            let one = "queue = ? OR substr(queue, 1, length(?) + 1) = ? || '/'";
            let any: Vec<&str> = std::iter::once("0").chain(filter.roots.iter().map(|_| one)).collect();
            sql.push_str(&format!(" AND ({})", any.join(" OR ")));
            values.extend(filter.roots.iter().flat_map(|root| [(); 3].map(|()| Value::from(root.clone()))));
        }
        let mut equal = |column: &str, value: Option<&String>| {
            if let Some(value) = value {
                sql.push_str(&format!(" AND {column} = ?"));
                values.push(Value::from(value.clone()));
            }
        };
        equal("queue", filter.queue.as_ref());
        equal("user", filter.user.as_ref());
        equal("name", filter.name.as_ref());
        if !filter.states.is_empty() {
            let marks = vec!["?"; filter.states.len()].join(",");
            sql.push_str(&format!(" AND state IN ({marks})"));
            values.extend(filter.states.iter().map(|&state| Value::from(state.to_owned())));
        }
        if let Some(before) = filter.before {
            sql.push_str(" AND id < ?");
            values.push(Value::from(whole(before)));
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?");
        values.push(Value::from(i64::from(limit)));
        self.bodies(&sql, values, "archived jobs")
    }

    /// One finished job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn job(&self, id: u64) -> Result<Option<JobDetail>, StoreError> {
        let sql = "SELECT detail FROM jobs WHERE id = ?";
        Ok(self.bodies(sql, vec![Value::from(whole(id))], "an archived job")?.pop())
    }

    /// Finished jobs that succeeded, complete, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn succeeded(&self, limit: u32) -> Result<Vec<JobDetail>, StoreError> {
        let sql = "SELECT detail FROM jobs WHERE state = 'succeeded' ORDER BY id DESC LIMIT ?";
        self.bodies(sql, vec![Value::from(i64::from(limit))], "archived jobs")
    }

    /// The queues of finished jobs, of those that are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn queues_of(&self, jobs: &[u64]) -> Result<BTreeMap<u64, String>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| super::failed("read archived jobs", self.path.clone(), source);
        let mut statement = db.prepare_cached("SELECT queue FROM jobs WHERE id = ?").map_err(failed)?;
        let mut found = BTreeMap::new();
        for &job in jobs {
            let queue = statement.query_row([whole(job)], |row| row.get(0)).optional().map_err(failed)?;
            found.extend(queue.map(|queue| (job, queue)));
        }
        Ok(found)
    }

    /// Entries of the event log that a query asks for, at most `limit`, oldest or newest first as it says.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events(&self, query: &EventQuery, limit: u32) -> Result<Vec<EventView>, StoreError> {
        let mut sql = "SELECT body FROM events WHERE seq > ?".to_owned();
        let mut values = vec![Value::from(whole(query.since.unwrap_or(0)))];
        if let Some(job) = query.job {
            sql.push_str(" AND job = ?");
            values.push(Value::from(whole(job)));
        }
        if let Some(actor) = &query.actor {
            sql.push_str(" AND actor = ?");
            values.push(Value::from(actor.clone()));
        }
        if let Some(kind) = &query.kind {
            sql.push_str(" AND substr(kind, 1, ?) = ?");
            values.push(Value::from(i64::try_from(kind.chars().count()).unwrap_or(i64::MAX)));
            values.push(Value::from(kind.clone()));
        }
        let number = |number: u64| Value::from(whole(number));
        let body = "CAST(body AS TEXT)";
        for (test, value) in [
            ("seq < ?", query.until.map(number)),
            (&*format!("json_extract({body}, '$.from') = ?"), query.from.clone().map(Value::from)),
            (&*format!("json_extract({body}, '$.at_ms') >= ?"), query.after_ms.map(number)),
            (&*format!("json_extract({body}, '$.at_ms') < ?"), query.before_ms.map(number)),
        ] {
            if let Some(value) = value {
                sql.push_str(&format!(" AND {test}"));
                values.push(value);
            }
        }
        if query.audit == Some(true) {
            // The first test spares the second most of its work.
            sql.push_str(&format!(" AND actor <> 'pool' AND json_extract({body}, '$.from') IS NOT NULL"));
        }
        let order = if query.newest == Some(true) { "DESC" } else { "ASC" };
        sql.push_str(&format!(" ORDER BY seq {order} LIMIT ?"));
        values.push(Value::from(i64::from(limit)));
        self.bodies(&sql, values, "the event log")
    }

    /// Secrets by name and the moment they were set.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn secrets(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| super::failed("read secrets", self.path.clone(), source);
        let mut rows = db.prepare_cached("SELECT name, at FROM secrets ORDER BY name").map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, count(row.get(1)?)))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Bytes of the database file and its log.
    #[must_use]
    pub fn size(&self) -> u64 {
        let wal = self.path.with_extension("db-wal");
        [&self.path, &wal].iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum()
    }

    pub(super) fn bodies<T: serde::de::DeserializeOwned>(
        &self,
        sql: &str,
        values: Vec<Value>,
        what: &str,
    ) -> Result<Vec<T>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| super::failed("read", self.path.clone(), source);
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let rows =
            statement.query_map(params_from_iter(values), |row| row.get::<_, Vec<u8>>(0)).map_err(failed)?;
        rows.map(|row| self.parsed(&db, &row.map_err(failed)?, what)).collect()
    }

    /// What a row holds.
    pub(super) fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        db: &Connection,
        body: &[u8],
        what: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_slice(body).map_err(|source| StoreError::BadRow {
            path: self.path.clone(),
            what: what.to_owned(),
            source,
            writer: schema::writer(db).unwrap_or_default(),
        })
    }

    /// Another reader of the same database, for reading that takes a while.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn another(&self) -> Result<Self, StoreError> {
        Self::open(&self.path)
    }
}
