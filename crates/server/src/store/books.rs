//! Closed periods of the ledger in the database: written once, in the transaction that tells the engine so.

use super::{Archive, StoreError, count, json, whole};
use crate::auth::rights::{Place, Principal, Right};
use pond_core::ids::QueuePath;
use pond_core::money::{Entry, Period};
use rusqlite::types::Value;
use rusqlite::{Transaction, params, params_from_iter};
use std::sync::PoisonError;

/// Which lines of the ledger.
#[derive(Clone, Debug, Default)]
pub struct BookFilter {
    /// Periods that began at this moment or later.
    pub from_ms: u64,
    /// Periods that began before this moment.
    pub to_ms: u64,
    /// Periods with a smaller number.
    pub below: u64,
    /// This queue and all below it.
    pub queue: Option<QueuePath>,
    /// This user.
    pub user: Option<String>,
    /// This job.
    pub job: Option<u64>,
    /// What this caller sees; absent: everything.
    pub who: Option<Principal>,
}

impl BookFilter {
    /// Whether a line of the ledger is asked for.
    #[must_use]
    pub fn wants(&self, entry: &Entry) -> bool {
        let seen = |who: &Principal| who.may(Right::See, Place::Queue(entry.queue.as_str()));
        self.who.as_ref().is_none_or(seen)
            && self.queue.as_ref().is_none_or(|queue| entry.queue.is_within(queue))
            && self.user.as_ref().is_none_or(|user| entry.user.as_str() == user)
            && self.job.is_none_or(|job| entry.job.0 == job)
    }

    /// Whether a period is.
    #[must_use]
    pub const fn covers(&self, period: &Period) -> bool {
        self.from_ms <= period.from.0 && period.from.0 < self.to_ms
    }
}

/// Writes a period.
pub(super) fn keep(tx: &Transaction<'_>, period: &Period) -> rusqlite::Result<()> {
    let head = Period {
        entries: Vec::new(),
        currency: period.currency.clone(),
        pool: period.pool.clone(),
        ..*period
    };
    tx.prepare_cached("INSERT OR REPLACE INTO periods (seq, start, end, body) VALUES (?1,?2,?3,?4)")?
        .execute(params![whole(period.seq), whole(period.from.0), whole(period.to.0), json(&head)?])?;
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO entries (period, line, start, queue, user, job, body) VALUES (?1,?2,?3,?4,?5,?6,?7)",
    )?;
    for (line, entry) in (0_i64..).zip(&period.entries) {
        insert.execute(params![
            whole(period.seq),
            line,
            whole(period.from.0),
            entry.queue.as_str(),
            entry.user.as_str(),
            whole(entry.job.0),
            json(entry)?
        ])?;
    }
    Ok(())
}

impl Archive {
    /// Hands out the closed periods that a filter covers, oldest first, each with the lines that it wants.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn books(&self, filter: &BookFilter, mut each: impl FnMut(Period)) -> Result<(), StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| super::failed("read the ledger", self.path.clone(), source);
        let sql = "SELECT seq, body FROM periods WHERE start >= ?1 AND start < ?2 AND seq < ?3 ORDER BY seq";
        let mut heads = db.prepare_cached(sql).map_err(failed)?;
        let range = params![whole(filter.from_ms), whole(filter.to_ms), whole(filter.below)];
        let heads = heads
            .query_map(range, |row| Ok((count(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))
            .map_err(failed)?;
        let mut sql = "SELECT body FROM entries WHERE period = ?".to_owned();
        let mut wanted: Vec<Value> = Vec::new();
        if let Some(user) = &filter.user {
            sql.push_str(" AND user = ?");
            wanted.push(Value::from(user.clone()));
        }
        if let Some(job) = filter.job {
            sql.push_str(" AND job = ?");
            wanted.push(Value::from(whole(job)));
        }
        sql.push_str(" ORDER BY line");
        let mut lines = db.prepare_cached(&sql).map_err(failed)?;
        for head in heads {
            let (seq, body) = head.map_err(failed)?;
            let mut period: Period = self.parsed(&db, &body, "a period of the ledger")?;
            let values = std::iter::once(Value::from(whole(seq))).chain(wanted.iter().cloned());
            let rows =
                lines.query_map(params_from_iter(values), |row| row.get::<_, Vec<u8>>(0)).map_err(failed)?;
            for row in rows {
                let entry: Entry = self.parsed(&db, &row.map_err(failed)?, "a line of the ledger")?;
                period.entries.extend(Some(entry).filter(|entry| filter.wants(entry)));
            }
            each(period);
        }
        Ok(())
    }
}
