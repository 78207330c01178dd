//! Subscriptions, settings and messages in the database. The messages that wait in it are the queue: there is no other.

use super::{Archive, StoreError, count, json, whole};
use crate::api::types::DeliveryQuery;
use crate::notify::{Delivery, FoundNotices, Mark, NotifyChange};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// How long messages that are over are kept, in milliseconds: thirty days.
const KEPT_MS: u64 = 30 * 86_400_000;
/// Messages that are kept at most, whatever their age, beside those that wait.
const KEPT: i64 = 10_000;

const SETTINGS: &str = "notify.settings";
const MARK: &str = "notify.mark";

/// Writes one change.
pub(super) fn apply(tx: &Transaction<'_>, change: &NotifyChange) -> rusqlite::Result<()> {
    match change {
        NotifyChange::Subscribe(it) => {
            let sql = "INSERT OR REPLACE INTO subscriptions (name, body) VALUES (?1,?2)";
            tx.execute(sql, params![it.name, json(it)?])?;
        }
        NotifyChange::Unsubscribe(name) => {
            tx.execute("DELETE FROM subscriptions WHERE name = ?1", [name])?;
            tx.execute("DELETE FROM deliveries WHERE subscription = ?1 AND state = 'waiting'", [name])?;
        }
        NotifyChange::Settings(settings) => set(tx, SETTINGS, settings)?,
        NotifyChange::Made(mark, made) => {
            if let Some(mark) = mark {
                set(tx, MARK, mark)?;
            }
            for delivery in made {
                keep(tx, "INSERT OR IGNORE", delivery)?;
            }
            if let Some(newest) = made.last() {
                let old = whole(newest.made_ms.saturating_sub(KEPT_MS));
                tx.prepare_cached("DELETE FROM deliveries WHERE state <> 'waiting' AND made < ?1")?
                    .execute([old])?;
                tx.prepare_cached(
                    "DELETE FROM deliveries WHERE state <> 'waiting' AND rowid <= (SELECT MAX(rowid) FROM deliveries) - ?1",
                )?
                .execute([KEPT])?;
            }
        }
        NotifyChange::Tried(delivery) => {
            // One whose subscription is gone is gone with it.
            let sql = "UPDATE deliveries SET state = ?2, due = ?3, body = ?4 WHERE id = ?1";
            let body = json(&**delivery)?;
            tx.prepare_cached(sql)?.execute(params![
                delivery.id,
                delivery.state.as_str(),
                whole(delivery.due_ms),
                body
            ])?;
        }
    }
    Ok(())
}

fn set(tx: &Transaction<'_>, key: &str, value: &impl serde::Serialize) -> rusqlite::Result<()> {
    let text =
        serde_json::to_string(value).map_err(|why| rusqlite::Error::ToSqlConversionFailure(Box::new(why)))?;
    tx.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1,?2)")?
        .execute([key, &text])
        .map(drop)
}

fn keep(tx: &Transaction<'_>, verb: &str, delivery: &Delivery) -> rusqlite::Result<()> {
    let sql = format!(
        "{verb} INTO deliveries (id, user, subscription, lane, job, state, due, made, body) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)"
    );
    tx.prepare_cached(&sql)?
        .execute(params![
            delivery.id,
            delivery.user,
            delivery.subscription,
            delivery.lane,
            delivery.job.map(whole),
            delivery.state.as_str(),
            whole(delivery.due_ms),
            whole(delivery.made_ms),
            json(delivery)?
        ])
        .map(drop)
}

/// Reads what a start needs.
pub(super) fn read(db: &Connection) -> rusqlite::Result<FoundNotices> {
    let unreadable =
        |why| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(why));
    let mut rows = db.prepare("SELECT body FROM subscriptions ORDER BY name")?;
    let rows =
        rows.query_map([], |row| serde_json::from_slice(&row.get::<_, Vec<u8>>(0)?).map_err(unreadable))?;
    let text = |key: &str| {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        db.query_row(sql, [key], |row| row.get::<_, String>(0)).optional()
    };
    let settings = text(SETTINGS)?.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()?;
    let mark = text(MARK)?.map(|text| serde_json::from_str::<Mark>(&text).map_err(unreadable)).transpose()?;
    Ok(FoundNotices {
        subscriptions: rows.collect::<rusqlite::Result<_>>()?,
        settings: settings.unwrap_or_default(),
        mark,
    })
}

/// `?,?,?` for a list.
fn marks(list: &BTreeSet<String>) -> String {
    vec!["?"; list.len()].join(",")
}

impl Archive {
    /// The first message that is due, of lanes that are free.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn due_message(&self, now_ms: u64, busy: &BTreeSet<String>) -> Result<Option<Delivery>, StoreError> {
        let sql = format!(
            "SELECT body FROM deliveries WHERE state = 'waiting' AND due <= ? AND lane NOT IN ({}) ORDER BY due, rowid LIMIT 1",
            marks(busy)
        );
        let values = std::iter::once(Value::from(whole(now_ms)));
        let values = values.chain(busy.iter().cloned().map(Value::from)).collect();
        Ok(self.bodies(&sql, values, "a message")?.pop())
    }

    /// How many messages wait, and when the first of a free lane is due.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_message(&self, busy: &BTreeSet<String>) -> Result<(u64, Option<u64>), StoreError> {
        let sql = format!(
            "SELECT COUNT(*), MIN(CASE WHEN lane NOT IN ({}) THEN due END) FROM deliveries WHERE state = 'waiting'",
            marks(busy)
        );
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let row =
            |row: &rusqlite::Row<'_>| Ok((count(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(count)));
        db.prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row(params_from_iter(busy), row))
            .map_err(|source| super::failed("read messages", self.path.clone(), source))
    }

    /// Messages that wait, by user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting_messages(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| super::failed("read messages", self.path.clone(), source);
        let sql = "SELECT user, COUNT(*) FROM deliveries WHERE state = 'waiting' GROUP BY user";
        let mut rows = db.prepare_cached(sql).map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, count(row.get(1)?)))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Messages, newest first, of one user or of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn messages(
        &self,
        query: &DeliveryQuery,
        user: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut sql = "SELECT body FROM deliveries WHERE 1".to_owned();
        let mut values: Vec<Value> = Vec::new();
        let tests = [
            ("user", user.map(|user| Value::from(user.to_owned()))),
            ("subscription", query.subscription.clone().map(Value::from)),
            ("state", query.state.map(|state| Value::from(state.as_str().to_owned()))),
            ("job", query.job.map(|job| Value::from(whole(job)))),
        ];
        for (column, value) in tests {
            if let Some(value) = value {
                sql.push_str(&format!(" AND {column} = ?"));
                values.push(value);
            }
        }
        sql.push_str(" ORDER BY rowid DESC LIMIT ?");
        values.push(Value::from(i64::from(limit)));
        self.bodies(&sql, values, "a message")
    }

    /// One message.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn message(&self, id: &str) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT body FROM deliveries WHERE id = ?";
        Ok(self.bodies(sql, vec![Value::from(id.to_owned())], "a message")?.pop())
    }
}
