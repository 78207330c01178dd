//! A process of a task on a share: reserves memory, and launches within the share's time.
//!
//! A process has one slot of the ledger, and the kernel's lock on the byte of that number says that it lives: the
//! lock ends with the process, however it ends, and in whatever namespace its number means something. A slot
//! whose lock is free is given back by whoever needs room.
//!
//! ```text
//!   none ──first reservation──▶ has a slot ──exit, exec, SIGKILL──▶ lock free ──another needs room──▶ given back
//!    ▲                             │
//!    └───────fork: the child───────┘
//! ```
//!
//! A process that closes files it did not open loses the lock while it lives. It notices at its next reservation
//! that its slot was taken, takes another, and puts what it holds there; the share may be passed by that much until then.

use crate::gate::Full;
use crate::layout::{GRANULE, LedgerFile, SLOTS, TermsFile};
use crate::sys::{self, Local, Mapped};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

/// How long a launch sleeps at most before it looks at the terms again: a change of the share is felt this soon.
const LOOK_AGAIN_NS: u64 = 5_000_000;

/// Why a share cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The files cannot be opened or mapped.
    #[error("cannot open the share at {path}: {source}", path = path.display())]
    Open {
        /// Of the share's files.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are none of a share, or of another version.
    #[error("{path} is no share of version {version}", path = path.display(), version = crate::VERSION)]
    Unknown {
        /// Of the share's files.
        path: PathBuf,
    },
    /// This process has joined already: the kernel's locks count processes, not handles.
    #[error("this process has joined the share at {path} already", path = path.display())]
    Twice {
        /// Of the share's files.
        path: PathBuf,
    },
}

/// A reservation that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It would pass the share's memory.
    #[error("out of memory: {used} of {limit} bytes are taken")]
    Full {
        /// Bytes reserved by all processes of the task.
        used: u64,
        /// Bytes of the share.
        limit: u64,
    },
    /// The task has more processes on the share than the ledger has room for.
    #[error("more than {SLOTS} processes use the share")]
    Crowded,
}

/// Memory that was reserved; goes back through [`Member::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    granules: u32,
    token: u64,
}

impl Charge {
    /// What was reserved, rounded up as it was.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.granules) * GRANULE
    }

    /// Takes up to `bytes` off it, rounded down to whole granules: two charges for what was one.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let part = u32::try_from(bytes / GRANULE).unwrap_or(u32::MAX).min(self.granules);
        self.granules -= part;
        Self { granules: part, token: self.token }
    }

    /// Makes one charge of two; gives `other` back when that is too much for one, or another process's.
    ///
    /// # Errors
    /// They stay two.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        let sum = self.granules.checked_add(other.granules).filter(|&sum| i32::try_from(sum).is_ok());
        match sum.filter(|_| self.token == other.token) {
            Some(sum) => {
                self.granules = sum;
                Ok(())
            }
            None => Err(other),
        }
    }
}

/// This process on one share, until it ends.
#[derive(Debug)]
pub struct Member {
    path: PathBuf,
    ledger_file: Mutex<File>,
    terms: Mapped<TermsFile>,
    ledger: Mapped<LedgerFile>,
    local: Mapped<Local>,
}

/// The shares this process has joined, by device and inode of the ledger.
static JOINED: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn open_ledger(path: &Path) -> io::Result<File> {
    // Closed at exec: its locks have to end there.
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path.with_extension("ledger"))
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// Holds this process's slot against its other threads.
struct Turn<'a>(&'a Local);

impl<'a> Turn<'a> {
    fn take(local: &'a Local) -> Self {
        while local.lock.compare_exchange_weak(0, 1, Acquire, Relaxed).is_err() {
            std::thread::yield_now();
        }
        Self(local)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock.store(0, Release);
    }
}

impl Member {
    /// Joins the share whose files are `path` with the endings `.terms` and `.ledger`. It stays joined until
    /// the process ends.
    ///
    /// # Errors
    /// The files are not there or none of this version, or the process has joined before.
    pub fn join(path: &Path) -> Result<&'static Self, MemberError> {
        let failed = |source| MemberError::Open { path: path.to_owned(), source };
        let terms = File::open(path.with_extension("terms")).map_err(failed)?;
        let terms: Mapped<TermsFile> = Mapped::file(&terms, false).map_err(failed)?;
        // A second descriptor that is closed again would end the locks of the first.
        let mut joined = JOINED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let meta = std::fs::metadata(path.with_extension("ledger")).map_err(failed)?;
        if joined.contains(&(meta.dev(), meta.ino())) {
            return Err(MemberError::Twice { path: path.to_owned() });
        }
        let file = open_ledger(path).map_err(failed)?;
        let ledger: Mapped<LedgerFile> = Mapped::file(&file, true).map_err(failed)?;
        if !terms.is_known() || !ledger.is_known() {
            return Err(MemberError::Unknown { path: path.to_owned() });
        }
        let local = Mapped::local().map_err(failed)?;
        joined.push((meta.dev(), meta.ino()));
        let member = Self { path: path.to_owned(), ledger_file: Mutex::new(file), terms, ledger, local };
        Ok(Box::leak(Box::new(member)))
    }

    /// Which device the share is of, in the words of who made it.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.terms.device.load(Acquire)
    }

    /// Bytes of the share as they are now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.terms.memory.load(Acquire)
    }

    /// Bytes that all processes of the task have reserved.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.ledger.gate().used() * GRANULE
    }

    /// Reserves `bytes`, rounded up to whole granules of 4 KiB.
    ///
    /// # Errors
    /// The share is full, also when what dead processes held is given back; or too many processes use it.
    pub fn reserve(&self, bytes: u64) -> Result<Charge, Denied> {
        let limit = self.memory();
        let full = |used: u64| {
            self.ledger.refused.fetch_add(1, Relaxed);
            Denied::Full { used: used * GRANULE, limit }
        };
        let granules = bytes.div_ceil(GRANULE);
        let Ok(change) = i32::try_from(granules) else { return Err(full(self.ledger.gate().used())) };
        let turn = Turn::take(&self.local);
        let (slot, token) = self.slot(&turn)?;
        let gate = self.ledger.gate();
        let mut done = gate.shift(slot, change, limit / GRANULE);
        if done.is_err() && self.bury(slot) {
            done = gate.shift(slot, change, limit / GRANULE);
        }
        match done {
            Ok(()) => {
                self.local.held.fetch_add(granules, AcqRel);
                Ok(Charge { granules: change.cast_unsigned(), token })
            }
            Err(Full { used }) => Err(full(used)),
        }
    }

    /// Gives back what was reserved. What another process reserved, before a fork say, is left alone: it goes back when
    /// that process ends.
    pub fn release(&self, charge: Charge) {
        let turn = Turn::take(&self.local);
        if self.local.token.load(Acquire) != charge.token {
            return;
        }
        let Ok((slot, _)) = self.slot(&turn) else { return };
        self.local.held.fetch_sub(u64::from(charge.granules), AcqRel);
        // Giving back is never refused, and no charge is larger than an `i32`.
        _ = self.ledger.gate().shift(slot, -charge.granules.cast_signed(), u64::MAX);
    }

    /// This process's slot and token; takes a slot if it has none, or if its own was taken from it.
    fn slot(&self, turn: &Turn<'_>) -> Result<(u8, u64), Denied> {
        let local = turn.0;
        let token = local.token.load(Acquire);
        let slot = local.slot.load(Acquire) as u8;
        if token != 0 && self.ledger.owner(slot).load(Acquire) == token {
            return Ok((slot, token));
        }
        let token = if token == 0 {
            u64::from(std::process::id()) << 32 | sys::now_ns() >> 8 & 0xffff_ffff
        } else {
            token
        };
        let slot = self.take_slot().ok_or(Denied::Crowded)?;
        self.ledger.owner(slot).store(token, Release);
        local.slot.store(u64::from(slot), Release);
        local.token.store(token, Release);
        let mut missing = local.held.load(Acquire);
        while missing > 0 {
            let part = i32::try_from(missing).unwrap_or(i32::MAX);
            // Without a limit only a sum that leaves its word is refused: a damaged ledger.
            _ = self.ledger.gate().shift(slot, part, u64::MAX);
            missing -= u64::from(part.cast_unsigned());
        }
        Ok((slot, token))
    }

    /// Locks a free slot and gives back what its last owner left in it.
    fn take_slot(&self) -> Option<u8> {
        let mut file = self.ledger_file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let own = std::fs::metadata(self.path.with_extension("ledger")).map(|meta| (meta.dev(), meta.ino()));
        if own.is_ok() && identity(&file).ok() != own.ok() {
            // Somebody closed it, and its number may be another file's by now: that one is not ours to close.
            std::mem::forget(std::mem::replace(&mut *file, open_ledger(&self.path).ok()?));
        }
        let slot = (0..=u8::MAX).find(|&slot| sys::lock(&file, slot))?;
        self.ledger.gate().reclaim(slot);
        Some(slot)
    }

    /// Gives back what dead processes hold; whether there was any.
    fn bury(&self, own: u8) -> bool {
        let Ok(file) = self.ledger_file.lock() else { return false };
        let mut found = false;
        for slot in (0..=u8::MAX).filter(|&slot| slot != own) {
            if self.ledger.owner(slot).load(Acquire) != 0 && sys::lock(&file, slot) {
                found |= self.ledger.gate().held(slot) > 0;
                self.ledger.gate().reclaim(slot);
                self.ledger.owner(slot).store(0, Release);
                sys::unlock(&file, slot);
            }
        }
        found
    }

    /// Charges a launch of about `cost_ns` of device time if the share may launch now; else says how long that will take, ns.
    ///
    /// # Errors
    /// Not now.
    pub fn admit_now(&self, cost_ns: u64) -> Result<(), u64> {
        let now = sys::now_ns();
        self.ledger.wanted.store(now, Release);
        self.ledger.purse().admit(&self.terms.rate(), now, cost_ns)
    }

    /// Takes back what was charged for a launch that did not happen.
    pub fn refund(&self, charged_ns: u64) {
        self.ledger.purse().settle(charged_ns, 0);
    }

    /// Waits until the share may launch something that takes about `cost_ns` of device time, and charges it.
    pub fn admit(&self, cost_ns: u64) {
        let begin = sys::now_ns();
        let mut waited = false;
        while let Err(wait) = self.admit_now(cost_ns) {
            std::thread::sleep(Duration::from_nanos(wait.clamp(10_000, LOOK_AGAIN_NS)));
            waited = true;
        }
        if waited {
            self.ledger.throttled.fetch_add(sys::now_ns() - begin, Relaxed);
        }
    }

    /// Notes what a launch took in place of what was charged for it, ns of device time.
    pub fn settle(&self, charged_ns: u64, measured_ns: u64) {
        self.settle_many(charged_ns, measured_ns, 1);
    }

    /// As [`settle`](Self::settle), for so many launches of which all that is known is the sum.
    pub fn settle_many(&self, charged_ns: u64, measured_ns: u64, launches: u64) {
        self.ledger.purse().settle(charged_ns, measured_ns);
        self.ledger.busy.fetch_add(measured_ns, Relaxed);
        self.ledger.launches.fetch_add(launches, Relaxed);
    }

    /// The task's living processes that hold memory, and how many bytes: by the process numbers that they see
    /// themselves.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, u64)> {
        let Ok(file) = self.ledger_file.lock() else { return Vec::new() };
        let own = self.local.token.load(Acquire);
        let mut all: Vec<(u32, u64)> = (0..=u8::MAX)
            .filter_map(|slot| {
                let token = self.ledger.owner(slot).load(Acquire);
                let lives = token != 0 && (token == own || sys::is_locked(&file, slot));
                lives.then(|| ((token >> 32) as u32, self.ledger.gate().held(slot) * GRANULE))
            })
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        all.sort_unstable();
        all
    }
}
