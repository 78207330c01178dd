//! Properties that hold of every pool, tried on random ones in a closed loop.

use super::*;
use crate::model::{Class, GangSize, QueueSpec};
use crate::plan::world::{Ask, gpu_part, gpu_share, gpus, shape};
use crate::snapshot::{NodeOrd, PlacementPolicy, QueueOrd};
use crate::units::{MilliCpu, Millis};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
struct Gang {
    queue: u32,
    cores: u64,
    gib: u64,
    device: u8,
    class: u8,
    priority: u16,
    size: (u32, u32),
    limit: Option<u64>,
    min_runtime: u64,
    preemptible: bool,
    /// Half the cores and a share of a device would do as well.
    modest: bool,
}

fn gang() -> impl Strategy<Value = Gang> {
    let first =
        (1_u32..5, 1_u64..9, 1_u64..17, 0_u8..8, 0_u8..6, prop_oneof![Just(250_u16), Just(500), Just(750)]);
    let second = (
        (1_u32..4, 0_u32..3),
        prop::option::of(1_u64..200),
        prop_oneof![Just(0_u64), Just(30)],
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.2),
    );
    (first, second).prop_map(
        |(
            (queue, cores, gib, device, class, priority),
            ((min, extra), limit, min_runtime, preemptible, modest),
        )| {
            Gang {
                queue,
                cores,
                gib,
                device,
                class,
                priority,
                size: (min, min + extra),
                limit,
                min_runtime,
                preemptible,
                modest,
            }
        },
    )
}

impl Gang {
    fn ask(&self) -> Ask {
        let mut shape = shape(self.cores, self.gib);
        match self.device {
            0 => shape.devices.push(gpus(1)),
            1 => shape.devices.push(gpu_share(300, 10)),
            2 => shape.devices.push(gpus(2)),
            3 => shape.devices.push(gpu_part(["1g.6gb", "2g.12gb", "4g.24gb"][self.cores as usize % 3])),
            _ => {}
        }
        let class = [Class::Critical, Class::Spare, Class::Standard][usize::from(self.class.min(2))];
        let mut ask = Ask::new(shape).class(class).priority(self.priority);
        ask.row.size = GangSize { min: self.size.0, max: self.size.1 };
        ask.row.time_limit = self.limit.map(Millis::from_secs);
        ask.row.min_runtime = Millis::from_secs(self.min_runtime);
        ask.row.preemptible = self.preemptible;
        if self.modest {
            let mut other = crate::plan::world::shape(self.cores.div_ceil(2), self.gib);
            other.devices.push(gpu_share(500, 10));
            ask.shapes.push(other);
        }
        ask
    }
}

fn world(nodes: usize) -> World {
    let mut world = World::new();
    let mut a = QueueSpec::new("a");
    (a.guarantee.cpu, a.limit.cpu) = (Some(12_000), Some(30_000));
    world.queue(a);
    world.queue(QueueSpec::new("a/x"));
    let mut b = QueueSpec::new("b");
    (b.weight, b.limit.running) = (300, Some(6));
    world.queue(b);
    let mut c = QueueSpec::new("c");
    c.guarantee.cpu = Some(8_000);
    world.queue(c);
    let gpu = World::gpu("A30", 24);
    for node in 0..nodes {
        let switch = ["s", "t"][node % 2];
        world.node(
            8,
            32,
            if node % 2 == 0 { &[] } else { std::slice::from_ref(&gpu) },
            &[("switch", switch)],
        );
    }
    world
}

/// What each batch does: submits, then some seconds pass.
fn story() -> impl Strategy<Value = (usize, Vec<(Vec<Gang>, u64)>)> {
    (1_usize..7, prop::collection::vec((prop::collection::vec(gang(), 0..8), 1_u64..60), 1..8))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Feasible (every plan passes the checks), gang-atomic, within limits, at rest after each batch, and the same
    /// plan with and without what the planner kept: all asserted by `Pool::plan` and `Pool::run` at every step.
    #[test]
    fn sound_and_at_rest_over_any_story(
        (nodes, story) in story(),
        placement in prop::sample::select(&PlacementPolicy::ALL[..]),
    ) {
        let mut pool = Pool::with(world(nodes), Settings { placement, ..Settings::default() });
        for (gangs, seconds) in story {
            for gang in gangs {
                let at = pool.at();
                pool.world.submit(QueueOrd(gang.queue), gang.ask(), at);
            }
            pool.run();
            for (row, placed) in pool.world.running() {
                prop_assert!((row.size.min..=row.size.max).contains(&(placed.tasks.len() as u32)));
            }
            pool.pass(seconds);
        }
    }

    /// Nobody is evicted twice within the calm period, and no two gangs ever evict each other.
    #[test]
    fn nobody_plays_ping_pong((nodes, story) in story()) {
        let mut pool = Pool::new(world(nodes));
        let mut last: BTreeMap<GangId, u64> = BTreeMap::new();
        let mut pairs: Vec<(GangId, GangId)> = Vec::new();
        for (gangs, seconds) in story {
            for gang in gangs {
                let at = pool.at();
                pool.world.submit(QueueOrd(gang.queue), gang.ask(), at);
            }
            for _ in 0..4 {
                let plan = pool.plan();
                for decision in &plan.decisions {
                    let Decision::Preempt { gang, cause, .. } = decision else { continue };
                    if let Some(before) = last.insert(*gang, pool.now) {
                        prop_assert!(pool.now - before >= Settings::default().calm.0, "{gang} evicted twice");
                    }
                    if let crate::plan::PreemptCause::Priority { beneficiary } = cause {
                        prop_assert!(!pairs.contains(&(*gang, *beneficiary)), "{gang} and {beneficiary} evict each other");
                        pairs.push((*beneficiary, *gang));
                    }
                }
                pool.world.settle();
            }
            pool.pass(seconds);
        }
    }

    /// Lending looks at what changed and decides as if it had looked at everything: asserted by `Pool::plan` at every step.
    #[test]
    fn lending_over_any_load(
        nodes in 1_usize..5,
        gangs in prop::collection::vec((1_u64..7, 1_u32..4, 0_u8..4, 1_u16..3), 1..10),
        loads in prop::collection::vec((0_u32..5, 0_u64..8001, 0_u64..8001, 0_u64..700, 0_u8..10), 1..24),
    ) {
        let mut pool = Pool::new(world(nodes));
        let quiet = |row: &mut crate::snapshot::NodeRow| (row.busy_p95, row.busy_now) = Default::default();
        (0..nodes as u32).for_each(|node| pool.world.edit_node(NodeOrd(node), quiet));
        let mut ids = Vec::new();
        for (cores, tasks, class, priority) in gangs {
            let class = if class == 0 { Class::Standard } else { Class::Spare };
            let ask = Ask::new(shape(cores, 1)).class(class).tasks(tasks, tasks).priority(priority);
            ids.push(pool.world.submit(QueueOrd(0), ask, pool.at()));
        }
        pool.plan();
        for (node, p95, now, ms, over) in loads {
            let granted = pool.world.snapshot.nodes[node as usize % nodes].granted.cpu.0;
            pool.world.edit_node(NodeOrd(node % nodes as u32), |row| {
                (row.busy_p95, row.busy_now) = (MilliCpu(p95.min(granted)), MilliCpu(now));
            });
            if let Some(id) = ids.get(usize::from(over)).filter(|id| pool.runs(**id)) {
                pool.world.end(*id);
            }
            pool.plan();
            pool.world.settle();
            pool.now += ms;
        }
    }

    /// More of the same nodes never place fewer gangs: provable, and held, for single tasks of one shape in one queue.
    /// For mixed shapes no list-scheduling greedy is monotone (a larger early gang may take the room of two later ones).
    #[test]
    fn monotone_in_capacity_for_one_shape(cores in 1_u64..9, gangs in 1_usize..40, nodes in 1_usize..6) {
        let placed = |nodes: usize| {
            let mut pool = Pool::new(world(nodes));
            for _ in 0..gangs {
                pool.world.submit(QueueOrd(0), Ask::new(shape(cores, 1)), Timestamp(0));
            }
            pool.run();
            pool.world.running().count()
        };
        prop_assert!(placed(nodes + 1) >= placed(nodes));
    }

    /// Two queues with endless work and equal weight differ by no more than one task of the larger, in dominant share.
    #[test]
    fn equal_queues_get_equal_shares(cores in (1_u64..5, 1_u64..5), gib in (1_u64..5, 1_u64..5), nodes in 2_usize..6) {
        let mut world = World::new();
        for _ in 0..nodes { world.node(16, 64, &[], &[]); }
        let queues = [world.queue(QueueSpec::new("a")), world.queue(QueueSpec::new("b"))];
        let shapes = [shape(cores.0, gib.0), shape(cores.1, gib.1)];
        for (queue, shape) in queues.iter().zip(&shapes) {
            for _ in 0..nodes * 16 {
                world.submit(*queue, Ask::new(shape.clone()), Timestamp(0));
            }
        }
        let mut pool = Pool::new(world);
        pool.run();
        let share = |cores: u64, gib: u64, count: u64| (cores * count * 4).max(gib * count);
        let count = |queue: QueueOrd| pool.world.snapshot.queue(queue).used.running;
        let shares = [share(cores.0, gib.0, count(queues[0])), share(cores.1, gib.1, count(queues[1]))];
        let largest = share(cores.0, gib.0, 1).max(share(cores.1, gib.1, 1));
        // What one queue's task no longer fits into, the other may take: up to a node's rest each.
        let rest = largest * nodes as u64;
        prop_assert!(shares[0].abs_diff(shares[1]) <= largest + rest, "{shares:?}");
    }

    /// A gang as large as the pool starts under an endless stream of small ones, within their longest duration.
    #[test]
    fn large_gangs_do_not_starve(nodes in 1_u32..5, limit in 5_u64..60, rate in 1_usize..6) {
        let mut pool = Pool::new(world(0));
        for _ in 0..nodes { pool.world.node(8, 32, &[], &[]); }
        let at = pool.at();
        for _ in 0..nodes * 4 {
            pool.world.submit(QueueOrd(0), Ask::new(shape(2, 1)).limit(limit), at);
        }
        pool.run();
        pool.now += SECOND;
        let at = pool.at();
        let large = pool.world.submit(QueueOrd(0), Ask::new(shape(8, 1)).tasks(nodes, nodes).limit(10), at);
        for _ in 0..=limit {
            if pool.runs(large) {
                break;
            }
            let at = pool.at();
            for _ in 0..rate {
                pool.world.submit(QueueOrd(0), Ask::new(shape(2, 1)).limit(limit), at);
            }
            pool.run();
            pool.pass(1);
        }
        pool.run();
        prop_assert!(pool.runs(large));
    }
}

fn plain(queue: u32, cores: u64, gib: u64, class: u8, size: u32) -> Gang {
    Gang {
        queue,
        cores,
        gib,
        device: 3,
        class,
        priority: 250,
        size: (size, size),
        limit: None,
        min_runtime: 0,
        preemptible: false,
        modest: false,
    }
}

/// Found by random stories: a node that was read while a plan had changed it was taken to be so for ever.
#[test]
fn what_a_plan_only_tried_is_not_remembered() {
    let mut pool = Pool::new(world(3));
    let story = [
        vec![plain(1, 8, 1, 2, 3)],
        vec![plain(2, 1, 1, 2, 2)],
        vec![
            Gang { priority: 750, limit: Some(94), ..plain(1, 1, 9, 2, 2) },
            Gang { device: 0, ..plain(1, 1, 1, 0, 1) },
            Gang { device: 0, ..plain(1, 5, 15, 0, 1) },
        ],
        vec![plain(3, 3, 1, 2, 3)],
        vec![
            Gang { limit: Some(1), ..plain(1, 5, 1, 0, 2) },
            Gang { priority: 500, ..plain(2, 5, 1, 2, 1) },
            Gang { priority: 500, ..plain(3, 4, 1, 2, 2) },
        ],
    ];
    for gangs in story {
        for mut gang in gangs {
            gang.preemptible = gang.class == 2 && gang.limit.is_none() && gang.priority == 250;
            let at = pool.at();
            pool.world.submit(QueueOrd(gang.queue), gang.ask(), at);
        }
        for _ in 0..4 {
            pool.plan();
            pool.world.settle();
        }
        pool.pass(1);
    }
}
