//! What-ifs: the placer is run again for the gang with one thing changed, at the moment its turn came.

use super::WhatIf;
use super::problem::pending::Key;
use super::problem::pool::{KeptFor, Want};
use super::problem::shape::compile;
use super::sentence::{cores, tasks};
use super::solve::{Fate, Solver};
use crate::model::{Class, GangSize, Resources, Shape, ShareMode};
use crate::snapshot::{GangOrd, NodeState};
use crate::units::{Bytes, MilliCpu, Millis, Thousandths, Timestamp};

/// Changes that are shown.
const SHOWN: usize = 6;

/// A changed gang.
struct Change {
    text: String,
    shape: Shape,
    size: GangSize,
    class: Class,
    span: Option<Millis>,
    /// Changes of one family are tried from small to large; the first that starts now is enough.
    family: u8,
}

/// The most that an empty pool has.
struct Most {
    /// On one node.
    cpu: MilliCpu,
    /// On one node.
    memory: Bytes,
    /// Tasks of the gang, no more than it needs.
    tasks: u32,
}

impl Solver<'_> {
    /// Tries changes for a gang that cannot start, best first.
    pub fn what_ifs(&mut self, gang: GangOrd, bucket: usize, key: &Key, fate: &Fate) -> Vec<WhatIf> {
        let Some(shape) = self.snapshot.demands[key.demand].first().cloned() else { return Vec::new() };
        let kept = if let Fate::Kept(kept) = fate { Some(*kept) } else { None };
        let mut found: Vec<(Timestamp, usize, String)> = Vec::new();
        let mut done: Vec<u8> = Vec::new();
        let all = self.most(&shape, key);
        for (at, change) in changes(&shape, key, kept, &all, self.now).into_iter().enumerate() {
            if done.contains(&change.family) {
                continue;
            }
            let Some(start) = self.start_with(gang, bucket, key, &change) else { continue };
            if start == self.now {
                done.push(change.family);
            }
            found.push((start, at, change.text));
        }
        found.sort();
        found.truncate(SHOWN);
        let known = |start: Timestamp| (start != Timestamp::NEVER).then_some(start);
        found.into_iter().map(|(start, _, change)| WhatIf { change, start: known(start) }).collect()
    }

    /// What the pool has at most for a gang like this.
    fn most(&mut self, shape: &Shape, key: &Key) -> Most {
        let each = |of: fn(&Resources) -> u64| {
            let open = self.snapshot.nodes.iter().filter(|node| node.state == NodeState::Ready);
            open.map(|node| of(&node.capacity)).max().unwrap_or(0)
        };
        let (cpu, memory) = (MilliCpu(each(|has| has.cpu.0)), Bytes(each(|has| has.memory.0)));
        let compiled = compile(shape, &self.problem.pool.models);
        let variant = self.problem.pool.add_variant(compiled, key.class == Class::Spare);
        Most { cpu, memory, tasks: self.problem.pool.capacity(variant, false, key.size.min) }
    }

    /// When the gang would start with the change; [`Timestamp::NEVER`] when nobody knows, `None` when never.
    fn start_with(&mut self, gang: GangOrd, bucket: usize, key: &Key, change: &Change) -> Option<Timestamp> {
        let spare = change.class == Class::Spare;
        let compiled = compile(&change.shape, &self.problem.pool.models);
        let variant = self.problem.pool.add_variant(compiled, spare);
        let need = change.size.min;
        let hit = self.tree.hit(key.queue, &self.asked(variant, need, 1));
        if hit.is_some() || self.problem.pool.capacity(variant, false, need) < need {
            return None;
        }
        let end = change.span.map_or(Timestamp::NEVER, |span| self.now.after(span));
        let mark = self.problem.pool.mark();
        self.forget_domains(bucket);
        let seats = self.seat_gang(bucket, &Want::one(variant, end, &[]), need, &mut None);
        self.problem.pool.undo(mark);
        self.forget_domains(bucket);
        if seats.is_some() {
            return Some(self.now);
        }
        if spare { None } else { self.sweep_only(variant, need, change.span, gang) }
    }
}

fn changes(shape: &Shape, key: &Key, kept: Option<KeptFor>, most: &Most, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    let base = |text: String, family: u8| Change {
        text,
        shape: shape.clone(),
        size: key.size,
        class: key.class,
        span: key.span,
        family,
    };
    if let Some(until) = kept.and_then(|kept| kept.until) {
        let span = until.since(now);
        changes.push(Change { span: Some(span), ..base(format!("with a time limit of {span}"), 0) });
    }
    for (key, value) in &shape.labels {
        let mut change = base(format!("without the label {key}={value}"), 1);
        change.shape.labels.remove(key);
        changes.push(change);
    }
    let Resources { cpu, memory, .. } = shape.request;
    let parts = [3_u64, 2, 1];
    let less = parts.map(|quarters| Bytes(memory.0 / 4 * quarters));
    for less in Some(most.memory).into_iter().filter(|most| *most < memory).chain(less) {
        let mut change = base(format!("with memory {less} instead of {memory}"), 2);
        change.shape.request.memory = less;
        changes.push(change);
    }
    let fewer_cores = parts.map(|quarters| MilliCpu(cpu.0 * quarters / 4));
    for less in Some(most.cpu).into_iter().filter(|most| *most < cpu).chain(fewer_cores) {
        let mut change = base(format!("with {} instead of {cpu}", cores(less)), 3);
        change.shape.request.cpu = less;
        changes.push(change);
    }
    device_changes(shape, &base, &mut changes);
    let room = Some(most.tasks).into_iter().filter(|room| (1..key.size.min).contains(room));
    for nodes in room.chain(fewer(key.size.min)) {
        let size = GangSize { min: nodes, max: key.size.max };
        let text = format!("with {} instead of {}", tasks(nodes), key.size.min);
        changes.push(Change { size, ..base(text, 7) });
    }
    if key.class != Class::Spare {
        changes.push(Change { class: Class::Spare, ..base("as class spare".to_owned(), 8) });
    }
    changes
}

/// Halves of a number, down to 1.
fn fewer(count: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(count / 2), |half| Some(half / 2)).take_while(|half| *half > 0)
}

fn device_changes(shape: &Shape, base: &impl Fn(String, u8) -> Change, changes: &mut Vec<Change>) {
    for (at, device) in shape.devices.iter().enumerate() {
        if let Some(model) = &device.model {
            let mut change = base(format!("on any model instead of {model}"), 4);
            change.shape.devices[at].model = None;
            changes.push(change);
        }
        for count in fewer(device.count) {
            let mut change = base(format!("with {count} devices instead of {}", device.count), 5);
            change.shape.devices[at].count = count;
            changes.push(change);
        }
        if device.mode == ShareMode::Exclusive && device.count == 1 {
            let mut change = base("with half a device instead of a whole one".to_owned(), 6);
            let half = &mut change.shape.devices[at];
            (half.mode, half.compute) = (ShareMode::Time, Thousandths(500));
            changes.push(change);
        }
    }
}
