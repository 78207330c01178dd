//! The nodes in arenas: what is free on each, an index of nodes by score, and for each shape the set of nodes it may fit on.
//!
//! Three things make a placement cheap:
//! - nodes stand in 64 levels by the placement policy's score, each level a bit set;
//! - each variant (a shape, for `spare` or not) keeps the set of nodes it fits on, as a superset: a placement only
//!   shrinks what is free, so a bit is cleared when a try fails and set again only for nodes that grew;
//! - a trial is undone from a log, newest first.

use super::bits::Bits;
use super::claims::Claims;
use super::profile::{Match, Profile, Standing, copies, matches};
use super::rating::Ratings;
use super::room::{DeviceFacts, DeviceFree, Free, NodeFree, Picked, can_pick, pick_devices_from};
use super::shape::{Compiled, Models, signed};
use crate::event::DeviceGrant;
use crate::ids::GangId;
use crate::model::ShareMode;
use crate::plan::policy::place::{Expected, Largest, Room, SCORES, View, rates, score};
use crate::plan::{Constraint, Dimension, Funnel};
use crate::snapshot::{NodeOrd, NodeRow, NodeState, PlacementPolicy, Settings};
use crate::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

const LEVELS: usize = 64;
const PER_LEVEL: u32 = SCORES / LEVELS as u32;
/// Nodes of the first fitting level that are compared by exact score.
const COMPARED: u32 = 8;
/// Code of a node that a variant never fits on.
const NEVER: u8 = 255;

/// Why a variant does not fit on a node now; 0 when it may.
const FULL: [Dimension; 3] = [Dimension::Cpu, Dimension::Memory, Dimension::Disk];

/// A shape, for `spare` gangs or for others.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The shape.
    pub shape: Compiled,
    /// Lives on lent CPU.
    pub spare: bool,
    /// How it goes with each profile.
    matches: Vec<Match>,
    /// Nodes it may fit on: a superset of those it does.
    fit: Bits,
    /// Why not, per node.
    code: Vec<u8>,
    /// Nodes per code, those it never fits on left out.
    counts: [u32; 5],
    /// How much of the log of grown nodes it has seen.
    seen: u64,
    /// What nodes cost for it, under policies that rate.
    pub(super) ratings: Ratings,
}

/// What a search wants.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Which variant.
    pub variant: usize,
    /// When the task would end; [`Timestamp::NEVER`] when nobody knows.
    pub end: Timestamp,
    /// Nodes to leave out.
    pub avoid: &'a [NodeOrd],
}

/// For whom a place that was free is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFor {
    /// The gang.
    pub gang: GangId,
    /// Its expected start, when known.
    pub until: Option<Timestamp>,
}

/// A task on a node, as far as room goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub node: usize,
    /// Its devices, in the order of the requests.
    pub picked: Picked,
}

#[derive(Clone, Debug)]
enum Undo {
    Node { node: u32, free: Free },
    Device { at: u32, free: DeviceFree },
    Claims(Box<(usize, Vec<super::claims::Claim>)>),
}

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
    devices_empty: Vec<i64>,
    profile: Vec<u32>,
    /// Nodes per profile.
    profile_sizes: Vec<u32>,
    profiles: Vec<Profile>,
    profile_ids: BTreeMap<Profile, u32>,
    score: Vec<u32>,
    levels: Vec<Bits>,
    level_sizes: [u32; LEVELS],
    /// The variants known so far.
    pub variants: Vec<Variant>,
    grown: Vec<u32>,
    grown_before: u64,
    /// Where each node stands in the log of grown nodes, counted from the very first entry, from 1.
    grown_at: Vec<u64>,
    /// Nobody has read the log from here on.
    unread_from: u64,
    log: Vec<Undo>,
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

impl Variant {
    /// Writes down why it does not fit on a node, or that it may.
    fn note(&mut self, node: usize, code: u8) {
        let old = std::mem::replace(&mut self.code[node], code);
        if let Some(count) = self.counts.get_mut(old as usize) {
            *count -= 1;
        }
        if let Some(count) = self.counts.get_mut(code as usize) {
            *count += 1;
        }
        self.fit.put(node, code == 0);
    }
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
            devices_empty: vec![0; n],
            profile: vec![u32::MAX; n],
            profile_sizes: Vec::new(),
            profiles: Vec::new(),
            profile_ids: BTreeMap::new(),
            score: vec![0; n],
            levels: vec![Bits::new(n); LEVELS],
            level_sizes: [0; LEVELS],
            variants: Vec::new(),
            grown: Vec::new(),
            grown_before: 0,
            grown_at: vec![0; n],
            unread_from: u64::MAX,
            log: Vec::new(),
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
                let spec = &device.spec;
                let model = pool.models.intern(spec.kind, &spec.model, spec.memory);
                pool.facts.push(DeviceFacts::new(device, model));
                pool.devices.push(DeviceFree { compute: 0, memory: 0, mode: None });
            }
        }
        pool.device_start.push(u32::try_from(pool.devices.len()).unwrap_or(u32::MAX));
        for (at, row) in rows.iter().enumerate() {
            pool.levels[0].set(at);
            pool.level_sizes[0] += 1;
            pool.load(at, row);
        }
        pool
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.free.len()
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
            && row.devices.iter().zip(facts).all(|(device, facts)| {
                let spec = &device.spec;
                self.models.find(spec.kind, &spec.model, spec.memory) == Some(facts.model)
            })
    }

    /// Reads a node's row again.
    pub fn load(&mut self, node: usize, row: &NodeRow) {
        let range = self.device_range(node);
        for (at, device) in range.clone().zip(&row.devices) {
            let model = self.facts[at].model;
            self.facts[at] = DeviceFacts::new(device, model);
            self.devices[at] = DeviceFree {
                compute: signed(device.free_compute.0),
                memory: signed(device.free_memory.0),
                mode: device.mode,
            };
        }
        self.free[node] = Free::of(row, self.lend_margin);
        let ready = row.state == NodeState::Ready;
        self.devices_empty[node] =
            self.facts[range].iter().map(|facts| if facts.healthy && ready { 1000 } else { 0 }).sum();
        if !self.keeps_profile(node, row) {
            self.change_profile(node, row);
        }
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
        if self.devices_empty[node] > 0 {
            let range = self.device_range(node);
            let healthy =
                self.devices[range.clone()].iter().zip(&self.facts[range]).filter(|(_, facts)| facts.healthy);
            self.devices_free[node] = healthy.map(|(free, _)| free.compute.max(0)).sum();
        } else {
            self.devices_free[node] = 0;
        }
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
        }
    }

    fn grow(&mut self, node: usize) {
        if self.grown_at[node] > self.unread_from {
            return;
        }
        // Beyond this a variant reads all nodes faster than the log.
        if self.grown.len() > self.len() + 64 {
            self.grown_before += self.grown.len() as u64;
            self.grown.clear();
        }
        self.grown.push(u32::try_from(node).unwrap_or(u32::MAX));
        self.grown_at[node] = self.grown_end();
    }

    const fn grown_end(&self) -> u64 {
        self.grown_before + self.grown.len() as u64
    }

    /// Where a trial starts, for [`Self::forget_trial`].
    pub const fn trial(&self) -> u64 {
        self.grown_end()
    }

    /// Drops what grew since a trial began, for those who did not take part: all that grew has shrunk again.
    pub fn forget_trial(&mut self, since: u64, variants: &[usize]) {
        if since < self.grown_before {
            return;
        }
        let keep = usize::try_from(since - self.grown_before).unwrap_or(usize::MAX);
        for node in self.grown.split_off(keep.min(self.grown.len())) {
            for variant in variants {
                self.read(*variant, node as usize);
            }
            self.grown_at[node as usize] = 0;
        }
        for variant in variants {
            self.variants[*variant].seen = self.variants[*variant].seen.min(since);
        }
    }

    /// Adds a variant; its number.
    pub fn add_variant(&mut self, shape: Compiled, spare: bool) -> usize {
        let matches = self.profiles.iter().map(|profile| matches(profile, &shape, spare)).collect();
        let variant = Variant {
            shape,
            spare,
            matches,
            fit: Bits::new(self.len()),
            code: vec![NEVER; self.len()],
            counts: [0; 5],
            seen: 0,
            ratings: Ratings::default(),
        };
        self.variants.push(variant);
        let at = self.variants.len() - 1;
        self.read_all(at);
        at
    }

    fn read_all(&mut self, variant: usize) {
        for node in 0..self.len() {
            self.read(variant, node);
        }
        self.variants[variant].seen = self.grown_before + self.grown.len() as u64;
    }

    fn read(&mut self, variant: usize, node: usize) {
        let code = self.code(variant, node);
        self.variants[variant].note(node, code);
    }

    /// Why the variant does not fit on the node now; 0 when it does.
    fn code(&self, variant: usize, node: usize) -> u8 {
        let variant = &self.variants[variant];
        if variant.matches[self.profile[node] as usize].fails.is_some() {
            return NEVER;
        }
        let (free, shape) = (&self.free[node], &variant.shape);
        let cpu = if variant.spare { free.lend } else { free.cpu };
        if shape.cpu > cpu {
            1
        } else if shape.memory > free.memory {
            2
        } else if shape.disk > free.disk {
            3
        } else if shape.slots.is_empty() {
            0
        } else {
            let range = self.device_range(node);
            u8::from(!can_pick(&self.devices[range.clone()], &self.facts[range], &shape.slots)) * 4
        }
    }

    /// Brings a variant's set up to date with nodes that grew.
    pub fn sync(&mut self, variant: usize) {
        let seen = self.variants[variant].seen;
        let end = self.grown_end();
        self.unread_from = u64::MAX;
        if seen == end {
            return;
        }
        if seen < self.grown_before {
            return self.read_all(variant);
        }
        for at in usize::try_from(seen - self.grown_before).unwrap_or(usize::MAX)..self.grown.len() {
            self.read(variant, self.grown[at] as usize);
        }
        self.variants[variant].seen = end;
    }

    /// Whether the variant has a node that it may fit on, as of the last [`Self::sync`].
    pub fn may_fit(&self, variant: usize) -> bool {
        !self.variants[variant].fit.is_empty()
    }

    /// Whether an open node's kind goes with the variant at all.
    pub fn suits(&self, variant: usize, node: usize) -> bool {
        self.variants[variant].matches[self.profile[node] as usize].fails.is_none()
    }

    /// The free state of a node, copied out.
    pub fn state(&self, node: usize) -> NodeFree {
        NodeFree { free: self.free[node], devices: self.devices[self.device_range(node)].to_vec() }
    }

    /// Tasks of the variant that fit on the node, at most `cap`, reservations left aside.
    pub fn copies(&self, variant: usize, node: usize, cap: u32) -> u32 {
        let v = &self.variants[variant];
        let devices = &self.devices[self.device_range(node)];
        copies((&self.free[node], devices), self.facts(node), &v.shape, v.spare, cap)
    }

    /// All nodes, the highest scores first: the emptiest when packing.
    pub fn by_score(&self) -> impl Iterator<Item = usize> + '_ {
        self.levels.iter().rev().flat_map(Bits::iter)
    }

    /// The best node for one task, and its devices. Says for whom a free place was kept when that is why there is none.
    pub fn find(
        &mut self,
        want: &Want<'_>,
        domain: Option<usize>,
        kept: &mut Option<KeptFor>,
    ) -> Option<Seat> {
        self.sync(want.variant);
        if self.variants[want.variant].fit.is_empty() {
            return None;
        }
        if rates(self.policy) {
            return self.find_rated(want, domain, kept);
        }
        for level in 0..LEVELS {
            if self.level_sizes[level] == 0 {
                continue;
            }
            let (mut from, mut compared) = (0, 0);
            let mut best: Option<(u32, usize)> = None;
            while let Some(node) = self.levels[level].common_from(
                &self.variants[want.variant].fit,
                domain.map(|domain| &self.domains[domain]),
                from,
            ) {
                from = node + 1;
                if !self.would_take(want, node, kept) {
                    continue;
                }
                let candidate = (self.score[node], node);
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
                compared += 1;
                if compared == COMPARED {
                    break;
                }
            }
            if let Some((_, node)) = best {
                let first = self.close_device(want.variant, node);
                return self.pick(want, node, first).map(|picked| Seat { node, picked });
            }
        }
        None
    }

    /// Whether the variant fits on the node now; written down when not.
    pub(super) fn fits_now(&mut self, variant: usize, node: usize) -> bool {
        let code = self.code(variant, node);
        if code != 0 {
            self.variants[variant].note(node, code);
        }
        code == 0
    }

    /// The first node from `from` on that the variant may fit on.
    pub(super) fn next_fit(&self, variant: usize, domain: Option<usize>, from: usize) -> Option<usize> {
        let fit = &self.variants[variant].fit;
        fit.common_from(domain.map_or(fit, |domain| &self.domains[domain]), None, from)
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

    pub(super) fn would_take(&mut self, want: &Want<'_>, node: usize, kept: &mut Option<KeptFor>) -> bool {
        if !self.fits_now(want.variant, node) {
            return false;
        }
        if want.avoid.iter().any(|avoided| avoided.0 as usize == node) {
            return false;
        }
        if self.claims.any(node) && self.pick(want, node, None).is_none() {
            *kept = kept.or_else(|| self.claims.first(node, want.end));
            return false;
        }
        true
    }

    /// Devices for one task on this node such that no reservation is delayed, a certain one first.
    pub(super) fn pick(&self, want: &Want<'_>, node: usize, first: Option<u32>) -> Option<Picked> {
        let variant = &self.variants[want.variant];
        let facts = self.facts(node);
        let leaves_room = |left: &NodeFree| {
            left.free.takes(&variant.shape, variant.spare)
                && can_pick(&left.devices, facts, &variant.shape.slots)
        };
        // Quicker than what is free in all states at once, and as sure in saying no.
        if self.claims.of(node).iter().any(|claim| claim.start < want.end && !leaves_room(&claim.left)) {
            return None;
        }
        let met =
            if self.claims.any(node) { self.claims.meet(node, want.end, || self.state(node)) } else { None };
        match met {
            None => {
                let range = self.device_range(node);
                let slots = &variant.shape.slots;
                pick_devices_from(&self.devices[range.clone()], &self.facts[range], slots, first)
            }
            Some(state) => {
                let takes = state.free.takes(&variant.shape, variant.spare);
                let slots = &variant.shape.slots;
                takes.then(|| pick_devices_from(&state.devices, self.facts(node), slots, first)).flatten()
            }
        }
    }

    /// Seats a task found by [`Self::find`].
    pub fn seat(&mut self, want: &Want<'_>, seat: &Seat) {
        let variant = &self.variants[want.variant];
        let (cpu, memory, disk, spare) =
            (variant.shape.cpu, variant.shape.memory, variant.shape.disk, variant.spare);
        self.shift(
            seat.node,
            [cpu, memory, disk],
            spare,
            seat.picked.iter().map(|(_, grant, mode)| (*grant, *mode)),
            1,
        );
        if self.claims.any(seat.node) {
            self.log.push(Undo::Claims(Box::new((seat.node, self.claims.of(seat.node).to_vec()))));
            let range = self.device_start[seat.node] as usize..self.device_start[seat.node + 1] as usize;
            self.claims.charge(
                seat.node,
                want.end,
                [cpu, memory, disk],
                spare,
                &seat.picked,
                &self.facts[range],
            );
        }
    }

    /// Whether that many tasks fit, reservations left aside.
    pub fn has_copies(&mut self, variant: usize, domain: Option<usize>, count: u32) -> bool {
        self.sync(variant);
        let (mut left, mut from) = (count, 0);
        loop {
            let fit = &self.variants[variant].fit;
            let within = domain.map_or(fit, |domain| &self.domains[domain]);
            let Some(node) = fit.common_from(within, None, from) else { return false };
            from = node + 1;
            let copies = self.copies(variant, node, left);
            if copies == 0 {
                self.read(variant, node);
            }
            left -= copies;
            if left == 0 {
                return true;
            }
        }
    }

    /// Seats `count` tasks, all or none.
    pub fn seat_all(
        &mut self,
        want: &Want<'_>,
        domain: Option<usize>,
        count: u32,
        kept: &mut Option<KeptFor>,
    ) -> Option<Vec<Seat>> {
        let (mark, trial) = (self.mark(), self.trial());
        let mut seats = Vec::with_capacity(count as usize);
        while seats.len() < count as usize {
            let Some(seat) = self.find(want, domain, kept) else {
                self.undo(mark);
                self.forget_trial(trial, &[want.variant]);
                return None;
            };
            self.seat(want, &seat);
            seats.push(seat);
        }
        Some(seats)
    }

    /// Takes (`sign` 1) or gives back (-1) what a task holds. `amounts` are CPU, memory, disk.
    pub fn shift(
        &mut self,
        node: usize,
        amounts: [i64; 3],
        spare: bool,
        grants: impl Iterator<Item = (DeviceGrant, ShareMode)>,
        sign: i64,
    ) {
        let id = u32::try_from(node).unwrap_or(u32::MAX);
        self.note_move(node);
        self.log.push(Undo::Node { node: id, free: self.free[node] });
        self.free[node].shift(amounts[0], amounts[1], amounts[2], spare, sign);
        let start = self.device_start[node];
        for (grant, mode) in grants {
            let at = start + grant.device;
            if at >= self.device_start[node + 1] {
                continue;
            }
            self.log.push(Undo::Device { at, free: self.devices[at as usize] });
            self.devices[at as usize].shift(&self.facts[at as usize], &grant, mode, sign);
        }
        self.rescore(node);
        if sign < 0 {
            self.grow(node);
        }
    }

    /// CPU, memory and disk of one task of the variant.
    pub fn amounts(&self, variant: usize) -> [i64; 3] {
        let shape = &self.variants[variant].shape;
        [shape.cpu, shape.memory, shape.disk]
    }

    /// Makes what was done since the last reset the state that a reset goes back to. There must be no reservations.
    pub fn settle(&mut self) {
        self.log.clear();
    }

    /// The plan changed what a node has, or will have.
    pub fn note_move(&mut self, node: usize) {
        self.moved.push(u32::try_from(node).unwrap_or(u32::MAX));
        self.is_moved.set(node);
    }

    /// Whether one task of the variant, which is not for `spare`, fits into a state of the node.
    pub fn fits(&self, variant: usize, node: usize, state: &NodeFree) -> bool {
        let shape = &self.variants[variant].shape;
        state.free.takes(shape, false) && can_pick(&state.devices, self.facts(node), &shape.slots)
    }

    /// Where the log stands, for [`Self::undo`].
    pub const fn mark(&self) -> usize {
        self.log.len()
    }

    /// Undoes everything since the mark.
    pub fn undo(&mut self, mark: usize) {
        // Devices first of each task, then its node: rescored once per node entry, whose devices are then restored.
        while self.log.len() > mark {
            match self.log.pop() {
                Some(Undo::Node { node, free }) => {
                    self.free[node as usize] = free;
                    self.note_move(node as usize);
                    self.rescore(node as usize);
                    self.grow(node as usize);
                }
                Some(Undo::Device { at, free }) => self.devices[at as usize] = free,
                Some(Undo::Claims(old)) => self.claims.restore(old.0, old.1),
                None => {}
            }
        }
    }

    /// Undoes everything and forgets all reservations.
    pub fn reset(&mut self) {
        self.unread_from = self.grown_end();
        let mut nodes: BTreeSet<u32> = BTreeSet::new();
        while let Some(entry) = self.log.pop() {
            match entry {
                Undo::Node { node, free } => {
                    self.free[node as usize] = free;
                    nodes.insert(node);
                }
                Undo::Device { at, free } => self.devices[at as usize] = free,
                Undo::Claims(_) => {}
            }
        }
        for node in nodes {
            self.rescore(node as usize);
            self.grow(node as usize);
        }
        self.claims.wipe();
        self.is_moved.wipe();
        self.moved.clear();
    }

    /// Tasks that empty nodes would take, closed nodes included when `closed`; at most `cap`.
    pub fn capacity(&self, variant: usize, closed: bool, cap: u32) -> u32 {
        let matches = self.variants[variant].matches.iter().zip(&self.profiles).zip(&self.profile_sizes);
        let there = matches.filter(|((_, profile), _)| closed || profile.state == Standing::Ready);
        let copies = there.map(|((matching, _), nodes)| u64::from(matching.copies) * u64::from(*nodes));
        copies.fold(0_u64, u64::saturating_add).min(u64::from(cap)) as u32
    }

    /// Nodes changed since the last reset.
    pub fn changed(&self) -> Vec<usize> {
        let nodes = self.log.iter().filter_map(|entry| match entry {
            Undo::Node { node, .. } => Some(*node as usize),
            _ => None,
        });
        nodes.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// Where the variant's nodes are lost, and how many tasks would fit now (at most `needed`).
    pub fn funnel(&mut self, variant: usize, needed: u32, changed: &[usize]) -> Funnel {
        self.sync(variant);
        for node in changed {
            self.read(variant, *node);
        }
        let mut placeable = 0_u32;
        let mut from = 0;
        while placeable < needed {
            let fit = &self.variants[variant].fit;
            let Some(node) = fit.common_from(fit, None, from) else { break };
            placeable += self.copies(variant, node, needed - placeable);
            from = node + 1;
        }
        let mut removed = self.removed(variant);
        let v = &self.variants[variant];
        for (code, dimension) in FULL.iter().enumerate() {
            removed.insert((6, Constraint::TooFull(*dimension)), v.counts[code + 1]);
        }
        if let Some(slot) = v.shape.slots.first() {
            removed.insert((7, Constraint::TooFull(Dimension::Device(slot.kind))), v.counts[4]);
        }
        self.to_funnel(removed, placeable.min(needed), needed)
    }

    /// The same of a pool in which nothing runs.
    pub fn empty_funnel(&self, variant: usize, needed: u32) -> Funnel {
        self.to_funnel(self.removed(variant), self.capacity(variant, true, needed), needed)
    }

    /// Nodes lost at constraints that do not depend on what runs.
    fn removed(&self, variant: usize) -> BTreeMap<(u8, Constraint), u32> {
        let matches = self.variants[variant].matches.iter().zip(&self.profile_sizes);
        let mut removed: BTreeMap<(u8, Constraint), u32> = BTreeMap::new();
        for (matching, count) in matches.filter(|(_, count)| **count > 0) {
            if let Some(constraint) = &matching.fails {
                *removed.entry((order(constraint), constraint.clone())).or_default() += count;
            }
        }
        removed
    }

    fn to_funnel(&self, removed: BTreeMap<(u8, Constraint), u32>, placeable: u32, needed: u32) -> Funnel {
        let lost = removed.into_iter().filter(|(_, count)| *count > 0);
        let removed = lost.map(|((_, constraint), count)| (constraint, count)).collect();
        Funnel { nodes: u32::try_from(self.len()).unwrap_or(u32::MAX), removed, placeable, needed }
    }
}

const fn order(constraint: &Constraint) -> u8 {
    match constraint {
        Constraint::NotReady => 0,
        Constraint::Label(_) => 1,
        Constraint::NoDevice(_) => 2,
        Constraint::NoShare(_) => 3,
        Constraint::TooFewDevices(_) => 4,
        Constraint::TooSmall(_) => 5,
        Constraint::TooFull(_) => 6,
    }
}
