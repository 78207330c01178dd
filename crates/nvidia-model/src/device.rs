//! The devices, as they stand in the file that all processes map.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// Most devices.
pub const DEVICES: usize = 4;
/// Most processes that use a device at a time.
pub const PROCESSES: usize = 64;
/// What a context takes of a device: 4 MiB a multiprocessor.
pub const CONTEXT_BYTES: u64 = 4 << 20;

/// A process on a device.
#[derive(Debug)]
#[repr(C)]
pub struct Process {
    /// 0: nobody.
    pub pid: AtomicU64,
    /// Bytes it holds.
    pub used: AtomicU64,
}

/// A device. All zero but for `memory` and `processors` is one in order.
#[derive(Debug)]
#[repr(C)]
pub struct Device {
    /// Bytes it has.
    pub memory: AtomicU64,
    /// Its multiprocessors.
    pub processors: AtomicU64,
    /// Bytes taken by all.
    pub used: AtomicU64,
    /// When what is queued will have run, ns of the monotonic clock.
    pub free_at: AtomicU64,
    /// Device time given out so far, ns.
    pub busy: AtomicU64,
    /// Kernels and graphs launched so far.
    pub launches: AtomicU64,
    /// So many allocations fail from now on.
    pub refuse: AtomicU64,
    /// Answered by every call from now on; 0: none. 214 is an ECC error, 719 a failed launch.
    pub sick: AtomicU64,
    /// Kernels take so many thousandths of their time; 0: 1000.
    pub slow: AtomicU64,
    processes: [Process; PROCESSES],
}

/// The file.
#[derive(Debug)]
#[repr(C)]
pub struct Machine {
    /// How many there are.
    pub count: AtomicU64,
    /// Not 0: `cuGetProcAddress` gives other addresses than the linker does, as drivers may.
    pub moved: AtomicU64,
    /// The devices.
    pub devices: [Device; DEVICES],
}

/// The file, mapped until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Mapped(&'static Machine);

impl Deref for Mapped {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        self.0
    }
}

impl Mapped {
    /// The file, for as long as the process lives.
    pub(crate) const fn get(self) -> &'static Machine {
        self.0
    }

    /// Makes a file with devices of so many bytes and multiprocessors each.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path, devices: &[(u64, u64)]) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.write_all(&vec![0; size_of::<Machine>()])?;
        let mapped = Self::map(Some(&file))?;
        mapped.fill(devices);
        Ok(mapped)
    }

    fn fill(&self, devices: &[(u64, u64)]) {
        for (device, &(memory, processors)) in self.devices.iter().zip(devices) {
            device.memory.store(memory, std::sync::atomic::Ordering::Release);
            device.processors.store(processors, std::sync::atomic::Ordering::Release);
        }
        self.count.store(devices.len().min(DEVICES) as u64, std::sync::atomic::Ordering::Release);
    }

    /// The file that the environment names, or one device of this process alone.
    pub(crate) fn open() -> io::Result<Self> {
        let Some(path) = std::env::var_os("POND_NVIDIA_MODEL") else {
            let mapped = Self::map(None)?;
            mapped.fill(&[(8 << 30, 64)]);
            return Ok(mapped);
        };
        Self::map(Some(&OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn map(file: Option<&File>) -> io::Result<Self> {
        let (flags, fd) = match file {
            Some(file) if file.metadata()?.len() < size_of::<Machine>() as u64 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping touches nothing that exists.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Machine>(), protection, flags, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: mapped for ever, long enough, any bytes are a `Machine`, and only atomics write.
        Ok(Self(unsafe { &*at.cast::<Machine>() }))
    }
}

/// The machine's monotonic clock, ns.
#[must_use]
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Whether a process is gone, also when nobody has asked how it ended.
fn is_gone(pid: u64) -> bool {
    let said = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = said.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

impl Device {
    /// What living processes hold, bytes by process number. What dead ones held comes back first.
    pub fn processes(&self) -> Vec<(u64, u64)> {
        let mut living = Vec::new();
        for process in &self.processes {
            let pid = process.pid.load(Acquire);
            if pid != 0
                && is_gone(pid)
                && process.pid.compare_exchange(pid, u64::MAX, AcqRel, Acquire).is_ok()
            {
                self.used.fetch_sub(process.used.swap(0, AcqRel), AcqRel);
                process.pid.store(0, std::sync::atomic::Ordering::Release);
            } else if pid != 0 && pid != u64::MAX {
                living.push((pid, process.used.load(Acquire)));
            }
        }
        living
    }

    fn own(&self) -> Option<&Process> {
        let me = u64::from(std::process::id());
        if let Some(process) = self.processes.iter().find(|process| process.pid.load(Acquire) == me) {
            return Some(process);
        }
        self.processes.iter().find(|process| process.pid.compare_exchange(0, me, AcqRel, Acquire).is_ok())
    }

    /// A place for this process; kept until it ends.
    pub(crate) fn enter(&'static self) -> Option<&'static Process> {
        self.own()
    }

    /// Takes memory for a process that entered; false when there is not so much.
    pub(crate) fn take(&self, process: &Process, bytes: u64) -> bool {
        if self.refuse.fetch_update(AcqRel, Acquire, |left| left.checked_sub(1)).is_ok() {
            return false;
        }
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.memory.load(Acquire));
        let mut done = self.used.fetch_update(AcqRel, Acquire, fits);
        if done.is_err() {
            self.processes();
            done = self.used.fetch_update(AcqRel, Acquire, fits);
        }
        if done.is_ok() {
            process.used.fetch_add(bytes, AcqRel);
        }
        done.is_ok()
    }

    /// Gives memory back.
    pub(crate) fn give(&self, process: &Process, bytes: u64) {
        process.used.fetch_sub(bytes, AcqRel);
        self.used.fetch_sub(bytes, AcqRel);
    }

    /// Queues work that takes `ns` and `percent` of the device, not before `after`. When it starts and ends.
    pub(crate) fn queue(&self, after: u64, ns: u64, percent: u64) -> (u64, u64) {
        let slow = match self.slow.load(Acquire) {
            0 => 1000,
            slow => slow,
        };
        let ns = ns * slow / 1000;
        let room = ns * percent / 100;
        self.busy.fetch_add(room, AcqRel);
        self.launches.fetch_add(1, AcqRel);
        let mut free_at = self.free_at.load(Acquire);
        loop {
            let start = after.max(free_at);
            match self.free_at.compare_exchange_weak(free_at, start + room, AcqRel, Acquire) {
                Ok(_) => return (start, start + ns),
                Err(now) => free_at = now,
            }
        }
    }
}
