//! What a launcher is told to do: `launch.json`. Secrets are never in it; they come through a pipe.

use super::sys;
use crate::cgroup::{Limits, Pool};
use crate::net::TaskNet;
use pond_core::ids::{Generation, TaskId};
use pond_core::model::{HostFolder, Volume};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The whole order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// Which task.
    pub task: TaskId,
    /// Under which generation.
    pub generation: Generation,
    /// From 1.
    pub attempt: u32,
    /// The machine's boot: after another one nothing of it can be alive.
    pub boot: String,
    /// The container, or none for the `process` back end.
    pub container: Option<Container>,
    /// Name of the control group.
    pub group: String,
    /// Parents of the control group.
    pub pool: Pool,
    /// Limits.
    pub limits: Limits,
    /// Run before `command`; a script.
    pub setup: Option<String>,
    /// What runs.
    pub command: Program,
    /// Environment, without secrets.
    pub env: Vec<(String, String)>,
    /// Working folder; made when it is not there (containers only).
    pub workdir: String,
    /// Files and folders of the machine copied into the working folder.
    pub files: Vec<String>,
    /// User and group ids.
    pub user: Option<(u32, u32)>,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// The file of the machine that the command reads as its standard input; none: nothing to read.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Folders that what it is given of the machine must lie in, wherever links lead; none: anywhere.
    #[serde(default)]
    pub within: Option<Vec<HostFolder>>,
    /// Ports it was told to be reached at, where its network is the machine's.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Whether it finds stand-ins for Slurm's commands.
    #[serde(default)]
    pub slurm: bool,
    /// How logs are kept.
    pub logs: LogSettings,
}

impl LaunchSpec {
    /// Whether it is a container in a user namespace, where root is the pool's own user.
    pub(crate) fn is_in_user_namespace(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.user_namespace)
    }
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// A script: by `sh -e`, or by what its `#!` line names.
    Script(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

/// What a container has of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its hostname.
    pub hostname: String,
    /// Read-only folders of the image, the topmost first; empty: the machine's own root.
    pub lowers: Vec<PathBuf>,
    /// Whether overlay must be mounted with `userxattr`: the image store belongs to a user.
    pub userxattr: bool,
    /// Whether it is built in a user namespace, where the pool's user is root.
    #[serde(default)]
    pub user_namespace: bool,
    /// There: homes of that user, in which keys are hidden.
    #[serde(default)]
    pub homes: Vec<PathBuf>,
    /// Folders of the machine made visible, as the job names them.
    pub volumes: Vec<Volume>,
    /// Files and folders of the pool's own made visible.
    #[serde(default)]
    pub own: Vec<Volume>,
    /// Device files of the machine that were granted.
    pub devices: Vec<String>,
    /// Size of `/dev/shm` in bytes.
    pub shm: u64,
    /// Its network; none: the machine's.
    pub net: Option<TaskNet>,
    /// Contents of `/etc/hosts`.
    pub hosts: String,
    /// Bytes the writable layer may hold; 0: not limited.
    pub disk: u64,
    /// An empty filesystem of that size to copy; none: the layer is a plain folder.
    pub disk_template: Option<PathBuf>,
}

impl Container {
    /// The namespaces its first process is made in; that of mounts it makes itself.
    pub(super) const fn namespaces(&self) -> u64 {
        let net = if self.net.is_some() { sys::NETWORK_NAMESPACE } else { 0 };
        let user = if self.user_namespace { sys::USER_NAMESPACE } else { 0 };
        sys::CONTAINER_NAMESPACES | net | user
    }
}

/// Where a container leaves its results; there before its command runs.
pub const OUT: &str = "/pond/out";

/// How logs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Bytes a file before the next one is begun. Default 16 MiB.
    pub file_bytes: u64,
    /// Files kept; the oldest goes first. Default 8.
    pub files: u32,
    /// Bytes a second taken from one task; above it the task waits in `write`. Default 64 MiB.
    pub bytes_per_second: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 8, bytes_per_second: 64 << 20 }
    }
}
