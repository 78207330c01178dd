//! Allocation: each is reserved before the driver makes it, and goes back when the driver has destroyed it.

use crate::abi::{
    Handle, ImageDesc, ImageFormat, Int, OUT_OF_HOST_MEMORY, OUT_OF_MEMORY, SUCCESS, Uint, Ulong,
};
use crate::state::Shares;
use crate::state::{self, Hook, SHARES};
use crate::{call, names};
use pond_share::{Charge, Denied, Member};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Mutex;

/// What one allocation holds of each share of its context; goes back when dropped.
#[derive(Debug)]
struct Held([Option<(&'static Member, Charge)>; SHARES]);

impl Held {
    fn reserve(shares: &Shares, bytes: u64) -> Result<Self, Denied> {
        let mut held = Self([None; SHARES]);
        for (place, member) in held.0.iter_mut().zip(shares.iter()) {
            *place = Some((member, member.reserve(bytes)?));
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().flatten().for_each(|(member, charge)| member.release(*charge));
    }
}

/// Reserves, lets the driver make the object, and has it give back what was reserved when it destroys it.
///
/// # Safety
/// `context` is a live context, `code` valid or null, and `make` gives an object of it or null.
unsafe fn made(context: Handle, bytes: u64, code: *mut Int, make: impl FnOnce() -> Handle) -> Handle {
    let fail = |value: Int| {
        if !code.is_null() {
            // SAFETY: valid, as the caller promises.
            unsafe { code.write(value) };
        }
        std::ptr::null_mut()
    };
    if context.is_null() {
        return make();
    }
    // SAFETY: the caller's promise.
    let shares = unsafe { state::get().shares_of_context(context) };
    let Ok(held) = Held::reserve(&shares, bytes) else { return fail(OUT_OF_MEMORY) };
    let object = make();
    if object.is_null() {
        return object;
    }
    // SAFETY: the object was just made.
    let table = unsafe { state::get().table(object) };
    let held = Box::into_raw(Box::new(held));
    // SAFETY: the types are OpenCL's; the box is given to the callback, which comes once.
    unsafe {
        let kept = call!(table, "clSetMemObjectDestructorCallback": fn(Handle, unsafe extern "C" fn(Handle, *mut c_void), *mut c_void) -> Int, object, destroyed, held.cast());
        if kept != SUCCESS {
            _ = call!(table, "clReleaseMemObject": fn(Handle) -> Int, object);
            drop(Box::from_raw(held));
            return fail(OUT_OF_HOST_MEMORY);
        }
    }
    object
}

unsafe extern "C" fn destroyed(_object: Handle, held: *mut c_void) {
    // SAFETY: the box of `made`, given once.
    drop(unsafe { Box::from_raw(held.cast::<Held>()) });
}

unsafe extern "C" fn create_buffer(
    context: Handle,
    flags: Ulong,
    size: usize,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            size as u64,
            code,
            || call!(state::get().table(context), "clCreateBuffer": fn(Handle, Ulong, usize, *mut c_void, *mut Int) -> Handle, context, flags, size, host, code),
        )
    }
}

unsafe extern "C" fn create_buffer_with(
    context: Handle,
    properties: *const Ulong,
    flags: Ulong,
    size: usize,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            size as u64,
            code,
            || call!(state::get().table(context), "clCreateBufferWithProperties": fn(Handle, *const Ulong, Ulong, usize, *mut c_void, *mut Int) -> Handle, context, properties, flags, size, host, code),
        )
    }
}

unsafe extern "C" fn create_image(
    context: Handle,
    flags: Ulong,
    format: *const ImageFormat,
    desc: *const ImageDesc,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            image_bytes(format, desc),
            code,
            || call!(state::get().table(context), "clCreateImage": fn(Handle, Ulong, *const ImageFormat, *const ImageDesc, *mut c_void, *mut Int) -> Handle, context, flags, format, desc, host, code),
        )
    }
}

unsafe extern "C" fn create_image_with(
    context: Handle,
    properties: *const Ulong,
    flags: Ulong,
    format: *const ImageFormat,
    desc: *const ImageDesc,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            image_bytes(format, desc),
            code,
            || call!(state::get().table(context), "clCreateImageWithProperties": fn(Handle, *const Ulong, Ulong, *const ImageFormat, *const ImageDesc, *mut c_void, *mut Int) -> Handle, context, properties, flags, format, desc, host, code),
        )
    }
}

unsafe extern "C" fn create_image_2d(
    context: Handle,
    flags: Ulong,
    format: *const ImageFormat,
    width: usize,
    height: usize,
    pitch: usize,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            pixels(format, &[width, height]),
            code,
            || call!(state::get().table(context), "clCreateImage2D": fn(Handle, Ulong, *const ImageFormat, usize, usize, usize, *mut c_void, *mut Int) -> Handle, context, flags, format, width, height, pitch, host, code),
        )
    }
}

unsafe extern "C" fn create_image_3d(
    context: Handle,
    flags: Ulong,
    format: *const ImageFormat,
    width: usize,
    height: usize,
    depth: usize,
    row: usize,
    slice: usize,
    host: *mut c_void,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            pixels(format, &[width, height, depth]),
            code,
            || call!(state::get().table(context), "clCreateImage3D": fn(Handle, Ulong, *const ImageFormat, usize, usize, usize, usize, usize, *mut c_void, *mut Int) -> Handle, context, flags, format, width, height, depth, row, slice, host, code),
        )
    }
}

unsafe extern "C" fn create_pipe(
    context: Handle,
    flags: Ulong,
    packet: Uint,
    packets: Uint,
    properties: *const isize,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        made(
            context,
            u64::from(packet) * u64::from(packets),
            code,
            || call!(state::get().table(context), "clCreatePipe": fn(Handle, Ulong, Uint, Uint, *const isize, *mut Int) -> Handle, context, flags, packet, packets, properties, code),
        )
    }
}

/// Bytes of an image by its description; none for a view of memory that is counted already.
unsafe fn image_bytes(format: *const ImageFormat, desc: *const ImageDesc) -> u64 {
    // SAFETY: valid or null, as the caller of OpenCL promises.
    let Some(desc) = (unsafe { desc.as_ref() }) else { return 0 };
    if !desc.view_of.is_null() {
        return 0;
    }
    // SAFETY: as above.
    unsafe { pixels(format, &[desc.width, desc.height, desc.depth, desc.array]) }
}

/// Bytes of so many pixels; sides that an image does not have are 0.
unsafe fn pixels(format: *const ImageFormat, sides: &[usize]) -> u64 {
    // SAFETY: valid or null, as the caller of OpenCL promises.
    let each = unsafe { format.as_ref() }.map_or(16, pixel_bytes);
    sides.iter().fold(each, |bytes, &side| bytes.saturating_mul(side.max(1) as u64))
}

/// Bytes of a pixel; of a format not known here the largest there is.
const fn pixel_bytes(format: &ImageFormat) -> u64 {
    let channels = match format.order {
        0x10B0 | 0x10B1 | 0x10B8 | 0x10B9 | 0x10BD => 1,
        0x10B2 | 0x10B3 | 0x10BA => 2,
        _ => 4,
    };
    match format.kind {
        0x10D0 | 0x10D2 | 0x10D7 | 0x10DA => channels,
        0x10D1 | 0x10D3 | 0x10D8 | 0x10DB | 0x10DD => 2 * channels,
        // Packed: one word for all channels.
        0x10D4 | 0x10D5 => 2,
        0x10D6 | 0x10E0 => 4,
        _ => 4 * channels,
    }
}

/// Shared virtual memory, by address.
static SHARED: Mutex<BTreeMap<usize, Held>> = Mutex::new(BTreeMap::new());

fn shared() -> std::sync::MutexGuard<'static, BTreeMap<usize, Held>> {
    SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

unsafe extern "C" fn svm_alloc(context: Handle, flags: Ulong, size: usize, alignment: Uint) -> *mut c_void {
    // SAFETY: a live context, as the caller promises.
    let Ok(held) = Held::reserve(&unsafe { state::get().shares_of_context(context) }, size as u64) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the arguments are the caller's.
    let at = unsafe {
        call!(state::get().table(context), "clSVMAlloc": fn(Handle, Ulong, usize, Uint) -> *mut c_void, context, flags, size, alignment)
    };
    if !at.is_null() {
        shared().insert(at as usize, held);
    }
    at
}

unsafe extern "C" fn svm_free(context: Handle, at: *mut c_void) {
    // Out of the map first: as soon as the driver has it back, another thread may be given the same address.
    let held = shared().remove(&(at as usize));
    // SAFETY: the arguments are the caller's.
    unsafe { call!(state::get().table(context), "clSVMFree": fn(Handle, *mut c_void) -> (), context, at) };
    drop(held);
}

type FreeFunction = Option<unsafe extern "C" fn(Handle, Uint, *mut *mut c_void, *mut c_void)>;

/// When the program brings its own function, that one frees, through [`svm_free`]; else the driver does, and the
/// memory counts as free from here on.
unsafe extern "C" fn enqueue_svm_free(
    queue: Handle,
    count: Uint,
    pointers: *mut *mut c_void,
    free: FreeFunction,
    data: *mut c_void,
    waits: Uint,
    list: *const Handle,
    event: *mut Handle,
) -> Int {
    // SAFETY: the arguments are the caller's.
    let done = unsafe {
        call!(state::get().table(queue), "clEnqueueSVMFree": fn(Handle, Uint, *mut *mut c_void, FreeFunction, *mut c_void, Uint, *const Handle, *mut Handle) -> Int, queue, count, pointers, free, data, waits, list, event)
    };
    if done == SUCCESS && free.is_none() && !pointers.is_null() {
        for at in 0..count as usize {
            // SAFETY: `count` pointers, as the caller promises.
            shared().remove(&(unsafe { pointers.add(at).read() } as usize));
        }
    }
    done
}

const fn hook(name: &str, ours: *mut c_void) -> Hook {
    Hook { at: names::index(name), ours }
}

/// The functions replaced here.
pub static HOOKS: &[Hook] = &[
    hook("clCreateBuffer", create_buffer as *mut c_void),
    hook("clCreateBufferWithProperties", create_buffer_with as *mut c_void),
    hook("clCreateImage", create_image as *mut c_void),
    hook("clCreateImageWithProperties", create_image_with as *mut c_void),
    hook("clCreateImage2D", create_image_2d as *mut c_void),
    hook("clCreateImage3D", create_image_3d as *mut c_void),
    hook("clCreatePipe", create_pipe as *mut c_void),
    hook("clSVMAlloc", svm_alloc as *mut c_void),
    hook("clSVMFree", svm_free as *mut c_void),
    hook("clEnqueueSVMFree", enqueue_svm_free as *mut c_void),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_by_their_pixels() {
        let rgba_float = ImageFormat { order: 0x10B5, kind: 0x10DE };
        let grey = ImageFormat { order: 0x10B0, kind: 0x10D2 };
        let strange = ImageFormat { order: 1, kind: 1 };
        assert_eq!([rgba_float, grey, strange].each_ref().map(pixel_bytes), [16, 1, 16]);
        // SAFETY: valid formats.
        let bytes = unsafe {
            [pixels(&raw const grey, &[640, 480, 0, 0]), pixels(&raw const rgba_float, &[usize::MAX, 9])]
        };
        assert_eq!(bytes, [640 * 480, u64::MAX]);
    }
}
