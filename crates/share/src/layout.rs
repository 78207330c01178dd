//! What stands where in the two files. A change of either needs a new [`VERSION`].

use crate::gate::{Gate, Slot};
use crate::pace::{Purse, Rate};
use crate::sys::Shared;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of both layouts; files of another are refused.
pub const VERSION: u64 = 1;

/// Memory is counted in granules of this many bytes, rounded up.
pub const GRANULE: u64 = 4096;

/// Most processes of one task on one share at a time.
pub const SLOTS: usize = 256;

const TERMS_MAGIC: u64 = u64::from_le_bytes(*b"pondterm");
const LEDGER_MAGIC: u64 = u64::from_le_bytes(*b"pondledg");

/// The file that the node alone writes.
///
/// The rate is three words that belong together: the one of two copies that `turn` points to (its lowest bit) is
/// valid. A writer that dies while it fills the other leaves the valid one as it is.
#[derive(Debug)]
#[repr(C)]
pub struct TermsFile {
    magic: AtomicU64,
    version: AtomicU64,
    /// Which device, in the words of the interposer.
    pub device: AtomicU64,
    /// Bytes that may be reserved.
    pub memory: AtomicU64,
    turn: AtomicU64,
    rates: [[AtomicU64; 3]; 2],
}

/// The file that the task's processes write.
#[derive(Debug)]
#[repr(C)]
pub struct LedgerFile {
    magic: AtomicU64,
    version: AtomicU64,
    /// See [`Gate`].
    pub sum: AtomicU64,
    /// See [`Purse`].
    pub spent: AtomicU64,
    /// Measured device time, ns.
    pub busy: AtomicU64,
    /// Measured launches.
    pub launches: AtomicU64,
    /// Time that launches were held back, ns, added up over threads.
    pub throttled: AtomicU64,
    /// Reservations that were refused.
    pub refused: AtomicU64,
    /// When the device was last asked for, ns.
    pub wanted: AtomicU64,
    slots: [Slot<AtomicU64>; SLOTS],
}

impl Shared for TermsFile {}
impl Shared for LedgerFile {}

impl TermsFile {
    /// Writes the head. The rest is in order when all is zero.
    pub fn begin(&self) {
        self.version.store(VERSION, Ordering::Release);
        self.magic.store(TERMS_MAGIC, Ordering::Release);
    }

    /// Whether it is one, of this version.
    pub fn is_known(&self) -> bool {
        self.magic.load(Ordering::Acquire) == TERMS_MAGIC && self.version.load(Ordering::Acquire) == VERSION
    }

    /// The rate now. Rereads when the node changed it meanwhile; a node cannot change it four times in so short a time.
    pub fn rate(&self) -> Rate {
        let mut read = Rate::default();
        for _ in 0..4 {
            let turn = self.turn.load(Ordering::Acquire);
            let [thousandths, since_ns, base_ns] =
                self.rates[(turn & 1) as usize].each_ref().map(|word| word.load(Ordering::Acquire));
            read = Rate { thousandths, since_ns, base_ns };
            if self.turn.load(Ordering::Acquire) == turn {
                break;
            }
        }
        read
    }

    /// Sets the rate; for one writer.
    pub fn set_rate(&self, rate: &Rate) {
        let next = self.turn.load(Ordering::Acquire).wrapping_add(1);
        let copy = &self.rates[(next & 1) as usize];
        for (word, value) in copy.iter().zip([rate.thousandths, rate.since_ns, rate.base_ns]) {
            word.store(value, Ordering::Release);
        }
        self.turn.store(next, Ordering::Release);
    }
}

impl LedgerFile {
    /// The bytes of an empty one.
    pub fn empty() -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Self>()];
        bytes[..8].copy_from_slice(&LEDGER_MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes
    }

    /// Whether it is one, of this version.
    pub fn is_known(&self) -> bool {
        self.magic.load(Ordering::Acquire) == LEDGER_MAGIC && self.version.load(Ordering::Acquire) == VERSION
    }

    /// Its reservations.
    pub const fn gate(&self) -> Gate<'_, AtomicU64> {
        Gate::new(&self.sum, &self.slots)
    }

    /// Its tokens.
    pub const fn purse(&self) -> Purse<'_, AtomicU64> {
        Purse { spent: &self.spent }
    }

    /// The word that says who has a slot.
    pub const fn owner(&self, slot: u8) -> &AtomicU64 {
        &self.slots[slot as usize].owner
    }
}

/// A ledger as bytes, for a reader that trusts nothing in it.
pub struct LedgerBytes(pub Vec<u8>);

impl LedgerBytes {
    fn word(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..at + 8).and_then(|slice| slice.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }
    /// Whether it has the head of one, of this version.
    pub fn is_known(&self) -> bool {
        self.word(offset_of!(LedgerFile, magic)) == LEDGER_MAGIC
            && self.word(offset_of!(LedgerFile, version)) == VERSION
    }
    /// Measured device time, ns.
    pub fn busy(&self) -> u64 {
        self.word(offset_of!(LedgerFile, busy))
    }
    /// Measured launches.
    pub fn launches(&self) -> u64 {
        self.word(offset_of!(LedgerFile, launches))
    }
    /// Time held back, ns.
    pub fn throttled(&self) -> u64 {
        self.word(offset_of!(LedgerFile, throttled))
    }
    /// Refused reservations.
    pub fn refused(&self) -> u64 {
        self.word(offset_of!(LedgerFile, refused))
    }
    /// When the device was last asked for, ns.
    pub fn wanted(&self) -> u64 {
        self.word(offset_of!(LedgerFile, wanted))
    }
    /// Number and granules of each slot that somebody took.
    pub fn slots(&self) -> impl Iterator<Item = (u8, u64)> {
        let slots = offset_of!(LedgerFile, slots);
        (0..=u8::MAX).filter_map(move |slot| {
            let at = slots + usize::from(slot) * size_of::<Slot<AtomicU64>>();
            let held = crate::gate::amount(self.word(at + offset_of!(Slot<AtomicU64>, held)));
            (self.word(at + offset_of!(Slot<AtomicU64>, owner)) != 0).then_some((slot, held))
        })
    }
}
