//! Carrying a plan out: every decision is checked against the state as it is now, then done whole or not at all.

use super::change::{Committed, Out, Stale, StaleReason};
use super::job::{Gang, HeldDevice, Limits, Live, Past, Phase, Task, TaskState, Then};
use super::room::seats;
use super::rows::{Counted, GangRows};
use super::{Engine, Samples, Timer};
use crate::event::DeviceGrant;
use crate::ids::{GangId, Generation, TaskId};
use crate::meter::Hold;
use crate::model::{Class, ShareMode};
use crate::plan::{Decision, HoldReason, Placement, Plan, PreemptCause};
use crate::snapshot::{NodeOrd, Shrinking};
use crate::units::{MilliCpu, Millis, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

type Step = Result<(), StaleReason>;

impl Engine {
    pub(super) fn carry_out(&mut self, plan: &Plan) -> Committed {
        let seen = plan.epoch == self.rows.snapshot.epoch;
        if seen {
            self.rows.clear_touched();
        }
        self.wants_plan = !seen;
        self.plan_again = plan.again.unwrap_or(Timestamp::NEVER);
        let (effects, changes) = (Vec::new(), Vec::with_capacity(plan.decisions.len().min(64)));
        let mut out = Out { effects, changes };
        let mut stale = Vec::new();
        for decision in &plan.decisions {
            if let Err(why) = self.decide(decision, &mut out) {
                self.counters.stale = self.counters.stale.saturating_add(1);
                stale.push(Stale { decision: decision.to_owned(), why });
            }
        }
        Committed { effects: out.effects, changes: out.changes, stale }
    }

    /// Leaves out of a plan what would change nothing: holds for a reason that is known already.
    pub fn thin(&self, plan: &mut Plan) {
        plan.decisions.retain(|decision| match decision {
            Decision::Hold { gang, reason } => {
                self.gang(*gang).is_none_or(|gang| gang.hold.as_ref() != Some(reason))
            }
            _ => true,
        });
    }

    fn decide(&mut self, decision: &Decision, out: &mut Out) -> Step {
        match decision {
            Decision::Place { gang, alternative, tasks } => {
                self.place(*gang, *alternative, tasks, decision, out)
            }
            Decision::Grow { gang, generation, tasks } => self.grow(*gang, *generation, tasks, decision, out),
            Decision::Shrink { gang, generation, to, beneficiary } => {
                self.is_at(*gang, *generation)?;
                self.shrink(*gang, Shrinking { to: *to, beneficiary: *beneficiary }, decision, out)
            }
            Decision::Preempt { gang, generation, cause } => {
                self.is_at(*gang, *generation)?;
                self.preempt(*gang, cause, decision, out)
            }
            Decision::Freeze { gang, generation } => {
                self.is_at(*gang, *generation)?;
                self.freeze(*gang, true, decision, out)
            }
            Decision::Thaw { gang, generation } => {
                self.is_at(*gang, *generation)?;
                self.freeze(*gang, false, decision, out)
            }
            Decision::Limit { task, generation, cpu } => self.limit(*task, *generation, *cpu, out),
            Decision::Hold { gang, reason } => self.hold(*gang, reason),
        }
    }

    /// Whether a gang has a place under this generation and is not leaving it.
    fn is_at(&self, id: GangId, generation: Generation) -> Step {
        let gang = self.gang(id).ok_or(StaleReason::Gone)?;
        let live = gang.live().ok_or(StaleReason::Phase)?;
        match () {
            () if gang.generation != generation => Err(StaleReason::Generation),
            () if live.ending.is_some() => Err(StaleReason::Phase),
            () => Ok(()),
        }
    }

    fn hold(&mut self, id: GangId, reason: &HoldReason) -> Step {
        let gang = self.gang_mut(id).ok_or(StaleReason::Gone)?;
        match gang.phase {
            Phase::Pending => {
                gang.hold = Some(reason.to_owned());
                Ok(())
            }
            // The engine knows better why it holds a gang back.
            Phase::Held(_) => Ok(()),
            _ => Err(StaleReason::Phase),
        }
    }

    fn place(
        &mut self,
        id: GangId,
        alternative: u32,
        tasks: &[Placement],
        decision: &Decision,
        out: &mut Out,
    ) -> Step {
        let now = self.now;
        let job = self.jobs.get(&id.job).ok_or(StaleReason::Gone)?;
        let gang = job.gang(id.index).ok_or(StaleReason::Gone)?;
        let (Phase::Pending, Some(rows)) = (&gang.phase, gang.rows) else { return Err(StaleReason::Phase) };
        let size = job.spec.size;
        let whole = (size.min as usize..=size.max as usize).contains(&tasks.len());
        if !whole || !(0_u32..).zip(tasks).all(|(rank, task)| task.rank == rank) {
            return Err(StaleReason::Ranks);
        }
        let shapes = self.rows.snapshot.demand(rows.demand);
        let shape = shapes.get(alternative as usize).ok_or(StaleReason::Ranks)?;
        let limits = Limits { request: shape.request, burst: shape.burst };
        let seats = seats(self, shape, job.spec.class, rows.queue, tasks, true)?;
        let deadline = job.spec.time_limit.map(|limit| now.after(limit));
        let gang = self.gang_mut(id).ok_or(StaleReason::Gone)?;
        let from = gang.state();
        gang.generation = Generation(gang.generation.0.saturating_add(1));
        gang.attempt = gang.attempt.saturating_add(1);
        let generation = gang.generation;
        let live = Live {
            alternative,
            placed: now,
            started: None,
            metered: None,
            worked: Millis::ZERO,
            deadline,
            tasks: Vec::with_capacity(tasks.len()),
            gone: Vec::new(),
            paused: false,
            frozen: None,
            ending: None,
            shrinking: None,
            resizing: super::resize::Resizing::default(),
            idle_since: None,
            asked: super::report::Asked::default(),
        };
        gang.phase = Phase::Placed(Box::new(live));
        self.remember(id, decision);
        self.rows.count_running(rows.queue, true);
        self.seat(id, rows, generation, limits, tasks, seats);
        self.timers.set(Timer::Start(id), now.after(self.settings.start_timeout));
        self.sync_row(id);
        let reason = place_reason(tasks);
        self.note_gang(id, from, reason, out);
        self.launch(id, tasks.iter().map(|task| task.rank), out);
        Ok(())
    }

    /// Gives each task its place: on its node, in its queues, in the meter.
    fn seat(
        &mut self,
        id: GangId,
        rows: GangRows,
        generation: Generation,
        limits: Limits,
        tasks: &[Placement],
        seats: Vec<(NodeOrd, Vec<HeldDevice>)>,
    ) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        for (placement, (node, held)) in tasks.iter().zip(seats) {
            let mut task = Task {
                rank: placement.rank,
                generation,
                node,
                state: TaskState::Starting,
                limits,
                limits_before: None,
                devices_before: Vec::new(),
                cpu_limit: limits.burst.cpu,
                devices: Arc::clone(&placement.devices),
                held,
                address: None,
                ports: Vec::new(),
                message: None,
                started: None,
                sessions: 0,
                samples: Samples::default(),
                device_samples: BTreeMap::new(),
                counted: Counted::default(),
            };
            task.counted = Counted::of(&task, class, false);
            self.rows.account(&task, class, rows.queue, true);
            self.rows.recount(node, Counted::default(), task.counted);
            self.rows.seat(node, rows.gang, true);
            let task_id = id.task(task.rank);
            self.nodes[node.0 as usize].tasks.insert(task_id);
            let rows = &self.rows.snapshot.node(node).devices;
            let measured = |at: usize, grant: &DeviceGrant| {
                let row = rows.get(grant.device as usize);
                task.held.get(at).is_some_and(|held| held.mode == ShareMode::Time)
                    && row.is_some_and(|row| row.spec.traits.measured)
            };
            self.meter.hold(
                now,
                &Hold {
                    task: task_id,
                    class,
                    queue: &job.spec.queue,
                    user: &job.spec.user,
                    node,
                    request: limits.request,
                    devices: &task.devices,
                },
                measured,
            );
            if let Some(live) = job.gang_mut(id.index).and_then(Gang::live_mut) {
                live.tasks.push(task);
            }
        }
    }

    fn grow(
        &mut self,
        id: GangId,
        generation: Generation,
        tasks: &[Placement],
        decision: &Decision,
        out: &mut Out,
    ) -> Step {
        self.is_at(id, generation)?;
        let job = self.jobs.get(&id.job).ok_or(StaleReason::Gone)?;
        let gang = job.gang(id.index).ok_or(StaleReason::Gone)?;
        let (Some(live), Some(rows)) = (gang.live(), gang.rows) else { return Err(StaleReason::Phase) };
        if live.is_frozen() || live.shrinking.is_some() || live.tasks.iter().any(Task::has_ended) {
            return Err(StaleReason::Phase);
        }
        let have = u32::try_from(live.tasks.len()).unwrap_or(u32::MAX);
        let fits = tasks.len() as u64 + u64::from(have) <= u64::from(job.spec.size.max) && !tasks.is_empty();
        if !fits || !(have..).zip(tasks).all(|(rank, task)| task.rank == rank) {
            return Err(StaleReason::Ranks);
        }
        let shapes = self.rows.snapshot.demand(rows.demand);
        let shape = shapes.get(live.alternative as usize).ok_or(StaleReason::Ranks)?;
        let limits = Limits { request: shape.request, burst: shape.burst };
        let seats = seats(self, shape, job.spec.class, rows.queue, tasks, false)?;
        self.bank(id);
        let gang = self.gang_mut(id).ok_or(StaleReason::Gone)?;
        // A rank that left and comes back must not be taken for the one that left.
        gang.generation = Generation(generation.0.saturating_add(1));
        let (generation, state) = (gang.generation, gang.state());
        self.remember(id, decision);
        self.seat(id, rows, generation, limits, tasks, seats);
        self.sync_row(id);
        self.note_gang(id, state, format!("grows to {} ranks", have as usize + tasks.len()), out);
        self.launch(id, tasks.iter().map(|task| task.rank), out);
        Ok(())
    }

    fn shrink(&mut self, id: GangId, shrinking: Shrinking, decision: &Decision, out: &mut Out) -> Step {
        let job = self.jobs.get_mut(&id.job).ok_or(StaleReason::Gone)?;
        let min = job.spec.size.min;
        let grace = job.spec.checkpoint.as_ref().map_or(job.spec.grace, |save| save.grace);
        let signal = job.spec.checkpoint.as_ref().map_or(15, |save| save.signal);
        let gang = job.gang_mut(id.index).ok_or(StaleReason::Gone)?;
        let state = gang.state();
        let live = gang.live_mut().ok_or(StaleReason::Phase)?;
        if live.shrinking.is_some() {
            return Err(StaleReason::Phase);
        }
        if shrinking.to < min || shrinking.to as usize >= live.tasks.len() {
            return Err(StaleReason::Ranks);
        }
        live.shrinking = Some(shrinking);
        self.remember(id, decision);
        self.sync_row(id);
        self.note_gang(id, state, format!("shrinks to {} ranks", shrinking.to), out);
        self.stop_tasks(id, shrinking.to, signal, grace, out);
        self.timers.set(Timer::Enforce(id), self.now.after(grace).after(self.settings.stop_again));
        // Ranks that had ended already leave at once.
        self.shrunk(id, self.now, out);
        Ok(())
    }

    fn preempt(&mut self, id: GangId, cause: &PreemptCause, decision: &Decision, out: &mut Out) -> Step {
        let now = self.now;
        let job = self.jobs.get_mut(&id.job).ok_or(StaleReason::Gone)?;
        let class = job.spec.class;
        let lent = matches!(cause, PreemptCause::CpuWanted { .. });
        let may = match class {
            Class::Critical => false,
            Class::Spare if lent => true,
            _ => job.spec.preemptible && !lent,
        };
        if !may {
            return Err(StaleReason::Protected);
        }
        let gang = job.gang_mut(id.index).ok_or(StaleReason::Gone)?;
        gang.evictions = gang.evictions.saturating_add(1);
        gang.last_evicted = Some(now);
        self.remember(id, decision);
        self.end_gang(id, Then::Evicted(cause.to_owned()), out);
        Ok(())
    }

    fn freeze(&mut self, id: GangId, frozen: bool, decision: &Decision, out: &mut Out) -> Step {
        let now = self.now;
        let job = self.jobs.get_mut(&id.job).ok_or(StaleReason::Gone)?;
        if job.spec.class != Class::Spare {
            return Err(StaleReason::Protected);
        }
        let gang = job.gang_mut(id.index).ok_or(StaleReason::Gone)?;
        let from = gang.state();
        let live = gang.live_mut().ok_or(StaleReason::Phase)?;
        if live.frozen.is_some() == frozen {
            return Err(StaleReason::Phase);
        }
        let before = live.is_frozen();
        live.frozen = frozen.then_some(now);
        self.remember(id, decision);
        self.apply_frozen(id, before, out);
        self.note_gang(
            id,
            from,
            if frozen { "its CPU is wanted back" } else { "there is CPU for it again" },
            out,
        );
        Ok(())
    }

    fn limit(&mut self, id: TaskId, generation: Generation, cpu: MilliCpu, out: &mut Out) -> Step {
        let job = self.jobs.get(&id.gang.job).ok_or(StaleReason::Gone)?;
        if job.spec.class != Class::Spare {
            return Err(StaleReason::Protected);
        }
        let gang = job.gang(id.gang.index).ok_or(StaleReason::Gone)?;
        let live = gang.live().ok_or(StaleReason::Phase)?;
        let task = live.rank(id.rank).ok_or(StaleReason::Ranks)?;
        // A grown gang has ranks under older generations than its own; the planner sees its own.
        if generation != gang.generation && generation != task.generation {
            return Err(StaleReason::Generation);
        }
        if live.ending.is_some() || task.has_ended() {
            return Err(StaleReason::Phase);
        }
        self.limit_cpu(id, cpu, out);
        Ok(())
    }

    fn remember(&mut self, id: GangId, decision: &Decision) {
        let (now, most) = (self.now, self.settings.past as usize);
        let Some(gang) = self.gang_mut(id) else { return };
        let waited = gang.hold.take();
        // Most gangs are decided upon once.
        gang.past.reserve_exact(1);
        gang.past.push_back(Past { at: now, decision: decision.to_owned(), waited });
        while gang.past.len() > most {
            gang.past.pop_front();
        }
    }
}

fn place_reason(tasks: &[Placement]) -> String {
    let mut reason = String::with_capacity(32);
    let mut before = None;
    for task in tasks.iter().take(9) {
        if before.replace(&task.node) != Some(&task.node) {
            reason.push_str(if reason.is_empty() { "placed on " } else { ", " });
            reason.push_str(task.node.as_str());
        }
    }
    if tasks.len() > 9 {
        reason.push_str(", ...");
    }
    reason
}
