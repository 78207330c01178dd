//! Nodes: what they offer, whether they are heard of, what must be fenced when they come back.
//!
//! ```text
//!  NodeUp ──▶ Ready ⇄ Draining (an administrator)
//!               │ ▲
//!   lease out   │ │ any message of it
//!               ▼ │
//!             Suspect ──lost_after──▶ Lost ──any message of it──▶ Ready, after a Fence for each task it had
//! ```
//! The second wait starts when the first is noticed, so a pool that slept as a whole loses nobody.

use super::change::{Handled, Out, What};
use super::job::{RankEnd, TaskState, Then};
use super::refusal::Refusal;
use super::{Condition, Engine, Health, Timer};
use crate::event::{Effect, Exit, Sign, Wear};
use crate::ids::{GangId, Generation, NodeName, TaskId};
use crate::model::{Device, NodeSpec, Resources};
use crate::snapshot::{DeviceRow, NodeOrd, NodeRow, NodeState};
use crate::units::{MilliCpu, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The largest node that is believed: a million cores.
const MAX_CPU: u64 = 1_000_000_000;
/// A pebibyte.
const MAX_BYTES: u64 = 1 << 50;
/// More devices than any machine has.
const MAX_DEVICES: usize = 4096;

/// What the engine knows of a node, beside its row in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// As its substrate described it.
    pub spec: NodeSpec,
    /// Labels set by an administrator, over those of the spec; an empty value removes.
    pub labels: BTreeMap<String, String>,
    /// An administrator wants no more tasks on it.
    pub draining: bool,
    /// Whether it is heard of.
    pub contact: Contact,
    /// When it was last heard of.
    pub seen: Timestamp,
    /// Whether each device may be granted.
    pub healthy: Vec<bool>,
    /// How each is, as far as there were signs.
    #[serde(default)]
    pub health: BTreeMap<u32, Health>,
    /// What the memory of each has been through, as far as its driver says.
    #[serde(default)]
    pub wear: BTreeMap<u32, Wear>,
    /// Devices that are gone or other than described and still granted, by ordinal.
    pub replaced: BTreeMap<u32, Device>,
    /// Tasks that have a place on it.
    pub tasks: BTreeSet<TaskId>,
    /// What must not live when it comes back.
    #[serde(with = "crate::meter::pairs")]
    pub fences: BTreeMap<TaskId, Generation>,
}

/// Whether a node is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contact {
    /// Lately.
    Alive,
    /// Not for the length of a lease.
    Suspect,
    /// Given up.
    Lost,
}

impl Node {
    /// Its state for the planner.
    #[must_use]
    pub const fn state(&self) -> NodeState {
        match (self.contact, self.draining) {
            (Contact::Lost, _) => NodeState::Lost,
            (Contact::Suspect, _) => NodeState::Suspect,
            (Contact::Alive, true) => NodeState::Draining,
            (Contact::Alive, false) => NodeState::Ready,
        }
    }

    /// The labels that count.
    #[must_use]
    pub fn merged_labels(&self) -> BTreeMap<String, String> {
        let mut all = self.spec.labels.to_owned();
        for (key, value) in &self.labels {
            if value.is_empty() {
                all.remove(key);
            } else {
                all.insert(key.to_owned(), value.to_owned());
            }
        }
        all
    }
}

fn check_spec(spec: &NodeSpec) -> Handled<()> {
    let bad = |problem, advice| Err(Refusal::BadNode { node: spec.name.to_owned(), problem, advice });
    if spec.name.as_str().is_empty() {
        return bad("has no name", "give it one in the node's configuration");
    }
    let Resources { cpu, memory, disk } = spec.capacity;
    let largest = spec.devices.iter().map(|device| device.memory.0).max().unwrap_or(0);
    if cpu.0 > MAX_CPU || memory.0.max(disk.0).max(largest) > MAX_BYTES || spec.devices.len() > MAX_DEVICES {
        return bad("is larger than any machine is", "check what its probe reports with `pond doctor`");
    }
    let flawed = |device: &Device| {
        device.traits.layout.as_ref().is_some_and(|layout| layout.check(device.memory).is_err())
    };
    if spec.devices.iter().any(flawed) {
        return bad(
            "has a device with partitions that cannot be",
            "check what its probe reports with `pond gpu`",
        );
    }
    let joined = |(at, device): (usize, &Device)| {
        let links = &device.traits.links;
        links.is_empty() || links.len() == at && links.iter().all(|link| link.is_known())
    };
    if !spec.devices.iter().enumerate().all(joined) {
        return bad("has devices joined in a way that is none", "check its probe: `pond gpu --topology`");
    }
    Ok(())
}

/// Whether what tasks were granted of a device means the same on it as it is described now: its parts are numbered as they were,
/// though somebody else may have taken or left places of it meanwhile.
fn numbered_alike(old: &Device, new: &Device) -> bool {
    match (&old.traits.layout, &new.traits.layout) {
        (Some(old), Some(new)) => old.numbers_as(new),
        (old, new) => old == new,
    }
}

impl Engine {
    /// A node is there: new, changed or back.
    pub(super) fn node_up(&mut self, spec: NodeSpec, out: &mut Out) -> Handled<()> {
        check_spec(&spec)?;
        let Some(ord) = self.rows.node_ord(&spec.name) else {
            self.add_node(spec, out);
            return Ok(());
        };
        self.describe_node(ord, spec);
        self.heard(ord, out);
        Ok(())
    }

    fn add_node(&mut self, spec: NodeSpec, out: &mut Out) {
        let ord = self.rows.add_node(NodeRow {
            name: spec.name.to_owned(),
            state: NodeState::Ready,
            capacity: spec.capacity,
            granted: Resources::ZERO,
            spare_cpu: MilliCpu::ZERO,
            busy_p95: MilliCpu::ZERO,
            busy_now: MilliCpu::ZERO,
            devices: spec.devices.iter().map(|device| DeviceRow::new(device.to_owned())).collect(),
            labels: spec.labels.to_owned(),
            gangs: Vec::new(),
        });
        let name = spec.name.to_owned();
        self.nodes.push(Node {
            labels: BTreeMap::new(),
            draining: false,
            contact: Contact::Alive,
            seen: self.now,
            healthy: vec![true; spec.devices.len()],
            health: BTreeMap::new(),
            wear: BTreeMap::new(),
            replaced: BTreeMap::new(),
            tasks: BTreeSet::new(),
            fences: BTreeMap::new(),
            spec,
        });
        self.measure_node(ord);
        self.renew_lease(ord);
        let row = self.rows.snapshot.node(ord);
        let Resources { cpu, memory, disk } = row.capacity;
        let offer = format!("{cpu} CPU, {memory} memory, {disk} disk, {} devices", row.devices.len());
        self.note(out, What::Node { node: name, from: None, to: NodeState::Ready }, offer);
        self.wants_plan = true;
    }

    /// Takes over a new description of a known node. Grants stay, also where there is less than granted now.
    fn describe_node(&mut self, ord: NodeOrd, spec: NodeSpec) {
        let node = &mut self.nodes[ord.0 as usize];
        if node.spec == spec {
            return;
        }
        let old = std::mem::replace(&mut node.spec, spec);
        let kept = |at: usize| {
            old.devices.get(at).map(|device| &device.uuid)
                == node.spec.devices.get(at).map(|device| &device.uuid)
        };
        let healthy: Vec<bool> = (0..node.spec.devices.len())
            .map(|at| !kept(at) || node.healthy.get(at).copied().unwrap_or(true))
            .collect();
        node.health.retain(|at, _| kept(*at as usize));
        node.wear.retain(|at, _| kept(*at as usize));
        node.healthy = healthy;
        let labels = node.merged_labels();
        let row = self.rows.node_mut(ord);
        row.capacity = node.spec.capacity;
        row.labels = labels;
        self.adopt_devices(ord);
        self.wants_plan = true;
    }

    /// Takes over the described devices. One that differs from what tasks were granted stays as it was,
    /// unhealthy, until they have given it back.
    pub(super) fn adopt_devices(&mut self, ord: NodeOrd) {
        let node = &mut self.nodes[ord.0 as usize];
        let row = self.rows.node_mut(ord);
        node.replaced.clear();
        let mut rows = std::mem::take(&mut row.devices);
        // A device's ordinal is its name: one that is gone keeps its place before one that is still granted.
        let used = rows.iter().rposition(|row| !row.is_whole()).map_or(0, |last| last + 1);
        rows.truncate(used.max(node.spec.devices.len()));
        let mut rows = rows.into_iter();
        for at in 0..MAX_DEVICES {
            let (described, old) = (node.spec.devices.get(at), rows.next());
            let healthy = node.healthy.get(at).copied().unwrap_or(false);
            let new = match (described, old) {
                (Some(spec), Some(old))
                    if !old.is_whole()
                        && old.spec.uuid == spec.uuid
                        && old.spec.memory == spec.memory
                        && numbered_alike(&old.spec, spec) =>
                {
                    DeviceRow { spec: spec.to_owned(), healthy, ..old }
                }
                (described, Some(old)) if described.is_none() || !old.is_whole() => {
                    node.replaced.insert(u32::try_from(at).unwrap_or(u32::MAX), old.spec.to_owned());
                    DeviceRow { healthy: false, ..old }
                }
                (Some(spec), _) => DeviceRow { healthy, ..DeviceRow::new(spec.to_owned()) },
                (None, _) => break,
            };
            row.devices.push(new);
        }
        self.measure_node(ord);
    }

    /// Tells the meter and the histories what the node offers now.
    fn measure_node(&mut self, ord: NodeOrd) {
        let node = &self.nodes[ord.0 as usize];
        self.meter.set_node(self.now, ord, node.spec.capacity, &node.spec.devices);
        self.note_state(ord);
        self.note_pool();
    }

    /// Brings a node's row and meter in line with its state. Returns the state before.
    fn note_state(&mut self, ord: NodeOrd) -> NodeState {
        let node = &self.nodes[ord.0 as usize];
        let state = node.state();
        let healthy = &node.healthy;
        let up = state == NodeState::Ready;
        self.meter.set_up(self.now, ord, up, |at| healthy.get(at).copied().unwrap_or(false));
        let before = self.rows.snapshot.node(ord).state;
        if before != state {
            self.rows.node_mut(ord).state = state;
            self.wants_plan = true;
            if before == NodeState::Lost || state == NodeState::Lost {
                self.note_pool();
            }
        }
        before
    }

    fn move_node(&mut self, ord: NodeOrd, out: &mut Out, reason: &'static str) {
        let from = self.note_state(ord);
        let to = self.nodes[ord.0 as usize].state();
        if from != to {
            let node = self.node_name(ord).to_owned();
            self.note(out, What::Node { node, from: Some(from), to }, reason);
        }
    }

    fn renew_lease(&mut self, ord: NodeOrd) {
        self.nodes[ord.0 as usize].seen = self.now;
        if !self.settings.lease.is_zero() {
            self.timers.set(Timer::Lease(ord), self.now.after(self.settings.lease));
        }
    }

    /// A message of this node came in.
    pub(super) fn hear(&mut self, name: &NodeName, out: &mut Out) {
        // The first message of a node is the one that describes it.
        if let Some(ord) = self.rows.node_ord(name) {
            self.heard(ord, out);
        }
    }

    /// Renews a node's lease; one that was given up is fenced.
    pub(super) fn heard(&mut self, ord: NodeOrd, out: &mut Out) {
        self.renew_lease(ord);
        let node = &mut self.nodes[ord.0 as usize];
        if node.contact == Contact::Alive {
            return;
        }
        node.contact = Contact::Alive;
        let fences = std::mem::take(&mut node.fences);
        for (task, generation) in fences {
            self.fence(ord, task, generation, out);
        }
        self.move_node(ord, out, "was heard of again");
    }

    pub(super) fn fence(&mut self, ord: NodeOrd, task: TaskId, generation: Generation, out: &mut Out) {
        self.counters.fenced = self.counters.fenced.saturating_add(1);
        let node = self.node_name(ord).to_owned();
        out.effects.push(Effect::Fence { task, generation, node });
    }

    /// The first wait for a node makes it a suspect, the second gives it up.
    pub(super) fn lease_ran_out(&mut self, ord: NodeOrd, out: &mut Out) {
        let node = &mut self.nodes[ord.0 as usize];
        match node.contact {
            Contact::Alive => {
                node.contact = Contact::Suspect;
                self.timers.set(Timer::Lease(ord), self.now.after(self.settings.lost_after));
                self.move_node(ord, out, "its lease ran out");
            }
            Contact::Suspect => self.lose_node(ord, "was not heard of for too long", out),
            Contact::Lost => {}
        }
    }

    /// A node is gone: its tasks are gone with it; their gangs go back to the queue.
    pub(super) fn lose_node(&mut self, ord: NodeOrd, reason: &'static str, out: &mut Out) {
        let node = &mut self.nodes[ord.0 as usize];
        if node.contact == Contact::Lost {
            return;
        }
        node.contact = Contact::Lost;
        self.timers.cancel(Timer::Lease(ord));
        self.move_node(ord, out, reason);
        let tasks = std::mem::take(&mut self.nodes[ord.0 as usize].tasks);
        let gangs: BTreeSet<GangId> = tasks.iter().map(|task| task.gang).collect();
        for gang in gangs {
            self.lose_ranks(gang, ord);
            self.sync_row(gang);
            self.end_gang(gang, Then::NodeLost(ord), out);
        }
    }

    /// Takes a gang's ranks on a lost node out of its place, to be fenced when the node returns.
    fn lose_ranks(&mut self, id: GangId, ord: NodeOrd) {
        self.bank(id);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        let Some(gang) = job.gang_mut(id.index) else { return };
        let Some(rows) = gang.rows else { return };
        let Some(live) = gang.live_mut() else { return };
        let (lost, kept) = std::mem::take(&mut live.tasks).into_iter().partition(|task| task.node == ord);
        live.tasks = kept;
        let lost: Vec<super::Task> = lost;
        for task in &lost {
            let exit = if let TaskState::Ended(exit) = task.state { exit } else { Exit::Lost };
            live.gone.push(RankEnd { rank: task.rank, generation: task.generation, node: ord, exit });
        }
        for task in &lost {
            let id = id.task(task.rank);
            self.rows.account(task, class, rows.queue, false);
            self.rows.recount(ord, task.counted, super::rows::Counted::default());
            self.meter.free(self.now, id, !matches!(task.state, TaskState::Ended(_)));
            if !matches!(task.state, TaskState::Ended(_)) {
                self.nodes[ord.0 as usize].fences.insert(id, task.generation);
            }
        }
        self.rows.seat(ord, rows.gang, false);
        if !self.nodes[ord.0 as usize].replaced.is_empty() {
            self.adopt_devices(ord);
        }
    }

    /// Takes no more tasks on a node, or takes them again.
    pub(super) fn drain(&mut self, node: &NodeName, on: bool, out: &mut Out) -> Handled<()> {
        let ord = self.known_node(node)?;
        self.nodes[ord.0 as usize].draining = on;
        self.move_node(ord, out, if on { "drained by an administrator" } else { "takes tasks again" });
        Ok(())
    }

    /// Sets labels of a node; an empty value removes one.
    pub(super) fn label(&mut self, node: &NodeName, labels: BTreeMap<String, String>) -> Handled<()> {
        let ord = self.known_node(node)?;
        let node = &mut self.nodes[ord.0 as usize];
        for (key, value) in labels {
            if value.is_empty() && !node.spec.labels.contains_key(&key) {
                node.labels.remove(&key);
            } else {
                node.labels.insert(key, value);
            }
        }
        let merged = node.merged_labels();
        self.rows.node_mut(ord).labels = merged;
        self.wants_plan = true;
        Ok(())
    }

    fn known_node(&self, node: &NodeName) -> Handled<NodeOrd> {
        self.rows.node_ord(node).ok_or_else(|| Refusal::UnknownNode(node.to_owned()))
    }

    /// A sign of how a device is.
    pub(super) fn device_sign(
        &mut self,
        name: NodeName,
        device: u32,
        sign: Sign,
        message: &str,
        out: &mut Out,
    ) {
        let Some(ord) = self.rows.node_ord(&name) else {
            self.counters.unknown_node = self.counters.unknown_node.saturating_add(1);
            return;
        };
        let at = device as usize;
        let Some(row) = self.rows.snapshot.node(ord).devices.get(at) else { return };
        let in_use = !row.is_whole();
        let node = &mut self.nodes[ord.0 as usize];
        if at >= node.spec.devices.len() {
            return;
        }
        let health = node.health.entry(device).or_default();
        let was_healthy = health.condition == Condition::Healthy;
        let changed = health.sign(sign, message, in_use, self.now);
        if changed {
            self.tell_condition(ord, device, was_healthy, message, out);
        }
        if matches!(sign, Sign::Fatal | Sign::Contained) {
            self.judge_on(ord, device, out);
        }
    }

    /// A device is in another condition than it was.
    fn tell_condition(&mut self, ord: NodeOrd, device: u32, was_healthy: bool, message: &str, out: &mut Out) {
        let node = &self.nodes[ord.0 as usize];
        let (name, Some(health)) = (node.spec.name.to_owned(), node.health.get(&device)) else { return };
        let condition = health.condition;
        let healthy = condition == Condition::Healthy;
        let words = match condition {
            Condition::Healthy => "it is healthy again",
            Condition::Suspect => "it is suspected",
            Condition::Sick => "it is sick",
            Condition::Draining => "it is sick, and waits for its tasks to end",
            Condition::Back => "it works again and has to prove it",
        };
        let message = if message.is_empty() { words.to_owned() } else { format!("{message}; {words}") };
        if healthy == was_healthy {
            self.note(out, What::Device { node: name, device, healthy }, message);
        } else {
            self.device_health(name, device, healthy, &message, out);
        }
    }

    /// What a device's memory has been through is other than it was: kept, and told when rows begin to wait for a reset.
    pub(super) fn device_wear(&mut self, name: NodeName, device: u32, wear: Wear, out: &mut Out) {
        let Some(ord) = self.rows.node_ord(&name) else {
            self.counters.unknown_node = self.counters.unknown_node.saturating_add(1);
            return;
        };
        let node = &mut self.nodes[ord.0 as usize];
        let Some(healthy) = node.healthy.get(device as usize).copied() else { return };
        let before = node.wear.insert(device, wear).unwrap_or_default();
        if wear.pending && !before.pending {
            let words =
                "rows of its memory wait for its next reset to be remapped; work on it is not affected";
            self.note(out, What::Device { node: name, device, healthy }, words);
        }
    }

    /// A device became usable or unusable. What runs on it stays until it fails by itself.
    pub(super) fn device_health(
        &mut self,
        name: NodeName,
        device: u32,
        healthy: bool,
        message: &str,
        out: &mut Out,
    ) {
        let Some(ord) = self.rows.node_ord(&name) else {
            self.counters.unknown_node = self.counters.unknown_node.saturating_add(1);
            return;
        };
        let at = device as usize;
        let Some(known) = self.nodes[ord.0 as usize].healthy.get_mut(at) else { return };
        if std::mem::replace(known, healthy) == healthy {
            return;
        }
        self.rows.node_mut(ord).devices[at].healthy = healthy;
        self.note_state(ord);
        self.note(out, What::Device { node: name, device, healthy }, message.to_owned());
        self.wants_plan = true;
    }
}
