//! Memory of graphs: counted when a graph is made executable, and for as long as the driver keeps it.

use crate::abi::{Code, Handle, MemoryNode, SUCCESS};
use crate::link::{call, hooks};
use crate::share::{Held, Share, device, here, of_device, reserved};
use crate::table::{Table, lock};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::Mutex;

/// By executable graph.
static EXECUTABLES: Table = Table::new();
/// Of graphs that are destroyed and whose memory the driver keeps, by device.
static KEPT: Mutex<BTreeMap<i32, Held>> = Mutex::new(BTreeMap::new());

const CHILD: i32 = 4;
const MEMORY: i32 = 10;
/// `CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT`
const RESERVED: i32 = 2;
/// Most graphs in each other.
const DEPTH: u32 = 32;

/// Bytes of all memory that a graph allocates: what it takes at most.
fn footprint(graph: Handle, depth: u32) -> u64 {
    let mut count = 0_usize;
    // SAFETY: the type is the headers'; without a place it gives the number.
    let asked = unsafe {
        call!(cuGraphGetNodes: fn(Handle, *mut Handle, *mut usize), graph, std::ptr::null_mut(), &raw mut count)
    };
    if asked != SUCCESS || depth == 0 {
        return 0;
    }
    let mut nodes: Vec<Handle> = vec![std::ptr::null_mut(); count];
    // SAFETY: room for as many as there are.
    let done = unsafe {
        call!(cuGraphGetNodes: fn(Handle, *mut Handle, *mut usize), graph, nodes.as_mut_ptr(), &raw mut count)
    };
    if done != SUCCESS {
        return 0;
    }
    nodes.truncate(count);
    nodes.into_iter().fold(0, |sum: u64, node| sum.saturating_add(of_node(node, depth)))
}

fn of_node(node: Handle, depth: u32) -> u64 {
    let mut kind = 0;
    // SAFETY: the type is the headers', and the node is of a graph.
    if unsafe { call!(cuGraphNodeGetType: fn(Handle, *mut i32), node, &raw mut kind) } != SUCCESS {
        return 0;
    }
    let mut child: Handle = std::ptr::null_mut();
    match kind {
        MEMORY => {
            // Longer than any version of the structure: a driver may know more fields.
            // SAFETY: all zero is a valid one.
            let mut room: [MemoryNode; 2] = unsafe { std::mem::zeroed() };
            // SAFETY: the type is the headers'.
            let done = unsafe {
                call!(cuGraphMemAllocNodeGetParams: fn(Handle, *mut MemoryNode), node, room.as_mut_ptr())
            };
            if done == SUCCESS { room[0].bytes as u64 } else { 0 }
        }
        CHILD => {
            // SAFETY: the type is the headers'.
            let done = unsafe {
                call!(cuGraphChildGraphNodeGetGraph: fn(Handle, *mut Handle), node, &raw mut child)
            };
            if done == SUCCESS { footprint(child, depth - 1) } else { 0 }
        }
        _ => 0,
    }
}

fn instantiate(graph: Handle, make: impl FnOnce() -> Code, out: *mut Handle) -> Code {
    let Some(share) = here() else { return make() };
    let bytes = footprint(graph, DEPTH);
    if bytes == 0 {
        return make();
    }
    // SAFETY: the driver wrote it.
    reserved(Some(share), bytes, make, |held| EXECUTABLES.keep_apart(unsafe { *out } as u64, held))
}

/// Bytes that the driver keeps for the graphs of a device.
fn reserved_by(device: i32) -> u64 {
    let mut bytes = 0_u64;
    // SAFETY: the type is the headers', and the answer has 8 bytes.
    let done = unsafe {
        call!(cuDeviceGetGraphMemAttribute: fn(i32, i32, *mut c_void), device, RESERVED, (&raw mut bytes).cast())
    };
    if done == SUCCESS { bytes } else { 0 }
}

/// Holds no more than the driver keeps beyond what executable graphs hold.
fn follow(device: i32, kept: &mut BTreeMap<i32, Held>) {
    let Some(share) = of_device(device) else { return };
    let wanted = reserved_by(device).saturating_sub(EXECUTABLES.bytes(share));
    if let Some(held) = kept.get_mut(&device) {
        held.shrink_to(wanted);
    }
}

/// Has the driver give back what it keeps for graphs.
pub fn reclaim(share: &'static Share) {
    let mut kept = lock(&KEPT);
    let devices: Vec<i32> = kept
        .iter()
        .filter(|(_, held)| std::ptr::eq(held.share, share) && held.bytes() > 0)
        .map(|(at, _)| *at)
        .collect();
    for device in devices {
        // SAFETY: the type is the headers'.
        _ = unsafe { call!(cuDeviceGraphMemTrim: fn(i32), device) };
        follow(device, &mut kept);
    }
}

fn destroy(executable: u64, destroy: impl FnOnce() -> Code) -> Code {
    let Some(entry) = EXECUTABLES.take(executable) else { return destroy() };
    let code = destroy();
    if code != SUCCESS {
        EXECUTABLES.put(executable, entry);
        return code;
    }
    let Some(device) = device() else { return code };
    let mut kept = lock(&KEPT);
    match kept.remove(&device) {
        Some(mut held) if std::ptr::eq(held.share, entry.share()) => {
            held.join(entry.into_held());
            kept.insert(device, held);
        }
        _ => _ = kept.insert(device, entry.into_held()),
    }
    follow(device, &mut kept);
    code
}

hooks! {
    [cuGraphInstantiate, cuGraphInstantiate_v2] |real| (
        out: *mut Handle, graph: Handle, node: *mut Handle, log: *mut c_char, room: usize
    ) { instantiate(graph, real, out) }
    [cuGraphInstantiateWithFlags] |real| (out: *mut Handle, graph: Handle, flags: u64) {
        instantiate(graph, real, out)
    }
    [cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz] |real| (
        out: *mut Handle, graph: Handle, how: *mut c_void
    ) { instantiate(graph, real, out) }
    [cuGraphExecDestroy] |real| (executable: Handle) { destroy(executable as u64, real) }
    [cuDeviceGraphMemTrim] |real| (device: i32) {
        let code = real();
        follow(device, &mut lock(&KEPT));
        code
    }
}
