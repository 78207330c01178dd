//! What the database makes of torn files, and of rows it cannot read.

use super::*;
use crate::auth::people::People;
use crate::auth::rights::Role;
use crate::testing::TempDir;
use pond_core::engine::{Engine, Settings};
use pond_core::event::{Actor, Event};
use pond_core::ids::UserName;
use pond_core::substrate::Entry;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn record(seq: u64) -> Write {
    Write::Record(Record { seq, at: Timestamp(seq), actor: Actor::Pool, entry: Entry::Event(Event::Tick) })
}

/// Commits of three lines each, left as a crash leaves them: the last page of the log half written.
fn torn(bytes: &[u8], database: &[u8], dir: &TempDir) -> Vec<u64> {
    fs::remove_file(dir.path().join("pond.db-shm")).unwrap_or_default();
    fs::write(dir.path().join("pond.db"), database).unwrap();
    fs::write(dir.path().join("pond.db-wal"), bytes).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let found = store.found().unwrap();
    let seqs: Vec<u64> = found.records.iter().map(|record| record.seq).collect();
    // It can be gone on with.
    let next = seqs.last().map_or(1, |seq| seq + 1);
    store.commit(&[record(next)]).unwrap();
    assert_eq!(store.found().unwrap().records.len(), seqs.len() + 1);
    seqs
}

#[test]
fn a_log_torn_at_any_byte_of_its_last_page_loses_whole_transactions_from_the_end() {
    const COMMITS: u64 = 5;
    let origin = TempDir::new();
    let mut store = Store::open(origin.path()).unwrap();
    for commit in 0..COMMITS {
        let writes: Vec<Write> = (1..=3).map(|line| record(commit * 3 + line)).collect();
        store.commit(&writes).unwrap();
    }
    let database = fs::read(origin.path().join("pond.db")).unwrap();
    let log = fs::read(origin.path().join("pond.db-wal")).unwrap();
    drop(store);
    let whole: Vec<u64> = (1..=COMMITS * 3).collect();
    let without_last = &whole[..whole.len() - 3];
    let copy = TempDir::in_memory();
    assert_eq!(torn(&log, &database, &copy), whole);
    // A frame of the log is a head of 24 bytes and a page.
    let last_page = log.len() - 4096 - 24;
    for end in last_page..log.len() {
        assert_eq!(torn(&log[..end], &database, &copy), without_last, "cut at {end}");
        let mut flipped = log.clone();
        flipped[end] ^= 0x5a;
        assert_eq!(torn(&flipped, &database, &copy), without_last, "wrong at {end}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).unwrap();
    store.db.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let refusal = Store::open(dir.path()).unwrap_err();
    assert!(matches!(refusal, StoreError::TooNew { found: 99, .. }), "{refusal}");
    let next = "has format 99, written by an early version; this version reads up to 7: use that one, or a newer one";
    assert!(refusal.to_string().ends_with(next), "{refusal}");
}

#[test]
fn an_image_replaces_the_journal_before_it() {
    let dir = TempDir::new();
    let mut store = Store::open(dir.path()).unwrap();
    store.commit(&[record(1), record(2), record(3)]).unwrap();
    let image = Engine::new(Settings::default()).save();
    let body = serde_json::to_vec(&image).unwrap();
    store.commit(&[Write::Image { record: 2, at: Timestamp(2), body }]).unwrap();
    let found = store.found().unwrap();
    assert_eq!(found.image, Some((2, image)));
    assert_eq!(found.records.iter().map(|record| record.seq).collect::<Vec<_>>(), [3]);
    assert_eq!((found.last, found.told), (Timestamp(3), 2));
}

/// What a build with other fields than ours would leave.
#[test]
fn a_state_that_cannot_be_read_names_who_wrote_it_and_stays() {
    let dir = TempDir::new();
    let mut store = Store::open(dir.path()).unwrap();
    let body = br#"{"epoch": 7}"#.to_vec();
    store.commit(&[Write::Writer, Write::Image { record: 2, at: Timestamp(2), body }]).unwrap();
    let refusal = store.found().unwrap_err().to_string();
    let version = env!("CARGO_PKG_VERSION");
    assert!(refusal.contains(&format!("the state, written by pond {version}, cannot be read")), "{refusal}");
    assert!(refusal.contains("docs/operations.md"), "{refusal}");
    let kept: i64 = store.db.query_row("SELECT record FROM image", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
}

#[test]
fn an_older_format_is_brought_up_to_date_and_a_copy_kept() {
    let dir = TempDir::new();
    let mut store = Store::open(dir.path()).unwrap();
    store.commit(&[record(1), record(2)]).unwrap();
    let before = "DROP TABLE meta; DROP TABLE users; DROP TABLE roles; DROP TABLE sessions; DROP TABLE tokens; \
                  DROP TABLE periods; DROP TABLE entries; DROP TABLE subscriptions; DROP TABLE deliveries; DROP TABLE trails; \
                  CREATE TABLE tokens (name TEXT PRIMARY KEY, user TEXT NOT NULL, admin INTEGER NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL); \
                  INSERT INTO tokens VALUES ('a', 'ann', 0, zeroblob(32), 5), ('b', 'ann', 1, zeroblob(32), 7), ('c', 'bob', 0, zeroblob(32), 9); \
                  PRAGMA user_version = 1";
    store.db.execute_batch(before).unwrap();
    drop(store);
    let mut store = Store::open(dir.path()).unwrap();
    let found = store.found().unwrap();
    assert_eq!(found.records.len(), 2);
    // Who had a token keeps what it could do.
    let people = People::new("owner", UserName::from("owner"), found.people);
    let may = |user: &str| people.of_user(&UserName::from(user)).unwrap().role_at("");
    assert_eq!([may("ann"), may("bob")], [Some(Role::Admin), Some(Role::Member)]);
    let tokens: Vec<_> = people.tokens().iter().map(|token| (token.user.clone(), token.scope.role)).collect();
    let expected = [("ann", Role::Member), ("ann", Role::Admin), ("bob", Role::Member)];
    assert_eq!(tokens, expected.map(|(user, role)| (user.to_owned(), role)));
    store.commit(&[Write::Writer]).unwrap();
    assert_eq!(schema::writer(&store.db).unwrap().as_deref(), Some(env!("CARGO_PKG_VERSION")));
    drop(store);
    let kept = dir.path().join("pond.db.format-1");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // The way back: the copy in the database's place is what the version before had.
    fs::rename(&kept, dir.path().join("pond.db")).unwrap();
    let db = Connection::open(dir.path().join("pond.db")).unwrap();
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let lines: i64 = db.query_row("SELECT COUNT(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!((found, lines), (1, 2));
}

#[test]
fn what_is_not_a_database_is_left_alone() {
    let dir = TempDir::new();
    fs::write(dir.path().join("pond.db"), "not a database at all, but somebody's notes").unwrap();
    assert!(Store::open(dir.path()).is_err());
    let kept = fs::read_to_string(dir.path().join("pond.db")).unwrap();
    assert!(kept.starts_with("not a database"));
}
