//! Stream-ordered memory: pools take 32 MiB at a time, and keep what was freed up to a threshold.

use crate::world::{
    Block, Done, Handle, INVALID_HANDLE, INVALID_VALUE, NOT_PERMITTED, Ptr, World, api, put, world,
};
use std::ffi::c_void;

const CHUNK: u64 = 32 << 20;
const RELEASE_THRESHOLD: i32 = 4;
const RESERVED: i32 = 5;
const USED: i32 = 7;

pub struct Pool {
    /// `None`: in memory of the host.
    device: Option<usize>,
    reserved: u64,
    used: u64,
    threshold: u64,
    /// It ends with the last of its memory.
    closed: bool,
}

impl Pool {
    pub const fn new(device: Option<usize>) -> Self {
        Self { device, reserved: 0, used: 0, threshold: 0, closed: false }
    }
}

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Location {
    pub kind: i32,
    pub id: i32,
}

/// `CUmemPoolProps`.
#[repr(C)]
pub struct Properties {
    kind: i32,
    handles: i32,
    location: Location,
    rest: [u64; 9],
}

/// Gives back what is reserved and not used, down to so many bytes.
fn shrink(world: &mut World, handle: Handle, keep: u64) {
    let Some(pool) = world.pools.get_mut(&handle) else { return };
    let wanted = pool.used.next_multiple_of(CHUNK).max(keep.min(pool.reserved));
    let back = pool.reserved.saturating_sub(wanted);
    pool.reserved -= back;
    if let Some(device) = pool.device {
        world.give(device, back);
    }
}

/// What happens when a stream was waited for.
pub fn shrink_all(world: &mut World) {
    let all: Vec<(Handle, u64)> =
        world.pools.iter().map(|(handle, pool)| (*handle, pool.threshold)).collect();
    all.into_iter().for_each(|(handle, keep)| shrink(world, handle, keep));
}

fn allocate(out: *mut Ptr, bytes: usize, pool: Option<Handle>, stream: Handle) -> Done {
    let mut world = world()?;
    let here = world.stream(stream)?.device;
    let handle = pool.unwrap_or(world.locals[here].pool);
    if let Some(graph) = world.stream(stream)?.capture {
        let at = world.place(here, bytes as u64);
        world.add_node(graph, crate::graph::Node::Memory { bytes: bytes as u64, at })?;
        // SAFETY: the client's place.
        return unsafe { put(out, at) };
    }
    let pool = world.pools.get(&handle).ok_or(INVALID_HANDLE)?;
    let (device, bytes) = (pool.device, bytes as u64);
    let missing = (pool.used + bytes).saturating_sub(pool.reserved).next_multiple_of(CHUNK);
    if let Some(device) = device.filter(|_| missing > 0) {
        world.take(device, missing)?;
    }
    let pool = world.pools.get_mut(&handle).ok_or(INVALID_HANDLE)?;
    pool.reserved += missing;
    pool.used += bytes;
    let at = world.place(here, bytes);
    world.blocks.insert(at, Block { bytes, device: here, context: 0, pool: handle });
    // SAFETY: the client's place.
    unsafe { put(out, at) }
}

/// Frees memory of a pool.
pub fn free(world: &mut World, at: Ptr, block: &Block, now: bool) {
    world.unplace(block.device, at, block.bytes);
    let Some(pool) = world.pools.get_mut(&block.pool) else { return };
    pool.used -= block.bytes;
    let (threshold, over) = (pool.threshold, pool.closed && pool.used == 0);
    if now || over {
        shrink(world, block.pool, if over { 0 } else { threshold });
    }
    if over {
        world.pools.remove(&block.pool);
    }
}

api! {
    [cuMemAllocAsync, cuMemAllocAsync_ptsz](out: *mut Ptr, bytes: usize, stream: Handle) {
        allocate(out, bytes, None, stream)
    }
    [cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz](
        out: *mut Ptr, bytes: usize, pool: Handle, stream: Handle
    ) { allocate(out, bytes, Some(pool), stream) }
    [cuMemFreeAsync, cuMemFreeAsync_ptsz](at: Ptr, stream: Handle) {
        let mut world = world()?;
        let stream = world.stream(stream)?;
        if stream.capture.is_some() {
            return Ok(());
        }
        let block = world.blocks.remove(&at).ok_or(INVALID_VALUE)?;
        if block.pool == 0 {
            world.blocks.insert(at, block);
            return Err(INVALID_VALUE);
        }
        free(&mut world, at, &block, false);
        Ok(())
    }
    [cuDeviceGetMemPool, cuDeviceGetDefaultMemPool](out: *mut Handle, device: i32) {
        put(out, world()?.local(device)?.pool)
    }
    [cuDeviceSetMemPool](device: i32, pool: Handle) { world()?.local(device)?.pool = pool; Ok(()) }
    [cuMemPoolCreate](out: *mut Handle, properties: *const Properties) {
        let Location { kind, id } = (*properties).location;
        let mut world = world()?;
        let handle = world.handle();
        world.pools.insert(handle, Pool::new((kind == 1).then_some(id as usize)));
        put(out, handle)
    }
    [cuMemPoolDestroy](pool: Handle) {
        let mut world = world()?;
        if world.locals.iter().any(|local| local.pool == pool) {
            return Err(NOT_PERMITTED);
        }
        world.pools.get_mut(&pool).ok_or(INVALID_HANDLE)?.closed = true;
        shrink(&mut world, pool, 0);
        if world.pools[&pool].used == 0 {
            world.pools.remove(&pool);
        }
        Ok(())
    }
    [cuMemPoolTrimTo](pool: Handle, keep: usize) { shrink(&mut *world()?, pool, keep as u64); Ok(()) }
    [cuMemPoolGetAttribute](pool: Handle, what: i32, out: *mut c_void) {
        let world = world()?;
        let pool = world.pools.get(&pool).filter(|pool| !pool.closed).ok_or(INVALID_HANDLE)?;
        put(out.cast::<u64>(), match what {
            RELEASE_THRESHOLD => pool.threshold,
            RESERVED => pool.reserved,
            USED => pool.used,
            _ => return Err(INVALID_VALUE),
        })
    }
    [cuMemPoolSetAttribute](pool: Handle, what: i32, value: *const c_void) {
        if what == RELEASE_THRESHOLD {
            world()?.pools.get_mut(&pool).ok_or(INVALID_HANDLE)?.threshold = value.cast::<u64>().read();
        }
        Ok(())
    }
}
