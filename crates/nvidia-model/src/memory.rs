//! Memory that is not of a pool: plain, by handle, arrays; and copies.

use crate::pool::Location;
use crate::world::{Block, Done, Handle, INVALID_VALUE, OUT_OF_MEMORY, Ptr, api, current, put, world};
use std::ffi::c_void;

pub struct Physical {
    bytes: u64,
    /// `None`: on the host.
    device: Option<usize>,
    uses: u32,
}

/// `CUmemAllocationProp`.
#[repr(C)]
pub struct Properties {
    kind: i32,
    handles: i32,
    location: Location,
    rest: [u64; 2],
}

/// `CUDA_ARRAY_DESCRIPTOR`.
#[repr(C)]
pub struct Flat {
    width: usize,
    height: usize,
    format: i32,
    channels: u32,
}

/// `CUDA_ARRAY3D_DESCRIPTOR`.
#[repr(C)]
pub struct Deep {
    width: usize,
    height: usize,
    depth: usize,
    format: i32,
    channels: u32,
    flags: u32,
}

fn allocate(out: *mut Ptr, bytes: usize) -> Done {
    let mut world = world()?;
    let (device, bytes) = (world.here()?, bytes as u64);
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    world.take(device, bytes)?;
    let at = world.place(device, bytes);
    world.blocks.insert(at, Block { bytes, device, context: current(), pool: 0 });
    // SAFETY: the client's place.
    unsafe { put(out, at) }
}

fn free(at: Ptr) -> Done {
    if at == 0 {
        return Ok(());
    }
    let mut world = world()?;
    let block = world.blocks.remove(&at).ok_or(INVALID_VALUE)?;
    if block.pool != 0 {
        crate::pool::free(&mut world, at, &block, true);
        return Ok(());
    }
    world.give(block.device, block.bytes);
    world.unplace(block.device, at, block.bytes);
    Ok(())
}

fn array(out: *mut Handle, sides: [usize; 3], format: i32, channels: u32, flags: u32) -> Done {
    let each = match format & 0xf {
        1 | 8 => 1,
        2 | 9 => 2,
        _ => 4,
    } * u64::from(channels.max(1));
    let bytes = sides.iter().fold(each, |product, side| product * (*side).max(1) as u64);
    let mut world = world()?;
    let device = world.here()?;
    // Sparse and deferred ones get their memory later.
    let bytes = if flags & 0xc0 == 0 { bytes } else { 0 };
    world.take(device, bytes)?;
    let handle = world.handle();
    world.arrays.insert(handle, (bytes, device));
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

/// Gives physical memory back when nobody uses it.
fn unuse(handle: Handle) -> Done {
    let mut world = world()?;
    let one = world.physical.get_mut(&handle).ok_or(INVALID_VALUE)?;
    one.uses -= 1;
    if one.uses == 0 {
        let (bytes, device) = (one.bytes, one.device);
        world.physical.remove(&handle);
        if let Some(device) = device {
            world.give(device, bytes);
        }
    }
    Ok(())
}

fn copy(to: u64, from: u64, bytes: usize) -> Done {
    world()?.here()?;
    // SAFETY: places of the client or of this model, as long as the client says.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
    Ok(())
}

fn fill<T: Copy>(at: Ptr, value: T, count: usize) -> Done {
    world()?.here()?;
    // SAFETY: a place of this model, as long as the client says.
    unsafe { std::slice::from_raw_parts_mut(at as *mut T, count) }.fill(value);
    Ok(())
}

fn on_host(out: *mut *mut c_void, bytes: usize) -> Done {
    // SAFETY: plain memory.
    let at = unsafe { libc::malloc(bytes) };
    if at.is_null() {
        return Err(OUT_OF_MEMORY);
    }
    // SAFETY: the client's place.
    unsafe { put(out, at) }
}

api! {
    [cuMemAlloc_v2](out: *mut Ptr, bytes: usize) { allocate(out, bytes) }
    [cuMemAllocManaged](out: *mut Ptr, bytes: usize, _flags: u32) { allocate(out, bytes) }
    [cuMemAllocPitch_v2](out: *mut Ptr, pitch: *mut usize, width: usize, height: usize, _each: u32) {
        let row = width.next_multiple_of(512);
        put(pitch, row)?;
        allocate(out, row * height)
    }
    [cuMemFree_v2](at: Ptr) { free(at) }
    [cuMemGetInfo_v2](free: *mut usize, total: *mut usize) {
        let world = world()?;
        let device = world.locals[world.here()?].device;
        device.processes();
        let all = device.memory.load(std::sync::atomic::Ordering::Acquire);
        put(total, all as usize)?;
        put(free, all.saturating_sub(device.used.load(std::sync::atomic::Ordering::Acquire)) as usize)
    }
    [cuMemGetAddressRange_v2](base: *mut Ptr, bytes: *mut usize, at: Ptr) {
        let world = world()?;
        let (start, block) = world.blocks.range(..=at).next_back().ok_or(INVALID_VALUE)?;
        if !base.is_null() {
            base.write(*start);
        }
        if bytes.is_null() { Ok(()) } else { put(bytes, block.bytes as usize) }
    }
    [cuMemAllocHost_v2](out: *mut *mut c_void, bytes: usize) { on_host(out, bytes) }
    [cuMemHostAlloc](out: *mut *mut c_void, bytes: usize, _flags: u32) { on_host(out, bytes) }
    [cuMemFreeHost](at: *mut c_void) { libc::free(at); Ok(()) }
    [cuMemcpyHtoD_v2, cuMemcpyDtoH_v2, cuMemcpyDtoD_v2, cuMemcpy, cuMemcpyHtoD_v2_ptds, cuMemcpyDtoH_v2_ptds,
        cuMemcpyDtoD_v2_ptds](to: u64, from: u64, bytes: usize) { copy(to, from, bytes) }
    [cuMemcpyHtoDAsync_v2, cuMemcpyDtoHAsync_v2, cuMemcpyDtoDAsync_v2, cuMemcpyAsync, cuMemcpyHtoDAsync_v2_ptsz,
        cuMemcpyDtoHAsync_v2_ptsz, cuMemcpyDtoDAsync_v2_ptsz](to: u64, from: u64, bytes: usize, _stream: Handle) {
        copy(to, from, bytes)
    }
    [cuMemsetD8_v2, cuMemsetD8_v2_ptds](at: Ptr, value: u8, count: usize) { fill(at, value, count) }
    [cuMemsetD32_v2, cuMemsetD32_v2_ptds](at: Ptr, value: u32, count: usize) { fill(at, value, count) }
    [cuMemsetD8Async, cuMemsetD8Async_ptsz](at: Ptr, value: u8, count: usize, _stream: Handle) {
        fill(at, value, count)
    }
    [cuMemCreate](out: *mut Handle, bytes: usize, how: *const Properties, _flags: u64) {
        let mut world = world()?;
        let Location { kind, id } = (*how).location;
        let device = (kind == 1).then_some(id as usize);
        if let Some(device) = device {
            world.local(id)?;
            world.take(device, bytes as u64)?;
        }
        let handle = world.handle();
        world.physical.insert(handle, Physical { bytes: bytes as u64, device, uses: 1 });
        put(out, handle)
    }
    [cuMemRelease](handle: Handle) { unuse(handle) }
    [cuMemMap](at: Ptr, bytes: usize, _offset: usize, handle: Handle, _flags: u64) {
        let mut world = world()?;
        world.physical.get_mut(&handle).ok_or(INVALID_VALUE)?.uses += 1;
        world.mapped.insert(at, (bytes as u64, handle));
        Ok(())
    }
    [cuMemUnmap](at: Ptr, bytes: usize) {
        let inside: Vec<Ptr> = world()?.mapped.range(at..at + bytes as u64).map(|(at, _)| *at).collect();
        for at in inside {
            let (_, handle) = world()?.mapped.remove(&at).ok_or(INVALID_VALUE)?;
            unuse(handle)?;
        }
        Ok(())
    }
    [cuMemRetainAllocationHandle](out: *mut Handle, at: *mut c_void) {
        let mut world = world()?;
        let (_, (_, handle)) = world.mapped.range(..=at as Ptr).next_back().ok_or(INVALID_VALUE)?;
        let handle = *handle;
        world.physical.get_mut(&handle).ok_or(INVALID_VALUE)?.uses += 1;
        put(out, handle)
    }
    [cuMemSetAccess](_at: Ptr, _bytes: usize, _how: *const c_void, _count: usize) { Ok(()) }
    [cuMemAddressReserve](out: *mut Ptr, bytes: usize, _alignment: usize, _at: Ptr, _flags: u64) {
        put(out, world()?.place(0, bytes as u64))
    }
    [cuMemAddressFree](at: Ptr, bytes: usize) { world()?.unplace(0, at, bytes as u64); Ok(()) }
    [cuMemGetAllocationGranularity](out: *mut usize, _how: *const Properties, _option: i32) { put(out, 2 << 20) }
    [cuArrayCreate_v2](out: *mut Handle, how: *const Flat) {
        array(out, [(*how).width, (*how).height, 0], (*how).format, (*how).channels, 0)
    }
    [cuArray3DCreate_v2](out: *mut Handle, how: *const Deep) {
        array(out, [(*how).width, (*how).height, (*how).depth], (*how).format, (*how).channels, (*how).flags)
    }
    [cuMipmappedArrayCreate](out: *mut Handle, how: *const Deep, _levels: u32) {
        array(out, [(*how).width, (*how).height, (*how).depth], (*how).format, (*how).channels, (*how).flags)
    }
    [cuArrayDestroy, cuMipmappedArrayDestroy](array: Handle) {
        let mut world = world()?;
        let (bytes, device) = world.arrays.remove(&array).ok_or(INVALID_VALUE)?;
        world.give(device, bytes);
        Ok(())
    }
}
