//! After a restart: what a node says it has, against what the engine believes it has.

use super::Engine;
use super::change::Out;
use super::job::{Gang, HeldDevice, TaskState};
use crate::event::{Allocation, Effect, Exit, Found, Launch};
use crate::ids::{GangId, Generation, NodeName, TaskId};
use crate::units::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Reconciles by generation: re-issues what was lost on the way, ends what is gone, fences what must not be there.
    ///
    /// It rests on one promise of substrates: a generation that was ever started is listed, running or ended,
    /// until it is fenced or its job purged. What is not listed can be started.
    pub(super) fn inventory(
        &mut self,
        node: &NodeName,
        found: &[(TaskId, Generation, Found)],
        out: &mut Out,
    ) {
        let Some(ord) = self.rows.node_ord(node) else {
            self.counters.unknown_node = self.counters.unknown_node.saturating_add(1);
            return;
        };
        self.heard(ord, out);
        let mut here: BTreeMap<TaskId, Found> = BTreeMap::new();
        for (task, generation, state) in found {
            let known = self.nodes[ord.0 as usize].tasks.contains(task);
            if known && self.task(*task).is_some_and(|known| known.generation == *generation) {
                here.insert(*task, *state);
            } else if matches!(state, Found::Running { .. }) {
                self.fence(ord, *task, *generation, out);
                self.outgrow(*task, *generation);
            }
        }
        let believed: Vec<TaskId> = self.nodes[ord.0 as usize].tasks.iter().copied().collect();
        for id in believed {
            match (here.get(&id), self.task(id).map(|task| task.state)) {
                (_, None | Some(TaskState::Ended(_))) => {}
                (Some(Found::Running { .. }), Some(state)) => {
                    if state == TaskState::Starting {
                        self.started(id, None, Vec::new(), out);
                    }
                    self.repeat_wishes(id, out);
                }
                (Some(Found::Ended { exit, .. }), Some(_)) => self.exited(id, *exit, out),
                (None, Some(TaskState::Starting)) => self.start_again(id, out),
                (None, Some(TaskState::Running)) => self.exited(id, Exit::Lost, out),
            }
        }
    }

    /// A generation seen in the world is never given out again.
    fn outgrow(&mut self, id: TaskId, generation: Generation) {
        if let Some(gang) = self.gang_mut(id.gang).filter(|gang| gang.live().is_none()) {
            gang.generation = gang.generation.max(generation);
        }
    }

    /// A task that was to be started and is not there: started again, under the same generation. One that is being
    /// ended is over when its node says so, and not before: its start may still be on the way.
    fn start_again(&mut self, id: TaskId, out: &mut Out) {
        let Some(live) = self.gang(id.gang).and_then(Gang::live) else { return };
        let leaves = live.shrinking.is_some_and(|shrinking| id.rank >= shrinking.to);
        if live.ending.is_some() || leaves {
            self.repeat_wishes(id, out);
        } else {
            self.launch(id.gang, [id.rank], out);
        }
    }

    /// Tells a running task once more what it may have missed.
    fn repeat_wishes(&mut self, id: TaskId, out: &mut Out) {
        let now = self.now;
        let Some(gang) = self.gang(id.gang) else { return };
        let Some(live) = gang.live() else { return };
        let Some(task) = self.task(id) else { return };
        let generation = task.generation;
        let node = || self.node_name(task.node).to_owned();
        let leaves = live.shrinking.is_some_and(|shrinking| id.rank >= shrinking.to);
        if let Some(ending) = &live.ending {
            let grace = Millis(ending.grace.0.saturating_sub(now.since(ending.since).0));
            out.effects.push(Effect::Stop {
                task: id,
                generation,
                signal: ending.signal,
                grace,
                node: node(),
            });
            return;
        }
        if leaves {
            out.effects.push(Effect::Stop {
                task: id,
                generation,
                signal: 15,
                grace: Millis::ZERO,
                node: node(),
            });
            return;
        }
        if task.limits_before.is_some() || task.cpu_limit < task.limits.burst.cpu {
            self.tell_resize(id, out);
        }
        out.effects.push(Effect::Freeze { task: id, generation, frozen: live.is_frozen(), node: node() });
    }

    /// Tells the substrate to start tasks of a gang that have a place.
    pub(super) fn launch(&self, id: GangId, ranks: impl IntoIterator<Item = u32>, out: &mut Out) {
        let Some(live) = self.gang(id).and_then(Gang::live) else { return };
        // One list for all: a list for each of its tasks would be that of a gang of 40,000 as often as it has tasks.
        let peers: Arc<[NodeName]> =
            live.tasks.iter().map(|task| self.node_name(task.node).to_owned()).collect();
        for rank in ranks {
            self.launch_rank(id.task(rank), &peers, out);
        }
    }

    fn launch_rank(&self, id: TaskId, peers: &Arc<[NodeName]>, out: &mut Out) {
        let Some(job) = self.jobs.get(&id.gang.job) else { return };
        let Some(gang) = job.gang(id.gang.index) else { return };
        let Some(live) = gang.live() else { return };
        let Some(task) = live.rank(id.rank) else { return };
        let name = |ord| self.node_name(ord).to_owned();
        let launch = Launch {
            allocation: Allocation {
                task: id,
                generation: task.generation,
                node: name(task.node),
                shape: live.alternative,
                request: task.limits.request,
                burst: task.limits.burst,
                devices: Arc::clone(&task.devices),
                shares: task.held.iter().map(HeldDevice::terms).collect(),
            },
            name: job.spec.name.to_owned(),
            user: job.spec.user.to_owned(),
            class: job.spec.class,
            attempt: gang.attempt,
            peers: Arc::clone(peers),
            keep_layer: gang.keep_layer,
            deadline: live.deadline,
            checkpoint_dir: job.spec.checkpoint.as_ref().and_then(|save| save.dir.to_owned()),
            run: Arc::clone(&job.spec.run),
        };
        out.effects.push(Effect::Start(Box::new(launch)));
    }
}
