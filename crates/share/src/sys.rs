//! Mapped memory, the clock, and locks that end with their process: the only unsafe code of this crate.

#![expect(unsafe_code, reason = "shared memory and fcntl locks have no safe binding")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A type that is valid for any bytes and changed through atomics alone: `repr(C)` of `AtomicU64`s and nothing else.
pub trait Shared {}

/// What one process keeps for itself; all zero in a child after fork, whichever way it was forked.
#[derive(Debug)]
#[repr(C)]
pub struct Local {
    /// 1 while a thread changes this process's slot.
    pub lock: AtomicU64,
    /// What stands in this process's slot as its owner; 0: it has none.
    pub token: AtomicU64,
    /// Which slot.
    pub slot: AtomicU64,
    /// What this process holds, granules.
    pub held: AtomicU64,
}

impl Shared for Local {}

/// Mapped memory that holds a `T`, until the process ends or it is dropped.
#[derive(Debug)]
pub struct Mapped<T>(NonNull<T>);

// SAFETY: `T` is `Shared`: reached by shared reference only, changed through atomics only.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl<T: Shared> Mapped<T> {
    /// Maps the beginning of a file, shared with all who map it.
    ///
    /// # Errors
    /// The file is shorter than a `T`, or cannot be mapped.
    pub fn file(file: &File, writable: bool) -> io::Result<Self> {
        if file.metadata()?.len() < size_of::<T>() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        Self::map(protection, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn map(protection: i32, flags: i32, fd: i32) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), protection, flags, fd, 0) };
        match NonNull::new(at.cast::<T>()) {
            Some(at) if at.as_ptr().cast() != libc::MAP_FAILED => Ok(Self(at)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Mapped<Local> {
    /// Zeroed memory of this process alone.
    ///
    /// # Errors
    /// No memory, or a kernel before 4.14.
    pub fn local() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let mapped = Self::map(protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        // SAFETY: the range is the mapping just made; the advice only matters to children.
        let done =
            unsafe { libc::madvise(mapped.0.as_ptr().cast(), size_of::<Local>(), libc::MADV_WIPEONFORK) };
        if done == 0 { Ok(mapped) } else { Err(io::Error::last_os_error()) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, this long, and nobody can reach it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

impl<T: Shared> Deref for Mapped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: mapped, aligned to a page, long enough (checked), any bytes are a `T`, and only atomics write.
        unsafe { self.0.as_ref() }
    }
}

/// The machine's monotonic clock, ns: the same in all its processes.
#[must_use]
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into `time`, which lives long enough; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

fn byte(kind: i32, at: u8) -> libc::flock {
    // SAFETY: all zero is a valid `flock`.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = i64::from(at);
    lock.l_len = 1;
    lock
}

/// Locks one byte of the file for this process, until it ends, calls exec, or closes the file; false when another
/// process has it. A child does not inherit it.
#[must_use]
pub fn lock(file: &File, at: u8) -> bool {
    let lock = byte(libc::F_WRLCK, at);
    // SAFETY: the kernel only reads `lock`.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) == 0 }
}

/// Gives the lock of one byte back.
pub fn unlock(file: &File, at: u8) {
    let lock = byte(libc::F_UNLCK, at);
    // SAFETY: the kernel only reads `lock`.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
}

/// Whether another process has the lock of one byte.
#[must_use]
pub fn is_locked(file: &File, at: u8) -> bool {
    let mut lock = byte(libc::F_WRLCK, at);
    // SAFETY: the kernel reads `lock` and writes into it.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    asked == 0 && i32::from(lock.l_type) != libc::F_UNLCK
}
