//! A folder with a share of the first OpenCL device, and clients that run on it: one in Rust, over the `cl3` crate and
//! the machine's loader, and one in Python, over `pyopencl` and the loader that its wheel brings along.

mod client;

pub use client::{Client, skipped};
use client::{say, wait};

use cl3::command_queue as queue;
use cl3::memory::{self, cl_image_desc, cl_image_format, cl_mem};
use cl3::{context, device, event, kernel, platform, program};
use pond_share::{Owner, Terms};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

/// Bytes that the clients allocate in each of the ways that there are.
pub const PIECE: usize = 8 << 20;

/// A share, and what a task sees of it.
pub struct Bed {
    folder: tempfile::TempDir,
    /// Its terms and use.
    pub owner: Owner,
}

/// The library under test, beside the program that tests it.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let folders = program.ancestors().skip(1).take(2);
    let found: Vec<PathBuf> = folders
        .flat_map(|folder| [folder.join("deps/libpond_opencl.so"), folder.join("libpond_opencl.so")])
        .filter(|path| path.exists())
        .collect();
    let newest = found.into_iter().max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
    newest.expect("libpond_opencl.so, built with this program")
}

/// Whether there is a driver to stand before. Says so when there is none.
pub fn has_opencl() -> bool {
    let drivers = std::fs::read_dir("/etc/OpenCL/vendors").into_iter().flatten().flatten().count();
    if drivers == 0 {
        skipped("OpenCL shares: no driver here (Debian: pocl-opencl-icd ocl-icd-opencl-dev)");
    }
    drivers > 0
}

impl Bed {
    /// A share of so much memory and time of the first device that the machine's own drivers have.
    pub fn new(memory: u64, thousandths: u64) -> Self {
        let bed = Self::empty(memory, thousandths);
        for driver in std::fs::read_dir("/etc/OpenCL/vendors").expect("drivers").flatten() {
            std::fs::copy(driver.path(), bed.folder().join("drivers").join(driver.file_name()))
                .expect("copied");
        }
        bed
    }

    /// The same of this driver's first device.
    pub fn before(driver: &str, memory: u64, thousandths: u64) -> Self {
        let bed = Self::empty(memory, thousandths);
        std::fs::write(bed.folder().join("drivers/one.icd"), format!("{driver}\n")).expect("written");
        bed
    }

    fn empty(memory: u64, thousandths: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        std::fs::create_dir(place.join("vendors")).expect("made");
        std::fs::create_dir(place.join("drivers")).expect("made");
        let ours = place.join("libpond_opencl.so");
        std::fs::copy(library(), &ours).expect("copied");
        std::fs::write(place.join("vendors/pond.icd"), format!("{}\n", ours.display())).expect("written");
        let terms = Terms { device: 0, memory, thousandths };
        let owner = Owner::create(&place.join("0"), &terms).expect("made");
        Self { folder, owner }
    }

    /// Where it stands.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A program that sees this share and no other device.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("OCL_ICD_VENDORS", self.folder().join("vendors"));
        command
    }

    /// The client in Rust.
    pub fn rust(&self, role: &str) -> Client {
        let mut command = self.command(&std::env::current_exe().expect("this program"));
        command.args(["--exact", "client", "--nocapture"]);
        Client::start(command, role)
    }
}

/// The client in Rust, when this process was started as one; false otherwise.
pub fn client() -> bool {
    let Ok(role) = std::env::var("POND_CLIENT_ROLE") else { return false };
    let (name, number) = role.split_once(' ').unwrap_or((&role, "0"));
    let number: u64 = number.parse().expect("a number");
    if name == "platforms" {
        say(&platform::get_platform_ids().map_or(0, |all| all.len()).to_string());
        return true;
    }
    let place = Place::open();
    match name {
        "fill" => place.fill(number as usize),
        "rows" => place.rows(number),
        "sizes" => place.sizes(),
        "spin" => place.spin(Duration::from_millis(number), 300),
        "turn" => place.spin(Duration::from_millis(number), 3),
        "held" => place.held(),
        "let_go" => place.let_go(),
        "types" => place.types(),
        name => panic!("{name}"),
    }
    true
}

/// A context and a queue on the first device.
struct Place {
    device: device::cl_device_id,
    context: cl3::types::cl_context,
    queue: cl3::types::cl_command_queue,
}

impl Place {
    fn open() -> Self {
        let platform = platform::get_platform_ids().expect("platforms")[0];
        let device = device::get_device_ids(platform, device::CL_DEVICE_TYPE_ALL).expect("devices")[0];
        let context = context::create_context(&[device], null(), None, null_mut()).expect("a context");
        let version = device::get_device_data(device, device::CL_DEVICE_VERSION).expect("told");
        // SAFETY: live handles, and no properties.
        let queue = unsafe {
            // What the name ends in came with OpenCL 2.
            if version.starts_with(b"OpenCL 1") {
                queue::create_command_queue(context, device, 0)
            } else {
                queue::create_command_queue_with_properties(context, device, null())
            }
        };
        let queue = queue.expect("a queue");
        Self { device, context, queue }
    }

    fn buffer(&self, bytes: usize) -> Result<cl_mem, i32> {
        // SAFETY: a live context; the memory is the driver's own.
        unsafe { memory::create_buffer(self.context, memory::CL_MEM_READ_WRITE, bytes, null_mut()) }
    }

    fn free(&self, object: cl_mem) {
        // SAFETY: an object that is used no more.
        unsafe { memory::release_mem_object(object) }.expect("freed");
    }

    /// Allocates pieces until it is refused, gives one back, takes one again.
    fn fill(&self, piece: usize) {
        let mut held = Vec::new();
        let code = loop {
            match self.buffer(piece) {
                Ok(object) => held.push(object),
                Err(code) => break code,
            }
        };
        say(&format!("{} {code}", held.len() * piece));
        wait();
        self.free(held.pop().expect("one at least"));
        say(&format!("{:?}", self.buffer(piece).map(|_| self.buffer(piece).is_ok())));
        wait();
    }

    /// Every way to allocate, or those two that OpenCL 1.2 has: takes a piece, gives it back, asks for too much.
    fn rows(&self, ways: u64) {
        let object = |make: &dyn Fn(usize) -> Result<cl_mem, i32>, name: &str| {
            let held = make(PIECE).expect(name);
            say(name);
            wait();
            self.free(held);
            say(&format!("{:?}", make(1 << 30).map(|_| ())));
            wait();
        };
        object(&|bytes| self.buffer(bytes), "buffer");
        object(&|bytes| self.image(bytes), "image");
        if ways == 2 {
            return;
        }
        // SAFETY: a live context, no properties, the driver's own memory.
        let with = |bytes| unsafe {
            memory::create_buffer_with_properties(
                self.context,
                null(),
                memory::CL_MEM_READ_WRITE,
                bytes,
                null_mut(),
            )
        };
        object(&with, "buffer with properties");
        // SAFETY: a live context.
        let shared = |bytes| unsafe { memory::svm_alloc(self.context, memory::CL_MEM_READ_WRITE, bytes, 0) };
        let at = shared(PIECE).expect("shared");
        say("shared");
        wait();
        // SAFETY: it is used no more.
        unsafe { memory::svm_free(self.context, at) }.expect("freed");
        say(&format!("{:?}", shared(1 << 30).map(|_| ())));
        wait();
    }

    /// Of single bytes, a row of 4096 after the other.
    fn image(&self, bytes: usize) -> Result<cl_mem, i32> {
        let format = cl_image_format {
            image_channel_order: memory::CL_RGBA,
            image_channel_data_type: memory::CL_UNSIGNED_INT8,
        };
        // SAFETY: all zero is a valid description.
        let mut desc: cl_image_desc = unsafe { std::mem::zeroed() };
        desc.image_type = memory::CL_MEM_OBJECT_IMAGE2D;
        (desc.image_width, desc.image_height) = (1024, bytes / 4096);
        // SAFETY: a live context and valid descriptions.
        unsafe {
            memory::create_image(
                self.context,
                memory::CL_MEM_READ_WRITE,
                &raw const format,
                &raw const desc,
                null_mut(),
            )
        }
    }

    fn sizes(&self) {
        let word = |what| {
            let bytes = device::get_device_data(self.device, what).expect("told");
            u64::from_ne_bytes(bytes.try_into().expect("8 bytes"))
        };
        say(&format!(
            "{} {}",
            word(device::CL_DEVICE_GLOBAL_MEM_SIZE),
            word(device::CL_DEVICE_MAX_MEM_ALLOC_SIZE)
        ));
    }

    fn types(&self) {
        let made = context::create_context_from_type(device::CL_DEVICE_TYPE_ALL, null(), None, null_mut());
        say(&made.is_ok().to_string());
    }

    fn kernel(&self, rounds: i32) -> kernel::cl_kernel {
        let source = "kernel void spin(global float *a, int n) {
            float x = a[get_global_id(0)];
            for (int k = 0; k < n; k++) x = x * 1.0001f + 0.5f;
            a[get_global_id(0)] = x;
        }";
        let built = program::create_program_with_source(self.context, &[source]).expect("source");
        program::build_program(built, &[self.device], c"", None, null_mut()).expect("builds");
        let spin = kernel::create_kernel(built, c"spin").expect("a kernel");
        let data = self.buffer(4 * 4096).expect("room");
        // SAFETY: the kernel's own arguments.
        unsafe {
            kernel::set_kernel_arg(spin, 0, size_of::<cl_mem>(), (&raw const data).cast::<c_void>())
                .expect("set");
            kernel::set_kernel_arg(spin, 1, 4, (&raw const rounds).cast::<c_void>()).expect("set");
        }
        spin
    }

    fn enqueue(&self, spin: kernel::cl_kernel, after: &[event::cl_event]) -> event::cl_event {
        let (global, local) = ([4096_usize], [64_usize]);
        // SAFETY: live handles, and as many sizes as dimensions.
        unsafe {
            queue::enqueue_nd_range_kernel(
                self.queue,
                spin,
                1,
                null(),
                global.as_ptr(),
                local.as_ptr(),
                after.len() as u32,
                if after.is_empty() { null() } else { after.as_ptr() },
            )
        }
        .expect("enqueued")
    }

    /// Keeps three kernels in the queue, as programs do that use a device well, and says which part of the time they ran,
    /// in thousandths of a percent, how many there were, and how long they ran, ns: by its own measurement. Says
    /// `ready` first and waits, so that several begin together.
    fn spin(&self, span: Duration, rounds: i32) {
        let spin = self.kernel(rounds);
        event::wait_for_events(&[self.enqueue(spin, &[])]).expect("ran");
        say("ready");
        wait();
        let (begin, mut busy_ns, mut count) = (Instant::now(), 0, 0);
        let mut under_way = VecDeque::new();
        while begin.elapsed() < span || !under_way.is_empty() {
            while under_way.len() < 3 && begin.elapsed() < span {
                under_way.push_back(self.enqueue(spin, &[]));
            }
            let one = under_way.pop_front().expect("one at least");
            busy_ns += self.ran(one);
            count += 1;
        }
        let share = u128::from(busy_ns) * 100_000 / begin.elapsed().as_nanos();
        say(&format!("{share} {count} {busy_ns}"));
    }

    /// Waits for a kernel and says how long it ran, ns.
    fn ran(&self, one: event::cl_event) -> u64 {
        event::wait_for_events(&[one]).expect("ran");
        let time = |what| u64::from(event::get_event_profiling_info(one, what).expect("measured"));
        let span = time(event::CL_PROFILING_COMMAND_END) - time(event::CL_PROFILING_COMMAND_START);
        // SAFETY: it is used no more.
        unsafe { event::release_event(one) }.expect("freed");
        span
    }

    /// Enqueues what waits for an event that it sets afterwards.
    fn held(&self) {
        let spin = self.kernel(10);
        let gate = event::create_user_event(self.context).expect("an event");
        let all: Vec<event::cl_event> = (0..8).map(|_| self.enqueue(spin, &[gate])).collect();
        event::set_user_event_status(gate, 0).expect("set");
        event::wait_for_events(&all).expect("ran");
        say("done");
    }

    /// Enqueues what waits for an event that it sets afterwards, keeps no event of it, and says for how long at most all of
    /// it ran, ns.
    fn let_go(&self) {
        let spin = self.kernel(10);
        let gate = event::create_user_event(self.context).expect("an event");
        for _ in 0..8 {
            // SAFETY: it is used no more.
            unsafe { event::release_event(self.enqueue(spin, &[gate])) }.expect("let go");
        }
        let begin = Instant::now();
        event::set_user_event_status(gate, 0).expect("set");
        queue::finish(self.queue).expect("ran");
        say(&begin.elapsed().as_nanos().to_string());
        wait();
    }
}
