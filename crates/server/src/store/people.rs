//! Users, roles, tokens and sessions in the database.

use super::{count, json, whole};
use crate::api::types::TokenView;
use crate::auth::TokenHash;
use crate::auth::people::{FoundPeople, PeopleChange, Session, Source, User};
use crate::auth::rights::{Role, Scope};
use pond_core::ids::UserName;
use rusqlite::{Connection, Row, Transaction, params};

/// Writes one change.
pub(super) fn apply(tx: &Transaction<'_>, change: &PeopleChange) -> rusqlite::Result<()> {
    match change {
        PeopleChange::User(user) => {
            let sql = "INSERT OR REPLACE INTO users (name, body) VALUES (?1,?2)";
            tx.execute(sql, params![user.name, json(user)?])?;
        }
        PeopleChange::Role { user, queue, role: Some(role) } => give(tx, user, queue, Source::Hand, *role)?,
        PeopleChange::Role { user, queue, role: None } => {
            let sql = "DELETE FROM roles WHERE user = ?1 AND queue = ?2 AND source = ?3";
            tx.execute(sql, params![user, queue, Source::Hand.as_str()])?;
        }
        PeopleChange::Groups { user, roles } => {
            let sql = "DELETE FROM roles WHERE user = ?1 AND source = ?2";
            tx.execute(sql, params![user, Source::Group.as_str()])?;
            for (queue, role) in roles {
                give(tx, user, queue, Source::Group, *role)?;
            }
        }
        PeopleChange::QueueGone(queue) => {
            tx.execute("DELETE FROM roles WHERE queue = ?1", [queue])?;
        }
        PeopleChange::Token(hash, view) => {
            let sql = "INSERT OR REPLACE INTO tokens (name, user, role, project, hash, at, expires) \
                       VALUES (?1,?2,?3,?4,?5,?6,?7)";
            let scope = &view.scope;
            let ends = view.expires_ms.map(whole);
            let made = whole(view.created_ms);
            tx.execute(
                sql,
                params![view.name, view.user, scope.role.as_str(), scope.project, hash, made, ends],
            )?;
        }
        PeopleChange::Revoke(name) => drop(tx.execute("DELETE FROM tokens WHERE name = ?1", [name])?),
        PeopleChange::Session(session) => {
            let sql = "INSERT OR REPLACE INTO sessions (name, user, token, at) VALUES (?1,?2,?3,?4)";
            let made = whole(session.made_ms);
            tx.execute(sql, params![session.name, session.user.as_str(), session.token, made])?;
        }
        PeopleChange::SessionOver(name) => drop(tx.execute("DELETE FROM sessions WHERE name = ?1", [name])?),
        PeopleChange::SessionsOver(user) => {
            tx.execute("DELETE FROM sessions WHERE user = ?1 AND token IS NULL", [user.as_str()])?;
        }
    }
    Ok(())
}

fn give(tx: &Transaction<'_>, user: &str, queue: &str, source: Source, role: Role) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO roles (user, queue, source, role) VALUES (?1,?2,?3,?4)";
    tx.execute(sql, params![user, queue, source.as_str(), role.as_str()]).map(drop)
}

/// Reads everybody.
pub(super) fn read(db: &Connection) -> rusqlite::Result<FoundPeople> {
    Ok(FoundPeople {
        users: rows(db, "SELECT body FROM users ORDER BY name", |row| {
            serde_json::from_slice::<User>(&row.get::<_, Vec<u8>>(0)?).map_err(unreadable)
        })?,
        roles: rows(db, "SELECT user, queue, source, role FROM roles ORDER BY 1, 2, 3", |row| {
            let source =
                if row.get::<_, String>(2)? == Source::Group.as_str() { Source::Group } else { Source::Hand };
            Ok((row.get(0)?, row.get(1)?, source, role(row, 3)?))
        })?,
        tokens: rows(
            db,
            "SELECT name, user, role, project, hash, at, expires FROM tokens ORDER BY name",
            |row| {
                let view = TokenView {
                    name: row.get(0)?,
                    user: row.get(1)?,
                    scope: Scope { role: role(row, 2)?, project: row.get(3)? },
                    created_ms: count(row.get(5)?),
                    expires_ms: row.get::<_, Option<i64>>(6)?.map(count),
                };
                Ok((row.get::<_, TokenHash>(4)?, view))
            },
        )?,
        sessions: rows(db, "SELECT name, user, token, at FROM sessions ORDER BY name", |row| {
            let user = UserName::from(row.get::<_, String>(1)?.as_str());
            Ok(Session { name: row.get(0)?, user, token: row.get(2)?, made_ms: count(row.get(3)?) })
        })?,
    })
}

/// A role that this version does not know lets nobody in by mistake: the start ends there.
fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let word: String = row.get(column)?;
    Role::named(&word).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            format!("`{word}` is not a role").into(),
        )
    })
}

fn unreadable(why: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(why))
}

fn rows<T>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(sql)?.query_map([], read)?.collect()
}
