//! The life of a gang: from held to pending, out of its place, and what becomes of it then.

use super::blame::Blamed;
use super::change::{Out, What};
use super::job::{Attempt, End, Ending, Gang, Phase, RankEnd, State, Task, TaskState, Then};
use super::manner::{SIGTERM, describe, describe_end, is_retried, reason_of, stop_manner, strength};
use super::rows::{Counted, GangRows, placed_row};
use super::{Engine, Timer};
use crate::event::{DeviceGrant, Effect, Exit};
use crate::ids::{GangId, JobId, TaskId};
use crate::model::{Class, IdleAction, JobSpec, ShareMode, ShareTerms};
use crate::snapshot::{GangPhase, Held, NodeOrd, Placed};
use crate::units::{Millis, Thousandths, Timestamp};
use std::borrow::Cow;

impl Engine {
    /// Puts a gang without a place where its flags say: held, and why, or pending. Array places are given out here.
    pub(super) fn settle(&mut self, id: GangId, reason: &'static str, out: &mut Out) {
        let now = self.now;
        let Some(job) = self.jobs.get(&id.job) else { return };
        let spent = self.out_of_budget(&job.spec.queue);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let parallel = job.spec.parallel;
        let waits_for: Vec<JobId> = job.waiting_on.iter().copied().collect();
        let (active, index) = (job.active, id.index);
        let Some(gang) = job.gang_mut(index) else { return };
        if !matches!(gang.phase, Phase::Held(_) | Phase::Pending) {
            return;
        }
        let was_pending = matches!(gang.phase, Phase::Pending);
        let held = if gang.paused {
            Some(Held::Paused)
        } else if !waits_for.is_empty() {
            Some(Held::Dependency(waits_for))
        } else if let Some(spent) = spent {
            Some(Held::Budget(Box::new(spent)))
        } else if let Some(until) = gang.backoff.filter(|until| *until > now) {
            Some(Held::Backoff(until))
        } else {
            parallel.filter(|most| !was_pending && active >= *most).map(Held::ArrayLimit)
        };
        let from = gang.state();
        gang.hold = held.as_ref().map(reason_of).or(gang.hold.take().filter(|_| was_pending));
        gang.phase = held.map_or(Phase::Pending, Phase::Held);
        let to = gang.state();
        let is_pending = matches!(gang.phase, Phase::Pending);
        let waits = matches!(gang.phase, Phase::Held(Held::ArrayLimit(_)));
        if waits {
            job.waiting.insert(index);
        } else {
            job.waiting.remove(&index);
        }
        match (was_pending, is_pending) {
            (false, true) => job.active += 1,
            (true, false) => job.active -= 1,
            _ => {}
        }
        self.sync_row(id);
        self.wants_plan = true;
        if from != to {
            self.note_gang(id, from, reason, out);
        }
        if was_pending && !is_pending {
            self.next_element(id.job, out);
        }
    }

    /// Lets the next elements of an array go, as far as its limit allows.
    pub(super) fn next_element(&mut self, id: JobId, out: &mut Out) {
        while let Some(job) = self.jobs.get(&id) {
            if job.spec.parallel.is_some_and(|most| job.active >= most) {
                return;
            }
            let Some(index) = job.waiting.first().copied() else { return };
            self.settle(id.gang(index), "its array has room for it", out);
        }
    }

    /// Brings a gang's row in the snapshot in line with its phase.
    pub(super) fn sync_row(&mut self, id: GangId) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let Some(gang) = job.gang(id.index) else { return };
        let Some(rows) = gang.rows else { return };
        let ranks = self.rows.take_ranks(rows.gang);
        let phase = self.row_phase(gang, &job.spec, ranks);
        if let Some(row) = self.rows.gang_mut(rows.gang) {
            row.evictions = gang.evictions;
            row.last_evicted = gang.last_evicted;
            row.attained = gang.attained;
            row.avoid.clone_from(&gang.avoid);
            row.phase = phase;
        }
    }

    /// The planner's view of a gang's phase; `ranks` as in [`placed_row`].
    pub(super) fn row_phase(&self, gang: &Gang, spec: &JobSpec, ranks: Vec<Placed>) -> GangPhase {
        match &gang.phase {
            Phase::Held(held) => GangPhase::Held(held.to_owned()),
            Phase::Pending | Phase::Finished { .. } => GangPhase::Pending,
            Phase::Placed(live) => {
                let rest = spec.predicted.map(|all| all.minus(gang.attained.done));
                let mut placed = placed_row(live, gang.generation, spec.class, ranks);
                placed.speed = self.speed(live, spec);
                let limit = spec.time_limit.map(|span| placed.saved.after(span));
                placed.expected_end = limit.into_iter().chain(rest.map(|rest| placed.done_at(rest))).min();
                GangPhase::Placed(placed)
            }
        }
    }

    pub(super) fn note_gang(
        &self,
        id: GangId,
        from: State,
        reason: impl Into<Cow<'static, str>>,
        out: &mut Out,
    ) {
        let Some(gang) = self.gang(id) else { return };
        let evicted = gang.live().and_then(|live| live.ending.as_ref()).is_some_and(Ending::is_eviction);
        let (to, generation, attempt) = (gang.state(), gang.generation, gang.attempt);
        let what = What::Gang { gang: id, from, to, generation, attempt, evicted };
        self.note(out, what, reason);
    }

    /// Recounts what a node's row says of each of a gang's tasks.
    pub(super) fn recount_gang(&mut self, id: GangId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        let Some(live) = job.gang_mut(id.index).and_then(Gang::live_mut) else { return };
        let frozen = live.is_frozen();
        for task in &mut live.tasks {
            let now = Counted::of(task, class, frozen);
            self.rows.recount(task.node, task.counted, now);
            task.counted = now;
        }
    }

    /// As [`Self::recount_gang`], where one task alone changed.
    pub(super) fn recount_task(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.gang.job) else { return };
        let class = job.spec.class;
        let Some(live) = job.gang_mut(id.gang.index).and_then(Gang::live_mut) else { return };
        let frozen = live.is_frozen();
        let Some(task) = live.rank_mut(id.rank) else { return };
        let now = Counted::of(task, class, frozen);
        self.rows.recount(task.node, task.counted, now);
        task.counted = now;
    }

    /// Begins to take a gang out of its place. A stronger reason replaces a weaker one under way.
    pub(super) fn end_gang(&mut self, id: GangId, then: Then, out: &mut Out) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let manner = stop_manner(&job.spec, &then, self.settings.spare_grace);
        self.end_gang_so(id, then, manner, out);
    }

    /// As [`Self::end_gang`], with this first signal and grace.
    pub(super) fn end_gang_so(&mut self, id: GangId, then: Then, manner: (i32, Millis), out: &mut Out) {
        let (signal, grace) = manner;
        let since = self.now;
        let verdict = self.verdict_due(id, &then);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(gang) = job.gang_mut(id.index) else { return };
        let from = gang.state();
        let Some(live) = gang.live_mut() else { return };
        let reason = describe(&then);
        let running = live.ending.as_ref();
        if let Some(ending) = running {
            let gentler = ending.grace <= grace;
            if strength(&then) > strength(&ending.then) {
                let (signal, grace) = if gentler { (ending.signal, ending.grace) } else { (signal, grace) };
                let ending = Ending { then, signal, grace, since, verdict, repeats: ending.repeats };
                live.ending = Some(ending);
                self.await_verdict(id, verdict);
                self.sync_row(id);
            }
            if gentler {
                self.conclude(id, out);
                return;
            }
        } else {
            live.ending = Some(Ending { then, signal, grace, since, verdict, repeats: 0 });
            live.shrinking = None;
            self.timers.cancel_gang(id);
            self.await_verdict(id, verdict);
            self.sync_row(id);
            self.note_gang(id, from, reason, out);
        }
        self.stop_tasks(id, 0, signal, grace, out);
        self.timers.set(Timer::Enforce(id), since.after(grace).after(self.settings.stop_again));
        self.wants_plan = true;
        self.conclude(id, out);
    }

    /// Tells the substrate to end every rank from `first` up that has not ended.
    pub(super) fn stop_tasks(&mut self, id: GangId, first: u32, signal: i32, grace: Millis, out: &mut Out) {
        let Some(live) = self.gang(id).and_then(Gang::live) else { return };
        let frozen = live.is_frozen();
        for task in live.tasks.iter().filter(|task| task.rank >= first && !task.has_ended()) {
            let node = || self.node_name(task.node).to_owned();
            let (generation, task) = (task.generation, id.task(task.rank));
            if frozen && !grace.is_zero() {
                out.effects.push(Effect::Freeze { task, generation, frozen: false, node: node() });
            }
            out.effects.push(Effect::Stop { task, generation, signal, grace, node: node() });
        }
    }

    /// A stop that nobody confirmed is repeated without grace, ever more rarely.
    pub(super) fn enforce_stop(&mut self, id: GangId, out: &mut Out) {
        let again = self.settings.stop_again;
        let now = self.now;
        let Some(live) = self.gang_mut(id).and_then(Gang::live_mut) else { return };
        let first = live.shrinking.map_or(0, |shrinking| shrinking.to);
        let repeats = match (&mut live.ending, live.shrinking) {
            (Some(ending), _) => {
                ending.repeats = ending.repeats.saturating_add(1);
                ending.repeats
            }
            (None, Some(_)) => 1,
            (None, None) => return,
        };
        self.stop_tasks(id, first, SIGTERM, Millis::ZERO, out);
        let wait = again.times(1 << repeats.min(8));
        self.timers.set(Timer::Enforce(id), now.after(wait));
    }

    /// A rank ended. Any failure ends the gang.
    pub(super) fn rank_ended(&mut self, id: GangId, rank: u32, exit: Exit, out: &mut Out) {
        let now = self.now;
        let Some(live) = self.gang_mut(id).and_then(Gang::live_mut) else { return };
        let Some(task) = live.rank_mut(rank) else { return };
        task.state = TaskState::Ended(exit);
        let (generation, node) = (task.generation, task.node);
        let leaves = live.shrinking.is_some_and(|shrinking| rank >= shrinking.to);
        let fails = !leaves && live.ending.is_none() && exit != Exit::Code(0);
        let node = self.node_name(node).to_owned();
        let what = What::Task { task: id.task(rank), generation, node, exit: Some(exit) };
        self.note(out, what, "");
        self.recount_task(id.task(rank));
        if fails {
            self.end_gang(id, Then::Failed { rank, exit }, out);
            return;
        }
        if leaves {
            self.shrunk(id, now, out);
        }
        self.conclude(id, out);
    }

    /// Gives the places of a shrinking gang back once all the ranks that leave have ended.
    pub(super) fn shrunk(&mut self, id: GangId, now: Timestamp, out: &mut Out) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        let Some(gang) = job.gang_mut(id.index) else { return };
        let Some(rows) = gang.rows else { return };
        let Some(live) = gang.live_mut() else { return };
        let Some(shrinking) = live.shrinking.filter(|_| live.ending.is_none()) else { return };
        if live.tasks.iter().any(|task| task.rank >= shrinking.to && !task.has_ended()) {
            return;
        }
        self.bank(id);
        let Some(live) = self.gang_mut(id).and_then(Gang::live_mut) else { return };
        let leave = live.tasks.partition_point(|task| task.rank < shrinking.to);
        let left = live.tasks.split_off(leave);
        live.shrinking = None;
        let kept: Vec<NodeOrd> = live.tasks.iter().map(|task| task.node).collect();
        let started = live.started.is_none() && live.all_run();
        for task in &left {
            self.free_task(id, task, class, rows, false);
            if !kept.contains(&task.node) {
                self.rows.seat(task.node, rows.gang, false);
            }
        }
        self.timers.cancel(Timer::Enforce(id));
        self.sync_row(id);
        self.wants_plan = true;
        let ranks = kept.len();
        if let Some(gang) = self.gang(id) {
            let from = gang.state();
            self.note_gang(id, from, format!("shrank to {ranks} ranks"), out);
        }
        if started {
            self.all_run(id, now, out);
        }
    }

    pub(super) fn free_task(&mut self, id: GangId, task: &Task, class: Class, rows: GangRows, lost: bool) {
        self.rows.account(task, class, rows.queue, false);
        self.rows.recount(task.node, task.counted, Counted::default());
        self.nodes[task.node.0 as usize].tasks.remove(&id.task(task.rank));
        self.meter.free(self.now, id.task(task.rank), lost);
        if !self.nodes[task.node.0 as usize].replaced.is_empty() {
            self.adopt_devices(task.node);
        }
    }

    /// Once every rank has ended, frees the place and decides what becomes of the gang.
    pub(super) fn conclude(&mut self, id: GangId, out: &mut Out) {
        let now = self.now;
        let live = self.gang_mut(id).and_then(Gang::live_mut);
        if !live.is_some_and(super::Live::all_ended) || self.awaits_verdict(id) {
            return;
        }
        self.bank(id);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let class = job.spec.class;
        let saves = job.spec.checkpoint.is_some();
        let pool_pays = is_retried(&job.spec.retry.on, Exit::DeviceError);
        let Some(gang) = job.gang_mut(id.index) else { return };
        let Some(rows) = gang.rows else { return };
        let from = gang.state();
        let Phase::Placed(live) = std::mem::replace(&mut gang.phase, Phase::Pending) else { return };
        let then = live.ending.map_or(Then::Finish(End::Succeeded), |ending| ending.then);
        let mut ranks = live.gone;
        ranks.extend(live.tasks.iter().filter_map(Task::end));
        ranks.sort_by_key(|end| end.rank);
        gang.last = Some(Attempt {
            attempt: gang.attempt,
            generation: gang.generation,
            placed: live.placed,
            started: live.started,
            ended: now,
            ranks,
            device: Blamed::of(&then, pool_pays),
            unstarted: match &then {
                Then::StartFailed { message, .. } => Some(message.as_str().into()),
                _ => None,
            },
        });
        gang.hold = None;
        let lost = match &then {
            Then::Evicted(_) => !saves,
            Then::NodeLost(_) | Then::DeviceFailed { .. } | Then::StartFailed { node_fault: true, .. } => {
                true
            }
            Then::Failed { exit, .. } => matches!(exit, Exit::DeviceError | Exit::Lost),
            _ => false,
        };
        let ran = live.started.map_or(Millis::ZERO, |started| now.since(started));
        if matches!(&then, Then::Evicted(_) if saves) || then == Then::Pause {
            gang.attained.done = gang.attained.done.plus(live.worked);
        }
        for task in &live.tasks {
            self.free_task(id, task, class, rows, lost);
            self.rows.seat(task.node, rows.gang, false);
        }
        self.rows.count_running(rows.queue, false);
        self.timers.cancel_gang(id);
        self.become_what(id, then, ran, from, out);
    }

    /// A gang is over.
    pub(super) fn finish(&mut self, id: GangId, end: End, from: State, out: &mut Out) {
        let now = self.now;
        let reason = describe_end(&end);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        if matches!(from, State::Pending | State::Starting | State::Running | State::Frozen | State::Stopping)
        {
            job.active = job.active.saturating_sub(1);
        }
        job.waiting.remove(&id.index);
        job.unfinished = job.unfinished.saturating_sub(1);
        if !end.is_success() {
            job.failed = job.failed.saturating_add(1);
        }
        let (unfinished, succeeded, spare) =
            (job.unfinished, job.failed == 0, job.spec.class == Class::Spare);
        if unfinished == 0 {
            job.finished = Some(now);
        }
        let Some(gang) = job.gang_mut(id.index) else { return };
        gang.phase = Phase::Finished { outcome: end, at: now };
        gang.hold = None;
        gang.paused = false;
        gang.backoff = None;
        if let Some(rows) = gang.rows.take() {
            self.rows.drop_gang(rows.gang);
            self.rows.release(rows.demand);
        }
        if spare {
            self.spare_gangs = self.spare_gangs.saturating_sub(1);
        }
        self.timers.cancel_gang(id);
        self.wants_plan = true;
        self.note_gang(id, from, reason, out);
        self.next_element(id.job, out);
        if unfinished == 0 {
            self.forget_dependencies(id.job);
            let reason = if succeeded { "succeeded" } else { "ended without success" };
            self.note(out, What::Job { job: id.job, over: Some(true) }, reason);
            self.dependency_ended(id.job, succeeded, out);
        }
    }

    /// Lets go, or cancels, the jobs that waited for this one.
    fn dependency_ended(&mut self, ended: JobId, succeeded: bool, out: &mut Out) {
        for waiting in self.dependents.remove(&ended).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&waiting) else { continue };
            if !job.waiting_on.remove(&ended) {
                continue;
            }
            let needs = job.spec.after.iter().any(|after| after.job == ended && after.success);
            let unmet = needs && !succeeded;
            let free = job.waiting_on.is_empty();
            let gangs: Vec<GangId> = job.gangs.iter().map(|gang| gang.id).collect();
            if unmet {
                self.forget_dependencies(waiting);
            }
            for id in gangs {
                let Some(state) = self.gang(id).map(Gang::state).filter(|state| !state.is_over()) else {
                    continue;
                };
                if unmet {
                    self.finish(id, End::Cancelled { dependency: ended }, state, out);
                } else if free {
                    self.settle(id, "what it waited for has ended", out);
                } else {
                    self.settle(id, "", out);
                }
            }
        }
    }

    /// A job that is over waits for nobody.
    pub(super) fn forget_dependencies(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for other in std::mem::take(&mut job.waiting_on) {
            if let Some(set) = self.dependents.get_mut(&other) {
                set.remove(&id);
                if set.is_empty() {
                    self.dependents.remove(&other);
                }
            }
        }
    }

    /// All ranks run.
    pub(super) fn all_run(&mut self, id: GangId, now: Timestamp, out: &mut Out) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let limit = job.spec.time_limit;
        let idle = job.spec.idle;
        let Some(gang) = job.gang_mut(id.index) else { return };
        let from = gang.state();
        gang.keep_layer = false;
        let Some(live) = gang.live_mut() else { return };
        live.started = Some(now);
        live.idle_since = idle.map(|_| now);
        self.timers.cancel(Timer::Start(id));
        if let Some(limit) = limit {
            self.timers.set(Timer::Limit(id), now.after(limit));
        }
        if let Some(idle) = idle {
            self.timers.set(Timer::Idle(id), now.after(idle.after));
        }
        self.sync_row(id);
        self.note_gang(id, from, "all ranks run", out);
    }

    pub(super) fn backoff_over(&mut self, id: GangId, out: &mut Out) {
        if let Some(gang) = self.gang_mut(id) {
            gang.backoff = None;
        }
        self.settle(id, "its wait is over", out);
    }

    /// A gang that does not come up is tried elsewhere.
    pub(super) fn start_ran_out(&mut self, id: GangId, out: &mut Out) {
        let Some(live) = self.gang(id).and_then(Gang::live) else { return };
        let late = live.tasks.iter().find(|task| task.state == TaskState::Starting);
        let Some(rank) = late.map(|task| task.rank) else { return };
        let message = format!("it did not start within {}", self.settings.start_timeout);
        self.end_gang(id, Then::StartFailed { rank, message, node_fault: true }, out);
    }

    pub(super) fn time_is_up(&mut self, id: GangId, out: &mut Out) {
        self.end_gang(id, Then::Finish(End::TimedOut), out);
    }

    pub(super) fn idle_for_long(&mut self, id: GangId, out: &mut Out) {
        let Some(idle) = self.jobs.get(&id.job).and_then(|job| job.spec.idle) else { return };
        let then = match idle.action {
            IdleAction::Pause => Then::Pause,
            IdleAction::Stop => Then::Finish(End::Stopped { by: None }),
        };
        let (now, awake_since) = (self.now, self.awake_since);
        let Some(live) = self.gang_mut(id).and_then(Gang::live_mut) else { return };
        let Some(since) = live.idle_since else { return };
        // While nobody was looking it may have been used.
        let until = since.max(awake_since).after(idle.after);
        if until > now {
            live.idle_since = Some(awake_since);
            self.timers.set(Timer::Idle(id), until);
            return;
        }
        self.note(out, What::Idle { gang: id }, format!("nobody used it for {}", idle.after));
        self.end_gang(id, then, out);
    }
}

impl Task {
    /// Its devices, with the terms it has them on.
    pub fn terms(&self) -> impl Iterator<Item = (&DeviceGrant, ShareTerms)> {
        self.devices.iter().zip(&self.held).map(|(grant, held)| (grant, held.terms()))
    }

    /// The part of a device's time that its share may use at most; `None` where it may use what others leave.
    pub(super) fn most_of(&self, device: u32) -> Option<Thousandths> {
        let (grant, held) = self.devices.iter().zip(&self.held).find(|(grant, _)| grant.device == device)?;
        let part = Some(grant.compute).filter(|part| held.mode == ShareMode::Time && !part.is_zero())?;
        held.slack.compute.is_none_or(|most| most <= part).then_some(part)
    }

    /// Whether it has this device or a share of it.
    pub(super) fn has_device(&self, device: u32) -> bool {
        self.devices.iter().any(|grant| grant.device == device)
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, TaskState::Ended(_))
    }

    /// Whether it runs, or has run.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        !matches!(self.state, TaskState::Starting)
    }

    fn end(&self) -> Option<RankEnd> {
        let TaskState::Ended(exit) = self.state else { return None };
        Some(RankEnd { rank: self.rank, generation: self.generation, node: self.node, exit })
    }
}
