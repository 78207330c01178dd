//! Traces in, results out.
//!
//! Built so far: readers for the Helios and openb traces ([`trace`]), the rules of the published Helios/Lucid
//! simulator ([`conformance`]) and the published packing experiment on openb ([`packing`]): the yardsticks for
//! everything that will be simulated on the real engine.
//! Pure but for [`trace`], which reads from whatever it is handed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod conformance;
pub mod outcome;
pub mod packing;
pub mod random;
pub mod report;
pub mod trace;
pub mod workload;
