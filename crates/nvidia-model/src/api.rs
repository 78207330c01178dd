//! Devices, contexts, modules, and how clients find functions.

use crate::device::CONTEXT_BYTES;
use crate::world::{
    Done, Handle, INVALID_CONTEXT, INVALID_HANDLE, Kernel, NOT_FOUND, World, api, begin, current, put,
    with_current, world,
};
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::Ordering::Relaxed;

/// The version that the driver says it has.
const VERSION: i32 = 13_050;

/// Attributes that clients look at: number and value. All others are 1.
const ATTRIBUTES: [(i32, i32); 9] = [
    (1, 1024),
    (2, 1024),
    (5, 2_147_483_647),
    (8, 49_152),
    (10, 32),
    (12, 65_536),
    (75, 9),
    (76, 0),
    (102, 1),
];
const PROCESSORS: i32 = 16;
const PCI_BUS: i32 = 33;

/// The identity of a device: 16 bytes of which the last is its number.
pub fn uuid(device: usize) -> [u8; 16] {
    let mut uuid = *b"pond-model-gpu-0";
    uuid[0] = b'A' + device as u8;
    uuid[15] = device as u8;
    uuid
}

fn make_context(world: &mut World, device: i32) -> Result<Handle, crate::Code> {
    let local = world.local(device)?;
    let bytes = CONTEXT_BYTES * local.device.processors.load(Relaxed);
    world.take(device as usize, bytes)?;
    let context = world.handle();
    world.contexts.insert(context, device as usize);
    Ok(context)
}

fn end_context(world: &mut World, context: Handle) -> Done {
    let device = world.contexts.remove(&context).ok_or(INVALID_CONTEXT)?;
    let bytes = CONTEXT_BYTES * world.locals[device].device.processors.load(Relaxed);
    world.give(device, bytes);
    let own: Vec<_> =
        world.blocks.iter().filter(|(_, block)| block.context == context).map(|(at, _)| *at).collect();
    for at in own {
        if let Some(block) = world.blocks.remove(&at).filter(|block| block.pool == 0) {
            world.give(block.device, block.bytes);
        }
    }
    world.streams.retain(|_, stream| stream.context != context);
    Ok(())
}

fn create(out: *mut Handle, device: i32) -> Done {
    let context = make_context(&mut *world()?, device)?;
    with_current(|stack| stack.push(context));
    // SAFETY: the client's place.
    unsafe { put(out, context) }
}

/// What a kernel's name says that it takes: `spin_250us`, `spin_250us_33` for a third of the device.
fn kernel(name: &str) -> Kernel {
    let mut parts = name.split('_').skip(1);
    let span =
        parts.next().and_then(|part| part.strip_suffix("us")).and_then(|part| part.parse::<u64>().ok());
    let percent = parts.next().and_then(|part| part.parse().ok()).unwrap_or(100_u64);
    Kernel { ns: span.map_or(10_000, |us| us * 1000), percent: percent.clamp(1, 100) }
}

fn find_kernel(out: *mut Handle, name: *const c_char) -> Done {
    // SAFETY: a C string, as the manual says.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let mut world = world()?;
    let handle = world.handle();
    world.kernels.insert(handle, kernel(&name));
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

fn thing(out: *mut Handle) -> Done {
    let mut world = world()?;
    world.here()?;
    let handle = world.handle();
    world.things.insert(handle);
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

fn symbol(name: &str) -> *mut c_void {
    let Ok(name) = CString::new(name) else { return std::ptr::null_mut() };
    // SAFETY: all zero is a valid `Dl_info`, and an address within this library.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        libc::dladdr(symbol as *const c_void, &raw mut found);
        let library = libc::dlopen(found.dli_fname, libc::RTLD_NOW | libc::RTLD_NOLOAD);
        libc::dlsym(library, name.as_ptr())
    }
}

/// The function of a name that a version of CUDA means, by the list of names.
fn versioned(name: &str, version: i32, per_thread: bool) -> *mut c_void {
    const NAMES: &str = include_str!("../../nvidia/names/cuda.txt");
    let mut best: (i32, String) = (-1, String::new());
    for line in NAMES.lines() {
        let Some((symbol, since)) = line.split_once(' ') else { continue };
        let plain = symbol.strip_suffix("_ptsz").or_else(|| symbol.strip_suffix("_ptds"));
        let base = plain.unwrap_or(symbol);
        let is_version =
            |rest: &str| rest.strip_prefix("_v").is_some_and(|digits| digits.parse::<u32>().is_ok());
        let same = base == name || base.strip_prefix(name).is_some_and(is_version);
        let since: i32 = since.parse().unwrap_or(0);
        let rank = since * 2 + i32::from(plain.is_some());
        if same && since <= version && (plain.is_none() || per_thread) && rank > best.0 {
            best = (rank, symbol.to_owned());
        }
    }
    // A driver has names that no list has yet.
    symbol(if best.0 < 0 { name } else { &best.1 })
}

/// Writes down who asked for what, for tests: `name version flags found`.
fn note(name: &str, version: i32, flags: u64, found: bool) {
    use std::io::Write;
    let Some(path) = std::env::var_os("POND_NVIDIA_ASKED") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    // A list that cannot be written is missed by the test that reads it.
    _ = file.and_then(|mut file| file.write_all(format!("{name} {version} {flags} {found}\n").as_bytes()));
}

/// Jumps to another function: the same by another address.
fn elsewhere(target: *mut c_void) -> *mut c_void {
    let mut code = vec![0x48, 0xb8];
    code.extend_from_slice(&(target as u64).to_le_bytes());
    code.extend_from_slice(&[0xff, 0xe0]);
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, long enough for the code written to it.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        std::ptr::copy_nonoverlapping(code.as_ptr(), at.cast(), code.len());
        at
    }
}

fn find(name: *const c_char, out: *mut *mut c_void, version: i32, flags: u64) -> Done {
    // SAFETY: a C string, as the manual says.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let mut found = versioned(&name, version, flags & 2 != 0);
    note(&name, version, flags, !found.is_null());
    let moved = world().is_ok_and(|world| world.machine.moved.load(Relaxed) != 0);
    if moved && !found.is_null() {
        found = elsewhere(found);
    }
    // SAFETY: the client's place.
    unsafe { put(out, found)? };
    if found.is_null() { Err(NOT_FOUND) } else { Ok(()) }
}

fn text(out: *mut c_char, room: i32, text: &str) -> Done {
    let bytes = text.as_bytes();
    let length = bytes.len().min((room.max(1) - 1) as usize);
    // SAFETY: the client's room.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.cast(), length);
        out.add(length).write(0);
    }
    Ok(())
}

fn error_text(code: i32) -> &'static CStr {
    match code {
        0 => c"CUDA_SUCCESS",
        2 => c"CUDA_ERROR_OUT_OF_MEMORY",
        100 => c"CUDA_ERROR_NO_DEVICE",
        214 => c"CUDA_ERROR_ECC_UNCORRECTABLE",
        600 => c"CUDA_ERROR_NOT_READY",
        801 => c"CUDA_ERROR_NOT_SUPPORTED",
        _ => c"CUDA_ERROR",
    }
}

api! {
    [cuInit](_flags: u32) { begin() }
    [cuDriverGetVersion](out: *mut i32) { put(out, VERSION) }
    [cuGetProcAddress](name: *const c_char, out: *mut *mut c_void, version: i32, flags: u64) {
        find(name, out, version, flags)
    }
    [cuGetProcAddress_v2](name: *const c_char, out: *mut *mut c_void, version: i32, flags: u64, status: *mut i32) {
        let done = find(name, out, version, flags);
        if !status.is_null() {
            status.write(i32::from(done.is_err()));
        }
        done
    }
    [cuMemAllocNewer, cuQueryNewer](_out: *mut c_void) { Ok(()) }
    [cuGetExportTable](_out: *mut *const c_void, _id: *const u8) { Err(NOT_FOUND) }
    [cuGetErrorString, cuGetErrorName](code: i32, out: *mut *const c_char) { put(out, error_text(code).as_ptr()) }
    [cuDeviceGetCount](out: *mut i32) { put(out, world()?.locals.len() as i32) }
    [cuDeviceGet](out: *mut i32, ordinal: i32) { world()?.local(ordinal)?; put(out, ordinal) }
    [cuDeviceGetName](out: *mut c_char, room: i32, device: i32) {
        let name = world()?.local(device)?.identity.name.clone();
        text(out, room, &name)
    }
    [cuDeviceGetPCIBusId](out: *mut c_char, room: i32, device: i32) {
        let number = world()?.local(device)?.identity.number;
        text(out, room, &format!("0000:{:02x}:00.0", 0x10 + number))
    }
    [cuDeviceGetUuid, cuDeviceGetUuid_v2](out: *mut [u8; 16], device: i32) {
        put(out, world()?.local(device)?.identity.uuid)
    }
    [cuDeviceTotalMem_v2](out: *mut usize, device: i32) {
        put(out, world()?.local(device)?.device.memory.load(Relaxed) as usize)
    }
    [cuDeviceTotalMem](out: *mut u32, device: i32) {
        let bytes = world()?.local(device)?.device.memory.load(Relaxed);
        put(out, u32::try_from(bytes).unwrap_or(u32::MAX))
    }
    [cuDeviceGetAttribute](out: *mut i32, what: i32, device: i32) {
        let (processors, number) = {
            let mut world = world()?;
            let local = world.local(device)?;
            (local.device.processors.load(Relaxed), local.identity.number as i32)
        };
        let known = ATTRIBUTES.iter().find(|(number, _)| *number == what);
        put(out, match what {
            PROCESSORS => processors as i32,
            PCI_BUS => 0x10 + number,
            _ => known.map_or(1, |(_, value)| *value),
        })
    }
    [cuDeviceComputeCapability](major: *mut i32, minor: *mut i32, _device: i32) {
        put(major, 9)?;
        put(minor, 0)
    }
    [cuDeviceCanAccessPeer](out: *mut i32, _device: i32, _peer: i32) { put(out, 0) }
    [cuDevicePrimaryCtxRetain](out: *mut Handle, device: i32) {
        let mut world = world()?;
        if world.local(device)?.primary == 0 {
            let context = make_context(&mut world, device)?;
            world.local(device)?.primary = context;
        }
        let local = world.local(device)?;
        local.primary_uses += 1;
        put(out, local.primary)
    }
    [cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxRelease](device: i32) {
        let mut world = world()?;
        let local = world.local(device)?;
        local.primary_uses = local.primary_uses.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        if local.primary_uses > 0 {
            return Ok(());
        }
        let context = std::mem::take(&mut local.primary);
        end_context(&mut world, context)
    }
    [cuDevicePrimaryCtxReset_v2, cuDevicePrimaryCtxReset](device: i32) {
        let mut world = world()?;
        let local = world.local(device)?;
        local.primary_uses = 0;
        let context = std::mem::take(&mut local.primary);
        if context == 0 { Ok(()) } else { end_context(&mut world, context) }
    }
    [cuDevicePrimaryCtxGetState](device: i32, flags: *mut u32, active: *mut i32) {
        put(flags, 0)?;
        put(active, i32::from(world()?.local(device)?.primary != 0))
    }
    [cuDevicePrimaryCtxSetFlags_v2, cuDevicePrimaryCtxSetFlags](_device: i32, _flags: u32) { Ok(()) }
    [cuCtxCreate_v2, cuCtxCreate](out: *mut Handle, _flags: u32, device: i32) { create(out, device) }
    [cuCtxCreate_v3](out: *mut Handle, _affinity: *const c_void, _count: i32, _flags: u32, device: i32) {
        create(out, device)
    }
    [cuCtxCreate_v4](out: *mut Handle, _how: *const c_void, _flags: u32, device: i32) { create(out, device) }
    [cuCtxDestroy_v2, cuCtxDestroy](context: Handle) {
        with_current(|stack| stack.retain(|one| *one != context));
        end_context(&mut *world()?, context)
    }
    [cuCtxSetCurrent](context: Handle) {
        with_current(|stack| {
            stack.pop();
            if context != 0 {
                stack.push(context);
            }
        });
        Ok(())
    }
    [cuCtxGetCurrent](out: *mut Handle) { put(out, current()) }
    [cuCtxPushCurrent_v2, cuCtxPushCurrent](context: Handle) { with_current(|stack| stack.push(context)); Ok(()) }
    [cuCtxPopCurrent_v2, cuCtxPopCurrent](out: *mut Handle) {
        let context = with_current(Vec::pop).ok_or(INVALID_CONTEXT)?;
        if out.is_null() { Ok(()) } else { put(out, context) }
    }
    [cuCtxGetDevice](out: *mut i32) { put(out, world()?.here()? as i32) }
    [cuCtxGetDevice_v2](out: *mut i32, context: Handle) {
        put(out, *world()?.contexts.get(&context).ok_or(INVALID_CONTEXT)? as i32)
    }
    [cuCtxGetApiVersion](_context: Handle, out: *mut u32) { put(out, VERSION as u32) }
    [cuCtxGetFlags](out: *mut u32) { put(out, 0) }
    [cuCtxGetStreamPriorityRange](least: *mut i32, most: *mut i32) { put(least, 0)?; put(most, 0) }
    [cuModuleLoadData, cuModuleLoadFatBinary, cuModuleLoad](out: *mut Handle, _image: *const c_void) { thing(out) }
    [cuModuleLoadDataEx](
        out: *mut Handle, _image: *const c_void, _count: u32, _options: *const i32, _values: *const *mut c_void
    ) { thing(out) }
    [cuLibraryLoadData](
        out: *mut Handle, _image: *const c_void, _options: *const i32, _values: *const *mut c_void, _count: u32,
        _more: *const i32, _more_values: *const *mut c_void, _more_count: u32
    ) { thing(out) }
    [cuModuleUnload, cuLibraryUnload](module: Handle) {
        if world()?.things.remove(&module) { Ok(()) } else { Err(INVALID_HANDLE) }
    }
    [cuModuleGetFunction, cuLibraryGetKernel](out: *mut Handle, _module: Handle, name: *const c_char) {
        find_kernel(out, name)
    }
    [cuKernelGetFunction](out: *mut Handle, kernel: Handle) { put(out, kernel) }
    [cuFuncGetAttribute](out: *mut i32, _what: i32, _function: Handle) { put(out, 64) }
    [cuFuncSetAttribute](_function: Handle, _what: i32, _value: i32) { Ok(()) }
    [cuOccupancyMaxActiveBlocksPerMultiprocessor](out: *mut i32, _function: Handle, _size: i32, _shared: usize) {
        put(out, 1)
    }
}
