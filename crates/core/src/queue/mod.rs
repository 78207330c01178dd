//! Queues: who is next, who is at a limit, who may take back what it lent.

mod amounts;
mod tree;

pub use amounts::{Amounts, DIMS, RUNNING, device_at, device_grant, device_share, dimension};
pub use tree::{Hit, Tree};
