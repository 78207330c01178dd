//! What breaks: machines, devices, messages; and planned work on machines.

use super::run::{Rank, RankState};
use super::scene::Scene;
use super::settings::{Breakdown, Lifetime, Messages};
use super::work::Halt;
use super::world::{Happening, World};
use crate::random::Random;
use pond_core::event::{Actor, Event, Exit, Found, Report, Request, TaskSample};
use pond_core::ids::Generation;
use pond_core::units::{Bytes, Millis, Timestamp};
use std::collections::BTreeSet;

/// Between two inventories where messages get lost.
const INVENTORY: Millis = Millis(3000);

/// The generators of faults: one for each node and device, one for messages.
pub(super) struct Wear {
    messages: Messages,
    reports: Random,
    effects: Random,
    nodes: Vec<Random>,
    devices: Vec<Vec<Random>>,
}

impl Wear {
    pub fn new(scene: &Scene) -> Self {
        let (seed, faults) = (scene.settings.seed, &scene.settings.faults);
        let nodes = &scene.cluster.nodes;
        let of = |purpose, item| Random::of(seed, purpose, item);
        let some = |wanted: bool| if wanted { nodes.as_slice() } else { &[] };
        Self {
            messages: faults.messages,
            reports: Random::new(seed, "reports"),
            effects: Random::new(seed, "effects"),
            nodes: (0..).zip(some(faults.nodes.is_some())).map(|(at, _)| of("node failures", at)).collect(),
            devices: (0_u64..)
                .zip(some(faults.devices.is_some()))
                .map(|(at, node)| {
                    let devices = (0_u64..).zip(&node.devices);
                    devices.map(|(device, _)| of("device failures", at << 16 | device)).collect()
                })
                .collect(),
        }
    }

    /// When the copies of a report arrive; none: never.
    pub fn fate_of_report(&mut self) -> impl Iterator<Item = Millis> + use<> {
        let Messages { dropped, doubled, late } = self.messages;
        let mut waits = [None, None];
        if !self.messages.any() {
            waits[0] = Some(Millis::ZERO);
        } else if !self.reports.thousandths(dropped) {
            let copies = if self.reports.thousandths(doubled) { 2 } else { 1 };
            for wait in waits.iter_mut().take(copies) {
                let late = self.reports.thousandths(late);
                *wait = Some(Millis(if late { self.reports.below(2000) as u64 } else { 0 }));
            }
        }
        waits.into_iter().flatten()
    }

    /// How late an effect is carried out.
    pub fn delay_of_effect(&mut self) -> Millis {
        let late = self.messages.late > 0 && self.effects.thousandths(self.messages.late);
        Millis(if late { self.effects.below(1000) as u64 } else { 0 })
    }
}

fn span(chance: &mut Random, lifetime: Lifetime) -> Millis {
    let scaled = lifetime.scale.0 as f64 * chance.weibull(lifetime.shape.max(1) as f64 / 1000.0);
    // Rounds to whole milliseconds, one at least, so that time goes on.
    Millis((scaled as u64).max(1))
}

impl World<'_> {
    /// Sets the first faults, heartbeats, inventories and samples.
    pub fn begin_faults(&mut self) {
        let settings = self.scene.settings;
        let nodes = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
        for node in 0..nodes {
            self.plan_death(node);
            for device in 0..self.scene.cluster.nodes[node as usize].devices.len() {
                self.plan_device_failure(node, u32::try_from(device).unwrap_or(u32::MAX));
            }
            // Apart by a millisecond, so that not all nodes speak at once.
            let first = Timestamp(u64::from(node % 1000));
            if !settings.engine.lease.is_zero() {
                self.line.push(first, Happening::Heartbeat(node));
            }
            if settings.faults.messages.any() {
                self.line.push(first.after(INVENTORY), Happening::Inventory(node));
            }
            if let Some(sampling) = settings.samples {
                self.line.push(first.after(sampling.every), Happening::Sample(node));
            }
        }
        if let Some(maintenance) = settings.faults.maintenance.filter(|_| nodes > 0) {
            self.line.push(Timestamp(0).after(maintenance.every), Happening::Drain(0));
        }
    }

    pub fn wear_out(&mut self, what: Happening) {
        match what {
            Happening::NodeFails(node) => self.node_fails(node),
            Happening::NodeMissed(node, death) => {
                let machine = &self.machines[node as usize];
                if machine.dead && machine.deaths == death {
                    let name = self.scene.cluster.nodes[node as usize].name.clone();
                    self.outbox.push((Actor::Pool, Event::Report(Report::NodeLost(name))));
                }
            }
            Happening::NodeReturns(node) => {
                self.machines[node as usize].dead = false;
                self.node_up(node);
                self.tell_inventory(node);
                self.plan_death(node);
            }
            Happening::DeviceFails(node, device) => self.device_fails(node, device),
            Happening::DeviceReturns(node, device) => {
                self.device_health(node, device, true);
                self.plan_device_failure(node, device);
            }
            Happening::Drain(node) => self.drain_next(node),
            Happening::Undrain(node) => self.drain(node, false),
            Happening::Heartbeat(node) => self.heartbeat(node),
            Happening::Inventory(node) => {
                if !self.machines[node as usize].dead {
                    self.tell_inventory(node);
                }
                self.line.push(self.now.after(INVENTORY), Happening::Inventory(node));
            }
            Happening::Sample(node) => self.sample(node),
            _ => {}
        }
    }

    pub fn node_up(&mut self, node: u32) {
        let spec = self.scene.cluster.nodes[node as usize].clone();
        self.outbox.push((self.actor(node), Event::Report(Report::NodeUp(spec))));
    }

    fn plan_death(&mut self, node: u32) {
        let Some(breakdown) = self.scene.settings.faults.nodes else { return };
        let wait = span(&mut self.wear.nodes[node as usize], breakdown.between);
        self.line.push(self.now.after(wait), Happening::NodeFails(node));
    }

    fn plan_device_failure(&mut self, node: u32, device: u32) {
        let Some(breakdown) = self.scene.settings.faults.devices else { return };
        let wait = span(&mut self.wear.devices[node as usize][device as usize], breakdown.between);
        self.line.push(self.now.after(wait), Happening::DeviceFails(node, device));
    }

    /// A machine dies with everything on it; its disk still knows what had been started.
    fn node_fails(&mut self, node: u32) {
        let Some(Breakdown { repair, .. }) = self.scene.settings.faults.nodes else { return };
        let now = self.now;
        self.fault_count += 1;
        let machine = &mut self.machines[node as usize];
        machine.dead = true;
        machine.deaths += 1;
        let deaths = machine.deaths;
        let tasks: Vec<(u32, u32)> = machine.tasks.iter().copied().collect();
        let mut hurt = BTreeSet::new();
        for (job, at) in tasks {
            let Some(run) = &mut self.runs[job as usize] else { continue };
            let rank = &mut run.ranks[at as usize];
            if !rank.lives() {
                continue;
            }
            hurt.insert(job);
            if rank.state == RankState::Starting {
                // Nothing of it reached the disk: it can be started again under the same generation.
                let before = Generation(rank.generation.0.saturating_sub(1));
                *rank = Rank { closed: before, ..Rank::default() };
                self.machines[node as usize].tasks.remove(&(job, at));
            } else {
                rank.state = RankState::Ended(now, Exit::Lost);
                let devices = std::mem::take(&mut rank.devices);
                self.unshare(job, node, &devices);
            }
        }
        for job in hurt {
            self.hit(job);
        }
        let back = span(&mut self.wear.nodes[node as usize], repair);
        self.line.push(now.after(back), Happening::NodeReturns(node));
        if self.scene.settings.engine.lease.is_zero() {
            let missed = now.after(self.scene.settings.faults.detection);
            self.line.push(missed, Happening::NodeMissed(node, deaths));
        }
    }

    /// A fault ends a job's attempt.
    fn hit(&mut self, job: u32) {
        self.halt(job, Some(Halt::Death));
        self.desk.borrow_mut().rows[job as usize].faults += 1;
    }

    fn device_fails(&mut self, node: u32, device: u32) {
        let Some(Breakdown { repair, .. }) = self.scene.settings.faults.devices else { return };
        self.fault_count += 1;
        self.device_health(node, device, false);
        if !self.machines[node as usize].dead {
            let on_it = |rank: &Rank| {
                rank.state != RankState::Starting
                    && rank.lives()
                    && rank.devices.iter().any(|grant| grant.device == device)
            };
            let tasks: Vec<(u32, u32)> = self.machines[node as usize].tasks.iter().copied().collect();
            for (job, at) in tasks {
                let run = self.runs[job as usize].as_ref();
                if run.is_some_and(|run| on_it(&run.ranks[at as usize])) {
                    self.hit(job);
                    self.exit(job, at, Exit::DeviceError);
                }
            }
        }
        let back = span(&mut self.wear.devices[node as usize][device as usize], repair);
        self.line.push(self.now.after(back), Happening::DeviceReturns(node, device));
    }

    /// Told for sure, also of a machine that is dead: nobody would tell it later.
    fn device_health(&mut self, node: u32, device: u32, healthy: bool) {
        let name = self.scene.cluster.nodes[node as usize].name.clone();
        let message = if healthy { "repaired" } else { "failed" }.to_owned();
        let report = Report::DeviceHealth { node: name, device, healthy, message };
        self.outbox.push((Actor::Pool, Event::Report(report)));
    }

    fn drain_next(&mut self, node: u32) {
        let Some(maintenance) = self.scene.settings.faults.maintenance else { return };
        self.drain(node, true);
        self.line.push(self.now.after(maintenance.lasts), Happening::Undrain(node));
        let nodes = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
        let next = Happening::Drain((node + 1) % nodes);
        self.line.push(self.now.after(maintenance.every.max(Millis(1))), next);
    }

    fn drain(&mut self, node: u32, on: bool) {
        let node = self.scene.cluster.nodes[node as usize].name.clone();
        self.outbox.push((Actor::Pool, Event::Request(Request::Drain { node, on })));
    }

    /// Three times in a lease, so that one late heartbeat is none missed.
    fn heartbeat(&mut self, node: u32) {
        if !self.machines[node as usize].dead {
            let name = self.scene.cluster.nodes[node as usize].name.clone();
            self.outbox.push((self.actor(node), Event::Report(Report::Lease(name))));
        }
        let wait = Millis((self.scene.settings.engine.lease.0 / 3).max(1));
        self.line.push(self.now.after(wait), Happening::Heartbeat(node));
    }

    fn tell_inventory(&mut self, node: u32) {
        let mut found = Vec::new();
        for (job, at) in &self.machines[node as usize].tasks {
            let Some(run) = &self.runs[*job as usize] else { continue };
            let rank = &run.ranks[*at as usize];
            let started = rank.started;
            let state = match rank.state {
                RankState::Running | RankState::Frozen => Found::Running { started },
                RankState::Ended(ended, exit) => Found::Ended { started, ended, exit },
                RankState::Vacant | RankState::Starting => continue,
            };
            found.push((run.id.gang(0).task(*at), rank.generation, state));
        }
        let name = self.scene.cluster.nodes[node as usize].name.clone();
        let report = Report::Inventory { node: name, tasks: found };
        self.outbox.push((self.actor(node), Event::Report(report)));
    }

    /// CPU use of everything on a node since the last sample.
    fn sample(&mut self, node: u32) {
        let Some(sampling) = self.scene.settings.samples else { return };
        let (now, scene) = (self.now, self.scene);
        self.line.push(now.after(sampling.every.max(Millis(1))), Happening::Sample(node));
        if self.machines[node as usize].dead {
            return;
        }
        let mut samples = Vec::new();
        for (job, at) in &self.machines[node as usize].tasks {
            let Some(run) = &mut self.runs[*job as usize] else { continue };
            let (id, rank) = (run.id, &mut run.ranks[*at as usize]);
            if !matches!(rank.state, RankState::Running | RankState::Frozen) {
                continue;
            }
            let sim = scene.job(*job);
            let busy = scene.profile(sim).and_then(|profile| profile.cpu_busy).unwrap_or(1000);
            let span = now.since(std::mem::replace(&mut rank.sampled, now));
            let item = sim.id ^ now.0 << 20 ^ u64::from(*at);
            let mut chance = Random::of(scene.settings.seed, "cpu use", item);
            let span = super::scattered(span, sampling.noise, &mut chance).0;
            if rank.state == RankState::Running {
                rank.cpu_us += rank.cpu_milli * busy / 1000 * span;
            }
            samples.push(TaskSample {
                task: id.gang(0).task(*at),
                generation: rank.generation,
                cpu_us: rank.cpu_us,
                throttled_us: 0,
                memory: Bytes::ZERO,
                disk: Bytes::ZERO,
                io: Bytes::ZERO,
                pids: 1,
                devices: Vec::new(),
            });
        }
        if !samples.is_empty() {
            let name = scene.cluster.nodes[node as usize].name.clone();
            let report =
                Report::Sampled { node: name, node_cpu_us: 0, node_memory: Bytes::ZERO, tasks: samples };
            self.tell(node, report);
        }
    }
}
