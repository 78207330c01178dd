//! The published table and ours beside it, as data.

use super::{Cluster, Moves, Outcome, Policy, Workload, run, run_ours};
use crate::random::lagged::Seeder;
use crate::trace::fgd::PublishedRow;
use crate::trace::openb::{OpenbNode, OpenbPod};
use pond_core::snapshot::PlacementPolicy;
use std::ops::Range;

/// Percent of the GPUs asked for at which allocations are compared.
pub const FRACTIONS: [u64; 5] = [95, 100, 110, 120, 130];
/// Points by which a mean may differ from the published one.
pub const TOLERANCE: f64 = 0.3;
/// Pods that are moved at most when one has no place.
pub const MOVES: usize = 1;
/// The ten seeds of the published runs.
pub const PUBLISHED_SEEDS: Range<u32> = 42..52;

/// Who draws the orders of pods and nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draws {
    /// The published runs' own orders, [`PUBLISHED_SEEDS`].
    Published,
    /// Orders of ours from these seeds.
    Ours(Range<u64>),
    /// Pods in the order of their names, nodes in orders of ours from these seeds.
    InOrder(Range<u64>),
}

/// Mean and sample deviation of percents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// Mean, in percent of all GPUs.
    pub mean: f64,
    /// Sample deviation, in points; 0 for a single run.
    pub deviation: f64,
}

impl Figure {
    /// Of some runs; zeros for none.
    #[must_use]
    pub fn of(runs: &[f64]) -> Self {
        let count = runs.len() as f64;
        let mean = runs.iter().sum::<f64>() / count.max(1.0);
        let squares: f64 = runs.iter().map(|run| (run - mean) * (run - mean)).sum();
        Self { mean, deviation: (squares / (count - 1.0).max(1.0)).sqrt() }
    }
}

/// One cell: a workload under a policy when that much had been asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The workload, by the name of its file without extensions.
    pub workload: String,
    /// The policy.
    pub policy: Policy,
    /// Percent of the GPUs asked for.
    pub percent: u64,
    /// Percent granted, ours.
    pub ours: Figure,
    /// Percent granted, as published.
    pub published: Figure,
}

impl Cell {
    /// Ours less the published mean, in points.
    #[must_use]
    pub const fn difference(&self) -> f64 {
        self.ours.mean - self.published.mean
    }

    /// Whether it is within [`TOLERANCE`].
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.difference().abs() <= TOLERANCE
    }
}

fn workloads(cluster: &Cluster, pods: &[OpenbPod], draws: &Draws) -> Vec<Workload> {
    match draws {
        Draws::Published => {
            let seeder = Seeder::default();
            let one = |seed| Workload::published(cluster, pods, 130, seeder.seeded(seed));
            PUBLISHED_SEEDS.map(one).collect()
        }
        Draws::Ours(seeds) => seeds.clone().map(|seed| Workload::new(cluster, pods, 130, seed)).collect(),
        Draws::InOrder(seeds) => {
            seeds.clone().map(|seed| Workload::in_order(cluster, pods, 130, seed)).collect()
        }
    }
}

fn granted(outcomes: &[Outcome], percent: u64) -> Figure {
    Figure::of(&outcomes.iter().map(|outcome| outcome.granted_at(percent)).collect::<Vec<_>>())
}

/// All cells of one workload that were published, policies and percents ascending.
#[must_use]
pub fn cells(
    workload: &str,
    nodes: &[OpenbNode],
    pods: &[OpenbPod],
    published: &[PublishedRow],
    draws: &Draws,
) -> Vec<Cell> {
    let cluster = Cluster::new(nodes);
    let workloads = workloads(&cluster, pods, draws);
    let mut cells = Vec::new();
    for policy in Policy::PUBLISHED {
        let row = published.iter().find(|row| row.workload == workload && row.policy == policy.name());
        let Some(row) = row else { continue };
        let outcomes: Vec<_> = workloads.iter().map(|workload| run(&cluster, workload, policy)).collect();
        for (percent, published) in FRACTIONS.into_iter().zip(row.allocated) {
            let (workload, ours) = (workload.to_owned(), granted(&outcomes, percent));
            cells.push(Cell { workload, policy, percent, ours, published });
        }
    }
    cells
}

/// Ours beside FGD on the same arrivals, when 130 % of the GPUs had been asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    /// Percent granted under FGD, which is given the typical pods of the whole workload.
    pub fgd: Figure,
    /// Percent granted under the planner's [`PlacementPolicy::Gaps`], which learns the mix as it comes. Nothing is moved.
    pub gaps: Figure,
    /// The same with at most [`MOVES`] moved for each pod that has no place.
    pub moving: Figure,
    /// What was moved in all runs together.
    pub moves: Moves,
    /// Thousandths of GPUs granted in all those runs together.
    pub granted_milli: u64,
}

impl Contest {
    /// Percent of what was granted that was moved.
    #[must_use]
    pub fn moved_percent(&self) -> f64 {
        self.moves.milli as f64 * 100.0 / self.granted_milli.max(1) as f64
    }
}

/// Ours against FGD on one workload.
#[must_use]
pub fn contest(nodes: &[OpenbNode], pods: &[OpenbPod], draws: &Draws) -> Contest {
    let cluster = Cluster::new(nodes);
    let workloads = workloads(&cluster, pods, draws);
    let ours = |most: usize| -> (Vec<Outcome>, Vec<Moves>) {
        workloads.iter().map(|workload| run_ours(&cluster, workload, PlacementPolicy::Gaps, most)).unzip()
    };
    let published: Vec<Outcome> =
        workloads.iter().map(|workload| run(&cluster, workload, Policy::Fgd)).collect();
    let ((staying, _), (moving, moves)) = (ours(0), ours(MOVES));
    Contest {
        fgd: granted(&published, 130),
        gaps: granted(&staying, 130),
        moving: granted(&moving, 130),
        moves: moves.into_iter().sum(),
        granted_milli: moving.iter().filter_map(|outcome| outcome.curve.last()).map(|(_, milli)| milli).sum(),
    }
}
