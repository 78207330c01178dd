//! Traces in, results out.
//!
//! A [`workload`] and a cluster go into the [`simulator`], which drives the pool's own engine and planner; an
//! [`outcome`] comes out, and a [`report`] of it; [`experiment`] has the pieces of the protocol. Beside it stand the yardsticks: the rules of the published Helios/Lucid
//! simulator ([`conformance`]) and the published packing experiment on openb ([`packing`]).
//! Workloads come from traces ([`trace`], `docs/traces.md`) or are made up ([`synth`]).
//! Pure but for `trace::open`, which opens files; all readers take whatever implements `Read`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod conformance;
pub mod experiment;
pub mod gates;
pub mod outcome;
pub mod packing;
pub mod random;
pub mod report;
pub mod simulator;
pub mod synth;
pub mod trace;
pub mod tune;
pub mod workload;
