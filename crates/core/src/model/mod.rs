//! The nouns of the pool: what a machine offers, what a user asks for, how the two are shared out.

mod host;
mod job;
pub mod link;
pub mod node;
pub mod notify;
pub mod queue;
pub mod resources;
pub mod run;
pub mod speed;

pub use host::{HostAccess, HostFolder, LEAST_WRITER, NotOpen};
pub use job::{
    Checkpoint, Class, Dependency, GangSize, IdleAction, IdlePolicy, JobKind, JobSpec, Retry, RetryOn,
};
pub use link::Link;
pub use node::{Device, DeviceKind, NodeSpec, Traits};
pub use notify::{Moment, NotifySpec, Recipient};
pub use queue::{QueueLimits, QueueSpec};
pub use resources::{DeviceChange, DeviceRequest, Resources, Shape, ShareMode, ShareTerms, Slack};
pub use run::{Command, Image, Isolation, PortSpec, RunSpec, Volume};
pub use speed::Speed;
