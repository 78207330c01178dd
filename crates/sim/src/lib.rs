//! Traces in, results out.
//!
//! Built so far: readers for the Helios traces ([`trace`]) and the rules of the published Helios/Lucid
//! simulator ([`conformance`]), the yardstick for everything that will be simulated on the real engine.
//! Pure but for [`trace`], which reads from whatever it is handed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod conformance;
pub mod trace;
