//! What each placement policy is for, on one screen each.

use super::*;
use crate::model::Device;
use crate::plan::Places;
use crate::plan::world::{Ask, gpu_share, gpus, shape};
use crate::snapshot::{PlacementPolicy, QueueOrd};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ROOT: QueueOrd = QueueOrd(0);

/// Nodes of so many cores and GPUs.
fn pool(placement: PlacementPolicy, nodes: &[(u64, usize)]) -> Pool {
    let mut world = World::new();
    for (cores, gpus) in nodes {
        let devices: Vec<Device> = vec![World::gpu("L4", 24); *gpus];
        world.node(*cores, 1000, &devices, &[]);
    }
    Pool::with(world, Settings { placement, ..Settings::default() })
}

impl Pool {
    fn enter(&mut self, ask: Ask) -> GangId {
        let at = self.at();
        let id = self.world.submit(ROOT, ask, at);
        self.plan();
        id
    }

    /// Node and device of its first task.
    fn place(&self, id: GangId) -> (u32, Option<u32>) {
        let task = &self.world.placed(id).expect("it has a place").tasks[0];
        (task.node.0, task.devices.first().map(|grant| grant.device))
    }

    /// Has such tasks come and go, so that more of them are expected.
    fn expect(&mut self, ask: &Ask, times: u32) {
        for _ in 0..times {
            let id = self.enter(ask.clone());
            self.world.end(id);
        }
    }
}

fn whole() -> Ask {
    let mut shape = shape(1, 1);
    shape.devices.push(gpus(1));
    Ask::new(shape)
}

fn share(compute: u64) -> Ask {
    let mut shape = shape(1, 1);
    shape.devices.push(gpu_share(compute, 0));
    Ask::new(shape)
}

#[test]
fn best_fit_leaves_the_least() {
    let mut pool = pool(PlacementPolicy::BestFit, &[(16, 0), (8, 0), (2, 0)]);
    let id = pool.enter(Ask::new(shape(4, 1)));
    assert_eq!(pool.place(id), (1, None));
}

#[test]
fn dot_product_takes_the_smaller_product() {
    let mut pool = pool(PlacementPolicy::DotProduct, &[(16, 2), (16, 1)]);
    let id = pool.enter(whole());
    assert_eq!(pool.place(id), (1, Some(0)));
}

#[test]
fn gpu_packing_breaks_shared_devices_first_and_idle_nodes_last() {
    let mut pool = pool(PlacementPolicy::GpuPacking, &[(8, 2), (8, 2)]);
    let ids = [whole(), share(300), share(300), whole()].map(|ask| pool.enter(ask));
    assert_eq!(ids.map(|id| pool.place(id)), [(0, Some(0)), (0, Some(1)), (0, Some(1)), (1, Some(0))]);
}

#[test]
fn gpu_clustering_keeps_shares_from_whole_devices() {
    let mut pool = pool(PlacementPolicy::GpuClustering, &[(8, 2), (8, 2)]);
    let ids = [share(300), whole(), share(300), whole()].map(|ask| pool.enter(ask));
    assert_eq!(ids.map(|id| pool.place(id).0), [0, 1, 0, 1]);
}

#[test]
fn random_goes_anywhere_and_the_same_way_twice() {
    let nodes = |seed: u64| {
        let mut pool = pool(PlacementPolicy::Random, &[(8, 0); 8]);
        pool.settings.placement_seed = seed;
        pool.planner = Planner::new(pool.settings.clone());
        let ids: Vec<GangId> = (0..16).map(|_| pool.enter(Ask::new(shape(1, 1)))).collect();
        ids.into_iter().map(|id| pool.place(id).0).collect::<Vec<u32>>()
    };
    assert_eq!(nodes(1), nodes(1));
    assert_ne!(nodes(1), nodes(2));
    assert!(nodes(1).into_iter().collect::<BTreeSet<_>>().len() > 3);
}

#[test]
fn fgd_does_not_strand_devices_of_a_node_with_few_cores() {
    let place = |placement| {
        let mut pool = pool(placement, &[(2, 2), (16, 2)]);
        pool.expect(&whole(), 2);
        let id = pool.enter(Ask::new(shape(2, 1)));
        pool.place(id).0
    };
    assert_eq!(place(PlacementPolicy::Pack), 0);
    assert_eq!(place(PlacementPolicy::Fgd), 1);
    assert_eq!(place(PlacementPolicy::Gaps), 1);
}

#[test]
fn gaps_keeps_the_rest_beside_470_for_470() {
    let device = |placement| {
        let mut pool = pool(placement, &[(64, 2)]);
        for (compute, times) in [(470, 8), (320, 4), (650, 4)] {
            pool.expect(&share(compute), times);
        }
        let first = pool.enter(share(470));
        assert_eq!(pool.place(first), (0, Some(0)));
        let second = pool.enter(share(320));
        pool.place(second).1
    };
    assert_eq!(device(PlacementPolicy::Pack), Some(0), "530 is the tightest");
    assert_eq!(device(PlacementPolicy::Gaps), Some(1), "680 is left, where 650 fits");
}

#[test]
fn topology_takes_the_tightest_switch_and_the_fewest() {
    let mut world = World::new();
    for switch in ["a", "a", "b", "b", "c", "c", "c"] {
        world.node(4, 16, &[], &[("switch", switch)]);
    }
    let settings = Settings { placement: PlacementPolicy::Topology, ..Settings::default() };
    let nodes = |tasks: u32| {
        let mut pool = Pool::with(world.clone(), settings.clone());
        let id = pool.enter(Ask::new(shape(4, 1)).tasks(tasks, tasks));
        let placed = pool.world.placed(id).expect("it has a place");
        placed.tasks.iter().map(|task| task.node.0).collect::<BTreeSet<_>>()
    };
    assert_eq!(nodes(2), BTreeSet::from([0, 1]));
    assert_eq!(nodes(3), BTreeSet::from([4, 5, 6]));
    assert_eq!(nodes(5), BTreeSet::from([0, 1, 4, 5, 6]));
}

#[test]
fn topology_keeps_a_tasks_devices_on_one_numa_node() {
    let devices = |placement| {
        let mut world = World::new();
        let numa = |numa| Device { numa: Some(numa), ..World::gpu("L4", 24) };
        world.node(8, 64, &[numa(0), numa(1), numa(1), numa(1), numa(2), numa(2)], &[]);
        let mut pool = Pool::with(world, Settings { placement, ..Settings::default() });
        let mut ask = shape(1, 1);
        ask.devices.push(gpus(2));
        let id = pool.enter(Ask::new(ask));
        let placed = pool.world.placed(id).expect("it has a place");
        placed.tasks[0].devices.iter().map(|grant| grant.device).collect::<Vec<u32>>()
    };
    assert_eq!(devices(PlacementPolicy::Pack), [0, 1], "ordinals alone");
    assert_eq!(devices(PlacementPolicy::Topology), [4, 5], "1 has one more than is asked for");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [`Places`] is the planner without its queues: the same nodes and devices for tasks that come one by one.
    #[test]
    fn places_are_the_planners(
        placement in prop::sample::select(&PlacementPolicy::ALL[..]),
        nodes in prop::collection::vec((1_u64..9, 0_usize..5), 1..8),
        tasks in prop::collection::vec((1_u64..4, prop::sample::select(vec![0, 150, 400, 470, 650, 1000, 2000])), 1..40),
    ) {
        let mut pool = pool(placement, &nodes);
        let mut places = Places::new(&pool.world.snapshot.nodes, &pool.settings);
        for (cores, devices) in tasks {
            let mut shape = shape(cores, 1);
            match devices {
                0 => {}
                1000.. => shape.devices.push(gpus(u32::try_from(devices / 1000).expect("one or two"))),
                _ => shape.devices.push(gpu_share(devices, 0)),
            }
            places.arrive(&shape, 1);
            let want = places.know(&shape);
            let found = places.find(want, &[]);
            let id = pool.enter(Ask::new(shape));
            let Some(placed) = pool.world.placed(id) else {
                prop_assert_eq!(found, None);
                pool.world.withdraw(id);
                continue;
            };
            let task = &placed.tasks[0];
            let devices: Vec<u32> = task.devices.iter().map(|grant| grant.device).collect();
            let found = found.expect("the planner found one");
            prop_assert_eq!((found.node(), found.devices().collect::<Vec<u32>>()), (task.node, devices));
            places.take(&found);
        }
    }
}
