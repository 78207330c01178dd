//! Private networks of tasks.
//!
//! So far a stub of the seam: a task with a [`TaskNet`] gets a network namespace with a loopback only.

use pond_core::ids::{Generation, TaskId};
use pond_core::model::PortSpec;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;

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

/// Why a network cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A step that failed.
    #[error("cannot {step}: {source}")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// The pool's network on this machine. Owned by the agent; the launchers carry out what it planned.
#[derive(Debug)]
pub struct Network {}

impl Network {
    /// Probes and makes what all tasks share; `id` is unique to the state folder and names bridges and tables.
    /// What an earlier server left and nobody uses any more is removed.
    ///
    /// # Errors
    /// The machine has no such networks; tasks then share the machine's.
    pub fn open(state: &Path, id: &str) -> Result<Self, NetError> {
        let _unused = (state, id);
        Ok(Self {})
    }

    /// Plans one task's place. Every rank of a gang of `size` gets the same `hosts`, whichever is asked first;
    /// names come from [`crate::hostname`].
    ///
    /// # Errors
    /// No address or port is left.
    pub fn plan(
        &self,
        task: TaskId,
        generation: Generation,
        size: u32,
        ports: &[PortSpec],
    ) -> Result<TaskNet, NetError> {
        let _unused = (task, generation, size, ports);
        Ok(TaskNet::default())
    }

    /// Tells again what a running task has, after a restart of the server.
    pub fn adopt(&self, task: TaskId, generation: Generation, net: &TaskNet) {
        let _unused = (self, task, generation, net);
    }

    /// Takes a place back once the task has ended.
    pub fn release(&self, task: TaskId, generation: Generation) {
        let _unused = (self, task, generation);
    }

    /// Removes everything the pool has in the machine's network.
    pub fn close(&self) {}
}

/// Connects the network namespace of process `pid`. Called by the launcher, which has one thread; may wait.
///
/// # Errors
/// The step that failed; what was made stays for [`detach`].
pub fn attach(net: &TaskNet, pid: i32) -> Result<(), NetError> {
    let _unused = (net, pid);
    Ok(())
}

/// Undoes [`attach`]; called once the task's processes are gone, also by a restarted server.
///
/// # Errors
/// Something could not be removed.
pub fn detach(net: &TaskNet) -> Result<(), NetError> {
    let _unused = net;
    Ok(())
}
