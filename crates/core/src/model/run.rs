//! What a task executes. The engine carries it to the substrate and never looks inside.

use super::HostFolder;
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a task is kept from the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A process group of its own with limits; it sees the machine's files and network.
    Process,
    /// Namespaces, a root of its own, limits, no new privileges.
    #[default]
    Container,
}

/// Where a container's root comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// The machine's own root, read-only, under a private writable layer.
    #[default]
    Host,
    /// An OCI image layout: a folder or a tar file on the machine.
    Layout(String),
    /// An image in a registry: `pytorch/pytorch:2.13.0`.
    Registry(String),
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Handed to `sh -e` as it stands, on standard input's place: never spliced into another command line.
    Script(String),
    /// Program and arguments; none is the image's own command.
    Argv(Vec<String>),
}

/// A folder or file of the machine made visible inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute path on the machine.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// A port of the task reachable from the machine's loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The port inside.
    pub container: u16,
    /// The port on the machine's loopback; 0 lets the node choose.
    pub host: u16,
}

/// Everything a substrate needs to know to execute one task of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Process or container.
    pub isolation: Isolation,
    /// The root; [`Image::Host`] with process isolation.
    pub image: Image,
    /// What runs.
    pub command: Command,
    /// A script run before `command`, in the same place; its failure is the task's failure.
    pub setup: Option<String>,
    /// The working folder; absent: the image's own, or `/`.
    pub workdir: Option<String>,
    /// Variables on top of the substrate's own.
    pub env: BTreeMap<String, String>,
    /// Names of secrets to put into the environment; the values are never here.
    pub secrets: Vec<String>,
    /// Folders of the machine.
    pub volumes: Vec<Volume>,
    /// Absolute paths on the machine copied into the working folder before the start.
    pub files: Vec<String>,
    /// Ports to forward.
    pub ports: Vec<PortSpec>,
    /// Size of `/dev/shm`; zero: half the task's memory.
    pub shm: Bytes,
    /// Most processes and threads; zero: the node's default.
    pub pids: u32,
    /// Give the command a terminal (for `attach`).
    pub tty: bool,
    /// Absolute path on the machine of the file that is the command's standard input; absent: nothing to read. Not
    /// with a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Folders of the machine that volumes, files, standard input and an image's layout must lie in when the task starts,
    /// wherever links lead; absent: anywhere. Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<HostFolder>>,
    /// User and group ids inside; absent: those of the image, or of who runs the node.
    pub user: Option<(u32, u32)>,
    /// The command is a script of Slurm's: it finds stand-ins for `srun`, `scontrol` and the like.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slurm: bool,
}

impl RunSpec {
    /// A container over the machine's own root that runs these arguments.
    #[must_use]
    pub fn argv(argv: &[&str]) -> Self {
        Self {
            isolation: Isolation::Container,
            image: Image::Host,
            command: Command::Argv(argv.iter().map(|&part| part.to_owned()).collect()),
            setup: None,
            workdir: None,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            volumes: Vec::new(),
            files: Vec::new(),
            ports: Vec::new(),
            shm: Bytes::ZERO,
            pids: 0,
            tty: false,
            stdin: None,
            within: None,
            user: None,
            slurm: false,
        }
    }
}
