//! The pool in its own thread: inbox, engine, planner, journal.

pub mod desk;
pub mod drive;
pub mod dry;
pub mod earlier;
pub mod forecast;
pub mod inbox;
pub mod ledger;
pub mod outcomes;
pub mod start;
pub mod tally;
pub mod telling;
pub mod trail;
pub mod trial;
pub mod view;
