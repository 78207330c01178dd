//! How the devices of machines are joined, as pages show it: who is together on what, and the table of all ways.

use crate::api::types::{NearView, NodeView};
use pond_core::model::Link;
use std::collections::{BTreeMap, BTreeSet};

/// Devices in a table at most; of more only the groups are shown.
const ROWS: usize = 32;
/// Machines that are named beside a table that is theirs alike.
const NAMED: usize = 8;

/// One table, of the machines that have it alike.
pub struct Joined<'a> {
    /// Their names, and of how many more.
    pub names: Vec<&'a str>,
    /// Machines that are not named.
    pub more: usize,
    /// Devices of each.
    pub count: usize,
    /// What joins some of the devices, and which of them are together on it.
    pub groups: Vec<(String, Vec<Vec<u32>>)>,
    /// The table: a device, its model and its ways to each; empty where nobody knows one, or they are too many.
    pub rows: Vec<(u32, &'a str, &'a [String])>,
    /// The words in the table, and what they mean.
    pub words: Vec<(String, String)>,
}

/// What is the same of machines whose devices are joined alike: model, NUMA node and ways of each.
type Alike<'a> = Vec<(&'a str, Option<u32>, &'a [String])>;

/// Of all machines with several devices of which anything is known.
pub fn joined(nodes: &[NodeView]) -> Vec<Joined<'_>> {
    let mut alike: Vec<(Alike<'_>, Vec<&NodeView>)> = Vec::new();
    let mut places: BTreeMap<Alike<'_>, usize> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.devices.len() > 1) {
        let key: Alike<'_> = node
            .devices
            .iter()
            .map(|device| (device.model.as_str(), device.numa, device.links.as_slice()))
            .collect();
        let place = *places.entry(key.clone()).or_insert(alike.len());
        if place == alike.len() {
            alike.push((key, Vec::new()));
        }
        alike[place].1.push(node);
    }
    alike.into_iter().filter_map(|(key, nodes)| table(&key, &nodes)).collect()
}

fn table<'a>(alike: &Alike<'a>, nodes: &[&'a NodeView]) -> Option<Joined<'a>> {
    let mut groups = Vec::new();
    let by_way = [
        ("NVLink", together(alike, |link| link <= Link::nvlink(1))),
        ("XGMI", together(alike, |link| link.is_fabric() && link > Link::nvlink(1))),
        ("The same PCIe switch", together(alike, |link| link == Link::SWITCH)),
    ];
    for (name, found) in by_way {
        if !found.is_empty() {
            groups.push((name.to_owned(), found));
        }
    }
    let mut numa: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for ((_, at, _), device) in alike.iter().zip(0..) {
        if let Some(at) = at {
            numa.entry(*at).or_default().push(device);
        }
    }
    groups.extend(numa.into_iter().map(|(at, devices)| (format!("NUMA node {at}"), vec![devices])));
    let known = alike.iter().any(|(_, _, links)| !links.is_empty()) && alike.len() <= ROWS;
    let row =
        |((model, _, links), device): (&(&'a str, Option<u32>, &'a [String]), u32)| (device, *model, *links);
    let rows: Vec<_> = if known { alike.iter().zip(0..).map(row).collect() } else { Vec::new() };
    let used: BTreeSet<&str> =
        rows.iter().flat_map(|(_, _, links)| links.iter()).map(String::as_str).collect();
    let mut words: Vec<Link> = used.into_iter().filter_map(Link::named).collect();
    words.sort_unstable();
    let names = nodes.iter().take(NAMED).map(|node| node.name.as_str()).collect();
    (!groups.is_empty() || !rows.is_empty()).then(|| Joined {
        names,
        more: nodes.len().saturating_sub(NAMED),
        count: alike.len(),
        groups,
        rows,
        words: words.into_iter().map(|word| (word.to_string(), word.meaning())).collect(),
    })
}

/// Devices that reach each other by ways of this sort, two and more together.
fn together(alike: &Alike<'_>, is_one: impl Fn(Link) -> bool) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for ((_, _, links), device) in alike.iter().zip(0_u32..) {
        let near: BTreeSet<u32> = links
            .iter()
            .zip(0_u32..)
            .filter(|(word, other)| *other < device && Link::named(word).is_some_and(&is_one))
            .map(|(_, other)| other)
            .collect();
        let (mut joined, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group: &Vec<u32>| group.iter().any(|one| near.contains(one)));
        let mut whole: Vec<u32> = joined.drain(..).flatten().chain([device]).collect();
        whole.sort_unstable();
        groups = apart;
        groups.push(whole);
    }
    groups.retain(|group| group.len() > 1);
    groups.sort_unstable();
    groups
}

/// How near the devices of a gang are, in a sentence.
pub fn sentence(near: &NearView) -> String {
    let way = |word: &str| {
        let meaning = Link::named(word).map_or_else(String::new, Link::meaning);
        format!("{meaning} ({word})")
    };
    let devices: Vec<String> = near.devices.iter().map(u32::to_string).collect();
    let devices = devices.join(", ");
    match near.nearest == near.farthest {
        true if near.devices.len() == 2 => format!("Devices {devices} are joined by {}.", way(&near.nearest)),
        true => format!("Devices {devices}: each two are joined by {}.", way(&near.nearest)),
        false => format!(
            "Devices {devices}: the nearest two are joined by {}, the farthest by {}.",
            way(&near.nearest),
            way(&near.farthest)
        ),
    }
}
