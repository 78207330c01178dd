//! The pure heart of Millpond: the model of a pool, the engine that keeps its state, the planner that
//! decides where and when each task runs, and the meter that says what it cost.
//!
//! Pure: no async, threads, clock, randomness, files or environment. Time comes in as an argument,
//! so the same events give the same bytes, on a machine, on Kubernetes and in the simulator.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod by_job;
pub mod by_name;
pub mod check;
pub mod drive;
pub mod engine;
pub mod event;
pub mod frame;
pub mod ids;
pub mod meter;
pub mod mix;
pub mod model;
pub mod money;
pub mod partition;
pub mod plan;
pub mod queue;
pub mod snapshot;
pub mod substrate;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod units;
