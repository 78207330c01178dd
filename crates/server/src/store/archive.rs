//! Reading beside the writer: finished jobs and the event log.

use super::{StoreError, count, schema, whole};
use crate::api::types::{EventQuery, EventView, JobDetail, JobSummary};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A reader of the database. Cheap to clone; blocks for the time of a query, so not for async threads.
#[derive(Clone, Debug)]
pub struct Archive {
    db: Arc<Mutex<Connection>>,
    path: PathBuf,
}

/// Which finished jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
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

    /// Entries of the event log after `query.since`, oldest first, at most `limit`.
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
        sql.push_str(" ORDER BY seq LIMIT ?");
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

    fn bodies<T: serde::de::DeserializeOwned>(
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
        rows.map(|row| {
            serde_json::from_slice(&row.map_err(failed)?).map_err(|source| StoreError::BadRow {
                path: self.path.clone(),
                what: what.to_owned(),
                source,
                writer: schema::writer(&db).unwrap_or_default(),
            })
        })
        .collect()
    }
}
