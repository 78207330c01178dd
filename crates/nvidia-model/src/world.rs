//! What a process has: contexts, streams, modules, memory; each by a number that is its handle.

use crate::Code;
use crate::device::{Device, Mapped, Process, now_ns};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// `CUresult` or why not.
pub type Done = Result<(), Code>;
/// Anything that a client holds.
pub type Handle = u64;
/// A place on a device: memory of this process, so that copies copy.
pub type Ptr = u64;

pub const INVALID_VALUE: Code = 1;
pub const OUT_OF_MEMORY: Code = 2;
pub const NOT_INITIALIZED: Code = 3;
pub const NO_DEVICE: Code = 100;
pub const INVALID_DEVICE: Code = 101;
pub const INVALID_CONTEXT: Code = 201;
pub const INVALID_HANDLE: Code = 400;
pub const NOT_FOUND: Code = 500;
pub const NOT_READY: Code = 600;
pub const NOT_PERMITTED: Code = 800;
pub const CAPTURE_UNSUPPORTED: Code = 900;

/// Address space of one device in one process.
const SPACE: usize = 1 << 40;

/// A device as this process uses it.
pub struct Local {
    pub device: &'static Device,
    pub identity: crate::visible::Identity,
    pub process: &'static Process,
    next: Ptr,
    spare: BTreeMap<u64, Vec<Ptr>>,
    pub primary: Handle,
    pub primary_uses: u32,
    pub pool: Handle,
    /// Memory of graphs that are instantiated or were.
    pub graph_reserved: u64,
}

/// Memory by its first address.
pub struct Block {
    pub bytes: u64,
    pub device: usize,
    pub context: Handle,
    /// 0: of its own.
    pub pool: Handle,
}

pub struct Stream {
    pub context: Handle,
    pub device: usize,
    /// When its last work ends, ns.
    pub tail: u64,
    /// The graph that its work goes into instead.
    pub capture: Option<Handle>,
    /// The event that was recorded since its last work, last.
    pub mark: Handle,
}

#[derive(Clone, Copy)]
pub struct Event {
    /// When it happens, ns; 0: never recorded.
    pub moment: u64,
    pub context: Handle,
}

#[derive(Clone, Copy)]
pub struct Kernel {
    pub ns: u64,
    pub percent: u64,
}

pub struct World {
    pub machine: Mapped,
    pub locals: Vec<Local>,
    next: Handle,
    /// Its device.
    pub contexts: BTreeMap<Handle, usize>,
    pub blocks: BTreeMap<Ptr, Block>,
    pub streams: BTreeMap<Handle, Stream>,
    pub events: BTreeMap<Handle, Event>,
    pub kernels: BTreeMap<Handle, Kernel>,
    pub things: BTreeSet<Handle>,
    pub pools: BTreeMap<Handle, crate::pool::Pool>,
    pub physical: BTreeMap<Handle, crate::memory::Physical>,
    pub mapped: BTreeMap<Ptr, (u64, Handle)>,
    pub arrays: BTreeMap<Handle, (u64, usize)>,
    pub graphs: BTreeMap<Handle, crate::graph::Graph>,
    pub nodes: BTreeMap<Handle, crate::graph::Node>,
    pub executables: BTreeMap<Handle, crate::graph::Executable>,
}

static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
static READY: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

extern "C" fn forked() {
    FORKED.store(READY.load(Acquire), Relaxed);
}

/// `cuInit`.
pub fn begin() -> Done {
    if FORKED.load(Relaxed) {
        return Err(NOT_INITIALIZED);
    }
    if WORLD.get().is_none() {
        let machine = Mapped::open().ok().ok_or(NO_DEVICE)?;
        let visible = crate::visible::visible(machine);
        if visible.is_empty() {
            return Err(NO_DEVICE);
        }
        let world = World::new(machine, visible).ok_or(OUT_OF_MEMORY)?;
        // Lost: another thread was as quick.
        _ = WORLD.set(Mutex::new(world));
        // SAFETY: the function only writes a word.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    }
    READY.store(true, Relaxed);
    Ok(())
}

/// The process's world, after `cuInit`.
pub fn world() -> Result<MutexGuard<'static, World>, Code> {
    if FORKED.load(Relaxed) {
        return Err(NOT_INITIALIZED);
    }
    let world = WORLD.get().ok_or(NOT_INITIALIZED)?;
    Ok(world.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

pub fn current() -> Handle {
    CURRENT.with_borrow(|stack| stack.last().copied().unwrap_or(0))
}

pub fn with_current<T>(change: impl FnOnce(&mut Vec<Handle>) -> T) -> T {
    CURRENT.with_borrow_mut(change)
}

impl World {
    fn new(machine: Mapped, visible: Vec<(&'static Device, crate::visible::Identity)>) -> Option<Self> {
        let mut world = Self {
            machine,
            locals: Vec::new(),
            next: 0x1000,
            contexts: BTreeMap::new(),
            blocks: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            kernels: BTreeMap::new(),
            things: BTreeSet::new(),
            pools: BTreeMap::new(),
            physical: BTreeMap::new(),
            mapped: BTreeMap::new(),
            arrays: BTreeMap::new(),
            graphs: BTreeMap::new(),
            nodes: BTreeMap::new(),
            executables: BTreeMap::new(),
        };
        for (number, (device, identity)) in visible.into_iter().enumerate() {
            let pool = world.handle();
            world.pools.insert(pool, crate::pool::Pool::new(Some(number)));
            let (flags, protection) = (
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                libc::PROT_READ | libc::PROT_WRITE,
            );
            // SAFETY: a new mapping touches nothing that exists; its pages come into being when written.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), SPACE, protection, flags, -1, 0) };
            let place = (at != libc::MAP_FAILED).then_some(at as Ptr)?;
            world.locals.push(Local {
                device,
                identity,
                process: device.enter()?,
                next: place,
                spare: BTreeMap::new(),
                primary: 0,
                primary_uses: 0,
                pool,
                graph_reserved: 0,
            });
        }
        Some(world)
    }

    pub const fn handle(&mut self) -> Handle {
        self.next += 16;
        self.next
    }

    pub fn local(&mut self, device: i32) -> Result<&mut Local, Code> {
        usize::try_from(device).ok().and_then(|at| self.locals.get_mut(at)).ok_or(INVALID_DEVICE)
    }

    /// The device of the current context, when it is well.
    pub fn here(&self) -> Result<usize, Code> {
        let device = *self.contexts.get(&current()).ok_or(INVALID_CONTEXT)?;
        match self.locals[device].device.sick.load(Relaxed) {
            0 => Ok(device),
            code => Err(code as Code),
        }
    }

    /// Takes memory of a device.
    pub fn take(&self, device: usize, bytes: u64) -> Done {
        let local = &self.locals[device];
        if local.device.take(local.process, bytes) { Ok(()) } else { Err(OUT_OF_MEMORY) }
    }

    pub fn give(&self, device: usize, bytes: u64) {
        let local = &self.locals[device];
        local.device.give(local.process, bytes);
    }

    /// Addresses for so many bytes.
    pub fn place(&mut self, device: usize, bytes: u64) -> Ptr {
        let local = &mut self.locals[device];
        let length = bytes.next_multiple_of(512).max(512);
        if let Some(at) = local.spare.get_mut(&length).and_then(Vec::pop) {
            return at;
        }
        let at = local.next;
        local.next += length.next_multiple_of(4096);
        at
    }

    pub fn unplace(&mut self, device: usize, at: Ptr, bytes: u64) {
        let length = bytes.next_multiple_of(512).max(512);
        self.locals[device].spare.entry(length).or_default().push(at);
    }

    /// The stream that a handle means; 0, 1 and 2 are those of the context.
    pub fn stream(&mut self, handle: Handle) -> Result<&mut Stream, Code> {
        let key = if handle <= 2 {
            let device = self.here()?;
            // Below all handles: the context's own.
            let key = current() << 32 | 1;
            self.streams.entry(key).or_insert(Stream {
                context: current(),
                device,
                tail: 0,
                capture: None,
                mark: 0,
            });
            key
        } else {
            handle
        };
        self.streams.get_mut(&key).ok_or(INVALID_HANDLE)
    }

    /// Puts work on a stream: when it starts and ends.
    pub fn work(&mut self, handle: Handle, kernel: Kernel) -> Result<(u64, u64), Code> {
        let stream = self.stream(handle)?;
        let (device, after) = (stream.device, stream.tail.max(now_ns()));
        let (start, end) = self.locals[device].device.queue(after, kernel.ns, kernel.percent);
        let stream = self.stream(handle)?;
        stream.tail = end;
        let mark = std::mem::take(&mut stream.mark);
        // The device comes to an event when it comes to this program, for the work behind it.
        if let Some(event) = self.events.get_mut(&mark).filter(|event| event.moment > now_ns()) {
            event.moment = start;
        }
        Ok((start, end))
    }
}

/// Waits for a moment of the clock.
pub fn sleep_until(moment: u64) {
    let left = moment.saturating_sub(now_ns());
    if left > 0 {
        std::thread::sleep(std::time::Duration::from_nanos(left));
    }
}

/// Writes an answer where the client wants it.
///
/// # Safety
/// `place` is null or the client's.
pub unsafe fn put<T>(place: *mut T, value: T) -> Done {
    if place.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// Functions of C: `[name, names that mean the same](arguments) { body }`.
macro_rules! api {
    ($([$($name:ident),+] $arguments:tt $body:block)*) => {
        $($crate::world::api!(@all [$($name),+] $arguments $body);)*
    };
    (@all [$($name:ident),+] $arguments:tt $body:block) => {
        $($crate::world::api!(@one $name $arguments $body);)+
    };
    (@one $name:ident ($($argument:ident: $kind:ty),*) $body:block) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> $crate::Code {
            let call = || -> $crate::world::Done {
                // SAFETY: pointers are the client's, as the drivers' manuals say for each.
                unsafe { $body }
            };
            match call() {
                Ok(()) => 0,
                Err(code) => code,
            }
        }
    };
}
pub(crate) use api;
