//! Trials of the rest: rights, files, events, devices, virtual machines, checkpoints.

use super::devices;
use super::doctor::{Row, Scratch};
use nvml_wrapper::Nvml;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whether this is root.
pub(super) fn privilege(_scratch: &Scratch) -> Vec<Row> {
    let user = rustix::process::geteuid();
    vec![if user.is_root() {
        Row::ok("root", "yes")
    } else {
        Row::degraded(
            "root",
            format!("user id {}", user.as_raw()),
            "no networks of tasks' own, one user in containers, and limits only in groups that were handed over",
            "run the pool as root",
        )
    }]
}

/// Room for layers and logs, and files that are durable.
pub(super) fn state_folder(scratch: &Scratch) -> Vec<Row> {
    const LITTLE: u64 = 5 << 30;
    let file = scratch.folder.join("durable");
    let tried = fs::write(&file, "text").and_then(|()| File::open(&file)?.sync_all());
    let free = rustix::fs::statvfs(&scratch.folder).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let row = match (tried, free) {
        (Ok(()), Ok(free)) if free >= LITTLE => Row::ok("state folder", format!("{} free", shown(free))),
        (Ok(()), Ok(free)) => Row::degraded(
            "state folder",
            format!("only {} free", shown(free)),
            "images may not fit",
            "free some space, or choose another folder with --state-dir",
        ),
        (Err(why), _) => {
            Row::missing("state folder", why.to_string(), "no pool can run here", "use a local disk")
        }
        (_, Err(why)) => Row::degraded("state folder", why.to_string(), "free space is unknown", ""),
    };
    vec![row]
}

fn shown(bytes: u64) -> String {
    pond_core::units::Bytes(bytes).to_string()
}

/// Each running task holds about thirty descriptors of the pool.
pub(super) fn open_files(_scratch: &Scratch) -> Vec<Row> {
    const PLENTY: u64 = 16_384;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    vec![if limit.maximum.is_none_or(|most| most >= PLENTY) {
        Row::ok("open files", most)
    } else {
        Row::degraded(
            "open files",
            most,
            "fewer than about 500 tasks at once",
            "raise the hard limit of open files (LimitNOFILE in the unit) to 65536",
        )
    }]
}

/// Logs are followed by file events.
pub(super) fn inotify(scratch: &Scratch) -> Vec<Row> {
    let tried = scratch.room("events").and_then(|room| {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&events, &room, inotify::WatchFlags::CREATE)?;
        File::create(room.join("new"))?;
        let mut waiting = [PollFd::new(&events, PollFlags::IN)];
        match poll(&mut waiting, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))? {
            0 => Err(io::Error::other("no event came")),
            _ => Ok(()),
        }
    });
    vec![match tried {
        Ok(()) => Row::ok("file events", "a new file was told"),
        Err(why) => Row::degraded(
            "file events",
            why.to_string(),
            "followed logs come a little later",
            "raise fs.inotify.max_user_instances",
        ),
    }]
}

/// Processes are watched by descriptors, which are never another's.
pub(super) fn pidfd(_scratch: &Scratch) -> Vec<Row> {
    vec![match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_held) => Row::ok("process descriptors", "opened"),
        Err(why) => Row::missing(
            "process descriptors",
            why.to_string(),
            "no pool can run here",
            "use Linux 5.4 or later",
        ),
    }]
}

/// NVIDIA's management library, loaded at run time.
pub(super) fn nvidia(_scratch: &Scratch) -> Vec<Row> {
    let cards = devices::scan_pci(devices::SYS.as_ref(), devices::DEV.as_ref());
    let card = cards.iter().any(|found| found.vendor == devices::NVIDIA);
    vec![match (super::nvidia::management(), card) {
        (Ok(nvml), _) => described(&nvml),
        (Err(why), true) => Row::missing(
            "NVIDIA",
            why.to_string(),
            "the machine's NVIDIA cards are shown and never granted",
            "install NVIDIA's driver with libnvidia-ml.so.1",
        ),
        (Err(_), false) => Row::ok("NVIDIA", "no card on the PCI bus, none needed"),
    }]
}

fn described(nvml: &Nvml) -> Row {
    let version = nvml.sys_driver_version().unwrap_or_else(|why| why.to_string());
    let count = nvml.device_count().unwrap_or(0);
    let shares = if super::nvidia::can_share() { "in shares too" } else { "whole ones only" };
    let mut detail = format!("driver {version}, {count} devices, {shares}");
    let cut: Vec<_> = devices::in_mig_mode(nvml);
    if !cut.is_empty() {
        detail.push_str(&format!(", {} in MIG mode", cut.len()));
    }
    let refused = cut.iter().find_map(|(uuid, memory)| Some((uuid, super::mig::table(uuid, *memory).err()?)));
    match refused {
        None => Row::ok("NVIDIA", detail),
        Some((uuid, why)) => Row::degraded(
            "NVIDIA",
            format!("{detail}; {uuid}: {why}"),
            "that GPU is shown and never granted",
            "update NVIDIA's driver, or turn MIG off (`nvidia-smi -mig 0`)",
        ),
    }
}

/// What hangs on the PCI bus.
pub(super) fn accelerators(_scratch: &Scratch) -> Vec<Row> {
    let found = devices::devices();
    let granted = found.iter().filter(|device| !device.modes.is_empty()).count();
    let names: Vec<&str> = found.iter().map(|device| device.model.as_str()).collect();
    vec![match (found.len(), granted) {
        (0, _) => Row::ok("devices", "no accelerator on the PCI bus"),
        (all, granted) if all == granted => Row::ok("devices", names.join("; ")),
        (all, granted) => Row::degraded(
            "devices",
            format!("{granted} of {all} usable: {}", names.join("; ")),
            "devices without a driver are shown and never granted",
            "install the driver of the device",
        ),
    }]
}

/// Opened only: whether a guest runs is not known before one has run.
pub(super) fn kvm(_scratch: &Scratch) -> Vec<Row> {
    let cost = "virtual machines, once there are any, would be emulated: about eleven times slower";
    let opened = File::options().read(true).write(true).open("/dev/kvm");
    vec![match opened {
        Ok(_held) => Row::degraded("KVM", "/dev/kvm opens; whether guests run was not tried", cost, ""),
        Err(why) => Row::degraded(
            "KVM",
            format!("/dev/kvm: {why}"),
            cost,
            "switch on virtualisation for this machine",
        ),
    }]
}

/// The program that checkpoints processes.
pub(super) fn criu(_scratch: &Scratch) -> Vec<Row> {
    let cost = "tasks are paused in place and never moved; preempted ones start from their own checkpoints";
    let Some(program) = find_program("criu") else {
        return vec![Row::degraded("CRIU", "not installed", cost, "install criu 4.1 or later")];
    };
    let output = Command::new(program).arg("check").stdin(Stdio::null()).output();
    vec![match output {
        Ok(output) if output.status.success() => Row::ok("CRIU", "its own check passes"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or("its own check fails").to_owned();
            Row::degraded("CRIU", last, cost, "install criu 4.1 or later")
        }
        Err(why) => Row::degraded("CRIU", why.to_string(), cost, "install criu 4.1 or later"),
    }]
}

fn find_program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().map(|folder| PathBuf::from(folder).join(name)).find(|path| path.is_file())
}
