//! Launches and copies: each waits for the share's time, is measured by the driver's own event, and is charged.
//!
//! Before a command goes to the driver, what commands like it took before is charged; when it has ended, the
//! difference. Waiting is for time to pass and never for another command, so a program may enqueue what depends on an
//! event that it sets later. A kind of command that was never measured is held back while [`UNKNOWN`] of them are under
//! way, for [`PATIENCE`] at most; while the program has events of its own to set, which these may wait for, for that long
//! altogether.

use crate::abi::{
    COME_TO, ENDED, Handle, Int, ON_DEVICE, PROFILING, QUEUE_PROPERTIES, STARTED, SUCCESS, Uint, Ulong,
};
use crate::driver::Table;
use crate::state::{self, Hook};
use crate::{call, names};
use pond_share::{Member, now_ns};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How many commands of one kind may be under way before the first of them is measured.
const UNKNOWN: u64 = 4;
/// How long a command waits for that, in steps of a millisecond.
const PATIENCE: u32 = 100;

/// What is known of commands of one kind.
struct Kind {
    /// What one takes, ns: a running mean of which the last counts a quarter. 0: never measured.
    cost: AtomicU64,
    under_way: AtomicU64,
    /// One was held back for [`PATIENCE`], and nothing was measured by the end of it.
    waited: AtomicBool,
}

/// By a hash of the kind; two kinds in one place share a mean, which settles by itself.
static KINDS: [Kind; 1024] = [const { Kind::new() }; 1024];

/// Events that the program made and has not set yet.
static UNSET: AtomicU64 = AtomicU64::new(0);

/// The kind of a command: its function and what sets its size.
fn kind(function: usize, size: u64) -> &'static Kind {
    let hash = (size ^ (function as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &KINDS[(hash >> 54) as usize]
}

impl Kind {
    const fn new() -> Self {
        Self { cost: AtomicU64::new(0), under_way: AtomicU64::new(0), waited: AtomicBool::new(false) }
    }

    /// Whether the next one should wait until one that is under way has been measured. What waits for an event of the program
    /// is never measured while the program is held back here.
    fn is_flooded(&self, unset: u64) -> bool {
        let unknown = self.cost.load(Ordering::Relaxed) == 0;
        let in_vain = unset > 0 && self.waited.load(Ordering::Relaxed);
        unknown && self.under_way.load(Ordering::Relaxed) >= UNKNOWN && !in_vain
    }

    fn learn(&self, took_ns: u64) {
        let old = self.cost.load(Ordering::Relaxed);
        let new = if old == 0 { took_ns } else { old - old / 4 + took_ns / 4 };
        self.cost.store(new.max(1), Ordering::Relaxed);
    }
}

/// A command on its way.
struct Launch {
    table: &'static Table,
    member: &'static Member,
    kind: &'static Kind,
    charged_ns: u64,
    enqueued_ns: u64,
}

/// Waits for the share, enqueues, and sees to the measurement.
///
/// # Safety
/// `queue` is a live queue, `event` valid or null, and `enqueue` gives the event of a command.
unsafe fn launch(
    queue: Handle,
    kind: &'static Kind,
    event: *mut Handle,
    enqueue: impl FnOnce(*mut Handle) -> Int,
) -> Int {
    if queue.is_null() {
        return enqueue(event);
    }
    // SAFETY: the caller's promise.
    let (table, member) = unsafe { (state::get().table(queue), state::get().share_of_queue(queue)) };
    let Some(member) = member else { return enqueue(event) };
    let charged_ns = kind.cost.load(Ordering::Relaxed);
    // SAFETY: the caller's promise.
    unsafe { hold_back(table, queue, member, kind, charged_ns) };
    let mut own: Handle = std::ptr::null_mut();
    let place = if event.is_null() { &raw mut own } else { event };
    let enqueued_ns = now_ns();
    let done = enqueue(place);
    if done != SUCCESS {
        member.refund(charged_ns);
        return done;
    }
    kind.under_way.fetch_add(1, Ordering::Relaxed);
    let launch = Launch { table, member, kind, charged_ns, enqueued_ns };
    let launch = Box::into_raw(Box::new(launch));
    // SAFETY: the types are OpenCL's; the box is given to the callback, which comes once. The event lives until then by a
    // reference of ours: that of the driver is not enough for Intel's, which answers nothing about an event that the program let go.
    unsafe {
        let at = *place;
        if !event.is_null() {
            _ = call!(table, "clRetainEvent": fn(Handle) -> Int, at);
        }
        // One that blocks is over: Oclgrind, for one, calls nobody back of what had ended before it was asked to.
        if let Some(status) = come_to(table, at).filter(|status| *status <= 0) {
            ended(at, status, launch.cast());
            return SUCCESS;
        }
        let kept = call!(table, "clSetEventCallback": fn(Handle, Int, unsafe extern "C" fn(Handle, Int, *mut c_void), *mut c_void) -> Int, at, 0, ended, launch.cast());
        if kept != SUCCESS {
            ended(at, -1, launch.cast());
        }
    }
    SUCCESS
}

/// Until the share has time, and is not flooded with what was never measured.
///
/// # Safety
/// `queue` is a live queue of this table.
unsafe fn hold_back(table: &Table, queue: Handle, member: &Member, kind: &Kind, cost_ns: u64) {
    let flooded = || kind.is_flooded(UNSET.load(Ordering::Relaxed));
    let admitted = member.admit_now(cost_ns).is_ok();
    if admitted && !flooded() {
        return;
    }
    // What was enqueued before must be on its way, or nothing would be measured while this one waits.
    // SAFETY: the type is OpenCL's.
    unsafe { call!(table, "clFlush": fn(Handle) -> Int, queue) };
    if !admitted {
        member.admit(cost_ns);
    }
    for _ in 0..PATIENCE {
        if !flooded() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    kind.waited.store(true, Ordering::Relaxed);
}

/// How far a command has come; `None` where nobody says.
///
/// # Safety
/// `event` is a live event of this table.
unsafe fn come_to(table: &Table, event: Handle) -> Option<Int> {
    let mut status: Int = 1;
    // SAFETY: the type is OpenCL's, and there is room for a status.
    let done = unsafe {
        call!(table, "clGetEventInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, event, COME_TO, size_of::<Int>(), (&raw mut status).cast(), std::ptr::null_mut())
    };
    (done == SUCCESS).then_some(status)
}

unsafe extern "C" fn ended(event: Handle, status: Int, launch: *mut c_void) {
    // SAFETY: the box of `launch`, given once.
    let launch = unsafe { Box::from_raw(launch.cast::<Launch>()) };
    let Launch { table, member, kind, charged_ns, enqueued_ns } = *launch;
    kind.under_way.fetch_sub(1, Ordering::Relaxed);
    if status < 0 {
        member.refund(charged_ns);
    } else {
        let passed_ns = now_ns().saturating_sub(enqueued_ns);
        // SAFETY: the event of an ended command.
        let took_ns = unsafe { measured(table, event) }.map_or(passed_ns, |took_ns| took_ns.min(passed_ns));
        kind.learn(took_ns);
        member.settle(charged_ns, took_ns);
    }
    // SAFETY: our reference, given back once.
    unsafe { call!(table, "clReleaseEvent": fn(Handle) -> Int, event) };
}

/// From start to end on the device, ns; `None` for a queue that does not measure.
///
/// # Safety
/// `event` is the event of an ended command.
unsafe fn measured(table: &Table, event: Handle) -> Option<u64> {
    let ask = |what: Uint| {
        let mut time: Ulong = 0;
        // SAFETY: the type is OpenCL's, and there is room for 8 bytes.
        let done = unsafe {
            call!(table, "clGetEventProfilingInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, event, what, 8, (&raw mut time).cast(), std::ptr::null_mut())
        };
        (done == SUCCESS).then_some(time)
    };
    Some(ask(ENDED)?.saturating_sub(ask(STARTED)?))
}

unsafe extern "C" fn create_queue(
    context: Handle,
    device: Handle,
    properties: Ulong,
    code: *mut Int,
) -> Handle {
    // SAFETY: the arguments are the caller's.
    unsafe {
        call!(state::get().table(context), "clCreateCommandQueue": fn(Handle, Handle, Ulong, *mut Int) -> Handle, context, device, properties | PROFILING, code)
    }
}

/// Most words of queue properties: more than all extensions define.
const MOST_PROPERTIES: usize = 62;

unsafe extern "C" fn create_queue_with(
    context: Handle,
    device: Handle,
    properties: *const Ulong,
    code: *mut Int,
) -> Handle {
    let mut list = [0; MOST_PROPERTIES + 2];
    let mut length = 0;
    let mut found = false;
    // SAFETY: pairs up to a zero, as OpenCL says.
    while !properties.is_null() && length < MOST_PROPERTIES - 1 && unsafe { *properties.add(length) } != 0 {
        // SAFETY: a key has a value.
        let (key, value) = unsafe { (*properties.add(length), *properties.add(length + 1)) };
        let measured = key == QUEUE_PROPERTIES && value & ON_DEVICE == 0;
        found |= key == QUEUE_PROPERTIES;
        (list[length], list[length + 1]) = (key, if measured { value | PROFILING } else { value });
        length += 2;
    }
    if !found {
        (list[length], list[length + 1]) = (QUEUE_PROPERTIES, PROFILING);
    }
    // SAFETY: the arguments are the caller's, and the list ends in zero.
    unsafe {
        call!(state::get().table(context), "clCreateCommandQueueWithProperties": fn(Handle, Handle, *const Ulong, *mut Int) -> Handle, context, device, list.as_ptr(), code)
    }
}

unsafe extern "C" fn create_user_event(context: Handle, code: *mut Int) -> Handle {
    // SAFETY: the arguments are the caller's.
    let event = unsafe {
        call!(state::get().table(context), "clCreateUserEvent": fn(Handle, *mut Int) -> Handle, context, code)
    };
    if !event.is_null() {
        UNSET.fetch_add(1, Ordering::Relaxed);
    }
    event
}

unsafe extern "C" fn set_user_event(event: Handle, status: Int) -> Int {
    // SAFETY: the arguments are the caller's.
    let done = unsafe {
        call!(state::get().table(event), "clSetUserEventStatus": fn(Handle, Int) -> Int, event, status)
    };
    if done == SUCCESS {
        UNSET.fetch_sub(1, Ordering::Relaxed);
    }
    done
}

unsafe extern "C" fn enqueue_kernel(
    queue: Handle,
    kernel: Handle,
    dimensions: Uint,
    offset: *const usize,
    global: *const usize,
    local: *const usize,
    waits: Uint,
    list: *const Handle,
    event: *mut Handle,
) -> Int {
    let sides = if global.is_null() { 0 } else { dimensions.min(3) as usize };
    // SAFETY: as many sizes as dimensions, as OpenCL says.
    let items = (0..sides).fold(1_u64, |items, side| items.wrapping_mul(unsafe { *global.add(side) } as u64));
    let kind = kind(0, (kernel as u64).rotate_left(20) ^ items);
    // SAFETY: the arguments are the caller's.
    unsafe {
        launch(
            queue,
            kind,
            event,
            |event| call!(state::get().table(queue), "clEnqueueNDRangeKernel": fn(Handle, Handle, Uint, *const usize, *const usize, *const usize, Uint, *const Handle, *mut Handle) -> Int, queue, kernel, dimensions, offset, global, local, waits, list, event),
        )
    }
}

/// Commands of one form: `queue`, their own arguments, then what to wait for and the event. The size that sets
/// their cost is an expression over the arguments.
macro_rules! commands {
    ($($ours:ident = $name:literal ($($value:ident: $kind:ty),*) by $size:expr;)*) => {
        $(unsafe extern "C" fn $ours(queue: Handle, $($value: $kind,)* waits: Uint, list: *const Handle, event: *mut Handle) -> Int {
            let kind = kind(names::index($name), $size);
            // SAFETY: the arguments are the caller's, and the type is the one of this name.
            unsafe {
                launch(queue, kind, event, |event| {
                    call!(state::get().table(queue), $name: fn(Handle, $($kind,)* Uint, *const Handle, *mut Handle) -> Int, queue, $($value,)* waits, list, event)
                })
            }
        })*
        /// The functions replaced here.
        pub static HOOKS: &[Hook] = &[
            Hook { at: names::index("clCreateCommandQueue"), ours: create_queue as *mut c_void },
            Hook { at: names::index("clCreateCommandQueueWithProperties"), ours: create_queue_with as *mut c_void },
            Hook { at: names::index("clCreateUserEvent"), ours: create_user_event as *mut c_void },
            Hook { at: names::index("clSetUserEventStatus"), ours: set_user_event as *mut c_void },
            Hook { at: names::index("clEnqueueNDRangeKernel"), ours: enqueue_kernel as *mut c_void },
            $(Hook { at: names::index($name), ours: $ours as *mut c_void },)*
        ];
    };
}

type Sizes = *const usize;

/// The product of three sizes at most.
fn volume(sizes: Sizes) -> u64 {
    if sizes.is_null() {
        return 0;
    }
    // SAFETY: regions of OpenCL have three sizes.
    (0..3).fold(1, |product, at| product.wrapping_mul(unsafe { *sizes.add(at) } as u64))
}

commands! {
    enqueue_task = "clEnqueueTask"(kernel: Handle) by kernel as u64;
    enqueue_native = "clEnqueueNativeKernel"(function: Handle, data: Handle, size: usize, count: Uint, objects: *const Handle, places: *const Handle) by function as u64;
    read_buffer = "clEnqueueReadBuffer"(buffer: Handle, blocking: Uint, offset: usize, size: usize, host: Handle) by size as u64;
    write_buffer = "clEnqueueWriteBuffer"(buffer: Handle, blocking: Uint, offset: usize, size: usize, host: Handle) by size as u64;
    copy_buffer = "clEnqueueCopyBuffer"(from: Handle, to: Handle, from_offset: usize, to_offset: usize, size: usize) by size as u64;
    fill_buffer = "clEnqueueFillBuffer"(buffer: Handle, pattern: Handle, length: usize, offset: usize, size: usize) by size as u64;
    read_rect = "clEnqueueReadBufferRect"(buffer: Handle, blocking: Uint, origin: Sizes, host_origin: Sizes, region: Sizes, row: usize, slice: usize, host_row: usize, host_slice: usize, host: Handle) by volume(region);
    write_rect = "clEnqueueWriteBufferRect"(buffer: Handle, blocking: Uint, origin: Sizes, host_origin: Sizes, region: Sizes, row: usize, slice: usize, host_row: usize, host_slice: usize, host: Handle) by volume(region);
    copy_rect = "clEnqueueCopyBufferRect"(from: Handle, to: Handle, from_origin: Sizes, to_origin: Sizes, region: Sizes, from_row: usize, from_slice: usize, to_row: usize, to_slice: usize) by volume(region);
    read_image = "clEnqueueReadImage"(image: Handle, blocking: Uint, origin: Sizes, region: Sizes, row: usize, slice: usize, host: Handle) by volume(region);
    write_image = "clEnqueueWriteImage"(image: Handle, blocking: Uint, origin: Sizes, region: Sizes, row: usize, slice: usize, host: Handle) by volume(region);
    copy_image = "clEnqueueCopyImage"(from: Handle, to: Handle, from_origin: Sizes, to_origin: Sizes, region: Sizes) by volume(region);
    fill_image = "clEnqueueFillImage"(image: Handle, color: Handle, origin: Sizes, region: Sizes) by volume(region);
    image_to_buffer = "clEnqueueCopyImageToBuffer"(from: Handle, to: Handle, origin: Sizes, region: Sizes, offset: usize) by volume(region);
    buffer_to_image = "clEnqueueCopyBufferToImage"(from: Handle, to: Handle, offset: usize, origin: Sizes, region: Sizes) by volume(region);
    migrate = "clEnqueueMigrateMemObjects"(count: Uint, objects: *const Handle, flags: Ulong) by u64::from(count);
    svm_copy = "clEnqueueSVMMemcpy"(blocking: Uint, to: Handle, from: Handle, size: usize) by size as u64;
    svm_fill = "clEnqueueSVMMemFill"(to: Handle, pattern: Handle, length: usize, size: usize) by size as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_an_event_of_the_program_is_waited_for_once() {
        let kind = Kind::new();
        assert!(!kind.is_flooded(1));
        kind.under_way.store(UNKNOWN, Ordering::Relaxed);
        assert!(kind.is_flooded(1) && kind.is_flooded(0));
        kind.waited.store(true, Ordering::Relaxed);
        assert!(!kind.is_flooded(1), "it would be in vain again");
        assert!(kind.is_flooded(0), "nothing is there that the program must do first");
        kind.learn(5);
        assert!(!kind.is_flooded(0));
    }
}
