//! Tables of the database and how it is opened.

use super::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// The format this version writes.
const FORMAT: i64 = 1;

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
CREATE TABLE tokens (name TEXT PRIMARY KEY, user TEXT NOT NULL, admin INTEGER NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL, at INTEGER NOT NULL);
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
    if found > FORMAT {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: FORMAT });
    }
    if found == 0 {
        let tx = db.transaction().map_err(failed)?;
        tx.execute_batch(TABLES).map_err(failed)?;
        tx.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(db)
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
