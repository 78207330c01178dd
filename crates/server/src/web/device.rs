//! What pages say of devices: which are not given out and why, and what their memory has been through.

use crate::api::types::{DeviceView, NodeView};
use std::collections::BTreeMap;

/// Devices of one model, and what of them is there to be had.
pub struct Model {
    /// What sort it is, and the maker's name.
    pub name: String,
    /// In all.
    pub count: usize,
    /// Nobody is on them, and they would be given out now.
    pub free: usize,
    /// Somebody is on them.
    pub used: usize,
    /// Not given out now.
    pub out: usize,
    /// Why, and how many of them.
    pub why: BTreeMap<String, usize>,
}

/// All devices by model.
pub fn models(nodes: &[NodeView]) -> Vec<Model> {
    let mut models: BTreeMap<(&str, &str), Model> = BTreeMap::new();
    for (node, device) in nodes.iter().flat_map(|node| node.devices.iter().map(move |device| (node, device)))
    {
        let new = || Model {
            name: format!("{} {}", device.kind, device.model),
            count: 0,
            free: 0,
            used: 0,
            out: 0,
            why: BTreeMap::new(),
        };
        let model = models.entry((&device.kind, &device.model)).or_insert_with(new);
        model.count += 1;
        model.used += usize::from(!device.holders.is_empty());
        match not_given_out(node, device) {
            Some(why) => {
                model.out += 1;
                *model.why.entry(why).or_default() += 1;
            }
            None => model.free += usize::from(device.holders.is_empty()),
        }
    }
    models.into_values().collect()
}

/// Why nothing of a device is given out now, whoever asks.
fn not_given_out(node: &NodeView, device: &DeviceView) -> Option<String> {
    match (device.healthy, &device.because) {
        (false, Some(because)) => Some(format!("{}: {because}", device.health)),
        (false, None) => Some(device.health.clone()),
        _ if node.state != "ready" => Some(format!("its machine is {}", node.state)),
        _ if device.modes.is_empty() => Some("seen, and never granted".to_owned()),
        _ => None,
    }
}

/// What the memory of a device has been through, where that is anything.
pub fn worn(device: &DeviceView) -> Option<String> {
    let count = |number: u64, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let rows = device.remapped_rows.and_then(|rows| {
        count(rows.into(), "row of its memory was remapped", "rows of its memory were remapped")
    });
    let pending = device.remap_pending.then(|| "rows wait for its next reset to be remapped".to_owned());
    let errors = device
        .corrected_errors
        .and_then(|errors| count(errors, "error of memory was corrected", "errors of memory were corrected"));
    let all: Vec<String> = rows.into_iter().chain(pending).chain(errors).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
