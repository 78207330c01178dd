//! How near the devices of a gang are to each other, as far as their nodes say.

use super::job::node_name;
use crate::api::types::NearView;
use crate::pool::inbox::Sight;
use pond_core::engine::Live;
use pond_core::model::Link;
use pond_core::snapshot::NodeOrd;
use std::collections::{BTreeMap, BTreeSet};

/// An entry for each node on which it has several devices and something is known of their ways.
#[must_use]
pub fn of_gang(sight: &Sight<'_>, live: &Live) -> Vec<NearView> {
    let mut held: BTreeMap<NodeOrd, BTreeSet<u32>> = BTreeMap::new();
    for task in &live.tasks {
        held.entry(task.node).or_default().extend(task.devices.iter().map(|grant| grant.device));
    }
    held.into_iter().filter_map(|(node, devices)| on_node(sight, node, devices)).collect()
}

fn on_node(sight: &Sight<'_>, ord: NodeOrd, devices: BTreeSet<u32>) -> Option<NearView> {
    let node = sight.engine.snapshot().nodes.get(ord.0 as usize)?;
    let ends: Vec<(&[Link], usize)> = devices
        .iter()
        .map(|&device| device as usize)
        .filter_map(|device| Some((&*node.devices.get(device)?.spec.traits.links, device)))
        .collect();
    let ways = ends
        .iter()
        .enumerate()
        .flat_map(|(at, &one)| ends[..at].iter().map(move |&other| Link::between(one, other)));
    let (nearest, farthest) = ways.fold(None, |found: Option<(Link, Link)>, way| {
        Some(found.map_or((way, way), |(near, far)| (near.min(way), far.max(way))))
    })?;
    (nearest != Link::UNKNOWN).then(|| NearView {
        node: node_name(sight, ord),
        devices: devices.into_iter().collect(),
        nearest: nearest.to_string(),
        farthest: farthest.to_string(),
    })
}
