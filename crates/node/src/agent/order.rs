//! From the engine's `Launch` to the launcher's order: environment, limits, devices.

use super::{Config, Inner};
use crate::cgroup::Limits;
use crate::image::Rootfs;
use crate::launcher::spec::{Container, LaunchSpec, Program};
use crate::launcher::{script_dir, slurm, sys};
use crate::net::TaskNet;
use crate::probe::{self, MachineConfig};
use crate::tolerate;
use pond_core::event::Launch;
use pond_core::ids::{Generation, TaskId};
use pond_core::model::{Class, Command, DeviceKind, Image, Isolation, NodeSpec, Resources, RunSpec};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Name of a task's control group below the pool's.
pub(super) fn group_name(task: TaskId, generation: Generation) -> String {
    format!("t{}.{}.{}.{}", task.gang.job, task.gang.index, task.rank, generation.0)
}

/// The machine as the pool sees it.
pub(super) fn node_spec(config: &Config) -> NodeSpec {
    let machine = MachineConfig::new(config.node.as_str(), &config.state_dir);
    probe::node(&MachineConfig { offer: config.offer, ..machine })
}

/// Which of the machine's own files and folders that such a task would be given are not there now.
#[must_use]
pub fn missing(run: &RunSpec) -> Vec<String> {
    let sources = run.volumes.iter().map(|volume| &volume.source);
    sources.chain(&run.files).chain(&run.stdin).filter(|path| !Path::new(path).exists()).cloned().collect()
}

/// The limits of a task; `pids` is for tasks that do not say.
fn limits(launch: &Launch, pids: u32, devices: Vec<String>) -> Limits {
    let allocation = &launch.allocation;
    let pids = if launch.run.pids == 0 { pids } else { launch.run.pids };
    let base =
        Limits { idle: launch.class == Class::Spare, pids: u64::from(pids), devices, ..Limits::default() };
    resized(&base, allocation.request, allocation.burst)
}

/// The same limits with other amounts.
pub(super) fn resized(before: &Limits, request: Resources, burst: Resources) -> Limits {
    let most = |burst: u64, request: u64| if burst == 0 { request } else { burst };
    Limits {
        cpu_milli: most(burst.cpu.0, request.cpu.0),
        weight_milli: request.cpu.0,
        memory: most(burst.memory.0, request.memory.0),
        ..before.clone()
    }
}

/// Rules of the v1 devices controller for these files: `c 195:0 rw`.
fn device_rules(files: &[String]) -> Vec<String> {
    let rule = |file: &String| {
        let meta = fs::metadata(file).ok()?;
        let kind = if meta.file_type().is_block_device() { 'b' } else { 'c' };
        let number = meta.rdev();
        Some(format!("{kind} {}:{} rw", rustix::fs::major(number), rustix::fs::minor(number)))
    };
    files.iter().filter_map(rule).collect()
}

impl Inner {
    /// Device files granted, with those every holder of such a device needs.
    fn device_files(&self, launch: &Launch) -> Vec<String> {
        let granted = launch.allocation.devices.iter();
        let mut files: Vec<String> = granted
            .filter_map(|grant| self.node.devices.get(grant.device as usize))
            .flat_map(|device| device.files.iter().cloned())
            .collect();
        let granted = launch.allocation.devices.iter();
        files.extend(granted.filter_map(|grant| self.name_of(launch, grant)).flat_map(|(_, files)| files));
        if files.iter().any(|file| file.starts_with("/dev/nvidia")) {
            for shared in ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"] {
                if Path::new(shared).exists() {
                    files.push(shared.to_owned());
                }
            }
        }
        files.sort();
        files.dedup();
        files
    }

    /// The whole order for one task.
    pub(super) fn order(&self, launch: &Launch, rootfs: &Rootfs, net: Option<TaskNet>) -> LaunchSpec {
        let run = &launch.run;
        let allocation = &launch.allocation;
        let devices = self.device_files(launch);
        let container = run.isolation == Isolation::Container;
        let env = self.environment(launch, rootfs, net.as_ref());
        let alone = self.is_alone(run);
        LaunchSpec {
            task: allocation.task,
            generation: allocation.generation,
            attempt: launch.attempt,
            boot: self.boot.clone(),
            group: group_name(allocation.task, allocation.generation),
            pool: self.pool.clone(),
            limits: limits(launch, self.config.pids, device_rules(&devices)),
            setup: run.setup.clone(),
            command: command(run, rootfs),
            env,
            workdir: workdir(run, rootfs),
            files: run.files.clone(),
            user: user(run, rootfs).filter(|_| !alone),
            groups: if run.user.is_none() && !alone { rootfs.config.groups.clone() } else { Vec::new() },
            tty: run.tty,
            stdin: run.stdin.clone(),
            within: run.within.clone(),
            ports: if net.is_none() {
                run.ports.iter().map(|port| port.container).collect()
            } else {
                Vec::new()
            },
            slurm: run.slurm,
            logs: self.config.logs,
            container: container.then(|| self.container(launch, rootfs, devices, net)),
        }
    }

    fn container(
        &self,
        launch: &Launch,
        rootfs: &Rootfs,
        devices: Vec<String>,
        net: Option<TaskNet>,
    ) -> Container {
        let run = &launch.run;
        let burst = launch.allocation.burst;
        let shm = match (run.shm.0, burst.memory.0) {
            (0, 0) => 64 << 20,
            (0, memory) => memory / 2,
            (asked, _) => asked,
        };
        let disk = burst.disk.0.max(launch.allocation.request.disk.0);
        Container {
            hostname: crate::hostname(launch.allocation.task),
            lowers: rootfs.lowers.clone(),
            userxattr: rootfs.userxattr,
            user_namespace: self.contained.is_some(),
            homes: if self.contained.is_some() { own_homes() } else { Vec::new() },
            volumes: run.volumes.clone(),
            own: Vec::new(),
            devices,
            shm,
            hosts: hosts(launch, net.as_ref(), self.together(launch, net.as_ref())),
            net,
            disk,
            disk_template: (disk > 0 && self.contained.is_none()).then(|| self.disk_template(disk)).flatten(),
        }
    }

    fn environment(&self, launch: &Launch, rootfs: &Rootfs, net: Option<&TaskNet>) -> Vec<(String, String)> {
        let run = &launch.run;
        let task = launch.allocation.task;
        let size = launch.peers.len().max(1);
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: String| tolerate(env.insert(name.to_owned(), value));
        let host_path = std::env::var("PATH").ok().filter(|_| run.image == Image::Host);
        set(
            "PATH",
            host_path
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        );
        set("HOME", self.home(run, rootfs));
        if run.tty {
            set("TERM", "xterm-256color".to_owned());
        }
        if run.isolation == Isolation::Container {
            set("HOSTNAME", crate::hostname(task));
        }
        for (name, value) in &rootfs.config.env {
            set(name, value.clone());
        }
        let private = net.filter(|net| net.address.is_some());
        // Rank 0's own hostname: torchrun compares the endpoint with it to know who hosts the rendezvous.
        let here = run.isolation == Isolation::Container && self.together(launch, net) > 0;
        let named = private.is_some() || here;
        let master = if named { crate::hostname(task.gang.task(0)) } else { "127.0.0.1".to_owned() };
        // Without a network of their own, gangs on one machine must not meet at one port.
        let port = match private {
            Some(_) => 29_500,
            None => 20_000 + (task.gang.job.0.wrapping_mul(61) + u64::from(task.gang.index)) % 10_000,
        };
        set("MASTER_ADDR", master);
        set("MASTER_PORT", port.to_string());
        set("WORLD_SIZE", size.to_string());
        set("RANK", task.rank.to_string());
        set("LOCAL_RANK", "0".to_owned());
        set("NODE_RANK", task.rank.to_string());
        set("POND_JOB_ID", task.gang.job.to_string());
        set("POND_ARRAY_INDEX", task.gang.index.to_string());
        set("POND_ATTEMPT", launch.attempt.to_string());
        set("POND_NODES", size.to_string());
        set("POND_NODE_RANK", task.rank.to_string());
        set("POND_CPUS", launch.allocation.request.cpu.0.div_ceil(1000).max(1).to_string());
        let addresses: Vec<String> = match private {
            Some(net) => net.hosts.iter().map(|(address, _)| address.to_string()).collect(),
            None => vec!["127.0.0.1".to_owned(); size],
        };
        set("POND_NODE_IPS", addresses.join("\n"));
        self.device_variables(launch, &mut set);
        if let Some(dir) = &launch.checkpoint_dir {
            set("POND_CHECKPOINT_DIR", dir.clone());
        }
        if let Some(deadline) = launch.deadline {
            set("POND_DEADLINE", (deadline.0 / 1000).to_string());
        }
        if let Some(port) = run.ports.first() {
            set("PORT", port.container.to_string());
        }
        set("POND_OUT", self.out_dir(launch).to_string_lossy().into_owned());
        for (name, value) in &run.env {
            set(name, value.clone());
        }
        if run.slurm {
            let folder = self.folder(task, launch.allocation.generation);
            let dir = script_dir(&folder, run.isolation == Isolation::Container).join(slurm::FOLDER);
            set(slurm::VARIABLE, dir.to_string_lossy().into_owned());
        }
        env.into_iter().collect()
    }

    /// As the image says; over the machine's own root, without root, the home of who runs the pool.
    fn home(&self, run: &RunSpec, rootfs: &Rootfs) -> String {
        let alone = self.is_alone(run);
        let own = || own_home().filter(|_| self.contained.is_some() && run.image == Image::Host);
        let chosen = match (alone, run.user) {
            (true, _) => own(),
            (false, None) => rootfs.config.home.clone().or_else(own),
            (false, Some(_)) => None,
        };
        let root = alone || user(run, rootfs).is_none_or(|(uid, _)| uid == 0);
        chosen.unwrap_or_else(|| if root { "/root" } else { "/" }.to_owned())
    }

    /// Whether root inside is the pool's own user, and there is nobody else.
    fn is_alone(&self, run: &RunSpec) -> bool {
        self.contained.is_some() && run.isolation == Isolation::Container
    }

    /// The ranks of a gang that is on the machine's own network as a whole: they are all here.
    fn together(&self, launch: &Launch, net: Option<&TaskNet>) -> u32 {
        let here = net.is_none() && launch.peers.iter().all(|node| *node == self.config.node);
        if here { u32::try_from(launch.peers.len().max(1)).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Where a task leaves its results: inside its root, or in its folder.
    pub(super) fn out_dir(&self, launch: &Launch) -> PathBuf {
        match launch.run.isolation {
            Isolation::Container => PathBuf::from(crate::launcher::spec::OUT),
            Isolation::Process => {
                self.folder(launch.allocation.task, launch.allocation.generation).0.join("out")
            }
        }
    }

    fn device_variables(&self, launch: &Launch, set: &mut impl FnMut(&str, String)) {
        let granted: Vec<_> = launch
            .allocation
            .devices
            .iter()
            .filter(|grant| {
                let device = self.node.devices.get(grant.device as usize);
                device.is_some_and(|device| device.kind == DeviceKind::Gpu)
            })
            .collect();
        set("POND_GPUS_PER_NODE", granted.len().to_string());
        let names = granted.iter().filter_map(|grant| self.name_of(launch, grant));
        let uuids: Vec<String> = names.map(|(uuid, _)| uuid).collect();
        // Empty, not absent: absent would show a `process` task every device of the machine.
        set("CUDA_VISIBLE_DEVICES", uuids.join(","));
        set("NVIDIA_VISIBLE_DEVICES", if uuids.is_empty() { "void".to_owned() } else { uuids.join(",") });
    }
}

/// Who it runs as: as the job says, else as the image says.
fn user(run: &RunSpec, rootfs: &Rootfs) -> Option<(u32, u32)> {
    run.user.or(rootfs.config.user)
}

/// What runs; of an image without a command of its own, where the job has none either, no word.
fn command(run: &RunSpec, rootfs: &Rootfs) -> Program {
    match &run.command {
        Command::Script(text) => Program::Script(text.clone()),
        Command::Argv(argv) => {
            let entrypoint = rootfs.config.entrypoint.iter().cloned();
            let rest = if argv.is_empty() { &rootfs.config.cmd } else { argv };
            Program::Argv(entrypoint.chain(rest.iter().cloned()).collect())
        }
    }
}

fn workdir(run: &RunSpec, rootfs: &Rootfs) -> String {
    let chosen = run.workdir.clone().or_else(|| rootfs.config.workdir.clone().filter(|dir| !dir.is_empty()));
    // Files need a folder of their own: spilled into `/` they would lie between the system's.
    chosen.unwrap_or_else(|| if run.files.is_empty() { "/" } else { "/work" }.to_owned())
}

/// The home of who runs the pool.
fn own_home() -> Option<String> {
    std::env::var("HOME").ok().filter(|home| Path::new(home).is_absolute())
}

/// All that may be called so: a server may have been started with another.
fn own_homes() -> Vec<PathBuf> {
    let listed = sys::home_of(rustix::process::geteuid().as_raw());
    own_home().map(PathBuf::from).into_iter().chain(listed).filter(|home| home.parent().is_some()).collect()
}

/// `together`: so many ranks are on the machine's own network, this one among them.
fn hosts(launch: &Launch, net: Option<&TaskNet>, together: u32) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let peers = net.map(|net| net.hosts.as_slice()).unwrap_or_default();
    for (rank, (address, name)) in peers.iter().enumerate() {
        tolerate(writeln!(text, "{address}\t{name} rank{rank}"));
    }
    for rank in 0..together {
        let name = crate::hostname(launch.allocation.task.gang.task(rank));
        tolerate(writeln!(text, "127.0.0.1\t{name} rank{rank}"));
    }
    let own = crate::hostname(launch.allocation.task);
    if together == 0 && !peers.iter().any(|(_, name)| *name == own) {
        tolerate(writeln!(text, "127.0.1.1\t{own}"));
    }
    text
}
