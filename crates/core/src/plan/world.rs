//! A pool in miniature for tests and benches of the planner: builds snapshots and carries plans out at once, without the engine.

use super::{Decision, HoldReason, Placement, Plan, PreemptCause};
use crate::ids::{GangId, Generation, JobId, NodeName, QueuePath, UserName};
use crate::model::speed::FULL;
use crate::model::{
    Class, Device, DeviceKind, DeviceRequest, GangSize, QueueSpec, Resources, Shape, ShareMode, Speed,
};
use crate::partition::known;
use crate::queue::{Amounts, device_share};
use crate::snapshot::{
    Attained, DemandOrd, DeviceRow, GangOrd, GangPhase, GangRow, NodeOrd, NodeRow, NodeState, Placed,
    PlacedGang, QueueOrd, QueueRow, Shrinking, Snapshot, Usage,
};
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One gibibyte, for sizes in tests.
pub const GIB: u64 = 1 << 30;

/// A snapshot with the means to change it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The reason that was given last for each gang that wants a place.
    pub reasons: BTreeMap<GangId, HoldReason>,
    paths: BTreeMap<QueuePath, QueueOrd>,
    demands: BTreeMap<Vec<Shape>, DemandOrd>,
    vacant: Vec<GangOrd>,
    jobs: u64,
    generations: u64,
}

/// CPU in whole cores and memory in GiB.
#[must_use]
pub fn host(cores: u64, gib: u64) -> Resources {
    Resources { cpu: MilliCpu(cores * 1000), memory: Bytes(gib * GIB), disk: Bytes::ZERO }
}

/// A shape of CPU cores and memory in GiB.
#[must_use]
pub fn shape(cores: u64, gib: u64) -> Shape {
    Shape::new(host(cores, gib))
}

/// Whole GPUs.
#[must_use]
pub fn gpus(count: u32) -> DeviceRequest {
    DeviceRequest {
        kind: DeviceKind::Gpu,
        model: None,
        count,
        device_memory: Bytes::ZERO,
        mode: ShareMode::Exclusive,
        compute: Thousandths::WHOLE,
        memory: Bytes::ZERO,
        slack: crate::model::Slack::default(),
        profile: None,
    }
}

/// A share of one GPU in time: thousandths of compute and GiB of memory.
#[must_use]
pub fn gpu_share(compute: u64, gib: u64) -> DeviceRequest {
    DeviceRequest {
        mode: ShareMode::Time,
        compute: Thousandths(compute),
        memory: Bytes(gib * GIB),
        ..gpus(1)
    }
}

/// A partition of one GPU, by the name of its profile.
#[must_use]
pub fn gpu_part(profile: &str) -> DeviceRequest {
    DeviceRequest {
        mode: ShareMode::Space,
        compute: Thousandths::ZERO,
        profile: Some(profile.to_owned()),
        ..gpus(1)
    }
}

/// What a gang asks for; every part at its default but the shape.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Alternatives.
    pub shapes: Vec<Shape>,
    /// The row as it will be; its demand and id are filled in.
    pub row: GangRow,
}

impl Ask {
    /// One standard task of this shape in the root queue.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let row = GangRow {
            id: JobId(0).gang(0),
            queue: QueueOrd(0),
            user: UserName::from("user"),
            class: Class::Standard,
            priority: 500,
            demand: DemandOrd(0),
            size: GangSize::ONE,
            queued: Timestamp(0),
            time_limit: None,
            predicted: None,
            attained: Attained::default(),
            saves: false,
            speed: None,
            preemptible: true,
            min_runtime: Millis::ZERO,
            evictions: 0,
            last_evicted: None,
            avoid: Vec::new(),
            phase: GangPhase::Pending,
        };
        Self { shapes: vec![shape], row }
    }
    /// Of this class.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.row.class = class;
        self
    }
    /// With this priority.
    #[must_use]
    pub const fn priority(mut self, priority: u16) -> Self {
        self.row.priority = priority;
        self
    }
    /// Of this many tasks.
    #[must_use]
    pub const fn tasks(mut self, min: u32, max: u32) -> Self {
        self.row.size = GangSize { min, max };
        self
    }
    /// Stopped after this many seconds.
    #[must_use]
    pub const fn limit(mut self, secs: u64) -> Self {
        self.row.time_limit = Some(Millis::from_secs(secs));
        self
    }
    /// Predicted to run for this many seconds.
    #[must_use]
    pub const fn predicted(mut self, secs: u64) -> Self {
        self.row.predicted = Some(Millis::from_secs(secs));
        self
    }
    /// Saves its work when it is evicted.
    #[must_use]
    pub const fn saves(mut self) -> Self {
        self.row.saves = true;
        self
    }
    /// Never evicted.
    #[must_use]
    pub const fn firm(mut self) -> Self {
        self.row.preemptible = false;
        self
    }
}

impl World {
    /// A pool with a root queue and nothing else.
    #[must_use]
    pub fn new() -> Self {
        let mut world = Self::default();
        world.queue(QueueSpec::new(""));
        world.snapshot.touched.all = true;
        world
    }

    /// Adds a queue; its parent must be there.
    ///
    /// # Panics
    /// When it is not.
    pub fn queue(&mut self, spec: QueueSpec) -> QueueOrd {
        let ord = QueueOrd(u32::try_from(self.snapshot.queues.len()).expect("few queues"));
        let path = spec.path.clone();
        let parent = (!path.as_str().is_empty()).then(|| {
            let above = path.as_str().rsplit_once('/').map_or("", |(above, _)| above);
            self.paths[&QueuePath::from(above)]
        });
        self.snapshot.queues.push(QueueRow { spec, parent, used: Usage::default(), history: 0 });
        self.paths.insert(path, ord);
        self.snapshot.touched.all = true;
        ord
    }

    /// Adds a node.
    ///
    /// # Panics
    /// With more than 2^32 nodes.
    pub fn node(&mut self, cores: u64, gib: u64, devices: &[Device], labels: &[(&str, &str)]) -> NodeOrd {
        let ord = NodeOrd(u32::try_from(self.snapshot.nodes.len()).expect("few nodes"));
        let name = NodeName::from(format!("n{}", ord.0));
        self.snapshot.nodes.push(NodeRow {
            name: name.clone(),
            state: NodeState::Ready,
            capacity: host(cores, gib),
            granted: Resources::ZERO,
            spare_cpu: MilliCpu::ZERO,
            busy_p95: MilliCpu::ZERO,
            busy_now: MilliCpu::ZERO,
            devices: devices.iter().cloned().map(DeviceRow::new).collect(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            gangs: Vec::new(),
        });
        self.snapshot.node_ords.insert(name, ord);
        self.snapshot.touched.all = true;
        ord
    }

    /// A GPU with this model name and memory, divisible in every way.
    #[must_use]
    pub fn gpu(model: &str, gib: u64) -> Device {
        Device {
            uuid: String::new(),
            kind: DeviceKind::Gpu,
            model: model.to_owned(),
            memory: Bytes(gib * GIB),
            modes: vec![ShareMode::Exclusive, ShareMode::Space, ShareMode::Time],
            numa: None,
            files: Vec::new(),
            traits: crate::model::Traits {
                layout: known::layout(model, Bytes(gib * GIB)).map(Arc::new),
                ..Default::default()
            },
        }
    }

    /// Submits a gang.
    ///
    /// # Panics
    /// With more than 2^32 gangs.
    pub fn submit(&mut self, queue: QueueOrd, ask: Ask, now: Timestamp) -> GangId {
        self.jobs += 1;
        let id = JobId(self.jobs).gang(0);
        let next = DemandOrd(u32::try_from(self.snapshot.demands.len()).expect("few demands"));
        let Ask { shapes, mut row } = ask;
        if let Some(shape) = shapes.first() {
            self.snapshot.mix.arrive(shape, row.size.min);
        }
        let demand = *self.demands.entry(shapes).or_insert_with_key(|shapes| {
            self.snapshot.demands.push(shapes.clone());
            next
        });
        (row.id, row.demand, row.queue, row.queued) = (id, demand, queue, now);
        let ord = self.vacant.pop().unwrap_or_else(|| {
            self.snapshot.gangs.push(None);
            GangOrd(u32::try_from(self.snapshot.gangs.len() - 1).expect("few gangs"))
        });
        self.snapshot.gangs[ord.0 as usize] = Some(row);
        self.snapshot.gang_ords.insert(id, ord);
        self.touch(ord);
        id
    }

    fn touch(&mut self, ord: GangOrd) {
        self.snapshot.epoch += 1;
        self.snapshot.touched.gangs.push(ord);
    }

    /// The row of a gang that is not finished.
    #[must_use]
    pub fn gang(&self, id: GangId) -> Option<&GangRow> {
        self.snapshot.gang_ord(id).and_then(|ord| self.snapshot.gang(ord))
    }

    /// The place of a gang, if it has one.
    #[must_use]
    pub fn placed(&self, id: GangId) -> Option<&PlacedGang> {
        match &self.gang(id)?.phase {
            GangPhase::Placed(placed) => Some(placed),
            _ => None,
        }
    }

    /// Every gang that has a place, ascending by id.
    pub fn running(&self) -> impl Iterator<Item = (&GangRow, &PlacedGang)> {
        let rows = self.snapshot.gang_ords.values().filter_map(|ord| self.snapshot.gang(*ord));
        rows.filter_map(|row| match &row.phase {
            GangPhase::Placed(placed) => Some((row, placed)),
            _ => None,
        })
    }

    /// How many gangs want a place.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.snapshot.gangs.iter().flatten().filter(|row| row.phase == GangPhase::Pending).count()
    }

    /// Changes a gang's row.
    ///
    /// # Panics
    /// When there is no such gang.
    pub fn edit(&mut self, id: GangId, edit: impl FnOnce(&mut GangRow)) {
        let ord = self.snapshot.gang_ords[&id];
        edit(self.snapshot.gangs[ord.0 as usize].as_mut().expect("the gang is there"));
        self.touch(ord);
    }

    /// Changes a node's row.
    pub fn edit_node(&mut self, ord: NodeOrd, edit: impl FnOnce(&mut NodeRow)) {
        edit(&mut self.snapshot.nodes[ord.0 as usize]);
        self.snapshot.epoch += 1;
        self.snapshot.touched.nodes.push(ord);
        self.snapshot.touched.reshaped.insert(ord);
    }

    /// Takes (`true`) or frees what one task holds.
    fn account(&mut self, ord: GangOrd, alternative: u32, tasks: &[Placed], take: bool, frozen: bool) {
        let row = self.snapshot.gangs[ord.0 as usize].as_ref().expect("the gang is there");
        let (class, queue) = (row.class, row.queue);
        let modes: Vec<ShareMode> = self.snapshot.demand(row.demand)[alternative as usize]
            .devices
            .iter()
            .flat_map(|request| std::iter::repeat_n(request.mode, request.count as usize))
            .collect();
        let mut usage = Usage::default();
        for task in tasks {
            let node = &mut self.snapshot.nodes[task.node.0 as usize];
            let mut granted = task.request;
            if class == Class::Spare {
                granted.cpu = MilliCpu::ZERO;
                let cpu = if frozen { MilliCpu::ZERO } else { task.request.cpu };
                node.spare_cpu = if take { node.spare_cpu.plus(cpu) } else { node.spare_cpu.minus(cpu) };
            } else {
                let busy =
                    if take { node.busy_p95.plus(granted.cpu) } else { node.busy_p95.minus(granted.cpu) };
                (node.busy_p95, node.busy_now) = (busy, busy);
            }
            node.granted = if take { node.granted.plus(granted) } else { node.granted.minus(granted) };
            usage.resources = usage.resources.plus(task.request);
            for (grant, mode) in task.devices.iter().zip(&modes) {
                let device = &mut node.devices[grant.device as usize];
                let share = device_share(grant.compute, grant.memory, device.spec.memory);
                *usage.devices.entry(device.spec.kind).or_default() += share;
                device.shift(grant, *mode, take);
            }
            match (take, node.gangs.binary_search(&ord)) {
                (true, Err(at)) => node.gangs.insert(at, ord),
                (false, Ok(at)) => drop(node.gangs.remove(at)),
                _ => {}
            }
            self.snapshot.touched.nodes.push(task.node);
        }
        usage.running = 1;
        self.charge(queue, &usage, take);
    }

    fn charge(&mut self, queue: QueueOrd, usage: &Usage, take: bool) {
        let mut next = Some(queue);
        while let Some(at) = next {
            let row = &mut self.snapshot.queues[at.0 as usize];
            let used = &mut row.used;
            used.resources = if take {
                used.resources.plus(usage.resources)
            } else {
                used.resources.minus(usage.resources)
            };
            for (kind, amount) in &usage.devices {
                let old = used.devices.entry(*kind).or_default();
                *old = if take { *old + amount } else { *old - amount };
            }
            used.running = if take { used.running + usage.running } else { used.running - usage.running };
            next = row.parent;
        }
    }

    fn tasks(&self, ord: GangOrd, alternative: u32, placements: &[Placement]) -> Vec<Placed> {
        let row = self.snapshot.gang(ord).expect("the gang is there");
        let request = self.snapshot.demand(row.demand)[alternative as usize].request;
        let placed = |placement: &Placement| Placed {
            rank: placement.rank,
            node: self.snapshot.node_ord(&placement.node).expect("the node is there"),
            request,
            devices: placement.devices.clone(),
            busy_p95: request.cpu,
            cpu_limit: request.cpu,
        };
        placements.iter().map(placed).collect()
    }

    /// Puts a gang where a decision says.
    pub fn place(&mut self, id: GangId, alternative: u32, placements: &[Placement], now: Timestamp) {
        let ord = self.snapshot.gang_ords[&id];
        self.reasons.remove(&id);
        let tasks = self.tasks(ord, alternative, placements);
        self.account(ord, alternative, &tasks, true, false);
        self.generations += 1;
        let generation = Generation(self.generations);
        self.edit(id, |row| {
            row.phase = GangPhase::Placed(PlacedGang {
                generation,
                alternative,
                since: now,
                saved: now,
                metered: now,
                worked: Millis::ZERO,
                speed: FULL,
                expected_end: None,
                tasks,
                frozen: None,
                paused: false,
                stopping: false,
                evicted_for: None,
                shrinking: None,
            });
        });
        self.pace(id);
    }

    /// Says how fast a placed gang is, and when it expects to end.
    fn pace(&mut self, id: GangId) {
        let (Some(row), Some(placed)) = (self.gang(id), self.placed(id)) else { return };
        let ranks = u32::try_from(placed.tasks.len()).expect("few ranks");
        let models = placed.tasks.iter().flat_map(|task| {
            let devices = &self.snapshot.node(task.node).devices;
            task.devices.iter().map(|grant| devices[grant.device as usize].spec.model.as_str())
        });
        let speed = Speed::of(row.speed.as_deref(), row.size.min, ranks, models);
        let rest = row.predicted.map(|all| all.minus(row.attained.done));
        let limit = row.time_limit.map(|span| placed.saved.after(span));
        self.change(id, |placed| {
            placed.speed = speed;
            placed.expected_end = limit.into_iter().chain(rest.map(|rest| placed.done_at(rest))).min();
        });
    }

    /// Frees the place of a gang and takes it from the pool, or puts it back in line when it was evicted.
    pub fn end(&mut self, id: GangId) {
        let ord = self.snapshot.gang_ords[&id];
        let Some(placed) = self.placed(id).cloned() else { return };
        self.account(ord, placed.alternative, &placed.tasks, false, placed.frozen.is_some());
        if placed.stopping && placed.evicted_for.is_some() {
            self.edit(id, |row| row.phase = GangPhase::Pending);
        } else {
            self.snapshot.gangs[ord.0 as usize] = None;
            self.snapshot.gang_ords.remove(&id);
            self.vacant.push(ord);
            self.touch(ord);
        }
    }

    /// Takes a gang that has no place from the pool.
    ///
    /// # Panics
    /// When there is no such gang.
    pub fn withdraw(&mut self, id: GangId) {
        let ord = self.snapshot.gang_ords[&id];
        self.reasons.remove(&id);
        self.snapshot.gangs[ord.0 as usize] = None;
        self.snapshot.gang_ords.remove(&id);
        self.vacant.push(ord);
        self.touch(ord);
    }

    /// Frees what evicted and shrunk gangs still hold.
    pub fn settle(&mut self) {
        let leaving: Vec<(GangId, Option<u32>)> = self
            .running()
            .filter(|(_, placed)| placed.stopping || placed.shrinking.is_some())
            .map(|(row, placed)| {
                (row.id, placed.shrinking.map(|shrinking| shrinking.to).filter(|_| !placed.stopping))
            })
            .collect();
        for (id, shrink) in leaving {
            match shrink {
                None => self.end(id),
                Some(to) => self.shrink(id, to),
            }
        }
    }

    fn shrink(&mut self, id: GangId, to: u32) {
        let ord = self.snapshot.gang_ords[&id];
        let Some(placed) = self.placed(id).cloned() else { return };
        self.account(ord, placed.alternative, &placed.tasks, false, false);
        let tasks: Vec<Placed> = placed.tasks.into_iter().filter(|task| task.rank < to).collect();
        self.account(ord, placed.alternative, &tasks, true, false);
        self.edit(id, |row| {
            if let GangPhase::Placed(placed) = &mut row.phase {
                (placed.tasks, placed.shrinking) = (tasks, None);
            }
        });
        self.pace(id);
    }

    fn change(&mut self, id: GangId, change: impl FnOnce(&mut PlacedGang)) {
        self.edit(id, |row| {
            if let GangPhase::Placed(placed) = &mut row.phase {
                change(placed);
            }
        });
    }

    /// Carries a plan out. Evicted gangs are stopping until [`Self::settle`].
    pub fn apply(&mut self, plan: &Plan, now: Timestamp) {
        self.snapshot.touched = crate::snapshot::Touched { since: self.snapshot.epoch, ..Default::default() };
        for decision in &plan.decisions {
            match decision {
                Decision::Place { gang, alternative, tasks } => self.place(*gang, *alternative, tasks, now),
                Decision::Grow { gang, tasks, .. } => {
                    self.bank(*gang, now);
                    self.grow(*gang, tasks);
                }
                Decision::Shrink { gang, to, beneficiary, .. } => {
                    self.bank(*gang, now);
                    let shrinking = Shrinking { to: *to, beneficiary: *beneficiary };
                    self.change(*gang, |placed| placed.shrinking = Some(shrinking));
                }
                Decision::Preempt { gang, cause, .. } => {
                    let beneficiary = match cause {
                        PreemptCause::Priority { beneficiary }
                        | PreemptCause::Order { beneficiary }
                        | PreemptCause::Reclaim { beneficiary } => *beneficiary,
                        PreemptCause::CpuWanted { .. } => *gang,
                    };
                    self.change(*gang, |placed| {
                        (placed.stopping, placed.evicted_for) = (true, Some(beneficiary))
                    });
                    self.bank(*gang, now);
                    self.edit(*gang, |row| {
                        (row.evictions, row.last_evicted) = (row.evictions + 1, Some(now));
                        if let (GangPhase::Placed(placed), true) = (&row.phase, row.saves) {
                            row.attained.done = row.attained.done.plus(placed.worked);
                        }
                    });
                }
                Decision::Freeze { gang, .. } => self.freeze(*gang, Some(now)),
                Decision::Thaw { gang, .. } => self.freeze(*gang, None),
                Decision::Limit { task, cpu, .. } => self.change(task.gang, |placed| {
                    let own = placed.tasks.iter_mut().filter(|own| own.rank == task.rank);
                    own.for_each(|own| own.cpu_limit = *cpu);
                }),
                Decision::Hold { gang, reason } => drop(self.reasons.insert(*gang, reason.clone())),
            }
        }
    }

    /// Leaves reasons out of a plan that are known, as the engine does.
    pub fn thin(&self, plan: &mut Plan) {
        plan.decisions.retain(|decision| match decision {
            Decision::Hold { gang, reason } => self.reasons.get(gang) != Some(reason),
            _ => true,
        });
    }

    /// Adds what a gang held up to now to what it attained.
    fn bank(&mut self, id: GangId, now: Timestamp) {
        let Some(placed) = self.placed(id) else { return };
        let mut held = Amounts::ZERO;
        for task in &placed.tasks {
            held = held.plus(&Amounts::of(task.request));
            let devices = &self.snapshot.node(task.node).devices;
            for grant in task.devices.iter() {
                let spec = &devices[grant.device as usize].spec;
                held.add_grant(spec.kind, grant, spec.memory);
            }
        }
        let (service, worked) = (held.rate() * now.since(placed.metered).0, placed.done(now));
        self.edit(id, |row| row.attained.service += service);
        self.change(id, |placed| (placed.metered, placed.worked) = (now, worked));
    }

    fn freeze(&mut self, id: GangId, frozen: Option<Timestamp>) {
        let Some(placed) = self.placed(id).cloned() else { return };
        for task in &placed.tasks {
            let cpu = task.request.cpu;
            self.edit_node(task.node, |node| {
                node.spare_cpu =
                    if frozen.is_some() { node.spare_cpu.minus(cpu) } else { node.spare_cpu.plus(cpu) };
            });
        }
        self.change(id, |placed| placed.frozen = frozen);
    }

    fn grow(&mut self, id: GangId, placements: &[Placement]) {
        let ord = self.snapshot.gang_ords[&id];
        let Some(alternative) = self.placed(id).map(|placed| placed.alternative) else { return };
        let tasks = self.tasks(ord, alternative, placements);
        self.account(ord, alternative, &tasks, true, false);
        let queue = self.gang(id).map_or(QueueOrd(0), |row| row.queue);
        self.charge(queue, &Usage { running: 1, ..Usage::default() }, false);
        self.change(id, |placed| placed.tasks.extend(tasks));
        self.pace(id);
    }
}
