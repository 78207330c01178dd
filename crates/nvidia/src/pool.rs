//! Stream-ordered memory: what a pool has taken from the device counts, whether it is in use or kept for later.
//!
//! The driver says how much that is, so the share follows it: before an allocation what it asks for is reserved; after
//! it, as much is held as the pool has. When the share is full, pools first give back what they only keep.

use crate::abi::{Code, Handle, ON_DEVICE, OUT_OF_MEMORY, PoolProperties, Ptr, SUCCESS};
use crate::link::{call, hooks};
use crate::share::{Held, Share, device, here, of_device};
use crate::table::lock;
use crate::{graph, measure};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// `CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT`
const RESERVED: i32 = 5;

#[derive(Debug)]
struct Pool {
    share: Option<&'static Share>,
    held: Option<Held>,
    /// Its handle is gone; it ends with the last of its memory.
    closed: bool,
}

#[derive(Debug)]
struct Pools {
    pools: BTreeMap<u64, Pool>,
    /// Pool and bytes by address.
    blocks: BTreeMap<Ptr, (u64, u64)>,
}

static POOLS: Mutex<Pools> = Mutex::new(Pools { pools: BTreeMap::new(), blocks: BTreeMap::new() });
/// Whether there is any.
static ANY: AtomicBool = AtomicBool::new(false);

/// Bytes that a pool has of its device; `None`: the driver does not say.
fn reserved_by(pool: u64) -> Option<u64> {
    let mut bytes = 0_u64;
    // SAFETY: the type is the headers', and the answer has 8 bytes.
    let done = unsafe {
        call!(cuMemPoolGetAttribute: fn(u64, i32, *mut c_void), pool, RESERVED, (&raw mut bytes).cast())
    };
    (done == SUCCESS).then_some(bytes)
}

impl Pool {
    /// Holds at least `bytes`; false when the share is full.
    fn grow(&mut self, bytes: u64) -> bool {
        let have = self.held.as_ref().map_or(0, Held::bytes);
        let missing = bytes.saturating_sub(have);
        let Some(share) = self.share.filter(|_| missing > 0) else { return true };
        let Some(more) = share.try_reserve(missing) else { return false };
        match &mut self.held {
            Some(held) => held.join(more),
            None => self.held = Some(more),
        }
        true
    }

    fn shrink(&mut self, bytes: u64) {
        self.held.iter_mut().for_each(|held| held.shrink_to(bytes));
    }
}

impl Pools {
    fn in_use(&self, pool: u64) -> u64 {
        self.blocks.values().filter(|(of, _)| *of == pool).map(|(_, bytes)| bytes).sum()
    }

    /// Holds what the pool has; false when the share is too full for that.
    fn follow(&mut self, number: u64) -> bool {
        let closed = self.pools.get(&number).is_some_and(|pool| pool.closed);
        let has = if closed { Some(self.in_use(number)) } else { reserved_by(number) };
        let (Some(pool), Some(has)) = (self.pools.get_mut(&number), has) else { return true };
        pool.shrink(has);
        let fits = pool.grow(has);
        if closed && has == 0 {
            self.pools.remove(&number);
        }
        fits
    }

    fn follow_all(&mut self) {
        let all: Vec<u64> = self.pools.keys().copied().collect();
        for number in all {
            // One that has grown without us counts when there is room again.
            _ = self.follow(number);
        }
    }

    /// Has pools give back what they only keep.
    fn reclaim(&mut self, share: &'static Share) {
        let of = |pool: &Pool| !pool.closed && pool.share.is_some_and(|own| std::ptr::eq(own, share));
        for (number, _) in self.pools.iter().filter(|(_, pool)| of(pool)) {
            // SAFETY: the type is the headers', and the pool is not destroyed.
            _ = unsafe { call!(cuMemPoolTrimTo: fn(u64, usize), *number, 0) };
        }
        self.follow_all();
    }

    fn allocate(&mut self, number: u64, bytes: u64, make: impl FnOnce() -> Code, at: *mut Ptr) -> Code {
        let share = here();
        let pool = self.pools.entry(number).or_insert(Pool { share, held: None, closed: false });
        let Some(share) = pool.share else { return make() };
        let have = pool.held.as_ref().map_or(0, Held::bytes);
        // What the pool keeps may do; if not, it grows by what is asked for.
        if !pool.grow(have.saturating_add(bytes)) {
            self.reclaim(share);
            let Some(pool) = self.pools.get_mut(&number) else { return OUT_OF_MEMORY };
            let have = pool.held.as_ref().map_or(0, Held::bytes);
            if !pool.grow(have.saturating_add(bytes)) {
                return OUT_OF_MEMORY;
            }
        }
        let code = make();
        if code == SUCCESS {
            // SAFETY: the driver wrote it.
            let at = unsafe { *at };
            self.blocks.insert(at, (number, bytes));
            if !self.follow(number) {
                // The driver took more than was asked for, and that is too much.
                self.blocks.remove(&at);
                // SAFETY: the types are the headers'; the memory was made a moment ago and nobody knows of it.
                unsafe {
                    _ = call!(cuMemFree_v2: fn(Ptr), at);
                }
                self.reclaim(share);
                return OUT_OF_MEMORY;
            }
        } else {
            _ = self.follow(number);
        }
        code
    }
}

/// Whether an address is of a pool.
pub fn owns(at: Ptr) -> bool {
    ANY.load(Relaxed) && lock(&POOLS).blocks.contains_key(&at)
}

/// Frees memory of a pool.
pub fn free(at: Ptr, free: impl FnOnce() -> Code) -> Code {
    let mut pools = lock(&POOLS);
    let code = free();
    if code == SUCCESS
        && let Some((pool, _)) = pools.blocks.remove(&at)
    {
        _ = pools.follow(pool);
    }
    code
}

/// Has the pools of a share give back what they only keep.
pub fn reclaim(share: &'static Share) {
    if ANY.load(Relaxed) {
        lock(&POOLS).reclaim(share);
    }
    graph::reclaim(share);
}

/// After a stream was waited for: pools may have given back.
pub fn settle() {
    if ANY.load(Relaxed) {
        lock(&POOLS).follow_all();
    }
}

fn allocate(
    pool: Option<u64>,
    bytes: usize,
    stream: Handle,
    make: impl FnOnce() -> Code,
    out: *mut Ptr,
) -> Code {
    if here().is_none() || measure::is_capturing(stream) {
        // In a graph it is counted when the graph is made executable.
        return make();
    }
    let mut own = 0_u64;
    let number = pool.or_else(|| {
        let device = device()?;
        // SAFETY: the type is the headers'.
        let done = unsafe { call!(cuDeviceGetMemPool: fn(*mut u64, i32), &raw mut own, device) };
        (done == SUCCESS).then_some(own)
    });
    let Some(number) = number else { return make() };
    ANY.store(true, Release);
    lock(&POOLS).allocate(number, bytes as u64, make, out)
}

hooks! {
    [cuMemAllocAsync] |real| (out: *mut Ptr, bytes: usize, stream: Handle) {
        allocate(None, bytes, stream, real, out)
    }
    [cuMemAllocAsync_ptsz] |real| (out: *mut Ptr, bytes: usize, stream: Handle) {
        allocate(None, bytes, measure::of_thread(stream), real, out)
    }
    [cuMemAllocFromPoolAsync] |real| (out: *mut Ptr, bytes: usize, pool: u64, stream: Handle) {
        allocate(Some(pool), bytes, stream, real, out)
    }
    [cuMemAllocFromPoolAsync_ptsz] |real| (out: *mut Ptr, bytes: usize, pool: u64, stream: Handle) {
        allocate(Some(pool), bytes, measure::of_thread(stream), real, out)
    }
    [cuMemPoolCreate] |real| (out: *mut u64, how: *const PoolProperties) {
        let code = real();
        // SAFETY: null or valid, as the client promises.
        let place = unsafe { how.as_ref() }.map(|how| how.location);
        if code == SUCCESS && let Some(place) = place {
            let share = if ON_DEVICE.contains(&place.kind) { of_device(place.id) } else { None };
            // SAFETY: the driver wrote it.
            lock(&POOLS).pools.insert(unsafe { *out }, Pool { share, held: None, closed: false });
        }
        code
    }
    [cuMemPoolDestroy] |real| (pool: u64) {
        let mut pools = lock(&POOLS);
        let code = real();
        if code == SUCCESS && let Some(entry) = pools.pools.get_mut(&pool) {
            entry.closed = true;
            _ = pools.follow(pool);
        }
        code
    }
    [cuMemPoolTrimTo] |real| (pool: u64, keep: usize) {
        let mut pools = lock(&POOLS);
        let code = real();
        _ = pools.follow(pool);
        code
    }
}
