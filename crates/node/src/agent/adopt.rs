//! Taking up what an earlier agent left, clearing what nobody owns, and closing.

use super::{Inner, Live, Shutdown};
use crate::cgroup::Pool;
use crate::folder::{Claim, Folder, now};
use crate::launcher::control::Request;
use crate::launcher::layer;
use crate::launcher::spec::LaunchSpec;
use crate::tolerate;
use pond_core::event::{Found, Report};
use pond_core::ids::{Generation, TaskId};
use std::collections::BTreeSet;
use std::fs;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between the signal and the kill when the whole machine is taken down.
const DOWN_GRACE: Duration = Duration::from_secs(5);

/// The order a task was started with.
pub(super) fn read_spec(folder: &Folder) -> Option<LaunchSpec> {
    serde_json::from_slice(&fs::read(folder.launch()).ok()?).ok()
}

impl Inner {
    /// Looks at every task folder, takes up launchers that are alive, settles those that are gone, makes sure
    /// that what was never claimed never runs, and reports node and inventory.
    pub(super) fn adopt(&self) {
        let mut inventory = Vec::new();
        let (mut failed, mut over) = (Vec::new(), Vec::new());
        // Without root each server has a parent group of its own.
        let mut earlier: Vec<Pool> = Vec::new();
        for (task, generation, folder) in crate::folder::all(&self.config.state_dir) {
            if self.contained.is_some() {
                let pool = read_spec(&folder).map(|spec| spec.pool);
                earlier.extend(pool.filter(|pool| {
                    pool.is_apart_from(&self.pool) && earlier.iter().all(|known| pool.is_apart_from(known))
                }));
            }
            let found = match folder.look() {
                Claim::Held => self.take_up(task, generation, &folder),
                Claim::Left => Some(self.settle(task, generation, &folder)),
                Claim::Free => {
                    // Once claimed by us no late launcher can; without the folder it was never here.
                    if folder.take_claim().is_ok() {
                        folder.remove_layer_elsewhere();
                        tolerate(crate::folder::remove_tree(&folder.0));
                        continue;
                    }
                    self.take_up(task, generation, &folder)
                }
            };
            let Some(ended) = found else {
                let started = folder.started().map_or_else(now, |started| started.at);
                inventory.push((task, generation, Found::Running { started }));
                continue;
            };
            if let Some(failure) = &ended.failed {
                let (message, node_fault) = (failure.message.clone(), failure.node_fault);
                failed.push(Report::StartFailed { task, generation, message, node_fault });
            }
            over.push((task, generation, ended.clone()));
            let found = Found::Ended { started: ended.started, ended: ended.at, exit: ended.exit };
            inventory.push((task, generation, found));
        }
        self.sweep(&self.pool);
        for pool in earlier {
            self.sweep(&pool);
            pool.remove();
        }
        self.partitions.keep(|holder| self.state().live.contains_key(holder));
        self.report(Report::NodeUp(self.described()));
        for report in failed {
            self.report(report);
        }
        for (task, generation, ended) in over {
            self.report_used(task, generation, &ended);
        }
        self.report(Report::Inventory { node: self.config.node.clone(), tasks: inventory });
        self.report_taken_up();
    }

    /// Takes up a task whose launcher is alive; its end when it ended meanwhile.
    fn take_up(&self, task: TaskId, generation: Generation, folder: &Folder) -> Option<crate::folder::Ended> {
        // It may be on its way from its claim to its start.
        let end = Instant::now() + Duration::from_secs(2);
        while folder.started().is_none() && matches!(folder.look(), Claim::Held) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let (Some(spec), Some(pid)) = (read_spec(folder), folder.claimant()) else {
            return Some(self.settle(task, generation, folder));
        };
        if self.watch.add(pid, task, generation).is_err() || !matches!(folder.look(), Claim::Held) {
            return Some(self.settle(task, generation, folder));
        }
        let group = spec.pool.group(&spec.group);
        let mut live = Live::new(folder, &spec, group, super::share::take_up(folder));
        if let (Some(network), Some(net)) = (&self.network, &live.net) {
            network.adopt(task, generation, net);
        }
        live.runs();
        self.state().live.insert((task, generation), live);
        None
    }

    /// Tells the start of running tasks again: an earlier agent may have died before it could.
    fn report_taken_up(&self) {
        let live: Vec<Folder> = self.state().live.values().map(|live| live.folder.clone()).collect();
        for folder in live {
            if let (Some(spec), Some(_)) = (read_spec(&folder), folder.started()) {
                self.started(&spec, Vec::new());
            }
        }
    }

    /// Removes control groups of this parent that no living launcher has.
    fn sweep(&self, pool: &Pool) {
        let known: BTreeSet<String> = {
            let state = self.state();
            state.live.keys().map(|(task, generation)| super::order::group_name(*task, *generation)).collect()
        };
        for name in pool.names() {
            if !known.contains(&name) {
                let group = pool.group(&name);
                group.kill();
                tolerate(group.remove());
            }
        }
    }

    /// Ends the threads; with [`Shutdown::Stop`] every task first. When nothing runs then, nothing of the pool stays on the machine.
    pub(super) fn close(&self, how: Shutdown) {
        self.stop_work();
        if how == Shutdown::Stop {
            self.stop_all();
        }
        self.closing.store(true, Ordering::Release);
        self.watch.wake();
        self.partitions.wake();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            tolerate(thread.join());
        }
        self.spawner.close();
        if let Some(contained) = &self.contained {
            contained.spawner.close();
        }
        if how == Shutdown::Stop || self.state().live.is_empty() {
            if let Some(network) = &self.network {
                network.close();
            }
            self.sweep(&self.pool);
            self.partitions.keep(|_| false);
            self.partitions.clear_all();
            self.pool.remove();
            layer::let_go_of_memory(&self.config.state_dir, how == Shutdown::Stop);
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends every task: the signal, [`DOWN_GRACE`], the kill of its group.
    fn stop_all(&self) {
        let end = Instant::now() + DOWN_GRACE * 3;
        loop {
            let live: Vec<_> = {
                let state = self.state();
                state.live.iter().map(|(key, live)| (*key, live.folder.clone())).collect()
            };
            if live.is_empty() || Instant::now() > end {
                return;
            }
            let grace = (end - DOWN_GRACE * 2).saturating_duration_since(Instant::now());
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            for ((task, generation), folder) in &live {
                if super::work::ask(folder, &Request::Stop { signal: 15, grace_ms }).is_err() {
                    self.group(*task, *generation).kill();
                }
            }
            for (_, folder) in &live {
                if let Some(pid) = folder.claimant().filter(|_| matches!(folder.look(), Claim::Held)) {
                    tolerate(super::watch::wait_for(pid, Duration::from_secs(2)));
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
