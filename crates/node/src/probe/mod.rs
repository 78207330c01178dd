//! What this machine has ([`node`]) and what it can do ([`doctor`]): every capability is tried, not guessed.
//!
//! Trying leaves nothing behind: mounts and links live in namespaces of a thread that ends, files in a scratch
//! folder that is removed, control groups are removed after use.

mod capability;
mod devices;
mod doctor;
mod isolation;
mod joined;
mod limits;
mod listed;
mod machine;
pub(crate) mod mig;
pub(crate) mod nvidia;
pub(crate) mod opencl;
pub(crate) mod signs;
pub(crate) mod vitals;

pub use devices::{Found, devices, scan_pci};
pub use doctor::{Doctor, Row, State, doctor};
pub use joined::{bus_link, join, xgmi_links};
pub use listed::{Listed, ListedError, listed};
pub use machine::{MachineConfig, Offer, node};

/// Whether a pool without root can have containers here; tried in `state_dir`, which nothing of it is left in.
///
/// # Errors
/// What does not work.
pub fn user_containers(state_dir: &std::path::Path) -> std::io::Result<()> {
    crate::launcher::user::try_with(&crate::launcher::own(), state_dir).map(drop)
}
