//! Tables of the database and how it is opened.

use super::StoreError;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::Path;
use std::time::Duration;

/// The format this version writes. How formats follow each other: docs/decisions/0061-what-is-stored-is-read-by-later-builds.md.
pub(super) const FORMAT: i64 = 7;

/// What makes of each format the next one: the first makes format 2 of format 1.
const STEPS: [&str; 6] =
    ["CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);", TO_3, BOOKS, NOTICES, TRAILS, TO_7];

/// Users and roles. Whoever had a token becomes a user with what that token could do, in the whole pool.
const TO_3: &str = "
CREATE TABLE users (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE roles (user TEXT NOT NULL, queue TEXT NOT NULL, source TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (user, queue, source)) WITHOUT ROWID;
CREATE TABLE sessions (name BLOB PRIMARY KEY, user TEXT NOT NULL, token BLOB, at INTEGER NOT NULL);
ALTER TABLE tokens RENAME TO tokens_before;
CREATE TABLE tokens (name TEXT PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL, project TEXT NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, expires INTEGER);
INSERT INTO tokens SELECT name, user, CASE admin WHEN 1 THEN 'admin' ELSE 'member' END, '', hash, at, NULL FROM tokens_before;
INSERT INTO users SELECT user, CAST(json_object('name', user, 'origin', 'local', 'created_ms', MIN(at)) AS BLOB) FROM tokens_before GROUP BY user;
INSERT INTO roles SELECT user, '', 'hand', CASE MAX(admin) WHEN 1 THEN 'admin' ELSE 'member' END FROM tokens_before GROUP BY user;
DROP TABLE tokens_before;
";

/// Closed periods of the ledger, and their lines.
const BOOKS: &str = "
CREATE TABLE periods (seq INTEGER PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE entries (period INTEGER NOT NULL, line INTEGER NOT NULL, start INTEGER NOT NULL, queue TEXT NOT NULL, user TEXT NOT NULL, job INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (period, line)) WITHOUT ROWID;
CREATE INDEX entries_by_job ON entries (job, period);
CREATE INDEX periods_by_start ON periods (start);
";

/// Subscriptions, and messages with those that wait to be sent.
const NOTICES: &str = "
CREATE TABLE subscriptions (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE deliveries (id TEXT PRIMARY KEY, user TEXT NOT NULL, subscription TEXT, lane TEXT NOT NULL, job INTEGER, state TEXT NOT NULL, due INTEGER NOT NULL, made INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX deliveries_due ON deliveries (due) WHERE state = 'waiting';
CREATE INDEX deliveries_by_user ON deliveries (user);
";

/// What tasks used over time.
const TRAILS: &str = "
CREATE TABLE trails (job INTEGER NOT NULL, task TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, task)) WITHOUT ROWID;
";

/// The image counts whole devices in one line, which earlier builds do not know.
const TO_7: &str = "";

/// The tables of a new database.
const TABLES: &str = "
CREATE TABLE log (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE image (id INTEGER PRIMARY KEY CHECK (id = 1), record INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, record INTEGER NOT NULL, job INTEGER, actor TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_by_job ON events (job, seq) WHERE job IS NOT NULL;
CREATE INDEX events_by_record ON events (record);
CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, queue TEXT NOT NULL, user TEXT NOT NULL, state TEXT NOT NULL, ended INTEGER, summary BLOB NOT NULL, detail BLOB NOT NULL);
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_by_user ON jobs (user, id);
CREATE INDEX jobs_by_queue ON jobs (queue, id);
CREATE INDEX jobs_by_end ON jobs (ended);
CREATE TABLE keys (key TEXT PRIMARY KEY, hash BLOB NOT NULL, record INTEGER NOT NULL, job INTEGER, at INTEGER NOT NULL);
CREATE INDEX keys_by_record ON keys (record);
CREATE INDEX keys_by_age ON keys (at);
CREATE TABLE users (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE roles (user TEXT NOT NULL, queue TEXT NOT NULL, source TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (user, queue, source)) WITHOUT ROWID;
CREATE TABLE sessions (name BLOB PRIMARY KEY, user TEXT NOT NULL, token BLOB, at INTEGER NOT NULL);
CREATE TABLE tokens (name TEXT PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL, project TEXT NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, expires INTEGER);
CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL, at INTEGER NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
";

/// Opens the database for its one writer.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| super::failed("open", path.to_owned(), source);
    make_private(path).map_err(|why| {
        failed(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(why.to_string()),
        ))
    })?;
    let mut db = Connection::open(path).map_err(failed)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "cache_size", -2000).map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", 16 << 20).map_err(failed)?;
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let steps = match usize::try_from(found) {
        Ok(0) => vec![TABLES, BOOKS, NOTICES, TRAILS],
        Ok(found) if found <= STEPS.len() + 1 => STEPS[found - 1..].to_vec(),
        _ => {
            let writer = writer(&db).map_err(failed)?;
            return Err(StoreError::TooNew { path: path.to_owned(), found, known: FORMAT, writer });
        }
    };
    if steps.is_empty() {
        return Ok(db);
    }
    if found > 0 {
        keep_a_copy(&db, path, found).map_err(failed)?;
    }
    let tx = db.transaction().map_err(failed)?;
    for step in steps {
        tx.execute_batch(step).map_err(failed)?;
    }
    tx.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
    tx.commit().map_err(failed)?;
    Ok(db)
}

/// The version of `pond` that started on this database last; formats before the second do not say.
pub(super) fn writer(db: &Connection) -> rusqlite::Result<Option<String>> {
    let known = db.table_exists(None, "meta")?;
    let sql = "SELECT value FROM meta WHERE key = 'writer'";
    if known { db.query_row(sql, [], |row| row.get(0)).optional() } else { Ok(None) }
}

/// `pond.db.format-1`: the way back to the version before. One that is there already is whole and stays.
fn keep_a_copy(db: &Connection, path: &Path, format: i64) -> rusqlite::Result<()> {
    let kept = path.with_extension(format!("db.format-{format}"));
    if kept.exists() {
        return Ok(());
    }
    let draft = path.with_extension("db.new");
    let failed = |why: std::io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(why));
    // Of a copy that a crash cut short.
    std::fs::remove_file(&draft).unwrap_or_default();
    make_private(&draft).map_err(failed)?;
    db.execute("VACUUM INTO ?1", [draft.to_string_lossy()])?;
    std::fs::rename(&draft, &kept).map_err(failed)
}

/// Opens the database for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| super::failed("open", path.to_owned(), source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    db.pragma_update(None, "cache_size", -1000).map_err(failed)?;
    Ok(db)
}

/// The database holds what people submit: only its owner reads it. SQLite gives its side files the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}
