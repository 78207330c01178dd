//! Private networks of tasks: an address each, known before the start; names and a way to each other inside a
//! gang; nothing to anybody else.
//!
//! ```text
//!            task alone, no way out      task alone             gang
//! in its     lo: 127.0.0.1, address      eth0: address/32       eth0: address/32
//! namespace                              default via gateway    subnet on the link, default via gateway
//! on the     nothing                     isolated port of the   port of the gang's own bridge
//! machine                                pool's bridge
//! ```
//!
//! The way out (gateway, masquerade) is there only with the pool's table in nf_tables, which also keeps tasks from
//! each other and from the machine; without it bridges carry no address of the machine, and there is no way to
//! leave one. See `docs/decisions/0030-task-networks.md`.
//!
//! A network namespace ends with the last process in it and takes its end of the cable along, and so the other
//! end: a killed server or launcher leaves at most bridges, which [`Network::open`] sweeps.

mod attach;
mod forward;
mod link;
mod namespace;
mod netlink;
mod network;
mod nft;
mod outward;
mod trial;

pub use attach::{attach, connect, detach, set_up};
pub use network::{Network, Settings};
pub(crate) use trial::trial;

use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// One task's place in the network; complete before the task starts, kept in its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskNet {
    /// Its address, `None` without a private network.
    pub address: Option<IpAddr>,
    /// Lines for `/etc/hosts` of its gang: address and name, by rank.
    pub hosts: Vec<(IpAddr, String)>,
    /// Ports: (inside, on the machine's loopback).
    pub ports: Vec<(u16, u16)>,
    /// Its cable; `None`: it only has its own loopback.
    pub cable: Option<Cable>,
    /// File in which the launcher notes which namespace the task has, for `forward` and `connect`.
    pub note: PathBuf,
}

/// How a task is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// Name of the end on the machine.
    pub name: String,
    /// The bridge it is plugged into; made when it is not there.
    pub bridge: String,
    /// MAC address of that bridge.
    pub mac: [u8; 6],
    /// The pool's whole subnet: network and prefix length.
    pub subnet: (Ipv4Addr, u8),
    /// The machine's address on the bridge and the task's way out; `None`: there is none.
    pub gateway: Option<Ipv4Addr>,
    /// Whether the bridge is shared with strangers, and the port kept apart from them.
    pub isolated: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// Why a network cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel refused a step.
    #[error("cannot {step} `{subject}`: {source}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On what.
        subject: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The subnet is used up.
    #[error("all addresses of {subnet} are taken; end some tasks, or set a larger `subnet` for the pool")]
    NoAddress {
        /// The pool's subnet.
        subnet: String,
    },
    /// All usual private subnets are in use on this machine.
    #[error(
        "no free private subnet on this machine; set `subnet` for the pool to one that nothing else uses"
    )]
    NoSubnet,
    /// A port on the machine is taken.
    #[error("port {port} of this machine is taken ({source}); choose another, or 0 for any")]
    PortTaken {
        /// The port.
        port: u16,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The pool went down while the task was starting.
    #[error("the pool closed while the task was starting; start it again")]
    Closed,
    /// A gang of more ranks than there are addresses.
    #[error("a gang of {size} ranks does not fit into one network")]
    TooLarge {
        /// Its size.
        size: u32,
    },
}

impl NetError {
    /// For `map_err`: a failed step on a subject.
    fn step<E: Into<io::Error>>(step: &'static str, subject: impl ToString) -> impl FnOnce(E) -> Self {
        let subject = subject.to_string();
        move |source| Self::Step { step, subject, source: source.into() }
    }
}
