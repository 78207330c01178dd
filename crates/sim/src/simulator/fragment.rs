//! What of the idle devices a task could not use, drawn from the jobs seen so far: the fragmentation measure of Weng et
//! al. ("Beware of Fragmentation", ATC 2023) on the pool's own rows.
//!
//! `F(node) = Σ p(shape) · F(node, shape)`: all that is idle when the shape does not fit there or asks for no device,
//! otherwise what is idle on devices that have less than the shape asks of one. Theirs weighs the shapes that make up
//! 95 % of a known trace; ours the [`MOST`] most frequent first alternatives among the tasks submitted so far.

use super::scene::Scene;
use crate::workload::SimJob;
use pond_core::model::{DeviceRequest, NodeSpec, Resources, Shape};
use pond_core::snapshot::{NodeState, Snapshot};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Shapes that are weighed at most.
const MOST: usize = 32;

/// What nodes of a kind have in common: labels, then devices with their memory.
type NodeKind<'a> = (Vec<(&'a String, &'a String)>, Vec<(&'a String, u64)>);

/// The shapes seen so far.
pub(super) struct Mix {
    shapes: Vec<Option<Shape>>,
    counts: Vec<u64>,
    /// Nodes alike in labels and devices, by place of the node.
    kinds: Vec<usize>,
    /// Whether nodes of a kind may take a shape at all: by kind, then shape.
    allowed: Vec<Vec<bool>>,
}

/// Whether a device model is what was asked for: the words of `asked` in a row among those of `model`.
fn is_model(model: &str, asked: &str) -> bool {
    let words =
        |text: &str| text.to_lowercase().split([' ', '-', '_']).map(str::to_owned).collect::<Vec<_>>();
    let (model, asked) = (words(model), words(asked));
    model.windows(asked.len().max(1)).any(|part| part == asked)
}

fn may_take(node: &NodeSpec, shape: &Shape) -> bool {
    let labels = shape.labels.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let enough = |asked: &DeviceRequest| {
        let fit = node.devices.iter().filter(|device| {
            device.kind == asked.kind
                && device.memory >= asked.device_memory
                && asked.model.as_ref().is_none_or(|model| is_model(&device.model, model))
        });
        fit.count() >= asked.count as usize
    };
    labels && shape.devices.iter().all(enough)
}

/// A shape and how often it was asked for.
struct Weighed<'a> {
    at: usize,
    count: u128,
    request: &'a Resources,
    /// The part of a device, and how many devices; `None` when it asks for no device.
    asked: Option<(u64, u64)>,
}

/// Devices of a node by whether so much of them is free.
struct Split {
    part: u64,
    /// How many have that much.
    enough: u64,
    /// What is free on the others.
    rest: u64,
}

impl Split {
    fn of(free: &[u64], part: u64) -> Self {
        let enough = free.iter().filter(|free| **free >= part).count() as u64;
        Self { part, enough, rest: free.iter().filter(|free| **free < part).sum() }
    }
}

impl Mix {
    pub fn new(scene: &Scene) -> Self {
        let shapes: Vec<Option<Shape>> =
            scene.workload.shapes.iter().map(|alternatives| alternatives.first().cloned()).collect();
        let mut known: BTreeMap<NodeKind, usize> = BTreeMap::new();
        let (mut kinds, mut allowed) = (Vec::new(), Vec::new());
        for node in &scene.cluster.nodes {
            let labels = node.labels.iter().collect();
            let devices = node.devices.iter().map(|device| (&device.model, device.memory.0)).collect();
            let kind = *known.entry((labels, devices)).or_insert_with(|| {
                let may = |shape: &Option<Shape>| shape.as_ref().is_some_and(|shape| may_take(node, shape));
                allowed.push(shapes.iter().map(may).collect());
                allowed.len() - 1
            });
            kinds.push(kind);
        }
        Self { counts: vec![0; shapes.len()], shapes, kinds, allowed }
    }

    /// A job was submitted.
    pub fn add(&mut self, job: &SimJob) {
        self.counts[job.shape as usize] += u64::from(job.size.min);
    }

    /// A shape of the mix, with what matters of it.
    fn weigh(&self, count: u64, at: usize) -> Option<Weighed<'_>> {
        let shape = self.shapes[at].as_ref()?;
        let devices = shape.devices.iter().map(|asked| u64::from(asked.count)).sum();
        let asked = shape.devices.first().map(|asked| (asked.compute.0.max(1), devices));
        Some(Weighed { at, count: u128::from(count), request: &shape.request, asked })
    }

    /// Thousandths of idle devices that a task of the mix could not use.
    pub fn fragmented(&self, snapshot: &Snapshot) -> u64 {
        let mut ranked: Vec<(Reverse<u64>, usize)> = (0..)
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (Reverse(*count), at))
            .collect();
        ranked.sort_unstable();
        ranked.truncate(MOST);
        let all: u128 = ranked.iter().map(|(Reverse(count), _)| u128::from(*count)).sum();
        let shapes: Vec<Weighed> = ranked.iter().filter_map(|(count, at)| self.weigh(count.0, *at)).collect();
        let mut sum = 0_u128;
        let mut free = Vec::new();
        let rows = snapshot.nodes.iter().zip(&self.kinds).filter(|(row, _)| row.state != NodeState::Lost);
        for (row, kind) in rows {
            free.clear();
            free.extend(
                row.devices.iter().filter(|device| device.healthy).map(|device| device.free_compute.0),
            );
            let idle: u64 = free.iter().sum();
            if idle == 0 {
                continue;
            }
            let room = (row.state == NodeState::Ready).then(|| row.capacity.minus(row.granted));
            // Most shapes ask for as much of a device as the one before.
            let mut split = Split::of(&free, 1000);
            for shape in &shapes {
                let fits = room.is_some_and(|room| shape.request.fits(&room));
                let asked = shape.asked.filter(|_| fits && self.allowed[*kind][shape.at]);
                let part = asked.map_or(idle, |(part, devices)| {
                    if split.part != part {
                        split = Split::of(&free, part);
                    }
                    if split.enough >= devices { split.rest } else { idle }
                });
                sum += u128::from(part) * shape.count;
            }
        }
        u64::try_from(sum / all.max(1)).unwrap_or(u64::MAX)
    }
}
