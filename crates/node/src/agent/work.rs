//! The queues of effects and the threads that carry them out.
//!
//! A task has at most one worker at a time, so its effects keep their order; a task that waits for a slow
//! start (an image) holds back only itself.

use super::Inner;
use crate::folder::{Claim, Ended, Folder, now};
use crate::launcher::control::{Answer, Request};
use crate::launcher::family;
use crate::tolerate;
use pond_core::event::{DeviceGrant, Effect, Exit, Report};
use pond_core::ids::{Generation, JobId, TaskId};
use pond_core::model::{Resources, ShareTerms};
use pond_core::units::Millis;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Queues {
    waiting: BTreeMap<TaskId, VecDeque<Effect>>,
    /// Tasks with something to do and no worker.
    ready: VecDeque<TaskId>,
    busy: BTreeSet<TaskId>,
    /// Set to make a slow start give up.
    cancel: BTreeMap<TaskId, Arc<AtomicBool>>,
    /// Nothing more is begun.
    shut: bool,
}

/// Whose queue an effect stands in.
fn subject(effect: &Effect) -> TaskId {
    match effect {
        Effect::Start(launch) => launch.allocation.task,
        Effect::Stop { task, .. }
        | Effect::Freeze { task, .. }
        | Effect::Resize { task, .. }
        | Effect::Signal { task, .. }
        | Effect::Fence { task, .. } => *task,
        Effect::Purge(job) => job.gang(0).task(0),
    }
}

/// A worker thread: until the agent closes.
pub(super) fn run(inner: Arc<Inner>) {
    while let Some((task, effect, cancel)) = inner.next_effect() {
        inner.carry_out(effect, &cancel);
        let mut state = inner.state();
        state.work.busy.remove(&task);
        state.work.cancel.remove(&task);
        if state.work.waiting.contains_key(&task) {
            state.work.ready.push_back(task);
            inner.wake.notify_one();
        }
        if state.work.shut {
            inner.wake.notify_all();
        }
    }
}

impl Inner {
    pub(super) fn enqueue(&self, effects: Vec<Effect>) {
        let mut state = self.state();
        for effect in effects {
            let task = subject(&effect);
            if matches!(effect, Effect::Stop { .. } | Effect::Fence { .. })
                && let Some(cancel) = state.work.cancel.get(&task)
            {
                cancel.store(true, Ordering::Release);
            }
            let queue = state.work.waiting.entry(task).or_default();
            queue.push_back(effect);
            if queue.len() == 1 && !state.work.busy.contains(&task) {
                state.work.ready.push_back(task);
                self.wake.notify_one();
            }
        }
    }

    /// Begins nothing more, makes slow starts give up, and waits for what was begun: afterwards all that runs is known.
    pub(super) fn stop_work(&self) {
        let mut state = self.state();
        state.work.shut = true;
        for cancel in state.work.cancel.values() {
            cancel.store(true, Ordering::Release);
        }
        self.wake.notify_all();
        while !state.work.busy.is_empty() {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_effect(&self) -> Option<(TaskId, Effect, Arc<AtomicBool>)> {
        let mut state = self.state();
        loop {
            if state.work.shut {
                return None;
            }
            if let Some(task) = state.work.ready.pop_front() {
                let Some(queue) = state.work.waiting.get_mut(&task) else { continue };
                let effect = queue.pop_front();
                if queue.is_empty() {
                    state.work.waiting.remove(&task);
                }
                let Some(effect) = effect else { continue };
                let cancel = Arc::new(AtomicBool::new(false));
                state.work.busy.insert(task);
                state.work.cancel.insert(task, Arc::clone(&cancel));
                return Some((task, effect, cancel));
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn carry_out(&self, effect: Effect, cancel: &AtomicBool) {
        match effect {
            Effect::Start(launch) => self.start(&launch, cancel),
            Effect::Stop { task, generation, signal, grace, .. } => {
                self.stop(task, generation, signal, grace);
            }
            Effect::Freeze { task, generation, frozen, .. } => self.freeze(task, generation, frozen),
            Effect::Resize { task, generation, request, burst, devices, shares, .. } => {
                self.resize((task, generation), (request, burst), (&devices, &shares));
            }
            Effect::Signal { task, generation, signal, .. } => {
                tolerate(ask(&self.folder(task, generation), &Request::Signal(signal)));
            }
            Effect::Fence { task, generation, .. } => self.fence(task, generation),
            Effect::Purge(job) => self.purge(job),
        }
    }

    fn stop(&self, task: TaskId, generation: Generation, signal: i32, grace: Millis) {
        let folder = self.folder(task, generation);
        match folder.look() {
            Claim::Held => {
                let request = Request::Stop { signal, grace_ms: grace.0 };
                if ask(&folder, &request).is_err() {
                    // Not listening yet or any more: the group is the surer way.
                    self.group(task, generation).kill();
                }
            }
            Claim::Free => {
                self.void(task, generation, Exit::Signal(signal));
                self.report(Report::Exited { task, generation, exit: Exit::Signal(signal) });
            }
            Claim::Left => {
                let watched = self.state().live.contains_key(&(task, generation));
                if !watched {
                    let exit = folder.ended().map_or(Exit::Lost, |ended| ended.exit);
                    self.report(Report::Exited { task, generation, exit });
                }
            }
        }
    }

    pub(super) fn group(&self, task: TaskId, generation: Generation) -> crate::cgroup::Group {
        let live = self.state().live.get(&(task, generation)).map(|live| live.group.clone());
        live.unwrap_or_else(|| self.pool.group(&super::order::group_name(task, generation)))
    }

    /// Makes sure that a generation nobody has claimed never runs. False when somebody has it.
    pub(super) fn void(&self, task: TaskId, generation: Generation, exit: Exit) -> bool {
        let folder = self.folder(task, generation);
        let at = now();
        fs::create_dir_all(&folder.0).is_ok()
            && folder.take_claim().is_ok()
            && folder.record_ended(&Ended { started: at, at, exit, failed: None, used: None }).is_ok()
    }

    fn freeze(&self, task: TaskId, generation: Generation, frozen: bool) {
        let folder = match self.state().live.get(&(task, generation)) {
            Some(live) => live.folder.clone(),
            None => return,
        };
        let first = || {
            let (started, spec) = (folder.started()?, super::adopt::read_spec(&folder)?);
            Some((started.init, Some(started.init_began), spec.container.is_some()))
        };
        let done = family::freeze(&self.group(task, generation), frozen, first);
        let refused = done.err().map(|why| why.source.to_string());
        self.report(Report::Frozen { task, generation, frozen, refused });
    }

    fn resize(
        &self,
        (task, generation): (TaskId, Generation),
        (request, burst): (Resources, Resources),
        (devices, shares): (&[DeviceGrant], &[ShareTerms]),
    ) {
        let (group, before) = match self.state().live.get(&(task, generation)) {
            Some(live) => (live.group.clone(), live.limits.clone()),
            None => return,
        };
        let limits = super::order::resized(&before, request, burst);
        // What was changed before a refusal goes back, so that the old limits stay as a whole.
        let refused = match group.set(&limits) {
            Ok(()) => self.change_shares((task, generation), devices, shares).err().map(|why| {
                tolerate(group.set(&before));
                why.to_string()
            }),
            Err(error) => {
                tolerate(group.set(&before));
                Some(match error.source.raw_os_error() {
                    Some(libc::EBUSY) => {
                        "more memory is in use than the new limit allows; the old limits stay".to_owned()
                    }
                    _ => error.to_string(),
                })
            }
        };
        if refused.is_none()
            && let Some(live) = self.state().live.get_mut(&(task, generation))
        {
            live.limits = limits;
        }
        self.report(Report::Resized { task, generation, refused });
    }

    fn fence(&self, task: TaskId, generation: Generation) {
        let dir = crate::folder::of_task(&self.config.state_dir, task);
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Generation);
            let Some(old) = number.filter(|old| *old <= generation) else { continue };
            match Folder(entry.path()).look() {
                Claim::Held => {
                    tolerate(ask(&Folder(entry.path()), &Request::Stop { signal: 9, grace_ms: 0 }));
                    self.group(task, old).kill();
                }
                Claim::Free => tolerate(self.void(task, old, Exit::Signal(9))),
                Claim::Left => {}
            }
        }
    }

    fn purge(&self, job: JobId) {
        let dir = crate::folder::of_job(&self.config.state_dir, job);
        let mine: Vec<_> = crate::folder::of_one_job(&self.config.state_dir, job);
        for (task, generation, folder) in &mine {
            if matches!(folder.look(), Claim::Held) {
                tolerate(ask(folder, &Request::Stop { signal: 9, grace_ms: 0 }));
                self.group(*task, *generation).kill();
            }
        }
        let end = Instant::now() + Duration::from_secs(10);
        for (_, _, folder) in &mine {
            while matches!(folder.look(), Claim::Held) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        mine.iter().for_each(|(_, _, folder)| folder.remove_layer_elsewhere());
        // Whoever settles the end may write one more record meanwhile.
        let end = Instant::now() + Duration::from_secs(10);
        while crate::folder::remove_tree(&dir).is_err() && dir.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Opens the launcher's socket of a task.
pub(super) fn connect(folder: &Folder) -> io::Result<UnixStream> {
    let dir = fs::File::open(&folder.0)?;
    let path = format!("/proc/self/fd/{}/ctl.sock", std::os::fd::AsRawFd::as_raw_fd(&dir));
    UnixStream::connect(path)
}

/// Asks a launcher and waits for its answer, two seconds at most.
pub(super) fn ask(folder: &Folder, request: &Request) -> io::Result<Answer> {
    let mut stream = connect(folder)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
