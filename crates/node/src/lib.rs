//! Millpond's substrate on one machine: what runs tasks, holds them to their limits and tells how they ended.
//!
//! [`agent`] takes the engine's effects and sends reports; each task has a process of its own, the
//! [`launcher`], which outlives the server. [`image`] brings container roots, [`net`] private networks,
//! [`probe`] says what the machine has and can do.
//!
//! Seams inside the crate:
//! - `image::prepare` makes a root's read-only folders ready and returns them with the image's config;
//! - [`net::Network`] hands out a [`net::TaskNet`] before the start (addresses are known by then); the launcher
//!   carries it out with [`net::attach`], the task's first process with [`net::set_up`], and the launcher undoes it
//!   with [`net::detach`];
//! - `ground` is the mount namespace that containers are copies of, with the layer that hides what no task may see;
//! - `probe::node` describes the machine, `probe::doctor` what it can do.

pub mod agent;
mod bounds;
pub mod cgroup;
pub mod copied;
pub mod folder;
mod ground;
pub mod image;
pub mod launcher;
pub mod logs;
pub mod net;
pub mod probe;
mod session;

pub use agent::{Agent, Config};

/// A container's hostname, which its peers know it by too.
#[must_use]
pub fn hostname(task: pond_core::ids::TaskId) -> String {
    let pond_core::ids::TaskId { gang, rank } = task;
    match gang.index {
        0 => format!("pond-{}-{rank}", gang.job),
        index => format!("pond-{}-{index}-{rank}", gang.job),
    }
}

/// For steps that may fail without harm: what is cleaned up twice, told to somebody who has left, or measured.
pub(crate) fn tolerate<T>(_outcome: T) {}
