//! What of the idle devices a task could not use, drawn from the jobs seen so far: the fragmentation measure of Weng et
//! al. ("Beware of Fragmentation", ATC 2023) on the pool's own rows.
//!
//! `F(node) = Σ p(shape) · F(node, shape)`: all that is idle when the shape does not fit there or asks for no device,
//! otherwise what is idle on devices that have less than the shape asks of one. Theirs weighs the shapes that make up
//! 95 % of a known trace; ours the [`MOST`] most frequent first alternatives among the tasks submitted so far.

use super::scene::Scene;
use crate::workload::SimJob;
use pond_core::model::{DeviceRequest, NodeSpec, Shape};
use pond_core::snapshot::{NodeRow, NodeState, Snapshot};
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
        let mut sum = 0_u128;
        let rows = snapshot.nodes.iter().zip(&self.kinds).filter(|(row, _)| row.state != NodeState::Lost);
        for (row, kind) in rows {
            let idle: u64 = free(row).sum();
            if idle == 0 {
                continue;
            }
            for (Reverse(count), at) in &ranked {
                let Some(shape) = &self.shapes[*at] else { continue };
                let allowed = self.allowed[*kind][*at];
                let part = if allowed { unusable(row, shape, idle) } else { idle };
                sum += u128::from(part) * u128::from(*count);
            }
        }
        u64::try_from(sum / all.max(1)).unwrap_or(u64::MAX)
    }
}

fn free(row: &NodeRow) -> impl Iterator<Item = u64> + '_ {
    row.devices.iter().filter(|device| device.healthy).map(|device| device.free_compute.0)
}

/// What of the idle devices of a node one more task of this shape would leave no use for.
fn unusable(row: &NodeRow, shape: &Shape, idle: u64) -> u64 {
    let Some(asked) = shape.devices.first() else { return idle };
    let room = row.capacity.minus(row.granted);
    let fits = shape.request.fits(&room) && row.state == NodeState::Ready;
    let part = asked.compute.0.max(1);
    let count: u64 = shape.devices.iter().map(|asked| u64::from(asked.count)).sum();
    let enough = free(row).filter(|free| *free >= part).count() as u64 >= count;
    if fits && enough { free(row).filter(|free| *free < part).sum() } else { idle }
}
