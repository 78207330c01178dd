//! Graphs: kernels and memory, captured from a stream or added by hand.

use crate::world::{Done, Handle, INVALID_HANDLE, INVALID_VALUE, Kernel, Ptr, World, api, put, world};
use std::ffi::c_void;

pub enum Node {
    Kernel(Kernel),
    Memory { bytes: u64, at: Ptr },
    Child(Handle),
}

#[derive(Default)]
pub struct Graph {
    nodes: Vec<Handle>,
}

pub struct Executable {
    ns: u64,
    bytes: u64,
    /// Its memory was taken: at the first launch.
    taken: bool,
    device: usize,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
pub struct MemoryNode {
    pool: [u64; 11],
    access: *const c_void,
    count: usize,
    bytes: usize,
    at: Ptr,
}

impl World {
    pub fn new_graph(&mut self) -> Handle {
        let handle = self.handle();
        self.graphs.insert(handle, Graph::default());
        handle
    }

    pub fn add_node(&mut self, graph: Handle, node: Node) -> Result<Handle, crate::Code> {
        let handle = self.handle();
        self.graphs.get_mut(&graph).ok_or(INVALID_HANDLE)?.nodes.push(handle);
        self.nodes.insert(handle, node);
        Ok(handle)
    }

    /// What a graph takes: time, memory.
    fn cost(&self, graph: Handle) -> Result<(u64, u64), crate::Code> {
        let mut sum = (0, 0);
        for node in &self.graphs.get(&graph).ok_or(INVALID_HANDLE)?.nodes {
            let (ns, bytes) = match &self.nodes[node] {
                Node::Kernel(kernel) => (kernel.ns, 0),
                Node::Memory { bytes, .. } => (0, *bytes),
                Node::Child(child) => self.cost(*child)?,
            };
            sum = (sum.0 + ns, sum.1 + bytes);
        }
        Ok(sum)
    }

    /// Takes its memory if it is the first time, and says how long it runs and where.
    pub fn run_graph(&mut self, executable: Handle) -> Result<(u64, usize), crate::Code> {
        let one = self.executables.get(&executable).ok_or(INVALID_HANDLE)?;
        let (ns, bytes, taken, device) = (one.ns, one.bytes, one.taken, one.device);
        if !taken {
            self.take(device, bytes)?;
            self.locals[device].graph_reserved += bytes;
            self.executables.entry(executable).and_modify(|one| one.taken = true);
        }
        Ok((ns, device))
    }
}

fn instantiate(out: *mut Handle, graph: Handle) -> Done {
    let mut world = world()?;
    let device = world.here()?;
    let (ns, bytes) = world.cost(graph)?;
    let handle = world.handle();
    world.executables.insert(handle, Executable { ns, bytes, taken: false, device });
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

fn add(out: *mut Handle, graph: Handle, node: Node) -> Done {
    let handle = world()?.add_node(graph, node)?;
    // SAFETY: the client's place.
    unsafe { put(out, handle) }
}

/// `CUDA_KERNEL_NODE_PARAMS`: all that is used of it is the function.
#[repr(C)]
pub struct KernelNode {
    function: Handle,
}

api! {
    [cuGraphCreate](out: *mut Handle, _flags: u32) { put(out, world()?.new_graph()) }
    [cuGraphDestroy](graph: Handle) { world()?.graphs.remove(&graph).map(|_| ()).ok_or(INVALID_HANDLE) }
    [cuGraphAddKernelNode, cuGraphAddKernelNode_v2](
        out: *mut Handle, graph: Handle, _after: *const Handle, _count: usize, node: *const KernelNode
    ) {
        let kernel = *world()?.kernels.get(&(*node).function).ok_or(INVALID_HANDLE)?;
        add(out, graph, Node::Kernel(kernel))
    }
    [cuGraphAddMemAllocNode](
        out: *mut Handle, graph: Handle, _after: *const Handle, _count: usize, node: *mut MemoryNode
    ) {
        let bytes = (*node).bytes as u64;
        let at = { let mut world = world()?; let device = world.here()?; world.place(device, bytes) };
        (*node).at = at;
        add(out, graph, Node::Memory { bytes, at })
    }
    [cuGraphAddChildGraphNode](
        out: *mut Handle, graph: Handle, _after: *const Handle, _count: usize, child: Handle
    ) { add(out, graph, Node::Child(child)) }
    [cuGraphGetNodes](graph: Handle, out: *mut Handle, count: *mut usize) {
        let world = world()?;
        let nodes = &world.graphs.get(&graph).ok_or(INVALID_HANDLE)?.nodes;
        if !out.is_null() {
            let room = (*count).min(nodes.len());
            std::ptr::copy_nonoverlapping(nodes.as_ptr(), out, room);
        }
        put(count, nodes.len())
    }
    [cuGraphNodeGetType](node: Handle, out: *mut i32) {
        put(out, match world()?.nodes.get(&node).ok_or(INVALID_HANDLE)? {
            Node::Kernel(_) => 0,
            Node::Child(_) => 4,
            Node::Memory { .. } => 10,
        })
    }
    [cuGraphMemAllocNodeGetParams](node: Handle, out: *mut MemoryNode) {
        let world = world()?;
        let Some(&Node::Memory { bytes, at }) = world.nodes.get(&node) else { return Err(INVALID_VALUE) };
        put(out, MemoryNode { pool: [0; 11], access: std::ptr::null(), count: 0, bytes: bytes as usize, at })
    }
    [cuGraphChildGraphNodeGetGraph](node: Handle, out: *mut Handle) {
        let world = world()?;
        let Some(&Node::Child(graph)) = world.nodes.get(&node) else { return Err(INVALID_VALUE) };
        put(out, graph)
    }
    [cuGraphInstantiateWithFlags](out: *mut Handle, graph: Handle, _flags: u64) { instantiate(out, graph) }
    [cuGraphInstantiate, cuGraphInstantiate_v2](
        out: *mut Handle, graph: Handle, _node: *mut Handle, _log: *mut i8, _room: usize
    ) { instantiate(out, graph) }
    [cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz](
        out: *mut Handle, graph: Handle, _how: *mut c_void
    ) { instantiate(out, graph) }
    [cuGraphExecDestroy](executable: Handle) {
        world()?.executables.remove(&executable).map(|_| ()).ok_or(INVALID_HANDLE)
    }
    [cuDeviceGraphMemTrim](device: i32) {
        let mut world = world()?;
        world.local(device)?;
        let at = device as usize;
        let live: u64 = world.executables.values().filter(|one| one.taken && one.device == at).map(|one| one.bytes).sum();
        let back = world.locals[at].graph_reserved.saturating_sub(live);
        world.locals[at].graph_reserved -= back;
        world.give(at, back);
        Ok(())
    }
    [cuDeviceGetGraphMemAttribute](device: i32, _what: i32, out: *mut c_void) {
        put(out.cast::<u64>(), world()?.local(device)?.graph_reserved)
    }
}
