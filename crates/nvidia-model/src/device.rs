//! The devices, as they stand in the file that all processes map.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most devices.
pub const DEVICES: usize = 8;
/// Most processes that use a device at a time.
pub const PROCESSES: usize = 64;
/// Most instances that a device is cut into.
pub const PARTS: usize = 8;
/// What a context takes of a device: 4 MiB a multiprocessor.
pub const CONTEXT_BYTES: u64 = 4 << 20;

/// A process on a device. Its place is its own while it holds the lock on the place's first byte in the file, which the kernel
/// takes from it when it ends, in whatever namespace it runs.
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
    /// Its temperature, °C; 0: 40.
    pub heat: AtomicU64,
    /// Errors of memory that nobody corrected, since its driver was loaded.
    pub uncorrected: AtomicU64,
    /// Errors of memory that were corrected, in its whole life.
    pub corrected: AtomicU64,
    /// Rows of memory that were remapped for corrected errors and for others, whether some wait for its next reset, and
    /// whether remapping ever failed.
    pub rows: [AtomicU64; 4],
    /// Whether pages wait for its next reset to be retired.
    pub retiring: AtomicU64,
    /// `nvmlClocksThrottleReasons`: what slows it down; 0: nothing.
    pub slowed: AtomicU64,
    /// Whether it fell off the bus.
    pub lost: AtomicU64,
    /// The last XID, and how many there were.
    pub xid: [AtomicU64; 2],
    processes: [Process; PROCESSES],
}

/// A device that can be cut, and what it is cut into.
#[derive(Debug)]
#[repr(C)]
pub struct Cut {
    /// Which it is: its place in the table of models and 1; 0: it cannot be cut.
    pub model: AtomicU64,
    /// Whether it is in MIG mode.
    pub current: AtomicU64,
    /// Whether it will be after its next reset.
    pub pending: AtomicU64,
    /// So many instances are refused from now on.
    pub refuse: AtomicU64,
    /// So many compute instances are refused from now on.
    pub refuse_compute: AtomicU64,
    /// How long it takes to make or destroy half an instance, ms.
    pub takes_ms: AtomicU64,
    /// Instances made so far.
    pub serial: AtomicU64,
    /// What instances stand on: memory slices from bit 0, the media engines.
    pub taken: AtomicU64,
    /// What stands: the words that say where, and each as a device of its own.
    pub parts: [(AtomicU64, Device); PARTS],
}

/// How two devices are joined.
#[derive(Debug)]
#[repr(C)]
pub struct Join {
    /// `nvmlGpuTopologyLevel_t`: 10 one PCIe switch, 20 several, 30 a host bridge, 40 one NUMA node; 0: the system.
    pub way: AtomicU64,
    /// Links of NVLink between them.
    pub lanes: AtomicU64,
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
    /// How each of them is cut.
    pub cuts: [Cut; DEVICES],
    /// How devices are joined: the lower number first.
    pub joins: [[Join; DEVICES]; DEVICES],
    /// Links of each device to a switch of NVLink.
    pub to_switch: [AtomicU64; DEVICES],
    /// Not 0: nobody manages the switch, and links to it lead nowhere.
    pub fabric_down: AtomicU64,
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
        let mapped = Self::map(Some(file))?;
        mapped.fill(devices);
        Ok(mapped)
    }

    fn fill(&self, devices: &[(u64, u64)]) {
        for (device, &(memory, processors)) in self.devices.iter().zip(devices) {
            device.memory.store(memory, Release);
            device.processors.store(processors, Release);
        }
        self.count.store(devices.len().min(DEVICES) as u64, Release);
    }

    /// The file that the environment names, or one device of this process alone.
    pub(crate) fn open() -> io::Result<Self> {
        let Some(path) = std::env::var_os("POND_NVIDIA_MODEL") else {
            let mapped = Self::map(None)?;
            mapped.fill(&[(8 << 30, 64)]);
            return Ok(mapped);
        };
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mapped) = *opened {
            return Ok(mapped);
        }
        let mapped = Self::map(Some(OpenOptions::new().read(true).write(true).open(path)?))?;
        *opened = Some(mapped);
        Ok(mapped)
    }

    fn map(file: Option<File>) -> io::Result<Self> {
        let (flags, fd) = match &file {
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
        if let Some(file) = file {
            locks().files.push((at as usize, file));
        }
        // SAFETY: mapped for ever, long enough, any bytes are a `Machine`, and only atomics write.
        Ok(Self(unsafe { &*at.cast::<Machine>() }))
    }
}

/// What `POND_NVIDIA_MODEL` names, once it was opened.
static OPENED: Mutex<Option<Mapped>> = Mutex::new(None);

/// Files, where they are mapped, and the places in them that are this process's. A file stays open: closing it would take the
/// process's locks away.
struct Locks {
    files: Vec<(usize, File)>,
    own: Vec<usize>,
}

static LOCKS: Mutex<Locks> = Mutex::new(Locks { files: Vec::new(), own: Vec::new() });

fn locks() -> MutexGuard<'static, Locks> {
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Locks {
    /// A lock's command on a place: whether it was done, and the lock in its way; `None` where no file is.
    fn command(&self, place: &Process, command: i32, kind: i32) -> Option<(bool, libc::flock)> {
        let address = std::ptr::from_ref(place) as usize;
        let inside = |(base, _): &&(usize, File)| (*base..base + size_of::<Machine>()).contains(&address);
        let (base, file) = self.files.iter().find(inside)?;
        // SAFETY: all zero is a lock; the kernel reads and writes this one alone.
        unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = kind as libc::c_short;
            lock.l_start = (address - base) as libc::off_t;
            lock.l_len = 1;
            Some((libc::fcntl(file.as_raw_fd(), command, &raw mut lock) == 0, lock))
        }
    }

    /// Takes a place that nobody has.
    fn take(&mut self, place: &Process) -> bool {
        let free = match self.command(place, libc::F_SETLK, libc::F_WRLCK) {
            Some((done, _)) => done && self.holder(place).is_none(),
            None => place.pid.load(Acquire) == 0,
        };
        if free {
            self.own.push(std::ptr::from_ref(place) as usize);
        }
        free
    }

    /// Who has a place: its number as this process sees it, 0 when it does not.
    fn holder(&self, place: &Process) -> Option<u64> {
        let me = u64::from(std::process::id());
        let own = self.own.contains(&(std::ptr::from_ref(place) as usize)) && place.pid.load(Acquire) == me;
        let lock = self.command(place, libc::F_GETLK, libc::F_WRLCK);
        let other = lock.filter(|(_, lock)| lock.l_type != libc::F_UNLCK as libc::c_short);
        other.map(|(_, lock)| u64::try_from(lock.l_pid).unwrap_or(0)).or_else(|| own.then_some(me))
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

impl Device {
    /// What living processes hold, bytes by process number. What dead ones held comes back first.
    pub fn processes(&self) -> Vec<(u64, u64)> {
        let mut locks = locks();
        let mut living = Vec::new();
        for process in self.processes.iter().filter(|process| process.pid.load(Acquire) != 0) {
            if let Some(pid) = locks.holder(process) {
                living.push((pid, process.used.load(Acquire)));
            } else if locks.take(process) {
                self.clear(process, 0);
                locks.own.retain(|own| *own != std::ptr::from_ref(process) as usize);
                locks.command(process, libc::F_SETLK, libc::F_UNLCK);
            }
        }
        living
    }

    /// What a dead process held in this place comes back; the place has a new owner.
    fn clear(&self, process: &Process, pid: u64) {
        self.used.fetch_sub(process.used.swap(0, AcqRel), AcqRel);
        process.pid.store(pid, Release);
    }

    /// A place for this process; kept until it ends.
    pub(crate) fn enter(&'static self) -> Option<&'static Process> {
        let me = u64::from(std::process::id());
        let mut locks = locks();
        let own = self.processes.iter().find(|place| locks.holder(place) == Some(me));
        own.or_else(|| {
            let place = self.processes.iter().find(|place| locks.take(place))?;
            self.clear(place, me);
            Some(place)
        })
    }

    /// An instance's device, new.
    pub(crate) fn renew(&self, memory: u64, processors: u64) {
        self.processes();
        for (word, value) in
            [(&self.memory, memory), (&self.processors, processors), (&self.sick, 0), (&self.free_at, 0)]
        {
            word.store(value, Release);
        }
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
