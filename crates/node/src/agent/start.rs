//! Starting one task: image, network, layer, order, launcher.

use super::share::ShareError;
use super::{Contained, Inner, Live};
use crate::bounds::Bounds;
use crate::folder::{Claim, Ended, Folder, StartFailure, now, now_us};
use crate::ground::Ground;
use crate::image::Rootfs;
use crate::launcher::spec::{LaunchSpec, Program};
use crate::launcher::{self, layer};
use crate::net::TaskNet;
use crate::tolerate;
use pond_core::event::{Exit, Launch, Report, Step, StepKind};
use pond_core::model::{Image, Isolation, PortSpec};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A start that did not come to a launcher.
enum Unstarted {
    /// Why not.
    Failed(StartFailure),
    /// It was stopped meanwhile.
    Cancelled,
}

fn node_fault(message: String) -> Unstarted {
    Unstarted::Failed(StartFailure { message, node_fault: true })
}

fn job_fault(message: String) -> Unstarted {
    Unstarted::Failed(StartFailure { message, node_fault: false })
}

/// Containers cannot be built. Where the pool may not mount at all, to try again changes nothing.
fn no_ground(why: io::Error) -> Unstarted {
    if why.kind() == io::ErrorKind::PermissionDenied {
        return job_fault(format!(
            "this machine lets the pool build no containers ({why}); use `isolation: process`, which sees the whole \
             machine and may have no limits, or run the pool as root where it may mount (`pond doctor` says what is missing)"
        ));
    }
    node_fault(format!("cannot make the mounts containers stand on: {why}"))
}

fn has_image(launch: &Launch) -> bool {
    launch.run.image != Image::Host && launch.run.isolation != Isolation::Process
}

/// The steps of a start, one behind the other.
struct Steps {
    since_us: u64,
    done: Vec<Step>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { since_us: now_us(), done: Vec::new() }
    }
}

impl Steps {
    /// What went on since the step before is done; it is one if there was anything to do.
    fn done(&mut self, kind: StepKind, any: bool) {
        let from_us = std::mem::replace(&mut self.since_us, now_us());
        if any {
            self.done.push(Step { kind, from_us, to_us: self.since_us });
        }
    }
}

/// On the machine's own network a task is reached where it listens.
fn own_ports(ports: &[PortSpec]) -> Result<(), Unstarted> {
    match ports.iter().find(|port| port.host != 0 && port.host != port.container) {
        Some(PortSpec { container, host }) => Err(job_fault(format!(
            "port {container} of the task cannot be port {host} of the machine, whose own network it is on; name the same number \
             twice, or run it in a container of a pool that has networks of tasks (`pond doctor`)"
        ))),
        None => Ok(()),
    }
}

fn share_fault(why: ShareError) -> Unstarted {
    match why {
        ShareError::Process => job_fault(why.to_string()),
        _ => node_fault(why.to_string()),
    }
}

impl Inner {
    pub(super) fn start(&self, launch: &Launch, cancel: &AtomicBool) {
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        let folder = Folder::of(&self.config.state_dir, task, generation);
        if !matches!(folder.look(), Claim::Free) {
            return;
        }
        let unstarted = match self.try_start(launch, &folder, cancel) {
            Ok(()) => return,
            Err(unstarted) => unstarted,
        };
        if let Some(network) = &self.network {
            network.release(task, generation);
        }
        self.partitions.release((task, generation));
        self.state().live.remove(&(task, generation));
        let at = now();
        let (exit, failed) = match &unstarted {
            Unstarted::Failed(failure) => (Exit::Lost, Some(failure.clone())),
            Unstarted::Cancelled => (Exit::Signal(libc::SIGTERM), None),
        };
        // A launcher that claimed it meanwhile tells its own end.
        if fs::create_dir_all(&folder.0).is_ok() && folder.take_claim().is_ok() {
            tolerate(folder.record_ended(&Ended { started: at, at, exit, failed, used: None }));
        }
        self.report(match unstarted {
            Unstarted::Failed(StartFailure { message, node_fault }) => {
                Report::StartFailed { task, generation, message, node_fault }
            }
            Unstarted::Cancelled => Report::Exited { task, generation, exit },
        });
    }

    fn try_start(&self, launch: &Launch, folder: &Folder, cancel: &AtomicBool) -> Result<(), Unstarted> {
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder.0)
            .map_err(|why| node_fault(format!("cannot make the task's folder: {why}")))?;
        let secrets = self.secrets(launch)?;
        let mut steps = Steps::default();
        let rootfs = self.rootfs(launch, cancel)?;
        steps.done(StepKind::Image, has_image(launch));
        let contained = self.contained.as_ref().filter(|_| launch.run.isolation == Isolation::Container);
        let ground = match (launch.run.isolation, contained) {
            (Isolation::Process, _) => None,
            (Isolation::Container, Some(contained)) => self.admit_contained(contained, launch)?,
            (Isolation::Container, None) => Some(self.grounds.of(&rootfs.lowers).map_err(no_ground)?),
        };
        steps.done(StepKind::Mounts, ground.is_some());
        let net = self.plan_net(launch)?;
        steps.done(StepKind::Network, net.is_some());
        if launch.keep_layer {
            keep_layer(folder).map_err(|why| node_fault(format!("cannot take the kept layer: {why}")))?;
        }
        if launch.run.isolation == Isolation::Process {
            tolerate(fs::create_dir_all(self.out_dir(launch)));
        }
        let (shares, mounts) = self.make_shares(launch, folder, &rootfs).map_err(share_fault)?;
        self.make_partitions(launch).map_err(|why| node_fault(why.to_string()))?;
        steps.done(StepKind::Devices, !launch.allocation.devices.is_empty());
        let mut spec = self.order(launch, &rootfs, net.clone());
        if matches!(&spec.command, Program::Argv(argv) if argv.is_empty()) {
            let what =
                "the image has no command of its own; write what runs: `run:`, or the command after `--`";
            return Err(job_fault(what.to_owned()));
        }
        if let Some(container) = &mut spec.container {
            container.own = mounts;
        }
        let text =
            serde_json::to_vec(&spec).map_err(|why| node_fault(format!("cannot write the order: {why}")))?;
        fs::write(folder.launch(), text)
            .map_err(|why| node_fault(format!("cannot write the order: {why}; is the disk full?")))?;
        let live = Live::new(folder, &spec, self.pool.group(&spec.group), shares);
        if cancel.load(Ordering::Acquire) {
            return Err(Unstarted::Cancelled);
        }
        self.state().live.insert((task, generation), live);
        let launched = contained
            .map_or(&self.spawner, |contained| &contained.spawner)
            .launch(folder, &secrets, ground.as_deref().map(Ground::namespace))
            .map_err(|why| node_fault(format!("cannot start the launcher: {why}")))?;
        if launched.wait_started() {
            steps.done(StepKind::Start, true);
            self.started(&spec, steps.done);
        }
        self.watch
            .add_opened(launched.pidfd, task, generation)
            .map_err(|why| node_fault(format!("cannot watch the launcher: {why}")))
    }

    /// Whether a pool without root can build this container, which lays its ground itself. Tried once.
    fn admit_contained(
        &self,
        contained: &Contained,
        launch: &Launch,
    ) -> Result<Option<Arc<Ground>>, Unstarted> {
        if contained.works.get().is_none() {
            let tried = launcher::user::try_with(&self.config.launcher, &self.config.state_dir);
            // What does not work now may have been mended at the next start.
            tried
                .map_err(|why| no_ground(io::Error::new(io::ErrorKind::PermissionDenied, why.to_string())))?;
            tolerate(contained.works.set(()));
        }
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match launch.run.user {
            Some(user) if user != own && user != (0, 0) => Err(job_fault(format!(
                "a container of a pool without root has one user, who owns it; leave out `user: {}:{}`, or run the pool as root",
                user.0, user.1
            ))),
            _ => Ok(None),
        }
    }

    fn secrets(&self, launch: &Launch) -> Result<Vec<(String, String)>, Unstarted> {
        let find = |name: &String| match (self.config.secrets)(name) {
            Some(value) => Ok((name.clone(), value)),
            None => Err(job_fault(format!(
                "there is no secret `{name}`; set it with `pond secret set {name}`, then `pond retry`"
            ))),
        };
        launch.run.secrets.iter().map(find).collect()
    }

    fn rootfs(&self, launch: &Launch, cancel: &AtomicBool) -> Result<Rootfs, Unstarted> {
        if !has_image(launch) {
            return Ok(Rootfs::default());
        }
        if let (Image::Layout(text), Some(within)) = (&launch.run.image, &launch.run.within) {
            let bounds = Bounds::new(&self.config.state_dir, Some(within))
                .map_err(|why| node_fault(format!("cannot find the pool's own folder: {why}")))?;
            let told = |why: &dyn std::fmt::Display| job_fault(format!("cannot give the task {text}: {why}"));
            let place = fs::canonicalize(crate::image::layout_path(text));
            let place = place.map_err(|why| told(&bounds.unseen(why)))?;
            bounds.admit(&place, false).map_err(|why| told(&why))?;
        }
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        let mut progress = |message: &str| {
            let message = message.to_owned();
            self.report(Report::Progress { task, generation, message });
            !cancel.load(Ordering::Acquire)
        };
        let store = self.config.state_dir.join("images");
        crate::image::prepare(&store, &launch.run.image, &mut progress).map_err(|why| {
            if cancel.load(Ordering::Acquire) { Unstarted::Cancelled } else { job_fault(why.to_string()) }
        })
    }

    fn plan_net(&self, launch: &Launch) -> Result<Option<TaskNet>, Unstarted> {
        let Some(network) = self.network.as_ref().filter(|_| launch.run.isolation == Isolation::Container)
        else {
            return own_ports(&launch.run.ports).map(|()| None);
        };
        let size = u32::try_from(launch.peers.len().max(1)).unwrap_or(u32::MAX);
        let (task, generation) = (launch.allocation.task, launch.allocation.generation);
        network
            .plan(task, generation, size, &launch.run.ports)
            .map(Some)
            .map_err(|why| node_fault(why.to_string()))
    }

    /// Notes that the task runs and tells it. Also used for tasks an earlier agent started, whose steps nobody knows.
    pub(super) fn started(&self, spec: &LaunchSpec, steps: Vec<Step>) {
        let (task, generation) = (spec.task, spec.generation);
        let net = spec.container.as_ref().and_then(|container| container.net.as_ref());
        let address = net.and_then(|net| net.address).map(|address| address.to_string());
        let own = || spec.ports.iter().map(|port| (*port, *port)).collect();
        let ports = net.map_or_else(own, |net| net.ports.clone());
        if let Some(live) = self.state().live.get_mut(&(task, generation)) {
            live.runs();
        }
        self.report(Report::Started { task, generation, address, ports, steps });
    }

    /// An empty filesystem of this size to copy; `None` where that does not work.
    pub(super) fn disk_template(&self, bytes: u64) -> Option<PathBuf> {
        // Sizes in steps, so that a few templates serve all; ext4 wants some room for itself.
        let bytes = bytes.max(4 << 20).next_multiple_of(1 << 20);
        let dir = self.config.state_dir.join("templates");
        let path = dir.join(format!("ext4-{bytes}"));
        if !Path::new("/dev/loop-control").exists() {
            return None;
        }
        if path.exists() {
            return Some(path);
        }
        fs::create_dir_all(&dir).ok()?;
        layer::make_template(&path, bytes).is_ok().then_some(path)
    }
}

/// Moves the writable layer of the newest earlier generation here.
fn keep_layer(folder: &Folder) -> io::Result<()> {
    let Some((parent, own)) = folder.0.parent().zip(folder.0.file_name()) else { return Ok(()) };
    let own: u64 = own.to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
    let mut earlier: Vec<(u64, PathBuf)> = fs::read_dir(parent)?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(generation, _)| *generation < own)
        .collect();
    earlier.sort();
    for (_, path) in earlier.into_iter().rev() {
        let old = Folder(path);
        if matches!(old.look(), Claim::Held) || !(old.layer().exists() || old.layer_image().exists()) {
            continue;
        }
        if old.layer_image().exists() {
            fs::rename(old.layer_image(), folder.layer_image())?;
        }
        if old.layer().exists() {
            fs::rename(old.layer(), folder.layer())?;
        }
        return Ok(());
    }
    Ok(())
}
