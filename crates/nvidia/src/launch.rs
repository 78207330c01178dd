//! Launches wait for the share's time; waiting for the device is when measurements come in.

use crate::abi::{Code, Handle, LaunchConfig, LaunchParameters, SUCCESS};
use crate::link::hooks;
use crate::measure::{self, of_thread};
use crate::pool;
use crate::share::here;
use std::ffi::c_void;

/// Charges and launches.
#[inline]
fn launch(function: Handle, size: u64, stream: Handle, go: impl FnOnce() -> Code) -> Code {
    let Some(share) = here() else { return go() };
    let kind = measure::kind(function, size);
    if kind.take(share) { go() } else { measure::launch(share, kind, stream, go) }
}

#[inline]
const fn volume(grid: [u32; 3]) -> u64 {
    (grid[0] as u64).wrapping_mul(grid[1] as u64).wrapping_mul(grid[2] as u64)
}

fn config(how: *const LaunchConfig) -> (u64, Handle) {
    // SAFETY: null or valid, as the client promises.
    unsafe { how.as_ref() }.map_or((0, std::ptr::null_mut()), |how| (volume(how.grid), how.stream))
}

fn began(code: Code) -> Code {
    if code == SUCCESS {
        measure::capture_began();
    }
    code
}

fn ended(code: Code) -> Code {
    measure::capture_ended();
    code
}

fn waited(code: Code) -> Code {
    measure::collect();
    pool::settle();
    code
}

hooks! {
    [cuLaunchKernel] |real| (
        function: Handle, x: u32, y: u32, z: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: Handle,
        parameters: *const Handle, extra: *const Handle
    ) { launch(function, volume([x, y, z]), stream, real) }
    [cuLaunchKernel_ptsz] |real| (
        function: Handle, x: u32, y: u32, z: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: Handle,
        parameters: *const Handle, extra: *const Handle
    ) { launch(function, volume([x, y, z]), of_thread(stream), real) }
    [cuLaunchCooperativeKernel] |real| (
        function: Handle, x: u32, y: u32, z: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: Handle,
        parameters: *const Handle
    ) { launch(function, volume([x, y, z]), stream, real) }
    [cuLaunchCooperativeKernel_ptsz] |real| (
        function: Handle, x: u32, y: u32, z: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: Handle,
        parameters: *const Handle
    ) { launch(function, volume([x, y, z]), of_thread(stream), real) }
    [cuLaunchKernelEx] |real| (
        how: *const LaunchConfig, function: Handle, parameters: *const Handle, extra: *const Handle
    ) {
        let (size, stream) = config(how);
        launch(function, size, stream, real)
    }
    [cuLaunchKernelEx_ptsz] |real| (
        how: *const LaunchConfig, function: Handle, parameters: *const Handle, extra: *const Handle
    ) {
        let (size, stream) = config(how);
        launch(function, size, of_thread(stream), real)
    }
    [cuLaunchCooperativeKernelMultiDevice] |real| (list: *const LaunchParameters, count: u32, flags: u32) {
        // SAFETY: null or valid, as the client promises.
        let first = unsafe { list.as_ref() };
        let (function, size) = first.map_or((std::ptr::null_mut(), 0), |one| (one.function, volume(one.grid)));
        launch(function, size, std::ptr::null_mut(), real)
    }
    [cuLaunch] |real| (function: Handle) { launch(function, 1, std::ptr::null_mut(), real) }
    [cuLaunchGrid] |real| (function: Handle, width: i32, height: i32) {
        launch(function, volume([width.cast_unsigned(), height.cast_unsigned(), 1]), std::ptr::null_mut(), real)
    }
    [cuLaunchGridAsync] |real| (function: Handle, width: i32, height: i32, stream: Handle) {
        launch(function, volume([width.cast_unsigned(), height.cast_unsigned(), 1]), stream, real)
    }
    [cuGraphLaunch] |real| (graph: Handle, stream: Handle) { launch(graph, 0, stream, real) }
    [cuGraphLaunch_ptsz] |real| (graph: Handle, stream: Handle) { launch(graph, 0, of_thread(stream), real) }
    [cuStreamBeginCapture, cuStreamBeginCapture_ptsz] |real| (stream: Handle) { began(real()) }
    [cuStreamBeginCapture_v2, cuStreamBeginCapture_v2_ptsz] |real| (stream: Handle, mode: i32) { began(real()) }
    [cuStreamBeginCaptureToGraph, cuStreamBeginCaptureToGraph_ptsz] |real| (
        stream: Handle, graph: Handle, after: *const Handle, data: *const c_void, count: usize, mode: i32
    ) { began(real()) }
    [cuStreamBeginRecaptureToGraph, cuStreamBeginRecaptureToGraph_ptsz] |real| (
        stream: Handle, mode: i32, graph: Handle, callback: Handle, data: Handle
    ) { began(real()) }
    [cuStreamBeginCaptureToCig, cuStreamBeginCaptureToCig_ptsz] |real| (stream: Handle, how: Handle) {
        began(real())
    }
    [cuStreamEndCapture, cuStreamEndCapture_ptsz] |real| (stream: Handle, out: *mut Handle) { ended(real()) }
    [cuStreamEndCaptureToCig, cuStreamEndCaptureToCig_ptsz] |real| (stream: Handle) { ended(real()) }
    [cuStreamSynchronize, cuStreamSynchronize_ptsz] |real| (stream: Handle) { waited(real()) }
    [cuEventSynchronize] |real| (event: Handle) { waited(real()) }
    [cuCtxSynchronize] |real| () { waited(real()) }
    [cuCtxSynchronize_v2] |real| (context: Handle) { waited(real()) }
}
