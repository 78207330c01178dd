//! The quota core: how a share of a device is kept by programs that do not know each other.
//!
//! A **share** is a part of one device for one task: so much of its memory, so much of its time. It stands in two
//! small files that the node makes and that every process of the task maps:
//! - the **terms** (`N.terms`), written by the node alone and read-only inside the task: what the share is now;
//! - the **ledger** (`N.ledger`), written by the task's processes: who holds how much, how much time was used.
//!
//! A process takes part through [`Member`]; the node keeps the terms and reads the ledger through [`Owner`].
//! Nothing here waits for another process: every step is one atomic operation that another can complete, so a
//! process that is stopped or killed anywhere blocks nobody and leaves nothing behind.
//!
//! ```text
//!   node: Owner ──writes──▶ N.terms  ──read──▶ Member (each process of the task)
//!         Owner ◀──reads─── N.ledger ◀─CAS──── Member
//! ```
//!
//! What a hostile task can do with a ledger it may write: lie about itself. The node reads it as bytes, bounds every
//! value, never waits on it, and maps none of it; another task's files are not within its reach.

pub mod divide;
pub mod gate;
mod layout;
mod member;
mod owner;
pub mod pace;
mod sys;
mod word;

pub use layout::{GRANULE, SLOTS, VERSION};
pub use member::{Charge, Denied, Member, MemberError};
pub use owner::{Owner, OwnerError, Terms, Use};
pub use sys::now_ns;
pub use word::Word;
