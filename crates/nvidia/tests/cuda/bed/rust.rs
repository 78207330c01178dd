//! The client in Rust: over `cudarc` and `nvml-wrapper`, which know nothing of shares.

use super::PIECE;
use super::client::{say, wait};
use cudarc::driver::CudaContext;
use cudarc::driver::sys::{self, CUresult};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than any share or device.
const TOO_MUCH: usize = 1 << 40;

/// Plays a role.
pub fn run(role: &str) {
    let (name, number) = role.split_once(' ').unwrap_or((role, "0"));
    if name == "find" {
        return find_all(number);
    }
    let numbers: Vec<u64> = number.split(' ').map(|part| part.parse().expect("a number")).collect();
    if name == "start" {
        // SAFETY: no pointers.
        return say(&format!("{}", unsafe { sys::cuInit(0) } as u32));
    }
    if name == "newer" {
        return newer();
    }
    let place = Place { context: CudaContext::new(0).expect("a context") };
    match name {
        "fill" => place.fill(numbers[0]),
        "race" => {
            say("ready");
            wait();
            place.fill(numbers[0]);
        }
        "rows" => place.rows(),
        "sizes" => place.sizes(),
        "pool" => place.pool(numbers[0]),
        "graph" => place.graph(),
        "safe" => place.safe(),
        "spin" => place.spin(Duration::from_millis(numbers[0]), numbers[1]),
        "launches" => place.launches(),
        "contexts" => place.contexts(),
        "forks" => place.forks(),
        "cost" => place.cost(),
        name => panic!("{name}"),
    }
}

/// A number, or the code of why not.
type Answer<T> = Result<T, u32>;

fn check<T>(code: CUresult, value: T) -> Answer<T> {
    if code == CUresult::CUDA_SUCCESS { Ok(value) } else { Err(code as u32) }
}

/// A way to allocate, and to free.
struct Way {
    name: &'static str,
    make: fn(usize) -> Answer<u64>,
    free: fn(u64),
}

// SAFETY of all below: the arguments are as the manual says, and the context of `Place` is current.

fn plain(bytes: usize) -> Answer<u64> {
    let mut at = 0;
    // SAFETY: as above.
    check(unsafe { sys::cuMemAlloc_v2(&raw mut at, bytes) }, ()).map(|()| at)
}

fn free(at: u64) {
    // SAFETY: as above.
    check(unsafe { sys::cuMemFree_v2(at) }, ()).expect("freed");
}

fn managed(bytes: usize) -> Answer<u64> {
    let mut at = 0;
    // SAFETY: as above.
    check(unsafe { sys::cuMemAllocManaged(&raw mut at, bytes, 1) }, ()).map(|()| at)
}

fn pitched(bytes: usize) -> Answer<u64> {
    let (mut at, mut pitch) = (0, 0);
    // SAFETY: as above.
    check(unsafe { sys::cuMemAllocPitch_v2(&raw mut at, &raw mut pitch, 4096, bytes / 4096, 4) }, ())
        .map(|()| at)
}

fn ordered(bytes: usize) -> Answer<u64> {
    let mut at = 0;
    // SAFETY: as above.
    check(unsafe { sys::cuMemAllocAsync(&raw mut at, bytes, null_mut()) }, ()).map(|()| at)
}

fn free_ordered(at: u64) {
    // SAFETY: as above.
    unsafe {
        check(sys::cuMemFreeAsync(at, null_mut()), ()).expect("freed");
        check(sys::cuStreamSynchronize(null_mut()), ()).expect("waited");
    }
}

fn flat(bytes: usize) -> Answer<u64> {
    let how = sys::CUDA_ARRAY_DESCRIPTOR {
        Width: 1024,
        Height: bytes / 4096,
        Format: sys::CUarray_format::CU_AD_FORMAT_FLOAT,
        NumChannels: 1,
    };
    let mut array = null_mut();
    // SAFETY: as above.
    check(unsafe { sys::cuArrayCreate_v2(&raw mut array, &raw const how) }, ()).map(|()| array as u64)
}

fn free_array(array: u64) {
    // SAFETY: as above.
    check(unsafe { sys::cuArrayDestroy(array as sys::CUarray) }, ()).expect("freed");
}

fn properties(kind: sys::CUmemLocationType) -> sys::CUmemAllocationProp {
    // SAFETY: all zero is valid.
    let mut how: sys::CUmemAllocationProp = unsafe { std::mem::zeroed() };
    how.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    how.location.type_ = kind;
    how
}

fn physical(bytes: usize) -> Answer<u64> {
    let (mut handle, how) = (0, properties(sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE));
    // SAFETY: as above.
    check(unsafe { sys::cuMemCreate(&raw mut handle, bytes, &raw const how, 0) }, ()).map(|()| handle)
}

/// Mapped, its handle released: only the mapping keeps it. Then a handle of it once more, and that released last.
fn free_physical(handle: u64) {
    let mut at = 0;
    let bytes = PIECE as usize;
    let mut again = 0;
    // SAFETY: as above.
    unsafe {
        check(sys::cuMemAddressReserve(&raw mut at, bytes, 0, 0, 0), ()).expect("reserved");
        check(sys::cuMemMap(at, bytes, 0, handle, 0), ()).expect("mapped");
        check(sys::cuMemRelease(handle), ()).expect("released");
        check(sys::cuMemRetainAllocationHandle(&raw mut again, at as *mut c_void), ()).expect("retained");
        check(sys::cuMemUnmap(at, bytes), ()).expect("unmapped");
        check(sys::cuMemRelease(again), ()).expect("released");
        check(sys::cuMemAddressFree(at, bytes), ()).expect("freed");
    }
}

const WAYS: [Way; 6] = [
    Way { name: "plain", make: plain, free },
    Way { name: "managed", make: managed, free },
    Way { name: "pitched", make: pitched, free },
    Way { name: "physical", make: physical, free: free_physical },
    Way { name: "array", make: flat, free: free_array },
    Way { name: "ordered", make: ordered, free: free_ordered },
];

/// A context on the first device.
struct Place {
    context: Arc<CudaContext>,
}

impl Place {
    /// Allocates pieces until it is refused, gives one back, takes one again.
    fn fill(&self, piece: u64) {
        self.context.bind_to_thread().expect("current");
        let mut held = Vec::new();
        let code = loop {
            match plain(piece as usize) {
                Ok(at) => held.push(at),
                Err(code) => break code,
            }
        };
        say(&format!("{} {code}", held.len() as u64 * piece));
        wait();
        free(held.pop().expect("one at least"));
        say(&format!("{} {:?}", plain(piece as usize).is_ok(), plain(piece as usize)));
        wait();
    }

    /// Every way to allocate: takes a piece, gives it back, asks for too much.
    fn rows(&self) {
        for way in WAYS {
            let one = (way.make)(PIECE as usize).expect(way.name);
            say(way.name);
            wait();
            (way.free)(one);
            say(&format!("{:?}", (way.make)(TOO_MUCH)));
            wait();
        }
        let (mut handle, how) = (0, properties(sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA));
        // SAFETY: as the manual says.
        check(unsafe { sys::cuMemCreate(&raw mut handle, TOO_MUCH, &raw const how, 0) }, ())
            .expect("of the host");
        say("end");
    }

    fn sizes(&self) {
        let (free, total) = self.context.mem_get_info().expect("told");
        let mut all = 0;
        // SAFETY: as the manual says.
        check(unsafe { sys::cuDeviceTotalMem_v2(&raw mut all, 0) }, ()).expect("told");
        let nvml = nvml_wrapper::Nvml::init().expect("NVML");
        let card = nvml.device_by_index(0).expect("a device");
        let memory = card.memory_info().expect("told");
        say(&format!("{free} {total} {all} {} {}", memory.total, memory.used));
        let own = card.running_compute_processes().expect("told");
        let of = |process: &nvml_wrapper::struct_wrappers::device::ProcessInfo| match process.used_gpu_memory
        {
            nvml_wrapper::enums::device::UsedGpuMemory::Used(bytes) => bytes,
            nvml_wrapper::enums::device::UsedGpuMemory::Unavailable => 0,
        };
        let list: Vec<String> = own
            .iter()
            .map(|process| format!("{}:{}", process.pid == std::process::id(), of(process)))
            .collect();
        say(&list.join(" "));
    }

    /// Stream-ordered memory until it is refused; a pool that keeps what is freed; other memory in its place.
    fn pool(&self, piece: u64) {
        let mut pool = null_mut();
        let mut keep = u64::MAX;
        // SAFETY: as the manual says.
        unsafe {
            check(sys::cuDeviceGetDefaultMemPool(&raw mut pool, 0), ()).expect("a pool");
            let what = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            check(sys::cuMemPoolSetAttribute(pool, what, (&raw mut keep).cast()), ()).expect("set");
        }
        let mut held = Vec::new();
        let code = loop {
            match ordered(piece as usize) {
                Ok(at) => held.push(at),
                Err(code) => break code,
            }
        };
        say(&format!("{} {code}", held.len() as u64 * piece));
        wait();
        held.into_iter().for_each(free_ordered);
        say("kept");
        wait();
        say(&format!("{}", plain(piece as usize * 2).is_ok()));
        wait();
    }

    fn function(&self, name: &str) -> (sys::CUmodule, sys::CUfunction) {
        let (mut module, mut function) = (null_mut(), null_mut());
        let name = std::ffi::CString::new(name).expect("a name");
        // SAFETY: as the manual says; the model takes any image.
        unsafe {
            check(sys::cuModuleLoadData(&raw mut module, c"image".as_ptr().cast()), ()).expect("loaded");
            check(sys::cuModuleGetFunction(&raw mut function, module, name.as_ptr()), ()).expect("found");
        }
        (module, function)
    }

    /// Memory in a graph counts when it is made executable, and no kernel of a capture counts before it runs.
    fn graph(&self) {
        let (_module, function) = self.function("spin_200us");
        let (mut stream, mut graph, mut executable) = (null_mut(), null_mut(), null_mut());
        let mut at = 0;
        // SAFETY: as the manual says.
        unsafe {
            check(sys::cuStreamCreate(&raw mut stream, 1), ()).expect("a stream");
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
            check(sys::cuStreamBeginCapture_v2(stream, mode), ()).expect("begun");
            check(sys::cuMemAllocAsync(&raw mut at, PIECE as usize, stream), ()).expect("in the graph");
            launch(function, stream);
            check(sys::cuStreamEndCapture(stream, &raw mut graph), ()).expect("ended");
            say("captured");
            wait();
            check(sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0), ()).expect("executable");
            say("executable");
            wait();
            for _ in 0..5 {
                check(sys::cuGraphLaunch(executable, stream), ()).expect("launched");
            }
            check(sys::cuStreamSynchronize(stream), ()).expect("waited");
            say("ran");
            wait();
            check(sys::cuGraphExecDestroy(executable), ()).expect("destroyed");
            say("kept");
            wait();
            check(sys::cuDeviceGraphMemTrim(0), ()).expect("trimmed");
            say("trimmed");
            wait();
        }
    }

    /// The interface of the crate that programs use: memory there and back, a launch.
    fn safe(&self) {
        use cudarc::driver::{LaunchConfig, PushKernelArg};
        let stream = self.context.default_stream();
        let numbers: Vec<u32> = (0..1000).collect();
        let mut there = stream.clone_htod(&numbers).expect("copied");
        let module = self.context.load_module(cudarc::nvrtc::Ptx::from_src("image")).expect("loaded");
        let spin = module.load_function("spin_100us").expect("found");
        // SAFETY: the model's kernels read nothing.
        unsafe { stream.launch_builder(&spin).arg(&mut there).launch(LaunchConfig::for_num_elems(1000)) }
            .expect("launched");
        stream.synchronize().expect("waited");
        say(&format!("{}", stream.clone_dtoh(&there).expect("copied") == numbers));
    }

    /// Keeps the queue filled for some 15 ms, so that a process that is woken late loses nothing, and says which part of the time they
    /// ran, in thousandths of a percent, and how many there were. Says `ready` first and waits, so that several begin together.
    fn spin(&self, span: Duration, us: u64) {
        let (_module, function) = self.function(&format!("spin_{us}us"));
        launch(function, null_mut());
        /// Parts of half a millisecond or one kernel.
        const DEEP: usize = 30;
        let event = || {
            let mut event = null_mut();
            // SAFETY: as the manual says.
            check(unsafe { sys::cuEventCreate(&raw mut event, 2) }, ()).expect("an event");
            event
        };
        let mut spare: Vec<sys::CUevent> = (0..DEEP).map(|_| event()).collect();
        // SAFETY: as the manual says.
        check(unsafe { sys::cuCtxSynchronize() }, ()).expect("waited");
        say("ready");
        wait();
        let (begin, mut count) = (Instant::now(), 0_u64);
        let mut under_way = VecDeque::new();
        while begin.elapsed() < span || !under_way.is_empty() {
            while begin.elapsed() < span
                && let Some(event) = spare.pop()
            {
                // A program puts more than one kernel on a stream before it waits.
                let many = 500_u64.div_ceil(us.max(1)).max(1);
                (0..many).for_each(|_| launch(function, null_mut()));
                count += many;
                // SAFETY: as the manual says.
                check(unsafe { sys::cuEventRecord(event, null_mut()) }, ()).expect("recorded");
                under_way.push_back(event);
            }
            let Some(one) = under_way.pop_front() else { break };
            // SAFETY: as the manual says.
            check(unsafe { sys::cuEventSynchronize(one) }, ()).expect("waited");
            spare.push(one);
        }
        let busy_ns = u128::from(count * us * 1000);
        say(&format!("{} {count}", busy_ns * 100_000 / begin.elapsed().as_nanos()));
    }

    /// Each way to launch, in both flavours: so many of each.
    fn launches(&self) {
        let (_module, function) = self.function("spin_500us");
        let (mut graph, mut executable) = (null_mut(), null_mut());
        let none = null_mut();
        // SAFETY: as the manual says.
        unsafe {
            check(sys::cuGraphCreate(&raw mut graph, 0), ()).expect("a graph");
            let mut node = null_mut();
            let mut how: sys::CUDA_KERNEL_NODE_PARAMS = std::mem::zeroed();
            how.func = function;
            check(sys::cuGraphAddKernelNode_v2(&raw mut node, graph, null(), 0, &raw const how), ())
                .expect("a node");
            check(sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0), ()).expect("executable");
            for _ in 0..4 {
                launch(function, none);
                let mut how: sys::CUlaunchConfig = std::mem::zeroed();
                (how.gridDimX, how.gridDimY, how.gridDimZ) = (2, 1, 1);
                check(sys::cuLaunchKernelEx(&raw const how, function, null_mut(), null_mut()), ())
                    .expect("launched");
                check(sys::cuLaunchCooperativeKernel(function, 3, 1, 1, 1, 1, 1, 0, none, null_mut()), ())
                    .expect("launched");
                check(sys::cuGraphLaunch(executable, none), ()).expect("launched");
                per_thread(function, executable);
            }
            check(sys::cuCtxSynchronize(), ()).expect("waited");
        }
        say("launched");
    }

    /// Launches on a stream of a context that is not the current one, then ends the other context with all it has.
    fn contexts(&self) {
        let (_module, function) = self.function("spin_500us");
        let (mut stream, mut other) = (null_mut(), null_mut());
        // SAFETY: as the manual says.
        unsafe {
            check(sys::cuStreamCreate(&raw mut stream, 1), ()).expect("a stream");
            check(sys::cuCtxCreate_v2(&raw mut other, 0, 0), ()).expect("a context");
            plain(PIECE as usize).expect("room");
            (0..6).for_each(|_| launch(function, stream));
            check(sys::cuStreamSynchronize(stream), ()).expect("waited");
            say("launched");
            wait();
            check(sys::cuCtxDestroy_v2(other), ()).expect("destroyed");
        }
        say("destroyed");
        wait();
    }

    /// What a program that was forked before CUDA started may use, and what one that was forked after may not.
    fn forks(&self) {
        let held = plain(PIECE as usize).expect("room");
        say("held");
        wait();
        // SAFETY: the child only calls the driver and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = plain(PIECE as usize).err().unwrap_or(0);
            // SAFETY: ends at once.
            unsafe { libc::_exit(code as i32) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        say(&format!("{}", libc::WEXITSTATUS(status)));
        wait();
        free(held);
        say("freed");
        wait();
    }

    /// What a launch, and an allocation with its end, take: the least of many rounds, ps.
    fn cost(&self) {
        let (_module, function) = self.function("spin_0us");
        let least = |count: u32, one: &dyn Fn()| {
            let round = || {
                let begin = Instant::now();
                (0..count).for_each(|_| one());
                begin.elapsed().as_nanos() as u64 * 1000 / u64::from(count)
            };
            (0..200).map(|_| round()).min().expect("rounds")
        };
        let launch_ps = least(2000, &|| launch(function, null_mut()));
        let memory_ps = least(1000, &|| free(plain(4096).expect("room")));
        let ordered_ps = least(500, &|| {
            let at = ordered(4096).expect("room");
            // SAFETY: as the manual says.
            check(unsafe { sys::cuMemFreeAsync(at, null_mut()) }, ()).expect("freed");
        });
        say(&format!("{launch_ps} {memory_ps} {ordered_ps}"));
    }
}

fn launch(function: sys::CUfunction, stream: sys::CUstream) {
    // SAFETY: as the manual says; the model's kernels take no parameters.
    let code = unsafe { sys::cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, null_mut(), null_mut()) };
    check(code, ()).expect("launched");
}

/// The other flavour, found as NVIDIA's runtime does.
fn per_thread(function: sys::CUfunction, executable: sys::CUgraphExec) {
    let find = |name: &std::ffi::CStr| {
        let mut found = null_mut();
        let flags = 2;
        // SAFETY: as the manual says.
        check(
            unsafe { sys::cuGetProcAddress_v2(name.as_ptr(), &raw mut found, 12_090, flags, null_mut()) },
            (),
        )
        .expect("found");
        found
    };
    type Graph = unsafe extern "C" fn(sys::CUgraphExec, sys::CUstream) -> CUresult;
    type Cooperative = unsafe extern "C" fn(
        sys::CUfunction,
        u32,
        u32,
        u32,
        u32,
        u32,
        u32,
        u32,
        sys::CUstream,
        *mut *mut c_void,
    ) -> CUresult;
    // SAFETY: the names say the types.
    unsafe {
        let graph = std::mem::transmute::<*mut c_void, Graph>(find(c"cuGraphLaunch"));
        let cooperative = std::mem::transmute::<*mut c_void, Cooperative>(find(c"cuLaunchCooperativeKernel"));
        check(graph(executable, null_mut()), ()).expect("launched");
        check(cooperative(function, 5, 1, 1, 1, 1, 1, 0, null_mut(), null_mut()), ()).expect("launched");
    }
}

/// Asks for functions that the modelled driver has and no header yet.
fn newer() {
    for name in ["cuMemAllocNewer", "cuQueryNewer"] {
        let symbol = std::ffi::CString::new(name).expect("a name");
        let mut found = null_mut();
        // SAFETY: as the manual says.
        let code = unsafe {
            check(sys::cuInit(0), ()).expect("starts");
            sys::cuGetProcAddress_v2(symbol.as_ptr(), &raw mut found, 13_050, 0, null_mut())
        };
        say(&format!("{name} {} {}", code as u32, !found.is_null()));
    }
}

/// Asks for each name of a list, and says which of them lead to another library than the driver's: by name and flags.
fn find_all(list: &str) {
    // SAFETY: no pointers.
    check(unsafe { sys::cuInit(0) }, ()).expect("starts");
    let mut ours = std::collections::BTreeSet::new();
    for line in std::fs::read_to_string(list).expect("a list").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, version, flags, _] = words[..] else { panic!("{line}") };
        let mut found = null_mut();
        let symbol = std::ffi::CString::new(name).expect("a name");
        let (version, flag_bits) = (version.parse().expect("a number"), flags.parse().expect("a number"));
        // SAFETY: as the manual says.
        let code = unsafe {
            sys::cuGetProcAddress_v2(symbol.as_ptr(), &raw mut found, version, flag_bits, null_mut())
        };
        check(code, ()).expect(name);
        // SAFETY: all zero is valid, and there is room for the answer.
        let file = unsafe {
            let mut place: libc::Dl_info = std::mem::zeroed();
            let known = libc::dladdr(found, &raw mut place);
            if known == 0 { None } else { Some(std::ffi::CStr::from_ptr(place.dli_fname).to_string_lossy()) }
        };
        if file.is_some_and(|file| !file.contains("driver/")) {
            ours.insert(format!("{name}:{flags}"));
        }
    }
    say(&ours.into_iter().collect::<Vec<_>>().join(" "));
}
