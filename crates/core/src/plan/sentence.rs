//! One sentence for people: what is short by how much, and what to do.

use super::problem::shape::{model_matches, wanted};
use super::{Constraint, DeviceAt, Dimension, Explanation, Funnel, HoldReason, WhatIf};
use crate::model::{Class, DeviceKind, DeviceRequest, Resources, Shape, ShareMode};
use crate::money::Spent;
use crate::snapshot::{DeviceRow, GangRow, NodeRow, NodeState, PlacedGang, Snapshot};
use crate::units::{Bytes, MilliCpu, Thousandths, Timestamp};
use std::collections::BTreeSet;

/// Of a gang that has a place.
pub(super) fn placed_sentence(snapshot: &Snapshot, placed: &PlacedGang, now: Timestamp) -> String {
    let nodes: BTreeSet<&str> =
        placed.tasks.iter().map(|task| snapshot.node(task.node).name.as_str()).collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    let since = now.since(placed.since);
    match (placed.stopping, placed.frozen) {
        (true, _) => format!("It is being stopped on {}.", nodes.join(", ")),
        (_, Some(_)) if !placed.paused => {
            format!("It is frozen on {}: the owner of the CPU it ran on needs it now.", nodes.join(", "))
        }
        _ if placed.paused => {
            format!("It is paused, and frozen on {}; resume it to let it go on.", nodes.join(", "))
        }
        _ => format!("It has had its place on {} for {since}.", nodes.join(", ")),
    }
}

pub const fn kind_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Gpu => "GPU",
        DeviceKind::Fpga => "FPGA",
        DeviceKind::Npu => "NPU",
        DeviceKind::OpenCl => "OpenCL device",
    }
}

/// An amount in its dimension's unit.
pub fn amount(dimension: Dimension, value: u64) -> String {
    match dimension {
        Dimension::Cpu => cores(MilliCpu(value)),
        Dimension::Memory => format!("{} of memory", Bytes(value)),
        Dimension::Disk => format!("{} of disk", Bytes(value)),
        Dimension::Device(kind) => format!("{} {}", Thousandths(value), kind_name(kind)),
        Dimension::Running => format!("{value} running"),
    }
}

pub(super) fn cores(cpu: MilliCpu) -> String {
    if cpu == MilliCpu(1000) { "1 core".to_owned() } else { format!("{cpu} cores") }
}

fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Cpu => "CPU",
        Dimension::Memory => "memory",
        Dimension::Disk => "disk",
        Dimension::Device(kind) => kind_name(kind),
        Dimension::Running => "running gangs",
    }
}

/// What is wrong with one node, or with several.
fn constraint(constraint: &Constraint, one: bool) -> String {
    let (have, are) = if one { ("has", "is") } else { ("have", "are") };
    match constraint {
        Constraint::NotReady => format!("{are} not ready for tasks"),
        Constraint::Label(label) => format!("{have} no label {label}"),
        Constraint::NoDevice(kind) => format!("{have} no such {}", kind_name(*kind)),
        Constraint::NoShare(kind) => {
            format!("{have} no {} of which a share can be kept that way", kind_name(*kind))
        }
        Constraint::NotWhole(kind) => {
            format!("{have} no {} that is given out whole, only parts of them", kind_name(*kind))
        }
        Constraint::NoProfile(kind, wanted) => {
            format!("{have} no {} that can be cut into a {wanted}", kind_name(*kind))
        }
        Constraint::NoPlace(kind, wanted) => {
            format!("{have} no place for a {wanted} on its {}s beside what is used", kind_name(*kind))
        }
        Constraint::TooFewDevices(kind) => format!("{have} too few {}s", kind_name(*kind)),
        Constraint::SmallDevice(kind) => format!("{have} no {} with so much memory", kind_name(*kind)),
        Constraint::TooSmall(dimension) => {
            format!("{are} too small in {} even when empty", dimension_name(*dimension))
        }
        Constraint::TooFull(dimension) => format!("{have} too little {} free", dimension_name(*dimension)),
    }
}

/// Where nodes are lost: "of 3 nodes 2 have no such GPU, 1 is too small in memory even when empty".
fn losses(funnel: &Funnel) -> String {
    match (funnel.nodes, &funnel.removed[..]) {
        (0, _) => "there is no node".to_owned(),
        (1, []) => "the one node is not enough".to_owned(),
        (1, [(why, _), ..]) => format!("the one node {}", constraint(why, true)),
        (nodes, []) => format!("{nodes} nodes are not enough"),
        (nodes, removed) => {
            let lost = removed.iter().map(|(why, count)| format!("{count} {}", constraint(why, *count == 1)));
            format!("of {nodes} nodes {}", lost.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What the nodes have too little of for all tasks of a gang, though each has room for one: "disk". Empty when no
/// amount alone says it.
fn scarce(snapshot: &Snapshot, row: &GangRow, funnel: &Funnel, left: fn(&NodeRow) -> Resources) -> String {
    let Some(shape) = snapshot.demand(row.demand).first().filter(|_| funnel.removed.is_empty()) else {
        return String::new();
    };
    let fit = |of: fn(&Resources) -> u64| {
        let asked = of(&shape.request);
        let open = snapshot.nodes.iter().filter(|node| node.state == NodeState::Ready);
        let tasks: u64 = open.filter_map(|node| of(&left(node)).checked_div(asked)).sum();
        asked == 0 || tasks >= u64::from(funnel.needed)
    };
    // Those of class `spare` have what others leave unused of the CPU.
    let enough = [
        (Dimension::Cpu, row.class == Class::Spare || fit(|has| has.cpu.0)),
        (Dimension::Memory, fit(|has| has.memory.0)),
        (Dimension::Disk, fit(|has| has.disk.0)),
    ];
    let short: Vec<&str> =
        enough.into_iter().filter(|(_, enough)| !enough).map(|(which, _)| dimension_name(which)).collect();
    short.join(" and ")
}

/// "the one node has too little disk for all of them"
fn too_little(funnel: &Funnel, short: &str) -> String {
    let who = if funnel.nodes == 1 {
        "the one node has".to_owned()
    } else {
        format!("{} nodes have", funnel.nodes)
    };
    format!("{who} too little {short} for all of them")
}

/// Why even an empty pool is not enough, and what would be.
fn never(snapshot: &Snapshot, row: &GangRow, empty: &Funnel, explanation: &Explanation) -> (String, String) {
    if empty.placeable > 0 {
        let (fit, all) = (empty.placeable, empty.needed);
        let lost = match &empty.removed[..] {
            [] => String::new(),
            _ => format!("{}, and ", losses(empty)),
        };
        let lost = format!("{lost}even when nothing else runs {fit} of {all} tasks fit");
        let less = match scarce(snapshot, row, empty, |node| node.capacity) {
            short if short.is_empty() => short,
            short => format!(", for less {short} each"),
        };
        return (lost, format!("ask for at most {}{less}, or add a node", tasks(fit)));
    }
    let helps = most(snapshot, empty)
        .or_else(|| most_of_a_device(snapshot, empty))
        .or_else(|| explanation.what_ifs.first().map(with))
        .or_else(|| unkept(snapshot, empty))
        .or_else(|| unlabelled(empty))
        .unwrap_or_else(|| "ask for less, or add a node".to_owned());
    (losses(empty), helps)
}

/// What would help who asks for a label that no node has.
fn unlabelled(empty: &Funnel) -> Option<String> {
    empty.removed.iter().find_map(|(why, _)| match why {
        Constraint::Label(label) => Some(format!("leave out the label {label}, or give it to a node")),
        _ => None,
    })
}

/// The most of what is too small or not there that a node of the pool has.
fn most(snapshot: &Snapshot, funnel: &Funnel) -> Option<String> {
    let largest = |of: fn(&Resources) -> u64| snapshot.nodes.iter().map(|row| of(&row.capacity)).max();
    funnel
        .removed
        .iter()
        .find_map(|(why, _)| match why {
            Constraint::TooSmall(at @ Dimension::Cpu) => Some((*at, largest(|has| has.cpu.0)?)),
            Constraint::TooSmall(at @ Dimension::Memory) => Some((*at, largest(|has| has.memory.0)?)),
            Constraint::TooSmall(at @ Dimension::Disk) => Some((*at, largest(|has| has.disk.0)?)),
            _ => None,
        })
        .map(|(at, value)| {
            format!("ask for at most {}, the most a node has, or add a larger node", amount(at, value))
        })
}

/// So many tasks.
pub(super) fn tasks(count: u32) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}

/// The most memory of a device that there is, where a share asks for more.
fn most_of_a_device(snapshot: &Snapshot, funnel: &Funnel) -> Option<String> {
    let kind = funnel.removed.iter().find_map(|(why, _)| match why {
        Constraint::SmallDevice(kind) => Some(*kind),
        _ => None,
    })?;
    let devices = snapshot.nodes.iter().flat_map(|node| &node.devices);
    let most = devices.filter(|row| row.spec.kind == kind).map(|row| row.spec.memory).max()?;
    let name = kind_name(kind);
    Some(format!("ask for at most {most} of memory, the most that {name}s here have, or add a larger one"))
}

/// Which part of a device is asked for: "0.3 and 4GB of ", nothing for a whole one.
fn part(device: &DeviceRequest) -> String {
    match (device.mode, device.compute, device.memory) {
        (ShareMode::Space, ..) => format!("a {} of ", wanted(device)),
        (_, Thousandths::WHOLE, Bytes::ZERO) => String::new(),
        (_, compute, Bytes::ZERO) => format!("{compute} of "),
        (_, Thousandths::ZERO, memory) => format!("{memory} of "),
        (_, compute, memory) => format!("{compute} and {memory} of "),
    }
}

/// What each task asks for.
fn asks(shape: Option<&Shape>, tasks: u32) -> String {
    let Some(shape) = shape else { return "It asks for nothing".to_owned() };
    let mut parts = vec![cores(shape.request.cpu), format!("{} of memory", shape.request.memory)];
    // The little that nobody asked for by name adds up.
    if tasks > 1 && shape.request.disk > Bytes::ZERO {
        parts.push(format!("{} of disk", shape.request.disk));
    }
    for device in &shape.devices {
        let model = device.model.as_deref().unwrap_or("");
        parts.push(format!(
            "{}{} {model}{}{}{}",
            part(device),
            device.count,
            if model.is_empty() { "" } else { " " },
            kind_name(device.kind),
            if device.count == 1 { "" } else { "s" }
        ));
    }
    match tasks {
        1 => format!("It asks for {}", parts.join(", ")),
        tasks => format!("It asks for {tasks} × ({})", parts.join(", ")),
    }
}

/// The partitions that a device has room for, each for itself, the largest first.
fn sizes(row: &DeviceRow) -> String {
    let Some(layout) = row.spec.traits.layout.as_deref() else { return "none".to_owned() };
    let room = layout.numbered().filter(|(_, profile)| !profile.media);
    let mut room: Vec<_> = room.filter(|(at, _)| layout.has_place(row.parts, *at)).collect();
    room.sort_by_key(|(at, profile)| (std::cmp::Reverse((profile.size, profile.compute)), *at));
    let each = room.iter().map(|(at, profile)| format!("{} {}", layout.copies(row.parts, *at), profile.name));
    let each: Vec<String> = each.collect();
    if each.is_empty() { "none".to_owned() } else { each.join(" or ") }
}

/// What is free of devices of which it wants a share: the roomiest of each of the first few nodes that have such ones.
fn free_shares(snapshot: &Snapshot, shape: Option<&Shape>) -> String {
    let mut found = Vec::new();
    for asked in
        shape.into_iter().flat_map(|shape| &shape.devices).filter(|asked| asked.mode != ShareMode::Exclusive)
    {
        let able = |row: &&DeviceRow| {
            row.spec.kind == asked.kind
                && row.healthy
                && row.spec.modes.contains(&asked.mode)
                && model_matches(asked.model.as_deref(), &row.spec.model)
        };
        for node in &snapshot.nodes {
            let rows = node.devices.iter().zip(0_u32..).filter(|(row, _)| able(row));
            let best = rows.max_by_key(|(row, at)| {
                let shared = row.mode.is_none_or(|mode| mode == asked.mode);
                (shared, row.free_compute, row.free_memory, std::cmp::Reverse(*at))
            });
            let Some((row, at)) = best else { continue };
            let free = match row.mode {
                Some(mode) if mode != asked.mode => "is used otherwise".to_owned(),
                _ if asked.mode == ShareMode::Space => format!("has room for {}", sizes(row)),
                _ => {
                    format!("has {} of its time and {} of its memory free", row.free_compute, row.free_memory)
                }
            };
            found.push(format!("device {at} of {} {free}", node.name));
        }
    }
    let more = found.len().saturating_sub(3);
    found.truncate(3);
    match (found.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" ({})", found.join(", ")),
        (false, more) => format!(" ({}, and {more} others)", found.join(", ")),
    }
}

/// What would help who asks for a share that nobody can keep.
fn unkept(snapshot: &Snapshot, funnel: &Funnel) -> Option<String> {
    let kind = funnel.removed.iter().find_map(|(why, _)| match why {
        Constraint::NoShare(kind) => Some(*kind),
        _ => None,
    })?;
    let any = |mode: ShareMode| {
        let mut devices = snapshot.nodes.iter().flat_map(|node| &node.devices);
        devices.any(|row| row.spec.kind == kind && row.spec.modes.contains(&mode))
    };
    let advice = match (any(ShareMode::Time), any(ShareMode::Advisory)) {
        (true, _) => "ask for a share by time, as `compute: 30%`, or add a node whose devices can be cut",
        (_, true) => {
            "ask for a whole one, or write `advisory: true` to take a share that nobody keeps others to"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

fn names(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// Devices by name, and how many others.
pub fn unwell(devices: &[DeviceAt], more: u32) -> String {
    let mut all = names(devices);
    if more > 0 {
        all.push(format!("{more} others"));
    }
    all.join(", ")
}

fn with(change: &WhatIf) -> String {
    let would = if change.start.is_some() { "would start" } else { "could run" };
    format!("it {would} {}", change.change)
}

/// Of a gang that waits; `used` of what its queue has a limit of.
pub(super) fn waiting_sentence(
    snapshot: &Snapshot,
    row: &GangRow,
    explanation: &Explanation,
    used: Option<u64>,
    now: Timestamp,
) -> String {
    let asks = asks(snapshot.demand(row.demand).first(), row.size.min);
    let funnel = &explanation.funnel;
    let lost = losses(funnel);
    let when = match explanation.predicted_start {
        Some(start) => format!("it should start in {}", start.since(now)),
        None => "nobody knows when what runs there ends".to_owned(),
    };
    match &explanation.reason {
        None => format!("{asks}; there is room, and it starts with the next plan."),
        Some(HoldReason::Infeasible(empty)) => {
            let (lost, helps) = never(snapshot, row, empty, explanation);
            format!("{asks}, which this pool can never give: {lost}; {helps}.")
        }
        Some(HoldReason::Unwell { devices, more }) => format!(
            "{asks}, which this pool can give once devices that are not well work again: {}; it starts when they do.",
            unwell(devices, *more)
        ),
        Some(HoldReason::NoRoom) => {
            let free = free_shares(snapshot, snapshot.demand(row.demand).first());
            let fit = match (funnel.placeable, funnel.needed) {
                (_, 1) => "there is no room for it now".to_owned(),
                (fit, all) => format!("{fit} of {all} tasks fit now"),
            };
            let short = scarce(snapshot, row, funnel, |node| node.capacity.minus(node.granted));
            let lost = if short.is_empty() { lost } else { too_little(funnel, &short) };
            format!("{asks}, and {fit}: {lost}{free}; {when}.")
        }
        Some(HoldReason::QueueLimit { queue, dimension, limit, asked }) => format!(
            "Queue {queue} uses {} of its limit of {} and it asks for {} more; wait for a job of the queue to end, or have the limit raised.",
            amount(*dimension, used.unwrap_or(*limit)),
            amount(*dimension, *limit),
            amount(*dimension, *asked)
        ),
        Some(HoldReason::OverQueueLimit { queue, dimension, limit, asked }) => format!(
            "It asks for {} and the limit of queue {queue} is {}; ask for less, or have the limit raised.",
            amount(*dimension, *asked),
            amount(*dimension, *limit)
        ),
        Some(HoldReason::Reserved { gang, until }) => {
            let until = until.map_or_else(String::new, |until| format!(" in {}", until.since(now)));
            let helps = explanation.what_ifs.first().map(with);
            let helps = helps.unwrap_or_else(|| "a time limit that ends before would let it in".to_owned());
            format!("There is room, kept for {gang} which starts{until}; {helps}.")
        }
        Some(HoldReason::AwaitingEviction { victims }) => {
            format!("Its place is being made free: {victims} others are stopping.")
        }
        Some(HoldReason::Paused) => "It is paused; resume it to let it run.".to_owned(),
        Some(HoldReason::Dependency(jobs)) => format!("It waits for {} to end.", names(jobs).join(", ")),
        Some(HoldReason::ArrayLimit(1)) => "Its array runs one element at a time, as it asked.".to_owned(),
        Some(HoldReason::ArrayLimit(limit)) => {
            format!("Its array runs {limit} elements at a time, as it asked.")
        }
        Some(HoldReason::Backoff(until)) => format!("It is tried again in {}.", until.since(now)),
        Some(HoldReason::Budget(spent)) => for_money(spent, now),
    }
}

/// What there is to say to whom waits for money.
#[must_use]
pub fn for_money(spent: &Spent, now: Timestamp) -> String {
    let next = match spent.until {
        Timestamp::NEVER => String::new(),
        until => format!("wait {} for the next one to begin, or ", until.since(now)),
    };
    format!("It waits for money: {spent}; {next}have the budget raised.")
}
