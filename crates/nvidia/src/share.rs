//! The shares of this process: joined once, and found by device.

use crate::abi::{Code, Ptr, SUCCESS};
use crate::link::call;
use crate::{measure, pool};
use pond_share::{Charge, Member, MemberError};
use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Where a task finds its shares.
const PLACE: &str = "/run/pond-share/nvidia";
/// Most shares of one task.
const SHARES: usize = 16;
/// Most devices of a machine.
const DEVICES: usize = 64;

/// A share of one device.
#[derive(Debug)]
pub struct Share {
    /// This process on it.
    pub member: &'static Member,
    /// Device time that was charged to the share and is not used yet.
    pub credit: measure::Credit,
}

/// Memory of a share; goes back when dropped.
#[derive(Debug)]
pub struct Held {
    pub share: &'static Share,
    charge: Option<Charge>,
}

static ALL: OnceLock<Option<Vec<Share>>> = OnceLock::new();
static BY_DEVICE: [AtomicPtr<Share>; DEVICES] = [const { AtomicPtr::new(std::ptr::null_mut()) }; DEVICES];
/// The share of the one device that can be seen, if there is but one.
static ONLY: AtomicPtr<Share> = AtomicPtr::new(std::ptr::null_mut());

/// The folder with the shares: the one this library was opened from, if they are there, else [`PLACE`].
pub fn folder() -> PathBuf {
    // SAFETY: all zero is a valid `Dl_info`.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: an address within this library, and room for the answer.
    let done = unsafe { libc::dladdr(folder as *const c_void, &raw mut found) };
    if done != 0 && !found.dli_fname.is_null() {
        // SAFETY: the dynamic linker's own string, which lives as long as the library.
        let name = unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy().into_owned();
        let parent = Path::new(&name).parent().map(Path::to_owned);
        if let Some(parent) = parent.filter(|parent| parent.join("0.terms").exists()) {
            return parent;
        }
    }
    PathBuf::from(PLACE)
}

/// All shares. `None`: one is there and cannot be joined, or there is none.
pub fn all() -> Option<&'static [Share]> {
    let join = || {
        let place = folder();
        let paths = (0..SHARES).map(|number| place.join(number.to_string()));
        let there = paths.take_while(|path| path.with_extension("terms").exists());
        let joined: Result<Vec<Share>, MemberError> = there
            .map(|path| Ok(Share { member: Member::join(&path)?, credit: measure::Credit::default() }))
            .collect();
        match joined {
            Ok(shares) if !shares.is_empty() => Some(shares),
            Ok(_) => {
                eprintln!("pond: no share of a GPU at {}", place.display());
                None
            }
            Err(error) => {
                eprintln!("pond: no GPU is shown: {error}");
                None
            }
        }
    };
    ALL.get_or_init(join).as_deref()
}

/// The share with this number: the first 8 bytes of the device's UUID.
pub fn by_number(number: u64) -> Option<&'static Share> {
    all()?.iter().find(|share| share.member.device() == number)
}

/// Finds the share of each device that the driver shows; false when one has none.
pub fn adopt() -> bool {
    let mut count = 0;
    // SAFETY: the types are the headers', and the driver was started.
    if unsafe { call!(cuDeviceGetCount: fn(*mut i32), &raw mut count) } != SUCCESS {
        return false;
    }
    for device in 0..count {
        let mut uuid = [0_u8; 16];
        // SAFETY: as above; a UUID has 16 bytes.
        let done = unsafe { call!(cuDeviceGetUuid: fn(*mut [u8; 16], i32), &raw mut uuid, device) };
        let number = uuid.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        let share = if done == SUCCESS { by_number(number) } else { None };
        let (Some(share), Some(place)) = (share, BY_DEVICE.get(device as usize)) else {
            eprintln!("pond: GPU {device} has no share here, so CUDA does not start");
            return false;
        };
        let share = std::ptr::from_ref(share).cast_mut();
        place.store(share, Release);
        ONLY.store(if count == 1 { share } else { std::ptr::null_mut() }, Release);
    }
    true
}

fn reference(at: *mut Share) -> Option<&'static Share> {
    // SAFETY: null, or of [`ALL`], which lives as long as the process.
    unsafe { at.as_ref() }
}

/// The share of a device by its number in the driver.
pub fn of_device(device: i32) -> Option<&'static Share> {
    let place = BY_DEVICE.get(usize::try_from(device).ok()?)?;
    reference(place.load(Acquire))
}

/// The share of the device of the current context.
#[inline]
pub fn here() -> Option<&'static Share> {
    let only = ONLY.load(Acquire);
    if only.is_null() { among_many() } else { reference(only) }
}

#[cold]
fn among_many() -> Option<&'static Share> {
    of_device(device()?)
}

/// The device of the current context.
pub fn device() -> Option<i32> {
    let mut device = 0;
    // SAFETY: the type is the headers'.
    let done = unsafe { call!(cuCtxGetDevice: fn(*mut i32), &raw mut device) };
    (done == SUCCESS).then_some(device)
}

/// The current context, as a number.
pub fn context() -> u64 {
    let mut context: Ptr = 0;
    // SAFETY: the type is the headers'; a handle has 8 bytes.
    let done = unsafe { call!(cuCtxGetCurrent: fn(*mut Ptr), &raw mut context) };
    if done == SUCCESS { context } else { 0 }
}

impl Share {
    /// Reserves memory, after what pools keep for later if need be.
    pub fn reserve(&'static self, bytes: u64) -> Option<Held> {
        self.try_reserve(bytes).or_else(|| {
            pool::reclaim(self);
            self.try_reserve(bytes)
        })
    }

    /// Reserves memory if there is some now.
    pub fn try_reserve(&'static self, bytes: u64) -> Option<Held> {
        let charge = self.member.reserve(bytes).ok()?;
        Some(Held { share: self, charge: Some(charge) })
    }

    /// What a program is told: at most the share.
    pub fn seen(&self, free: u64, total: u64) -> (u64, u64) {
        let limit = self.member.memory();
        (free.min(limit.saturating_sub(self.member.used())), total.min(limit))
    }
}

impl Held {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.charge.map_or(0, |charge| charge.bytes())
    }

    /// Adds another; both stay counted when they cannot be one.
    pub fn join(&mut self, mut other: Self) {
        match (&mut self.charge, other.charge.take()) {
            // Too much for one charge, or from before a fork: it stays counted until the process ends.
            (Some(charge), Some(more)) => _ = charge.join(more).is_err(),
            (None, more) => self.charge = more,
            (Some(_), None) => {}
        }
    }

    /// Gives back what is over so many bytes, which are rounded up.
    pub fn shrink_to(&mut self, bytes: u64) {
        let over = self.bytes().saturating_sub(bytes);
        if let Some(charge) = &mut self.charge {
            self.share.member.release(charge.split(over));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            self.share.member.release(charge);
        }
    }
}

/// Reserves, lets the driver make it, and keeps the reservation where `keep` puts it. What does not fit is out of
/// memory to the client.
pub fn reserved(
    share: Option<&'static Share>,
    bytes: u64,
    make: impl FnOnce() -> Code,
    keep: impl FnOnce(Held),
) -> Code {
    let Some(share) = share else { return make() };
    let Some(held) = share.reserve(bytes) else { return crate::abi::OUT_OF_MEMORY };
    let code = make();
    if code == SUCCESS {
        keep(held);
    }
    code
}
