//! Machines and the devices on them.

use crate::ids::NodeName;
use crate::model::{Link, Resources, ShareMode};
use crate::partition::Layout;
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What sort of device it is; the planner treats them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Graphics or tensor processor.
    Gpu,
    /// Field-programmable gate array.
    Fpga,
    /// Neural processor.
    Npu,
    /// Whatever an OpenCL driver offers.
    OpenCl,
}

/// One device of a node. Its ordinal is its place in [`NodeSpec::devices`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The driver's lasting name: a UUID or a PCI address.
    pub uuid: String,
    /// What sort of device.
    pub kind: DeviceKind,
    /// The maker's model name: `NVIDIA H100 80GB HBM3`.
    pub model: String,
    /// Memory on the device.
    pub memory: Bytes,
    /// Ways of dividing it that this node can enforce. Empty: the device is shown and never granted.
    pub modes: Vec<ShareMode>,
    /// The NUMA node it hangs on, when known.
    pub numa: Option<u32>,
    /// Device files to grant: `/dev/nvidia0`.
    pub files: Vec<String>,
    /// What else is known of it.
    #[serde(default)]
    pub traits: Traits,
}

/// What is known of a device beside what every device has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traits {
    /// How long each share of it is used is measured: samples tell it.
    pub measured: bool,
    /// Whether something tells, when a program on it has failed, that it was the device: its driver, or a probe of its own.
    pub tells: bool,
    /// How its hardware can be cut, where [`ShareMode::Space`] is among its modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Arc<Layout>>,
    /// How it is joined to each device before it on its node, by ordinal. Empty: not known; then NUMA nodes say what is near.
    #[serde(skip_serializing_if = "<[Link]>::is_empty")]
    pub links: Arc<[Link]>,
}

/// A machine as its substrate describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Unique name.
    pub name: NodeName,
    /// What the pool may give out, after what the machine keeps for itself.
    pub capacity: Resources,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Labels for selection; `zone`, `rack` and `switch` order nodes from far to near.
    pub labels: BTreeMap<String, String>,
}
