//! Nodes that are alike share a profile, so that what does not depend on the hour is found once for all of them.

use super::room::{DeviceFacts, DeviceFree, Free, alike, pick_devices};
use super::shape::Compiled;
use crate::model::{DeviceKind, ShareMode};
use crate::plan::{Constraint, Dimension};
use crate::snapshot::NodeState;

/// What is the same for many nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    /// Whether it takes tasks, and if not, whether it is lost for good.
    pub state: Standing,
    /// Free when empty.
    pub empty: Free,
    /// Its devices.
    pub facts: Vec<DeviceFacts>,
    /// Its labels, of the keys that some demand asks for.
    pub labels: Vec<(String, String)>,
}

/// A node's state as far as placing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Takes tasks.
    Ready,
    /// Does not now, and may again.
    Closed,
    /// Gone.
    Lost,
}

impl From<NodeState> for Standing {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Ready => Self::Ready,
            NodeState::Draining | NodeState::Suspect => Self::Closed,
            NodeState::Lost => Self::Lost,
        }
    }
}

/// How a shape and a profile go together, whatever runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The first constraint that fails on an empty node of the profile.
    pub fails: Option<Constraint>,
    /// Tasks that an empty node takes, were it open.
    pub copies: u32,
    /// The same, were all of its devices well too.
    pub well: u32,
    /// Where the shape asks for whole devices that are all alike: the devices that will do, a bit for each; `None` where
    /// it asks for something else, or a node has more devices than there are bits.
    pub able: Option<u64>,
}

/// Tries a shape on an empty node.
pub fn matches(profile: &Profile, shape: &Compiled, spare: bool) -> Match {
    let hard = first_failure(profile, shape, spare);
    let all = |profile: &Profile, hard: &Option<Constraint>| {
        if hard.is_some() || profile.state == Standing::Lost {
            return 0;
        }
        let devices: Vec<DeviceFree> = profile.facts.iter().map(DeviceFree::whole).collect();
        copies((&profile.empty, &devices), &profile.facts, shape, spare, u32::MAX)
    };
    let copies = all(profile, &hard);
    let well = if shape.slots.is_empty() || profile.facts.iter().all(|facts| facts.healthy) {
        copies
    } else {
        let mut well = profile.clone();
        well.facts.iter_mut().for_each(|facts| facts.healthy = true);
        all(&well, &first_failure(&well, shape, spare))
    };
    let closed = (profile.state != Standing::Ready).then_some(Constraint::NotReady);
    Match { fails: closed.or(hard), copies, well, able: able(&profile.facts, shape) }
}

/// As [`Match::able`].
fn able(facts: &[DeviceFacts], shape: &Compiled) -> Option<u64> {
    let slot = shape.slots.first()?;
    if slot.mode != ShareMode::Exclusive || !alike(&shape.slots) || facts.len() > 64 {
        return None;
    }
    let able = facts.iter().enumerate().filter(|(_, facts)| facts.pleases(slot));
    Some(able.fold(0, |able, (at, _)| able | 1 << at))
}

fn first_failure(profile: &Profile, shape: &Compiled, spare: bool) -> Option<Constraint> {
    for (key, value) in &shape.labels {
        if !profile.labels.iter().any(|(k, v)| k == key && v == value) {
            return Some(Constraint::Label(format!("{key}={value}")));
        }
    }
    if let Some(fails) = device_failure(profile, shape) {
        return Some(fails);
    }
    let cpu = if spare { profile.empty.lend } else { profile.empty.cpu };
    let parts = [
        (shape.cpu, cpu, Dimension::Cpu),
        (shape.memory, profile.empty.memory, Dimension::Memory),
        (shape.disk, profile.empty.disk, Dimension::Disk),
    ];
    parts.iter().find(|(asked, there, _)| asked > there).map(|(_, _, what)| Constraint::TooSmall(*what))
}

fn device_failure(profile: &Profile, shape: &Compiled) -> Option<Constraint> {
    let first = shape.slots.first()?;
    for slot in &shape.slots {
        let right = || profile.facts.iter().filter(|facts| facts.right_model(slot));
        if right().next().is_none() {
            return Some(Constraint::NoDevice(slot.kind));
        }
        if !right().any(|facts| facts.divides(slot)) {
            let whole = slot.mode == ShareMode::Exclusive && right().any(DeviceFacts::is_cut);
            return Some(if whole {
                Constraint::NotWhole(slot.kind)
            } else {
                Constraint::NoShare(slot.kind)
            });
        }
        if slot.mode == ShareMode::Space && !right().any(|facts| facts.cut(slot).is_some()) {
            return Some(Constraint::NoProfile(slot.kind, slot.wanted.clone()));
        }
        let able = right().filter(|facts| facts.divides(slot)).map(|facts| facts.memory).max();
        if matches!(slot.mode, ShareMode::Time | ShareMode::Advisory) && able < Some(slot.memory) {
            return Some(Constraint::SmallDevice(slot.kind));
        }
    }
    let whole: Vec<DeviceFree> = profile.facts.iter().map(DeviceFree::whole).collect();
    let short = |kind: DeviceKind| Some(Constraint::TooFewDevices(kind));
    match pick_devices(&whole, &profile.facts, &shape.slots) {
        Some(_) => None,
        None => short(first.kind),
    }
}

/// Tasks of a shape whose CPU, memory and disk fit into a free state, at most `cap`.
pub fn copies_beside_devices(free: &Free, shape: &Compiled, spare: bool, cap: u32) -> u32 {
    let cpu = if spare { free.lend } else { free.cpu };
    let parts = [(cpu, shape.cpu), (free.memory, shape.memory), (free.disk, shape.disk)];
    let mut most = cap;
    for (there, asked) in parts {
        if asked > there.max(0) {
            return 0;
        }
        if asked > 0 {
            most = most.min(u32::try_from(there / asked).unwrap_or(u32::MAX));
        }
    }
    most
}

/// Tasks of a shape that fit into a free state, at most `cap`.
pub fn copies(
    (free, devices): (&Free, &[DeviceFree]),
    facts: &[DeviceFacts],
    shape: &Compiled,
    spare: bool,
    cap: u32,
) -> u32 {
    let most = copies_beside_devices(free, shape, spare, cap);
    if most == 0 {
        return 0;
    }
    let Some(first) = shape.slots.first() else { return most };
    if first.mode == ShareMode::Exclusive && alike(&shape.slots) {
        let able = devices.iter().zip(facts).filter(|(free, facts)| free.takes(facts, first)).count();
        return most.min(u32::try_from(able / shape.slots.len()).unwrap_or(u32::MAX));
    }
    let mut devices = devices.to_vec();
    let mut count = 0;
    while count < most {
        let Some(picked) = pick_devices(&devices, facts, &shape.slots) else { break };
        for (_, grant, mode) in picked {
            let at = grant.device as usize;
            devices[at].shift(&facts[at], &grant, mode, 1);
        }
        // A share of nothing would fit for ever: one such task per device is enough to count.
        count += 1;
        if count as usize > 1000 * devices.len() {
            break;
        }
    }
    count
}
