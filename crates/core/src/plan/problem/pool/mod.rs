//! The nodes in arenas: what is free on each, an index of nodes by score, and for each shape the set of nodes it may fit on.
//!
//! Three things make a placement cheap:
//! - nodes stand in 64 levels by the placement policy's score, each level a bit set;
//! - each variant (a shape, for `spare` or not) keeps the set of nodes it fits on, as a superset: a placement only
//!   shrinks what is free, so a bit is cleared when a try fails and set again only for nodes that grew;
//! - a trial is undone from a log, newest first.

mod funnel;
mod search;
mod trial;
mod variant;

pub use search::{KeptFor, Seat, Want};

use super::bits::Bits;
use super::claims::Claims;
use super::log::Log;
use super::profile::{Profile, Standing, matches};
use super::room::{DeviceFacts, DeviceFree, Free, NodeFree, can_pick};
use super::shape::{Models, signed};
use crate::partition::Occupied;
use crate::plan::policy::place::{Expected, Largest, Room, SCORES, View, score};
use crate::snapshot::{NodeRow, NodeState, PlacementPolicy, Settings};
use std::collections::{BTreeMap, BTreeSet};
use trial::Undo;
use variant::Variant;

const LEVELS: usize = 64;
const PER_LEVEL: u32 = SCORES / LEVELS as u32;

/// The nodes.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(super) policy: PlacementPolicy,
    pub(super) seed: u64,
    lend_margin: u64,
    /// The version of the mix behind `expected`.
    pub(super) mix: Option<u64>,
    pub(super) expected: Expected,
    pub(super) largest: Largest,
    /// Counts changes of nodes.
    clock: u64,
    /// When each node changed last.
    changed_at: Vec<u64>,
    free: Vec<Free>,
    device_start: Vec<u32>,
    devices: Vec<DeviceFree>,
    facts: Vec<DeviceFacts>,
    devices_free: Vec<i64>,
    /// Devices that nobody uses, a bit for each of the first 64.
    whole: Vec<u64>,
    devices_empty: Vec<i64>,
    profile: Vec<u32>,
    /// Nodes per profile.
    profile_sizes: Vec<u32>,
    profiles: Vec<Profile>,
    profile_ids: BTreeMap<Profile, u32>,
    score: Vec<u32>,
    levels: Vec<Bits>,
    level_sizes: [u32; LEVELS],
    /// Levels that some node stands in, a bit for each.
    levels_used: u64,
    /// The variants known so far.
    pub variants: Vec<Variant>,
    /// Nodes that grew.
    grown: Log,
    /// Where each node stands in the log of grown nodes, counted from the very first entry, from 1.
    grown_at: Vec<u64>,
    /// Nobody has read the log from here on.
    unread_from: u64,
    log: Vec<Undo>,
    /// Nodes that a reset goes over, for the memory of the next: empty.
    undone: Vec<u32>,
    /// Models of devices.
    pub models: Models,
    label_keys: BTreeSet<String>,
    /// Nodes that are close to each other, closest first.
    pub domains: Vec<Bits>,
    /// Where the domains of each closeness end: switches, racks, zones.
    pub(super) tiers: [usize; 3],
    /// Reservations.
    pub claims: Claims,
    /// Nodes that the plan changed so far, in that order, with doubles.
    pub moved: Vec<u32>,
    /// The same as a set.
    pub is_moved: Bits,
    /// Counts nodes that became others than they were: opened, closed, relabelled, with other devices.
    pub reshaped: u64,
}

fn profile_of(row: &NodeRow, facts: &[DeviceFacts], keys: &BTreeSet<String>, lend_margin: u64) -> Profile {
    let labels = row.labels.iter().filter(|(key, _)| keys.contains(*key));
    Profile {
        state: Standing::from(row.state),
        empty: Free::empty(row, lend_margin),
        facts: facts.to_vec(),
        labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

/// Groups of nodes under one switch, then one rack, then one zone, that hold at least two nodes and not all.
fn domains(rows: &[NodeRow]) -> (Vec<Bits>, [usize; 3]) {
    let (mut all, mut tiers) = (Vec::new(), [0; 3]);
    for (tier, keys) in
        [&["zone", "rack", "switch"][..], &["zone", "rack"], &["zone"]].into_iter().enumerate()
    {
        let mut groups: BTreeMap<Vec<Option<&String>>, Bits> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let place: Vec<Option<&String>> = keys.iter().map(|key| row.labels.get(*key)).collect();
            if place.last().is_some_and(Option::is_some) {
                groups.entry(place).or_insert_with(|| Bits::new(rows.len())).set(at);
            }
        }
        all.extend(groups.into_values().filter(|nodes| nodes.iter().nth(1).is_some()));
        tiers[tier] = all.len();
    }
    (all, tiers)
}

impl Pool {
    /// All nodes; `label_keys` are the keys that demands ask for.
    pub fn new(rows: &[NodeRow], label_keys: BTreeSet<String>, settings: &Settings) -> Self {
        let n = rows.len();
        let (domains, tiers) = domains(rows);
        let mut pool = Self {
            policy: settings.placement,
            seed: settings.placement_seed,
            lend_margin: settings.lend_margin,
            mix: None,
            expected: Expected::default(),
            largest: Largest::default(),
            clock: 0,
            changed_at: vec![0; n],
            free: vec![Free::default(); n],
            device_start: Vec::with_capacity(n + 1),
            devices: Vec::new(),
            facts: Vec::new(),
            devices_free: vec![0; n],
            whole: vec![0; n],
            devices_empty: vec![0; n],
            profile: vec![u32::MAX; n],
            profile_sizes: Vec::new(),
            profiles: Vec::new(),
            profile_ids: BTreeMap::new(),
            score: vec![0; n],
            levels: vec![Bits::new(n); LEVELS],
            level_sizes: [0; LEVELS],
            levels_used: 0,
            variants: Vec::new(),
            grown: Log::default(),
            grown_at: vec![0; n],
            unread_from: u64::MAX,
            log: Vec::new(),
            undone: Vec::new(),
            models: Models::default(),
            label_keys,
            domains,
            tiers,
            claims: Claims::new(n),
            moved: Vec::new(),
            is_moved: Bits::new(n),
            reshaped: 0,
        };
        for row in rows {
            pool.device_start.push(u32::try_from(pool.devices.len()).unwrap_or(u32::MAX));
            for device in &row.devices {
                let model = pool.models.intern(&device.spec);
                pool.facts.push(DeviceFacts::new(device, model, pool.models.reach(model)));
                pool.devices.push(DeviceFree { compute: 0, memory: 0, mode: None, parts: Occupied::NOTHING });
            }
        }
        pool.device_start.push(u32::try_from(pool.devices.len()).unwrap_or(u32::MAX));
        for (at, row) in rows.iter().enumerate() {
            pool.levels[0].set(at);
            pool.level_sizes[0] += 1;
            pool.levels_used |= 1;
            pool.load(at, row);
        }
        pool
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Number of profiles, those included that no node is of any more.
    pub fn profiles(&self) -> usize {
        self.profiles.len()
    }

    /// Length of the log of grown nodes.
    #[cfg(test)]
    pub fn grown(&self) -> usize {
        self.grown.len()
    }

    fn device_range(&self, node: usize) -> std::ops::Range<usize> {
        self.device_start[node] as usize..self.device_start[node + 1] as usize
    }

    /// The unchanging side of a node's devices.
    pub fn facts(&self, node: usize) -> &[DeviceFacts] {
        &self.facts[self.device_range(node)]
    }

    /// Whether the node has the devices it had, healthy or not.
    pub fn same_devices(&self, node: usize, row: &NodeRow) -> bool {
        let facts = self.facts(node);
        facts.len() == row.devices.len()
            && row.devices.iter().zip(facts).all(|(device, facts)| self.models.is(facts.model, &device.spec))
    }

    /// Reads a node's row again.
    pub fn load(&mut self, node: usize, row: &NodeRow) {
        let range = self.device_range(node);
        for (at, device) in range.clone().zip(&row.devices) {
            let model = self.facts[at].model;
            self.facts[at] = DeviceFacts::new(device, model, self.models.reach(model));
        }
        let ready = row.state == NodeState::Ready;
        self.devices_empty[node] =
            self.facts[range].iter().map(|facts| if facts.healthy && ready { 1000 } else { 0 }).sum();
        if !self.keeps_profile(node, row) {
            self.change_profile(node, row);
        }
        self.load_free(node, row);
    }

    /// Reads again what is free on a node that is otherwise as it was.
    pub fn load_free(&mut self, node: usize, row: &NodeRow) {
        let range = self.device_range(node);
        for (free, device) in self.devices[range].iter_mut().zip(&row.devices) {
            *free = DeviceFree {
                compute: signed(device.free_compute.0),
                memory: signed(device.free_memory.0),
                mode: device.mode,
                parts: device.parts,
            };
        }
        self.free[node] = Free::of(row, &self.profiles[self.profile[node] as usize].empty);
        self.rescore(node);
        self.grow(node);
    }

    /// Whether the node is of the profile it was: most often somebody came or left and that is all.
    fn keeps_profile(&self, node: usize, row: &NodeRow) -> bool {
        let Some(profile) = self.profiles.get(self.profile[node] as usize) else { return false };
        let labels = row.labels.iter().filter(|(key, _)| self.label_keys.contains(*key));
        profile.state == Standing::from(row.state)
            && profile.empty == Free::empty(row, self.lend_margin)
            && profile.facts == self.facts(node)
            && labels.eq(profile.labels.iter().map(|(key, value)| (key, value)))
    }

    fn change_profile(&mut self, node: usize, row: &NodeRow) {
        let profile = profile_of(row, self.facts(node), &self.label_keys, self.lend_margin);
        let id = match self.profile_ids.get(&profile) {
            Some(id) => *id,
            None => self.add_profile(profile),
        };
        if let Some(size) = self.profile_sizes.get_mut(self.profile[node] as usize) {
            *size -= 1;
        }
        self.reshaped += u64::from(self.profile[node] != id);
        self.profile[node] = id;
        self.profile_sizes[id as usize] += 1;
    }

    fn add_profile(&mut self, profile: Profile) -> u32 {
        let id = u32::try_from(self.profiles.len()).unwrap_or(u32::MAX);
        for variant in &mut self.variants {
            variant.matches.push(matches(&profile, &variant.shape, variant.spare));
        }
        self.profile_ids.insert(profile.clone(), id);
        self.profiles.push(profile);
        self.profile_sizes.push(0);
        id
    }

    fn rescore(&mut self, node: usize) {
        self.clock += 1;
        self.changed_at[node] = self.clock;
        let (mut compute, mut whole) = (0, 0);
        if self.devices_empty[node] > 0 {
            let range = self.device_range(node);
            for (at, (free, facts)) in self.devices[range.clone()].iter().zip(&self.facts[range]).enumerate()
            {
                if facts.healthy {
                    compute += free.compute.max(0);
                    whole |= u64::from(at < 64 && free.is_whole(facts)) << (at % 64);
                }
            }
        }
        (self.devices_free[node], self.whole[node]) = (compute, whole);
        let view = View {
            free: &self.free[node],
            empty: &self.profiles[self.profile[node] as usize].empty,
            devices: self.devices_free[node],
            devices_empty: self.devices_empty[node],
        };
        let new = score(self.policy, &view).min(SCORES - 1);
        let (from, to) = ((self.score[node] / PER_LEVEL) as usize, (new / PER_LEVEL) as usize);
        self.score[node] = new;
        if from != to {
            self.levels[from].clear(node);
            self.level_sizes[from] -= 1;
            self.levels[to].set(node);
            self.level_sizes[to] += 1;
            self.levels_used &= !(u64::from(self.level_sizes[from] == 0) << from);
            self.levels_used |= 1 << to;
        }
    }

    /// Where a shape asks for whole devices that are all alike: those of the node that it may have now, a bit for each.
    fn able(&self, variant: usize, node: usize) -> Option<u64> {
        let able = self.variants[variant].matches[self.profile[node] as usize].able?;
        Some(able & self.whole[node])
    }

    /// The free state of a node, copied out.
    pub fn state(&self, node: usize) -> NodeFree {
        NodeFree { free: self.free[node], devices: self.devices[self.device_range(node)].to_vec() }
    }

    /// All nodes, the highest scores first: the emptiest when packing.
    pub fn by_score(&self) -> impl Iterator<Item = usize> + '_ {
        self.levels.iter().rev().flat_map(Bits::iter)
    }

    /// When the node changed last.
    pub(super) fn changed_at(&self, node: usize) -> u64 {
        self.changed_at[node]
    }

    /// What is free on the node.
    pub(super) fn room(&self, node: usize) -> Room<'_> {
        let range = self.device_range(node);
        Room { free: self.free[node], devices: &self.devices[range.clone()], facts: &self.facts[range] }
    }

    /// The largest node that is there.
    pub(super) fn find_largest(&self) -> Largest {
        let there = self.profiles.iter().zip(&self.profile_sizes).filter(|(_, nodes)| **nodes > 0);
        there.fold(Largest::default(), |largest, (profile, _)| Largest {
            cpu: largest.cpu.max(profile.empty.cpu),
            devices: largest.devices.max(1000 * profile.facts.len() as i64),
        })
    }

    /// CPU, memory and disk of one task of the variant.
    pub fn amounts(&self, variant: usize) -> [i64; 3] {
        let shape = &self.variants[variant].shape;
        [shape.cpu, shape.memory, shape.disk]
    }

    /// Whether one task of the variant, which is not for `spare`, fits into a state of the node.
    pub fn fits(&self, variant: usize, node: usize, state: &NodeFree) -> bool {
        let shape = &self.variants[variant].shape;
        state.free.takes(shape, false) && can_pick(&state.devices, self.facts(node), &shape.slots)
    }
}
