//! What the database makes of torn files, and of rows it cannot read.

use super::*;
use crate::testing::TempDir;
use pond_core::event::{Actor, Event};
use pond_core::substrate::Entry;
use std::fs;

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
}

#[test]
fn an_image_replaces_the_journal_before_it() {
    let dir = TempDir::new();
    let mut store = Store::open(dir.path()).unwrap();
    store.commit(&[record(1), record(2), record(3)]).unwrap();
    store.commit(&[Write::Image { record: 2, at: Timestamp(2), body: b"{}".to_vec() }]).unwrap();
    let found = store.found().unwrap();
    assert_eq!(found.image, Some((2, b"{}".to_vec())));
    assert_eq!(found.records.iter().map(|record| record.seq).collect::<Vec<_>>(), [3]);
    assert_eq!((found.last, found.told), (Timestamp(3), 2));
}

#[test]
fn what_is_not_a_database_is_left_alone() {
    let dir = TempDir::new();
    fs::write(dir.path().join("pond.db"), "not a database at all, but somebody's notes").unwrap();
    assert!(Store::open(dir.path()).is_err());
    let kept = fs::read_to_string(dir.path().join("pond.db")).unwrap();
    assert!(kept.starts_with("not a database"));
}
