//! Millpond's substrate on one machine: what runs tasks, holds them to their limits and tells how they ended.
//!
//! [`agent`] takes the engine's effects and sends reports; each task has a process of its own, the
//! [`launcher`], which outlives the server. [`image`] brings container roots, [`net`] private networks,
//! [`probe`] says what the machine has and can do.
//!
//! Seams inside the crate:
//! - `image::prepare` makes a root's read-only folders ready and returns them with the image's config;
//! - `net::Network` hands out a [`net::TaskNet`] before the start (addresses are known by then); the launcher,
//!   single-threaded, carries it out with `net::attach(&TaskNet, pid)` and undoes it with `net::detach(&TaskNet)`;
//! - `probe::node` describes the machine, `probe::doctor` what it can do.

pub mod image;
pub mod launcher;
pub mod net;
pub mod probe;
