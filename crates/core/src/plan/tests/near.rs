//! Devices of one node that are near to each other, on nodes that say how theirs are joined.

use super::*;
use crate::model::{Device, Link, Shape, ShareMode};
use crate::plan::world::{Ask, gpu_share, gpus, shape};
use crate::snapshot::{PlacementPolicy, QueueOrd};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Devices that are joined as a function of their ordinals says.
fn joined(count: usize, link: impl Fn(usize, usize) -> Link) -> Vec<Device> {
    let mut devices = vec![World::gpu("L4", 24); count];
    for (at, device) in devices.iter_mut().enumerate() {
        device.traits.links = (0..at).map(|before| link(before, at)).collect();
    }
    devices
}

/// Two islands of NVLink, four GPUs each: 0 to 3, 4 to 7.
fn islands() -> World {
    let mut world = World::new();
    let link = |a: usize, b: usize| if a / 4 == b / 4 { Link::nvlink(12) } else { Link::SYSTEM };
    world.node(64, 256, &joined(8, link), &[]);
    world
}

fn ask(devices: u32) -> Shape {
    let mut shape = shape(1, 1);
    shape.devices.push(gpus(devices));
    shape
}

/// The devices of all tasks of a gang that comes.
fn enter(pool: &mut Pool, shape: Shape, tasks: u32) -> BTreeSet<u32> {
    let at = pool.at();
    let id = pool.world.submit(QueueOrd(0), Ask::new(shape).tasks(tasks, tasks), at);
    pool.plan();
    let placed = pool.world.placed(id).expect("it has a place");
    placed.tasks.iter().flat_map(|task| task.devices.iter()).map(|grant| grant.device).collect()
}

#[test]
fn four_gpus_are_of_one_island_under_every_policy() {
    for placement in PlacementPolicy::ALL {
        let mut pool = Pool::with(islands(), Settings { placement, ..Settings::default() });
        let alone = enter(&mut pool, ask(1), 1);
        let other: BTreeSet<u32> = if alone.first() < Some(&4) { (4..8).collect() } else { (0..4).collect() };
        assert_eq!(enter(&mut pool, ask(4), 1), other, "{placement:?}");
    }
}

#[test]
fn ranks_of_one_gang_stand_together_as_the_devices_of_one_task_do() {
    for (devices, tasks) in [(1, 4), (2, 2)] {
        let mut pool = Pool::new(islands());
        enter(&mut pool, ask(1), 1);
        enter(&mut pool, ask(1), 1);
        let gang = enter(&mut pool, ask(devices), tasks);
        assert_eq!(gang, (4..8).collect(), "{tasks} of {devices}");
    }
}

/// The devices of an elastic gang's ranks, as far as it has grown.
fn of_gang(pool: &Pool, id: GangId) -> BTreeSet<u32> {
    let tasks = pool.world.placed(id).into_iter().flat_map(|placed| &placed.tasks);
    tasks.flat_map(|task| task.devices.iter()).map(|grant| grant.device).collect()
}

#[test]
fn ranks_that_come_later_stand_near_those_that_are_there() {
    // One pair of eight is joined, and which its other half is the first rank alone can tell.
    for (first, other) in [(0, 6), (2, 7), (5, 3)] {
        let joins = |a: usize, b: usize| (a, b) == (first.min(other), first.max(other));
        let link = |a: usize, b: usize| if joins(a, b) { Link::nvlink(4) } else { Link::SYSTEM };
        let mut world = World::new();
        let node = world.node(64, 256, &joined(8, link), &[]);
        let mut pool = Pool::new(world);
        let well = |pool: &mut Pool, is: &dyn Fn(usize) -> bool| {
            let set = |row: &mut crate::snapshot::NodeRow| {
                row.devices.iter_mut().enumerate().for_each(|(at, device)| device.healthy = is(at));
            };
            pool.world.edit_node(node, set);
        };
        well(&mut pool, &|at| at == first);
        let at = pool.at();
        let id = pool.world.submit(QueueOrd(0), Ask::new(ask(1)).tasks(1, 2), at);
        pool.run();
        assert_eq!(of_gang(&pool, id), BTreeSet::from([first as u32]));
        well(&mut pool, &|_| true);
        pool.run();
        assert_eq!(of_gang(&pool, id), BTreeSet::from([first as u32, other as u32]));
    }
}

#[test]
fn extra_ranks_of_a_gang_that_starts_stand_near_its_first_ones() {
    // 0 is the farthest from all, so the first rank has it; only 3 is near to it.
    let link = |a: usize, b: usize| if a > 0 || b == 3 { Link::SWITCH } else { Link::SYSTEM };
    let mut world = World::new();
    world.node(64, 256, &joined(8, link), &[]);
    let mut pool = Pool::new(world);
    let at = pool.at();
    let id = pool.world.submit(QueueOrd(0), Ask::new(ask(1)).tasks(1, 2), at);
    pool.plan();
    assert_eq!(of_gang(&pool, id), BTreeSet::from([0, 3]));
}

#[test]
fn small_tasks_fill_a_broken_island_before_they_break_a_whole_one() {
    let mut pool = Pool::new(islands());
    assert_eq!(enter(&mut pool, ask(2), 1), BTreeSet::from([0, 1]));
    assert_eq!(enter(&mut pool, ask(1), 1), BTreeSet::from([2]));
    assert_eq!(enter(&mut pool, ask(1), 1), BTreeSet::from([3]));
    assert_eq!(enter(&mut pool, ask(4), 1), (4..8).collect());
}

#[test]
fn two_shares_are_near_each_other_before_they_fill_devices() {
    let mut pool = Pool::new(islands());
    let mut half = shape(1, 1);
    half.devices.push(gpu_share(500, 0));
    assert_eq!(enter(&mut pool, half.clone(), 1), BTreeSet::from([0]));
    assert_eq!(enter(&mut pool, ask(2), 1), BTreeSet::from([1, 2]), "the island that is broken already");
    // Of what is left 0 is the fullest, and far from all but 3.
    let mut two = half;
    two.devices[0].count = 2;
    assert_eq!(enter(&mut pool, two.clone(), 1), BTreeSet::from([0, 3]));
    assert_eq!(enter(&mut pool, two, 1), BTreeSet::from([4, 5]));
}

#[test]
fn ranks_with_parts_of_devices_fill_one_before_the_next() {
    let mut pool = Pool::new(islands());
    let part = |compute: u64| {
        let mut part = shape(1, 1);
        part.devices.push(gpu_share(compute, 0));
        part
    };
    assert_eq!(enter(&mut pool, part(500), 2), BTreeSet::from([0]));
    let many = enter(&mut pool, part(10), 50);
    assert!(many.len() == 1 && !many.contains(&0), "{many:?}");
}

#[test]
fn a_gpu_and_what_feeds_it_are_under_one_switch() {
    let mut world = World::new();
    // Four GPUs, and two others: 4 under a switch with 2 and 3, 5 with 0 and 1.
    let link = |a: usize, b: usize| match (a, b) {
        (0 | 1, 5) | (2 | 3, 4) | (0, 1) | (2, 3) => Link::SWITCH,
        _ => Link::NUMA,
    };
    let mut devices = joined(6, link);
    for device in &mut devices[4..] {
        device.kind = crate::model::DeviceKind::Fpga;
        device.modes = vec![ShareMode::Exclusive];
        device.traits.layout = None;
    }
    world.node(64, 256, &devices, &[]);
    let mut pool = Pool::new(world);
    let mut both = ask(1);
    both.devices.push(crate::model::DeviceRequest { kind: crate::model::DeviceKind::Fpga, ..gpus(1) });
    assert_eq!(enter(&mut pool, both.clone(), 1), BTreeSet::from([0, 5]));
    assert_eq!(enter(&mut pool, both, 1), BTreeSet::from([2, 4]));
}

/// Sum and largest of the distances between devices.
fn cost(devices: &[Device], chosen: &[usize]) -> (u32, u8) {
    let pairs = chosen.iter().enumerate().flat_map(|(at, a)| chosen[..at].iter().map(move |b| (*a, *b)));
    pairs.fold((0, 0), |(sum, largest), (a, b)| {
        let distance = devices[a.max(b)].traits.links[a.min(b)].distance();
        (sum + u32::from(distance), largest.max(distance))
    })
}

fn sets(of: &[usize], count: usize) -> Vec<Vec<usize>> {
    match (count, of.split_first()) {
        (0, _) => vec![Vec::new()],
        (_, None) => Vec::new(),
        (_, Some((first, rest))) => {
            let with = sets(rest, count - 1).into_iter().map(|mut set| {
                set.push(*first);
                set
            });
            with.chain(sets(rest, count)).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Against all sets of as many free devices: for one task, and for a gang of tasks with a device each.
    #[test]
    fn no_other_devices_are_nearer(
        links in prop::collection::vec(
            prop::sample::select(vec![
                Link::nvlink(18), Link::nvlink(2), Link::nvlink(1), Link::SWITCH, Link::SWITCHES, Link::BRIDGE,
                Link::NUMA, Link::SYSTEM,
            ]),
            28,
        ),
        sick in prop::collection::vec(prop::bool::weighted(0.25), 8),
        wanted in 1_u32..7,
        as_gang in any::<bool>(),
    ) {
        let devices = joined(8, |a, b| links[b * (b - 1) / 2 + a]);
        let able: Vec<usize> = (0..8).filter(|at| !sick[*at]).collect();
        prop_assume!(able.len() >= wanted as usize);
        let mut world = World::new();
        world.node(64, 256, &devices, &[]);
        for (row, sick) in world.snapshot.nodes[0].devices.iter_mut().zip(&sick) {
            row.healthy = !sick;
        }
        let mut pool = Pool::new(world);
        let (each, tasks) = if as_gang { (1, wanted) } else { (wanted, 1) };
        let got: Vec<usize> = enter(&mut pool, ask(each), tasks).into_iter().map(|at| at as usize).collect();
        let best = sets(&able, wanted as usize).iter().map(|set| cost(&devices, set)).min();
        prop_assert_eq!(Some(cost(&devices, &got)), best, "{:?}", got);
    }
}
