//! The node's side of a share: makes it, changes its terms while it is used, and reads what its task did.
//!
//! The ledger belongs to a task that may be hostile. It is read as bytes into memory of our own: a file cut short reads as
//! zeros, a word of nonsense is a number, and nothing is ever waited for.

use crate::layout::{GRANULE, LedgerBytes, LedgerFile, TermsFile};
use crate::pace::WHOLE;
use crate::sys::{self, Mapped};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Release};

/// What a share is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which device, in the words of the interposer that reads it.
    pub device: u64,
    /// Bytes of the device's memory.
    pub memory: u64,
    /// Thousandths of the device's time, at most 1000.
    pub thousandths: u64,
}

/// What the task's processes say they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Bytes held by processes that live.
    pub memory: u64,
    /// Processes that live and have reserved something once.
    pub processes: u32,
    /// Measured device time so far, ns.
    pub busy_ns: u64,
    /// Measured launches so far.
    pub launches: u64,
    /// Time that launches were held back so far, ns, added up over threads.
    pub throttled_ns: u64,
    /// Refused reservations so far.
    pub refused: u64,
    /// When the device was last asked for, on the clock of [`now_ns`](crate::now_ns); 0: never.
    pub wanted_ns: u64,
}

/// A share could not be made, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// A file.
    #[error("cannot {step} the share at {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        step: &'static str,
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
}

/// The node's handle on one share. One at a time: the terms have one writer.
#[derive(Debug)]
pub struct Owner {
    path: PathBuf,
    terms: Mapped<TermsFile>,
}

fn failed(step: &'static str, path: &Path) -> impl Fn(io::Error) -> OwnerError {
    move |source| OwnerError::File { step, path: path.to_owned(), source }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

impl Owner {
    /// Makes the files of a share: `path` with the endings `.terms` and `.ledger`. Whoever reaches the ledger may write
    /// it: the folder it lies in has to be the node's and the task's alone.
    ///
    /// # Errors
    /// One of them exists, or cannot be written.
    pub fn create(path: &Path, terms: &Terms) -> Result<Self, OwnerError> {
        write_new(&path.with_extension("ledger"), &LedgerFile::empty(), 0o666)
            .map_err(failed("make", path))?;
        let zeros = vec![0; size_of::<TermsFile>()];
        let file = write_new(&path.with_extension("terms"), &zeros, 0o644).map_err(failed("make", path))?;
        let mapped: Mapped<TermsFile> = Mapped::file(&file, true).map_err(failed("map", path))?;
        mapped.device.store(terms.device, Release);
        let owner = Self { path: path.to_owned(), terms: mapped };
        owner.set_memory(terms.memory);
        owner.set_rate(terms.thousandths);
        owner.terms.begin();
        Ok(owner)
    }

    /// Opens a share that an earlier node made: everything goes on as it was.
    ///
    /// # Errors
    /// It is not there, or of another version.
    pub fn open(path: &Path) -> Result<Self, OwnerError> {
        let file = OpenOptions::new().read(true).write(true).open(path.with_extension("terms"));
        let terms: Mapped<TermsFile> =
            file.and_then(|file| Mapped::file(&file, true)).map_err(failed("open", path))?;
        if !terms.is_known() {
            return Err(OwnerError::Unknown { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), terms })
    }

    /// The terms as they are now.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            device: self.terms.device.load(Acquire),
            memory: self.terms.memory.load(Acquire),
            thousandths: self.terms.rate().thousandths,
        }
    }

    /// Device time that has been allowed until now, ns.
    #[must_use]
    pub fn allowed_ns(&self) -> u64 {
        self.terms.rate().allowed(sys::now_ns())
    }

    /// Changes the memory at once. Below what is used, nothing is taken away and nothing more is given.
    pub fn set_memory(&self, bytes: u64) {
        self.terms.memory.store(bytes, Release);
    }

    /// Changes the part of the device's time, at most 1000 thousandths. Processes that wait feel it within 5 ms.
    pub fn set_rate(&self, thousandths: u64) {
        let rate = self.terms.rate();
        if rate.thousandths != thousandths.min(WHOLE) || rate.since_ns == 0 {
            self.terms.set_rate(&rate.changed(thousandths, sys::now_ns()));
        }
    }

    /// What the task's processes say they did.
    ///
    /// # Errors
    /// The ledger cannot be read, or is none any more.
    pub fn usage(&self) -> Result<Use, OwnerError> {
        let path = self.path.with_extension("ledger");
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let file = file.map_err(failed("open", &path))?;
        let mut bytes = Vec::with_capacity(size_of::<LedgerFile>());
        (&file)
            .take(size_of::<LedgerFile>() as u64)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        let ledger = LedgerBytes(bytes);
        if !ledger.is_known() {
            return Err(OwnerError::Unknown { path });
        }
        let mut sum = Use {
            busy_ns: ledger.busy(),
            launches: ledger.launches(),
            throttled_ns: ledger.throttled(),
            refused: ledger.refused(),
            wanted_ns: ledger.wanted(),
            ..Use::default()
        };
        for (_, held) in ledger.slots().filter(|&(slot, _)| sys::is_locked(&file, slot)) {
            sum.memory += held * GRANULE;
            sum.processes += 1;
        }
        Ok(sum)
    }
}
