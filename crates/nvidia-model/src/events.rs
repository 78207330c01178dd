//! Streams, events and launches.

use crate::device::now_ns;
use crate::graph::Node;
use crate::world::{
    CAPTURE_UNSUPPORTED, Done, Event, Handle, INVALID_HANDLE, Kernel, NOT_READY, Stream, World, api, current,
    put, sleep_until, world,
};
use std::ffi::c_void;

/// What `cuLaunchKernelEx` is told.
#[repr(C)]
pub struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    attributes: *const c_void,
    count: u32,
}

fn launch(function: Handle, stream: Handle) -> Done {
    let mut world = world()?;
    let world = &mut *world;
    world.here()?;
    let kernel = *world.kernels.get(&function).ok_or(INVALID_HANDLE)?;
    if let Some(graph) = world.stream(stream)?.capture {
        return world.add_node(graph, Node::Kernel(kernel)).map(|_| ());
    }
    world.work(stream, kernel).map(|_| ())
}

fn create(out: *mut Handle) -> Done {
    let mut world = world()?;
    let device = world.here()?;
    let handle = world.handle();
    let stream = Stream { context: current(), device, tail: 0, capture: None, mark: 0 };
    world.streams.insert(handle, stream);
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

/// Waits for a stream, then lets pools give back what was freed on it.
fn wait(handle: Handle) -> Done {
    let stream = {
        let mut world = world()?;
        let stream = world.stream(handle)?;
        if stream.capture.is_some() {
            return Err(CAPTURE_UNSUPPORTED);
        }
        stream.tail
    };
    sleep_until(stream);
    let mut world = world()?;
    crate::pool::shrink_all(&mut world);
    Ok(())
}

fn wait_for_all() -> Done {
    let context = current();
    let last = {
        let world = world()?;
        world.here()?;
        let own = world.streams.values().filter(|stream| stream.context == context);
        own.map(|stream| stream.tail).max().unwrap_or(0)
    };
    sleep_until(last);
    crate::pool::shrink_all(&mut *world()?);
    Ok(())
}

/// An event happens when the device comes to it: after its stream's work, or when the device is free.
fn record(event: Handle, handle: Handle) -> Done {
    let mut world = world()?;
    let stream = world.stream(handle)?;
    if stream.capture.is_some() {
        return Ok(());
    }
    let (device, tail, context) = (stream.device, stream.tail, stream.context);
    let idle = now_ns().max(world.locals[device].device.free_at.load(std::sync::atomic::Ordering::Acquire));
    let moment = if tail > now_ns() { tail } else { idle };
    let known = world.events.get_mut(&event).filter(|event| event.context == context);
    known.ok_or(INVALID_HANDLE)?.moment = moment;
    world.stream(handle)?.mark = event;
    Ok(())
}

fn moment(world: &World, event: Handle) -> Result<u64, crate::Code> {
    world.events.get(&event).map(|event| event.moment).ok_or(INVALID_HANDLE)
}

fn begin_capture(stream: Handle) -> Done {
    let mut world = world()?;
    let graph = world.new_graph();
    let stream = world.stream(stream)?;
    if stream.capture.is_some() {
        return Err(CAPTURE_UNSUPPORTED);
    }
    stream.capture = Some(graph);
    Ok(())
}

fn elapsed(out: *mut f32, start: Handle, end: Handle) -> Done {
    let world = world()?;
    let (start, end) = (moment(&world, start)?, moment(&world, end)?);
    if end > now_ns() {
        return Err(NOT_READY);
    }
    // SAFETY: the client's place.
    unsafe { put(out, end.saturating_sub(start) as f32 / 1e6) }
}

api! {
    [cuStreamCreate](out: *mut Handle, _flags: u32) { create(out) }
    [cuStreamCreateWithPriority](out: *mut Handle, _flags: u32, _priority: i32) { create(out) }
    [cuStreamDestroy_v2, cuStreamDestroy](stream: Handle) {
        world()?.streams.remove(&stream).map(|_| ()).ok_or(INVALID_HANDLE)
    }
    [cuStreamSynchronize, cuStreamSynchronize_ptsz](stream: Handle) { wait(stream) }
    [cuStreamQuery, cuStreamQuery_ptsz](stream: Handle) {
        if world()?.stream(stream)?.tail > now_ns() { Err(NOT_READY) } else { Ok(()) }
    }
    [cuStreamGetCtx, cuStreamGetCtx_ptsz](stream: Handle, out: *mut Handle) {
        put(out, world()?.stream(stream)?.context)
    }
    [cuStreamGetDevice, cuStreamGetDevice_ptsz](stream: Handle, out: *mut i32) {
        put(out, world()?.stream(stream)?.device as i32)
    }
    [cuStreamWaitEvent, cuStreamWaitEvent_ptsz](stream: Handle, event: Handle, _flags: u32) {
        let mut world = world()?;
        let moment = moment(&world, event)?;
        let stream = world.stream(stream)?;
        stream.tail = stream.tail.max(moment);
        Ok(())
    }
    [cuStreamBeginCapture_v2, cuStreamBeginCapture_v2_ptsz](stream: Handle, _mode: i32) { begin_capture(stream) }
    [cuStreamBeginCapture, cuStreamBeginCapture_ptsz](stream: Handle) { begin_capture(stream) }
    [cuStreamEndCapture, cuStreamEndCapture_ptsz](stream: Handle, out: *mut Handle) {
        put(out, world()?.stream(stream)?.capture.take().ok_or(INVALID_HANDLE)?)
    }
    [cuStreamIsCapturing, cuStreamIsCapturing_ptsz](stream: Handle, out: *mut i32) {
        put(out, i32::from(world()?.stream(stream)?.capture.is_some()))
    }
    [cuThreadExchangeStreamCaptureMode](_mode: *mut i32) { Ok(()) }
    [cuCtxSynchronize]() { wait_for_all() }
    [cuCtxSynchronize_v2](_context: Handle) { wait_for_all() }
    [cuEventCreate](out: *mut Handle, _flags: u32) {
        let mut world = world()?;
        world.here()?;
        let handle = world.handle();
        world.events.insert(handle, Event { moment: 0, context: current() });
        put(out, handle)
    }
    [cuEventDestroy_v2, cuEventDestroy](event: Handle) {
        world()?.events.remove(&event).map(|_| ()).ok_or(INVALID_HANDLE)
    }
    [cuEventRecord, cuEventRecord_ptsz](event: Handle, stream: Handle) { record(event, stream) }
    [cuEventRecordWithFlags, cuEventRecordWithFlags_ptsz](event: Handle, stream: Handle, _flags: u32) {
        record(event, stream)
    }
    [cuEventQuery](event: Handle) {
        if moment(&*world()?, event)? > now_ns() { Err(NOT_READY) } else { Ok(()) }
    }
    [cuEventSynchronize](event: Handle) {
        let until = moment(&*world()?, event)?;
        sleep_until(until);
        Ok(())
    }
    [cuEventElapsedTime, cuEventElapsedTime_v2](out: *mut f32, start: Handle, end: Handle) {
        elapsed(out, start, end)
    }
    [cuLaunchKernel, cuLaunchKernel_ptsz](
        function: Handle, _x: u32, _y: u32, _z: u32, _bx: u32, _by: u32, _bz: u32, _shared: u32, stream: Handle,
        _parameters: *const *mut c_void, _extra: *const *mut c_void
    ) { launch(function, stream) }
    [cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz](
        function: Handle, _x: u32, _y: u32, _z: u32, _bx: u32, _by: u32, _bz: u32, _shared: u32, stream: Handle,
        _parameters: *const *mut c_void
    ) { launch(function, stream) }
    [cuLaunchKernelEx, cuLaunchKernelEx_ptsz](
        config: *const Config, function: Handle, _parameters: *const *mut c_void, _extra: *const *mut c_void
    ) { launch(function, (*config).stream) }
    [cuLaunch](function: Handle) { launch(function, 0) }
    [cuLaunchGrid](function: Handle, _width: i32, _height: i32) { launch(function, 0) }
    [cuLaunchGridAsync](function: Handle, _width: i32, _height: i32, stream: Handle) { launch(function, stream) }
    [cuGraphLaunch, cuGraphLaunch_ptsz](executable: Handle, stream: Handle) {
        let mut world = world()?;
        let (ns, device) = world.run_graph(executable)?;
        let stream_device = world.stream(stream)?.device;
        if stream_device == device { world.work(stream, Kernel { ns, percent: 100 }).map(|_| ()) } else { Err(INVALID_HANDLE) }
    }
}
