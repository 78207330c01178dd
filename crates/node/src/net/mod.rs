//! Private networks of tasks.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One task's place in the network; complete before the task starts, kept in its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNet {
    /// Its address, `None` without a private network.
    pub address: Option<IpAddr>,
    /// Lines for `/etc/hosts` of its gang: address and name, by rank.
    pub hosts: Vec<(IpAddr, String)>,
    /// Ports: (inside, on the machine's loopback).
    pub ports: Vec<(u16, u16)>,
}
