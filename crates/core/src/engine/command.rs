//! What users and administrators ask for. Each is checked whole before anything is done.

use super::change::{Handled, Out, Reply, What};
use super::job::{End, Gang, Limits, Phase, State, TaskState, Then};
use super::manner::SIGTERM;
use super::refusal::Refusal;
use super::{Engine, Timer};
use crate::event::{Actor, Effect, Request, Target};
use crate::ids::{GangId, JobId, QueuePath, TaskId};
use crate::model::{QueueLimits, QueueSpec};
use crate::plan::named::Choice;
use crate::snapshot::{Held, QueueOrd};
use crate::units::{MilliCpu, Millis};

impl Engine {
    pub(super) fn request(&mut self, actor: &Actor, request: Request, out: &mut Out) -> Handled<Reply> {
        match request {
            Request::Submit(spec) => return self.submit(spec, out).map(Reply::Submitted),
            Request::Stop { target, now } => self.stop(actor, target, now, out),
            Request::Pause { target, release } => self.pause(target, release, out),
            Request::Resume(target) => self.resume(target, out),
            Request::Retry(target) => self.retry(target, out),
            Request::Remove(job) => self.remove(job, out),
            Request::Resize { target, request, burst, devices } => {
                self.resize(target, Limits { request, burst }, &devices, out)
            }
            Request::Sessions { task, count } => self.sessions(task, count),
            Request::SetQueue(spec) => self.set_queue(*spec, out),
            Request::RemoveQueue(path) => self.remove_queue(path, out),
            Request::SetPolicy(choice) => self.set_policy(choice),
            Request::Drain { node, on } => self.drain(&node, on, out),
            Request::Label { node, labels } => self.label(&node, labels),
            Request::SetPrices { currency, prices } => self.set_prices(currency, prices, out),
            Request::EndPrice(id) => self.end_price(id, out),
            Request::SetBudget(budget) => self.set_budget(budget, out),
            Request::RemoveBudget(queue) => self.remove_budget(&queue, out),
        }
        .map(|()| Reply::Done)
    }

    /// The gangs a request is about.
    fn targeted(&self, target: Target) -> Handled<Vec<GangId>> {
        let Some(job) = self.jobs.get(&target.job) else {
            let known = self.archive.succeeded(target.job).is_some();
            return Err(if known { Refusal::Archived(target.job) } else { Refusal::UnknownJob(target.job) });
        };
        match target.index {
            None => Ok(job.gangs.iter().map(|gang| gang.id).collect()),
            Some(index) if job.gang(index).is_some() => Ok(vec![target.job.gang(index)]),
            Some(index) => Err(Refusal::UnknownIndex(target.job.gang(index))),
        }
    }

    /// The gangs a request is about that have not ended; refused when all have.
    pub(super) fn targeted_alive(&self, target: Target) -> Handled<Vec<GangId>> {
        let mut gangs = self.targeted(target)?;
        gangs.retain(|id| self.state(*id).is_some_and(|state| !state.is_over()));
        if gangs.is_empty() { Err(Refusal::Ended(target.job)) } else { Ok(gangs) }
    }

    pub(super) fn state(&self, id: GangId) -> Option<State> {
        self.gang(id).map(Gang::state)
    }

    fn stop(&mut self, actor: &Actor, target: Target, now: bool, out: &mut Out) -> Handled<()> {
        for id in self.targeted_alive(target)? {
            let end = End::Stopped { by: Self::user_of(actor) };
            let Some(job) = self.jobs.get(&id.job) else { continue };
            let grace = if now { Millis::ZERO } else { job.spec.grace };
            match self.gang(id).map(|gang| (gang.state(), gang.live().is_some())) {
                Some((_, true)) => self.end_gang_so(id, Then::Finish(end), (SIGTERM, grace), out),
                Some((state, false)) if !state.is_over() => self.finish(id, end, state, out),
                _ => {}
            }
        }
        Ok(())
    }

    fn pause(&mut self, target: Target, release: bool, out: &mut Out) -> Handled<()> {
        let gangs = self.targeted_alive(target)?;
        if gangs.iter().all(|id| self.state(*id) == Some(State::Stopping)) {
            return Err(Refusal::Stopping(target.job));
        }
        for id in gangs {
            match self.gang(id).map(|gang| (gang.state(), gang.live().is_some())) {
                Some((State::Stopping, _)) | None => {}
                Some((_, true)) if release => self.end_gang(id, Then::Pause, out),
                Some((from, true)) => self.set_paused(id, true, from, out),
                Some((_, false)) => {
                    if let Some(gang) = self.gang_mut(id) {
                        gang.paused = true;
                    }
                    self.settle(id, "paused", out);
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self, target: Target, out: &mut Out) -> Handled<()> {
        let mut gangs = self.targeted_alive(target)?;
        gangs.retain(|id| {
            let gang = self.gang(*id);
            gang.is_some_and(|gang| gang.paused || gang.live().is_some_and(|live| live.paused))
        });
        if gangs.is_empty() {
            return Err(Refusal::NotPaused(target.job));
        }
        for id in gangs {
            match self.gang(id).map(|gang| (gang.state(), gang.live().is_some())) {
                Some((from, true)) => self.set_paused(id, false, from, out),
                _ => {
                    if let Some(gang) = self.gang_mut(id) {
                        gang.paused = false;
                    }
                    self.settle(id, "resumed", out);
                }
            }
        }
        Ok(())
    }

    fn set_paused(&mut self, id: GangId, paused: bool, from: State, out: &mut Out) {
        let Some(live) = self.gang_mut(id).and_then(Gang::live_mut) else { return };
        let before = live.is_frozen();
        live.paused = paused;
        self.apply_frozen(id, before, out);
        self.note_gang(id, from, if paused { "paused" } else { "resumed" }, out);
    }

    /// A rank could not be frozen: the pause of its gang is taken back. What the pool freezes to have its CPU back stays so to the
    /// planner, which evicts it when that does not come.
    pub(super) fn runs_on(&mut self, task: TaskId, why: &str, out: &mut Out) {
        let Some(gang) = self.gang_mut(task.gang) else { return };
        let from = gang.state();
        let Some(live) = gang.live_mut().filter(|live| live.paused && live.ending.is_none()) else { return };
        let before = live.is_frozen();
        live.paused = false;
        self.apply_frozen(task.gang, before, out);
        let said = format!("rank {} could not be paused, so none is: {why}", task.rank);
        self.note_gang(task.gang, from, said, out);
    }

    /// After its freezing has changed: tells substrate, meter and rows.
    pub(super) fn apply_frozen(&mut self, id: GangId, before: bool, out: &mut Out) {
        let now = self.now;
        let Some(live) = self.gang(id).and_then(Gang::live) else { return };
        let (paused, pool, frozen) = (live.paused, live.frozen.is_some(), live.is_frozen());
        for task in live.tasks.iter().filter(|task| task.state == TaskState::Running) {
            if before != frozen {
                let node = self.node_name(task.node).to_owned();
                let (generation, task) = (task.generation, id.task(task.rank));
                out.effects.push(Effect::Freeze { task, generation, frozen, node });
            }
        }
        let ranks: Vec<u32> = live.tasks.iter().map(|task| task.rank).collect();
        for rank in ranks {
            self.meter.freeze(now, id.task(rank), paused, pool);
        }
        self.recount_gang(id);
        self.sync_row(id);
        self.wants_plan = true;
    }

    fn retry(&mut self, target: Target, out: &mut Out) -> Handled<()> {
        let mut gangs = self.targeted(target)?;
        gangs.retain(|id| self.state(*id).is_some_and(State::is_over));
        // Of a whole array, what succeeded stays done.
        if target.index.is_none() && gangs.iter().any(|id| self.state(*id) != Some(State::Succeeded)) {
            gangs.retain(|id| self.state(*id) != Some(State::Succeeded));
        }
        if gangs.is_empty() {
            return Err(Refusal::NotEnded(target.job));
        }
        for id in gangs {
            let now = self.now;
            let Some(job) = self.jobs.get_mut(&id.job) else { continue };
            let Some(gang) = job.gang_mut(id.index) else { continue };
            let from = gang.state();
            let failed = from != State::Succeeded;
            gang.failures = 0;
            gang.faults = 0;
            gang.queued = now;
            gang.phase = Phase::Held(Held::ArrayLimit(0));
            job.unfinished = job.unfinished.saturating_add(1);
            job.failed = job.failed.saturating_sub(u32::from(failed));
            job.finished = None;
            self.enter_row(id);
            let mut quiet = Out::default();
            self.settle(id, "", &mut quiet);
            self.note_gang(id, from, "queued once more", out);
        }
        Ok(())
    }

    fn remove(&mut self, job: JobId, out: &mut Out) -> Handled<()> {
        match self.jobs.get(&job) {
            Some(known) if known.unfinished() > 0 => return Err(Refusal::NotEnded(job)),
            Some(_) => self.forget_job(job, out),
            None if self.archive.succeeded(job).is_some() => {}
            None => return Err(Refusal::UnknownJob(job)),
        }
        out.effects.push(Effect::Purge(job));
        Ok(())
    }

    /// The server keeps the record of a finished job: the engine forgets all but how it ended.
    pub(super) fn archived(&mut self, job: JobId, out: &mut Out) -> Handled<()> {
        match self.jobs.get(&job) {
            Some(known) if known.unfinished() > 0 => Err(Refusal::NotEnded(job)),
            Some(_) => {
                self.forget_job(job, out);
                Ok(())
            }
            None if self.archive.succeeded(job).is_some() => Ok(()),
            None => Err(Refusal::UnknownJob(job)),
        }
    }

    /// Jobs may still depend on one that is forgotten: how it ended stays known.
    fn forget_job(&mut self, id: JobId, out: &mut Out) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.archive.add(id, job.succeeded());
        self.meter.forget(id);
        self.note(out, What::Job { job: id, over: None }, "its record was archived or removed");
    }

    fn sessions(&mut self, task: TaskId, count: u32) -> Handled<()> {
        let now = self.now;
        let unknown = Refusal::UnknownTask(task);
        let idle = self.jobs.get(&task.gang.job).and_then(|job| job.spec.idle);
        let live = self.gang_mut(task.gang).and_then(Gang::live_mut);
        let live = live.ok_or(Refusal::UnknownTask(task))?;
        let known = live.rank_mut(task.rank).ok_or(unknown)?;
        known.sessions = count;
        let used = live.tasks.iter().any(|task| task.sessions > 0);
        if let (Some(idle), Some(_)) = (idle, live.started) {
            live.idle_since = if used { None } else { live.idle_since.or(Some(now)) };
            match live.idle_since.filter(|_| live.ending.is_none()) {
                Some(since) => self.timers.set(Timer::Idle(task.gang), since.after(idle.after)),
                None => self.timers.cancel(Timer::Idle(task.gang)),
            }
        }
        Ok(())
    }

    fn set_queue(&mut self, spec: QueueSpec, out: &mut Out) -> Handled<()> {
        self.check_queue(&spec)?;
        let path = spec.path.to_owned();
        match self.rows.queue_ord(&path) {
            Some(ord) => {
                self.rows.queue_mut(ord).spec = spec;
                self.rows.touch_all();
            }
            None => {
                let parent = self.rows.queue_ord(&parent_of(&path)).unwrap_or(QueueOrd(0));
                self.rows.add_queue(spec, Some(parent));
                self.history.fit(self.rows.snapshot.queues.len());
            }
        }
        self.wants_plan = true;
        self.note(out, What::Queue { queue: path, present: true }, "set by an administrator");
        Ok(())
    }

    fn set_policy(&mut self, choice: Option<Choice>) -> Handled<()> {
        let plan = match &choice {
            Some(choice) => choice.settings(&self.configured).map_err(Refusal::BadPolicy)?,
            None => self.configured.to_owned(),
        };
        self.settings.plan = plan;
        self.choice = choice;
        self.wants_plan = true;
        Ok(())
    }

    fn check_queue(&self, spec: &QueueSpec) -> Handled<()> {
        let bad = |problem, advice| Err(Refusal::BadQueue { path: spec.path.to_owned(), problem, advice });
        let path = spec.path.as_str();
        let well_named = path.is_empty()
            || path.len() <= 512
                && path.split('/').all(|part| {
                    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                });
        if !well_named {
            return bad(
                "has a name that cannot be",
                "use letters, digits, `-`, `_`, `.`, with `/` between parts",
            );
        }
        if self.rows.queue_ord(&parent_of(&spec.path)).is_none() {
            return bad("has no queue above it", "create the one above first");
        }
        if spec.weight == 0 {
            return bad("has weight 0", "use 1 or more; a limit of 0 keeps a queue closed");
        }
        if exceeds(&spec.guarantee, &spec.limit) {
            return bad("has a guarantee above its limit", "lower the guarantee or raise the limit");
        }
        Ok(())
    }

    fn remove_queue(&mut self, path: QueuePath, out: &mut Out) -> Handled<()> {
        let ord = self.rows.queue_ord(&path).ok_or_else(|| Refusal::UnknownQueue(path.to_owned()))?;
        let bad = |problem, advice| Err(Refusal::BadQueue { path: path.to_owned(), problem, advice });
        let queues = &self.rows.snapshot.queues;
        if ord == QueueOrd(0) {
            return bad("is the root", "remove those below it");
        }
        if queues.iter().any(|row| row.parent == Some(ord)) {
            return bad("has queues below it", "remove those first");
        }
        if self.rows.snapshot.gangs.iter().flatten().any(|row| row.queue == ord) {
            return bad("has jobs that have not ended", "stop them, or wait for them");
        }
        self.note_use();
        self.rows.remove_queue(ord);
        self.history.remove(ord);
        // Ordinals behind it moved up; an administrator's rare act may look at every job.
        for gang in self.jobs.values_mut().flat_map(|job| &mut job.gangs) {
            if let Some(rows) = &mut gang.rows {
                rows.queue = super::rows::moved_up(rows.queue, ord);
            }
        }
        self.wants_plan = true;
        self.note(out, What::Queue { queue: path, present: false }, "removed by an administrator");
        Ok(())
    }

    /// The CPU limit of a task that is squeezed, or let out. Told when the first of a gang is squeezed, and the last let out.
    pub(super) fn limit_cpu(&mut self, id: TaskId, cpu: MilliCpu, out: &mut Out) {
        let Some(gang) = self.gang_mut(id.gang) else { return };
        let state = gang.state();
        let Some(live) = gang.live_mut() else { return };
        let before = live.is_squeezed();
        let Some(task) = live.rank_mut(id.rank) else { return };
        let cpu = cpu.min(task.limits.burst.cpu);
        if task.cpu_limit == cpu {
            return;
        }
        task.cpu_limit = cpu;
        let squeezed = live.is_squeezed();
        self.tell_resize(id, out);
        self.sync_row(id.gang);
        match (before, squeezed) {
            (false, true) => self.note_gang(id.gang, state, "squeezed: owners want CPU back", out),
            (true, false) => self.note_gang(id.gang, state, "squeezed no more: it has all its CPU", out),
            _ => {}
        }
    }
}

fn parent_of(path: &QueuePath) -> QueuePath {
    QueuePath::from(path.as_str().rsplit_once('/').map_or("", |(above, _)| above))
}

fn exceeds(guarantee: &QueueLimits, limit: &QueueLimits) -> bool {
    let above =
        |guarantee: Option<u64>, limit: Option<u64>| guarantee.unwrap_or(0) > limit.unwrap_or(u64::MAX);
    let devices = guarantee.devices.iter();
    above(guarantee.cpu, limit.cpu)
        || above(guarantee.memory, limit.memory)
        || above(guarantee.disk, limit.disk)
        || devices.into_iter().any(|(kind, n)| above(Some(*n), limit.devices.get(kind).copied()))
}
