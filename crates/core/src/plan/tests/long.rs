//! A pool that runs for weeks: what a planner keeps from plan to plan stays as large as the pool and its line.

use super::*;
use crate::plan::world::{Ask, gpus, shape};
use crate::snapshot::{NodeOrd, QueueOrd};

/// Keeps a small full pool going: each tick some end and as many come, of ever other shapes and spans; now and then a node
/// is given another size. The most that was kept of each thing, in each quarter.
fn most_kept(ticks: u64) -> Vec<Vec<(&'static str, usize)>> {
    let mut world = World::new();
    for node in 0..40 {
        let devices = vec![World::gpu("NVIDIA H100 80GB HBM3", 80); if node % 2 == 0 { 8 } else { 0 }];
        world.node(64, 256, &devices, &[]);
    }
    let (mut planner, mut most) = (Planner::new(Settings::default()), Vec::new());
    for tick in 0..ticks {
        let now = Timestamp(tick * SECOND);
        let running: Vec<GangId> = world.running().map(|(row, _)| row.id).collect();
        running.into_iter().filter(|gang| (gang.job.0 + tick) % 8 == 0).for_each(|gang| world.end(gang));
        while world.pending() < 60 {
            let kind = world.snapshot.epoch;
            let mut task = shape(8 + kind % 16, 1 + kind % 1009);
            if kind.is_multiple_of(2) {
                task.devices.push(gpus(1 + (kind / 2 % 8) as u32));
            }
            let ask = Ask::new(task).limit(10 + kind % 97).priority(400 + (kind % 3 * 100) as u16);
            world.submit(QueueOrd(0), ask.tasks(1 + (kind % 5 / 4) as u32, 1 + (kind % 5 / 4) as u32), now);
        }
        if tick.is_multiple_of(5) {
            world.edit_node(NodeOrd((tick % 40) as u32), |row| row.capacity.memory.0 += tick);
        }
        world.settle();
        let plan = planner.plan(&world.snapshot, now);
        world.apply(&plan, now);
        let kept = planner.kept();
        let quarter: &mut Vec<(&str, usize)> = match most.get_mut((tick * 4 / ticks) as usize) {
            Some(quarter) => quarter,
            None => {
                most.push(kept.clone());
                most.last_mut().expect("it was put there")
            }
        };
        quarter.iter_mut().zip(kept).for_each(|(most, now)| most.1 = most.1.max(now.1));
    }
    most
}

#[test]
fn what_is_kept_does_not_grow_with_the_plans_that_were_made() {
    let most = most_kept(16_000);
    for ((what, early), (_, late)) in most[1].iter().zip(&most[3]) {
        assert!(*late <= early + early / 4 + 64, "{what}: {early} early, {late} late");
    }
}
