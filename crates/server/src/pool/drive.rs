//! The drive thread: runs `pond_core::drive` and steps in when the journal cannot be written.
//!
//! ```text
//!            ┌──────────── pond_core::drive ────────────┐
//!  start ──▶ │ poll ─ journal ─ handle ─ plan ─ ... ─ look │ ──asked to stop──▶ image ──▶ end
//!            └──────────────────────────────────────────┘
//!                 │ journal cannot be written  ▲ it can again
//!                 ▼                            │
//!            read-only: requests refused, reports kept, looks served
//! ```
//! Nothing is acted on that is not durable. A line of history over which the engine stumbles is taken out of the
//! journal before the thread ends, so that the next start does not stumble over it too.

use super::desk::{Desk, History, Inlet, Teller};
use super::inbox::Conditions;
use super::telling;
use crate::store::{StoreError, Write};
use pond_core::drive::{JournalError, drive};
use pond_core::engine::Engine;
use pond_core::event::Actor;
use pond_core::plan::Planner;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// How often the journal is tried again while it cannot be written.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Why the drive thread ended, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The database does not work at all.
    #[error("the pool cannot go on: {0}")]
    Store(#[from] StoreError),
    /// History cannot be kept.
    #[error("the pool cannot go on: {0}")]
    Journal(#[from] JournalError),
    /// The engine stumbled.
    #[error(
        "the pool stumbled over line {record} of its history, which was taken out: {message}; start the server again"
    )]
    Stumbled {
        /// Over which line.
        record: u64,
        /// What the panic said.
        message: String,
    },
    /// The planner or the server stumbled.
    #[error("the pool stumbled: {message}; its journal is whole, start the server again")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The image of the engine cannot be made.
    #[error("the pool's state cannot be written: {0}")]
    Image(#[from] serde_json::Error),
}

/// What the drive thread owns.
pub struct Drive {
    /// The state of the pool.
    pub engine: Engine,
    /// Makes plans.
    pub planner: Planner,
    /// Everything else.
    pub desk: Desk,
}

/// Turns until it is told to stop. Gives whether tasks are to be kept.
///
/// # Errors
/// When the database fails for good, or something stumbles.
pub fn run(drive_in: Drive) -> Result<bool, DriveError> {
    let Drive { mut engine, mut planner, desk } = drive_in;
    let desk = Rc::new(RefCell::new(desk));
    let (mut inlet, mut history, mut teller) =
        (Inlet(Rc::clone(&desk)), History(Rc::clone(&desk)), Teller(Rc::clone(&desk)));
    loop {
        let driven = catch_unwind(AssertUnwindSafe(|| {
            drive(&mut engine, &mut planner, &mut inlet, &mut history, &mut teller)
        }));
        let mut desk = desk.borrow_mut();
        match driven {
            Ok(Ok(())) => return finish(&engine, &mut desk),
            Ok(Err(why)) => match desk.turn.failure.take() {
                Some(failure) if failure.is_passing() => {
                    desk.set_writable(Some(&failure));
                    while !desk.wait_for_room(&engine, &planner, TRY_AGAIN) {
                        if desk.turn.stop.is_some() {
                            return finish(&engine, &mut desk);
                        }
                    }
                    desk.set_writable(None);
                }
                Some(failure) => return Err(failure.into()),
                None => return Err(why.into()),
            },
            Err(panic) => return Err(stumbled(&mut desk, &said(panic.as_ref()))),
        }
    }
}

/// What a panic said.
#[must_use]
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The last words, and an image so that the next start has nothing to replay.
fn finish(engine: &Engine, desk: &mut Desk) -> Result<bool, DriveError> {
    let keep = desk.turn.stop.unwrap_or(true);
    desk.condition.set(Conditions::Stopping, String::new());
    let what = if keep { "tasks stay" } else { "tasks are stopped" };
    let now = desk.clock.last();
    let line = telling::line(now, &Actor::Pool, "server.stopped", format!("the server stops; {what}"));
    desk.ledger.tell(line, 0);
    desk.keep_figures(true);
    let body = serde_json::to_vec(&engine.save())?;
    match desk.ledger.image(now, body) {
        Err(why) if !why.is_passing() => Err(why.into()),
        // The journal still holds everything.
        _ => Ok(keep),
    }
}

/// Takes a line of history over which the engine stumbles out of the journal.
fn stumbled(desk: &mut Desk, message: &str) -> DriveError {
    let message = message.to_owned();
    let last = desk.ledger.last_record();
    let Some(record) = desk.turn.in_flight.filter(|&record| record <= last) else {
        return DriveError::Panicked { message };
    };
    let text = format!("line {record} of history made the pool stumble and was taken out: {message}");
    desk.ledger.tell(telling::line(desk.clock.last(), &Actor::Pool, "pool.stumbled", text), 0);
    match desk.ledger.commit(&[], vec![Write::Unrecord(record)]) {
        Ok(()) => DriveError::Stumbled { record, message },
        Err(why) => why.into(),
    }
}
