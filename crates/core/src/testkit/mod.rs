//! Scenarios in a screen: a pool described in a few lines, run on a clock that jumps, then looked at.
//!
//! ```
//! use pond_core::engine::State;
//! use pond_core::testkit::{Pool, cpus, gang, secs};
//!
//! let pool = Pool::new()
//!     .node("n1", cpus(4))
//!     .job("a", gang(2).cpu(2).runs(secs(10)))
//!     .run(secs(5));
//! assert_eq!(pool.state("a"), State::Running);
//! assert_eq!(pool.run(secs(6)).state("a"), State::Succeeded);
//! ```
//! Invariants are checked after every turn of the loop; a pool that breaks one panics with its transcript.

mod chance;
mod pool;
mod world;

pub use chance::Chance;
pub use pool::{JobPlan, Memory, Pool, Seen, cpus, gang, one, secs};
pub use world::{Faults, Script, World};
