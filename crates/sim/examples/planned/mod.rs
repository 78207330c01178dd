//! The packing experiment through the whole planner: each pod is submitted, a plan is made and carried out, and a pod that has no
//! place then is withdrawn.

use pond_core::model::QueueSpec;
use pond_core::plan::Planner;
use pond_core::plan::world::{Ask, World};
use pond_core::snapshot::{Backfill, PlacementPolicy, Settings};
use pond_core::units::Timestamp;
use pond_sim::packing::{Cluster, Outcome, Translated, Workload};

/// Runs a workload under a policy of the settings, a plan for each pod. Same workload, same outcome; where pods went is
/// not noted.
#[must_use]
pub fn run_planned(cluster: &Cluster, workload: &Workload, placement: PlacementPolicy) -> Outcome {
    // Nobody waits in this experiment, so nothing has to be kept for anybody.
    let settings = Settings {
        placement,
        placement_seed: workload.seed(),
        backfill: Backfill::Greedy,
        reservations: 0,
        lend_margin: 0,
        ..Settings::default()
    };
    let Translated { nodes, shapes } = Translated::of(cluster, workload);
    let mut world = World::new();
    let queue = world.queue(QueueSpec::new("all"));
    for row in nodes {
        let ord = world.node(1, 1, &[], &[]);
        world.edit_node(ord, |node| *node = row);
    }
    let mut planner = Planner::new(settings);
    let mut outcome = Outcome { capacity_milli: cluster.capacity_milli(), ..Outcome::default() };
    let (mut asked, mut granted) = (0, 0);
    for (second, demand) in (1..).zip(workload.asked()) {
        let now = Timestamp(second * 1000);
        let gang = world.submit(queue, Ask::new(shapes[demand].clone()), now);
        let plan = planner.plan(&world.snapshot, now);
        world.apply(&plan, now);
        asked += demand.total_milli();
        if world.placed(gang).is_some() {
            granted += demand.total_milli();
        } else {
            world.withdraw(gang);
        }
        outcome.curve.push((asked, granted));
    }
    outcome
}
