//! Processes: how they start, work, stand still and end, as the engine's effects and their own work will have it.

use super::run::{Rank, RankState, Run};
use super::settings::Checkpointing;
use super::work::{FULL, Halt};
use super::world::{Happening, World};
use crate::random::Random;
use crate::workload::Ending;
use pond_core::event::{Actor, Event, Exit, Launch, Report, Request, Target};
use pond_core::ids::{Generation, TaskId};
use pond_core::units::Millis;

impl World<'_> {
    fn found(&self, task: TaskId) -> Option<u32> {
        self.desk.borrow().job(task.gang.job)
    }

    /// Whether this generation of a rank lives.
    pub fn lives(&self, job: u32, rank: u32, generation: Generation) -> bool {
        let run = self.runs[job as usize].as_ref();
        let rank = run.and_then(|run| run.ranks.get(rank as usize));
        rank.is_some_and(|rank| rank.generation == generation && rank.lives())
    }

    pub fn start(&mut self, launch: Launch) {
        let Launch { allocation, attempt, peers, .. } = launch;
        let (task, generation) = (allocation.task, allocation.generation);
        let (Some(job), Some(node)) = (self.found(task), self.scene.node(&allocation.node)) else { return };
        if self.machines[node as usize].dead || self.is_over(job) {
            return;
        }
        self.begin_run(job, task);
        let known = self.runs[job as usize].as_ref().map_or(0, |run| run.attempt);
        match attempt.cmp(&known) {
            std::cmp::Ordering::Less => return,
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.begin_attempt(job, attempt),
        }
        let startup = self.startup(job, attempt, task.rank);
        let model = self.model_speed(job, node, &allocation.devices);
        let Some(run) = &mut self.runs[job as usize] else { return };
        if run.ranks.is_empty() {
            run.ranks.reserve_exact(peers.len());
        }
        let rank = run.rank_mut(task.rank);
        if generation <= rank.closed {
            return;
        }
        if rank.lives() {
            self.doubled += 1;
        }
        if rank.state != RankState::Vacant {
            self.machines[rank.node as usize].tasks.remove(&(job, task.rank));
        }
        *rank = Rank::starting(generation, node, allocation.devices, model);
        rank.cpu_milli = allocation.request.cpu.0;
        self.machines[node as usize].tasks.insert((job, task.rank));
        if startup.is_zero() {
            self.runs_now(job, task.rank, generation);
        } else {
            let runs = Happening::Runs { job, rank: task.rank, generation };
            self.line.push(self.now.after(startup), runs);
        }
    }

    /// The job's run, made when this is the first that is heard of it.
    fn begin_run(&mut self, job: u32, task: TaskId) {
        if self.runs[job as usize].is_none() {
            let run = Run::new(task.gang.job, self.length(job));
            self.runs[job as usize] = Some(Box::new(run));
        }
    }

    /// Nothing of a rank up to this generation is started any more, whatever is still on its way.
    fn bar(&mut self, job: u32, task: TaskId, generation: Generation) {
        self.begin_run(job, task);
        if let Some(run) = &mut self.runs[job as usize] {
            let rank = run.rank_mut(task.rank);
            rank.closed = rank.closed.max(generation);
        }
    }

    fn is_over(&self, job: u32) -> bool {
        self.desk.borrow().rows[job as usize].end.is_some()
    }

    /// How long the job runs, with what chance adds.
    fn length(&self, job: u32) -> Millis {
        let (settings, job) = (self.scene.settings, self.scene.job(job));
        let mut chance = Random::of(settings.seed, "run time", job.id);
        super::scattered(job.duration, settings.run_time_noise, &mut chance)
    }

    fn startup(&self, job: u32, attempt: u32, rank: u32) -> Millis {
        let settings = self.scene.settings;
        let startup = settings.startup;
        if startup.median.is_zero() {
            return Millis::ZERO;
        }
        let item = self.scene.job(job).id ^ u64::from(attempt) << 32 ^ u64::from(rank) << 48;
        super::scattered(startup.median, startup.spread, &mut Random::of(settings.seed, "startup", item))
    }

    fn begin_attempt(&mut self, job: u32, attempt: u32) {
        self.clear_attempt(job);
        let pause = self.scene.settings.restart.pause(self.scene.workload.devices_milli(self.scene.job(job)));
        let now = self.now;
        let Some(run) = &mut self.runs[job as usize] else { return };
        run.attempt = attempt;
        run.halted = false;
        if run.begun {
            run.work.add_pause(now, pause);
        }
    }

    /// Forgets the ranks of an attempt but for what was barred. One that still lives is a defect.
    pub fn clear_attempt(&mut self, job: u32) {
        let ranks = self.runs[job as usize].as_ref().map_or(0, |run| run.ranks.len());
        for at in 0..ranks {
            let Some(rank) = self.runs[job as usize].as_mut().and_then(|run| run.ranks.get_mut(at)) else {
                return;
            };
            let vacant = Rank { closed: rank.closed, ..Rank::default() };
            let rank = std::mem::replace(rank, vacant);
            if rank.state == RankState::Vacant {
                continue;
            }
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            self.machines[rank.node as usize].tasks.remove(&(job, at));
            if rank.lives() {
                self.doubled += 1;
                self.unshare(job, rank.node, &rank.devices);
            }
        }
    }

    pub fn runs_now(&mut self, job: u32, at: u32, generation: Generation) {
        let now = self.now;
        let Some(run) = &mut self.runs[job as usize] else { return };
        let id = run.id;
        let Some(rank) = run.ranks.get_mut(at as usize) else { return };
        if rank.generation != generation || rank.state != RankState::Starting {
            return;
        }
        rank.state = RankState::Running;
        rank.started = now;
        rank.sampled = now;
        let node = rank.node;
        run.stale_end |= run.work.interrupt(now, self.scene.settings.resize_pause);
        let task = id.gang(0).task(at);
        self.tell(
            node,
            Report::Started { task, generation, address: None, ports: Vec::new(), steps: Vec::new() },
        );
        self.share(job, at);
        self.refresh(job);
    }

    /// The job's work is done: it ends as its trace says.
    pub fn work_done(&mut self, job: u32, version: u32) {
        let scene = self.scene;
        let now = self.now;
        let Some(run) = self.runs[job as usize].as_mut().filter(|run| run.version == version && !run.halted)
        else {
            return;
        };
        run.work.settle(now);
        debug_assert!(run.work.is_done(scene.settings.checkpointing), "ends are foreseen exactly");
        let (id, ranks) = (run.id, u32::try_from(run.ranks.len()).unwrap_or(u32::MAX));
        self.halt(job, None);
        let code = match scene.job(job).ending {
            Ending::Completed => 0,
            Ending::Failed => 1,
            Ending::Cancelled => {
                let name = scene.workload.users[scene.job(job).user as usize].clone();
                let user = Actor::User { name, from: String::new() };
                let stop = Request::Stop { target: Target::job(id), now: true };
                self.outbox.push((user, Event::Request(stop)));
                return;
            }
        };
        for rank in 0..ranks {
            let lives = self.runs[job as usize].as_ref().is_some_and(|run| run.ranks[rank as usize].lives());
            if lives {
                self.exit(job, rank, Exit::Code(code));
            }
        }
    }

    /// The attempt works no more.
    pub fn halt(&mut self, job: u32, how: Option<Halt>) {
        let (now, mode) = (self.now, self.scene.settings.checkpointing);
        let Some(run) = &mut self.runs[job as usize] else { return };
        if std::mem::replace(&mut run.halted, true) {
            return;
        }
        run.work.stop(now, mode, how);
        run.version += 1;
        self.desk.borrow_mut().rows[job as usize].lost = run.work.lost();
    }

    /// A rank ends and says so.
    pub fn exit(&mut self, job: u32, at: u32, exit: Exit) {
        let now = self.now;
        let Some(run) = &mut self.runs[job as usize] else { return };
        let (id, rank) = (run.id, &mut run.ranks[at as usize]);
        let ran = rank.state != RankState::Starting;
        rank.state = RankState::Ended(now, exit);
        let (node, generation) = (rank.node, rank.generation);
        let task = id.gang(0).task(at);
        if ran {
            let devices = std::mem::take(&mut rank.devices);
            self.unshare(job, node, &devices);
        }
        self.tell(node, Report::Exited { task, generation, exit });
        self.refresh(job);
    }

    pub fn stop(&mut self, task: TaskId, generation: Generation, grace: Millis, node: u32) {
        let Some(job) = self.found(task).filter(|_| !self.machines[node as usize].dead) else { return };
        if !self.lives(job, task.rank, generation) {
            self.stop_absent(job, task, generation, node, grace);
            return;
        }
        let settings = self.scene.settings;
        let saves = match settings.checkpointing {
            Checkpointing::OnSignal { takes } => takes,
            _ => Millis::ZERO,
        };
        // Rank 0 leaves only with the whole gang.
        if task.rank == 0 {
            self.halt(job, Some(Halt::Signal(grace)));
        } else if let Some(run) = &mut self.runs[job as usize]
            && !run.halted
        {
            run.stale_end |= run.work.interrupt(self.now, settings.resize_pause);
            self.refresh(job);
        }
        let wait = settings.stops_in.max(saves).min(grace);
        let signal = signal_of(grace);
        if wait.is_zero() {
            self.exit(job, task.rank, Exit::Signal(signal));
        } else {
            let dies = Happening::Dies { job, rank: task.rank, generation, signal };
            self.line.push(self.now.after(wait), dies);
        }
    }

    /// What a node answers that has no such process: how it ended, or that it never starts.
    fn stop_absent(&mut self, job: u32, task: TaskId, generation: Generation, node: u32, grace: Millis) {
        if self.is_over(job) {
            return;
        }
        let rank = self.runs[job as usize].as_ref().and_then(|run| run.ranks.get(task.rank as usize));
        let exit = match rank.filter(|rank| rank.generation == generation).map(|rank| rank.state) {
            Some(RankState::Ended(_, exit)) => exit,
            _ => Exit::Signal(signal_of(grace)),
        };
        self.bar(job, task, generation);
        self.tell(node, Report::Exited { task, generation, exit });
    }

    pub fn freeze(&mut self, task: TaskId, generation: Generation, frozen: bool) {
        let Some(job) = self.found(task).filter(|job| self.lives(*job, task.rank, generation)) else {
            return;
        };
        let Some(run) = &mut self.runs[job as usize] else { return };
        let rank = &mut run.ranks[task.rank as usize];
        let (from, to) = match frozen {
            true => (RankState::Running, RankState::Frozen),
            false => (RankState::Frozen, RankState::Running),
        };
        if rank.state != from {
            return;
        }
        rank.state = to;
        let node = rank.node;
        self.tell(node, Report::Frozen { task, generation, frozen, refused: None });
        self.refresh(job);
    }

    pub fn fence(&mut self, task: TaskId, generation: Generation, node: u32) {
        let Some(job) = self.found(task).filter(|job| !self.is_over(*job)) else { return };
        self.bar(job, task, generation);
        let Some(run) = &mut self.runs[job as usize] else { return };
        let rank = run.rank_mut(task.rank);
        if rank.state == RankState::Vacant || rank.node != node || rank.generation > generation {
            return;
        }
        let (lived, ran) = (rank.lives(), rank.state != RankState::Starting);
        let devices = std::mem::take(&mut rank.devices);
        *rank = Rank { closed: rank.closed, ..Rank::default() };
        self.machines[node as usize].tasks.remove(&(job, task.rank));
        if lived {
            self.halt(job, Some(Halt::Death));
            if ran {
                self.unshare(job, node, &devices);
            }
            self.refresh(job);
        }
    }

    /// Brings a job's speed and its end up to date.
    pub fn refresh(&mut self, job: u32) {
        if self.runs[job as usize].as_ref().is_none_or(|run| run.halted) {
            return;
        }
        let speed = self.speed(job);
        let (now, mode) = (self.now, self.scene.settings.checkpointing);
        let Some(run) = &mut self.runs[job as usize] else { return };
        let changed = run.work.set_speed(now, speed);
        if !changed && !std::mem::take(&mut run.stale_end) {
            return;
        }
        run.stale_end = false;
        run.begun |= speed > 0;
        run.version += 1;
        let ends = Happening::Ends { job, version: run.version };
        if let Some(end) = run.work.end(mode) {
            self.line.push(end, ends);
        }
    }

    /// Speed of a job now: by the number of its ranks that run, the slowest of their devices and the worst neighbours.
    fn speed(&self, job: u32) -> u64 {
        let Some(run) = &self.runs[job as usize] else { return 0 };
        let sim = self.scene.job(job);
        // Ranks start and end one after the other: most of the time one end of a rigid gang tells.
        let stands = |rank: Option<&Rank>| rank.is_some_and(|rank| rank.state != RankState::Running);
        // Of those that have not been started yet none runs.
        if run.ranks.len() < sim.size.min as usize {
            return 0;
        }
        let rigid = run.ranks.len() == sim.size.min as usize;
        if rigid && (stands(run.ranks.first()) || stands(run.ranks.last())) {
            return 0;
        }
        let (mut running, mut slowest) = (0_u32, u64::MAX);
        for rank in &run.ranks {
            match rank.state {
                RankState::Running => {
                    running += 1;
                    slowest = slowest.min(rank.model_speed * self.neighbours(job, rank) / FULL);
                }
                RankState::Frozen => return 0,
                _ => {}
            }
        }
        if running < sim.size.min || running == 0 {
            return 0;
        }
        let scaled = match self.scene.profile(sim) {
            Some(profile) => profile.speed.grown(sim.size.min, running),
            None => u64::from(running) * FULL / u64::from(sim.size.min),
        };
        // A job that has its place moves, however slowly.
        (scaled * slowest / FULL).max(1)
    }
}

const fn signal_of(grace: Millis) -> i32 {
    if grace.is_zero() { 9 } else { 15 }
}
