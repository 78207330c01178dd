//! Trials of what holds tasks to their limits: control groups, pressure, disk.

use super::doctor::{Row, Scratch};
use crate::cgroup::{self, Controller, DeviceGuard, Group, Limits, Pool, Version, Without};
use crate::ground::in_mount_namespace;
use crate::launcher::layer;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a killed or frozen process may take to show it.
const PATIENCE: Duration = Duration::from_secs(2);
const AS_ROOT: &str = "run the pool as root, with the controller mounted or delegated";

/// A group with limits, a process in it, frozen, thawed and killed.
pub(super) fn groups(scratch: &Scratch) -> Vec<Row> {
    let pool = Pool::open(&format!("pond-probe-{}", scratch.tag));
    let rows = try_groups(&pool);
    pool.remove();
    rows
}

fn try_groups(pool: &Pool) -> Vec<Row> {
    let no_limits = "limits are not enforced: a task can take the whole machine";
    let without = (!rustix::process::geteuid().is_root()).then(cgroup::look_for_handed).and_then(Result::err);
    let remedy = without.map_or(AS_ROOT, Without::remedy);
    let version = match pool.version() {
        Version::None => {
            let why = without.map_or_else(|| "no group could be made".to_owned(), |why| why.to_string());
            Row::missing("control groups", why, no_limits, remedy)
        }
        Version::V1 => Row::ok("control groups", "version 1"),
        Version::Hybrid => Row::ok("control groups", "version 1 controllers beside version 2"),
        Version::V2 => Row::ok("control groups", "version 2"),
    };
    let group = pool.group("trial");
    let limits: [(&str, Controller, Limits, &str); 4] = [
        (
            "cpu limit",
            Controller::Cpu,
            Limits { cpu_milli: 500, weight_milli: 500, ..Limits::default() },
            no_limits,
        ),
        (
            "memory limit",
            Controller::Memory,
            Limits { memory: 64 << 20, ..Limits::default() },
            "a task can take all memory; the kernel then kills whom it likes",
        ),
        (
            "process limit",
            Controller::Pids,
            Limits { pids: 64, ..Limits::default() },
            "a fork bomb takes the machine, but one in a container in a user namespace that counts its processes",
        ),
        (
            "device files",
            Controller::Devices,
            Limits { devices: vec!["c 10:229 rw".to_owned()], ..Limits::default() },
            "a task is kept from devices by what is in its /dev alone",
        ),
    ];
    let mut rows = vec![version];
    for (name, controller, limits, cost) in limits {
        let set = || -> Result<(), Box<dyn std::error::Error>> {
            group.create(&limits)?;
            group.device_guard(&limits.devices)?.as_ref().map_or(Ok(()), DeviceGuard::attach)?;
            Ok(())
        };
        rows.push(match pool.has(controller).then(set) {
            Some(Ok(())) => Row::ok(name, "set and taken"),
            Some(Err(why)) => Row::missing(name, why.to_string(), cost, remedy),
            None => Row::missing(name, "no such controller", cost, remedy),
        });
    }
    rows.extend(freeze_and_kill(&group, pool.version() != Version::None));
    crate::tolerate(group.remove());
    rows
}

fn freeze_and_kill(group: &Group, usable: bool) -> [Row; 2] {
    let (no_freeze, no_kill) = (
        "tasks cannot be paused, and spare tasks cannot be squeezed",
        "processes that hide may outlive their task",
    );
    let began = if usable { start_in(group) } else { Err(io::Error::other("no control group")) };
    let mut child = match began {
        Ok(child) => child,
        Err(why) => {
            return [
                Row::degraded(
                    "freeze",
                    format!("{why}: SIGSTOP to each process"),
                    "who waits for a program of its own sees it stopped",
                    AS_ROOT,
                ),
                Row::degraded("kill of a group", format!("{why}: process by process"), no_kill, AS_ROOT),
            ];
        }
    };
    let frozen = group.freeze(true).and_then(|()| group.freeze(false));
    group.kill();
    let killed = ended_within(&mut child, PATIENCE);
    if killed.is_none() {
        crate::tolerate(child.kill());
        crate::tolerate(child.wait());
    }
    [
        match frozen {
            Ok(()) => Row::ok("freeze", "frozen and thawed"),
            Err(why) => Row::missing("freeze", why.to_string(), no_freeze, AS_ROOT),
        },
        match killed {
            Some(after) => {
                Row::ok("kill of a group", format!("gone after {:.1} ms", after.as_secs_f64() * 1000.0))
            }
            None => Row::missing("kill of a group", "the process lived on", no_kill, AS_ROOT),
        },
    ]
}

fn start_in(group: &Group) -> io::Result<Child> {
    let mut doors = group.doors()?;
    if let Some(folder) = group.v2_door()? {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        doors.push(rustix::fs::openat(&folder, "cgroup.procs", flags, Mode::empty())?.into());
    }
    // waits for its input to end, and so ends with this process whatever happens
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    for mut door in doors {
        if let Err(why) = door.write_all(child.id().to_string().as_bytes()) {
            child.kill()?;
            child.wait()?;
            return Err(why);
        }
    }
    Ok(child)
}

fn ended_within(child: &mut Child, patience: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Some(began.elapsed());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

/// Pressure stall information: how the pool learns that spare tasks must give way.
pub(super) fn pressure(_scratch: &Scratch) -> Vec<Row> {
    let cost = "spare tasks give way a little later: by samples of use alone";
    let mut text = String::new();
    let read = fs::File::open("/proc/pressure/cpu").and_then(|mut file| file.read_to_string(&mut text));
    vec![match read {
        Ok(_) if text.starts_with("some avg10=") => {
            let some = text.split_whitespace().nth(1).unwrap_or("").trim_start_matches("avg10=").to_owned();
            Row::ok("pressure", format!("CPU pressure now {some} %"))
        }
        Ok(_) => Row::degraded("pressure", "unknown format", cost, ""),
        Err(why) => Row::degraded("pressure", why.to_string(), cost, "boot with psi=1"),
    }]
}

/// A writable layer of a fixed size: an ext4 image through a loop device, written until it is full.
pub(super) fn disk(scratch: &Scratch) -> Vec<Row> {
    let tried = scratch.room("disk").and_then(|room| {
        let image = room.join("image");
        layer::make_template(&image, 4 << 20)?;
        in_mount_namespace(|| fill(&room, &image))
    });
    vec![match tried {
        Ok(()) => Row::ok("disk limit", "an image by a loop device, filled to its end"),
        Err(why) => Row::degraded(
            "disk limit",
            why.to_string(),
            "use of disk is measured now and then instead of limited: a task can fill the disk in between",
            "install e2fsprogs, and give the machine loop devices (modprobe loop)",
        ),
    }]
}

fn fill(room: &Path, image: &Path) -> io::Result<()> {
    let target = room.join("mounted");
    fs::create_dir(&target)?;
    layer::mount_image(image, &target, false)?;
    let block = vec![0x55_u8; 1 << 20];
    let written = fs::File::create(target.join("file")).and_then(|mut file| {
        for _ in 0..8 {
            file.write_all(&block)?;
        }
        Ok(())
    });
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH)?;
    match written {
        Err(why) if why.kind() == io::ErrorKind::StorageFull => Ok(()),
        Err(why) => Err(why),
        Ok(()) => Err(io::Error::other("8 MB fitted into an image of 4 MB")),
    }
}
