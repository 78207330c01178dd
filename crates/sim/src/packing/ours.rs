//! The experiment on the planner's own nodes and scores ([`Places`]): what any placement policy of the settings
//! grants, and what a bounded number of moves adds.
//!
//! A pod that names models accepts any of a set of them; a request of the pool names words of a model's name. So each
//! set that pods name is a word in the names of its models. Policies that look at what is expected are told nothing
//! beforehand: they learn from what came.

use super::cluster::{Cluster, Demand, ModelSet, Node};
use super::experiment::{Outcome, Workload};
use pond_core::ids::NodeName;
use pond_core::model::{Device, DeviceKind, DeviceRequest, Resources, Shape, ShareMode};
use pond_core::plan::{Place, Places, WantOrd};
use pond_core::snapshot::{DeviceRow, NodeOrd, NodeRow, NodeState, PlacementPolicy, Settings};
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
/// Memory of a GPU: shares of it are in proportion to the compute, so any amount will do.
const GPU_MEMORY: Bytes = Bytes(16 << 30);

/// What moves cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Pods that were moved.
    pub pods: u64,
    /// Thousandths of GPUs that they held.
    pub milli: u64,
    /// Pods that found a place because others were moved.
    pub made_room_for: u64,
}

impl std::iter::Sum for Moves {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            pods: sum.pods + one.pods,
            milli: sum.milli + one.milli,
            made_room_for: sum.made_room_for + one.made_room_for,
        })
    }
}

/// The nodes of a run as the planner sees them, in the workload's order, and the shape of each demand.
#[derive(Clone, Debug)]
pub struct Translated {
    /// One row a node.
    pub nodes: Vec<NodeRow>,
    /// One shape a demand.
    pub shapes: BTreeMap<Demand, Shape>,
}

impl Translated {
    /// Of a cluster and the pods that will come.
    #[must_use]
    pub fn of(cluster: &Cluster, workload: &Workload) -> Self {
        let mut sets: Vec<ModelSet> = workload.asked().map(|demand| demand.models).collect();
        sets.sort_unstable();
        sets.dedup();
        let word = |set: &ModelSet| format!("s{set:x}");
        let shape_of = |demand: &Demand| {
            let any = demand.models == ModelSet::MAX;
            shape(demand, (!any).then(|| word(&demand.models)))
        };
        let node = |(at, ordinal): (usize, &u32)| {
            let node = &cluster.nodes[*ordinal as usize];
            let words: Vec<String> = sets.iter().filter(|set| *set & node.model != 0).map(word).collect();
            row(at, node, &words.join(" "))
        };
        Self {
            nodes: workload.nodes().iter().enumerate().map(node).collect(),
            shapes: workload.asked().map(|demand| (*demand, shape_of(demand))).collect(),
        }
    }
}

fn row(at: usize, node: &Node, model: &str) -> NodeRow {
    let device = |_: &u32| {
        DeviceRow::new(Device {
            uuid: String::new(),
            kind: DeviceKind::Gpu,
            model: model.to_owned(),
            memory: GPU_MEMORY,
            modes: vec![ShareMode::Exclusive, ShareMode::Time],
            numa: None,
            files: Vec::new(),
            traits: pond_core::model::Traits::default(),
        })
    };
    let (cpu, memory) = (MilliCpu(node.cpu_milli), Bytes(node.memory_mib * MIB));
    NodeRow {
        name: NodeName::from(format!("n{at}")),
        state: NodeState::Ready,
        capacity: Resources { cpu, memory, disk: Bytes::ZERO },
        granted: Resources::ZERO,
        spare_cpu: MilliCpu::ZERO,
        busy_p95: MilliCpu::ZERO,
        busy_now: MilliCpu::ZERO,
        devices: node.gpus.iter().map(device).collect(),
        labels: BTreeMap::new(),
        gangs: Vec::new(),
    }
}

fn shape(demand: &Demand, model: Option<String>) -> Shape {
    let (cpu, memory) = (MilliCpu(demand.cpu_milli), Bytes(demand.memory_mib * MIB));
    let mut shape = Shape::new(Resources { cpu, memory, disk: Bytes::ZERO });
    if demand.gpus > 0 {
        let (mode, compute) = match demand.is_shared() {
            true => (ShareMode::Time, Thousandths(u64::from(demand.gpu_milli))),
            false => (ShareMode::Exclusive, Thousandths::WHOLE),
        };
        shape.devices.push(DeviceRequest {
            kind: DeviceKind::Gpu,
            model,
            count: demand.gpus,
            device_memory: Bytes::ZERO,
            mode,
            compute,
            memory: Bytes::ZERO,
            slack: pond_core::model::Slack::default(),
            profile: None,
        });
    }
    shape
}

/// A pod that has a place.
struct Resident {
    demand: Demand,
    place: Place,
}

/// A run under way.
struct Run {
    places: Places,
    wants: BTreeMap<Demand, WantOrd>,
    /// What nodes have left.
    left: Vec<Node>,
    residents: Vec<Vec<Resident>>,
    /// Counts places taken and given back.
    clock: u64,
    /// The clock when moves could last not make room for a demand.
    hopeless: BTreeMap<Demand, u64>,
    moves: Moves,
}

/// Runs a workload under a policy of the settings. When a pod that asks for GPUs has no place, at most `most` others are
/// moved for it, each to a place that is free; 0: none ever is. Same workload, same outcome.
#[must_use]
pub fn run_ours(
    cluster: &Cluster,
    workload: &Workload,
    placement: PlacementPolicy,
    most: usize,
) -> (Outcome, Moves) {
    let settings =
        Settings { placement, placement_seed: workload.seed(), lend_margin: 0, ..Settings::default() };
    let Translated { nodes, shapes } = Translated::of(cluster, workload);
    let mut places = Places::new(&nodes, &settings);
    let wants = shapes.iter().map(|(demand, shape)| (*demand, places.know(shape))).collect();
    let left = workload.nodes().iter().map(|at| cluster.nodes[*at as usize].clone()).collect();
    let mut run = Run {
        places,
        wants,
        left,
        residents: nodes.iter().map(|_| Vec::new()).collect(),
        clock: 1,
        hopeless: BTreeMap::new(),
        moves: Moves::default(),
    };
    let mut outcome = Outcome { capacity_milli: cluster.capacity_milli(), ..Outcome::default() };
    let (mut asked, mut granted) = (0, 0);
    for demand in workload.asked() {
        run.places.arrive(&shapes[demand], 1);
        asked += demand.total_milli();
        let node = run.seat(demand, &[]).or_else(|| run.make_room(demand, most));
        let place = node.and_then(|node| run.residents[node].last()).map(|resident| &resident.place);
        if place.is_some() {
            granted += demand.total_milli();
        }
        outcome.curve.push((asked, granted));
        outcome.places.push(place.map(|place| (place.node().0, place.devices().min())));
    }
    (outcome, run.moves)
}

impl Run {
    /// Seats a pod at its best place; on which node.
    fn seat(&mut self, demand: &Demand, avoid: &[NodeOrd]) -> Option<usize> {
        let place = self.places.find(self.wants[demand], avoid)?;
        Some(self.stay(Resident { demand: *demand, place }))
    }

    fn stay(&mut self, resident: Resident) -> usize {
        let node = resident.place.node().0 as usize;
        self.places.take(&resident.place);
        shift(&mut self.left[node], &resident.demand, &resident.place, true);
        self.residents[node].push(resident);
        self.clock += 1;
        node
    }

    fn leave(&mut self, node: usize, at: usize) -> Resident {
        let resident = self.residents[node].remove(at);
        self.places.give_back(&resident.place);
        shift(&mut self.left[node], &resident.demand, &resident.place, false);
        self.clock += 1;
        resident
    }

    /// Moves others away and seats the pod, on which node; `None`, and nothing was moved, when that is not to be had.
    fn make_room(&mut self, demand: &Demand, most: usize) -> Option<usize> {
        if most == 0 || demand.gpus == 0 || self.hopeless.get(demand) == Some(&self.clock) {
            return None;
        }
        let found = (1..=most).find_map(|count| {
            let mut options = self.options(demand, count);
            options.sort_unstable();
            options.iter().find_map(|option| self.carry_out(demand, option))
        });
        if found.is_none() {
            self.hopeless.insert(*demand, self.clock);
        }
        found
    }

    /// Sets of so many residents of one node without which the pod would fit there, each of which has a place elsewhere now.
    fn options(&mut self, demand: &Demand, count: usize) -> Vec<Away> {
        let mut movable: BTreeMap<Demand, bool> = BTreeMap::new();
        let mut options = Vec::new();
        for (node, residents) in self.residents.iter().enumerate() {
            let left = &self.left[node];
            if left.model & demand.models == 0 || left.gpus.len() < demand.gpus as usize {
                continue;
            }
            let mut there = Vec::new();
            for (at, resident) in residents.iter().enumerate() {
                let want = self.wants[&resident.demand];
                let places = &mut self.places;
                let known = movable.entry(resident.demand);
                if *known.or_insert_with(|| places.find(want, &[]).is_some()) {
                    there.push(at);
                }
            }
            combine(&there, count, &mut Vec::new(), &mut |who| {
                let gone = || who.iter().map(|at| &residents[*at]);
                if fits_without(left, gone, demand) {
                    let milli = gone().map(|resident| resident.demand.total_milli()).sum();
                    options.push(Away { milli, node, who: who.to_vec() });
                }
            });
        }
        options
    }

    /// Moves the residents and seats the pod; when one of them finds no place after all, everything is as before.
    fn carry_out(&mut self, demand: &Demand, option: &Away) -> Option<usize> {
        let avoid = [NodeOrd(u32::try_from(option.node).unwrap_or(u32::MAX))];
        let gone: Vec<Resident> = option.who.iter().rev().map(|at| self.leave(option.node, *at)).collect();
        let mut went = Vec::new();
        for resident in &gone {
            went.extend(self.seat(&resident.demand, &avoid));
        }
        let found = if went.len() == gone.len() { self.seat(demand, &[]) } else { None };
        if found.is_some() {
            self.moves.pods += gone.len() as u64;
            self.moves.milli += option.milli;
            self.moves.made_room_for += 1;
            return found;
        }
        for node in went.into_iter().rev() {
            let last = self.residents[node].len() - 1;
            self.leave(node, last);
        }
        for resident in gone {
            self.stay(resident);
        }
        None
    }
}

/// Residents of a node that could be moved away; the cheapest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Away {
    /// Thousandths of GPUs that they hold.
    milli: u64,
    node: usize,
    /// Their places among the residents, ascending.
    who: Vec<usize>,
}

/// Calls back with every set of `count` of these.
fn combine(from: &[usize], count: usize, taken: &mut Vec<usize>, each: &mut impl FnMut(&[usize])) {
    if taken.len() == count {
        return each(taken);
    }
    for (at, one) in from.iter().enumerate() {
        taken.push(*one);
        combine(&from[at + 1..], count, taken, each);
        taken.pop();
    }
}

fn fits_without<'a, I: Iterator<Item = &'a Resident>>(
    node: &Node,
    gone: impl Fn() -> I,
    demand: &Demand,
) -> bool {
    let cpu: u64 = gone().map(|resident| resident.demand.cpu_milli).sum();
    let memory: u64 = gone().map(|resident| resident.demand.memory_mib).sum();
    if node.cpu_milli + cpu < demand.cpu_milli || node.memory_mib + memory < demand.memory_mib {
        return false;
    }
    let freed = |gpu: u32| {
        let here = gone().filter(|resident| resident.place.devices().any(|device| device == gpu));
        here.map(|resident| resident.demand.gpu_milli).sum::<u32>()
    };
    let able = (0..).zip(&node.gpus).filter(|(gpu, left)| **left + freed(*gpu) >= demand.gpu_milli);
    able.count() >= demand.gpus as usize
}

/// Takes what a pod asks for from a node, or gives it back.
fn shift(node: &mut Node, demand: &Demand, place: &Place, takes: bool) {
    let change = |amount: &mut u64, by: u64| *amount = if takes { *amount - by } else { *amount + by };
    change(&mut node.cpu_milli, demand.cpu_milli);
    change(&mut node.memory_mib, demand.memory_mib);
    for device in place.devices() {
        let left = &mut node.gpus[device as usize];
        *left = if takes { *left - demand.gpu_milli } else { *left + demand.gpu_milli };
    }
}
