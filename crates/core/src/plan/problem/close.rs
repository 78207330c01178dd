//! The devices of one node that are nearest to each other, where the node says how they are joined.
//!
//! Of all choices the one with the least sum of distances between its devices, and to those that the same gang has on the node
//! already; then the least largest distance; then on the fullest devices; then the farthest from what stays free, so that what
//! is joined well stays together for the next; then the lowest ordinals. The choice is a k-cluster of least weight, which is
//! NP-hard in general, and nodes are small: branch and bound finds the best of up to 16 devices where all that is asked for is
//! alike. The sum, and not the largest distance, comes first, for what a gang sends goes round by the short ways where there are
//! some.

use super::room::{DeviceFacts, DeviceFree};
use super::shape::Slot;
use crate::model::Link;

/// Branches looked at; every choice of like devices from 16 is fewer. Beyond it stands the best so far. Ours.
const STEPS: u32 = 1 << 16;

/// Whether a node says how its devices are joined.
pub fn is_joined(facts: &[DeviceFacts]) -> bool {
    facts.last().is_some_and(|last| !last.links.is_empty())
}

/// The distance of two devices of a node; none of a device that two tasks share.
fn distance(facts: &[DeviceFacts], one: usize, other: usize) -> u8 {
    if one == other {
        return 0;
    }
    Link::between((&facts[one].links, one), (&facts[other].links, other)).distance()
}

/// What a choice costs, the first part first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Sum of distances.
    pub sum: u32,
    /// The largest.
    pub largest: u8,
    /// Free compute and memory of the devices, and how near they are to all that could be chosen.
    pub own: [i64; 3],
}

impl Cost {
    /// With a device more, at this distance from each of the others.
    fn with(self, own: [i64; 3], distances: impl Iterator<Item = u8>) -> Self {
        let start = Self { own: plus(self.own, own), ..self };
        distances.fold(start, |cost, distance| Self {
            sum: cost.sum + u32::from(distance),
            largest: cost.largest.max(distance),
            ..cost
        })
    }
}

fn plus(a: [i64; 3], b: [i64; 3]) -> [i64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// A device that takes one of the slots.
#[derive(Debug)]
struct Candidate {
    device: usize,
    own: [i64; 3],
    /// Which slots it takes.
    takes: Vec<bool>,
}

/// A node, slots, and the devices that the gang has there.
#[derive(Debug)]
struct Search<'a> {
    facts: &'a [DeviceFacts],
    slots: &'a [Slot],
    mates: &'a [u32],
    /// Cheapest first.
    candidates: Vec<Candidate>,
    /// Sums of the first so many candidates' own costs.
    sums: Vec<[i64; 3]>,
    /// No two devices are nearer.
    nearest: u32,
    steps: u32,
    chosen: Vec<usize>,
    best: Option<(Cost, Vec<usize>)>,
}

/// A device for each slot, in their order, each another one; `None` when there is no such choice, or none was found in time.
pub fn closest(
    free: &[DeviceFree],
    facts: &[DeviceFacts],
    slots: &[Slot],
    mates: &[u32],
) -> Option<(Cost, Vec<usize>)> {
    let takes = |device: usize| -> Vec<bool> {
        slots.iter().map(|slot| free[device].takes(&facts[device], slot)).collect()
    };
    let mut candidates: Vec<Candidate> = (0..free.len())
        .map(|device| Candidate { device, own: [0; 3], takes: takes(device) })
        .filter(|candidate| candidate.takes.contains(&true))
        .collect();
    if slots.len() > candidates.len() {
        return None;
    }
    let all: Vec<usize> = candidates.iter().map(|candidate| candidate.device).collect();
    let mut nearest = u32::from(u8::MAX);
    for candidate in &mut candidates {
        let others = all.iter().filter(|other| **other != candidate.device);
        let distances = others.map(|other| u32::from(distance(facts, candidate.device, *other)));
        let to_all: u32 = distances.inspect(|distance| nearest = nearest.min(*distance)).sum();
        let free = free[candidate.device];
        candidate.own = [free.compute, free.memory, -i64::from(to_all)];
    }
    candidates.sort_by_key(|candidate| (candidate.own, candidate.device));
    let mut sums = vec![[0; 3]];
    for candidate in &candidates {
        sums.push(plus(sums[sums.len() - 1], candidate.own));
    }
    let mut search = Search {
        facts,
        slots,
        mates,
        candidates,
        sums,
        nearest,
        steps: STEPS,
        chosen: Vec::new(),
        best: None,
    };
    search.go_on(Cost::default());
    let Search { best, candidates, .. } = search;
    best.map(|(cost, chosen)| (cost, chosen.into_iter().map(|at| candidates[at].device).collect()))
}

impl Search<'_> {
    /// Tries every candidate for the next slot. Slots of one request take theirs in ascending order: they are alike.
    fn go_on(&mut self, cost: Cost) {
        let at = self.chosen.len();
        if at == self.slots.len() {
            self.best = Some((cost, self.chosen.clone()));
            return;
        }
        let follows = at > 0 && self.slots[at].request == self.slots[at - 1].request;
        let from = if follows { self.chosen[at - 1] + 1 } else { 0 };
        for next in from..self.candidates.len() {
            if !self.candidates[next].takes[at] || self.chosen.contains(&next) {
                continue;
            }
            if self.steps == 0 {
                return;
            }
            self.steps -= 1;
            let new = self.candidates[next].device;
            let mates = self.mates.iter().map(|mate| *mate as usize);
            let others = mates.chain(self.chosen.iter().map(|chosen| self.candidates[*chosen].device));
            let with =
                cost.with(self.candidates[next].own, others.map(|other| distance(self.facts, new, other)));
            self.chosen.push(next);
            if self.best.as_ref().is_none_or(|(best, _)| self.at_least(with, next) < *best) {
                self.go_on(with);
            }
            self.chosen.pop();
        }
    }

    /// What every choice costs that goes on from here.
    fn at_least(&self, cost: Cost, last: usize) -> Cost {
        let (had, left) = (self.chosen.len(), self.slots.len() - self.chosen.len());
        let pairs = left * had + left * left.saturating_sub(1) / 2;
        let sum = cost.sum + self.nearest * u32::try_from(pairs).unwrap_or(u32::MAX);
        let alike = self.slots[0].request == self.slots[self.slots.len() - 1].request;
        let first = if alike { last + 1 } else { 0 };
        let own = match self.sums.get(first + left) {
            Some(end) => {
                let begin = self.sums[first];
                plus(cost.own, [end[0] - begin[0], end[1] - begin[1], end[2] - begin[2]])
            }
            // Too few are left.
            None => [i64::MAX; 3],
        };
        Cost { sum, largest: cost.largest, own }
    }
}
