//! Lent CPU: `spare` gangs run on what others do not use, and give it back step by step.
//!
//! ```text
//!            too little for all            too little for the floors          still too little after
//!  free run ────────────────────▶ squeezed ─────────────────────────▶ frozen ─────────────────────▶ evicted
//!      ▲                             │ ▲                                 │     freeze_before_evict
//!      └──── room and a margin ──────┘ └────────── room and a margin ────┘
//! ```
//! Taking back looks at what owners use at this moment; giving again asks for room under the larger of that and
//! the 95th percentile, less another margin, so that a load at the edge does not make gangs flutter.

use super::rights::protected_until;
use super::solve::Solver;
use super::{Decision, PreemptCause};
use crate::ids::GangId;
use crate::snapshot::{GangOrd, NodeRow};
use crate::units::{MilliCpu, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A squeezed task keeps a tenth of what it asked for; less is as good as frozen.
const FLOOR: u64 = 10;
/// A limit is changed when it is off by more than a twentieth of what was asked for.
const STEP: u64 = 20;

/// A running `spare` task.
#[derive(Clone, Copy, Debug)]
struct Lodger {
    gang: GangOrd,
    id: GangId,
    rank: u32,
    asked: u64,
    limit: u64,
    most: u64,
    /// Who is frozen first: lowest priority, then youngest.
    order: (u16, Reverse<Timestamp>, Reverse<GangId>),
    frozen: bool,
}

/// CPU that owners leave on a node now, and what they leave for certain.
fn cpu_left(row: &NodeRow, lend_margin: u64) -> (u64, u64) {
    let whole = row.capacity.cpu.0;
    let margin = whole / 1000 * lend_margin;
    let now = whole.saturating_sub(row.busy_now.0).saturating_sub(margin);
    let sure = whole.saturating_sub(row.busy_now.0.max(row.busy_p95.0)).saturating_sub(2 * margin);
    (now, sure)
}

impl Solver<'_> {
    /// Squeezes, freezes, evicts, thaws and lets out `spare` gangs.
    ///
    /// Looks at nodes that are [due](super::problem::lodgers::Lodgers), at those of frozen gangs, and at those of gangs that it freezes.
    pub fn lend(&mut self) {
        let due = self.problem.running.lodgers.take_due();
        if due.is_empty() && self.problem.running.frozen.is_empty() {
            return;
        }
        let mut nodes: BTreeMap<usize, Vec<Lodger>> = BTreeMap::new();
        due.into_iter().for_each(|node| self.read_lodgers(node, &mut nodes));
        let asleep = self.asleep();
        for (_, _, gang) in &asleep {
            self.read_nodes_of(*gang, &mut nodes);
        }
        let mut frozen: BTreeSet<GangOrd> = BTreeSet::new();
        for (node, lodgers) in &nodes {
            self.freeze_on(*node, lodgers, &mut frozen);
        }
        for gang in &frozen {
            if let Some((row, placed)) = self.placed(*gang) {
                let decision = Decision::Freeze { gang: row.id, generation: placed.generation };
                self.changes.push(decision);
                self.decided.insert(*gang);
                self.again = self.again.min(self.now.after(self.settings.freeze_before_evict));
            }
            self.read_nodes_of(*gang, &mut nodes);
        }
        self.thaw_or_evict(asleep, &nodes, &frozen);
        for (node, lodgers) in &nodes {
            // Where something is decided there is something to look at until it is done.
            let changes = self.limit_on(*node, lodgers, &frozen);
            if changes || lodgers.iter().any(|one| frozen.contains(&one.gang)) {
                self.problem.running.lodgers.touch(*node);
            }
        }
    }

    /// Frozen gangs, in the order in which they are thawed.
    fn asleep(&self) -> Vec<(Reverse<u16>, Timestamp, GangOrd)> {
        let asleep = self.problem.running.frozen.iter().filter_map(|gang| {
            let (row, placed) = self.placed(*gang)?;
            Some((Reverse(row.priority), placed.frozen?, *gang))
        });
        let mut asleep: Vec<_> = asleep.collect();
        asleep.sort_unstable();
        asleep
    }

    fn read_nodes_of(&self, gang: GangOrd, nodes: &mut BTreeMap<usize, Vec<Lodger>>) {
        self.problem.running.lodgers.nodes(gang).iter().for_each(|node| self.read_lodgers(*node, nodes));
    }

    /// Reads who lives on a node, unless that was done.
    fn read_lodgers(&self, node: usize, nodes: &mut BTreeMap<usize, Vec<Lodger>>) {
        nodes.entry(node).or_insert_with(|| {
            self.problem.running.lodgers.on(node).flat_map(|gang| self.lodgers(gang, node)).collect()
        });
    }

    fn lodgers(&self, gang: GangOrd, node: usize) -> impl Iterator<Item = Lodger> {
        self.placed(gang).into_iter().flat_map(move |(row, placed)| {
            let shapes = self.snapshot.demand(row.demand);
            let burst =
                shapes.get(placed.alternative as usize).map_or(MilliCpu::ZERO, |shape| shape.burst.cpu);
            placed.tasks.iter().filter(move |task| task.node.0 as usize == node).map(move |task| Lodger {
                gang,
                id: row.id,
                rank: task.rank,
                asked: task.request.cpu.0,
                limit: task.cpu_limit.0,
                most: burst.max(task.request.cpu).0,
                order: (row.priority, Reverse(placed.since), Reverse(row.id)),
                frozen: placed.frozen.is_some(),
            })
        })
    }

    /// CPU that owners leave on a node now, and what they leave for certain.
    fn cpu_left(&self, node: usize) -> (u64, u64) {
        cpu_left(&self.snapshot.nodes[node], self.settings.lend_margin)
    }

    fn freeze_on(&self, node: usize, lodgers: &[Lodger], frozen: &mut BTreeSet<GangOrd>) {
        let (now, _) = self.cpu_left(node);
        let mut awake: Vec<&Lodger> =
            lodgers.iter().filter(|one| !one.frozen && !frozen.contains(&one.gang)).collect();
        awake.sort_by_key(|one| one.order);
        let mut floors: u64 = awake.iter().map(|one| one.asked / FLOOR).sum();
        for one in awake {
            if floors <= now {
                return;
            }
            // A second task of a gang that was just frozen gives its floor back too.
            frozen.insert(one.gang);
            floors -= one.asked / FLOOR;
        }
    }

    fn thaw_or_evict(
        &mut self,
        asleep: Vec<(Reverse<u16>, Timestamp, GangOrd)>,
        nodes: &BTreeMap<usize, Vec<Lodger>>,
        newly: &BTreeSet<GangOrd>,
    ) {
        if asleep.is_empty() {
            return;
        }
        let mut awake: BTreeMap<usize, u64> = BTreeMap::new();
        for (node, lodgers) in nodes {
            let asked =
                lodgers.iter().filter(|one| !one.frozen && !newly.contains(&one.gang)).map(|one| one.asked);
            awake.insert(*node, asked.sum());
        }
        for (_, since, gang) in asleep {
            self.thaw_or_evict_one(gang, since, &mut awake);
        }
    }

    fn thaw_or_evict_one(&mut self, gang: GangOrd, since: Timestamp, awake: &mut BTreeMap<usize, u64>) {
        let Some((row, placed)) = self.placed(gang) else { return };
        let (id, generation) = (row.id, placed.generation);
        let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
        for task in &placed.tasks {
            *asked.entry(task.node.0 as usize).or_default() += task.request.cpu.0;
        }
        let lacking = asked.iter().find(|(node, asked)| {
            let (_, sure) = self.cpu_left(**node);
            awake.get(node).copied().unwrap_or(0) + **asked > sure
        });
        let Some((node, _)) = lacking else {
            self.changes.push(Decision::Thaw { gang: id, generation });
            self.decided.insert(gang);
            for (node, asked) in asked {
                *awake.entry(node).or_default() += asked;
                let cpu = super::problem::shape::signed(asked);
                self.problem.pool.shift(node, [cpu, 0, 0], true, std::iter::empty(), 1);
            }
            return;
        };
        let protected =
            if row.preemptible { protected_until(row, placed, self.settings.calm) } else { Timestamp::NEVER };
        let due = since.after(self.settings.freeze_before_evict).max(protected);
        if due > self.now {
            self.again = self.again.min(due);
            return;
        }
        let cause = PreemptCause::CpuWanted { node: self.snapshot.nodes[*node].name.clone() };
        self.changes.push(Decision::Preempt { gang: id, generation, cause });
        self.decided.insert(gang);
    }

    /// Squeezes and lets out who lives on a node; whether anybody.
    fn limit_on(&mut self, node: usize, lodgers: &[Lodger], newly: &BTreeSet<GangOrd>) -> bool {
        let before = self.changes.len();
        let (now, sure) = self.cpu_left(node);
        let awake: Vec<Lodger> =
            lodgers.iter().filter(|one| !one.frozen && !newly.contains(&one.gang)).copied().collect();
        let asked: u64 = awake.iter().map(|one| one.asked).sum();
        for one in awake {
            let part = |room: u64| {
                let part = u128::from(one.asked) * u128::from(room) / u128::from(asked.max(1));
                u64::try_from(part).unwrap_or(u64::MAX).clamp(one.asked / FLOOR, one.asked)
            };
            let slack = one.asked / STEP;
            let limit = if asked > now {
                let tight = part(now);
                if one.limit > tight + slack {
                    tight
                } else if part(sure) > one.limit + slack {
                    part(sure)
                } else {
                    continue;
                }
            } else if asked <= sure && one.limit < one.asked {
                one.most
            } else if part(sure) > one.limit + slack {
                part(sure)
            } else {
                continue;
            };
            let Some((_, placed)) = self.placed(one.gang) else { continue };
            let decision = Decision::Limit {
                task: one.id.task(one.rank),
                generation: placed.generation,
                cpu: MilliCpu(limit),
            };
            self.changes.push(decision);
        }
        self.changes.len() > before
    }
}
